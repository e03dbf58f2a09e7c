/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>

#include "boot_images.h"
#include "vmm-core/boot/boot.h"
#include "vmm-core/boot/pvh.h"

static char text[200];
static struct boot_entry entry;

static struct boot_source source_of(int kernel_fd)
{
	return (struct boot_source){
		.kernel_fd = kernel_fd,
		.initramfs_fd = -1,
		.cmdline = "console=ttyS0",
		.n_cpus = 2,
		.virtio_mmio_slots = 0x1,
	};
}

static int elf_fd(void)
{
	cleanup_free struct test_elf *elf = test_elf_new();

	return test_file(elf, sizeof(*elf));
}

static int bzimage_fd(void)
{
	cleanup_free struct test_bzimage *image = test_bzimage_new();

	return test_file(image, sizeof(*image));
}

static int load(uint64_t memory, const struct boot_source *source)
{
	struct guest_memory *gm = test_memory(memory);
	int r;

	text[0] = '\0';
	r = boot_load(gm, source, &entry, text, sizeof(text));
	guest_memory_free(gm);
	return r;
}

static void expect_refused(uint64_t memory, struct boot_source source, const char *what)
{
	cr_expect_eq(load(memory, &source), -EINVAL);
	cr_expect_str_eq(text, what);
}

Test(boot, pvh_kernel_with_initramfs)
{
	struct guest_memory *gm = test_memory(MIB(64));
	struct boot_source source = source_of(elf_fd());
	struct pvh_start_info info;
	struct pvh_module module;
	char got[32];

	source.initramfs_fd = test_file("the initramfs", 13);
	cr_assert_eq(boot_load(gm, &source, &entry, text, sizeof(text)), 0, "%s", text);
	cr_expect_eq(entry.protocol, BOOT_PVH);
	cr_expect_eq(entry.rip, TEST_ELF_ENTRY);
	cr_expect_eq(entry.params, LAYOUT_PVH_START_INFO);
	test_read(gm, entry.params, &info, sizeof(info));
	test_read(gm, info.cmdline, got, sizeof(got));
	cr_expect_str_eq(got, "console=ttyS0");
	test_read(gm, info.rsdp, got, 8);
	cr_expect_eq(memcmp(got, "RSD PTR ", 8), 0);
	test_read(gm, info.modules, &module, sizeof(module));
	cr_expect_eq(module.address, MIB(64) - 4096, "page-aligned at the top of low RAM");
	cr_expect_eq(module.size, 13);
	test_read(gm, module.address, got, 14);
	cr_expect_str_eq(got, "the initramfs");
	guest_memory_free(gm);
}

Test(boot, bzimage_with_initramfs_below_its_limit)
{
	struct guest_memory *gm = test_memory(GIB(3) + MIB(64));
	struct boot_source source = source_of(bzimage_fd());
	struct boot_params zp;
	char got[32];

	source.initramfs_fd = test_hole(0x1001);
	cr_assert_eq(boot_load(gm, &source, &entry, text, sizeof(text)), 0, "%s", text);
	cr_expect_eq(entry.protocol, BOOT_LINUX_64);
	cr_expect_eq(entry.rip, 0x100200);
	cr_expect_eq(entry.params, LAYOUT_ZERO_PAGE);
	test_read(gm, entry.params, &zp, sizeof(zp));
	cr_expect_eq(zp.hdr.ramdisk_image, 0x80000000 - 0x2000, "initrd_addr_max is 0x7fffffff");
	cr_expect_eq(zp.hdr.ramdisk_size, 0x1001);
	cr_expect_eq(zp.e820_entries, 4);
	test_read(gm, zp.hdr.cmd_line_ptr, got, sizeof(got));
	cr_expect_str_eq(got, "console=ttyS0");
	guest_memory_free(gm);
}

Test(boot, loads_again_after_a_reset)
{
	struct guest_memory *gm = test_memory(MIB(64));
	struct boot_source source = source_of(elf_fd());
	struct boot_entry again;

	source.initramfs_fd = test_file("the initramfs", 13);
	cr_assert_eq(boot_load(gm, &source, &entry, text, sizeof(text)), 0);
	cr_assert_eq(guest_memory_punch(gm), 0);
	cr_assert_eq(boot_load(gm, &source, &again, text, sizeof(text)), 0);
	cr_expect_eq(again.rip, entry.rip);
	cr_expect_eq(again.params, entry.params);
	guest_memory_free(gm);
}

Test(boot, refuses_what_is_no_kernel)
{
	expect_refused(MIB(64), source_of(test_hole(0)), "--kernel: empty file");
	expect_refused(MIB(64), source_of(test_file("MZ", 2)),
		       "--kernel: neither a bzImage nor an ELF vmlinux");
	expect_refused(MIB(64), source_of(test_hole(MIB(1))),
		       "--kernel: neither a bzImage nor an ELF vmlinux");
	expect_refused(MIB(64), source_of(test_file(ELFMAG, SELFMAG)),
		       "--kernel: truncated: the ELF header ends past the end of the file");
	expect_refused(MIB(64), source_of(open("/proc/self/exe", O_RDONLY)),
		       "--kernel: ELF file without a PVH entry note (XEN_ELFNOTE_PHYS32_ENTRY)");
	expect_refused(MIB(64), source_of(open("/", O_RDONLY)), "--kernel: is a directory");
}

Test(boot, names_the_error_of_a_failing_read)
{
	struct boot_source source = source_of(open("/proc/self/exe", O_PATH));

	cr_expect_eq(load(MIB(64), &source), -EBADF);
	cr_expect_str_eq(text, "--kernel: cannot read the magic number: Bad file descriptor");
}

Test(boot, refuses_too_little_memory)
{
	expect_refused(MIB(1), source_of(elf_fd()), "--memory: a guest needs at least 2 MiB");
	expect_refused(MIB(16), source_of(elf_fd()),
		       "--kernel: ELF segment 0 lies outside guest memory");
	expect_refused(MIB(16), source_of(bzimage_fd()),
		       "--kernel: unpacking needs 8 MiB at 0x1000000, which is not in guest memory");
}

Test(boot, refuses_an_initramfs_that_does_not_fit)
{
	struct boot_source source = source_of(bzimage_fd());

	source.initramfs_fd = test_hole(MIB(300));
	expect_refused(MIB(256), source,
		       "--initramfs: 300 MiB do not fit in guest memory beside the kernel, "
		       "which leaves 232 MiB");
	source.initramfs_fd = test_hole(MIB(8) + 1);
	expect_refused(MIB(32), source,
		       "--initramfs: 9 MiB do not fit in guest memory beside the kernel, "
		       "which leaves 8 MiB");
	source.initramfs_fd = test_hole(INT64_MAX);
	cr_expect_eq(load(GIB(5), &source), -EINVAL);
	source.initramfs_fd = test_hole(0);
	expect_refused(MIB(64), source, "--initramfs: empty file");
	source.initramfs_fd = test_hole(MIB(8));
	cr_expect_eq(load(MIB(32), &source), 0, "%s", text);
}

Test(boot, a_cmdline_may_be_as_long_as_the_kernel_takes)
{
	struct boot_source linux_source = source_of(bzimage_fd());
	struct boot_source pvh_source = source_of(elf_fd());
	char cmdline[2301];

	memset(cmdline, 'x', 2300);
	cmdline[2300] = '\0';
	linux_source.cmdline = pvh_source.cmdline = cmdline;
	expect_refused(MIB(64), linux_source, "--cmdline: 2300 bytes, this kernel takes 2047");
	expect_refused(MIB(64), pvh_source, "--cmdline: 2300 bytes, this kernel takes 2047");
	cmdline[2048] = '\0';
	expect_refused(MIB(64), linux_source, "--cmdline: 2048 bytes, this kernel takes 2047");
	cmdline[2047] = '\0';
	cr_expect_eq(load(MIB(64), &linux_source), 0, "%s", text);
	cr_expect_eq(load(MIB(64), &pvh_source), 0, "%s", text);
	linux_source.cmdline = "";
	cr_expect_eq(load(MIB(64), &linux_source), 0, "%s", text);
}

Test(boot, a_guest_of_100_gib_boots)
{
	struct boot_source source = source_of(elf_fd());

	cr_expect_eq(load(GIB(100), &source), 0, "%s", text);
}

Test(boot, an_error_longer_than_its_room_is_cut)
{
	struct guest_memory *gm = test_memory(MIB(64));
	struct boot_source source = source_of(test_hole(0));
	char small[10];

	cr_expect_eq(boot_load(gm, &source, &entry, small, sizeof(small)), -EINVAL);
	cr_expect_str_eq(small, "--kernel:");
	guest_memory_free(gm);
}
