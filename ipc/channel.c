/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Channels; see channel.h. Runs in every process; every frame and every fd that arrives comes
 * from a possibly hostile peer.
 *
 * A channel makes these system calls: channel_new() getsockopt and what malloc needs; afterwards
 * only sendmsg, recvmsg, close (of surplus fds) and, in channel_receive_wait(), poll.
 *
 * Buffers: one frame each way, allocated once. Sizes above malloc's mmap threshold come as
 * untouched pages, so a channel with small frames costs a page or two. In the kernel a sender
 * may queue SO_SNDBUF bytes, counted with overhead (about 0.8 KiB for a small frame) and charged
 * to the sender; channel_pair() asks for four full frames each way, which is what a stuck peer
 * can hold back before the sender sees -EAGAIN.
 */
#include "ipc/channel.h"

#include <assert.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "ipc/clock.h"

#define SEND_QUEUE_BYTES (4 * (int)MESSAGE_FRAME_MAX)
#define FAULT_MAX 96

/* SCM_MAX_FD of the kernel: what one sendmsg() can carry, so a smaller buffer would lose fds. */
#define RECEIVED_FDS_MAX 253

struct channel {
	int fd;
	char fault[FAULT_MAX]; /* not empty: condemned, refuses everything */
	bool has_lost_fds;
	uint8_t out[MESSAGE_FRAME_MAX];
	uint8_t in[MESSAGE_FRAME_MAX + 1]; /* + 1: a longer frame shows itself */
};

static_assert(sizeof(struct channel) >= 128 * 1024, "comes from mmap, untouched");

/* Room for the fds of one frame, aligned as struct cmsghdr wants it. */
union control_received {
	struct cmsghdr align;
	uint8_t bytes[CMSG_SPACE(RECEIVED_FDS_MAX * sizeof(int))];
};

union control_sent {
	struct cmsghdr align;
	uint8_t bytes[CMSG_SPACE(FDSET_MAX * sizeof(int))];
};

int channel_pair(int *ret_a, int *ret_b)
{
	int size = SEND_QUEUE_BYTES;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0)
		return -errno;
	/* A smaller net.core.wmem_max only makes -EAGAIN come earlier. */
	for (int i = 0; i < 2; i++)
		(void)setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	*ret_a = fds[0];
	*ret_b = fds[1];
	return 0;
}

int channel_new(int fd, struct channel **ret)
{
	cleanup_fd int owned = fd;
	socklen_t len = sizeof(int);
	struct channel *ch;
	int type = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0 || type != SOCK_SEQPACKET)
		return -EINVAL;
	ch = malloc(sizeof(*ch));
	if (ch == NULL)
		return -ENOMEM;
	ch->fd = fd_steal(&owned);
	ch->fault[0] = '\0';
	ch->has_lost_fds = false;
	*ret = ch;
	return 0;
}

struct channel *channel_free(struct channel *ch)
{
	if (ch != NULL) {
		fd_close(ch->fd);
		free(ch);
	}
	return NULL;
}

int channel_fd(const struct channel *ch)
{
	return ch->fd;
}

const char *channel_fault(const struct channel *ch)
{
	return ch->fault;
}

bool channel_has_lost_fds(const struct channel *ch)
{
	return ch->has_lost_fds;
}

static int put_fds(struct msghdr *hdr, union control_sent *control, const struct fdset *fds)
{
	struct cmsghdr *c;

	for (uint32_t i = 0; i < fds->n; i++) {
		if (fds->fds[i] < 0)
			return -EBADF;
	}
	memset(control, 0, sizeof(*control));
	hdr->msg_control = control->bytes;
	hdr->msg_controllen = CMSG_SPACE(fds->n * sizeof(int));
	c = CMSG_FIRSTHDR(hdr);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(fds->n * sizeof(int));
	memcpy(CMSG_DATA(c), fds->fds, fds->n * sizeof(int));
	return 0;
}

int channel_send(struct channel *ch, const struct message *m, const struct fdset *fds)
{
	uint32_t n_fds = fds != NULL ? fds->n : 0;
	struct iovec iov = { .iov_base = ch->out };
	struct msghdr hdr = { .msg_iov = &iov, .msg_iovlen = 1 };
	union control_sent control;
	ssize_t sent;
	int r;

	if (ch->fault[0] != '\0')
		return CHANNEL_PEER_BAD;
	r = message_encode(m, ch->out, &iov.iov_len);
	if (r != 0)
		return r;
	if (n_fds != message_n_fds(m) || n_fds > FDSET_MAX)
		return -EINVAL;
	if (n_fds > 0) {
		r = put_fds(&hdr, &control, fds);
		if (r != 0)
			return r;
	}
	do
		sent = sendmsg(ch->fd, &hdr, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	if (sent >= 0)
		return 0; /* a SEQPACKET frame goes as a whole or not at all */
	if (errno == EPIPE || errno == ECONNRESET)
		return CHANNEL_CLOSED;
	return -errno;
}

static int channel_condemn(struct channel *ch, const char *why)
{
	(void)snprintf(ch->fault, sizeof(ch->fault), "%s", why);
	return CHANNEL_PEER_BAD;
}

/*
 * Every fd that came along goes into @fds, and what does not fit there is closed at once.
 * Return: how many there were.
 */
static uint32_t take_fds(struct msghdr *hdr, struct fdset *fds)
{
	uint32_t n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(hdr); c != NULL; c = CMSG_NXTHDR(hdr, c)) {
		size_t count;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++, n++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (fdset_add(fds, fd) != 0)
				continue; /* -ENOSPC, and it is closed */
		}
	}
	return n;
}

/* Return: bytes received, 0 when the peer is gone; -errno. */
static ssize_t receive_frame(struct channel *ch, struct msghdr *hdr, size_t control_len)
{
	/*
	 * A peer that closed with unread frames of ours in its queue is reported once by
	 * ECONNRESET, ahead of the frames that it sent before: its last words are behind the
	 * error. EINTR is not expected from a call that does not wait, but harmless.
	 */
	for (;;) {
		ssize_t got;

		hdr->msg_controllen = control_len;
		got = recvmsg(ch->fd, hdr, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (got >= 0)
			return got;
		if (errno != EINTR && errno != ECONNRESET)
			return -errno;
	}
}

static int check_frame(struct channel *ch, const struct msghdr *hdr, size_t len, uint32_t n_fds,
		       struct message *ret)
{
	int r;

	if ((hdr->msg_flags & MSG_TRUNC) != 0 || len > MESSAGE_FRAME_MAX)
		return channel_condemn(ch, "frame is too long");
	if (n_fds > FDSET_MAX)
		return channel_condemn(ch, "too many descriptors");
	if ((hdr->msg_flags & MSG_CTRUNC) != 0) {
		ch->has_lost_fds = true;
		return channel_condemn(ch, "descriptors were lost");
	}
	if (len == 0)
		return channel_condemn(ch, "empty frame with descriptors");
	r = message_decode(ch->in, len, n_fds, ret);
	if (r > 0)
		return channel_condemn(ch, "malformed message");
	return r;
}

int channel_receive(struct channel *ch, struct message *ret, struct fdset *ret_fds)
{
	struct iovec iov = { .iov_base = ch->in, .iov_len = sizeof(ch->in) };
	union control_received control;
	struct msghdr hdr = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
	};
	uint32_t n_fds;
	ssize_t got;
	int r;

	fdset_clear(ret_fds);
	if (ch->fault[0] != '\0')
		return CHANNEL_PEER_BAD;
	got = receive_frame(ch, &hdr, sizeof(control.bytes));
	if (got == -EAGAIN)
		return CHANNEL_EMPTY;
	if (got < 0)
		return (int)got;
	n_fds = take_fds(&hdr, ret_fds);
	/* An empty frame cannot be told from the end; whoever sends one hangs up. */
	if (got == 0 && n_fds == 0 && (hdr.msg_flags & MSG_CTRUNC) == 0)
		return CHANNEL_CLOSED;
	r = check_frame(ch, &hdr, (size_t)got, n_fds, ret);
	if (r != 0)
		fdset_clear(ret_fds);
	return r;
}

int channel_receive_wait(struct channel *ch, uint64_t deadline_ms, struct message *ret,
			 struct fdset *ret_fds)
{
	for (;;) {
		struct pollfd p = { .fd = ch->fd, .events = POLLIN };
		int left = clock_left_ms(deadline_ms);
		int r = channel_receive(ch, ret, ret_fds);

		if (r != CHANNEL_EMPTY)
			return r;
		if (left == 0)
			return CHANNEL_TIMEOUT;
		if (poll(&p, 1, left) < 0 && errno != EINTR)
			return -errno;
	}
}

int message_dispatch(const struct message_rule *rules, unsigned state, void *ctx,
		     const struct message *m, struct fdset *fds)
{
	if (state >= 32)
		return CHANNEL_PEER_BAD;
	for (; rules->type != MESSAGE_NONE; rules++) {
		if (rules->type == m->type && (rules->states >> state & 1) != 0)
			return rules->handle(ctx, m, fds);
	}
	return CHANNEL_PEER_BAD;
}
