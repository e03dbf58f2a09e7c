/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-net of the probe guest (VIRTIO 1.2 §5.1): one queue pair, frames one at a time. */
#pragma once

#include "virtio.h"

#define VIRTIO_ID_NET 1

#define NET_F_CSUM (1ull << 0)
#define NET_F_GUEST_CSUM (1ull << 1)
#define NET_F_CTRL_GUEST_OFFLOADS (1ull << 2)
#define NET_F_MTU (1ull << 3)
#define NET_F_MAC (1ull << 5)
#define NET_F_GUEST_TSO4 (1ull << 7)
#define NET_F_GUEST_TSO6 (1ull << 8)
#define NET_F_GUEST_ECN (1ull << 9)
#define NET_F_GUEST_UFO (1ull << 10)
#define NET_F_HOST_TSO4 (1ull << 11)
#define NET_F_HOST_TSO6 (1ull << 12)
#define NET_F_HOST_ECN (1ull << 13)
#define NET_F_HOST_UFO (1ull << 14)
#define NET_F_MRG_RXBUF (1ull << 15)
#define NET_F_STATUS (1ull << 16)
#define NET_F_CTRL_VQ (1ull << 17)
#define NET_F_CTRL_RX (1ull << 18)
#define NET_F_CTRL_VLAN (1ull << 19)
#define NET_F_CTRL_RX_EXTRA (1ull << 20)
#define NET_F_GUEST_ANNOUNCE (1ull << 21)
#define NET_F_MQ (1ull << 22)
#define NET_F_CTRL_MAC_ADDR (1ull << 23)
#define NET_F_HOST_USO (1ull << 56)

#define NET_HDR_F_NEEDS_CSUM 1
#define NET_GSO_NONE 0
#define NET_GSO_TCPV4 1
#define NET_GSO_UDP 3
#define NET_GSO_TCPV6 4
#define NET_GSO_UDP_L4 5
#define NET_GSO_ECN 0x80

/* Offsets in struct virtio_net_config */
#define NET_CONFIG_MAC 0
#define NET_CONFIG_STATUS 6
#define NET_CONFIG_PAIRS 8
#define NET_CONFIG_MTU 10

#define NET_HEADER 12u
#define NET_FRAME_MAX 65550u
#define NET_COMMAND_MAX 8192u
#define ETH_HEADER 14u

struct net_header {
	uint8_t flags;
	uint8_t gso_type;
	uint16_t hdr_len;
	uint16_t gso_size;
	uint16_t csum_start;
	uint16_t csum_offset;
	uint16_t num_buffers;
};

/* A NIC with pair 0 and the control queue in use. */
struct net {
	struct vdev *dev;
	struct vq rx, tx, ctrl;
	uint8_t mac[6];
	uint32_t buffer_len; /* of each receive buffer */
	uint8_t *buffers; /* rx.size of them */
	uint8_t *out; /* header and one frame to be sent */
	uint8_t *command; /* NET_COMMAND_MAX bytes, then the ack */
};

/* Starts pair 0 with queues of at most size entries, all receive buffers offered. */
bool net_start(struct net *net, struct vdev *dev, uint64_t features, uint16_t size,
	       uint32_t buffer_len);
/* Offers receive buffer i again; the caller kicks. */
void net_offer(struct net *net, uint16_t i);
/* net->out, header included, in two buffers; waits until it is sent; Return: used length, or -1 */
int net_send(struct net *net, uint32_t frame_len);
/*
 * The next received frame, put together at to (NET_HEADER + NET_FRAME_MAX bytes, or NULL), its
 * buffers offered again. Return: bytes with the header, 0 after timeout_ms, -1 when it is broken
 */
int net_receive(struct net *net, uint8_t *to, uint64_t timeout_ms);
/* One command; Return: the ack byte, or -1 */
int net_control(struct net *net, uint8_t class, uint8_t command, const void *data, uint32_t len);
/* A frame of len bytes with these addresses, EtherType 0x88b5 and a pattern, at net->out */
void net_fill(struct net *net, const uint8_t *destination, uint32_t len, uint8_t salt);

void net_echo_run(void);
