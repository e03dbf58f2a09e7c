/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/transport/pci_config.h"

#include <string.h>

void pci_config_load(struct pci_config *config, const struct pci_register *rows, uint32_t n)
{
	memset(config, 0, sizeof(*config));
	for (uint32_t i = 0; i < n; i++) {
		config->words[rows[i].offset / 4] = rows[i].value;
		config->writable[rows[i].offset / 4] = rows[i].writable;
	}
}

static bool is_valid(uint32_t offset, unsigned size)
{
	return (size == 1 || size == 2 || size == 4) && offset % 4 + size <= 4;
}

static uint32_t mask_of(unsigned size)
{
	return UINT32_MAX >> (32 - 8 * size);
}

uint32_t pci_config_read(const struct pci_config *config, uint32_t offset, unsigned size)
{
	if (!is_valid(offset, size))
		return UINT32_MAX;
	if (offset >= PCI_CONFIG_SIZE)
		return 0; /* no extended capability is there */
	return config->words[offset / 4] >> 8 * (offset % 4) & mask_of(size);
}

bool pci_config_write(struct pci_config *config, uint32_t offset, unsigned size, uint32_t value)
{
	uint32_t shift = 8 * (offset % 4);
	uint32_t *word, mask, old;

	if (!is_valid(offset, size) || offset >= PCI_CONFIG_SIZE)
		return false;
	word = &config->words[offset / 4];
	old = *word;
	mask = config->writable[offset / 4] & mask_of(size) << shift;
	*word = (old & ~mask) | (value << shift & mask);
	return *word != old;
}
