/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One VM: everything the warden holds while it lives. Internal to vmm-core/warden.
 *
 *	vm.c		life: open, start, run, tear down
 *	vm_start.c	spawn core and devices, hand out their fds
 *	vm_core.c	the channel to the core: what it may say, and requests to it
 *	vm_children.c	children that die, children that are condemned
 *	control.c	bulkheadctl's side
 *
 * Phases:  STARTING -> RUNNING (the core said READY and was told to resume) -> ENDING.
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
#include "vmm-core/warden/resources.h"
#include "vmm-core/warden/run_dir.h"
#include "vmm-core/warden/spawn.h"
#include "vmm-core/warden/uid_block.h"

/*
 * From the first spawn to CORE_READY: longer than the core's own for devices, which says more, and
 * long enough for a large kernel and initramfs on slow storage.
 */
#define VM_START_DEADLINE_MS 60000u
#define VM_PREFAULT_MS_PER_GIB 2000u /* on top, with prefault=on */
#define VM_REQUEST_DEADLINE_MS 10000u /* an answer of the core */
#define VM_LAST_WORDS_MS 300u /* a dead child's own explanation may still be on its way */
#define VM_REAP_DEADLINE_MS 5000u

enum vm_phase {
	VM_PHASE_STARTING,
	VM_PHASE_RUNNING,
	VM_PHASE_ENDING,
};

struct control;

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
	struct spawner spawner;
	struct control *control;

	struct child core;
	struct child devices[VM_DEVICES_MAX];

	struct channel *core_channel;
	struct event *core_event;
	uint32_t last_seq; /* of our requests to the core */
	struct event *deadline; /* of the start, or of a dead child's last words during it */
	struct failure start_fault; /* how a child died at start, until its own reason arrives */

	enum vm_phase phase;
	enum vm_state state; /* as the core reported it */
	bool guest_ran; /* RESUME was sent: requests may be under way */
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

/** vm_start() - spawn everything and send the first messages; Return: 0; FAILED; -errno */
int must_check vm_start(struct vm *vm, struct failure *f);

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

/** vm_core_drain() - read what a core that died has left */
void vm_core_drain(struct vm *vm);

/* --- vm_children.c --- */

/** vm_child_watch() - watch the pidfd of @child; Return: 0; -ENOMEM */
int must_check vm_child_watch(struct vm *vm, struct child *child);

/** vm_device_condemn() - kill a device process and remember why */
void vm_device_condemn(struct child *child, const char *reason);

/** vm_note() - log a line and keep it for `bulkheadctl log` */
void vm_note(struct vm *vm, enum log_level level, const char *source, const char *fmt, ...)
	printf_like(4, 5);
