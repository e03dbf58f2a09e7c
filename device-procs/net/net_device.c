/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net: features, config space and the control queue. bulkhead-net, bulkhead-net-user.
 *
 * Hostile: the driver, by its features, queue numbers and commands.
 */
#include "device-procs/net/net_device.h"

#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "device-procs/common/spans.h"
#include "ipc/clock.h"
#include "ipc/log.h"

static uint64_t offered_features(const struct net_device *net)
{
	const struct net_config *c = &net->config;
	uint64_t f = net->backend_features | NET_FEATURE(VIRTIO_NET_F_MAC) |
		     NET_FEATURE(VIRTIO_NET_F_MRG_RXBUF) | NET_FEATURE(VIRTIO_NET_F_STATUS) |
		     NET_FEATURE(VIRTIO_NET_F_CTRL_VQ) | NET_FEATURE(VIRTIO_NET_F_CTRL_RX) |
		     NET_FEATURE(VIRTIO_NET_F_CTRL_RX_EXTRA) |
		     NET_FEATURE(VIRTIO_NET_F_CTRL_VLAN) |
		     NET_FEATURE(VIRTIO_NET_F_CTRL_MAC_ADDR) |
		     NET_FEATURE(VIRTIO_NET_F_GUEST_ANNOUNCE);

	if (c->no_csum)
		f &= ~(net->backend_features);
	if (c->no_tso)
		f &= ~(NET_FEATURE(VIRTIO_NET_F_GUEST_TSO4) | NET_FEATURE(VIRTIO_NET_F_GUEST_TSO6) |
		       NET_FEATURE(VIRTIO_NET_F_GUEST_ECN) | NET_FEATURE(VIRTIO_NET_F_HOST_TSO4) |
		       NET_FEATURE(VIRTIO_NET_F_HOST_TSO6) | NET_FEATURE(VIRTIO_NET_F_HOST_ECN));
	if (c->no_ufo)
		f &= ~(NET_FEATURE(VIRTIO_NET_F_GUEST_UFO) | NET_FEATURE(VIRTIO_NET_F_HOST_UFO) |
		       NET_FEATURE(NET_F_GUEST_USO4) | NET_FEATURE(NET_F_GUEST_USO6) |
		       NET_FEATURE(NET_F_HOST_USO));
	if (net_guest_offloads(f) != 0)
		f |= NET_FEATURE(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
	if (net->n_pairs > 1)
		f |= NET_FEATURE(VIRTIO_NET_F_MQ);
	if (c->mtu != 0)
		f |= NET_FEATURE(VIRTIO_NET_F_MTU);
	return f;
}

static uint16_t status_bits(const struct net_device *net)
{
	bool is_up = !net->link_down && !net->is_lost;

	return htole16((uint16_t)((is_up ? VIRTIO_NET_S_LINK_UP : 0) |
				  (net->state.announce ? VIRTIO_NET_S_ANNOUNCE : 0)));
}

static void fill_config(const struct net_device *net, struct device_offer *offer)
{
	struct virtio_net_config c;

	memset(&c, 0, sizeof(c));
	memcpy(c.mac, net->state.mac, sizeof(c.mac));
	c.status = status_bits(net);
	c.max_virtqueue_pairs = htole16((uint16_t)net->n_pairs);
	c.mtu = htole16((uint16_t)net->config.mtu);
	offer->config_len = offsetof(struct virtio_net_config, mtu) + sizeof(c.mtu);
	memcpy(offer->config, &c, offer->config_len);
}

static void set_limits(struct net_device *net, const struct rate_limit_config *limits)
{
	uint64_t now = clock_now_ns();
	uint32_t i;

	for (i = 0; i < net->n_pairs; i++) {
		rate_limit_set(&net->pairs[i].receive_limit, limits, now);
		rate_limit_set(&net->pairs[i].transmit_limit, limits, now);
	}
}

static int make_pairs(struct net_device *net)
{
	uint32_t i;

	for (i = 0; i < net->n_pairs; i++) {
		struct net_pair *pair = &net->pairs[i];

		pair->net = net;
		pair->index = i;
		pair->frame = malloc(NET_HEADER_BYTES + NET_FRAME_MAX);
		if (!pair->frame)
			return -ENOMEM;
	}
	set_limits(net, &net->config.limits);
	return 0;
}

static void set_mac(struct net_device *net)
{
	uint32_t i;

	for (i = 0; i < sizeof(net->state.mac); i++)
		net->state.mac[i] = (uint8_t)(net->config.mac >> (40 - 8 * i));
}

static int net_open(const struct message_device_start *start, struct fdset *fds, void **ret_state,
		    struct device_offer *offer, char *text)
{
	cleanup_free struct net_device *net = calloc(1, sizeof(*net));
	int r;

	if (!net)
		return -ENOMEM;
	net->config = start->config.net;
	net->n_pairs = net->config.num_queues / 2;
	set_mac(net);
	net->link_down = net->config.link_down;
	r = net_backend_open(start, fds, &net->backend, &net->backend_features, offer, text);
	if (r == 0)
		r = make_pairs(net);
	if (r < 0)
		return r;
	offer->features = offered_features(net);
	offer->n_queues = 2 * net->n_pairs + 1;
	offer->queue_size_max = net->config.queue_size;
	offer->state_size = sizeof(struct net_saved);
	fill_config(net, offer);
	*ret_state = ptr_steal(net);
	return 0;
}

static void on_ready(void *ctx, uint32_t pair)
{
	struct net_device *net = ctx;

	(void)net_receive(&net->pairs[pair]);
}

static void on_receive_timer(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	(void)net_receive(ctx);
}

static void on_transmit_timer(evutil_socket_t fd, short what, void *ctx)
{
	struct net_pair *pair = ctx;

	(void)fd;
	(void)what;
	device_queue_set_idle(pair->net->dev, net_queue_transmit(pair->index), false);
	if (device_queue_is_open(pair->net->dev, net_queue_transmit(pair->index)))
		device_kick_again(pair->net->dev, net_queue_transmit(pair->index));
}

static int net_start(void *state, struct device *dev, struct event_base *base)
{
	struct net_device *net = state;
	uint32_t i;

	net->dev = dev;
	for (i = 0; i < net->n_pairs; i++) {
		struct net_pair *pair = &net->pairs[i];

		pair->receive_timer = evtimer_new(base, on_receive_timer, pair);
		pair->transmit_timer = evtimer_new(base, on_transmit_timer, pair);
		if (!pair->receive_timer || !pair->transmit_timer)
			return -ENOMEM;
	}
	/* The tap's queues may be in use by a predecessor: set_features says how many are. */
	return net_backend_start(net->backend, base, on_ready, net);
}

static void config_changed(struct net_device *net)
{
	struct device_offer offer = { .config_len = 0 };

	fill_config(net, &offer);
	device_config_changed(net->dev, 0, offer.config, offer.config_len);
}

void net_lost(struct net_device *net)
{
	if (net->is_lost)
		return;
	net->is_lost = true;
	log_error("%s: the tap is gone; the link is down", net_backend_name);
	config_changed(net);
}

/* After a change of n_pairs or of the offloads. */
static void apply_state(struct net_device *net, uint32_t changed)
{
	uint32_t i;
	int r = 0;

	if (changed & NET_CHANGED_OFFLOADS)
		r = net_backend_set_offloads(net->backend, net->state.guest_offloads);
	if (r == 0 && (changed & NET_CHANGED_PAIRS))
		r = net_backend_set_pairs(net->backend, net->state.n_pairs);
	if (r == -EBADFD)
		net_lost(net);
	else if (r < 0)
		device_fail(net->dev, "%s: %s", net_backend_name, strerror(-r));
	for (i = 0; i < net->n_pairs; i++)
		net_receive_settle(&net->pairs[i]);
}

/* §5.1.4: the driver that comes next reads the MAC address before it accepts anything. */
static void net_reset(void *state)
{
	struct net_device *net = state;
	uint32_t i;

	net->limits.features = 0;
	set_mac(net);
	net_state_reset(&net->state, 0);
	for (i = 0; i < net->n_pairs; i++) {
		net->pairs[i].pending_len = 0;
		net->pairs[i].is_starved = false;
		net_receive_settle(&net->pairs[i]);
	}
	config_changed(net);
}

static void net_set_features(void *state, uint64_t features)
{
	struct net_device *net = state;
	const struct net_control_limits limits = { features, net->n_pairs };
	uint32_t i;

	net->limits.features = features;
	net->limits.mtu = features & NET_FEATURE(VIRTIO_NET_F_MTU) ? net->config.mtu : 0;
	for (i = 0; i < net->n_pairs; i++) {
		net->pairs[i].pending_len = 0;
		net->pairs[i].is_starved = false;
	}
	if (!net_state_load(device_state_area(net->dev), &limits, &net->state)) {
		set_mac(net);
		net_state_reset(&net->state, features);
		net_state_save(&net->state, device_state_area(net->dev));
	}
	apply_state(net, NET_CHANGED_OFFLOADS | NET_CHANGED_PAIRS);
	config_changed(net);
}

/* Readable bytes of a command. Return: how many; 0: too many, or none */
static uint32_t copy_command(const struct virtqueue_chain *chain, uint8_t *ret)
{
	uint32_t n = chain->readable_len;

	if (chain->is_poisoned || chain->is_bad || chain->is_cut || n > NET_CONTROL_BYTES_MAX)
		return 0;
	return spans_copy_in(chain->spans, chain->n_readable, 0, ret, n) == n ? n : 0;
}

/* §5.1.6.5: one command, answered by one byte. Return: bytes written */
static uint32_t run_command(struct net_device *net, const struct virtqueue_chain *chain)
{
	const struct net_control_limits limits = { net->limits.features, net->n_pairs };
	uint32_t len = copy_command(chain, net->command), changed = 0;
	uint8_t ack;

	/* Nobody would hear of it. */
	if (chain->is_bad || chain->n_spans == chain->n_readable) {
		device_count(net->dev, DEVICE_COUNTER_BAD_REQUESTS, 1);
		return 0;
	}
	ack = net_control_run(&net->state, &limits, net->command, len, &changed);
	if (ack == VIRTIO_NET_OK)
		net_state_save(&net->state, device_state_area(net->dev));
	else
		device_count(net->dev, DEVICE_COUNTER_BAD_REQUESTS, 1);
	if (changed & (NET_CHANGED_OFFLOADS | NET_CHANGED_PAIRS))
		apply_state(net, changed);
	if (changed & (NET_CHANGED_MAC | NET_CHANGED_ANNOUNCE))
		config_changed(net);
	return span_copy_out(&chain->spans[chain->n_readable], 0, &ack, 1) == 0;
}

static int serve_control(struct net_device *net, uint32_t queue)
{
	struct virtqueue_chain chain = { .spans = net->spans, .n_spans_max = NET_SPANS_MAX };
	struct virtqueue *vq = device_virtqueue(net->dev, queue);
	uint32_t i;
	int r = 0;

	if (virtqueue_fault(vq))
		return 0;
	for (i = 0; i < vq->size; i++) {
		r = virtqueue_pop(vq, &chain);
		if (r == 0)
			virtqueue_push(vq, chain.head, run_command(net, &chain));
		else if (r == VIRTQUEUE_EMPTY && virtqueue_enable_notify(vq))
			r = 0; /* came meanwhile, without a kick */
		else
			break;
	}
	device_publish(net->dev, queue);
	if (r == VIRTQUEUE_BROKEN)
		device_queue_broke(net->dev, queue);
	else if (r == 0)
		device_kick_again(net->dev, queue);
	return 0;
}

/* §5.1.2: without MQ there is one pair, and the control queue comes after it. */
static int net_kick(void *state, uint32_t queue)
{
	struct net_device *net = state;
	bool has_mq = net->limits.features & NET_FEATURE(VIRTIO_NET_F_MQ);
	uint32_t n_pairs = has_mq ? net->n_pairs : 1;

	if (queue < 2 * n_pairs) {
		struct net_pair *pair = &net->pairs[queue / 2];

		if (queue % 2 != 0)
			return net_transmit(pair);
		net_receive_refilled(pair);
		return 0;
	}
	if (queue == 2 * n_pairs && (net->limits.features & NET_FEATURE(VIRTIO_NET_F_CTRL_VQ)))
		return serve_control(net, queue);
	return 0;
}

static bool net_poll_is_useful(const void *state)
{
	(void)state;
	return true;
}

static bool net_look(void *state)
{
	struct net_device *net = state;
	bool found = false;
	uint32_t i;

	for (i = 0; i < net->state.n_pairs; i++)
		if (!net->pairs[i].is_starved)
			found |= net_receive(&net->pairs[i]);
	return found;
}

static void net_adjust(void *state, const struct message_adjust *adjust)
{
	struct net_device *net = state;
	uint32_t i;

	set_limits(net, &adjust->limits);
	for (i = 0; i < net->n_pairs; i++) {
		/* Who waits for the old limits looks again. */
		(void)evtimer_del(net->pairs[i].receive_timer);
		event_active(net->pairs[i].receive_timer, EV_TIMEOUT, 1);
		(void)evtimer_del(net->pairs[i].transmit_timer);
		event_active(net->pairs[i].transmit_timer, EV_TIMEOUT, 1);
	}
	/* Also the first thing that a successor is told: it may have changed while nobody served. */
	net_backend_set_link(net->backend, !adjust->link_down);
	if (net->link_down == adjust->link_down)
		return;
	net->link_down = adjust->link_down;
	/* Whoever knew us by another port has to be told, by a successor too. */
	if (net->limits.features & NET_FEATURE(VIRTIO_NET_F_GUEST_ANNOUNCE)) {
		net->state.announce = !adjust->link_down;
		net_state_save(&net->state, device_state_area(net->dev));
	}
	config_changed(net);
}

const struct device_ops net_device_ops = {
	.name = net_backend_name,
	.type = DEVICE_TYPE_NET,
	.profile = &net_backend_profile,
	.open = net_open,
	.start = net_start,
	.set_features = net_set_features,
	.reset = net_reset,
	.kick = net_kick,
	.poll_is_useful = net_poll_is_useful,
	.look = net_look,
	.adjust = net_adjust,
};
