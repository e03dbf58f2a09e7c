/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio over MMIO, version 2 (VIRTIO 1.2 §4.2): the register page of one device.
 *
 * Lives in the core, on vCPU threads, under one lock per device. Answers everything from its own
 * state and the cached config space; only DRIVER_OK and reset talk to the device process, with a
 * deadline. Queue notifications never arrive here: KVM signals the kick eventfd of the queue; a
 * notification for a queue that does not exist does arrive, and is ignored.
 */
#pragma once

#include <stdint.h>

#include "vmm-core/machine/io_bus.h"
#include "vmm-core/transport/device_link.h"

struct virtio_mmio;

/**
 * virtio_mmio_new() - registers for @link, borrowed, outlives it
 * @kick_fds: DEVICE_QUEUES_MAX eventfds, one per queue index, borrowed
 * @call_fd: the slot's interrupt eventfd, shared by all queues, borrowed, non-blocking; the core
 *	     signals it for configuration changes
 *
 * Return: 0; -errno.
 */
int must_check virtio_mmio_new(struct device_link *link, const int *kick_fds, int call_fd,
			       struct virtio_mmio **ret);

/** virtio_mmio_free() - takes NULL; Return: NULL */
struct virtio_mmio *virtio_mmio_free(struct virtio_mmio *mmio);

/** virtio_mmio_io - handler for the slot's register page; ctx is the struct virtio_mmio */
extern const struct io_handler virtio_mmio_io;

/** virtio_mmio_needs_reset() - the device failed: set DEVICE_NEEDS_RESET, interrupt; any thread */
void virtio_mmio_needs_reset(struct virtio_mmio *mmio);

/** virtio_mmio_config_changed() - interrupt the driver for its config space; any thread */
void virtio_mmio_config_changed(struct virtio_mmio *mmio);

/**
 * virtio_mmio_reset() - machine reset: like a driver's write of 0 to Status
 * Return: 0; DEVICE_LINK_GONE when the device process did not answer (registers are reset anyway)
 */
int must_check virtio_mmio_reset(struct virtio_mmio *mmio);

/** virtio_mmio_is_active() - is DRIVER_OK set? for ps; any thread */
bool virtio_mmio_is_active(const struct virtio_mmio *mmio);
