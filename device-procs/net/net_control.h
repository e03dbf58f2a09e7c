/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the driver sets by the control queue (VIRTIO 1.2 §5.1.6.5), and which received frames it
 * wants. Pure. bulkhead-net, bulkhead-net-user; the commands are hostile input.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/cleanup.h"

#define NET_MACS_MAX 64u /* in each of the two lists; a longer one means "all" */
#define NET_VLANS 4096u
#define NET_CONTROL_BYTES_MAX 4096u /* of one command */

struct net_mac_list {
	uint32_t n;
	bool overflowed; /* it was longer than we keep: everything passes */
	uint8_t macs[NET_MACS_MAX][6];
};

/* Everything that the driver can set; lives in shared memory across restarts of the process. */
struct net_state {
	uint32_t n_pairs; /* that the driver uses, 1..max */
	bool promisc, allmulti, alluni, nomulti, nouni, nobcast;
	bool filters_vlans; /* CTRL_VLAN was accepted */
	bool announce; /* §5.1.6.5.4: asked for and not yet acknowledged */
	bool link_down;
	uint8_t mac[6];
	struct net_mac_list unicast, multicast;
	uint64_t guest_offloads; /* feature bits in use, a subset of the accepted ones */
	uint64_t vlans[NET_VLANS / 64];
};

struct net_control_limits {
	uint64_t features; /* negotiated */
	uint32_t n_pairs_max;
};

/* What a command has changed besides the filter. */
#define NET_CHANGED_PAIRS 0x1u
#define NET_CHANGED_OFFLOADS 0x2u
#define NET_CHANGED_MAC 0x4u
#define NET_CHANGED_ANNOUNCE 0x8u

/** net_state_reset() - as after a device reset; mac and link stay */
void net_state_reset(struct net_state *s, uint64_t features);

/**
 * net_control_run() - check one command and do it to @s
 * @command: class, command and data as copied out of the chain; @len bytes
 * @ret_changed: NET_CHANGED_*
 *
 * Return: VIRTIO_NET_OK; VIRTIO_NET_ERR, and nothing has changed. It is the byte for the driver.
 */
uint8_t must_check net_control_run(struct net_state *s, const struct net_control_limits *limits,
				   const uint8_t *command, uint32_t len, uint32_t *ret_changed);

/** net_state_wants() - does the driver want to receive this frame? @len: bytes, at least 18 looked at */
bool net_state_wants(const struct net_state *s, const uint8_t *frame, uint32_t len);

/** net_guest_offloads() - the bits of @features that GUEST_OFFLOADS may switch */
uint64_t net_guest_offloads(uint64_t features);
