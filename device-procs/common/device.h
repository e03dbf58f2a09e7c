/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a device program provides (struct device_ops) and what the common code gives it in return.
 *
 * device_main() is the only way a device process starts; its order is fixed:
 *
 *	DEVICE_START -> ops->open -> HELLO -> sandbox_enter -> SETUP -> memory and device page
 *	mapped -> ops->start -> sandbox_seal -> READY -> event loop
 *
 * or, with is_sealed_early, ops->start and sandbox_seal before SETUP. A standby waits for SETUP.
 *
 * One thread. The core's messages are checked against a table per state; a core that breaks it,
 * or closes the channel, ends the process.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "device-procs/common/iommu_table.h"
#include "device-procs/common/rate_limit.h"
#include "device-procs/common/virtqueue.h"
#include "ipc/fdset.h"
#include "ipc/message.h"
#include "sandbox/sandbox.h"

struct device;
struct event;
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
	int folder_fd; /* the folder to live in, owned; only if the profile says so */
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

	/*
	 * ops->start uses neither guest memory nor the device page: so it and the seal need not wait
	 * for them, and a standby is behind its filter.
	 */
	bool is_sealed_early;

	/* In the sandbox, before the seal: make what needs system calls that the list lacks. */
	int (*start)(void *state, struct device *dev, struct event_base *base);

	/* The driver's features are settled; no queue is enabled. */
	void (*set_features)(void *state, uint64_t features);

	/*
	 * The driver reset the device: no queue is enabled, nothing is in flight, the state area is
	 * zero again. What belongs to its session is to be forgotten. NULL: nothing does.
	 */
	void (*reset)(void *state);

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

	/*
	 * While spinning: look at what is ready outside the queues and do it. Return: was there
	 * anything? NULL: there is nothing outside the queues, or it wakes us.
	 */
	bool (*look)(void *state);

	/* The user changed what may change while a device runs; NULL: nothing may. */
	void (*adjust)(void *state, const struct message_adjust *adjust);

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

/** device_queue_is_open() - may chains be taken: enabled, not paused, not being drained? */
bool device_queue_is_open(const struct device *dev, uint32_t i);

/**
 * device_queue_set_idle() - chains that wait in queue @i are no work by themselves
 *
 * For queues in which the driver offers room in advance. While it is idle no kicks are asked for
 * and its chains keep nobody awake. A queue that is enabled is not idle.
 */
void device_queue_set_idle(struct device *dev, uint32_t i, bool is_idle);

/**
 * device_wait_for_limit() - is @limit used up? Then @timer fires when it lets more through
 *
 * The queue that waits should be idle until then (device_queue_set_idle()).
 */
bool device_wait_for_limit(struct rate_limit *limit, struct event *timer);

/** device_config_changed() - these are the bytes of config space now; the same ones change nothing */
void device_config_changed(struct device *dev, uint32_t offset, const void *data, uint32_t len);

/**
 * device_is_polling() - does the common code look at the queues before the next sleep?
 *
 * Then ops->kick need not ask for kicks when it finds a queue empty.
 */
bool device_is_polling(const struct device *dev);

/**
 * device_queue_is_running() - may chains be taken from queue @i?
 *
 * Not while it is disabled, or the VM is paused. ops->kick is called for running queues only; a
 * device with events of its own asks. When a queue runs again, it is kicked.
 */
bool device_queue_is_running(const struct device *dev, uint32_t i);

/** device_queue_broke() - virtqueue_pop() said BROKEN: log it and ask for a reset, once */
void device_queue_broke(struct device *dev, uint32_t i);

/** device_fail() - the device cannot go on: tell the core, leave the loop, exit 1 */
void device_fail(struct device *dev, const char *fmt, ...) printf_like(2, 3);

/**
 * device_main() - run a device program to its end
 * Return: exit status: 0 the core closed the channel; 1 failure.
 */
int device_main(const struct device_ops *ops);
