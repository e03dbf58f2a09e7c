/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one memory map that both boot protocols announce.
 *
 * Runs in the core at boot; pure. Inputs are trusted: the region list of the core itself.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/guest_memory.h"

/* ACPI 6.4 §15, table 15.15; the PVH memory map uses the same numbers. */
enum e820_type {
	E820_RAM = 1,
	E820_RESERVED = 2,
};

struct e820_range {
	uint64_t start;
	uint64_t size; /* never 0 */
	enum e820_type type;
};

#define E820_RANGES_MAX (GUEST_MEMORY_REGIONS_MAX + 2)

struct e820_map {
	uint32_t n;
	struct e820_range ranges[E820_RANGES_MAX]; /* ascending, not overlapping */
};

#define E820_RAM_MIN 0x200000ull /* what lies below 1 MiB, and room for some kernel */

/**
 * e820_build() - announce every region; in the first one reserve EBDA, ROM area and ACPI tables
 * @regions: @n regions, ascending; the first starts at 0 and holds E820_RAM_MIN bytes at least
 *
 * Return: 0; -EINVAL when the list is not like that.
 */
int must_check e820_build(const struct guest_region *regions, uint32_t n, struct e820_map *ret);

/** e820_is_ram() - is the non-empty [start, start + size) inside one RAM range? */
bool e820_is_ram(const struct e820_map *map, uint64_t start, uint64_t size);

/** e820_low_end() - first address after the RAM that starts at 1 MiB */
uint64_t e820_low_end(const struct e820_map *map);
