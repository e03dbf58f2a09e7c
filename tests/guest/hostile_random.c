/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The random part: seed=N on the command line replays a run. Each case is one seed; it ends when
 * the victim has had its rounds, whatever it made of them, and comes back by a reset.
 */
#include "hostile.h"

#define N_SEEDS 16
#define CHAIN_ROUNDS 60
#define REGISTER_WRITES 3000

static uint64_t state;

static uint32_t pick(uint32_t below)
{
	return (uint32_t)(random_next(&state) >> 33) % below;
}

/* Mostly near the good values, where the interesting mistakes are. */
static uint64_t random_address(void)
{
	switch (pick(8)) {
	case 0:
		return random_next(&state);
	case 1:
		return victim.ram_end - pick(1024);
	case 2:
		return (uint64_t)victim.table + pick(64) * 16;
	case 3:
		return (uint64_t)victim.blk.header;
	case 4:
		return (uint64_t)victim.blk.status;
	default:
		return (uint64_t)victim.data + pick(DATA_BYTES / 2);
	}
}

static uint32_t random_len(void)
{
	static const uint32_t usual[] = { 0, 1, 16, 48, 512, 1024, 4096, 0xffffffff };

	return pick(4) ? usual[pick(ARRAY_LEN(usual))] : (uint32_t)random_next(&state) & 0x3fff;
}

static void random_desc(volatile struct vring_desc *desc, unsigned i, unsigned n)
{
	static const uint16_t flags[] = { 0, DESC_NEXT, DESC_NEXT, DESC_WRITE,
					  DESC_NEXT | DESC_WRITE, DESC_INDIRECT };

	desc->addr = random_address();
	desc->len = random_len();
	desc->flags = pick(32) ? flags[pick(ARRAY_LEN(flags))] : (uint16_t)pick(0x10000);
	desc->next = pick(8) ? (uint16_t)((i + 1) % n) : (uint16_t)pick(n + 2);
}

/* A data buffer may lie on anything of ours but the guard pages, so lengths stay inside. */
static void random_clamp(volatile struct vring_desc *desc)
{
	uint64_t data = (uint64_t)victim.data;

	if (desc->addr >= data && desc->addr < data + DATA_BYTES &&
	    desc->len > data + DATA_BYTES - desc->addr)
		desc->len = (uint32_t)(data + DATA_BYTES - desc->addr);
	else if (desc->addr < data || desc->addr >= data + DATA_BYTES)
		desc->len = desc->len > 16 && desc->len < 0x10000 ? 16 : desc->len;
}

static void random_rings(void)
{
	for (unsigned i = 0; i < VICTIM_QUEUE_SIZE; i++) {
		random_desc(&victim.blk.vq.desc[i], i, VICTIM_QUEUE_SIZE);
		random_clamp(&victim.blk.vq.desc[i]);
		random_desc(&victim.table[i], i, VICTIM_QUEUE_SIZE);
		random_clamp(&victim.table[i]);
	}
	*victim.blk.header = (struct blk_header){
		.type = pick(4) ? BLK_IN : BLK_GET_ID,
		.sector = pick(2) ? ZERO_SECTOR + pick(64) : random_next(&state),
	};
	for (unsigned i = pick(3) + 1; i; i--)
		vq_stage(&victim.blk.vq, (uint16_t)pick(VICTIM_QUEUE_SIZE + (pick(8) == 0)));
	if (pick(64) == 0)
		victim.blk.vq.avail_idx = (uint16_t)pick(0x10000);
	vq_publish(&victim.blk.vq);
	vq_kick(&victim.blk.vq);
}

static const char *random_chains(uint64_t seed)
{
	state = seed;
	EXPECT_OK(victim_start(FEATURE_INDIRECT | (seed & 1 ? FEATURE_EVENT_IDX : 0)));
	for (unsigned i = 0; i < CHAIN_ROUNDS; i++) {
		size_t mark = memory_mark();

		if (vdev_status(victim.blk.dev) & STATUS_NEEDS_RESET)
			EXPECT_OK(victim_start(FEATURE_INDIRECT));
		random_rings();
		for (unsigned spin = 0; spin < 2000; spin++)
			cpu_pause();
		memory_release(mark);
	}
	return NULL;
}

static const char *random_registers(uint64_t seed)
{
	struct vdev *dev = victim.blk.dev;

	if (dev->is_pci)
		return tap_skip("virtio-mmio only");
	state = seed;
	for (unsigned i = 0; i < REGISTER_WRITES; i++) {
		uint32_t offset = pick(8) ? pick(0x40) * 4 : pick(0x200);
		uint32_t value = pick(4) ? pick(32) : (uint32_t)random_next(&state);

		/* Ring addresses stay out of the probe's own memory. */
		if (offset >= MMIO_QUEUE_DESC_LOW && offset <= MMIO_QUEUE_DEVICE_HIGH)
			value |= 0x80000000;
		mmio_write32(dev->mmio + offset, value);
	}
	return NULL;
}

void hostile_random(void)
{
	uint64_t seed = boot_option_number("seed", 1);

	for (unsigned i = 0; i < N_SEEDS; i++)
		hostile_case(random_chains, seed + i, "2.7, rows 1 to 13", "random chains, seed %lu",
			     seed + i);
	for (unsigned i = 0; i < N_SEEDS / 4; i++)
		hostile_case(random_registers, seed + i, "4.2.2, rows 3 and 14",
			     "random registers, seed %lu", seed + i);
}
