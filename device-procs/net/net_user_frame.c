/* SPDX-License-Identifier: Apache-2.0 */
/* See net_user_frame.h. Every length comes from the frame's own size; what it says is compared. */
#include "device-procs/net/net_user_frame.h"

#include <string.h>

#define ETHERNET_BYTES 14u
#define ETHERTYPE_AT 12u
#define ETHERTYPE_IPV4 0x0800u
#define ETHERTYPE_ARP 0x0806u
#define IP_BYTES 20u
#define IP_FRAGMENT_AT 6u
#define IP_PROTOCOL_AT 9u
#define IP_CHECKSUM_AT 10u
#define IP_SOURCE_AT 12u
#define IP_DESTINATION_AT 16u
#define PROTOCOL_ICMP 1u
#define PROTOCOL_TCP 6u
#define PROTOCOL_UDP 17u
#define PORT_DNS 53u

#define ADDRESS(a, b, c, d) ((uint32_t)(a) << 24 | (b) << 16 | (c) << 8 | (d))

struct packet {
	uint8_t *ip; /* IP_BYTES at least */
	uint8_t protocol;
	uint8_t *ports; /* TCP, UDP and not a fragment: header of at least 8 bytes; else NULL */
	uint8_t *checksum; /* of TCP or UDP; NULL as ports */
};

static uint32_t get16(const uint8_t *at)
{
	return (uint32_t)at[0] << 8 | at[1];
}

static uint32_t get32(const uint8_t *at)
{
	return get16(at) << 16 | get16(at + 2);
}

static void put32(uint8_t *at, uint32_t v)
{
	at[0] = (uint8_t)(v >> 24);
	at[1] = (uint8_t)(v >> 16);
	at[2] = (uint8_t)(v >> 8);
	at[3] = (uint8_t)v;
}

/* Return: false: not IPv4, or too short to say */
static bool parse(uint8_t *frame, uint32_t len, struct packet *ret)
{
	uint32_t left, header, need;

	memset(ret, 0, sizeof(*ret));
	if (len < ETHERNET_BYTES + IP_BYTES || get16(frame + ETHERTYPE_AT) != ETHERTYPE_IPV4)
		return false;
	ret->ip = frame + ETHERNET_BYTES;
	ret->protocol = ret->ip[IP_PROTOCOL_AT];
	left = len - ETHERNET_BYTES;
	header = (ret->ip[0] & 0xfu) * 4;
	if (header < IP_BYTES || header > left)
		return true;
	if ((get16(ret->ip + IP_FRAGMENT_AT) & 0x3fff) != 0)
		return true;
	need = ret->protocol == PROTOCOL_TCP ? 20 : 8;
	if ((ret->protocol != PROTOCOL_TCP && ret->protocol != PROTOCOL_UDP) ||
	    left - header < need)
		return true;
	ret->ports = ret->ip + header;
	ret->checksum = ret->ports + (ret->protocol == PROTOCOL_TCP ? 16 : 6);
	return true;
}

/* RFC 1624, for the four bytes of an address */
static void adjust_checksum(uint8_t *at, uint32_t old, uint32_t new)
{
	uint32_t sum = (~get16(at) & 0xffff) + (~(old >> 16) & 0xffff) + (~old & 0xffff) +
		       (new >> 16) + (new & 0xffff);

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~sum & 0xffff;
	at[0] = (uint8_t)(sum >> 8);
	at[1] = (uint8_t)sum;
}

static void translate(const struct packet *p, uint32_t address_at, uint32_t new)
{
	uint32_t old = get32(p->ip + address_at);

	adjust_checksum(p->ip + IP_CHECKSUM_AT, old, new);
	/* A UDP checksum of 0 says that there is none. */
	if (p->protocol == PROTOCOL_TCP || get16(p->checksum) != 0)
		adjust_checksum(p->checksum, old, new);
	put32(p->ip + address_at, new);
}

struct net_user_addresses net_user_addresses(uint32_t dns)
{
	struct net_user_addresses a = { .network = ADDRESS(10, 0, 2, 0), .mask = 0xffffff00 };
	bool is_local = dns >> 24 == 127;

	/* A host that is itself such a guest has its DNS server where ours would be. */
	if ((dns & a.mask) == a.network)
		a.network = ADDRESS(10, 0, 3, 0);
	a.gateway = a.network | 2;
	a.dhcp_start = a.network | 15;
	a.nameserver = dns == 0 || is_local ? a.network | 3 : dns;
	a.dns = is_local ? dns : 0;
	return a;
}

bool net_user_from_guest(const struct net_user_addresses *a, uint8_t *frame, uint32_t len)
{
	struct packet p;
	uint32_t to;

	/* libslirp has parsers for more, NC-SI and IPv6, that nobody here needs. */
	if (!parse(frame, len, &p))
		return len >= ETHERNET_BYTES && get16(frame + ETHERTYPE_AT) == ETHERTYPE_ARP;
	to = get32(p.ip + IP_DESTINATION_AT);
	if (to >> 24 == 127 || to >> 24 == 0)
		return false;
	if (to != (a->network | 3))
		return true;
	if (p.protocol == PROTOCOL_ICMP)
		return true; /* answered by libslirp itself */
	/* libslirp would look for /etc/resolv.conf. */
	if (a->dns == 0 || p.ports == NULL || get16(p.ports + 2) != PORT_DNS)
		return false;
	translate(&p, IP_DESTINATION_AT, a->dns);
	return true;
}

void net_user_to_guest(const struct net_user_addresses *a, uint8_t *frame, uint32_t len)
{
	struct packet p;

	if (a->dns == 0 || !parse(frame, len, &p) || p.ports == NULL)
		return;
	if (get32(p.ip + IP_SOURCE_AT) == a->dns && get16(p.ports) == PORT_DNS)
		translate(&p, IP_SOURCE_AT, a->nameserver);
}
