/* SPDX-License-Identifier: Apache-2.0 */
/* See vsock_host.h. Hostile: host programs, within their connections. */
#include "device-procs/vsock/vsock_host.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define EVENTS_ALWAYS (EPOLLIN | EPOLLRDHUP | EPOLLET)
#define PORT_DIGITS_MAX 10u

int vsock_host_init(struct vsock_host *h, int listener)
{
	struct sockaddr_un bound = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(bound) - 1; /* the last byte stays NUL */
	const char *base;
	int n;

	h->listener = listener;
	h->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (h->epoll_fd < 0 || getsockname(listener, (struct sockaddr *)&bound, &len) < 0)
		return -errno;
	base = strrchr(bound.sun_path, '/');
	base = base ? base + 1 : bound.sun_path;
	h->address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	n = snprintf(h->address.sun_path, sizeof(h->address.sun_path), "/%s_", base);
	if (base[0] == '\0' || (size_t)n + PORT_DIGITS_MAX >= sizeof(h->address.sun_path))
		return -ENAMETOOLONG;
	h->prefix_len = (uint32_t)n;
	return 0;
}

int vsock_host_accept(struct vsock_host *h)
{
	int fd = accept4(h->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int vsock_host_connect(struct vsock_host *h, uint32_t port)
{
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	(void)snprintf(h->address.sun_path + h->prefix_len,
		       sizeof(h->address.sun_path) - h->prefix_len, "%u", port);
	if (connect(fd, (const struct sockaddr *)&h->address, sizeof(h->address)) < 0)
		return -errno;
	return fd_steal(&fd);
}

int vsock_host_watch(struct vsock_host *h, int fd, uint16_t slot)
{
	struct epoll_event e = { .events = EVENTS_ALWAYS, .data.u32 = slot };

	return epoll_ctl(h->epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}

int vsock_host_watch_output(struct vsock_host *h, int fd, uint16_t slot, bool on)
{
	struct epoll_event e = {
		.events = EVENTS_ALWAYS | (on ? (uint32_t)EPOLLOUT : 0u), .data.u32 = slot,
	};

	return epoll_ctl(h->epoll_fd, EPOLL_CTL_MOD, fd, &e) < 0 ? -errno : 0;
}

void vsock_host_close(struct vsock_host *h, int fd, bool is_kept)
{
	if (fd < 0)
		return;
	if (is_kept) {
		/* close() alone ends neither the connection nor our watch while a copy is open. */
		(void)epoll_ctl(h->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
		(void)shutdown(fd, SHUT_RDWR);
	}
	(void)fd_close(fd);
}

int vsock_host_send(int fd, struct iovec *iov, uint32_t n)
{
	const struct msghdr m = { .msg_iov = iov, .msg_iovlen = n };
	ssize_t r = sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);

	/* Without memory is not full: nothing would tell when to try again. */
	if (r < 0 && errno == EAGAIN)
		return 0;
	return r < 0 ? -errno : (int)r;
}

int vsock_host_receive(int fd, struct iovec *iov, uint32_t n, bool *ret_is_drained)
{
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = n };
	ssize_t r = recvmsg(fd, &m, MSG_DONTWAIT);
	size_t room = 0;
	uint32_t i;

	if (r < 0) {
		*ret_is_drained = errno == EAGAIN;
		return -errno;
	}
	for (i = 0; i < n; i++)
		room += iov[i].iov_len;
	/* Fds that a peer sends along are dropped by the kernel, and cut the read short. */
	*ret_is_drained = (size_t)r < room && !(m.msg_flags & MSG_CTRUNC);
	return (int)r;
}

int vsock_host_command(int fd, uint32_t *ret_port)
{
	char text[VSOCK_COMMAND_MAX];
	ssize_t n = recv(fd, text, sizeof(text), MSG_PEEK | MSG_DONTWAIT);
	uint32_t len;
	int r;

	if (n < 0)
		return -errno;
	if (n == 0)
		return -EPIPE;
	r = vsock_command_parse(text, (uint32_t)n, ret_port, &len);
	if (r != 0)
		return r == VSOCK_COMMAND_PARTIAL ? -EAGAIN : -EPROTO;
	/* What was peeked at is there; a byte behind the line is the guest's. */
	return recv(fd, text, len, MSG_DONTWAIT) == (ssize_t)len ? 0 : -EPROTO;
}

int vsock_host_confirm(int fd, uint32_t port)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "OK %u\n", port);
	ssize_t r = send(fd, text, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);

	return r == n ? 0 : -EPIPE;
}
