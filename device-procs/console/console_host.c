/* SPDX-License-Identifier: Apache-2.0 */
/* See console_host.h. bulkhead-console; the peer on the host is trusted with its own console. */
#include "device-procs/console/console_host.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/log.h"

/* What a terminal that says "writable" takes without blocking: the kernel's WAKEUP_CHARS. */
#define BLOCKING_PIECE 256u

/* /dev/null and its like cannot be watched either: they have no poll and are always ready. */
static bool is_always_ready(int fd, mode_t mode)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT };

	if (S_ISREG(mode))
		return true;
	return S_ISCHR(mode) && !isatty(fd) && poll(&p, 1, 0) == 1 &&
	       (p.revents & (POLLIN | POLLOUT)) == (POLLIN | POLLOUT);
}

static int end_open(int fd, struct console_end *ret)
{
	struct stat st;
	int flags = fcntl(fd, F_GETFL);

	*ret = (struct console_end){ .fd = fd };
	if (flags < 0 || fstat(fd, &st) < 0)
		return -errno;
	ret->is_socket = S_ISSOCK(st.st_mode);
	ret->is_file = is_always_ready(fd, st.st_mode);
	ret->is_blocking = !ret->is_socket && !ret->is_file && !(flags & O_NONBLOCK);
	return 0;
}

int console_host_open(const struct console_config *config, struct fdset *fds,
		      struct console_host *ret)
{
	uint32_t i = 0;
	int r = 0;

	*ret = (struct console_host){
		.in.fd = -1, .out.fd = -1, .listen_fd = -1,
		.has_size = config->has_size, .is_pty = config->mode == SERIAL_PTY,
	};
	if (config->has_in)
		r = end_open(fdset_steal(fds, i++), &ret->in);
	if (r == 0 && config->has_out)
		r = end_open(fdset_steal(fds, i++), &ret->out);
	if (r == 0 && config->mode == SERIAL_SOCKET) {
		ret->listen_fd = fdset_steal(fds, i);
		r = ret->listen_fd < 0 ? -EBADF : 0;
	}
	return r;
}

int console_host_accept(struct console_host *h)
{
	int fd = accept4(h->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED ?
			       CONSOLE_HOST_WAIT :
			       -errno;
	h->in = h->out = (struct console_end){ .fd = fd, .is_socket = true };
	return 0;
}

void console_host_hang_up(struct console_host *h)
{
	if (h->in.fd != h->out.fd || h->listen_fd < 0) {
		/* Input is over; what takes the output is another file. */
		h->in.fd = fd_close(h->in.fd);
		return;
	}
	h->in.fd = fd_close(h->in.fd);
	h->out.fd = -1;
}

/* Return: may a read or write be tried at all? */
static bool is_ready(const struct console_end *e, short events)
{
	struct pollfd p = { .fd = e->fd, .events = events };

	return !e->is_blocking || poll(&p, 1, 0) == 1;
}

/* What a failed or empty transfer means; nothing of it is an error of this device. */
static int outcome(ssize_t r)
{
	if (r < 0 && (errno == EAGAIN || errno == EINTR))
		return CONSOLE_HOST_WAIT;
	return CONSOLE_HOST_NOBODY;
}

int console_host_read(struct console_host *h, void *to, uint32_t n, uint32_t *ret_n)
{
	const struct console_end *e = &h->in;
	struct iovec iov = { .iov_base = to, .iov_len = n };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t r;

	if (e->fd < 0)
		return CONSOLE_HOST_NOBODY;
	if (!is_ready(e, POLLIN))
		return CONSOLE_HOST_WAIT;
	r = e->is_socket ? recvmsg(e->fd, &m, MSG_DONTWAIT) : read(e->fd, to, n);
	if (r <= 0)
		return outcome(r);
	*ret_n = (uint32_t)r;
	return 0;
}

int console_host_write(struct console_host *h, const struct iovec *iov, uint32_t n_iov,
		       uint32_t *ret_n)
{
	const struct console_end *e = &h->out;
	struct iovec piece = iov[0];
	ssize_t r;
	int result;

	if (e->fd < 0)
		return CONSOLE_HOST_NOBODY;
	if (!is_ready(e, POLLOUT))
		return CONSOLE_HOST_WAIT;
	if (e->is_blocking) {
		if (piece.iov_len > BLOCKING_PIECE)
			piece.iov_len = BLOCKING_PIECE;
		iov = &piece;
		n_iov = 1;
	}
	if (e->is_socket) {
		struct msghdr m = {
			.msg_iov = (struct iovec *)(uintptr_t)iov, /* only read */
			.msg_iovlen = n_iov,
		};

		r = sendmsg(e->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	} else {
		r = writev(e->fd, iov, (int)n_iov);
	}
	if (r > 0) {
		*ret_n = (uint32_t)r;
		return 0;
	}
	result = outcome(r);
	if (result == CONSOLE_HOST_NOBODY && e->is_file)
		log_limited(LOG_LEVEL_WARNING, "output is dropped: %s", strerror(errno));
	return result;
}

bool console_host_size(const struct console_host *h, uint16_t *ret_columns, uint16_t *ret_rows)
{
	struct winsize size;

	if (!h->has_size)
		return false;
	if (ioctl(h->out.fd, TIOCGWINSZ, &size) < 0 && ioctl(h->in.fd, TIOCGWINSZ, &size) < 0)
		return false;
	*ret_columns = size.ws_col;
	*ret_rows = size.ws_row;
	return true;
}
