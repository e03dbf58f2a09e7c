/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host side of COM1 and of the virtio console: which fds the core or the device process reads
 * from and writes to.
 *
 * They need non-blocking fds, but O_NONBLOCK belongs to the open file description, and the one
 * behind our stdin is shared with the shell. So a terminal or FIFO is opened a second time through
 * /proc/self/fd; what cannot be opened again (a socket, a regular file, whose position must be
 * kept) is handed over as it is, and asked before it is read or written.
 */
#pragma once

#include <stdbool.h>
#include <termios.h>

#include "ipc/vm_config.h"
#include "vmm-core/warden/failure.h"
#include "vmm-core/warden/run_dir.h"

/* What the user asked for, and how it is called in messages. */
struct chardev_request {
	const char *option; /* "--serial" */
	enum serial_mode mode;
	const char *path; /* SERIAL_FILE, SERIAL_SOCKET */
	const char *link; /* name in the run dir of the link to a pty */
};

struct chardev {
	int in_fd, out_fd; /* owned; -1: none */
	int listen_fd; /* owned; -1 unless SERIAL_SOCKET */
	int slave_fd; /* pty: held so that nobody sees a hang-up while no reader is there */
	char pty_path[64]; /* "" unless SERIAL_PTY; told to the user, and linked in the run dir */
	bool is_tty; /* SERIAL_TTY */
	bool has_size; /* an end is a terminal */
	bool is_raw; /* the terminal on stdin must be restored */
	struct termios saved;
	const char *socket_path; /* borrowed; to be unlinked at the end */
};

#define CHARDEV_INIT                                                                              \
	((struct chardev){ .in_fd = -1, .out_fd = -1, .listen_fd = -1, .slave_fd = -1 })

/**
 * chardev_open() - open what @request asks for; does not touch the terminal's mode yet
 * @request: its path is borrowed until chardev_close()
 * Return: 0; FAILED; -errno.
 */
int must_check chardev_open(const struct chardev_request *request, const struct run_dir *dir,
			    struct chardev *ret, struct failure *f);

/**
 * chardev_start() - SERIAL_TTY on a terminal that we are in the foreground of: raw input
 *
 * Output processing stays on, so that lines of the warden on the same terminal stay readable.
 */
void chardev_start(struct chardev *chardev);

/** chardev_close() - restore the terminal, close the fds, remove the socket; idempotent */
void chardev_close(struct chardev *chardev);
