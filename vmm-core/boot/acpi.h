/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACPI tables of a hardware-reduced machine: RSDP, XSDT, FADT, MADT, MCFG, VIOT,
 * DSDT.
 *
 * Runs in the core at boot; all inputs are the core's own. The tables end up in guest memory,
 * where the guest may change them: nothing reads them back.
 * Spec: ACPI 6.4.
 */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "ipc/guest_memory.h"

struct acpi_source {
	uint32_t n_cpus; /* 1..64; CPU i has APIC id i and processor UID i */
	uint32_t virtio_mmio_slots; /* bit n: slot n has a device */
	bool has_pci;
	uint64_t pci_window, pci_window_size; /* for BARs above RAM; size 0: there is none */
	uint32_t iommu; /* PCI function number of the virtio IOMMU; 0: there is none */
	uint32_t behind_iommu; /* bit n: PCI device n, function 0 goes through it */
};

/**
 * acpi_write() - put all tables between LAYOUT_ACPI and LAYOUT_ACPI_END
 * @ret_rsdp: guest address of the root pointer
 *
 * Return: 0; -EINVAL for a bad CPU count; -ENOSPC when the area is too small;
 * GUEST_MEMORY_BAD_RANGE when low memory is missing.
 */
int must_check acpi_write(const struct guest_memory *gm, const struct acpi_source *source,
			  uint64_t *ret_rsdp);
