/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bulkheadctl: look at and act on a running VM.
 *
 *	main.c		command line, one function per command
 *	ctl_connect.c	find the VM, talk to its warden
 *	ctl_proc.c	what /proc says about a process
 *	ctl_print.c	tables and JSON
 *
 * Runs with the user's privileges. The warden is trusted as far as it is the user's own process;
 * its answers are checked by the codec all the same, and what ps shows about a process is read
 * from /proc, not asked for.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "ipc/channel.h"
#include "ipc/message.h"

#define CTL_ANSWER_DEADLINE_MS 15000u

/* What the command line said about the VM; NULL: not given. */
struct ctl_target {
	const char *name;
	const char *run_dir;
};

/* PS, INFO: what the warden told. Each device, and a successor that waits. */
#define CTL_PROCESSES_MAX (2u + 2u * VM_DEVICES_MAX)

struct ctl_processes {
	struct message_control_reply vm; /* the first frame */
	uint32_t n;
	struct control_process told[CTL_PROCESSES_MAX];
};

/** ctl_fail() - "bulkheadctl: …" on stderr; Return: always 1, the exit status */
int ctl_fail(const char *fmt, ...) printf_like(1, 2);

/** ctl_connect() - connect to the warden of @target; Return: 0; 1 after ctl_fail() */
int must_check ctl_connect(const struct ctl_target *target, struct channel **ret);

/** ctl_request() - send a request; Return: 0; 1 after ctl_fail() */
int must_check ctl_request(struct channel *ch, enum control_command command, const char *device);

/** ctl_request_text() - the same for a command that takes @text (< MESSAGE_TEXT_MAX bytes) */
int must_check ctl_request_text(struct channel *ch, enum control_command command,
				const char *device, const char *text);

/**
 * ctl_request_restart() - send RESTART
 * @program: path of the program to run instead of the installed one; NULL: none
 */
int must_check ctl_request_restart(struct channel *ch, const char *device, const char *program,
				   bool is_stopped);

/**
 * ctl_answer() - receive one frame of the answer
 * @deadline_ms: UINT64_MAX to wait for ever
 * Return: 0; 1 after ctl_fail(), also when the warden says that the request failed.
 */
int must_check ctl_answer(struct channel *ch, uint64_t deadline_ms,
			  struct message_control_reply *ret);

/** ctl_answer_processes() - receive a whole answer to PS or INFO; Return: 0; 1 after ctl_fail() */
int must_check ctl_answer_processes(struct channel *ch, struct ctl_processes *ret);

/** ctl_wait_close() - wait until the warden has closed its end; at most a second */
void ctl_wait_close(struct channel *ch);

#define CTL_FDS_MAX 1024u
#define CTL_NAMESPACES 7u

extern const char *const ctl_namespace_names[CTL_NAMESPACES]; /* user, mnt, … */

/* One process as /proc shows it. A value that could not be read is absent, never guessed. */
struct ctl_process {
	const struct control_process *told; /* name, role, pid, state: the warden's word; borrowed */
	bool has_status;
	uint32_t uid, gid; /* real ids, as seen by the caller of bulkheadctl */
	bool ids_differ; /* real, effective, saved and filesystem ids are not one */
	int seccomp; /* 0 off, 1 strict, 2 filter */
	bool no_new_privs;
	uint64_t caps; /* union of all five sets */
	uint32_t n_threads;
	bool has_memory;
	uint64_t rss, pss; /* bytes */
	bool has_namespaces;
	uint32_t namespaces; /* bit i: ctl_namespace_names[i] differs from the warden's */
	bool has_fds;
	uint32_t n_fds;
	char **fds; /* owned: link targets */
};

/**
 * ctl_proc_read() - look at all processes of an answer
 * @ps: answer to CONTROL_PS; the first process is the warden
 * @ret: ps->n entries, zeroed by the caller
 *
 * For a VM of a plain user this enters the warden's user namespace, because only there its owner
 * may look at processes with subordinate ids. Call once.
 */
void ctl_proc_read(const struct ctl_processes *ps, struct ctl_process *ret);
void ctl_process_clear(struct ctl_process *p);

void ctl_print_ps(const struct ctl_process *processes, uint32_t n, bool json);
void ctl_print_info(const struct ctl_processes *info, bool json);
