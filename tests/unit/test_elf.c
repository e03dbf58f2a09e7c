/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel_loader.h"
#include "vmm-core/boot/elf.h"

TestSuite(elf, .init = set_up, .fini = tear_down);

static void expect_refused(const struct test_elf *elf, size_t size, const char *what)
{
	expect_load_refused(elf_load, elf, size, TEST_ELF_TEXT, what);
}

Test(elf, loads_segments_where_they_belong)
{
	cleanup_free struct test_elf *elf = test_elf_new();
	struct kernel_image image;
	uint8_t got[0x101];

	cr_assert_eq(load_file(elf_load, elf, sizeof(*elf), &image), 0, "%s", text);
	cr_expect_eq(image.protocol, BOOT_PVH);
	cr_expect_eq(image.entry, TEST_ELF_ENTRY);
	cr_expect_eq(image.low_end, TEST_ELF_BSS + TEST_ELF_BSS_SIZE);
	cr_expect_eq(image.cmdline_max, 2047);
	test_read(gm, TEST_ELF_TEXT + TEST_ELF_TEXT_SIZE - 1, got, 2);
	cr_expect_eq(got[0], 0xc3);
	cr_expect_eq(got[1], 0);
	test_read(gm, TEST_ELF_BSS, got, 0x101);
	cr_expect_eq(got[0], 0xda);
	cr_expect_eq(got[0xff], 0xda);
	cr_expect_eq(got[0x100], 0);
}

Test(elf, says_which_part_of_bss_is_needed_soon)
{
	cleanup_free struct test_elf *elf = test_elf_new();
	struct kernel_image image;
	uint64_t first = TEST_ELF_BSS + elf->data.p_filesz + (512u << 10);

	cr_assert_eq(load_file(elf_load, elf, sizeof(*elf), &image), 0, "%s", text);
	cr_expect_eq(image.soon_size, 0, "all of a small one is there already");
	elf->data.p_memsz = elf->data.p_filesz + MIB(1);
	cr_assert_eq(load_file(elf_load, elf, sizeof(*elf), &image), 0, "%s", text);
	cr_expect_eq(image.soon, first);
	cr_expect_eq(image.soon_size, 512u << 10);
	elf->data.p_memsz = elf->data.p_filesz + MIB(8);
	cr_assert_eq(load_file(elf_load, elf, sizeof(*elf), &image), 0, "%s", text);
	cr_expect_eq(image.soon, first);
	cr_expect_eq(image.soon_size, MIB(2) - (512u << 10));
}

Test(elf, takes_a_four_byte_entry_and_eight_byte_note_alignment)
{
	cleanup_free struct test_elf *elf = test_elf_new();
	struct kernel_image image;

	elf->pvh_note.header.n_descsz = 4;
	elf->note.p_offset = offsetof(struct test_elf, pvh_note);
	elf->note.p_filesz = sizeof(elf->pvh_note) - 4;
	elf->note.p_align = 8;
	cr_assert_eq(load_file(elf_load, elf, sizeof(*elf), &image), 0, "%s", text);
	cr_expect_eq(image.entry, TEST_ELF_ENTRY);
}

Test(elf, ignores_empty_segments_wherever_they_are)
{
	cleanup_free struct test_elf *elf = test_elf_new();
	struct kernel_image image;

	elf->data.p_paddr = UINT64_MAX;
	elf->data.p_filesz = 0;
	elf->data.p_memsz = 0;
	cr_expect_eq(load_file(elf_load, elf, sizeof(*elf), &image), 0, "%s", text);
	cr_expect_eq(image.low_end, TEST_ELF_TEXT + TEST_ELF_TEXT_SIZE);
}

Test(elf, segments_may_touch_and_reach_the_last_byte)
{
	cleanup_free struct test_elf *elf = test_elf_new();
	struct kernel_image image;

	elf->data.p_paddr = TEST_ELF_TEXT + TEST_ELF_TEXT_SIZE;
	elf->data.p_memsz = MIB(32) - elf->data.p_paddr;
	cr_expect_eq(load_file(elf_load, elf, sizeof(*elf), &image), 0, "%s", text);
}

/* One 64-bit (or 32, or 16-bit) field set to a value that must be refused. */
struct broken_field {
	size_t offset;
	size_t size;
	uint64_t value;
	const char *what;
};

#define FIELD(name, v, text)                                                                      \
	{                                                                                         \
		offsetof(struct test_elf, name), sizeof(((struct test_elf *)0)->name), v, text    \
	}

static const struct broken_field broken_fields[] = {
	FIELD(header.e_ident[EI_CLASS], ELFCLASS32, "not an ELF file for 64-bit x86"),
	FIELD(header.e_ident[EI_DATA], ELFDATA2MSB, "not an ELF file for 64-bit x86"),
	FIELD(header.e_machine, EM_AARCH64, "not an ELF file for 64-bit x86"),
	FIELD(header.e_type, ET_REL, "not an executable"),
	FIELD(header.e_type, ET_CORE, "not an executable"),
	FIELD(header.e_phentsize, 32, "program headers of 32 bytes"),
	FIELD(header.e_phnum, 0, "0 ELF program headers"),
	FIELD(header.e_phnum, 65, "65 ELF program headers"),
	FIELD(header.e_phnum, 0xffff, "65535 ELF program headers"),
	FIELD(header.e_phoff, sizeof(struct test_elf), "truncated: the ELF program header table"),
	FIELD(header.e_phoff, UINT64_MAX - 8, "truncated: the ELF program header table"),
	FIELD(text.p_offset, sizeof(struct test_elf), "truncated: ELF segment 0"),
	FIELD(text.p_offset, UINT64_MAX, "truncated: ELF segment 0"),
	FIELD(text.p_filesz, UINT64_MAX, "truncated: ELF segment 0"),
	FIELD(text.p_filesz, TEST_ELF_TEXT_SIZE + 1, "larger in the file than in memory"),
	FIELD(text.p_memsz, TEST_ELF_TEXT_SIZE - 1, "larger in the file than in memory"),
	FIELD(text.p_memsz, UINT64_MAX, "ELF segment 0 lies outside guest memory"),
	FIELD(text.p_paddr, 0, "ELF segment 0 lies below 1 MiB"),
	FIELD(text.p_paddr, 0xfffff, "ELF segment 0 lies below 1 MiB"),
	FIELD(text.p_paddr, MIB(32) - 1, "ELF segment 0 lies outside guest memory"),
	FIELD(text.p_paddr, LAYOUT_VIRTIO_MMIO, "ELF segment 0 lies outside guest memory"),
	FIELD(text.p_paddr, UINT64_MAX - 1, "ELF segment 0 lies outside guest memory"),
	FIELD(data.p_paddr, TEST_ELF_TEXT, "ELF segments 0 and 2 overlap"),
	FIELD(data.p_paddr, TEST_ELF_TEXT + TEST_ELF_TEXT_SIZE - 1, "segments 0 and 2 overlap"),
	FIELD(data.p_paddr, TEST_ELF_TEXT - TEST_ELF_BSS_SIZE + 1, "segments 0 and 2 overlap"),
	FIELD(note.p_type, PT_NULL, "without a PVH entry note"),
	FIELD(note.p_offset, sizeof(struct test_elf), "truncated: an ELF note segment"),
	FIELD(note.p_filesz, UINT64_MAX, "truncated: an ELF note segment"),
	FIELD(note.p_filesz, 0, "without a PVH entry note"),
	FIELD(note.p_filesz, 24 + 16, "truncated: an ELF note ends past its segment"),
	FIELD(other_note.header.n_namesz, UINT32_MAX, "truncated: an ELF note ends past"),
	FIELD(other_note.header.n_descsz, UINT32_MAX, "truncated: an ELF note ends past"),
	FIELD(pvh_note.header.n_type, 17, "without a PVH entry note"),
	FIELD(pvh_note.header.n_namesz, UINT32_MAX, "truncated: an ELF note ends past"),
	FIELD(pvh_note.header.n_descsz, 12, "truncated: an ELF note ends past"),
	FIELD(pvh_note.header.n_descsz, 2, "PVH note of 2 bytes"),
	FIELD(pvh_note.header.n_descsz, 0, "PVH note of 0 bytes"),
	FIELD(pvh_note.entry, TEST_ELF_TEXT - 1, "lies outside the ELF segments"),
	FIELD(pvh_note.entry, TEST_ELF_TEXT + TEST_ELF_TEXT_SIZE, "lies outside the ELF segments"),
	FIELD(pvh_note.entry, TEST_ELF_BSS + 0x100, "lies outside the ELF segments"),
	FIELD(pvh_note.entry, 1ull << 32 | TEST_ELF_ENTRY, "lies outside the ELF segments"),
};

Test(elf, refuses_every_broken_field)
{
	for (size_t i = 0; i < ARRAY_LEN(broken_fields); i++) {
		const struct broken_field *f = &broken_fields[i];
		cleanup_free struct test_elf *elf = test_elf_new();

		memcpy((uint8_t *)elf + f->offset, &f->value, f->size);
		expect_refused(elf, sizeof(*elf), f->what);
	}
}

Test(elf, refuses_a_file_cut_anywhere)
{
	cleanup_free struct test_elf *elf = test_elf_new();

	expect_refused(elf, 4, "truncated: the ELF header");
	expect_refused(elf, sizeof(elf->header) - 1, "truncated: the ELF header");
	expect_refused(elf, offsetof(struct test_elf, other_note) - 1,
		       "truncated: the ELF program header table");
	expect_refused(elf, offsetof(struct test_elf, text_bytes) - 1,
		       "truncated: an ELF note segment");
	expect_refused(elf, offsetof(struct test_elf, data_bytes) - 1, "truncated: ELF segment 0");
	expect_refused(elf, sizeof(*elf) - 1, "truncated: ELF segment 2");
}

Test(elf, refuses_a_file_with_nothing_to_load)
{
	cleanup_free struct test_elf *elf = test_elf_new();

	elf->text.p_type = PT_NULL;
	elf->data.p_filesz = 0;
	expect_refused(elf, sizeof(*elf), "nothing to load");
}

Test(elf, gives_up_on_endless_notes)
{
	cleanup_free struct test_elf *elf = test_elf_new();

	/* 340 notes without name and descriptor, in the bytes of the text segment */
	elf->note.p_offset = elf->text.p_offset;
	elf->note.p_filesz = elf->text.p_filesz;
	memset(elf->text_bytes, 0, sizeof(elf->text_bytes));
	expect_refused(elf, sizeof(*elf), "more than 256 ELF notes");
}

Test(elf, refuses_more_memory_than_the_guest_has)
{
	cleanup_free struct test_elf *elf = test_elf_new();

	elf->data.p_memsz = MIB(15) + 1;
	expect_refused(elf, sizeof(*elf), "ELF segment 2 lies outside guest memory");
}
