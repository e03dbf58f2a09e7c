/* SPDX-License-Identifier: Apache-2.0 */
/* Config space in the core, and a successor process that takes over. */
#include "device_link_helpers.h"

TestSuite(config, .fini = fake_end);
TestSuite(successor, .fini = fake_end);

Test(config, reads_of_every_width_and_edge)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = fake_start(link, 1);

	cr_assert_eq(device_link_config_read(link, 0, 1), 0x01);
	cr_assert_eq(device_link_config_read(link, 1, 2), 0x0302);
	cr_assert_eq(device_link_config_read(link, 4, 4), 0x08070605);
	cr_assert_eq(device_link_config_read(link, 0, 8), UINT64_C(0x0807060504030201));
	cr_assert_eq(device_link_config_read(link, FAKE_CONFIG_LEN - 1, 1), FAKE_CONFIG_LEN);
	cr_assert_eq(device_link_config_read(link, FAKE_CONFIG_LEN - 1, 4), FAKE_CONFIG_LEN);
	cr_assert_eq(device_link_config_read(link, FAKE_CONFIG_LEN - 4, 8), 0x3c3b3a39);
	cr_assert_eq(device_link_config_read(link, FAKE_CONFIG_LEN, 4), 0);
	cr_assert_eq(device_link_config_read(link, DEVICE_CONFIG_SPACE_MAX, 8), 0);
	cr_assert_eq(device_link_config_read(link, UINT32_MAX, 8), 0);
	cr_assert_eq(device_link_config_read(link, 0, 16), 0);
	fake_close(f);
}

Test(config, writes_change_writable_bytes_only_and_are_forwarded)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = fake_start(link, 1);
	uint32_t generation = device_link_config_generation(link);
	struct message m;

	device_link_config_write(link, 0, 8, UINT64_MAX);
	device_link_config_write(link, UINT32_MAX, 8, UINT64_MAX);
	device_link_config_write(link, FAKE_CONFIG_LEN, 8, UINT64_MAX);
	fake_expect_none(f);
	cr_assert_eq(device_link_config_generation(link), generation);
	device_link_config_write(link, 31, 4, 0xaabbccdd);
	m = fake_expect(f, MESSAGE_CONFIG_WRITTEN);
	cr_assert_eq(m.seq, 0);
	cr_assert_eq(m.config.offset, 32);
	cr_assert_eq(m.config.len, 2);
	cr_assert_eq(m.config.data[0], 0xcc);
	cr_assert_eq(m.config.data[1], 0xbb);
	cr_assert_eq(device_link_config_read(link, 31, 4), 0x23bbcc20);
	cr_assert_neq(device_link_config_generation(link), generation);
}

Test(config, change_by_the_device_is_seen_and_reported)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = fake_start(link, 1);
	struct message m = { .type = MESSAGE_CONFIG_CHANGED };
	uint32_t generation = device_link_config_generation(link);

	m.config.offset = FAKE_CONFIG_LEN - 2;
	m.config.len = 2;
	m.config.data[0] = 0x11;
	m.config.data[1] = 0x22;
	cr_assert_eq(fake_send(f, &m), 0);
	fake_loop_until(link, &up.n_config, 1);
	cr_assert_eq(device_link_config_read(link, FAKE_CONFIG_LEN - 2, 2), 0x2211);
	cr_assert_neq(device_link_config_generation(link), generation);
}

Test(config, reset_undoes_what_the_driver_wrote)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = fake_start(link, 1);

	fake_run(f, FAKE_HONEST, MESSAGE_NONE);
	device_link_config_write(link, 32, 1, 0x77);
	cr_assert_eq(device_link_reset(link), 0);
	cr_assert_eq(f->seen[1].type, MESSAGE_RESET);
	cr_assert_eq(device_link_config_read(link, 32, 1), 33);
}

/* ---- a successor process ---- */

/* An active device whose process has died; the next attach brings its successor. */
static struct device_link *orphan(void)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = fake_start(link, 1);

	fake_run(f, FAKE_HONEST, MESSAGE_NONE);
	cr_assert_eq(activate(link), 0);
	device_link_config_write(link, 32, 1, 0x77);
	device_link_detach(link, "crashed");
	fake_join(f);
	cr_assert_eq(up.n_failed, 1);
	up = (struct upcalls){ .n_ready = 0 };
	return link;
}

Test(successor, is_activated_again_with_resume)
{
	struct device_link *link = orphan();
	struct device_page *page = device_link_page(link);
	struct fake *f = fake_start(link, 2);
	struct message m;

	cr_assert_eq(up.n_ready, 0);
	cr_assert_eq(device_link_get_state(link), DEVICE_LINK_STARTING);
	m = fake_expect(f, MESSAGE_CONFIG_WRITTEN);
	cr_assert_eq(m.config.offset, 32);
	cr_assert_eq(m.config.len, 2);
	cr_assert_eq(m.config.data[0], 0x77);
	m = fake_expect(f, MESSAGE_SET_FEATURES);
	cr_assert_eq(m.set_features.features, FAKE_VERSION_1 | 0x200u);
	fake_reply(f, &m);
	for (uint32_t i = 0; i < 3; i++) {
		m = fake_expect(f, MESSAGE_ENABLE_QUEUE);
		cr_assert_eq(m.enable_queue.resume, true);
		cr_assert_eq(m.enable_queue.index, i == 2 ? 3 : i);
		fake_settle(link);
		cr_assert_eq(up.n_ready, 0);
		fake_reply(f, &m);
	}
	fake_settle(link);
	cr_assert_eq(up.n_ready, 1);
	cr_assert_eq(device_link_get_state(link), DEVICE_LINK_READY);
	cr_assert_eq(device_link_page(link), page);
	cr_assert_eq(page->header.generation, 2);
	fake_run(f, FAKE_HONEST, MESSAGE_NONE);
	cr_assert_eq(device_link_reset(link), 0);
	cr_assert_eq(device_link_config_read(link, 32, 1), 33);
}

Test(successor, hears_whether_its_predecessor_was_killed_from_outside)
{
	for (uint32_t i = 0; i < 2; i++) {
		struct device_link *link = orphan();
		struct fake *f;
		struct message m;

		device_link_absolve(link, i == 1);
		f = fake_start(link, 2);
		(void)fake_expect(f, MESSAGE_CONFIG_WRITTEN);
		(void)fake_expect(f, MESSAGE_SET_FEATURES);
		m = fake_expect(f, MESSAGE_ENABLE_QUEUE);
		cr_assert_eq(m.enable_queue.is_blameless, i == 1);
	}
}

Test(successor, finishes_an_activation_that_its_predecessor_died_in)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = fake_start(link, 1);
	struct message m;

	fake_run(f, FAKE_CLOSES, MESSAGE_ENABLE_QUEUE);
	cr_assert_eq(activate(link), 0);
	fake_settle(link);
	device_link_detach(link, "crashed");
	fake_join(f);
	f = fake_start(link, 2);
	m = fake_expect(f, MESSAGE_SET_FEATURES);
	fake_reply(f, &m);
	for (uint32_t i = 0; i < 3; i++) {
		m = fake_expect(f, MESSAGE_ENABLE_QUEUE);
		cr_assert_eq(m.enable_queue.resume, true);
		fake_reply(f, &m);
	}
	fake_settle(link);
	cr_assert_eq(device_link_get_state(link), DEVICE_LINK_READY);
}

Test(successor, is_not_activated_after_a_reset)
{
	struct device_link *link = orphan();
	struct device_page *page = device_link_page(link);
	struct fake *f;

	page->queues[1].size = 8;
	cr_assert_eq(device_link_reset(link), 0, "nobody is left who could touch memory");
	cr_assert_eq(page->queues[1].size, 0, "a queue that was begun before the reset");
	f = fake_start(link, 2);
	fake_expect_none(f);
	cr_assert_eq(up.n_ready, 1);
}

Test(successor, reset_while_it_takes_over_follows_the_take_over)
{
	struct device_link *link = orphan();
	struct fake *f = fake_start(link, 2);
	pthread_t vcpu = in_thread(reset_thread, link);

	fake_run(f, FAKE_HONEST, MESSAGE_NONE);
	cr_assert_eq(result_of(vcpu), 0);
	cr_assert_eq(f->seen[fake_load(&f->n_seen) - 1].type, MESSAGE_RESET);
	fake_loop_until(link, &up.n_ready, 1);
}

Test(successor, starts_paused_when_the_device_was)
{
	struct device_link *link = orphan();
	struct fake *f;

	cr_assert_eq(device_link_pause(link), DEVICE_LINK_GONE);
	f = fake_start(link, 2);
	(void)fake_expect(f, MESSAGE_CONFIG_WRITTEN);
	(void)fake_expect(f, MESSAGE_PAUSE);
	(void)fake_expect(f, MESSAGE_SET_FEATURES);
}

Test(successor, other_hello_fails)
{
	struct device_link *link = orphan();
	struct fake *f = fake_attach(link, 2);
	struct message m = fake_hello();

	m.hello.features |= 1;
	cr_assert_eq(fake_send(f, &m), 0);
	assert_failed(link, "predecessor");
}

Test(successor, message_of_the_old_generation_fails)
{
	struct device_link *link = orphan();
	struct fake *f = fake_attach(link, 2);
	struct message m = fake_hello();

	m.generation = 1;
	cr_assert_eq(fake_send(f, &m), 0);
	assert_failed(link, "generation");
}

Test(successor, changed_config_is_reported)
{
	struct device_link *link = orphan();
	struct fake *f = fake_attach(link, 2);
	struct message m = fake_hello();

	m.hello.config[0] = 0x99;
	m.hello.config[32] = 0x55;
	cr_assert_eq(fake_send(f, &m), 0);
	fake_loop_until(link, &up.n_config, 1);
	cr_assert_eq(device_link_config_read(link, 0, 1), 0x99);
	cr_assert_eq(device_link_config_read(link, 32, 1), 0x77);
}

Test(successor, refusal_fails)
{
	struct device_link *link = orphan();
	struct fake *f = fake_start(link, 2);

	fake_run(f, FAKE_REFUSES, MESSAGE_SET_FEATURES);
	assert_failed(link, "take over");
	cr_assert_eq(up.n_refused, 1);
}

Test(successor, silence_fails_at_the_deadline)
{
	struct device_link *link = orphan();
	struct fake *f;

	link->request_deadline_ms = 100;
	f = fake_start(link, 2);
	assert_failed(link, "in time");
	fake_close(f);
}

/* ---- is it alive? ---- */

TestSuite(heartbeat, .fini = fake_end);

#define BEATS 12

Test(heartbeat, silence_is_asked_about_and_then_reported)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = fake_start(link, 1);

	device_link_page(link)->header.heartbeat = 7;
	for (int i = 0; i < BEATS / 2; i++)
		cr_assert_not(device_link_heartbeat(link, BEATS, false));
	fake_expect_none(f);
	cr_assert_not(device_link_heartbeat(link, BEATS, false));
	(void)fake_expect(f, MESSAGE_PING);
	for (int i = 0; i < BEATS / 2 - 1; i++)
		cr_assert_not(device_link_heartbeat(link, BEATS, false));
	for (int i = 0; i < 3; i++)
		cr_assert(device_link_heartbeat(link, BEATS, false), "again, until it lives");
	fake_expect_none(f);
	device_link_page(link)->header.heartbeat++;
	cr_assert_not(device_link_heartbeat(link, BEATS, false));
}

Test(heartbeat, an_answer_is_a_sign_of_life)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = fake_start(link, 1);
	struct message m;

	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < BEATS / 2; i++)
			cr_assert_not(device_link_heartbeat(link, BEATS, false));
		m = fake_expect(f, MESSAGE_PING);
		for (int i = 0; i < BEATS / 2 - 1; i++)
			cr_assert_not(device_link_heartbeat(link, BEATS, false));
		fake_reply(f, &m);
		fake_settle(link);
	}
}

Test(heartbeat, time_that_nobody_had_does_not_count)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = fake_start(link, 1);

	for (int i = 0; i < 10 * BEATS; i++)
		cr_assert_not(device_link_heartbeat(link, BEATS, true));
	fake_expect_none(f);
	for (int i = 0; i < BEATS - 1; i++)
		cr_assert_not(device_link_heartbeat(link, BEATS, false));
	for (int i = 0; i < 10 * BEATS; i++)
		cr_assert_not(device_link_heartbeat(link, BEATS, true));
	(void)fake_expect(f, MESSAGE_PING);
}
