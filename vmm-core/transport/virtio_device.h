/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One virtio device as its transport (virtio_mmio.c or virtio_pci.c) sees it: the driver's state,
 * and what follows from it for the device process.
 *
 * Lives in the core, on vCPU threads, under one lock per device. Answers everything from its own
 * state and the cached config space; only DRIVER_OK and reset talk to the device process, with a
 * deadline. Queue notifications do not come by here: KVM signals the kick eventfd of the queue.
 */
#pragma once

#include "vmm-core/transport/device_link.h"
#include "vmm-core/transport/virtio_state.h"

struct virtio_device;

/* Event fds of a device, non-blocking; those of queues that it does not have are not looked at. */
struct virtio_device_fds {
	int kick[DEVICE_QUEUES_MAX]; /* the guest notified the queue */
	int call[DEVICE_QUEUES_MAX]; /* the device interrupts for the queue; may all be one */
	int config; /* the core interrupts for a configuration change; may be one with those */
};

/** virtio_device_new() - for @link; both are borrowed and outlive it; Return: 0; -errno */
int must_check virtio_device_new(struct device_link *link, const struct virtio_device_fds *fds,
				 struct virtio_device **ret);

/** virtio_device_free() - takes NULL; Return: NULL */
struct virtio_device *virtio_device_free(struct virtio_device *dev);

/** virtio_device_link() - borrow it, for config space, which needs no lock of ours */
struct device_link *virtio_device_link(const struct virtio_device *dev);

/**
 * virtio_device_enter() - lock, and take in what has happened to the device meanwhile
 *
 * May wait as long as another vCPU waits for the device process: see device_link.h.
 * Return: the state, which may be used until virtio_device_leave(). What a write to it returned
 * goes to virtio_device_act(), before leaving.
 */
struct virtio_state *virtio_device_enter(struct virtio_device *dev);
void virtio_device_leave(struct virtio_device *dev);

/** virtio_device_act() - do what the state asked for; entered */
void virtio_device_act(struct virtio_device *dev, enum virtio_action action);

/** virtio_device_interrupt_status() - DEVICE_INTERRUPT_* that the driver may see; entered */
uint32_t virtio_device_interrupt_status(struct virtio_device *dev);

/** virtio_device_acknowledge() - clear them; entered */
void virtio_device_acknowledge(struct virtio_device *dev, uint32_t bits);

/** virtio_device_needs_reset() - it failed: set DEVICE_NEEDS_RESET, interrupt; any thread */
void virtio_device_needs_reset(struct virtio_device *dev);

/** virtio_device_config_changed() - interrupt the driver for its config space; any thread */
void virtio_device_config_changed(struct virtio_device *dev);

/**
 * virtio_device_reset() - machine reset: like a driver's write of 0 to the status
 * Return: 0; DEVICE_LINK_GONE when the device process did not answer (the state is reset anyway)
 */
int must_check virtio_device_reset(struct virtio_device *dev);

/** virtio_device_is_active() - is DRIVER_OK set? for ps; any thread */
bool virtio_device_is_active(const struct virtio_device *dev);
