/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel_loader.h"
#include "vmm-core/boot/bzimage.h"

TestSuite(bzimage, .init = set_up, .fini = tear_down);

static struct kernel_image load(const struct test_bzimage *file)
{
	struct kernel_image image;

	cr_assert_eq(load_file(bzimage_load, file, sizeof(*file), &image), 0, "%s", text);
	return image;
}

static void expect_refused(const struct test_bzimage *file, size_t size, const char *what)
{
	expect_load_refused(bzimage_load, file, size, LAYOUT_KERNEL, what);
}

Test(bzimage, loads_the_protected_mode_part)
{
	cleanup_free struct test_bzimage *file = test_bzimage_new();
	struct kernel_image image = load(file);
	uint8_t got[2];

	cr_expect_eq(image.protocol, BOOT_LINUX_64);
	cr_expect_eq(image.entry, 0x100200);
	cr_expect_eq(image.cmdline_max, 2047);
	cr_expect_eq(image.initramfs_limit, 0x80000000);
	cr_expect_eq(image.low_end, TEST_BZIMAGE_PREFERRED + 0x800000);
	cr_expect_arr_eq(&image.header, &file->header, sizeof(file->header));
	test_read(gm, LAYOUT_KERNEL, got, 1);
	cr_expect_eq(got[0], 0x90);
	test_read(gm, LAYOUT_KERNEL + TEST_BZIMAGE_KERNEL_SIZE - 1, got, 2);
	cr_expect_eq(got[0], 0x90);
	cr_expect_eq(got[1], 0);
}

Test(bzimage, falls_back_to_the_32_bit_entry)
{
	cleanup_free struct test_bzimage *file = test_bzimage_new();
	struct kernel_image image;

	file->header.xloadflags = 0;
	image = load(file);
	cr_expect_eq(image.protocol, BOOT_LINUX_32);
	cr_expect_eq(image.entry, 0x100000);
	file->header.xloadflags = XLF_KERNEL_64; /* the field came with 2.12 */
	file->header.version = 0x20b;
	cr_expect_eq(load(file).protocol, BOOT_LINUX_32);
}

Test(bzimage, setup_sects_of_0_means_4)
{
	cleanup_free struct test_bzimage *file = test_bzimage_new();
	uint8_t got;

	file->header.setup_sects = 0;
	file->header.syssize = (TEST_BZIMAGE_KERNEL_SIZE - 1024) / 16;
	file->kernel[1024] = 0x77;
	load(file);
	test_read(gm, LAYOUT_KERNEL, &got, 1);
	cr_expect_eq(got, 0x77);
}

Test(bzimage, fields_past_the_header_end_are_zero)
{
	cleanup_free struct test_bzimage *file = test_bzimage_new();

	/* as long as init_size, so without handover_offset and kernel_info_offset */
	file->header.jump = 0xeb | (0x264 - 0x202) << 8;
	file->header.handover_offset = 0xdddd;
	file->header.kernel_info_offset = 0xdddd;
	cr_expect_eq(load(file).header.handover_offset, 0);
	cr_expect_eq(load(file).header.kernel_info_offset, 0);
	cr_expect_eq(load(file).header.init_size, 0x800000);
}

Test(bzimage, old_protocol_without_init_size)
{
	cleanup_free struct test_bzimage *file = test_bzimage_new();

	file->header.version = 0x206;
	file->header.init_size = 0;
	file->header.jump = 0xeb | (0x23c - 0x202) << 8;
	cr_expect_eq(load(file).low_end, LAYOUT_KERNEL + TEST_BZIMAGE_KERNEL_SIZE);
}

Test(bzimage, unpacks_at_an_aligned_address_above_its_preference)
{
	cleanup_free struct test_bzimage *file = test_bzimage_new();

	file->header.pref_address = 0;
	cr_expect_eq(load(file).low_end, 0x200000 + 0x800000);
	file->header.relocatable_kernel = 0;
	file->header.pref_address = MIB(8);
	cr_expect_eq(load(file).low_end, MIB(16));
}

Test(bzimage, an_absurd_cmdline_size_is_cut_to_the_room_there_is)
{
	cleanup_free struct test_bzimage *file = test_bzimage_new();

	file->header.cmdline_size = UINT32_MAX;
	cr_expect_eq(load(file).cmdline_max, 65535);
}

struct broken_field {
	size_t offset;
	size_t size;
	uint64_t value;
	const char *what;
};

#define FIELD(name, v, text)                                                                      \
	{                                                                                         \
		offsetof(struct test_bzimage, header.name),                                       \
			sizeof(((struct setup_header *)0)->name), v, text                         \
	}

static const struct broken_field broken_fields[] = {
	FIELD(boot_flag, 0, "without its magic"),
	FIELD(header, 0x53726449, "without its magic"),
	FIELD(version, 0x205, "boot protocol 2.05, need 2.06"),
	FIELD(version, 0, "boot protocol 0.00"),
	FIELD(jump, 0xeb, "truncated: bzImage setup header ends at 0x202"),
	FIELD(jump, 0xeb | (0x263 - 0x202) << 8, "truncated: bzImage setup header ends at 0x263"),
	FIELD(loadflags, 0, "below 1 MiB"),
	FIELD(cmdline_size, 0, "cmdline_size is 0"),
	FIELD(initrd_addr_max, 0, "initrd_addr_max 0x0"),
	FIELD(initrd_addr_max, 0xfffff, "initrd_addr_max 0xfffff"),
	FIELD(kernel_alignment, 0, "kernel_alignment 0x0"),
	FIELD(kernel_alignment, 0x300000, "kernel_alignment 0x300000"),
	FIELD(kernel_alignment, 0x80000000, "kernel_alignment 0x80000000"),
	FIELD(init_size, 0, "init_size is 0"),
	FIELD(init_size, MIB(16) + 1, "unpacking needs 17 MiB at 0x1000000"),
	FIELD(init_size, UINT32_MAX, "unpacking needs 4096 MiB at 0x1000000"),
	FIELD(pref_address, MIB(32), "unpacking needs 8 MiB at 0x2000000"),
	FIELD(pref_address, UINT64_MAX, "unpacking needs 8 MiB at 0xffffffffffffffff"),
	FIELD(syssize, 0, "syssize 0x0"),
	FIELD(syssize, 0x20, "syssize 0x20"),
	FIELD(syssize, TEST_BZIMAGE_KERNEL_SIZE / 16 + 1, "truncated: the protected-mode kernel"),
	FIELD(syssize, UINT32_MAX, "truncated: the protected-mode kernel"),
	FIELD(setup_sects, 3, "truncated: the protected-mode kernel"),
	FIELD(setup_sects, 255, "truncated: the protected-mode kernel"),
};

Test(bzimage, refuses_every_broken_field)
{
	for (size_t i = 0; i < ARRAY_LEN(broken_fields); i++) {
		const struct broken_field *f = &broken_fields[i];
		cleanup_free struct test_bzimage *file = test_bzimage_new();

		memcpy((uint8_t *)file + f->offset, &f->value, f->size);
		expect_refused(file, sizeof(*file), f->what);
	}
}

Test(bzimage, refuses_a_fixed_address_below_1_mib)
{
	cleanup_free struct test_bzimage *file = test_bzimage_new();

	file->header.relocatable_kernel = 0;
	file->header.pref_address = 0;
	file->header.init_size = 0x1000;
	expect_refused(file, sizeof(*file), "unpacking needs 4 KiB at 0x0");
}

Test(bzimage, refuses_a_file_cut_anywhere)
{
	cleanup_free struct test_bzimage *file = test_bzimage_new();

	expect_refused(file, 0x206, "truncated: the setup header");
	expect_refused(file, 0x26b, "truncated: the setup header");
	expect_refused(file, sizeof(file->bytes), "truncated: the protected-mode kernel");
	expect_refused(file, sizeof(*file) - 1, "truncated: the protected-mode kernel");
}

Test(bzimage, refuses_a_kernel_larger_than_memory)
{
	cleanup_free struct test_bzimage *file = test_bzimage_new();
	cleanup_fd int fd = -1;
	struct kernel_image image;
	struct boot_input in;

	file->header.syssize = (uint32_t)(MIB(32) / 16);
	fd = test_file(file, sizeof(*file));
	cr_assert_eq(ftruncate(fd, (off_t)MIB(40)), 0);
	cr_assert_eq(boot_input_open(fd, "--kernel", &error, &in), 0);
	cr_expect_eq(bzimage_load(&in, gm, &map, &error, &image), -EINVAL);
	cr_expect_str_eq(text, "--kernel: 32 MiB do not fit in guest memory");
}

Test(bzimage, probe_looks_at_the_magic_only)
{
	cleanup_free struct test_bzimage *file = test_bzimage_new();
	cleanup_fd int fd = test_file(file, sizeof(*file));
	struct boot_input in = { .fd = fd, .size = sizeof(*file), .flag = "--kernel" };

	cr_expect_eq(bzimage_probe(&in, &error), 1);
	in.size = 0x205;
	cr_expect_eq(bzimage_probe(&in, &error), 0);
	in = (struct boot_input){ .fd = test_hole(4096), .size = 4096, .flag = "--kernel" };
	cr_expect_eq(bzimage_probe(&in, &error), 0);
}
