/* SPDX-License-Identifier: Apache-2.0 */
#include "vsock.h"

#define QUEUE_SIZE 256

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

static bool vconn_is_for(const struct vconn *c, const struct vsock_header *h)
{
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

enum vsock_op vconn_next(struct vconn *c, uint64_t timeout_ms, int64_t *ret_len)
{
	static uint8_t data[VSOCK_TX_BYTES];
	uint64_t deadline = time_deadline(timeout_ms);
	struct vsock_header h;
	int64_t len;

	do {
		if (time_passed(deadline))
			return VSOCK_NONE;
		len = vsock_receive(c->v, timeout_ms, &h, data, sizeof(data));
		if (len < 0)
			return VSOCK_NONE;
	} while (!vconn_is_for(c, &h));
	*ret_len = len > (int64_t)sizeof(data) || !vconn_check(c, data, (uint32_t)len) ? -1 : len;
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
		if (next != VSOCK_RW && next != VSOCK_CREDIT_UPDATE && next != VSOCK_CREDIT_REQUEST)
			return false;
	}
}

bool vconn_close(struct vconn *c)
{
	return vconn_send(c, VSOCK_SHUTDOWN, VSOCK_SHUT_BOTH, 0) && vconn_expect(c, VSOCK_RST);
}
