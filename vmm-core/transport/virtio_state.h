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

/* What a register of either transport stands for. */
enum virtio_field {
	VIRTIO_CONSTANT, /* the row's value */
	VIRTIO_DEVICE_ID,
	VIRTIO_STATUS,
	VIRTIO_INTERRUPT_ACK,
	VIRTIO_DEVICE_FEATURES_SEL,
	VIRTIO_DEVICE_FEATURES,
	VIRTIO_DRIVER_FEATURES_SEL,
	VIRTIO_DRIVER_FEATURES,
	VIRTIO_NUM_QUEUES,
	VIRTIO_QUEUE_SEL, /* of the selected queue: */
	VIRTIO_QUEUE_SIZE_MAX,
	VIRTIO_QUEUE_SIZE, /* until the driver chose one, the maximum */
	VIRTIO_QUEUE_READY,
	VIRTIO_QUEUE_ENABLE, /* the same, but that it cannot be taken back */
	VIRTIO_QUEUE_NUMBER,
	VIRTIO_QUEUE_DESC_LOW,
	VIRTIO_QUEUE_DESC_HIGH,
	VIRTIO_QUEUE_DRIVER_LOW,
	VIRTIO_QUEUE_DRIVER_HIGH,
	VIRTIO_QUEUE_DEVICE_LOW,
	VIRTIO_QUEUE_DEVICE_HIGH,
};

#define VIRTIO_R 0x1u
#define VIRTIO_W 0x2u
#define VIRTIO_RW (VIRTIO_R | VIRTIO_W)

/* A row of a transport's register map. */
struct virtio_register {
	uint16_t offset;
	uint8_t size; /* no other width counts */
	uint8_t access; /* VIRTIO_R, VIRTIO_W */
	enum virtio_field field;
	uint32_t value; /* VIRTIO_CONSTANT */
};

struct virtio_map {
	const struct virtio_register *rows;
	uint32_t n;
};

enum virtio_action {
	VIRTIO_NOTHING,
	VIRTIO_ACTIVATE, /* DRIVER_OK was set; on failure call virtio_state_fail() */
	VIRTIO_RESET, /* the driver asks for it; then call virtio_state_reset() */
	VIRTIO_ACKNOWLEDGE, /* the written bits of the interrupt status */
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

/** virtio_state_read() - 0 where the map has nothing to read */
uint32_t virtio_state_read(const struct virtio_state *state, const struct virtio_map *map,
			   uint64_t offset, unsigned size);

/** virtio_state_write() - Return: what the owner has to do */
enum virtio_action virtio_state_write(struct virtio_state *state, const struct virtio_map *map,
				      uint64_t offset, unsigned size, uint64_t value);
