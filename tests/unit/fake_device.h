/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Test support: the other end of a device link. Either the test plays the device process message
 * by message, or a thread answers every request, faultily if asked to.
 */
#pragma once

#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "ipc/channel.h"
#include "ipc/clock.h"
#include "vmm-core/transport/device_link_internal.h"

#define FAKE_PATIENCE_MS 20000u /* a test that waits longer has failed */
#define FAKE_VERSION_1 (UINT64_C(1) << 32)
#define FAKE_RAM_BASE 0x100000u
#define FAKE_RAM_SIZE 0x100000u
#define FAKE_QUEUES 4u
#define FAKE_CONFIG_LEN 60u

/* A struct message is large: inlining would pile several up in one stack frame. */
#define fake_fn static __attribute__((noinline, unused))

enum fake_fault {
	FAKE_HONEST,
	FAKE_SILENT, /* reads, never answers */
	FAKE_REFUSES, /* EINVAL to everything */
	FAKE_WRONG_SEQ,
	FAKE_TWICE, /* every answer two times */
	FAKE_WRONG_GENERATION,
	FAKE_CLOSES,
	FAKE_CHATTERS, /* config changes before every answer */
	FAKE_SENDS_READY, /* a message that is not permitted any more, before the answer */
};

struct fake {
	struct channel *channel;
	uint32_t generation;
	/* the answering thread */
	pthread_t thread;
	enum fake_fault fault;
	enum message_type faulty_at; /* MESSAGE_NONE: everywhere */
	uint32_t hold; /* answers nothing before this many requests have arrived */
	uint32_t n_seen; /* atomic */
	struct message seen[256];
};

struct upcalls {
	uint32_t n_ready, n_failed, n_config, n_needs_reset, n_revive; /* atomic */
	uint32_t n_refused, n_overdue; /* atomic */
	uint32_t stalled; /* atomic: slot + 1 of the last ENDPOINT_STALLED */
	bool can_revive;
	char reason[MESSAGE_TEXT_MAX];
};

fake_fn uint32_t fake_load(const uint32_t *v)
{
	return __atomic_load_n(v, __ATOMIC_ACQUIRE);
}

fake_fn void fake_on_ready(void *ctx, struct device_link *link)
{
	struct upcalls *u = ctx;

	(void)link;
	(void)__atomic_fetch_add(&u->n_ready, 1, __ATOMIC_RELEASE);
}

fake_fn void fake_on_failed(void *ctx, struct device_link *link, const char *reason)
{
	struct upcalls *u = ctx;

	(void)link;
	memcpy(u->reason, reason, sizeof(u->reason));
	(void)__atomic_fetch_add(&u->n_failed, 1, __ATOMIC_RELEASE);
}

fake_fn void fake_on_config(void *ctx, struct device_link *link)
{
	struct upcalls *u = ctx;

	(void)link;
	(void)__atomic_fetch_add(&u->n_config, 1, __ATOMIC_RELEASE);
}

fake_fn void fake_on_needs_reset(void *ctx)
{
	struct upcalls *u = ctx;

	(void)__atomic_fetch_add(&u->n_needs_reset, 1, __ATOMIC_RELEASE);
}

fake_fn void fake_on_stalled(void *ctx, uint32_t slot)
{
	struct upcalls *u = ctx;

	__atomic_store_n(&u->stalled, slot + 1, __ATOMIC_RELEASE);
}

fake_fn bool fake_on_revive(void *ctx)
{
	struct upcalls *u = ctx;

	(void)__atomic_fetch_add(&u->n_revive, 1, __ATOMIC_RELEASE);
	return u->can_revive;
}

fake_fn void fake_on_refused(void *ctx, const char *reason)
{
	struct upcalls *u = ctx;

	(void)reason;
	(void)__atomic_fetch_add(&u->n_refused, 1, __ATOMIC_RELEASE);
}

fake_fn void fake_on_overdue(void *ctx)
{
	struct upcalls *u = ctx;

	(void)__atomic_fetch_add(&u->n_overdue, 1, __ATOMIC_RELEASE);
}

static const struct device_link_events fake_events = {
	fake_on_ready, fake_on_failed, fake_on_config, fake_on_needs_reset, fake_on_stalled,
	fake_on_revive, fake_on_refused, fake_on_overdue,
};

/* Everything a test made, for fake_end(). */
#define FAKES_MAX 16u

static struct guest_memory *fake_memory;
static struct device_link *fake_links[FAKES_MAX];
static struct fake *fake_devices[FAKES_MAX];
static uint32_t n_fake_links, n_fake_devices;
static int fake_event_fd = -1; /* for queues whose signals no one looks at */

/* A link with guest memory; fake_end() frees it. */
fake_fn struct device_link *fake_link(struct upcalls *u)
{
	struct guest_region region = { .gpa = FAKE_RAM_BASE, .size = FAKE_RAM_SIZE };
	struct device_link *link;

	if (fake_event_fd < 0)
		fake_event_fd = eventfd(0, EFD_CLOEXEC);
	if (fake_memory == NULL)
		cr_assert_eq(guest_memory_create(&region, 1, false, false, &fake_memory), 0);
	cr_assert_eq(device_link_new(3, DEVICE_TYPE_BLK, fake_memory, &fake_events, u, &link), 0);
	cr_assert_lt(n_fake_links, FAKES_MAX);
	fake_links[n_fake_links++] = link;
	return link;
}

fake_fn struct fake *fake_attach(struct device_link *link, uint32_t generation)
{
	struct fake *f = calloc(1, sizeof(*f));
	int a, b;

	cr_assert_not_null(f);
	cr_assert_lt(n_fake_devices, FAKES_MAX);
	fake_devices[n_fake_devices++] = f;
	f->generation = generation;
	cr_assert_eq(channel_pair(&a, &b), 0);
	cr_assert_eq(device_link_attach(link, a, generation), 0);
	cr_assert_eq(channel_new(b, &f->channel), 0);
	return f;
}

/* The process closes its end. */
fake_fn void fake_close(struct fake *f)
{
	f->channel = channel_free(f->channel);
}

/* Fills in the generation unless the test chose one. */
fake_fn int fake_send(struct fake *f, struct message *m)
{
	if (m->generation == 0)
		m->generation = f->generation;
	return channel_send(f->channel, m, NULL);
}

fake_fn int fake_send_plain(struct fake *f, enum message_type type, uint32_t seq)
{
	struct message m = { .type = type, .seq = seq };

	return fake_send(f, &m);
}

fake_fn void fake_say(struct fake *f, enum message_type type)
{
	cr_assert_eq(fake_send_plain(f, type, 0), 0);
}

fake_fn struct message fake_hello(void)
{
	struct message m = { .type = MESSAGE_HELLO };

	m.hello.protocol = PROTOCOL_VERSION;
	m.hello.type = DEVICE_TYPE_BLK;
	m.hello.features = FAKE_VERSION_1 | 0x30000200u;
	m.hello.n_queues = FAKE_QUEUES;
	m.hello.queue_size_max = 256;
	m.hello.config_len = FAKE_CONFIG_LEN;
	for (uint32_t i = 0; i < FAKE_CONFIG_LEN; i++)
		m.hello.config[i] = (uint8_t)(i + 1);
	m.hello.config_writable_len = 34;
	m.hello.config_writable[32] = 0xff;
	m.hello.config_writable[33] = 0xff;
	return m;
}

fake_fn void fake_greet(struct fake *f)
{
	struct message m = fake_hello();

	cr_assert_eq(fake_send(f, &m), 0);
}

/* The next message of the core, which must be of @type; @fds takes what comes along. */
fake_fn struct message fake_expect_fds(struct fake *f, enum message_type type,
					     struct fdset *fds)
{
	struct message m;
	int r = channel_receive_wait(f->channel, clock_now_ms() + FAKE_PATIENCE_MS, &m, fds);

	cr_assert_eq(r, 0, "receive: %d", r);
	cr_assert_eq(m.type, type, "%s instead of %s", message_type_name(m.type),
		     message_type_name(type));
	cr_assert_eq(m.generation, f->generation);
	return m;
}

fake_fn struct message fake_expect(struct fake *f, enum message_type type)
{
	cleanup_fdset struct fdset fds = FDSET_EMPTY;

	return fake_expect_fds(f, type, &fds);
}

/* Nothing was sent to the device. */
fake_fn void fake_expect_none(struct fake *f)
{
	cleanup_fdset struct fdset fds = FDSET_EMPTY;
	struct message m;

	cr_assert_eq(channel_receive(f->channel, &m, &fds), CHANNEL_EMPTY);
}

fake_fn void fake_reply(struct fake *f, const struct message *request)
{
	cr_assert_eq(fake_send_plain(f, MESSAGE_REPLY, request->seq), 0);
}

/* One turn of the event loop, if there is anything to do within @ms. */
fake_fn bool fake_turn(struct device_link *link, int ms)
{
	struct pollfd p = { .fd = device_link_fd(link), .events = POLLIN };

	if (poll(&p, 1, ms) <= 0)
		return false;
	device_link_on_readable(link);
	return true;
}

/* Turns of the event loop until nothing is left to do. */
fake_fn void fake_settle(struct device_link *link)
{
	while (fake_turn(link, 0))
		;
}

/* The event loop until *@counter reaches @n; it fails the test when that takes too long. */
fake_fn void fake_loop_until(struct device_link *link, const uint32_t *counter, uint32_t n)
{
	uint64_t deadline = clock_now_ms() + FAKE_PATIENCE_MS;

	while (fake_load(counter) < n) {
		cr_assert_lt(clock_now_ms(), deadline);
		(void)fake_turn(link, 20);
	}
}

/* A whole start. */
fake_fn struct fake *fake_start(struct device_link *link, uint32_t generation)
{
	struct fake *f = fake_attach(link, generation);

	fake_greet(f);
	fake_settle(link);
	(void)fake_expect(f, MESSAGE_SETUP);
	fake_say(f, MESSAGE_READY);
	fake_settle(link);
	return f;
}

fake_fn int fake_change_config(struct fake *f)
{
	struct message m = { .type = MESSAGE_CONFIG_CHANGED };

	m.config.len = 8;
	memset(m.config.data, 0xa5, 8);
	return fake_send(f, &m);
}

fake_fn int fake_answer(struct fake *f, const struct message *request, bool is_faulty)
{
	struct message m = { .type = MESSAGE_REPLY, .seq = request->seq };
	enum fake_fault fault = is_faulty ? f->fault : FAKE_HONEST;
	int r = 0;

	if (fault == FAKE_SILENT)
		return 0;
	if (fault == FAKE_REFUSES)
		m.reply.result = EINVAL;
	if (fault == FAKE_WRONG_SEQ)
		m.seq += 7;
	if (fault == FAKE_WRONG_GENERATION)
		m.generation = f->generation + 1;
	if (fault == FAKE_CLOSES)
		return -EPIPE;
	if (fault == FAKE_SENDS_READY)
		r = fake_send_plain(f, MESSAGE_READY, 0);
	if (fault == FAKE_CHATTERS)
		r = fake_change_config(f);
	if (r == 0)
		r = fake_send(f, &m);
	if (r == 0 && fault == FAKE_TWICE)
		r = fake_send(f, &m);
	return r;
}

fake_fn void *fake_thread(void *arg)
{
	struct fake *f = arg;
	uint32_t n_answered = 0;
	int r = 0;

	while (r == 0) {
		cleanup_fdset struct fdset fds = FDSET_EMPTY;
		uint32_t n = f->n_seen;

		r = channel_receive_wait(f->channel, clock_now_ms() + FAKE_PATIENCE_MS,
					 &f->seen[n % 256], &fds);
		if (r != 0)
			break;
		__atomic_store_n(&f->n_seen, n + 1, __ATOMIC_RELEASE);
		if (n + 1 < f->hold)
			continue;
		for (; n_answered <= n && r == 0; n_answered++) {
			const struct message *m = &f->seen[n_answered % 256];

			if (m->seq != 0)
				r = fake_answer(f, m, f->faulty_at == MESSAGE_NONE ||
							      f->faulty_at == m->type);
		}
	}
	fake_close(f);
	return NULL;
}

fake_fn void fake_run(struct fake *f, enum fake_fault fault, enum message_type at)
{
	f->fault = fault;
	f->faulty_at = at;
	cr_assert_eq(pthread_create(&f->thread, NULL, fake_thread, f), 0);
}

/* The end of every test: what it left open is closed, so that a leak of the core's would show. */
fake_fn void fake_end(void)
{
	for (uint32_t i = 0; i < n_fake_links; i++)
		device_link_detach(fake_links[i], "end of the test");
	for (uint32_t i = 0; i < n_fake_devices; i++) {
		if (fake_devices[i]->thread != 0)
			cr_assert_eq(pthread_join(fake_devices[i]->thread, NULL), 0);
		fake_close(fake_devices[i]);
		free(fake_devices[i]);
	}
	for (uint32_t i = 0; i < n_fake_links; i++)
		fake_links[i] = device_link_free(fake_links[i]);
	fake_memory = guest_memory_free(fake_memory);
	fake_event_fd = fd_close(fake_event_fd);
}

/* Waits for the end of the thread; it ends with the link's end of the channel. */
fake_fn void fake_join(struct fake *f)
{
	cr_assert_eq(pthread_join(f->thread, NULL), 0);
	f->thread = 0;
}
