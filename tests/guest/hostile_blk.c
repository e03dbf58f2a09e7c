/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Well-formed chains with bad requests in them, VIRTIO 1.2 §5.2.6: sector arithmetic, lengths,
 * segments, types. Rows 8, 9, 17 and 26.
 */
#include "hostile.h"

enum base {
	FROM_0,
	FROM_CAPACITY,
};

/* The data of a request: length in bytes and whether the device writes them. */
struct blk_case {
	const char *name, *rule;
	uint32_t type;
	enum base base;
	uint64_t sector; /* added to the base, modulo 2^64 */
	uint32_t len;
	bool is_writable;
	int status;
	uint32_t used_len;
	struct blk_segment segments[2]; /* the start of readable data */
};

#define SECTORS "5.2.6, row 8"
#define SEGMENTS "5.2.6, row 17"
#define IOERR BLK_S_IOERR, 1
#define UNSUPP BLK_S_UNSUPP, 1
#define OK BLK_S_OK, 1
#define IN BLK_IN, FROM_0
#define IN_END BLK_IN, FROM_CAPACITY
#define OUT BLK_OUT, FROM_0
#define OUT_END BLK_OUT, FROM_CAPACITY
#define TOP_SECTOR (1ull << 55) /* the first whose byte offset is 2^64 */

static const struct blk_case blk_cases[] = {
	{ "read at the end of the disk", SECTORS, IN_END, 0, 512, true, IOERR },
	{ "read across the end of the disk", SECTORS, IN_END, -1ull, 1024, true, IOERR },
	{ "read of the last sector", SECTORS, IN_END, -1ull, 512, true, BLK_S_OK, 513 },
	{ "read whose byte offset wraps to 0", SECTORS, IN, TOP_SECTOR, 512, true, IOERR },
	{ "read whose byte offset wraps into the disk", SECTORS, IN, TOP_SECTOR + 8, 512, true,
	  IOERR },
	{ "read whose byte offset is negative", SECTORS, IN, TOP_SECTOR / 2, 512, true, IOERR },
	{ "read of sector 2^64 - 1", SECTORS, IN, ~0ull, 512, true, IOERR },
	{ "read whose sectors wrap through 2^64", SECTORS, IN, ~0ull, 1024, true, IOERR },
	{ "read of sector 2^63", SECTORS, IN, 1ull << 63, 512, true, IOERR },
	{ "write at the end of the disk", SECTORS, OUT_END, 0, 512, false, IOERR },
	{ "write across the end of the disk", SECTORS, OUT_END, -1ull, 1024, false, IOERR },
	{ "write whose byte offset wraps to 0", SECTORS, OUT, TOP_SECTOR, 512, false, IOERR },
	{ "write whose byte offset wraps into the disk", SECTORS, OUT, TOP_SECTOR + 8, 512, false,
	  IOERR },
	{ "write whose byte offset is negative", SECTORS, OUT, TOP_SECTOR / 2, 512, false, IOERR },
	{ "write of sector 2^64 - 1", SECTORS, OUT, ~0ull, 512, false, IOERR },
	{ "write whose sectors wrap through 2^64", SECTORS, OUT, ~0ull, 1024, false, IOERR },

	{ "read of 1 byte", "5.2.6, row 9", IN, 1, 1, true, IOERR },
	{ "read of 511 bytes", "5.2.6, row 9", IN, 1, 511, true, IOERR },
	{ "read of 513 bytes", "5.2.6, row 9", IN, 1, 513, true, IOERR },
	{ "write of 1 byte", "5.2.6, row 9", OUT, 1, 1, false, IOERR },
	{ "write of 511 bytes", "5.2.6, row 9", OUT, 1, 511, false, IOERR },
	{ "write of 513 bytes", "5.2.6, row 9", OUT, 1, 513, false, IOERR },
	{ "read of nothing", "5.2.6", IN, 1, 0, true, OK },
	{ "write of nothing", "5.2.6", OUT, 1, 0, false, OK },
	{ "read of nothing behind the disk", SECTORS, IN_END, 1, 0, true, IOERR },

	{ "get id with 19 bytes of room", "5.2.6, row 9", BLK_GET_ID, FROM_0, 0, 19, true, IOERR },
	{ "get id without room", "5.2.6, row 9", BLK_GET_ID, FROM_0, 0, 0, true, IOERR },
	{ "get id with readable data", "5.2.6, row 10", BLK_GET_ID, FROM_0, 0, 20, false, IOERR },
	{ "get id with any sector", "5.2.6", BLK_GET_ID, FROM_0, ~0ull, 20, true, BLK_S_OK, 21 },
	{ "flush with any sector", "5.2.6", BLK_FLUSH, FROM_0, ~0ull, 0, false, OK },

	{ "SCSI command", "5.2.6, row 9", 2, FROM_0, 0, 512, true, UNSUPP },
	{ "SCSI command out", "5.2.6, row 9", 3, FROM_0, 0, 512, false, UNSUPP },
	{ "flush of the legacy interface", "5.2.6", 5, FROM_0, 0, 0, true, UNSUPP },
	{ "get lifetime", "5.2.6", 10, FROM_0, 0, 24, true, UNSUPP },
	{ "secure erase", "5.2.6", 14, FROM_0, 0, 16, false, UNSUPP, { { 5, 1, 0 } } },
	{ "zone append", "5.2.6", 15, FROM_0, 0, 512, false, UNSUPP },
	{ "zone report", "5.2.6", 16, FROM_0, 0, 512, true, UNSUPP },
	{ "zone reset all", "5.2.6", 26, FROM_0, 0, 0, true, UNSUPP },
	{ "read with the legacy barrier bit", "5.2.6", 0x80000000, FROM_0, 0, 512, true, UNSUPP },
	{ "write with the legacy barrier bit", "5.2.6", 0x80000001, FROM_0, 0, 512, false, UNSUPP },
	{ "type 2^32 - 1", "5.2.6", 0xffffffff, FROM_0, 0, 512, true, UNSUPP },
};

#define DISCARD BLK_DISCARD, FROM_0, 0
#define ZEROES BLK_WRITE_ZEROES, FROM_0, 0

/* Run for discard and for write zeroes; type is filled in. Sector 5 must survive all of them. */
static const struct blk_case segment_cases[] = {
	{ "without a segment", SEGMENTS, 0, FROM_0, 0, 0, false, IOERR },
	{ "with 15 bytes of segment", SEGMENTS, 0, FROM_0, 0, 15, false, IOERR, { { 5, 1, 0 } } },
	{ "with 17 bytes of segment", SEGMENTS, 0, FROM_0, 0, 17, false, IOERR, { { 5, 1, 0 } } },
	{ "with a writable segment", "5.2.6, row 10", 0, FROM_0, 0, 16, true, IOERR,
	  { { 5, 1, 0 } } },
	{ "with more segments than allowed", SEGMENTS, 0, FROM_0, 0, DATA_BYTES, false, IOERR,
	  { { 5, 1, 0 } } },
	{ "at the end of the disk", SEGMENTS, 0, FROM_CAPACITY, 0, 16, false, IOERR,
	  { { 0, 1, 0 } } },
	{ "across the end of the disk", SEGMENTS, 0, FROM_CAPACITY, -1ull, 16, false, IOERR,
	  { { 0, 2, 0 } } },
	{ "of sector 2^64 - 1", SEGMENTS, 0, FROM_0, 0, 16, false, IOERR, { { ~0ull, 1, 0 } } },
	{ "whose sectors wrap through 2^64", SEGMENTS, 0, FROM_0, 0, 16, false, IOERR,
	  { { ~0ull, 7, 0 } } },
	{ "whose byte offset wraps into the disk", SEGMENTS, 0, FROM_0, 0, 16, false, IOERR,
	  { { TOP_SECTOR + 5, 1, 0 } } },
	{ "of 2^32 - 1 sectors", SEGMENTS, 0, FROM_0, 0, 16, false, IOERR,
	  { { 5, 0xffffffff, 0 } } },
	{ "of no sectors", SEGMENTS, 0, FROM_0, 0, 16, false, OK, { { 5, 0, 0 } } },
	{ "with a reserved flag", SEGMENTS, 0, FROM_0, 0, 16, false, UNSUPP, { { 5, 1, 2 } } },
	{ "with the highest flag", SEGMENTS, 0, FROM_0, 0, 16, false, UNSUPP,
	  { { 5, 1, 0x80000000 } } },
	{ "with a good segment before a bad one", SEGMENTS, 0, FROM_0, 0, 32, false, IOERR,
	  { { 5, 1, 0 }, { ~0ull, 1, 0 } } },
	{ "with a good segment before one of bad flags", SEGMENTS, 0, FROM_0, 0, 32, false, UNSUPP,
	  { { 5, 1, 0 }, { 6, 1, 4 } } },
};

static const char *blk_submit(const struct blk_case *c, uint32_t type, bool is_segment)
{
	uint64_t base = c->base == FROM_CAPACITY ? victim.capacity : 0;
	struct blk_segment segments[2] = { c->segments[0], c->segments[1] };
	struct part parts[] = {
		{ victim.blk.header, 16, false },
		{ victim.data, c->len, c->is_writable },
		{ victim.blk.status, 1, true },
	};

	if (is_segment)
		segments[0].sector += base + c->sector;
	memcpy(victim.data, segments, sizeof(segments));
	victim_header(type, is_segment ? 0 : base + c->sector);
	vq_chain(&victim.blk.vq, 0, parts, 3);
	vq_push(&victim.blk.vq, 0);
	vq_kick(&victim.blk.vq);
	return victim_outcome(0, OUTCOME_STATUS, c->status, c->used_len);
}

static const char *blk_run(uint64_t i)
{
	EXPECT_OK(victim_start(BLK_F_FLUSH));
	return blk_submit(&blk_cases[i], blk_cases[i].type, false);
}

static const char *segment_run(uint64_t argument)
{
	const struct blk_case *c = &segment_cases[argument & 0xff];
	bool is_discard = argument >> 8;
	uint64_t feature = is_discard ? BLK_F_DISCARD : BLK_F_WRITE_ZEROES;

	EXPECT_OK(victim_start(feature));
	if (!(victim.blk.dev->features & feature))
		return tap_skip("not offered");
	return blk_submit(c, is_discard ? BLK_DISCARD : BLK_WRITE_ZEROES, true);
}

static const struct blk_case limit_cases[] = {
	{ "without the feature", SEGMENTS, 0, FROM_0, 0, 16, false, UNSUPP, { { 5, 1, 0 } } },
	{ "of more sectors than the limit", SEGMENTS, 0, FROM_0, 0, 16, false, IOERR,
	  { { 0, 0, 0 } } },
	{ "with the unmap flag", SEGMENTS, 0, FROM_0, 0, 16, false, UNSUPP, { { 5, 1, 1 } } },
};

static const char *limit_without_feature(uint64_t type)
{
	EXPECT_OK(victim_start(0));
	return blk_submit(&limit_cases[0], (uint32_t)type, true);
}

static const char *limit_discard_unmap(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(victim_start(BLK_F_DISCARD));
	if (!(victim.blk.dev->features & BLK_F_DISCARD))
		return tap_skip("not offered");
	return blk_submit(&limit_cases[2], BLK_DISCARD, true);
}

/* The limit in config space holds even where the disk would be large enough. */
static const char *limit_sectors(uint64_t type)
{
	bool is_discard = type == BLK_DISCARD;
	uint32_t offset = is_discard ? BLK_CONFIG_MAX_DISCARD_SECTORS
				     : BLK_CONFIG_MAX_WRITE_ZEROES_SECTORS;
	uint32_t limit = mmio_read32(victim.blk.dev->config + offset);
	struct blk_case c = limit_cases[1];

	EXPECT_OK(victim_start(is_discard ? BLK_F_DISCARD : BLK_F_WRITE_ZEROES));
	if (limit == 0 || limit == 0xffffffff)
		return tap_skip("no limit");
	c.segments[0].n_sectors = limit + 1;
	return blk_submit(&c, (uint32_t)type, true);
}

/* A get id with a page of room writes 20 bytes and the status, nothing between, row 26. */
static const char *get_id_long(uint64_t unused)
{
	struct vring_used_elem elem;
	struct part parts[] = {
		{ victim.blk.header, 16, false },
		{ victim.data, 4096, true },
		{ victim.blk.status, 1, true },
	};

	(void)unused;
	EXPECT_OK(victim_start(0));
	memset(victim.data, 0x99, 4096);
	parts[0].addr = victim.blk.header;
	parts[2].addr = victim.blk.status;
	victim_header(BLK_GET_ID, 0);
	vq_chain(&victim.blk.vq, 0, parts, 3);
	vq_push(&victim.blk.vq, 0);
	vq_kick(&victim.blk.vq);
	EXPECT(vq_wait(&victim.blk.vq, TIMEOUT_REQUEST, &elem), "no answer");
	EXPECT(*victim.blk.status == BLK_S_OK, "status %u", *victim.blk.status);
	EXPECT(elem.len >= 20 && elem.len <= 4097, "used length %u", elem.len);
	for (unsigned i = 20; i < 4096; i++)
		EXPECT(victim.data[i] == 0x99 || victim.data[i] == 0, "byte %u was written", i);
	return victim_good_request();
}

void hostile_blk(void)
{
	for (unsigned i = 0; i < ARRAY_LEN(blk_cases); i++)
		hostile_case(blk_run, i, blk_cases[i].rule, "request, %s", blk_cases[i].name);
	for (unsigned i = 0; i < ARRAY_LEN(segment_cases); i++)
		hostile_case(segment_run, i | 1 << 8, segment_cases[i].rule, "discard %s",
			     segment_cases[i].name);
	for (unsigned i = 0; i < ARRAY_LEN(segment_cases); i++)
		hostile_case(segment_run, i, segment_cases[i].rule, "write zeroes %s",
			     segment_cases[i].name);
	hostile_case(limit_without_feature, BLK_DISCARD, SEGMENTS, "discard %s",
		     limit_cases[0].name);
	hostile_case(limit_without_feature, BLK_WRITE_ZEROES, SEGMENTS, "write zeroes %s",
		     limit_cases[0].name);
	hostile_case(limit_sectors, BLK_DISCARD, SEGMENTS, "discard %s", limit_cases[1].name);
	hostile_case(limit_sectors, BLK_WRITE_ZEROES, SEGMENTS, "write zeroes %s",
		     limit_cases[1].name);
	hostile_case(limit_discard_unmap, 0, SEGMENTS, "discard %s", limit_cases[2].name);
	hostile_case(get_id_long, 0, "5.2.6, row 26", "request, get id with a page of room");
}
