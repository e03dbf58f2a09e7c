/* SPDX-License-Identifier: Apache-2.0 */
/* The host side of COM1 and of the virtio console. Runs in the warden. */
#include "vmm-core/warden/chardev.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* A description of its own for a terminal or FIFO, a duplicate of anything else. */
static int chardev_reopen(int from, int flags)
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

/* "--serial pty: reason" */
static int chardev_fail(const struct chardev_request *q, const char *what, int error,
			struct failure *f)
{
	return failure_set(f, STATUS_FAILED, "%s %s: %s", q->option, what, strerror(error));
}

static int chardev_open_tty(const struct chardev_request *q, struct chardev *c, struct failure *f)
{
	c->is_tty = true;
	c->in_fd = chardev_reopen(STDIN_FILENO, O_RDONLY);
	c->out_fd = chardev_reopen(STDOUT_FILENO, O_WRONLY);
	if (c->out_fd < 0)
		return chardev_fail(q, "tty: stdout", -c->out_fd, f);
	c->has_size = isatty(c->out_fd) || (c->in_fd >= 0 && isatty(c->in_fd));
	return 0;
}

static int chardev_open_pty(const struct chardev_request *q, const struct run_dir *dir,
			    struct chardev *c, struct failure *f)
{
	struct termios raw;
	unsigned number;
	int locked = 0;

	c->in_fd = open("/dev/ptmx", O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (c->in_fd < 0 || ioctl(c->in_fd, TIOCSPTLCK, &locked) < 0 ||
	    ioctl(c->in_fd, TIOCGPTN, &number) < 0)
		return chardev_fail(q, "pty", errno, f);
	c->slave_fd = ioctl(c->in_fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (c->slave_fd < 0 || tcgetattr(c->slave_fd, &raw) < 0)
		return chardev_fail(q, "pty", errno, f);
	cfmakeraw(&raw);
	(void)tcsetattr(c->slave_fd, TCSANOW, &raw);
	c->out_fd = fcntl(c->in_fd, F_DUPFD_CLOEXEC, 3);
	if (c->out_fd < 0)
		return chardev_fail(q, "pty", errno, f);
	c->has_size = true;
	(void)snprintf(c->pty_path, sizeof(c->pty_path), "/dev/pts/%u", number);
	if (symlinkat(c->pty_path, dir->dir_fd, q->link) < 0)
		return failure_set(f, STATUS_FAILED, "%s pty: %s: %s", q->option, q->link,
				   strerror(errno));
	return 0;
}

static int chardev_open_file(const struct chardev_request *q, struct chardev *c,
			     struct failure *f)
{
	c->out_fd = open(q->path,
			 O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK |
				 O_CLOEXEC,
			 0640);
	if (c->out_fd < 0)
		return failure_set(f, STATUS_FAILED, "%s file=%s: %s", q->option, q->path,
				   strerror(errno));
	return 0;
}

/* A socket that nobody listens on any more was left by a warden that was killed. */
static void chardev_remove_stale(const struct sockaddr_un *address)
{
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;

	if (fd >= 0 && lstat(address->sun_path, &st) == 0 && S_ISSOCK(st.st_mode) &&
	    connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 &&
	    errno == ECONNREFUSED)
		(void)unlink(address->sun_path);
}

static int chardev_open_socket(const struct chardev_request *q, struct chardev *c,
			       struct failure *f)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t len = strlen(q->path);
	mode_t mask;
	int r;

	if (len >= sizeof(address.sun_path))
		return failure_set(f, STATUS_FAILED, "%s socket=%s: longer than %zu characters",
				   q->option, q->path, sizeof(address.sun_path) - 1);
	memcpy(address.sun_path, q->path, len);
	c->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->listen_fd < 0)
		return -errno;
	chardev_remove_stale(&address);
	mask = umask(0177);
	r = bind(c->listen_fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? errno : 0;
	(void)umask(mask);
	if (r == 0)
		c->socket_path = q->path;
	if (r == 0 && listen(c->listen_fd, 1) < 0)
		r = errno;
	return r == 0 ? 0 : failure_set(f, STATUS_FAILED, "%s socket=%s: %s", q->option, q->path,
					strerror(r));
}

int chardev_open(const struct chardev_request *request, const struct run_dir *dir,
		 struct chardev *ret, struct failure *f)
{
	switch (request->mode) {
	case SERIAL_OFF:
	case SERIAL_NULL:
		return 0;
	case SERIAL_TTY:
		return chardev_open_tty(request, ret, f);
	case SERIAL_PTY:
		return chardev_open_pty(request, dir, ret, f);
	case SERIAL_FILE:
		return chardev_open_file(request, ret, f);
	case SERIAL_SOCKET:
		return chardev_open_socket(request, ret, f);
	}
	return -EINVAL;
}

void chardev_start(struct chardev *chardev)
{
	struct termios raw;

	if (!chardev->is_tty || tcgetattr(STDIN_FILENO, &chardev->saved) < 0)
		return;
	/* In the background tcsetattr would stop us with SIGTTOU. */
	if (tcgetpgrp(STDIN_FILENO) != getpgrp())
		return;
	raw = chardev->saved;
	cfmakeraw(&raw);
	raw.c_oflag |= chardev->saved.c_oflag & (OPOST | ONLCR);
	chardev->is_raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

void chardev_close(struct chardev *chardev)
{
	if (chardev->is_raw)
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &chardev->saved);
	chardev->is_raw = false;
	chardev->in_fd = fd_close(chardev->in_fd);
	chardev->out_fd = fd_close(chardev->out_fd);
	chardev->listen_fd = fd_close(chardev->listen_fd);
	chardev->slave_fd = fd_close(chardev->slave_fd);
	if (chardev->socket_path != NULL)
		(void)unlink(chardev->socket_path);
	chardev->socket_path = NULL;
}
