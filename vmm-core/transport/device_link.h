/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The core's end of one device: the channel to its process, the cached config space, the device
 * page, and the promise that no vCPU waits for that process beyond a deadline.
 *
 * States:  EMPTY -> STARTING (channel given) -> READY (sealed) -> FAILED (condemned or dead).
 * The event-loop thread receives; vCPU threads send requests under the link's lock and sleep on
 * its condition until the reply or the deadline. Whatever the device process does wrong ends in
 * device_link_condemn(): the warden is told, waiting vCPUs are released with an error, and the
 * transport shows DEVICE_NEEDS_RESET to the driver.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/channel.h"
#include "ipc/device_page.h"
#include "ipc/guest_memory.h"
#include "ipc/message.h"

#define DEVICE_REQUEST_DEADLINE_MS 2000u /* any request of a vCPU; then the device is condemned */
#define DEVICE_START_DEADLINE_MS 10000u /* from CHILD_ADDED to READY */

enum device_link_state {
	DEVICE_LINK_EMPTY,
	DEVICE_LINK_STARTING,
	DEVICE_LINK_READY,
	DEVICE_LINK_FAILED,
};

enum device_link_result {
	DEVICE_LINK_GONE = 1, /* failed, condemned or timed out: the device is not usable */
};

struct device_link;

/* Upcalls, all on the event-loop thread, without the link's lock. */
struct device_link_events {
	void (*ready)(void *ctx, struct device_link *link);
	void (*failed)(void *ctx, struct device_link *link, const char *reason);
	void (*config_changed)(void *ctx, struct device_link *link);
};

/**
 * device_link_new() - one per configured device, before any process exists
 * @gm: guest memory, borrowed, outlives the link
 */
int must_check device_link_new(uint32_t slot, enum device_type type,
			       const struct guest_memory *gm,
			       const struct device_link_events *events, void *ctx,
			       struct device_link **ret);
struct device_link *device_link_free(struct device_link *link);

/** device_link_attach() - takes the channel fd of a new process; Return: 0; -EBUSY; -errno */
int must_check device_link_attach(struct device_link *link, int channel_fd, uint32_t generation);

/** device_link_detach() - that process is gone: release waiters, become FAILED */
void device_link_detach(struct device_link *link, const char *reason);

/** device_link_fd() - the fd to watch for input, -1 while there is no process */
int device_link_fd(const struct device_link *link);

/** device_link_on_readable() - event loop: receive and act on at most 16 messages, then return */
void device_link_on_readable(struct device_link *link);

/** device_link_condemn() - the device broke a rule; any thread */
void device_link_condemn(struct device_link *link, const char *reason);

enum device_link_state device_link_get_state(struct device_link *link);
uint32_t device_link_slot(const struct device_link *link);

/* What HELLO said; constant from the first READY on, a successor must say the same. */
uint64_t device_link_features(struct device_link *link);
uint32_t device_link_n_queues(struct device_link *link);
uint32_t device_link_queue_size_max(struct device_link *link);

/** device_link_page() - the device page; NULL before HELLO */
struct device_page *device_link_page(struct device_link *link);

/** device_link_config_read() - from the cached copy; bytes past its end read as 0 */
uint64_t device_link_config_read(struct device_link *link, uint32_t offset, unsigned size);

/** device_link_config_write() - writable bytes change the copy and are forwarded, no waiting */
void device_link_config_write(struct device_link *link, uint32_t offset, unsigned size,
			      uint64_t value);

/** device_link_config_generation() - changes whenever the cached copy changed */
uint32_t device_link_config_generation(struct device_link *link);

struct device_link_queue {
	bool ready;
	uint32_t size;
	uint64_t desc, avail, used;
	int kick_fd, call_fd; /* borrowed */
};

/**
 * device_link_activate() - DRIVER_OK: send features and all ready queues, wait for the replies
 * Return: 0; DEVICE_LINK_GONE. Context: vCPU thread; at most DEVICE_REQUEST_DEADLINE_MS.
 */
int must_check device_link_activate(struct device_link *link, uint64_t features,
				    const struct device_link_queue *queues, uint32_t n);

/**
 * device_link_reset() - stop all queues; when it returns 0 the device touches no guest memory
 * Return: 0; DEVICE_LINK_GONE. Context: vCPU thread or event loop; same deadline.
 */
int must_check device_link_reset(struct device_link *link);

/** device_link_pause(), device_link_resume() - stop and continue all I/O; same rules */
int must_check device_link_pause(struct device_link *link);
int must_check device_link_resume(struct device_link *link);
