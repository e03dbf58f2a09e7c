/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Modern virtio-pci devices on bus 0, found through ports 0xcf8/0xcfc (VIRTIO 1.2 §4.1). BARs must
 * have been assigned; memory decoding is switched on here. Legacy-only devices are passed over.
 */
#include "virtio.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA 0xcfc
#define VENDOR_VIRTIO 0x1af4
#define DEVICE_MODERN 0x1040
#define COMMAND_MEMORY_MASTER 0x6
#define CAPABILITY_VENDOR 0x09

/* cfg_type of struct virtio_pci_cap, §4.1.4 */
enum virtio_pci_cap {
	CAP_COMMON = 1,
	CAP_NOTIFY = 2,
	CAP_ISR = 3,
	CAP_DEVICE = 4,
};

static uint32_t pci_read32(unsigned slot, unsigned offset)
{
	port_out32(CONFIG_ADDRESS, 0x80000000u | slot << 11 | (offset & 0xfc));
	return port_in32(CONFIG_DATA);
}

static void pci_write32(unsigned slot, unsigned offset, uint32_t value)
{
	port_out32(CONFIG_ADDRESS, 0x80000000u | slot << 11 | (offset & 0xfc));
	port_out32(CONFIG_DATA, value);
}

static uint8_t pci_read8(unsigned slot, unsigned offset)
{
	return (uint8_t)(pci_read32(slot, offset) >> (offset & 3) * 8);
}

static uint64_t pci_bar(unsigned slot, unsigned bar)
{
	uint32_t low = pci_read32(slot, 0x10 + bar * 4);
	uint64_t at = low & ~0xfull;

	if (bar > 5 || low & 1)
		return 0;
	if ((low & 6) == 4)
		at |= (uint64_t)pci_read32(slot, 0x14 + bar * 4) << 32;
	return at;
}

static void pci_capability(struct vdev *dev, unsigned slot, unsigned cap)
{
	uint64_t at = pci_bar(slot, pci_read8(slot, cap + 4));
	uint32_t len = pci_read32(slot, cap + 12);

	if (!at)
		return;
	at = memory_map(at + pci_read32(slot, cap + 8), len);
	switch (pci_read8(slot, cap + 3)) {
	case CAP_COMMON:
		dev->common = at;
		break;
	case CAP_NOTIFY:
		dev->notify = at;
		dev->notify_multiplier = pci_read32(slot, cap + 16);
		break;
	case CAP_ISR:
		dev->isr = at;
		break;
	case CAP_DEVICE:
		dev->config = at;
		dev->config_len = len;
		break;
	default:
		break;
	}
}

static void pci_probe(unsigned slot)
{
	uint32_t id = pci_read32(slot, 0);
	struct vdev found = { .is_pci = true };
	struct vdev *dev;
	unsigned cap;

	if ((id & 0xffff) != VENDOR_VIRTIO)
		return;
	found.device_id = id >> 16 >= DEVICE_MODERN ? (id >> 16) - DEVICE_MODERN
						    : pci_read32(slot, 0x2c) >> 16;
	found.function = slot << 3;
	found.gsi = pci_read8(slot, 0x3c);
	pci_write32(slot, 0x04, pci_read32(slot, 0x04) | COMMAND_MEMORY_MASTER);
	cap = pci_read8(slot, 0x34) & 0xfc;
	/* A list longer than the space is a loop. */
	for (unsigned n = 0; cap && n < 48; n++, cap = pci_read8(slot, cap + 1) & 0xfc) {
		if (pci_read8(slot, cap) == CAPABILITY_VENDOR)
			pci_capability(&found, slot, cap);
	}
	if (!found.common || !found.notify || !found.isr || !found.config)
		return;
	dev = discover_add();
	if (dev)
		*dev = found;
}

void pci_discover(void)
{
	for (unsigned slot = 0; slot < 32; slot++)
		pci_probe(slot);
}
