/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of one guest, and the arithmetic of their credit. Pure: no system call. Runs in
 * bulkhead-vsock.
 *
 * Everything is one array of fixed size. A connection is known by its pair of ports, because both
 * cids are always the same. Counters run modulo 2^32, as on the wire (VIRTIO 1.2 §5.10.6.3), and
 * are compared by subtraction only.
 *
 * To the guest: rx_cnt bytes were put into its buffers, of which it took peer_fwd_cnt.
 * From the guest: tx_cnt bytes came, of which the host socket took fwd_cnt; the others, at most
 * VSOCK_BUFFER_BYTES, wait in the slot's ring (vsock_store.h) at their number modulo its size.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "device-procs/vsock/vsock_packet.h"
#include "ipc/vm_config.h"

#define VSOCK_CONNECTIONS_MAX VM_VSOCK_CONNECTIONS
#define VSOCK_CLIENTS_MAX VM_VSOCK_CLIENTS /* have not sent their CONNECT line yet */
#define VSOCK_SLOTS (VSOCK_CONNECTIONS_MAX + VSOCK_CLIENTS_MAX)
#define VSOCK_NO_SLOT UINT16_MAX
#define VSOCK_BUFFER_BYTES VM_VSOCK_BUFFER_BYTES /* buf_alloc of each; a power of two */
#define VSOCK_BUCKETS 2048u

enum vsock_state {
	VSOCK_FREE,
	VSOCK_CLIENT, /* a host client, before its CONNECT line; has no ports */
	VSOCK_REQUESTED, /* the guest was asked for a connection */
	VSOCK_CONNECTING, /* the guest asks for one, the host's listener is busy */
	VSOCK_OPEN,
	VSOCK_STATES_N_,
};

/* What is due to be told to the guest. */
enum vsock_due {
	VSOCK_DUE_REQUEST = 1u << 0,
	VSOCK_DUE_RESPONSE = 1u << 1,
	VSOCK_DUE_CREDIT_UPDATE = 1u << 2,
	VSOCK_DUE_CREDIT_REQUEST = 1u << 3,
	VSOCK_DUE_SHUTDOWN = 1u << 4,
	VSOCK_DUE_ALL = (1u << 5) - 1,
};

/* What a successor process needs to go on with a connection; kept in the device page. */
struct vsock_record {
	uint64_t id; /* never used twice in a VM; names the socket that the warden keeps */
	uint32_t guest_port, host_port;
	uint32_t rx_cnt, peer_fwd_cnt, peer_buf_alloc;
	uint32_t tx_cnt, fwd_cnt, fwd_told; /* fwd_told: fwd_cnt as the guest last heard it */
	uint8_t state; /* enum vsock_state */
	uint8_t due; /* enum vsock_due */
	uint8_t guest_shut; /* VSOCK_SHUTDOWN_*, as the guest said */
	uint8_t host_shut; /* likewise, as the guest was or is to be told */
	uint32_t is_kept; /* the warden has a copy of the socket */
	uint32_t pad[2];
};

_Static_assert(sizeof(struct vsock_record) == 56, "layout of the device page");

struct vsock_conn {
	struct vsock_record r;
	int fd; /* owned; -1: none */
	bool is_readable; /* nothing says that the host socket is empty */
	bool is_blocked; /* the host socket takes no more for now: EPOLLOUT will come */
	bool has_end; /* its peer sends no more, once what is there was read */
	bool is_closed_by_host; /* both ways: its peer is gone */
	bool needs_warden; /* CONNECTING: our uid may not */
	bool is_asked; /* ... and the warden was asked */
	bool asked_credit; /* CREDIT_REQUEST was sent since the guest last had some */
	uint32_t want; /* bytes to try with the next read */
	uint64_t born_ms;
	uint64_t deadline_ms; /* 0: none */
	uint16_t next_hash; /* of the same bucket; or the next free slot */
	uint16_t next_ready, prev_ready;
	bool is_ready; /* in the list of those that have something for the guest */
};

struct vsock_table {
	struct vsock_conn conns[VSOCK_SLOTS];
	uint16_t buckets[VSOCK_BUCKETS];
	uint16_t free; /* list by next_hash */
	uint16_t first_ready, last_ready;
	uint32_t n_connections, n_clients;
	uint32_t last_port; /* host port given last */
	uint64_t last_id;
};

/** vsock_table_init() - empty */
void vsock_table_init(struct vsock_table *t);

/** vsock_table_slot() - number of a connection */
static inline uint16_t vsock_table_slot(const struct vsock_table *t, const struct vsock_conn *c)
{
	return (uint16_t)(c - t->conns);
}

/** vsock_table_find() - the connection of two ports; NULL when there is none */
struct vsock_conn *vsock_table_find(struct vsock_table *t, uint32_t guest_port,
				    uint32_t host_port);

/** vsock_table_add_client() - a slot in state CLIENT; NULL when VSOCK_CLIENTS_MAX wait already */
struct vsock_conn *vsock_table_add_client(struct vsock_table *t);

/**
 * vsock_table_add() - a slot for a connection that the guest asks for, in state CONNECTING
 * Return: NULL when there are VSOCK_CONNECTIONS_MAX; the pair is known to be new.
 */
struct vsock_conn *vsock_table_add(struct vsock_table *t, uint32_t guest_port,
				   uint32_t host_port);

/**
 * vsock_table_name() - turn a CLIENT into a connection to @guest_port, state REQUESTED, with a host
 * port that is free. Return: false when there are VSOCK_CONNECTIONS_MAX.
 */
bool must_check vsock_table_name(struct vsock_table *t, struct vsock_conn *c, uint32_t guest_port);

/**
 * vsock_table_restore() - put a predecessor's record into slot @slot, which is free
 *
 * The record is hostile input: a compromised predecessor wrote it.
 * Return: NULL when it is not one of an open connection, or its numbers contradict each other.
 */
struct vsock_conn *vsock_table_restore(struct vsock_table *t, uint16_t slot,
				       const struct vsock_record *r);

/** vsock_table_remove() - forget it; its fd is the caller's */
void vsock_table_remove(struct vsock_table *t, struct vsock_conn *c);

/** vsock_table_ready() - append to the list of those that have something for the guest */
void vsock_table_ready(struct vsock_table *t, struct vsock_conn *c);

/** vsock_table_unready() - take off that list */
void vsock_table_unready(struct vsock_table *t, struct vsock_conn *c);

/** vsock_credit_to_guest() - bytes that the guest has room for */
uint32_t vsock_credit_to_guest(const struct vsock_conn *c);

/** vsock_credit_of_guest() - bytes that the guest may still send; never more than the ring holds */
uint32_t vsock_credit_of_guest(const struct vsock_conn *c);

/**
 * vsock_credit_learn() - take the peer's numbers from a header
 * Return: false when it claims to have taken bytes that it never got.
 */
bool must_check vsock_credit_learn(struct vsock_conn *c, const struct vsock_packet *p);

/** vsock_credit_is_due() - has the guest so little credit left that it should hear of more? */
bool vsock_credit_is_due(const struct vsock_conn *c);

/** vsock_unsent() - bytes in the ring */
static inline uint32_t vsock_unsent(const struct vsock_conn *c)
{
	return c->r.tx_cnt - c->r.fwd_cnt;
}
