/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A load on vsock, to be measured by the host: probe=bench-vsock
 * op=out|in|echo|connect block=BYTES rx=BYTES seconds=S tsc_khz=KHZ
 *
 * Polled, interrupts suppressed. `out` sends packets of @block bytes to port 52, as far as credit
 * goes; `in` receives what port 53 sends into buffers of @rx bytes; `echo` sends 1 byte to port 54
 * and waits for it; `connect` opens and closes connections to port 55.
 */
#include "modes.h"
#include "vsock.h"

#define DEPTH 32u
#define N_RX 128u
#define STALL_MS 10000
#define ROOM (1u << 20)
#define PORT_OUT 52
#define PORT_IN 53
#define PORT_ECHO 54
#define PORT_CONNECT 55

static struct bench {
	struct vsock v;
	struct vconn c;
	struct vsock_header *headers[DEPTH];
	uint32_t block;
	uint64_t bytes, ops;
	unsigned n_free; /* transmit slots */
	uint16_t next; /* transmit slot; they come back in order */
} bench;

static void stalled(const char *what)
{
	print("bench: stalled: %s, device status 0x%x\n", what, vdev_status(bench.v.dev));
	end_power_off();
}

static bool kick_wanted(const struct vq *vq, uint16_t old)
{
	cpu_fence();
	if (vq->dev->features & FEATURE_EVENT_IDX)
		return (uint16_t)(vq->avail_idx - *vq_avail_event(vq) - 1) <
		       (uint16_t)(vq->avail_idx - old);
	return !(vq->used->flags & USED_NO_NOTIFY);
}

static void publish(struct vq *vq, uint16_t old)
{
	vq_publish(vq);
	if (kick_wanted(vq, old))
		vq_kick(vq);
}

static void reap_tx(struct bench *b)
{
	uint16_t used = b->v.tx.used->idx;

	b->n_free += (uint16_t)(used - b->v.tx.used_idx);
	b->v.tx.used_idx = used;
}

static void stage(struct bench *b, enum vsock_op op, uint32_t flags, uint32_t len)
{
	struct vsock_header *h = b->headers[b->next];

	*h = vsock_make(&b->v, op, b->c.guest_port, b->c.host_port);
	h->len = len;
	h->flags = flags;
	h->buf_alloc = ROOM;
	h->fwd_cnt = b->c.rx_cnt;
	b->c.fwd_cnt = b->c.rx_cnt;
	b->c.tx_cnt += len;
	struct part parts[2] = { { h, VSOCK_HEADER_BYTES, false }, { b->v.tx_data, len, false } };

	vq_chain(&b->v.tx, (uint16_t)(b->next * 2), parts, len ? 2 : 1);
	vq_stage(&b->v.tx, (uint16_t)(b->next * 2));
	b->next = (uint16_t)((b->next + 1) % DEPTH);
	b->n_free--;
}

static void send_now(struct bench *b, enum vsock_op op, uint32_t flags, uint32_t len)
{
	uint16_t old = b->v.tx.avail_idx;

	while (b->n_free == 0)
		reap_tx(b);
	stage(b, op, flags, len);
	publish(&b->v.tx, old);
}

/* All packets that have come. Return: a RESPONSE or RST among them, else the last op or NONE */
static enum vsock_op reap_rx(struct bench *b)
{
	struct vq *vq = &b->v.rx;
	uint16_t used = vq->used->idx, old = vq->avail_idx;
	enum vsock_op op = VSOCK_NONE;

	if (used == vq->used_idx)
		return op;
	compiler_barrier();
	while (vq->used_idx != used) {
		volatile struct vring_used_elem *e = &vq->used->ring[vq->used_idx++ & (vq->size - 1)];
		const struct vsock_header *h = (void *)b->v.rx_data[e->id];

		if (op != VSOCK_RESPONSE && op != VSOCK_RST)
			op = (enum vsock_op)h->op;
		if (h->dst_port == b->c.guest_port) {
			b->c.peer_fwd_cnt = h->fwd_cnt;
			b->c.peer_buf_alloc = h->buf_alloc;
			b->c.rx_cnt += h->op == VSOCK_RW ? h->len : 0;
		}
		vq_stage(vq, (uint16_t)e->id);
	}
	publish(vq, old);
	return op;
}

static void await(struct bench *b, enum vsock_op op)
{
	uint64_t deadline = time_deadline(STALL_MS);
	unsigned n = 0;

	while (reap_rx(b) != op) {
		if (++n % 4096 == 0 && time_passed(deadline))
			stalled("a packet does not come");
		cpu_pause();
	}
}

static void open(struct bench *b, uint32_t port)
{
	vconn_make(&b->c, &b->v, port);
	b->c.buf_alloc = ROOM;
	send_now(b, VSOCK_REQUEST, 0, 0);
	await(b, VSOCK_RESPONSE);
}

static void turn_out(struct bench *b)
{
	uint16_t old = b->v.tx.avail_idx;

	reap_tx(b);
	(void)reap_rx(b);
	while (b->n_free > 0 &&
	       b->c.tx_cnt - b->c.peer_fwd_cnt + b->block <= b->c.peer_buf_alloc) {
		stage(b, VSOCK_RW, 0, b->block);
		b->ops++;
		b->bytes += b->block;
	}
	if (b->v.tx.avail_idx != old)
		publish(&b->v.tx, old);
}

static void turn_in(struct bench *b)
{
	uint32_t before = b->c.rx_cnt;

	if (reap_rx(b) == VSOCK_NONE)
		return;
	b->bytes += b->c.rx_cnt - before;
	b->ops++;
	reap_tx(b);
	if (b->c.rx_cnt - b->c.fwd_cnt >= ROOM / 2)
		send_now(b, VSOCK_CREDIT_UPDATE, 0, 0);
}

static void turn_echo(struct bench *b)
{
	uint32_t want = b->c.rx_cnt + 1;
	uint64_t deadline = time_deadline(STALL_MS);
	unsigned n = 0;

	reap_tx(b);
	send_now(b, VSOCK_RW, 0, 1);
	while (b->c.rx_cnt != want) {
		(void)reap_rx(b);
		if (++n % 65536 == 0 && time_passed(deadline))
			stalled("no echo");
		cpu_pause();
	}
	b->ops++;
}

static void turn_connect(struct bench *b)
{
	reap_tx(b);
	open(b, PORT_CONNECT);
	reap_tx(b);
	send_now(b, VSOCK_SHUTDOWN, VSOCK_SHUT_BOTH, 0);
	await(b, VSOCK_RST);
	b->ops++;
}

static const struct {
	const char *name;
	uint32_t port; /* 0: opened by each turn */
	void (*turn)(struct bench *b);
} ops[] = {
	{ "out", PORT_OUT, turn_out },
	{ "in", PORT_IN, turn_in },
	{ "echo", PORT_ECHO, turn_echo },
	{ "connect", 0, turn_connect },
};

static uint64_t run_for(struct bench *b, void (*turn)(struct bench *b), uint64_t cycles)
{
	uint64_t begin = cpu_tsc(), now = begin;

	while (now - begin < cycles) {
		for (unsigned i = 0; i < 16; i++)
			turn(b);
		now = cpu_tsc();
	}
	return now - begin;
}

static bool setup(struct bench *b)
{
	struct vdev *dev;

	discover();
	dev = discover_nth(VIRTIO_ID_VSOCK, 0);
	b->block = (uint32_t)boot_option_number("block", 4096);
	if (!dev || b->block == 0 || b->block > VSOCK_TX_BYTES ||
	    !vsock_start(&b->v, dev, FEATURE_EVENT_IDX, N_RX,
			 (uint32_t)boot_option_number("rx", 4096)))
		return false;
	b->v.rx.avail->flags = b->v.tx.avail->flags = AVAIL_NO_INTERRUPT;
	*vq_used_event(&b->v.rx) = *vq_used_event(&b->v.tx) = 0x8000;
	for (unsigned i = 0; i < DEPTH; i++)
		b->headers[i] = memory_alloc(64, 64);
	b->n_free = DEPTH;
	return true;
}

void bench_vsock_run(void)
{
	uint64_t khz = boot_option_number("tsc_khz", 2000000), cycles;
	struct bench *b = &bench;
	char op[16] = "out";
	unsigned i = 0;

	boot_option("op", op, sizeof(op));
	while (i < ARRAY_LEN(ops) && !string_equal(ops[i].name, op))
		i++;
	if (i == ARRAY_LEN(ops) || !setup(b)) {
		print("bench: no vsock, or bad options\n");
		return;
	}
	if (ops[i].port)
		open(b, ops[i].port);
	print("bench: ready\n");
	run_for(b, ops[i].turn, boot_option_number("warm", 1) * khz * 1000);
	print("bench: begin\n");
	b->bytes = b->ops = 0;
	cycles = run_for(b, ops[i].turn, boot_option_number("seconds", 2) * khz * 1000);
	print("bench: end ops=%lu bytes=%lu cycles=%lu\n", b->ops, b->bytes, cycles);
	print("bench: done\n");
}
