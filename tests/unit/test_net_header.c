/* SPDX-License-Identifier: Apache-2.0 */
/* Headers of frames: what may be sent, and that what is sent holds nothing else. */
#include <criterion/criterion.h>
#include <string.h>

#include "device-procs/net/net_header.h"

#define F(bit) NET_FEATURE(bit)
#define ALL                                                                                       \
	(F(VIRTIO_NET_F_CSUM) | F(VIRTIO_NET_F_HOST_TSO4) | F(VIRTIO_NET_F_HOST_TSO6) |           \
	 F(VIRTIO_NET_F_HOST_ECN) | F(VIRTIO_NET_F_HOST_UFO) | F(NET_F_HOST_USO))
#define CSUM VIRTIO_NET_HDR_F_NEEDS_CSUM

static struct virtio_net_hdr_v1 out;

static int check(struct virtio_net_hdr_v1 h, uint64_t len, uint64_t features, uint32_t mtu)
{
	struct net_limits limits = { features, mtu };

	memset(&out, 0xee, sizeof(out));
	return net_header_check(&h, len, &limits, &out);
}

static struct virtio_net_hdr_v1 header(uint8_t flags, uint8_t gso, uint16_t hdr_len, uint16_t size,
				       uint16_t start, uint16_t offset)
{
	struct virtio_net_hdr_v1 h = { .flags = flags, .gso_type = gso, .hdr_len = hdr_len,
				       .gso_size = size };

	h.csum_start = start;
	h.csum_offset = offset;
	return h;
}

Test(net_header, lengths)
{
	struct virtio_net_hdr_v1 none = header(0, 0, 0, 0, 0, 0);

	cr_expect_eq(check(none, 0, ALL, 0), NET_HEADER_BAD);
	cr_expect_eq(check(none, 13, ALL, 0), NET_HEADER_BAD);
	cr_expect_eq(check(none, 14, ALL, 0), 0);
	cr_expect_eq(check(none, 1500 + 22, ALL, 1500), 0);
	cr_expect_eq(check(none, 1500 + 23, ALL, 1500), NET_HEADER_BAD);
	cr_expect_eq(check(none, NET_FRAME_MAX, ALL, 0), 0);
	cr_expect_eq(check(none, NET_FRAME_MAX + 1, ALL, 0), NET_HEADER_BAD);
	cr_expect_eq(check(none, UINT64_MAX, ALL, 0), NET_HEADER_BAD);
}

Test(net_header, segmented_frames_may_exceed_the_mtu)
{
	struct virtio_net_hdr_v1 h = header(CSUM, VIRTIO_NET_HDR_GSO_TCPV4, 54, 1448, 34, 16);

	cr_expect_eq(check(h, 60000, ALL, 1500), 0);
	cr_expect_eq(check(h, NET_FRAME_MAX + 1, ALL, 1500), NET_HEADER_BAD);
}

Test(net_header, checksum_fields)
{
	cr_expect_eq(check(header(CSUM, 0, 0, 0, 34, 16), 52, ALL, 0), 0);
	cr_expect_eq(check(header(CSUM, 0, 0, 0, 34, 17), 52, ALL, 0), NET_HEADER_BAD);
	cr_expect_eq(check(header(CSUM, 0, 0, 0, 13, 0), 52, ALL, 0), NET_HEADER_BAD);
	cr_expect_eq(check(header(CSUM, 0, 0, 0, 52, 0), 52, ALL, 0), NET_HEADER_BAD);
	cr_expect_eq(check(header(CSUM, 0, 0, 0, 65535, 65535), 60000, ALL, 0), NET_HEADER_BAD);
	cr_expect_eq(check(header(CSUM, 0, 0, 0, 34, 16), 52, 0, 0), NET_HEADER_BAD);
}

Test(net_header, nothing_unasked_gets_through)
{
	struct virtio_net_hdr_v1 zero;

	memset(&zero, 0, sizeof(zero));
	cr_expect_eq(check(header(0xfe, 0, 99, 99, 99, 99), 100, ALL, 0), 0);
	cr_expect_eq(memcmp(&out, &zero, sizeof(out)), 0);
}

Test(net_header, each_segmentation_needs_its_feature)
{
	static const struct {
		uint8_t type;
		unsigned feature;
	} kinds[] = {
		{ VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_F_HOST_TSO4 },
		{ VIRTIO_NET_HDR_GSO_TCPV6, VIRTIO_NET_F_HOST_TSO6 },
		{ VIRTIO_NET_HDR_GSO_UDP, VIRTIO_NET_F_HOST_UFO },
		{ NET_GSO_UDP_L4, NET_F_HOST_USO },
	};

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct virtio_net_hdr_v1 h = header(CSUM, kinds[i].type, 54, 1448, 34, 16);

		cr_expect_eq(check(h, 4000, ALL, 0), 0, "%zu", i);
		cr_expect_eq(check(h, 4000, ALL & ~F(kinds[i].feature), 0), NET_HEADER_BAD, "%zu", i);
		h.gso_size = 0;
		cr_expect_eq(check(h, 4000, ALL, 0), NET_HEADER_BAD, "%zu", i);
		h.gso_size = 1448;
		h.flags = 0;
		cr_expect_eq(check(h, 4000, ALL, 0), NET_HEADER_BAD, "%zu", i);
		h.flags = CSUM;
		h.hdr_len = 4001;
		cr_expect_eq(check(h, 4000, ALL, 0), NET_HEADER_BAD, "%zu", i);
	}
	for (unsigned type = 6; type < 0x80; type++)
		cr_expect_eq(check(header(CSUM, (uint8_t)type, 54, 1448, 34, 16), 4000, ALL, 0),
			     NET_HEADER_BAD, "type %u", type);
}

Test(net_header, ecn)
{
	struct virtio_net_hdr_v1 h = header(CSUM, VIRTIO_NET_HDR_GSO_TCPV4 | 0x80, 54, 1448, 34, 16);

	cr_expect_eq(check(h, 4000, ALL, 0), 0);
	cr_expect_eq(check(h, 4000, ALL & ~F(VIRTIO_NET_F_HOST_ECN), 0), NET_HEADER_BAD);
	h.gso_type = VIRTIO_NET_HDR_GSO_UDP | 0x80;
	cr_expect_eq(check(h, 4000, ALL, 0), NET_HEADER_BAD);
}

Test(net_header, flags_for_the_driver)
{
	struct virtio_net_hdr_v1 h = { .flags = 0xff };

	net_header_for_driver(&h, F(VIRTIO_NET_F_GUEST_CSUM));
	cr_expect_eq(h.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID);
	net_header_for_driver(&h, 0);
	cr_expect_eq(h.flags, 0);
}
