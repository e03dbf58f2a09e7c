/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The register map of virtio-mmio version 2 (VIRTIO 1.2 §4.2.2) on a struct virtio_state; pure.
 *
 * Every offset and value is the guest's and hostile.
 */
#pragma once

#include "vmm-core/transport/virtio_state.h"

#define VIRTIO_MMIO_CONFIG 0x100u /* device config space starts here */
#define VIRTIO_MMIO_VENDOR 0x44484b42u /* "BKHD" */

/* Register offsets, VIRTIO 1.2 table 4.1. */
enum virtio_mmio_reg {
	VIRTIO_MMIO_MAGIC_VALUE = 0x000,
	VIRTIO_MMIO_VERSION = 0x004,
	VIRTIO_MMIO_DEVICE_ID = 0x008,
	VIRTIO_MMIO_VENDOR_ID = 0x00c,
	VIRTIO_MMIO_DEVICE_FEATURES = 0x010,
	VIRTIO_MMIO_DEVICE_FEATURES_SEL = 0x014,
	VIRTIO_MMIO_DRIVER_FEATURES = 0x020,
	VIRTIO_MMIO_DRIVER_FEATURES_SEL = 0x024,
	VIRTIO_MMIO_QUEUE_SEL = 0x030,
	VIRTIO_MMIO_QUEUE_SIZE_MAX = 0x034,
	VIRTIO_MMIO_QUEUE_SIZE = 0x038,
	VIRTIO_MMIO_QUEUE_READY = 0x044,
	VIRTIO_MMIO_QUEUE_NOTIFY = 0x050,
	VIRTIO_MMIO_INTERRUPT_STATUS = 0x060,
	VIRTIO_MMIO_INTERRUPT_ACK = 0x064,
	VIRTIO_MMIO_STATUS = 0x070,
	VIRTIO_MMIO_QUEUE_DESC_LOW = 0x080,
	VIRTIO_MMIO_QUEUE_DESC_HIGH = 0x084,
	VIRTIO_MMIO_QUEUE_DRIVER_LOW = 0x090,
	VIRTIO_MMIO_QUEUE_DRIVER_HIGH = 0x094,
	VIRTIO_MMIO_QUEUE_DEVICE_LOW = 0x0a0,
	VIRTIO_MMIO_QUEUE_DEVICE_HIGH = 0x0a4,
	VIRTIO_MMIO_SHM_SEL = 0x0ac,
	VIRTIO_MMIO_SHM_LEN_LOW = 0x0b0,
	VIRTIO_MMIO_SHM_LEN_HIGH = 0x0b4,
	VIRTIO_MMIO_SHM_BASE_LOW = 0x0b8,
	VIRTIO_MMIO_SHM_BASE_HIGH = 0x0bc,
	VIRTIO_MMIO_QUEUE_RESET = 0x0c0,
	VIRTIO_MMIO_CONFIG_GENERATION = 0x0fc,
};

/**
 * virtio_mmio_regs_read() - a register below VIRTIO_MMIO_CONFIG; anything unknown reads as 0
 *
 * INTERRUPT_STATUS and CONFIG_GENERATION are the owner's and read as 0 here.
 */
uint32_t virtio_mmio_regs_read(const struct virtio_state *state, uint64_t offset, unsigned size);

/** virtio_mmio_regs_write() - the same for a write; Return: what the owner has to do */
enum virtio_action virtio_mmio_regs_write(struct virtio_state *state, uint64_t offset,
					  unsigned size, uint64_t value);
