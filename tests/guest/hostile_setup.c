/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queue settings that break VIRTIO 1.2 §2.7 or §4.2.2.2: a queue that cannot work does not become
 * ready, and what was settled at DRIVER_OK stays settled. Row 3 and row 12.
 */
#include "hostile.h"

#define RINGS_BYTES 8192

enum area {
	AREA_DESC,
	AREA_AVAIL,
	AREA_USED,
};

/* Where one area is put, relative to something; the others are good. */
enum anchor {
	GOOD, /* its own good place */
	RAM_END,
	HOLE,
	TOP, /* 2^64 */
	HUGE_ADDRESS,
	REGISTERS,
	DESC_START,
	AVAIL_START,
	USED_START,
};

struct setup_case {
	const char *name, *rule;
	enum area area;
	enum anchor anchor;
	int64_t offset;
	uint32_t size;
	bool is_accepted;
};

#define PLACES(area, what)                                                                         \
	{ what " outside RAM", "2.7, row 12", area, HOLE, 0, 16, false },                          \
	{ what " across the end of RAM", "2.7, row 12", area, RAM_END, -16, 16, false },           \
	{ what " right behind RAM", "2.7, row 12", area, RAM_END, 0, 16, false },                  \
	{ what " wraps through 2^64", "2.7, row 12", area, TOP, -16, 16, false },                  \
	{ what " at a huge address", "2.7, row 12", area, HUGE_ADDRESS, 0, 16, false },            \
	{ what " in the device's registers", "2.7, row 23", area, REGISTERS, 0, 16, false }

static const struct setup_case setup_cases[] = {
	PLACES(AREA_DESC, "descriptor table"),
	PLACES(AREA_AVAIL, "available ring"),
	PLACES(AREA_USED, "used ring"),
	{ "descriptor table misaligned by 8", "2.7, row 3", AREA_DESC, GOOD, 8, 16, false },
	{ "descriptor table misaligned by 1", "2.7, row 3", AREA_DESC, GOOD, 1, 16, false },
	{ "available ring misaligned by 1", "2.7, row 3", AREA_AVAIL, GOOD, 1, 16, false },
	{ "used ring misaligned by 2", "2.7, row 3", AREA_USED, GOOD, 2, 16, false },
	{ "used ring misaligned by 1", "2.7, row 3", AREA_USED, GOOD, 1, 16, false },
	{ "available ring is the descriptor table", "2.7, row 3", AREA_AVAIL, DESC_START, 0, 16,
	  false },
	{ "used ring is the descriptor table", "2.7, row 3", AREA_USED, DESC_START, 0, 16, false },
	{ "used ring is the available ring", "2.7, row 3", AREA_USED, AVAIL_START, 0, 16, false },
	{ "available ring starts in the last descriptor", "2.7, row 3", AREA_AVAIL, DESC_START,
	  254, 16, false },
	{ "available ring ends in the first descriptor", "2.7, row 3", AREA_AVAIL, DESC_START,
	  -36, 16, false },
	{ "used ring starts in used_event", "2.7, row 3", AREA_USED, AVAIL_START, 36, 16, false },
	{ "used ring ends in the available ring", "2.7, row 3", AREA_USED, AVAIL_START, -132, 16,
	  false },
	{ "used ring starts in the last descriptor", "2.7, row 3", AREA_USED, DESC_START, 252, 16,
	  false },
	{ "queue of size 0", "2.7, row 3", AREA_DESC, GOOD, 0, 0, false },
	{ "queue of size 3", "2.7, row 3", AREA_DESC, GOOD, 0, 3, false },
	{ "queue of size 65536", "2.7, row 3", AREA_DESC, GOOD, 0, 0x10000, false },
	{ "queue of size 65552", "2.7, row 3", AREA_DESC, GOOD, 0, 0x10010, false },
	{ "queue of size 2^31", "2.7, row 3", AREA_DESC, GOOD, 0, 0x80000000, false },
	{ "queue of size 2^32 - 1", "2.7, row 3", AREA_DESC, GOOD, 0, 0xffffffff, false },
	{ "descriptor table up to the end of RAM", "2.7", AREA_DESC, RAM_END, -256, 16, true },
	{ "available ring up to the end of RAM", "2.7", AREA_AVAIL, RAM_END, -38, 16, true },
	{ "used ring up to the end of RAM", "2.7", AREA_USED, RAM_END, -136, 16, true },
	{ "available ring right behind the descriptors", "2.7", AREA_AVAIL, DESC_START, 256, 16,
	  true },
};

struct setup {
	uint64_t at[3];
};

static void setup_rings(struct setup *s)
{
	for (unsigned i = 0; i < 3; i++)
		s->at[i] = (uint64_t)memory_alloc(RINGS_BYTES, 4096) + 1024;
}

static uint64_t setup_anchor(const struct setup *s, const struct setup_case *c)
{
	switch (c->anchor) {
	case RAM_END:
		return victim.ram_end;
	case HOLE:
		return victim.ram_end + 16 * MIB;
	case TOP:
		return 0;
	case HUGE_ADDRESS:
		return 1ull << 62;
	case REGISTERS:
		return victim.blk.dev->is_pci ? victim.blk.dev->common : victim.blk.dev->mmio;
	case DESC_START:
		return s->at[AREA_DESC];
	case AVAIL_START:
		return s->at[AREA_AVAIL];
	case USED_START:
		return s->at[AREA_USED];
	case GOOD:
		break;
	}
	return s->at[c->area];
}

/* A read through rings at any place */
static const char *setup_works(const struct setup *s, uint16_t size)
{
	victim.blk.vq = (struct vq){
		.dev = victim.blk.dev,
		.size = size,
		.desc = (void *)s->at[AREA_DESC],
		.avail = (void *)s->at[AREA_AVAIL],
		.used = (void *)s->at[AREA_USED],
	};
	victim.blk.header = memory_alloc(16, 16);
	victim.blk.status = memory_alloc(1, 16);
	return victim_good_request();
}

static const char *setup_run(uint64_t i)
{
	const struct setup_case *c = &setup_cases[i];
	struct setup s;

	EXPECT(vdev_start(victim.blk.dev, 0), "no start");
	setup_rings(&s);
	s.at[c->area] = setup_anchor(&s, c) + (uint64_t)c->offset;
	vdev_queue_enable(victim.blk.dev, 0, c->size, s.at[0], s.at[1], s.at[2]);
	EXPECT(vdev_queue_is_enabled(victim.blk.dev, 0) == c->is_accepted, "the queue is%s ready",
	       c->is_accepted ? " not" : "");
	vdev_driver_ok(victim.blk.dev);
	vdev_kick(victim.blk.dev, 0);
	EXPECT(vdev_status(victim.blk.dev) == 0xf, "status 0x%x", vdev_status(victim.blk.dev));
	return c->is_accepted ? setup_works(&s, (uint16_t)c->size) : NULL;
}

static const char *setup_too_large(uint64_t unused)
{
	struct setup s;

	(void)unused;
	EXPECT(vdev_start(victim.blk.dev, 0), "no start");
	setup_rings(&s);
	vdev_queue_enable(victim.blk.dev, 0, vdev_queue_max(victim.blk.dev, 0) * 2u, s.at[0],
			  s.at[1], s.at[2]);
	EXPECT(!vdev_queue_is_enabled(victim.blk.dev, 0), "the queue is ready");
	return NULL;
}

/* The driver takes the bad setting back and corrects it, without a reset. */
static const char *setup_corrected(uint64_t unused)
{
	struct setup s;

	(void)unused;
	EXPECT(vdev_start(victim.blk.dev, 0), "no start");
	setup_rings(&s);
	vdev_queue_enable(victim.blk.dev, 0, 3, s.at[0] + 1, s.at[1], victim.ram_end);
	EXPECT(!vdev_queue_is_enabled(victim.blk.dev, 0), "the queue is ready");
	vdev_queue_enable(victim.blk.dev, 0, 16, s.at[0], s.at[1], s.at[2]);
	EXPECT(vdev_queue_is_enabled(victim.blk.dev, 0), "the corrected queue is not ready");
	vdev_driver_ok(victim.blk.dev);
	return setup_works(&s, 16);
}

static const char *setup_before_features_ok(uint64_t unused)
{
	struct setup s;

	(void)unused;
	EXPECT(vdev_reset(victim.blk.dev), "no reset");
	setup_rings(&s);
	vdev_set_status(victim.blk.dev, STATUS_ACKNOWLEDGE);
	vdev_set_status(victim.blk.dev, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
	vdev_queue_enable(victim.blk.dev, 0, 16, s.at[0], s.at[1], s.at[2]);
	EXPECT(!vdev_queue_is_enabled(victim.blk.dev, 0), "the queue is ready");
	return NULL;
}

/* How cases of virtio-mmio's own registers begin: with a queue, before DRIVER_OK. */
static const char *mmio_queue_enabled(struct setup *s)
{
	if (victim.blk.dev->is_pci)
		return tap_skip("virtio-mmio only");
	EXPECT(vdev_start(victim.blk.dev, 0), "no start");
	setup_rings(s);
	vdev_queue_enable(victim.blk.dev, 0, 16, s->at[0], s->at[1], s->at[2]);
	return NULL;
}

static const char *setup_unknown_queue(uint64_t queue)
{
	uint64_t at = victim.blk.dev->mmio;
	struct setup s;

	EXPECT_OK(mmio_queue_enabled(&s));
	mmio_write32(at + MMIO_QUEUE_SEL, (uint32_t)queue);
	EXPECT(mmio_read32(at + MMIO_QUEUE_NUM_MAX) == 0, "QueueNumMax is not 0");
	for (uint32_t reg = MMIO_QUEUE_DESC_LOW; reg <= MMIO_QUEUE_DEVICE_HIGH; reg += 4)
		mmio_write32(at + reg, 0x41414140);
	mmio_write32(at + MMIO_QUEUE_NUM, 8);
	mmio_write32(at + MMIO_QUEUE_READY, 1);
	EXPECT(mmio_read32(at + MMIO_QUEUE_READY) == 0, "QueueReady is not 0");
	EXPECT(vdev_queue_is_enabled(victim.blk.dev, 0), "queue 0 was changed");
	vdev_driver_ok(victim.blk.dev);
	return setup_works(&s, 16);
}

/* A register of the running queue is overwritten, before or after DRIVER_OK. */
struct frozen_case {
	const char *name;
	uint32_t reg;
	uint32_t value;
};

static const struct frozen_case frozen_cases[] = {
	{ "queue size", MMIO_QUEUE_NUM, 1024 },
	{ "queue size 0", MMIO_QUEUE_NUM, 0 },
	{ "descriptor address", MMIO_QUEUE_DESC_LOW, 0x1000 },
	{ "descriptor address, upper half", MMIO_QUEUE_DESC_HIGH, 0x80000000 },
	{ "available address", MMIO_QUEUE_DRIVER_LOW, 0x1000 },
	{ "available address, upper half", MMIO_QUEUE_DRIVER_HIGH, 0x80000000 },
	{ "used address", MMIO_QUEUE_DEVICE_LOW, 0x1000 },
	{ "used address, upper half", MMIO_QUEUE_DEVICE_HIGH, 0x80000000 },
};

static const char *frozen_run(uint64_t argument)
{
	const struct frozen_case *c = &frozen_cases[argument & 0xff];
	bool is_running = argument >> 8;
	uint64_t at = victim.blk.dev->mmio;
	struct setup s;

	EXPECT_OK(mmio_queue_enabled(&s));
	if (is_running)
		vdev_driver_ok(victim.blk.dev);
	mmio_write32(at + c->reg, c->value);
	EXPECT(vdev_queue_is_enabled(victim.blk.dev, 0), "the queue is no longer ready");
	if (!is_running)
		vdev_driver_ok(victim.blk.dev);
	return setup_works(&s, 16);
}

static const char *ready_after_driver_ok(uint64_t value)
{
	uint64_t at = victim.blk.dev->mmio;

	if (victim.blk.dev->is_pci)
		return tap_skip("virtio-mmio only");
	EXPECT_OK(victim_start(0));
	mmio_write32(at + MMIO_QUEUE_READY, (uint32_t)value);
	EXPECT(mmio_read32(at + MMIO_QUEUE_READY) == 1, "the queue is no longer ready");
	return victim_good_request();
}

static const char *ready_with_odd_value(uint64_t value)
{
	uint64_t at = victim.blk.dev->mmio;
	struct setup s;

	EXPECT_OK(mmio_queue_enabled(&s));
	mmio_write32(at + MMIO_QUEUE_READY, 0);
	mmio_write32(at + MMIO_QUEUE_READY, (uint32_t)value);
	EXPECT(mmio_read32(at + MMIO_QUEUE_READY) == 0, "the queue is ready");
	return NULL;
}

static const char *enable_after_driver_ok(uint64_t unused)
{
	struct setup s;

	(void)unused;
	EXPECT(vdev_start(victim.blk.dev, 0), "no start");
	vdev_driver_ok(victim.blk.dev);
	setup_rings(&s);
	vdev_queue_enable(victim.blk.dev, 0, 16, s.at[0], s.at[1], s.at[2]);
	EXPECT(!vdev_queue_is_enabled(victim.blk.dev, 0), "the queue is ready");
	vdev_kick(victim.blk.dev, 0);
	EXPECT(vdev_status(victim.blk.dev) == 0xf, "status 0x%x", vdev_status(victim.blk.dev));
	return NULL;
}

/* Rings of two queues on top of each other: the guest's own mess; the device stays in RAM. */
static const char *queues_share_rings(uint64_t unused)
{
	struct setup s;

	(void)unused;
	EXPECT(vdev_start(victim.blk.dev, BLK_F_MQ), "no start");
	if (vdev_queue_max(victim.blk.dev, 1) == 0)
		return tap_skip("one queue only");
	setup_rings(&s);
	for (uint16_t q = 0; q < 2; q++)
		vdev_queue_enable(victim.blk.dev, q, 16, s.at[0], s.at[1], s.at[2]);
	vdev_driver_ok(victim.blk.dev);
	return setup_works(&s, 16);
}

void hostile_setup(void)
{
	for (unsigned i = 0; i < ARRAY_LEN(setup_cases); i++) {
		/* virtio-pci's register has 16 bits: a larger number with some of them is another. */
		if (victim.blk.dev->is_pci && setup_cases[i].size > 0xffff &&
		    (setup_cases[i].size & 0xffff) == 16)
			continue;
		hostile_case(setup_run, i, setup_cases[i].rule, "setup, %s", setup_cases[i].name);
	}
	hostile_case(setup_too_large, 0, "4.2.2.2, row 3", "setup, twice the maximum size");
	hostile_case(setup_corrected, 0, "4.2.2.2", "setup, a bad queue is corrected");
	hostile_case(setup_before_features_ok, 0, "3.1.1, row 3", "setup, before FEATURES_OK");
	hostile_case(setup_unknown_queue, 200, "4.2.2.2, row 2", "setup, of queue 200");
	hostile_case(setup_unknown_queue, 0x10000, "4.2.2.2, row 2", "setup, of queue 65536");
	hostile_case(setup_unknown_queue, 0xffffffff, "4.2.2.2, row 2", "setup, of queue 2^32 - 1");
	for (unsigned i = 0; i < ARRAY_LEN(frozen_cases); i++)
		hostile_case(frozen_run, i, "4.2.2.2, row 3", "setup, ready queue, new %s",
			     frozen_cases[i].name);
	for (unsigned i = 0; i < ARRAY_LEN(frozen_cases); i++)
		hostile_case(frozen_run, i | 1 << 8, "4.2.2.2, row 3",
			     "setup, after DRIVER_OK, new %s", frozen_cases[i].name);
	hostile_case(ready_after_driver_ok, 0, "4.2.2.2, row 3", "setup, ready 0 after DRIVER_OK");
	hostile_case(ready_after_driver_ok, 1, "4.2.2.2", "setup, ready 1 after DRIVER_OK");
	hostile_case(ready_with_odd_value, 2, "4.2.2.2", "setup, ready 2");
	hostile_case(ready_with_odd_value, 0xffffffff, "4.2.2.2", "setup, ready 2^32 - 1");
	hostile_case(enable_after_driver_ok, 0, "3.1.1, row 3", "setup, first queue too late");
	hostile_case(queues_share_rings, 0, "2.7", "setup, two queues share their rings");
}
