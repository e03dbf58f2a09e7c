/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PVH start info, version 1.
 * Spec: Xen docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h. All fields little-endian.
 */
#pragma once

#include <assert.h>
#include <stdint.h>

#define PVH_MAGIC 0x336ec578u /* "xEn3" with bit 7 of the E set */
#define PVH_VERSION 1u

struct pvh_start_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags; /* domain flags, 0 outside Xen */
	uint32_t n_modules;
	uint64_t modules; /* guest addresses, 0 when there is nothing */
	uint64_t cmdline;
	uint64_t rsdp;
	uint64_t memmap; /* from version 1 on */
	uint32_t n_memmap;
	uint32_t reserved;
};

struct pvh_module {
	uint64_t address;
	uint64_t size;
	uint64_t cmdline;
	uint64_t reserved;
};

struct pvh_memmap_entry {
	uint64_t address;
	uint64_t size;
	uint32_t type; /* as in e820 */
	uint32_t reserved;
};

static_assert(sizeof(struct pvh_start_info) == 56, "start_info.h");
static_assert(sizeof(struct pvh_module) == 32, "start_info.h");
static_assert(sizeof(struct pvh_memmap_entry) == 24, "start_info.h");
