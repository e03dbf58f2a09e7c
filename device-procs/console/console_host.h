/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side of the console: a terminal, a pseudo terminal, a file, or the one client of a
 * listening socket, all as fds that the warden opened. bulkhead-console. What comes from there is
 * bytes for the guest, never looked at.
 *
 * Nothing here waits. Where the fd cannot be made non-blocking (it is shared with the shell that
 * started us and could not be opened again), it is asked by poll before each small piece.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "ipc/fdset.h"
#include "ipc/message.h"

enum console_host_result {
	CONSOLE_HOST_WAIT = 1, /* not now: wait until the fd is ready */
	CONSOLE_HOST_NOBODY = 2, /* nobody there: no input will come, output is lost */
};

struct console_end {
	int fd; /* owned; -1: none */
	bool is_socket; /* a stream socket: non-blocking by flag, whatever its description says */
	bool is_file; /* always ready, and not to be watched */
	bool is_blocking; /* to be watched before each small piece */
};

struct console_host {
	struct console_end in, out; /* of a client: the same fd */
	int listen_fd; /* owned; -1: no socket */
	bool has_size; /* F_SIZE: one of the ends is a terminal */
	bool is_pty;
};

/** console_host_open() - take what DEVICE_START brought; Return: 0; -errno */
int must_check console_host_open(const struct console_config *config, struct fdset *fds,
				 struct console_host *ret);

/** console_host_accept() - take the next client; Return: 0; CONSOLE_HOST_WAIT; -errno */
int must_check console_host_accept(struct console_host *h);

/** console_host_hang_up() - the client is gone, or end of input: close what it was */
void console_host_hang_up(struct console_host *h);

/** console_host_read() - up to @n bytes; Return: 0 with *ret_n > 0; CONSOLE_HOST_* */
int must_check console_host_read(struct console_host *h, void *to, uint32_t n, uint32_t *ret_n);

/** console_host_write() - some of the bytes; Return: 0 with *ret_n > 0; CONSOLE_HOST_* */
int must_check console_host_write(struct console_host *h, const struct iovec *iov, uint32_t n_iov,
				  uint32_t *ret_n);

/** console_host_size() - columns and rows; false when nobody can tell */
bool console_host_size(const struct console_host *h, uint16_t *ret_columns, uint16_t *ret_rows);
