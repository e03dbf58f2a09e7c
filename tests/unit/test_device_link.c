/* SPDX-License-Identifier: Apache-2.0 */
/* device_link: start, requests, failures and take-over, against a scripted device process. */
#include "device_link_helpers.h"
#include "open_fds.h"

TestSuite(hello, .fini = fake_end);
TestSuite(start, .fini = fake_end);
TestSuite(unpermitted, .fini = fake_end);
TestSuite(needs_reset, .fini = fake_end);
TestSuite(closing, .fini = fake_end);
TestSuite(request, .fini = fake_end);

Test(hello, check_accepts_and_names_each_fault)
{
	struct message good = fake_hello(), bad;

	cr_assert_null(device_hello_check(&good.hello, DEVICE_TYPE_BLK, false));
	cr_assert_not_null(device_hello_check(&good.hello, DEVICE_TYPE_NET, false));
#define CHECK_BAD(change)                                                                         \
	do {                                                                                      \
		bad = good;                                                                       \
		bad.hello.change;                                                                 \
		cr_assert_not_null(device_hello_check(&bad.hello, DEVICE_TYPE_BLK, false), #change);     \
	} while (0)
	CHECK_BAD(protocol = PROTOCOL_VERSION + 1);
	CHECK_BAD(type = DEVICE_TYPE_RNG);
	CHECK_BAD(features = 0x30000200u);
	CHECK_BAD(n_queues = 0);
	CHECK_BAD(n_queues = DEVICE_QUEUES_MAX + 1);
	CHECK_BAD(n_queues = UINT32_MAX);
	CHECK_BAD(queue_size_max = 0);
	CHECK_BAD(queue_size_max = 3);
	CHECK_BAD(queue_size_max = DEVICE_QUEUE_SIZE_MAX * 2);
	CHECK_BAD(config_len = DEVICE_CONFIG_SPACE_MAX + 1);
	CHECK_BAD(config_writable_len = FAKE_CONFIG_LEN + 1);
	CHECK_BAD(config_writable_len = UINT32_MAX);
	cr_assert_not_null(device_hello_check(&good.hello, DEVICE_TYPE_BLK, true));
	good.hello.features |= UINT64_C(1) << 33;
	cr_assert_null(device_hello_check(&good.hello, DEVICE_TYPE_BLK, true));
}

Test(hello, features_keep_type_bits_and_known_ring_bits_only)
{
	cr_assert_eq(device_hello_features(UINT64_MAX, false),
		     UINT64_C(0xfffc000000000000) | UINT64_C(0x100000000) | 0x30000000u | 0xffffffu);
	cr_assert_eq(device_hello_features(UINT64_C(1) << 34, true), 0); /* packed rings */
	cr_assert_eq(device_hello_features(UINT64_C(3) << 33, true), UINT64_C(1) << 33);
}

/* ---- start ---- */

Test(start, normal_reaches_ready)
{
	cleanup_fdset struct fdset fds = FDSET_EMPTY;
	struct device_link *link = fake_link(&up);
	struct fake *f;
	struct message m;

	cr_assert_eq(device_link_get_state(link), DEVICE_LINK_EMPTY);
	cr_assert_null(device_link_page(link));
	f = fake_attach(link, 7);
	cr_assert_eq(device_link_get_state(link), DEVICE_LINK_STARTING);
	fake_greet(f);
	fake_settle(link);
	m = fake_expect_fds(f, MESSAGE_SETUP, &fds);
	cr_assert_eq(m.setup.n_queues, FAKE_QUEUES);
	cr_assert_eq(m.setup.n_regions, 1);
	cr_assert_eq(m.setup.regions[0].gpa, FAKE_RAM_BASE);
	cr_assert_eq(fds.n, 2);
	cr_assert_eq(up.n_ready, 0);
	fake_say(f, MESSAGE_READY);
	fake_settle(link);
	cr_assert_eq(up.n_ready, 1);
	cr_assert_eq(device_link_get_state(link), DEVICE_LINK_READY);
	cr_assert_eq(device_link_features(link), FAKE_VERSION_1 | 0x30000200u);
	cr_assert_eq(device_link_n_queues(link), FAKE_QUEUES);
	cr_assert_eq(device_link_queue_size_max(link), 256);
	cr_assert_eq(device_link_page(link)->header.generation, 7);
	fake_expect_none(f);
	fake_close(f);
	fake_settle(link);
	cr_assert_eq(up.n_failed, 1);
	device_link_detach(link, "gone");
	cr_assert_eq(up.n_failed, 1);
}

Test(start, second_process_is_refused_while_one_is_attached)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = fake_start(link, 1);
	int a, b;

	cr_assert_eq(channel_pair(&a, &b), 0);
	cr_assert_eq(device_link_attach(link, a, 2), -EBUSY);
	device_link_condemn(link, "test");
	cr_assert_eq(channel_pair(&a, &b), 0);
	cr_assert_eq(device_link_attach(link, a, 2), -EBUSY);
	fake_close(f);
}

/* Not a channel; then one that cannot be watched. The link is none the worse for it. */
Test(start, attach_that_fails_leaves_nothing_open)
{
	struct device_link *link = fake_link(&up);
	unsigned before = open_fds();
	int a, b, epoll_fd = link->epoll_fd;

	cr_expect_eq(device_link_attach(link, dup(fake_event_fd), 1), -EINVAL);
	cr_expect_eq(open_fds(), before);
	cr_assert_eq(channel_pair(&a, &b), 0);
	link->epoll_fd = -1;
	cr_expect_eq(device_link_attach(link, a, 1), -EBADF);
	link->epoll_fd = epoll_fd;
	fd_close(b);
	cr_expect_eq(open_fds(), before);
	(void)fake_start(link, 1);
	cr_expect_eq(device_link_get_state(link), DEVICE_LINK_READY);
}

static void expect_bad_hello(struct message hello, const char *reason)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = fake_attach(link, 1);

	cr_assert_eq(fake_send(f, &hello), 0);
	assert_failed(link, reason);
	cr_assert_eq(up.n_ready, 0);
}

Test(start, hello_of_other_protocol_fails)
{
	struct message m = fake_hello();

	m.hello.protocol = PROTOCOL_VERSION + 1;
	expect_bad_hello(m, "protocol");
}

Test(start, hello_of_other_type_fails)
{
	struct message m = fake_hello();

	m.hello.type = DEVICE_TYPE_NET;
	expect_bad_hello(m, "type");
}

Test(start, hello_without_version_1_fails)
{
	struct message m = fake_hello();

	m.hello.features &= ~FAKE_VERSION_1;
	expect_bad_hello(m, "VERSION_1");
}

Test(start, wrong_generation_fails)
{
	struct message m = fake_hello();

	m.generation = 2;
	expect_bad_hello(m, "generation");
}

Test(start, silence_fails_at_the_deadline)
{
	struct device_link *link = fake_link(&up);
	struct fake *f;

	link->start_deadline_ms = 50;
	f = fake_attach(link, 1);
	assert_failed(link, "in time");
	fake_close(f);
}

Test(start, time_that_the_core_was_busy_does_not_count)
{
	struct device_link *link = fake_link(&up);
	struct fake *f;

	link->start_deadline_ms = 50;
	f = fake_attach(link, 1);
	usleep(100 * 1000); /* longer than the deadline, with nobody at the event loop */
	link->start_deadline_ms = 60000;
	device_link_give_time(link);
	device_link_on_readable(link);
	cr_assert_eq(device_link_get_state(link), DEVICE_LINK_STARTING);
	fake_close(f);
}

Test(start, silence_after_setup_fails_at_the_deadline)
{
	struct device_link *link = fake_link(&up);
	struct fake *f;

	link->start_deadline_ms = 200;
	f = fake_attach(link, 1);
	fake_greet(f);
	assert_failed(link, "in time");
	fake_close(f);
}

Test(start, own_failure_text_is_the_reason)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = fake_attach(link, 1);
	struct message m = { .type = MESSAGE_DEVICE_FAILED };

	(void)snprintf(m.failed.text, sizeof(m.failed.text), "ring: not permitted");
	cr_assert_eq(fake_send(f, &m), 0);
	assert_failed(link, "ring: not permitted");
}

Test(start, requests_wait_for_nothing_while_starting)
{
	struct device_link *link = fake_link(&up);
	struct fake *f;

	cr_assert_eq(device_link_reset(link), DEVICE_LINK_GONE);
	f = fake_attach(link, 1);
	cr_assert_eq(activate(link), DEVICE_LINK_GONE);
	cr_assert_eq(device_link_reset(link), 0);
	cr_assert_eq(device_link_get_state(link), DEVICE_LINK_STARTING);
	fake_close(f);
}

/* ---- messages that are not permitted ---- */

/* How far a start got before the test interferes. */
static void expect_unpermitted(enum link_phase phase, enum message_type type)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = start_until(link, phase);
	struct message m = type == MESSAGE_HELLO ? fake_hello() : (struct message){ .type = type };

	m.seq = type == MESSAGE_REPLY ? 1 : 0;
	m.config.len = type == MESSAGE_CONFIG_CHANGED ? 1 : m.config.len;
	up = (struct upcalls){ .n_ready = 0 };
	cr_assert_eq(fake_send(f, &m), 0, "cannot send %s", message_type_name(type));
	assert_failed(link, "");
	fake_close(f);
}

Test(unpermitted, before_hello)
{
	expect_unpermitted(LINK_WAIT_HELLO, MESSAGE_READY);
	expect_unpermitted(LINK_WAIT_HELLO, MESSAGE_REPLY);
	expect_unpermitted(LINK_WAIT_HELLO, MESSAGE_CONFIG_CHANGED);
	expect_unpermitted(LINK_WAIT_HELLO, MESSAGE_RESET);
	expect_unpermitted(LINK_WAIT_HELLO, MESSAGE_POWER_BUTTON);
}

Test(unpermitted, before_ready)
{
	expect_unpermitted(LINK_WAIT_READY, MESSAGE_HELLO);
	expect_unpermitted(LINK_WAIT_READY, MESSAGE_REPLY);
	expect_unpermitted(LINK_WAIT_READY, MESSAGE_CONFIG_CHANGED);
	expect_unpermitted(LINK_WAIT_READY, MESSAGE_PAUSE);
}

Test(unpermitted, when_ready)
{
	expect_unpermitted(LINK_READY, MESSAGE_HELLO);
	expect_unpermitted(LINK_READY, MESSAGE_READY);
	expect_unpermitted(LINK_READY, MESSAGE_REPLY);
	expect_unpermitted(LINK_READY, MESSAGE_RESET);
	expect_unpermitted(LINK_READY, MESSAGE_PING);
	expect_unpermitted(LINK_READY, MESSAGE_REBOOT);
}

static void send_raw(struct fake *f, const void *bytes, size_t len, int fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { .bytes = { 0 } };
	struct iovec iov = { .iov_base = (void *)bytes, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (fd >= 0) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	cr_assert_eq(sendmsg(channel_fd(f->channel), &msg, 0), (ssize_t)len);
}

Test(unpermitted, fd_that_no_message_carries_is_closed_and_fails)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = start_until(link, LINK_WAIT_READY);
	struct message m = { .type = MESSAGE_READY, .generation = 1 };
	static uint8_t frame[MESSAGE_FRAME_MAX];
	size_t len;
	int pipe_fds[2];
	char byte;

	cr_assert_eq(message_encode(&m, frame, &len), 0);
	cr_assert_eq(pipe(pipe_fds), 0);
	send_raw(f, frame, len, pipe_fds[1]);
	close(pipe_fds[1]);
	assert_failed(link, "");
	cr_assert_eq(read(pipe_fds[0], &byte, 1), 0); /* nobody holds the other end */
}

Test(unpermitted, garbage_fails)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = start_until(link, LINK_READY);

	send_raw(f, "\xff\xff\xff\xff garbage", 12, -1);
	assert_failed(link, "");
}

Test(unpermitted, config_change_outside_config_space_fails)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = start_until(link, LINK_READY);
	struct message m = { .type = MESSAGE_CONFIG_CHANGED };

	m.config.offset = FAKE_CONFIG_LEN - 2;
	m.config.len = 3;
	cr_assert_eq(fake_send(f, &m), 0);
	assert_failed(link, "config space");
	cr_assert_eq(up.n_config, 0);
}

Test(needs_reset, is_passed_on_and_the_link_lives)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = start_until(link, LINK_READY);
	struct message m = { .type = MESSAGE_NEEDS_RESET };

	cr_assert_eq(fake_send(f, &m), 0);
	fake_settle(link);
	cr_assert_eq(up.n_needs_reset, 1);
	cr_assert_eq(device_link_get_state(link), DEVICE_LINK_READY);
}

/* Only the IOMMU's process may name another device, and it can do no more than name it. */
Test(unpermitted, endpoint_stalled_of_another_device_fails)
{
	expect_unpermitted(LINK_READY, MESSAGE_ENDPOINT_STALLED);
}

Test(needs_reset, endpoint_stalled_of_the_iommu_is_passed_on)
{
	static const struct device_link_iommu view = { .n_endpoints = 1 };
	struct device_link *link = fake_link(&up);
	struct fake *f = start_until(link, LINK_READY);
	struct message m = { .type = MESSAGE_ENDPOINT_STALLED, .endpoint.slot = 5 };

	device_link_set_iommu(link, &view);
	cr_assert_eq(fake_send(f, &m), 0);
	fake_settle(link);
	cr_assert_eq(up.stalled, 6);
	cr_assert_eq(device_link_get_state(link), DEVICE_LINK_READY);
}

Test(unpermitted, needs_reset_before_ready_fails)
{
	expect_unpermitted(LINK_WAIT_READY, MESSAGE_NEEDS_RESET);
}

Test(unpermitted, flood_fails)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = start_until(link, LINK_READY);
	struct message m = { .type = MESSAGE_CONFIG_CHANGED };
	uint64_t end = clock_now_ms() + FAKE_PATIENCE_MS;

	m.config.len = 1;
	while (device_link_get_state(link) == DEVICE_LINK_READY && clock_now_ms() < end) {
		(void)fake_send(f, &m);
		device_link_on_readable(link);
	}
	assert_failed(link, "messages per second");
}

Test(unpermitted, flood_of_needs_reset_fails)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = start_until(link, LINK_READY);
	uint64_t end = clock_now_ms() + FAKE_PATIENCE_MS;

	while (device_link_get_state(link) == DEVICE_LINK_READY && clock_now_ms() < end) {
		struct message m = { .type = MESSAGE_NEEDS_RESET };

		(void)fake_send(f, &m);
		device_link_on_readable(link);
	}
	assert_failed(link, "messages per second");
}

Test(unpermitted, one_turn_takes_a_bounded_number_of_messages)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = start_until(link, LINK_READY);
	struct message m = { .type = MESSAGE_CONFIG_CHANGED };
	uint32_t before = device_link_config_generation(link);

	m.config.len = 1;
	for (uint32_t i = 0; i < LINK_RECEIVE_BUDGET + 4; i++)
		cr_assert_eq(fake_send(f, &m), 0);
	device_link_on_readable(link);
	cr_assert_eq(device_link_config_generation(link), before + LINK_RECEIVE_BUDGET);
	fake_settle(link);
	cr_assert_eq(device_link_config_generation(link), before + LINK_RECEIVE_BUDGET + 4);
}

static void expect_close(enum link_phase phase)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = start_until(link, phase);

	up = (struct upcalls){ .n_ready = 0 };
	fake_close(f);
	assert_failed(link, "closed");
}

Test(closing, at_each_step_fails)
{
	expect_close(LINK_WAIT_HELLO);
	expect_close(LINK_WAIT_READY);
	expect_close(LINK_READY);
}

/* ---- requests; no event loop runs unless a test says so ---- */

Test(request, activation_is_pipelined_and_waits_for_all)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = fake_start(link, 1);

	f->hold = 4; /* features and three queues: nothing is answered before all are there */
	fake_run(f, FAKE_HONEST, MESSAGE_NONE);
	cr_assert_eq(activate(link), 0);
	cr_assert_eq(fake_load(&f->n_seen), 4);
	cr_assert_eq(f->seen[0].type, MESSAGE_SET_FEATURES);
	cr_assert_eq(f->seen[0].set_features.features, FAKE_VERSION_1 | 0x200u);
	cr_assert_eq(f->seen[3].type, MESSAGE_ENABLE_QUEUE);
	cr_assert_eq(f->seen[3].enable_queue.index, 3);
	cr_assert_eq(f->seen[3].enable_queue.size, 64);
	cr_assert_eq(f->seen[3].enable_queue.avail, FAKE_RAM_BASE + 0xd000u);
	cr_assert_eq(f->seen[3].enable_queue.resume, false);
	cr_assert_eq(device_link_reset(link), 0);
	cr_assert_eq(fake_load(&f->n_seen), 5);
	cr_assert_eq(f->seen[4].type, MESSAGE_RESET);
}

/* The guest decides how often its queues break; the process must not be condemned for it. */
Test(request, needs_reset_after_each_activation_is_no_flood)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = fake_start(link, 1);
	struct message m = { .type = MESSAGE_NEEDS_RESET };

	fake_run(f, FAKE_HONEST, MESSAGE_NONE);
	for (uint32_t i = 0; i < 2 * LINK_UNSOLICITED_MAX; i++) {
		cr_assert_eq(activate(link), 0);
		cr_assert_eq(fake_send(f, &m), 0);
		cr_assert_eq(device_link_reset(link), 0);
	}
	cr_assert_eq(device_link_get_state(link), DEVICE_LINK_READY);
	cr_assert_eq(fake_load(&up.n_needs_reset), 2 * LINK_UNSOLICITED_MAX);
}

Test(request, reset_of_an_idle_device_costs_no_message)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = fake_start(link, 1);

	cr_assert_eq(device_link_reset(link), 0);
	fake_expect_none(f);
}

Test(request, pause_and_resume_are_answered)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = fake_start(link, 1);

	fake_run(f, FAKE_HONEST, MESSAGE_NONE);
	cr_assert_eq(device_link_resume(link), 0); /* it runs: nothing to say */
	cr_assert_eq(device_link_pause(link), 0);
	cr_assert_eq(device_link_pause(link), 0);
	cr_assert_eq(device_link_resume(link), 0);
	cr_assert_eq(fake_load(&f->n_seen), 2);
	cr_assert_eq(f->seen[0].type, MESSAGE_PAUSE);
	cr_assert_eq(f->seen[1].type, MESSAGE_RESUME);
}

Test(request, refused_activation_leaves_the_link_alive)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = fake_start(link, 1);

	fake_run(f, FAKE_REFUSES, MESSAGE_ENABLE_QUEUE);
	cr_assert_eq(activate(link), DEVICE_LINK_REFUSED);
	cr_assert_eq(device_link_get_state(link), DEVICE_LINK_READY);
	cr_assert_eq(device_link_reset(link), 0);
}

static void expect_fatal_fault(enum fake_fault fault, const char *reason)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = fake_start(link, 1);

	up = (struct upcalls){ .n_ready = 0 };
	fake_run(f, fault, MESSAGE_NONE);
	cr_assert_eq(activate(link), 0, "left to the successor");
	assert_failed(link, reason);
}

Test(request, wrong_seq_fails)
{
	expect_fatal_fault(FAKE_WRONG_SEQ, "REPLY");
}

Test(request, duplicate_reply_fails)
{
	expect_fatal_fault(FAKE_TWICE, "REPLY");
}

Test(request, reply_of_another_generation_fails)
{
	expect_fatal_fault(FAKE_WRONG_GENERATION, "generation");
}

Test(request, close_instead_of_reply_fails)
{
	expect_fatal_fault(FAKE_CLOSES, "closed");
}

Test(request, unpermitted_message_before_the_reply_fails)
{
	expect_fatal_fault(FAKE_SENDS_READY, "READY");
}

Test(request, refused_reset_fails)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = fake_start(link, 1);

	fake_run(f, FAKE_REFUSES, MESSAGE_RESET);
	cr_assert_eq(activate(link), 0);
	cr_assert_eq(device_link_reset(link), DEVICE_LINK_GONE);
	assert_failed(link, "refused");
}

Test(request, silence_ends_at_the_deadline_and_late_replies_change_nothing)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = fake_start(link, 1);
	uint64_t start = clock_now_ms();
	struct message m;

	link->request_deadline_ms = 100;
	cr_assert_eq(activate(link), 0);
	cr_assert_geq(clock_now_ms() - start, 100);
	m = fake_expect(f, MESSAGE_SET_FEATURES);
	(void)fake_send_plain(f, MESSAGE_REPLY, m.seq);
	cr_assert_eq(up.n_overdue, 1);
	assert_failed(link, "did not answer");
}

Test(request, silence_at_reset_ends_at_the_deadline)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = fake_start(link, 1);

	fake_run(f, FAKE_SILENT, MESSAGE_RESET);
	cr_assert_eq(activate(link), 0);
	link->request_deadline_ms = 100;
	cr_assert_eq(device_link_reset(link), DEVICE_LINK_GONE);
	assert_failed(link, "did not answer");
}

Test(request, debugger_is_waited_for)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = fake_start(link, 1);
	pthread_t vcpu;

	cr_assert_eq(device_link_reset(link), 0);
	link->request_deadline_ms = FAKE_PATIENCE_MS / 10;
	f->hold = 4; /* all of the activation */
	vcpu = in_thread(activate_thread, link);
	for (uint32_t i = 1; i <= 3; i++) {
		while (fake_load(&up.n_overdue) < i)
			(void)fake_turn(link, 1);
		device_link_wait_on(link);
	}
	fake_run(f, FAKE_HONEST, MESSAGE_NONE);
	cr_assert_eq(result_of(vcpu), 0);
	cr_assert_eq(up.n_failed, 0);
}

Test(request, peer_that_does_not_read_fails)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = fake_start(link, 1);

	for (uint32_t i = 0; i < 1000000; i++) {
		device_link_config_write(link, 32, 1, i);
		if (device_link_get_state(link) != DEVICE_LINK_READY)
			break;
	}
	assert_failed(link, "does not read");
	fake_close(f);
}

Test(request, chatter_while_waiting_reaches_the_event_loop)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = fake_start(link, 1);

	fake_run(f, FAKE_CHATTERS, MESSAGE_RESET);
	cr_assert_eq(activate(link), 0);
	cr_assert_eq(device_link_reset(link), 0);
	cr_assert_eq(up.n_config, 0); /* upcalls are the event loop's alone */
	fake_loop_until(link, &up.n_config, 1);
	cr_assert_eq(device_link_config_read(link, 0, 8), UINT64_C(0xa5a5a5a5a5a5a5a5));
}

Test(request, condemn_by_another_thread_releases_the_waiter)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = fake_start(link, 1);
	pthread_t vcpu;

	link->request_deadline_ms = FAKE_PATIENCE_MS * 10;
	fake_run(f, FAKE_SILENT, MESSAGE_NONE);
	vcpu = in_thread(activate_thread, link);
	while (fake_load(&f->n_seen) == 0)
		(void)fake_turn(link, 1);
	device_link_condemn(link, "stalled");
	cr_assert_eq(result_of(vcpu), 0);
	assert_failed(link, "stalled");
}

Test(request, detach_releases_the_waiter_and_reports_once)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = fake_start(link, 1);
	pthread_t vcpu;

	link->request_deadline_ms = FAKE_PATIENCE_MS * 10;
	fake_run(f, FAKE_SILENT, MESSAGE_NONE);
	vcpu = in_thread(activate_thread, link);
	while (fake_load(&f->n_seen) == 0)
		(void)fake_turn(link, 1);
	device_link_detach(link, "killed");
	cr_assert_eq(up.n_failed, 1);
	cr_assert_str_eq(up.reason, "killed");
	cr_assert_eq(result_of(vcpu), 0);
}

static uint32_t stop_loop;

static void *loop_thread(void *link)
{
	while (!fake_load(&stop_loop))
		(void)fake_turn(link, 5);
	return NULL;
}

static void *pause_thread(void *link)
{
	intptr_t r = 0;

	for (int i = 0; i < 200 && r == 0; i++) {
		r = device_link_pause(link);
		if (r == 0)
			r = device_link_resume(link);
	}
	return (void *)r;
}

static void *reactivate_thread(void *link)
{
	intptr_t r = 0;

	for (int i = 0; i < 50 && r == 0; i++) {
		r = activate(link);
		if (r == 0)
			r = device_link_reset(link);
		device_link_config_write(link, 32, 2, (uint64_t)i);
		(void)device_link_config_read(link, 30, 4);
	}
	return (void *)r;
}

Test(request, several_waiters_and_the_event_loop_share_the_channel)
{
	struct device_link *link = fake_link(&up);
	struct fake *f = fake_start(link, 1);
	uint64_t start = clock_now_ms();
	pthread_t threads[4];

	link->request_deadline_ms = FAKE_PATIENCE_MS;
	fake_run(f, FAKE_HONEST, MESSAGE_NONE);
	threads[0] = in_thread(loop_thread, link);
	threads[1] = in_thread(pause_thread, link);
	threads[2] = in_thread(reactivate_thread, link);
	threads[3] = in_thread(reactivate_thread, link);
	for (int i = 1; i < 4; i++)
		cr_assert_eq(result_of(threads[i]), 0, "%s", link->reason);
	__atomic_store_n(&stop_loop, 1, __ATOMIC_RELEASE);
	(void)result_of(threads[0]);
	/* a lost wake-up would not fail anything, but last until the deadline */
	cr_assert_lt(clock_now_ms() - start, FAKE_PATIENCE_MS);
}

/* ---- config space ---- */
