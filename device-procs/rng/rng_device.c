/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-rng: one queue of buffers to fill. bulkhead-rng. Hostile: the guest behind the queue.
 *
 * Bytes are fetched from the source before a buffer is taken from the queue, so nothing is ever in
 * flight while the source is dry: a reset need not wait for it, and a process that dies loses
 * nothing that a guest waits for. §5.4.6 lets the device use less than the whole buffer, so a
 * request gets at most POOL_BYTES. No byte is given out twice: what was copied is wiped.
 */
#include "device-procs/rng/rng_device.h"

#include <event2/event.h>
#include <string.h>

#include "device-procs/rng/rng_source.h"
#include "ipc/log.h"
#include "sandbox/filters.h"

#define QUEUE_SIZE 64u
#define POOL_BYTES 4096u /* at most so many for one request */
#define SPANS_MAX 64u /* buffers of a chain that are used; a driver of one page needs one */
#define BATCH 16u /* requests before other events get their turn */
#define DRY_RETRY_MS 50 /* character devices need not support poll, so it is asked again */

struct rng_device {
	struct device *dev;
	struct rng_source source;
	struct event *retry; /* pending: the source was dry */
	bool is_dry_known; /* said so, and nothing came since */
	size_t n_pool;
	uint8_t pool[POOL_BYTES];
	struct span spans[SPANS_MAX];
};

static const struct sandbox_profile profile = {
	.name = "rng",
	.filter = &rng_filter,
	/* 0 to 3, source, epoll and its pipe, spare ones while starting, kick and call */
	.max_fds = 32,
	.max_threads = 1,
};

static int rng_open(const struct message_device_start *start, struct fdset *fds,
		    void **ret_state, struct device_offer *offer, char *text)
{
	cleanup_free struct rng_device *d = calloc(1, sizeof(*d));
	int r;

	(void)text;
	if (!d)
		return -ENOMEM;
	if (start->n_fds > 1)
		return -EBADF;
	r = rng_source_open(start->n_fds == 1 ? fdset_steal(fds, 0) : -1, &d->source);
	if (r < 0)
		return r;
	offer->n_queues = 1;
	offer->queue_size_max = QUEUE_SIZE;
	if (d->source.fd >= 0)
		offer->keep_fds[offer->n_keep_fds++] = d->source.fd;
	*ret_state = ptr_steal(d);
	return 0;
}

/* The driver waits, as it does for any source of hardware. */
static void wait_for_source(struct rng_device *d)
{
	static const struct timeval after = { .tv_usec = DRY_RETRY_MS * 1000 };

	if (!d->is_dry_known)
		log_limited(LOG_LEVEL_WARNING, "the source is dry; requests wait for it");
	d->is_dry_known = true;
	if (event_add(d->retry, &after) < 0)
		device_fail(d->dev, "out of memory");
}

/* Return: 0: there are bytes in the pool; RNG_SOURCE_DRY; -errno: the device cannot go on */
static int fill_pool(struct rng_device *d)
{
	int r;

	if (d->n_pool > 0)
		return 0;
	r = rng_source_read(&d->source, d->pool, sizeof(d->pool), &d->n_pool);
	if (r == RNG_SOURCE_DRY)
		wait_for_source(d);
	else if (r == RNG_SOURCE_ENDED)
		device_fail(d->dev, "the source has ended; a file is read once, never again");
	else if (r < 0)
		device_fail(d->dev, "the source: %s", strerror(-r));
	else
		d->is_dry_known = false;
	return r == RNG_SOURCE_ENDED ? -ENODATA : r;
}

/* Moves bytes from the end of the pool; Return: how many */
static uint32_t fill_chain(struct rng_device *d, const struct virtqueue_chain *chain)
{
	uint32_t i, done = 0;

	for (i = chain->n_readable; i < chain->n_spans && d->n_pool > 0; i++) {
		size_t n = span_len(&chain->spans[i]);

		if (n > d->n_pool)
			n = d->n_pool;
		if (span_copy_out(&chain->spans[i], 0, d->pool + d->n_pool - n, n) != 0)
			break;
		d->n_pool -= n;
		explicit_bzero(d->pool + d->n_pool, n);
		done += (uint32_t)n;
	}
	return done;
}

/* §5.4.6.1: buffers are writable for the device. Anything else comes back with length 0. */
static void answer(struct rng_device *d, const struct virtqueue_chain *chain)
{
	bool is_bad = chain->is_bad || chain->is_poisoned || chain->readable_len > 0 ||
		      chain->writable_len == 0;
	uint32_t len = is_bad ? 0 : fill_chain(d, chain);

	if (is_bad)
		device_count(d->dev, DEVICE_COUNTER_BAD_REQUESTS, 1);
	device_count(d->dev, DEVICE_COUNTER_READS, !is_bad);
	device_count(d->dev, DEVICE_COUNTER_READ_BYTES, len);
	virtqueue_push(device_virtqueue(d->dev, 0), chain->head, len);
}

/* Return: 0: more may be there; VIRTQUEUE_EMPTY; VIRTQUEUE_BROKEN; RNG_SOURCE_DRY is EMPTY, too */
static int take_batch(struct rng_device *d, struct virtqueue *vq)
{
	struct virtqueue_chain chain = { .spans = d->spans, .n_spans_max = SPANS_MAX };
	uint32_t i;

	for (i = 0; i < BATCH; i++) {
		int r;

		if (!virtqueue_has_more(vq) && !virtqueue_enable_notify(vq))
			return VIRTQUEUE_EMPTY;
		if (fill_pool(d) != 0)
			return VIRTQUEUE_EMPTY;
		r = virtqueue_pop(vq, &chain);
		if (r != 0)
			return r;
		answer(d, &chain);
	}
	return 0;
}

static int rng_kick(void *state, uint32_t queue)
{
	struct rng_device *d = state;
	struct virtqueue *vq = device_virtqueue(d->dev, queue);
	int r;

	if (virtqueue_fault(vq))
		return 0;
	virtqueue_disable_notify(vq);
	r = take_batch(d, vq);
	if (r == VIRTQUEUE_BROKEN)
		device_queue_broke(d->dev, queue);
	else if (r == 0)
		device_kick_again(d->dev, queue);
	device_publish(d->dev, queue);
	return 0;
}

static void on_retry(evutil_socket_t fd, short what, void *ctx)
{
	struct rng_device *d = ctx;

	(void)fd;
	(void)what;
	device_kick_again(d->dev, 0); /* does nothing once the queue is disabled */
}

static int rng_start(void *state, struct device *dev, struct event_base *base)
{
	struct rng_device *d = state;

	d->dev = dev;
	d->retry = evtimer_new(base, on_retry, d);
	return d->retry ? 0 : -ENOMEM;
}

static void rng_set_features(void *state, uint64_t features)
{
	(void)state;
	(void)features; /* none of its own */
}

const struct device_ops rng_device_ops = {
	.name = "rng",
	.type = DEVICE_TYPE_RNG,
	.profile = &profile,
	.is_sealed_early = true,
	.open = rng_open,
	.start = rng_start,
	.set_features = rng_set_features,
	.kick = rng_kick,
};
