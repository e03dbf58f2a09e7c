/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The common configuration structure of virtio-pci (VIRTIO 1.2 §4.1.4.3) on a struct
 * virtio_state; pure. Every offset and value is the guest's and hostile.
 */
#pragma once

#include "vmm-core/transport/virtio_state.h"

#define VIRTIO_PCI_NO_VECTOR 0xffffu

enum virtio_pci_reg {
	VIRTIO_PCI_DEVICE_FEATURE_SELECT = 0x00,
	VIRTIO_PCI_DEVICE_FEATURE = 0x04,
	VIRTIO_PCI_DRIVER_FEATURE_SELECT = 0x08,
	VIRTIO_PCI_DRIVER_FEATURE = 0x0c,
	VIRTIO_PCI_CONFIG_MSIX_VECTOR = 0x10,
	VIRTIO_PCI_NUM_QUEUES = 0x12,
	VIRTIO_PCI_DEVICE_STATUS = 0x14,
	VIRTIO_PCI_CONFIG_GENERATION = 0x15,
	VIRTIO_PCI_QUEUE_SELECT = 0x16,
	VIRTIO_PCI_QUEUE_SIZE = 0x18,
	VIRTIO_PCI_QUEUE_MSIX_VECTOR = 0x1a,
	VIRTIO_PCI_QUEUE_ENABLE = 0x1c,
	VIRTIO_PCI_QUEUE_NOTIFY_OFF = 0x1e,
	VIRTIO_PCI_QUEUE_DESC = 0x20, /* each address: low word, then high word */
	VIRTIO_PCI_QUEUE_DRIVER = 0x28,
	VIRTIO_PCI_QUEUE_DEVICE = 0x30,
	VIRTIO_PCI_COMMON_SIZE = 0x38,
};

/**
 * virtio_pci_regs_read() - a field, by an access of exactly its size (§4.1.3.1), else 0
 * @vectors: of each queue; at [n_queues] of configuration changes
 *
 * CONFIG_GENERATION is the owner's and reads as 0 here.
 */
uint32_t virtio_pci_regs_read(const struct virtio_state *state, const uint16_t *vectors,
			      uint32_t offset, unsigned size);

/** virtio_pci_regs_write() - the same for a write; Return: what the owner has to do */
enum virtio_action virtio_pci_regs_write(struct virtio_state *state, uint16_t *vectors,
					 uint32_t offset, unsigned size, uint32_t value);
