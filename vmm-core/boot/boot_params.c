/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/boot/boot_params.h"

#include <assert.h>
#include <stddef.h>

#include "vmm-core/boot/pvh.h"
#include "vmm-core/machine/layout.h"

#define LOADER_UNDEFINED 0xffu /* type_of_loader of a loader without a number of its own */
#define PVH_MODULES (LAYOUT_PVH_START_INFO + 0x40)

/* boot.rst, "ZERO PAGE" */
static_assert(sizeof(struct boot_params) == 4096, "zero page");
static_assert(offsetof(struct boot_params, acpi_rsdp_addr) == 0x70, "zero page");
static_assert(offsetof(struct boot_params, e820_table) == 0x2d0, "zero page");
static_assert(E820_RANGES_MAX <= E820_MAX_ENTRIES_ZEROPAGE, "map fits the zero page");
static_assert(PVH_MODULES >= LAYOUT_PVH_START_INFO + sizeof(struct pvh_start_info), "layout");
static_assert(PVH_MODULES + sizeof(struct pvh_module) <= LAYOUT_PVH_MEMMAP, "layout");
static_assert(LAYOUT_PVH_MEMMAP + E820_RANGES_MAX * sizeof(struct pvh_memmap_entry) <=
		      LAYOUT_ZERO_PAGE,
	      "layout");

int boot_params_write_linux(const struct guest_memory *gm, const struct boot_params_source *source,
			    const struct setup_header *header)
{
	struct boot_params zp = { .hdr = *header };

	zp.hdr.type_of_loader = LOADER_UNDEFINED;
	/* Where the kernel is: a file may hold anything here, and the 32-bit entry reads it. */
	zp.hdr.code32_start = LAYOUT_KERNEL;
	zp.hdr.setup_data = 0;
	zp.hdr.cmd_line_ptr = (uint32_t)source->cmdline;
	zp.ext_cmd_line_ptr = (uint32_t)(source->cmdline >> 32);
	zp.hdr.ramdisk_image = (uint32_t)source->initramfs;
	zp.ext_ramdisk_image = (uint32_t)(source->initramfs >> 32);
	zp.hdr.ramdisk_size = (uint32_t)source->initramfs_size;
	zp.ext_ramdisk_size = (uint32_t)(source->initramfs_size >> 32);
	zp.acpi_rsdp_addr = source->rsdp;
	for (uint32_t i = 0; i < source->map->n; i++) {
		const struct e820_range *r = &source->map->ranges[i];

		zp.e820_table[i].addr = r->start;
		zp.e820_table[i].size = r->size;
		zp.e820_table[i].type = r->type;
	}
	zp.e820_entries = (uint8_t)source->map->n;
	return guest_memory_write(gm, gpa(LAYOUT_ZERO_PAGE), &zp, sizeof(zp));
}

static int boot_params_write_pvh_memmap(const struct guest_memory *gm, const struct e820_map *map)
{
	struct pvh_memmap_entry entries[E820_RANGES_MAX] = { 0 };

	for (uint32_t i = 0; i < map->n; i++) {
		entries[i].address = map->ranges[i].start;
		entries[i].size = map->ranges[i].size;
		entries[i].type = map->ranges[i].type;
	}
	return guest_memory_write(gm, gpa(LAYOUT_PVH_MEMMAP), entries, sizeof(entries));
}

int boot_params_write_pvh(const struct guest_memory *gm, const struct boot_params_source *source)
{
	struct pvh_start_info info = {
		.magic = PVH_MAGIC,
		.version = PVH_VERSION,
		.cmdline = source->cmdline,
		.rsdp = source->rsdp,
		.memmap = LAYOUT_PVH_MEMMAP,
		.n_memmap = source->map->n,
	};
	int r = boot_params_write_pvh_memmap(gm, source->map);

	if (r != 0)
		return r;
	if (source->initramfs_size > 0) {
		struct pvh_module module = {
			.address = source->initramfs,
			.size = source->initramfs_size,
		};

		r = guest_memory_write(gm, gpa(PVH_MODULES), &module, sizeof(module));
		if (r != 0)
			return r;
		info.modules = PVH_MODULES;
		info.n_modules = 1;
	}
	return guest_memory_write(gm, gpa(LAYOUT_PVH_START_INFO), &info, sizeof(info));
}
