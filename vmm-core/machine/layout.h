/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where things are in a guest: physical memory, I/O ports and interrupt lines (x86_64).
 *
 * RAM runs from 0 to 3 GiB and goes on at 4 GiB; the hole between holds devices. What small
 * guests rely on is marked [fixed]: README and ACPI announce it, it never moves.
 */
#pragma once

#include <stdint.h>

#define LAYOUT_LOW_RAM_END 0xc0000000ull /* 3 GiB */
#define LAYOUT_HIGH_RAM_START 0x100000000ull /* 4 GiB */

/* Below 1 MiB: written by the loader before the guest starts, owned by the guest afterwards. */
#define LAYOUT_GDT 0x500ull
#define LAYOUT_PVH_START_INFO 0x6000ull
#define LAYOUT_PVH_MEMMAP 0x6800ull
#define LAYOUT_ZERO_PAGE 0x7000ull
#define LAYOUT_BOOT_STACK 0x8ff0ull
#define LAYOUT_BOOT_PAGE_TABLES 0x9000ull /* PML4, PDPT, then page directories: up to 0x10000 */
#define LAYOUT_CMDLINE 0x20000ull
#define LAYOUT_LOW_END 0x9fc00ull /* usable low memory ends; EBDA and ROM area follow */
#define LAYOUT_ACPI 0xe0000ull /* RSDP and all tables; reserved in e820 */
#define LAYOUT_ACPI_END 0x100000ull
#define LAYOUT_RESET_VECTOR 0xffff0ull /* F000:FFF0, in the same reserved area */
#define LAYOUT_KERNEL 0x100000ull

/* The hole */
#define LAYOUT_VIRTIO_MMIO 0xd0000000ull /* [fixed] slot n at + n * LAYOUT_VIRTIO_MMIO_SIZE */
#define LAYOUT_VIRTIO_MMIO_SIZE 0x1000ull
#define LAYOUT_VIRTIO_MMIO_SLOTS 16u /* [fixed] */
#define LAYOUT_PCI_WINDOW 0xe0000000ull /* BARs; device n has its own at + n * 32 KiB */
#define LAYOUT_PCI_WINDOW_SIZE 0x8000000ull
#define LAYOUT_PCI_ECAM 0xe8000000ull /* [fixed] one bus, 1 MiB */
#define LAYOUT_PCI_ECAM_SIZE 0x100000ull
#define LAYOUT_IDENTITY_MAP 0xfeffc000ull /* KVM_SET_IDENTITY_MAP_ADDR, one page */
#define LAYOUT_TSS 0xfeffd000ull /* KVM_SET_TSS_ADDR, three pages */
#define LAYOUT_IOAPIC 0xfec00000ull
#define LAYOUT_LOCAL_APIC 0xfee00000ull

/* Ports */
#define LAYOUT_COM1 0x3f8u /* [fixed] eight ports */
#define LAYOUT_I8042_DATA 0x60u
#define LAYOUT_I8042_COMMAND 0x64u /* [fixed] 0xfe resets */
#define LAYOUT_PCI_CONFIG 0xcf8u /* [fixed] address, then data */
#define LAYOUT_ACPI_SLEEP_CONTROL 0x600u /* [fixed] 0x34: S5 with SLP_EN */
#define LAYOUT_ACPI_SLEEP_STATUS 0x601u
#define LAYOUT_ACPI_RESET 0x602u /* 1 resets */
#define LAYOUT_ACPI_EVENTS 0x603u /* read to clear: LAYOUT_ACPI_EVENT_* */
#define LAYOUT_ACPI_EVENT_POWER_BUTTON 0x1u

/* Global system interrupts: 24 IOAPIC pins, edge-triggered, active high */
#define LAYOUT_GSI_COM1 4u /* [fixed] */
#define LAYOUT_GSI_ACPI_EVENT 9u
#define LAYOUT_GSI_PINS 24u
#define LAYOUT_GSI_MSI LAYOUT_GSI_PINS /* and up: KVM's numbers for the messages of PCI devices */

/** layout_virtio_mmio_gsi() - [fixed] 5 + slot, skipping 8 and 9: slot 15 is pin 22 */
static inline uint32_t layout_virtio_mmio_gsi(uint32_t slot)
{
	return slot < 3 ? 5 + slot : 7 + slot;
}

/** layout_virtio_mmio_base() - guest address of the register page of @slot */
static inline uint64_t layout_virtio_mmio_base(uint32_t slot)
{
	return LAYOUT_VIRTIO_MMIO + slot * LAYOUT_VIRTIO_MMIO_SIZE;
}
