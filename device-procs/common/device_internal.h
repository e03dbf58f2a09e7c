/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the common code of a device process: shared by device_*.c only. */
#pragma once

#include <event2/event.h>
#include <event2/event_struct.h>

#include "device-procs/common/device.h"
#include "device-procs/common/device_poll.h"
#include "device-procs/common/iommu_client.h"
#include "ipc/channel.h"

enum device_run_state {
	DEVICE_RUN_IDLE, /* no features yet, or after a reset */
	DEVICE_RUN_ACTIVE, /* features are set, queues come and go */
	DEVICE_RUN_N_,
};

struct device_queue {
	struct device *dev;
	uint32_t index;
	struct virtqueue vq;
	int kick_fd, call_fd; /* owned; -1 while disabled */
	struct event kick;
	bool is_watched; /* kicks are taken: enabled, not paused, not being drained */
	bool is_idle; /* its chains are no work: device_queue_set_idle() */
	bool kick_again; /* look at the ring at the next turn of the loop, without a kick */
	bool asked_reset; /* NEEDS_RESET was sent for it */
};

/* A request that is answered once nothing is in flight any more. */
struct device_drain {
	enum message_type type; /* MESSAGE_NONE: none */
	uint32_t seq;
	uint32_t queue; /* DISABLE_QUEUE */
};

struct device {
	const struct device_ops *ops;
	void *state; /* of ops */
	struct device_offer offer;
	uint64_t features_offered;
	uint32_t slot;
	bool is_behind_iommu;
	bool is_ahead; /* see clock_pause() */
	struct sandbox_params sandbox; /* parent_pidfd: owned until the sandbox is entered */
	struct message message; /* of the core, and the answer to it: one at a time */

	struct channel *channel;
	uint32_t generation;
	struct guest_memory *gm;
	struct device_page *page;

	struct event_base *base;
	struct event channel_readable;
	struct event channel_closed; /* watched while channel_readable is not */
	struct event settled; /* see device_control_settle() */
	struct device_iommu_host iommu_host; /* table NULL: this is not the IOMMU */
	struct iommu_client *iommu; /* NULL: not behind it */
	struct device_queue *queues; /* offer.n_queues */
	uint32_t n_kick_again;
	struct device_poll poll;

	enum device_run_state run;
	uint64_t features;
	bool is_paused;
	struct device_drain drain;
	bool is_over;
	int exit_status;
};

static inline struct device_page_shape device_page_shape(const struct device *dev)
{
	return (struct device_page_shape){ dev->offer.n_queues, dev->offer.state_size };
}

/** device_send() - to the core; a core that does not read or is gone ends the process */
void device_send(struct device *dev, struct message *m);

/** device_iommu_setup() - take what SETUP brought besides, after the regions (device_iommu.c) */
int must_check device_iommu_setup(struct device *dev, const struct message_setup *setup,
				  struct fdset *fds);

/** device_iommu_endpoint() - take one ENDPOINT; Return: 0; -errno */
int must_check device_iommu_endpoint(struct device *dev, const struct message_endpoint *m,
				     struct fdset *fds);

/** device_control_init() - watch the channel */
int must_check device_control_init(struct device *dev);

/** device_control_turn() - once per turn of the loop: is a drain complete? */
void device_control_turn(struct device *dev);

/**
 * device_control_settle() - give back what only the start and an activation use, a while from now
 *
 * Not at once: that would cost page faults while the guest waits. Called again, it starts anew.
 */
void device_control_settle(struct device *dev);

/** device_queues_new() - all queues, disabled; Return: 0, -ENOMEM */
int must_check device_queues_new(struct device *dev);

/** device_queue_enable() - takes both fds; Return: 0 or a positive errno value for the reply */
int must_check device_queue_enable(struct device *dev, const struct message_enable_queue *m,
				   int kick_fd, int call_fd);

/** device_queue_disable() - nothing of it is in flight; idempotent */
void device_queue_disable(struct device *dev, uint32_t i);

/** device_queue_watch() - watch the kick fd, and look at the ring once, whatever the fd says */
void device_queue_watch(struct device *dev, uint32_t i);

/** device_queue_unwatch() - take no further chains from it */
void device_queue_unwatch(struct device *dev, uint32_t i);

/** device_queues_turn() - once per turn of the loop: the queues that wait for another look */
void device_queues_turn(struct device *dev);

/** device_queue_kick() - have ops->kick called for @q */
void device_queue_kick(struct device_queue *q);

/**
 * device_poll_turn() - once per turn of the loop, at its end: spin for work, or ask for kicks
 * Return: true when there is more work: do not sleep.
 */
bool device_poll_turn(struct device *dev);

/** device_queues_in_flight() - chains that were fetched and not given back, in all queues */
uint32_t device_queues_in_flight(const struct device *dev);
