/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queues of a device process: their fds, kicks, publication and interrupts. Hostile: the
 * guest behind the rings; it can kick at any rate, and kicks only cost it its own device's time.
 */
#include "device-procs/common/device_internal.h"

#include <string.h>

#include "ipc/clock.h"

void device_queue_kick(struct device_queue *q)
{
	int r = q->dev->ops->kick(q->dev->state, q->index);

	if (r < 0)
		device_fail(q->dev, "queue %u: %s", q->index, strerror(-r));
}

static void on_kick(evutil_socket_t fd, short what, void *ctx)
{
	struct device_queue *q = ctx;
	uint64_t n;

	(void)what;
	device_count(q->dev, DEVICE_COUNTER_KICKS, 1);
	if (read(fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		device_fail(q->dev, "queue %u: kick: %s", q->index, strerror(errno));
	else
		device_queue_kick(q);
}

void device_queues_turn(struct device *dev)
{
	uint32_t i;

	if (dev->n_kick_again == 0)
		return;
	for (i = 0; i < dev->offer.n_queues && !dev->is_over; i++) {
		struct device_queue *q = &dev->queues[i];

		if (!q->kick_again)
			continue;
		q->kick_again = false;
		dev->n_kick_again--;
		if (q->is_watched)
			device_queue_kick(q);
	}
}

int device_queues_new(struct device *dev)
{
	uint32_t i;

	dev->queues = calloc(dev->offer.n_queues, sizeof(*dev->queues));
	if (!dev->queues)
		return -ENOMEM;
	for (i = 0; i < dev->offer.n_queues; i++) {
		struct device_queue *q = &dev->queues[i];

		q->dev = dev;
		q->index = i;
		q->kick_fd = q->call_fd = -1;
		virtqueue_init(&q->vq, dev->gm, &dev->page->queues[i]);
		if (dev->iommu &&
		    virtqueue_use_iommu(&q->vq, dev->iommu, dev->offer.queue_size_max) < 0)
			return -ENOMEM;
	}
	return 0;
}

void device_queue_watch(struct device *dev, uint32_t i)
{
	struct device_queue *q = &dev->queues[i];

	if (event_add(&q->kick, NULL) < 0) {
		device_fail(dev, "queue %u: the kick fd cannot be watched", i);
		return;
	}
	q->is_watched = true;
	device_kick_again(dev, i);
}

void device_queue_unwatch(struct device *dev, uint32_t i)
{
	struct device_queue *q = &dev->queues[i];

	if (q->is_watched)
		(void)event_del(&q->kick); /* also takes it off the list of what is to be run */
	q->is_watched = false;
}

static void interrupt(struct device *dev, struct device_queue *q)
{
	static const uint64_t one = 1;

	device_page_raise(dev->page, DEVICE_INTERRUPT_QUEUE);
	device_count(dev, DEVICE_COUNTER_INTERRUPTS, 1);
	/* EAGAIN: the counter is full, so the interrupt is pending anyway. */
	if (write(q->call_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		device_fail(dev, "queue %u: interrupt: %s", q->index, strerror(errno));
}

int device_queue_enable(struct device *dev, const struct message_enable_queue *m, int kick_fd,
			int call_fd)
{
	cleanup_fd int kick = kick_fd;
	cleanup_fd int call = call_fd;
	struct virtqueue_setup setup = {
		.size = m->size, .desc = m->desc, .avail = m->avail, .used = m->used,
		.features = dev->features, .resume = m->resume, .is_blameless = m->is_blameless,
		.is_concurrent = dev->ops->is_concurrent,
	};
	struct device_queue *q;
	int r;

	if (m->index >= dev->offer.n_queues || m->size > dev->offer.queue_size_max)
		return EINVAL;
	q = &dev->queues[m->index];
	if (virtqueue_is_enabled(&q->vq))
		return EBUSY;
	/* The core says it in the page, too, whose page this is now. */
	if (m->resume &&
	    __atomic_load_n(&dev->page->header.generation, __ATOMIC_ACQUIRE) != dev->generation)
		return ESTALE;
	r = virtqueue_enable(&q->vq, &setup);
	if (r != 0)
		return r == VIRTQUEUE_BAD_JOURNAL ? ESTALE : EINVAL;
	if (event_assign(&q->kick, dev->base, kick, EV_READ | EV_PERSIST, on_kick, q) < 0) {
		virtqueue_disable(&q->vq);
		return EINVAL;
	}
	q->kick_fd = fd_steal(&kick);
	q->call_fd = fd_steal(&call);
	q->asked_reset = false;
	q->is_idle = false;
	if (m->resume)
		interrupt(dev, q); /* the predecessor may have published without telling */
	if (!dev->is_paused)
		device_queue_watch(dev, m->index);
	return 0;
}

void device_queue_disable(struct device *dev, uint32_t i)
{
	struct device_queue *q = &dev->queues[i];

	if (!virtqueue_is_enabled(&q->vq))
		return;
	device_queue_unwatch(dev, i); /* before close: the number may be given away again */
	q->kick_fd = fd_close(q->kick_fd);
	q->call_fd = fd_close(q->call_fd);
	virtqueue_disable(&q->vq);
}

uint32_t device_queues_in_flight(const struct device *dev)
{
	uint32_t i, n = 0;

	for (i = 0; i < dev->offer.n_queues; i++)
		n += dev->queues[i].vq.n_in_flight;
	return n;
}

bool device_queue_is_open(const struct device *dev, uint32_t i)
{
	return dev->queues[i].is_watched;
}

void device_queue_set_idle(struct device *dev, uint32_t i, bool is_idle)
{
	dev->queues[i].is_idle = is_idle;
}

bool device_wait_for_limit(struct rate_limit *limit, struct event *timer)
{
	struct timeval after;
	uint64_t ns;

	if (!rate_limit_is_on(limit))
		return false;
	ns = rate_limit_wait_ns(limit, clock_now_ns());
	if (ns == 0)
		return false;
	after.tv_sec = (time_t)(ns / 1000000000u);
	after.tv_usec = (suseconds_t)(ns % 1000000000u / 1000u + 1);
	return event_add(timer, &after) == 0;
}

struct virtqueue *device_virtqueue(struct device *dev, uint32_t i)
{
	return &dev->queues[i].vq;
}

const struct guest_memory *device_memory(const struct device *dev)
{
	return dev->gm;
}

void *device_state_area(struct device *dev)
{
	return device_page_state(dev->page, device_page_shape(dev));
}

void device_count(struct device *dev, enum device_counter c, uint64_t n)
{
	device_page_count(dev->page, c, n);
}

void device_show(struct device *dev, uint32_t i)
{
	virtqueue_show(&dev->queues[i].vq);
}

void device_publish(struct device *dev, uint32_t i)
{
	struct device_queue *q = &dev->queues[i];

	if (virtqueue_flush(&q->vq))
		interrupt(dev, q);
	if (virtqueue_is_open_again(&q->vq))
		device_kick_again(dev, i);
}

void device_kick_again(struct device *dev, uint32_t i)
{
	struct device_queue *q = &dev->queues[i];

	if (!q->kick_again)
		dev->n_kick_again++;
	q->kick_again = true;
}

bool device_queue_is_running(const struct device *dev, uint32_t i)
{
	return dev->queues[i].is_watched;
}

void device_config_changed(struct device *dev, uint32_t offset, const void *data, uint32_t len)
{
	struct message m = { .type = MESSAGE_CONFIG_CHANGED,
			     .config = { .offset = offset, .len = len } };

	if (offset > dev->offer.config_len || len > dev->offer.config_len - offset ||
	    memcmp(dev->offer.config + offset, data, len) == 0)
		return;
	memcpy(m.config.data, data, len);
	memcpy(dev->offer.config + offset, data, len);
	device_send(dev, &m);
}

void device_queue_broke(struct device *dev, uint32_t i)
{
	struct device_queue *q = &dev->queues[i];
	struct message m = { .type = MESSAGE_NEEDS_RESET };

	if (q->asked_reset)
		return;
	q->asked_reset = true;
	device_count(dev, DEVICE_COUNTER_BAD_REQUESTS, 1);
	log_limited(LOG_LEVEL_WARNING, "queue %u: the driver broke it: %s", i,
		    virtqueue_fault(&q->vq));
	device_send(dev, &m);
}
