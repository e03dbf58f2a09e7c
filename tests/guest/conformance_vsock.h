/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the vsock suite share: conformance_vsock.c and conformance_vsock_stream.c. */
#pragma once

#include "tap.h"
#include "vsock.h"

#define N_RX 64
#define RX_BYTES 4096u
#define QUIET_MS 30 /* for what must not come */
#define CONNECTIONS_MAX 1023u
#define ALL_FEATURES (FEATURE_EVENT_IDX | FEATURE_INDIRECT)

enum peer_port {
	PEER_ECHO = 1,
	PEER_SINK,
	PEER_SOURCE,
	PEER_CLOSE,
	PEER_NEVER_READ,
	PEER_TALK_FIRST,
	PEER_HALF_CLOSE,
	PEER_READS_NO_MORE,
	PEER_BUSY,
	PEER_LATE_READER,
	PEER_GO_ON,
	PEER_SMALL_PIECES,
	PEER_SEND_FDS,
	PEER_NOBODY = 98,
	PEER_CONTROL = 99,
};

#define CASE(run, argument, ...) tap_case(run, argument, __VA_ARGS__)

extern struct vsock vsock; /* the device's, as it was started last */

/* Each returns NULL, or what is wrong. */
const char *vsock_test_start_with(uint64_t features, unsigned n_rx, uint32_t rx_bytes);
const char *vsock_test_start(void);
const char *vsock_test_connects(struct vconn *c, uint32_t port);
const char *vsock_test_closes(struct vconn *c);

void vsock_test_streams(void);
