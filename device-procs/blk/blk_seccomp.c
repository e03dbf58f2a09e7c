/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bulkhead-blk may still ask of the kernel once it is sealed. Compiled to BPF at build time.
 */
#include <linux/fs.h>

#include "device-procs/common/device_seccomp.h"

const struct seccomp_rule seccomp_rules[] = {
	DEVICE_SECCOMP_RULES,
	ANY(io_uring_enter, "blk_engine.c: the ring was made and restricted before the seal"),
	ANY(pwritev2, "blk_engine.c: buffered writes, which a ring would punt to a worker"),
	IOCTL(BLKDISCARD, "blk_engine.c: discard on a block device"),
	{ .nr = SECCOMP_RULES_END },
};
