/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk: from the queues to the engine and back. bulkhead-blk.
 *
 * All memory is allocated at the start: one struct blk_io per head that can be in flight, found
 * by queue and head. A round takes what the driver made available, submits it with one system
 * call, and publishes what is done with one index store and at most one interrupt per queue;
 * what was done before goes out before anything new is begun.
 */
#include "device-procs/blk/blk_device.h"

#include <endian.h>
#include <event2/event.h>
#include <linux/virtio_blk.h>
#include <stddef.h>
#include <string.h>

#include "device-procs/blk/blk_disk.h"
#include "device-procs/blk/blk_engine.h"
#include "device-procs/blk/blk_request.h"
#include "device-procs/common/rate_limit.h"
#include "device-procs/common/spans.h"
#include "ipc/clock.h"
#include "ipc/log.h"
#include "sandbox/filters.h"

/* So many requests are begun, submitted and shown to the driver together, at the most. */
#define BATCH 16u

#define FEATURE(bit) (UINT64_C(1) << (bit))

struct blk_device {
	struct device *dev;
	struct blk_disk disk;
	struct blk_limits limits;
	struct blk_engine engine;
	struct io_uring_params ring; /* DEVICE_START's */
	char id[BLK_ID_BYTES];
	uint32_t n_queues, queue_size;
	struct blk_io *ios; /* n_queues * queue_size */
	struct blk_buffers *buffers; /* as many */
	struct rate_limit_config limits_configured;
	struct rate_limit limit; /* of all queues together */
	struct event *limit_timer; /* it lets more through */
	uint64_t dirty; /* bit per queue: something was pushed and not yet published */
	bool has_answered; /* completions went out, and no chain has come in since */
	struct event *completions;
	struct span spans[BLK_SPANS_MAX]; /* of the chain that is being looked at */
};

_Static_assert(DEVICE_QUEUES_MAX <= 64, "dirty is a bit mask");

static const struct sandbox_profile profile = {
	.name = "blk",
	.filter = &blk_filter,
	/* 0 to 3, disk, ring, epoll and its pipe, spare ones while starting, kick and call */
	.max_fds = 24 + 2 * DEVICE_QUEUES_MAX,
	.max_threads = 1,
	/* The ring's workers are kernel threads, but they are counted like our own. */
	.max_threads_sealed = 1 + 2 * BLK_WORKERS,
	/* 64 bytes per submission and 16 per completion entry, at their most, and as much again */
	.max_locked = 2u << 20,
	.fsize_from_params = true,
};

static uint64_t offered_features(const struct blk_device *b)
{
	uint64_t f = FEATURE(VIRTIO_BLK_F_SEG_MAX) | FEATURE(VIRTIO_BLK_F_BLK_SIZE) |
		     FEATURE(VIRTIO_BLK_F_TOPOLOGY) | FEATURE(VIRTIO_BLK_F_FLUSH);

	if (b->n_queues > 1)
		f |= FEATURE(VIRTIO_BLK_F_MQ);
	if (b->disk.is_read_only)
		return f | FEATURE(VIRTIO_BLK_F_RO);
	if (b->disk.has_discard)
		f |= FEATURE(VIRTIO_BLK_F_DISCARD);
	return f | FEATURE(VIRTIO_BLK_F_WRITE_ZEROES);
}

static uint32_t seg_max(const struct blk_device *b)
{
	/* Header and status take two descriptors of a chain. */
	uint32_t chain = b->queue_size < BLK_SPANS_MAX ? b->queue_size : BLK_SPANS_MAX;

	return chain > 3 ? chain - 2 : 1;
}

static void fill_config(const struct blk_device *b, struct device_offer *offer)
{
	struct virtio_blk_config c;
	uint32_t per_physical = b->disk.physical_bytes / b->disk.block_bytes;

	memset(&c, 0, sizeof(c));
	c.capacity = htole64(b->limits.n_sectors);
	c.seg_max = htole32(seg_max(b));
	c.blk_size = htole32(b->disk.block_bytes);
	c.physical_block_exp = (uint8_t)__builtin_ctz(per_physical);
	c.min_io_size = htole16((uint16_t)per_physical);
	c.num_queues = htole16((uint16_t)b->n_queues);
	c.max_discard_sectors = htole32(BLK_SEGMENT_SECTORS_MAX);
	c.max_discard_seg = htole32(BLK_SEGMENTS_MAX);
	c.discard_sector_alignment = htole32(b->disk.physical_bytes / BLK_SECTOR_BYTES);
	c.max_write_zeroes_sectors = htole32(BLK_SEGMENT_SECTORS_MAX);
	c.max_write_zeroes_seg = htole32(BLK_SEGMENTS_MAX);
	c.write_zeroes_may_unmap = 1;
	offer->config_len = offsetof(struct virtio_blk_config, unused1) + sizeof(c.unused1);
	memcpy(offer->config, &c, offer->config_len);
}

static int blk_open(const struct message_device_start *start, struct fdset *fds,
		    void **ret_state, struct device_offer *offer, char *text)
{
	const struct blk_config *config = &start->config.blk;
	cleanup_free struct blk_device *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return -ENOMEM;
	if (start->n_fds != 1 || start->n_ring == 0)
		return -EBADF;
	ring_params_unpack(start->ring, &b->ring);
	r = blk_disk_open(fdset_steal(fds, 0), config->read_only, config->direct, &b->disk, text);
	if (r < 0)
		return r;
	memcpy(b->id, config->serial, sizeof(b->id));
	b->n_queues = config->num_queues;
	b->queue_size = config->queue_size;
	b->limits_configured = config->limits;
	b->limits.n_sectors = b->disk.size >> BLK_SECTOR_SHIFT;
	b->limits.is_read_only = b->disk.is_read_only;
	b->ios = calloc((size_t)b->n_queues * b->queue_size, sizeof(*b->ios));
	b->buffers = calloc((size_t)b->n_queues * b->queue_size, sizeof(*b->buffers));
	if (!b->ios || !b->buffers)
		return -ENOMEM;
	offer->features = offered_features(b);
	offer->n_queues = b->n_queues;
	offer->queue_size_max = b->queue_size;
	fill_config(b, offer);
	offer->file_size_max = b->disk.size;
	offer->keep_fds[0] = b->disk.fd;
	offer->keep_fds[1] = DEVICE_RING_FD;
	offer->n_keep_fds = 2;
	*ret_state = ptr_steal(b);
	return 0;
}

static void count(struct blk_device *b, const struct blk_io *io, uint8_t status)
{
	const struct blk_request *q = &io->request;

	if (status != VIRTIO_BLK_S_OK) {
		device_count(b->dev, DEVICE_COUNTER_ERRORS, 1);
	} else if (q->operation == BLK_READ) {
		device_count(b->dev, DEVICE_COUNTER_READS, 1);
		device_count(b->dev, DEVICE_COUNTER_READ_BYTES, q->len);
	} else if (q->operation == BLK_WRITE) {
		device_count(b->dev, DEVICE_COUNTER_WRITES, 1);
		device_count(b->dev, DEVICE_COUNTER_WRITE_BYTES, q->len);
	} else if (q->operation == BLK_FLUSH) {
		device_count(b->dev, DEVICE_COUNTER_FLUSHES, 1);
	}
}

static void push(struct blk_device *b, uint32_t queue, uint16_t head, uint32_t len)
{
	virtqueue_push(device_virtqueue(b->dev, queue), head, len);
	b->dirty |= UINT64_C(1) << queue;
}

static void on_done(void *ctx, struct blk_io *io, uint8_t status)
{
	struct blk_device *b = ctx;
	bool has_data = io->request.operation == BLK_READ || io->request.operation == BLK_GET_ID;
	uint32_t len = 0;

	if (span_copy_out(&io->request.status, 0, &status, 1) == 0)
		len = has_data && status == VIRTIO_BLK_S_OK ? io->request.len + 1 : 1;
	count(b, io, status);
	push(b, io->queue, io->head, len);
}

static int get_id(struct blk_device *b, struct blk_io *io)
{
	const struct blk_request *q = &io->request;
	bool is_ok = spans_copy_out(io->spans, q->n_spans, 0, b->id, q->len) == q->len;

	on_done(b, io, is_ok ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
	return 0;
}

static void take_spans(struct blk_io *io, struct blk_buffers *many, const struct span *spans)
{
	const struct blk_request *q = &io->request;
	bool has_few = q->n_spans <= BLK_BUFFERS_FEW && q->operation != BLK_WRITE_ZEROES;

	io->spans = has_few ? io->few_spans : many->spans;
	io->iov = has_few ? io->few_iov : many->iov;
	memcpy(io->spans, spans, q->n_spans * sizeof(spans[0]));
}

static int begin(struct blk_device *b, uint32_t queue, struct virtqueue_chain *chain)
{
	uint32_t i = queue * b->queue_size + chain->head;
	struct blk_io *io = &b->ios[i];
	uint8_t status;
	int r = blk_request_parse(chain, &b->limits, &io->request, &status);

	if (rate_limit_is_on(&b->limit))
		rate_limit_charge(&b->limit, r == 0 ? io->request.len : 0);
	io->queue = queue;
	io->head = chain->head;
	if (r != 0)
		device_count(b->dev, DEVICE_COUNTER_BAD_REQUESTS, 1);
	if (r == BLK_REQUEST_NO_STATUS) {
		push(b, queue, chain->head, 0);
		return 0;
	}
	if (r == BLK_REQUEST_FAILED) {
		on_done(b, io, status);
		return 0;
	}
	take_spans(io, &b->buffers[i], chain->spans);
	if (io->request.operation == BLK_GET_ID)
		return get_id(b, io);
	return blk_engine_start(&b->engine, io);
}

static void publish(struct blk_device *b)
{
	while (b->dirty != 0) {
		uint32_t queue = (uint32_t)__builtin_ctzll(b->dirty);

		b->dirty &= b->dirty - 1;
		device_publish(b->dev, queue);
	}
}

/* A driver that polls goes on with these while we work on the next. */
static void show(struct blk_device *b)
{
	uint64_t dirty = b->dirty;

	for (; dirty != 0; dirty &= dirty - 1)
		device_show(b->dev, (uint32_t)__builtin_ctzll(dirty));
}

/* Reap, publish, submit what the completions have led to, until nothing more comes. */
static int settle(struct blk_device *b)
{
	int r;

	do {
		r = blk_engine_submit(&b->engine);
		if (r == 0)
			r = blk_engine_reap(&b->engine);
		if (r < 0)
			return r;
		publish(b);
	} while (io_uring_sq_ready(&b->engine.ring) > 0);
	return 0;
}

/*
 * A disk begins with the first request of a batch when all of them are submitted. One with nothing
 * to do gets the first at once, a busy one as many together as it has already.
 */
static uint32_t batch_size(const struct blk_device *b)
{
	uint32_t n = b->disk.is_direct ? b->engine.n_in_ring : BATCH;

	return n == 0 ? 1 : n < BATCH ? n : BATCH;
}

/* Begins up to @n requests. Return: 0; VIRTQUEUE_EMPTY; VIRTQUEUE_BROKEN; -errno */
static int take_batch(struct blk_device *b, struct virtqueue *vq, uint32_t queue, uint32_t n)
{
	struct virtqueue_chain chain = { .spans = b->spans, .n_spans_max = BLK_SPANS_MAX };
	uint32_t i;

	for (i = 0; i < n; i++) {
		int r;

		if (device_wait_for_limit(&b->limit, b->limit_timer)) {
			device_queue_set_idle(b->dev, queue, true);
			return VIRTQUEUE_EMPTY;
		}
		r = virtqueue_pop(vq, &chain);
		if (r == 0)
			r = begin(b, queue, &chain);
		if (r != 0)
			return r;
	}
	return 0;
}

/* Takes at most one queue full. Return: 0; VIRTQUEUE_BROKEN; -errno */
static int take_chains(struct blk_device *b, struct virtqueue *vq, uint32_t queue)
{
	uint32_t taken = 0;

	virtqueue_disable_notify(vq);
	while (taken < vq->size) {
		uint32_t n = batch_size(b);
		int r = take_batch(b, vq, queue, n);

		taken += n;
		if (r == VIRTQUEUE_EMPTY) {
			if (evtimer_pending(b->limit_timer, NULL) || device_is_polling(b->dev) ||
			    !virtqueue_enable_notify(vq))
				return 0;
			continue;
		}
		if (r == 0)
			r = blk_engine_submit(&b->engine);
		if (r == 0)
			r = blk_engine_reap(&b->engine);
		if (r != 0)
			return r;
		show(b);
	}
	/* Kicks stay off: it is looked at again without one. */
	device_kick_again(b->dev, queue);
	return 0;
}

static int blk_kick(void *state, uint32_t queue)
{
	struct blk_device *b = state;
	struct virtqueue *vq = device_virtqueue(b->dev, queue);
	int r;

	if (virtqueue_fault(vq))
		return 0;
	r = blk_engine_reap(&b->engine);
	if (r < 0)
		return r;
	publish(b);
	b->has_answered = false;
	r = take_chains(b, vq, queue);
	if (r == VIRTQUEUE_BROKEN)
		device_queue_broke(b->dev, queue);
	else if (r < 0)
		return r;
	return settle(b);
}

/* The disk wakes us by itself; a driver that has got an answer is likely to ask on at once. */
static bool blk_poll_is_useful(const void *state)
{
	const struct blk_device *b = state;

	return b->engine.n_in_ring == 0 || b->has_answered;
}

/* What has completed goes out, and what that led to goes in. Return: was there anything? */
static bool take_completions(struct blk_device *b)
{
	uint32_t before = b->engine.n_in_ring;
	int r;

	if (before == 0)
		return false;
	r = blk_engine_reap(&b->engine);
	/* A completion whose request goes on leaves their number as it was, but has work queued. */
	if (r == 0 && b->engine.n_in_ring == before && io_uring_sq_ready(&b->engine.ring) == 0)
		return false;
	b->has_answered = true;
	if (r == 0) {
		publish(b);
		r = settle(b);
	}
	if (r < 0)
		device_fail(b->dev, "disk: %s", strerror(-r));
	return true;
}

static bool blk_look(void *state)
{
	return take_completions(state);
}

static void on_completions(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	(void)take_completions(ctx);
}

/* The limit lets more through, or is another one now. */
static void on_limit_timer(evutil_socket_t fd, short what, void *ctx)
{
	struct blk_device *b = ctx;
	uint32_t i;

	(void)fd;
	(void)what;
	for (i = 0; i < b->n_queues; i++) {
		device_queue_set_idle(b->dev, i, false);
		if (device_queue_is_open(b->dev, i))
			device_kick_again(b->dev, i);
	}
}

static void blk_adjust(void *state, const struct message_adjust *adjust)
{
	struct blk_device *b = state;

	rate_limit_set(&b->limit, &adjust->limits, clock_now_ns());
	(void)evtimer_del(b->limit_timer);
	event_active(b->limit_timer, EV_TIMEOUT, 1);
}

static int blk_start(void *state, struct device *dev, struct event_base *base)
{
	struct blk_device *b = state;
	int r;

	b->dev = dev;
	r = blk_engine_init(&b->engine, &b->disk, &b->ring, on_done, b);
	if (r < 0)
		return r;
	rate_limit_set(&b->limit, &b->limits_configured, clock_now_ns());
	b->limit_timer = evtimer_new(base, on_limit_timer, b);
	if (!b->limit_timer)
		return -ENOMEM;
	b->completions = event_new(base, blk_engine_fd(&b->engine), EV_READ | EV_PERSIST,
				   on_completions, b);
	if (!b->completions || event_add(b->completions, NULL) < 0)
		return -ENOMEM;
	return 0;
}

static void blk_set_features(void *state, uint64_t features)
{
	struct blk_device *b = state;

	b->limits.has_discard = features & FEATURE(VIRTIO_BLK_F_DISCARD);
	b->limits.has_write_zeroes = features & FEATURE(VIRTIO_BLK_F_WRITE_ZEROES);
	/* §5.2.6.2: a driver that cannot flush expects every write to be stable when it is done. */
	b->engine.is_write_through = !(features & FEATURE(VIRTIO_BLK_F_FLUSH));
}

const struct device_ops blk_device_ops = {
	.name = "blk",
	.type = DEVICE_TYPE_BLK,
	.profile = &profile,
	.is_sealed_early = true,
	.is_concurrent = true,
	.open = blk_open,
	.start = blk_start,
	.set_features = blk_set_features,
	.kick = blk_kick,
	.poll_is_useful = blk_poll_is_useful,
	.adjust = blk_adjust,
	.look = blk_look,
};
