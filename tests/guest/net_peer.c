/* SPDX-License-Identifier: Apache-2.0 */
#include "net_peer.h"

#define REPLY 0x80
#define ASK_BYTES 64u

static uint8_t in[NET_HEADER + NET_FRAME_MAX];

static void put16(uint8_t *at, uint32_t v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void fill(struct net *net, uint32_t len, enum peer_op op)
{
	static const uint8_t peer[6] = { 0x02, 0, 0, 0, 0, 0x01 };

	net_fill(net, peer, len, (uint8_t)len);
	net->out[NET_HEADER + ETH_HEADER] = (uint8_t)op;
}

int peer_receive(struct net *net, uint8_t *to, uint64_t timeout_ms)
{
	int len;

	/* The host's own chatter is of other types. */
	do
		len = net_receive(net, to, timeout_ms);
	while (len > 0 && (to[NET_HEADER + 12] != 0x88 || (to[NET_HEADER + 13] & 0xfc) != 0xb4));
	return len;
}

static const char *answer(struct net *net, enum peer_op op, int *ret_len)
{
	int len;

	/* What it sends besides is of another type. */
	do
		len = peer_receive(net, in, TIMEOUT_REQUEST);
	while (len > 0 && in[NET_HEADER + 13] != 0xb5);
	EXPECT(len > 0, "no answer to %u (%d), status 0x%x", op, len, vdev_status(net->dev));
	EXPECT(in[NET_HEADER + ETH_HEADER] == (REPLY | op), "answer 0x%x to %u, %d bytes",
	       in[NET_HEADER + ETH_HEADER], op, len);
	*ret_len = len;
	return NULL;
}

const char *peer_ask(struct net *net, enum peer_op op, uint16_t a, uint16_t b, const uint8_t *mac)
{
	uint8_t *at = net->out + NET_HEADER + ETH_HEADER;

	fill(net, ASK_BYTES, op);
	put16(at + 1, a);
	put16(at + 3, b);
	memcpy(at + 5, mac ? mac : net->mac, 6);
	EXPECT(net_send(net, ASK_BYTES) == 0, "the frame was not sent, status 0x%x",
	       vdev_status(net->dev));
	return NULL;
}

const char *peer_echo(struct net *net, uint32_t len)
{
	uint8_t *sent = net->out + NET_HEADER, *got = in + NET_HEADER;
	int n;

	fill(net, len, PEER_ECHO);
	EXPECT(net_send(net, len) == 0, "the frame was not sent, status 0x%x",
	       vdev_status(net->dev));
	EXPECT_OK(answer(net, PEER_ECHO, &n));
	EXPECT(n == (int)(NET_HEADER + len), "%d bytes came back, not %u", n, NET_HEADER + len);
	EXPECT(memcmp(got, net->mac, 6) == 0, "it is for somebody else");
	EXPECT(memcmp(got + 15, sent + 15, len - 15) == 0, "its content differs");
	return NULL;
}

const char *peer_count(struct net *net, struct peer_count *ret)
{
	const uint8_t *at = in + NET_HEADER + ETH_HEADER;
	int n;

	EXPECT_OK(peer_ask(net, PEER_COUNT, 0, 0, NULL));
	EXPECT_OK(answer(net, PEER_COUNT, &n));
	*ret = (struct peer_count){ get32(at + 1), get32(at + 5), get32(at + 9) };
	return NULL;
}

void peer_fill(struct net *net, uint32_t len)
{
	fill(net, len, PEER_ECHO);
	net->out[NET_HEADER + 13] = PEER_ETHERTYPE_OTHER & 0xff;
}

uint32_t peer_hash(const uint8_t *data, uint32_t len)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (uint32_t i = 0; i < len; i++)
		hash = (hash ^ data[i]) * 16777619u;
	return hash;
}

bool peer_wait(struct vdev *nic)
{
	size_t mark = memory_mark();
	struct net net;
	bool found = false;

	print("probe: waiting for the peer\n");
	console_flush();
	if (!net_start(&net, nic, NET_F_MAC | NET_F_MRG_RXBUF, 64, 2048))
		return false;
	for (unsigned i = 0; i < 300 && !found; i++)
		found = !peer_ask(&net, PEER_COUNT, 0, 0, NULL) && peer_receive(&net, in, 200) > 0;
	/* Answers that came late */
	while (peer_receive(&net, in, 200) > 0)
		;
	vdev_reset(nic);
	memory_release(mark);
	return found;
}
