/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to a device process: sent, and answered in order, under one deadline. Runs in the core
 * on any thread; device_link.c explains the waiting. Replies are hostile input: each must carry
 * the very seq that is due, so an unsolicited, repeated, swapped or stale one is recognised by
 * that alone.
 *
 * Requests that belong together (an activation) are sent at once and then waited for together. One
 * thread at a time owns the batch; the deadline runs from the moment all of it was sent.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "ipc/clock.h"
#include "vmm-core/transport/device_link_internal.h"

static uint32_t seq_after(uint32_t seq)
{
	return seq == UINT32_MAX ? 1 : seq + 1; /* 0 says "not a request" */
}

/* One round of receiving for ourselves; the lock is dropped while the socket is polled. */
static void pump(struct device_link *link, uint64_t deadline_ms)
{
	struct pollfd channel = { .fd = channel_fd(link->channel), .events = POLLIN };

	link->pumping = true;
	(void)pthread_mutex_unlock(&link->lock);
	(void)poll(&channel, 1, clock_left_ms(deadline_ms));
	(void)pthread_mutex_lock(&link->lock);
	link->pumping = false;
	link_receive(link);
	/* for device_link_detach(), which waits for us, and await_turn(), after a take-over */
	(void)pthread_cond_broadcast(&link->cond);
}

/*
 * A debugger may have stopped it, and then the guest waits. The event loop hears whether that is so;
 * while we are the event loop, it counts what was heard before.
 * Return: the next deadline, 0: none
 */
static uint64_t wait_longer(struct device_link *link, uint64_t deadline_ms, bool *is_asked)
{
	if (link->traced_until_ms > deadline_ms) {
		*is_asked = false;
		return link->traced_until_ms;
	}
	if (*is_asked)
		return 0;
	*is_asked = true;
	link->events->overdue(link->ctx);
	return clock_now_ms() + link->request_deadline_ms / 2;
}

/* Receive until the batch is answered; the last look comes after the deadline. */
static int await_replies(struct device_link *link, uint32_t epoch, uint64_t deadline_ms)
{
	bool is_late = false, is_asked = false;

	while (link->epoch == epoch) {
		if (link->batch.n_left == 0)
			return 0;
		if (is_late)
			deadline_ms = wait_longer(link, deadline_ms, &is_asked);
		if (deadline_ms == 0) {
			link_fail(link, "did not answer in time");
			break;
		}
		is_late = clock_now_ms() >= deadline_ms;
		pump(link, deadline_ms);
	}
	return DEVICE_LINK_GONE;
}

/* Wait until nobody owns the batch. Owners leave by their deadlines and broadcast. */
static int await_turn(struct device_link *link, uint32_t epoch)
{
	while (link->epoch == epoch) {
		if (!link->batch.busy)
			return 0;
		if (link->phase == LINK_RESUMING && !link->pumping) /* a batch without a thread */
			(void)await_replies(link, epoch, link->deadline_ms);
		else
			(void)pthread_cond_wait(&link->cond, &link->lock);
	}
	return DEVICE_LINK_GONE;
}

/* Get the batch for ourselves. Return: 0; DEVICE_LINK_GONE */
static int batch_begin(struct device_link *link)
{
	int r;

	if (!link_is_up(link))
		return DEVICE_LINK_GONE;
	r = await_turn(link, link->epoch);
	if (r == 0)
		link->batch = (struct link_batch){ .busy = true, .expect_seq = link->next_seq };
	return r;
}

static int batch_send(struct device_link *link, struct message *m, const struct fdset *fds)
{
	m->seq = link->next_seq;
	link->next_seq = seq_after(link->next_seq);
	link->batch.n_left++;
	return link_send(link, m, fds);
}

/* Wait for all replies and give the batch back. Return: 0; DEVICE_LINK_GONE, DEVICE_LINK_REFUSED */
static int batch_end(struct device_link *link)
{
	int32_t error;
	int r = await_replies(link, link->epoch, clock_now_ms() + link->request_deadline_ms);

	if (r != 0)
		return r; /* whoever failed the link has cleared the batch */
	error = link->batch.error;
	link->batch.busy = false;
	(void)pthread_cond_broadcast(&link->cond);
	return error != 0 ? DEVICE_LINK_REFUSED : 0;
}

static void resume_end(struct device_link *link)
{
	char reason[MESSAGE_TEXT_MAX];

	if (link->batch.error != 0) {
		(void)snprintf(reason, sizeof(reason), "refused to take over: %s",
			       strerror(link->batch.error));
		/* First: it ends when its channel does, and how it ends says nothing. */
		link->events->refused(link->ctx, reason);
		link_fail(link, "%s", reason);
		return;
	}
	link->batch.busy = false;
	link->phase = LINK_READY;
	link_set_deadline(link, 0);
	link_raise(link, LINK_PENDING_READY);
	(void)pthread_cond_broadcast(&link->cond);
}

int link_on_reply(void *ctx, const struct message *m, struct fdset *fds)
{
	struct device_link *link = ctx;
	struct link_batch *batch = &link->batch;

	(void)fds;
	if (link->ping_seq != 0 && m->seq == link->ping_seq) {
		link->ping_seq = link->n_silent = 0;
		return 0;
	}
	if (batch->n_left == 0 || m->seq != batch->expect_seq) {
		link_fail(link, "REPLY to nothing that was asked");
		return 0;
	}
	batch->expect_seq = seq_after(batch->expect_seq);
	batch->n_left--;
	if (batch->error == 0)
		batch->error = m->reply.result;
	if (batch->n_left == 0 && link->phase == LINK_RESUMING)
		resume_end(link);
	return 0;
}

static int send_simple(struct device_link *link, enum message_type type)
{
	struct message m = link_message(link, type);

	return batch_send(link, &m, NULL);
}

static int send_queue(struct device_link *link, uint32_t index, const struct device_link_queue *q,
		      bool resume)
{
	cleanup_fdset struct fdset fds = FDSET_EMPTY;
	struct message m = link_message(link, MESSAGE_ENABLE_QUEUE);
	int r;

	m.enable_queue = (struct message_enable_queue){
		.index = index, .size = q->size, .desc = q->desc,
		.avail = q->avail, .used = q->used, .resume = resume,
		.is_blameless = resume && link->is_blameless,
	};
	r = fdset_add_dup(&fds, q->kick_fd);
	if (r == 0)
		r = fdset_add_dup(&fds, q->call_fd);
	if (r != 0) {
		link_fail(link, "ENABLE_QUEUE: %s", strerror(-r));
		return DEVICE_LINK_GONE;
	}
	return batch_send(link, &m, &fds);
}

static int send_activation(struct device_link *link, const struct link_activation *a, bool resume)
{
	struct message m = link_message(link, MESSAGE_SET_FEATURES);
	int r;

	link->touched = true;
	m.set_features.features = a->features;
	r = batch_send(link, &m, NULL);
	for (uint32_t i = 0; i < a->n && r == 0; i++) {
		if (a->queues[i].ready)
			r = send_queue(link, i, &a->queues[i], resume);
	}
	return r;
}

void link_resume_begin(struct device_link *link)
{
	int r;

	link->phase = LINK_RESUMING;
	link->batch = (struct link_batch){ .busy = true, .expect_seq = link->next_seq };
	link_set_deadline(link, link->is_patient ? 0 : clock_now_ms() + link->request_deadline_ms);
	r = link_config_replay(link);
	if (r == 0 && link->paused)
		r = send_simple(link, MESSAGE_PAUSE);
	if (r == 0 && link->activation.active)
		r = send_activation(link, &link->activation, true);
	if (r == 0 && link->batch.n_left == 0)
		resume_end(link); /* nothing to take over: a first start */
}

static int activate(struct device_link *link, const struct link_activation *a)
{
	int r = batch_begin(link);

	if (r == 0)
		r = send_activation(link, a, false);
	return r == 0 ? batch_end(link) : r;
}

int device_link_activate(struct device_link *link, uint64_t features,
			 const struct device_link_queue *queues, uint32_t n)
{
	struct link_activation a = { .features = features, .n = n };
	int r = DEVICE_LINK_GONE;

	(void)pthread_mutex_lock(&link->lock);
	if (n <= link->n_queues) {
		memcpy(a.queues, queues, n * sizeof(*queues));
		link->n_needs_reset = 0;
		r = activate(link, &a);
		/* The next process begins those queues that none has begun since the reset. */
		if (r == DEVICE_LINK_GONE && link_is_coming(link))
			r = 0;
	}
	if (r == 0) {
		link->activation = a;
		link->activation.active = true;
	}
	(void)pthread_mutex_unlock(&link->lock);
	return r;
}

int link_request(struct device_link *link, enum message_type type)
{
	int r = batch_begin(link);

	if (r == 0)
		r = send_simple(link, type);
	if (r == 0)
		r = batch_end(link);
	if (r == DEVICE_LINK_REFUSED) {
		link_fail(link, "refused %s", message_type_name(type));
		r = DEVICE_LINK_GONE;
	}
	return r;
}

/* While a process starts there is nothing to ask of it yet. Return: 0; DEVICE_LINK_GONE */
static int request_if_up(struct device_link *link, enum message_type type)
{
	if (link->phase == LINK_EMPTY || link->phase == LINK_FAILED)
		return DEVICE_LINK_GONE;
	return link_is_up(link) ? link_request(link, type) : 0;
}

/* Nothing is left of the last session in the device page, though no process is there to do it. */
static void clear_page(struct device_link *link)
{
	if (link->page == NULL)
		return;
	for (uint32_t i = 0; i < link->n_queues; i++)
		__atomic_store_n(&link->page->queues[i].size, 0, __ATOMIC_RELEASE);
	if (link->state_size > 0)
		memset(device_page_state(link->page, link_page_shape(link)), 0, link->state_size);
}

int device_link_reset(struct device_link *link)
{
	int r = 0;

	(void)pthread_mutex_lock(&link->lock);
	link->activation.active = false; /* first: a successor must not take it over */
	link_config_reset(link);
	if (link->touched || link->phase == LINK_EMPTY) {
		link->touched = false; /* whoever touches it meanwhile is not undone */
		r = request_if_up(link, MESSAGE_RESET);
	}
	if (link->phase == LINK_FAILED)
		r = link_await_end(link);
	if (r == 0 && !link_is_up(link))
		clear_page(link);
	if (r == 0 && link->is_given_up)
		link->is_given_up = !link->events->revive(link->ctx);
	if (r == 0 && link->is_given_up)
		r = DEVICE_LINK_GONE;
	(void)pthread_mutex_unlock(&link->lock);
	return r;
}

void link_ping(struct device_link *link)
{
	struct message m = link_message(link, MESSAGE_PING);

	m.seq = link->ping_seq = link->next_seq;
	link->next_seq = seq_after(link->next_seq);
	(void)!link_send(link, &m, NULL);
}

static int set_paused(struct device_link *link, bool paused)
{
	int r = 0;

	(void)pthread_mutex_lock(&link->lock);
	if (link->paused != paused || !link_is_up(link)) {
		link->paused = paused; /* a successor is paused before it is activated */
		r = request_if_up(link, paused ? MESSAGE_PAUSE : MESSAGE_RESUME);
	}
	(void)pthread_mutex_unlock(&link->lock);
	return r;
}

int device_link_pause(struct device_link *link)
{
	return set_paused(link, true);
}

int device_link_adjust(struct device_link *link, const struct message_adjust *adjust)
{
	struct message m;
	int r = 0;

	(void)pthread_mutex_lock(&link->lock);
	m = link_message(link, MESSAGE_ADJUST);
	m.adjust = *adjust;
	if (link_is_up(link))
		r = link_send(link, &m, NULL);
	else if (link->phase == LINK_EMPTY || link->phase == LINK_FAILED)
		r = DEVICE_LINK_GONE; /* else: a process that starts was told by the warden */
	(void)pthread_mutex_unlock(&link->lock);
	return r;
}

int device_link_resume(struct device_link *link)
{
	return set_paused(link, false);
}
