/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The core's side of the warden's channel.
 *
 * The warden is trusted, but the table below is kept all the same: what it may ask depends on the
 * state, and a mistake on either side shows at once.
 */
#include <poll.h>
#include <string.h>

#include "ipc/clock.h"
#include "vmm-core/machine/core.h"

#define CORE_START_DEADLINE_MS 90000u /* the warden may have to wait for the lock of every image */
#define CORE_SEND_DEADLINE_MS 1000u
#define CORE_RECEIVE_BUDGET 32u /* messages per turn of the loop */

static int core_try_send(struct core *core, const struct message *m)
{
	int r;

	(void)pthread_mutex_lock(&core->send_lock);
	r = channel_send(core->warden, m, NULL);
	(void)pthread_mutex_unlock(&core->send_lock);
	return r;
}

void core_send(struct core *core, const struct message *m)
{
	uint64_t deadline_ms = clock_now_ms() + CORE_SEND_DEADLINE_MS;

	for (;;) {
		struct pollfd pfd = { .fd = channel_fd(core->warden), .events = POLLOUT };
		int left, r = core_try_send(core, m);

		if (r == 0)
			return;
		left = clock_left_ms(deadline_ms);
		if (r != -EAGAIN || left == 0)
			_exit(1);
		(void)poll(&pfd, 1, left);
	}
}

/* Log records are sent from any thread, and rather lost than waited for. */
static void core_log_sink(void *ctx, enum log_level level, const char *line)
{
	struct message m = {
		.type = MESSAGE_LOG,
		.device_event = { .slot = MESSAGE_SLOT_CORE, .level = level },
	};
	size_t len = strnlen(line, sizeof(m.device_event.text) - 1);

	memcpy(m.device_event.text, line, len);
	(void)core_try_send(ctx, &m);
}

void core_open_warden(struct core *core, int fd)
{
	(void)pthread_mutex_init(&core->send_lock, NULL);
	if (channel_new(fd, &core->warden) != 0) {
		log_error("core: fd %d is not a channel: started by bulkhead only", fd);
		_exit(1);
	}
	log_set_sink(core_log_sink, core);
}

void core_send_state(struct core *core, enum vm_state state, uint64_t value, const char *text)
{
	struct message m = {
		.type = MESSAGE_VM_STATE,
		.vm_state = { .state = state, .value = value },
	};
	size_t len = strnlen(text, sizeof(m.vm_state.text) - 1);

	memcpy(m.vm_state.text, text, len);
	core_send(core, &m);
}

void core_reply(struct core *core, uint32_t seq, int32_t result)
{
	const struct message m = {
		.type = MESSAGE_REPLY, .seq = seq, .reply = { .result = result }
	};

	if (seq != 0)
		core_send(core, &m);
}

static int on_core_start(void *ctx, const struct message *m, struct fdset *fds)
{
	const struct message_core_start *start = &m->core_start;
	struct core *core = ctx;
	uint32_t i = 0;

	if (start->protocol != PROTOCOL_VERSION)
		core_fail(core, "core: another version than the warden's is installed");
	core->config = start->config;
	core->machine.kvm_fd = fdset_steal(fds, i++);
	core->source.kernel_fd = fdset_steal(fds, i++);
	core->uid_lock_fd = fdset_steal(fds, i++);
	core->sandbox.parent_pidfd = fdset_steal(fds, i++);
	core->source.initramfs_fd = start->has_initramfs ? fdset_steal(fds, i++) : -1;
	core->serial_in_fd = start->has_serial_in ? fdset_steal(fds, i++) : -1;
	core->serial_out_fd = start->has_serial_out ? fdset_steal(fds, i++) : -1;
	core->sandbox.uid = start->uid;
	core->sandbox.gid = start->gid;
	core->sandbox.seccomp_log = core->config.seccomp_log;
	core->exec_time_ns = start->exec_time_ns;
	core->state = CORE_BUILDING;
	return 0;
}

static int on_namespaces(void *ctx, const struct message *m, struct fdset *fds)
{
	struct core *core = ctx;

	(void)m;
	core->sandbox.network_fd = fdset_steal(fds, 0);
	core->sandbox.root_fd = fdset_steal(fds, 1);
	core->state = CORE_STARTING;
	return 0;
}

static int on_child_added(void *ctx, const struct message *m, struct fdset *fds)
{
	core_child_added(ctx, &m->child, fdset_steal(fds, 0));
	return 0;
}

static int on_child_offered(void *ctx, const struct message *m, struct fdset *fds)
{
	core_child_offered(ctx, &m->child, fdset_steal(fds, 0));
	return 0;
}

static int on_child_released(void *ctx, const struct message *m, struct fdset *fds)
{
	(void)fds;
	core_child_released(ctx, &m->child);
	return 0;
}

static int on_child_traced(void *ctx, const struct message *m, struct fdset *fds)
{
	(void)fds;
	core_child_traced(ctx, &m->child);
	return 0;
}

static int on_drain(void *ctx, const struct message *m, struct fdset *fds)
{
	(void)fds;
	core_reply(ctx, m->seq, core_child_drain(ctx, &m->child));
	return 0;
}

static int on_child_gone(void *ctx, const struct message *m, struct fdset *fds)
{
	(void)fds;
	core_child_gone(ctx, &m->child);
	return 0;
}

static int on_ping(void *ctx, const struct message *m, struct fdset *fds)
{
	(void)fds;
	core_reply(ctx, m->seq, 0);
	return 0;
}

static int on_power_button(void *ctx, const struct message *m, struct fdset *fds)
{
	struct core *core = ctx;

	(void)fds;
	acpi_pm_press_power_button(&core->acpi_pm);
	core_reply(core, m->seq, 0);
	return 0;
}

static int on_reboot(void *ctx, const struct message *m, struct fdset *fds)
{
	struct core *core = ctx;

	(void)fds;
	core->is_reset_wanted = true; /* a paused VM does it when it is resumed */
	vcpus_stop(&core->machine.vcpus);
	core_reply(core, m->seq, 0);
	return 0;
}

static int on_pause(void *ctx, const struct message *m, struct fdset *fds)
{
	struct core *core = ctx;

	(void)fds;
	if (core->pause_seq != 0) {
		core_reply(core, m->seq, EBUSY);
		return 0;
	}
	if (core->state == CORE_PAUSED) {
		core_reply(core, m->seq, 0);
		return 0;
	}
	core->is_wanted_running = false;
	core->pause_seq = m->seq;
	vcpus_stop(&core->machine.vcpus); /* answered when they have stopped */
	return 0;
}

static int on_resume(void *ctx, const struct message *m, struct fdset *fds)
{
	struct core *core = ctx;

	(void)fds;
	core_reply(core, core->pause_seq, ECANCELED);
	core->pause_seq = 0;
	core->is_wanted_running = true;
	core_reply(core, m->seq, 0);
	core_settle(core);
	return 0;
}

static int on_get_counters(void *ctx, const struct message *m, struct fdset *fds)
{
	struct message answer = { .type = MESSAGE_COUNTERS, .seq = m->seq };

	(void)fds;
	if (core_device_counters(ctx, m->counters.slot, &answer.counters))
		core_send(ctx, &answer);
	else
		core_reply(ctx, m->seq, ENODEV);
	return 0;
}

static int on_adjust(void *ctx, const struct message *m, struct fdset *fds)
{
	struct core *core = ctx;
	int r = DEVICE_LINK_GONE;

	(void)fds;
	if (m->adjust.slot < core->config.n_devices)
		r = device_link_adjust(core->slots[m->adjust.slot].link, &m->adjust);
	core_reply(core, m->seq, r == 0 ? 0 : ENODEV);
	return 0;
}

#define IN_STATE(state) (1u << (state))
#define IN_VM (IN_STATE(CORE_PAUSED) | IN_STATE(CORE_RUNNING))
#define IN_ALL (IN_STATE(CORE_STARTING) | IN_VM)

static const struct message_rule core_rules[] = {
	{ MESSAGE_CORE_START, IN_STATE(CORE_WAITING), on_core_start },
	{ MESSAGE_NAMESPACES, IN_STATE(CORE_BUILDING), on_namespaces },
	{ MESSAGE_CHILD_ADDED, IN_ALL, on_child_added },
	{ MESSAGE_CHILD_GONE, IN_ALL, on_child_gone },
	{ MESSAGE_CHILD_OFFERED, IN_VM, on_child_offered },
	{ MESSAGE_CHILD_RELEASED, IN_VM, on_child_released },
	{ MESSAGE_CHILD_TRACED, IN_VM, on_child_traced },
	{ MESSAGE_DRAIN, IN_VM, on_drain },
	{ MESSAGE_PING, IN_ALL, on_ping },
	{ MESSAGE_POWER_BUTTON, IN_VM, on_power_button },
	{ MESSAGE_REBOOT, IN_VM, on_reboot },
	{ MESSAGE_PAUSE, IN_VM, on_pause },
	{ MESSAGE_RESUME, IN_ALL, on_resume },
	{ MESSAGE_GET_COUNTERS, IN_VM, on_get_counters },
	{ MESSAGE_ADJUST, IN_VM, on_adjust },
	{ MESSAGE_NONE, 0, NULL },
};

/** core_take() - act on one receive; Return: false when there is nothing more to take */
static bool core_take(struct core *core, int r, const struct message *m, struct fdset *fds)
{
	if (r == CHANNEL_EMPTY)
		return false;
	if (r == CHANNEL_CLOSED)
		_exit(1); /* nobody is left who could want this VM */
	if (r == 0)
		r = message_dispatch(core_rules, core->state, core, m, fds);
	if (r != 0)
		core_fail(core, "core: unusable %s from the warden: %s",
			  message_type_name(m->type), channel_fault(core->warden));
	return true;
}

void core_on_warden(evutil_socket_t fd, short what, void *ctx)
{
	struct core *core = ctx;

	(void)fd;
	(void)what;
	for (uint32_t i = 0; i < CORE_RECEIVE_BUDGET; i++) {
		cleanup_fdset struct fdset fds = FDSET_EMPTY;
		struct message m = { .type = MESSAGE_NONE };
		int r = channel_receive(core->warden, &m, &fds);

		if (!core_take(core, r, &m, &fds))
			return;
	}
}

void core_wait_warden(struct core *core)
{
	uint64_t deadline_ms = clock_now_ms() + CORE_START_DEADLINE_MS;
	cleanup_fdset struct fdset fds = FDSET_EMPTY;
	struct message m = { .type = MESSAGE_NONE };

	(void)core_take(core, channel_receive_wait(core->warden, deadline_ms, &m, &fds), &m, &fds);
}
