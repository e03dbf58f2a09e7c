/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One child process as the warden sees it: a pidfd, what it is called, how it ended.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "ipc/message.h"
#include "vmm-core/warden/fence.h"

struct event;

#define CHILD_LAST_EXIT_MAX sizeof(((struct control_process *)0)->last_exit)

struct child {
	char name[VM_ID_MAX]; /* "core", "blk0" */
	char role[16]; /* "core", "blk" */
	uint32_t slot; /* devices only */
	uint32_t generation; /* incarnation; the first is 1 */
	pid_t pid; /* 0: not running */
	int pidfd; /* -1: not running */
	int mounts_fd; /* its mount namespace, see child_hold_mounts(); -1: not held */
	struct event *event; /* pidfd readable: it is dead */
	struct fence fence; /* devices only */
	enum device_state state; /* devices only; as the core reported it */
	uint32_t restarts;
	char condemned[CHILD_LAST_EXIT_MAX]; /* why the core wants it dead; "" when it does not */
	char last_exit[CHILD_LAST_EXIT_MAX]; /* "" until it ended once */
	bool was_killed; /* its last end was a SIGKILL, and the core had not wanted it dead */
	uint64_t last_stall_us; /* how long its guest waited for the present process; 0: never */
	uint64_t last_stall_at; /* and when, seconds since 1970 */
	uint64_t starved_at_ns; /* its CPU time when it was last found waiting for a CPU; 0: never */
	struct log_limit log_limit; /* of its records on our stderr */
};

/** child_init() - not running */
void child_init(struct child *child, const char *name, const char *role, uint32_t slot);

/** child_signal() - any other signal; harmless when it is not running */
void child_signal(const struct child *child, int number);

/** child_kill() - SIGKILL through the pidfd; harmless when it is not running */
void child_kill(const struct child *child);

/* What is left of a child that has ended. The kernel takes a while to remove it. */
struct corpse {
	int pidfd, mounts_fd; /* -1: none */
};

#define CORPSE_INIT ((struct corpse){ .pidfd = -1, .mounts_fd = -1 })

/**
 * child_end() - look whether a child has ended; if so fill last_exit, and take what is left of it
 * @ret: is CORPSE_INIT; for corpse_bury(), by which nobody has to wait
 * Return: true when it has ended; false when it still runs.
 */
bool child_end(struct child *child, struct corpse *ret);

/** corpse_bury() - collect the process and close what was held; takes CORPSE_INIT, too */
void corpse_bury(struct corpse *corpse);

/** child_reap() - child_end() and corpse_bury() */
bool child_reap(struct child *child);

/**
 * child_hold_mounts() - keep the mount namespace of a running child
 *
 * A process that ends as the last one of its namespace waits for a grace period of the kernel, and
 * whoever is to learn of its end waits with it. Without the right to look it is not held.
 */
void child_hold_mounts(struct child *child);

/**
 * child_succeed() - the process of @next becomes that of @child, which has ended
 *
 * @child keeps what outlives a process: names, the last exit, the number of restarts, one higher.
 */
void child_succeed(struct child *child, struct child *next);

/** child_is_traced() - is a debugger attached? From /proc/PID/status */
bool child_is_traced(const struct child *child);

/** child_is_in_kernel() - does it wait uninterruptibly, so that killing it would not help? */
bool child_is_in_kernel(const struct child *child);

/**
 * child_is_starved() - does it wait for a CPU, and has it had none since the last question?
 *
 * The first time that it is found waiting, there is nothing to compare with: true.
 */
bool child_is_starved(struct child *child);

/** child_wait() - kill and collect, until @deadline_ms; Return: 0; -ETIMEDOUT */
int must_check child_wait(struct child *child, uint64_t deadline_ms);

/**
 * child_describe_exit() - words for an end: "exit 1", "SIGSEGV", "SIGSYS (seccomp: socket)"
 * @code: si_code of waitid(), CLD_*; @status: si_status
 * @syscall: number from the audit record, -1 when unknown
 */
void child_describe_exit(int code, int status, int syscall, char *ret, size_t size);

/** child_audit_syscall() - which system call did the filter kill @pid for? From the kernel's
 *  audit record in /dev/kmsg; Return: its number, -1 when unknown
 */
int child_audit_syscall(pid_t pid);
