/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A load on the first NIC, to be measured by the host: probe=bench-net
 * op=tx|rx|rtt len=BYTES gso=0|1 warm=S seconds=S tsc_khz=KHZ
 *
 * tx keeps the transmit ring full of frames of len bytes (gso: TCP segments of 1448 to be cut by
 * whoever gets them); rx takes what comes; rtt sends a frame and waits for the peer's answer.
 * Polled, interrupts suppressed, EVENT_IDX when offered.
 */
#include "modes.h"
#include "net.h"

#define QUEUE_MAX 256
#define BUFFER 2048u
#define TSC_LOOK 64
#define USED_EVENT_STEP 16384

static struct net net;
static uint64_t n_frames, n_kicks;

static void kick(struct vq *vq, uint16_t old)
{
	vq_publish(vq);
	cpu_fence();
	if (vq->dev->features & FEATURE_EVENT_IDX) {
		if ((uint16_t)(vq->avail_idx - *vq_avail_event(vq) - 1) >=
		    (uint16_t)(vq->avail_idx - old))
			return;
	} else if (vq->used->flags & USED_NO_NOTIFY) {
		return;
	}
	n_kicks++;
	vq_kick(vq);
}

/* Whatever was used goes back at once: a frame to be sent again, or an empty buffer. */
static unsigned turn(struct vq *vq)
{
	uint16_t old = vq->avail_idx, used = vq->used->idx;
	unsigned n = 0;

	if (used == vq->used_idx)
		return 0;
	for (; vq->used_idx != used; n++)
		vq_stage(vq, (uint16_t)vq->used->ring[vq->used_idx++ & (vq->size - 1)].id);
	*vq_used_event(vq) = (uint16_t)(vq->used_idx + USED_EVENT_STEP);
	kick(vq, old);
	return n;
}

static uint64_t run_for(struct vq *vq, uint64_t cycles)
{
	uint64_t begin = cpu_tsc(), now;

	do {
		for (unsigned i = 0; i < TSC_LOOK; i++)
			n_frames += turn(vq);
		now = cpu_tsc();
	} while (now - begin < cycles);
	return now - begin;
}

/* Linux's way: header and frame in one buffer. A large frame has one more. */
static void fill_transmit(uint32_t len, bool is_gso)
{
	static const uint8_t peer[6] = { 0x02, 0, 0, 0, 0, 0x01 };
	struct net_header *h = (struct net_header *)net.out;

	net_fill(&net, peer, len, 0);
	if (is_gso) {
		uint8_t *ip = net.out + NET_HEADER + ETH_HEADER;

		net.out[NET_HEADER + 12] = 0x08;
		net.out[NET_HEADER + 13] = 0;
		memset(ip, 0, 40);
		ip[0] = 0x45;
		ip[2] = (uint8_t)((len - ETH_HEADER) >> 8);
		ip[3] = (uint8_t)(len - ETH_HEADER);
		ip[8] = 64;
		ip[9] = 6;
		ip[32] = 0x50;
		*h = (struct net_header){ NET_HDR_F_NEEDS_CSUM, NET_GSO_TCPV4, 54, 1448, 34, 16, 0 };
	}
	for (uint16_t i = 0; i < net.tx.size; i++) {
		vq_desc(&net.tx, i, net.out, NET_HEADER + len, 0, 0);
		vq_stage(&net.tx, i);
	}
}

static void bench_rtt(uint64_t khz)
{
	uint64_t begin, n = 0, until;

	net_fill(&net, (const uint8_t[]){ 0x02, 0, 0, 0, 0, 0x01 }, 64, 0);
	/* Whoever answers may come later than we. */
	for (unsigned i = 0; i < 60 && net_send(&net, 64) == 0; i++) {
		if (net_receive(&net, NULL, 1000) > 0)
			break;
	}
	while (net_receive(&net, NULL, 100) > 0)
		;
	print("bench: begin\n");
	begin = cpu_tsc();
	until = begin + boot_option_number("seconds", 2) * khz * 1000;
	while (cpu_tsc() < until && net_send(&net, 64) == 0 && net_receive(&net, NULL, 1000) > 0)
		n++;
	print("bench: end ios=%lu cycles=%lu kicks=0 errors=0\n", n, cpu_tsc() - begin);
	print("bench: done\n");
}

void bench_net_run(void)
{
	uint64_t khz = boot_option_number("tsc_khz", 2000000), cycles;
	uint32_t len = (uint32_t)boot_option_number("len", 64);
	bool is_gso = boot_option_number("gso", 0) != 0;
	uint64_t features = FEATURE_EVENT_IDX | NET_F_MAC | NET_F_MRG_RXBUF;
	struct vdev *dev;
	char op[8] = "tx";
	struct vq *vq;

	boot_option("op", op, sizeof(op));
	discover();
	dev = discover_nth(VIRTIO_ID_NET, 0);
	if (is_gso)
		features |= NET_F_CSUM | NET_F_HOST_TSO4 | NET_F_GUEST_CSUM | NET_F_GUEST_TSO4;
	if (!dev || len > 64000 + ETH_HEADER + 40 ||
	    !net_start(&net, dev, features, QUEUE_MAX, BUFFER)) {
		print("bench: no NIC that starts\n");
		return;
	}
	print("bench: ready queue=%u\n", net.tx.size);
	if (string_equal(op, "rtt")) {
		bench_rtt(khz);
		return;
	}
	vq = string_equal(op, "rx") ? &net.rx : &net.tx;
	vq->avail->flags = AVAIL_NO_INTERRUPT;
	*vq_used_event(vq) = 0xffff;
	if (vq == &net.tx) {
		fill_transmit(len, is_gso);
		kick(vq, 0);
	}
	run_for(vq, boot_option_number("warm", 1) * khz * 1000);
	print("bench: begin\n");
	n_frames = n_kicks = 0;
	cycles = run_for(vq, boot_option_number("seconds", 2) * khz * 1000);
	print("bench: end ios=%lu cycles=%lu kicks=%lu errors=0\n", n_frames, cycles, n_kicks);
	print("bench: done\n");
}
