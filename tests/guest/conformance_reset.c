/* SPDX-License-Identifier: Apache-2.0 */
/* Reset at any moment, and what it leaves behind: nothing. VIRTIO 1.2 §2.4. */
#include "conformance.h"

#define N_IN_FLIGHT 40 /* three descriptors each, in a queue of 128 */
#define MARK 0xa7

enum moment {
	AFTER_RESET,
	AFTER_ACKNOWLEDGE,
	AFTER_DRIVER,
	AFTER_FEATURES,
	AFTER_FEATURES_OK,
	AFTER_QUEUE,
	AFTER_DRIVER_OK,
	AFTER_REQUEST,
};

static const char *const moments[] = {
	"reset", "ACKNOWLEDGE", "DRIVER",    "the features",
	"FEATURES_OK", "a queue is enabled", "DRIVER_OK", "a request",
};

static void start_until(struct vq *vq, enum moment moment)
{
	if (moment >= AFTER_ACKNOWLEDGE)
		vdev_set_status(disk, STATUS_ACKNOWLEDGE);
	if (moment >= AFTER_DRIVER)
		vdev_set_status(disk, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
	if (moment >= AFTER_FEATURES)
		vdev_accept(disk, FEATURE_VERSION_1);
	if (moment >= AFTER_FEATURES_OK)
		vdev_set_status(disk, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
	if (moment >= AFTER_QUEUE) {
		vq_make(vq, disk, 0, 16);
		vq_enable(vq);
	}
	if (moment >= AFTER_DRIVER_OK)
		vdev_driver_ok(disk);
}

static const char *reset_after(uint64_t moment)
{
	struct blk blk;

	EXPECT(vdev_reset(disk), "first reset");
	start_until(&blk.vq, (enum moment)moment);
	if (moment == AFTER_REQUEST) {
		blk.dev = disk;
		blk.header = memory_alloc(sizeof(*blk.header), 16);
		blk.status = memory_alloc(1, 16);
		EXPECT_OK(disk_read_works(&blk));
	}
	EXPECT(vdev_reset(disk), "status stays 0x%x", vdev_status(disk));
	EXPECT(!vdev_queue_is_enabled(disk, 0), "queue 0 is still enabled");
	return disk_restart_works(disk, 0);
}

/* Reads of 64 KiB each, submitted and not waited for. */
static void flight_submit(struct blk *blk, uint8_t *data, uint32_t len, uint32_t type)
{
	*blk->header = (struct blk_header){ .type = type, .sector = 0 };
	for (uint16_t i = 0; i < N_IN_FLIGHT; i++) {
		struct part parts[] = {
			{ blk->header, sizeof(*blk->header), false },
			{ data + i * len, len, type == BLK_IN },
			{ blk->status, 1, true },
		};

		vq_chain(&blk->vq, i * 3, parts, 3);
		vq_stage(&blk->vq, i * 3);
	}
	vq_publish(&blk->vq);
}

/* After the reset is seen, nothing of the old requests may reach memory any more. */
static const char *reset_in_flight(uint64_t argument)
{
	bool is_kicked = argument & 1;
	uint64_t wait_ms = argument >> 1;
	uint32_t len = 65536;
	uint8_t *data = memory_alloc((size_t)N_IN_FLIGHT * len, 4096);
	struct blk blk;

	EXPECT(blk_start(&blk, disk, 0, 128) && blk.vq.size >= 3 * N_IN_FLIGHT, "no start");
	flight_submit(&blk, data, len, BLK_IN);
	if (is_kicked)
		vq_kick(&blk.vq);
	time_sleep(wait_ms);
	EXPECT(vdev_reset(disk), "status stays 0x%x", vdev_status(disk));
	memset(data, MARK, (size_t)N_IN_FLIGHT * len);
	memset((void *)(uintptr_t)blk.vq.used, MARK, 6 + 8u * blk.vq.size);
	*blk.status = MARK;
	time_sleep(20);
	for (size_t i = 0; i < (size_t)N_IN_FLIGHT * len; i++)
		EXPECT(data[i] == MARK, "byte %lu was written after the reset", i);
	EXPECT(blk.vq.used->idx == MARK * 0x101 && *blk.status == MARK,
	       "a request completed after the reset");
	return disk_restart_works(disk, 0);
}

static const char *reset_writes_in_flight(uint64_t rounds)
{
	uint8_t *data = memory_alloc((size_t)N_IN_FLIGHT * 4096, 4096);
	uint8_t *back = memory_alloc(4096, 4096);
	struct blk blk;

	for (uint64_t i = 0; i < rounds; i++) {
		size_t mark = memory_mark();

		EXPECT(blk_start(&blk, disk, 0, 128), "no start in round %lu", i);
		memset(data, (int)i, (size_t)N_IN_FLIGHT * 4096);
		flight_submit(&blk, data, 4096, BLK_OUT);
		blk.header->sector = SCRATCH_SECTOR + 2000;
		vq_kick(&blk.vq);
		EXPECT(vdev_reset(disk), "no reset in round %lu", i);
		/* An old write must not overtake this one. */
		memset(data, 0x40 | (int)(i & 0xf), 4096);
		EXPECT(blk_start(&blk, disk, 0, 128), "no restart in round %lu", i);
		EXPECT(blk_request(&blk, BLK_OUT, SCRATCH_SECTOR + 2000, data, 4096) == BLK_S_OK,
		       "write in round %lu", i);
		time_sleep(2);
		EXPECT(blk_request(&blk, BLK_IN, SCRATCH_SECTOR + 2000, back, 4096) == BLK_S_OK,
		       "read in round %lu", i);
		EXPECT(memcmp(data, back, 4096) == 0, "an old write landed in round %lu", i);
		memory_release(mark);
	}
	return NULL;
}

static const char *restart_many(uint64_t rounds)
{
	static const uint64_t features[] = { 0, FEATURE_INDIRECT, FEATURE_EVENT_IDX, ~0ull };

	for (uint64_t i = 0; i < rounds; i++) {
		size_t mark = memory_mark();
		const char *result = disk_restart_works(disk, features[i % 4]);

		if (result) {
			print("# round %lu\n", i);
			return result;
		}
		memory_release(mark);
	}
	return NULL;
}

static const char *reset_many(uint64_t rounds)
{
	for (uint64_t i = 0; i < rounds; i++)
		EXPECT(vdev_reset(disk), "round %lu", i);
	return disk_restart_works(disk, 0);
}

void conformance_reset(void)
{
	for (unsigned i = 0; i < ARRAY_LEN(moments); i++)
		tap_case(reset_after, i, "reset after %s", moments[i]);
	tap_case(reset_in_flight, 0, "reset with requests that were not kicked");
	tap_case(reset_in_flight, 1, "reset with 40 reads in flight");
	tap_case(reset_in_flight, 1 | 1 << 1, "reset with 40 reads in flight for a millisecond");
	tap_case(reset_writes_in_flight, 20, "reset with 40 writes in flight, 20 times");
	tap_case(reset_many, 1000, "1000 resets in a row");
	tap_case(restart_many, 1000, "1000 starts in a row");
}
