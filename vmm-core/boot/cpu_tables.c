/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/boot/cpu_tables.h"

#include <assert.h>

#include "vmm-core/machine/layout.h"

/* Intel SDM vol. 3, §3.4.5: base 0, limit 4 GiB in 4 KiB units, present, ring 0, accessed. */
#define GDT_CODE_32 0x00cf9b000000ffffull /* D=1 */
#define GDT_CODE_64 0x00af9b000000ffffull /* L=1 */
#define GDT_DATA 0x00cf93000000ffffull
#define GDT_TSS 0x00008b0000000067ull /* busy, byte granular, base 0 */

/* Intel SDM vol. 3, §4.5 */
#define PTE_PRESENT_WRITE 0x3ull
#define PDE_LARGE 0x80ull /* 2 MiB */
#define PT_ENTRIES 512u
#define PT_SIZE 4096ull
#define N_PAGE_DIRECTORIES 4u /* 1 GiB each */

static_assert(BOOT_GDT_SIZE + LAYOUT_GDT <= LAYOUT_PVH_START_INFO, "layout");
static_assert(LAYOUT_BOOT_PAGE_TABLES + (2 + N_PAGE_DIRECTORIES) * PT_SIZE <= 0x10000, "layout");

static int cpu_tables_write_gdt(const struct guest_memory *gm, bool long_mode)
{
	uint64_t gdt[BOOT_GDT_SIZE / sizeof(uint64_t)] = {
		[BOOT_SELECTOR_CODE / 8] = long_mode ? GDT_CODE_64 : GDT_CODE_32,
		[BOOT_SELECTOR_DATA / 8] = GDT_DATA,
		[BOOT_SELECTOR_TSS / 8] = GDT_TSS, /* 16 bytes in long mode: the rest is 0 */
	};

	return guest_memory_write(gm, gpa(LAYOUT_GDT), gdt, sizeof(gdt));
}

static int cpu_tables_write_table(const struct guest_memory *gm, uint32_t i,
				  const uint64_t table[static PT_ENTRIES])
{
	return guest_memory_write(gm, gpa(LAYOUT_BOOT_PAGE_TABLES + i * PT_SIZE), table, PT_SIZE);
}

/* PML4, PDPT and the page directories follow each other from LAYOUT_BOOT_PAGE_TABLES on. */
static int cpu_tables_write_identity_map(const struct guest_memory *gm)
{
	uint64_t table[PT_ENTRIES] = {
		[0] = (LAYOUT_BOOT_PAGE_TABLES + PT_SIZE) | PTE_PRESENT_WRITE,
	};
	int r = cpu_tables_write_table(gm, 0, table);

	for (uint32_t i = 0; i < N_PAGE_DIRECTORIES; i++)
		table[i] = (LAYOUT_BOOT_PAGE_TABLES + (2 + i) * PT_SIZE) | PTE_PRESENT_WRITE;
	if (r == 0)
		r = cpu_tables_write_table(gm, 1, table);
	for (uint32_t i = 0; i < N_PAGE_DIRECTORIES && r == 0; i++) {
		for (uint64_t j = 0; j < PT_ENTRIES; j++)
			table[j] = (i * PT_ENTRIES + j) << 21 | PDE_LARGE | PTE_PRESENT_WRITE;
		r = cpu_tables_write_table(gm, 2 + i, table);
	}
	return r;
}

int cpu_tables_write(const struct guest_memory *gm, enum boot_protocol protocol)
{
	int r = cpu_tables_write_gdt(gm, protocol == BOOT_LINUX_64);

	if (r == 0 && protocol == BOOT_LINUX_64)
		r = cpu_tables_write_identity_map(gm);
	return r;
}
