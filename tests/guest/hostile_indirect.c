/* SPDX-License-Identifier: Apache-2.0 */
/* Indirect tables and the descriptors that point to them, VIRTIO 1.2 §2.7.5.3; row 11. */
#include "hostile_chain.h"

#define GOOD_TABLE { HEADER, DATA_IN, STATUS }
#define TABLE(place, len, flags) LINK(place, len, flags, 1)
#define RULE "2.7.5.3, row 11"
#define I DESC_INDIRECT

static const struct chain_case indirect_cases[] = {
	{ "indirect with next", RULE, BLK_IN, RESETS, { TABLE(AT_TABLE, 48, I | R), STATUS },
	  GOOD_TABLE },
	{ "table of 0 bytes", RULE, BLK_IN, RESETS, { TABLE(AT_TABLE, 0, I) }, GOOD_TABLE },
	{ "table of 8 bytes", RULE, BLK_IN, RESETS, { TABLE(AT_TABLE, 8, I) }, GOOD_TABLE },
	{ "table of 15 bytes", RULE, BLK_IN, RESETS, { TABLE(AT_TABLE, 15, I) }, GOOD_TABLE },
	{ "table of 49 bytes", RULE, BLK_IN, RESETS, { TABLE(AT_TABLE, 49, I) }, GOOD_TABLE },
	{ "table of one entry more than the queue", RULE, BLK_IN, RESETS,
	  { TABLE(AT_TABLE, 17 * 16, I) }, GOOD_TABLE },
	{ "table of 2^32 - 16 bytes", RULE, BLK_IN, RESETS, { TABLE(AT_TABLE, 0xfffffff0, I) },
	  GOOD_TABLE },
	{ "table of 65537 entries", RULE, BLK_IN, RESETS, { TABLE(AT_TABLE, 0x100010, I) },
	  GOOD_TABLE },
	{ "table outside RAM", "2.7.5.3, row 12", BLK_IN, RESETS, { TABLE(AT_HOLE, 48, I) } },
	{ "table across the end of RAM", "2.7.5.3, row 12", BLK_IN, RESETS,
	  { TABLE(AT_RAM_END, 48, I) } },
	{ "table wraps through 2^64", "2.7.5.3, row 12", BLK_IN, RESETS,
	  { TABLE(AT_WRAP, 48, I) } },
	{ "table in device registers", "2.7.5.3, row 23", BLK_IN, RESETS,
	  { TABLE(AT_REGISTERS, 48, I) } },
	{ "table in the local APIC", "2.7.5.3, row 23", BLK_IN, RESETS,
	  { TABLE(AT_LAPIC, 48, I) } },
	{ "table at a huge address", "2.7.5.3, row 12", BLK_IN, RESETS,
	  { TABLE(AT_HIGH, 48, I) } },
	{ "table at an odd address", "2.7.5.3", BLK_IN, READS, { TABLE(AT_TABLE_ODD, 48, I) },
	  GOOD_TABLE },
	{ "write flag beside indirect is ignored", "2.7.5.3.2", BLK_IN, READS,
	  { TABLE(AT_TABLE, 48, I | DESC_WRITE) }, GOOD_TABLE },
	{ "table as long as the queue", "2.7.5.3", BLK_IN, READS, { TABLE(AT_TABLE, 256, I) },
	  GOOD_TABLE },
	{ "next points behind a short table", "2.7.5.3, row 2", BLK_IN, RESETS,
	  { TABLE(AT_TABLE, 32, I) }, GOOD_TABLE },
	{ "table of one entry that has a next", "2.7.5.3, row 2", BLK_IN, RESETS,
	  { TABLE(AT_TABLE, 16, I) }, GOOD_TABLE },
	{ "table inside a table", RULE, BLK_IN, RESETS, { TABLE(AT_TABLE, 48, I) },
	  { LINK(AT_TABLE, 48, I, 0) } },
	{ "table inside a table, as the last entry", RULE, BLK_IN, RESETS,
	  { TABLE(AT_TABLE, 48, I) }, { HEADER, DATA_IN, LINK(AT_TABLE, 48, I, 0) } },
	{ "table inside a table, behind a next flag", RULE, BLK_IN, RESETS,
	  { TABLE(AT_TABLE, 48, I) }, { HEADER, LINK(AT_TABLE, 48, I | R, 2), STATUS } },
	{ "header, then a table", "2.7.5.3.2", BLK_IN, READS,
	  { HEADER, TABLE(AT_TABLE, 32, I) },
	  { LINK(AT_DATA, 512, W, 1), LINK(AT_STATUS, 1, LAST_W, 0) } },
	{ "header and data, then a table", "2.7.5.3.2", BLK_IN, READS,
	  { HEADER, DATA_IN, TABLE(AT_TABLE, 16, I) }, { STATUS } },
	{ "writable data, then a table that starts readable", "2.7.4.2, row 10", BLK_IN, RESETS,
	  { HEADER, DATA_IN, TABLE(AT_TABLE, 32, I) },
	  { HEADER, LINK(AT_STATUS, 1, LAST_W, 0) } },
	{ "header, then a table with a next", RULE, BLK_IN, RESETS,
	  { HEADER, LINK(AT_TABLE, 32, I | R, 2), STATUS },
	  { LINK(AT_DATA, 512, W, 1), LINK(AT_STATUS, 1, LAST_W, 0) } },
	{ "header, then a table outside RAM", "2.7.5.3, row 12", BLK_IN, RESETS,
	  { HEADER, TABLE(AT_HOLE, 32, I) } },
	{ "table holds nothing but empty buffers", "5.2.6, row 1", BLK_IN, USED_0,
	  { TABLE(AT_TABLE, 48, I) },
	  { LINK(AT_HEADER, 0, R, 1), LINK(AT_DATA, 0, W, 2), LINK(AT_STATUS, 0, LAST_W, 0) } },
	{ "data read over the table itself", "2.7.5.3, row 6", BLK_IN, READS,
	  { TABLE(AT_TABLE, 48, I) }, { HEADER, LINK(AT_TABLE, 512, W, 2), STATUS } },
};

static const char *indirect_run(uint64_t i)
{
	const struct chain_case *c = &indirect_cases[i];

	EXPECT_OK(victim_start(FEATURE_INDIRECT));
	chain_fill(victim.table, c->table);
	if (c->links[0].place == AT_TABLE_ODD)
		memmove((uint8_t *)victim.table + 1, victim.table, 16 * LINKS_MAX);
	chain_fill(victim.blk.vq.desc, c->links);
	return chain_judge(c, 0);
}

static const char *indirect_not_negotiated(uint64_t unused)
{
	static const struct chain_case c = { .type = BLK_IN, RESETS };
	static const struct link good[LINKS_MAX] = GOOD_TABLE;

	(void)unused;
	EXPECT_OK(victim_start(0));
	chain_fill(victim.table, good);
	vq_desc(&victim.blk.vq, 0, victim.table, 48, DESC_INDIRECT, 0);
	return chain_judge(&c, 0);
}

/* The descriptor table of the ring serves as the indirect table of one of its chains. */
static const char *indirect_in_ring(uint64_t unused)
{
	static const struct chain_case c = { .type = BLK_IN, READS };
	static const struct link good[LINKS_MAX] = GOOD_TABLE;

	(void)unused;
	EXPECT_OK(victim_start(FEATURE_INDIRECT));
	chain_fill(victim.blk.vq.desc, good);
	vq_desc(&victim.blk.vq, 5, victim.blk.vq.desc, 48, DESC_INDIRECT, 0);
	return chain_judge(&c, 5);
}

/* Descriptor 5 points to a table that starts with descriptor 5. */
static const char *indirect_of_itself(uint64_t unused)
{
	static const struct chain_case c = { .type = BLK_IN, RESETS };

	(void)unused;
	EXPECT_OK(victim_start(FEATURE_INDIRECT));
	vq_desc(&victim.blk.vq, 5, &victim.blk.vq.desc[5], 16, DESC_INDIRECT, 0);
	return chain_judge(&c, 5);
}

static const char *indirect_shared(uint64_t unused)
{
	static const struct link good[LINKS_MAX] = GOOD_TABLE;
	struct vring_used_elem elem;

	(void)unused;
	EXPECT_OK(victim_start(FEATURE_INDIRECT));
	chain_fill(victim.table, good);
	victim_header(BLK_IN, ZERO_SECTOR);
	for (uint16_t i = 0; i < 8; i++) {
		vq_desc(&victim.blk.vq, i, victim.table, 48, DESC_INDIRECT, 0);
		vq_stage(&victim.blk.vq, i);
	}
	vq_publish(&victim.blk.vq);
	vq_kick(&victim.blk.vq);
	for (unsigned i = 0; i < 8; i++)
		EXPECT(vq_wait(&victim.blk.vq, TIMEOUT_REQUEST, &elem) && elem.len == 513,
		       "request %u", i);
	return victim_good_request();
}

void hostile_indirect(void)
{
	for (unsigned i = 0; i < ARRAY_LEN(indirect_cases); i++)
		hostile_case(indirect_run, i, indirect_cases[i].rule, "indirect, %s",
			     indirect_cases[i].name);
	hostile_case(indirect_not_negotiated, 0, RULE, "indirect, not negotiated");
	hostile_case(indirect_in_ring, 0, "2.7.5.3", "indirect, table is the ring's own");
	hostile_case(indirect_of_itself, 0, RULE, "indirect, descriptor is its own table");
	hostile_case(indirect_shared, 0, "2.7.5.3", "indirect, eight requests share a table");
}
