/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the loader told the probe guest: command line and memory map, from the PVH start info or
 * from Linux's zero page. Both are copied, since low memory is used again.
 */
#include "probe.h"

#define PVH_MAGIC 0x336ec578
#define E820_RAM 1

/* Zero page: offsets of the Linux/x86 boot protocol. */
#define ZERO_PAGE_E820_COUNT 0x1e8
#define ZERO_PAGE_CMDLINE 0x228
#define ZERO_PAGE_E820 0x2d0

struct pvh_start_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;
	uint32_t n_modules;
	uint64_t modules;
	uint64_t cmdline;
	uint64_t rsdp;
	uint64_t memmap; /* from version 1 on */
	uint32_t n_memmap;
	uint32_t reserved;
};

struct pvh_memmap_entry {
	uint64_t start;
	uint64_t size;
	uint32_t type;
	uint32_t reserved;
};

struct e820_entry {
	uint64_t start;
	uint64_t size;
	uint32_t type;
} __attribute__((packed));

struct ram_region ram_regions[16];
unsigned n_ram_regions;
char command_line[4096];

extern uint32_t boot_info, boot_kind;

static void boot_add_ram(uint64_t start, uint64_t size, uint32_t type)
{
	if (type == E820_RAM && size && n_ram_regions < ARRAY_LEN(ram_regions))
		ram_regions[n_ram_regions++] = (struct ram_region){ start, size };
}

static void boot_copy_command_line(uint64_t at)
{
	const char *from = (const char *)at;
	size_t n = 0;

	for (; at && from[n] && n < sizeof(command_line) - 1; n++)
		command_line[n] = from[n];
	command_line[n] = '\0';
}

static void boot_parse_pvh(uint64_t at)
{
	const struct pvh_start_info *info = (const void *)at;
	const struct pvh_memmap_entry *map;

	if (info->magic != PVH_MAGIC)
		return;
	boot_copy_command_line(info->cmdline);
	if (info->version < 1)
		return;
	map = (const void *)info->memmap;
	for (uint32_t i = 0; i < info->n_memmap; i++)
		boot_add_ram(map[i].start, map[i].size, map[i].type);
}

static void boot_parse_zero_page(uint64_t at)
{
	const uint8_t *page = (const void *)at;
	const struct e820_entry *map = (const void *)(page + ZERO_PAGE_E820);
	uint32_t cmdline;

	memcpy(&cmdline, page + ZERO_PAGE_CMDLINE, sizeof(cmdline));
	boot_copy_command_line(cmdline);
	for (uint32_t i = 0; i < page[ZERO_PAGE_E820_COUNT]; i++)
		boot_add_ram(map[i].start, map[i].size, map[i].type);
}

void boot_parse(void)
{
	if (boot_kind == BOOT_PVH)
		boot_parse_pvh(boot_info);
	else
		boot_parse_zero_page(boot_info);
}

bool boot_option_next(const char *key, size_t *cursor, char *value, size_t size)
{
	size_t key_len = strlen(key);
	const char *s = command_line + *cursor;

	while (*s) {
		const char *word = s;
		size_t len = 0;

		while (word[len] && word[len] != ' ')
			len++;
		s = word + len;
		while (*s == ' ')
			s++;
		if (!string_starts(word, key) || (word[key_len] != '=' && len != key_len))
			continue;
		*cursor = (size_t)(s - command_line);
		if (value) {
			size_t from = len == key_len ? len : key_len + 1;
			size_t n = len - from < size - 1 ? len - from : size - 1;

			memcpy(value, word + from, n);
			value[n] = '\0';
		}
		return true;
	}
	*cursor = (size_t)(s - command_line);
	return false;
}

bool boot_option(const char *key, char *value, size_t size)
{
	size_t cursor = 0;

	return boot_option_next(key, &cursor, value, size);
}

uint64_t boot_option_number(const char *key, uint64_t otherwise)
{
	char value[32];

	return boot_option(key, value, sizeof(value)) ? string_number(value, NULL) : otherwise;
}
