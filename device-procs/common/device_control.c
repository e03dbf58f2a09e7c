/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The core's messages to a sealed device process. A core may be compromised too: it can do to its
 * own guest what it likes, but a message that the table does not permit ends this process.
 *
 * Requests are answered in their order. RESET, PAUSE and DISABLE_QUEUE promise that nothing
 * touches guest memory once they are answered, so their answer waits until nothing is in flight;
 * until then no further message is taken from the channel.
 */
#include "device-procs/common/device_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ipc/resident.h"

#define RECEIVE_BUDGET 16u /* messages per turn of the loop */
#define SETTLED_S 1

static void leave(struct device *dev, int status)
{
	if (!dev->is_over)
		dev->exit_status = status;
	dev->is_over = true;
	(void)event_base_loopbreak(dev->base);
}

void device_send(struct device *dev, struct message *m)
{
	int r;

	m->generation = dev->generation;
	r = channel_send(dev->channel, m, NULL);
	if (r == 0)
		return;
	if (r < 0)
		log_error("channel: %s", strerror(-r));
	leave(dev, r == CHANNEL_CLOSED ? 0 : 1);
}

void device_fail(struct device *dev, const char *fmt, ...)
{
	struct message m = { .type = MESSAGE_DEVICE_FAILED };
	va_list args;

	if (dev->is_over)
		return;
	va_start(args, fmt);
	(void)vsnprintf(m.failed.text, sizeof(m.failed.text), fmt, args);
	va_end(args);
	log_error("%s", m.failed.text);
	device_send(dev, &m);
	leave(dev, 1);
}

/* In the place of the request, of which nothing is read any more: the stack stays small. */
static void reply(struct device *dev, uint32_t seq, int result, uint64_t value)
{
	dev->message = (struct message){
		.type = MESSAGE_REPLY, .seq = seq, .reply = { .result = result, .value = value },
	};
	device_send(dev, &dev->message);
}

static void unwatch_queues(struct device *dev)
{
	uint32_t i;

	for (i = 0; i < dev->offer.n_queues; i++)
		device_queue_unwatch(dev, i);
}

static void watch_queues(struct device *dev)
{
	uint32_t i;

	for (i = 0; i < dev->offer.n_queues; i++)
		if (virtqueue_is_enabled(&dev->queues[i].vq))
			device_queue_watch(dev, i);
}

static int drain(struct device *dev, const struct message *m, uint32_t queue)
{
	dev->drain = (struct device_drain){ .type = m->type, .seq = m->seq, .queue = queue };
	(void)event_del(&dev->channel_readable);
	if (event_add(&dev->channel_closed, NULL) < 0)
		return -ENOMEM;
	device_control_turn(dev);
	return 0;
}

static void finish_drain(struct device *dev)
{
	struct device_drain d = dev->drain;
	uint64_t value = 0;
	uint32_t i;

	dev->drain = (struct device_drain){ .type = MESSAGE_NONE };
	if (d.type == MESSAGE_RESET) {
		for (i = 0; i < dev->offer.n_queues; i++)
			device_queue_disable(dev, i);
		if (dev->offer.state_size > 0)
			memset(device_state_area(dev), 0, dev->offer.state_size);
		dev->run = DEVICE_RUN_IDLE;
		dev->features = 0;
		if (dev->ops->reset)
			dev->ops->reset(dev->state);
	} else if (d.type == MESSAGE_DISABLE_QUEUE) {
		value = dev->queues[d.queue].vq.next_avail & UINT16_MAX;
		device_queue_disable(dev, d.queue);
	}
	reply(dev, d.seq, 0, value);
	(void)event_del(&dev->channel_closed);
	if (event_add(&dev->channel_readable, NULL) < 0)
		device_fail(dev, "the channel cannot be watched");
}

void device_control_turn(struct device *dev)
{
	uint32_t n;

	if (dev->drain.type == MESSAGE_NONE)
		return;
	if (dev->drain.type == MESSAGE_DISABLE_QUEUE)
		n = dev->queues[dev->drain.queue].vq.n_in_flight;
	else
		n = device_queues_in_flight(dev);
	if (n == 0)
		finish_drain(dev);
}

static int on_set_features(void *ctx, const struct message *m, struct fdset *fds)
{
	struct device *dev = ctx;
	uint64_t features = m->set_features.features;
	uint64_t needed = VIRTIO_F_VERSION_1_BIT |
			  (dev->features_offered & VIRTIO_F_ACCESS_PLATFORM_BIT);

	(void)fds;
	if ((features & ~dev->features_offered) || (features & needed) != needed) {
		reply(dev, m->seq, EINVAL, 0);
		return 0;
	}
	dev->features = features;
	dev->run = DEVICE_RUN_ACTIVE;
	if (dev->iommu)
		iommu_client_init(dev->iommu, dev->gm, dev->iommu->table, dev->iommu->page,
				  dev->slot, dev->iommu->fault_fd);
	dev->ops->set_features(dev->state, features);
	reply(dev, m->seq, 0, 0);
	return 0;
}

static int on_enable_queue(void *ctx, const struct message *m, struct fdset *fds)
{
	struct device *dev = ctx;
	int kick = fdset_steal(fds, 0), call = fdset_steal(fds, 1);

	device_control_settle(dev);
	reply(dev, m->seq, device_queue_enable(dev, &m->enable_queue, kick, call), 0);
	return 0;
}

static int on_disable_queue(void *ctx, const struct message *m, struct fdset *fds)
{
	struct device *dev = ctx;
	uint32_t i = m->disable_queue.index;

	(void)fds;
	if (i >= dev->offer.n_queues || !virtqueue_is_enabled(&dev->queues[i].vq)) {
		reply(dev, m->seq, EINVAL, 0);
		return 0;
	}
	device_queue_unwatch(dev, i);
	return drain(dev, m, i);
}

static int on_reset(void *ctx, const struct message *m, struct fdset *fds)
{
	(void)fds;
	unwatch_queues(ctx);
	return drain(ctx, m, 0);
}

static int on_pause(void *ctx, const struct message *m, struct fdset *fds)
{
	struct device *dev = ctx;

	(void)fds;
	dev->is_paused = true;
	unwatch_queues(dev);
	return drain(dev, m, 0);
}

static int on_resume(void *ctx, const struct message *m, struct fdset *fds)
{
	struct device *dev = ctx;

	(void)fds;
	reply(dev, m->seq, 0, 0);
	if (dev->is_paused) {
		dev->is_paused = false;
		watch_queues(dev);
	}
	return 0;
}

static int on_ping(void *ctx, const struct message *m, struct fdset *fds)
{
	(void)fds;
	reply(ctx, m->seq, 0, 0);
	return 0;
}

static int on_config_written(void *ctx, const struct message *m, struct fdset *fds)
{
	struct device *dev = ctx;
	const struct message_config *c = &m->config;

	(void)fds;
	if (!dev->ops->config_written || c->offset > dev->offer.config_len ||
	    c->len > dev->offer.config_len - c->offset)
		return CHANNEL_PEER_BAD;
	dev->ops->config_written(dev->state, c->offset, c->len, c->data);
	return 0;
}

static int on_adjust(void *ctx, const struct message *m, struct fdset *fds)
{
	struct device *dev = ctx;

	(void)fds;
	if (dev->ops->adjust)
		dev->ops->adjust(dev->state, &m->adjust);
	return 0;
}

#define IN(state) (1u << (state))
#define ALWAYS (IN(DEVICE_RUN_IDLE) | IN(DEVICE_RUN_ACTIVE))

static const struct message_rule core_rules[] = {
	{ MESSAGE_SET_FEATURES, IN(DEVICE_RUN_IDLE), on_set_features },
	{ MESSAGE_ENABLE_QUEUE, IN(DEVICE_RUN_ACTIVE), on_enable_queue },
	{ MESSAGE_DISABLE_QUEUE, IN(DEVICE_RUN_ACTIVE), on_disable_queue },
	{ MESSAGE_CONFIG_WRITTEN, ALWAYS, on_config_written },
	{ MESSAGE_RESET, ALWAYS, on_reset },
	{ MESSAGE_PAUSE, ALWAYS, on_pause },
	{ MESSAGE_RESUME, ALWAYS, on_resume },
	{ MESSAGE_PING, ALWAYS, on_ping },
	{ MESSAGE_ADJUST, ALWAYS, on_adjust },
	{ MESSAGE_NONE, 0, NULL },
};

static int take(struct device *dev, const struct message *m, struct fdset *fds)
{
	bool is_request = m->type != MESSAGE_CONFIG_WRITTEN && m->type != MESSAGE_ADJUST;

	if (m->generation != dev->generation || is_request != (m->seq != 0))
		return CHANNEL_PEER_BAD;
	return message_dispatch(core_rules, dev->run, dev, m, fds);
}

static void on_channel(evutil_socket_t fd, short what, void *ctx)
{
	struct device *dev = ctx;
	uint32_t i;

	(void)fd;
	(void)what;
	for (i = 0; i < RECEIVE_BUDGET && !dev->is_over && dev->drain.type == MESSAGE_NONE; i++) {
		cleanup_fdset struct fdset fds = FDSET_EMPTY;
		int r = channel_receive(dev->channel, &dev->message, &fds);

		if (r == CHANNEL_EMPTY)
			return;
		if (r == CHANNEL_CLOSED) {
			leave(dev, 0);
			return;
		}
		if (r == 0)
			r = take(dev, &dev->message, &fds);
		if (r != 0) {
			log_error("the core sent something that is not permitted: %s",
				  r == CHANNEL_PEER_BAD ? channel_fault(dev->channel) :
							  strerror(r < 0 ? -r : EPROTO));
			leave(dev, 1);
		}
	}
}

static void on_channel_closed(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	leave(ctx, 0);
}

static void on_settled(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	(void)ctx;
	resident_trim();
}

void device_control_settle(struct device *dev)
{
	const struct timeval later = { .tv_sec = SETTLED_S };

	(void)evtimer_add(&dev->settled, &later); /* else it stays in memory */
}

int device_control_init(struct device *dev)
{
	int fd = channel_fd(dev->channel);

	if (event_assign(&dev->channel_readable, dev->base, fd, EV_READ | EV_PERSIST, on_channel,
			 dev) < 0 ||
	    event_assign(&dev->channel_closed, dev->base, fd, EV_CLOSED, on_channel_closed,
			 dev) < 0 ||
	    evtimer_assign(&dev->settled, dev->base, on_settled, dev) < 0)
		return -EINVAL;
	return event_add(&dev->channel_readable, NULL) < 0 ? -ENOMEM : 0;
}
