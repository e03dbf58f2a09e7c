/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of the probe guest. start.S maps the first 4 GiB; pages above are added here, identity
 * mapped up to 128 TiB. What devices see (rings, buffers) comes from an arena above the image.
 */
#include "probe.h"

#define PAGE_LARGE_USER 0xe7
#define PAGE_TABLE_USER 0x67
#define PAGE_PRESENT 0x1
#define PAGE_ADDRESS 0x000ffffffffff000u
#define LARGE_PAGE (2 * MIB)
#define ARENA_MAX (64 * MIB)
#define N_TABLES 64

extern uint64_t pml4[512];
extern char memory_end[];

static uint64_t tables[N_TABLES][512] __attribute__((aligned(4096)));
static unsigned n_tables;
static uint64_t arena_at, arena_end;

void memory_init(void)
{
	arena_at = ((uint64_t)memory_end + LARGE_PAGE - 1) & ~(LARGE_PAGE - 1);
	arena_end = arena_at + 8 * MIB; /* a loader without a memory map */
	for (unsigned i = 0; i < n_ram_regions; i++) {
		uint64_t start = ram_regions[i].start, size = ram_regions[i].size;

		if (start <= arena_at && arena_at - start < size) {
			uint64_t left = size - (arena_at - start);

			arena_end = arena_at + (left < ARENA_MAX ? left : ARENA_MAX);
		}
	}
}

void *memory_alloc(size_t size, size_t align)
{
	uint64_t at = (arena_at + align - 1) & ~((uint64_t)align - 1);

	if (size > arena_end || at > arena_end - size) {
		print("probe: out of memory\n");
		end_power_off();
	}
	arena_at = at + size;
	return memset((void *)at, 0, size);
}

size_t memory_mark(void)
{
	return arena_at;
}

void memory_release(size_t mark)
{
	arena_at = mark;
}

uint64_t memory_arena_end(void)
{
	return arena_end;
}

bool memory_is_ram(uint64_t at, uint64_t len)
{
	for (unsigned i = 0; i < n_ram_regions; i++) {
		uint64_t start = ram_regions[i].start, size = ram_regions[i].size;

		if (at >= start && at - start < size && len <= size - (at - start))
			return true;
	}
	return false;
}

/* The table behind an entry, made when there is none. */
static uint64_t *memory_table(uint64_t *entry)
{
	if (!(*entry & PAGE_PRESENT)) {
		if (n_tables == N_TABLES) {
			print("probe: out of page tables\n");
			end_power_off();
		}
		*entry = (uint64_t)tables[n_tables++] | PAGE_TABLE_USER;
	}
	return (uint64_t *)(*entry & PAGE_ADDRESS);
}

uint64_t memory_map(uint64_t at, uint64_t len)
{
	uint64_t page = at & ~(LARGE_PAGE - 1);

	for (; page >= 4 * GIB && page < at + len; page += LARGE_PAGE) {
		uint64_t *directories = memory_table(&pml4[page >> 39 & 511]);
		uint64_t *directory = memory_table(&directories[page >> 30 & 511]);
		uint64_t *entry = &directory[page >> 21 & 511];

		/* A page that was not present is in no TLB. */
		if (!(*entry & PAGE_PRESENT))
			*entry = page | PAGE_LARGE_USER;
	}
	compiler_barrier();
	return at;
}
