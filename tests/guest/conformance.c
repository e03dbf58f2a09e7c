/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conformance: a driver that keeps to VIRTIO 1.2 and uses all of it that the device offers. The
 * first disk is overwritten; it needs at least 8192 sectors. A second disk, if any, is read-only.
 */
#include "conformance.h"
#include "modes.h"

struct vdev *disk, *second_disk;

static uint64_t pattern_word(uint64_t sector, size_t i, uint64_t salt)
{
	uint64_t x = (sector * 64 + i + 1) * 0x9e3779b97f4a7c15u ^ salt * 0xbf58476d1ce4e5b9u;

	return x ^ x >> 29;
}

static uint8_t pattern_byte(uint64_t sector, size_t offset, uint64_t salt)
{
	return (uint8_t)(pattern_word(sector, offset / 8, salt) >> offset % 8 * 8);
}

void pattern_fill(void *data, uint64_t sector, size_t len, uint64_t salt)
{
	uint8_t *to = data;

	for (size_t i = 0; i < len; i++)
		to[i] = pattern_byte(sector, i, salt);
}

const char *pattern_check(const void *data, uint64_t sector, size_t len, uint64_t salt)
{
	const uint8_t *from = data;

	for (size_t i = 0; i < len; i++)
		EXPECT(from[i] == pattern_byte(sector, i, salt),
		       "byte %lu from sector %lu is 0x%x, not 0x%x", i, sector, from[i],
		       pattern_byte(sector, i, salt));
	return NULL;
}

const char *zero_check(const void *data, size_t len)
{
	const uint8_t *from = data;

	for (size_t i = 0; i < len; i++)
		EXPECT(from[i] == 0, "byte %lu is 0x%x, not 0", i, from[i]);
	return NULL;
}

bool interrupt_wait(const struct vdev *dev, uint64_t timeout_ms)
{
	uint64_t deadline = time_deadline(timeout_ms);

	while (!(vdev_interrupt(dev) & 1)) {
		if (time_passed(deadline))
			return false;
	}
	return true;
}

const char *disk_read_works(struct blk *blk)
{
	uint8_t *data = memory_alloc(SECTOR, 16);
	int status = blk_request(blk, BLK_IN, 3, data, SECTOR);

	EXPECT(status == BLK_S_OK, "good read ended with %d", status);
	EXPECT(blk->used_len == SECTOR + 1, "good read has used length %u", blk->used_len);
	return pattern_check(data, 3, SECTOR, SEED_SALT);
}

const char *disk_restart_works(struct vdev *dev, uint64_t features)
{
	struct blk blk;

	EXPECT(blk_start(&blk, dev, features, 16), "device does not start, status 0x%x",
	       vdev_status(dev));
	return disk_read_works(&blk);
}

static bool conformance_seed(void)
{
	uint8_t *data = memory_alloc(SEEDED_SECTORS * SECTOR, 4096);
	struct blk blk;

	for (uint64_t s = 0; s < SEEDED_SECTORS; s++)
		pattern_fill(data + s * SECTOR, s, SECTOR, SEED_SALT);
	return blk_start(&blk, disk, 0, 16) && blk_capacity(disk) >= 8192 &&
	       blk_request(&blk, BLK_OUT, 0, data, SEEDED_SECTORS * SECTOR) == BLK_S_OK;
}

void conformance_run(void)
{
	size_t mark = memory_mark();

	discover();
	disk = discover_nth(VIRTIO_ID_BLK, 0);
	second_disk = discover_nth(VIRTIO_ID_BLK, 1);
	if (!disk || !conformance_seed()) {
		print("Bail out! no disk that can be written\n");
		return;
	}
	memory_release(mark);
	conformance_negotiation();
	conformance_config();
	conformance_ring();
	conformance_event();
	conformance_chain();
	conformance_blk();
	conformance_reset();
	conformance_console();
	conformance_rng();
	tap_done();
}
