/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registers of one PCI function, pure: 256 bytes of configuration space of which a table says
 * which bits can be written (PCI Local Bus 3.0 §6.1), and the MSI-X table (§6.8.2). What follows
 * from them is done by pci_root.c and pci_interrupts.c. Offsets and values are the guest's and
 * hostile.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/device_page.h"

#define PCI_CONFIG_SIZE 256u /* of a conventional function; what lies above reads as 0 */

#define PCI_ID 0x00u
#define PCI_COMMAND 0x04u
#define PCI_CLASS 0x08u /* and the revision */
#define PCI_BAR 0x10u /* 64 bits */
#define PCI_SUBSYSTEM 0x2cu
#define PCI_COMMAND_MEMORY 0x0002u
#define PCI_COMMAND_MASTER 0x0004u
#define PCI_COMMAND_NO_INTX 0x0400u
#define PCI_STATUS_CAPABILITIES 0x00100000u /* in the same word as the command */
#define PCI_BAR_64_BIT 0x4u

struct pci_config {
	uint32_t words[PCI_CONFIG_SIZE / 4];
	uint32_t writable[PCI_CONFIG_SIZE / 4];
};

/* One word of a function's table; words that it leaves out are 0 and read-only. */
struct pci_register {
	uint32_t offset;
	uint32_t value; /* after a reset */
	uint32_t writable; /* which bits */
};

/** pci_config_load() - the state after a reset, by a table of @n rows */
void pci_config_load(struct pci_config *config, const struct pci_register *rows, uint32_t n);

/** pci_config_word() - the word at @offset, a multiple of 4 below PCI_CONFIG_SIZE */
static inline uint32_t pci_config_word(const struct pci_config *config, uint32_t offset)
{
	return config->words[offset / 4];
}

/** pci_config_read() - all ones when the access is not 1, 2 or 4 bytes inside one word */
uint32_t pci_config_read(const struct pci_config *config, uint32_t offset, unsigned size);

/** pci_config_write() - Return: whether a register has changed; such accesses change none */
bool pci_config_write(struct pci_config *config, uint32_t offset, unsigned size, uint32_t value);

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

/** msix_read() - 0 unless it is an aligned word of an entry that exists */
uint32_t msix_read(const struct msix *msix, uint32_t offset, unsigned size);

/** msix_write() - Return: whether the table has changed */
bool msix_write(struct msix *msix, uint32_t offset, unsigned size, uint32_t value);

/**
 * msix_is_deliverable() - @vector exists, is not masked, and its message goes to a local APIC
 *
 * A message to any other address would be a write to memory or to a device: none is made.
 */
bool msix_is_deliverable(const struct msix *msix, uint32_t vector);
