/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A start runs through most of a program once, and the kernel maps sixteen pages for each that is
 * touched. Of the three static programs of a VM that was two thirds of all their memory.
 */
#include "ipc/resident.h"

#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#define STACK_SEARCHED (128u << 10) /* stack_guard_gap: 1 MiB */

static int trim_program(struct dl_phdr_info *info, size_t size, void *ctx)
{
	uintptr_t mask = ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1);
	unsigned i;

	(void)size;
	(void)ctx;
	for (i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		uintptr_t start = (info->dlpi_addr + p->p_vaddr) & mask;
		uintptr_t end = (info->dlpi_addr + p->p_vaddr + p->p_memsz + ~mask) & mask;

		if (p->p_type == PT_LOAD && !(p->p_flags & PF_W))
			(void)madvise((void *)start, end - start, MADV_DONTNEED);
	}
	return 1; /* the program comes first; libraries are shared with others anyway */
}

/*
 * What lies below the present frame is nobody's. The kernel keeps more than STACK_SEARCHED free of
 * other mappings below a stack, and what is not mapped is passed over.
 */
static void trim_stack(void)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t end = ((uintptr_t)__builtin_frame_address(0) & ~(page - 1)) - page;

	(void)madvise((void *)(end - STACK_SEARCHED), STACK_SEARCHED, MADV_DONTNEED);
}

void resident_trim(void)
{
	(void)dl_iterate_phdr(trim_program, NULL);
	trim_stack();
}
