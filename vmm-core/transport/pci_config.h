/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration registers of one PCI function (PCI Local Bus 3.0 §6): 256 bytes of which a
 * table says which bits can be written. Pure. Offsets and values are the guest's and hostile.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define PCI_CONFIG_SIZE 256u /* of a conventional function; what lies above reads as 0 */

/* Registers, PCI 3.0 §6.1 */
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
