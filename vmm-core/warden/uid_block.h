/* SPDX-License-Identifier: Apache-2.0 */
/*
 * User ids of one VM: a block of 128 that no other VM has, claimed by a byte-range lock.
 *
 * Byte N of the lock file stands for block N. The lock is an OFD lock and its fd goes to the core
 * as well, so a block is reused only after warden and core are both gone. Ids are also group ids.
 *
 * The process that replaces a device process has another id than the two before it: what runs, or
 * is still dying, cannot be mistaken for what waits to take over, nor use up its limits.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "vmm-core/warden/failure.h"

#define UID_BLOCK_SIZE 128u
#define UID_BLOCK_FIRST 0x70000000u /* as root: far above what any distribution hands out */
#define UID_BLOCK_COUNT (0x10000000u / UID_BLOCK_SIZE)

struct uid_block {
	int fd; /* holds the lock; -1: none */
	uid_t first; /* 0: no ids of our own (weak sandbox) */
};

#define UID_BLOCK_INIT ((struct uid_block){ .fd = -1 })

/* Where blocks are counted from. */
struct uid_range {
	uint32_t first;
	uint32_t n_blocks; /* 0: there are no ids to give out (weak sandbox) */
};

/**
 * uid_block_claim() - lock the lowest free block in @path
 * @path: lock file, made when missing; not followed when it is a symlink
 * With range->n_blocks == 0 the fd is still opened (the core gets one), no id is given out.
 * Return: 0; FAILED (all in use, no permission); -errno.
 */
int must_check uid_block_claim(const char *path, const struct uid_range *range,
			       struct uid_block *ret, struct failure *f);

/** uid_block_core(), uid_block_device() - the ids of each process; 0: keep */
uid_t uid_block_core(const struct uid_block *block);
uid_t uid_block_device(const struct uid_block *block, uint32_t slot, uint32_t generation);

/** uid_block_release() - close the fd; the core's copy keeps the block until the core is gone */
void uid_block_release(struct uid_block *block);
