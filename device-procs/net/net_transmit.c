/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of the driver, on their way out. Hostile: chains, headers and content.
 *
 * The header is copied, checked, and sent from the copy; the content goes to the kernel as it lies
 * in guest memory, which may change under it: the kernel, too, copies before it looks.
 */
#include "device-procs/net/net_device.h"

#include <event2/event.h>

/* The header out of the readable buffers; they begin behind it afterwards. */
static bool take_header(struct virtqueue_chain *chain, struct virtio_net_hdr_v1 *ret,
			uint32_t *ret_first)
{
	uint32_t done = 0, i = 0;

	if (chain->readable_len < NET_HEADER_BYTES)
		return false;
	while (i < chain->n_readable) {
		struct span *span = &chain->spans[i];
		uint32_t len = span_len(span);
		uint32_t n = len < NET_HEADER_BYTES - done ? len : NET_HEADER_BYTES - done;

		if (span_copy_in(span, 0, (uint8_t *)ret + done, n) != 0)
			return false;
		done += n;
		if (n == len)
			i++;
		else if (span_cut(span, n, len - n, span) != 0)
			return false;
		if (done == NET_HEADER_BYTES)
			break;
	}
	*ret_first = i;
	return done == NET_HEADER_BYTES;
}

/* Return: bytes of the frame when it may go, from span *ret_first on; 0: it is to be dropped */
static uint32_t check(const struct net_device *net, struct virtqueue_chain *chain,
		      struct virtio_net_hdr_v1 *header, uint32_t *ret_first)
{
	struct virtio_net_hdr_v1 raw;
	uint32_t len;

	if (chain->is_poisoned || chain->is_bad || chain->is_cut || !take_header(chain, &raw, ret_first))
		return 0;
	len = chain->readable_len - NET_HEADER_BYTES;
	return net_header_check(&raw, len, &net->limits, header) == 0 ? len : 0;
}

static void transmit_one(struct net_pair *pair, struct virtqueue_chain *chain)
{
	struct net_device *net = pair->net;
	struct virtio_net_hdr_v1 header;
	uint32_t first, len = check(net, chain, &header, &first);

	if (len == 0) {
		device_count(net->dev, DEVICE_COUNTER_BAD_REQUESTS, 1);
		return;
	}
	if (rate_limit_is_on(&pair->transmit_limit))
		rate_limit_charge(&pair->transmit_limit, len);
	if (net->link_down ||
	    net_backend_send(net->backend, pair->index, &header, chain->spans + first,
			     chain->n_readable - first) != 0) {
		device_count(net->dev, DEVICE_COUNTER_TX_DROPPED, 1);
		return;
	}
	device_count(net->dev, DEVICE_COUNTER_TX_FRAMES, 1);
	device_count(net->dev, DEVICE_COUNTER_TX_BYTES, len);
}

/* Return: 0: more may be there; VIRTQUEUE_EMPTY, VIRTQUEUE_BROKEN */
static int transmit_batch(struct net_pair *pair, struct virtqueue *vq)
{
	struct virtqueue_chain chain = { .spans = pair->net->spans, .n_spans_max = NET_SPANS_MAX };
	uint32_t i;

	for (i = 0; i < NET_BATCH; i++) {
		int r;

		if (device_wait_for_limit(&pair->transmit_limit, pair->transmit_timer)) {
			device_queue_set_idle(pair->net->dev, net_queue_transmit(pair->index), true);
			return VIRTQUEUE_EMPTY;
		}
		r = virtqueue_pop(vq, &chain);
		if (r != 0)
			return r;
		transmit_one(pair, &chain);
		virtqueue_push(vq, chain.head, 0);
	}
	return 0;
}

int net_transmit(struct net_pair *pair)
{
	struct device *dev = pair->net->dev;
	uint32_t queue = net_queue_transmit(pair->index), taken;
	struct virtqueue *vq = device_virtqueue(dev, queue);
	int r = 0;

	if (!virtqueue_is_enabled(vq) || virtqueue_fault(vq))
		return 0;
	virtqueue_disable_notify(vq);
	for (taken = 0; taken < vq->size && r == 0; taken += NET_BATCH) {
		r = transmit_batch(pair, vq);
		device_show(dev, queue);
		if (r != VIRTQUEUE_EMPTY)
			continue;
		if (evtimer_pending(pair->transmit_timer, NULL) || device_is_polling(dev))
			break;
		r = virtqueue_enable_notify(vq) ? 0 : VIRTQUEUE_EMPTY;
	}
	device_publish(dev, queue);
	if (r == VIRTQUEUE_BROKEN)
		device_queue_broke(dev, queue);
	else if (r == 0)
		device_kick_again(dev, queue); /* kicks stay off meanwhile */
	return 0;
}
