/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is on the other side of a NIC. Each program has one: net_tap.c in bulkhead-net, net_user.c
 * in bulkhead-net-user. Frames come with the header of net_header.h before them.
 */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "device-procs/common/device.h"
#include "device-procs/net/net_header.h"

/*
 * Buffers of one frame of the driver: as many as there can be descriptors, less one iovec for the
 * header.
 */
#define NET_SPANS_MAX 1023u

struct net_backend;

/** net_backend_ready_fn - pair @pair has, or may have, frames to be read */
typedef void net_backend_ready_fn(void *ctx, uint32_t pair);

extern const char net_backend_name[]; /* of the program: bulkhead-NAME */
extern const struct sandbox_profile net_backend_profile;

/**
 * net_backend_open() - take what the warden has opened. Before the sandbox.
 * @ret_features: the offloads that it can do, as feature bits of VIRTIO 1.2 §5.1.3
 *
 * Return: 0; -errno with @text (MESSAGE_TEXT_MAX bytes) set.
 */
int must_check net_backend_open(const struct message_device_start *start, struct fdset *fds,
				struct net_backend **ret, uint64_t *ret_features,
				struct device_offer *offer, char *text);

/** net_backend_start() - in the sandbox, before the seal; nothing is watched yet; 0, -errno */
int must_check net_backend_start(struct net_backend *b, struct event_base *base,
				 net_backend_ready_fn *ready, void *ctx);

/**
 * net_backend_send() - one frame: a checked header, then @n spans (<= NET_SPANS_MAX) of the driver
 *
 * Return: 0; -errno. -EAGAIN and whatever else the kernel says about one frame lose that frame, as
 * a wire does.
 */
int must_check net_backend_send(struct net_backend *b, uint32_t pair,
				const struct virtio_net_hdr_v1 *header, const struct span *spans,
				uint32_t n);

/** net_backend_receive() - one frame; Return: bytes, the header included; -EAGAIN; -errno */
ssize_t must_check net_backend_receive(struct net_backend *b, uint32_t pair,
				       const struct iovec *iov, uint32_t n);

/** net_backend_watch() - call ready() for frames of @pair, or do not */
void net_backend_watch(struct net_backend *b, uint32_t pair, bool on);

/** net_backend_set_offloads() - which guest offloads (feature bits) frames may use; 0, -errno */
int must_check net_backend_set_offloads(struct net_backend *b, uint64_t features);

/** net_backend_set_pairs() - frames come to the first @n pairs only; 0, -errno */
int must_check net_backend_set_pairs(struct net_backend *b, uint32_t n);

/** net_backend_set_link() - is the cable plugged in? */
void net_backend_set_link(struct net_backend *b, bool is_up);
