/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The RX queue: packets for the guest. bulkhead-vsock.
 *
 * Connections that have something to say wait in a list and get their turn one after the other.
 * Data is read from the host socket straight into guest memory, as many buffers with one system
 * call as the data may fill; buffers that were not needed go back to the ring.
 *
 * Hostile: the buffers (too small, readable, outside of RAM) and the credit that the guest gives.
 */
#include "device-procs/vsock/vsock_internal.h"

#define TURNS_MAX 256u /* packets or reads before other events have their turn */
#define WANT_MIN 4096u
#define WANT_MAX (256u << 10)

static struct virtqueue *rx_queue(struct vsock_device *v)
{
	return device_virtqueue(v->dev, VSOCK_QUEUE_RX);
}

/* A chain that can hold a header at least. Return: 0; VIRTQUEUE_EMPTY: a kick will come; BROKEN */
static int next_chain(struct vsock_device *v, struct virtqueue_chain *chain)
{
	struct virtqueue *vq = rx_queue(v);
	uint32_t i;

	for (i = 0; i < vq->size; i++) {
		int r = virtqueue_pop(vq, chain);

		if (r == VIRTQUEUE_EMPTY && !virtqueue_enable_notify(vq))
			return r;
		if (r == VIRTQUEUE_EMPTY)
			continue;
		if (r != 0 || vsock_packet_can_hold(chain))
			return r;
		device_count(v->dev, DEVICE_COUNTER_BAD_REQUESTS, 1);
		virtqueue_push(vq, chain->head, 0);
	}
	device_kick_again(v->dev, VSOCK_QUEUE_RX);
	return VIRTQUEUE_EMPTY;
}

/* The header also tells how far we are, so a credit update is not due any more. */
static void write_header(struct vsock_device *v, struct vsock_conn *c,
			 const struct virtqueue_chain *chain, enum vsock_op op, uint32_t len)
{
	const struct vsock_packet p = {
		.src_cid = VSOCK_HOST_CID,
		.dst_cid = v->cid,
		.src_port = c->r.host_port,
		.dst_port = c->r.guest_port,
		.len = len,
		.type = VSOCK_TYPE_STREAM,
		.op = (uint16_t)op,
		.flags = op == VSOCK_OP_SHUTDOWN ? c->r.host_shut : 0,
		.buf_alloc = VSOCK_BUFFER_BYTES,
		.fwd_cnt = c->r.fwd_cnt,
	};

	vsock_packet_write(chain, &p);
	c->r.fwd_told = c->r.fwd_cnt;
	c->r.due &= (uint8_t)~VSOCK_DUE_CREDIT_UPDATE;
	virtqueue_push(rx_queue(v), chain->head, VSOCK_HEADER_BYTES + len);
	device_count(v->dev, DEVICE_COUNTER_READS, 1);
}

static int send_reset(struct vsock_device *v)
{
	struct virtqueue_chain chain = { .spans = v->spans, .n_spans_max = VSOCK_QUEUE_SIZE };
	struct vsock_reset reset = vsock_store_next_reset(&v->store);
	const struct vsock_packet p = {
		.src_cid = VSOCK_HOST_CID,
		.dst_cid = v->cid,
		.src_port = reset.host_port,
		.dst_port = reset.guest_port,
		.type = VSOCK_TYPE_STREAM,
		.op = VSOCK_OP_RST,
	};
	int r = next_chain(v, &chain);

	if (r != 0)
		return r;
	vsock_packet_write(&chain, &p);
	virtqueue_push(rx_queue(v), chain.head, VSOCK_HEADER_BYTES);
	vsock_store_reset_done(&v->store);
	return 0;
}

/* In the order in which they make sense when several are due. */
static const struct {
	enum vsock_due due;
	enum vsock_op op;
} control_packets[] = {
	{ VSOCK_DUE_REQUEST, VSOCK_OP_REQUEST },
	{ VSOCK_DUE_RESPONSE, VSOCK_OP_RESPONSE },
	{ VSOCK_DUE_CREDIT_REQUEST, VSOCK_OP_CREDIT_REQUEST },
	{ VSOCK_DUE_CREDIT_UPDATE, VSOCK_OP_CREDIT_UPDATE },
	{ VSOCK_DUE_SHUTDOWN, VSOCK_OP_SHUTDOWN },
};

static int send_control(struct vsock_device *v, struct vsock_conn *c)
{
	struct virtqueue_chain chain = { .spans = v->spans, .n_spans_max = VSOCK_QUEUE_SIZE };
	uint32_t i = 0;
	int r = next_chain(v, &chain);

	if (r != 0)
		return r;
	while (!(c->r.due & control_packets[i].due))
		i++;
	c->r.due &= (uint8_t)~control_packets[i].due;
	write_header(v, c, &chain, control_packets[i].op, 0);
	return 0;
}

/* Chains for up to @want bytes, and the iovec of their payload. Return: chains */
static uint32_t take_chains(struct vsock_device *v, uint32_t want, uint32_t *ret_n_iov)
{
	uint32_t n = 0, n_spans = 0, n_iov = 0;
	struct virtqueue *vq = rx_queue(v);

	while (n < VSOCK_BATCH_CHAINS && want > 0 &&
	       n_spans <= VSOCK_BATCH_SPANS - VSOCK_QUEUE_SIZE) {
		struct virtqueue_chain *chain = &v->rx[n];
		struct span spans[VSOCK_QUEUE_SIZE];
		uint32_t room, n_parts, i;

		chain->spans = v->rx_spans + n_spans;
		chain->n_spans_max = VSOCK_QUEUE_SIZE;
		if (virtqueue_pop(vq, chain) != 0)
			break;
		room = vsock_packet_room(chain);
		if (room == 0) {
			virtqueue_unpop(vq, chain->head); /* next_chain() deals with it */
			break;
		}
		n_parts = vsock_packet_payload(chain, true, want, spans);
		for (i = 0; i < n_parts; i++)
			if (span_iovec(&spans[i], SPAN_DEVICE_WRITES, &v->iov[n_iov]) == 0)
				n_iov++;
		n_spans += chain->n_spans;
		want -= room < want ? room : want;
		n++;
	}
	*ret_n_iov = n_iov;
	return n;
}

/* The first chains of @n got @len bytes; the others go back, the last one first. */
static void give_chains(struct vsock_device *v, struct vsock_conn *c, uint32_t n, uint32_t len)
{
	uint32_t i, used;

	for (used = 0, i = len; i > 0; used++) {
		uint32_t room = vsock_packet_room(&v->rx[used]);

		i -= room < i ? room : i;
	}
	while (n > used)
		virtqueue_unpop(rx_queue(v), v->rx[--n].head);
	for (i = 0; i < used; i++) {
		uint32_t room = vsock_packet_room(&v->rx[i]), part = room < len ? room : len;

		c->r.rx_cnt += part;
		len -= part;
		write_header(v, c, &v->rx[i], VSOCK_OP_RW, part);
	}
}

static void adapt_want(struct vsock_conn *c, uint32_t asked, uint32_t got)
{
	if (got == asked && c->want < WANT_MAX)
		c->want *= 2;
	else if (got < c->want / 4 && c->want > WANT_MIN)
		c->want /= 2;
}

/*
 * One read. Return: 0; VIRTQUEUE_EMPTY: no buffer that holds data; VIRTQUEUE_BROKEN
 */
static int send_data(struct vsock_device *v, struct vsock_conn *c)
{
	uint32_t credit = vsock_credit_to_guest(c), want = credit < c->want ? credit : c->want;
	uint32_t n_iov, n = take_chains(v, want, &n_iov);
	bool is_drained;
	int r;

	if (n == 0) {
		struct virtqueue_chain chain = { .spans = v->spans,
						 .n_spans_max = VSOCK_QUEUE_SIZE };

		/* Nothing there, or a buffer without room for a byte, which is given back empty. */
		r = next_chain(v, &chain);
		if (r != 0)
			return r;
		if (vsock_packet_room(&chain) > 0) {
			virtqueue_unpop(rx_queue(v), chain.head);
			return 0;
		}
		device_count(v->dev, DEVICE_COUNTER_BAD_REQUESTS, 1);
		virtqueue_push(rx_queue(v), chain.head, 0);
		return 0;
	}
	r = vsock_host_receive(c->fd, v->iov, n_iov, &is_drained);
	give_chains(v, c, n, r > 0 ? (uint32_t)r : 0);
	if (r > 0) {
		device_count(v->dev, DEVICE_COUNTER_READ_BYTES, (uint64_t)r);
		adapt_want(c, want, (uint32_t)r);
		c->is_readable = !is_drained || c->has_end;
	} else if (r == -EAGAIN) {
		c->is_readable = false;
	} else {
		/* Whatever broke it, nothing more comes. */
		c->is_closed_by_host = c->is_closed_by_host || r < 0;
		vsock_conn_host_sends_no_more(v, c);
	}
	return 0;
}

/* One packet or one read of the connection whose turn it is. */
static int serve(struct vsock_device *v, struct vsock_conn *c)
{
	bool has_data = vsock_conn_has_data(c);

	if (c->r.due != 0)
		return send_control(v, c);
	if (has_data && vsock_credit_to_guest(c) > 0)
		return send_data(v, c);
	if (has_data && !c->asked_credit) {
		c->asked_credit = true;
		c->r.due |= VSOCK_DUE_CREDIT_REQUEST;
		return 0;
	}
	vsock_table_unready(&v->table, c);
	return 0;
}

static int serve_next(struct vsock_device *v)
{
	struct vsock_conn *c = &v->table.conns[v->table.first_ready];
	int r;

	vsock_conn_begin(v, c);
	r = serve(v, c);
	vsock_conn_end(v, c);
	if (r == 0 && c->is_ready) { /* the others first */
		vsock_table_unready(&v->table, c);
		vsock_table_ready(&v->table, c);
	}
	return r;
}

int vsock_to_guest(struct vsock_device *v)
{
	uint32_t i;
	int r = 0;

	for (i = 0; i < TURNS_MAX && r == 0; i++) {
		if (vsock_store_resets(&v->store) > 0)
			r = send_reset(v);
		else if (v->table.first_ready != VSOCK_NO_SLOT)
			r = serve_next(v);
		else
			break;
	}
	if (v->tx_waits && vsock_store_resets(&v->store) <= VSOCK_RESETS_WAIT / 2) {
		v->tx_waits = false;
		device_kick_again(v->dev, VSOCK_QUEUE_TX);
	}
	if (r == 0 && i == TURNS_MAX)
		device_kick_again(v->dev, VSOCK_QUEUE_RX);
	return r == VIRTQUEUE_BROKEN ? r : 0;
}
