/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A load on the first disk, to be measured by the host: probe=bench
 * op=randread|randwrite|seqread|null depth=N block=BYTES span=MIB warm_ms=MS seconds=S tsc_khz=KHZ
 *
 * Polled, interrupts suppressed, EVENT_IDX when offered; a kick only when the device asks for one.
 * What completed in one look at the used ring goes out again as one batch. op=null asks for the
 * serial number, which needs no disk. The requests that are in flight when the time is over are
 * waited for, but not counted. With the word "no_event_idx" that feature is left out. With the word
 * "mapped" the disk is behind an IOMMU in which all that is used here is mapped, once, to itself.
 *
 * With `gaps` it does not end by itself: for each `g` on COM1 it prints the TSC, what was done and,
 * the longest first, the times between two looks at the used ring that found something since the last
 * `g`, each as cycles ago of its begin and end; `q` ends it.
 */
#include "iommu.h"
#include "modes.h"

#define DEPTH_MAX 256
#define PARTS 3
#define SUB_BITS 6 /* buckets per power of two, as bits: a resolution of 1.6% */
#define BUCKETS (64u << SUB_BITS)
#define STALL_MS 10000
#define TSC_LOOK 64 /* looks at an empty ring between two looks at the clock */
#define USED_EVENT_STEP 16384
#define ASK_MS 2
#define GAPS 8

struct slot {
	struct blk_header *header;
	volatile uint8_t *status;
	uint64_t begun; /* TSC */
};

struct bench {
	struct blk blk;
	struct slot slots[DEPTH_MAX];
	uint32_t type;
	bool is_sequential;
	unsigned depth;
	uint32_t block;
	uint64_t n_blocks; /* of the span */
	uint64_t next_block;
	uint64_t random;
	uint64_t ios, errors, kicks;
	uint64_t histogram[BUCKETS];
};

static struct bench bench;

static unsigned bucket_of(uint64_t v)
{
	unsigned top;

	if (v < 1u << SUB_BITS)
		return (unsigned)v;
	top = 63 - (unsigned)__builtin_clzll(v);
	return (top - SUB_BITS + 1) << SUB_BITS | ((v >> (top - SUB_BITS)) & ((1u << SUB_BITS) - 1));
}

/* The middle of a bucket. */
static uint64_t bucket_value(unsigned bucket)
{
	unsigned top = bucket >> SUB_BITS;
	uint64_t low = bucket & ((1u << SUB_BITS) - 1);

	if (top == 0)
		return low;
	return ((low | 1u << SUB_BITS) << (top - 1)) + ((1ull << (top - 1)) >> 1);
}

static uint64_t percentile(const struct bench *b, unsigned percent)
{
	uint64_t left = b->ios * percent / 100;

	for (unsigned i = 0; i < BUCKETS; i++) {
		if (b->histogram[i] > left)
			return bucket_value(i);
		left -= b->histogram[i];
	}
	return 0;
}

/* Descriptors are written once; only the sector of a slot changes. */
static void slot_prepare(struct bench *b, unsigned i, bool is_indirect)
{
	struct slot *slot = &b->slots[i];
	uint32_t len = b->type == BLK_GET_ID ? 20 : b->block;
	uint8_t *data = memory_alloc(b->block, 4096);
	struct part parts[PARTS];

	slot->header = memory_alloc(64, 64);
	slot->status = (uint8_t *)(slot->header + 1);
	slot->header->type = b->type;
	memset(data, (int)i + 1, b->block);
	parts[0] = (struct part){ slot->header, sizeof(*slot->header), false };
	parts[1] = (struct part){ data, len, b->type != BLK_OUT };
	parts[2] = (struct part){ slot->status, 1, true };
	if (is_indirect)
		vq_indirect(&b->blk.vq, (uint16_t)i, memory_alloc(64, 64), parts, PARTS);
	else
		vq_chain(&b->blk.vq, (uint16_t)(i * PARTS), parts, PARTS);
}

static unsigned head_step(const struct bench *b)
{
	return b->blk.vq.desc[0].flags & DESC_INDIRECT ? 1 : PARTS;
}

static void slot_stage(struct bench *b, unsigned i, uint64_t now)
{
	struct slot *slot = &b->slots[i];
	uint64_t block;

	if (b->is_sequential)
		block = b->next_block = b->next_block + 1 < b->n_blocks ? b->next_block + 1 : 0;
	else
		block = (random_next(&b->random) >> 16) % b->n_blocks;
	slot->header->sector = b->type == BLK_GET_ID ? 0 : block * (b->block / 512);
	*slot->status = BLK_S_NONE;
	slot->begun = now;
	vq_stage(&b->blk.vq, (uint16_t)(i * head_step(b)));
}

/* Makes what was staged since old visible, and kicks if the device wants to know. */
static void submit(struct bench *b, uint16_t old)
{
	struct vq *vq = &b->blk.vq;

	vq_publish(vq);
	cpu_fence();
	if (b->blk.dev->features & FEATURE_EVENT_IDX) {
		if ((uint16_t)(vq->avail_idx - *vq_avail_event(vq) - 1) >=
		    (uint16_t)(vq->avail_idx - old))
			return;
	} else if (vq->used->flags & USED_NO_NOTIFY) {
		return;
	}
	b->kicks++;
	vq_kick(vq);
}

/* Takes all that is done, and begins as much again; Return: how many were done */
static unsigned turn(struct bench *b, bool again)
{
	struct vq *vq = &b->blk.vq;
	uint16_t old = vq->avail_idx, used = vq->used->idx;
	unsigned n = 0;
	uint64_t now;

	if (used == vq->used_idx)
		return 0;
	now = cpu_tsc();
	for (; vq->used_idx != used; n++) {
		volatile struct vring_used_elem *elem =
			&vq->used->ring[vq->used_idx++ & (vq->size - 1)];
		unsigned i = elem->id / head_step(b);

		if (i >= b->depth || *b->slots[i].status != BLK_S_OK) {
			b->errors++;
			i = i < b->depth ? i : 0;
		}
		b->histogram[bucket_of(now - b->slots[i].begun)]++;
		if (again)
			slot_stage(b, i, now);
	}
	b->ios += n;
	/* Far enough behind that no completion passes it. */
	if ((uint16_t)(used - *vq_used_event(vq)) > USED_EVENT_STEP)
		*vq_used_event(vq) = (uint16_t)(used - 1);
	if (again)
		submit(b, old);
	return n;
}

static void stalled(const struct bench *b)
{
	print("bench: no completion, %lu done, device status 0x%x\n", b->ios,
	      vdev_status(b->blk.dev));
	end_power_off();
}

/* Return: cycles, at least those asked for */
static uint64_t run_for(struct bench *b, uint64_t cycles)
{
	uint64_t begin = cpu_tsc(), stall = time_deadline(STALL_MS), now = begin;
	unsigned looks = 0;

	while (now - begin < cycles) {
		if (turn(b, true) != 0) {
			looks = TSC_LOOK;
			now = cpu_tsc();
			stall = now + STALL_MS * 4000000ull;
		} else if (++looks > TSC_LOOK) {
			looks = 0;
			now = cpu_tsc();
			if ((int64_t)(now - stall) > 0)
				stalled(b);
		}
		cpu_pause();
	}
	return now - begin;
}

struct gap {
	uint64_t begun, ended; /* TSC */
};

/* The longest first. */
static void gap_note(struct gap *gaps, uint64_t begun, uint64_t ended)
{
	unsigned at = GAPS;

	while (at > 0 && ended - begun > gaps[at - 1].ended - gaps[at - 1].begun)
		at--;
	if (at == GAPS)
		return;
	for (unsigned i = GAPS - 1; i > at; i--)
		gaps[i] = gaps[i - 1];
	gaps[at] = (struct gap){ begun, ended };
}

static void gaps_print(const struct bench *b, const struct gap *gaps)
{
	uint64_t now = cpu_tsc();

	print("bench: gap now=%lu ios=%lu errors=%lu", now, b->ios, b->errors);
	for (unsigned i = 0; i < GAPS && gaps[i].ended; i++)
		print(" %lu-%lu", now - gaps[i].begun, now - gaps[i].ended);
	print("\n");
}

/* Asking COM1 is an exit and would be seen as a gap of its own if it were done often. */
static void run_gaps(struct bench *b, uint64_t khz)
{
	uint64_t last = cpu_tsc(), next_ask = last;
	struct gap gaps[GAPS] = { 0 };
	int c = 0;

	while (c != 'q') {
		uint64_t now = cpu_tsc();

		if (turn(b, true) != 0) {
			now = cpu_tsc();
			gap_note(gaps, last, now);
			last = now;
			if (now < next_ask)
				continue;
			c = console_get();
			next_ask = now + khz * ASK_MS;
			if (c == 'g') {
				gaps_print(b, gaps);
				memset(gaps, 0, sizeof(gaps));
			}
			last += cpu_tsc() - now; /* our own time is not a gap */
		} else if (now - last > khz * STALL_MS) {
			stalled(b);
		}
		cpu_pause();
	}
}

static bool setup(struct bench *b, struct vdev *dev)
{
	uint64_t sectors = blk_capacity(dev), span = boot_option_number("span", 64) * MIB;
	uint64_t wanted = FEATURE_EVENT_IDX | FEATURE_INDIRECT | BLK_F_FLUSH;
	bool is_indirect;

	if (boot_option("no_event_idx", NULL, 0))
		wanted &= ~FEATURE_EVENT_IDX;
	if (!blk_start(&b->blk, dev, wanted, 256))
		return false;
	if (span > sectors * 512)
		span = sectors * 512;
	b->n_blocks = span / b->block;
	/* Direct chains where they fit: every VMM does the same work then. */
	is_indirect = b->depth * PARTS > b->blk.vq.size;
	if (is_indirect && !(dev->features & FEATURE_INDIRECT)) {
		b->depth = b->blk.vq.size / PARTS;
		is_indirect = false;
	}
	if (b->depth > b->blk.vq.size)
		b->depth = b->blk.vq.size;
	b->blk.vq.avail->flags = AVAIL_NO_INTERRUPT;
	*vq_used_event(&b->blk.vq) = 0xffff;
	for (unsigned i = 0; i < b->depth; i++)
		slot_prepare(b, i, is_indirect);
	return b->n_blocks > 0 && b->depth > 0;
}

static bool options(struct bench *b)
{
	char op[16] = "randread";

	boot_option("op", op, sizeof(op));
	b->is_sequential = string_equal(op, "seqread");
	if (b->is_sequential || string_equal(op, "randread"))
		b->type = BLK_IN;
	else if (string_equal(op, "randwrite"))
		b->type = BLK_OUT;
	else if (string_equal(op, "null"))
		b->type = BLK_GET_ID;
	else
		return false;
	b->depth = (unsigned)boot_option_number("depth", 1);
	b->block = (uint32_t)boot_option_number("block", 4096);
	b->random = 0x9e3779b97f4a7c15ull;
	return b->depth > 0 && b->depth <= DEPTH_MAX && b->block >= 512 && b->block <= MIB;
}

static void forget(struct bench *b)
{
	b->ios = b->kicks = b->errors = 0;
	memset(b->histogram, 0, sizeof(b->histogram));
}

void bench_blk_run(void)
{
	uint64_t khz = boot_option_number("tsc_khz", 2000000);
	struct bench *b = &bench;
	struct vdev *dev;
	uint64_t cycles;
	uint16_t old;

	discover();
	dev = discover_nth(VIRTIO_ID_BLK, 0);
	if (dev && boot_option("mapped", NULL, 0) && !iommu_map_arena(dev)) {
		print("bench: no IOMMU\n");
		return;
	}
	if (!dev || !options(b) || !setup(b, dev)) {
		print("bench: no disk, or bad options\n");
		return;
	}
	print("bench: ready depth=%u queue=%u\n", b->depth, b->blk.vq.size);
	old = b->blk.vq.avail_idx;
	for (unsigned i = 0; i < b->depth; i++)
		slot_stage(b, i, cpu_tsc());
	submit(b, old);
	run_for(b, boot_option_number("warm_ms", 500) * khz);
	print("bench: begin\n");
	turn(b, true);
	forget(b);
	if (boot_option("gaps", NULL, 0)) {
		run_gaps(b, khz);
		print("bench: done errors=%lu\n", b->errors);
		return;
	}
	cycles = run_for(b, boot_option_number("seconds", 2) * khz * 1000);
	print("bench: end ios=%lu cycles=%lu p50=%lu p99=%lu kicks=%lu errors=%lu\n", b->ios, cycles,
	      percentile(b, 50), percentile(b, 99), b->kicks, b->errors);
	print("bench: done\n");
}
