/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two kernel loaders hand on: where the kernel is and what it accepts.
 */
#pragma once

#include <asm/bootparam.h>

#include "vmm-core/boot/boot.h"

/*
 * Longest command line without its NUL. A bzImage says itself what it takes; an ELF file cannot,
 * and Linux would silently cut at its COMMAND_LINE_SIZE of 2048.
 */
#define KERNEL_CMDLINE_MAX_ELF 2047u

struct kernel_image {
	enum boot_protocol protocol;
	uint64_t entry; /* guest address of the first instruction */
	uint64_t soon, soon_size; /* see struct boot_entry */
	uint64_t low_end; /* below 4 GiB the kernel touches nothing at or above this by itself */
	uint64_t initramfs_limit; /* the initramfs must end at or below this */
	uint32_t cmdline_max; /* bytes without the NUL */
	struct setup_header header; /* BOOT_LINUX_*: the kernel's own, zeroes past its end */
};
