/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that is in guest memory before the first instruction: kernel, initramfs, command
 * line, boot parameters (PVH start info or zero page) with the e820 map, ACPI tables.
 *
 * Runs in the core, at start and again at every guest reset, from fds that stay open read-only.
 * The kernel file is input from the user, who may have got it from anywhere: every offset and
 * size in it is checked.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/guest_memory.h"

struct boot_source {
	int kernel_fd;
	int initramfs_fd; /* -1: none */
	const char *cmdline;
	uint32_t n_cpus;
	uint32_t virtio_mmio_slots; /* bit n: slot n has a device */
	bool has_pci;
	uint64_t pci_window, pci_window_size; /* for BARs above RAM; size 0: there is none */
	uint32_t iommu; /* PCI function number of the IOMMU; 0: there is none */
	uint32_t behind_iommu; /* bit n: PCI device n goes through it */
};

enum boot_protocol {
	BOOT_PVH, /* 32-bit entry, paging off, rbx = start info */
	BOOT_LINUX_64, /* 64-bit entry at load + 0x200, rsi = zero page, long mode, identity map */
	BOOT_LINUX_32, /* 32-bit entry at load, rsi = zero page, paging off */
};

/* The GDT that boot_load() leaves at LAYOUT_GDT: flat ring-0 segments, L or D bit by protocol. */
#define BOOT_SELECTOR_CODE 0x10u
#define BOOT_SELECTOR_DATA 0x18u
#define BOOT_SELECTOR_TSS 0x20u
#define BOOT_GDT_SIZE 0x30u /* bytes: its limit is one less */

/* What the first vCPU starts with; machine/vcpu.c turns it into registers. */
struct boot_entry {
	enum boot_protocol protocol;
	uint64_t rip;
	uint64_t params; /* guest address of the start info or zero page */
	uint64_t soon, soon_size; /* address and bytes that the kernel will write first of all */
};

/**
 * boot_load() - fill guest memory and say where to start
 * @error: room for one line that names the flag and the reason, like
 *	   "--kernel: ELF segment 2 lies outside guest memory"; set when non-zero is returned
 * @error_len: bytes of @error
 *
 * BOOT_LINUX_64 also finds a PML4 at LAYOUT_BOOT_PAGE_TABLES that maps the first 4 GiB to itself.
 *
 * Return: 0; -EINVAL for unusable input; -errno of reading the files.
 * Context: core, one thread; guest memory is all zero before.
 */
int must_check boot_load(const struct guest_memory *gm, const struct boot_source *source,
			 struct boot_entry *ret, char *error, size_t error_len);
