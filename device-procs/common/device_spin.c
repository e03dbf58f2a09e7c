/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Busy waiting for the driver, bounded and only while it pays. Device processes. Hostile: the
 * guest decides when there is work; it can make this process spin, which costs it no more than
 * the requests with which it could do the same.
 *
 * A wake-up across CPUs costs more than most requests. So after work the available indices are
 * looked at for a while before the process sleeps, and meanwhile the driver is not asked for
 * kicks. On one CPU with the vCPU nothing can arrive while we spin: device_poll.c notices that.
 * There is no spinning while the kernel has requests, whose completion wakes us.
 */
#include "device-procs/common/device_internal.h"
#include "ipc/clock.h"

#define SPIN_NS 50000u /* from the last work on */
#define SLICE_NS 200000u /* then other events get their turn */
#define LOOKS_PER_CLOCK 16u

bool device_is_polling(const struct device *dev)
{
	return dev->poll.is_on;
}

/* Return: did any queue have work? */
static bool look(struct device *dev)
{
	bool found = false;
	uint32_t i;

	for (i = 0; i < dev->offer.n_queues && !dev->is_over; i++) {
		struct device_queue *q = &dev->queues[i];

		if (!q->is_watched || q->is_idle || !virtqueue_has_more(&q->vq))
			continue;
		found = true;
		device_queue_kick(q);
	}
	return found;
}

/* The same for what no queue shows: it costs a system call, so it is done less often. */
static bool look_outside(struct device *dev)
{
	return dev->ops->look && !dev->is_over && dev->ops->look(dev->state);
}

/* Before the process sleeps, kicks are on wherever they were left off. */
static void listen_again(struct device *dev)
{
	uint32_t i;

	for (i = 0; i < dev->offer.n_queues; i++) {
		struct device_queue *q = &dev->queues[i];

		if (q->is_watched && !q->is_idle && virtqueue_enable_notify(&q->vq))
			device_kick_again(dev, i);
	}
}

static bool must_sleep(const struct device *dev)
{
	return dev->is_over || dev->run != DEVICE_RUN_ACTIVE || dev->is_paused ||
	       dev->drain.type != MESSAGE_NONE || !dev->ops->poll_is_useful ||
	       !dev->ops->poll_is_useful(dev->state);
}

/* Return: true: work still comes, go on after the other events */
static bool spin(struct device *dev)
{
	uint64_t begin = clock_now_ns(), last = begin, now;
	uint32_t n = 0;

	while (!must_sleep(dev)) {
		bool found = look(dev);

		if (found || n % LOOKS_PER_CLOCK == 0)
			found |= look_outside(dev);
		if (found) {
			device_poll_paid(&dev->poll);
			last = clock_now_ns();
			if (last - begin > SLICE_NS)
				return true;
			n = 0;
		} else if (++n % LOOKS_PER_CLOCK == 0) {
			now = clock_now_ns();
			if (now - last > SPIN_NS && !look(dev)) {
				device_poll_failed(&dev->poll);
				return false;
			}
		}
		__builtin_ia32_pause();
	}
	return false;
}

bool device_poll_turn(struct device *dev)
{
	if (!dev->ops->poll_is_useful)
		return false;
	if (!dev->poll.is_on) {
		device_poll_skipped(&dev->poll);
		return false;
	}
	if (spin(dev))
		return true;
	listen_again(dev);
	return false;
}
