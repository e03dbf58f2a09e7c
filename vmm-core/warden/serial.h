/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host side of COM1: which fds the core reads from and writes to.
 *
 * The core needs non-blocking fds, but O_NONBLOCK belongs to the open file description, and the
 * one behind our stdin is shared with the shell. So a terminal or FIFO is opened a second time
 * through /proc/self/fd; what cannot be opened again (a socket, a regular file, whose position
 * must be kept) is handed over as it is, and the core polls before it reads or writes.
 */
#pragma once

#include <stdbool.h>
#include <termios.h>

#include "ipc/vm_config.h"
#include "vmm-core/warden/failure.h"
#include "vmm-core/warden/run_dir.h"

struct serial {
	int in_fd, out_fd; /* owned; -1: none */
	int slave_fd; /* pty: held so that the core never sees a hang-up while nobody is there */
	char pty_path[64]; /* "" unless SERIAL_PTY; told to the user, and linked in the run dir */
	bool is_raw; /* the terminal on stdin must be restored */
	struct termios saved;
};

#define SERIAL_INIT ((struct serial){ .in_fd = -1, .out_fd = -1, .slave_fd = -1 })

/**
 * serial_open() - open what @config asks for; does not touch the terminal's mode yet
 * Return: 0; FAILED.
 */
int must_check serial_open(const struct vm_config *config, const struct run_dir *dir,
			   struct serial *ret, struct failure *f);

/**
 * serial_start() - SERIAL_TTY on a terminal that we are in the foreground of: raw input
 *
 * Output processing stays on, so that lines of the warden on the same terminal stay readable.
 */
void serial_start(const struct vm_config *config, struct serial *serial);

/** serial_close() - restore the terminal, close the fds; idempotent */
void serial_close(struct serial *serial);
