/* SPDX-License-Identifier: Apache-2.0 */
/* The honest part of the evil disk: a disk full of zeroes that answers one thing at a time. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "evil.h"
#include "sandbox/sandbox.h"

static uint8_t frame[MESSAGE_FRAME_MAX];

/* This program's own mistakes must not look like what a test expects. */
void evil_die(const char *what)
{
	(void)dprintf(STDERR_FILENO, "evil-blk: %s: %s\n", what, strerror(errno));
	_exit(99);
}

void evil_stay(void)
{
	for (;;)
		(void)pause();
}

enum evil_next evil_at(struct evil *e, enum evil_step step)
{
	enum evil_next (*action)(struct evil *) = e->action;

	if (step != e->step || action == NULL)
		return NEXT_GO_ON;
	if (e->is_once)
		e->action = NULL;
	return action(e);
}

static void take_fds(struct evil *e, struct msghdr *hdr)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(hdr);
	int fd;

	fdset_clear(&e->fds);
	if (c == NULL)
		return;
	for (size_t i = 0; CMSG_LEN((i + 1) * sizeof(fd)) <= c->cmsg_len; i++) {
		memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
		if (fdset_add(&e->fds, fd) != 0)
			evil_die("too many fds");
	}
}

void evil_receive(struct evil *e)
{
	static union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(FDSET_MAX * sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = frame, .iov_len = sizeof(frame) };
	struct msghdr hdr = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes };
	struct pollfd p = { .fd = EVIL_CHANNEL_FD, .events = POLLIN };
	ssize_t n;

	do {
		hdr.msg_controllen = sizeof(control.bytes);
		(void)poll(&p, 1, -1);
		n = recvmsg(EVIL_CHANNEL_FD, &hdr, MSG_CMSG_CLOEXEC);
	} while (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNRESET));
	if (n <= 0) /* cut off, as it should be: stay, so that only a kill ends this process */
		evil_stay();
	take_fds(e, &hdr);
	if (message_decode(frame, (size_t)n, e->fds.n, &e->message) != 0)
		evil_die("the core sent nonsense");
	e->seq = e->message.seq;
	e->n_seen++;
}

void evil_sandbox(struct evil *e)
{
	static const struct sandbox_profile profile = {
		.name = "evil",
		.max_fds = 512,
		.max_threads = 16,
		.max_threads_sealed = 16,
		.max_locked = 1 << 20,
	};
	const struct sandbox_params params = {
		.uid = e->uid,
		.gid = e->gid,
		.parent_pidfd = e->parent_pidfd,
		.root_fd = e->root_fd,
		.network_fd = e->network_fd,
	};
	const char *step = "";
	int r = sandbox_enter(&profile, &params, &step);

	errno = -r;
	if (r < 0)
		evil_die(step);
}

static void signal_driver(struct evil *e)
{
	struct pollfd room = { .fd = e->call_fd, .events = POLLOUT };
	uint64_t one = 1;

	device_page_raise(e->page, DEVICE_INTERRUPT_QUEUE);
	if (poll(&room, 1, 0) == 0)
		return; /* call-full has made it blocking */
	if (write(e->call_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		evil_die("call");
}

static void serve_request(struct evil *e, struct virtqueue_chain *chain)
{
	static const uint8_t zeroes[512] = { 0 }, ok = 0;

	if (evil_at(e, STEP_REQUEST) == NEXT_SKIP)
		return;
	for (uint32_t i = chain->n_readable; i + 1 < chain->n_spans; i++) {
		uint32_t len = span_len(&chain->spans[i]);

		(void)!span_copy_out(&chain->spans[i], 0, zeroes,
				     len < sizeof(zeroes) ? len : sizeof(zeroes));
	}
	if (chain->last)
		(void)!span_copy_out(chain->last, span_len(chain->last) - 1, &ok, 1);
	virtqueue_push(&e->vq, chain->head, chain->writable_len);
	if (virtqueue_flush(&e->vq))
		signal_driver(e);
	(void)evil_at(e, STEP_SERVED);
}

static void serve_queue(struct evil *e)
{
	struct span spans[EVIL_SPANS];
	struct virtqueue_chain chain = { .spans = spans, .n_spans_max = EVIL_SPANS };
	uint64_t kicks;

	if (read(e->kick_fd, &kicks, sizeof(kicks)) < 0 && errno != EAGAIN)
		evil_die("kick");
	while (virtqueue_is_enabled(&e->vq) && virtqueue_pop(&e->vq, &chain) == 0)
		serve_request(e, &chain);
}

static void disable_queue(struct evil *e)
{
	e->kick_fd = fd_close(e->kick_fd);
	e->call_fd = fd_close(e->call_fd);
	virtqueue_disable(&e->vq);
}

static int enable_queue(struct evil *e)
{
	const struct message_enable_queue *m = &e->message.enable_queue;
	const struct virtqueue_setup setup = {
		.size = m->size,
		.desc = m->desc,
		.avail = m->avail,
		.used = m->used,
		.features = e->features,
	};

	disable_queue(e);
	e->kick_fd = fdset_steal(&e->fds, 0);
	e->call_fd = fdset_steal(&e->fds, 1);
	return virtqueue_enable(&e->vq, &setup) == 0 ? 0 : EINVAL;
}

static enum evil_step step_of(enum message_type type)
{
	if (type == MESSAGE_SET_FEATURES)
		return STEP_FEATURES;
	if (type == MESSAGE_ENABLE_QUEUE)
		return STEP_ENABLE;
	if (type == MESSAGE_RESET)
		return STEP_RESET;
	if (type == MESSAGE_PAUSE)
		return STEP_PAUSE;
	return type == MESSAGE_CONFIG_WRITTEN ? STEP_CONFIG : STEP_N_;
}

static void serve_message(struct evil *e)
{
	int result = 0;

	evil_receive(e);
	if (e->message.type == MESSAGE_SET_FEATURES)
		e->features = e->message.set_features.features;
	if (e->message.type == MESSAGE_ENABLE_QUEUE)
		result = enable_queue(e);
	if (e->message.type == MESSAGE_RESET)
		disable_queue(e);
	if (evil_at(e, step_of(e->message.type)) == NEXT_GO_ON && e->seq != 0)
		evil_reply(e, e->seq, result);
}

void evil_serve(struct evil *e)
{
	for (;;) {
		struct pollfd p[] = {
			{ .fd = EVIL_CHANNEL_FD, .events = POLLIN },
			{ .fd = e->kick_fd, .events = POLLIN },
		};

		(void)poll(p, 2, -1);
		if (p[0].revents)
			serve_message(e);
		if (p[1].revents && e->kick_fd >= 0)
			serve_queue(e);
	}
}
