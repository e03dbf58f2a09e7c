/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registers of one virtio-mmio device as a pure state machine (VIRTIO 1.2 §4.2.2): no I/O, no
 * locks, no other process, so that tests and fuzzers drive it alone. What has to happen outside
 * is the returned action; virtio_mmio.c does it.
 *
 * Every offset and value is the guest's and hostile.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/device_page.h"
#include "ipc/guest_memory.h"

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

/* VIRTIO 1.2 §2.1 device status field */
#define VIRTIO_STATUS_ACKNOWLEDGE 0x01u
#define VIRTIO_STATUS_DRIVER 0x02u
#define VIRTIO_STATUS_DRIVER_OK 0x04u
#define VIRTIO_STATUS_FEATURES_OK 0x08u
#define VIRTIO_STATUS_NEEDS_RESET 0x40u
#define VIRTIO_STATUS_FAILED 0x80u

enum virtio_mmio_action {
	VIRTIO_MMIO_NOTHING,
	VIRTIO_MMIO_ACTIVATE, /* DRIVER_OK was set; on failure call virtio_mmio_regs_fail() */
	VIRTIO_MMIO_RESET, /* the driver asks for it; then call virtio_mmio_regs_reset() */
	VIRTIO_MMIO_ACKNOWLEDGE, /* the written bits of the interrupt status */
};

struct virtio_mmio_queue {
	bool ready;
	uint32_t size;
	uint64_t desc, avail, used; /* the spec's Desc, Driver, Device */
};

struct virtio_mmio_regs {
	/* What the device is; given once. */
	uint32_t device_id;
	uint64_t features; /* offered */
	uint32_t n_queues; /* at most DEVICE_QUEUES_MAX */
	uint32_t queue_size_max;
	const struct guest_region *ram; /* where rings may lie; borrowed */
	uint32_t n_ram;

	/* Set by the owner before a write: may a driver start to use this device at all? */
	bool is_usable;

	/* The driver's session, all zero after a reset. */
	uint32_t status;
	uint32_t device_features_sel, driver_features_sel, queue_sel;
	uint64_t driver_features;
	bool driver_features_beyond; /* asked for a feature above 63 */
	struct virtio_mmio_queue queues[DEVICE_QUEUES_MAX];

	uint64_t n_ignored; /* writes without effect, over all sessions */
};

/** virtio_mmio_regs_reset() - everything of the session back to its initial value */
void virtio_mmio_regs_reset(struct virtio_mmio_regs *regs);

/**
 * virtio_mmio_regs_fail() - set DEVICE_NEEDS_RESET
 *
 * Only a session that has got to FEATURES_OK is told; before, there is nothing to lose, and the
 * driver finds out by FEATURES_OK being refused.
 * Return: true when the driver has to be interrupted for it (DRIVER_OK was set).
 */
bool virtio_mmio_regs_fail(struct virtio_mmio_regs *regs);

/**
 * virtio_mmio_regs_read() - a register below VIRTIO_MMIO_CONFIG; anything unknown reads as 0
 *
 * INTERRUPT_STATUS and CONFIG_GENERATION are the owner's and read as 0 here.
 */
uint32_t virtio_mmio_regs_read(const struct virtio_mmio_regs *regs, uint64_t offset,
			       unsigned size);

/** virtio_mmio_regs_write() - the same for a write; Return: what the owner has to do */
enum virtio_mmio_action virtio_mmio_regs_write(struct virtio_mmio_regs *regs, uint64_t offset,
					       unsigned size, uint64_t value);
