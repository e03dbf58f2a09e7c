/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/transport/pci_regs.h"

#include <string.h>

#define APIC_MESSAGES 0xfee00000u /* 1 MiB, Intel SDM vol. 3 §10.11.1 */

/* What can be written in each of an entry's words. */
static const uint32_t msix_writable[MSIX_WORDS] = {
	0xfffffffcu, UINT32_MAX, UINT32_MAX, MSIX_MASKED
};

void pci_config_load(struct pci_config *config, const struct pci_register *rows, uint32_t n)
{
	memset(config, 0, sizeof(*config));
	for (uint32_t i = 0; i < n; i++) {
		config->words[rows[i].offset / 4] = rows[i].value;
		config->writable[rows[i].offset / 4] = rows[i].writable;
	}
}

static bool is_config_valid(uint32_t offset, unsigned size)
{
	return (size == 1 || size == 2 || size == 4) && offset % 4 + size <= 4;
}

static uint32_t mask_of(unsigned size)
{
	return UINT32_MAX >> (32 - 8 * size);
}

uint32_t pci_config_read(const struct pci_config *config, uint32_t offset, unsigned size)
{
	if (!is_config_valid(offset, size))
		return UINT32_MAX;
	if (offset >= PCI_CONFIG_SIZE)
		return 0; /* no extended capability is there */
	return config->words[offset / 4] >> 8 * (offset % 4) & mask_of(size);
}

bool pci_config_write(struct pci_config *config, uint32_t offset, unsigned size, uint32_t value)
{
	uint32_t shift = 8 * (offset % 4);
	uint32_t *word, mask, old;

	if (!is_config_valid(offset, size) || offset >= PCI_CONFIG_SIZE)
		return false;
	word = &config->words[offset / 4];
	old = *word;
	mask = config->writable[offset / 4] & mask_of(size) << shift;
	*word = (old & ~mask) | (value << shift & mask);
	return *word != old;
}

void msix_reset(struct msix *msix, uint32_t n)
{
	memset(msix, 0, sizeof(*msix));
	msix->n = n;
	for (uint32_t i = 0; i < n; i++)
		msix->entries[i][MSIX_CONTROL] = MSIX_MASKED;
}

static bool is_msix_valid(const struct msix *msix, uint32_t offset, unsigned size)
{
	return size == 4 && offset % 4 == 0 && offset / MSIX_ENTRY_SIZE < msix->n;
}

uint32_t msix_read(const struct msix *msix, uint32_t offset, unsigned size)
{
	if (!is_msix_valid(msix, offset, size))
		return 0;
	return msix->entries[offset / MSIX_ENTRY_SIZE][offset % MSIX_ENTRY_SIZE / 4];
}

bool msix_write(struct msix *msix, uint32_t offset, unsigned size, uint32_t value)
{
	uint32_t *word, old;

	if (!is_msix_valid(msix, offset, size))
		return false;
	word = &msix->entries[offset / MSIX_ENTRY_SIZE][offset % MSIX_ENTRY_SIZE / 4];
	old = *word;
	*word = value & msix_writable[offset % MSIX_ENTRY_SIZE / 4];
	return *word != old;
}

bool msix_is_deliverable(const struct msix *msix, uint32_t vector)
{
	const uint32_t *e;

	if (vector >= msix->n)
		return false;
	e = msix->entries[vector];
	return !(e[MSIX_CONTROL] & MSIX_MASKED) && e[MSIX_ADDRESS_HIGH] == 0 &&
	       (e[MSIX_ADDRESS] & 0xfff00000u) == APIC_MESSAGES;
}
