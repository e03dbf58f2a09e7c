/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/boot/e820.h"

#include "vmm-core/machine/layout.h"

static void e820_add(struct e820_map *map, uint64_t start, uint64_t size, enum e820_type type)
{
	map->ranges[map->n++] = (struct e820_range){ start, size, type };
}

int e820_build(const struct guest_region *regions, uint32_t n, struct e820_map *ret)
{
	struct e820_map map = { 0 };

	if (n == 0 || n > GUEST_MEMORY_REGIONS_MAX)
		return -EINVAL;
	if (regions[0].gpa != 0 || regions[0].size < E820_RAM_MIN)
		return -EINVAL;
	e820_add(&map, 0, LAYOUT_LOW_END, E820_RAM);
	e820_add(&map, LAYOUT_LOW_END, LAYOUT_ACPI_END - LAYOUT_LOW_END, E820_RESERVED);
	e820_add(&map, LAYOUT_KERNEL, regions[0].size - LAYOUT_KERNEL, E820_RAM);
	for (uint32_t i = 1; i < n; i++)
		e820_add(&map, regions[i].gpa, regions[i].size, E820_RAM);
	*ret = map;
	return 0;
}

bool e820_is_ram(const struct e820_map *map, uint64_t start, uint64_t size)
{
	for (uint32_t i = 0; i < map->n; i++) {
		const struct e820_range *r = &map->ranges[i];

		if (r->type == E820_RAM && size > 0 && size <= r->size && start >= r->start &&
		    start - r->start <= r->size - size)
			return true;
	}
	return false;
}

uint64_t e820_low_end(const struct e820_map *map)
{
	for (uint32_t i = 0; i < map->n; i++)
		if (map->ranges[i].start == LAYOUT_KERNEL)
			return LAYOUT_KERNEL + map->ranges[i].size;
	return LAYOUT_KERNEL;
}
