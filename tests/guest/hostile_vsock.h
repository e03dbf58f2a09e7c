/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the hostile cases of vsock share: probe=hostile-vsock, against tests/vsock/peer.py. A case
 * breaks one rule on a connection or a queue and states the outcome; another connection, `other`,
 * must not notice. Rules are named by their section in VIRTIO 1.2, or by "row N" of README.md.
 */
#pragma once

#include "tap.h"
#include "vsock.h"

#define PEER_ECHO 1
#define PEER_NEVER_READ 5
#define PEER_NOBODY 98
#define QUIET_MS 20 /* for what must not come */
#define RESET_MS 5000 /* for DEVICE_NEEDS_RESET */

extern struct vsock hv;

/* The device anew, with receive buffers, and the other connection. NULL or a detail */
const char *hv_start(void);
/* A connection to break rules on. */
const char *hv_connect(struct vconn *c, uint32_t port);
/* The other connection echoes; NULL or a detail */
const char *hv_other_works(void);
/* DEVICE_NEEDS_RESET comes, and after a reset everything works. */
const char *hv_needs_reset(void);
/* Runs a case; afterwards the other connection works, in a new session if the device was reset. */
void hv_case(tap_run run, uint64_t argument, const char *rule, const char *name, ...)
	__attribute__((format(printf, 4, 5)));

void hostile_vsock_ring(void);
