/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-iommu: requests one after the other, faults as they come. bulkhead-iommu. Hostile: the
 * guest behind the queues, the devices that raise faults and say what they use.
 *
 * A request is done at once and answered when it is settled (iommu_map.h), which mostly it is; if
 * not, it waits here, and the requests behind it in the queue. A device that does not let go within
 * STALLED_MS is reported to the core, which has it killed and then clears its page; should even
 * that not come about, the request fails and so does every later one: nothing is promised to the
 * guest that is not so.
 */
#include "device-procs/iommu/iommu_device.h"

#include <endian.h>
#include <event2/event.h>
#include <linux/virtio_iommu.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>

#include "device-procs/common/spans.h"
#include "device-procs/iommu/iommu_map.h"
#include "device-procs/iommu/iommu_request.h"
#include "ipc/clock.h"
#include "ipc/log.h"
#include "sandbox/filters.h"

#define REQUESTS 0u /* queues, §5.13.2 */
#define EVENTS 1u
#define QUEUE_SIZE 256u
#define BATCH 64u /* requests, or faults, before other events get their turn */
#define SPIN_NS 20000u /* a device is in a section for less, if it runs */
#define POLL_US 500
#define STALLED_MS 1000u
#define GIVE_UP_MS 1800u /* below DEVICE_REQUEST_DEADLINE_MS: a reset must not wait longer */

#define FEATURE(bit) (UINT64_C(1) << (bit))

/* The request that is done but not settled. */
struct pending {
	bool is_active, was_reported;
	uint16_t head;
	uint8_t status;
	struct iommu_request request;
	uint32_t n_writable;
	struct span writable[IOMMU_SPANS_MAX];
	uint64_t since_ms;
};

struct iommu_device {
	struct device *dev;
	const struct device_iommu_host *host;
	struct iommu_map *map;
	uint64_t seed;
	bool is_adopted; /* nothing is written to the table before: a predecessor may be at work */
	bool has_bypass; /* VIRTIO_IOMMU_F_BYPASS_CONFIG was negotiated */
	struct event *poll, *faults;
	uint32_t first_fault; /* endpoint whose faults go first: one that raises many is not always it */
	struct pending pending;
	struct span spans[IOMMU_SPANS_MAX];
};

static const struct sandbox_profile profile = {
	.name = "iommu",
	.filter = &iommu_filter,
	/* 0 to 3, faults, epoll and its pipe, spare ones while starting, kick and call */
	.max_fds = 32,
	.max_threads = 1,
};

static void fill_config(struct device_offer *offer)
{
	/*
	 * One page size. More would be hints, and make Linux cut a range at every address that is
	 * aligned to a larger one, into requests that cost more than they save here.
	 */
	const struct virtio_iommu_config c = {
		.page_size_mask = htole64(UINT64_C(1) << IOMMU_PAGE_SHIFT),
		.input_range.end = htole64(IOMMU_INPUT_LAST),
		.domain_range.end = htole32(IOMMU_DOMAIN_LAST),
		.probe_size = htole32(IOMMU_PROBE_BYTES),
		.bypass = 1,
	};

	offer->config_len = sizeof(c);
	memcpy(offer->config, &c, sizeof(c));
	offer->config_writable_len = offsetof(struct virtio_iommu_config, bypass) + 1;
	offer->config_writable[offsetof(struct virtio_iommu_config, bypass)] = 1;
}

static int iommu_open(const struct message_device_start *start, struct fdset *fds,
		      void **ret_state, struct device_offer *offer, char *text)
{
	cleanup_free struct iommu_device *d = calloc(1, sizeof(*d));

	(void)fds;
	(void)text;
	if (!d)
		return -ENOMEM;
	if (start->n_fds != 0)
		return -EBADF;
	if (getrandom(&d->seed, sizeof(d->seed), 0) != sizeof(d->seed))
		return -errno;
	offer->features = FEATURE(VIRTIO_IOMMU_F_INPUT_RANGE) |
			  FEATURE(VIRTIO_IOMMU_F_DOMAIN_RANGE) |
			  FEATURE(VIRTIO_IOMMU_F_MAP_UNMAP) | FEATURE(VIRTIO_IOMMU_F_PROBE) |
			  FEATURE(VIRTIO_IOMMU_F_BYPASS_CONFIG);
	offer->n_queues = 2;
	offer->queue_size_max = QUEUE_SIZE;
	offer->state_size = sizeof(uint32_t);
	fill_config(offer);
	*ret_state = ptr_steal(d);
	return 0;
}

/* --- requests --- */

static uint8_t apply(struct iommu_device *d, const struct iommu_operation *op)
{
	switch (op->type) {
	case VIRTIO_IOMMU_T_ATTACH:
		return iommu_map_attach(d->map, op->domain, op->endpoint, op->flags);
	case VIRTIO_IOMMU_T_DETACH:
		return iommu_map_detach(d->map, op->domain, op->endpoint);
	case VIRTIO_IOMMU_T_MAP:
		return iommu_map_map(d->map, op->domain, op->start, op->last, op->phys, op->flags);
	case VIRTIO_IOMMU_T_UNMAP:
		return iommu_map_unmap(d->map, op->domain, op->start, op->last);
	default: /* PROBE */
		return iommu_map_slot(d->map, op->endpoint) < IOMMU_ENDPOINTS_MAX ?
			       VIRTIO_IOMMU_S_OK :
			       VIRTIO_IOMMU_S_NOENT;
	}
}

static void answer(struct iommu_device *d, uint16_t head, const struct iommu_request *q,
		   const struct span *writable, uint32_t n, uint8_t status)
{
	uint32_t len = iommu_request_answer(q, writable, n, status);

	device_count(d->dev, status == VIRTIO_IOMMU_S_OK ? DEVICE_COUNTER_WRITES :
							   DEVICE_COUNTER_ERRORS, 1);
	virtqueue_push(device_virtqueue(d->dev, REQUESTS), head, len);
	iommu_map_end(d->map);
}

static bool settles_soon(struct iommu_device *d)
{
	uint64_t end;

	if (iommu_map_is_settled(d->map))
		return true;
	end = clock_now_ns() + SPIN_NS;
	do {
		__builtin_ia32_pause();
		if (iommu_map_is_settled(d->map))
			return true;
	} while (clock_now_ns() < end);
	return false;
}

static void poll_later(struct iommu_device *d)
{
	static const struct timeval after = { .tv_usec = POLL_US };

	if (event_add(d->poll, &after) < 0)
		device_fail(d->dev, "out of memory");
}

static void wait_for_devices(struct iommu_device *d, const struct virtqueue_chain *chain,
			     const struct iommu_request *q, uint8_t status)
{
	struct pending *p = &d->pending;

	p->is_active = true;
	p->was_reported = false;
	p->head = chain->head;
	p->status = status;
	p->request = *q;
	p->n_writable = chain->n_spans - chain->n_readable;
	memcpy(p->writable, chain->spans + chain->n_readable,
	       p->n_writable * sizeof(p->writable[0]));
	p->since_ms = clock_now_ms();
	poll_later(d);
}

static void handle(struct iommu_device *d, const struct virtqueue_chain *chain)
{
	struct iommu_request q;
	uint8_t status;
	int r;

	if (chain->n_spans > chain->n_readable)
		span_write_soon(&chain->spans[chain->n_readable]);
	r = iommu_request_parse(chain, d->has_bypass, &q, &status);
	if (r == IOMMU_REQUEST_NO_ANSWER) {
		device_count(d->dev, DEVICE_COUNTER_BAD_REQUESTS, 1);
		virtqueue_push(device_virtqueue(d->dev, REQUESTS), chain->head, 0);
		return;
	}
	if (r == 0 && !settles_soon(d))
		status = VIRTIO_IOMMU_S_DEVERR; /* an earlier one was given up */
	else if (r == 0) {
		iommu_map_begin(d->map, &q.op);
		status = apply(d, &q.op);
	}
	if (r == 0 && status == VIRTIO_IOMMU_S_OK && !settles_soon(d))
		wait_for_devices(d, chain, &q, status);
	else
		answer(d, chain->head, &q, chain->spans + chain->n_readable,
		       chain->n_spans - chain->n_readable, status);
}

/* Return: 0: more may be there, or one waits; VIRTQUEUE_EMPTY; VIRTQUEUE_BROKEN */
static int take_batch(struct iommu_device *d, struct virtqueue *vq)
{
	struct virtqueue_chain chain = { .spans = d->spans, .n_spans_max = IOMMU_SPANS_MAX };
	uint32_t i;

	for (i = 0; i < BATCH && !d->pending.is_active; i++) {
		int r = virtqueue_pop(vq, &chain);

		if (r == VIRTQUEUE_EMPTY &&
		    (device_is_polling(d->dev) || !virtqueue_enable_notify(vq)))
			return VIRTQUEUE_EMPTY;
		if (r == VIRTQUEUE_BROKEN)
			return r;
		if (r == 0)
			handle(d, &chain);
	}
	return 0;
}

static void take_requests(struct iommu_device *d)
{
	struct virtqueue *vq = device_virtqueue(d->dev, REQUESTS);
	int r;

	if (virtqueue_fault(vq) || d->pending.is_active)
		return;
	virtqueue_disable_notify(vq);
	r = take_batch(d, vq);
	if (r == VIRTQUEUE_BROKEN)
		device_queue_broke(d->dev, REQUESTS);
	else if (r == 0 && !d->pending.is_active)
		device_kick_again(d->dev, REQUESTS);
	device_publish(d->dev, REQUESTS);
}

static void finish_pending(struct iommu_device *d, uint8_t status)
{
	struct pending *p = &d->pending;

	p->is_active = false;
	answer(d, p->head, &p->request, p->writable, p->n_writable, status);
	device_publish(d->dev, REQUESTS);
	device_kick_again(d->dev, REQUESTS);
}

static void report(struct iommu_device *d)
{
	uint32_t i;

	d->pending.was_reported = true;
	for (i = 0; i < d->host->n; i++) {
		uint32_t slot = d->host->endpoints[i].slot;

		if (!iommu_map_waits_for(d->map, slot))
			continue;
		log_limited(LOG_LEVEL_WARNING, "endpoint %#x keeps using what was unmapped",
			    d->host->endpoints[i].id);
		device_endpoint_stalled(d->dev, slot);
	}
}

static void on_poll(evutil_socket_t fd, short what, void *ctx)
{
	struct iommu_device *d = ctx;
	struct pending *p = &d->pending;
	uint64_t waited_ms = clock_now_ms() - p->since_ms;

	(void)fd;
	(void)what;
	if (!p->is_active)
		return;
	if (iommu_map_is_settled(d->map)) {
		finish_pending(d, p->status);
	} else if (waited_ms >= GIVE_UP_MS) {
		finish_pending(d, VIRTIO_IOMMU_S_DEVERR);
	} else {
		if (waited_ms >= STALLED_MS && !p->was_reported)
			report(d);
		poll_later(d);
	}
}

/* --- faults --- */

/* Return: 0; VIRTQUEUE_EMPTY: it waits for a buffer; VIRTQUEUE_BROKEN */
static int send_fault(struct iommu_device *d, const struct device_iommu_endpoint *e,
		      const struct iommu_page_fault *f)
{
	struct virtqueue *vq = device_virtqueue(d->dev, EVENTS);
	struct virtqueue_chain chain = { .spans = d->spans, .n_spans_max = IOMMU_SPANS_MAX };
	uint32_t reason = __atomic_load_n(&f->reason, __ATOMIC_RELAXED);
	uint32_t flags = __atomic_load_n(&f->flags, __ATOMIC_RELAXED);
	const struct virtio_iommu_fault event = {
		.reason = reason <= VIRTIO_IOMMU_FAULT_R_MAPPING ? (uint8_t)reason : 0,
		.flags = htole32((flags & (IOMMU_READ | IOMMU_WRITE)) |
				 VIRTIO_IOMMU_FAULT_F_ADDRESS),
		.endpoint = htole32(e->id),
		.address = htole64(__atomic_load_n(&f->address, __ATOMIC_RELAXED)),
	};
	uint32_t i;

	/* A buffer that is too small is given back; the next may do. */
	for (i = 0; i < QUEUE_SIZE; i++) {
		int r = virtqueue_pop(vq, &chain);
		bool is_sent;

		if (r != 0)
			return r;
		is_sent = !chain.is_poisoned &&
			  spans_copy_out(chain.spans + chain.n_readable,
					 chain.n_spans - chain.n_readable, 0, &event,
					 sizeof(event)) == sizeof(event);
		virtqueue_push(vq, chain.head, is_sent ? sizeof(event) : 0);
		if (is_sent)
			return 0;
	}
	return VIRTQUEUE_EMPTY;
}

static int take_faults(struct iommu_device *d, const struct device_iommu_endpoint *e)
{
	uint32_t *taken = &d->host->table->endpoints[e->slot].faults_taken, n;

	for (n = 0; n < BATCH; n++) {
		uint32_t head = __atomic_load_n(&e->page->fault_head, __ATOMIC_ACQUIRE);
		int r;

		if (head == *taken)
			return 0;
		if (head - *taken > IOMMU_FAULTS) { /* not written by iommu_client.c */
			__atomic_store_n(taken, head, __ATOMIC_SEQ_CST);
			return 0;
		}
		log_limited(LOG_LEVEL_WARNING, "endpoint %#x: fault", e->id);
		r = send_fault(d, e, &e->page->faults[*taken % IOMMU_FAULTS]);
		if (r != 0)
			return r;
		/* Before the head is looked at again: iommu_client.c */
		__atomic_store_n(taken, *taken + 1, __ATOMIC_SEQ_CST);
	}
	device_kick_again(d->dev, EVENTS);
	return 0;
}

static void deliver_faults(struct iommu_device *d)
{
	struct virtqueue *vq = device_virtqueue(d->dev, EVENTS);
	uint32_t i;
	int r = 0;

	if (!virtqueue_is_enabled(vq) || virtqueue_fault(vq))
		return;
	for (i = 0; i < d->host->n && r == 0; i++)
		r = take_faults(d, &d->host->endpoints[d->first_fault++ % d->host->n]);
	/* Buffers are work only while a fault waits for one. */
	device_queue_set_idle(d->dev, EVENTS, r != VIRTQUEUE_EMPTY);
	if (r == VIRTQUEUE_BROKEN)
		device_queue_broke(d->dev, EVENTS);
	else if (r == VIRTQUEUE_EMPTY && virtqueue_enable_notify(vq))
		device_kick_again(d->dev, EVENTS);
	device_publish(d->dev, EVENTS);
}

static void on_faults(evutil_socket_t fd, short what, void *ctx)
{
	struct iommu_device *d = ctx;
	eventfd_t n;

	(void)what;
	(void)eventfd_read(fd, &n);
	deliver_faults(d);
}

/* --- life --- */

static int iommu_kick(void *state, uint32_t queue)
{
	struct iommu_device *d = state;

	if (queue == REQUESTS)
		take_requests(d);
	else
		deliver_faults(d);
	return 0;
}

static bool iommu_poll_is_useful(const void *state)
{
	const struct iommu_device *d = state;

	return !d->pending.is_active;
}

static int iommu_start(void *state, struct device *dev, struct event_base *base)
{
	struct iommu_device *d = state;
	uint32_t i;
	int r = 0;

	d->dev = dev;
	d->host = device_iommu_host(dev);
	d->map = iommu_map_new(d->host->table, device_memory(dev), d->seed);
	if (!d->map)
		return -ENOMEM;
	for (i = 0; i < d->host->n && r == 0; i++)
		r = iommu_map_add_endpoint(d->map, d->host->endpoints[i].slot,
					   d->host->endpoints[i].id, d->host->endpoints[i].page);
	if (r < 0)
		return r;
	d->poll = evtimer_new(base, on_poll, d);
	d->faults = event_new(base, d->host->fault_fd, EV_READ | EV_PERSIST, on_faults, d);
	return d->poll && d->faults && event_add(d->faults, NULL) == 0 ? 0 : -ENOMEM;
}

static void adopt(struct iommu_device *d)
{
	uint32_t n;

	if (d->is_adopted)
		return;
	d->is_adopted = true;
	n = iommu_map_adopt(d->map);
	if (n > 0)
		log_info("continues with %u mappings", n);
}

/*
 * §5.13.5: nobody is attached. The specification wants `bypass` to survive this, and to be what it
 * was at first after a reset of the machine; the two look the same from here, so the latter holds.
 */
static void iommu_reset(void *state)
{
	struct iommu_device *d = state;
	uint32_t i;

	adopt(d);
	iommu_map_reset(d->map);
	iommu_map_set_bypass(d->map, true);
	for (i = 0; i < d->host->n; i++) {
		const struct device_iommu_endpoint *e = &d->host->endpoints[i];

		__atomic_store_n(&d->host->table->endpoints[e->slot].faults_taken,
				 __atomic_load_n(&e->page->fault_head, __ATOMIC_ACQUIRE),
				 __ATOMIC_SEQ_CST);
	}
}

/* The state area says whether this driver has been here: it is zero after every reset. */
static void iommu_set_features(void *state, uint64_t features)
{
	struct iommu_device *d = state;
	uint32_t *is_in_use = device_state_area(d->dev);

	adopt(d);
	if (__atomic_load_n(is_in_use, __ATOMIC_RELAXED) == 0)
		iommu_reset(d);
	__atomic_store_n(is_in_use, 1, __ATOMIC_RELEASE);
	d->has_bypass = features & FEATURE(VIRTIO_IOMMU_F_BYPASS_CONFIG);
}

static void iommu_config_written(void *state, uint32_t offset, uint32_t len, const uint8_t *data)
{
	const uint32_t at = offsetof(struct virtio_iommu_config, bypass);
	struct iommu_device *d = state;

	if (offset <= at && at - offset < len)
		iommu_map_set_bypass(d->map, data[at - offset] & 1);
}

const struct device_ops iommu_device_ops = {
	.name = "iommu",
	.type = DEVICE_TYPE_IOMMU,
	.profile = &profile,
	.open = iommu_open,
	.start = iommu_start,
	.set_features = iommu_set_features,
	.kick = iommu_kick,
	.poll_is_useful = iommu_poll_is_useful,
	.reset = iommu_reset,
	.config_written = iommu_config_written,
};
