/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The channel to the core. Runs in the warden, on its event loop.
 *
 * The core may be compromised: what it says is decoded and checked by the codec, permitted by the
 * table below, and every slot and generation is compared with what the warden itself started. A
 * message that is not permitted ends the VM, nothing worse.
 */
#include "vmm-core/warden/vm.h"

#include <string.h>

#include "vmm-core/warden/control.h"

#define VM_CORE_BUDGET 64 /* messages per turn of the loop */

static int on_core_ready(void *ctx, const struct message *m, struct fdset *fds)
{
	static const struct timeval settled = { .tv_usec = VM_SETTLED_MS * 1000 };
	struct vm *vm = ctx;

	(void)m;
	(void)fds;
	vm->guest_ran = true;
	if (vm->phase == VM_PHASE_ENDING || vm->start_fault.text[0] != '\0')
		return 0; /* a child is dead already: everything or nothing */
	(void)event_add(vm->deadline, &settled);
	vm->phase = VM_PHASE_RUNNING;
	vm->state = VM_STATE_RUNNING;
	for (uint32_t i = 0; i < vm->config->n_devices; i++) {
		if (vm->devices[i].process.state == DEVICE_STATE_STARTING)
			vm->devices[i].process.state = DEVICE_STATE_READY;
		vm_device_want_standby(&vm->devices[i]);
	}
	return control_open(vm->control);
}

static int on_core_failed(void *ctx, const struct message *m, struct fdset *fds)
{
	struct vm *vm = ctx;

	(void)fds;
	vm_end(vm, STATUS_FAILED, "%s",
	       m->failed.text[0] != '\0' ? m->failed.text : "core: failed");
	return 0;
}

/* Times are the core's word: shown, never computed with. */
static void vm_core_log_time(struct vm *vm, uint64_t at_ns, const char *what)
{
	if (at_ns >= vm->params->exec_time_ns)
		vm_note(vm, LOG_LEVEL_INFO, "warden", "%.1f ms from exec to %s",
			(double)(at_ns - vm->params->exec_time_ns) / 1e6, what);
}

/* Limited: a guest may reboot as often as it likes, and must not push everything else out. */
static void vm_core_note_reboot(struct vm *vm)
{
	static struct log_limit limit;
	uint32_t n_before;

	if (!log_limit_pass(&limit, &n_before))
		return;
	if (n_before > 0)
		vm_note(vm, LOG_LEVEL_INFO, "warden", "the guest rebooted, %u times before",
			n_before);
	else
		vm_note(vm, LOG_LEVEL_INFO, "warden", "the guest rebooted");
}

static int on_vm_state(void *ctx, const struct message *m, struct fdset *fds)
{
	struct vm *vm = ctx;

	(void)fds;
	switch (m->vm_state.state) {
	case VM_STATE_STARTING:
	case VM_STATE_PAUSED:
	case VM_STATE_RUNNING:
		if (vm->phase == VM_PHASE_RUNNING)
			vm->state = m->vm_state.state;
		break;
	case VM_STATE_POWERED_OFF:
		vm->state = VM_STATE_POWERED_OFF;
		vm_end(vm, STATUS_POWERED_OFF, NULL);
		break;
	case VM_STATE_CRASHED:
		vm->state = VM_STATE_CRASHED;
		vm_end(vm, STATUS_CRASHED, "the guest crashed: %s",
		       m->vm_state.text[0] != '\0' ? m->vm_state.text : "no reason given");
		break;
	case VM_STATE_REBOOTED:
		vm_core_note_reboot(vm);
		break;
	case VM_STATE_FIRST_RUN:
		vm_core_log_time(vm, m->vm_state.value, "first KVM_RUN");
		break;
	case VM_STATE_FIRST_BYTE:
		vm_core_log_time(vm, m->vm_state.value, "the guest's first serial byte");
		break;
	case VM_STATE_N_:
		return CHANNEL_PEER_BAD;
	}
	return 0;
}

static int on_condemn(void *ctx, const struct message *m, struct fdset *fds)
{
	const struct message_device_event *e = &m->device_event;
	struct vm *vm = ctx;
	struct child *child = vm_find_child(vm, e->slot, e->generation);

	(void)fds;
	if (child == NULL) {
		/* Dead already, which is also how a device ends that reported its own failure. */
		if (vm->phase == VM_PHASE_STARTING && e->slot < vm->config->n_devices)
			vm_end(vm, STATUS_FAILED, "%s: %s", vm->devices[e->slot].process.name, e->text);
		return 0;
	}
	if (child == &vm->devices[e->slot].next)
		vm_next_condemned(&vm->devices[e->slot], e->text);
	else
		vm_device_condemn(child, e->text);
	if (vm->phase == VM_PHASE_STARTING)
		vm_end(vm, STATUS_FAILED, "%s: %s", child->name, e->text);
	return 0;
}

static int on_device_state(void *ctx, const struct message *m, struct fdset *fds)
{
	const struct message_device_event *e = &m->device_event;
	struct vm *vm = ctx;
	struct child *child = vm_find_child(vm, e->slot, e->generation);
	struct vm_device *d = &vm->devices[e->slot];

	(void)fds;
	if (child == &d->next) {
		vm_next_on_state(d, e->state);
	} else if (child != NULL) {
		child->state = e->state;
		if (e->state == DEVICE_STATE_READY || e->state == DEVICE_STATE_ACTIVE)
			vm_device_ready(d);
		else if (e->state == DEVICE_STATE_HELD)
			control_on_restart(vm->control, d, 0, "");
	}
	return 0;
}

/* The device whose process, the one that serves, the event is about; NULL: there is none (any more) */
static struct vm_device *find_serving(struct vm *vm, const struct message_device_event *e)
{
	struct child *child = vm_find_child(vm, e->slot, e->generation);

	return child != NULL && child == &vm->devices[e->slot].process ? &vm->devices[e->slot] : NULL;
}

static int on_stalled(void *ctx, const struct message *m, struct fdset *fds)
{
	struct vm_device *d = find_serving(ctx, &m->device_event);

	(void)fds;
	if (d != NULL)
		vm_device_stalled(d, m->device_event.text);
	return 0;
}

static int on_refused(void *ctx, const struct message *m, struct fdset *fds)
{
	struct vm_device *d = find_serving(ctx, &m->device_event);

	(void)fds;
	if (d != NULL)
		vm_device_refused(d, m->device_event.text);
	return 0;
}

static int on_revive(void *ctx, const struct message *m, struct fdset *fds)
{
	const struct message_device_event *e = &m->device_event;
	struct vm *vm = ctx;

	(void)fds;
	if (e->slot < vm->config->n_devices &&
	    vm->devices[e->slot].process.generation == e->generation)
		vm_device_revive(&vm->devices[e->slot]);
	return 0;
}

static int on_core_log(void *ctx, const struct message *m, struct fdset *fds)
{
	const struct message_device_event *e = &m->device_event;
	struct vm *vm = ctx;
	struct child *child = e->slot == MESSAGE_SLOT_CORE	 ? &vm->core :
			      e->slot < vm->config->n_devices ? &vm->devices[e->slot].process :
								NULL;
	uint32_t dropped = 0;

	(void)fds;
	if (child == NULL)
		return CHANNEL_PEER_BAD;
	/* A hostile process must not fill a log file: limited unless the user asked for detail. */
	if (vm->config->verbosity == 0 && e->level <= LOG_LEVEL_WARNING &&
	    !log_limit_pass(&child->log_limit, &dropped)) {
		log_ring_add(&vm->log, child->name, e->text);
		control_on_log(vm->control);
		return 0;
	}
	if (dropped > 0)
		vm_note(vm, LOG_LEVEL_WARNING, child->name, "%u records not shown", dropped);
	vm_note(vm, (enum log_level)e->level, child->name, "%s", e->text);
	return 0;
}

static int on_core_answer(void *ctx, const struct message *m, struct fdset *fds)
{
	struct vm *vm = ctx;

	(void)fds;
	if (m->seq != 0 && !vm_next_on_answer(vm, m))
		control_on_core_answer(vm->control, m);
	return 0;
}

#define IN_START (1u << VM_PHASE_STARTING)
#define IN_RUN (1u << VM_PHASE_RUNNING)
#define IN_ANY (IN_START | IN_RUN | 1u << VM_PHASE_ENDING)

static const struct message_rule vm_core_rules[] = {
	{ MESSAGE_CORE_READY, IN_START | 1u << VM_PHASE_ENDING, on_core_ready },
	{ MESSAGE_CORE_FAILED, IN_ANY, on_core_failed },
	{ MESSAGE_VM_STATE, IN_ANY, on_vm_state },
	{ MESSAGE_CONDEMN, IN_ANY, on_condemn },
	{ MESSAGE_STALLED, IN_RUN | 1u << VM_PHASE_ENDING, on_stalled },
	{ MESSAGE_REFUSED, IN_RUN | 1u << VM_PHASE_ENDING, on_refused },
	{ MESSAGE_REVIVE, IN_RUN | 1u << VM_PHASE_ENDING, on_revive },
	{ MESSAGE_DEVICE_STATE, IN_ANY, on_device_state },
	{ MESSAGE_LOG, IN_ANY, on_core_log },
	{ MESSAGE_REPLY, IN_RUN | 1u << VM_PHASE_ENDING, on_core_answer },
	{ MESSAGE_COUNTERS, IN_RUN | 1u << VM_PHASE_ENDING, on_core_answer },
	{ MESSAGE_NONE, 0, NULL },
};

/* Take at most @budget messages; Return: 0 when there may be more, else why it stopped. */
static int vm_core_receive(struct vm *vm, int budget)
{
	while (budget-- > 0) {
		cleanup_fdset struct fdset fds = FDSET_EMPTY;
		struct message m;
		int r = channel_receive(vm->core_channel, &m, &fds);

		if (r != 0)
			return r;
		r = message_dispatch(vm_core_rules, vm->phase, vm, &m, &fds);
		if (r != 0)
			return r;
	}
	return 0;
}

void vm_core_look(struct vm *vm)
{
	int r = vm_core_receive(vm, VM_CORE_BUDGET);

	if (r == 0 || r == CHANNEL_EMPTY)
		return;
	/* Closed: it is dying, its pidfd says how. Anything else: it broke the protocol. */
	(void)event_del(vm->core_event);
	if (r == CHANNEL_CLOSED) {
		child_kill(&vm->core);
		return;
	}
	if (r < 0)
		vm_end(vm, STATUS_FAILED, "core: its channel failed: %s", strerror(-r));
	else
		vm_end(vm, STATUS_FAILED, "core: broke the protocol: %s",
		       channel_fault(vm->core_channel));
}

static void on_core_readable(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	vm_core_look(ctx);
}

int vm_core_attach(struct vm *vm, int channel_fd)
{
	int r = channel_new(channel_fd, &vm->core_channel);

	if (r < 0)
		return r;
	vm->core_event = event_new(vm->base, channel_fd, EV_READ | EV_PERSIST, on_core_readable,
				   vm);
	if (vm->core_event == NULL || event_add(vm->core_event, NULL) < 0)
		return -ENOMEM;
	return 0;
}

void vm_core_drain(struct vm *vm)
{
	/* A dead core has at most a socket buffer of messages left. */
	if (vm->core_channel != NULL)
		(void)vm_core_receive(vm, 4096);
}

void vm_core_send(struct vm *vm, const struct message *m, const struct fdset *fds)
{
	int r = channel_send(vm->core_channel, m, fds);

	if (r == 0 || r == CHANNEL_CLOSED)
		return; /* closed: its pidfd tells the rest */
	vm_end(vm, STATUS_FAILED, "core: %s: %s", message_type_name(m->type),
	       r == -EAGAIN ? "does not read its messages" : strerror(-r));
}

static uint32_t vm_core_next_seq(struct vm *vm)
{
	if (++vm->last_seq == 0)
		vm->last_seq = 1;
	return vm->last_seq;
}

uint32_t vm_core_request_child(struct vm *vm, enum message_type type, const struct child *child,
			       struct message_child flags)
{
	struct message m = {
		.type = type,
		.generation = child->generation,
		.seq = vm_core_next_seq(vm),
		.child = flags,
	};

	m.child.slot = child->slot;
	m.child.generation = child->generation;
	m.child.type = vm->config->devices[child->slot].type;
	vm_core_send(vm, &m, NULL);
	return m.seq;
}

uint32_t vm_core_adjust(struct vm *vm, const struct message_adjust *adjust)
{
	const struct message m = {
		.type = MESSAGE_ADJUST, .seq = vm_core_next_seq(vm), .adjust = *adjust
	};

	vm_core_send(vm, &m, NULL);
	return m.seq;
}

uint32_t vm_core_request(struct vm *vm, enum message_type type, uint32_t slot)
{
	struct message m = { .type = type, .seq = vm_core_next_seq(vm) };

	if (type == MESSAGE_GET_COUNTERS)
		m.counters.slot = slot;
	vm_core_send(vm, &m, NULL);
	return m.seq;
}
