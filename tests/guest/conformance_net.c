/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net by the book (VIRTIO 1.2 §5.1): a driver that uses what is offered, against the peer
 * of tests/net/run. The NIC has two queue pairs and an MTU of 9000.
 */
#include "modes.h"
#include "net_peer.h"

#define CTRL_RX 0
#define CTRL_MAC 1
#define CTRL_VLAN 2
#define CTRL_ANNOUNCE 3
#define CTRL_MQ 4
#define CTRL_OFFLOADS 5
#define OK 0
#define ERR 1

static struct vdev *nic;
static struct net net;
static uint8_t frame[NET_HEADER + NET_FRAME_MAX];

static const uint8_t group[6] = { 0x33, 0x33, 0, 0, 0, 0x42 };
static const uint8_t station[6] = { 0x02, 0, 0, 0, 0, 0x77 };
static const uint8_t broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

static const char *start(uint64_t features, uint16_t size, uint32_t buffer_len)
{
	EXPECT(net_start(&net, nic, features, size, buffer_len), "the NIC does not start, 0x%x",
	       vdev_status(nic));
	EXPECT((nic->features & features) == features, "features 0x%lx are not offered",
	       features & ~nic->features);
	return NULL;
}

#define PLAIN (NET_F_MAC | NET_F_MRG_RXBUF | NET_F_CTRL_VQ | NET_F_CTRL_RX)

static const char *start_plain(void)
{
	return start(PLAIN, 64, 2048);
}

static const char *offers(uint64_t bit)
{
	EXPECT(vdev_offered(nic) & 1ull << bit, "not offered: 0x%lx", vdev_offered(nic));
	return NULL;
}

static const char *config_fields(uint64_t unused)
{
	uint8_t mac[6];

	(void)unused;
	EXPECT_OK(start(NET_F_MAC | NET_F_STATUS | NET_F_MQ | NET_F_MTU | NET_F_CTRL_VQ, 16, 2048));
	for (unsigned i = 0; i < 6; i++)
		mac[i] = mmio_read8(nic->config + i);
	EXPECT((mac[0] & 1) == 0, "a multicast address");
	EXPECT(mmio_read16(nic->config + NET_CONFIG_STATUS) == 1, "status 0x%x",
	       mmio_read16(nic->config + NET_CONFIG_STATUS));
	EXPECT(mmio_read16(nic->config + NET_CONFIG_PAIRS) == 2, "%u pairs",
	       mmio_read16(nic->config + NET_CONFIG_PAIRS));
	EXPECT(mmio_read16(nic->config + NET_CONFIG_MTU) == 9000, "MTU %u",
	       mmio_read16(nic->config + NET_CONFIG_MTU));
	return NULL;
}

static const char *echo(uint64_t len)
{
	EXPECT_OK(start_plain());
	return peer_echo(&net, (uint32_t)len);
}

static const char *echo_without_features(uint64_t len)
{
	EXPECT_OK(start(0, 16, 2048));
	return peer_echo(&net, (uint32_t)len);
}

static const char *echo_event_idx(uint64_t len)
{
	EXPECT_OK(start(PLAIN | FEATURE_EVENT_IDX, 64, 2048));
	for (unsigned i = 0; i < 20; i++)
		EXPECT_OK(peer_echo(&net, (uint32_t)len));
	return NULL;
}

static const char *many_echoes(uint64_t n)
{
	EXPECT_OK(start(PLAIN, 8, 2048));
	for (uint64_t i = 0; i < n; i++)
		EXPECT_OK(peer_echo(&net, 64 + (uint32_t)(i * 37 % 1400)));
	return NULL;
}

/* The header and pieces of the frame in buffers of `piece` bytes each. */
static const char *scattered(uint64_t piece)
{
	struct vring_used_elem elem;
	struct peer_count count;
	uint32_t len = 600, total = NET_HEADER + len, at = 0;
	uint16_t i = 0;

	EXPECT_OK(start(PLAIN, 256, 2048));
	peer_fill(&net, len);
	for (; at < total; i++) {
		uint32_t n = total - at < piece ? total - at : (uint32_t)piece;

		vq_desc(&net.tx, i, net.out + at, n, at + n < total ? DESC_NEXT : 0,
			(uint16_t)(i + 1));
		at += n;
	}
	vq_push(&net.tx, 0);
	vq_kick(&net.tx);
	EXPECT(vq_wait(&net.tx, TIMEOUT_REQUEST, &elem), "it was not sent");
	EXPECT_OK(peer_count(&net, &count));
	EXPECT(count.n == 1 && count.bytes == len, "%u frames, %u bytes", count.n, count.bytes);
	return NULL;
}

/* 5.1.6.4: with MRG_RXBUF a frame is spread over buffers, num_buffers says over how many. */
static const char *merged(uint64_t buffer_len)
{
	int len;

	EXPECT_OK(start(PLAIN, 256, (uint32_t)buffer_len));
	EXPECT_OK(peer_ask(&net, PEER_SEND, 1, 8000, NULL));
	len = peer_receive(&net, frame, TIMEOUT_REQUEST);
	EXPECT(len == NET_HEADER + 8000, "%d bytes", len);
	for (unsigned i = ETH_HEADER; i < 8000; i++)
		EXPECT(frame[NET_HEADER + i] == (uint8_t)(i * 7), "byte %u is 0x%x", i,
		       frame[NET_HEADER + i]);
	return peer_echo(&net, 100);
}

/* Without it, what does not fit into one buffer is dropped, and the next frame comes. */
static const char *too_large_for_a_buffer(uint64_t unused)
{
	int len;

	(void)unused;
	EXPECT_OK(start(NET_F_MAC, 16, 1526));
	EXPECT_OK(peer_ask(&net, PEER_SEND, 1, 8000, NULL));
	EXPECT_OK(peer_ask(&net, PEER_SEND, 1, 200, NULL));
	len = peer_receive(&net, frame, TIMEOUT_REQUEST);
	EXPECT(len == NET_HEADER + 200, "%d bytes", len);
	EXPECT(((struct net_header *)frame)->num_buffers == 1, "num_buffers %u",
	       ((struct net_header *)frame)->num_buffers);
	return NULL;
}

static const char *jumbo(uint64_t len)
{
	EXPECT_OK(start(PLAIN | NET_F_MTU, 64, 10000));
	return peer_echo(&net, (uint32_t)len);
}

/* A burst larger than the ring: what the tap kept arrives in order once there is room. */
static const char *burst(uint64_t n)
{
	EXPECT_OK(start(PLAIN, 8, 2048));
	EXPECT_OK(peer_ask(&net, PEER_SEND, (uint16_t)n, 300, NULL));
	for (uint64_t i = 0; i < n; i++) {
		int len = peer_receive(&net, frame, TIMEOUT_REQUEST);

		EXPECT(len == NET_HEADER + 300, "frame %lu: %d bytes", i, len);
		EXPECT(frame[NET_HEADER + 20] == (uint8_t)(20 * 7 + i), "frame %lu is another", i);
	}
	return NULL;
}

/* Buffers are offered only after the frames were sent. */
static const char *late_buffers(uint64_t n)
{
	EXPECT_OK(start(PLAIN, 8, 2048));
	for (uint64_t i = 0; i < 8; i++) /* use up what was offered */
		EXPECT_OK(peer_ask(&net, PEER_SEND, 1, 300, NULL));
	EXPECT_OK(peer_ask(&net, PEER_SEND, (uint16_t)n, 300, NULL));
	time_sleep(50);
	for (uint64_t i = 0; i < n + 8; i++)
		EXPECT(peer_receive(&net, frame, TIMEOUT_REQUEST) == NET_HEADER + 300, "frame %lu",
		       i);
	return peer_echo(&net, 64);
}

static const char *ctrl(uint8_t class, uint8_t command, const void *data, uint32_t len, int ack)
{
	int r = net_control(&net, class, command, data, len);

	EXPECT(r == ack, "command %u.%u: ack %d, not %d", class, command, r, ack);
	return NULL;
}

static const char *promisc(uint8_t on)
{
	return ctrl(CTRL_RX, 0, &on, 1, OK);
}

/* Does a frame to mac arrive? An echo after it tells when it should have. */
static const char *arrives(const uint8_t *mac, bool wanted)
{
	int len;

	EXPECT_OK(peer_ask(&net, PEER_SEND, 1, 333, mac));
	if (!wanted)
		return peer_echo(&net, 64);
	len = peer_receive(&net, frame, TIMEOUT_REQUEST);
	EXPECT(len == NET_HEADER + 333, "%d bytes", len);
	return NULL;
}

static const char *filter_unicast(uint64_t unused)
{
	static const uint8_t table[] = { 1, 0, 0, 0, 0x02, 0, 0, 0, 0, 0x77, 0, 0, 0, 0 };

	(void)unused;
	EXPECT_OK(start_plain());
	EXPECT_OK(arrives(station, true)); /* until told otherwise, everything */
	EXPECT_OK(promisc(0));
	EXPECT_OK(arrives(station, false));
	EXPECT_OK(arrives(net.mac, true));
	EXPECT_OK(ctrl(CTRL_MAC, 0, table, sizeof(table), OK));
	EXPECT_OK(arrives(station, true));
	EXPECT_OK(promisc(1));
	return arrives(group, true);
}

static const char *filter_multicast(uint64_t unused)
{
	static const uint8_t table[] = { 0, 0, 0, 0, 1, 0, 0, 0, 0x33, 0x33, 0, 0, 0, 0x42 };
	static const uint8_t empty[8];
	uint8_t on = 1;

	(void)unused;
	EXPECT_OK(start_plain());
	EXPECT_OK(promisc(0));
	EXPECT_OK(arrives(group, false));
	EXPECT_OK(arrives(broadcast, true));
	EXPECT_OK(ctrl(CTRL_MAC, 0, table, sizeof(table), OK));
	EXPECT_OK(arrives(group, true));
	EXPECT_OK(ctrl(CTRL_MAC, 0, empty, sizeof(empty), OK));
	EXPECT_OK(arrives(group, false));
	EXPECT_OK(ctrl(CTRL_RX, 1, &on, 1, OK)); /* allmulti */
	return arrives(group, true);
}

static const char *filter_extra(uint64_t unused)
{
	uint8_t on = 1;

	(void)unused;
	EXPECT_OK(start(PLAIN | NET_F_CTRL_RX_EXTRA, 64, 2048));
	EXPECT_OK(promisc(0));
	EXPECT_OK(ctrl(CTRL_RX, 2, &on, 1, OK)); /* alluni */
	EXPECT_OK(arrives(station, true));
	EXPECT_OK(ctrl(CTRL_RX, 5, &on, 1, OK)); /* nobcast */
	return arrives(broadcast, false);
}

/* A device may keep fewer addresses than it is told; then it lets more through, §5.1.6.5.2. */
static const char *filter_long_table(uint64_t unused)
{
	static uint8_t table[8 + 1000 * 6] = { 1000 & 0xff, 1000 >> 8 };

	(void)unused;
	for (unsigned i = 0; i < 1000; i++)
		memcpy(table + 4 + i * 6, station, 6);
	EXPECT_OK(start_plain());
	EXPECT_OK(promisc(0));
	EXPECT_OK(arrives(station, false));
	EXPECT_OK(ctrl(CTRL_MAC, 0, table, sizeof(table), OK));
	return arrives(station, true);
}

static const char *filter_vlan(uint64_t unused)
{
	static const uint8_t vlan[2] = { 42, 0 };

	(void)unused;
	EXPECT_OK(start(PLAIN | NET_F_CTRL_VLAN, 64, 2048));
	EXPECT_OK(promisc(0));
	EXPECT_OK(peer_ask(&net, PEER_VLAN, 42, 200, NULL));
	EXPECT_OK(peer_echo(&net, 64)); /* not that one */
	EXPECT_OK(ctrl(CTRL_VLAN, 0, vlan, 2, OK));
	EXPECT_OK(peer_ask(&net, PEER_VLAN, 42, 200, NULL));
	EXPECT(net_receive(&net, frame, TIMEOUT_REQUEST) == NET_HEADER + 200, "it did not come");
	EXPECT(frame[NET_HEADER + 12] == 0x81 && frame[NET_HEADER + 15] == 42, "it has no tag");
	EXPECT_OK(ctrl(CTRL_VLAN, 1, vlan, 2, OK));
	EXPECT_OK(peer_ask(&net, PEER_VLAN, 42, 200, NULL));
	return peer_echo(&net, 64);
}

/* Config space follows by a message of its own. */
static bool config_mac_becomes(const uint8_t *mac)
{
	uint64_t deadline = time_deadline(TIMEOUT_REQUEST);

	for (unsigned i = 0; i < 6; i++) {
		while (mmio_read8(nic->config + i) != mac[i]) {
			if (time_passed(deadline))
				return false;
		}
	}
	return true;
}

static const char *set_mac(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(start(PLAIN | NET_F_CTRL_MAC_ADDR, 64, 2048));
	EXPECT_OK(promisc(0));
	EXPECT_OK(ctrl(CTRL_MAC, 1, station, 6, OK));
	EXPECT_OK(arrives(station, true));
	EXPECT(config_mac_becomes(station), "config space has another");
	EXPECT(vdev_reset(nic), "no reset");
	EXPECT(config_mac_becomes(net.mac), "it outlives a reset");
	return NULL;
}

static const char *announce_ack(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(start(PLAIN | NET_F_STATUS | NET_F_GUEST_ANNOUNCE, 16, 2048));
	return ctrl(CTRL_ANNOUNCE, 0, NULL, 0, OK);
}

static const char *two_pairs(uint64_t unused)
{
	static const uint8_t two[2] = { 2, 0 }, one[2] = { 1, 0 };
	struct net second = { 0 };
	struct vring_used_elem elem;
	struct peer_count count;

	(void)unused;
	EXPECT(net_start(&net, nic, PLAIN | NET_F_MQ, 64, 2048), "no start");
	EXPECT(vdev_reset(nic) && vdev_start(nic, PLAIN | NET_F_MQ), "no second start");
	/* All queues before DRIVER_OK */
	vq_make(&net.rx, nic, 0, 64);
	vq_make(&net.tx, nic, 1, 64);
	vq_make(&second.rx, nic, 2, 64);
	vq_make(&second.tx, nic, 3, 64);
	vq_make(&net.ctrl, nic, 4, 16);
	for (uint16_t i = 0; i < 64; i++)
		net_offer(&net, i);
	vq_enable(&net.rx);
	vq_enable(&net.tx);
	vq_enable(&second.rx);
	vq_enable(&second.tx);
	vq_enable(&net.ctrl);
	vdev_driver_ok(nic);
	vq_kick(&net.rx);
	EXPECT_OK(peer_echo(&net, 100)); /* one pair until told otherwise */
	EXPECT_OK(ctrl(CTRL_MQ, 0, two, 2, OK));
	peer_fill(&net, 200);
	vq_desc(&second.tx, 0, net.out, NET_HEADER + 200, 0, 0);
	vq_push(&second.tx, 0);
	vq_kick(&second.tx);
	EXPECT(vq_wait(&second.tx, TIMEOUT_REQUEST, &elem), "the second pair does not send");
	EXPECT_OK(ctrl(CTRL_MQ, 0, one, 2, OK));
	EXPECT_OK(peer_count(&net, &count));
	EXPECT(count.n == 1 && count.bytes == 200, "%u frames, %u bytes", count.n, count.bytes);
	return peer_echo(&net, 100);
}

/* An Ethernet, IPv4 and TCP or UDP header at net.out; Return: where the data starts */
static uint32_t fill_packet(uint32_t data, bool is_udp)
{
	uint8_t *ip = net.out + NET_HEADER + ETH_HEADER;
	uint32_t transport = is_udp ? 8 : 20, total = 20 + transport + data, sum = 0;

	peer_fill(&net, ETH_HEADER + total);
	net.out[NET_HEADER + 12] = 0x08;
	net.out[NET_HEADER + 13] = 0x00;
	memset(ip, 0, 20 + transport);
	ip[0] = 0x45;
	ip[2] = (uint8_t)(total >> 8);
	ip[3] = (uint8_t)total;
	ip[8] = 64;
	ip[9] = is_udp ? 17 : 6;
	ip[12] = ip[16] = 10;
	ip[15] = 1;
	ip[19] = 2;
	for (unsigned i = 0; i < 20; i += 2)
		sum += (uint32_t)ip[i] << 8 | ip[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~((sum & 0xffff) + (sum >> 16));
	ip[10] = (uint8_t)(sum >> 8);
	ip[11] = (uint8_t)sum;
	if (is_udp) {
		ip[24] = (uint8_t)((8 + data) >> 8);
		ip[25] = (uint8_t)(8 + data);
	} else {
		ip[32] = 0x50;
	}
	return ETH_HEADER + 20 + transport;
}

struct offload_case {
	const char *name;
	uint64_t features;
	uint8_t gso_type;
	uint32_t data;
	uint16_t gso_size;
};

static const struct offload_case offload_cases[] = {
	{ "checksum of a UDP packet", NET_F_CSUM, NET_GSO_NONE, 1000, 0 },
	{ "TCP segmentation of 4000 bytes", NET_F_CSUM | NET_F_HOST_TSO4, NET_GSO_TCPV4, 4000, 1448 },
	{ "TCP segmentation of 64000 bytes", NET_F_CSUM | NET_F_HOST_TSO4, NET_GSO_TCPV4, 64000,
	  1448 },
	{ "TCP segmentation with ECN", NET_F_CSUM | NET_F_HOST_TSO4 | NET_F_HOST_ECN,
	  NET_GSO_TCPV4 | NET_GSO_ECN, 8000, 1448 },
	{ "UDP fragmentation of 8000 bytes", NET_F_CSUM | NET_F_HOST_UFO, NET_GSO_UDP, 8000, 1472 },
	{ "UDP segmentation of 8000 bytes", NET_F_CSUM | NET_F_HOST_USO, NET_GSO_UDP_L4, 8000,
	  1472 },
};

static const char *offload(uint64_t i)
{
	const struct offload_case *c = &offload_cases[i];
	bool is_udp = c->gso_type == NET_GSO_NONE || c->gso_type == NET_GSO_UDP ||
		      c->gso_type == NET_GSO_UDP_L4;
	struct net_header *h = (struct net_header *)net.out;
	struct peer_count count;
	uint32_t headers;

	if ((vdev_offered(nic) & c->features) != c->features)
		return tap_skip("this kernel's tun does not offer it");
	EXPECT_OK(start(PLAIN | c->features, 64, 2048));
	h = (struct net_header *)net.out;
	headers = fill_packet(c->data, is_udp);
	h->flags = NET_HDR_F_NEEDS_CSUM;
	h->csum_start = ETH_HEADER + 20;
	h->csum_offset = is_udp ? 6 : 16;
	h->gso_type = c->gso_type;
	h->gso_size = c->gso_size;
	h->hdr_len = (uint16_t)headers;
	EXPECT(net_send(&net, headers + c->data) == 0, "it was not sent");
	EXPECT_OK(peer_count(&net, &count));
	EXPECT(count.n >= 1 && count.bytes >= headers + c->data, "%u frames, %u bytes", count.n,
	       count.bytes);
	return peer_echo(&net, 64);
}

static const char *receive_large(uint64_t unused)
{
	const struct net_header *h = (const struct net_header *)frame;
	int len;

	(void)unused;
	EXPECT_OK(start(PLAIN | NET_F_GUEST_CSUM | NET_F_GUEST_TSO4, 256, 2048));
	EXPECT_OK(peer_ask(&net, PEER_GSO, 1448, 40000, NULL));
	do
		len = net_receive(&net, frame, TIMEOUT_REQUEST);
	while (len > 0 && frame[NET_HEADER + 12] != 0x08);
	EXPECT(len == NET_HEADER + ETH_HEADER + 40 + 40000, "%d bytes", len);
	EXPECT(h->gso_type == NET_GSO_TCPV4 && h->gso_size == 1448, "gso type %u, size %u",
	       h->gso_type, h->gso_size);
	EXPECT(h->flags & NET_HDR_F_NEEDS_CSUM, "flags 0x%x", h->flags);
	return peer_echo(&net, 64);
}

static const char *receive_segmented(uint64_t unused)
{
	unsigned n = 0, bytes = 0;

	(void)unused;
	EXPECT_OK(start_plain());
	EXPECT_OK(peer_ask(&net, PEER_GSO, 1448, 14480, NULL));
	while (n < 10) {
		int len = net_receive(&net, frame, TIMEOUT_REQUEST);

		EXPECT(len > 0, "%u segments came", n);
		if (frame[NET_HEADER + 12] != 0x08)
			continue;
		EXPECT(frame[1] == 0 && frame[0] == 0, "flags 0x%x, gso type %u", frame[0],
		       frame[1]);
		bytes += (unsigned)len - NET_HEADER - ETH_HEADER - 40;
		n++;
	}
	EXPECT(bytes == 14480, "%u bytes in %u segments", bytes, n);
	return NULL;
}

static const char *guest_offloads(uint64_t unused)
{
	static const uint64_t none, all = NET_F_GUEST_CSUM | NET_F_GUEST_TSO4;
	int len;

	(void)unused;
	EXPECT_OK(start(PLAIN | all | NET_F_CTRL_GUEST_OFFLOADS, 256, 2048));
	EXPECT_OK(ctrl(CTRL_OFFLOADS, 0, &none, 8, OK));
	EXPECT_OK(peer_ask(&net, PEER_GSO, 1448, 2896, NULL));
	do
		len = net_receive(&net, frame, TIMEOUT_REQUEST);
	while (len > 0 && frame[NET_HEADER + 12] != 0x08);
	EXPECT(len == NET_HEADER + ETH_HEADER + 40 + 1448, "%d bytes", len);
	EXPECT(net_receive(&net, frame, TIMEOUT_REQUEST) == len, "the second segment");
	EXPECT_OK(ctrl(CTRL_OFFLOADS, 0, &all, 8, OK));
	return peer_echo(&net, 64);
}

static const char *reset_between(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		EXPECT_OK(start_plain());
		EXPECT_OK(peer_echo(&net, 500));
		EXPECT(vdev_reset(nic), "no reset");
	}
	return NULL;
}

static const char *interrupts(uint64_t unused)
{
	uint64_t deadline = time_deadline(TIMEOUT_REQUEST);

	(void)unused;
	EXPECT_OK(start_plain());
	vdev_interrupt_ack(nic, vdev_interrupt(nic));
	EXPECT_OK(peer_ask(&net, PEER_SEND, 1, 100, NULL));
	while (!(vdev_interrupt(nic) & 1))
		EXPECT(!time_passed(deadline), "no interrupt for a received frame");
	return NULL;
}

void conformance_net_run(void)
{
	static const struct {
		const char *name;
		unsigned bit;
	} features[] = {
		{ "CSUM", 0 },	     { "GUEST_CSUM", 1 }, { "CTRL_GUEST_OFFLOADS", 2 },
		{ "MTU", 3 },	     { "MAC", 5 },	  { "GUEST_TSO4", 7 },
		{ "GUEST_TSO6", 8 }, { "GUEST_ECN", 9 },  { "GUEST_UFO", 10 },
		{ "HOST_TSO4", 11 }, { "HOST_TSO6", 12 }, { "HOST_ECN", 13 },
		{ "HOST_UFO", 14 },  { "MRG_RXBUF", 15 }, { "STATUS", 16 },
		{ "CTRL_VQ", 17 },   { "CTRL_RX", 18 },	  { "CTRL_VLAN", 19 },
		{ "GUEST_ANNOUNCE", 21 }, { "MQ", 22 },	  { "CTRL_MAC_ADDR", 23 },
	};
	static const uint16_t lengths[] = { 64, 65, 128, 511, 1024, 1513, 1514, 1518 };

	discover();
	nic = discover_nth(VIRTIO_ID_NET, 0);
	if (!nic || !peer_wait(nic)) {
		print("Bail out! no NIC, or nobody at its other end\n");
		return;
	}
	for (unsigned i = 0; i < ARRAY_LEN(features); i++)
		tap_case(offers, features[i].bit, "%s is offered", features[i].name);
	tap_case(config_fields, 0, "MAC, status, pairs and MTU in config space");
	for (unsigned i = 0; i < ARRAY_LEN(lengths); i++)
		tap_case(echo, lengths[i], "frame of %u bytes there and back", lengths[i]);
	tap_case(echo_without_features, 1000, "without any feature");
	tap_case(echo_event_idx, 300, "with EVENT_IDX");
	tap_case(many_echoes, 100, "100 frames through rings of 8");
	tap_case(jumbo, 9014, "frame of the MTU and its header");
	tap_case(scattered, 7, "frame in buffers of 7 bytes");
	tap_case(scattered, 12, "frame in buffers of 12 bytes, the header alone");
	tap_case(scattered, 600, "header and frame that share a buffer");
	tap_case(merged, 1500, "frame merged from buffers of 1500 bytes");
	tap_case(merged, 200, "frame merged from buffers of 200 bytes");
	tap_case(too_large_for_a_buffer, 0, "frame larger than a buffer, without merging");
	tap_case(burst, 100, "burst of 100 frames to a ring of 8");
	tap_case(late_buffers, 8, "buffers that come after the frames");
	tap_case(filter_unicast, 0, "filter: unicast, table and promiscuous");
	tap_case(filter_multicast, 0, "filter: multicast, table and allmulti");
	tap_case(filter_long_table, 0, "filter: a table of 1,000 addresses");
	tap_case(filter_extra, 0, "filter: alluni and nobcast");
	tap_case(filter_vlan, 0, "filter: VLANs");
	tap_case(set_mac, 0, "MAC address set by the driver");
	tap_case(announce_ack, 0, "acknowledged announcement");
	tap_case(two_pairs, 0, "two queue pairs and back to one");
	for (unsigned i = 0; i < ARRAY_LEN(offload_cases); i++)
		tap_case(offload, i, "sent: %s", offload_cases[i].name);
	tap_case(receive_large, 0, "received: TCP of 40000 bytes in one");
	tap_case(receive_segmented, 0, "received: the same in segments without GUEST_TSO4");
	tap_case(guest_offloads, 0, "received: offloads switched off and on");
	tap_case(interrupts, 0, "interrupt for a received frame");
	tap_case(reset_between, 10, "10 resets with traffic between");
	tap_done();
}
