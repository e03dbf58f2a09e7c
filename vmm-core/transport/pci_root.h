/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PCI root of the machine: one bus with a host bridge at device 0 and virtio devices (modern,
 * MSI-X, no INTx) at 1 to 31. Configuration is reached by ports 0xcf8/0xcfc and by ECAM.
 *
 * Runs in the core, mostly on vCPU threads. Every access is the guest's and hostile. What the
 * registers ask of KVM is done through struct pci_host; pci_root.c explains how.
 */
#pragma once

#include "vmm-core/machine/io_bus.h"
#include "vmm-core/transport/virtio_device.h"

#define PCI_SLOTS 32u
#define PCI_ECAM_SIZE 0x100000ull /* one bus: 32 devices, 8 functions, 4 KiB each */
#define PCI_PORTS 8u /* 0xcf8 to 0xcff */
#define PCI_BAR_SIZE 0x8000u /* of every virtio device */
#define PCI_WINDOWS 2u

/* Where BARs are decoded; the first one holds them all when the guest starts. */
struct pci_window {
	uint64_t base, size; /* size 0: there is none */
};

/* The message of one vector; nothing is to be sent while @address is 0. */
struct pci_route {
	uint32_t address, data;
};

/* What KVM does for the root. Called under the root's lock; 0 or -errno. */
struct pci_host {
	/* a write of any width to @address signals @fd, and costs no exit */
	int (*set_notify)(void *ctx, int fd, uint64_t address, bool on);
	/* a signal of @fd, also one that is pending, sends the message of @vector */
	int (*set_irq)(void *ctx, int fd, uint32_t vector, bool on);
	/* the messages of all @n vectors of the machine; those that fds are set for keep arriving */
	int (*set_routes)(void *ctx, const struct pci_route *routes, uint32_t n);
};

struct pci_root;

/** pci_root_new() - a bus with its host bridge; @host is borrowed; Return: 0; -errno */
int must_check pci_root_new(const struct pci_window windows[PCI_WINDOWS],
			    const struct pci_host *host, void *ctx, struct pci_root **ret);

/** pci_root_free() - takes NULL; Return: NULL */
struct pci_root *pci_root_free(struct pci_root *root);

/**
 * pci_root_add() - put a device, whose HELLO has come, into @slot
 * @dev, @fds: borrowed, outlive the root
 * Return: 0; -EINVAL for a slot that does not exist or is taken; -ENOMEM.
 * Context: before the first access.
 */
int must_check pci_root_add(struct pci_root *root, uint32_t slot, struct virtio_device *dev,
			    const struct virtio_device_fds *fds);

/** pci_root_reset() - machine reset, after that of the devices; no vCPU runs */
void pci_root_reset(struct pci_root *root);

/* Handlers; ctx is the root for ports and ECAM, and pci_root_window() for a window. */
extern const struct io_handler pci_ports_io, pci_ecam_io, pci_window_io;

/** pci_root_window() - borrow the ctx of window @i */
void *pci_root_window(struct pci_root *root, uint32_t i);
