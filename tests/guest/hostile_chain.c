/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chains that break a rule of VIRTIO 1.2 §2.7.4, §2.7.5 or §5.2.6: one table, each row run twice,
 * as a direct chain and inside an indirect table (queue and table have the same size).
 */
#include "hostile_chain.h"

/* Addresses of buffers */
uint64_t chain_address(enum place place)
{
	switch (place) {
	case AT_HEADER:
		return (uint64_t)victim.blk.header;
	case AT_DATA:
		return (uint64_t)victim.data;
	case AT_STATUS:
		return (uint64_t)victim.blk.status;
	case AT_TABLE:
		return (uint64_t)victim.table;
	case AT_TABLE_ODD:
		return (uint64_t)victim.table + 1;
	case AT_HOLE:
		return victim.ram_end + MIB;
	case AT_RAM_LAST:
		return victim.ram_end - SECTOR;
	case AT_RAM_END:
		return victim.ram_end - 8;
	case AT_WRAP:
		return ~0ull - 7;
	case AT_HIGH:
		return 1ull << 62;
	case AT_REGISTERS:
		return victim.blk.dev->is_pci ? victim.blk.dev->common : victim.blk.dev->mmio;
	case AT_LAPIC:
		return LAPIC_BASE;
	case AT_DESC:
		return (uint64_t)victim.blk.vq.desc;
	case AT_USED:
		return (uint64_t)victim.blk.vq.used;
	case AT_NULL:
		break;
	}
	return 0;
}

void chain_fill(volatile struct vring_desc *to, const struct link *links)
{
	for (unsigned i = 0; i < LINKS_MAX && links[i].is_used; i++) {
		to[i].addr = chain_address(links[i].place);
		to[i].len = links[i].len;
		to[i].flags = links[i].flags;
		to[i].next = links[i].next;
	}
}

static const struct chain_case chain_cases[] = {
	/* Links, §2.7.5: row 1 and row 2 */
	{ "next is the table's size", "2.7.5, row 2", BLK_IN, RESETS,
	  { LINK(AT_HEADER, 16, R, 16) } },
	{ "next is 65535", "2.7.5, row 2", BLK_IN, RESETS, { LINK(AT_HEADER, 16, R, 0xffff) } },
	{ "next of the data is out of range", "2.7.5, row 2", BLK_IN, RESETS,
	  { HEADER, LINK(AT_DATA, 512, W, 0x8000) } },
	{ "header links to itself", "2.7.5.1, row 1", BLK_IN, RESETS,
	  { LINK(AT_HEADER, 16, R, 0) } },
	{ "data link to themselves", "2.7.5.1, row 1", BLK_IN, RESETS,
	  { HEADER, LINK(AT_DATA, 512, W, 1) } },
	{ "status links to itself", "2.7.5.1, row 1", BLK_IN, RESETS,
	  { HEADER, DATA_IN, LINK(AT_STATUS, 1, W, 2) } },
	{ "loop over two readable buffers", "2.7.5.1, row 1", BLK_OUT, RESETS,
	  { HEADER, LINK(AT_DATA, 512, R, 0) } },
	{ "loop over data and status", "2.7.5.1, row 1", BLK_IN, RESETS,
	  { HEADER, DATA_IN, LINK(AT_STATUS, 1, W, 1) } },
	{ "loop from status to header", "2.7.4.2, row 1", BLK_IN, RESETS,
	  { HEADER, DATA_IN, LINK(AT_STATUS, 1, W, 0) } },
	{ "loop of empty readable buffers", "2.7.5.1, row 1", BLK_IN, RESETS,
	  { LINK(AT_HEADER, 0, R, 0) } },
	{ "loop of empty writable buffers", "2.7.5.1, row 1", BLK_IN, RESETS,
	  { HEADER, LINK(AT_DATA, 0, W, 1) } },

	/* Directions, §2.7.4.2 and §5.2.6: row 10 */
	{ "header is writable", "5.2.6, row 10", BLK_IN, FAILS,
	  { LINK(AT_HEADER, 16, W, 1), DATA_IN, STATUS } },
	{ "all of a read is readable", "5.2.6, row 10", BLK_IN, USED_0,
	  { HEADER, DATA_OUT, LINK(AT_STATUS, 1, LAST_R, 0) } },
	{ "data of a read are readable", "5.2.6, row 10", BLK_IN, FAILS,
	  { HEADER, DATA_OUT, STATUS } },
	{ "data of a write are writable", "5.2.6, row 10", BLK_OUT, FAILS,
	  { HEADER, DATA_IN, STATUS } },
	{ "status of a write is readable", "5.2.6, row 9", BLK_OUT, USED_0,
	  { HEADER, DATA_OUT, LINK(AT_STATUS, 1, LAST_R, 0) } },
	{ "readable buffer after the status", "2.7.4.2, row 10", BLK_IN, RESETS,
	  { HEADER, DATA_IN, LINK(AT_STATUS, 1, W, 3), LINK(AT_DATA, 512, LAST_R, 0) } },
	{ "readable status after writable data", "2.7.4.2, row 10", BLK_IN, RESETS,
	  { HEADER, DATA_IN, LINK(AT_STATUS, 1, LAST_R, 0) } },
	{ "header after the data", "2.7.4.2, row 10", BLK_IN, RESETS,
	  { LINK(AT_DATA, 512, W, 1), LINK(AT_HEADER, 16, R, 2), STATUS } },
	{ "empty readable buffer after a writable one", "2.7.4.2, row 10", BLK_IN, RESETS,
	  { HEADER, DATA_IN, LINK(AT_DATA, 0, R, 3), STATUS } },
	{ "write with writable data behind readable data", "5.2.6, row 10", BLK_OUT, FAILS,
	  { HEADER, DATA_OUT, LINK(AT_DATA, 512, W, 3), STATUS } },
	{ "read with readable data before writable data", "5.2.6, row 10", BLK_IN, FAILS,
	  { HEADER, LINK(AT_DATA, 512, R, 2), LINK(AT_DATA, 512, W, 3), STATUS } },

	/* Headers and status bytes, §5.2.6: row 9 */
	{ "header of 15 bytes", "5.2.6, row 9", BLK_IN, FAILS,
	  { LINK(AT_HEADER, 15, R, 1), DATA_IN, STATUS } },
	{ "header of 1 byte", "5.2.6, row 9", BLK_IN, FAILS,
	  { LINK(AT_HEADER, 1, R, 1), DATA_IN, STATUS } },
	{ "empty header", "5.2.6, row 9", BLK_IN, FAILS,
	  { LINK(AT_HEADER, 0, R, 1), DATA_IN, STATUS } },
	{ "no header", "5.2.6, row 9", BLK_IN, FAILS,
	  { LINK(AT_DATA, 512, W, 1), LINK(AT_STATUS, 1, LAST_W, 0) } },
	{ "nothing but a status byte", "5.2.6, row 9", BLK_IN, FAILS,
	  { LINK(AT_STATUS, 1, LAST_W, 0) } },
	{ "read with 17 readable bytes", "5.2.6, row 9", BLK_IN, FAILS,
	  { LINK(AT_HEADER, 17, R, 1), DATA_IN, STATUS } },
	{ "nothing but a header", "5.2.6, row 9", BLK_IN, USED_0,
	  { LINK(AT_HEADER, 16, LAST_R, 0) } },
	{ "nothing but an empty buffer", "5.2.6, row 9", BLK_IN, USED_0,
	  { LINK(AT_HEADER, 0, LAST_R, 0) } },
	{ "nothing but an empty writable buffer", "5.2.6, row 9", BLK_IN, USED_0,
	  { LINK(AT_STATUS, 0, LAST_W, 0) } },
	{ "write without a status byte", "5.2.6, row 9", BLK_OUT, USED_0,
	  { HEADER, LINK(AT_DATA, 512, LAST_R, 0) } },
	{ "write with an empty status", "5.2.6, row 9", BLK_OUT, USED_0,
	  { HEADER, DATA_OUT, LINK(AT_STATUS, 0, LAST_W, 0) } },
	{ "flush without a status byte", "5.2.6, row 9", BLK_FLUSH, USED_0,
	  { LINK(AT_HEADER, 16, LAST_R, 0) } },
	{ "get id without a status byte", "5.2.6, row 9", BLK_GET_ID, USED_0,
	  { LINK(AT_HEADER, 16, LAST_R, 0) } },
	{ "flush with a short header", "5.2.6, row 9", BLK_FLUSH, FAILS,
	  { LINK(AT_HEADER, 8, R, 2), STATUS, STATUS } },

	/* Buffers that are not RAM, §2.7: row 12 and row 23 */
	{ "header outside RAM", "2.7.5, row 12", BLK_IN, FAILS,
	  { LINK(AT_HOLE, 16, R, 1), DATA_IN, STATUS } },
	{ "header across the end of RAM", "2.7.5, row 12", BLK_IN, FAILS,
	  { LINK(AT_RAM_END, 16, R, 1), DATA_IN, STATUS } },
	{ "header wraps through 2^64", "2.7.5, row 12", BLK_IN, FAILS,
	  { LINK(AT_WRAP, 16, R, 1), DATA_IN, STATUS } },
	{ "header in device registers", "2.7.5, row 23", BLK_IN, FAILS,
	  { LINK(AT_REGISTERS, 16, R, 1), DATA_IN, STATUS } },
	{ "header at a huge address", "2.7.5, row 12", BLK_IN, FAILS,
	  { LINK(AT_HIGH, 16, R, 1), DATA_IN, STATUS } },
	{ "data of a read outside RAM", "2.7.5, row 12", BLK_IN, FAILS,
	  { HEADER, LINK(AT_HOLE, 512, W, 2), STATUS } },
	{ "data of a read across the end of RAM", "2.7.5, row 12", BLK_IN, FAILS,
	  { HEADER, LINK(AT_RAM_END, 512, W, 2), STATUS } },
	{ "data of a read wrap through 2^64", "2.7.5, row 12", BLK_IN, FAILS,
	  { HEADER, LINK(AT_WRAP, 512, W, 2), STATUS } },
	{ "data of a read to the device's own registers", "2.7.5, row 23", BLK_IN, FAILS,
	  { HEADER, LINK(AT_REGISTERS, 512, W, 2), STATUS } },
	{ "data of a read to the local APIC", "2.7.5, row 23", BLK_IN, FAILS,
	  { HEADER, LINK(AT_LAPIC, 512, W, 2), STATUS } },
	{ "data of a read to a huge address", "2.7.5, row 12", BLK_IN, FAILS,
	  { HEADER, LINK(AT_HIGH, 512, W, 2), STATUS } },
	{ "data of a write outside RAM", "2.7.5, row 12", BLK_OUT, FAILS,
	  { HEADER, LINK(AT_HOLE, 512, R, 2), STATUS } },
	{ "data of a write across the end of RAM", "2.7.5, row 12", BLK_OUT, FAILS,
	  { HEADER, LINK(AT_RAM_END, 512, R, 2), STATUS } },
	{ "data of a write wrap through 2^64", "2.7.5, row 12", BLK_OUT, FAILS,
	  { HEADER, LINK(AT_WRAP, 512, R, 2), STATUS } },
	{ "data of a write from device registers", "2.7.5, row 23", BLK_OUT, FAILS,
	  { HEADER, LINK(AT_REGISTERS, 512, R, 2), STATUS } },
	{ "second data buffer outside RAM", "2.7.5, row 12", BLK_IN, FAILS,
	  { HEADER, LINK(AT_DATA, 512, W, 2), LINK(AT_HOLE, 512, W, 3), STATUS } },
	{ "status outside RAM", "2.7.5, row 12", BLK_IN, USED_0,
	  { HEADER, DATA_IN, LINK(AT_HOLE, 1, LAST_W, 0) } },
	{ "status wraps through 2^64", "2.7.5, row 12", BLK_IN, USED_0,
	  { HEADER, DATA_IN, LINK(AT_WRAP, 16, LAST_W, 0) } },
	{ "status in device registers", "2.7.5, row 23", BLK_OUT, USED_0,
	  { HEADER, DATA_OUT, LINK(AT_REGISTERS, 1, LAST_W, 0) } },
	{ "empty buffer outside RAM", "2.7.5, row 12", BLK_IN, READS,
	  { HEADER, LINK(AT_HOLE, 0, W, 2), LINK(AT_DATA, 512, W, 3), STATUS } },
	{ "data up to the last byte of RAM", "2.7.5, row 12", BLK_IN, READS,
	  { HEADER, LINK(AT_RAM_LAST, 512, W, 2), STATUS } },

	/* Sums, §2.7.5.2: row 8 */
	{ "one buffer of 2^32 - 1 bytes", "2.7.5.2, row 8", BLK_IN, RESETS,
	  { HEADER, LINK(AT_DATA, 0xffffffff, W, 2), STATUS } },
	{ "buffers that sum to 2^32 + 512", "2.7.5.2, row 8", BLK_IN, RESETS,
	  { HEADER, LINK(AT_DATA, 0x80000000, W, 2), LINK(AT_DATA, 0x80000200, W, 3), STATUS } },
	{ "readable and writable sum past 2^32", "2.7.5.2, row 8", BLK_OUT, RESETS,
	  { HEADER, LINK(AT_DATA, 0xfffffff0, R, 2), STATUS } },
	{ "header of 2^31 bytes", "5.2.6, row 9", BLK_IN, FAILS,
	  { LINK(AT_HEADER, 0x80000000, R, 1), DATA_IN, STATUS } },

	/* Flags that mean nothing, §2.7.5: reserved bits are ignored */
	{ "reserved flag bits", "2.7.5", BLK_IN, READS,
	  { LINK(AT_HEADER, 16, R | 0x18, 1), LINK(AT_DATA, 512, W | 0x4000, 2), STATUS } },
	{ "next without the flag is ignored", "2.7.5", BLK_IN, READS,
	  { HEADER, DATA_IN, LINK(AT_STATUS, 1, LAST_W, 0xffff) } },

	/* Requests on top of the rings, §2.7: the guest's own loss, nobody else's */
	{ "data read over the descriptor table", "2.7.5, row 6", BLK_IN, READS,
	  { HEADER, LINK(AT_DESC, 512, W, 2), STATUS } },
	{ "data read over the used ring", "2.7.8, row 13", BLK_IN, READS,
	  { HEADER, LINK(AT_USED, 512, W, 2), STATUS } },
	{ "data read over the header", "2.7.5, row 6", BLK_IN, READS,
	  { HEADER, LINK(AT_HEADER, 16, W, 2), LINK(AT_DATA, 496, W, 3), STATUS } },
	{ "data written from the used ring", "2.7.8", BLK_OUT, DONE,
	  { HEADER, LINK(AT_USED, 512, R, 2), STATUS } },
};

const char *chain_judge(const struct chain_case *c, uint16_t head)
{
	/* Reads are of a sector of zeros, so that a ring they land in keeps its index. */
	victim_header(c->type, c->type == BLK_OUT ? SCRATCH_SECTOR : ZERO_SECTOR);
	vq_push(&victim.blk.vq, head);
	vq_kick(&victim.blk.vq);
	return victim_outcome(head, c->outcome, c->status, c->used_len);
}

static const char *chain_direct(uint64_t i)
{
	EXPECT_OK(victim_start(0));
	chain_fill(victim.blk.vq.desc, chain_cases[i].links);
	return chain_judge(&chain_cases[i], 0);
}

static const char *chain_in_table(uint64_t i)
{
	EXPECT_OK(victim_start(FEATURE_INDIRECT));
	chain_fill(victim.table, chain_cases[i].links);
	vq_desc(&victim.blk.vq, 5, victim.table, VICTIM_QUEUE_SIZE * 16, DESC_INDIRECT, 0);
	return chain_judge(&chain_cases[i], 5);
}

static const char *head_outside(uint64_t head)
{
	EXPECT_OK(victim_start(0));
	vq_push(&victim.blk.vq, (uint16_t)head);
	vq_kick(&victim.blk.vq);
	return victim_needs_reset();
}

/* The first descriptor is read as a header: its type is the low half of its own address. */
static const char *header_in_ring(uint64_t unused)
{
	static const struct chain_case c = { .type = BLK_IN, OUTCOME_STATUS, BLK_S_UNSUPP, 1 };
	static const struct link links[LINKS_MAX] = { LINK(AT_DESC, 16, R, 1), DATA_IN, STATUS };

	(void)unused;
	EXPECT_OK(victim_start(0));
	chain_fill(victim.blk.vq.desc, links);
	return chain_judge(&c, 0);
}

/* The last descriptor's head works, so the limit is not one too low. */
static const char *head_last(uint64_t unused)
{
	static const struct chain_case good = { .type = BLK_IN, READS };
	uint16_t last = VICTIM_QUEUE_SIZE - 1;

	(void)unused;
	EXPECT_OK(victim_start(0));
	vq_desc(&victim.blk.vq, last, victim.blk.header, 16, R, 0);
	vq_desc(&victim.blk.vq, 0, victim.data, 512, W, 1);
	vq_desc(&victim.blk.vq, 1, victim.blk.status, 1, LAST_W, 0);
	return chain_judge(&good, last);
}

void hostile_chain(void)
{
	for (unsigned i = 0; i < ARRAY_LEN(chain_cases); i++)
		hostile_case(chain_direct, i, chain_cases[i].rule, "chain, %s",
			     chain_cases[i].name);
	for (unsigned i = 0; i < ARRAY_LEN(chain_cases); i++)
		hostile_case(chain_in_table, i, chain_cases[i].rule, "indirect chain, %s",
			     chain_cases[i].name);
	hostile_case(header_in_ring, 0, "2.7.5, row 6", "chain, header inside the descriptor table");
	hostile_case(head_outside, VICTIM_QUEUE_SIZE, "2.7.6, row 2", "head is the queue size");
	hostile_case(head_outside, 0xffff, "2.7.6, row 2", "head is 65535");
	hostile_case(head_last, 0, "2.7.6", "head is the last descriptor");
}
