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
#define NET_CONTROL_BYTES_MAX 65536u /* of one command: more than 10,000 addresses */

struct net_mac_list {
	uint32_t n;
	uint32_t overflowed; /* 1: it was longer than we keep, everything passes */
	uint8_t macs[NET_MACS_MAX][6];
};

/* Everything that the driver can set. Copies of it outlive the process: see struct net_saved. */
struct net_state {
	uint32_t n_pairs; /* that the driver uses, 1..max */
	uint8_t promisc, allmulti, alluni, nomulti, nouni, nobcast; /* 0 or 1 */
	uint8_t filters_vlans; /* CTRL_VLAN was accepted */
	uint8_t announce; /* §5.1.6.5.4: asked for and not yet acknowledged */
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

/*
 * In memory that outlives the process, all zero at first and after a reset of the device. The copy
 * that `current` does not name is written, then current is stored, so that one is always whole.
 * Hostile for who reads it: the process that wrote it may have been taken over.
 */
struct net_saved {
	uint32_t current; /* 0: nothing was saved; else copies[current % 2] */
	uint32_t pad;
	struct net_state copies[2];
};

/** net_state_reset() - as after a device reset; mac stays */
void net_state_reset(struct net_state *s, uint64_t features);

/** net_state_save() - for a successor */
void net_state_save(const struct net_state *s, struct net_saved *to);

/**
 * net_state_load() - what a predecessor saved, made harmless
 * Return: true; false when there is nothing, *ret is as it was then.
 */
bool net_state_load(const struct net_saved *from, const struct net_control_limits *limits,
		    struct net_state *ret);

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
