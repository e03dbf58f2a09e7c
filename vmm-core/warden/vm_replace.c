/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Successors that the user asked for. Runs in the warden, on its event loop.
 *
 *	bulkheadctl restart
 *	  start the new process, or take the
 *	  standby, CHILD_OFFERED ------------------> OFFERED	the core starts it as far as READY
 *	  READY (or HELD), DRAIN ------------------> DRAINING	the old one stops: the guest waits
 *	  drained, kill the old one ---------------> TAKES_OVER
 *	  its end is seen, CHILD_GONE -------------> NONE	the core continues with the new one
 *
 * Until the old process is killed it goes on serving whatever goes wrong with the new one.
 */
#include "vmm-core/warden/vm.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ipc/clock.h"
#include "vmm-core/warden/control.h"

static void next_expect_until(struct vm_device *d, uint32_t ms)
{
	const struct timeval after = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	(void)event_add(d->next_deadline, &after);
}

/* The old process goes on. */
static void next_fail(struct vm_device *d, const char *fmt, ...) printf_like(2, 3);

static void next_fail(struct vm_device *d, const char *fmt, ...)
{
	char text[MESSAGE_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	vm_send_child(d->vm, MESSAGE_CHILD_GONE, &d->next, -1, (struct message_child){ 0 });
	if (d->next_state == VM_NEXT_DRAINING)
		d->down_since_ns = 0;
	vm_next_drop(d);
	vm_note(d->vm, LOG_LEVEL_WARNING, d->process.name, "not replaced: %s", text);
	control_on_restart(d->vm->control, d, ECANCELED, text);
	vm_device_want_standby(d);
}

void vm_next_on_deadline(evutil_socket_t fd, short what, void *ctx)
{
	struct vm_device *d = ctx;

	(void)fd;
	(void)what;
	if (d->next_state == VM_NEXT_OFFERED)
		next_fail(d, "the new process did not become ready in time");
	else if (d->next_state == VM_NEXT_DRAINING)
		next_fail(d, "the old process did not stop in time");
}

void vm_next_abandon(struct vm_device *d)
{
	if (d->next_state == VM_NEXT_OFFERED || d->next_state == VM_NEXT_DRAINING)
		next_fail(d, "the old process died meanwhile: %s", d->process.last_exit);
}

void vm_next_died(struct vm_device *d)
{
	const char *how = d->next.last_exit;

	if (d->next_state == VM_NEXT_OFFERED || d->next_state == VM_NEXT_DRAINING) {
		next_fail(d, "the new process died: %s", how);
		return;
	}
	vm_note(d->vm, LOG_LEVEL_WARNING, d->next.name, "standby died: %s", how);
	vm_next_drop(d);
	vm_device_want_standby(d);
}

void vm_next_condemned(struct vm_device *d, const char *reason)
{
	if (d->next_state == VM_NEXT_OFFERED || d->next_state == VM_NEXT_DRAINING)
		next_fail(d, "%s", reason);
	else
		vm_device_condemn(&d->next, reason);
}

void vm_next_on_state(struct vm_device *d, enum device_state state)
{
	const struct message_child plain = { 0 };

	d->next.state = state;
	if (d->next_state != VM_NEXT_OFFERED ||
	    state != (d->next_is_held ? DEVICE_STATE_HELD : DEVICE_STATE_READY))
		return;
	d->next_state = VM_NEXT_DRAINING;
	d->down_since_ns = clock_now_ns();
	next_expect_until(d, VM_REPLACE_DEADLINE_MS);
	d->drain_seq = vm_core_request_child(d->vm, MESSAGE_DRAIN, &d->process, plain);
}

bool vm_next_on_answer(struct vm *vm, const struct message *m)
{
	for (uint32_t i = 0; i < vm->config->n_devices; i++) {
		struct vm_device *d = &vm->devices[i];

		if (m->type != MESSAGE_REPLY || d->drain_seq == 0 || d->drain_seq != m->seq)
			continue;
		d->drain_seq = 0;
		if (d->next_state != VM_NEXT_DRAINING)
			return true; /* given up meanwhile */
		if (m->reply.result != 0) {
			next_fail(d, "the old process did not stop: %s",
				  strerror(m->reply.result));
			return true;
		}
		d->next_state = VM_NEXT_TAKES_OVER;
		child_kill(&d->process);
		return true;
	}
	return false;
}

void vm_next_take_over(struct vm_device *d)
{
	const struct message_child another = { .has_successor = true };
	bool is_held = d->next_is_held;

	vsock_keeper_serve(d->vm, &d->next);
	vm_send_child(d->vm, MESSAGE_CHILD_GONE, &d->process, -1, another);
	(void)fd_close(d->program_fd);
	d->program_fd = fd_steal(&d->next_program_fd);
	d->next_is_held = false;
	vm_next_promote(d);
	(void)snprintf(d->process.last_exit, sizeof(d->process.last_exit), "replaced");
	vm_note(d->vm, LOG_LEVEL_INFO, d->process.name, "replaced by process %d%s",
		(int)d->process.pid, is_held ? ", which waits for resume-device" : "");
	if (is_held)
		control_on_restart(d->vm->control, d, 0, "");
}

/* The core has room for one process that is made ready. Return: is it taken? */
static bool vm_is_replacing(const struct vm *vm)
{
	for (uint32_t i = 0; i < vm->config->n_devices; i++) {
		if (vm->devices[i].next_state > VM_NEXT_STANDBY)
			return true;
	}
	return false;
}

int vm_device_replace(struct vm_device *d, int program_fd, bool is_held, const char **ret_why)
{
	const struct message_child flags = { .is_held = is_held };
	cleanup_fd int owned_fd = program_fd;
	int r;

	*ret_why = NULL;
	if (d->next_state > VM_NEXT_STANDBY || d->process.state == DEVICE_STATE_HELD ||
	    d->state == VM_DEVICE_DOWN) {
		*ret_why = d->process.state == DEVICE_STATE_HELD ?
				   "it waits for resume-device" :
				   "it is being restarted already";
		return -EBUSY;
	}
	if (d->state == VM_DEVICE_UP && vm_is_replacing(d->vm)) {
		*ret_why = "another device is being replaced, and only one can be at a time";
		return -EBUSY;
	}
	(void)event_del(d->timer);
	/* It may have been started before the program was upgraded: not what is asked for. */
	if (d->next_state == VM_NEXT_STANDBY &&
	    !spawn_is_current(&d->vm->spawner, d->next.role, owned_fd, d->next.pid))
		vm_next_drop(d);
	if (d->state == VM_DEVICE_FAILED)
		return vm_device_start_again(d, fd_steal(&owned_fd), is_held);
	if (d->next_state == VM_NEXT_NONE) {
		r = vm_next_start(d, owned_fd);
		if (r < 0)
			return r;
	}
	d->next_program_fd = fd_steal(&owned_fd);
	d->next_is_held = is_held;
	d->next_state = VM_NEXT_OFFERED;
	vm_send_child(d->vm, MESSAGE_CHILD_OFFERED, &d->next, d->next_channel, flags);
	d->next_channel = fd_close(d->next_channel);
	next_expect_until(d, VM_REPLACE_DEADLINE_MS);
	return 0;
}

int vm_device_let_go(struct vm_device *d)
{
	if (d->process.state != DEVICE_STATE_HELD)
		return -EINVAL;
	d->process.state = DEVICE_STATE_STARTING;
	vm_send_child(d->vm, MESSAGE_CHILD_RELEASED, &d->process, -1, (struct message_child){ 0 });
	return 0;
}
