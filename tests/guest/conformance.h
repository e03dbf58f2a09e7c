/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the conformance suite share. Each exports one group of cases. */
#pragma once

#include "blk.h"
#include "tap.h"

#define SECTOR 512u

/* The first disk, which is written to, and the second one, NULL when there is none. */
extern struct vdev *disk, *second_disk;

/* What sectors 0 to SEEDED_SECTORS - 1 of the first disk hold, unless a case writes there. */
#define SEEDED_SECTORS 256u
#define SEED_SALT 0x5eedu
/* First sector that cases may write to; they own SCRATCH_SECTORS of them. */
#define SCRATCH_SECTOR 1024u
#define SCRATCH_SECTORS 4096u

void pattern_fill(void *data, uint64_t sector, size_t len, uint64_t salt);
/* NULL, or a detail that names the first byte that differs */
const char *pattern_check(const void *data, uint64_t sector, size_t len, uint64_t salt);
const char *zero_check(const void *data, size_t len);
/* Waits for InterruptStatus bit 0; true when it was seen. */
bool interrupt_wait(const struct vdev *dev, uint64_t timeout_ms);
/* One good read of a seeded sector through an already started disk */
const char *disk_read_works(struct blk *blk);
/* One good read through a disk that is started anew */
const char *disk_restart_works(struct vdev *dev, uint64_t features);

void conformance_negotiation(void);
void conformance_ring(void);
void conformance_event(void);
void conformance_chain(void);
void conformance_blk(void);
void conformance_reset(void);
void conformance_config(void);
void conformance_console(void);
void conformance_rng(void);
