/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/startup.h"

#include <stdint.h>
#include <sys/mman.h>

/* From the linker: the program's first byte, and the end of its code. */
extern const char __executable_start[], etext[];

void startup_done(void)
{
	const uintptr_t page = 4096;
	uintptr_t start = (uintptr_t)__executable_start & ~(page - 1);
	uintptr_t end = (uintptr_t)etext & ~(page - 1);

	/* Headers, relocations and code: private mappings of the file that nobody writes to. */
	(void)madvise((void *)start, end - start, MADV_DONTNEED);
}
