/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of bulkhead-vsock outlives the process: a journal in the device page and, in a memfd that
 * the warden keeps, the bytes that a host socket has not taken yet. Pure: no system call.
 *
 * A crash can happen between any two stores. So whatever changes a connection is done between
 * vsock_store_begin() and vsock_store_end(): `active` then names the connection whose record, ring
 * or host socket may be halfway. A successor resets that one and trusts the others. Chains of the
 * guest that belong to the change are pushed before its end, so they are not replayed after it.
 *
 * Resets that are due to the guest are kept as pairs of ports: their connections are gone already.
 *
 * Hostile input for a successor: all of it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "device-procs/vsock/vsock_table.h"

#define VSOCK_JOURNAL_VERSION 1u
#define VSOCK_RESETS_MAX 2048u /* a power of two; more than there are slots */

struct vsock_reset {
	uint32_t guest_port, host_port;
};

struct vsock_journal {
	uint32_t version; /* 0: nothing to continue from */
	uint32_t active; /* slot + 1; 0: none */
	uint32_t resets_in, resets_out; /* counts; the difference are due */
	uint32_t last_port;
	uint32_t transport_reset; /* the guest is to be told that all connections are gone */
	uint64_t last_id;
	struct vsock_reset resets[VSOCK_RESETS_MAX];
	struct vsock_record records[VSOCK_SLOTS];
};

struct vsock_store {
	struct vsock_journal *journal; /* borrowed */
	uint8_t *rings; /* borrowed; VM_VSOCK_RINGS_BYTES */
};

/** vsock_store_begin() - a connection is about to change */
void vsock_store_begin(struct vsock_store *s, uint16_t slot);

/** vsock_store_end() - it has, to what @r says */
void vsock_store_end(struct vsock_store *s, uint16_t slot, const struct vsock_record *r);

/** vsock_store_reset() - owe the guest a RST; Return: false when there is no room, ask before */
bool vsock_store_reset(struct vsock_store *s, uint32_t guest_port, uint32_t host_port);

/** vsock_store_resets() - how many are owed */
uint32_t vsock_store_resets(const struct vsock_store *s);

/** vsock_store_next_reset() - the oldest of them; vsock_store_resets() > 0 */
struct vsock_reset vsock_store_next_reset(const struct vsock_store *s);

/** vsock_store_reset_done() - the oldest was sent */
void vsock_store_reset_done(struct vsock_store *s);

/**
 * vsock_store_put() - append guest bytes to the ring of @slot
 * @at: number of the first byte (tx_cnt); the caller knows that there is room
 */
void vsock_store_put(struct vsock_store *s, uint16_t slot, uint32_t at, const struct span *from,
		     uint32_t offset, uint32_t len);

/** vsock_store_iovec() - the @len bytes from number @at on; Return: 1 or 2 parts */
uint32_t vsock_store_iovec(const struct vsock_store *s, uint16_t slot, uint32_t at, uint32_t len,
			   struct iovec ret[2]);
