/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Successors of device processes that died. Runs in the warden, on its event loop.
 *
 *	UP ----- its process dies ----> DOWN --- fenced, back-off over ---> UP, next generation
 *	 ^                               |
 *	 |                               too many deaths
 *	 |                               v
 *	 +--- revived, back-off over -- FAILED
 *
 * Nothing is told to the core before nothing of the dead process can land any more. While a device
 * is DOWN the guest only waits; FAILED is shown to its driver as DEVICE_NEEDS_RESET.
 */
#include "vmm-core/warden/vm.h"

#include <string.h>

#include "ipc/clock.h"
#include "ipc/resident.h"
#include "vmm-core/warden/control.h"

#define VM_NEXT_REAP_MS 1000u

static void device_start(struct vm_device *d);

/* --- the successor that was started ahead --- */

int vm_next_start(struct vm_device *d, int program_fd)
{
	int r;

	d->next.generation = d->last_generation;
	d->next.condemned[0] = '\0';
	r = vm_spawn(d->vm, &d->next, program_fd, &d->next_channel);
	if (r == 0)
		r = vm_send_device_start(d->vm, &d->next, d->next_channel);
	d->last_generation = d->next.generation;
	if (r == 0)
		d->next_state = VM_NEXT_STANDBY;
	else
		vm_next_drop(d);
	return r;
}

void vm_next_drop(struct vm_device *d)
{
	/* It has served nobody, so nothing keeps it from ending at once. */
	if (child_wait(&d->next, clock_now_ms() + VM_NEXT_REAP_MS) < 0)
		log_error("%s: process %d does not end", d->next.name, (int)d->next.pid);
	fence_close(&d->next.fence);
	d->next_channel = fd_close(d->next_channel);
	d->next_program_fd = fd_close(d->next_program_fd);
	d->next_state = VM_NEXT_NONE;
	d->next_is_held = false;
	(void)event_del(d->next_deadline);
}

void vm_next_promote(struct vm_device *d)
{
	child_succeed(&d->process, &d->next);
	d->next_channel = fd_close(d->next_channel);
	d->next_state = VM_NEXT_NONE;
	d->state = VM_DEVICE_UP;
	(void)event_del(d->next_deadline);
}

void vm_device_want_standby(struct vm_device *d)
{
	const struct timeval after = { .tv_usec = VM_STANDBY_DELAY_MS * 1000 };

	if (d->vm->config->restart.standby && d->vm->config->restart.max > 0 &&
	    d->state == VM_DEVICE_UP && d->next_state == VM_NEXT_NONE)
		(void)event_add(d->timer, &after);
}

/* --- death and life --- */

static bool device_is_gone_for_good(struct vm_device *d, uint64_t *ret_delay_ms)
{
	return restart_policy_death(&d->vm->config->restart, &d->history, clock_now_ms(),
				    ret_delay_ms) == RESTART_GIVE_UP;
}

static void device_give_up(struct vm_device *d)
{
	vm_send_child(d->vm, MESSAGE_CHILD_GONE, &d->process, -1, (struct message_child){ 0 });
	d->state = VM_DEVICE_FAILED;
	vsock_keeper_drop(d->vm, &d->process);
	if (d->next_state != VM_NEXT_NONE)
		vm_next_drop(d);
	if (d->vm->config->restart.max == 0)
		vm_note(d->vm, LOG_LEVEL_WARNING, d->process.name,
			"device process died: %s; the VM goes on", d->process.last_exit);
	else if (d->is_refused)
		vm_note(d->vm, LOG_LEVEL_WARNING, d->process.name,
			"device process died: %s; the device has failed until its driver resets it",
			d->process.last_exit);
	else
		vm_note(d->vm, LOG_LEVEL_WARNING, d->process.name,
			"device process died: %s; more than %u deaths in %u ms: the device has "
			"failed until its driver resets it",
			d->process.last_exit, d->vm->config->restart.max,
			d->vm->config->restart.window_ms);
	d->is_refused = false;
}

/* Its requests may land at any time from now on: nobody may serve this device again. */
static void device_lose(struct vm_device *d, int r)
{
	if (d->next_state != VM_NEXT_NONE)
		vm_next_drop(d);
	d->state = VM_DEVICE_LOST;
	vsock_keeper_drop(d->vm, &d->process);
	vm_note(d->vm, LOG_LEVEL_ERROR, d->process.name,
		"its I/O does not come to an end: %s; no process serves it any more",
		strerror(-r));
	control_on_restart(d->vm->control, d, -r, "its I/O does not come to an end");
}

static void device_wait(struct vm_device *d, uint64_t delay_ms)
{
	const struct timeval after = { .tv_sec = (time_t)(delay_ms / 1000),
				       .tv_usec = (suseconds_t)(delay_ms % 1000) * 1000 };

	if (event_add(d->timer, &after) < 0)
		device_start(d);
}

/* Hand the standby over, or start a process as at the start of the VM. */
static int device_start_process(struct vm_device *d)
{
	const struct message_child flags = { .is_held = d->next_is_held };
	int end = -1, r;

	if (d->next_state == VM_NEXT_STANDBY) {
		end = d->next_channel;
		d->next_channel = -1;
		vm_next_promote(d);
		vsock_keeper_serve(d->vm, &d->process);
		vm_send_child(d->vm, MESSAGE_CHILD_ADDED, &d->process, end, flags);
		(void)fd_close(end);
		return 0;
	}
	d->process.generation = d->last_generation;
	d->process.condemned[0] = '\0';
	r = vm_spawn(d->vm, &d->process, d->program_fd, &end);
	d->last_generation = d->process.generation;
	if (r == 0) {
		d->state = VM_DEVICE_UP;
		d->process.restarts++;
		r = vm_send_device_start(d->vm, &d->process, end);
	}
	vsock_keeper_serve(d->vm, &d->process);
	if (r == 0)
		vm_send_child(d->vm, MESSAGE_CHILD_ADDED, &d->process, end, flags);
	else
		child_kill(&d->process);
	(void)fd_close(end);
	return r;
}

static void device_start(struct vm_device *d)
{
	uint64_t delay_ms;
	int r = device_start_process(d);

	d->process.state = DEVICE_STATE_STARTING;
	if (r == 0)
		return;
	vm_note(d->vm, LOG_LEVEL_WARNING, d->process.name, "no new process: %s", strerror(-r));
	if (d->process.pidfd >= 0)
		return; /* it is being killed; its death counts */
	if (device_is_gone_for_good(d, &delay_ms))
		device_give_up(d);
	else
		device_wait(d, delay_ms);
}

static void device_fenced(struct vm_device *d, int r);

static void on_fenced(void *ctx, int r)
{
	device_fenced(ctx, r);
}

/* The fence is open, or @r: nobody knows what may still land. */
static void device_go_on(struct vm_device *d, int r)
{
	const struct message_child another = {
		.has_successor = true, .is_blameless = d->process.was_killed,
	};
	uint64_t delay_ms = 0;
	bool is_last;

	if (r < 0) {
		device_lose(d, r);
		return;
	}
	if (d->next_state == VM_NEXT_TAKES_OVER) {
		vm_next_take_over(d);
		return;
	}
	is_last = device_is_gone_for_good(d, &delay_ms);
	if (is_last || d->is_refused) {
		device_give_up(d);
		return;
	}
	vm_send_child(d->vm, MESSAGE_CHILD_GONE, &d->process, -1, another);
	if (delay_ms == 0)
		device_start(d);
	else
		device_wait(d, delay_ms);
	/* Last: a terminal may be slow. */
	vm_note(d->vm, LOG_LEVEL_WARNING, d->process.name,
		"device process died: %s; restarting in %llu ms", d->process.last_exit,
		(unsigned long long)delay_ms);
}

void vm_device_bury(struct vm_device *d)
{
	corpse_bury(&d->corpse);
	fence_close(&d->dead_fence);
}

static void on_burial(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	vm_device_bury(ctx);
}

/* Nothing of the dead process can land any more, or -errno: nobody knows. */
static void device_fenced(struct vm_device *d, int r)
{
	static const struct timeval later = { .tv_usec = VM_BURIAL_DELAY_MS * 1000 };

	if (r == -ETIMEDOUT) {
		vm_note(d->vm, LOG_LEVEL_WARNING, d->process.name,
			"died: %s; still waiting for its I/O to end", d->process.last_exit);
		r = fence_wait(&d->process.fence, d->vm->base, on_fenced, d);
		if (r == FENCE_PENDING)
			return;
	}
	fence_close(&d->dead_fence);
	d->dead_fence = d->process.fence;
	d->process.fence = FENCE_INIT; /* the successor brings its own */
	(void)event_add(d->burial, &later); /* takes the kernel a moment: the guest need not wait */
	device_go_on(d, r);
}

void vm_device_died(struct vm_device *d)
{
	bool is_planned = d->next_state == VM_NEXT_TAKES_OVER;
	int r;

	if (d->down_since_ns == 0)
		d->down_since_ns = clock_now_ns();
	d->state = VM_DEVICE_DOWN;
	d->process.state = DEVICE_STATE_FAILED;
	(void)event_del(d->timer);
	vm_next_abandon(d);
	r = fence_wait(&d->process.fence, d->vm->base, on_fenced, d);
	if (r != FENCE_PENDING)
		device_fenced(d, r);
	if (!is_planned)
		control_on_restart(d->vm->control, d, ECANCELED, d->process.last_exit);
}

/* It was started, ahead perhaps, with limits and a link that may have changed since. */
static void device_adjust(struct vm_device *d)
{
	enum device_type type = d->vm->config->devices[d->process.slot].type;

	if (type == DEVICE_TYPE_BLK || type == DEVICE_TYPE_NET)
		(void)vm_core_adjust(d->vm, &d->vm->adjusts[d->process.slot]);
}

void vm_device_ready(struct vm_device *d)
{
	struct child *p = &d->process;

	child_hold_mounts(p); /* while nobody waits for that */
	if (d->down_since_ns == 0 || d->next_state >= VM_NEXT_DRAINING)
		return; /* the first start, or it only became active before it was drained */
	p->last_stall_us = (clock_now_ns() - d->down_since_ns) / 1000;
	p->last_stall_at = (uint64_t)time(NULL);
	d->down_since_ns = 0;
	vm_note(d->vm, LOG_LEVEL_INFO, p->name, "process %d serves the guest after %llu us",
		(int)p->pid, (unsigned long long)p->last_stall_us);
	device_adjust(d);
	control_on_restart(d->vm->control, d, 0, "");
	vm_device_want_standby(d);
}

void vm_device_revive(struct vm_device *d)
{
	uint64_t delay_ms;

	if (d->state != VM_DEVICE_FAILED || d->vm->config->restart.max == 0)
		return;
	delay_ms = restart_policy_revive(&d->vm->config->restart, &d->history, clock_now_ms());
	d->state = VM_DEVICE_DOWN;
	d->down_since_ns = clock_now_ns();
	device_wait(d, delay_ms);
}

int vm_device_start_again(struct vm_device *d, int program_fd, bool is_held)
{
	(void)fd_close(d->program_fd);
	d->program_fd = program_fd;
	d->history = (struct restart_history){ 0 };
	d->next_is_held = is_held;
	d->down_since_ns = clock_now_ns();
	device_start(d);
	d->next_is_held = false;
	return 0;
}

void vm_device_refused(struct vm_device *d, const char *reason)
{
	d->is_refused = true;
	vm_device_condemn(&d->process, reason);
}

void vm_device_stalled(struct vm_device *d, const char *reason)
{
	/* The core says it again, at each of its ticks. */
	if (child_is_traced(&d->process))
		vm_send_child(d->vm, MESSAGE_CHILD_TRACED, &d->process, -1,
			      (struct message_child){ 0 });
	else if (!child_is_in_kernel(&d->process) && !child_is_starved(&d->process))
		vm_device_condemn(&d->process, reason);
}

/* One timer: a device that is DOWN waits for its start, one that is UP for its standby. */
static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
	struct vm_device *d = ctx;
	int r;

	(void)fd;
	(void)what;
	if (d->state == VM_DEVICE_DOWN) {
		device_start(d);
	} else if (d->state == VM_DEVICE_UP && d->next_state == VM_NEXT_NONE) {
		r = vm_next_start(d, d->program_fd);
		if (r < 0)
			vm_note(d->vm, LOG_LEVEL_WARNING, d->process.name, "no standby: %s",
				strerror(-r));
		resident_trim(); /* that was the last of a start, or of a restart */
	}
}

/* --- life of the struct --- */

void vm_device_init(struct vm *vm, struct vm_device *d, const char *name, const char *role,
		    uint32_t slot)
{
	d->vm = vm;
	child_init(&d->process, name, role, slot);
	child_init(&d->next, name, role, slot);
	d->program_fd = d->next_channel = d->next_program_fd = -1;
	d->corpse = CORPSE_INIT;
	d->dead_fence = FENCE_INIT;
}

int vm_device_open(struct vm_device *d)
{
	d->timer = evtimer_new(d->vm->base, on_timer, d);
	d->next_deadline = evtimer_new(d->vm->base, vm_next_on_deadline, d);
	d->burial = evtimer_new(d->vm->base, on_burial, d);
	return d->timer == NULL || d->next_deadline == NULL || d->burial == NULL ? -ENOMEM : 0;
}

void vm_device_close(struct vm_device *d)
{
	if (d->timer != NULL)
		event_free(d->timer);
	if (d->next_deadline != NULL)
		event_free(d->next_deadline);
	if (d->burial != NULL)
		event_free(d->burial);
	d->timer = d->next_deadline = d->burial = NULL;
	vm_device_bury(d);
	fence_close(&d->process.fence);
	fence_close(&d->next.fence);
	d->next_channel = fd_close(d->next_channel);
	d->program_fd = fd_close(d->program_fd);
	d->next_program_fd = fd_close(d->next_program_fd);
}
