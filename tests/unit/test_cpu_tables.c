/* SPDX-License-Identifier: Apache-2.0 */
#include "boot_images.h"
#include "vmm-core/boot/cpu_tables.h"

static struct guest_memory *gm;

static void set_up(void)
{
	gm = test_memory(MIB(2));
}

static void tear_down(void)
{
	gm = guest_memory_free(gm);
}

TestSuite(cpu_tables, .init = set_up, .fini = tear_down);

static uint64_t read_entry(uint64_t table, uint64_t i)
{
	uint64_t v;

	test_read(gm, table + i * sizeof(v), &v, sizeof(v));
	return v;
}

/* Walks the tables as the processor does. */
static uint64_t translate(uint64_t address)
{
	uint64_t mask = 0xffffffffff000ull;
	uint64_t pml4e = read_entry(LAYOUT_BOOT_PAGE_TABLES, address >> 39 & 511);
	uint64_t pdpte, pde;

	cr_assert_eq(pml4e & ~mask, 0x3);
	pdpte = read_entry(pml4e & mask, address >> 30 & 511);
	cr_assert_eq(pdpte & ~mask, 0x3);
	pde = read_entry(pdpte & mask, address >> 21 & 511);
	cr_assert_eq(pde & ~mask, 0x83);
	return (pde & mask) | (address & 0x1fffff);
}

Test(cpu_tables, linux_64_maps_4_gib_to_itself)
{
	cr_assert_eq(cpu_tables_write(gm, BOOT_LINUX_64), 0);
	for (uint64_t at = 0; at < GIB(4); at += MIB(2))
		cr_assert_eq(translate(at + 0x1234), at + 0x1234);
	cr_expect_eq(read_entry(LAYOUT_BOOT_PAGE_TABLES, 1), 0);
	cr_expect_eq(read_entry(LAYOUT_BOOT_PAGE_TABLES + 4096, 4), 0);
	cr_expect_eq(read_entry(LAYOUT_BOOT_PAGE_TABLES + 6 * 4096, 0), 0);
}

Test(cpu_tables, linux_64_gdt_has_a_long_mode_code_segment)
{
	cr_assert_eq(cpu_tables_write(gm, BOOT_LINUX_64), 0);
	cr_expect_eq(read_entry(LAYOUT_GDT, 0), 0);
	cr_expect_eq(read_entry(LAYOUT_GDT + BOOT_SELECTOR_CODE, 0), 0x00af9b000000ffff);
	cr_expect_eq(read_entry(LAYOUT_GDT + BOOT_SELECTOR_DATA, 0), 0x00cf93000000ffff);
	cr_expect_eq(read_entry(LAYOUT_GDT + BOOT_SELECTOR_TSS, 0), 0x00008b0000000067);
	cr_expect_eq(read_entry(LAYOUT_GDT + BOOT_SELECTOR_TSS, 1), 0);
}

Test(cpu_tables, without_paging_there_are_no_page_tables)
{
	static const enum boot_protocol protocols[] = { BOOT_PVH, BOOT_LINUX_32 };

	for (size_t i = 0; i < ARRAY_LEN(protocols); i++) {
		cr_assert_eq(cpu_tables_write(gm, protocols[i]), 0);
		cr_expect_eq(read_entry(LAYOUT_GDT + BOOT_SELECTOR_CODE, 0), 0x00cf9b000000ffff);
		cr_expect_eq(read_entry(LAYOUT_BOOT_PAGE_TABLES, 0), 0);
	}
}
