/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a driver has negotiated with one device: status, features, queues. A pure state machine
 * behind the register maps of both transports (virtio_mmio_regs.c, virtio_pci_regs.c): no I/O, no
 * locks, no other process, so that tests and fuzzers drive it alone. What has to happen outside
 * is the returned action; virtio_device.c does it.
 *
 * Every value is the guest's and hostile.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/device_page.h"
#include "ipc/guest_memory.h"

/* VIRTIO 1.2 §2.1 device status field */
#define VIRTIO_STATUS_ACKNOWLEDGE 0x01u
#define VIRTIO_STATUS_DRIVER 0x02u
#define VIRTIO_STATUS_DRIVER_OK 0x04u
#define VIRTIO_STATUS_FEATURES_OK 0x08u
#define VIRTIO_STATUS_NEEDS_RESET 0x40u
#define VIRTIO_STATUS_FAILED 0x80u

enum virtio_action {
	VIRTIO_NOTHING,
	VIRTIO_ACTIVATE, /* DRIVER_OK was set; on failure call virtio_state_fail() */
	VIRTIO_RESET, /* the driver asks for it; then call virtio_state_reset() */
	VIRTIO_ACKNOWLEDGE, /* mmio: the written bits of the interrupt status */
	VIRTIO_VECTORS, /* pci: which MSI-X vector a queue or the config space uses */
};

struct virtio_queue {
	bool ready;
	uint32_t size;
	uint64_t desc, avail, used; /* the spec's Desc, Driver, Device */
};

struct virtio_state {
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
	struct virtio_queue queues[DEVICE_QUEUES_MAX];

	uint64_t n_ignored; /* writes without effect, over all sessions */
};

/** virtio_state_reset() - everything of the session back to its initial value */
void virtio_state_reset(struct virtio_state *state);

/**
 * virtio_state_fail() - set DEVICE_NEEDS_RESET
 *
 * Only a session that has got to FEATURES_OK is told; before, there is nothing to lose, and the
 * driver finds out by FEATURES_OK being refused.
 * Return: true when the driver has to be interrupted for it (DRIVER_OK was set).
 */
bool virtio_state_fail(struct virtio_state *state);

/* The half of the offered, or of the driver's, features that its selector means. */
uint32_t virtio_state_offered(const struct virtio_state *state);
uint32_t virtio_state_accepted(const struct virtio_state *state);

/** virtio_state_queue() - the selected queue; NULL when there is none of that number */
const struct virtio_queue *virtio_state_queue(const struct virtio_state *state);

/** virtio_state_write_status() - the driver's write; Return: ACTIVATE, RESET or NOTHING */
enum virtio_action virtio_state_write_status(struct virtio_state *state, uint32_t value);

/*
 * The other writes return false when they had no effect. Of 64-bit values each half is written
 * by itself; @half is 0 or 1.
 */
bool virtio_state_write_features(struct virtio_state *state, uint32_t value);
bool virtio_state_write_queue_size(struct virtio_state *state, uint32_t value);
bool virtio_state_write_queue_ready(struct virtio_state *state, uint32_t value);
/** @address: of the selected queue: 0 Desc, 1 Driver, 2 Device */
bool virtio_state_write_queue_address(struct virtio_state *state, uint32_t address, uint32_t half,
				      uint32_t value);
