/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the hostile suite share. The first disk is the victim. A case starts it anew,
 * breaks one rule, and states the exact outcome; then the victim must work again after a reset,
 * and the second disk, whose session lasts through all cases, must not have noticed.
 *
 * Rules are named by their section in VIRTIO 1.2, or by "row N" of the list of vulnerability
 * classes in README.md.
 */
#pragma once

#include "blk.h"
#include "hostile_case.h"

#define SECTOR 512u
#define VICTIM_QUEUE_SIZE 16
#define DATA_BYTES 16384u

/* A sector that only good requests touch, and one that cases write to. */
#define GOOD_SECTOR 3u
#define SCRATCH_SECTOR 64u
#define ZERO_SECTOR 128u /* never written */

enum outcome {
	OUTCOME_STATUS, /* used element with this status byte and this length */
	OUTCOME_USED_0, /* used element of length 0: there is no status byte to write */
	OUTCOME_RESET, /* DEVICE_NEEDS_RESET, and the used ring stands still */
	OUTCOME_IGNORED, /* no effect at all: the next good request works without a reset */
};

struct victim {
	struct blk blk;
	uint8_t *data; /* DATA_BYTES, with a guard page before and behind */
	struct vring_desc *table; /* 64 descriptors */
	uint64_t ram_end; /* first byte behind the RAM that holds the probe */
	uint64_t capacity; /* sectors */
};

extern struct victim victim;

/* Starts the victim with these features besides VERSION_1; NULL or a detail */
const char *victim_start(uint64_t features);
const char *victim_start_size(uint64_t features, uint16_t size);
/* Header of the next request; the status byte is set to BLK_S_NONE. */
void victim_header(uint32_t type, uint64_t sector);
/* Waits for the outcome of the chain at head. */
const char *victim_outcome(uint16_t head, enum outcome outcome, int status, uint32_t used_len);
const char *victim_needs_reset(void);
/* A read of GOOD_SECTOR through the session as it is */
const char *victim_good_request(void);

/* The other CPU, 0 when there is none; started at the first call */
unsigned hostile_partner(void);

/* The victim after a reset, the second disk, and the memory around victim.data; NULL or a detail */
const char *victim_and_others_work(void);
extern const struct hostile_target victim_target;
/* A case against the victim: hostile_case_of() without its first argument. */
#define hostile_case(...) hostile_case_of(&victim_target, __VA_ARGS__)

void hostile_chain(void);
void hostile_indirect(void);
void hostile_blk(void);
void hostile_ring(void);
void hostile_setup(void);
void hostile_status(void);
void hostile_registers(void);
void hostile_config(void);
void hostile_pci(void);
void hostile_race(void);
void hostile_random(void);
void hostile_console(void);
void hostile_rng(void);
