/* SPDX-License-Identifier: Apache-2.0 */
/* The life of one VM, from opening its files to removing its run dir. Runs in the warden. */
#include "vmm-core/warden/vm.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ipc/clock.h"
#include "ipc/resident.h"
#include "vmm-core/warden/control.h"

void vm_end(struct vm *vm, enum exit_status status, const char *fmt, ...)
{
	char text[sizeof(vm->end.text)] = "";
	va_list ap;

	if (vm->phase == VM_PHASE_ENDING)
		return;
	if (fmt != NULL) {
		va_start(ap, fmt);
		(void)vsnprintf(text, sizeof(text), fmt, ap);
		va_end(ap);
	}
	(void)failure_set(&vm->end, status, "%s", text);
	vm->phase = VM_PHASE_ENDING;
	(void)event_base_loopbreak(vm->base);
}

const char *vm_state_name(const struct vm *vm)
{
	if (vm->phase == VM_PHASE_STARTING)
		return "starting";
	switch (vm->state) {
	case VM_STATE_PAUSED:
		return "paused";
	case VM_STATE_POWERED_OFF:
		return "powered-off";
	case VM_STATE_CRASHED:
		return "crashed";
	case VM_STATE_STARTING:
	case VM_STATE_RUNNING:
	case VM_STATE_REBOOTED:
	case VM_STATE_FIRST_RUN:
	case VM_STATE_FIRST_BYTE:
	case VM_STATE_N_:
		break;
	}
	return "running";
}

/* The first signal asks the guest, the second does not ask. */
static void on_signal(evutil_socket_t number, short what, void *ctx)
{
	struct vm *vm = ctx;

	(void)what;
	if (vm->phase == VM_PHASE_STARTING) {
		vm_end(vm, STATUS_FAILED, "ended by SIG%s during the start",
		       sigabbrev_np((int)number));
		return;
	}
	if (vm->n_signals++ > 0) {
		vm_end(vm, STATUS_FAILED, "killed by a second signal, SIG%s",
		       sigabbrev_np((int)number));
		return;
	}
	vm_note(vm, LOG_LEVEL_INFO, "warden", "SIG%s: pressing the guest's power button",
		sigabbrev_np((int)number));
	(void)vm_core_request(vm, MESSAGE_POWER_BUTTON, 0);
}

/* The terminal of --console tty: its device process is in no session, so it is told. */
static void on_resized(evutil_socket_t number, short what, void *ctx)
{
	struct vm *vm = ctx;

	(void)what;
	for (uint32_t i = 0; i < vm->config->n_devices; i++) {
		if (vm->config->devices[i].type == DEVICE_TYPE_CONSOLE)
			child_signal(&vm->devices[i].process, (int)number);
	}
}

static void on_deadline(evutil_socket_t fd, short what, void *ctx)
{
	struct vm *vm = ctx;
	const char *who = "core";

	(void)fd;
	(void)what;
	if (vm->phase == VM_PHASE_RUNNING) {
		resident_trim();
		return;
	}
	if (vm->start_fault.text[0] != '\0') {
		vm_end(vm, STATUS_FAILED, "%s", vm->start_fault.text);
		return;
	}
	for (uint32_t i = vm->config->n_devices; i-- > 0;) {
		if (vm->devices[i].process.state == DEVICE_STATE_STARTING)
			who = vm->devices[i].process.name;
	}
	vm_end(vm, STATUS_FAILED, "%s: not ready in time", who);
}

static int vm_make_loop(struct vm *vm)
{
	static const int numbers[ARRAY_LEN(vm->signals)] = { SIGTERM, SIGINT, SIGHUP, SIGWINCH };
	struct event_config *config = event_config_new();

	if (config == NULL)
		return -ENOMEM;
	(void)event_config_set_flag(config, EVENT_BASE_FLAG_IGNORE_ENV | EVENT_BASE_FLAG_NOLOCK);
	vm->base = event_base_new_with_config(config);
	event_config_free(config);
	if (vm->base == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		vm->signals[i] = evsignal_new(vm->base, numbers[i],
					      numbers[i] == SIGWINCH ? on_resized : on_signal, vm);
		if (vm->signals[i] == NULL || event_add(vm->signals[i], NULL) < 0)
			return -ENOMEM;
	}
	for (uint32_t i = 0; i < vm->config->n_devices; i++) {
		if (vm_device_open(&vm->devices[i]) < 0)
			return -ENOMEM;
	}
	vm->deadline = evtimer_new(vm->base, on_deadline, vm);
	return vm->deadline == NULL ? -ENOMEM : 0;
}

static int vm_arm_deadline(struct vm *vm)
{
	uint64_t ms = VM_START_DEADLINE_MS;
	struct timeval after;

	if (vm->config->memory_prefault)
		ms += (vm->config->memory_size >> 30) * VM_PREFAULT_MS_PER_GIB;
	after = (struct timeval){ .tv_sec = (time_t)(ms / 1000) };
	return event_add(vm->deadline, &after) < 0 ? -ENOMEM : 0;
}

static int vm_open_chardev(struct vm *vm, const struct chardev_request *request,
			   struct chardev *ret, struct failure *f)
{
	int r = chardev_open(request, &vm->run_dir, ret, f);

	if (r == 0 && ret->pty_path[0] != '\0')
		vm_note(vm, LOG_LEVEL_WARNING, "warden", "%s pty: %s", request->option,
			ret->pty_path);
	return r;
}

/* COM1's fds go to the core, the console's to its device process. */
static int vm_open_chardevs(struct vm *vm, struct failure *f)
{
	struct chardev_request request = {
		"--serial", vm->config->serial, vm->config->serial_path, RUN_DIR_PTY,
	};
	int r = vm_open_chardev(vm, &request, &vm->serial, f);

	for (uint32_t i = 0; i < vm->config->n_devices && r == 0; i++) {
		const struct device_config *d = &vm->config->devices[i];

		if (d->type != DEVICE_TYPE_CONSOLE)
			continue;
		request = (struct chardev_request){ "--console", d->console.mode, d->path,
						    RUN_DIR_CONSOLE_PTY };
		r = vm_open_chardev(vm, &request, &vm->console, f);
	}
	return r;
}

/*
 * Everything up to the first message. The core is started before its files are opened, because it
 * takes as long to load as they do; after that, the order puts the likely mistakes first.
 */
static int vm_open(struct vm *vm, struct failure *f)
{
	const struct vm_params *p = vm->params;
	int r = vm_make_loop(vm); /* first: from here on SIGTERM means an orderly end */

	if (r == 0)
		r = namespaces_start(&vm->namespaces);
	if (r == 0)
		r = spawner_init(p->stderr_fd, &vm->spawner, f);
	if (r == 0)
		r = vm_start_core(vm, f);
	if (r == 0)
		r = resources_open(vm->config, &vm->resources, f);
	if (r == 0)
		r = run_dir_claim(vm->config->run_dir, &vm->run_dir, f);
	if (r == 0)
		r = vm_open_chardevs(vm, f);
	if (r == 0)
		r = uid_block_claim(p->uid_lock_path, &p->uid_range, &vm->uids, f);
	if (r == 0)
		r = control_new(vm, &vm->control, f);
	if (r == 0)
		r = vsock_keeper_new(vm, f);
	return r;
}

static void vm_collect(struct child *child, uint64_t deadline)
{
	if (child_wait(child, deadline) < 0)
		log_error("%s: process %d does not end", child->name, (int)child->pid);
}

/* Kill what runs and collect it; everybody is told before anybody is waited for. */
static void vm_kill_children(struct vm *vm)
{
	uint64_t deadline = clock_now_ms() + VM_REAP_DEADLINE_MS;

	child_kill(&vm->core);
	for (uint32_t i = 0; i < vm->config->n_devices; i++) {
		child_kill(&vm->devices[i].process);
		child_kill(&vm->devices[i].next);
	}
	vm_collect(&vm->core, deadline);
	for (uint32_t i = 0; i < vm->config->n_devices; i++) {
		vm_collect(&vm->devices[i].process, deadline);
		vm_collect(&vm->devices[i].next, deadline);
	}
}

static void vm_free_event(struct event *event)
{
	if (event != NULL)
		event_free(event);
}

static void vm_tear_down(struct vm *vm)
{
	chardev_close(&vm->serial);
	chardev_close(&vm->console);
	vm_kill_children(vm);
	if (!vm->guest_ran)
		vm_core_drain(vm); /* it may have become ready in its last moment */
	vm->control = control_free(vm->control);
	vm->vsock_keeper = vsock_keeper_free(vm->vsock_keeper);
	for (uint32_t i = 0; i < vm->config->n_devices; i++)
		vm_device_close(&vm->devices[i]);
	vm_free_event(vm->core_event);
	vm->core_channel = channel_free(vm->core_channel);
	vm_free_event(vm->deadline);
	for (size_t i = 0; i < ARRAY_LEN(vm->signals); i++)
		vm_free_event(vm->signals[i]);
	if (vm->base != NULL)
		event_base_free(vm->base);
	/* See resources_unlock(): after a kill the kernel frees the locks once nothing can land. */
	if (!vm->guest_ran || vm->state == VM_STATE_POWERED_OFF)
		resources_unlock(&vm->resources);
	resources_close(&vm->resources);
	spawner_done(&vm->spawner);
	namespaces_done(&vm->namespaces);
	uid_block_release(&vm->uids);
	run_dir_release(&vm->run_dir);
}

static void vm_init(struct vm *vm, const struct vm_params *params)
{
	vm->params = params;
	vm->config = params->config;
	vm->run_dir = RUN_DIR_INIT;
	vm->uids = UID_BLOCK_INIT;
	vm->serial = vm->console = CHARDEV_INIT;
	vm->namespaces = NAMESPACES_INIT;
	vm->spawner = SPAWNER_INIT;
	vm->state = VM_STATE_STARTING;
	resources_init(&vm->resources);
	child_init(&vm->core, "core", "core", 0);
	for (uint32_t i = 0; i < vm->config->n_devices; i++) {
		const struct device_config *d = &vm->config->devices[i];

		vm_device_init(vm, &vm->devices[i], d->id, device_program_name(d), i);
		vm->adjusts[i].slot = i;
		if (d->type == DEVICE_TYPE_BLK)
			vm->adjusts[i].limits = d->blk.limits;
		else if (d->type == DEVICE_TYPE_NET)
			vm->adjusts[i].limits = d->net.limits;
	}
}

void vm_run(const struct vm_params *params, struct failure *ret)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	int r;

	if (vm == NULL) {
		(void)failure_set(ret, STATUS_FAILED, "%s", strerror(ENOMEM));
		return;
	}
	vm_init(vm, params);
	r = vm_open(vm, &vm->end);
	if (r == 0)
		r = vm_arm_deadline(vm);
	if (r == 0)
		r = vm_start(vm, &vm->end);
	if (r < 0)
		(void)failure_set(&vm->end, STATUS_FAILED, "start: %s", strerror(-r));
	/* A send that failed may have ended the VM before its loop began. */
	if (r == 0 && vm->phase != VM_PHASE_ENDING)
		(void)event_base_dispatch(vm->base);
	vm->phase = VM_PHASE_ENDING;
	vm_tear_down(vm);
	*ret = vm->end;
	free(vm);
}
