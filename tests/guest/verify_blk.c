/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A load on the first disk that knows what every byte must be, for tests that kill what is behind
 * it: probe=verify depth=N block=BYTES requests=N [interrupts] [event_idx=0] [poison=SECTOR] [revive]
 *
 * Each of the depth slots has one block of the disk to itself and does one request at a time: write,
 * read back, flush, in random order. So a request that is lost leaves its slot waiting, one that
 * is done twice finds it idle, and one that lands late is found by a later read. The requests of
 * different slots are all in flight together. With `interrupts` the used ring is looked at only
 * when the device says so. With poison=SECTOR, this one is read once, and the read must fail. With
 * `revive` a device that needs a reset gets one, and the load goes on. Ends after requests=N, or
 * when COM1 says `q`.
 */
#include "blk.h"
#include "modes.h"

#define DEPTH_MAX 64
#define PARTS 3
#define SECTOR 512
#define STALL_MS 60000
#define POISON_AFTER 500 /* requests */
#define LOOKS 256 /* at the used ring, between two at the clock and COM1 */

struct slot {
	struct blk_header *header;
	uint64_t *data;
	volatile uint8_t *status;
	uint64_t version; /* of what the disk holds; 0: unknown */
	uint64_t next_version; /* being written */
	bool is_busy, is_poison;
};

struct verify {
	struct blk blk;
	struct slot slots[DEPTH_MAX];
	unsigned depth;
	uint32_t block;
	bool waits_for_interrupts;
	bool is_ending, can_revive;
	uint64_t poison; /* sector; 0: none, or done */
	uint64_t random;
	uint64_t requests, n_begun, n_done, n_flushes;
	uint64_t n_errors, n_twice, n_wrong, n_bad_len;
	unsigned n_busy;
};

static struct verify verify;

static uint64_t word_of(const struct verify *v, unsigned i, uint64_t version, uint32_t at)
{
	return (version << 32 | i << 24 | at) ^ v->block;
}

static void fill(struct verify *v, unsigned i, uint64_t version)
{
	for (uint32_t at = 0; at < v->block / 8; at++)
		v->slots[i].data[at] = word_of(v, i, version, at);
}

static bool is_filled(struct verify *v, unsigned i, uint64_t version)
{
	for (uint32_t at = 0; at < v->block / 8; at++)
		if (v->slots[i].data[at] != word_of(v, i, version, at))
			return false;
	return true;
}

static void slot_prepare(struct verify *v, unsigned i)
{
	struct slot *slot = &v->slots[i];

	slot->header = memory_alloc(64, 64);
	slot->status = (uint8_t *)(slot->header + 1);
	slot->data = memory_alloc(v->block, 4096);
}

static void slot_begin(struct verify *v, unsigned i)
{
	struct slot *slot = &v->slots[i];
	unsigned dice = (random_next(&v->random) >> 20) % 8;
	struct part parts[PARTS];
	unsigned n = 0;

	slot->header->type = slot->version == 0 || dice < 4 ? BLK_OUT : dice < 7 ? BLK_IN : BLK_FLUSH;
	slot->header->sector = slot->header->type == BLK_FLUSH ? 0 : i * (v->block / SECTOR);
	slot->is_poison = v->poison != 0 && v->n_done >= POISON_AFTER;
	if (slot->is_poison) {
		slot->header->type = BLK_IN;
		slot->header->sector = v->poison;
		v->poison = 0;
	}
	*slot->status = BLK_S_NONE;
	parts[n++] = (struct part){ slot->header, sizeof(*slot->header), false };
	if (slot->header->type == BLK_OUT) {
		slot->next_version++;
		fill(v, i, slot->next_version);
		parts[n++] = (struct part){ slot->data, v->block, false };
	} else if (slot->header->type == BLK_IN) {
		memset(slot->data, 0xee, v->block);
		parts[n++] = (struct part){ slot->data, v->block, true };
	}
	parts[n++] = (struct part){ slot->status, 1, true };
	vq_chain(&v->blk.vq, (uint16_t)(i * PARTS), parts, n);
	vq_stage(&v->blk.vq, (uint16_t)(i * PARTS));
	slot->is_busy = true;
	v->n_busy++;
	v->n_begun++;
}

static void slot_done(struct verify *v, unsigned i, uint32_t len)
{
	struct slot *slot = &v->slots[i];

	slot->is_busy = false;
	v->n_busy--;
	v->n_done++;
	if (slot->is_poison) {
		print("verify: poison status 0x%x\n", *slot->status);
		return;
	}
	if (*slot->status != BLK_S_OK) {
		if (v->n_errors++ < 8)
			print("verify: slot %u type %u status 0x%x\n", i, slot->header->type,
			      *slot->status);
		slot->version = 0; /* unknown now */
		return;
	}
	v->n_bad_len += len != (slot->header->type == BLK_IN ? v->block + 1 : 1);
	if (slot->header->type == BLK_OUT)
		slot->version = slot->next_version;
	else if (slot->header->type == BLK_IN && !is_filled(v, i, slot->version))
		v->n_wrong++;
	v->n_flushes += slot->header->type == BLK_FLUSH;
}

static void submit(struct verify *v, uint16_t old)
{
	struct vq *vq = &v->blk.vq;

	vq_publish(vq);
	if (v->waits_for_interrupts)
		*vq_used_event(vq) = vq->used_idx;
	cpu_fence();
	if (v->blk.dev->features & FEATURE_EVENT_IDX)
		vq_kick_event(vq, old);
	else if (!(vq->used->flags & USED_NO_NOTIFY))
		vq_kick(vq);
}

/* Takes what is done and begins as much again; Return: was there anything? */
static bool turn(struct verify *v)
{
	struct vq *vq = &v->blk.vq;
	uint16_t used = vq->used->idx, old = vq->avail_idx;

	if (used == vq->used_idx)
		return false;
	compiler_barrier();
	while (vq->used_idx != used) {
		volatile struct vring_used_elem *elem =
			&vq->used->ring[vq->used_idx++ & (vq->size - 1)];
		uint32_t i = elem->id / PARTS;

		if (elem->id % PARTS != 0 || i >= v->depth || !v->slots[i].is_busy) {
			v->n_twice++;
			continue;
		}
		slot_done(v, i, elem->len);
		if (!v->is_ending && v->n_begun < v->requests)
			slot_begin(v, i);
	}
	submit(v, old);
	return true;
}

/* With interrupts: has the device asked us to look? */
static bool may_look(struct verify *v)
{
	if (!v->waits_for_interrupts)
		return true;
	if (!(vdev_interrupt(v->blk.dev) & 1))
		return false;
	vdev_interrupt_ack(v->blk.dev, 1);
	/* Wanted at the next completion; then the look that a driver owes itself, §2.7.10. */
	*vq_used_event(&v->blk.vq) = v->blk.vq.used_idx;
	cpu_fence();
	return true;
}

/* Return: false: nothing came for STALL_MS, or the device needs a reset */
static bool run(struct verify *v)
{
	uint64_t stall = time_deadline(STALL_MS);
	unsigned looks = 0;

	while (v->n_busy > 0) {
		bool any = false;

		if (may_look(v)) {
			while (turn(v))
				any = true;
		}
		if (any)
			stall = time_deadline(STALL_MS);
		if (++looks % LOOKS == 0) {
			if (console_get() == 'q')
				v->is_ending = true;
			if (time_passed(stall) || vdev_status(v->blk.dev) & STATUS_NEEDS_RESET)
				return false;
		}
		cpu_pause();
	}
	return true;
}

/* What is on the disk at the end, when nothing is in flight. */
static void read_back(struct verify *v)
{
	for (unsigned i = 0; i < v->depth; i++) {
		struct slot *slot = &v->slots[i];

		if (slot->version == 0)
			continue;
		if (blk_request(&v->blk, BLK_IN, i * (v->block / SECTOR), slot->data, v->block) !=
			    BLK_S_OK ||
		    !is_filled(v, i, slot->version))
			v->n_wrong++;
	}
}

static bool start(struct verify *v, struct vdev *dev)
{
	uint64_t features = boot_option_number("event_idx", 1) ? FEATURE_EVENT_IDX : 0;

	if (!blk_start(&v->blk, dev, features | BLK_F_FLUSH, 256))
		return false;
	if (!v->waits_for_interrupts) {
		v->blk.vq.avail->flags = AVAIL_NO_INTERRUPT;
		*vq_used_event(&v->blk.vq) = 0xffff;
	}
	return true;
}

static void begin(struct verify *v)
{
	for (unsigned i = 0; i < v->depth; i++)
		slot_begin(v, i);
	submit(v, 0);
}

/* What was in flight is not known to be done or not, nor is what the disk holds. */
static bool revive(struct verify *v)
{
	print("verify: needs reset\n");
	for (unsigned i = 0; i < v->depth; i++) {
		v->slots[i].is_busy = false;
		v->slots[i].version = 0;
	}
	v->n_busy = 0;
	v->can_revive = false;
	if (!start(v, v->blk.dev))
		return false;
	print("verify: revived\n");
	begin(v);
	return run(v);
}

static bool setup(struct verify *v, struct vdev *dev)
{

	v->depth = (unsigned)boot_option_number("depth", 32);
	v->block = (uint32_t)boot_option_number("block", 4096);
	v->requests = boot_option_number("requests", UINT64_MAX);
	v->can_revive = boot_option("revive", NULL, 0);
	v->poison = boot_option_number("poison", 0);
	v->waits_for_interrupts = boot_option("interrupts", NULL, 0);
	v->random = 0x9e3779b97f4a7c15ull;
	if (v->depth == 0 || v->depth > DEPTH_MAX || v->block % SECTOR != 0 ||
	    !start(v, dev) ||
	    blk_capacity(dev) < (uint64_t)v->depth * v->block / SECTOR)
		return false;
	if (v->depth * PARTS > v->blk.vq.size)
		v->depth = v->blk.vq.size / PARTS;
	for (unsigned i = 0; i < v->depth; i++)
		slot_prepare(v, i);
	return true;
}

void verify_blk_run(void)
{
	struct verify *v = &verify;
	struct vdev *dev;
	bool is_alive;

	discover();
	dev = discover_nth(VIRTIO_ID_BLK, 0);
	if (!dev || !setup(v, dev)) {
		print("verify: no disk, or bad options\n");
		return;
	}
	print("verify: begin depth=%u\n", v->depth);
	begin(v);
	is_alive = run(v);
	if (!is_alive && v->can_revive && vdev_status(dev) & STATUS_NEEDS_RESET)
		is_alive = revive(v);
	if (is_alive)
		read_back(v);
	print("verify: end requests=%lu flushes=%lu errors=%lu twice=%lu wrong=%lu badlen=%lu "
	      "lost=%u status=0x%x\n",
	      v->n_done, v->n_flushes, v->n_errors, v->n_twice, v->n_wrong, v->n_bad_len, v->n_busy,
	      vdev_status(dev));
}
