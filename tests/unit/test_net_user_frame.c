/* SPDX-License-Identifier: Apache-2.0 */
/* What the user-mode network lets out, and DNS on the host's loopback. */
#include <criterion/criterion.h>
#include <string.h>

#include "device-procs/net/net_user_frame.h"

#define IP(a, b, c, d) ((uint32_t)(a) << 24 | (b) << 16 | (c) << 8 | (d))
#define LOCAL IP(127, 0, 0, 53)

static uint8_t frame[64];

static uint32_t sum_of(const uint8_t *at, uint32_t n)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < n; i += 2)
		sum += (uint32_t)at[i] << 8 | at[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static void put(uint8_t *at, uint32_t v)
{
	at[0] = (uint8_t)(v >> 24);
	at[1] = (uint8_t)(v >> 16);
	at[2] = (uint8_t)(v >> 8);
	at[3] = (uint8_t)v;
}

/* A UDP or TCP packet with right checksums. */
static void make(uint8_t protocol, uint32_t from, uint32_t to, uint16_t sport, uint16_t dport)
{
	uint32_t len = protocol == 6 ? 20 : 8, at = 34 + (protocol == 6 ? 16 : 6), sum;

	memset(frame, 0, sizeof(frame));
	frame[12] = 8;
	frame[14] = 0x45;
	frame[17] = (uint8_t)(20 + len);
	frame[23] = protocol;
	put(frame + 26, from);
	put(frame + 30, to);
	sum = ~sum_of(frame + 14, 20);
	frame[24] = (uint8_t)(sum >> 8);
	frame[25] = (uint8_t)sum;
	frame[34] = (uint8_t)(sport >> 8);
	frame[35] = (uint8_t)sport;
	frame[36] = (uint8_t)(dport >> 8);
	frame[37] = (uint8_t)dport;
	sum = ~(sum_of(frame + 26, 8) + protocol + len + sum_of(frame + 34, len));
	sum = ~((~sum & 0xffff) + (~sum >> 16));
	frame[at] = (uint8_t)(sum >> 8);
	frame[at + 1] = (uint8_t)sum;
}

static void expect_valid(uint8_t protocol)
{
	uint32_t len = protocol == 6 ? 20 : 8;
	uint32_t sum = sum_of(frame + 26, 8) + protocol + len + sum_of(frame + 34, len);

	cr_expect_eq(sum_of(frame + 14, 20), 0xffff, "IP checksum");
	cr_expect_eq((sum & 0xffff) + (sum >> 16), 0xffff, "checksum of %u", protocol);
}

static bool goes(uint32_t dns, uint8_t protocol, uint32_t to, uint16_t dport)
{
	struct net_user_addresses a = net_user_addresses(dns);

	make(protocol, a.dhcp_start, to, 1000, dport);
	return net_user_from_guest(&a, frame, sizeof(frame));
}

Test(net_user_frame, addresses)
{
	struct net_user_addresses a = net_user_addresses(IP(192, 0, 2, 1));

	cr_expect_eq(a.nameserver, IP(192, 0, 2, 1));
	cr_expect_eq(a.gateway, IP(10, 0, 2, 2));
	cr_expect_eq(a.dhcp_start, IP(10, 0, 2, 15));
	cr_expect_eq(net_user_addresses(LOCAL).nameserver, IP(10, 0, 2, 3));
	/* inside such a network ourselves */
	cr_expect_eq(net_user_addresses(IP(10, 0, 2, 3)).gateway, IP(10, 0, 3, 2));
}

Test(net_user_frame, loopback_is_out_of_reach)
{
	for (unsigned i = 0; i < 256; i++) {
		cr_expect(!goes(LOCAL, 6, IP(127, i, 0, 1), 80));
		cr_expect(!goes(LOCAL, 17, IP(0, 0, 0, i), 53));
	}
	cr_expect(!goes(LOCAL, 17, LOCAL, 53), "also the DNS server by its own address");
	cr_expect(goes(LOCAL, 6, IP(192, 0, 2, 1), 80));
}

Test(net_user_frame, the_nameserver_is_for_dns)
{
	cr_expect(goes(LOCAL, 17, IP(10, 0, 2, 3), 53));
	cr_expect(goes(LOCAL, 6, IP(10, 0, 2, 3), 53));
	cr_expect(goes(LOCAL, 1, IP(10, 0, 2, 3), 0), "echo requests");
	cr_expect(!goes(LOCAL, 17, IP(10, 0, 2, 3), 54));
	cr_expect(!goes(LOCAL, 6, IP(10, 0, 2, 3), 22));
	cr_expect(!goes(0, 17, IP(10, 0, 2, 3), 53), "none is known");
	cr_expect(!goes(IP(192, 0, 2, 1), 17, IP(10, 0, 2, 3), 53), "it has another address");
}

Test(net_user_frame, translation_and_back_keeps_checksums)
{
	struct net_user_addresses a = net_user_addresses(LOCAL);

	for (unsigned i = 0; i < 2; i++) {
		uint8_t protocol = i == 0 ? 17 : 6;

		make(protocol, a.dhcp_start, a.nameserver, 1234, 53);
		expect_valid(protocol);
		cr_assert(net_user_from_guest(&a, frame, sizeof(frame)));
		cr_expect_eq(frame[30], 127);
		cr_expect_eq(frame[33], 53);
		expect_valid(protocol);
		make(protocol, LOCAL, a.dhcp_start, 53, 1234);
		net_user_to_guest(&a, frame, sizeof(frame));
		cr_expect_eq(frame[26], 10);
		cr_expect_eq(frame[29], 3);
		expect_valid(protocol);
	}
}

Test(net_user_frame, fragments_and_short_ones_do_not_reach_the_nameserver)
{
	struct net_user_addresses a = net_user_addresses(LOCAL);

	make(17, a.dhcp_start, a.nameserver, 1234, 53);
	frame[20] = 0x20; /* more fragments */
	cr_expect(!net_user_from_guest(&a, frame, sizeof(frame)));
	make(17, a.dhcp_start, a.nameserver, 1234, 53);
	cr_expect(!net_user_from_guest(&a, frame, 41));
	make(17, a.dhcp_start, a.nameserver, 1234, 53);
	frame[14] = 0x4f; /* a header longer than the frame */
	cr_expect(!net_user_from_guest(&a, frame, 64));
	cr_expect(!net_user_from_guest(&a, frame, 33), "too short for an address");
}

/* libslirp has parsers for IPv6 and NC-SI too. */
Test(net_user_frame, nothing_but_arp_and_ipv4)
{
	struct net_user_addresses a = net_user_addresses(LOCAL);

	for (uint32_t type = 0; type <= 0xffff; type++) {
		bool is_known = type == 0x0800 || type == 0x0806;

		make(6, a.dhcp_start, IP(192, 0, 2, 1), 1000, 80);
		frame[12] = (uint8_t)(type >> 8);
		frame[13] = (uint8_t)type;
		cr_expect_eq(net_user_from_guest(&a, frame, sizeof(frame)), is_known, "%#x", type);
	}
	cr_expect(!net_user_from_guest(&a, frame, 13), "too short for a type");
}
