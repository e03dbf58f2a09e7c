/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the hostile cases of vsock share: probe=hostile-vsock, against tests/vsock/peer.py. A case
 * breaks one rule on a connection or a queue and states the outcome; another connection, `other`,
 * must not notice. Rules are named by their section in VIRTIO 1.2, or by "row N" of README.md.
 */
#pragma once

#include "hostile_case.h"
#include "vsock.h"

#define PEER_ECHO 1
#define PEER_NEVER_READ 5
#define PEER_NOBODY 98
#define QUIET_MS 20 /* for what must not come */

extern struct vsock hv;

/* The device anew, with receive buffers, and the other connection. NULL or a detail */
const char *hv_start(void);
/* A connection to break rules on. */
const char *hv_connect(struct vconn *c, uint32_t port);
/* The other connection echoes; NULL or a detail */
const char *hv_other_works(void);
/* DEVICE_NEEDS_RESET comes, and after a reset everything works. */
const char *hv_needs_reset(void);
/* Afterwards the other connection works, in a new session if the device was reset. */
extern const struct hostile_target hv_target;
#define hv_case(...) hostile_case_of(&hv_target, __VA_ARGS__)

void hostile_vsock_ring(void);
