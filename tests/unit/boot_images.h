/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small kernels in memfds for the tests of vmm-core/boot: an ELF vmlinux with a PVH note and a
 * bzImage. Each is a struct that a test breaks in one place before it writes it out.
 */
#pragma once

#include <asm/bootparam.h>
#include <criterion/criterion.h>
#include <elf.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include "ipc/guest_memory.h"
#include "vmm-core/machine/layout.h"

#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)

#define TEST_ELF_TEXT MIB(16)
#define TEST_ELF_TEXT_SIZE 0x1000u
#define TEST_ELF_BSS MIB(17)
#define TEST_ELF_BSS_SIZE 0x3000u
#define TEST_ELF_ENTRY (TEST_ELF_TEXT + 0x40)

struct test_elf {
	Elf64_Ehdr header;
	Elf64_Phdr text, note, data;
	struct {
		Elf64_Nhdr header;
		char name[8];
		uint32_t desc;
	} other_note;
	struct {
		Elf64_Nhdr header;
		char name[4];
		uint64_t entry;
	} pvh_note;
	uint8_t text_bytes[TEST_ELF_TEXT_SIZE];
	uint8_t data_bytes[0x100];
} __attribute__((packed));

#define TEST_BZIMAGE_SETUP_SECTS 2u
#define TEST_BZIMAGE_KERNEL_SIZE 0x2000u
#define TEST_BZIMAGE_PREFERRED MIB(16)

struct test_bzimage {
	union {
		uint8_t bytes[(TEST_BZIMAGE_SETUP_SECTS + 1) * 512];
		struct {
			uint8_t boot_sector[0x1f1];
			struct setup_header header;
		} __attribute__((packed));
	};
	uint8_t kernel[TEST_BZIMAGE_KERNEL_SIZE];
} __attribute__((packed));

/* A memfd that holds @size bytes of @data. */
static inline int test_file(const void *data, size_t size)
{
	int fd = memfd_create("test-file", MFD_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(pwrite(fd, data, size, 0), (ssize_t)size);
	return fd;
}

/* A memfd of @size zero bytes, which takes no memory. */
static inline int test_hole(uint64_t size)
{
	int fd = memfd_create("test-hole", MFD_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, (off_t)size), 0);
	return fd;
}

/* RAM as the core lays it out. */
static inline struct guest_memory *test_memory(uint64_t size)
{
	struct guest_region regions[2] = { { 0, size }, { LAYOUT_HIGH_RAM_START, 0 } };
	struct guest_memory *gm = NULL;
	uint32_t n = 1;

	if (size > LAYOUT_LOW_RAM_END) {
		regions[0].size = LAYOUT_LOW_RAM_END;
		regions[1].size = size - LAYOUT_LOW_RAM_END;
		n = 2;
	}
	cr_assert_eq(guest_memory_create(regions, n, false, false, &gm), 0);
	return gm;
}

static inline void test_read(const struct guest_memory *gm, uint64_t at, void *dst, size_t n)
{
	cr_assert_eq(guest_memory_read(gm, gpa(at), dst, n), 0, "no guest memory at 0x%llx",
		     (unsigned long long)at);
}

static inline struct test_elf *test_elf_new(void)
{
	struct test_elf *elf = calloc(1, sizeof(*elf));

	cr_assert_not_null(elf);
	memcpy(elf->header.e_ident, ELFMAG, SELFMAG);
	elf->header.e_ident[EI_CLASS] = ELFCLASS64;
	elf->header.e_ident[EI_DATA] = ELFDATA2LSB;
	elf->header.e_type = ET_EXEC;
	elf->header.e_machine = EM_X86_64;
	elf->header.e_phoff = offsetof(struct test_elf, text);
	elf->header.e_phentsize = sizeof(Elf64_Phdr);
	elf->header.e_phnum = 3;
	elf->text = (Elf64_Phdr){
		.p_type = PT_LOAD,
		.p_offset = offsetof(struct test_elf, text_bytes),
		.p_paddr = TEST_ELF_TEXT,
		.p_filesz = TEST_ELF_TEXT_SIZE,
		.p_memsz = TEST_ELF_TEXT_SIZE,
	};
	elf->note = (Elf64_Phdr){
		.p_type = PT_NOTE,
		.p_offset = offsetof(struct test_elf, other_note),
		.p_filesz = sizeof(elf->other_note) + sizeof(elf->pvh_note),
		.p_align = 4,
	};
	elf->data = (Elf64_Phdr){
		.p_type = PT_LOAD,
		.p_offset = offsetof(struct test_elf, data_bytes),
		.p_paddr = TEST_ELF_BSS,
		.p_filesz = sizeof(elf->data_bytes),
		.p_memsz = TEST_ELF_BSS_SIZE,
	};
	/* The same type number under another owner comes first. */
	elf->other_note.header = (Elf64_Nhdr){ 5, 4, 18 };
	memcpy(elf->other_note.name, "Xeno", 5);
	elf->other_note.desc = 0xbadbad;
	elf->pvh_note.header = (Elf64_Nhdr){ 4, 8, 18 };
	memcpy(elf->pvh_note.name, "Xen", 4);
	elf->pvh_note.entry = TEST_ELF_ENTRY;
	memset(elf->text_bytes, 0xc3, sizeof(elf->text_bytes));
	memset(elf->data_bytes, 0xda, sizeof(elf->data_bytes));
	return elf;
}

static inline struct test_bzimage *test_bzimage_new(void)
{
	struct test_bzimage *image = calloc(1, sizeof(*image));

	cr_assert_not_null(image);
	memset(image->bytes, 0xee, sizeof(image->bytes)); /* nothing but the header may be used */
	image->header = (struct setup_header){
		.setup_sects = TEST_BZIMAGE_SETUP_SECTS,
		.syssize = TEST_BZIMAGE_KERNEL_SIZE / 16,
		.boot_flag = 0xaa55,
		.jump = 0xeb | (0x1f1 + sizeof(struct setup_header) - 0x202) << 8,
		.header = 0x53726448,
		.version = 0x20f,
		.loadflags = LOADED_HIGH,
		.code32_start = 0x100000,
		.initrd_addr_max = 0x7fffffff,
		.kernel_alignment = 0x200000,
		.relocatable_kernel = 1,
		.xloadflags = XLF_KERNEL_64,
		.cmdline_size = 2047,
		.pref_address = TEST_BZIMAGE_PREFERRED,
		.init_size = 0x800000,
	};
	memset(image->kernel, 0x90, sizeof(image->kernel));
	return image;
}
