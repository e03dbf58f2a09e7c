/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver that breaks the rules of virtio-net (VIRTIO 1.2 §5.1.6): headers, frames and commands.
 * A bad frame is not sent, a bad command is answered with an error, a bad ring stops the NIC; in
 * every case the NIC works afterwards, after a reset where one is due. Rows: tests/guest/README.md.
 */
#include "hostile_case.h"
#include "modes.h"
#include "net_peer.h"

#define ERR 1
#define OK 0

static struct vdev *nic;
static struct net net;
static uint8_t frame[NET_HEADER + NET_FRAME_MAX];

#define ALL                                                                                        \
	(NET_F_MAC | NET_F_MRG_RXBUF | NET_F_CTRL_VQ | NET_F_CTRL_RX | NET_F_CTRL_VLAN |           \
	 NET_F_CTRL_MAC_ADDR | NET_F_CSUM | NET_F_HOST_TSO4 | NET_F_HOST_TSO6 | NET_F_HOST_ECN |   \
	 NET_F_HOST_UFO | NET_F_MTU | NET_F_GUEST_ANNOUNCE | NET_F_STATUS |                        \
	 NET_F_CTRL_GUEST_OFFLOADS | NET_F_GUEST_CSUM | NET_F_GUEST_TSO4)
#define NONE (NET_F_MAC | NET_F_MRG_RXBUF)

static const char *start(uint64_t features)
{
	EXPECT(net_start(&net, nic, features, 64, 2048), "the NIC does not start, status 0x%x",
	       vdev_status(nic));
	return NULL;
}

/* After each case: a reset, and a frame there and back. */
static const char *recovers(void)
{
	EXPECT(vdev_reset(nic), "no reset afterwards, status 0x%x", vdev_status(nic));
	EXPECT_OK(start(NONE));
	EXPECT_OK(peer_echo(&net, 256));
	return NULL;
}

static const struct hostile_target nic_target = { .prefix = "", .recovers = recovers };
#define CASE(...) hostile_case_of(&nic_target, __VA_ARGS__)

struct header_case {
	const char *name;
	uint64_t features;
	struct net_header header;
	uint32_t len; /* of the frame */
	bool is_sent;
};

#define CSUM NET_HDR_F_NEEDS_CSUM
#define HEADER_RULE "5.1.6.2, row 16"

/* flags, gso_type, hdr_len, gso_size, csum_start, csum_offset, num_buffers */
static const struct header_case header_cases[] = {
	{ "checksum that starts at the end of the frame", ALL, { CSUM, 0, 0, 0, 200, 0, 0 }, 200 },
	{ "checksum that starts behind the frame", ALL, { CSUM, 0, 0, 0, 65535, 6, 0 }, 200 },
	{ "checksum whose place is half outside", ALL, { CSUM, 0, 0, 0, 34, 165, 0 }, 200 },
	{ "checksum whose place is outside", ALL, { CSUM, 0, 0, 0, 34, 65535, 0 }, 200 },
	{ "checksum whose sum wraps 16 bits", ALL, { CSUM, 0, 0, 0, 65534, 4, 0 }, 200 },
	{ "checksum inside the Ethernet header", ALL, { CSUM, 0, 0, 0, 2, 4, 0 }, 200 },
	{ "checksum that was not negotiated", NONE, { CSUM, 0, 0, 0, 34, 6, 0 }, 200 },
	{ "checksum in the last two bytes", ALL, { CSUM, 0, 0, 0, 34, 164, 0 }, 200, true },
	{ "checksum fields without the flag", ALL, { 0, 0, 0, 0, 65535, 65535, 0 }, 200, true },
	{ "unknown flags", ALL, { 0xfe, 0, 0, 0, 0, 0, 0 }, 200, true },
	{ "unknown segmentation", ALL, { CSUM, 2, 54, 1448, 34, 16, 0 }, 3000 },
	{ "segmentation 0x7f", ALL, { CSUM, 0x7f, 54, 1448, 34, 16, 0 }, 3000 },
	{ "ECN without segmentation", ALL, { CSUM, 0x80, 54, 1448, 34, 16, 0 }, 3000 },
	{ "ECN with UDP", ALL, { CSUM, 0x83, 42, 1448, 34, 6, 0 }, 3000 },
	{ "segmentation that was not negotiated", NONE, { CSUM, 1, 54, 1448, 34, 16, 0 }, 3000 },
	{ "segments of size 0", ALL, { CSUM, 1, 54, 0, 34, 16, 0 }, 3000 },
	{ "segmentation without a checksum", ALL, { 0, 1, 54, 1448, 34, 16, 0 }, 3000 },
	{ "segmentation headers longer than the frame", ALL, { CSUM, 1, 3001, 1448, 34, 16, 0 },
	  3000 },
	{ "segmentation headers of 65535 bytes", ALL, { CSUM, 4, 65535, 1448, 54, 16, 0 }, 3000 },
	{ "segmentation fields without the type", ALL, { 0, 0, 65535, 0, 0, 0, 0 }, 200, true },
	{ "num_buffers of 65535", ALL, { 0, 0, 0, 0, 0, 0, 65535 }, 200, true },
	{ "frame of 13 bytes", ALL, { 0 }, 13 },
	{ "frame of 1 byte", ALL, { 0 }, 1 },
	{ "frame of 14 bytes", ALL, { 0 }, 14, true },
	{ "frame beyond the MTU", ALL, { 0 }, 9023 },
	{ "frame of 65000 bytes beyond the MTU", ALL, { 0 }, 65000 },
	{ "frame of the MTU with two tags", ALL, { 0 }, 9022, true },
};

static const char *header_run(uint64_t i)
{
	const struct header_case *c = &header_cases[i];
	struct peer_count count;

	EXPECT_OK(start(c->features));
	peer_fill(&net, c->len < 64 ? 64 : c->len);
	memcpy(net.out, &c->header, sizeof(c->header));
	EXPECT(net_send(&net, c->len) == 0, "its chain did not come back, status 0x%x",
	       vdev_status(nic));
	EXPECT_OK(peer_count(&net, &count));
	EXPECT(count.n == c->is_sent, "the peer has seen %u frames", count.n);
	return NULL;
}

/* A chain of n readable and then writable bytes; the frame is too short or has no header. */
struct chain_case {
	const char *name;
	uint32_t readable, writable;
};

static const struct chain_case chain_cases[] = {
	{ "transmit chain of nothing but 12 bytes of header", 12, 0 },
	{ "transmit chain of 11 bytes", 11, 0 },
	{ "transmit chain of 1 byte", 1, 0 },
	{ "transmit chain that is only writable", 0, 1000 },
	{ "transmit chain with a writable end", 200, 100 },
};

static const char *chain_run(uint64_t i)
{
	const struct chain_case *c = &chain_cases[i];
	struct vring_used_elem elem;
	struct peer_count count;
	uint16_t second = c->readable ? 1 : 0;

	EXPECT_OK(start(ALL));
	peer_fill(&net, 1000);
	if (c->readable)
		vq_desc(&net.tx, 0, net.out, c->readable, c->writable ? DESC_NEXT : 0, 1);
	if (c->writable)
		vq_desc(&net.tx, second, net.out + 2000, c->writable, DESC_WRITE, 0);
	vq_push(&net.tx, 0);
	vq_kick(&net.tx);
	EXPECT(vq_wait(&net.tx, TIMEOUT_REQUEST, &elem), "no answer, status 0x%x",
	       vdev_status(nic));
	EXPECT(elem.len == 0, "used length %u", elem.len);
	EXPECT_OK(peer_count(&net, &count));
	EXPECT(count.n == (c->readable > 100), "the peer has seen %u frames", count.n);
	return NULL;
}

static const char *frame_outside_ram(uint64_t at)
{
	struct vring_used_elem elem;
	struct peer_count count;

	EXPECT_OK(start(ALL));
	vq_desc(&net.tx, 0, net.out, NET_HEADER, DESC_NEXT, 1);
	vq_desc(&net.tx, 1, (void *)at, 500, 0, 0);
	vq_push(&net.tx, 0);
	vq_kick(&net.tx);
	EXPECT(vq_wait(&net.tx, TIMEOUT_REQUEST, &elem), "no answer");
	EXPECT_OK(peer_count(&net, &count));
	EXPECT(count.n == 0, "it was sent");
	return NULL;
}

/* Receive buffers of which the NIC can make no use; then good ones. */
static const char *bad_buffer(uint64_t kind)
{
	struct vring_used_elem elem;
	int len;

	EXPECT(net_start(&net, nic, NONE, 8, 2048), "no start");
	EXPECT(vdev_reset(nic) && vdev_start(nic, NONE), "no second start");
	vq_make(&net.rx, nic, 0, 8);
	vq_make(&net.tx, nic, 1, 8);
	vq_desc(&net.rx, 0, kind == 0 ? (void *)~0xfffull : net.buffers, kind == 1 ? 11 : 2048,
		kind == 2 ? 0 : DESC_WRITE, 0);
	vq_push(&net.rx, 0);
	for (uint16_t i = 1; i < 8; i++)
		net_offer(&net, i);
	vq_enable(&net.rx);
	vq_enable(&net.tx);
	vdev_driver_ok(nic);
	EXPECT_OK(peer_ask(&net, PEER_SEND, 1, 300, NULL));
	EXPECT(vq_wait(&net.rx, TIMEOUT_REQUEST, &elem), "nothing came, status 0x%x",
	       vdev_status(nic));
	EXPECT(elem.id == 0 && elem.len == 0, "used %u, length %u", elem.id, elem.len);
	len = peer_receive(&net, frame, TIMEOUT_REQUEST);
	EXPECT(len == NET_HEADER + 300, "%d bytes", len);
	return NULL;
}

struct command_case {
	const char *name;
	uint8_t class, command;
	uint32_t len; /* of data */
	uint8_t data[16];
	int ack;
};

#define COMMAND_RULE "5.1.6.5, row 16"

static const struct command_case command_cases[] = {
	{ "promiscuous without data", 0, 0, 0, { 0 }, ERR },
	{ "promiscuous with 2 bytes", 0, 0, 2, { 1, 0 }, ERR },
	{ "promiscuous 2", 0, 0, 1, { 2 }, ERR },
	{ "receive mode that was not negotiated", 0, 2, 1, { 1 }, ERR },
	{ "unknown receive mode", 0, 6, 1, { 1 }, ERR },
	{ "receive mode 255", 0, 255, 1, { 1 }, ERR },
	{ "MAC table without data", 1, 0, 0, { 0 }, ERR },
	{ "MAC table of one list", 1, 0, 4, { 0 }, ERR },
	{ "MAC table that ends inside a count", 1, 0, 6, { 0 }, ERR },
	{ "MAC table with a byte too many", 1, 0, 9, { 0 }, ERR },
	{ "MAC table of 2^32 - 1 entries", 1, 0, 8, { 255, 255, 255, 255 }, ERR },
	{ "MAC table whose size wraps 32 bits", 1, 0, 12, { 0xab, 0xaa, 0xaa, 0xaa }, ERR },
	{ "MAC table with half an entry", 1, 0, 11, { 1, 0, 0, 0, 2, 2, 2 }, ERR },
	{ "MAC table of two empty lists", 1, 0, 8, { 0 }, OK },
	{ "MAC address of 5 bytes", 1, 1, 5, { 2 }, ERR },
	{ "MAC address of 7 bytes", 1, 1, 7, { 2 }, ERR },
	{ "MAC address of a group", 1, 1, 6, { 1 }, ERR },
	{ "unknown MAC command", 1, 2, 6, { 2 }, ERR },
	{ "VLAN of 1 byte", 2, 0, 1, { 1 }, ERR },
	{ "VLAN of 4 bytes", 2, 0, 4, { 1 }, ERR },
	{ "VLAN 4096", 2, 0, 2, { 0, 16 }, ERR },
	{ "VLAN 65535", 2, 1, 2, { 255, 255 }, ERR },
	{ "unknown VLAN command", 2, 2, 2, { 1, 0 }, ERR },
	{ "announcement with data", 3, 0, 1, { 0 }, ERR },
	{ "unknown announcement", 3, 1, 0, { 0 }, ERR },
	{ "pairs that were not negotiated", 4, 0, 2, { 1, 0 }, ERR },
	{ "offloads of 7 bytes", 5, 0, 7, { 0 }, ERR },
	{ "offloads of 9 bytes", 5, 0, 9, { 0 }, ERR },
	{ "offloads that were not negotiated", 5, 0, 8, { 0, 4 }, ERR },
	{ "offloads that are none", 5, 0, 8, { 0, 0, 0, 0, 1 }, ERR },
	{ "unknown class", 6, 0, 0, { 0 }, ERR },
	{ "class 255", 255, 255, 16, { 0 }, ERR },
};

static const char *command_run(uint64_t i)
{
	const struct command_case *c = &command_cases[i];
	int ack;

	EXPECT_OK(start(ALL));
	ack = net_control(&net, c->class, c->command, c->data, c->len);
	EXPECT(ack == c->ack, "ack %d, not %d, status 0x%x", ack, c->ack, vdev_status(nic));
	return peer_echo(&net, 100);
}

/* Pairs out of range, where MQ is negotiated. */
static const char *pairs_run(uint64_t n)
{
	const uint8_t data[2] = { (uint8_t)n, (uint8_t)(n >> 8) };
	int ack;

	EXPECT_OK(start(ALL | NET_F_MQ));
	ack = net_control(&net, 4, 0, data, 2);
	EXPECT(ack == ERR, "ack %d", ack);
	return peer_echo(&net, 100);
}

/* A command in a chain of another shape: no room for the ack, too long, one byte. */
static const char *command_chain(uint64_t kind)
{
	struct vring_used_elem elem;
	uint8_t *big = memory_alloc(65536, 16);

	EXPECT_OK(start(ALL));
	memset(net.command, 0, 16);
	net.command[NET_COMMAND_MAX] = 0xee;
	if (kind == 0) {
		vq_desc(&net.ctrl, 0, net.command, 3, 0, 0);
	} else {
		vq_desc(&net.ctrl, 0, kind == 1 ? big : net.command, kind == 1 ? 65536 : 1,
			DESC_NEXT, 1);
		vq_desc(&net.ctrl, 1, net.command + NET_COMMAND_MAX, 1, DESC_WRITE, 0);
	}
	vq_push(&net.ctrl, 0);
	vq_kick(&net.ctrl);
	EXPECT(vq_wait(&net.ctrl, TIMEOUT_REQUEST, &elem), "no answer, status 0x%x",
	       vdev_status(nic));
	EXPECT(elem.len == (kind != 0), "used length %u", elem.len);
	EXPECT(kind == 0 || net.command[NET_COMMAND_MAX] == ERR, "ack 0x%x", net.command[NET_COMMAND_MAX]);
	return peer_echo(&net, 100);
}

/* Breaks a ring: queue 0 receive, 1 transmit, 2 control. */
static const char *broken_ring(uint64_t queue)
{
	struct vq *vq = queue == 0 ? &net.rx : queue == 1 ? &net.tx : &net.ctrl;

	EXPECT_OK(start(ALL));
	if (queue == 0) { /* seen with the next frame only */
		EXPECT_OK(peer_ask(&net, PEER_SEND, 100, 64, NULL));
		net.rx.avail->idx = (uint16_t)(net.rx.avail_idx + 1000);
	} else {
		vq->avail->ring[vq->avail_idx & (vq->size - 1)] = vq->size;
		vq->avail->idx = (uint16_t)(vq->avail_idx + 1);
	}
	vq_kick(vq);
	return device_needs_reset(nic);
}

/* Kicks for all queues, with nothing in them. */
static const char *kick_flood(uint64_t n)
{
	EXPECT_OK(start(ALL));
	for (uint64_t i = 0; i < n; i++)
		vdev_kick(nic, (uint16_t)(i % 5));
	return peer_echo(&net, 100);
}

/* Bad frames by the ring full: all come back, none is sent. */
static const char *bad_flood(uint64_t n)
{
	struct peer_count count;

	EXPECT_OK(start(ALL));
	peer_fill(&net, 200);
	net.out[0] = CSUM;
	memset(net.out + 6, 0xff, 4);
	for (uint64_t i = 0; i < n; i++)
		EXPECT(net_send(&net, 200) == 0, "frame %lu did not come back", i);
	EXPECT_OK(peer_count(&net, &count));
	EXPECT(count.n == 0, "%u were sent", count.n);
	return NULL;
}

/* Resets in the middle of what the peer sends. */
static const char *reset_race(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		EXPECT_OK(start(NONE));
		EXPECT_OK(peer_ask(&net, PEER_SEND, 50, 1000, NULL));
		EXPECT(vdev_reset(nic), "reset %lu: status 0x%x", i, vdev_status(nic));
	}
	/* What was on its way may still come. */
	EXPECT_OK(start(NONE));
	while (net_receive(&net, frame, 200) > 0)
		;
	return NULL;
}

void hostile_net_run(void)
{
	static const char *const buffers[] = { "outside RAM", "of 11 bytes", "that is readable" };
	static const char *const chains[] = { "without room for its ack", "of 64 KiB", "of 1 byte" };
	static const char *const rings[] = { "receive", "transmit", "control" };
	static const uint16_t pairs[] = { 0, 3, 0x8000, 0xffff };

	discover();
	nic = discover_nth(VIRTIO_ID_NET, 0);
	if (!nic || !peer_wait(nic)) {
		print("Bail out! no NIC, or nobody at its other end\n");
		return;
	}
	for (unsigned i = 0; i < ARRAY_LEN(header_cases); i++)
		CASE(header_run, i, HEADER_RULE, "%s", header_cases[i].name);
	for (unsigned i = 0; i < ARRAY_LEN(chain_cases); i++)
		CASE(chain_run, i, "5.1.6.2, row 9", "%s", chain_cases[i].name);
	CASE(frame_outside_ram, ~0xfffull, "2.7.5, row 12", "frame behind all RAM");
	CASE(frame_outside_ram, 0xd0000000, "2.7.5, row 23", "frame in device space");
	for (unsigned i = 0; i < ARRAY_LEN(buffers); i++)
		CASE(bad_buffer, i, "5.1.6.3, row 9", "receive buffer %s", buffers[i]);
	for (unsigned i = 0; i < ARRAY_LEN(command_cases); i++)
		CASE(command_run, i, COMMAND_RULE, "command: %s", command_cases[i].name);
	for (unsigned i = 0; i < ARRAY_LEN(pairs); i++)
		CASE(pairs_run, pairs[i], COMMAND_RULE, "command: %u queue pairs", pairs[i]);
	for (unsigned i = 0; i < ARRAY_LEN(chains); i++)
		CASE(command_chain, i, "5.1.6.5, row 9", "command %s", chains[i]);
	for (unsigned i = 0; i < ARRAY_LEN(rings); i++)
		CASE(broken_ring, i, "2.7.6, row 2", "broken %s ring", rings[i]);
	CASE(kick_flood, 20000, "row 20", "20000 kicks for nothing");
	CASE(bad_flood, 500, "row 20", "500 bad frames");
	CASE(reset_race, 20, "row 22", "resets under traffic");
	tap_done();
}
