/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One VM: everything the warden holds while it lives. Internal to vmm-core/warden.
 *
 *	vm.c		life: open, start, run, tear down
 *	vm_start.c	spawn core and devices, hand out their fds
 *	vm_core.c	the channel to the core: what it may say, and requests to it
 *	vm_children.c	children that die, children that are condemned
 *	vm_restart.c	successors of device processes that died
 *	vm_replace.c	successors that the user asked for; processes that wait for a debugger
 *	control*.c	bulkheadctl's side
 *
 * Phases:  STARTING -> RUNNING (the core said READY, and runs) -> ENDING.
 * One thread, one event base. vm_end() only notes how the VM ends and stops the loop; all
 * cleaning up is done once, in vm_run().
 */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "ipc/channel.h"
#include "ipc/log.h"
#include "ipc/vm_config.h"
#include "vmm-core/warden/chardev.h"
#include "vmm-core/warden/child.h"
#include "vmm-core/warden/failure.h"
#include "vmm-core/warden/log_ring.h"
#include "vmm-core/warden/namespaces.h"
#include "vmm-core/warden/resources.h"
#include "vmm-core/warden/restart_policy.h"
#include "vmm-core/warden/run_dir.h"
#include "vmm-core/warden/spawn.h"
#include "vmm-core/warden/uid_block.h"
#include "vmm-core/warden/vsock_keeper.h"

/*
 * From the first spawn to CORE_READY: longer than the core's own for devices, which says more, and
 * long enough for a large kernel and initramfs on slow storage.
 */
#define VM_START_DEADLINE_MS 60000u
#define VM_PREFAULT_MS_PER_GIB 2000u /* on top, with prefault=on */
#define VM_REQUEST_DEADLINE_MS 10000u /* an answer of the core */
#define VM_LAST_WORDS_MS 300u /* a dead child's own explanation may still be on its way */
#define VM_REAP_DEADLINE_MS 5000u
#define VM_REPLACE_DEADLINE_MS 5000u /* each step of a planned replacement */
#define VM_SETTLED_MS 250u /* what only the start needed is not given back before */
#define VM_STANDBY_DELAY_MS 200u /* after a restart, out of its way */
#define VM_BURIAL_DELAY_MS 20u /* likewise */

enum vm_phase {
	VM_PHASE_STARTING,
	VM_PHASE_RUNNING,
	VM_PHASE_ENDING,
};

struct control;
struct vm;

enum vm_device_state {
	VM_DEVICE_UP, /* its process runs, or starts */
	VM_DEVICE_DOWN, /* dead: fenced off, or waiting for its back-off to end */
	VM_DEVICE_FAILED, /* dead, and nobody comes before the driver resets it */
	VM_DEVICE_LOST, /* dead, but its I/O is not over: nobody comes */
};

/* What the successor that was started ahead is for. */
enum vm_next_state {
	VM_NEXT_NONE,
	VM_NEXT_STANDBY, /* for the case of a death; its channel is with us */
	VM_NEXT_OFFERED, /* for a planned replacement: the core starts it */
	VM_NEXT_DRAINING, /* it is ready; the core stops the old one */
	VM_NEXT_TAKES_OVER, /* the old one was killed */
};

/* One device: the process that serves it, and the one that will. */
struct vm_device {
	struct vm *vm;
	enum vm_device_state state;
	struct child process; /* the present incarnation, or the last */
	uint32_t last_generation; /* given to any process so far */
	int program_fd; /* owned: the user's program; -1: the installed one */
	struct restart_history history;
	struct event *timer; /* end of the back-off; time for a new standby */
	uint64_t down_since_ns; /* 0: the guest is being served */
	struct corpse corpse; /* of the process before, and its fence: removed by burial */
	struct fence dead_fence;
	struct event *burial;
	bool is_refused; /* what d->process left behind: whoever comes next would refuse it, too */

	enum vm_next_state next_state;
	struct child next;
	int next_channel; /* owned: the core's end of its channel, until the core has it */
	int next_program_fd; /* owned: becomes program_fd */
	bool next_is_held; /* restart --stopped */
	uint32_t drain_seq; /* of DRAIN */
	struct event *next_deadline;
};

/* What the caller decided before the VM exists. */
struct vm_params {
	const struct vm_config *config;
	const char *uid_lock_path;
	struct uid_range uid_range;
	int stderr_fd; /* of children; borrowed */
	uint64_t exec_time_ns; /* CLOCK_MONOTONIC when main() began */
};

struct vm {
	const struct vm_params *params;
	const struct vm_config *config;
	struct event_base *base;
	struct run_dir run_dir;
	struct uid_block uids;
	struct resources resources;
	struct chardev serial, console; /* COM1, virtio console */
	struct namespaces namespaces;
	struct spawner spawner;
	struct control *control;
	struct vsock_keeper *vsock_keeper; /* NULL: no vsock */

	struct child core;
	struct vm_device devices[VM_DEVICES_MAX];
	struct message_adjust adjusts[VM_DEVICES_MAX]; /* by slot: limits and link as they are now */

	struct channel *core_channel;
	struct event *core_event;
	uint32_t last_seq; /* of our requests to the core */
	/* of the start, or of a dead child's last words during it; after it, for resident_trim() */
	struct event *deadline;
	struct failure start_fault; /* how a child died at start, until its own reason arrives */

	enum vm_phase phase;
	enum vm_state state; /* as the core reported it */
	bool guest_ran; /* CORE_READY came: requests may be under way */
	unsigned n_signals; /* SIGTERM, SIGINT seen */
	struct event *signals[4];
	struct failure end; /* how the VM ends; text "" when there is nothing to say */
	struct log_ring log;
};

/* --- vm.c --- */

/**
 * vm_run() - the whole life of one VM
 * @ret: how it ended; text is "" when there is nothing to tell the user
 * When it returns, no child, no lock and no file is left.
 */
void vm_run(const struct vm_params *params, struct failure *ret);

/** vm_end() - the VM ends with @status; the first call decides; @fmt NULL: nothing to say */
void vm_end(struct vm *vm, enum exit_status status, const char *fmt, ...) printf_like(3, 4);

/** vm_state_name() - "running", …, for ps and info */
const char *vm_state_name(const struct vm *vm);

/* --- vm_start.c --- */

/** vm_start_core() - spawn the core, which then waits for vm_start(); Return: 0; FAILED; -errno */
int must_check vm_start_core(struct vm *vm, struct failure *f);

/** vm_start() - send the first messages and spawn the rest; Return: 0; FAILED; -errno */
int must_check vm_start(struct vm *vm, struct failure *f);

/** vm_spawn() - start @child with generation + 1; *ret_end: owned, the core's end of its channel */
int must_check vm_spawn(struct vm *vm, struct child *child, int program_fd, int *ret_end);

/** vm_send_device_start() - DEVICE_START, through the end that the core will own (borrowed) */
int must_check vm_send_device_start(struct vm *vm, const struct child *child, int core_end);

/** vm_send_child() - a message about @child to the core; @core_end: borrowed, -1: none goes along */
void vm_send_child(struct vm *vm, enum message_type type, const struct child *child, int core_end,
		   struct message_child flags);

/* --- vm_core.c --- */

/** vm_core_attach() - take the warden's end of the core's channel; Return: 0; -errno */
int must_check vm_core_attach(struct vm *vm, int channel_fd);

/** vm_core_send() - send to the core; a core that does not read ends the VM */
void vm_core_send(struct vm *vm, const struct message *m, const struct fdset *fds);

/**
 * vm_core_request() - send a request without a body or with a slot
 * Return: its seq; the answer reaches control_on_core_answer().
 */
uint32_t vm_core_request(struct vm *vm, enum message_type type, uint32_t slot);

/** vm_core_adjust() - what the user changed about a device; answered as vm_core_request() is */
uint32_t vm_core_adjust(struct vm *vm, const struct message_adjust *adjust);

/** vm_core_request_child() - a request about @child; Return: its seq, see vm_next_on_answer() */
uint32_t vm_core_request_child(struct vm *vm, enum message_type type, const struct child *child,
			       struct message_child flags);

/** vm_core_look() - act on what the core has sent so far, as the event loop does */
void vm_core_look(struct vm *vm);

/** vm_core_drain() - read what a core that died has left */
void vm_core_drain(struct vm *vm);

/* --- vm_children.c --- */

/** vm_child_watch() - watch the pidfd of @child; Return: 0; -ENOMEM */
int must_check vm_child_watch(struct vm *vm, struct child *child);

/** vm_find_child() - the running process of @slot with @generation; NULL: none, or an earlier one */
struct child *vm_find_child(struct vm *vm, uint32_t slot, uint32_t generation);

/** vm_device_condemn() - kill a device process and remember why */
void vm_device_condemn(struct child *child, const char *reason);

/** vm_note() - log a line and keep it for `bulkheadctl log` */
void vm_note(struct vm *vm, enum log_level level, const char *source, const char *fmt, ...)
	printf_like(4, 5);

/* --- vm_restart.c --- */

/** vm_device_init() - no process yet */
void vm_device_init(struct vm *vm, struct vm_device *d, const char *name, const char *role,
		    uint32_t slot);

/** vm_device_open() - make its timers; Return: 0; -ENOMEM */
int must_check vm_device_open(struct vm_device *d);

/** vm_device_close() - after its processes have ended; free everything */
void vm_device_close(struct vm_device *d);

/** vm_device_bury() - remove what is left of the process before d->process */
void vm_device_bury(struct vm_device *d);

/** vm_device_died() - d->process has ended while the VM runs */
void vm_device_died(struct vm_device *d);

/** vm_device_ready() - the core says that d->process serves the guest */
void vm_device_ready(struct vm_device *d);

/** vm_device_revive() - the driver reset it, or the user asked for it */
void vm_device_revive(struct vm_device *d);

/** vm_device_refused() - d->process cannot continue where its predecessor ended */
void vm_device_refused(struct vm_device *d, const char *reason);

/** vm_device_stalled() - the core sees no sign of life of d->process, or waits for its answer */
void vm_device_stalled(struct vm_device *d, const char *reason);

/** vm_device_want_standby() - have a standby started soon, if there should be one */
void vm_device_want_standby(struct vm_device *d);

/** vm_next_drop() - end the process that was started ahead, and collect it later */
void vm_next_drop(struct vm_device *d);

/** vm_next_start() - start a successor ahead; Return: 0; -errno */
int must_check vm_next_start(struct vm_device *d, int program_fd);

/** vm_next_promote() - d->next becomes d->process */
void vm_next_promote(struct vm_device *d);

/** vm_device_start_again() - a failed device, by the user's word; takes @program_fd; Return: 0 */
int must_check vm_device_start_again(struct vm_device *d, int program_fd, bool is_held);

/* --- vm_replace.c --- */

/**
 * vm_device_replace() - bulkheadctl restart; its end reaches control_on_restart()
 * @program_fd: taken, -1: the installed program
 * Return: 0: under way; -errno, with *ret_why when there is more to say.
 */
int must_check vm_device_replace(struct vm_device *d, int program_fd, bool is_held,
				 const char **ret_why);

/** vm_device_let_go() - bulkheadctl resume-device; Return: 0; -EINVAL: it does not wait */
int must_check vm_device_let_go(struct vm_device *d);

/** vm_next_on_state() - the core says how far d->next is */
void vm_next_on_state(struct vm_device *d, enum device_state state);

/** vm_next_on_answer() - Return: was @m the answer to a DRAIN? */
bool vm_next_on_answer(struct vm *vm, const struct message *m);

/** vm_next_take_over() - d->process was killed for it and has ended */
void vm_next_take_over(struct vm_device *d);

/** vm_next_abandon() - d->process died of itself: the replacement is off */
void vm_next_abandon(struct vm_device *d);

/** vm_next_died(), vm_next_condemned() - the same for the process that waits */
void vm_next_died(struct vm_device *d);
void vm_next_condemned(struct vm_device *d, const char *reason);

/** vm_next_on_deadline() - event of d->next_deadline */
void vm_next_on_deadline(evutil_socket_t fd, short what, void *ctx);
