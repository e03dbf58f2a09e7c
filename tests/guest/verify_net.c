/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe=net-verify mib=N: frames of many sizes go to the peer, which sends each back; every byte is
 * compared, until N MiB have gone both ways together. No more are under way than find room, so none
 * should be lost; should one be, it is counted and the next ones go on.
 */
#include "modes.h"
#include "net.h"

#define WINDOW 32u
#define PARTS 3u
#define QUEUE_SIZE 256
#define BUFFER 3001u /* odd, so that frames are cut everywhere */
#define FRAME_MIN 60u
#define FRAME_SMALL 1514u
#define SEQUENCE_AT ETH_HEADER
#define CONTENT_AT (ETH_HEADER + 8)
#define PATIENCE_MS 2000

static struct net net;
static uint64_t sent, done, lost, wrong, bytes;
static uint32_t frame_max;
static uint8_t *frames; /* WINDOW of them, each with its header */
static uint8_t received[NET_HEADER + NET_FRAME_MAX];

static uint64_t next(uint64_t x)
{
	x ^= x << 13;
	x ^= x >> 7;
	return x ^ x << 17;
}

static uint64_t seed_of(uint64_t sequence)
{
	return next((sequence + 1) * 0x9e3779b97f4a7c15ull);
}

static uint32_t length_of(uint64_t sequence)
{
	uint32_t max = sequence % 4 == 0 || frame_max < FRAME_SMALL ? FRAME_SMALL : frame_max;

	return FRAME_MIN + (uint32_t)(seed_of(sequence) >> 20) % (max - FRAME_MIN + 1);
}

static uint8_t *slot(uint64_t sequence)
{
	return frames + sequence % WINDOW * (NET_HEADER + NET_FRAME_MAX);
}

static void fill(uint64_t sequence, uint8_t *frame, uint32_t len)
{
	uint64_t x = seed_of(sequence);
	uint32_t i;

	memcpy(frame + SEQUENCE_AT, &sequence, sizeof(sequence));
	for (i = CONTENT_AT; i + sizeof(x) <= len; i += sizeof(x), x = next(x))
		memcpy(frame + i, &x, sizeof(x));
	memcpy(frame + i, &x, len - i);
}

static bool is_right(const uint8_t *frame, uint32_t len)
{
	uint64_t sequence, x, y;
	uint32_t i;

	if (len < FRAME_MIN)
		return false;
	memcpy(&sequence, frame + SEQUENCE_AT, sizeof(sequence));
	if (sequence >= sent || len != length_of(sequence))
		return false;
	x = seed_of(sequence);
	for (i = CONTENT_AT; i + sizeof(x) <= len; i += sizeof(x), x = next(x)) {
		memcpy(&y, frame + i, sizeof(y));
		if (x != y)
			return false;
	}
	return memcmp(frame + i, &x, len - i) == 0;
}

/* The frame in one to three buffers, the header in the first of them. */
static bool send_next(void)
{
	static const uint8_t peer[6] = { 0x02, 0, 0, 0, 0, 0x01 };
	uint8_t *at = slot(sent), *frame = at + NET_HEADER;
	uint32_t len = length_of(sent), left = NET_HEADER + len;
	uint16_t head = (uint16_t)(sent % WINDOW * PARTS);
	unsigned parts = 1 + (unsigned)(sent % PARTS);
	struct vring_used_elem elem;

	if (sent >= WINDOW && (!vq_wait(&net.tx, TIMEOUT_REQUEST, &elem) || elem.id != head))
		return false;
	memset(at, 0, NET_HEADER);
	memcpy(frame, peer, sizeof(peer));
	memcpy(frame + 6, net.mac, sizeof(net.mac));
	frame[12] = 0x88;
	frame[13] = 0xb5;
	fill(sent, frame, len);
	for (unsigned i = 0; i < parts; i++) {
		uint32_t n = i + 1 == parts ? left : (uint32_t)(seed_of(sent) >> 40) % (left / 2) + 1;
		uint16_t d = (uint16_t)(head + i);

		vq_desc(&net.tx, d, at, n, i + 1 == parts ? 0 : DESC_NEXT, (uint16_t)(d + 1));
		at += n;
		left -= n;
	}
	vq_push(&net.tx, head);
	vq_kick(&net.tx);
	sent++;
	return true;
}

static bool receive_one(void)
{
	int len = net_receive(&net, received, PATIENCE_MS);
	uint64_t sequence;

	if (len < 0)
		return false;
	if (len == 0) {
		lost += sent - done;
		done = sent;
		return true;
	}
	if (!is_right(received + NET_HEADER, (uint32_t)len - NET_HEADER)) {
		wrong++;
		return true;
	}
	memcpy(&sequence, received + NET_HEADER + SEQUENCE_AT, sizeof(sequence));
	if (sequence < done) /* thought to be lost */
		return true;
	lost += sequence - done;
	done = sequence + 1;
	bytes += 2 * ((uint64_t)len - NET_HEADER);
	return true;
}

void verify_net_run(void)
{
	uint64_t goal = boot_option_number("mib", 64) * MIB;
	struct vdev *dev;
	bool works = true;

	discover();
	dev = discover_nth(VIRTIO_ID_NET, 0);
	if (!dev || !net_start(&net, dev, NET_F_MAC | NET_F_MTU | NET_F_MRG_RXBUF, QUEUE_SIZE, BUFFER)) {
		print("probe: no NIC that starts\n");
		return;
	}
	frame_max = FRAME_SMALL;
	if (dev->features & NET_F_MTU)
		frame_max = ETH_HEADER + mmio_read16(dev->config + NET_CONFIG_MTU);
	frames = memory_alloc((size_t)WINDOW * (NET_HEADER + NET_FRAME_MAX), 4096);
	print("probe: net-verify, frames of %u to %u bytes\n", FRAME_MIN, frame_max);
	while (works && wrong == 0 && bytes < goal) {
		while (works && sent - done < WINDOW)
			works = send_next();
		works = works && receive_one();
	}
	print("probe: net-verify %s %lu MiB, %lu frames, %lu lost, %lu wrong\n",
	      works ? "done" : "broken", (uint64_t)(bytes / MIB), sent, lost, wrong);
}
