/* SPDX-License-Identifier: Apache-2.0 */
/* The host side of COM1. Runs in the warden. */
#include "vmm-core/warden/serial.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

/* A description of its own for a terminal or FIFO, a duplicate of anything else. */
static int serial_reopen(int from, int flags)
{
	struct stat st;
	char link[32];
	int fd = -1;

	if (fstat(from, &st) < 0)
		return -errno;
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", from);
	if (S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode))
		fd = open(link, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		fd = fcntl(from, F_DUPFD_CLOEXEC, 3);
	return fd < 0 ? -errno : fd;
}

static int serial_open_tty(struct serial *s, struct failure *f)
{
	s->in_fd = serial_reopen(STDIN_FILENO, O_RDONLY);
	s->out_fd = serial_reopen(STDOUT_FILENO, O_WRONLY);
	if (s->out_fd < 0)
		return failure_set(f, STATUS_FAILED, "--serial tty: stdout: %s",
				   strerror(-s->out_fd));
	return 0;
}

static int serial_open_pty(const struct run_dir *dir, struct serial *s, struct failure *f)
{
	struct termios raw;
	unsigned number;
	int locked = 0;

	s->in_fd = open("/dev/ptmx", O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (s->in_fd < 0 || ioctl(s->in_fd, TIOCSPTLCK, &locked) < 0 ||
	    ioctl(s->in_fd, TIOCGPTN, &number) < 0)
		return failure_set(f, STATUS_FAILED, "--serial pty: %s", strerror(errno));
	s->slave_fd = ioctl(s->in_fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (s->slave_fd < 0 || tcgetattr(s->slave_fd, &raw) < 0)
		return failure_set(f, STATUS_FAILED, "--serial pty: %s", strerror(errno));
	cfmakeraw(&raw);
	(void)tcsetattr(s->slave_fd, TCSANOW, &raw);
	s->out_fd = fcntl(s->in_fd, F_DUPFD_CLOEXEC, 3);
	if (s->out_fd < 0)
		return failure_set(f, STATUS_FAILED, "--serial pty: %s", strerror(errno));
	(void)snprintf(s->pty_path, sizeof(s->pty_path), "/dev/pts/%u", number);
	if (symlinkat(s->pty_path, dir->dir_fd, RUN_DIR_PTY) < 0)
		return failure_set(f, STATUS_FAILED, "--serial pty: %s: %s", RUN_DIR_PTY,
				   strerror(errno));
	return 0;
}

int serial_open(const struct vm_config *config, const struct run_dir *dir, struct serial *ret,
		struct failure *f)
{
	switch (config->serial) {
	case SERIAL_OFF:
	case SERIAL_NULL:
		return 0;
	case SERIAL_TTY:
		return serial_open_tty(ret, f);
	case SERIAL_PTY:
		return serial_open_pty(dir, ret, f);
	case SERIAL_FILE:
		ret->out_fd = open(config->serial_path,
				   O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NOCTTY |
					   O_NONBLOCK | O_CLOEXEC,
				   0640);
		if (ret->out_fd < 0)
			return failure_set(f, STATUS_FAILED, "--serial file=%s: %s",
					   config->serial_path, strerror(errno));
		return 0;
	}
	return -EINVAL;
}

void serial_start(const struct vm_config *config, struct serial *serial)
{
	struct termios raw;

	if (config->serial != SERIAL_TTY || tcgetattr(STDIN_FILENO, &serial->saved) < 0)
		return;
	/* In the background tcsetattr would stop us with SIGTTOU. */
	if (tcgetpgrp(STDIN_FILENO) != getpgrp())
		return;
	raw = serial->saved;
	cfmakeraw(&raw);
	raw.c_oflag |= serial->saved.c_oflag & (OPOST | ONLCR);
	serial->is_raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

void serial_close(struct serial *serial)
{
	if (serial->is_raw)
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &serial->saved);
	serial->is_raw = false;
	serial->in_fd = fd_close(serial->in_fd);
	serial->out_fd = fd_close(serial->out_fd);
	serial->slave_fd = fd_close(serial->slave_fd);
}
