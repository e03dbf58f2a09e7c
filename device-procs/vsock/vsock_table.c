/* SPDX-License-Identifier: Apache-2.0 */
/* See vsock_table.h. Pure. Hostile: ports and counters of the guest; records of a predecessor. */
#include "device-procs/vsock/vsock_table.h"

#include <string.h>

#define WANT_FIRST 4096u /* what Linux posts */

/* Host ports that we choose: 2^30 to 2^31 - 1, as users of other hybrid sockets know them. */
#define HOST_PORT_BIT (1u << 30)
#define HOST_PORT_MASK (HOST_PORT_BIT - 1)

static uint32_t bucket_of(uint32_t guest_port, uint32_t host_port)
{
	uint64_t v = ((uint64_t)guest_port << 32 | host_port) * UINT64_C(0x9e3779b97f4a7c15);

	return (uint32_t)(v >> 53); /* VSOCK_BUCKETS = 2^11 */
}

_Static_assert(VSOCK_BUCKETS == 1u << 11, "bucket_of()");
_Static_assert((VSOCK_BUFFER_BYTES & (VSOCK_BUFFER_BYTES - 1)) == 0, "ring places");

void vsock_table_init(struct vsock_table *t)
{
	uint32_t i;

	memset(t, 0, sizeof(*t));
	memset(t->buckets, 0xff, sizeof(t->buckets));
	t->first_ready = t->last_ready = VSOCK_NO_SLOT;
	for (i = 0; i < VSOCK_SLOTS; i++) {
		t->conns[i].fd = -1;
		t->conns[i].next_hash = i + 1 < VSOCK_SLOTS ? (uint16_t)(i + 1) : VSOCK_NO_SLOT;
	}
}

struct vsock_conn *vsock_table_find(struct vsock_table *t, uint32_t guest_port,
				    uint32_t host_port)
{
	uint16_t i = t->buckets[bucket_of(guest_port, host_port)];

	for (; i != VSOCK_NO_SLOT; i = t->conns[i].next_hash) {
		struct vsock_conn *c = &t->conns[i];

		if (c->r.guest_port == guest_port && c->r.host_port == host_port)
			return c;
	}
	return NULL;
}

static struct vsock_conn *take_slot(struct vsock_table *t)
{
	struct vsock_conn *c;

	if (t->free == VSOCK_NO_SLOT)
		return NULL;
	c = &t->conns[t->free];
	t->free = c->next_hash;
	*c = (struct vsock_conn){ .fd = -1, .want = WANT_FIRST, .next_hash = VSOCK_NO_SLOT };
	c->r.id = ++t->last_id;
	return c;
}

/* From now on the pair finds it. */
static void name(struct vsock_table *t, struct vsock_conn *c, uint32_t guest_port,
		 uint32_t host_port)
{
	uint16_t *bucket = &t->buckets[bucket_of(guest_port, host_port)];

	c->r.guest_port = guest_port;
	c->r.host_port = host_port;
	c->next_hash = *bucket;
	*bucket = vsock_table_slot(t, c);
	t->n_connections++;
}

struct vsock_conn *vsock_table_add_client(struct vsock_table *t)
{
	struct vsock_conn *c = t->n_clients < VSOCK_CLIENTS_MAX ? take_slot(t) : NULL;

	if (!c)
		return NULL;
	c->r.state = VSOCK_CLIENT;
	t->n_clients++;
	return c;
}

struct vsock_conn *vsock_table_add(struct vsock_table *t, uint32_t guest_port, uint32_t host_port)
{
	struct vsock_conn *c = t->n_connections < VSOCK_CONNECTIONS_MAX ? take_slot(t) : NULL;

	if (!c)
		return NULL;
	c->r.state = VSOCK_CONNECTING;
	name(t, c, guest_port, host_port);
	return c;
}

bool vsock_table_name(struct vsock_table *t, struct vsock_conn *c, uint32_t guest_port)
{
	if (t->n_connections == VSOCK_CONNECTIONS_MAX)
		return false;
	/* Ends: there are fewer connections than ports. */
	do
		t->last_port = ((t->last_port + 1) & HOST_PORT_MASK) | HOST_PORT_BIT;
	while (vsock_table_find(t, guest_port, t->last_port));
	t->n_clients--;
	c->r.state = VSOCK_REQUESTED;
	name(t, c, guest_port, t->last_port);
	return true;
}

static bool is_sound(const struct vsock_record *r)
{
	return r->state == VSOCK_OPEN && r->id != 0 && (r->due & ~VSOCK_DUE_ALL) == 0 &&
	       (r->guest_shut & ~VSOCK_SHUTDOWN_BOTH) == 0 &&
	       (r->host_shut & ~VSOCK_SHUTDOWN_BOTH) == 0 &&
	       r->tx_cnt - r->fwd_cnt <= VSOCK_BUFFER_BYTES &&
	       r->tx_cnt - r->fwd_told <= VSOCK_BUFFER_BYTES &&
	       r->fwd_cnt - r->fwd_told <= VSOCK_BUFFER_BYTES;
}

/* Takes a given slot off the list of free ones. */
static bool unlist_free(struct vsock_table *t, uint16_t slot)
{
	uint16_t *at = &t->free;

	for (; *at != VSOCK_NO_SLOT; at = &t->conns[*at].next_hash) {
		if (*at != slot)
			continue;
		*at = t->conns[slot].next_hash;
		return true;
	}
	return false;
}

struct vsock_conn *vsock_table_restore(struct vsock_table *t, uint16_t slot,
				       const struct vsock_record *r)
{
	struct vsock_conn *c;

	if (!is_sound(r) || slot >= VSOCK_SLOTS || t->n_connections == VSOCK_CONNECTIONS_MAX ||
	    vsock_table_find(t, r->guest_port, r->host_port) || !unlist_free(t, slot))
		return NULL;
	c = &t->conns[slot];
	*c = (struct vsock_conn){ .r = *r, .fd = -1, .want = WANT_FIRST };
	if (r->id > t->last_id)
		t->last_id = r->id;
	name(t, c, r->guest_port, r->host_port);
	return c;
}

static void unname(struct vsock_table *t, struct vsock_conn *c)
{
	uint16_t *at = &t->buckets[bucket_of(c->r.guest_port, c->r.host_port)];
	uint16_t slot = vsock_table_slot(t, c);

	while (*at != slot)
		at = &t->conns[*at].next_hash;
	*at = c->next_hash;
	t->n_connections--;
}

void vsock_table_remove(struct vsock_table *t, struct vsock_conn *c)
{
	vsock_table_unready(t, c);
	if (c->r.state == VSOCK_CLIENT)
		t->n_clients--;
	else
		unname(t, c);
	memset(&c->r, 0, sizeof(c->r));
	c->fd = -1;
	c->next_hash = t->free;
	t->free = vsock_table_slot(t, c);
}

void vsock_table_ready(struct vsock_table *t, struct vsock_conn *c)
{
	uint16_t slot = vsock_table_slot(t, c);

	if (c->is_ready)
		return;
	c->is_ready = true;
	c->next_ready = VSOCK_NO_SLOT;
	c->prev_ready = t->last_ready;
	if (t->last_ready == VSOCK_NO_SLOT)
		t->first_ready = slot;
	else
		t->conns[t->last_ready].next_ready = slot;
	t->last_ready = slot;
}

void vsock_table_unready(struct vsock_table *t, struct vsock_conn *c)
{
	if (!c->is_ready)
		return;
	c->is_ready = false;
	if (c->prev_ready == VSOCK_NO_SLOT)
		t->first_ready = c->next_ready;
	else
		t->conns[c->prev_ready].next_ready = c->next_ready;
	if (c->next_ready == VSOCK_NO_SLOT)
		t->last_ready = c->prev_ready;
	else
		t->conns[c->next_ready].prev_ready = c->prev_ready;
}

/* A guest may shrink its buffer below what is under way: then there is no credit, not a lot. */
uint32_t vsock_credit_to_guest(const struct vsock_conn *c)
{
	uint32_t used = c->r.rx_cnt - c->r.peer_fwd_cnt;

	return used >= c->r.peer_buf_alloc ? 0 : c->r.peer_buf_alloc - used;
}

/*
 * Against fwd_told, not fwd_cnt: what the guest has not been told, it may not use. That also keeps
 * what lies in the ring within its size.
 */
uint32_t vsock_credit_of_guest(const struct vsock_conn *c)
{
	uint32_t used = c->r.tx_cnt - c->r.fwd_told;

	return used >= VSOCK_BUFFER_BYTES ? 0 : VSOCK_BUFFER_BYTES - used;
}

bool vsock_credit_learn(struct vsock_conn *c, const struct vsock_packet *p)
{
	uint32_t ahead = p->fwd_cnt - c->r.peer_fwd_cnt;

	if ((int32_t)ahead >= 0) {
		if (ahead > c->r.rx_cnt - c->r.peer_fwd_cnt)
			return false;
		c->r.peer_fwd_cnt = p->fwd_cnt;
	} /* else older than what we know: two threads of the guest raced for the queue */
	c->r.peer_buf_alloc = p->buf_alloc;
	/* An answer that there is none is one, too: else both would ask and answer without end. */
	c->asked_credit = c->asked_credit && vsock_credit_to_guest(c) == 0;
	return true;
}

bool vsock_credit_is_due(const struct vsock_conn *c)
{
	return c->r.fwd_cnt != c->r.fwd_told &&
	       c->r.tx_cnt - c->r.fwd_told >= VSOCK_BUFFER_BYTES / 2;
}
