/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/boot/bzimage.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "vmm-core/machine/layout.h"

#define SETUP_HEADER_AT 0x1f1ull
#define SETUP_MAGIC_AT 0x202ull /* the length byte before it counts from here */
#define SETUP_MAGIC 0x53726448u /* "HdrS" */
#define SETUP_BOOT_FLAG 0xaa55u
#define SETUP_SECTOR 512ull
#define SETUP_SECTORS_DEFAULT 4u /* what a setup_sects of 0 stands for */
#define SETUP_PARAGRAPH 16ull /* unit of syssize */
#define ENTRY_64_OFFSET 0x200ull

/* Protocol versions that brought the fields used here. */
#define VERSION_CMDLINE_SIZE 0x0206u
#define VERSION_INIT_SIZE 0x020au
#define VERSION_XLOADFLAGS 0x020cu

#define CMDLINE_ROOM (UINT16_MAX + 1u) /* 64 KiB at LAYOUT_CMDLINE, NUL included */
#define ALIGNMENT_MAX 0x40000000u

static_assert(offsetof(struct boot_params, hdr) == SETUP_HEADER_AT, "boot protocol");
static_assert(LAYOUT_CMDLINE + CMDLINE_ROOM <= LAYOUT_LOW_END, "command line fits low memory");

int bzimage_probe(const struct boot_input *in, struct boot_error *error)
{
	uint32_t magic;
	int r;

	if (in->size < SETUP_MAGIC_AT + sizeof(magic))
		return 0;
	r = boot_input_read(in, SETUP_MAGIC_AT, &magic, sizeof(magic), "the setup header", error);
	return r < 0 ? r : magic == SETUP_MAGIC;
}

/* First byte in the file after the fields that this version must have. */
static uint64_t bzimage_header_need(uint16_t version)
{
	if (version >= VERSION_INIT_SIZE)
		return SETUP_HEADER_AT + offsetof(struct setup_header, init_size) + 4;
	return SETUP_HEADER_AT + offsetof(struct setup_header, cmdline_size) + 4;
}

/* Copies the header as long as it says it is; what it lacks stays zero. */
static int bzimage_read_header(const struct boot_input *in, struct boot_error *error,
			       struct setup_header *ret)
{
	struct setup_header h;
	uint64_t end;
	int r = boot_input_read(in, SETUP_HEADER_AT, &h, sizeof(h), "the setup header", error);

	if (r < 0)
		return r;
	if (h.boot_flag != SETUP_BOOT_FLAG || h.header != SETUP_MAGIC)
		return boot_refuse(error, "--kernel: bzImage setup header without its magic");
	if (h.version < VERSION_CMDLINE_SIZE)
		return boot_refuse(error, "--kernel: bzImage boot protocol %u.%02u, need 2.06",
				   h.version >> 8, h.version & 0xff);
	end = SETUP_MAGIC_AT + (h.jump >> 8); /* the operand of a two-byte jump over the header */
	if (end < bzimage_header_need(h.version))
		return boot_refuse(error, "--kernel: truncated: bzImage setup header ends at 0x%x",
				   (unsigned int)end);
	if (end - SETUP_HEADER_AT < sizeof(h))
		memset((uint8_t *)&h + (end - SETUP_HEADER_AT), 0,
		       sizeof(h) - (end - SETUP_HEADER_AT));
	*ret = h;
	return 0;
}

/* Fields that decide how the kernel is started. */
static int bzimage_check_header(const struct setup_header *h, struct boot_error *error)
{
	if (!(h->loadflags & LOADED_HIGH))
		return boot_refuse(error, "--kernel: zImage that loads below 1 MiB, need a bzImage");
	if (h->cmdline_size == 0)
		return boot_refuse(error, "--kernel: bzImage setup header: cmdline_size is 0");
	if (h->initrd_addr_max < LAYOUT_KERNEL)
		return boot_refuse(error, "--kernel: bzImage setup header: initrd_addr_max 0x%x",
				   h->initrd_addr_max);
	if (h->relocatable_kernel &&
	    (h->kernel_alignment == 0 || h->kernel_alignment > ALIGNMENT_MAX ||
	     (h->kernel_alignment & (h->kernel_alignment - 1)) != 0))
		return boot_refuse(error, "--kernel: bzImage setup header: kernel_alignment 0x%x",
				   h->kernel_alignment);
	if (h->version >= VERSION_INIT_SIZE && h->init_size == 0)
		return boot_refuse(error, "--kernel: bzImage setup header: init_size is 0");
	return 0;
}

/*
 * Where the kernel unpacks itself (boot.rst, init_size): never below pref_address, and aligned
 * when it can be relocated. Before 2.10 it does not say; such kernels unpack in place.
 */
static int bzimage_check_room(const struct setup_header *h, uint64_t load_size,
			      const struct e820_map *map, struct boot_error *error,
			      uint64_t *ret_end)
{
	char text[BOOT_SIZE_TEXT_LEN];
	uint64_t start = LAYOUT_KERNEL;

	if (!e820_is_ram(map, LAYOUT_KERNEL, load_size))
		return boot_refuse(error, "--kernel: %s do not fit in guest memory",
				   boot_size_text(load_size, text));
	*ret_end = LAYOUT_KERNEL + load_size;
	if (h->version < VERSION_INIT_SIZE)
		return 0;
	if (!h->relocatable_kernel || h->pref_address > start)
		start = h->pref_address;
	else
		start = (start + h->kernel_alignment - 1) & ~(h->kernel_alignment - 1ull);
	if (start < LAYOUT_KERNEL || !e820_is_ram(map, start, h->init_size))
		return boot_refuse(error, "--kernel: unpacking needs %s at 0x%llx, which is not "
					  "in guest memory",
				   boot_size_text(h->init_size, text), (unsigned long long)start);
	if (start < LAYOUT_HIGH_RAM_START && start + h->init_size > *ret_end)
		*ret_end = start + h->init_size;
	return 0;
}

static void bzimage_set_entry(struct kernel_image *image)
{
	const struct setup_header *h = &image->header;

	if (h->version >= VERSION_XLOADFLAGS && (h->xloadflags & XLF_KERNEL_64)) {
		image->protocol = BOOT_LINUX_64;
		image->entry = LAYOUT_KERNEL + ENTRY_64_OFFSET;
	} else {
		image->protocol = BOOT_LINUX_32;
		image->entry = LAYOUT_KERNEL;
	}
}

int bzimage_load(const struct boot_input *in, const struct guest_memory *gm,
		 const struct e820_map *map, struct boot_error *error, struct kernel_image *ret)
{
	struct kernel_image image = { 0 };
	const struct setup_header *h = &image.header;
	uint64_t offset, size;
	int r = bzimage_read_header(in, error, &image.header);

	if (r < 0)
		return r;
	r = bzimage_check_header(h, error);
	if (r < 0)
		return r;
	offset = ((h->setup_sects ? h->setup_sects : SETUP_SECTORS_DEFAULT) + 1) * SETUP_SECTOR;
	size = h->syssize * SETUP_PARAGRAPH;
	if (size <= ENTRY_64_OFFSET)
		return boot_refuse(error, "--kernel: bzImage setup header: syssize 0x%x",
				   h->syssize);
	r = boot_input_check(in, offset, size, "the protected-mode kernel", error);
	if (r < 0)
		return r;
	r = bzimage_check_room(h, size, map, error, &image.low_end);
	if (r < 0)
		return r;
	bzimage_set_entry(&image);
	image.cmdline_max = h->cmdline_size < CMDLINE_ROOM ? h->cmdline_size : CMDLINE_ROOM - 1;
	image.initramfs_limit = h->initrd_addr_max + 1ull;
	r = boot_input_load(in, offset, size, "the protected-mode kernel", gm, gpa(LAYOUT_KERNEL),
			    error);
	if (r < 0)
		return r;
	*ret = image;
	return 0;
}
