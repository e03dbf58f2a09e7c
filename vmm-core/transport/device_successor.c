/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One process of a device after the other: those that ended, those that are being made ready while
 * their predecessor serves, those that wait for a debugger, and the question whether one is alive.
 * Runs in the core, on the event loop but for link_await_end().
 */
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "ipc/clock.h"
#include "vmm-core/transport/device_link_internal.h"

/* --- those that ended --- */

int link_await_end(struct device_link *link)
{
	uint64_t deadline_ms = clock_now_ms() + link->request_deadline_ms;
	struct timespec until = {
		.tv_sec = (time_t)(deadline_ms / 1000u),
		.tv_nsec = (long)(deadline_ms % 1000u) * 1000000,
	};

	while (link->phase == LINK_FAILED && !link->is_gone) {
		if (pthread_cond_timedwait(&link->cond, &link->lock, &until) != 0) {
			/* What it has under way may still land in memory that the guest reuses. */
			link->is_unfenced = true;
			return DEVICE_LINK_GONE;
		}
	}
	return 0;
}

void device_link_give_up(struct device_link *link)
{
	(void)pthread_mutex_lock(&link->lock);
	link->is_given_up = link->phase == LINK_FAILED && link->is_gone;
	(void)pthread_mutex_unlock(&link->lock);
}

bool device_link_is_usable(struct device_link *link)
{
	bool is_usable;

	(void)pthread_mutex_lock(&link->lock);
	is_usable = link_is_up(link) || link_is_coming(link);
	(void)pthread_mutex_unlock(&link->lock);
	return is_usable;
}

bool device_link_is_dying(struct device_link *link)
{
	bool is_dying;

	(void)pthread_mutex_lock(&link->lock);
	is_dying = link->phase == LINK_FAILED && !link->is_gone;
	(void)pthread_mutex_unlock(&link->lock);
	return is_dying;
}

bool device_link_hung_up(struct device_link *link)
{
	bool has_hung_up;

	(void)pthread_mutex_lock(&link->lock);
	has_hung_up = link->phase == LINK_FAILED && link->has_hung_up;
	(void)pthread_mutex_unlock(&link->lock);
	return has_hung_up;
}

void device_link_absolve(struct device_link *link, bool is_blameless)
{
	(void)pthread_mutex_lock(&link->lock);
	link->is_blameless = is_blameless;
	(void)pthread_mutex_unlock(&link->lock);
}

/* --- those that wait for a debugger --- */

void device_link_wait_on(struct device_link *link)
{
	(void)pthread_mutex_lock(&link->lock);
	link->traced_until_ms = clock_now_ms() + link->request_deadline_ms;
	(void)pthread_mutex_unlock(&link->lock);
}

void device_link_hold(struct device_link *link)
{
	(void)pthread_mutex_lock(&link->lock);
	if (link->phase == LINK_WAIT_HELLO)
		link->is_held = link->is_patient = true;
	(void)pthread_mutex_unlock(&link->lock);
}

void device_link_release(struct device_link *link)
{
	(void)pthread_mutex_lock(&link->lock);
	link->is_held = false;
	if (link->phase == LINK_HELD)
		link_send_setup(link);
	(void)pthread_mutex_unlock(&link->lock);
}

/* --- those that are made ready meanwhile --- */

int device_link_offer(struct device_link *link, struct device_link *next, int fd,
		      uint32_t generation)
{
	/* Nothing of this changes once the first process has said HELLO; `now` is not used. */
	(void)pthread_mutex_lock(&next->lock);
	next->is_candidate = next->identified = true;
	next->slot = link->slot;
	next->iommu = link->iommu;
	next->type = link->type;
	next->features = link->features;
	next->n_queues = link->n_queues;
	next->queue_size_max = link->queue_size_max;
	next->state_size = link->state_size;
	next->page = link->page;
	next->page_fd = link->page_fd;
	next->config = link->config;
	next->config.written = false;
	(void)pthread_mutex_unlock(&next->lock);
	return device_link_attach(next, fd, generation);
}

/* The channel leaves @next, which is as good as new afterwards. */
static struct channel *take_channel(struct device_link *next)
{
	struct channel *channel = next->channel;

	(void)epoll_ctl(next->epoll_fd, EPOLL_CTL_DEL, channel_fd(channel), NULL);
	next->channel = NULL;
	next->phase = LINK_EMPTY;
	next->pending = 0;
	link_set_deadline(next, 0);
	return channel;
}

int device_link_adopt(struct device_link *link, struct device_link *next)
{
	struct epoll_event watch = { .events = EPOLLIN };
	bool is_held;
	int r = -EBUSY;

	(void)pthread_mutex_lock(&next->lock);
	(void)pthread_mutex_lock(&link->lock);
	is_held = next->phase == LINK_HELD;
	if ((is_held || next->phase == LINK_READY) && link->channel == NULL) {
		link->channel = take_channel(next);
		link->generation = next->generation;
		link->next_seq = 1;
		link->ping_seq = link->n_silent = 0;
		link->traced_until_ms = 0;
		link->touched = link->has_hung_up = link->is_gone = link->is_given_up = false;
		link->is_held = next->is_held;
		link->is_patient = next->is_patient;
		link->n_unsolicited = 0;
		link->phase = is_held ? LINK_HELD : LINK_READY;
		__atomic_store_n(&link->page->header.generation, link->generation,
				 __ATOMIC_RELEASE);
		link_config_succeed(link, next->config.device);
		r = epoll_ctl(link->epoll_fd, EPOLL_CTL_ADD, channel_fd(link->channel), &watch);
		if (r < 0)
			link_fail(link, "its channel cannot be watched");
		else if (!is_held)
			link_resume_begin(link);
		r = 0;
	}
	(void)pthread_mutex_unlock(&link->lock);
	(void)pthread_mutex_unlock(&next->lock);
	return r;
}

int device_link_drain(struct device_link *link, bool on)
{
	int r = DEVICE_LINK_GONE;

	(void)pthread_mutex_lock(&link->lock);
	if (link->phase == LINK_READY)
		r = link->paused ? 0 : link_request(link, on ? MESSAGE_PAUSE : MESSAGE_RESUME);
	(void)pthread_mutex_unlock(&link->lock);
	return r;
}

/* --- is it alive? --- */

bool device_link_heartbeat(struct device_link *link, uint32_t n, bool is_late)
{
	bool is_silent = false;
	uint64_t beat;

	(void)pthread_mutex_lock(&link->lock);
	if (link->phase != LINK_READY || link->batch.busy) {
		link->n_silent = 0;
	} else {
		beat = __atomic_load_n(&link->page->header.heartbeat, __ATOMIC_RELAXED);
		if (beat != link->last_heartbeat)
			link->n_silent = 0;
		else if (!is_late && link->n_silent < n)
			link->n_silent++;
		link->last_heartbeat = beat;
		is_silent = link->n_silent >= n && link->ping_seq != 0;
		if (link->n_silent >= n / 2 && link->ping_seq == 0) {
			link->n_silent = n / 2; /* it has the other half from now on */
			link_ping(link);
		}
	}
	(void)pthread_mutex_unlock(&link->lock);
	return is_silent;
}
