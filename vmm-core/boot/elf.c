/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/boot/elf.h"

#include <elf.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vmm-core/machine/layout.h"

#define NOTE_NAME_XEN "Xen" /* with its NUL: four bytes */
#define NOTE_TYPE_PHYS32_ENTRY 18u /* XEN_ELFNOTE_PHYS32_ENTRY */
/* Every kernel begins with clearing .bss; how much of a large one it will use, nobody knows. */
#define BSS_SOON (2ull << 20)
/* Of these, what is there before the guest runs: a head start, or it catches up with the rest. */
#define BSS_FIRST (512ull << 10)

struct elf_file {
	const struct boot_input *in;
	struct boot_error *error;
	uint32_t n_headers;
	Elf64_Phdr headers[ELF_SEGMENTS_MAX];
};

static int elf_read_header(struct elf_file *elf)
{
	struct boot_error *error = elf->error;
	Elf64_Ehdr eh;
	int r = boot_input_read(elf->in, 0, &eh, sizeof(eh), "the ELF header", error);

	if (r < 0)
		return r;
	if (eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_ident[EI_DATA] != ELFDATA2LSB ||
	    eh.e_machine != EM_X86_64)
		return boot_refuse(error, "--kernel: not an ELF file for 64-bit x86");
	if (eh.e_type != ET_EXEC && eh.e_type != ET_DYN)
		return boot_refuse(error, "--kernel: ELF file of type %u is not an executable",
				   eh.e_type);
	if (eh.e_phentsize != sizeof(Elf64_Phdr))
		return boot_refuse(error, "--kernel: ELF program headers of %u bytes",
				   eh.e_phentsize);
	if (eh.e_phnum == 0 || eh.e_phnum > ELF_SEGMENTS_MAX)
		return boot_refuse(error, "--kernel: %u ELF program headers, can be 1 to %u",
				   eh.e_phnum, ELF_SEGMENTS_MAX);
	elf->n_headers = eh.e_phnum;
	return boot_input_read(elf->in, eh.e_phoff, elf->headers,
			       elf->n_headers * sizeof(Elf64_Phdr), "the ELF program header table",
			       error);
}

static bool elf_overlap(const Elf64_Phdr *a, const Elf64_Phdr *b)
{
	if (a->p_paddr <= b->p_paddr)
		return b->p_paddr - a->p_paddr < a->p_memsz;
	return a->p_paddr - b->p_paddr < b->p_memsz;
}

/* Segment @i against the file, the guest's memory and the segments before it. */
static int elf_check_segment(const struct elf_file *elf, const struct e820_map *map, uint32_t i)
{
	const Elf64_Phdr *ph = &elf->headers[i];
	struct boot_error *error = elf->error;
	char what[32];
	int r;

	(void)snprintf(what, sizeof(what), "ELF segment %u", i);
	r = boot_input_check(elf->in, ph->p_offset, ph->p_filesz, what, error);
	if (r < 0)
		return r;
	if (ph->p_filesz > ph->p_memsz)
		return boot_refuse(error, "--kernel: %s is larger in the file than in memory",
				   what);
	if (ph->p_memsz == 0)
		return 0;
	if (ph->p_paddr < LAYOUT_KERNEL)
		return boot_refuse(error, "--kernel: %s lies below 1 MiB, where boot data is",
				   what);
	if (!e820_is_ram(map, ph->p_paddr, ph->p_memsz))
		return boot_refuse(error, "--kernel: %s lies outside guest memory", what);
	for (uint32_t j = 0; j < i; j++) {
		const Elf64_Phdr *other = &elf->headers[j];

		if (other->p_type == PT_LOAD && other->p_memsz > 0 && elf_overlap(other, ph))
			return boot_refuse(error, "--kernel: ELF segments %u and %u overlap", j, i);
	}
	return 0;
}

static int elf_check_segments(const struct elf_file *elf, const struct e820_map *map)
{
	uint32_t n_loads = 0;

	for (uint32_t i = 0; i < elf->n_headers; i++) {
		int r;

		if (elf->headers[i].p_type != PT_LOAD)
			continue;
		r = elf_check_segment(elf, map, i);
		if (r < 0)
			return r;
		n_loads += elf->headers[i].p_filesz > 0;
	}
	if (n_loads == 0)
		return boot_refuse(elf->error, "--kernel: ELF file has nothing to load");
	return 0;
}

/* The descriptor of a PVH note: 4 bytes in the ABI, 8 as Linux has written it for years. */
static int elf_read_entry(const struct elf_file *elf, uint64_t offset, uint32_t len,
			  uint64_t *ret_entry)
{
	uint64_t entry = 0;
	int r;

	if (len != 4 && len != 8)
		return boot_refuse(elf->error, "--kernel: PVH note of %u bytes", len);
	r = boot_input_read(elf->in, offset, &entry, len, "the PVH note", elf->error);
	if (r < 0)
		return r;
	*ret_entry = entry;
	return 0;
}

enum elf_note_result {
	ELF_NOTE_FOUND = 1,
};

/* One note, all offsets from its first byte and checked to lie inside its segment. */
struct elf_note {
	uint32_t type;
	uint32_t name_len;
	uint64_t desc;
	uint32_t desc_len;
	uint64_t next; /* may be past the end: the last note need not be padded */
};

static int elf_read_note(const struct elf_file *elf, uint64_t at, uint64_t left, uint64_t align,
			 struct elf_note *ret)
{
	Elf64_Nhdr header;
	uint64_t desc, next;
	int r = boot_input_read(elf->in, at, &header, sizeof(header), "an ELF note", elf->error);

	if (r < 0)
		return r;
	/* Both sizes are 32 bits wide: these sums of 64-bit numbers cannot wrap. */
	desc = (sizeof(header) + header.n_namesz + align - 1) & ~(align - 1);
	next = (desc + header.n_descsz + align - 1) & ~(align - 1);
	if (desc > left || header.n_descsz > left - desc)
		return boot_refuse(elf->error,
				   "--kernel: truncated: an ELF note ends past its segment");
	*ret = (struct elf_note){ header.n_type, header.n_namesz, desc, header.n_descsz, next };
	return 0;
}

/* The name is looked at only when type and length fit: other owners use the same type numbers. */
static int elf_match_note(const struct elf_file *elf, uint64_t at, const struct elf_note *note,
			  uint64_t *ret_entry)
{
	char name[sizeof(NOTE_NAME_XEN)];
	int r;

	if (note->type != NOTE_TYPE_PHYS32_ENTRY || note->name_len != sizeof(name))
		return 0;
	r = boot_input_read(elf->in, at + sizeof(Elf64_Nhdr), name, sizeof(name), "an ELF note",
			    elf->error);
	if (r < 0)
		return r;
	if (memcmp(name, NOTE_NAME_XEN, sizeof(name)) != 0)
		return 0;
	r = elf_read_entry(elf, at + note->desc, note->desc_len, ret_entry);
	return r < 0 ? r : ELF_NOTE_FOUND;
}

/*
 * Looks through one PT_NOTE segment. @budget counts notes over all segments down to 0, so that a
 * file full of empty notes costs a bounded number of reads.
 */
static int elf_scan_notes(const struct elf_file *elf, const Elf64_Phdr *ph, uint32_t *budget,
			  uint64_t *ret_entry)
{
	uint64_t align = ph->p_align == 8 ? 8 : 4;
	uint64_t at = ph->p_offset;
	uint64_t left = ph->p_filesz;
	int r = boot_input_check(elf->in, at, left, "an ELF note segment", elf->error);

	if (r < 0)
		return r;
	while (left >= sizeof(Elf64_Nhdr)) {
		struct elf_note note = { 0 };

		if (*budget == 0)
			return boot_refuse(elf->error, "--kernel: more than %u ELF notes",
					   ELF_NOTES_MAX);
		*budget -= 1;
		r = elf_read_note(elf, at, left, align, &note);
		if (r == 0)
			r = elf_match_note(elf, at, &note, ret_entry);
		if (r != 0)
			return r;
		if (note.next > left)
			break;
		at += note.next;
		left -= note.next;
	}
	return 0;
}

static int elf_find_entry(const struct elf_file *elf, uint64_t *ret_entry)
{
	uint32_t budget = ELF_NOTES_MAX;

	for (uint32_t i = 0; i < elf->n_headers; i++) {
		int r;

		if (elf->headers[i].p_type != PT_NOTE)
			continue;
		r = elf_scan_notes(elf, &elf->headers[i], &budget, ret_entry);
		if (r < 0)
			return r;
		if (r == ELF_NOTE_FOUND)
			return 0;
	}
	return boot_refuse(elf->error, "--kernel: ELF file without a PVH entry note "
				       "(XEN_ELFNOTE_PHYS32_ENTRY)");
}

/* PVH starts in 32-bit mode on code that came from the file. */
static int elf_check_entry(const struct elf_file *elf, uint64_t entry)
{
	for (uint32_t i = 0; i < elf->n_headers; i++) {
		const Elf64_Phdr *ph = &elf->headers[i];

		if (ph->p_type == PT_LOAD && entry <= UINT32_MAX && entry >= ph->p_paddr &&
		    entry - ph->p_paddr < ph->p_filesz)
			return 0;
	}
	return boot_refuse(elf->error,
			   "--kernel: PVH entry 0x%" PRIx64 " lies outside the ELF segments", entry);
}

static void elf_prepare_bss(const struct guest_memory *gm, uint64_t at, uint64_t size,
			    struct kernel_image *image)
{
	uint64_t soon = size < BSS_SOON ? size : BSS_SOON;
	uint64_t first = size < BSS_FIRST ? size : BSS_FIRST;

	guest_memory_populate(gm, gpa(at), first);
	if (soon - first > image->soon_size) {
		image->soon = at + first;
		image->soon_size = soon - first;
	}
}

static int elf_load_segments(const struct elf_file *elf, const struct guest_memory *gm,
			     struct kernel_image *image)
{
	for (uint32_t i = 0; i < elf->n_headers; i++) {
		const Elf64_Phdr *ph = &elf->headers[i];
		uint64_t end = ph->p_paddr + ph->p_memsz; /* inside RAM: does not wrap */
		int r;

		if (ph->p_type != PT_LOAD || ph->p_memsz == 0)
			continue;
		r = boot_input_load(elf->in, ph->p_offset, ph->p_filesz, "an ELF segment", gm,
				    gpa(ph->p_paddr), elf->error);
		if (r < 0)
			return r;
		elf_prepare_bss(gm, ph->p_paddr + ph->p_filesz, ph->p_memsz - ph->p_filesz, image);
		if (ph->p_paddr < LAYOUT_HIGH_RAM_START && end > image->low_end)
			image->low_end = end;
	}
	return 0;
}

int elf_load(const struct boot_input *in, const struct guest_memory *gm,
	     const struct e820_map *map, struct boot_error *error, struct kernel_image *ret)
{
	struct elf_file elf = { .in = in, .error = error };
	struct kernel_image image = {
		.protocol = BOOT_PVH,
		.low_end = LAYOUT_KERNEL,
		.initramfs_limit = LAYOUT_LOW_RAM_END,
		.cmdline_max = KERNEL_CMDLINE_MAX_ELF,
	};
	int r = elf_read_header(&elf);

	/* The note first: its absence tells a program from a kernel. */
	if (r == 0)
		r = elf_find_entry(&elf, &image.entry);
	if (r == 0)
		r = elf_check_segments(&elf, map);
	if (r == 0)
		r = elf_check_entry(&elf, image.entry);
	if (r == 0)
		r = elf_load_segments(&elf, gm, &image);
	if (r < 0)
		return r;
	*ret = image;
	return 0;
}
