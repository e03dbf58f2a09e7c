/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the PCI root, shared by pci_root.c (configuration and placement),
 * pci_interrupts.c (MSI-X) and virtio_pci.c (what a BAR holds).
 */
#pragma once

#include <pthread.h>

#include "vmm-core/transport/pci_regs.h"
#include "vmm-core/transport/pci_root.h"

/* In the configuration registers of a virtio device (virtio_pci.c has the table) */
#define VIRTIO_PCI_MSIX_CONTROL 0x40u /* the upper half of this word */
#define VIRTIO_PCI_MSIX_ENABLE 0x80000000u
#define VIRTIO_PCI_MSIX_FUNCTION_MASK 0x40000000u
#define VIRTIO_PCI_CFG_CAPABILITY 0x98u /* §4.1.4.9: bar, offset, length, data */
#define VIRTIO_PCI_CFG_DATA (VIRTIO_PCI_CFG_CAPABILITY + 16u)

#define VIRTIO_PCI_NO_VECTOR 0xffffu

#define PCI_SOURCES_MAX MSIX_VECTORS_MAX /* of interrupts: the queues, then the configuration */

struct pci_function {
	struct pci_root *root;
	struct virtio_device *device; /* NULL: the host bridge */
	const struct virtio_device_fds *fds;
	uint32_t slot;
	uint32_t n_queues;
	uint32_t first_vector; /* of the machine's */

	/* Under the root's lock: */
	struct pci_config config;
	uint64_t decoded; /* where the BAR is, 0: nowhere */
	struct msix msix;
	uint16_t vectors[PCI_SOURCES_MAX]; /* of each source, or VIRTIO_PCI_NO_VECTOR */
	uint16_t armed[PCI_SOURCES_MAX]; /* the vector that KVM has the source's fd set for, or that */
};

struct pci_window_ctx {
	struct pci_root *root;
	struct pci_window window;
};

struct pci_root {
	const struct pci_host *host;
	void *ctx;
	struct pci_window_ctx windows[PCI_WINDOWS];
	pthread_mutex_t lock; /* inside that of a virtio device; never held over a wait for one */
	uint32_t address; /* the port 0xcf8 */
	struct pci_function *functions[PCI_SLOTS];
	uint32_t n_vectors;
	struct pci_route routes[PCI_SLOTS * MSIX_VECTORS_MAX];
};

/* pci_interrupts.c; all want root->lock held */

/** pci_interrupts_update() - bring KVM in line with the registers of @f */
void pci_interrupts_update(struct pci_function *f);

/** pci_interrupts_forget() - no source has a vector, and what was signalled is gone */
void pci_interrupts_forget(struct pci_function *f);

/** pci_interrupts_pending() - a word of the pending bit array */
uint32_t pci_interrupts_pending(const struct pci_function *f, uint32_t offset);

/* virtio_pci.c */

/** virtio_pci_load() - configuration registers after a reset; root->lock held */
void virtio_pci_load(struct pci_function *f);

/** virtio_pci_set_notify() - notifications at the BAR's present address, or no more; lock held */
void virtio_pci_set_notify(struct pci_function *f, bool on);

/* Accesses inside the BAR; root->lock not held, may wait for the device process. */
uint64_t virtio_pci_read(struct pci_function *f, uint64_t offset, unsigned size);
void virtio_pci_write(struct pci_function *f, uint64_t offset, unsigned size, uint64_t value);
