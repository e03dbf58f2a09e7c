/* SPDX-License-Identifier: Apache-2.0 */
#include "boot_images.h"
#include "vmm-core/boot/boot_params.h"
#include "vmm-core/boot/pvh.h"

static struct guest_memory *gm;
static struct e820_map map;
static struct boot_params_source source;

static void set_up(void)
{
	uint32_t n;
	const struct guest_region *regions;

	gm = test_memory(GIB(3) + 4096);
	regions = guest_memory_regions(gm, &n);
	cr_assert_eq(e820_build(regions, n, &map), 0);
	source = (struct boot_params_source){
		.map = &map,
		.rsdp = 0xe0000,
		.cmdline = LAYOUT_CMDLINE,
		.initramfs = 0x7ff00000,
		.initramfs_size = 0xff123,
	};
}

static void tear_down(void)
{
	gm = guest_memory_free(gm);
}

TestSuite(boot_params, .init = set_up, .fini = tear_down);

Test(boot_params, zero_page)
{
	cleanup_free struct test_bzimage *file = test_bzimage_new();
	struct boot_params zp;

	file->header.setup_data = 0xbad;
	file->header.code32_start = 0xbad;
	file->header.ramdisk_image = 0xbad;
	file->header.ramdisk_size = 0xbad;
	cr_assert_eq(boot_params_write_linux(gm, &source, &file->header), 0);
	test_read(gm, LAYOUT_ZERO_PAGE, &zp, sizeof(zp));
	cr_expect_eq(zp.acpi_rsdp_addr, 0xe0000);
	cr_expect_eq(zp.sentinel, 0);
	cr_expect_eq(zp.hdr.header, 0x53726448);
	cr_expect_eq(zp.hdr.version, 0x20f);
	cr_expect_eq(zp.hdr.type_of_loader, 0xff);
	cr_expect_eq(zp.hdr.code32_start, 0x100000);
	cr_expect_eq(zp.hdr.setup_data, 0);
	cr_expect_eq(zp.hdr.cmd_line_ptr, LAYOUT_CMDLINE);
	cr_expect_eq(zp.ext_cmd_line_ptr, 0);
	cr_expect_eq(zp.hdr.ramdisk_image, 0x7ff00000);
	cr_expect_eq(zp.hdr.ramdisk_size, 0xff123);
	cr_expect_eq(zp.hdr.init_size, 0x800000);
	cr_expect_eq(zp.e820_entries, 4);
	for (uint32_t i = 0; i < map.n; i++) {
		cr_expect_eq(zp.e820_table[i].addr, map.ranges[i].start);
		cr_expect_eq(zp.e820_table[i].size, map.ranges[i].size);
		cr_expect_eq(zp.e820_table[i].type, map.ranges[i].type);
	}
	cr_expect_eq(zp.e820_table[map.n].size, 0);
}

Test(boot_params, zero_page_splits_wide_addresses)
{
	cleanup_free struct test_bzimage *file = test_bzimage_new();
	struct boot_params zp;

	source.initramfs = 0x123456789000;
	source.initramfs_size = 0x987654321;
	cr_assert_eq(boot_params_write_linux(gm, &source, &file->header), 0);
	test_read(gm, LAYOUT_ZERO_PAGE, &zp, sizeof(zp));
	cr_expect_eq(zp.hdr.ramdisk_image, 0x56789000);
	cr_expect_eq(zp.ext_ramdisk_image, 0x1234);
	cr_expect_eq(zp.hdr.ramdisk_size, 0x87654321);
	cr_expect_eq(zp.ext_ramdisk_size, 0x9);
}

Test(boot_params, start_info)
{
	struct pvh_memmap_entry entry;
	struct pvh_start_info info;
	struct pvh_module module;

	cr_assert_eq(boot_params_write_pvh(gm, &source), 0);
	test_read(gm, LAYOUT_PVH_START_INFO, &info, sizeof(info));
	cr_expect_eq(info.magic, 0x336ec578);
	cr_expect_eq(info.version, 1);
	cr_expect_eq(info.flags, 0);
	cr_expect_eq(info.cmdline, LAYOUT_CMDLINE);
	cr_expect_eq(info.rsdp, 0xe0000);
	cr_expect_eq(info.n_modules, 1);
	test_read(gm, info.modules, &module, sizeof(module));
	cr_expect_eq(module.address, 0x7ff00000);
	cr_expect_eq(module.size, 0xff123);
	cr_expect_eq(module.cmdline, 0);
	cr_assert_eq(info.n_memmap, 4);
	for (uint32_t i = 0; i < map.n; i++) {
		test_read(gm, info.memmap + i * sizeof(entry), &entry, sizeof(entry));
		cr_expect_eq(entry.address, map.ranges[i].start);
		cr_expect_eq(entry.size, map.ranges[i].size);
		cr_expect_eq(entry.type, map.ranges[i].type);
		cr_expect_eq(entry.reserved, 0);
	}
}

Test(boot_params, start_info_without_initramfs_has_no_module)
{
	struct pvh_start_info info;

	source.initramfs = 0;
	source.initramfs_size = 0;
	cr_assert_eq(boot_params_write_pvh(gm, &source), 0);
	test_read(gm, LAYOUT_PVH_START_INFO, &info, sizeof(info));
	cr_expect_eq(info.n_modules, 0);
	cr_expect_eq(info.modules, 0);
}
