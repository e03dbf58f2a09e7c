/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames for the driver. Hostile: its buffers, and who sends over the network.
 *
 * A frame is read into memory of our own first, because only then is it known how long it is and
 * whether the driver wants it; then it is copied into as many buffers as it needs. So a chain is
 * fetched only for a frame that is there, and what was fetched for a frame that does not fit is
 * put back. The copy is cheap: the frame is in the cache.
 *
 * When the driver offers no room, one frame waits here and the backend is not read further: frames
 * pile up, and are dropped, where the kernel counts them.
 */
#include "device-procs/net/net_device.h"

#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "device-procs/common/spans.h"
#include "ipc/log.h"

enum place_result {
	PLACE_NO_ROOM = 1, /* the driver may offer more buffers later */
	PLACE_NEVER = 2, /* this frame cannot be delivered */
	PLACE_BROKEN = 3, /* the driver broke the queue */
};

/* The chains that one frame goes to. */
struct placement {
	uint32_t n;
	uint32_t room; /* bytes, of all of them */
	uint16_t heads[NET_MERGE_MAX];
	uint32_t lens[NET_MERGE_MAX]; /* bytes of the frame in each */
	uint32_t n_header;
	struct span header[NET_HEADER_BYTES]; /* where the header lies */
};

static void put_back(struct virtqueue *vq, struct placement *p)
{
	while (p->n > 0)
		virtqueue_unpop(vq, p->heads[--p->n]);
}

/* Copies as much of [data, data + len) into the chain as it takes. Return: bytes */
static uint32_t fill(const struct virtqueue_chain *chain, const uint8_t *data, uint32_t len)
{
	return spans_copy_out(chain->spans + chain->n_readable, chain->n_spans - chain->n_readable,
			      0, data, len);
}

static void keep_header(struct placement *p, const struct virtqueue_chain *chain)
{
	uint32_t n = chain->n_spans - chain->n_readable, room = 0;

	for (p->n_header = 0; p->n_header < n && room < NET_HEADER_BYTES; p->n_header++) {
		p->header[p->n_header] = chain->spans[chain->n_readable + p->n_header];
		room += span_len(&p->header[p->n_header]);
	}
}

/* The frame is spread over more than one chain: its header, already copied, says 1. */
static void set_num_buffers(const struct placement *p)
{
	uint16_t le = htole16((uint16_t)p->n);

	/* in bounds, and copied to before */
	(void)spans_copy_out(p->header, p->n_header,
			     offsetof(struct virtio_net_hdr_v1, num_buffers), &le, sizeof(le));
}

/* One chain more. Return: 0; PLACE_* */
static int place_chain(struct net_device *net, struct virtqueue *vq, const uint8_t *data,
		       uint32_t len, struct placement *p)
{
	struct virtqueue_chain chain = { .spans = net->spans, .n_spans_max = NET_SPANS_MAX };
	uint32_t got;
	int r = virtqueue_pop(vq, &chain);

	if (r == VIRTQUEUE_BROKEN)
		return PLACE_BROKEN;
	if (r == VIRTQUEUE_EMPTY)
		return p->n < vq->size ? PLACE_NO_ROOM : PLACE_NEVER;
	got = chain.is_bad || chain.is_poisoned ? 0 : fill(&chain, data + p->room, len - p->room);
	if (got == 0 || (p->n == 0 && got < NET_HEADER_BYTES)) {
		/* Of no use to any frame. As the first it is given back empty, else it will be. */
		device_count(net->dev, DEVICE_COUNTER_BAD_REQUESTS, 1);
		if (p->n > 0)
			virtqueue_unpop(vq, chain.head);
		else
			virtqueue_push(vq, chain.head, 0);
		return p->n > 0 ? PLACE_NEVER : 0;
	}
	if (p->n == 0)
		keep_header(p, &chain);
	p->heads[p->n] = chain.head;
	p->lens[p->n++] = got;
	p->room += got;
	return 0;
}

/* §5.1.6.4: the header lies in the first chain whole, and every chain but the last is full. */
static int place(struct net_device *net, struct virtqueue *vq, const uint8_t *data, uint32_t len)
{
	bool merges = net->limits.features & NET_FEATURE(VIRTIO_NET_F_MRG_RXBUF);
	uint32_t max = merges ? NET_MERGE_MAX : 1, i;
	struct placement p = { .n = 0 };
	int r = 0;

	while (p.room < len && r == 0)
		r = p.n == max ? PLACE_NEVER : place_chain(net, vq, data, len, &p);
	if (r != 0) {
		put_back(vq, &p);
		return r;
	}
	if (p.n > 1)
		set_num_buffers(&p);
	for (i = 0; i < p.n; i++)
		virtqueue_push(vq, p.heads[i], p.lens[i]);
	return 0;
}

/* The next frame into pair->frame. Return: true when one is to be delivered, or to be forgotten */
static bool fetch(struct net_pair *pair)
{
	struct net_device *net = pair->net;
	struct iovec iov = { .iov_base = pair->frame,
			     .iov_len = NET_HEADER_BYTES + NET_FRAME_MAX };
	struct virtio_net_hdr_v1 header;
	ssize_t r;

	if (device_wait_for_limit(&pair->receive_limit, pair->receive_timer))
		return false;
	r = net_backend_receive(net->backend, pair->index, &iov, 1);
	if (r == -EAGAIN)
		return false;
	if (r == -EBADFD) {
		net_lost(net);
		return false;
	}
	if (r < 0) {
		log_limited(LOG_LEVEL_WARNING, "queue %u: receive: %s",
			    net_queue_receive(pair->index), strerror((int)-r));
		return false;
	}
	if (r < (ssize_t)(NET_HEADER_BYTES + NET_ETHERNET_BYTES) || net->link_down)
		return true;
	memcpy(&header, pair->frame, sizeof(header));
	net_header_for_driver(&header, net->limits.features);
	header.num_buffers = htole16(1);
	memcpy(pair->frame, &header, sizeof(header));
	if (net_state_wants(&net->state, pair->frame + NET_HEADER_BYTES,
			    (uint32_t)r - NET_HEADER_BYTES))
		pair->pending_len = (uint32_t)r;
	return true;
}

static void delivered(struct net_pair *pair)
{
	struct device *dev = pair->net->dev;
	uint32_t len = pair->pending_len - NET_HEADER_BYTES;

	pair->pending_len = 0;
	device_count(dev, DEVICE_COUNTER_RX_FRAMES, 1);
	device_count(dev, DEVICE_COUNTER_RX_BYTES, len);
	if (rate_limit_is_on(&pair->receive_limit))
		rate_limit_charge(&pair->receive_limit, len);
}

/* Return: true: go on with the next frame */
static bool deliver(struct net_pair *pair, struct virtqueue *vq)
{
	struct net_device *net = pair->net;

	if (pair->pending_len == 0) {
		device_count(net->dev, DEVICE_COUNTER_RX_DROPPED, 1);
		return true;
	}
	switch (place(net, vq, pair->frame, pair->pending_len)) {
	case 0:
		delivered(pair);
		return true;
	case PLACE_NO_ROOM:
		pair->is_starved = true;
		return false;
	case PLACE_BROKEN:
		pair->pending_len = 0;
		device_queue_broke(net->dev, net_queue_receive(pair->index));
		return false;
	default:
		pair->pending_len = 0;
		device_count(net->dev, DEVICE_COUNTER_RX_DROPPED, 1);
		return true;
	}
}

static bool can_receive(const struct net_pair *pair)
{
	struct net_device *net = pair->net;
	uint32_t queue = net_queue_receive(pair->index);

	return !net->is_lost && pair->index < net->state.n_pairs &&
	       device_queue_is_open(net->dev, queue) &&
	       !virtqueue_fault(device_virtqueue(net->dev, queue));
}

void net_receive_settle(struct net_pair *pair)
{
	struct device *dev = pair->net->dev;
	bool can = can_receive(pair);

	/* Buffers that wait for frames are no work, unless a frame waits for buffers. */
	device_queue_set_idle(dev, net_queue_receive(pair->index), !pair->is_starved);
	net_backend_watch(pair->net->backend, pair->index,
			  can && !pair->is_starved && !evtimer_pending(pair->receive_timer, NULL));
	if (!can || !pair->is_starved)
		return;
	if (virtqueue_enable_notify(device_virtqueue(dev, net_queue_receive(pair->index))))
		device_kick_again(dev, net_queue_receive(pair->index));
}

bool net_receive(struct net_pair *pair)
{
	struct device *dev = pair->net->dev;
	uint32_t queue = net_queue_receive(pair->index), n = 0;
	struct virtqueue *vq = device_virtqueue(dev, queue);

	if (can_receive(pair) && !pair->is_starved) {
		while (n < NET_RECEIVE_BUDGET && (pair->pending_len > 0 || fetch(pair)) &&
		       deliver(pair, vq)) {
			if (++n % NET_BATCH == 0)
				device_show(dev, queue);
		}
		device_publish(dev, queue);
	}
	net_receive_settle(pair);
	return n > 0;
}

void net_receive_refilled(struct net_pair *pair)
{
	if (pair->is_starved)
		virtqueue_disable_notify(
			device_virtqueue(pair->net->dev, net_queue_receive(pair->index)));
	pair->is_starved = false;
	(void)net_receive(pair);
}
