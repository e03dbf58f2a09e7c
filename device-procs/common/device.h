/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a device program provides (struct device_ops) and what the common code gives it in return.
 *
 * device_main() is the only way a device process starts; its order is fixed:
 *
 *	DEVICE_START -> ops->open -> HELLO -> sandbox_enter -> SETUP -> memory and device page
 *	mapped -> ops->start -> sandbox_seal -> READY -> event loop
 *
 * One thread. The core's messages are checked against a table per state; a core that breaks it,
 * or closes the channel, ends the process.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "device-procs/common/iommu_table.h"
#include "device-procs/common/virtqueue.h"
#include "ipc/fdset.h"
#include "ipc/message.h"
#include "sandbox/sandbox.h"

struct device;
struct event_base;

/* What ops->open finds out, before the sandbox. */
struct device_offer {
	uint64_t features; /* of the type; common code adds the ring's and VERSION_1 */
	uint32_t n_queues; /* 1..DEVICE_QUEUES_MAX */
	uint32_t queue_size_max; /* power of two <= DEVICE_QUEUE_SIZE_MAX */
	uint32_t config_len;
	uint8_t config[DEVICE_CONFIG_SPACE_MAX];
	uint32_t config_writable_len; /* bytes of the mask below in use */
	uint8_t config_writable[DEVICE_CONFIG_SPACE_MAX]; /* the bits that the driver may write */
	uint32_t state_size; /* bytes of device_state_area(), <= DEVICE_STATE_MAX; constant */
	uint64_t file_size_max; /* RLIMIT_FSIZE, bytes */
	int keep_fds[FDSET_MAX]; /* the fds that the device keeps open, any order */
	uint32_t n_keep_fds;
	uint32_t n_late_fds; /* so many more it may open once it serves, besides those of queues */
};

struct device_ops {
	const char *name; /* "blk" */
	enum device_type type;
	const struct sandbox_profile *profile;
	bool is_concurrent; /* works on many chains of a queue at once: see virtqueue_setup */

	/*
	 * Before the sandbox: take what it needs from @fds, say what it offers. On failure @text
	 * (MESSAGE_TEXT_MAX bytes) tells the user why. Should not read what a guest wrote.
	 */
	int (*open)(const struct message_device_start *start, struct fdset *fds, void **ret_state,
		    struct device_offer *ret_offer, char *text);

	/* In the sandbox, before the seal: make what needs system calls that the list lacks. */
	int (*start)(void *state, struct device *dev, struct event_base *base);

	/* The driver's features are settled; no queue is enabled. */
	void (*set_features)(void *state, uint64_t features);

	/*
	 * The driver made chains available in @queue, or may have. Bounded work; when more is left
	 * it calls device_kick_again(). Return: 0; -errno when the device cannot go on.
	 */
	int (*kick)(void *state, uint32_t queue);

	/*
	 * Is spinning worth a try: true when nothing but a kick can be the next event. NULL: never
	 * spin.
	 */
	bool (*poll_is_useful)(const void *state);

	/* The driver reset the device, and its queues are disabled. NULL: nothing to do. */
	void (*reset)(void *state);

	/*
	 * While spinning: look at what is ready outside the queues and do it. Return: was there
	 * anything? NULL: there is nothing outside the queues, or it wakes us.
	 */
	bool (*look)(void *state);

	/* The driver wrote to config space; NULL: nothing is writable. */
	void (*config_written)(void *state, uint32_t offset, uint32_t len, const uint8_t *data);
};

/** device_virtqueue() - borrow queue @i (< n_queues) */
struct virtqueue *device_virtqueue(struct device *dev, uint32_t i);

/** device_memory() - borrow guest memory */
const struct guest_memory *device_memory(const struct device *dev);

/**
 * device_state_area() - borrow the offer.state_size bytes that survive this process; NULL if 0
 *
 * All zero in the first process and after every reset of the device, for which the device itself
 * does nothing. A successor finds there what its predecessor wrote, which may have been taken
 * over: hostile input, every word loaded once and checked. It may die between any two stores.
 * Context: from ops->set_features on; before that it may still be cleared.
 */
void *device_state_area(struct device *dev);

/* What the core gave to the IOMMU's process. fds and mappings last as long as the process. */
struct device_iommu_endpoint {
	uint32_t slot, id;
	const struct iommu_page *page; /* mapped read-only */
};

struct device_iommu_host {
	struct iommu_table *table;
	int fault_fd; /* eventfd: an endpoint raised a fault */
	uint32_t n;
	struct device_iommu_endpoint endpoints[VM_DEVICES_MAX];
};

/** device_iommu_host() - borrow it; from ops->start on, NULL in any other process */
const struct device_iommu_host *device_iommu_host(const struct device *dev);

/** device_endpoint_stalled() - the IOMMU's process: the core is to condemn the device in @slot */
void device_endpoint_stalled(struct device *dev, uint32_t slot);

/** device_count() - add to one of the counters in the device page */
void device_count(struct device *dev, enum device_counter c, uint64_t n);

/** device_publish() - flush queue @i and interrupt the driver if it wants that */
void device_publish(struct device *dev, uint32_t i);

/** device_show() - let a driver that polls see what is done; device_publish() is still due */
void device_show(struct device *dev, uint32_t i);

/** device_kick_again() - have ops->kick called for queue @i once other events had their turn */
void device_kick_again(struct device *dev, uint32_t i);

/**
 * device_is_polling() - does the common code look at the queues before the next sleep?
 *
 * Then ops->kick need not ask for kicks when it finds a queue empty.
 */
bool device_is_polling(const struct device *dev);

/** device_queue_broke() - virtqueue_pop() said BROKEN: log it and ask for a reset, once */
void device_queue_broke(struct device *dev, uint32_t i);

/**
 * device_config_change() - [offset, offset + len) of config space is @data from now on
 *
 * The core shows it to the driver and tells it by a configuration change interrupt.
 * Context: once it serves.
 */
void device_config_change(struct device *dev, uint32_t offset, uint32_t len, const void *data);

/** device_fail() - the device cannot go on: tell the core, leave the loop, exit 1 */
void device_fail(struct device *dev, const char *fmt, ...) printf_like(2, 3);

/**
 * device_main() - run a device program to its end
 * Return: exit status: 0 the core closed the channel; 1 failure.
 */
int device_main(const struct device_ops *ops);
