/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Life of a device link: attaching a process, receiving from it, failing it. Runs in the core, on
 * the event loop and on vCPU threads. Everything received comes from a process that may be
 * compromised.
 *
 * DOC: Why nobody waits for ever
 *
 * There is one lock. Whoever holds it sends and receives without blocking, so it is only ever
 * held for a short time; it is innermost, for upcalls are made after it was dropped.
 *
 * A request (device_request.c) may be made on any thread, the event loop's included (a machine
 * reset runs there), and no reply may depend on the event loop being free. So the requesting
 * thread itself receives: it marks the link as pumping, drops the lock, polls the channel until
 * its deadline, takes the lock, receives, and looks whether its replies are complete. Then it
 * fails the link or not, but it leaves.
 *
 * One thread at a time has requests on their way, the owner of the batch. Others sleep on the
 * condition until it is their turn. The owner waits for nothing but the device and its deadline,
 * and broadcasts when it leaves, so the sleepers wait for no longer than owners were before them
 * (two at most: a vCPU under the transport's lock, and the event loop). The take-over of a
 * successor is a batch that belongs to no thread: the event loop receives its replies and has
 * armed its deadline, but a thread that waits for its turn meanwhile does both itself, for it may
 * be the event loop.
 *
 * While one thread pumps, nobody else receives, or a reply could vanish behind the back of the
 * one that polls. The event loop, woken by the same message, comes by, leaves it alone, and may
 * have to come by again until the pump has run. What a pumping vCPU thread receives besides its
 * replies, or condemns, is left as a pending upcall, and the alarm wakes the event loop.
 *
 * A failure shuts the socket down, which ends the poll() at once; that is why device_link_detach()
 * may wait for the pump to leave before it closes the fd.
 */
#include "vmm-core/transport/device_link.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include "ipc/clock.h"
#include "vmm-core/transport/device_link_internal.h"

static void alarm_set(struct device_link *link, uint64_t at_ms)
{
	struct itimerspec when = {
		.it_value = { .tv_sec = (time_t)(at_ms / 1000u),
			      .tv_nsec = (long)(at_ms % 1000u) * 1000000 },
	};

	if (link->is_alarm_late)
		return; /* make_upcalls() follows at once and sets it; one in the past costs 40 us */
	/* cannot fail: the fd is ours and the time is normalised; 0 disarms */
	(void)timerfd_settime(link->alarm_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

void link_set_deadline(struct device_link *link, uint64_t deadline_ms)
{
	link->deadline_ms = deadline_ms;
	alarm_set(link, link->pending != 0 ? 1 : deadline_ms);
}

void link_raise(struct device_link *link, uint32_t pending)
{
	link->pending |= pending;
	alarm_set(link, 1); /* long past: rings at once */
}

void link_fail(struct device_link *link, const char *fmt, ...)
{
	va_list args;

	if (link->phase == LINK_EMPTY || link->phase == LINK_FAILED)
		return;
	va_start(args, fmt);
	(void)vsnprintf(link->reason, sizeof(link->reason), fmt, args);
	va_end(args);
	link->phase = LINK_FAILED;
	link->epoch++;
	link->batch = (struct link_batch){ .busy = false };
	link->deadline_ms = 0;
	/* A closed socket is readable for ever: the event loop must not watch it any longer. */
	(void)epoll_ctl(link->epoll_fd, EPOLL_CTL_DEL, channel_fd(link->channel), NULL);
	(void)shutdown(channel_fd(link->channel), SHUT_RDWR);
	link->pending &= ~LINK_PENDING_READY;
	link_raise(link, LINK_PENDING_FAILED);
	(void)pthread_cond_broadcast(&link->cond);
}

static void link_hang_up(struct device_link *link)
{
	link->has_hung_up = true;
	link_fail(link, "closed its channel");
}

struct message link_message(const struct device_link *link, enum message_type type)
{
	return (struct message){ .type = type, .generation = link->generation };
}

int link_send(struct device_link *link, const struct message *m, const struct fdset *fds)
{
	int r = channel_send(link->channel, m, fds);

	if (r == 0)
		return 0;
	if (r == -EAGAIN)
		link_fail(link, "does not read its messages");
	else if (r < 0)
		link_fail(link, "sending %s: %s", message_type_name(m->type), strerror(-r));
	else
		link_hang_up(link);
	return DEVICE_LINK_GONE;
}

static int on_device_failed(void *ctx, const struct message *m, struct fdset *fds)
{
	(void)fds;
	link_fail(ctx, "%s", m->failed.text);
	return 0;
}

static int on_needs_reset(void *ctx, const struct message *m, struct fdset *fds)
{
	struct device_link *link = ctx;

	(void)m;
	(void)fds;
	link->events->needs_reset(link->ctx);
	return 0;
}

static int on_endpoint_stalled(void *ctx, const struct message *m, struct fdset *fds)
{
	struct device_link *link = ctx;

	(void)fds;
	if (link->iommu == NULL || link_is_behind_iommu(link))
		return CHANNEL_PEER_BAD; /* not the IOMMU */
	link->events->endpoint_stalled(link->ctx, m->endpoint.slot);
	return 0;
}

#define IN_STATE(phase) (1u << (phase))
#define IN_UP (IN_STATE(LINK_RESUMING) | IN_STATE(LINK_READY))
#define IN_START (IN_STATE(LINK_WAIT_HELLO) | IN_STATE(LINK_WAIT_READY))

static const struct message_rule device_rules[] = {
	{ MESSAGE_HELLO, IN_STATE(LINK_WAIT_HELLO), link_on_hello },
	{ MESSAGE_READY, IN_STATE(LINK_WAIT_READY), link_on_ready },
	{ MESSAGE_REPLY, IN_UP, link_on_reply },
	{ MESSAGE_CONFIG_CHANGED, IN_UP, link_on_config_changed },
	{ MESSAGE_NEEDS_RESET, IN_UP, on_needs_reset },
	{ MESSAGE_ENDPOINT_STALLED, IN_UP, on_endpoint_stalled },
	{ MESSAGE_DEVICE_FAILED, IN_START | IN_UP, on_device_failed },
	{ MESSAGE_NONE, 0, NULL },
};

/*
 * Replies are bounded by the requests; everything else has a budget. A guest may break its queues
 * as often as it likes, and must not get the device process killed for it, so one NEEDS_RESET per
 * queue and activation is free.
 */
static bool is_flood(struct device_link *link, const struct message *m)
{
	uint64_t now = clock_now_ms();

	if (m->type == MESSAGE_REPLY)
		return false;
	if (m->type == MESSAGE_NEEDS_RESET && link->n_needs_reset < link->n_queues) {
		link->n_needs_reset++;
		return false;
	}
	if (now - link->unsolicited_since_ms >= LINK_UNSOLICITED_WINDOW_MS) {
		link->unsolicited_since_ms = now;
		link->n_unsolicited = 0;
	}
	return ++link->n_unsolicited > LINK_UNSOLICITED_MAX;
}

static void take_message(struct device_link *link, const struct message *m, struct fdset *fds)
{
	int r;

	if (m->generation != link->generation) {
		/* The channel is this process's alone, so it is not a late message of another. */
		link_fail(link, "%s of generation %u instead of %u", message_type_name(m->type),
			  m->generation, link->generation);
		return;
	}
	if (is_flood(link, m)) {
		link_fail(link, "more than %u messages per second", LINK_UNSOLICITED_MAX);
		return;
	}
	r = message_dispatch(device_rules, link->phase, link, m, fds);
	if (r != 0) /* a handler that knows more has failed the link already */
		link_fail(link, "%s is not permitted now", message_type_name(m->type));
}

void link_receive(struct device_link *link)
{
	for (uint32_t i = 0; i < LINK_RECEIVE_BUDGET; i++) {
		cleanup_fdset struct fdset fds = FDSET_EMPTY;
		struct message m;
		int r;

		if (link->phase == LINK_EMPTY || link->phase == LINK_FAILED)
			return;
		r = channel_receive(link->channel, &m, &fds);
		if (r == CHANNEL_EMPTY)
			return;
		if (r == 0)
			take_message(link, &m, &fds);
		else if (r == CHANNEL_CLOSED)
			link_hang_up(link);
		else if (r == CHANNEL_PEER_BAD)
			link_fail(link, "%s", channel_fault(link->channel));
		else
			link_fail(link, "receiving: %s", strerror(r < 0 ? -r : EPROTO));
	}
}

/* Takes the lock and drops it; then calls, so that an upcall may use every function of the link. */
static void make_upcalls(struct device_link *link)
{
	char reason[MESSAGE_TEXT_MAX];
	uint32_t pending;

	(void)pthread_mutex_lock(&link->lock);
	pending = link->pending;
	link->pending = 0;
	memcpy(reason, link->reason, sizeof(reason));
	alarm_set(link, link->deadline_ms);
	(void)pthread_mutex_unlock(&link->lock);

	if (pending & LINK_PENDING_READY)
		link->events->ready(link->ctx, link);
	if (pending & LINK_PENDING_CONFIG)
		link->events->config_changed(link->ctx, link);
	if (pending & LINK_PENDING_FAILED)
		link->events->failed(link->ctx, link, reason);
}

void device_link_give_time(struct device_link *link)
{
	(void)pthread_mutex_lock(&link->lock);
	if (link->phase == LINK_WAIT_HELLO || link->phase == LINK_WAIT_READY)
		link_set_deadline(link, clock_now_ms() + link->start_deadline_ms);
	(void)pthread_mutex_unlock(&link->lock);
}

void device_link_on_readable(struct device_link *link)
{
	uint64_t rings;
	ssize_t n = read(link->alarm_fd, &rings, sizeof(rings)); /* only to make it quiet */

	(void)n;
	(void)pthread_mutex_lock(&link->lock);
	link->is_alarm_late = true;
	if (!link->pumping)
		link_receive(link);
	if (link->deadline_ms != 0 && clock_now_ms() >= link->deadline_ms)
		link_fail(link, "did not become ready in time");
	link->is_alarm_late = false;
	(void)pthread_mutex_unlock(&link->lock);
	make_upcalls(link);
}

void device_link_condemn(struct device_link *link, const char *reason)
{
	(void)pthread_mutex_lock(&link->lock);
	link_fail(link, "%s", reason);
	(void)pthread_mutex_unlock(&link->lock);
}

/* Takes @fd; the channel is closed again when it cannot be watched. */
static int open_channel(struct device_link *link, int fd)
{
	struct epoll_event watch = { .events = EPOLLIN };
	struct channel *channel;
	int r = channel_new(fd, &channel);

	if (r != 0)
		return r;
	if (epoll_ctl(link->epoll_fd, EPOLL_CTL_ADD, channel_fd(channel), &watch) < 0) {
		r = -errno;
		channel_free(channel);
		return r;
	}
	link->channel = channel;
	return 0;
}

int device_link_attach(struct device_link *link, int fd, uint32_t generation)
{
	int r = -EBUSY;

	(void)pthread_mutex_lock(&link->lock);
	if (link->channel != NULL)
		(void)fd_close(fd);
	else
		r = open_channel(link, fd);
	if (r == 0) {
		link->generation = generation;
		link->phase = LINK_WAIT_HELLO;
		link->next_seq = 1;
		link->ping_seq = link->n_silent = 0;
		link->traced_until_ms = 0;
		link->touched = link->is_held = link->is_patient = false;
		link->has_hung_up = link->is_gone = link->is_given_up = false;
		link->n_unsolicited = 0;
		link_set_deadline(link, clock_now_ms() + link->start_deadline_ms);
	}
	(void)pthread_mutex_unlock(&link->lock);
	return r;
}

void device_link_detach(struct device_link *link, const char *reason)
{
	(void)pthread_mutex_lock(&link->lock);
	link->is_alarm_late = true;
	link_fail(link, "%s", reason);
	link->is_alarm_late = false;
	while (link->pumping) /* its poll() ended with the socket; see the top of this file */
		(void)pthread_cond_wait(&link->cond, &link->lock);
	link->channel = channel_free(link->channel);
	link->is_gone = true;
	link->is_unfenced = false;
	(void)pthread_cond_broadcast(&link->cond);
	(void)pthread_mutex_unlock(&link->lock);
	make_upcalls(link);
}

static int init_waiting(struct device_link *link)
{
	pthread_condattr_t attr;
	int r = pthread_mutex_init(&link->lock, NULL);

	if (r != 0)
		return -r;
	r = pthread_condattr_init(&attr);
	if (r == 0) {
		r = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
		if (r == 0)
			r = pthread_cond_init(&link->cond, &attr);
		(void)pthread_condattr_destroy(&attr);
	}
	if (r != 0)
		(void)pthread_mutex_destroy(&link->lock);
	return -r;
}

static int init_fds(struct device_link *link)
{
	struct epoll_event watch = { .events = EPOLLIN };

	link->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (link->epoll_fd < 0)
		return -errno;
	link->alarm_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (link->alarm_fd < 0 ||
	    epoll_ctl(link->epoll_fd, EPOLL_CTL_ADD, link->alarm_fd, &watch) < 0)
		return -errno;
	return 0;
}

int device_link_new(uint32_t slot, enum device_type type, const struct guest_memory *gm,
		    const struct device_link_events *events, void *ctx, struct device_link **ret)
{
	struct device_link *link = calloc(1, sizeof(*link));
	int r;

	if (link == NULL)
		return -ENOMEM;
	link->slot = slot;
	link->type = type;
	link->gm = gm;
	link->events = events;
	link->ctx = ctx;
	link->request_deadline_ms = DEVICE_REQUEST_DEADLINE_MS;
	link->start_deadline_ms = DEVICE_START_DEADLINE_MS;
	link->epoll_fd = link->alarm_fd = link->page_fd = -1;
	r = init_waiting(link);
	if (r != 0) {
		free(link);
		return r;
	}
	r = init_fds(link);
	if (r != 0) {
		device_link_free(link);
		return r;
	}
	*ret = link;
	return 0;
}

void device_link_set_iommu(struct device_link *link, const struct device_link_iommu *iommu)
{
	link->iommu = iommu;
}

struct device_link *device_link_free(struct device_link *link)
{
	if (link == NULL)
		return NULL;
	channel_free(link->channel);
	device_page_unmap(link->page, link_page_shape(link));
	fd_close(link->page_fd);
	fd_close(link->alarm_fd);
	fd_close(link->epoll_fd);
	(void)pthread_cond_destroy(&link->cond);
	(void)pthread_mutex_destroy(&link->lock);
	free(link);
	return NULL;
}

int device_link_fd(const struct device_link *link)
{
	return link->epoll_fd;
}

uint32_t device_link_slot(const struct device_link *link)
{
	return link->slot;
}

enum device_type device_link_type(const struct device_link *link)
{
	return link->type;
}

const struct guest_memory *device_link_memory(const struct device_link *link)
{
	return link->gm;
}

enum device_link_state device_link_get_state(struct device_link *link)
{
	static const enum device_link_state states[] = {
		[LINK_EMPTY] = DEVICE_LINK_EMPTY,
		[LINK_WAIT_HELLO] = DEVICE_LINK_STARTING,
		[LINK_HELD] = DEVICE_LINK_HELD,
		[LINK_WAIT_READY] = DEVICE_LINK_STARTING,
		[LINK_RESUMING] = DEVICE_LINK_STARTING,
		[LINK_READY] = DEVICE_LINK_READY,
		[LINK_FAILED] = DEVICE_LINK_FAILED,
	};
	enum device_link_state state;

	(void)pthread_mutex_lock(&link->lock);
	state = states[link->phase];
	(void)pthread_mutex_unlock(&link->lock);
	return state;
}
