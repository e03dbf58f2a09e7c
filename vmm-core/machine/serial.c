/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The 16550A register file (National Semiconductor PC16550D data sheet, section 8).
 *
 * Process: bulkhead-core, vCPU threads and event loop. Hostile: every offset and value that a
 * guest writes, and how often. Sizes above one byte use the low byte, as ports do.
 */
#include "vmm-core/machine/serial.h"

#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>

#include "ipc/clock.h"

enum { /* register offsets; DLAB in LCR turns 0 and 1 into the divisor */
	REG_DATA = 0,
	REG_IER = 1,
	REG_IIR = 2, /* read; FCR on write */
	REG_LCR = 3,
	REG_MCR = 4,
	REG_LSR = 5,
	REG_MSR = 6,
	REG_SCRATCH = 7,
};

#define IER_RX 0x01u
#define IER_THR_EMPTY 0x02u
#define IER_LINE 0x04u
#define IER_MASK 0x0fu

#define IIR_NONE 0x01u
#define IIR_THR_EMPTY 0x02u
#define IIR_RX 0x04u
#define IIR_LINE 0x06u
#define IIR_FIFOS 0xc0u

#define FCR_ENABLE 0x01u
#define FCR_CLEAR_RX 0x02u

#define LCR_DLAB 0x80u

#define MCR_DTR 0x01u
#define MCR_RTS 0x02u
#define MCR_OUT1 0x04u
#define MCR_OUT2 0x08u
#define MCR_LOOP 0x10u
#define MCR_MASK 0x1fu

#define LSR_DATA_READY 0x01u
#define LSR_OVERRUN 0x02u
#define LSR_THR_EMPTY 0x20u
#define LSR_IDLE 0x40u

#define MSR_CTS 0x10u
#define MSR_DSR 0x20u
#define MSR_RI 0x40u
#define MSR_DCD 0x80u

#define DIVISOR_9600 12u

struct serial {
	pthread_mutex_t lock;
	int out_fd, irq_fd, wake_fd;

	uint8_t ier, lcr, mcr, scratch;
	uint16_t divisor;
	bool fifos_on;
	bool overrun;
	bool thr_empty_event; /* not yet acknowledged by a read of IIR or a write of data */
	bool line_up; /* the interrupt output */

	uint8_t rx[SERIAL_INPUT_MAX];
	uint32_t rx_head, rx_n;
	bool rx_waiting; /* the event loop was told that there is no room */

	uint8_t tx[SERIAL_BACKLOG_MAX];
	uint32_t tx_head, tx_n;
	bool tx_busy; /* backlog full: THRE stays clear until half of it has gone */

	uint64_t first_byte_ns;
	uint64_t dropped;
};

static void serial_set_power_on(struct serial *s)
{
	s->ier = 0;
	s->lcr = 3; /* 8 data bits */
	s->mcr = MCR_OUT2;
	s->scratch = 0;
	s->divisor = DIVISOR_9600;
	s->fifos_on = false;
	s->overrun = false;
	s->thr_empty_event = false;
	s->line_up = false;
	s->rx_head = 0;
	s->rx_n = 0;
}

int serial_new(int out_fd, int irq_fd, int wake_fd, struct serial **ret)
{
	struct serial *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	(void)pthread_mutex_init(&s->lock, NULL); /* default attributes cannot fail on Linux */
	s->out_fd = out_fd;
	s->irq_fd = irq_fd;
	s->wake_fd = wake_fd;
	serial_set_power_on(s);
	*ret = s;
	return 0;
}

struct serial *serial_free(struct serial *s)
{
	if (s)
		(void)pthread_mutex_destroy(&s->lock);
	free(s);
	return NULL;
}

/** serial_pending() - the interrupt of highest priority, as IIR shows it */
static uint8_t serial_pending(const struct serial *s)
{
	if ((s->ier & IER_LINE) && s->overrun)
		return IIR_LINE;
	if ((s->ier & IER_RX) && s->rx_n > 0)
		return IIR_RX;
	if ((s->ier & IER_THR_EMPTY) && s->thr_empty_event)
		return IIR_THR_EMPTY;
	return IIR_NONE;
}

/** serial_update_line() - after every change; GSI 4 is edge-triggered, so only rises count */
static void serial_update_line(struct serial *s)
{
	bool up = serial_pending(s) != IIR_NONE;

	if (up && !s->line_up)
		(void)eventfd_write(s->irq_fd, 1);
	s->line_up = up;
}

static void serial_wake(struct serial *s)
{
	(void)eventfd_write(s->wake_fd, 1);
}

static void serial_receive(struct serial *s, uint8_t byte)
{
	if (s->rx_n == SERIAL_INPUT_MAX) {
		s->overrun = true;
		return;
	}
	s->rx[(s->rx_head + s->rx_n) % SERIAL_INPUT_MAX] = byte;
	s->rx_n++;
}

/**
 * serial_write_out() - hand bytes to the fd without waiting for whoever reads it
 *
 * The fd is usually the user's own terminal or pipe, so it stays blocking (the flag would change
 * it for everyone who shares it). A pipe that polls writable takes a page, a terminal a few
 * hundred bytes: at most 64 are written at a time.
 *
 * Return: bytes written; 0 when the fd takes none now. A full or broken one takes everything.
 */
static size_t serial_write_out(struct serial *s, const uint8_t *data, size_t n)
{
	struct pollfd pfd = { .fd = s->out_fd, .events = POLLOUT };
	ssize_t r;

	if (s->out_fd < 0)
		return n;
	if (poll(&pfd, 1, 0) <= 0)
		return 0;
	r = write(s->out_fd, data, n < 64 ? n : 64);
	if (r >= 0)
		return (size_t)r;
	if (errno == EAGAIN || errno == EINTR)
		return 0;
	if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG) {
		s->dropped += n; /* a file that is full may have room again */
		return n;
	}
	s->out_fd = -1; /* the reader is gone for good; the guest need not notice */
	return n;
}

static void serial_send(struct serial *s, uint8_t byte)
{
	if (s->mcr & MCR_LOOP) {
		serial_receive(s, byte);
		return;
	}
	if (s->first_byte_ns == 0) {
		s->first_byte_ns = clock_now_ns();
		serial_wake(s);
	}
	if (s->tx_n == 0 && serial_write_out(s, &byte, 1) == 1)
		return;
	if (s->tx_n == SERIAL_BACKLOG_MAX) {
		s->dropped++;
		return;
	}
	s->tx[(s->tx_head + s->tx_n) % SERIAL_BACKLOG_MAX] = byte;
	if (s->tx_n++ == 0)
		serial_wake(s);
	s->tx_busy = s->tx_busy || s->tx_n == SERIAL_BACKLOG_MAX;
}

static uint8_t serial_take_input(struct serial *s)
{
	uint8_t byte;

	if (s->rx_n == 0)
		return 0;
	byte = s->rx[s->rx_head];
	s->rx_head = (s->rx_head + 1) % SERIAL_INPUT_MAX;
	s->rx_n--;
	if (s->rx_waiting && s->rx_n <= SERIAL_INPUT_MAX / 2) {
		s->rx_waiting = false;
		serial_wake(s);
	}
	return byte;
}

static uint8_t serial_read_iir(struct serial *s)
{
	uint8_t pending = serial_pending(s);

	if (pending == IIR_THR_EMPTY)
		s->thr_empty_event = false; /* reading the reason acknowledges this one only */
	return pending | (s->fifos_on ? IIR_FIFOS : 0);
}

static uint8_t serial_read_lsr(struct serial *s)
{
	uint8_t lsr = 0;

	if (s->rx_n > 0)
		lsr |= LSR_DATA_READY;
	if (s->overrun)
		lsr |= LSR_OVERRUN;
	if (!s->tx_busy)
		lsr |= LSR_THR_EMPTY | LSR_IDLE;
	s->overrun = false;
	return lsr;
}

static uint8_t serial_read_msr(const struct serial *s)
{
	uint8_t msr = 0;

	if (!(s->mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	if (s->mcr & MCR_RTS)
		msr |= MSR_CTS;
	if (s->mcr & MCR_DTR)
		msr |= MSR_DSR;
	if (s->mcr & MCR_OUT1)
		msr |= MSR_RI;
	if (s->mcr & MCR_OUT2)
		msr |= MSR_DCD;
	return msr;
}

static uint8_t serial_read_register(struct serial *s, uint64_t offset)
{
	bool dlab = s->lcr & LCR_DLAB;

	switch (offset) {
	case REG_DATA:
		return dlab ? (uint8_t)s->divisor : serial_take_input(s);
	case REG_IER:
		return dlab ? (uint8_t)(s->divisor >> 8) : s->ier;
	case REG_IIR:
		return serial_read_iir(s);
	case REG_LCR:
		return s->lcr;
	case REG_MCR:
		return s->mcr;
	case REG_LSR:
		return serial_read_lsr(s);
	case REG_MSR:
		return serial_read_msr(s);
	default:
		return s->scratch;
	}
}

static void serial_write_data(struct serial *s, uint8_t value)
{
	/* The byte leaves the holding register at once unless the backlog is full. */
	serial_send(s, value);
	s->thr_empty_event = false;
	serial_update_line(s); /* the line falls, so that the next event is an edge */
	s->thr_empty_event = !s->tx_busy;
}

static void serial_write_ier(struct serial *s, uint8_t value)
{
	/* Enabling the interrupt while the register is empty raises it: drivers test for that. */
	if ((value & IER_THR_EMPTY) && !(s->ier & IER_THR_EMPTY) && !s->tx_busy)
		s->thr_empty_event = true;
	s->ier = value & IER_MASK;
}

static void serial_write_fcr(struct serial *s, uint8_t value)
{
	bool on = value & FCR_ENABLE;

	if (on != s->fifos_on || (value & FCR_CLEAR_RX)) {
		s->rx_head = 0;
		s->rx_n = 0;
		if (s->rx_waiting) {
			s->rx_waiting = false;
			serial_wake(s);
		}
	}
	s->fifos_on = on;
}

static void serial_write_register(struct serial *s, uint64_t offset, uint8_t value)
{
	bool dlab = s->lcr & LCR_DLAB;

	switch (offset) {
	case REG_DATA:
		if (dlab)
			s->divisor = (uint16_t)((s->divisor & 0xff00) | value);
		else
			serial_write_data(s, value);
		break;
	case REG_IER:
		if (dlab)
			s->divisor = (uint16_t)((s->divisor & 0x00ff) | value << 8);
		else
			serial_write_ier(s, value);
		break;
	case REG_IIR:
		serial_write_fcr(s, value);
		break;
	case REG_LCR:
		s->lcr = value;
		break;
	case REG_MCR:
		s->mcr = value & MCR_MASK;
		break;
	case REG_SCRATCH:
		s->scratch = value;
		break;
	default: /* line and modem status are read-only */
		break;
	}
}

static uint64_t serial_read(void *ctx, uint64_t offset, unsigned size)
{
	struct serial *s = ctx;
	uint8_t value;

	(void)size;
	(void)pthread_mutex_lock(&s->lock);
	value = serial_read_register(s, offset);
	serial_update_line(s);
	(void)pthread_mutex_unlock(&s->lock);
	return value;
}

static void serial_write(void *ctx, uint64_t offset, unsigned size, uint64_t value)
{
	struct serial *s = ctx;

	(void)size;
	(void)pthread_mutex_lock(&s->lock);
	serial_write_register(s, offset, (uint8_t)value);
	serial_update_line(s);
	(void)pthread_mutex_unlock(&s->lock);
}

const struct io_handler serial_io = {
	.read = serial_read,
	.write = serial_write,
};

void serial_reset(struct serial *s)
{
	(void)pthread_mutex_lock(&s->lock);
	serial_set_power_on(s);
	if (s->rx_waiting) {
		s->rx_waiting = false;
		serial_wake(s);
	}
	(void)pthread_mutex_unlock(&s->lock);
}

size_t serial_room(struct serial *s)
{
	size_t room;

	(void)pthread_mutex_lock(&s->lock);
	room = SERIAL_INPUT_MAX - s->rx_n;
	s->rx_waiting = room == 0;
	(void)pthread_mutex_unlock(&s->lock);
	return room;
}

void serial_input(struct serial *s, const uint8_t *data, size_t n)
{
	(void)pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < n; i++)
		serial_receive(s, data[i]);
	serial_update_line(s);
	(void)pthread_mutex_unlock(&s->lock);
}

bool serial_flush(struct serial *s)
{
	bool left;

	(void)pthread_mutex_lock(&s->lock);
	while (s->tx_n > 0) {
		size_t piece = SERIAL_BACKLOG_MAX - s->tx_head;
		size_t done = serial_write_out(s, s->tx + s->tx_head,
					       piece < s->tx_n ? piece : s->tx_n);

		if (done == 0)
			break;
		s->tx_head = (uint32_t)((s->tx_head + done) % SERIAL_BACKLOG_MAX);
		s->tx_n -= (uint32_t)done;
	}
	if (s->tx_busy && s->tx_n <= SERIAL_BACKLOG_MAX / 2) {
		s->tx_busy = false;
		s->thr_empty_event = true;
		serial_update_line(s);
	}
	left = s->tx_n > 0;
	(void)pthread_mutex_unlock(&s->lock);
	return left;
}

uint64_t serial_first_byte_ns(struct serial *s)
{
	uint64_t at;

	(void)pthread_mutex_lock(&s->lock);
	at = s->first_byte_ns;
	(void)pthread_mutex_unlock(&s->lock);
	return at;
}

uint64_t serial_dropped(struct serial *s)
{
	uint64_t n;

	(void)pthread_mutex_lock(&s->lock);
	n = s->dropped;
	(void)pthread_mutex_unlock(&s->lock);
	return n;
}
