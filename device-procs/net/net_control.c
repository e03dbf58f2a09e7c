/* SPDX-License-Identifier: Apache-2.0 */
/* See net_control.h. Hostile input: the bytes of a command; frames come from the network. */
#include "device-procs/net/net_control.h"

#include <endian.h>
#include <linux/virtio_net.h>
#include <string.h>

#include "device-procs/net/net_header.h"

#define MAC_BYTES 6u
#define VLAN_TAG 0x8100u

struct command {
	struct net_state *s;
	const struct net_control_limits *limits;
	uint8_t number;
	const uint8_t *data;
	uint32_t len; /* of data */
	uint32_t changed;
};

static uint64_t get_le(const uint8_t *at, unsigned n)
{
	uint64_t v = 0;

	while (n-- > 0)
		v = v << 8 | at[n];
	return v;
}

static bool has(const struct command *c, unsigned feature)
{
	return c->limits->features & NET_FEATURE(feature);
}

static bool is_multicast(const uint8_t *mac)
{
	return mac[0] & 1;
}

/* §5.1.6.5.1: one byte, 0 or 1 */
static uint8_t run_rx(struct command *c)
{
	uint8_t *const flags[] = {
		[VIRTIO_NET_CTRL_RX_PROMISC] = &c->s->promisc,
		[VIRTIO_NET_CTRL_RX_ALLMULTI] = &c->s->allmulti,
		[VIRTIO_NET_CTRL_RX_ALLUNI] = &c->s->alluni,
		[VIRTIO_NET_CTRL_RX_NOMULTI] = &c->s->nomulti,
		[VIRTIO_NET_CTRL_RX_NOUNI] = &c->s->nouni,
		[VIRTIO_NET_CTRL_RX_NOBCAST] = &c->s->nobcast,
	};

	if (c->number >= ARRAY_LEN(flags) || c->len != 1 || c->data[0] > 1)
		return VIRTIO_NET_ERR;
	if (!has(c, c->number >= VIRTIO_NET_CTRL_RX_ALLUNI ? VIRTIO_NET_F_CTRL_RX_EXTRA :
							       VIRTIO_NET_F_CTRL_RX))
		return VIRTIO_NET_ERR;
	*flags[c->number] = c->data[0];
	return VIRTIO_NET_OK;
}

/* One list: a count of 32 bits, then so many addresses. Return: bytes used; 0: it does not fit */
static uint32_t take_list(const uint8_t *data, uint32_t len, struct net_mac_list *ret)
{
	uint32_t n;

	if (len < 4)
		return 0;
	n = (uint32_t)get_le(data, 4);
	if (n > (len - 4) / MAC_BYTES)
		return 0;
	ret->overflowed = n > NET_MACS_MAX;
	ret->n = ret->overflowed ? 0 : n;
	memcpy(ret->macs, data + 4, ret->n * MAC_BYTES);
	return 4 + n * MAC_BYTES;
}

/* §5.1.6.5.2: two lists that fill the data exactly */
static uint8_t set_table(struct command *c)
{
	struct net_mac_list unicast, multicast;
	uint32_t used, rest;

	memset(&unicast, 0, sizeof(unicast));
	memset(&multicast, 0, sizeof(multicast));
	used = take_list(c->data, c->len, &unicast);
	if (used == 0)
		return VIRTIO_NET_ERR;
	rest = c->len - used;
	used = take_list(c->data + used, rest, &multicast);
	if (used == 0 || used != rest)
		return VIRTIO_NET_ERR;
	c->s->unicast = unicast;
	c->s->multicast = multicast;
	return VIRTIO_NET_OK;
}

static uint8_t run_mac(struct command *c)
{
	if (c->number == VIRTIO_NET_CTRL_MAC_TABLE_SET && has(c, VIRTIO_NET_F_CTRL_RX))
		return set_table(c);
	if (c->number != VIRTIO_NET_CTRL_MAC_ADDR_SET || !has(c, VIRTIO_NET_F_CTRL_MAC_ADDR) ||
	    c->len != MAC_BYTES || is_multicast(c->data))
		return VIRTIO_NET_ERR;
	memcpy(c->s->mac, c->data, MAC_BYTES);
	c->changed |= NET_CHANGED_MAC;
	return VIRTIO_NET_OK;
}

static uint8_t run_vlan(struct command *c)
{
	uint64_t bit, vlan;

	if (!has(c, VIRTIO_NET_F_CTRL_VLAN) || c->len != 2)
		return VIRTIO_NET_ERR;
	vlan = get_le(c->data, 2);
	if (vlan >= NET_VLANS)
		return VIRTIO_NET_ERR;
	bit = UINT64_C(1) << (vlan % 64);
	if (c->number == VIRTIO_NET_CTRL_VLAN_ADD)
		c->s->vlans[vlan / 64] |= bit;
	else if (c->number == VIRTIO_NET_CTRL_VLAN_DEL)
		c->s->vlans[vlan / 64] &= ~bit;
	else
		return VIRTIO_NET_ERR;
	return VIRTIO_NET_OK;
}

static uint8_t run_announce(struct command *c)
{
	if (!has(c, VIRTIO_NET_F_GUEST_ANNOUNCE) || c->len != 0 ||
	    c->number != VIRTIO_NET_CTRL_ANNOUNCE_ACK)
		return VIRTIO_NET_ERR;
	c->s->announce = false;
	c->changed |= NET_CHANGED_ANNOUNCE;
	return VIRTIO_NET_OK;
}

static uint8_t run_mq(struct command *c)
{
	uint64_t n;

	if (!has(c, VIRTIO_NET_F_MQ) || c->len != 2 ||
	    c->number != VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET)
		return VIRTIO_NET_ERR;
	n = get_le(c->data, 2);
	if (n == 0 || n > c->limits->n_pairs_max)
		return VIRTIO_NET_ERR;
	c->s->n_pairs = (uint32_t)n;
	c->changed |= NET_CHANGED_PAIRS;
	return VIRTIO_NET_OK;
}

static uint8_t run_offloads(struct command *c)
{
	uint64_t wanted;

	if (!has(c, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) || c->len != 8 ||
	    c->number != VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET)
		return VIRTIO_NET_ERR;
	wanted = get_le(c->data, 8);
	if (wanted & ~net_guest_offloads(c->limits->features))
		return VIRTIO_NET_ERR;
	c->s->guest_offloads = wanted;
	c->changed |= NET_CHANGED_OFFLOADS;
	return VIRTIO_NET_OK;
}

uint8_t net_control_run(struct net_state *s, const struct net_control_limits *limits,
			const uint8_t *command, uint32_t len, uint32_t *ret_changed)
{
	static uint8_t (*const classes[])(struct command *) = {
		[VIRTIO_NET_CTRL_RX] = run_rx,
		[VIRTIO_NET_CTRL_MAC] = run_mac,
		[VIRTIO_NET_CTRL_VLAN] = run_vlan,
		[VIRTIO_NET_CTRL_ANNOUNCE] = run_announce,
		[VIRTIO_NET_CTRL_MQ] = run_mq,
		[VIRTIO_NET_CTRL_GUEST_OFFLOADS] = run_offloads,
	};
	struct command c = { .s = s, .limits = limits };
	uint8_t r;

	*ret_changed = 0;
	if (len < 2 || command[0] >= ARRAY_LEN(classes))
		return VIRTIO_NET_ERR;
	c.number = command[1];
	c.data = command + 2;
	c.len = len - 2;
	r = classes[command[0]](&c);
	*ret_changed = c.changed;
	return r;
}

uint64_t net_guest_offloads(uint64_t features)
{
	return features &
	       (NET_FEATURE(VIRTIO_NET_F_GUEST_CSUM) | NET_FEATURE(VIRTIO_NET_F_GUEST_TSO4) |
		NET_FEATURE(VIRTIO_NET_F_GUEST_TSO6) | NET_FEATURE(VIRTIO_NET_F_GUEST_ECN) |
		NET_FEATURE(VIRTIO_NET_F_GUEST_UFO) | NET_FEATURE(NET_F_GUEST_USO4) |
		NET_FEATURE(NET_F_GUEST_USO6));
}

void net_state_reset(struct net_state *s, uint64_t features)
{
	struct net_state old = *s;

	memset(s, 0, sizeof(*s));
	memcpy(s->mac, old.mac, sizeof(s->mac));
	s->n_pairs = 1;
	s->promisc = true; /* until the driver says what it wants */
	s->filters_vlans = (features & NET_FEATURE(VIRTIO_NET_F_CTRL_VLAN)) != 0;
	s->guest_offloads = net_guest_offloads(features);
}

void net_state_save(const struct net_state *s, struct net_saved *to)
{
	uint32_t next = __atomic_load_n(&to->current, __ATOMIC_RELAXED) % 2 + 1;

	to->copies[next % 2] = *s;
	__atomic_store_n(&to->current, next, __ATOMIC_RELEASE);
}

static void check_list(struct net_mac_list *list)
{
	list->overflowed = list->overflowed != 0 || list->n > NET_MACS_MAX;
	if (list->overflowed)
		list->n = 0;
}

bool net_state_load(const struct net_saved *from, const struct net_control_limits *limits,
		    struct net_state *ret)
{
	uint32_t current = __atomic_load_n(&from->current, __ATOMIC_ACQUIRE);
	struct net_state s;
	uint8_t *const flags[] = { &s.promisc,	&s.allmulti, &s.alluni,	       &s.nomulti,
				   &s.nouni,	&s.nobcast,  &s.filters_vlans, &s.announce };
	size_t i;

	if (current == 0)
		return false;
	memcpy(&s, &from->copies[current % 2], sizeof(s));
	for (i = 0; i < ARRAY_LEN(flags); i++)
		*flags[i] = *flags[i] != 0;
	/* Without MQ the second pair's place is the control queue's, §5.1.2. */
	if (s.n_pairs == 0 || s.n_pairs > limits->n_pairs_max ||
	    !(limits->features & NET_FEATURE(VIRTIO_NET_F_MQ)))
		s.n_pairs = 1;
	if (is_multicast(s.mac))
		memcpy(s.mac, ret->mac, sizeof(s.mac));
	check_list(&s.unicast);
	check_list(&s.multicast);
	s.guest_offloads &= net_guest_offloads(limits->features);
	*ret = s;
	return true;
}

static bool is_listed(const struct net_mac_list *list, const uint8_t *mac)
{
	uint32_t i;

	for (i = 0; i < list->n; i++)
		if (memcmp(list->macs[i], mac, MAC_BYTES) == 0)
			return true;
	return list->overflowed != 0;
}

static bool wants_address(const struct net_state *s, const uint8_t *mac)
{
	static const uint8_t broadcast[MAC_BYTES] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	if (memcmp(mac, broadcast, MAC_BYTES) == 0)
		return !s->nobcast;
	if (is_multicast(mac))
		return !s->nomulti && (s->allmulti || is_listed(&s->multicast, mac));
	return !s->nouni && (s->alluni || memcmp(mac, s->mac, MAC_BYTES) == 0 ||
			     is_listed(&s->unicast, mac));
}

bool net_state_wants(const struct net_state *s, const uint8_t *frame, uint32_t len)
{
	uint32_t vlan;

	if (len < NET_ETHERNET_BYTES)
		return false;
	if (s->promisc)
		return true;
	if (s->filters_vlans && len >= NET_ETHERNET_BYTES + 4 &&
	    (frame[12] << 8 | frame[13]) == VLAN_TAG) {
		vlan = (uint32_t)(frame[14] << 8 | frame[15]) % NET_VLANS;
		if (!(s->vlans[vlan / 64] & UINT64_C(1) << (vlan % 64)))
			return false;
	}
	return wants_address(s, frame);
}
