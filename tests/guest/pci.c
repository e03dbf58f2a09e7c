/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Modern virtio-pci devices on bus 0, found through ports 0xcf8/0xcfc (VIRTIO 1.2 §4.1). BARs must
 * have been assigned; memory decoding is switched on here. Legacy-only devices are passed over.
 */
#include "pci.h"

#define VENDOR_VIRTIO 0x1af4
#define DEVICE_MODERN 0x1040
#define CAPABILITY_VENDOR 0x09
#define CAPABILITY_MSIX 0x11

/* cfg_type of struct virtio_pci_cap, §4.1.4 */
enum virtio_pci_cap {
	CAP_COMMON = 1,
	CAP_NOTIFY = 2,
	CAP_ISR = 3,
	CAP_DEVICE = 4,
	CAP_WINDOW = 5,
};

static uint16_t config_port(unsigned slot, unsigned offset)
{
	port_out32(PCI_CONFIG_ADDRESS, 0x80000000u | slot << 11 | (offset & 0xfc));
	return (uint16_t)(PCI_CONFIG_DATA + (offset & 3));
}

uint32_t pci_read(unsigned slot, unsigned offset, unsigned width)
{
	uint16_t port = config_port(slot, offset);

	return width == 1 ? port_in8(port) : width == 2 ? port_in16(port) : port_in32(port);
}

void pci_write(unsigned slot, unsigned offset, unsigned width, uint32_t value)
{
	uint16_t port = config_port(slot, offset);

	if (width == 1)
		port_out8(port, (uint8_t)value);
	else if (width == 2)
		port_out16(port, (uint16_t)value);
	else
		port_out32(port, value);
}

static uint32_t pci_read32(unsigned slot, unsigned offset)
{
	return pci_read(slot, offset, 4);
}

static uint8_t pci_read8(unsigned slot, unsigned offset)
{
	return (uint8_t)pci_read(slot, offset, 1);
}

uint64_t pci_bar(unsigned slot, unsigned bar)
{
	uint32_t low = pci_read32(slot, 0x10 + bar * 4);
	uint64_t at = low & ~0xfull;

	if (bar > 5 || low & 1)
		return 0;
	if ((low & 6) == 4)
		at |= (uint64_t)pci_read32(slot, 0x14 + bar * 4) << 32;
	return at;
}

void pci_set_command(const struct vdev *dev, uint16_t command)
{
	pci_write(dev->slot, PCI_COMMAND, 2, command);
}

void pci_set_bar(const struct vdev *dev, uint64_t at)
{
	pci_write(dev->slot, PCI_BAR0, 4, (uint32_t)at);
	pci_write(dev->slot, PCI_BAR0 + 4, 4, (uint32_t)(at >> 32));
}

void pci_move(struct vdev *dev, uint64_t at)
{
	uint64_t *places[] = { &dev->common, &dev->notify, &dev->isr, &dev->config, &dev->table,
			       &dev->pending };

	pci_set_command(dev, PCI_COMMAND_MASTER);
	pci_set_bar(dev, at);
	pci_set_command(dev, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	memory_map(at, PCI_BAR_MAPPED);
	for (unsigned i = 0; i < ARRAY_LEN(places); i++)
		*places[i] += at - dev->bar;
	dev->bar = at;
}

void msix_control(const struct vdev *dev, uint16_t bits)
{
	pci_write(dev->slot, dev->msix + 2, 2, bits);
}

void msix_set(const struct vdev *dev, unsigned vector, uint8_t interrupt, bool is_masked)
{
	uint64_t entry = dev->table + 16ull * vector;

	mmio_write32(entry + 12, 1);
	mmio_write32(entry, LAPIC_BASE); /* to APIC id 0 */
	mmio_write32(entry + 4, 0);
	mmio_write32(entry + 8, interrupt);
	mmio_write32(entry + 12, is_masked);
}

void msix_mask(const struct vdev *dev, unsigned vector, bool is_masked)
{
	mmio_write32(dev->table + 16ull * vector + 12, is_masked);
}

bool msix_is_pending(const struct vdev *dev, unsigned vector)
{
	return mmio_read32(dev->pending + vector / 32 * 4) >> vector % 32 & 1;
}

uint64_t window_offset(const struct vdev *dev, unsigned width, uint32_t offset)
{
	pci_write(dev->slot, dev->window + 4, 1, 0);
	pci_write(dev->slot, dev->window + 8, 4, offset);
	pci_write(dev->slot, dev->window + 12, 4, width);
	return dev->window + 16;
}

/* The place in a BAR that a word of the MSI-X capability names */
static uint64_t pci_msix_place(unsigned slot, unsigned offset)
{
	uint32_t word = pci_read32(slot, offset);
	uint64_t at = pci_bar(slot, word & 7);

	return at ? memory_map(at + (word & ~7u), 0x1000) : 0;
}

static void pci_msix_capability(struct vdev *dev, unsigned slot, unsigned cap)
{
	dev->msix = cap;
	dev->n_vectors = (pci_read(slot, cap + 2, 2) & 0x7ff) + 1;
	dev->table = pci_msix_place(slot, cap + 4);
	dev->pending = pci_msix_place(slot, cap + 8);
}

static void pci_capability(struct vdev *dev, unsigned slot, unsigned cap)
{
	uint64_t at = pci_bar(slot, pci_read8(slot, cap + 4));
	uint32_t len = pci_read32(slot, cap + 12);

	if (pci_read8(slot, cap + 3) == CAP_WINDOW)
		dev->window = cap;
	if (!at || pci_read8(slot, cap + 3) == CAP_WINDOW)
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
		dev->bar = pci_bar(slot, pci_read8(slot, cap + 4));
		break;
	default:
		break;
	}
}

static void pci_probe(unsigned slot)
{
	uint32_t id = pci_read32(slot, 0);
	struct vdev found = { .is_pci = true, .slot = slot };
	struct vdev *dev;
	unsigned cap;

	if ((id & 0xffff) != VENDOR_VIRTIO)
		return;
	found.device_id = id >> 16 >= DEVICE_MODERN ? (id >> 16) - DEVICE_MODERN
						    : pci_read32(slot, 0x2c) >> 16;
	found.function = slot << 3;
	found.gsi = pci_read8(slot, 0x3c);
	pci_write(slot, PCI_COMMAND, 2,
		  pci_read(slot, PCI_COMMAND, 2) | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	cap = pci_read8(slot, 0x34) & 0xfc;
	/* A list longer than the space is a loop. */
	for (unsigned n = 0; cap && n < 48; n++, cap = pci_read8(slot, cap + 1) & 0xfc) {
		if (pci_read8(slot, cap) == CAPABILITY_VENDOR)
			pci_capability(&found, slot, cap);
		else if (pci_read8(slot, cap) == CAPABILITY_MSIX)
			pci_msix_capability(&found, slot, cap);
	}
	if (!found.common || !found.notify || !found.isr || !found.config)
		return;
	for (uint16_t i = 0; i < ARRAY_LEN(found.notify_offsets); i++) {
		vdev_select(&found, i);
		found.notify_offsets[i] = mmio_read16(found.common + PCI_QUEUE_NOTIFY_OFF);
	}
	dev = discover_add();
	if (dev)
		*dev = found;
}

void pci_discover(void)
{
	for (unsigned slot = 0; slot < 32; slot++)
		pci_probe(slot);
}
