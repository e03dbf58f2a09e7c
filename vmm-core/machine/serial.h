/* SPDX-License-Identifier: Apache-2.0 */
/*
 * COM1: a 16550A whose line is a pair of host file descriptors.
 *
 * Output is written by the vCPU that sends it while the fd takes it. What the fd does not take
 * waits in a bounded backlog that the event loop drains; when that is full too the transmitter
 * stays busy (THRE clear), and a guest that sends all the same loses those bytes. Input waits in
 * a bounded buffer; the event loop reads no more than fits.
 *
 * Registers are used by vCPU threads, the rest by the event loop; one lock inside.
 */
#pragma once

#include <stdbool.h>

#include "vmm-core/machine/io_bus.h"

#define SERIAL_PORTS 8u
#define SERIAL_BACKLOG_MAX 65536u /* bytes of output */
#define SERIAL_INPUT_MAX 256u /* bytes of input */

struct serial;

/**
 * serial_new() - a port after power-on
 * @out_fd: where output goes, borrowed, blocking or not; -1: output is dropped
 * @irq_fd: eventfd, borrowed, written once per rising edge of the interrupt line
 * @wake_fd: eventfd, borrowed, written when the event loop should look at the port again: backlog
 *	     to drain, room for input after there was none, first byte sent
 *
 * Return: 0; -ENOMEM.
 */
int must_check serial_new(int out_fd, int irq_fd, int wake_fd, struct serial **ret);
struct serial *serial_free(struct serial *s);

/** serial_io - the eight ports; ctx is the struct serial */
extern const struct io_handler serial_io;

/** serial_reset() - machine reset: registers and input; output on its way still goes out */
void serial_reset(struct serial *s);

/** serial_room() - bytes of input it takes now; after a 0, wake_fd tells when there is room */
size_t serial_room(struct serial *s);

/** serial_input() - somebody typed; what does not fit is lost and shows as an overrun */
void serial_input(struct serial *s, const uint8_t *data, size_t n);

/** serial_flush() - write backlog as far as the fd takes it; Return: true when some is left */
bool serial_flush(struct serial *s);

/** serial_first_byte_ns() - clock_now_ns() of the first byte ever sent, 0: none yet */
uint64_t serial_first_byte_ns(struct serial *s);

/** serial_dropped() - bytes of output lost because nobody took them */
uint64_t serial_dropped(struct serial *s);
