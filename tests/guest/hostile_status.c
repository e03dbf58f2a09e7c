/* SPDX-License-Identifier: Apache-2.0 */
/* The device status field and feature negotiation in wrong order; VIRTIO 1.2 §2.1, §2.2, §3.1. */
#include "hostile.h"

#define A STATUS_ACKNOWLEDGE
#define D STATUS_DRIVER
#define F STATUS_FEATURES_OK
#define O STATUS_DRIVER_OK
#define X STATUS_FAILED
#define NR STATUS_NEEDS_RESET
#define ACCEPT 0x1000u /* writes VERSION_1 to the driver's features */
#define END 0x2000u

struct status_case {
	const char *name, *rule;
	uint32_t writes[8]; /* END behind the last */
	uint8_t result;
};

static const struct status_case status_cases[] = {
	{ "DRIVER before ACKNOWLEDGE", "3.1.1", { D, END }, 0 },
	{ "FEATURES_OK first", "3.1.1", { F, END }, 0 },
	{ "DRIVER_OK first", "3.1.1", { O, END }, 0 },
	{ "FAILED first", "3.1.1", { X, END }, X },
	{ "FEATURES_OK without DRIVER", "3.1.1", { A, A | F, END }, A },
	{ "DRIVER_OK without FEATURES_OK", "3.1.1", { A, A | D, ACCEPT, A | D | O, END }, A | D },
	{ "DRIVER_OK after ACKNOWLEDGE", "3.1.1", { A, A | O, END }, A },
	{ "all bits at once, without features", "3.1.1", { A | D | F | O, END }, A | D },
	{ "FEATURES_OK without VERSION_1", "6.1", { A, A | D, A | D | F, END }, A | D },
	{ "features before DRIVER", "3.1.1", { A, ACCEPT, A | D, A | D | F, END }, A | D },
	{ "features before ACKNOWLEDGE", "3.1.1", { ACCEPT, A, A | D, A | D | F, END }, A | D },
	{ "ACKNOWLEDGE is cleared", "2.1.1", { A, A | D, D, END }, A | D },
	{ "DRIVER is cleared", "2.1.1", { A, A | D, A, END }, A | D },
	{ "FEATURES_OK is cleared", "2.1.1", { A, A | D, ACCEPT, A | D | F, A | D, END },
	  A | D | F },
	{ "DRIVER_OK is cleared", "2.1.1",
	  { A, A | D, ACCEPT, A | D | F, A | D | F | O, A | D | F, END }, A | D | F | O },
	{ "FAILED is cleared", "2.1.1", { A, A | X, A, END }, A | X },
	{ "DRIVER after FAILED", "2.1.1", { A, A | X, A | X | D, END }, A | X },
	{ "DRIVER_OK after FAILED", "2.1.1",
	  { A, A | D, ACCEPT, A | D | F, A | D | F | X, A | D | F | X | O, END },
	  A | D | F | X },
	{ "the driver sets DEVICE_NEEDS_RESET", "2.1.2", { A, A | NR, END }, A },
	{ "reserved bits", "2.1", { A, A | 0x30, END }, A },
	{ "bit 8, which is not the lowest byte's", "2.1", { A, A | 0x100, END }, A },
	{ "all ones", "2.1", { 0xffffffff, END }, A | D | X },
	{ "a multiple of 256 is no reset", "2.4", { A, 0x100, END }, A },
	{ "reset in the middle", "2.4", { A, A | D, ACCEPT, A | D | F, 0, END }, 0 },
	{ "features do not outlive a reset", "2.4",
	  { A, A | D, ACCEPT, 0, A, A | D, A | D | F, END }, A | D },
	{ "ACKNOWLEDGE twice", "3.1.1", { A, A, END }, A },
};

static void accept_version_1(void)
{
	vdev_accept(victim.blk.dev, FEATURE_VERSION_1);
}

static const char *status_run(uint64_t i)
{
	const struct status_case *c = &status_cases[i];
	struct vdev *dev = victim.blk.dev;

	EXPECT(vdev_reset(dev), "no reset");
	for (const uint32_t *w = c->writes; *w != END; w++) {
		if (dev->is_pci && *w == 0x100)
			return tap_skip("virtio-mmio only"); /* the field has 8 bits */
		if (*w == ACCEPT)
			accept_version_1();
		else if (dev->is_pci)
			mmio_write8(dev->common + 0x14, (uint8_t)*w);
		else
			mmio_write32(dev->mmio + MMIO_STATUS, *w);
	}
	EXPECT(vdev_status(dev) == c->result, "status 0x%x, not 0x%x", vdev_status(dev),
	       c->result);
	return NULL;
}

/* Features that come late have no effect: indirect descriptors stay forbidden. */
static const char *features_late(uint64_t status)
{
	EXPECT_OK(victim_start(0));
	(void)status;
	vdev_accept(victim.blk.dev, FEATURE_VERSION_1 | FEATURE_INDIRECT);
	EXPECT_OK(victim_good_request());
	vq_desc(&victim.blk.vq, 0, victim.table, 48, DESC_INDIRECT, 0);
	vq_push(&victim.blk.vq, 0);
	vq_kick(&victim.blk.vq);
	return victim_needs_reset();
}

static const char *features_late_dropped(uint64_t unused)
{
	struct blk *blk = &victim.blk;

	(void)unused;
	EXPECT(vdev_start(blk->dev, FEATURE_EVENT_IDX), "no start");
	vdev_accept(blk->dev, 0);
	vq_make(&blk->vq, blk->dev, 0, VICTIM_QUEUE_SIZE);
	blk->header = memory_alloc(16, 16);
	blk->status = memory_alloc(1, 16);
	vq_enable(&blk->vq);
	vdev_driver_ok(blk->dev);
	EXPECT(vdev_status(blk->dev) == 0xf, "status 0x%x", vdev_status(blk->dev));
	return victim_good_request();
}

static const char *features_refused(uint64_t features)
{
	struct vdev *dev = victim.blk.dev;

	EXPECT(vdev_reset(dev), "no reset");
	vdev_set_status(dev, A);
	vdev_set_status(dev, A | D);
	if ((features | FEATURE_VERSION_1) == (features & vdev_offered(dev)))
		return tap_skip("offered");
	vdev_accept(dev, features);
	vdev_set_status(dev, A | D | F);
	EXPECT(vdev_status(dev) == (A | D), "status 0x%x", vdev_status(dev));
	/* DRIVER_OK does not follow by force. */
	vdev_set_status(dev, A | D | F | O);
	EXPECT(vdev_status(dev) == (A | D), "status 0x%x", vdev_status(dev));
	return NULL;
}

static const char *features_beyond(uint64_t select)
{
	struct vdev *dev = victim.blk.dev;
	uint64_t at = dev->is_pci ? dev->common + 8 : dev->mmio + MMIO_DRIVER_FEATURES_SEL;
	uint64_t value_at = dev->is_pci ? dev->common + 12 : dev->mmio + MMIO_DRIVER_FEATURES;

	EXPECT(vdev_reset(dev), "no reset");
	vdev_set_status(dev, A);
	vdev_set_status(dev, A | D);
	accept_version_1();
	mmio_write32(at, (uint32_t)select);
	mmio_write32(value_at, 1);
	vdev_set_status(dev, A | D | F);
	EXPECT(vdev_status(dev) == (A | D), "status 0x%x", vdev_status(dev));
	return NULL;
}

static const char *features_corrected(uint64_t unused)
{
	struct vdev *dev = victim.blk.dev;

	(void)unused;
	EXPECT_OK(features_refused(~0ull));
	vdev_accept(dev, FEATURE_VERSION_1);
	vdev_set_status(dev, A | D | F);
	EXPECT(vdev_status(dev) == (A | D | F), "status 0x%x", vdev_status(dev));
	return NULL;
}

static const char *driver_ok_twice(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(victim_start(0));
	EXPECT_OK(victim_good_request());
	for (unsigned i = 0; i < 10; i++)
		vdev_driver_ok(victim.blk.dev);
	return victim_good_request();
}

/* FAILED on a running device: it stays as it is until reset. */
static const char *failed_while_running(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(victim_start(0));
	EXPECT_OK(victim_good_request());
	vdev_set_status(victim.blk.dev, A | D | F | O | X);
	EXPECT(vdev_status(victim.blk.dev) == (A | D | F | O | X), "status 0x%x",
	       vdev_status(victim.blk.dev));
	return NULL;
}

static const char *driver_ok_without_queue(uint64_t unused)
{
	(void)unused;
	EXPECT(vdev_start(victim.blk.dev, 0), "no start");
	vdev_driver_ok(victim.blk.dev);
	vdev_kick(victim.blk.dev, 0);
	EXPECT(vdev_status(victim.blk.dev) == 0xf, "status 0x%x", vdev_status(victim.blk.dev));
	return NULL;
}

static const char *needs_reset_sticks(uint64_t unused)
{
	struct vdev *dev = victim.blk.dev;

	(void)unused;
	EXPECT_OK(victim_start(0));
	vq_push(&victim.blk.vq, 0xffff);
	vq_kick(&victim.blk.vq);
	EXPECT_OK(victim_needs_reset());
	vdev_set_status(dev, A | D | F | O);
	EXPECT(vdev_status(dev) & NR, "a write of DRIVER_OK cleared it");
	vdev_set_status(dev, A);
	EXPECT(vdev_status(dev) & NR, "a write of ACKNOWLEDGE cleared it");
	return NULL;
}

static const char *reset_storm(uint64_t n)
{
	EXPECT_OK(victim_start(0));
	for (uint64_t i = 0; i < n; i++)
		vdev_set_status(victim.blk.dev, 0);
	EXPECT(vdev_reset(victim.blk.dev), "no reset");
	return NULL;
}

/* Status goes through all values in a fixed wild order; it may end anywhere but not hang. */
static const char *status_walk(uint64_t seed)
{
	for (unsigned i = 0; i < 500; i++) {
		uint8_t value = (uint8_t)random_next(&seed);

		if (i % 7 == 0)
			accept_version_1();
		vdev_set_status(victim.blk.dev, value);
		(void)vdev_status(victim.blk.dev);
	}
	return NULL;
}

void hostile_status(void)
{
	for (unsigned i = 0; i < ARRAY_LEN(status_cases); i++)
		hostile_case(status_run, i, status_cases[i].rule, "status, %s",
			     status_cases[i].name);
	hostile_case(features_late, 0, "3.1.1, row 3", "features, added after DRIVER_OK");
	hostile_case(features_late_dropped, 0, "3.1.1, row 3", "features, dropped after FEATURES_OK");
	hostile_case(features_refused, ~0ull, "2.2.2, row 17", "features, all 64 bits");
	hostile_case(features_refused, FEATURE_VERSION_1 | FEATURE_RING_PACKED, "2.2.2",
		     "features, packed ring, not offered");
	hostile_case(features_refused, FEATURE_VERSION_1 | 1ull << 40, "2.2.2",
		     "features, queue reset, not offered");
	hostile_case(features_refused, FEATURE_VERSION_1 | 1ull << 33, "2.2.2",
		     "features, access platform, not offered");
	hostile_case(features_refused, FEATURE_INDIRECT, "6.1",
		     "features, indirect without VERSION_1");
	hostile_case(features_beyond, 2, "2.2", "features, bit 64");
	hostile_case(features_beyond, 0xffffffff, "2.2, row 2", "features, word 2^32 - 1");
	hostile_case(features_corrected, 0, "3.1.1", "features, refused, then corrected");
	hostile_case(driver_ok_twice, 0, "3.1.1", "status, DRIVER_OK ten times");
	hostile_case(failed_while_running, 0, "2.1", "status, FAILED while running");
	hostile_case(driver_ok_without_queue, 0, "3.1.1", "status, DRIVER_OK without a queue");
	hostile_case(needs_reset_sticks, 0, "2.1.2", "status, DEVICE_NEEDS_RESET sticks");
	hostile_case(reset_storm, 500, "2.4, row 22", "status, 500 resets in a row");
	hostile_case(status_walk, 1, "2.1", "status, 500 wild writes");
}
