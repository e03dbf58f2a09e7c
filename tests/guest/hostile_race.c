/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A second CPU changes what the device is looking at. Whether a request wins or loses the race is
 * open; what may follow is not: it succeeds, fails, or breaks its own queue, and nothing else
 * happens. Rows 6, 7 and 22.
 */
#include "hostile.h"

#define ROUNDS 400

/* What the other CPU flips between two values, as fast as it can. */
struct flip {
	volatile void *at;
	unsigned width;
	uint64_t values[2];
	volatile bool is_over;
};

static struct flip flip;
static unsigned partner; /* the other CPU, 0: none */

static void flip_run(void *unused)
{
	(void)unused;
	for (unsigned i = 0; !flip.is_over; i++) {
		uint64_t v = flip.values[i & 1];

		switch (flip.width) {
		case 1:
			*(volatile uint8_t *)flip.at = (uint8_t)v;
			break;
		case 2:
			*(volatile uint16_t *)flip.at = (uint16_t)v;
			break;
		case 4:
			*(volatile uint32_t *)flip.at = (uint32_t)v;
			break;
		default:
			*(volatile uint64_t *)flip.at = v;
			break;
		}
	}
}

static const char *partner_start(void (*run)(void *))
{
	if (partner == 0)
		return tap_skip("one CPU only");
	flip.is_over = false;
	EXPECT(smp_run(partner, run, NULL), "the other CPU is busy");
	return NULL;
}

static const char *partner_stop(void)
{
	uint64_t deadline = time_deadline(10000);

	flip.is_over = true;
	while (!smp_is_idle(partner))
		EXPECT(!time_passed(deadline), "the other CPU hangs");
	return NULL;
}

enum target {
	FLIP_LEN,
	FLIP_LEN_ZERO,
	FLIP_ADDRESS,
	FLIP_ADDRESS_REGISTERS,
	FLIP_FLAG_WRITE,
	FLIP_FLAG_NEXT,
	FLIP_FLAG_INDIRECT,
	FLIP_NEXT,
	FLIP_NEXT_LOOP,
	FLIP_HEADER_LEN,
	FLIP_STATUS_ADDRESS,
	FLIP_TYPE,
	FLIP_SECTOR,
	FLIP_HEAD,
	FLIP_AVAIL_INDEX,
	FLIP_USED_INDEX,
	FLIP_USED_EVENT,
	FLIP_TABLE_LEN,
	FLIP_TABLE_ADDRESS,
	FLIP_TABLE_ENTRY_LEN,
	FLIP_TABLE_ENTRY_FLAGS,
	FLIP_TABLE_ENTRY_NEXT,
};

static const struct {
	const char *name;
	enum target target;
} race_cases[] = {
	{ "length of the data", FLIP_LEN },
	{ "length of the data, to 0", FLIP_LEN_ZERO },
	{ "address of the data, out of RAM", FLIP_ADDRESS },
	{ "address of the data, to the registers", FLIP_ADDRESS_REGISTERS },
	{ "direction of the data", FLIP_FLAG_WRITE },
	{ "next flag of the data", FLIP_FLAG_NEXT },
	{ "indirect flag of the data", FLIP_FLAG_INDIRECT },
	{ "next of the header, out of range", FLIP_NEXT },
	{ "next of the header, to itself", FLIP_NEXT_LOOP },
	{ "length of the header", FLIP_HEADER_LEN },
	{ "address of the status", FLIP_STATUS_ADDRESS },
	{ "type, between read and write", FLIP_TYPE },
	{ "sector, behind the disk", FLIP_SECTOR },
	{ "head in the ring", FLIP_HEAD },
	{ "available index", FLIP_AVAIL_INDEX },
	{ "used index", FLIP_USED_INDEX },
	{ "used_event", FLIP_USED_EVENT },
	{ "length of an indirect table", FLIP_TABLE_LEN },
	{ "address of an indirect table", FLIP_TABLE_ADDRESS },
	{ "length in an indirect table", FLIP_TABLE_ENTRY_LEN },
	{ "flags in an indirect table", FLIP_TABLE_ENTRY_FLAGS },
	{ "next in an indirect table", FLIP_TABLE_ENTRY_NEXT },
};

static void aim(volatile void *at, unsigned width, uint64_t a, uint64_t b)
{
	flip = (struct flip){ .at = at, .width = width, .values = { a, b } };
}

static void aim_desc(unsigned target)
{
	volatile struct vring_desc *desc = victim.blk.vq.desc;
	uint64_t hole = victim.ram_end + MIB;
	uint64_t regs = victim.blk.dev->is_pci ? victim.blk.dev->common : victim.blk.dev->mmio;

	switch (target) {
	case FLIP_LEN:
		aim(&desc[1].len, 4, SECTOR, 0xfffffe00);
		break;
	case FLIP_LEN_ZERO:
		aim(&desc[1].len, 4, SECTOR, 0);
		break;
	case FLIP_ADDRESS:
		aim(&desc[1].addr, 8, desc[1].addr, hole);
		break;
	case FLIP_ADDRESS_REGISTERS:
		aim(&desc[1].addr, 8, desc[1].addr, regs);
		break;
	case FLIP_FLAG_WRITE:
		aim(&desc[1].flags, 2, desc[1].flags, DESC_NEXT);
		break;
	case FLIP_FLAG_NEXT:
		aim(&desc[1].flags, 2, desc[1].flags, DESC_WRITE);
		break;
	case FLIP_FLAG_INDIRECT:
		aim(&desc[1].flags, 2, desc[1].flags, DESC_NEXT | DESC_INDIRECT);
		break;
	case FLIP_NEXT:
		aim(&desc[0].next, 2, 1, 0xffff);
		break;
	case FLIP_NEXT_LOOP:
		aim(&desc[0].next, 2, 1, 0);
		break;
	case FLIP_HEADER_LEN:
		aim(&desc[0].len, 4, 16, 0xffffffff);
		break;
	case FLIP_STATUS_ADDRESS:
		aim(&desc[2].addr, 8, desc[2].addr, ~0ull);
		break;
	default:
		break;
	}
}

static void aim_at(unsigned target)
{
	struct vq *vq = &victim.blk.vq;

	switch (target) {
	case FLIP_TYPE:
		aim(&victim.blk.header->type, 4, BLK_IN, BLK_OUT);
		break;
	case FLIP_SECTOR:
		aim(&victim.blk.header->sector, 8, ZERO_SECTOR, victim.capacity);
		break;
	case FLIP_HEAD:
		aim(&vq->avail->ring[0], 2, 0, 0xffff);
		break;
	case FLIP_AVAIL_INDEX:
		aim(&vq->avail->idx, 2, 0, 0x8000);
		break;
	case FLIP_USED_INDEX:
		aim(&vq->used->ring[1].id, 4, 0xffffffff, 7);
		break;
	case FLIP_USED_EVENT:
		aim(vq_used_event(vq), 2, 0, 0xffff);
		break;
	case FLIP_TABLE_LEN:
		aim(&vq->desc[0].len, 4, 48, 0xfffffff0);
		break;
	case FLIP_TABLE_ADDRESS:
		aim(&vq->desc[0].addr, 8, (uint64_t)victim.table, ~0xfull);
		break;
	case FLIP_TABLE_ENTRY_LEN:
		aim(&victim.table[1].len, 4, SECTOR, 0xfffffe00);
		break;
	case FLIP_TABLE_ENTRY_FLAGS:
		aim(&victim.table[1].flags, 2, DESC_NEXT | DESC_WRITE, DESC_INDIRECT);
		break;
	case FLIP_TABLE_ENTRY_NEXT:
		aim(&victim.table[1].next, 2, 2, 0xffff);
		break;
	default:
		aim_desc(target);
		break;
	}
}

static void race_chain(bool is_indirect)
{
	struct part parts[] = {
		{ victim.blk.header, 16, false },
		{ victim.data, SECTOR, true },
		{ victim.blk.status, 1, true },
	};

	victim_header(BLK_IN, ZERO_SECTOR);
	if (is_indirect)
		vq_indirect(&victim.blk.vq, 0, victim.table, parts, 3);
	else
		vq_chain(&victim.blk.vq, 0, parts, 3);
}

/* One request under fire; Return: true while the queue still works */
static bool race_request(void)
{
	struct vring_used_elem elem;
	uint64_t deadline = time_deadline(5000);

	vq_push(&victim.blk.vq, 0);
	vq_kick(&victim.blk.vq);
	while (!vq_pending(&victim.blk.vq)) {
		if (time_passed(deadline))
			return false;
		if (vdev_status(victim.blk.dev) & STATUS_NEEDS_RESET)
			return false;
	}
	return vq_wait(&victim.blk.vq, 1, &elem);
}

/* Ends with DEVICE_NEEDS_RESET or with all requests answered; the checks after the case follow. */
static const char *race_round(enum target target)
{
	size_t mark = memory_mark();
	bool is_indirect = target >= FLIP_TABLE_LEN;
	unsigned n = 0;
	uint8_t status;

	EXPECT_OK(victim_start(is_indirect ? FEATURE_INDIRECT : FEATURE_EVENT_IDX));
	race_chain(is_indirect);
	aim_at(target);
	EXPECT_OK(partner_start(flip_run));
	while (n < ROUNDS / 8 && race_request())
		n++;
	EXPECT_OK(partner_stop());
	status = vdev_status(victim.blk.dev);
	EXPECT(status == 0xf || status == 0x4f, "status 0x%x", status);
	if (status == 0xf && target != FLIP_AVAIL_INDEX)
		EXPECT(n == ROUNDS / 8, "request %u was not answered", n);
	memory_release(mark);
	return NULL;
}

static const char *race_run(uint64_t target)
{
	if (partner == 0)
		return tap_skip("one CPU only");
	for (unsigned i = 0; i < 8; i++)
		EXPECT_OK(race_round((enum target)target));
	return NULL;
}

/* ---- both CPUs at the registers ---- */

static void other_resets(void *unused)
{
	(void)unused;
	while (!flip.is_over)
		vdev_set_status(victim.blk.dev, 0);
}

static void other_kicks(void *unused)
{
	(void)unused;
	while (!flip.is_over)
		vdev_kick(victim.blk.dev, 0);
}

static void other_reads_config(void *unused)
{
	(void)unused;
	while (!flip.is_over)
		(void)blk_capacity(victim.blk.dev);
}

static void other_writes_config(void *unused)
{
	(void)unused;
	for (uint32_t i = 0; !flip.is_over; i++)
		mmio_write32(victim.blk.dev->config + (i * 4) % 64, i);
}

static void other_writes_queue(void *unused)
{
	(void)unused;
	while (!flip.is_over)
		vdev_queue_enable(victim.blk.dev, 0, 8, 0x1000, 0x2000, 0x3000);
}

static void other_writes_status(void *unused)
{
	uint64_t seed = 5;

	(void)unused;
	while (!flip.is_over)
		vdev_set_status(victim.blk.dev, (uint8_t)random_next(&seed));
}

static void (*const others[])(void *) = {
	other_resets,	     other_kicks,	  other_reads_config,
	other_writes_config, other_writes_queue, other_writes_status,
};

static const char *const other_names[] = {
	"resets", "kicks", "reads of config space", "writes to config space", "queue settings",
	"wild status writes",
};

/* One CPU starts the device and uses it while the other one does something at the same time. */
static const char *registers_together(uint64_t i)
{
	bool is_harmless = others[i] == other_kicks || others[i] == other_reads_config ||
			   others[i] == other_writes_config;
	size_t mark = memory_mark();
	unsigned good = 0;

	flip = (struct flip){ .is_over = false };
	EXPECT_OK(partner_start(others[i]));
	for (unsigned round = 0; round < 40; round++) {
		struct vring_used_elem elem;

		if (!blk_start(&victim.blk, victim.blk.dev, 0, VICTIM_QUEUE_SIZE))
			continue;
		race_chain(false);
		vq_push(&victim.blk.vq, 0);
		vq_kick(&victim.blk.vq);
		good += vq_wait(&victim.blk.vq, is_harmless ? TIMEOUT_REQUEST : 2, &elem);
		memory_release(mark);
	}
	EXPECT_OK(partner_stop());
	EXPECT(!is_harmless || good == 40, "%u of 40 requests were answered", good);
	return NULL;
}

/* The other CPU resets the victim; this one uses the other disk meanwhile (checked behind). */
static const char *reset_with_requests(uint64_t rounds)
{
	if (partner == 0)
		return tap_skip("one CPU only");
	for (uint64_t i = 0; i < rounds; i++) {
		size_t mark = memory_mark();

		EXPECT_OK(victim_start(0));
		race_chain(false);
		flip = (struct flip){ .is_over = false };
		EXPECT_OK(partner_start(other_resets));
		for (unsigned k = 0; k < 50; k++) {
			vq_push(&victim.blk.vq, 0);
			vq_kick(&victim.blk.vq);
		}
		EXPECT_OK(partner_stop());
		EXPECT(vdev_reset(victim.blk.dev), "no reset in round %lu", i);
		memory_release(mark);
	}
	return NULL;
}

void hostile_race(void)
{
	partner = hostile_partner();
	for (unsigned i = 0; i < ARRAY_LEN(race_cases); i++)
		hostile_case(race_run, race_cases[i].target, "2.7.13, row 6", "race, %s",
			     race_cases[i].name);
	for (unsigned i = 0; i < ARRAY_LEN(others); i++)
		hostile_case(registers_together, i, "4.2.2, row 22", "race, %s by the other CPU",
			     other_names[i]);
	hostile_case(reset_with_requests, 20, "2.4, row 22", "race, resets under requests");
}
