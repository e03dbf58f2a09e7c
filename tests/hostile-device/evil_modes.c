/* SPDX-License-Identifier: Apache-2.0 */
/* What the evil disk does wrong on its channel, and how it ends. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "evil.h"

#define FLOOD 10000
#define LATE_MS 3500 /* beyond the core's deadline of a request */
#define SLOW_MS 1500 /* below it, but not twice */
#define ORPHANS 4

static struct wire wire, body;

/* ---- ends ---- */

static enum evil_next act_exit0(struct evil *e)
{
	(void)e;
	_exit(0);
}

static enum evil_next act_exit1(struct evil *e)
{
	(void)e;
	_exit(1);
}

/* The first process of a pid namespace does not hear its own signals, but a fault kills it. */
static enum evil_next act_segv(struct evil *e)
{
	volatile char *at = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)e;
	(void)signal(SIGSEGV, SIG_DFL); /* a sanitizer would report it */
	*at = 0;
	return NEXT_SKIP;
}

static enum evil_next act_silence(struct evil *e)
{
	(void)e;
	evil_stay();
}

static enum evil_next act_close(struct evil *e)
{
	(void)close(EVIL_CHANNEL_FD);
	(void)e;
	evil_stay();
}

static enum evil_next act_half_close(struct evil *e)
{
	(void)shutdown(EVIL_CHANNEL_FD, SHUT_WR);
	(void)e;
	evil_stay();
}

/* Others keep the channel open when it has gone. */
static enum evil_next act_orphans(struct evil *e)
{
	for (int i = 0; i < ORPHANS; i++)
		if (fork() == 0)
			evil_stay();
	(void)e;
	_exit(1);
}

/* ---- well-formed messages at the wrong time, or of somebody else ---- */

static enum evil_next act_ready(struct evil *e)
{
	evil_send_empty(e, MESSAGE_READY);
	return NEXT_GO_ON;
}

static enum evil_next act_failed(struct evil *e)
{
	struct message m = { .type = MESSAGE_DEVICE_FAILED,
			     .failed.text = "\033[2Jbroken\nbulkhead: core: forged line" };

	evil_send(e, &m, NULL, 0);
	evil_stay();
}

static enum evil_next act_generation(struct evil *e)
{
	struct message m = { .type = MESSAGE_CONFIG_CHANGED, .generation = e->generation + 1 };

	evil_send(e, &m, NULL, 0);
	return NEXT_GO_ON;
}

static enum evil_next act_no_generation(struct evil *e)
{
	(void)e;
	wire.len = 0;
	wire_bytes(&wire, 19, NULL, 0); /* CONFIG_CHANGED */
	evil_send_wire(&wire);
	return NEXT_GO_ON;
}

static enum evil_next forge(struct evil *e, const struct message *m, bool with_fd)
{
	int fd = EVIL_CHANNEL_FD;

	evil_send(e, m, &fd, with_fd);
	return NEXT_GO_ON;
}

static enum evil_next act_condemn(struct evil *e)
{
	const struct message m = { .type = MESSAGE_CONDEMN,
				   .device_event = { .slot = 1,
						     .generation = 1,
						     .state = DEVICE_STATE_FAILED,
						     .text = "forged" } };

	return forge(e, &m, false);
}

static enum evil_next act_child_added(struct evil *e)
{
	const struct message m = { .type = MESSAGE_CHILD_ADDED,
				   .child = {
					   .slot = 1, .generation = 2, .type = DEVICE_TYPE_BLK } };

	return forge(e, &m, true);
}

static enum evil_next act_child_gone(struct evil *e)
{
	const struct message m = { .type = MESSAGE_CHILD_GONE,
				   .child = {
					   .slot = 1, .generation = 1, .type = DEVICE_TYPE_BLK } };

	return forge(e, &m, false);
}

static enum evil_next act_vm_state(struct evil *e)
{
	const struct message m = { .type = MESSAGE_VM_STATE,
				   .vm_state.state = VM_STATE_POWERED_OFF };

	return forge(e, &m, false);
}

static enum evil_next act_control_request(struct evil *e)
{
	const struct message m = { .type = MESSAGE_CONTROL_REQUEST,
				   .control_request = { .protocol = PROTOCOL_VERSION,
							.command = CONTROL_SHUTDOWN } };

	return forge(e, &m, false);
}

static enum evil_next act_log(struct evil *e)
{
	const struct message m = { .type = MESSAGE_LOG,
				   .device_event = {
					   .slot = 1, .generation = 1, .text = "forged" } };

	return forge(e, &m, false);
}

static enum evil_next act_core_failed(struct evil *e)
{
	const struct message m = { .type = MESSAGE_CORE_FAILED, .failed.text = "forged" };

	return forge(e, &m, false);
}

static enum evil_next act_core_start(struct evil *e)
{
	(void)e;
	wire_envelope(e, &wire, 0);
	wire_bytes(&wire, 64, NULL, 0); /* without its fds: malformed before it is judged */
	evil_send_wire(&wire);
	return NEXT_GO_ON;
}

static enum evil_next act_setup(struct evil *e)
{
	const struct message m = { .type = MESSAGE_SETUP,
				   .setup = { .n_queues = 1,
					      .n_regions = 1,
					      .regions = { { .gpa = 0, .size = 4096 } } } };
	const int fds[] = { EVIL_CHANNEL_FD, EVIL_CHANNEL_FD };

	evil_send(e, &m, fds, 2);
	return NEXT_GO_ON;
}

static enum evil_next act_enable_queue(struct evil *e)
{
	const struct message m = {
		.type = MESSAGE_ENABLE_QUEUE,
		.seq = 1,
		.enable_queue = { .size = 16, .desc = 0x1000, .avail = 0x2000, .used = 0x3000 }
	};
	const int fds[] = { EVIL_CHANNEL_FD, EVIL_CHANNEL_FD };

	evil_send(e, &m, fds, 2);
	return NEXT_GO_ON;
}

/* Messages without a body that only the core or the warden send. */
#define FORGE_EMPTY(name, type)                                                                    \
	static enum evil_next act_##name(struct evil *e)                                           \
	{                                                                                          \
		evil_send_empty(e, type);                                                          \
		return NEXT_GO_ON;                                                                 \
	}

FORGE_EMPTY(needs_reset, MESSAGE_NEEDS_RESET)
FORGE_EMPTY(reset, MESSAGE_RESET)
FORGE_EMPTY(pause, MESSAGE_PAUSE)
FORGE_EMPTY(resume, MESSAGE_RESUME)
FORGE_EMPTY(ping, MESSAGE_PING)
FORGE_EMPTY(power_button, MESSAGE_POWER_BUTTON)
FORGE_EMPTY(reboot, MESSAGE_REBOOT)
FORGE_EMPTY(core_ready, MESSAGE_CORE_READY)
FORGE_EMPTY(set_features, MESSAGE_SET_FEATURES)
FORGE_EMPTY(disable_queue, MESSAGE_DISABLE_QUEUE)
FORGE_EMPTY(get_counters, MESSAGE_GET_COUNTERS)
FORGE_EMPTY(counters, MESSAGE_COUNTERS)
FORGE_EMPTY(config_written, MESSAGE_CONFIG_WRITTEN)

/* ---- frames that are no messages ---- */

static enum evil_next act_unknown(struct evil *e)
{
	wire_envelope(e, &wire, 0);
	wire_bytes(&wire, 99, NULL, 0);
	evil_send_wire(&wire);
	return NEXT_GO_ON;
}

static enum evil_next act_no_body(struct evil *e)
{
	wire_envelope(e, &wire, 0);
	evil_send_wire(&wire);
	return NEXT_GO_ON;
}

static enum evil_next act_two_bodies(struct evil *e)
{
	wire_envelope(e, &wire, 0);
	wire_bytes(&wire, 18, NULL, 0);
	wire_bytes(&wire, 19, NULL, 0);
	evil_send_wire(&wire);
	return NEXT_GO_ON;
}

static void send_config_of(struct evil *e, size_t len)
{
	static uint8_t data[MESSAGE_FRAME_MAX + 64];

	body.len = 0;
	wire_bytes(&body, 2, data, len);
	wire_envelope(e, &wire, 0);
	wire_wrap(&wire, 19, &body); /* CONFIG_CHANGED */
}

static enum evil_next act_oversized(struct evil *e)
{
	send_config_of(e, MESSAGE_FRAME_MAX);
	(void)evil_send_bytes(wire.bytes, MESSAGE_FRAME_MAX + 1, NULL, 0);
	return NEXT_GO_ON;
}

/* The longest frame that may be, all of it one field that is too long. */
static enum evil_next act_longest(struct evil *e)
{
	send_config_of(e, MESSAGE_FRAME_MAX - 64);
	evil_send_wire(&wire);
	return NEXT_GO_ON;
}

static enum evil_next act_truncated(struct evil *e)
{
	send_config_of(e, 32);
	(void)evil_send_bytes(wire.bytes, wire.len - 7, NULL, 0);
	return NEXT_GO_ON;
}

static enum evil_next act_random(struct evil *e)
{
	uint8_t bytes[512];
	uint32_t state = 20250923;

	(void)e;
	for (size_t i = 0; i < sizeof(bytes); i++) {
		state = state * 1664525u + 1013904223u;
		bytes[i] = (uint8_t)(state >> 24);
	}
	(void)evil_send_bytes(bytes, sizeof(bytes), NULL, 0);
	return NEXT_GO_ON;
}

static enum evil_next act_empty_frame(struct evil *e)
{
	(void)e;
	(void)evil_send_bytes("", 0, NULL, 0);
	return NEXT_GO_ON;
}

/* ---- replies ---- */

static enum evil_next act_reply_unasked(struct evil *e)
{
	evil_reply(e, e->seq + 1000, 0);
	return NEXT_GO_ON;
}

static enum evil_next act_reply_wrong(struct evil *e)
{
	evil_reply(e, e->seq + 1, 0);
	return NEXT_SKIP;
}

static enum evil_next act_reply_twice(struct evil *e)
{
	evil_reply(e, e->seq, 0);
	evil_reply(e, e->seq, 0);
	return NEXT_SKIP;
}

static enum evil_next act_reply_refuse(struct evil *e)
{
	evil_reply(e, e->seq, 22);
	return NEXT_SKIP;
}

static enum evil_next act_reply_late(struct evil *e)
{
	(void)e;
	(void)usleep(LATE_MS * 1000);
	return NEXT_GO_ON;
}

static enum evil_next act_slow(struct evil *e)
{
	(void)e;
	(void)usleep(SLOW_MS * 1000);
	return NEXT_GO_ON;
}

/* Not at all, but everything else. */
static enum evil_next act_reply_none(struct evil *e)
{
	(void)e;
	return NEXT_SKIP;
}

static enum evil_next reply_raw(struct evil *e, uint64_t result)
{
	body.len = 0;
	wire_number(&body, 1, result);
	wire_envelope(e, &wire, e->seq);
	wire_wrap(&wire, 8, &body);
	evil_send_wire(&wire);
	return NEXT_SKIP;
}

static enum evil_next act_reply_negative(struct evil *e)
{
	return reply_raw(e, UINT64_MAX); /* -1 as protobuf has it */
}

static enum evil_next act_reply_huge(struct evil *e)
{
	return reply_raw(e, 4096);
}

/* ---- descriptors ---- */

static enum evil_next send_fds(struct evil *e, size_t n)
{
	int fds[300];

	for (size_t i = 0; i < n; i++)
		fds[i] = EVIL_CHANNEL_FD; /* a cycle: the channel travels through itself */
	send_config_of(e, 4);
	if (!evil_send_bytes(wire.bytes, wire.len, fds, n))
		(void)evil_send_bytes(wire.bytes, wire.len, fds, 253); /* the kernel's limit */
	return NEXT_GO_ON;
}

#define FDS(n)                                                                                     \
	static enum evil_next act_fds_##n(struct evil *e)                                          \
	{                                                                                          \
		return send_fds(e, n);                                                             \
	}

FDS(1)
FDS(16)
FDS(17)
FDS(253)
FDS(254)

static enum evil_next act_fds_empty(struct evil *e)
{
	int fd = EVIL_CHANNEL_FD;

	(void)e;
	(void)evil_send_bytes("", 0, &fd, 1);
	return NEXT_GO_ON;
}

/* ---- floods, and config space ---- */

static enum evil_next act_flood_config(struct evil *e)
{
	send_config_of(e, 4);
	for (int i = 0; i < FLOOD; i++)
		evil_send_wire(&wire);
	return NEXT_GO_ON;
}

static enum evil_next act_flood_reply(struct evil *e)
{
	for (int i = 0; i < FLOOD; i++)
		evil_reply(e, e->seq, 0);
	return NEXT_GO_ON;
}

static enum evil_next act_flood_ping(struct evil *e)
{
	for (int i = 0; i < FLOOD; i++)
		evil_send_empty(e, MESSAGE_PING);
	return NEXT_GO_ON;
}

static enum evil_next act_flood_needs_reset(struct evil *e)
{
	for (int i = 0; i < FLOOD; i++)
		evil_send_empty(e, MESSAGE_NEEDS_RESET);
	return NEXT_GO_ON;
}

/* Fewer than counts as a flood, again and again: legal, if useless. */
static enum evil_next act_chatter(struct evil *e)
{
	send_config_of(e, 4);
	for (int i = 0; i < 40; i++) {
		evil_send_wire(&wire);
		(void)usleep(20000);
	}
	return NEXT_GO_ON;
}

/* The same instead of an answer: waking the one who waits must not move the deadline. */
static enum evil_next act_drip(struct evil *e)
{
	for (int i = 0; i < 5; i++)
		(void)act_chatter(e);
	return NEXT_GO_ON;
}

static enum evil_next act_config_beyond(struct evil *e)
{
	struct message m = { .type = MESSAGE_CONFIG_CHANGED,
			     .config = { .offset = EVIL_CONFIG_LEN - 4, .len = 8 } };

	evil_send(e, &m, NULL, 0);
	return NEXT_GO_ON;
}

static enum evil_next act_config_wraps(struct evil *e)
{
	body.len = 0;
	wire_number(&body, 1, UINT32_MAX - 3);
	wire_bytes(&body, 2, "12345678", 8);
	wire_envelope(e, &wire, 0);
	wire_wrap(&wire, 19, &body);
	evil_send_wire(&wire);
	return NEXT_GO_ON;
}

/* ---- the table ---- */

#define ONCE true
#define ALWAYS false

const struct evil_action evil_actions[] = {
	{ "exit0", act_exit0, ONCE },
	{ "exit1", act_exit1, ONCE },
	{ "segv", act_segv, ONCE },
	{ "silence", act_silence, ONCE },
	{ "close", act_close, ONCE },
	{ "half-close", act_half_close, ONCE },
	{ "orphans", act_orphans, ONCE },
	{ "ready", act_ready, ONCE },
	{ "failed", act_failed, ONCE },
	{ "generation", act_generation, ONCE },
	{ "no-generation", act_no_generation, ONCE },
	{ "condemn", act_condemn, ONCE },
	{ "child-added", act_child_added, ONCE },
	{ "child-gone", act_child_gone, ONCE },
	{ "vm-state", act_vm_state, ONCE },
	{ "control-request", act_control_request, ONCE },
	{ "log", act_log, ONCE },
	{ "core-failed", act_core_failed, ONCE },
	{ "core-start", act_core_start, ONCE },
	{ "setup", act_setup, ONCE },
	{ "enable-queue", act_enable_queue, ONCE },
	{ "needs-reset", act_needs_reset, ONCE },
	{ "flood-needs-reset", act_flood_needs_reset, ONCE },
	{ "reset", act_reset, ONCE },
	{ "pause", act_pause, ONCE },
	{ "resume", act_resume, ONCE },
	{ "ping", act_ping, ONCE },
	{ "power-button", act_power_button, ONCE },
	{ "reboot", act_reboot, ONCE },
	{ "core-ready", act_core_ready, ONCE },
	{ "set-features", act_set_features, ONCE },
	{ "disable-queue", act_disable_queue, ONCE },
	{ "get-counters", act_get_counters, ONCE },
	{ "counters", act_counters, ONCE },
	{ "config-written", act_config_written, ONCE },
	{ "unknown", act_unknown, ONCE },
	{ "no-body", act_no_body, ONCE },
	{ "two-bodies", act_two_bodies, ONCE },
	{ "oversized", act_oversized, ONCE },
	{ "longest", act_longest, ONCE },
	{ "truncated", act_truncated, ONCE },
	{ "random", act_random, ONCE },
	{ "empty-frame", act_empty_frame, ONCE },
	{ "reply-unasked", act_reply_unasked, ONCE },
	{ "reply-wrong", act_reply_wrong, ONCE },
	{ "reply-twice", act_reply_twice, ONCE },
	{ "reply-refuse", act_reply_refuse, ONCE },
	{ "reply-late", act_reply_late, ALWAYS },
	{ "reply-none", act_reply_none, ALWAYS },
	{ "reply-negative", act_reply_negative, ONCE },
	{ "reply-huge", act_reply_huge, ONCE },
	{ "slow", act_slow, ALWAYS },
	{ "fds-1", act_fds_1, ONCE },
	{ "fds-16", act_fds_16, ONCE },
	{ "fds-17", act_fds_17, ONCE },
	{ "fds-253", act_fds_253, ONCE },
	{ "fds-254", act_fds_254, ONCE },
	{ "fds-empty", act_fds_empty, ONCE },
	{ "flood-config", act_flood_config, ONCE },
	{ "flood-reply", act_flood_reply, ONCE },
	{ "flood-ping", act_flood_ping, ONCE },
	{ "chatter", act_chatter, ONCE },
	{ "drip", act_drip, ONCE },
	{ "config-beyond", act_config_beyond, ONCE },
	{ "config-wraps", act_config_wraps, ONCE },
	{ 0 },
};

static const char *const step_names[STEP_N_] = {
	[STEP_HELLO] = "hello",     [STEP_SETUP] = "setup",       [STEP_MAPPED] = "mapped",
	[STEP_READY] = "ready",     [STEP_FEATURES] = "features", [STEP_ENABLE] = "enable",
	[STEP_RESET] = "reset",     [STEP_PAUSE] = "pause",       [STEP_CONFIG] = "config",
	[STEP_REQUEST] = "request", [STEP_SERVED] = "served",
};

static bool find_action(const struct evil_action *table, const char *name, struct evil *e)
{
	for (; table->name != NULL; table++) {
		if (strcmp(table->name, name) != 0)
			continue;
		e->action = table->act;
		e->is_once = table->is_once;
		return true;
	}
	return false;
}

bool evil_mode(const char *text, struct evil *e)
{
	const char *colon = strchr(text, ':');

	for (int i = 0; colon != NULL && i < STEP_N_; i++) {
		if (strncmp(step_names[i], text, (size_t)(colon - text)) != 0 ||
		    step_names[i][colon - text] != '\0')
			continue;
		e->step = (enum evil_step)i;
		return find_action(evil_actions, colon + 1, e) ||
		       find_action(evil_hello_actions, colon + 1, e) ||
		       find_action(evil_page_actions, colon + 1, e) ||
		       find_action(evil_forge_actions, colon + 1, e);
	}
	return false;
}
