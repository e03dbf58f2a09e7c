/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Children that die or are condemned. Runs in the warden, on its event loop.
 *
 * A dead core ends the VM. A dead device ends the start; later it gets a successor: vm_restart.c.
 */
#include "vmm-core/warden/vm.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "vmm-core/warden/control.h"

void vm_note(struct vm *vm, enum log_level level, const char *source, const char *fmt, ...)
{
	char line[MESSAGE_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	log_ring_add(&vm->log, source, line);
	if (strcmp(source, "warden") == 0)
		log_record(level, "%s", line);
	else
		log_record(level, "%s: %s", source, line);
	if (vm->control != NULL)
		control_on_log(vm->control);
}

/* A child died during the start. Its reason may still come through the core: wait for it. */
static void vm_start_failed(struct vm *vm, const struct child *child)
{
	const struct timeval wait = { .tv_usec = VM_LAST_WORDS_MS * 1000 };

	if (vm->start_fault.text[0] != '\0')
		return; /* an earlier death is already waited for */
	(void)failure_set(&vm->start_fault, STATUS_FAILED, "%s: died at start: %s", child->name,
			  child->last_exit);
	(void)event_add(vm->deadline, &wait);
}

static void vm_core_died(struct vm *vm)
{
	vm_core_drain(vm);
	vm_end(vm, STATUS_FAILED, "core: died: %s", vm->core.last_exit);
}

static void vm_process_died(struct vm_device *d)
{
	if (d->vm->phase == VM_PHASE_STARTING) {
		d->process.state = DEVICE_STATE_FAILED;
		vm_start_failed(d->vm, &d->process);
	} else {
		vm_device_died(d);
	}
}

static void on_child_dead(evutil_socket_t fd, short what, void *ctx)
{
	struct vm *vm = ctx;

	(void)what;
	if (vm->core.pidfd == fd) {
		if (child_reap(&vm->core))
			vm_core_died(vm);
		return;
	}
	for (uint32_t i = 0; i < vm->config->n_devices; i++) {
		struct vm_device *d = &vm->devices[i];

		if (d->process.pidfd == fd) {
			vm_core_look(vm); /* why it had to end, perhaps */
			vm_device_bury(d);
			if (vm->phase != VM_PHASE_ENDING && child_end(&d->process, &d->corpse))
				vm_process_died(d);
			return;
		}
		if (d->next.pidfd == fd) {
			if (child_reap(&d->next))
				vm_next_died(d);
			return;
		}
	}
}

struct child *vm_find_child(struct vm *vm, uint32_t slot, uint32_t generation)
{
	struct vm_device *d;

	if (slot >= vm->config->n_devices)
		return NULL;
	d = &vm->devices[slot];
	if (d->process.pidfd >= 0 && d->process.generation == generation)
		return &d->process;
	if (d->next.pidfd >= 0 && d->next.generation == generation)
		return &d->next;
	return NULL;
}

int vm_child_watch(struct vm *vm, struct child *child)
{
	child->event = event_new(vm->base, child->pidfd, EV_READ | EV_PERSIST, on_child_dead, vm);
	if (child->event == NULL || event_add(child->event, NULL) < 0)
		return -ENOMEM;
	return 0;
}

void vm_device_condemn(struct child *child, const char *reason)
{
	if (child->pidfd < 0 || child->condemned[0] != '\0')
		return;
	(void)snprintf(child->condemned, sizeof(child->condemned), "%s",
		       reason[0] != '\0' ? reason : "condemned by the core");
	child_kill(child);
}
