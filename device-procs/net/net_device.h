/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio network device (VIRTIO 1.2 §5.1), as the common code of device processes runs it, and
 * what its three files share: net_device.c (features, config space, control queue), net_transmit.c
 * and net_receive.c.
 */
#pragma once

#include "device-procs/common/device.h"
#include "device-procs/common/rate_limit.h"
#include "device-procs/net/net_backend.h"
#include "device-procs/net/net_control.h"
#include "device-procs/net/net_header.h"

/* Chains that one received frame may be spread over. */
#define NET_MERGE_MAX 64u
/* Frames that are sent, or read, before the driver is shown what is done. */
#define NET_BATCH 32u
/* Frames that one pair may receive before the others have their turn. */
#define NET_RECEIVE_BUDGET 256u

struct net_device;

struct net_pair {
	struct net_device *net;
	uint32_t index;
	struct rate_limit receive_limit, transmit_limit;
	struct event *receive_timer, *transmit_timer; /* a limit lets more through */
	bool is_starved; /* the driver has to offer buffers first; the backend is not watched */
	uint32_t pending_len; /* of a frame that found no room yet; 0: none */
	uint8_t *frame; /* NET_HEADER_BYTES + NET_FRAME_MAX */
};

struct net_device {
	struct device *dev;
	struct net_backend *backend;
	uint64_t backend_features;
	struct net_config config;
	struct net_limits limits; /* of the driver's frames */
	struct net_state state;
	bool link_down;
	bool is_lost; /* see net_lost() */
	uint32_t n_pairs;
	struct net_pair pairs[NET_PAIRS_MAX];
	struct span spans[NET_SPANS_MAX]; /* of the chain that is being looked at */
	uint8_t command[NET_CONTROL_BYTES_MAX]; /* the one that is being run */
};

extern const struct device_ops net_device_ops;

/** net_queue_receive(), net_queue_transmit() - queue numbers of a pair, §5.1.2 */
static inline uint32_t net_queue_receive(uint32_t pair)
{
	return 2 * pair;
}

static inline uint32_t net_queue_transmit(uint32_t pair)
{
	return 2 * pair + 1;
}

/** net_transmit() - send what the driver of @pair has made available; 0, -errno (fatal) */
int must_check net_transmit(struct net_pair *pair);

/**
 * net_lost() - the network behind the NIC is gone for good (EBADFD: its tap was deleted)
 *
 * The driver sees a link that is down. The device lives on: its guest has others.
 */
void net_lost(struct net_device *net);

/** net_receive() - give frames of the backend to the driver; Return: was there any? */
bool net_receive(struct net_pair *pair);

/** net_receive_refilled() - the driver of @pair offers buffers, or may */
void net_receive_refilled(struct net_pair *pair);

/** net_receive_settle() - watch the backend for @pair, or not, as things are now */
void net_receive_settle(struct net_pair *pair);
