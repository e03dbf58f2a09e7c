/* SPDX-License-Identifier: Apache-2.0 */
#include "vsock.h"

#define QUEUE_SIZE 256
#define KEPT_MAX 256u
#define KEPT_BYTES 4096u

/* Packets that came while another connection was waited for, in their order. */
static struct kept {
	struct vsock_header h;
	uint8_t data[KEPT_BYTES];
} kept[KEPT_MAX];
static unsigned n_kept;

uint8_t vsock_last[VSOCK_TX_BYTES];

uint8_t vsock_pattern(uint32_t at)
{
	return (uint8_t)(at ^ at >> 8 ^ at >> 16);
}

void vsock_recycle(struct vsock *v, unsigned i)
{
	vq_desc(&v->rx, (uint16_t)i, v->rx_data[i], v->rx_bytes, DESC_WRITE, 0);
	vq_push(&v->rx, (uint16_t)i);
}

bool vsock_start(struct vsock *v, struct vdev *dev, uint64_t features, unsigned n_rx,
		 uint32_t rx_bytes)
{
	if (!vdev_start(dev, features))
		return false;
	n_kept = 0;
	v->dev = dev;
	v->cid = mmio_read32(dev->config) | (uint64_t)mmio_read32(dev->config + 4) << 32;
	v->rx_bytes = rx_bytes;
	v->n_rx = n_rx;
	vq_make(&v->rx, dev, VSOCK_RX, QUEUE_SIZE);
	vq_make(&v->tx, dev, VSOCK_TX, QUEUE_SIZE);
	vq_make(&v->event, dev, VSOCK_EVENT, QUEUE_SIZE);
	v->tx_header = memory_alloc(64, 64);
	v->tx_data = memory_alloc(VSOCK_TX_BYTES, 4096);
	vq_enable(&v->rx);
	vq_enable(&v->tx);
	vq_enable(&v->event);
	vdev_driver_ok(dev);
	for (unsigned i = 0; i < n_rx; i++) {
		v->rx_data[i] = memory_alloc(rx_bytes, 64);
		vsock_recycle(v, i);
	}
	vq_kick(&v->rx);
	return true;
}

struct vsock_header vsock_make(const struct vsock *v, enum vsock_op op, uint32_t guest_port,
			       uint32_t host_port)
{
	return (struct vsock_header){
		.src_cid = v->cid,
		.dst_cid = VSOCK_HOST_CID,
		.src_port = guest_port,
		.dst_port = host_port,
		.type = VSOCK_STREAM,
		.op = (uint16_t)op,
		.buf_alloc = VSOCK_BUFFER,
	};
}

bool vsock_send(struct vsock *v, const struct vsock_header *h, uint32_t len)
{
	struct part parts[2] = { { v->tx_header, VSOCK_HEADER_BYTES, false },
				 { v->tx_data, len, false } };
	struct vring_used_elem elem;

	*v->tx_header = *h;
	vq_chain(&v->tx, 0, parts, len ? 2 : 1);
	vq_push(&v->tx, 0);
	vq_kick(&v->tx);
	return vq_wait(&v->tx, TIMEOUT_REQUEST, &elem) && elem.id == 0 && elem.len == 0;
}

int64_t vsock_receive(struct vsock *v, uint64_t timeout_ms, struct vsock_header *ret, void *data,
		      uint32_t max)
{
	struct vring_used_elem elem;
	uint32_t len;

	if (!vq_wait(&v->rx, timeout_ms, &elem))
		return -1;
	if (elem.id >= v->n_rx || elem.len < VSOCK_HEADER_BYTES || elem.len > v->rx_bytes)
		return -2;
	memcpy(ret, v->rx_data[elem.id], sizeof(*ret));
	len = elem.len - VSOCK_HEADER_BYTES;
	if (len != ret->len || (len && ret->op != VSOCK_RW))
		return -2;
	if (data)
		memcpy(data, v->rx_data[elem.id] + VSOCK_HEADER_BYTES, len < max ? len : max);
	vsock_recycle(v, elem.id);
	vq_kick(&v->rx);
	return len;
}

void vconn_make(struct vconn *c, struct vsock *v, uint32_t host_port)
{
	static uint32_t last_port = 1023;

	*c = (struct vconn){
		.v = v, .guest_port = ++last_port, .host_port = host_port, .buf_alloc = VSOCK_BUFFER
	};
}

bool vconn_send(struct vconn *c, enum vsock_op op, uint32_t flags, uint32_t len)
{
	struct vsock_header h = vsock_make(c->v, op, c->guest_port, c->host_port);

	h.flags = flags;
	h.len = len;
	h.buf_alloc = c->buf_alloc;
	h.fwd_cnt = c->fwd_cnt;
	c->tx_cnt += len;
	return vsock_send(c->v, &h, len);
}

/* A connection that is made knows both ports; one that is awaited, only ours. */
static bool vconn_is_for(const struct vconn *c, const struct vsock_header *h)
{
	if (c->host_port == 0)
		return h->op == VSOCK_REQUEST && h->dst_port == c->guest_port;
	return h->src_cid == VSOCK_HOST_CID && h->dst_cid == c->v->cid &&
	       h->type == VSOCK_STREAM && h->src_port == c->host_port &&
	       h->dst_port == c->guest_port;
}

static bool vconn_check(const struct vconn *c, const uint8_t *data, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++) {
		if (data[i] != vsock_pattern(c->rx_cnt + i))
			return false;
	}
	return true;
}

/* Into vsock_last; Return: payload bytes, -1: none */
static int64_t vconn_take_kept(const struct vconn *c, struct vsock_header *ret)
{
	for (unsigned i = 0; i < n_kept; i++) {
		if (!vconn_is_for(c, &kept[i].h))
			continue;
		*ret = kept[i].h;
		memcpy(vsock_last, kept[i].data, kept[i].h.len);
		memmove(&kept[i], &kept[i + 1], (n_kept - i - 1) * sizeof(kept[0]));
		n_kept--;
		return ret->len;
	}
	return -1;
}

static int64_t vconn_take_new(const struct vconn *c, uint64_t timeout_ms, struct vsock_header *ret)
{
	uint64_t deadline = time_deadline(timeout_ms);

	while (!time_passed(deadline)) {
		int64_t len = vsock_receive(c->v, timeout_ms, ret, vsock_last, sizeof(vsock_last));

		if (len < 0 || vconn_is_for(c, ret))
			return len;
		if (n_kept == KEPT_MAX || len > KEPT_BYTES)
			continue;
		kept[n_kept].h = *ret;
		memcpy(kept[n_kept++].data, vsock_last, (size_t)len);
	}
	return -1;
}

enum vsock_op vconn_next(struct vconn *c, uint64_t timeout_ms, int64_t *ret_len)
{
	struct vsock_header h;
	int64_t len = vconn_take_kept(c, &h);

	if (len < 0)
		len = vconn_take_new(c, timeout_ms, &h);
	if (len < 0)
		return VSOCK_NONE;
	*ret_len = vconn_check(c, vsock_last, (uint32_t)len) ? len : -1;
	c->is_wrong |= *ret_len < 0;
	c->host_port = h.src_port;
	c->rx_cnt += (uint32_t)len;
	c->peer_fwd_cnt = h.fwd_cnt;
	c->peer_buf_alloc = h.buf_alloc;
	c->is_reset |= h.op == VSOCK_RST;
	if (h.op == VSOCK_SHUTDOWN)
		c->shut |= h.flags;
	return h.op;
}

enum vsock_op vconn_connect(struct vconn *c, struct vsock *v, uint32_t host_port)
{
	int64_t len;

	vconn_make(c, v, host_port);
	if (!vconn_send(c, VSOCK_REQUEST, 0, 0))
		return VSOCK_NONE;
	return vconn_next(c, TIMEOUT_REQUEST, &len);
}

/* Tells that what came was taken, once it is much. */
static bool vconn_take(struct vconn *c)
{
	if (c->rx_cnt - c->fwd_cnt < c->buf_alloc / 2)
		return true;
	c->fwd_cnt = c->rx_cnt;
	return vconn_send(c, VSOCK_CREDIT_UPDATE, 0, 0);
}

bool vconn_write(struct vconn *c, uint64_t len)
{
	while (len > 0) {
		uint32_t used = c->tx_cnt - c->peer_fwd_cnt, part = VSOCK_TX_BYTES;
		int64_t got;

		if (used >= c->peer_buf_alloc) {
			if (vconn_next(c, TIMEOUT_REQUEST, &got) == VSOCK_NONE || got < 0 ||
			    c->is_reset || !vconn_take(c))
				return false;
			continue;
		}
		part = part < len ? part : (uint32_t)len;
		part = part < c->peer_buf_alloc - used ? part : c->peer_buf_alloc - used;
		for (uint32_t i = 0; i < part; i++)
			c->v->tx_data[i] = vsock_pattern(c->tx_cnt + i);
		if (!vconn_send(c, VSOCK_RW, 0, part))
			return false;
		len -= part;
	}
	return true;
}

bool vconn_read_to(struct vconn *c, uint32_t end)
{
	while (c->rx_cnt < end) {
		int64_t got = 0;

		if (vconn_next(c, TIMEOUT_REQUEST, &got) == VSOCK_NONE || got < 0 || c->is_reset)
			return false;
		if (!vconn_take(c))
			return false;
	}
	return c->rx_cnt == end;
}

bool vconn_expect(struct vconn *c, enum vsock_op op)
{
	for (;;) {
		int64_t len;
		enum vsock_op next = vconn_next(c, TIMEOUT_REQUEST, &len);

		if (next == op)
			return true;
		/* The host's end may have come first. */
		if (next == VSOCK_NONE || next == VSOCK_RST || next == VSOCK_REQUEST ||
		    next == VSOCK_RESPONSE)
			return false;
	}
}

bool vconn_close(struct vconn *c)
{
	return vconn_send(c, VSOCK_SHUTDOWN, VSOCK_SHUT_BOTH, 0) && vconn_expect(c, VSOCK_RST);
}

enum vsock_op vconn_await(struct vconn *c, struct vsock *v, uint32_t guest_port)
{
	int64_t len;

	*c = (struct vconn){ .v = v, .guest_port = guest_port, .buf_alloc = VSOCK_BUFFER };
	return vconn_next(c, TIMEOUT_REQUEST, &len);
}

bool vconn_say(struct vconn *c, const char *text)
{
	memcpy(c->v->tx_data, text, strlen(text));
	return vconn_send(c, VSOCK_RW, 0, (uint32_t)strlen(text));
}

bool vconn_hears(struct vconn *c, const char *text)
{
	char heard[128];
	size_t n = 0;

	while (n < sizeof(heard) - 1 && (n == 0 || heard[n - 1] != '\n')) {
		uint32_t before = c->rx_cnt;
		int64_t len;

		if (vconn_next(c, TIMEOUT_REQUEST, &len) == VSOCK_NONE || c->is_reset)
			return false;
		for (uint32_t i = 0; i < c->rx_cnt - before && n < sizeof(heard) - 1; i++)
			heard[n++] = (char)vsock_last[i];
	}
	heard[n] = '\0';
	return string_starts(heard, text);
}
