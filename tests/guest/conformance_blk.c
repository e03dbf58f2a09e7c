/* SPDX-License-Identifier: Apache-2.0 */
/* Every request type of virtio-blk with its data checked on the disk; VIRTIO 1.2 §5.2.6. */
#include "conformance.h"

#define UNMAP 1u

static const char *open_disk(struct blk *blk, struct vdev *dev, uint64_t features)
{
	EXPECT(blk_start(blk, dev, features, 64), "no start");
	return (dev->features & features) == features ? NULL : tap_skip("not offered");
}

static const char *request(struct blk *blk, uint32_t type, uint64_t sector, void *data,
			   uint32_t len, int status, uint32_t used_len)
{
	int got = blk_request(blk, type, sector, data, len);

	EXPECT(got == status, "type %u sector %lu length %u: status %d, not %d", type, sector, len,
	       got, status);
	EXPECT(blk->used_len == used_len, "type %u sector %lu length %u: used length %u, not %u",
	       type, sector, len, blk->used_len, used_len);
	return NULL;
}

static const char *write_and_read(uint64_t argument)
{
	uint32_t len = (uint32_t)argument, offset = (uint32_t)(argument >> 32);
	uint8_t *data = (uint8_t *)memory_alloc(len + 4096ull, 4096) + offset;
	uint64_t sector = SCRATCH_SECTOR + 7;
	struct blk blk;

	EXPECT_OK(open_disk(&blk, disk, 0));
	pattern_fill(data, sector, len, len + offset);
	EXPECT_OK(request(&blk, BLK_OUT, sector, data, len, BLK_S_OK, 1));
	memset(data, 0x55, len);
	EXPECT_OK(request(&blk, BLK_IN, sector, data, len, BLK_S_OK, len + 1));
	return pattern_check(data, sector, len, len + offset);
}

/* Neighbours of a written range keep what they held. */
static const char *write_stays_inside(uint64_t unused)
{
	uint8_t *data = memory_alloc(3ull * SECTOR, 16);
	uint64_t sector = SCRATCH_SECTOR + 100;
	struct blk blk;

	(void)unused;
	EXPECT_OK(open_disk(&blk, disk, 0));
	pattern_fill(data, sector, 3ull * SECTOR, 1);
	EXPECT_OK(request(&blk, BLK_OUT, sector, data, 3 * SECTOR, BLK_S_OK, 1));
	pattern_fill(data + SECTOR, sector + 1, SECTOR, 2);
	EXPECT_OK(request(&blk, BLK_OUT, sector + 1, data + SECTOR, SECTOR, BLK_S_OK, 1));
	memset(data, 0, 3ull * SECTOR);
	EXPECT_OK(request(&blk, BLK_IN, sector, data, 3 * SECTOR, BLK_S_OK, 3 * SECTOR + 1));
	EXPECT_OK(pattern_check(data, sector, SECTOR, 1));
	EXPECT_OK(pattern_check(data + SECTOR, sector + 1, SECTOR, 2));
	return NULL;
}

static const char *last_sector(uint64_t unused)
{
	uint8_t *data = memory_alloc(SECTOR, 16);
	uint64_t last = blk_capacity(disk) - 1;
	struct blk blk;

	(void)unused;
	EXPECT_OK(open_disk(&blk, disk, 0));
	pattern_fill(data, last, SECTOR, 3);
	EXPECT_OK(request(&blk, BLK_OUT, last, data, SECTOR, BLK_S_OK, 1));
	memset(data, 0, SECTOR);
	EXPECT_OK(request(&blk, BLK_IN, last, data, SECTOR, BLK_S_OK, SECTOR + 1));
	return pattern_check(data, last, SECTOR, 3);
}

static const char *flush(uint64_t unused)
{
	struct blk blk;

	(void)unused;
	EXPECT_OK(open_disk(&blk, disk, BLK_F_FLUSH));
	for (unsigned i = 0; i < 3; i++)
		EXPECT_OK(request(&blk, BLK_FLUSH, 0, NULL, 0, BLK_S_OK, 1));
	return disk_read_works(&blk);
}

static const char *get_id(uint64_t unused)
{
	char *first = memory_alloc(20, 16), *again = memory_alloc(20, 16);
	char expected[21] = "";
	struct blk blk;

	(void)unused;
	EXPECT_OK(open_disk(&blk, disk, 0));
	EXPECT_OK(request(&blk, BLK_GET_ID, 0, first, 20, BLK_S_OK, 21));
	EXPECT_OK(request(&blk, BLK_GET_ID, 0, again, 20, BLK_S_OK, 21));
	EXPECT(memcmp(first, again, 20) == 0, "it changes");
	if (boot_option("serial", expected, sizeof(expected)))
		EXPECT(memcmp(first, expected, strlen(expected)) == 0, "it is not %s", expected);
	return NULL;
}

static const char *unknown_type(uint64_t type)
{
	struct blk blk;

	EXPECT_OK(open_disk(&blk, disk, 0));
	EXPECT_OK(request(&blk, (uint32_t)type, 0, NULL, 0, BLK_S_UNSUPP, 1));
	return disk_read_works(&blk);
}

/* Fills the scratch area from sector on, zeroes a part of it, and checks all of it. */
static const char *zero_range(struct blk *blk, uint32_t type, const struct blk_segment *segments,
			      unsigned n, bool must_be_zero)
{
	uint64_t sector = SCRATCH_SECTOR + 512, n_sectors = 64;
	uint32_t len = (uint32_t)(n_sectors * SECTOR);
	struct blk_segment *list = memory_alloc(n * sizeof(*list), 16);
	uint8_t *data = memory_alloc(len, 4096);

	for (uint64_t s = 0; s < n_sectors; s++)
		pattern_fill(data + s * SECTOR, sector + s, SECTOR, 4);
	EXPECT_OK(request(blk, BLK_OUT, sector, data, len, BLK_S_OK, 1));
	for (unsigned i = 0; i < n; i++) {
		list[i] = segments[i];
		list[i].sector += sector;
	}
	EXPECT_OK(request(blk, type, 0, list, n * (uint32_t)sizeof(*list), BLK_S_OK, 1));
	EXPECT_OK(request(blk, BLK_IN, sector, data, len, BLK_S_OK, len + 1));
	for (uint64_t s = 0; s < n_sectors; s++) {
		bool is_inside = false;

		for (unsigned i = 0; i < n; i++)
			is_inside |= s >= segments[i].sector &&
				     s - segments[i].sector < segments[i].n_sectors;
		if (!is_inside)
			EXPECT_OK(pattern_check(data + s * SECTOR, sector + s, SECTOR, 4));
		else if (must_be_zero)
			EXPECT_OK(zero_check(data + s * SECTOR, SECTOR));
	}
	return NULL;
}

static const struct blk_segment ranges[][3] = {
	{ { 0, 64, 0 } }, { { 8, 8, 0 } }, { { 3, 5, 0 } }, { { 63, 1, 0 } },
	{ { 0, 8, 0 }, { 16, 8, 0 }, { 40, 16, 0 } },
	{ { 0, 1, 0 }, { 2, 1, 0 }, { 4, 3, 0 } },
};

static unsigned ranges_count(unsigned i)
{
	return ranges[i][1].n_sectors ? 3 : 1;
}

static const char *write_zeroes(uint64_t argument)
{
	unsigned which = argument & 0xff, n = ranges_count(which);
	struct blk_segment list[3];
	struct blk blk;

	EXPECT_OK(open_disk(&blk, disk, BLK_F_WRITE_ZEROES));
	if (n > mmio_read32(disk->config + BLK_CONFIG_MAX_WRITE_ZEROES_SEG))
		return tap_skip("fewer segments allowed");
	memcpy(list, ranges[which], sizeof(list));
	for (unsigned i = 0; i < n; i++)
		list[i].flags = argument >> 8 ? UNMAP : 0;
	return zero_range(&blk, BLK_WRITE_ZEROES, list, n, true);
}

static const char *discard(uint64_t which)
{
	struct blk blk;

	EXPECT_OK(open_disk(&blk, disk, BLK_F_DISCARD));
	if (ranges_count((unsigned)which) > mmio_read32(disk->config + BLK_CONFIG_MAX_DISCARD_SEG))
		return tap_skip("fewer segments allowed");
	/* What a discarded sector holds is not defined; its neighbours' data is. */
	return zero_range(&blk, BLK_DISCARD, ranges[which], ranges_count((unsigned)which), false);
}

/* A write to a read-only device fails and changes nothing, §5.2.6.2. */
static const char *read_only(uint64_t type)
{
	void *before = memory_alloc(SECTOR, 16), *data = memory_alloc(SECTOR, 16);
	struct blk_segment segment = { 0, 1, 0 };
	struct blk blk;
	int status;

	if (!second_disk || !(vdev_offered(second_disk) & BLK_F_RO))
		return tap_skip("no read-only disk");
	EXPECT_OK(open_disk(&blk, second_disk, type >> 32 ? 0 : BLK_F_RO));
	EXPECT_OK(request(&blk, BLK_IN, 0, before, SECTOR, BLK_S_OK, SECTOR + 1));
	memset(data, 0x77, SECTOR);
	if ((uint32_t)type != BLK_OUT)
		memcpy(data, &segment, sizeof(segment));
	status = blk_request(&blk, (uint32_t)type, 0, data,
			     (uint32_t)type == BLK_OUT ? SECTOR : sizeof(struct blk_segment));
	EXPECT(status == BLK_S_IOERR || (status == BLK_S_UNSUPP && (uint32_t)type != BLK_OUT),
	       "status %d", status);
	EXPECT_OK(request(&blk, BLK_IN, 0, data, SECTOR, BLK_S_OK, SECTOR + 1));
	EXPECT(memcmp(data, before, SECTOR) == 0, "the disk has changed");
	return NULL;
}

/* 40 writes in flight at once, then one flush behind them, then all read back. */
static const char *many_in_flight(uint64_t unused)
{
	uint8_t *data = memory_alloc(40ull * SECTOR, 4096), *status = memory_alloc(40, 16);
	struct blk_header *headers = memory_alloc(40 * sizeof(*headers), 16);
	uint64_t sector = SCRATCH_SECTOR + 1000;
	struct vring_used_elem elem;
	struct blk blk;

	(void)unused;
	EXPECT(blk_start(&blk, disk, 0, 128) && blk.vq.size == 128, "no queue of 128");
	for (uint16_t i = 0; i < 40; i++) {
		struct part parts[] = {
			{ &headers[i], sizeof(headers[i]), false },
			{ data + i * SECTOR, SECTOR, false },
			{ status + i, 1, true },
		};

		headers[i] = (struct blk_header){ .type = BLK_OUT, .sector = sector + 39u - i };
		pattern_fill(data + i * SECTOR, sector + 39 - i, SECTOR, 6);
		status[i] = BLK_S_NONE;
		vq_chain(&blk.vq, i * 3, parts, 3);
		vq_stage(&blk.vq, i * 3);
	}
	vq_publish(&blk.vq);
	vq_kick(&blk.vq);
	for (unsigned i = 0; i < 40; i++)
		EXPECT(vq_wait(&blk.vq, TIMEOUT_REQUEST, &elem) && elem.len == 1, "request %u", i);
	EXPECT_OK(zero_check(status, 40));
	EXPECT_OK(request(&blk, BLK_IN, sector, data, 40 * SECTOR, BLK_S_OK, 40 * SECTOR + 1));
	for (unsigned i = 0; i < 40; i++)
		EXPECT_OK(pattern_check(data + i * SECTOR, sector + i, SECTOR, 6));
	return NULL;
}

void conformance_blk(void)
{
	static const uint32_t lengths[] = { 512, 1024, 4096, 65536, 512 * 255, 1 << 20, 4 << 20 };
	static const uint32_t offsets[] = { 0, 1, 511, 2048 };

	for (unsigned i = 0; i < ARRAY_LEN(lengths); i++)
		tap_case(write_and_read, lengths[i], "write and read %u bytes", lengths[i]);
	for (unsigned i = 0; i < ARRAY_LEN(offsets); i++)
		tap_case(write_and_read, 8192 | (uint64_t)offsets[i] << 32,
			 "buffer at page offset %u", offsets[i]);
	tap_case(write_stays_inside, 0, "a write leaves its neighbours alone");
	tap_case(last_sector, 0, "the last sector");
	tap_case(many_in_flight, 0, "40 writes in flight");
	tap_case(flush, 0, "flush");
	tap_case(get_id, 0, "get id");
	tap_case(unknown_type, 2, "SCSI command is not supported");
	tap_case(unknown_type, 0x12345678, "an unknown type is not supported");
	for (unsigned i = 0; i < ARRAY_LEN(ranges); i++) {
		tap_case(discard, i, "discard, ranges %u", i);
		tap_case(write_zeroes, i, "write zeroes, ranges %u", i);
		tap_case(write_zeroes, i | 1 << 8, "write zeroes with unmap, ranges %u", i);
	}
	tap_case(read_only, BLK_OUT, "write to a read-only disk");
	tap_case(read_only, BLK_OUT | 1ull << 32, "write to a read-only disk, RO not accepted");
	tap_case(read_only, BLK_DISCARD, "discard on a read-only disk");
	tap_case(read_only, BLK_WRITE_ZEROES, "write zeroes on a read-only disk");
}
