/* SPDX-License-Identifier: Apache-2.0 */
/*
 * COM1 of the probe guest: polled, through the 16-byte FIFO, because each port access costs an
 * exit. Output is collected up to a line and then written.
 */
#include "probe.h"

#define COM1 0x3f8
#define FIFO_SIZE 16
#define LSR_DATA_READY 0x01
#define LSR_TRANSMITTER_EMPTY 0x20

static char pending[256];
static unsigned n_pending;

void console_init(void)
{
	port_out8(COM1 + 1, 0); /* no interrupts */
	port_out8(COM1 + 2, 0x07); /* FIFO on and empty */
	port_out8(COM1 + 3, 0x03); /* 8 bits */
	port_out8(COM1 + 4, 0x03); /* DTR, RTS */
}

void console_flush(void)
{
	for (unsigned i = 0; i < n_pending; i++) {
		/* Bounded: a port without this bit must not silence the probe for ever. */
		for (unsigned tries = 0; i % FIFO_SIZE == 0 && tries < 1000000; tries++) {
			if (port_in8(COM1 + 5) & LSR_TRANSMITTER_EMPTY)
				break;
		}
		port_out8(COM1, (uint8_t)pending[i]);
	}
	n_pending = 0;
}

int console_get(void)
{
	return port_in8(COM1 + 5) & LSR_DATA_READY ? port_in8(COM1) : -1;
}

static void console_put(char c)
{
	pending[n_pending++] = c;
	if (c == '\n' || n_pending == sizeof(pending))
		console_flush();
}

void print_bytes(const void *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		console_put(((const char *)data)[i]);
}

struct sink {
	char *at; /* NULL: the console */
	size_t left;
	size_t written;
};

static void sink_put(struct sink *sink, char c)
{
	if (!sink->at) {
		console_put(c);
	} else if (sink->left > 1) {
		*sink->at++ = c;
		sink->left--;
		sink->written++;
	}
}

static void sink_number(struct sink *sink, uint64_t v, unsigned base, unsigned width)
{
	char digits[24];
	unsigned n = 0;

	do {
		digits[n++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	while (width > n) {
		sink_put(sink, '0');
		width--;
	}
	while (n)
		sink_put(sink, digits[--n]);
}

static void sink_signed(struct sink *sink, int64_t v)
{
	if (v < 0)
		sink_put(sink, '-');
	sink_number(sink, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, 10, 0);
}

/* One conversion, after the '%'; Return: the place behind it */
static const char *sink_convert(struct sink *sink, const char *f, va_list *args)
{
	unsigned width = 0;
	bool is_long = false;

	while (*f >= '0' && *f <= '9')
		width = width * 10 + (unsigned)(*f++ - '0');
	while (*f == 'l' || *f == 'z') {
		is_long = true;
		f++;
	}
	switch (*f) {
	case 's':
		for (const char *s = va_arg(*args, const char *); *s; s++)
			sink_put(sink, *s);
		break;
	case 'c':
		sink_put(sink, (char)va_arg(*args, int));
		break;
	case 'd':
		sink_signed(sink, is_long ? va_arg(*args, long) : va_arg(*args, int));
		break;
	case 'u':
	case 'x':
		sink_number(sink, is_long ? va_arg(*args, unsigned long)
					  : va_arg(*args, unsigned int),
			    *f == 'x' ? 16 : 10, width);
		break;
	default:
		sink_put(sink, *f);
		break;
	}
	return *f ? f + 1 : f;
}

static void sink_format(struct sink *sink, const char *f, va_list *args)
{
	while (*f) {
		if (*f == '%')
			f = sink_convert(sink, f + 1, args);
		else
			sink_put(sink, *f++);
	}
}

void print(const char *f, ...)
{
	struct sink sink = { 0 };
	va_list args;

	va_start(args, f);
	sink_format(&sink, f, &args);
	va_end(args);
}

size_t format_list(char *buffer, size_t size, const char *f, va_list list)
{
	struct sink sink = { .at = buffer, .left = size };
	va_list args; /* a va_list parameter may be a pointer: its address is of another type */

	va_copy(args, list);
	sink_format(&sink, f, &args);
	va_end(args);
	*sink.at = '\0';
	return sink.written;
}

size_t format(char *buffer, size_t size, const char *f, ...)
{
	va_list args;
	size_t written;

	va_start(args, f);
	written = format_list(buffer, size, f, args);
	va_end(args);
	return written;
}
