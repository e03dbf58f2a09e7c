/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One TCP stream through a user-mode network, to be measured by the host: probe=bench-tcp
 * op=out|in port=PORT warm=S seconds=S tsc_khz=KHZ
 *
 * Connects to PORT of the gateway, which the VMM maps to the loopback of the host. What goes out is
 * zeroes, so that only headers are summed; what comes in is counted. Just as much TCP as that needs:
 * a loss is seen by the acknowledgements that stand still, and everything since is sent again.
 */
#include "modes.h"
#include "net.h"

#define IP_AT (NET_HEADER + ETH_HEADER)
#define TCP_AT (IP_AT + 20u)
#define HEADERS 40u /* IPv4 and TCP without options */
#define MSS_OPTION 4u
#define MTU_DEFAULT 1500u
#define QUEUE_SIZE 256
#define SLOTS 64u
#define SLOT_BYTES 65664u
#define BUFFER 2048u
#define LOCAL_PORT 40000u
#define FIN 1u
#define SYN 2u
#define RST 4u
#define ACK 16u
#define WINDOW 65535u
#define ACK_EVERY 2u /* segments, as a host would */
#define PATIENCE_MS 1000

static const uint8_t guest_ip[4] = { 10, 0, 2, 15 }, gateway_ip[4] = { 10, 0, 2, 2 };

static struct net net;
static uint8_t *slots; /* for what is sent; zeroes behind the headers */
static uint8_t received[NET_HEADER + NET_FRAME_MAX];
static uint8_t gateway_mac[6];
static uint32_t port, mss;
static uint32_t snd_una, snd_nxt, snd_wnd, rcv_nxt; /* as RFC 9293 names them */
static uint64_t n_sent, n_bytes;

static void put16(uint8_t *at, uint32_t v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

static void put32(uint8_t *at, uint32_t v)
{
	put16(at, v >> 16);
	put16(at + 2, v);
}

static uint32_t get16(const uint8_t *at)
{
	return (uint32_t)at[0] << 8 | at[1];
}

static uint32_t get32(const uint8_t *at)
{
	return get16(at) << 16 | get16(at + 2);
}

static uint32_t sum(const uint8_t *at, uint32_t len, uint32_t from)
{
	for (uint32_t i = 0; i < len; i += 2)
		from += get16(at + i);
	return from;
}

static uint32_t folded(uint32_t v)
{
	v = (v & 0xffff) + (v >> 16);
	return ~(v + (v >> 16)) & 0xffff;
}

/* A slot that the device is done with; NULL: it does not come back. */
static uint8_t *take_slot(uint16_t *ret_head)
{
	struct vring_used_elem elem;

	*ret_head = (uint16_t)(n_sent % SLOTS);
	if (n_sent >= SLOTS &&
	    (!vq_wait(&net.tx, TIMEOUT_REQUEST, &elem) || elem.id != *ret_head))
		return NULL;
	return slots + *ret_head * SLOT_BYTES;
}

static bool send_slot(uint8_t *at, uint16_t head, uint32_t frame_len)
{
	uint16_t old = net.tx.avail_idx;

	memcpy(at + NET_HEADER + 6, net.mac, 6);
	vq_desc(&net.tx, head, at, NET_HEADER + frame_len, 0, 0);
	vq_push(&net.tx, head);
	vq_kick_event(&net.tx, old);
	n_sent++;
	return true;
}

static bool send_arp(void)
{
	static const uint8_t request[8] = { 0, 1, 8, 0, 6, 4, 0, 1 };
	uint16_t head;
	uint8_t *at = take_slot(&head), *arp;

	if (!at)
		return false;
	arp = at + IP_AT;
	memset(at, 0, SLOT_BYTES);
	memset(at + NET_HEADER, 0xff, 6);
	put16(at + NET_HEADER + 12, 0x0806);
	memcpy(arp, request, sizeof(request));
	memcpy(arp + 8, net.mac, 6);
	memcpy(arp + 14, guest_ip, 4);
	memcpy(arp + 24, gateway_ip, 4);
	return send_slot(at, head, 60);
}

static bool send_tcp(uint32_t flags, uint32_t sequence, uint32_t len)
{
	uint32_t options = flags & SYN ? MSS_OPTION : 0, tcp_len = 20 + options + len;
	uint16_t head;
	uint8_t *at = take_slot(&head), *ip, *tcp;

	if (!at)
		return false;
	ip = at + IP_AT;
	tcp = at + TCP_AT;
	memset(at, 0, TCP_AT + 20 + MSS_OPTION);
	memcpy(at + NET_HEADER, gateway_mac, 6);
	put16(at + NET_HEADER + 12, 0x0800);
	ip[0] = 0x45;
	put16(ip + 2, 20 + tcp_len);
	ip[8] = 64;
	ip[9] = 6;
	memcpy(ip + 12, guest_ip, 4);
	memcpy(ip + 16, gateway_ip, 4);
	put16(ip + 10, folded(sum(ip, 20, 0)));
	put16(tcp, LOCAL_PORT);
	put16(tcp + 2, port);
	put32(tcp + 4, sequence);
	put32(tcp + 8, rcv_nxt);
	tcp[12] = (uint8_t)((20 + options) / 4 << 4);
	tcp[13] = (uint8_t)flags;
	put16(tcp + 14, WINDOW);
	if (options) {
		tcp[20] = 2;
		tcp[21] = 4;
		put16(tcp + 22, mss);
	}
	put16(tcp + 16, folded(sum(tcp, 20 + options, sum(ip + 12, 8, 6 + tcp_len))));
	return send_slot(at, head, ETH_HEADER + 20 + tcp_len);
}

/* What a frame says about our connection. */
struct segment {
	uint32_t flags, sequence, ack, window, len;
};

static bool parse(int frame_len, struct segment *ret)
{
	const uint8_t *ip = received + IP_AT, *tcp = received + TCP_AT;
	uint32_t total, header;

	if (frame_len < (int)(TCP_AT + 20) || get16(received + NET_HEADER + 12) != 0x0800 ||
	    ip[0] != 0x45 || ip[9] != 6 || get16(tcp + 2) != LOCAL_PORT || get16(tcp) != port)
		return false;
	total = get16(ip + 2);
	header = 20u + (tcp[12] >> 4) * 4u;
	if (total < header || total + IP_AT > (uint32_t)frame_len)
		return false;
	*ret = (struct segment){ .flags = tcp[13], .sequence = get32(tcp + 4),
				 .ack = get32(tcp + 8), .window = get16(tcp + 14),
				 .len = total - header };
	return true;
}

/* Return: bytes of the frame; 0: none came in time */
static int receive(struct segment *ret, uint64_t patience_ms)
{
	int len;

	while ((len = net_receive(&net, received, patience_ms)) > 0)
		if (parse(len, ret))
			return len;
	return 0;
}

static bool connect(void)
{
	struct segment s;

	for (unsigned i = 0; i < 30; i++) {
		int len;

		if (!send_arp())
			return false;
		len = net_receive(&net, received, PATIENCE_MS);
		if (len >= (int)(IP_AT + 28) && get16(received + NET_HEADER + 12) == 0x0806) {
			memcpy(gateway_mac, received + IP_AT + 8, 6);
			break;
		}
	}
	for (unsigned i = 0; i < 30; i++) {
		if (!send_tcp(SYN, 0, 0))
			return false;
		if (receive(&s, PATIENCE_MS) == 0 || (s.flags & (SYN | ACK)) != (SYN | ACK))
			continue;
		rcv_nxt = s.sequence + 1;
		snd_una = snd_nxt = 1;
		snd_wnd = s.window;
		return send_tcp(ACK, snd_nxt, 0);
	}
	return false;
}

/* Return: false: the connection is at its end */
static bool take(const struct segment *s)
{
	static unsigned unacked;

	if (s->flags & (RST | FIN))
		return false;
	if (s->ack - snd_una <= snd_nxt - snd_una) {
		n_bytes += s->ack - snd_una;
		snd_una = s->ack;
		snd_wnd = s->window;
	}
	if (s->len == 0)
		return true;
	if (s->sequence == rcv_nxt) {
		rcv_nxt += s->len;
		n_bytes += s->len;
		if (++unacked < ACK_EVERY && vq_pending(&net.rx))
			return true;
	}
	unacked = 0;
	return send_tcp(ACK, snd_nxt, 0);
}

/* As much as the window lets through. */
static bool push_out(void)
{
	while (snd_nxt - snd_una < snd_wnd) {
		uint32_t room = snd_wnd - (snd_nxt - snd_una), len = room < mss ? room : mss;

		if (len < mss && snd_nxt != snd_una)
			return true; /* no silly small ones */
		if (!send_tcp(ACK, snd_nxt, len))
			return false;
		snd_nxt += len;
	}
	return true;
}

static bool run_for(bool is_out, uint64_t cycles)
{
	uint64_t begin = cpu_tsc();
	struct segment s;

	do {
		if (is_out && !push_out())
			return false;
		if (receive(&s, PATIENCE_MS) == 0)
			snd_nxt = snd_una;
		else if (!take(&s))
			return false;
	} while (cpu_tsc() - begin < cycles);
	return true;
}

void bench_tcp_run(void)
{
	uint64_t khz = boot_option_number("tsc_khz", 2000000), begin;
	uint32_t mtu = MTU_DEFAULT;
	char op[8] = "out";
	struct vdev *dev;
	bool is_out;

	boot_option("op", op, sizeof(op));
	is_out = string_equal(op, "out");
	port = (uint32_t)boot_option_number("port", 1);
	discover();
	dev = discover_nth(VIRTIO_ID_NET, 0);
	if (!dev || !net_start(&net, dev, FEATURE_EVENT_IDX | NET_F_MAC | NET_F_MTU | NET_F_MRG_RXBUF,
			       QUEUE_SIZE, BUFFER)) {
		print("bench: no NIC that starts\n");
		return;
	}
	if (dev->features & NET_F_MTU)
		mtu = mmio_read16(dev->config + NET_CONFIG_MTU);
	mss = mtu - HEADERS;
	slots = memory_alloc((size_t)SLOTS * SLOT_BYTES, 4096);
	print("bench: ready mtu=%u\n", mtu);
	if (!connect()) {
		print("bench: no connection\n");
		return;
	}
	if (!run_for(is_out, boot_option_number("warm", 1) * khz * 1000)) {
		print("bench: the connection has ended\n");
		return;
	}
	print("bench: begin\n");
	n_bytes = 0;
	begin = cpu_tsc();
	(void)run_for(is_out, boot_option_number("seconds", 2) * khz * 1000);
	print("bench: end ios=%lu cycles=%lu kicks=0 errors=0\n", n_bytes, cpu_tsc() - begin);
	print("bench: done\n");
}
