/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MSI-X table of one function (PCI 3.0 §6.8.2) as pure registers; pci_interrupts.c does what
 * follows from them. Offsets and values are the guest's and hostile.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/device_page.h"

#define MSIX_VECTORS_MAX (DEVICE_QUEUES_MAX + 1u) /* one per queue, one for configuration changes */
#define MSIX_ENTRY_SIZE 16u
#define MSIX_MASKED 0x1u /* in MSIX_CONTROL */

enum msix_word { /* of an entry */
	MSIX_ADDRESS,
	MSIX_ADDRESS_HIGH,
	MSIX_DATA,
	MSIX_CONTROL,
	MSIX_WORDS,
};

struct msix {
	uint32_t n;
	uint32_t entries[MSIX_VECTORS_MAX][MSIX_WORDS];
};

/** msix_reset() - @n vectors (1..MSIX_VECTORS_MAX), all masked */
void msix_reset(struct msix *msix, uint32_t n);

/** msix_read() - 0 unless it is an aligned word of an entry that exists (§6.8.2) */
uint32_t msix_read(const struct msix *msix, uint32_t offset, unsigned size);

/** msix_write() - Return: whether the table has changed */
bool msix_write(struct msix *msix, uint32_t offset, unsigned size, uint32_t value);

/**
 * msix_is_deliverable() - @vector exists, is not masked, and its message goes to a local APIC
 *
 * A message to any other address would be a write to memory or to a device: none is made.
 */
bool msix_is_deliverable(const struct msix *msix, uint32_t vector);
