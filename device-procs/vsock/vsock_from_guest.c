/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TX queue: packets of the guest. bulkhead-vsock.
 *
 * Hostile: headers, payload and order of all packets. A packet that breaks a rule costs the guest
 * the connection that it names; a forged source or a foreign destination costs it nothing.
 *
 * Data goes from guest memory to the host socket without a copy, as many packets of one connection
 * at a time as lie in the queue one after the other. Only what the socket does not take is copied.
 */
#include "device-procs/vsock/vsock_internal.h"

#define SHOW_CHAINS 32u /* so many at most before the driver sees them as used */

static struct virtqueue *tx_queue(struct vsock_device *v)
{
	return device_virtqueue(v->dev, VSOCK_QUEUE_TX);
}

/* The bytes of the batch that the socket did not take, from @sent on, into the ring. */
static void keep_rest(struct vsock_device *v, struct vsock_conn *c, uint32_t sent)
{
	struct vsock_batch *b = &v->batch;
	uint16_t slot = vsock_table_slot(&v->table, c);
	uint32_t i, at = c->r.fwd_cnt;

	for (i = 0; i < b->n_spans; i++) {
		uint32_t len = span_len(&b->spans[i]);

		if (sent >= len) {
			sent -= len;
			continue;
		}
		vsock_store_put(&v->store, slot, at, &b->spans[i], sent, len - sent);
		at += len - sent;
		sent = 0;
	}
}

static int send_batch(struct vsock_device *v, struct vsock_conn *c)
{
	struct vsock_batch *b = &v->batch;
	uint32_t i;

	for (i = 0; i < b->n_spans; i++)
		if (span_iovec(&b->spans[i], SPAN_DEVICE_READS, &v->iov[i]) != 0)
			return -EFAULT;
	return vsock_host_send(c->fd, v->iov, b->n_spans);
}

/* Nothing of @c was unsent before. */
static void deliver_batch(struct vsock_device *v, struct vsock_conn *c)
{
	uint16_t slot = vsock_table_slot(&v->table, c);
	int r = send_batch(v, c);

	c->r.tx_cnt += v->batch.len;
	if (r < 0) {
		vsock_conn_host_takes_no_more(v, c);
		return;
	}
	vsock_conn_sent(v, c, (uint32_t)r);
	if (vsock_unsent(c) == 0)
		return;
	keep_rest(v, c, (uint32_t)r);
	c->is_blocked = true;
	if (vsock_host_watch_output(&v->host, c->fd, slot, true) < 0)
		vsock_conn_kill(v, c);
}

static void flush_batch(struct vsock_device *v)
{
	struct vsock_batch *b = &v->batch;
	struct vsock_conn *c = b->conn;
	uint32_t i;

	if (!c)
		return;
	vsock_conn_begin(v, c);
	deliver_batch(v, c);
	for (i = 0; i < b->n_chains; i++)
		virtqueue_push(tx_queue(v), b->heads[i], 0);
	vsock_conn_end(v, c);
	device_count(v->dev, DEVICE_COUNTER_WRITES, b->n_chains);
	device_count(v->dev, DEVICE_COUNTER_WRITE_BYTES, b->len);
	b->conn = NULL;
	b->n_chains = b->n_spans = b->len = 0;
}

static void add_to_batch(struct vsock_device *v, struct vsock_conn *c,
			 const struct virtqueue_chain *chain, uint32_t len)
{
	struct vsock_batch *b = &v->batch;

	b->conn = c;
	b->heads[b->n_chains++] = chain->head;
	b->n_spans += vsock_packet_payload(chain, false, len, b->spans + b->n_spans);
	b->len += len;
	if (b->n_chains == VSOCK_BATCH_CHAINS ||
	    b->n_spans > VSOCK_BATCH_SPANS - VSOCK_QUEUE_SIZE)
		flush_batch(v);
}

/* Behind what is in the ring already. */
static void put_in_ring(struct vsock_device *v, struct vsock_conn *c,
			const struct virtqueue_chain *chain, uint32_t len)
{
	struct span spans[VSOCK_QUEUE_SIZE];
	uint32_t n = vsock_packet_payload(chain, false, len, spans), i;

	for (i = 0; i < n; i++) {
		vsock_store_put(&v->store, vsock_table_slot(&v->table, c), c->r.tx_cnt, &spans[i],
				0, span_len(&spans[i]));
		c->r.tx_cnt += span_len(&spans[i]);
	}
}

static bool breaks_credit(const struct vsock_device *v, const struct vsock_conn *c,
			  const struct vsock_packet *p)
{
	uint32_t credit = vsock_credit_of_guest(c), batched = v->batch.conn == c ? v->batch.len : 0;

	return batched > credit || p->len > credit - batched;
}

/* Can it go straight from guest memory to the socket, behind what the batch holds? */
static bool can_batch(const struct vsock_device *v, const struct vsock_conn *c,
		      const struct vsock_packet *p)
{
	return p->op == VSOCK_OP_RW && p->len > 0 && c->r.state == VSOCK_OPEN &&
	       !(c->r.guest_shut & VSOCK_SHUTDOWN_SEND) &&
	       !(c->r.host_shut & VSOCK_SHUTDOWN_RECEIVE) && vsock_unsent(c) == 0 &&
	       !breaks_credit(v, c, p);
}

static void on_data(struct vsock_device *v, struct vsock_conn *c,
		    const struct virtqueue_chain *chain, const struct vsock_packet *p)
{
	if (c->r.state != VSOCK_OPEN || (c->r.guest_shut & VSOCK_SHUTDOWN_SEND) ||
	    breaks_credit(v, c, p)) {
		vsock_conn_kill(v, c);
	} else if (c->r.host_shut & VSOCK_SHUTDOWN_RECEIVE) {
		c->r.tx_cnt += p->len; /* the guest may not have heard yet: into the void */
		vsock_conn_sent(v, c, p->len);
	} else {
		put_in_ring(v, c, chain, p->len);
	}
}

static void on_response(struct vsock_device *v, struct vsock_conn *c)
{
	if (c->r.state != VSOCK_REQUESTED || (c->r.due & VSOCK_DUE_REQUEST) ||
	    vsock_host_confirm(c->fd, c->r.host_port) < 0) {
		vsock_conn_kill(v, c);
		return;
	}
	vsock_conn_attach(v, c, c->fd);
	c->is_readable = true; /* what the client sent behind its CONNECT line */
	vsock_table_ready(&v->table, c);
}

/* A packet for a connection that exists, or that it has just made: state CONNECTING, no fd. */
static void on_known(struct vsock_device *v, struct vsock_conn *c,
		     const struct virtqueue_chain *chain, const struct vsock_packet *p)
{
	switch (p->op) {
	case VSOCK_OP_RST:
		vsock_conn_forget(v, c); /* never answered */
		return;
	case VSOCK_OP_RESPONSE:
		on_response(v, c);
		break;
	case VSOCK_OP_RW:
		on_data(v, c, chain, p);
		break;
	default:
		if (c->r.state != VSOCK_OPEN || p->op == VSOCK_OP_REQUEST)
			vsock_conn_kill(v, c);
		else if (p->op == VSOCK_OP_SHUTDOWN)
			vsock_conn_guest_shuts(v, c, p->flags);
		else if (p->op == VSOCK_OP_CREDIT_REQUEST)
			vsock_conn_due(v, c, VSOCK_DUE_CREDIT_UPDATE);
	}
}

static void on_unknown(struct vsock_device *v, const struct vsock_packet *p, bool is_good)
{
	struct vsock_conn *c = NULL;

	if (is_good && p->op == VSOCK_OP_REQUEST)
		c = vsock_table_add(&v->table, p->src_port, p->dst_port);
	if (c) {
		vsock_conn_begin(v, c);
		c->r.peer_buf_alloc = p->buf_alloc;
		vsock_conn_connect(v, c);
		vsock_conn_end(v, c);
	} else if (p->op != VSOCK_OP_RST) {
		(void)vsock_store_reset(&v->store, p->src_port, p->dst_port);
	}
}

static void on_packet(struct vsock_device *v, const struct virtqueue_chain *chain,
		      const struct vsock_packet *p, bool is_good)
{
	struct vsock_conn *c = vsock_table_find(&v->table, p->src_port, p->dst_port);

	/* A batch holds the data of one connection, and nothing overtakes it. */
	if (v->batch.conn && !(v->batch.conn == c && is_good && can_batch(v, c, p))) {
		flush_batch(v);
		c = vsock_table_find(&v->table, p->src_port, p->dst_port);
	}
	if (!c) {
		on_unknown(v, p, is_good);
		virtqueue_push(tx_queue(v), chain->head, 0);
		return;
	}
	is_good = is_good && vsock_credit_learn(c, p);
	/* The guest may have made room; it need not say so again in a packet of its own. */
	if (is_good && vsock_conn_has_data(c))
		vsock_table_ready(&v->table, c);
	if (is_good && can_batch(v, c, p)) {
		add_to_batch(v, c, chain, p->len);
		return;
	}
	vsock_conn_begin(v, c);
	if (is_good)
		on_known(v, c, chain, p);
	else
		vsock_conn_kill(v, c);
	virtqueue_push(tx_queue(v), chain->head, 0);
	vsock_conn_end(v, c);
}

static void on_chain(struct vsock_device *v, const struct virtqueue_chain *chain)
{
	struct vsock_packet p;
	int r = vsock_packet_read(chain, v->cid, &p);

	if (r != 0)
		device_count(v->dev, DEVICE_COUNTER_BAD_REQUESTS, 1);
	if (r == VSOCK_PACKET_DROPPED)
		virtqueue_push(tx_queue(v), chain->head, 0);
	else
		on_packet(v, chain, &p, r == 0 && !chain->is_poisoned);
}

/* One packet leads to one reset at most, and a batch to one more. */
static bool has_room_for_resets(const struct vsock_device *v)
{
	return vsock_store_resets(&v->store) + 2 <= VSOCK_RESETS_WAIT;
}

int vsock_from_guest(struct vsock_device *v)
{
	struct virtqueue_chain chain = { .spans = v->spans, .n_spans_max = VSOCK_QUEUE_SIZE };
	struct virtqueue *vq = tx_queue(v);
	uint32_t i;
	int r = 0;

	virtqueue_disable_notify(vq);
	for (i = 0; i < vq->size && has_room_for_resets(v); i++) {
		r = virtqueue_pop(vq, &chain);
		if (r == VIRTQUEUE_EMPTY) {
			flush_batch(v);
			if (!virtqueue_enable_notify(vq))
				return 0;
			continue;
		}
		if (r != 0)
			break;
		on_chain(v, &chain);
		if (i % SHOW_CHAINS == SHOW_CHAINS - 1)
			device_show(v->dev, VSOCK_QUEUE_TX);
	}
	flush_batch(v);
	if (r == VIRTQUEUE_BROKEN)
		return r;
	/* More may be there. Kicks stay off; vsock_to_guest() comes back once resets have gone. */
	v->tx_waits = !has_room_for_resets(v);
	if (!v->tx_waits)
		device_kick_again(v->dev, VSOCK_QUEUE_TX);
	return 0;
}
