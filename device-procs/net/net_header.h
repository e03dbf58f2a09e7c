/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header before every frame (VIRTIO 1.2 §5.1.6), checked on a private copy. No I/O, no state.
 * bulkhead-net, bulkhead-net-user. What a driver writes is hostile; what a tap says is the kernel's.
 */
#pragma once

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stdint.h>

#include "ipc/cleanup.h"

/* Later than the kernel headers of Debian 12. VIRTIO 1.3 §5.1.3, §5.1.6 */
#define NET_F_GUEST_USO4 54
#define NET_F_GUEST_USO6 55
#define NET_F_HOST_USO 56
#define NET_GSO_UDP_L4 5

#define NET_HEADER_BYTES 12u /* struct virtio_net_hdr_v1 */
#define NET_ETHERNET_BYTES 14u
#define NET_VLAN_BYTES 8u /* two tags */
#define NET_PACKET_MAX 65535u /* the largest IP packet, and so the largest frame's content */
#define NET_FRAME_MAX (NET_ETHERNET_BYTES + NET_VLAN_BYTES + NET_PACKET_MAX)

#define NET_FEATURE(bit) (UINT64_C(1) << (bit))

enum net_header_result {
	NET_HEADER_BAD = 1, /* the frame must not be sent */
};

struct net_limits {
	uint64_t features; /* negotiated */
	uint32_t mtu; /* announced and accepted; 0: no limit but NET_PACKET_MAX */
};

/**
 * net_header_check() - may this frame of the driver be sent?
 * @raw: the header as it was copied, little-endian
 * @frame_len: bytes of the frame without the header
 * @ret: a header that holds nothing but what was negotiated and fits the frame; host byte order
 *
 * Return: 0; NET_HEADER_BAD.
 */
int must_check net_header_check(const struct virtio_net_hdr_v1 *raw, uint64_t frame_len,
				const struct net_limits *limits, struct virtio_net_hdr_v1 *ret);

/** net_header_for_driver() - strip from a header of the backend what the driver did not accept */
void net_header_for_driver(struct virtio_net_hdr_v1 *header, uint64_t features);
