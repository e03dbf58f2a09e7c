/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The start of every device process, and its loop. See device.h for the order.
 *
 * Until READY the peers are the warden (DEVICE_START, trusted: it could do worse) and the core
 * (SETUP, checked). The guest is not heard before the loop runs.
 */
#include <event2/event.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "device-procs/common/device_internal.h"
#include "ipc/clock.h"
#include "ipc/log.h"
#include "ipc/resident.h"

#define START_DEADLINE_MS 10000u /* the warden wrote DEVICE_START before it gave the fd away */
#define SETUP_FDS_MAX (1u + GUEST_MEMORY_REGIONS_MAX + 3u) /* page, memory, the IOMMU's */
#define SETUP_SOON_MS 100u /* after that this process is a standby, and may wait for long */

#define RING_FEATURES                                                                             \
	(VIRTIO_F_INDIRECT_DESC_BIT | VIRTIO_F_EVENT_IDX_BIT | VIRTIO_F_VERSION_1_BIT)

/* Why the start failed, for the user. */
struct start_failure {
	char text[MESSAGE_TEXT_MAX];
};

static int failed(struct start_failure *f, int r, const char *fmt, ...) printf_like(3, 4);

static int failed(struct start_failure *f, int r, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(f->text, sizeof(f->text), fmt, args);
	va_end(args);
	return r;
}

static void log_to_page(void *ctx, enum log_level level, const char *line)
{
	device_page_log_write(ctx, level, line);
}

static int send_message(struct device *dev, struct message *m)
{
	int r;

	m->generation = dev->generation;
	r = channel_send(dev->channel, m, NULL);
	return r > 0 ? -EPIPE : r;
}

/* Into dev->message. */
static int receive(struct device *dev, enum message_type type, uint64_t deadline_ms,
		   struct fdset *ret_fds, struct start_failure *f)
{
	int r = channel_receive_wait(dev->channel, deadline_ms, &dev->message, ret_fds);

	if (r < 0)
		return failed(f, r, "%s: %s", message_type_name(type), strerror(-r));
	if (r == CHANNEL_CLOSED)
		return -EPIPE;
	if (r == CHANNEL_TIMEOUT)
		return failed(f, -ETIMEDOUT, "%s did not come in time", message_type_name(type));
	if (r != 0 || dev->message.type != type)
		return failed(f, -EPROTO, "%s did not come", message_type_name(type));
	return 0;
}

/* Between the steps of a start, none of which takes long, the guest's present process gets its turn. */
static void pause_if_ahead(const struct device *dev)
{
	if (dev->is_ahead)
		clock_pause();
}

/* DEVICE_START and ops->open. */
static int open_device(struct device *dev, struct start_failure *f)
{
	const struct message_device_start *start = &dev->message.device_start;
	cleanup_fdset struct fdset fds = FDSET_EMPTY;
	int r = receive(dev, MESSAGE_DEVICE_START, clock_now_ms() + START_DEADLINE_MS, &fds, f);

	if (r < 0)
		return r;
	dev->generation = dev->message.generation;
	if (start->protocol != PROTOCOL_VERSION)
		return failed(f, -EPROTO, "DEVICE_START: protocol %u, this program speaks %u",
			      start->protocol, PROTOCOL_VERSION);
	if (start->config.type != dev->ops->type)
		return failed(f, -EPROTO, "DEVICE_START: for another type of device");
	dev->slot = start->slot;
	dev->is_behind_iommu = start->config.iommu;
	dev->is_ahead = start->is_ahead;
	pause_if_ahead(dev);
	log_set_level(start->verbosity == 0 ? LOG_LEVEL_WARNING :
		      start->verbosity == 1 ? LOG_LEVEL_INFO :
					      LOG_LEVEL_DEBUG);
	dev->sandbox = (struct sandbox_params){
		.uid = start->uid, .gid = start->gid, .seccomp_log = start->seccomp_log,
		.parent_pidfd = fdset_steal(&fds, start->n_fds), /* in the order of message.h */
	};
	if (start->has_root)
		dev->sandbox.root_fd = fdset_steal(&fds, start->n_fds + 1);
	if (start->has_network)
		dev->sandbox.network_fd = fdset_steal(&fds, start->n_fds + 1 + start->has_root);
	r = dev->ops->open(start, &fds, &dev->state, &dev->offer, f->text);
	if (r < 0 && f->text[0] == '\0')
		return failed(f, r, "%s", strerror(-r));
	return r;
}

static int say_hello(struct device *dev, struct start_failure *f)
{
	struct message_hello *h = &dev->message.hello;
	int r;

	dev->message = (struct message){ .type = MESSAGE_HELLO };
	dev->features_offered = dev->offer.features | RING_FEATURES |
				(dev->is_behind_iommu ? VIRTIO_F_ACCESS_PLATFORM_BIT : 0);
	h->protocol = PROTOCOL_VERSION;
	h->type = dev->ops->type;
	h->features = dev->features_offered;
	h->n_queues = dev->offer.n_queues;
	h->queue_size_max = dev->offer.queue_size_max;
	h->state_size = dev->offer.state_size;
	h->config_len = dev->offer.config_len;
	memcpy(h->config, dev->offer.config, dev->offer.config_len);
	h->config_writable_len = dev->offer.config_writable_len;
	memcpy(h->config_writable, dev->offer.config_writable, h->config_writable_len);
	r = send_message(dev, &dev->message);
	return r < 0 ? failed(f, r, "HELLO: %s", strerror(-r)) : 0;
}

/* A standby waits as long as the VM lives, for which it should be small. */
static int receive_setup(struct device *dev, struct fdset *ret_fds, struct start_failure *f)
{
	struct pollfd p = { .fd = channel_fd(dev->channel), .events = POLLIN };

	if (!dev->ops->is_sealed_early && poll(&p, 1, SETUP_SOON_MS) == 0)
		resident_trim(); /* as the seal does */
	return receive(dev, MESSAGE_SETUP, UINT64_MAX, ret_fds, f); /* or the channel is closed */
}

static int map_memory(struct device *dev, struct start_failure *f)
{
	cleanup_fdset struct fdset fds = FDSET_EMPTY, regions = FDSET_EMPTY;
	const struct message_setup *setup = &dev->message.setup;
	uint32_t i;
	int r = receive_setup(dev, &fds, f);

	if (r < 0)
		return r;
	if (dev->message.generation != dev->generation ||
	    setup->n_queues != dev->offer.n_queues)
		return failed(f, -EPROTO, "SETUP: not for this device");
	r = device_page_map(fds.fds[0], device_page_shape(dev), &dev->page);
	if (r < 0)
		return failed(f, r, "device page: %s", strerror(-r));
	for (i = 0; i < setup->n_regions; i++) {
		r = fdset_add(&regions, fdset_steal(&fds, i + 1));
		if (r < 0)
			return failed(f, r, "guest memory: %s", strerror(-r));
	}
	r = guest_memory_map(setup->regions, setup->n_regions, &regions, &dev->gm);
	if (r < 0)
		return failed(f, r, "guest memory: %s", strerror(-r));
	r = device_iommu_setup(dev, setup, &fds);
	if (r < 0)
		return failed(f, r, "IOMMU: %s", strerror(-r));
	log_set_sink(log_to_page, dev->page);
	r = device_queues_new(dev);
	return r < 0 ? failed(f, r, "queues: %s", strerror(-r)) : 0;
}

/* One ENDPOINT for every device behind the IOMMU. */
static int map_endpoints(struct device *dev, struct start_failure *f)
{
	uint32_t i, n = dev->message.setup.n_endpoints;
	int r = 0;

	for (i = 0; i < n && r == 0; i++) {
		cleanup_fdset struct fdset fds = FDSET_EMPTY;

		r = receive(dev, MESSAGE_ENDPOINT, clock_now_ms() + START_DEADLINE_MS, &fds, f);
		if (r < 0)
			return r;
		r = device_iommu_endpoint(dev, &dev->message.endpoint, &fds);
	}
	return r < 0 ? failed(f, r, "ENDPOINT: %s", strerror(-r)) : 0;
}

static int compare_int(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

/* Only the channel, what the sandbox is entered with and the device's own fds live on. */
static int close_others(struct device *dev)
{
	int keep[FDSET_MAX + 5];
	size_t n = 0;

	keep[n++] = channel_fd(dev->channel);
	keep[n++] = dev->sandbox.parent_pidfd;
	if (dev->sandbox.root_fd != 0)
		keep[n++] = dev->sandbox.root_fd;
	if (dev->sandbox.network_fd != 0)
		keep[n++] = dev->sandbox.network_fd;
	if (dev->ops->profile->takes_folder)
		keep[n++] = dev->sandbox.folder_fd;
	memcpy(keep + n, dev->offer.keep_fds, dev->offer.n_keep_fds * sizeof(keep[0]));
	n += dev->offer.n_keep_fds;
	qsort(keep, n, sizeof(keep[0]), compare_int);
	return sandbox_close_fds(keep, n);
}

/*
 * Everything that will ever be open is, but for two eventfds per queue and the device's late ones.
 * New fds take the lowest free number, so this limit allows exactly those, wherever the free
 * numbers are.
 */
static uint64_t fd_limit(const struct device *dev)
{
	uint64_t end, limit;
	uint64_t n_open = sandbox_count_fds(dev->ops->profile->max_fds, &end);

	limit = n_open + dev->offer.n_late_fds + 2ull * dev->offer.n_queues;
	if (dev->page == NULL) {
		limit += dev->is_behind_iommu; /* the eventfd of faults */
		if (limit < n_open + SETUP_FDS_MAX)
			limit = n_open + SETUP_FDS_MAX; /* closed again once they are mapped */
	}
	return limit > end ? limit : end;
}

static int make_event_base(struct device *dev)
{
	struct event_config *config = event_config_new();

	if (!config)
		return -ENOMEM;
	if (event_config_set_flag(config, EVENT_BASE_FLAG_IGNORE_ENV | EVENT_BASE_FLAG_NOLOCK) == 0)
		dev->base = event_base_new_with_config(config);
	event_config_free(config);
	return dev->base ? device_control_init(dev) : -ENOMEM;
}

/* While the core makes the VM: nothing in here needs the memory that SETUP brings. */
static int enter_sandbox(struct device *dev, struct start_failure *f)
{
	struct sandbox_params *params = &dev->sandbox;
	const char *step = "";
	int r;

	if (dev->ops->profile->takes_folder)
		params->folder_fd = dev->offer.folder_fd;
	pause_if_ahead(dev);
	r = close_others(dev);
	if (r < 0)
		return failed(f, r, "sandbox: fds: %s", strerror(-r));
	params->file_size_max = dev->offer.file_size_max;
	r = sandbox_enter(dev->ops->profile, params, &step);
	sandbox_close_params(params);
	return r < 0 ? failed(f, r, "sandbox: %s: %s", step, strerror(-r)) : 0;
}

static int seal(struct device *dev, struct start_failure *f)
{
	int r = make_event_base(dev);

	if (r == 0)
		r = dev->ops->start(dev->state, dev, dev->base);
	if (r < 0)
		return failed(f, r, "start: %s", strerror(-r));
	resident_trim();
	dev->sandbox.max_fds = fd_limit(dev);
	r = sandbox_seal(dev->ops->profile, &dev->sandbox);
	return r < 0 ? failed(f, r, "sandbox: seccomp: %s", strerror(-r)) : 0;
}

static int start(struct device *dev, struct start_failure *f)
{
	int r = open_device(dev, f);

	if (r == 0)
		r = say_hello(dev, f);
	if (r == 0)
		r = enter_sandbox(dev, f);
	if (r == 0 && dev->ops->is_sealed_early) {
		pause_if_ahead(dev);
		r = seal(dev, f);
	}
	if (r == 0)
		r = map_memory(dev, f);
	if (r == 0)
		r = map_endpoints(dev, f);
	if (r == 0 && !dev->ops->is_sealed_early)
		r = seal(dev, f);
	if (r < 0)
		return r;
	dev->message = (struct message){ .type = MESSAGE_READY };
	r = send_message(dev, &dev->message);
	return r < 0 ? failed(f, r, "READY: %s", strerror(-r)) : 0;
}

static void loop(struct device *dev)
{
	uint64_t *heartbeat = &dev->page->header.heartbeat, n = 0;
	bool has_work = false;

	device_control_settle(dev);
	while (!dev->is_over) {
		__atomic_store_n(heartbeat, ++n, __ATOMIC_RELAXED);
		if (event_base_loop(dev->base,
				    has_work || dev->n_kick_again ? EVLOOP_NONBLOCK :
								    EVLOOP_ONCE) < 0)
			device_fail(dev, "event loop: %s", strerror(errno));
		device_queues_turn(dev);
		device_control_turn(dev);
		has_work = device_poll_turn(dev);
	}
}

int device_main(const struct device_ops *ops)
{
	struct device dev = { .ops = ops };
	struct start_failure f = { .text = "" };
	int r = channel_new(DEVICE_CHANNEL_FD, &dev.channel);

	if (r < 0) {
		fprintf(stderr, "bulkhead-%s: started by the warden only: no channel on fd %d\n",
			ops->name, DEVICE_CHANNEL_FD);
		return 1;
	}
	r = start(&dev, &f);
	if (r == -EPIPE)
		return 1; /* the core is gone, and the user hears from the warden why */
	if (r < 0) {
		log_error("%s", f.text);
		dev.message = (struct message){ .type = MESSAGE_DEVICE_FAILED };
		memcpy(dev.message.failed.text, f.text, sizeof(f.text));
		(void)send_message(&dev, &dev.message); /* best effort: the core sees the closed channel anyway */
		return 1;
	}
	loop(&dev);
	/* The kernel takes everything back; a sealed process has few calls left to do it itself. */
	return dev.exit_status;
}
