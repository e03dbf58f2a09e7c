/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of the evil disk: well-formed ones by the codec, all others byte by byte. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "evil.h"

#define FDS_MAX 300

void wire_number(struct wire *w, uint32_t field, uint64_t value)
{
	uint64_t numbers[] = { (uint64_t)field << 3, value };

	for (size_t i = 0; i < 2; i++) {
		uint64_t v = numbers[i];

		for (; v >= 0x80; v >>= 7)
			w->bytes[w->len++] = (uint8_t)(v | 0x80);
		w->bytes[w->len++] = (uint8_t)v;
	}
}

void wire_bytes(struct wire *w, uint32_t field, const void *data, size_t len)
{
	size_t at = w->len;

	wire_number(w, field, len);
	w->bytes[at] |= 2; /* length-delimited: bits 0 to 2 of the tag, in its first byte */
	if (len > 0)
		memcpy(w->bytes + w->len, data, len);
	w->len += len;
}

void wire_wrap(struct wire *w, uint32_t field, const struct wire *body)
{
	wire_bytes(w, field, body->bytes, body->len);
}

void wire_envelope(const struct evil *e, struct wire *w, uint32_t seq)
{
	w->len = 0;
	wire_number(w, 1, e->generation);
	if (seq != 0)
		wire_number(w, 2, seq);
}

static void put_fds(struct msghdr *hdr, const int *fds, size_t n_fds)
{
	struct cmsghdr *c;

	hdr->msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
	c = CMSG_FIRSTHDR(hdr);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
	memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
}

bool evil_send_bytes(const void *data, size_t len, const int *fds, size_t n_fds)
{
	static union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = len };
	struct msghdr hdr = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct pollfd room = { .fd = EVIL_CHANNEL_FD, .events = POLLOUT };

	if (n_fds > 0) {
		hdr.msg_control = control.bytes;
		put_fds(&hdr, fds, n_fds);
	}
	while (sendmsg(EVIL_CHANNEL_FD, &hdr, MSG_NOSIGNAL) < 0) {
		if (errno != EAGAIN && errno != EINTR)
			return false;
		(void)poll(&room, 1, 100);
	}
	return true;
}

void evil_send_wire(const struct wire *w)
{
	(void)evil_send_bytes(w->bytes, w->len, NULL, 0);
}

void evil_send(const struct evil *e, const struct message *m, const int *fds, size_t n_fds)
{
	static uint8_t frame[MESSAGE_FRAME_MAX];
	struct message copy = *m;
	size_t len;

	if (copy.generation == 0)
		copy.generation = e->generation;
	if (message_encode(&copy, frame, &len) != 0)
		evil_die("a message cannot be encoded");
	(void)evil_send_bytes(frame, len, fds, n_fds);
}

void evil_send_empty(const struct evil *e, enum message_type type)
{
	struct message m = { .type = type };

	evil_send(e, &m, NULL, 0);
}

void evil_reply(const struct evil *e, uint32_t seq, int32_t result)
{
	struct message m = { .type = MESSAGE_REPLY, .seq = seq, .reply = { .result = result } };

	evil_send(e, &m, NULL, 0);
}

struct message evil_hello_message(void)
{
	struct message m = {
		.type = MESSAGE_HELLO,
		.hello = {
			.protocol = PROTOCOL_VERSION,
			.type = DEVICE_TYPE_BLK,
			.features = VIRTIO_F_VERSION_1_BIT | VIRTIO_F_INDIRECT_DESC_BIT,
			.n_queues = 1,
			.queue_size_max = 128,
			.config_len = EVIL_CONFIG_LEN,
			.config = { 0, 8 }, /* capacity: 2048 sectors */
			.config_writable_len = EVIL_CONFIG_LEN,
		},
	};

	memset(m.hello.config_writable, 0xff, EVIL_CONFIG_LEN);
	return m;
}

void evil_hello(const struct evil *e)
{
	struct message m = evil_hello_message();

	evil_send(e, &m, NULL, 0);
}
