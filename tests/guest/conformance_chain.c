/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptor chains of every legal shape, VIRTIO 1.2 §2.7.4 and §2.7.5: a device makes no
 * assumption about where one descriptor ends and the next begins. Each piece of a request has its
 * own buffer at an odd address.
 */
#include "conformance.h"

#define DATA_LEN 1024u
#define REST 0xffff
#define ZERO 0xfffe
#define PIECES_MAX 32

struct shape {
	const char *name;
	uint16_t readable[20]; /* lengths, 0 ends the list */
	uint16_t writable[20];
};

#define ONES_16 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1

static const struct shape read_shapes[] = {
	{ "plain", { 16 }, { 1024, 1 } },
	{ "status joined to data", { 16 }, { REST } },
	{ "status joined to the last byte", { 16 }, { 1023, REST } },
	{ "first byte apart", { 16 }, { 1, REST } },
	{ "header in halves", { 8, 8 }, { 1024, 1 } },
	{ "header 1 and 15", { 1, 15 }, { 1024, 1 } },
	{ "header 15 and 1", { 15, 1 }, { 1024, 1 } },
	{ "header by bytes", { ONES_16 }, { 1024, 1 } },
	{ "data by sectors", { 16 }, { 512, 512, 1 } },
	{ "data 511 and 513", { 16 }, { 511, 513, 1 } },
	{ "data in odd pieces", { 16 }, { 1, 2, 3, 5, 7, 11, 13, 101, REST } },
	{ "data by 64 bytes", { 16 }, { 64, 64, 64, 64, 64, 64, 64, 64, 64, REST } },
	{ "header and data in pieces", { 3, 4, 9 }, { 300, 300, 300, REST } },
	{ "empty piece before data", { 16 }, { ZERO, 1024, 1 } },
	{ "empty piece in data", { 16 }, { 512, ZERO, 512, 1 } },
	{ "empty piece before header", { ZERO, 16 }, { 1024, 1 } },
	{ "empty piece at the end", { 16 }, { 1024, 1, ZERO } },
};

static const struct shape write_shapes[] = {
	{ "plain", { 16, REST }, { 1 } },
	{ "header joined to data", { REST }, { 1 } },
	{ "header end joined to data", { 8, REST }, { 1 } },
	{ "header and first byte", { 17, REST }, { 1 } },
	{ "header in halves", { 8, 8, REST }, { 1 } },
	{ "header 15 and 1", { 15, 1, REST }, { 1 } },
	{ "header by bytes", { ONES_16, REST }, { 1 } },
	{ "data by sectors", { 16, 512, 512 }, { 1 } },
	{ "data 513 and 511", { 16, 513, 511 }, { 1 } },
	{ "data in odd pieces", { 16, 1, 2, 3, 5, 7, 11, 13, 101, REST }, { 1 } },
	{ "last byte apart", { 16, 1023, 1 }, { 1 } },
	{ "empty piece before data", { 16, ZERO, 1024 }, { 1 } },
	{ "empty piece before status", { 16, 1024 }, { ZERO, 1 } },
};

/* Cuts len bytes into pieces with a buffer each; Return: number of parts */
static unsigned cut(const uint16_t *lengths, uint32_t len, bool is_writable, struct part *parts)
{
	unsigned n = 0;

	for (; lengths[n]; n++) {
		uint32_t piece = lengths[n] == REST ? len : lengths[n] == ZERO ? 0 : lengths[n];

		parts[n] = (struct part){ (uint8_t *)memory_alloc(piece + 2, 16) + 1, piece,
					  is_writable };
		len -= piece;
	}
	return n;
}

/* Copies between pieces and a flat buffer. */
static void scatter(const struct part *parts, unsigned n, const uint8_t *flat)
{
	for (unsigned i = 0; i < n; flat += parts[i++].len)
		memcpy((void *)(uintptr_t)parts[i].addr, flat, parts[i].len);
}

static void gather(const struct part *parts, unsigned n, uint8_t *flat)
{
	for (unsigned i = 0; i < n; flat += parts[i++].len)
		memcpy(flat, (const void *)(uintptr_t)parts[i].addr, parts[i].len);
}

static const char *chain_submit(struct blk *blk, const struct part *parts, unsigned n,
				bool is_indirect, uint32_t used_len)
{
	struct vring_used_elem elem;

	if (is_indirect)
		vq_indirect(&blk->vq, 7, memory_alloc(n * sizeof(struct vring_desc), 16), parts, n);
	else
		vq_chain(&blk->vq, 7, parts, n);
	vq_push(&blk->vq, 7);
	vq_kick(&blk->vq);
	EXPECT(vq_wait(&blk->vq, TIMEOUT_REQUEST, &elem), "no answer, device status 0x%x",
	       vdev_status(disk));
	EXPECT(elem.id == 7, "used id %u", elem.id);
	EXPECT(elem.len == used_len, "used length %u, not %u", elem.len, used_len);
	return NULL;
}

static const char *chain_open(struct blk *blk, bool is_indirect)
{
	EXPECT(blk_start(blk, disk, is_indirect ? FEATURE_INDIRECT : 0, 128), "no start");
	return is_indirect && !(disk->features & FEATURE_INDIRECT) ? tap_skip("not offered")
								   : NULL;
}

static const char *chain_read(uint64_t argument)
{
	const struct shape *shape = &read_shapes[argument & 0xff];
	struct blk_header header = { .type = BLK_IN, .sector = 9 };
	uint8_t *flat = memory_alloc(DATA_LEN + 1, 16);
	struct part parts[PIECES_MAX];
	unsigned n_readable, n_writable;
	struct blk blk;

	EXPECT_OK(chain_open(&blk, argument >> 8));
	n_readable = cut(shape->readable, sizeof(header), false, parts);
	n_writable = cut(shape->writable, DATA_LEN + 1, true, parts + n_readable);
	scatter(parts, n_readable, (const uint8_t *)&header);
	EXPECT_OK(chain_submit(&blk, parts, n_readable + n_writable, argument >> 8, DATA_LEN + 1));
	gather(parts + n_readable, n_writable, flat);
	EXPECT(flat[DATA_LEN] == BLK_S_OK, "status %u", flat[DATA_LEN]);
	EXPECT_OK(pattern_check(flat, 9, SECTOR, SEED_SALT));
	return pattern_check(flat + SECTOR, 10, SECTOR, SEED_SALT);
}

static const char *chain_write(uint64_t argument)
{
	const struct shape *shape = &write_shapes[argument & 0xff];
	uint64_t sector = SCRATCH_SECTOR + (argument & 0xff) * 4;
	struct blk_header *header = memory_alloc(sizeof(*header) + DATA_LEN, 16);
	uint8_t *flat = (uint8_t *)header;
	struct part parts[PIECES_MAX];
	unsigned n_readable, n_writable;
	uint8_t status = BLK_S_NONE;
	struct blk blk;

	EXPECT_OK(chain_open(&blk, argument >> 8));
	*header = (struct blk_header){ .type = BLK_OUT, .sector = sector };
	pattern_fill(header + 1, sector, DATA_LEN, argument);
	n_readable = cut(shape->readable, sizeof(struct blk_header) + DATA_LEN, false, parts);
	n_writable = cut(shape->writable, 1, true, parts + n_readable);
	scatter(parts, n_readable, flat);
	scatter(parts + n_readable, n_writable, &status);
	EXPECT_OK(chain_submit(&blk, parts, n_readable + n_writable, argument >> 8, 1));
	gather(parts + n_readable, n_writable, &status);
	EXPECT(status == BLK_S_OK, "status %u", status);
	EXPECT(blk_request(&blk, BLK_IN, sector, flat, DATA_LEN) == BLK_S_OK, "cannot read back");
	return pattern_check(flat, sector, DATA_LEN, argument);
}

/* As many one-sector pieces as the queue and seg_max allow. */
static const char *chain_longest(uint64_t is_indirect)
{
	struct part parts[130];
	uint32_t seg_max, n;
	struct blk blk;

	EXPECT_OK(chain_open(&blk, is_indirect));
	seg_max = vdev_offered(disk) & BLK_F_SEG_MAX
			  ? mmio_read32(disk->config + BLK_CONFIG_SEG_MAX)
			  : 1;
	n = blk.vq.size - 2u;
	if (!is_indirect)
		n -= 7; /* chain_submit() starts there */
	if (n > seg_max)
		n = seg_max;
	*blk.header = (struct blk_header){ .type = BLK_IN, .sector = 0 };
	parts[0] = (struct part){ blk.header, sizeof(*blk.header), false };
	for (unsigned i = 0; i < n; i++)
		parts[i + 1] = (struct part){ memory_alloc(SECTOR, 16), SECTOR, true };
	parts[n + 1] = (struct part){ blk.status, 1, true };
	EXPECT_OK(chain_submit(&blk, parts, n + 2, is_indirect, n * SECTOR + 1));
	EXPECT(*blk.status == BLK_S_OK, "status %u with %u pieces", *blk.status, n);
	for (unsigned i = 0; i < n; i++)
		EXPECT_OK(pattern_check((void *)(uintptr_t)parts[i + 1].addr, i, SECTOR,
					SEED_SALT));
	return NULL;
}

/* A chain may visit the descriptor table in any order. */
static const char *chain_scrambled(uint64_t which)
{
	static const uint16_t orders[][4] = {
		{ 3, 2, 1, 0 }, { 15, 0, 14, 1 }, { 0, 8, 4, 12 }, { 15, 14, 13, 12 },
	};
	const uint16_t *at = orders[which];
	uint8_t *data = memory_alloc(2ull * SECTOR, 16);
	struct vring_used_elem elem;
	struct blk blk;

	EXPECT(blk_start(&blk, disk, 0, 16), "no start");
	*blk.header = (struct blk_header){ .type = BLK_IN, .sector = 20 };
	vq_desc(&blk.vq, at[0], blk.header, sizeof(*blk.header), DESC_NEXT, at[1]);
	vq_desc(&blk.vq, at[1], data, SECTOR, DESC_NEXT | DESC_WRITE, at[2]);
	vq_desc(&blk.vq, at[2], data + SECTOR, SECTOR, DESC_NEXT | DESC_WRITE, at[3]);
	vq_desc(&blk.vq, at[3], blk.status, 1, DESC_WRITE, 0);
	vq_push(&blk.vq, at[0]);
	vq_kick(&blk.vq);
	EXPECT(vq_wait(&blk.vq, TIMEOUT_REQUEST, &elem), "no answer");
	EXPECT(elem.id == at[0] && elem.len == 2 * SECTOR + 1, "used id %u length %u", elem.id,
	       elem.len);
	EXPECT_OK(pattern_check(data, 20, SECTOR, SEED_SALT));
	return pattern_check(data + SECTOR, 21, SECTOR, SEED_SALT);
}

/* Direct descriptors, then one that points to a table with the rest of the chain, §2.7.5.3.2. */
static const char *chain_continued(uint64_t n_direct)
{
	struct vring_desc *table = memory_alloc(3 * sizeof(*table), 16);
	uint8_t *data = memory_alloc(SECTOR, 16);
	struct vring_used_elem elem;
	struct blk blk;

	struct part parts[3] = { { .len = sizeof(*blk.header) }, { data, SECTOR, true } };

	EXPECT_OK(chain_open(&blk, true));
	parts[0].addr = blk.header;
	parts[2] = (struct part){ blk.status, 1, true };
	*blk.header = (struct blk_header){ .type = BLK_IN, .sector = 30 };
	vq_chain(&blk.vq, 0, parts, (unsigned)n_direct);
	blk.vq.desc[n_direct - 1].flags |= DESC_NEXT;
	blk.vq.desc[n_direct - 1].next = (uint16_t)n_direct;
	vq_indirect(&blk.vq, (uint16_t)n_direct, table, parts + n_direct, 3 - (unsigned)n_direct);
	vq_push(&blk.vq, 0);
	vq_kick(&blk.vq);
	EXPECT(vq_wait(&blk.vq, TIMEOUT_REQUEST, &elem), "no answer, device status 0x%x",
	       vdev_status(disk));
	EXPECT(elem.id == 0 && elem.len == SECTOR + 1, "used id %u length %u", elem.id, elem.len);
	EXPECT(*blk.status == BLK_S_OK, "status %u", *blk.status);
	return pattern_check(data, 30, SECTOR, SEED_SALT);
}

/* A buffer, a table, and then the rings, in RAM above 4 GiB. */
static const char *chain_above_4g(uint64_t unused)
{
	uint64_t at = 4 * GIB + 16 * MIB;
	struct blk blk;

	(void)unused;
	if (!memory_is_ram(at, MIB))
		return tap_skip("no RAM there");
	memory_map(at, MIB);
	EXPECT(vdev_start(disk, 0), "no start");
	blk.dev = disk;
	blk.vq = (struct vq){ .dev = disk, .size = 16 };
	blk.vq.desc = (void *)at;
	blk.vq.avail = (void *)(at + 0x1000);
	blk.vq.used = (void *)(at + 0x2000);
	blk.header = (void *)(at + 0x3000);
	blk.status = (void *)(at + 0x4000);
	memset((void *)at, 0, 0x8000);
	vq_enable(&blk.vq);
	vdev_driver_ok(disk);
	EXPECT(blk_request(&blk, BLK_IN, 40, (void *)(at + 0x5000), SECTOR) == BLK_S_OK, "read");
	return pattern_check((void *)(at + 0x5000), 40, SECTOR, SEED_SALT);
}

/* Direct and indirect chains take turns in one ring. */
static const char *chain_mixed(uint64_t unused)
{
	struct blk blk;

	(void)unused;
	EXPECT_OK(chain_open(&blk, true));
	for (unsigned i = 0; i < 200; i++) {
		struct part parts[] = {
			{ blk.header, sizeof(*blk.header), false },
			{ memory_alloc(SECTOR, 16), SECTOR, true },
			{ blk.status, 1, true },
		};

		*blk.header = (struct blk_header){ .type = BLK_IN, .sector = i };
		*blk.status = BLK_S_NONE;
		EXPECT_OK(chain_submit(&blk, parts, 3, i & 1, SECTOR + 1));
		EXPECT(*blk.status == BLK_S_OK, "status %u", *blk.status);
		EXPECT_OK(pattern_check((void *)(uintptr_t)parts[1].addr, i, SECTOR, SEED_SALT));
	}
	return NULL;
}

void conformance_chain(void)
{
	static const char *const kinds[] = { "direct", "indirect" };

	for (unsigned kind = 0; kind < 2; kind++) {
		for (unsigned i = 0; i < ARRAY_LEN(read_shapes); i++)
			tap_case(chain_read, i | kind << 8, "read, %s chain, %s", kinds[kind],
				 read_shapes[i].name);
		for (unsigned i = 0; i < ARRAY_LEN(write_shapes); i++)
			tap_case(chain_write, i | kind << 8, "write, %s chain, %s", kinds[kind],
				 write_shapes[i].name);
		tap_case(chain_longest, kind, "longest %s chain", kinds[kind]);
	}
	for (unsigned i = 0; i < 4; i++)
		tap_case(chain_scrambled, i, "descriptors in scrambled order %u", i);
	tap_case(chain_continued, 1, "header, then a table");
	tap_case(chain_continued, 2, "header and data, then a table");
	tap_case(chain_above_4g, 0, "rings and buffers above 4 GiB");
	tap_case(chain_mixed, 0, "direct and indirect chains in turn");
}
