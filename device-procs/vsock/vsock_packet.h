/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets of virtio-vsock (VIRTIO 1.2 §5.10.6) and the one line that host clients send. Pure: no
 * system call, no state. Runs in bulkhead-vsock, and in tests and fuzzers.
 *
 * Hostile input: everything. A header is copied once into private memory and checked there.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "device-procs/common/virtqueue.h"

#define VSOCK_HEADER_BYTES 44u
#define VSOCK_HOST_CID 2u
#define VSOCK_CID_MIN 3u
#define VSOCK_TYPE_STREAM 1u
#define VSOCK_COMMAND_MAX 32u /* bytes of "CONNECT <port>\n" */

enum vsock_op {
	VSOCK_OP_REQUEST = 1,
	VSOCK_OP_RESPONSE = 2,
	VSOCK_OP_RST = 3,
	VSOCK_OP_SHUTDOWN = 4,
	VSOCK_OP_RW = 5,
	VSOCK_OP_CREDIT_UPDATE = 6,
	VSOCK_OP_CREDIT_REQUEST = 7,
};

/* Flags of SHUTDOWN: what its sender will not do any more. */
#define VSOCK_SHUTDOWN_RECEIVE 1u
#define VSOCK_SHUTDOWN_SEND 2u
#define VSOCK_SHUTDOWN_BOTH 3u

struct vsock_packet {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port;
	uint32_t len; /* payload bytes behind the header */
	uint16_t type, op;
	uint32_t flags;
	uint32_t buf_alloc, fwd_cnt; /* §5.10.6.3: the sender's receive buffer */
};

enum vsock_packet_result {
	VSOCK_PACKET_DROPPED = 1, /* no whole header, or not from this guest to the host: no answer */
	VSOCK_PACKET_REFUSED = 2, /* *ret is filled, but makes no sense: to be answered by RST */
};

/**
 * vsock_packet_read() - take and check the header of a chain that the guest sent
 * Return: 0: op is one of enum vsock_op, and `len` bytes of payload are there (none unless RW);
 * VSOCK_PACKET_DROPPED; VSOCK_PACKET_REFUSED.
 */
int must_check vsock_packet_read(const struct virtqueue_chain *chain, uint64_t guest_cid,
				 struct vsock_packet *ret);

/**
 * vsock_packet_payload() - spans of at most @len bytes behind the header
 * @writable: of the part that the device writes, else of the part that it reads
 * @ret: room for chain->n_spans
 * Return: how many spans were filled.
 */
uint32_t vsock_packet_payload(const struct virtqueue_chain *chain, bool writable, uint32_t len,
			      struct span *ret);

/** vsock_packet_room() - payload bytes that fit into a chain of the guest; 0 when it is unusable */
uint32_t vsock_packet_room(const struct virtqueue_chain *chain);

/** vsock_packet_can_hold() - is there room for a header? */
bool vsock_packet_can_hold(const struct virtqueue_chain *chain);

/** vsock_packet_write() - put the header into the chain; vsock_packet_can_hold() was true */
void vsock_packet_write(const struct virtqueue_chain *chain, const struct vsock_packet *p);

enum vsock_command_result {
	VSOCK_COMMAND_PARTIAL = 1, /* no end of line yet */
	VSOCK_COMMAND_BAD = 2,
};

/**
 * vsock_command_parse() - "CONNECT <port>\n", the word in any case, blanks around the number
 * @len: bytes in @text, at most VSOCK_COMMAND_MAX
 * Return: 0, with *ret_len bytes used up to and including the end of line; VSOCK_COMMAND_PARTIAL;
 * VSOCK_COMMAND_BAD.
 */
int must_check vsock_command_parse(const char *text, uint32_t len, uint32_t *ret_port,
				   uint32_t *ret_len);
