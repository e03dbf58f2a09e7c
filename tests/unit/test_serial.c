/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "vmm-core/machine/serial.h"

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCRATCH };
#define FCR IIR

struct fixture {
	struct serial *s;
	int irq_fd, wake_fd;
	int read_end, write_end; /* of the pipe that is the line */
};

static struct fixture f;

static void setup(void)
{
	int fds[2];

	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	f = (struct fixture){
		.irq_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.read_end = fds[0], .write_end = fds[1],
	};
	cr_assert_eq(serial_new(f.write_end, f.irq_fd, f.wake_fd, &f.s), 0);
}

static void teardown(void)
{
	f.s = serial_free(f.s);
}

TestSuite(serial, .init = setup, .fini = teardown);

static uint8_t get(uint64_t reg)
{
	return (uint8_t)serial_io.read(f.s, reg, 1);
}

static void put(uint64_t reg, uint8_t value)
{
	serial_io.write(f.s, reg, 1, value);
}

static uint64_t take(int event_fd)
{
	eventfd_t n = 0;

	return eventfd_read(event_fd, &n) == 0 ? n : 0;
}

/* Fill the pipe until the port keeps what is sent. Return: bytes sent. */
static size_t block_line(void)
{
	size_t n = 0;

	(void)take(f.wake_fd);
	put(DATA, 'x');
	n++;
	(void)take(f.wake_fd); /* the first byte wakes as well */
	while (take(f.wake_fd) == 0) {
		put(DATA, 'x');
		n++;
		cr_assert_lt(n, 1000000u);
	}
	return n;
}

static size_t drain_line(void)
{
	static char data[1 << 20];
	size_t n = 0;
	ssize_t r;

	cr_assert_eq(fcntl(f.read_end, F_SETFL, O_NONBLOCK), 0);
	while ((r = read(f.read_end, data, sizeof(data))) > 0)
		n += (size_t)r;
	return n;
}

/* --serial file= on a disk that fills up; a limit of this process stands for it. */
Test(serial, a_file_that_is_full_loses_bytes_and_gets_the_next_ones)
{
	int fd = memfd_create("line", MFD_CLOEXEC);
	struct rlimit full, limit;
	char text[8] = "";

	cr_assert(fd >= 0 && signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
	full = (struct rlimit){ 2, limit.rlim_max };
	f.s = serial_free(f.s);
	cr_assert_eq(serial_new(fd, f.irq_fd, f.wake_fd, &f.s), 0);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &full), 0);
	put(DATA, 'a');
	put(DATA, 'b');
	put(DATA, 'c');
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	cr_expect_eq(serial_dropped(f.s), 1);
	put(DATA, 'd');
	cr_assert_eq(pread(fd, text, sizeof(text), 0), 3);
	cr_expect_str_eq(text, "abd");
}

Test(serial, output_reaches_the_line_in_order)
{
	char text[4] = "";

	put(DATA, 'a');
	put(DATA, 'b');
	put(DATA, 'c');
	cr_assert_eq(read(f.read_end, text, 3), 3);
	cr_assert_str_eq(text, "abc");
	cr_assert_eq(get(LSR), 0x60, "idle again");
}

Test(serial, first_byte_is_noted_once)
{
	uint64_t at;

	cr_assert_eq(serial_first_byte_ns(f.s), 0);
	put(DATA, 'a');
	at = serial_first_byte_ns(f.s);
	cr_assert_neq(at, 0);
	cr_assert_eq(take(f.wake_fd), 1);
	put(DATA, 'b');
	cr_assert_eq(serial_first_byte_ns(f.s), at);
	cr_assert_eq(take(f.wake_fd), 0);
}

Test(serial, power_on_values)
{
	cr_assert_eq(get(IER), 0);
	cr_assert_eq(get(IIR), 0x01);
	cr_assert_eq(get(LCR), 0x03);
	cr_assert_eq(get(MCR), 0x08);
	cr_assert_eq(get(LSR), 0x60);
	cr_assert_eq(get(MSR), 0xb0);
	cr_assert_eq(get(SCRATCH), 0);
}

Test(serial, looks_like_a_16550a)
{
	put(SCRATCH, 0x5a);
	cr_assert_eq(get(SCRATCH), 0x5a);
	put(IER, 0xff);
	cr_assert_eq(get(IER), 0x0f, "no sleep mode, no other extension");
	put(IER, 0);
	put(FCR, 0x01);
	cr_assert_eq(get(IIR), 0xc1, "FIFOs enabled");
	put(FCR, 0x21);
	cr_assert_eq(get(IIR), 0xc1, "no 64-byte FIFO");
	put(FCR, 0x00);
	cr_assert_eq(get(IIR), 0x01);
}

Test(serial, dlab_selects_the_divisor)
{
	put(LCR, 0x83);
	put(DATA, 0x01);
	put(IER, 0x02);
	cr_assert_eq(get(DATA), 0x01);
	cr_assert_eq(get(IER), 0x02);
	put(LCR, 0x03);
	cr_assert_eq(get(IER), 0x00);
	cr_assert_eq(drain_line(), 0, "no divisor was sent");
}

Test(serial, loopback_returns_data_and_modem_lines)
{
	put(MCR, 0x1a); /* loop, OUT2, RTS: how drivers probe */
	cr_assert_eq(get(MSR) & 0xf0, 0x90);
	put(MCR, 0x15); /* loop, OUT1, DTR */
	cr_assert_eq(get(MSR) & 0xf0, 0x60);
	put(DATA, 'z');
	cr_assert_eq(get(LSR) & 0x01, 0x01);
	cr_assert_eq(get(DATA), 'z');
	cr_assert_eq(get(LSR) & 0x01, 0);
	cr_assert_eq(drain_line(), 0);
}

Test(serial, input_raises_one_edge_until_it_is_read)
{
	put(IER, 0x01);
	serial_input(f.s, (const uint8_t *)"hi", 2);
	cr_assert_eq(take(f.irq_fd), 1);
	serial_input(f.s, (const uint8_t *)"!", 1);
	cr_assert_eq(take(f.irq_fd), 0, "the line is still up");
	cr_assert_eq(get(IIR), 0x04);
	cr_assert_eq(get(DATA), 'h');
	cr_assert_eq(get(DATA), 'i');
	cr_assert_eq(get(DATA), '!');
	cr_assert_eq(get(IIR), 0x01);
	serial_input(f.s, (const uint8_t *)"x", 1);
	cr_assert_eq(take(f.irq_fd), 1);
}

Test(serial, input_before_the_interrupt_is_enabled_is_not_forgotten)
{
	serial_input(f.s, (const uint8_t *)"a", 1);
	cr_assert_eq(take(f.irq_fd), 0);
	put(IER, 0x01);
	cr_assert_eq(take(f.irq_fd), 1);
}

Test(serial, no_input_reads_zero)
{
	cr_assert_eq(get(DATA), 0);
}

Test(serial, enabling_the_transmit_interrupt_raises_it)
{
	put(IER, 0x02);
	cr_assert_eq(take(f.irq_fd), 1);
	cr_assert_eq(get(IIR), 0x02);
	cr_assert_eq(get(IIR), 0x01, "reading IIR acknowledged it");
	put(DATA, 'a');
	cr_assert_eq(take(f.irq_fd), 1, "empty again");
	put(DATA, 'b');
	cr_assert_eq(take(f.irq_fd), 1, "and again, without a read of IIR");
	put(IER, 0x00);
	put(IER, 0x02);
	cr_assert_eq(get(IIR), 0x02);
}

Test(serial, line_errors_come_before_input_before_output)
{
	uint8_t many[SERIAL_INPUT_MAX + 1] = { 0 };

	put(IER, 0x07);
	serial_input(f.s, many, sizeof(many));
	cr_assert_eq(get(IIR), 0x06);
	cr_assert_eq(get(LSR) & 0x03, 0x03, "overrun, data ready");
	cr_assert_eq(get(LSR) & 0x03, 0x01, "reading clears the overrun");
	cr_assert_eq(get(IIR), 0x04);
	put(FCR, 0x03);
	cr_assert_eq(get(IIR), 0xc2);
	cr_assert_eq(get(IIR), 0xc1);
}

Test(serial, input_is_bounded_and_room_is_announced)
{
	uint8_t many[SERIAL_INPUT_MAX] = { 0 };

	cr_assert_eq(serial_room(f.s), SERIAL_INPUT_MAX);
	serial_input(f.s, many, sizeof(many));
	cr_assert_eq(serial_room(f.s), 0);
	for (unsigned i = 0; i < SERIAL_INPUT_MAX / 2 - 1; i++)
		(void)get(DATA);
	cr_assert_eq(take(f.wake_fd), 0);
	(void)get(DATA);
	cr_assert_eq(take(f.wake_fd), 1);
	cr_assert_eq(serial_room(f.s), SERIAL_INPUT_MAX / 2);
}

Test(serial, clearing_the_fifo_announces_room)
{
	uint8_t many[SERIAL_INPUT_MAX] = { 0 };

	serial_input(f.s, many, sizeof(many));
	cr_assert_eq(serial_room(f.s), 0);
	put(FCR, 0x07);
	cr_assert_eq(take(f.wake_fd), 1);
	cr_assert_eq(get(LSR) & 0x01, 0);
}

Test(serial, a_blocked_line_keeps_output_for_later)
{
	size_t n = block_line();
	size_t on_line;

	cr_assert_eq(get(LSR), 0x60, "there is room to wait in");
	put(DATA, 'y');
	cr_assert(serial_flush(f.s), "still blocked");
	on_line = drain_line();
	while (serial_flush(f.s))
		on_line += drain_line();
	on_line += drain_line();
	cr_assert_eq(on_line, n + 1);
	cr_assert_eq(serial_dropped(f.s), 0);
}

Test(serial, a_full_backlog_stops_the_transmitter_and_drops)
{
	block_line();
	for (unsigned i = 1; i < SERIAL_BACKLOG_MAX; i++)
		put(DATA, 'y');
	cr_assert_eq(get(LSR) & 0x60, 0, "busy");
	cr_assert_eq(serial_dropped(f.s), 0);
	put(IER, 0x02);
	cr_assert_eq(get(IIR), 0x01, "not empty");
	put(DATA, 'z');
	cr_assert_eq(serial_dropped(f.s), 1);
	(void)take(f.irq_fd);
	do
		(void)drain_line();
	while (serial_flush(f.s));
	cr_assert_eq(get(LSR) & 0x60, 0x60);
	cr_assert_eq(take(f.irq_fd), 1, "the guest may go on");
}

Test(serial, a_broken_line_swallows_output)
{
	(void)signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(close(f.read_end), 0);
	for (unsigned i = 0; i < 10; i++)
		put(DATA, 'a');
	cr_assert_eq(get(LSR), 0x60);
	cr_assert_not(serial_flush(f.s));
}

Test(serial, no_line_at_all)
{
	struct serial *s;

	cr_assert_eq(serial_new(-1, f.irq_fd, f.wake_fd, &s), 0);
	serial_io.write(s, DATA, 1, 'a');
	cr_assert_eq(serial_io.read(s, LSR, 1), 0x60);
	cr_assert_neq(serial_first_byte_ns(s), 0, "it counts as sent");
	serial_free(s);
}

Test(serial, reset_is_like_power_on_but_output_still_goes_out)
{
	size_t n = block_line();
	size_t on_line = 0;

	put(IER, 0x0f);
	put(SCRATCH, 9);
	serial_input(f.s, (const uint8_t *)"a", 1);
	serial_reset(f.s);
	cr_assert_eq(get(IER), 0);
	cr_assert_eq(get(SCRATCH), 0);
	cr_assert_eq(get(LSR), 0x60);
	do
		on_line += drain_line();
	while (serial_flush(f.s));
	cr_assert_eq(on_line + drain_line(), n);
}
