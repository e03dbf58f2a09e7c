/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-vsock of the probe guest (VIRTIO 1.2 §5.10): packets by hand, and connections that keep
 * the books of credit as a good driver does. One packet at a time is sent, and waited for.
 */
#pragma once

#include "virtio.h"

#define VSOCK_HEADER_BYTES 44u
#define VSOCK_HOST_CID 2u
#define VSOCK_STREAM 1u
#define VSOCK_RX_MAX 256u
#define VSOCK_BUFFER 0x40000u /* what we claim to have room for */

enum vsock_queue { VSOCK_RX, VSOCK_TX, VSOCK_EVENT };

enum vsock_op {
	VSOCK_NONE = 0,
	VSOCK_REQUEST = 1,
	VSOCK_RESPONSE = 2,
	VSOCK_RST = 3,
	VSOCK_SHUTDOWN = 4,
	VSOCK_RW = 5,
	VSOCK_CREDIT_UPDATE = 6,
	VSOCK_CREDIT_REQUEST = 7,
};

#define VSOCK_SHUT_RECEIVE 1u
#define VSOCK_SHUT_SEND 2u
#define VSOCK_SHUT_BOTH 3u

struct vsock_header {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port;
	uint32_t len;
	uint16_t type, op;
	uint32_t flags;
	uint32_t buf_alloc, fwd_cnt;
} __attribute__((packed));

struct vsock {
	struct vdev *dev;
	struct vq rx, tx, event;
	uint64_t cid;
	uint32_t rx_bytes; /* of one receive buffer */
	unsigned n_rx;
	uint8_t *rx_data[VSOCK_RX_MAX];
	struct vsock_header *tx_header;
	uint8_t *tx_data; /* 64 KiB */
};

/* One connection of ours; the counters are those of §5.10.6.3. */
struct vconn {
	struct vsock *v;
	uint32_t guest_port, host_port;
	uint32_t tx_cnt, peer_fwd_cnt, peer_buf_alloc;
	uint32_t rx_cnt, fwd_cnt; /* what came, and what we say we took */
	uint32_t buf_alloc; /* what we claim */
	uint32_t shut; /* flags that the host sent */
	bool is_reset;
	bool is_wrong; /* data came that differ from the pattern */
};

#define VSOCK_TX_BYTES 65536u

/* Starts it with n_rx receive buffers of rx_bytes each; Return: false when it refuses */
bool vsock_start(struct vsock *v, struct vdev *dev, uint64_t features, unsigned n_rx,
		 uint32_t rx_bytes);
/* Makes a receive buffer available again. */
void vsock_recycle(struct vsock *v, unsigned i);
/* A header from our cid and port to the host's. */
struct vsock_header vsock_make(const struct vsock *v, enum vsock_op op, uint32_t guest_port,
			       uint32_t host_port);
/* Sends header and @len bytes of v->tx_data as one chain; Return: was it used, with length 0? */
bool vsock_send(struct vsock *v, const struct vsock_header *h, uint32_t len);
/*
 * The next packet, at most @max bytes of it copied to @data, and its buffer made available again.
 * Return: payload bytes; -1: none came in time; -2: it is malformed
 */
int64_t vsock_receive(struct vsock *v, uint64_t timeout_ms, struct vsock_header *ret, void *data,
		      uint32_t max);

/* ---- connections ---- */

/* Fresh ports and books, nothing sent. */
void vconn_make(struct vconn *c, struct vsock *v, uint32_t host_port);
/* Sends a packet of the connection with its books. */
bool vconn_send(struct vconn *c, enum vsock_op op, uint32_t flags, uint32_t len);
/* REQUEST and wait; Return: the answer, VSOCK_NONE when there is none */
enum vsock_op vconn_connect(struct vconn *c, struct vsock *v, uint32_t host_port);
/* Sends @len bytes of a pattern that begins at tx_cnt, as credit allows; false: reset or stuck */
bool vconn_write(struct vconn *c, uint64_t len);
/*
 * The next packet for this connection; packets of others are dropped. Return: op, or VSOCK_NONE
 * when none came in time; *ret_len bytes of payload were checked against the pattern, -1: wrong.
 */
enum vsock_op vconn_next(struct vconn *c, uint64_t timeout_ms, int64_t *ret_len);
/* Reads until rx_cnt is @end, taking all that comes; false: reset, wrong, too much or stuck */
bool vconn_read_to(struct vconn *c, uint32_t end);
/* Waits for this packet, past data and credit; false when it does not come */
bool vconn_expect(struct vconn *c, enum vsock_op op);
/* SHUTDOWN of both ways, and the RST that answers it */
bool vconn_close(struct vconn *c);
/* Waits for a REQUEST to @guest_port, whose sender becomes the host port; Return: REQUEST or NONE */
enum vsock_op vconn_await(struct vconn *c, struct vsock *v, uint32_t guest_port);
/* Sends text, for services that take lines */
bool vconn_say(struct vconn *c, const char *text);
/* Does the next line begin with this text? */
bool vconn_hears(struct vconn *c, const char *text);
/* Payload of the packet that came last. */
extern uint8_t vsock_last[];
/* The byte at a place of every stream of these tests. */
uint8_t vsock_pattern(uint32_t at);
