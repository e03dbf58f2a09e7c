/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of every kernel loader share: a guest, a file to load, and a message to look at. */
#pragma once

#include "boot_images.h"
#include "vmm-core/boot/boot_input.h"
#include "vmm-core/boot/e820.h"
#include "vmm-core/boot/kernel_image.h"

static struct guest_memory *gm;
static struct e820_map map;
static char text[160];
static struct boot_error error = { text, sizeof(text) };

typedef int kernel_load(const struct boot_input *in, const struct guest_memory *gm,
			const struct e820_map *map, struct boot_error *error,
			struct kernel_image *ret);

static void set_up(void)
{
	uint32_t n;
	const struct guest_region *regions;

	gm = test_memory(MIB(32));
	regions = guest_memory_regions(gm, &n);
	cr_assert_eq(e820_build(regions, n, &map), 0);
}

static void tear_down(void)
{
	gm = guest_memory_free(gm);
}

static int load_file(kernel_load *load, const void *data, size_t size, struct kernel_image *ret)
{
	cleanup_fd int fd = test_file(data, size);
	struct boot_input in;

	text[0] = '\0';
	cr_assert_eq(boot_input_open(fd, "--kernel", &error, &in), 0);
	return load(&in, gm, &map, &error, ret);
}

/* @untouched: where a byte of it would be, had it been loaded */
static void expect_load_refused(kernel_load *load, const void *data, size_t size,
				uint64_t untouched, const char *what)
{
	struct kernel_image image = { .entry = 0x1234 };
	uint8_t byte = 0xff;

	cr_expect_eq(load_file(load, data, size, &image), -EINVAL, "%s", what);
	cr_expect_not_null(strstr(text, what), "want '%s', got '%s'", what, text);
	cr_expect_eq(strncmp(text, "--kernel: ", 10), 0, "%s", text);
	cr_expect_eq(image.entry, 0x1234, "result written for '%s'", what);
	test_read(gm, untouched, &byte, 1);
	cr_expect_eq(byte, 0, "loaded in spite of '%s'", what);
}
