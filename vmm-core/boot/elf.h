/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ELF kernels ("vmlinux") that carry a PVH entry note.
 *
 * Runs in the core. Every field of the file is hostile.
 * Spec: System V gABI, chapters 4 and 5; Xen docs/misc/pvh; include/xen/interface/elfnote.h.
 */
#pragma once

#include "vmm-core/boot/boot_input.h"
#include "vmm-core/boot/e820.h"
#include "vmm-core/boot/kernel_image.h"

#define ELF_SEGMENTS_MAX 64u /* program headers; a Linux kernel has five or six */
#define ELF_NOTES_MAX 256u /* notes looked at, over all PT_NOTE segments */

/**
 * elf_load() - check a file that starts with the ELF magic and load its segments
 * @map: the guest's RAM, for range checks
 *
 * Nothing is loaded before every header and note has been checked.
 * Return: 0; -EINVAL for an unusable file, -errno of reading it; @error is set.
 */
int must_check elf_load(const struct boot_input *in, const struct guest_memory *gm,
			const struct e820_map *map, struct boot_error *error,
			struct kernel_image *ret);
