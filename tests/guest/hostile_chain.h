/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of descriptor chains, for hostile_chain.c and hostile_indirect.c. */
#pragma once

#include "hostile.h"

#define LINKS_MAX 6

/* Where a buffer lies. */
enum place {
	AT_NULL,
	AT_HEADER,
	AT_DATA,
	AT_STATUS,
	AT_TABLE, /* the indirect table */
	AT_TABLE_ODD, /* the same, one byte further: nothing asks for its alignment */
	AT_HOLE, /* no RAM */
	AT_RAM_LAST, /* the last 512 bytes of RAM */
	AT_RAM_END, /* 8 bytes before the end of RAM */
	AT_WRAP, /* 8 bytes before 2^64 */
	AT_HIGH,
	AT_REGISTERS, /* the device's own */
	AT_LAPIC,
	AT_DESC, /* the rings themselves */
	AT_USED,
};

struct link {
	bool is_used;
	uint8_t place;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

struct chain_case {
	const char *name, *rule;
	uint32_t type;
	enum outcome outcome;
	int status;
	uint32_t used_len;
	struct link links[LINKS_MAX];
	struct link table[LINKS_MAX]; /* hostile_indirect.c */
};

#define R DESC_NEXT
#define W (DESC_NEXT | DESC_WRITE)
#define LAST_R 0
#define LAST_W DESC_WRITE
#define LINK(place, len, flags, next) { true, place, len, flags, next }
#define HEADER LINK(AT_HEADER, 16, R, 1)
#define DATA_IN LINK(AT_DATA, 512, W, 2)
#define DATA_OUT LINK(AT_DATA, 512, R, 2)
#define STATUS LINK(AT_STATUS, 1, LAST_W, 0)
#define FAILS OUTCOME_STATUS, BLK_S_IOERR, 1
#define READS OUTCOME_STATUS, BLK_S_OK, 513
#define DONE OUTCOME_STATUS, BLK_S_OK, 1
#define RESETS OUTCOME_RESET, 0, 0
#define USED_0 OUTCOME_USED_0, 0, 0

uint64_t chain_address(enum place place);
void chain_fill(volatile struct vring_desc *to, const struct link *links);
/* Submits the chain at head and waits for what the row says. */
const char *chain_judge(const struct chain_case *c, uint16_t head);
