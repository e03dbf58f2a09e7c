/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a kernel is told at its entry, in the form of either protocol: the zero page of Linux or
 * the start info of PVH.
 *
 * Runs in the core at boot. Inputs are trusted except the setup header, which came from the
 * kernel file and goes back to that kernel.
 */
#pragma once

#include "vmm-core/boot/e820.h"
#include "vmm-core/boot/kernel_image.h"

struct boot_params_source {
	const struct e820_map *map;
	uint64_t rsdp; /* guest address of the ACPI root pointer */
	uint64_t cmdline; /* guest address, NUL-terminated there */
	uint64_t initramfs; /* guest address */
	uint64_t initramfs_size; /* 0: none */
};

/** boot_params_write_linux() - zero page at LAYOUT_ZERO_PAGE; Return: 0, GUEST_MEMORY_BAD_RANGE */
int must_check boot_params_write_linux(const struct guest_memory *gm,
				       const struct boot_params_source *source,
				       const struct setup_header *header);

/** boot_params_write_pvh() - start info, module list and memory map; Return: as above */
int must_check boot_params_write_pvh(const struct guest_memory *gm,
				     const struct boot_params_source *source);
