/* SPDX-License-Identifier: Apache-2.0 */
/* See net_header.h. Hostile input: the header that the driver wrote. */
#include "device-procs/net/net_header.h"

#include <endian.h>
#include <string.h>

/* The feature under which a driver may send this kind of segmentation; 0: it does not exist. */
static uint64_t gso_feature(uint8_t type)
{
	switch (type) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return NET_FEATURE(VIRTIO_NET_F_HOST_TSO4);
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return NET_FEATURE(VIRTIO_NET_F_HOST_TSO6);
	case VIRTIO_NET_HDR_GSO_UDP:
		return NET_FEATURE(VIRTIO_NET_F_HOST_UFO);
	case NET_GSO_UDP_L4:
		return NET_FEATURE(NET_F_HOST_USO);
	default:
		return 0;
	}
}

static bool is_tcp(uint8_t type)
{
	return type == VIRTIO_NET_HDR_GSO_TCPV4 || type == VIRTIO_NET_HDR_GSO_TCPV6;
}

/* §5.1.6.2: the 16 bits of the checksum lie inside the frame, behind its Ethernet header. */
static bool csum_is_bad(const struct virtio_net_hdr_v1 *h, uint64_t frame_len)
{
	return h->csum_start < NET_ETHERNET_BYTES || h->csum_start > frame_len ||
	       frame_len - h->csum_start < (uint64_t)h->csum_offset + 2;
}

static bool gso_is_bad(const struct virtio_net_hdr_v1 *h, uint64_t frame_len, uint64_t features)
{
	uint8_t type = h->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;

	if (!(features & gso_feature(type)) || h->gso_size == 0)
		return true;
	if ((h->gso_type & VIRTIO_NET_HDR_GSO_ECN) &&
	    (!is_tcp(type) || !(features & NET_FEATURE(VIRTIO_NET_F_HOST_ECN))))
		return true;
	/* Segments need checksums of their own. */
	return !(h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) || h->hdr_len > frame_len;
}

static uint64_t frame_max(const struct net_limits *limits, bool is_segmented)
{
	uint32_t packet = limits->mtu == 0 || is_segmented ? NET_PACKET_MAX : limits->mtu;

	return NET_ETHERNET_BYTES + NET_VLAN_BYTES + (uint64_t)packet;
}

int net_header_check(const struct virtio_net_hdr_v1 *raw, uint64_t frame_len,
		     const struct net_limits *limits, struct virtio_net_hdr_v1 *ret)
{
	struct virtio_net_hdr_v1 h = {
		/* §5.1.6.2.2: unknown flags are ignored */
		.flags = raw->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = raw->gso_type,
		.hdr_len = le16toh(raw->hdr_len),
		.gso_size = le16toh(raw->gso_size),
		.csum_start = le16toh(raw->csum_start),
		.csum_offset = le16toh(raw->csum_offset),
	};
	bool is_segmented = h.gso_type != VIRTIO_NET_HDR_GSO_NONE;

	if (frame_len < NET_ETHERNET_BYTES || frame_len > frame_max(limits, is_segmented))
		return NET_HEADER_BAD;
	if (h.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		if (!(limits->features & NET_FEATURE(VIRTIO_NET_F_CSUM)) ||
		    csum_is_bad(&h, frame_len))
			return NET_HEADER_BAD;
	} else {
		h.csum_start = h.csum_offset = 0;
	}
	if (is_segmented && gso_is_bad(&h, frame_len, limits->features))
		return NET_HEADER_BAD;
	if (!is_segmented)
		h.hdr_len = h.gso_size = 0;
	*ret = h;
	return 0;
}

void net_header_for_driver(struct virtio_net_hdr_v1 *h, uint64_t features)
{
	/* §5.1.6.4.1 */
	if (features & NET_FEATURE(VIRTIO_NET_F_GUEST_CSUM))
		h->flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID;
	else
		h->flags = 0;
}
