/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/transport/pci_msix.h"

#include <string.h>

#define APIC_MESSAGES 0xfee00000u /* 1 MiB, Intel SDM vol. 3 §10.11.1 */

/* What can be written in each of an entry's words. */
static const uint32_t writable[MSIX_WORDS] = {
	0xfffffffcu, UINT32_MAX, UINT32_MAX, MSIX_MASKED
};

void msix_reset(struct msix *msix, uint32_t n)
{
	memset(msix, 0, sizeof(*msix));
	msix->n = n;
	for (uint32_t i = 0; i < n; i++)
		msix->entries[i][MSIX_CONTROL] = MSIX_MASKED;
}

static bool is_valid(const struct msix *msix, uint32_t offset, unsigned size)
{
	return size == 4 && offset % 4 == 0 && offset / MSIX_ENTRY_SIZE < msix->n;
}

uint32_t msix_read(const struct msix *msix, uint32_t offset, unsigned size)
{
	if (!is_valid(msix, offset, size))
		return 0;
	return msix->entries[offset / MSIX_ENTRY_SIZE][offset % MSIX_ENTRY_SIZE / 4];
}

bool msix_write(struct msix *msix, uint32_t offset, unsigned size, uint32_t value)
{
	uint32_t *word, old;

	if (!is_valid(msix, offset, size))
		return false;
	word = &msix->entries[offset / MSIX_ENTRY_SIZE][offset % MSIX_ENTRY_SIZE / 4];
	old = *word;
	*word = value & writable[offset % MSIX_ENTRY_SIZE / 4];
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
