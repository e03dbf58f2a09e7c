/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device, the part with effects: connects the pure state (virtio_state.c) to the device
 * link, the device page and the event fds. Runs in the core, mostly on vCPU threads. Hostile:
 * every access (the guest), the device page (the device process).
 *
 * Locks: dev->lock, then the link's. A vCPU may hold dev->lock while it waits for the device,
 * up to the link's deadline; other vCPUs that touch the same registers wait with it. The event
 * loop must not, so what it has to say (failed, config changed) goes through `news`, atomic bits
 * that take effect under the lock at the next access; config space is the link's and needs no
 * dev->lock either.
 *
 * Interrupt status: the device process sets QUEUE in its page, whose bits count only while the
 * device is active, so nothing of an old session shows in a new one. CONFIG is the core's alone,
 * because only the core knows when the driver would read the new bytes.
 */
#include "vmm-core/transport/virtio_device.h"

#include <pthread.h>
#include <sys/eventfd.h>

#define NEWS_CONFIG DEVICE_INTERRUPT_CONFIG /* is also what InterruptStatus shows */
#define NEWS_FAILED 0x100u

struct virtio_device {
	struct device_link *link;
	const struct virtio_device_fds *fds; /* borrowed */

	uint32_t news; /* atomic, NEWS_* */
	bool is_active; /* atomic: DRIVER_OK is set; written under the lock */

	pthread_mutex_t lock;
	struct device_page *page; /* borrowed from the link, which keeps it */
	struct virtio_state state;
};

/* A full counter only means that the interrupt is pending already. */
static void interrupt(const struct virtio_device *dev)
{
	(void)eventfd_write(dev->fds->config, 1);
}

bool virtio_device_is_active(const struct virtio_device *dev)
{
	return __atomic_load_n(&dev->is_active, __ATOMIC_SEQ_CST);
}

/*
 * Bits first, then the look at is_active; set_active() does it the other way round, so that one
 * of the two sees the other's and interrupts (both sequentially consistent).
 */
static void post_news(struct virtio_device *dev, uint32_t bits)
{
	(void)__atomic_fetch_or(&dev->news, bits, __ATOMIC_SEQ_CST);
	if (virtio_device_is_active(dev))
		interrupt(dev);
}

static void set_active(struct virtio_device *dev)
{
	__atomic_store_n(&dev->is_active, true, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&dev->news, __ATOMIC_SEQ_CST) != 0)
		interrupt(dev);
}

void virtio_device_needs_reset(struct virtio_device *dev)
{
	/* §2.1.2: a driver that set DRIVER_OK gets a configuration change notification for it */
	post_news(dev, NEWS_FAILED | NEWS_CONFIG);
}

void virtio_device_config_changed(struct virtio_device *dev)
{
	post_news(dev, NEWS_CONFIG);
}

/* What the device is, is known from its HELLO on; that comes before the first vCPU runs. */
static void identify(struct virtio_device *dev)
{
	struct virtio_state *state = &dev->state;

	if (state->n_queues != 0)
		return;
	state->device_id = (uint32_t)device_link_type(dev->link);
	state->ram = guest_memory_regions(device_link_memory(dev->link), &state->n_ram);
	state->features = device_link_features(dev->link);
	state->queue_size_max = device_link_queue_size_max(dev->link);
	state->n_queues = device_link_n_queues(dev->link);
	dev->page = device_link_page(dev->link);
}

struct virtio_state *virtio_device_enter(struct virtio_device *dev)
{
	(void)pthread_mutex_lock(&dev->lock);
	identify(dev);
	dev->state.is_usable = device_link_is_usable(dev->link);
	if (__atomic_fetch_and(&dev->news, ~NEWS_FAILED, __ATOMIC_SEQ_CST) & NEWS_FAILED)
		(void)virtio_state_fail(&dev->state); /* post_news() has interrupted */
	return &dev->state;
}

void virtio_device_leave(struct virtio_device *dev)
{
	(void)pthread_mutex_unlock(&dev->lock);
}

uint32_t virtio_device_interrupt_status(struct virtio_device *dev)
{
	uint32_t bits = __atomic_load_n(&dev->news, __ATOMIC_SEQ_CST) & NEWS_CONFIG;

	if (!virtio_device_is_active(dev))
		return 0;
	return bits | (device_page_interrupts(dev->page) & DEVICE_INTERRUPT_QUEUE);
}

void virtio_device_acknowledge(struct virtio_device *dev, uint32_t bits)
{
	if (!virtio_device_is_active(dev))
		return; /* nothing was shown */
	(void)__atomic_fetch_and(&dev->news, ~(bits & NEWS_CONFIG), __ATOMIC_SEQ_CST);
	device_page_acknowledge(dev->page, bits & DEVICE_INTERRUPT_QUEUE);
}

static void activate(struct virtio_device *dev)
{
	struct device_link_queue queues[DEVICE_QUEUES_MAX];
	const struct virtio_state *state = &dev->state;

	for (uint32_t i = 0; i < state->n_queues; i++) {
		queues[i] = (struct device_link_queue){
			.ready = state->queues[i].ready, .size = state->queues[i].size,
			.desc = state->queues[i].desc, .avail = state->queues[i].avail,
			.used = state->queues[i].used, .kick_fd = dev->fds->kick[i],
			.call_fd = dev->fds->call[i],
		};
	}
	device_page_acknowledge(dev->page, UINT32_MAX); /* whatever an earlier session left there */
	if (device_link_activate(dev->link, state->driver_features, queues, state->n_queues) != 0) {
		(void)virtio_state_fail(&dev->state);
		(void)__atomic_fetch_or(&dev->news, NEWS_CONFIG, __ATOMIC_SEQ_CST);
	}
	set_active(dev);
}

/*
 * Back to the initial state, whether the device answers or not; Status reads 0 as a driver expects.
 * When no process can be had, FEATURES_OK will not stick: that is the step at which every driver
 * checks and gives up in an orderly way.
 */
static int reset(struct virtio_device *dev)
{
	int r;

	__atomic_store_n(&dev->is_active, false, __ATOMIC_SEQ_CST);
	r = device_link_reset(dev->link);
	__atomic_store_n(&dev->news, 0, __ATOMIC_SEQ_CST);
	virtio_state_reset(&dev->state);
	return r;
}

void virtio_device_act(struct virtio_device *dev, enum virtio_action action)
{
	if (action == VIRTIO_ACTIVATE)
		activate(dev);
	else if (action == VIRTIO_RESET)
		(void)reset(dev); /* the link reports its own failure */
}

int virtio_device_reset(struct virtio_device *dev)
{
	int r;

	(void)virtio_device_enter(dev);
	r = reset(dev);
	virtio_device_leave(dev);
	return r;
}

struct device_link *virtio_device_link(const struct virtio_device *dev)
{
	return dev->link;
}

int virtio_device_new(struct device_link *link, const struct virtio_device_fds *fds,
		      struct virtio_device **ret)
{
	struct virtio_device *dev = calloc(1, sizeof(*dev));
	int r;

	if (dev == NULL)
		return -ENOMEM;
	dev->link = link;
	dev->fds = fds;
	r = pthread_mutex_init(&dev->lock, NULL);
	if (r != 0) {
		free(dev);
		return -r;
	}
	*ret = dev;
	return 0;
}

struct virtio_device *virtio_device_free(struct virtio_device *dev)
{
	if (dev == NULL)
		return NULL;
	(void)pthread_mutex_destroy(&dev->lock);
	free(dev);
	return NULL;
}
