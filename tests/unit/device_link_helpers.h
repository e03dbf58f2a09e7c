/* SPDX-License-Identifier: Apache-2.0 */
/* What the test programs of vmm-core/transport/device_link*.c share, besides the fake device. */
#pragma once

#include "fake_device.h"

static struct upcalls up;

fake_fn struct device_link_queue queue(uint32_t i)
{
	return (struct device_link_queue){ .ready = true,
					   .size = 64,
					   .desc = FAKE_RAM_BASE + i * 0x4000u,
					   .avail = FAKE_RAM_BASE + i * 0x4000u + 0x1000u,
					   .used = FAKE_RAM_BASE + i * 0x4000u + 0x2000u,
					   .kick_fd = fake_event_fd,
					   .call_fd = fake_event_fd };
}

fake_fn int activate(struct device_link *link)
{
	struct device_link_queue queues[FAKE_QUEUES] = { queue(0), queue(1), queue(2), queue(3) };

	queues[2].ready = false;
	return device_link_activate(link, FAKE_VERSION_1 | 0x200u, queues, FAKE_QUEUES);
}

fake_fn void *activate_thread(void *link)
{
	return (void *)(intptr_t)activate(link);
}

fake_fn void *reset_thread(void *link)
{
	return (void *)(intptr_t)device_link_reset(link);
}

fake_fn pthread_t in_thread(void *(*fn)(void *), void *arg)
{
	pthread_t t;

	cr_assert_eq(pthread_create(&t, NULL, fn, arg), 0);
	return t;
}

fake_fn intptr_t result_of(pthread_t t)
{
	void *r;

	cr_assert_eq(pthread_join(t, &r), 0);
	return (intptr_t)r;
}

/*
 * The link has failed and was reported once. As long as nobody says that the process has ended, a
 * reset waits for that until its deadline, and then the device is not to be used.
 */
fake_fn void assert_failed(struct device_link *link, const char *reason)
{
	fake_loop_until(link, &up.n_failed, 1);
	fake_settle(link);
	cr_assert_eq(up.n_failed, 1);
	cr_assert_neq(strstr(up.reason, reason), NULL, "\"%s\" has no \"%s\"", up.reason, reason);
	cr_assert_eq(device_link_get_state(link), DEVICE_LINK_FAILED);
	cr_assert_eq(device_link_pause(link), DEVICE_LINK_GONE);
	if (link->is_gone) {
		cr_assert_eq(device_link_reset(link), 0);
		cr_assert(device_link_is_usable(link));
		return;
	}
	link->request_deadline_ms = 10;
	cr_assert(device_link_is_dying(link));
	cr_assert_neq(device_link_is_usable(link), link->is_unfenced);
	cr_assert_eq(device_link_reset(link), DEVICE_LINK_GONE);
	cr_assert_not(device_link_is_usable(link));
	cr_assert_eq(activate(link), DEVICE_LINK_GONE);
}

/* ---- pure checks ---- */

fake_fn struct fake *start_until(struct device_link *link, enum link_phase phase)
{
	struct fake *f = fake_attach(link, 1);

	if (phase == LINK_WAIT_HELLO)
		return f;
	fake_greet(f);
	fake_settle(link);
	(void)fake_expect(f, MESSAGE_SETUP);
	if (phase == LINK_WAIT_READY)
		return f;
	fake_say(f, MESSAGE_READY);
	fake_settle(link);
	return f;
}
