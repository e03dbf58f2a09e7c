/* SPDX-License-Identifier: Apache-2.0 */
/* Status and feature negotiation, VIRTIO 1.2 §2.1, §2.2, §3.1. */
#include "conformance.h"

#define NEGOTIATED (STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK)

static const char *status_after_reset(uint64_t unused)
{
	(void)unused;
	EXPECT(vdev_reset(disk), "status stays 0x%x", vdev_status(disk));
	EXPECT(vdev_interrupt(disk) == 0, "interrupt status 0x%x", vdev_interrupt(disk));
	for (uint16_t q = 0; q < 64 && vdev_queue_max(disk, q); q++)
		EXPECT(!vdev_queue_is_enabled(disk, q), "queue %u is enabled", q);
	return NULL;
}

static const char *status_reads_back(uint64_t unused)
{
	static const uint8_t steps[] = { STATUS_ACKNOWLEDGE, STATUS_ACKNOWLEDGE | STATUS_DRIVER };

	(void)unused;
	EXPECT(vdev_reset(disk), "no reset");
	for (unsigned i = 0; i < ARRAY_LEN(steps); i++) {
		vdev_set_status(disk, steps[i]);
		EXPECT(vdev_status(disk) == steps[i], "wrote 0x%x, read 0x%x", steps[i],
		       vdev_status(disk));
	}
	return NULL;
}

static const char *status_failed(uint64_t unused)
{
	uint8_t failed = STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FAILED;

	(void)unused;
	EXPECT(vdev_reset(disk), "no reset");
	vdev_set_status(disk, STATUS_ACKNOWLEDGE);
	vdev_set_status(disk, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
	vdev_set_status(disk, failed);
	EXPECT(vdev_status(disk) == failed, "wrote 0x%x, read 0x%x", failed, vdev_status(disk));
	return disk_restart_works(disk, 0);
}

static const char *features_are_modern(uint64_t unused)
{
	uint64_t offered;

	(void)unused;
	EXPECT(vdev_reset(disk), "no reset");
	offered = vdev_offered(disk);
	EXPECT(offered & FEATURE_VERSION_1, "offered 0x%lx", offered);
	EXPECT(vdev_offered(disk) == offered, "offered 0x%lx, then 0x%lx", offered,
	       vdev_offered(disk));
	return NULL;
}

/* §4.2.2.1, §4.1.4.3.1: words beyond the second hold no feature today. */
static const char *features_beyond(uint64_t select)
{
	uint32_t bits;

	if (disk->is_pci) {
		mmio_write32(disk->common, (uint32_t)select);
		bits = mmio_read32(disk->common + 4);
	} else {
		mmio_write32(disk->mmio + MMIO_DEVICE_FEATURES_SEL, (uint32_t)select);
		bits = mmio_read32(disk->mmio + MMIO_DEVICE_FEATURES);
	}
	EXPECT(bits == 0, "word %lu is 0x%x", select, bits);
	return NULL;
}

static const char *features_exactly(uint64_t features)
{
	struct blk blk;

	EXPECT(blk_start(&blk, disk, features, 16), "not accepted: status 0x%x",
	       vdev_status(disk));
	return disk_read_works(&blk);
}

static const char *features_unknown(uint64_t bit)
{
	uint8_t status;

	EXPECT(vdev_reset(disk), "no reset");
	vdev_set_status(disk, STATUS_ACKNOWLEDGE);
	vdev_set_status(disk, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
	if (vdev_offered(disk) >> bit & 1)
		return tap_skip("offered");
	vdev_accept(disk, FEATURE_VERSION_1 | 1ull << bit);
	vdev_set_status(disk, NEGOTIATED);
	status = vdev_status(disk);
	EXPECT(!(status & STATUS_FEATURES_OK), "FEATURES_OK sticks: status 0x%x", status);
	return disk_restart_works(disk, 0);
}

/* After a refusal the driver may offer less and ask again, §3.1.1. */
static const char *features_again(uint64_t unused)
{
	struct blk blk;

	(void)unused;
	EXPECT(vdev_start(disk, 0), "no start");
	EXPECT(vdev_start(disk, ~0ull), "all offered features are refused");
	EXPECT(blk_start(&blk, disk, FEATURE_INDIRECT, 8), "no start with fewer");
	return disk_read_works(&blk);
}

void conformance_negotiation(void)
{
	static const uint8_t unknown[] = { 3, 7, 8, 23, 27, 31, 34, 41, 50, 63 };
	uint64_t offered;

	tap_case(status_after_reset, 0, "status is 0 after reset");
	tap_case(status_reads_back, 0, "status reads back as written");
	tap_case(status_failed, 0, "FAILED is kept until reset");
	tap_case(features_are_modern, 0, "VERSION_1 is offered and offers are stable");
	tap_case(features_beyond, 2, "feature word 2 is empty");
	tap_case(features_beyond, 0xffffffff, "feature word 4294967295 is empty");
	vdev_reset(disk);
	offered = vdev_offered(disk);
	tap_case(features_exactly, 0, "VERSION_1 alone is enough");
	tap_case(features_exactly, ~0ull, "everything offered is accepted");
	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t feature = 1ull << bit;

		if (!(offered & feature) || feature == FEATURE_VERSION_1)
			continue;
		tap_case(features_exactly, feature, "feature %u alone", bit);
		tap_case(features_exactly, ~feature, "all features but %u", bit);
	}
	for (unsigned i = 0; i < ARRAY_LEN(unknown); i++)
		tap_case(features_unknown, unknown[i], "unoffered feature %u is refused",
			 unknown[i]);
	tap_case(features_again, 0, "negotiation can be repeated");
}
