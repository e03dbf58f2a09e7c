/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of bulkhead-vsock: shared by vsock_{device,conn,from_guest,to_guest,keep}.c only. */
#pragma once

#include <event2/event.h>
#include <sys/types.h>

#include "device-procs/common/device.h"
#include "device-procs/vsock/vsock_host.h"
#include "device-procs/vsock/vsock_store.h"
#include "device-procs/vsock/vsock_table.h"
#include "ipc/channel.h"

enum vsock_queue {
	VSOCK_QUEUE_RX, /* to the guest */
	VSOCK_QUEUE_TX,
	VSOCK_QUEUE_EVENT,
	VSOCK_QUEUES,
};

#define VSOCK_QUEUE_SIZE 256u
#define VSOCK_ANSWER_MS 2000u /* for a RESPONSE, a busy listener, and the RST after a SHUTDOWN */
#define VSOCK_COMMAND_MS 10000u /* for a client's CONNECT line */
#define VSOCK_TICK_MS 10u
#define VSOCK_RESETS_WAIT 256u /* so many due: no more packets are taken that may add to them */
#define VSOCK_KEEP_MS 10u /* connections younger than this are not handed over */

/* Packets of one connection that go to its socket with one system call. */
#define VSOCK_BATCH_CHAINS 64u
#define VSOCK_BATCH_SPANS 512u

struct vsock_batch {
	struct vsock_conn *conn; /* NULL: empty */
	uint32_t n_chains, n_spans, len;
	uint16_t heads[VSOCK_BATCH_CHAINS];
	struct span spans[VSOCK_BATCH_SPANS];
};

struct vsock_device {
	struct device *dev;
	uint64_t cid;
	struct vsock_table table;
	struct vsock_store store;
	struct vsock_host host;
	struct channel *keeper; /* to the warden */
	bool is_alone; /* which takes nothing more: all connections are as the young ones */
	struct event *listener_event, *sockets_event, *keeper_event, *tick;
	bool has_folder; /* it is our root; else only the warden can reach PATH_<port> */
	dev_t folder_dev;
	ino_t folder_ino;
	bool is_active; /* between set_features and reset */
	bool is_restored; /* what a predecessor left was looked at */
	bool is_listening, is_ticking;
	bool tx_waits; /* for room among the resets that are due */
	uint32_t n_young; /* open connections that the warden has no socket of yet */
	uint32_t n_forgets;
	uint64_t forgets[VSOCK_SLOTS]; /* ids that the warden may forget */
	uint32_t tick_from; /* slot with which the next tick begins */
	struct vsock_batch batch;
	struct span spans[VSOCK_QUEUE_SIZE]; /* of the chain of the guest that is being looked at */
	/* chains that one read of a host socket fills */
	struct virtqueue_chain rx[VSOCK_BATCH_CHAINS];
	struct span rx_spans[VSOCK_BATCH_SPANS];
	struct iovec iov[VSOCK_BATCH_SPANS];
};

/* --- vsock_conn.c: what happens to one connection --- */

/** vsock_conn_begin() - its record, socket or ring is about to change; see vsock_store.h */
void vsock_conn_begin(struct vsock_device *v, const struct vsock_conn *c);

/** vsock_conn_end() - it has; also after vsock_conn_kill() */
void vsock_conn_end(struct vsock_device *v, const struct vsock_conn *c);

/** vsock_conn_due() - something is to be told to the guest */
void vsock_conn_due(struct vsock_device *v, struct vsock_conn *c, enum vsock_due due);

/** vsock_conn_kill() - forget it and reset it; there is room among the resets */
void vsock_conn_kill(struct vsock_device *v, struct vsock_conn *c);

/** vsock_conn_forget() - forget it and say nothing to the guest */
void vsock_conn_forget(struct vsock_device *v, struct vsock_conn *c);

/** vsock_conn_attach() - it has its connected host socket now; takes @fd */
void vsock_conn_attach(struct vsock_device *v, struct vsock_conn *c, int fd);

/** vsock_conn_set_deadline() - it ends in @ms unless something happens */
void vsock_conn_set_deadline(struct vsock_device *v, struct vsock_conn *c, uint32_t ms);

/** vsock_conn_connected() - CONNECTING: the try ended with a socket, taken, or -errno */
void vsock_conn_connected(struct vsock_device *v, struct vsock_conn *c, int fd);

/** vsock_conn_connect() - CONNECTING: try (again) to reach the host's listener */
void vsock_conn_connect(struct vsock_device *v, struct vsock_conn *c);

/** vsock_conn_flush() - bytes in the ring to the host socket, and what was to follow them */
void vsock_conn_flush(struct vsock_device *v, struct vsock_conn *c);

/** vsock_conn_sent() - the host socket took @n more bytes of the guest */
void vsock_conn_sent(struct vsock_device *v, struct vsock_conn *c, uint32_t n);

/** vsock_conn_host_takes_no_more() - sending failed: tell the guest, drop what is left */
void vsock_conn_host_takes_no_more(struct vsock_device *v, struct vsock_conn *c);

/** vsock_conn_host_sends_no_more() - end of file */
void vsock_conn_host_sends_no_more(struct vsock_device *v, struct vsock_conn *c);

/** vsock_conn_guest_shuts() - SHUTDOWN came */
void vsock_conn_guest_shuts(struct vsock_device *v, struct vsock_conn *c, uint32_t flags);

/** vsock_conn_has_data() - is there something to read for the guest, and room there for it? */
bool vsock_conn_has_data(const struct vsock_conn *c);

/* --- vsock_from_guest.c, vsock_to_guest.c: the queues --- */

/**
 * vsock_from_guest() - take packets, at most a queue full
 * Return: 0; VIRTQUEUE_BROKEN
 */
int vsock_from_guest(struct vsock_device *v);

/**
 * vsock_to_guest() - resets that are due, then connections in turn, as long as there are buffers
 * Return: 0; VIRTQUEUE_BROKEN
 */
int vsock_to_guest(struct vsock_device *v);

/* --- vsock_keep.c: what outlives the process --- */

/** vsock_keep_tick() - hand over what is due; Return: is there more to come? */
bool vsock_keep_tick(struct vsock_device *v, uint64_t now);

/** vsock_keep_forget() - a kept connection has ended */
void vsock_keep_forget(struct vsock_device *v, uint64_t id);

/** vsock_keep_connect() - have the warden connect; Return: 0; else it is busy or gone */
int vsock_keep_connect(struct vsock_device *v, const struct vsock_conn *c);

/** vsock_keep_receive() - the warden's answers; Return: false when no more will come */
bool vsock_keep_receive(struct vsock_device *v);

/** vsock_keep_restore() - go on where a predecessor ended, if there was one */
void vsock_keep_restore(struct vsock_device *v);

/* --- vsock_device.c --- */

/** vsock_tick_need() - there is something with a time limit */
void vsock_tick_need(struct vsock_device *v);

/** vsock_listen() - take host clients, or leave them waiting */
void vsock_listen(struct vsock_device *v, bool on);
