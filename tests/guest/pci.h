/* SPDX-License-Identifier: Apache-2.0 */
/* PCI configuration space, BARs and MSI-X of a modern virtio device, for tests that misuse them. */
#pragma once

#include "virtio.h"

#define PCI_CONFIG_ADDRESS 0xcf8
#define PCI_CONFIG_DATA 0xcfc
#define PCI_COMMAND 0x04
#define PCI_COMMAND_MEMORY 0x2
#define PCI_COMMAND_MASTER 0x4
#define PCI_BAR0 0x10
#define PCI_ECAM 0xe8000000ull /* of Bulkhead; it also tells that it is Bulkhead */
#define PCI_BAR_MAPPED 0x10000 /* bytes of a BAR that are mapped; those of Bulkhead have half of it */

#define PCI_NO_VECTOR 0xffff
#define MSIX_ENABLE 0x8000
#define MSIX_FUNCTION_MASK 0x4000

/* Offsets in the common configuration, VIRTIO 1.2 §4.1.4.3 */
enum pci_common {
	PCI_DEVICE_FEATURE_SELECT = 0x00,
	PCI_DEVICE_FEATURE = 0x04,
	PCI_DRIVER_FEATURE_SELECT = 0x08,
	PCI_DRIVER_FEATURE = 0x0c,
	PCI_CONFIG_MSIX_VECTOR = 0x10,
	PCI_NUM_QUEUES = 0x12,
	PCI_DEVICE_STATUS = 0x14,
	PCI_CONFIG_GENERATION = 0x15,
	PCI_QUEUE_SELECT = 0x16,
	PCI_QUEUE_SIZE = 0x18,
	PCI_QUEUE_MSIX_VECTOR = 0x1a,
	PCI_QUEUE_ENABLE = 0x1c,
	PCI_QUEUE_NOTIFY_OFF = 0x1e,
	PCI_QUEUE_DESC = 0x20,
	PCI_QUEUE_DRIVER = 0x28,
	PCI_QUEUE_DEVICE = 0x30,
};

/* By ports 0xcf8/0xcfc, function 0 of a device on bus 0 */
uint32_t pci_read(unsigned slot, unsigned offset, unsigned width);
void pci_write(unsigned slot, unsigned offset, unsigned width, uint32_t value);
uint64_t pci_bar(unsigned slot, unsigned bar);

void pci_set_command(const struct vdev *dev, uint16_t command);
/* Writes the BAR and nothing else: dev keeps its addresses. */
void pci_set_bar(const struct vdev *dev, uint64_t at);
/* Moves the BAR as a driver does, with memory decoding off meanwhile; dev follows. */
void pci_move(struct vdev *dev, uint64_t at);

void msix_control(const struct vdev *dev, uint16_t bits);
/* An entry that sends an interrupt to the first CPU */
void msix_set(const struct vdev *dev, unsigned vector, uint8_t interrupt, bool is_masked);
void msix_mask(const struct vdev *dev, unsigned vector, bool is_masked);
bool msix_is_pending(const struct vdev *dev, unsigned vector);

/* Points the PCI configuration access capability into the BAR; Return: where its data are */
uint64_t window_offset(const struct vdev *dev, unsigned width, uint32_t offset);
