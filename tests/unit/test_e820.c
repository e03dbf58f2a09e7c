/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "vmm-core/boot/e820.h"
#include "vmm-core/machine/layout.h"

#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)

static void expect_range(const struct e820_map *map, uint32_t i, uint64_t start, uint64_t end,
			 enum e820_type type)
{
	cr_assert_lt(i, map->n);
	cr_expect_eq(map->ranges[i].start, start);
	cr_expect_eq(map->ranges[i].start + map->ranges[i].size, end);
	cr_expect_eq(map->ranges[i].type, type);
}

static struct e820_map build(uint64_t low, uint64_t high)
{
	struct guest_region regions[] = { { 0, low }, { LAYOUT_HIGH_RAM_START, high } };
	struct e820_map map;

	cr_assert_eq(e820_build(regions, high > 0 ? 2 : 1, &map), 0);
	expect_range(&map, 0, 0, 0x9fc00, E820_RAM);
	expect_range(&map, 1, 0x9fc00, MIB(1), E820_RESERVED);
	expect_range(&map, 2, MIB(1), low, E820_RAM);
	return map;
}

Test(e820, small_guest)
{
	struct e820_map map = build(MIB(64), 0);

	cr_expect_eq(map.n, 3);
	cr_expect_eq(e820_low_end(&map), MIB(64));
}

Test(e820, exactly_up_to_the_hole)
{
	struct e820_map map = build(GIB(3), 0);

	cr_expect_eq(map.n, 3);
	cr_expect_eq(e820_low_end(&map), GIB(3));
}

Test(e820, one_page_above_the_hole)
{
	struct e820_map map = build(GIB(3), 4096);

	cr_expect_eq(map.n, 4);
	expect_range(&map, 3, GIB(4), GIB(4) + 4096, E820_RAM);
	cr_expect_eq(e820_low_end(&map), GIB(3));
}

Test(e820, large_guest)
{
	struct e820_map map = build(GIB(3), GIB(97));

	cr_expect_eq(map.n, 4);
	expect_range(&map, 3, GIB(4), GIB(101), E820_RAM);
}

Test(e820, refuses_what_no_guest_can_boot_in)
{
	struct guest_region small = { 0, MIB(1) };
	struct guest_region high = { MIB(2), MIB(64) };
	struct e820_map map;

	cr_expect_eq(e820_build(&small, 1, &map), -EINVAL);
	cr_expect_eq(e820_build(&high, 1, &map), -EINVAL);
	cr_expect_eq(e820_build(&high, 0, &map), -EINVAL);
	cr_expect_eq(e820_build(&high, GUEST_MEMORY_REGIONS_MAX + 1, &map), -EINVAL);
}

Test(e820, ram_is_inside_one_range)
{
	struct e820_map map = build(GIB(3), MIB(1));

	cr_expect(e820_is_ram(&map, 0, 0x9fc00));
	cr_expect(e820_is_ram(&map, MIB(1), GIB(3) - MIB(1)));
	cr_expect(e820_is_ram(&map, GIB(4) + MIB(1) - 1, 1));
	cr_expect_not(e820_is_ram(&map, MIB(1), 0));
	cr_expect_not(e820_is_ram(&map, 0, 0x9fc01));
	cr_expect_not(e820_is_ram(&map, 0xe0000, 16));
	cr_expect_not(e820_is_ram(&map, MIB(1), GIB(3)));
	cr_expect_not(e820_is_ram(&map, GIB(3), 1));
	cr_expect_not(e820_is_ram(&map, GIB(4) + MIB(1), 1));
	cr_expect_not(e820_is_ram(&map, UINT64_MAX, 2));
	cr_expect_not(e820_is_ram(&map, MIB(1), UINT64_MAX));
}
