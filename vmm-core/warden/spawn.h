/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting one child: a process, and exec with nothing but what is listed here.
 *
 *	fd 0, 1		/dev/null
 *	fd 2		stderr or the log file of the warden
 *	fd 3		the child's channel
 *	fd 4		its io_uring (fence.h), of those that have one
 *	environment	empty
 *	argv		PROGRAM, VM/ID
 *	namespaces	its own pid namespace (unshare would not move the caller). The rest the child
 *			joins (namespaces.h) or makes itself, once it has opened and
 *			mapped what it was given
 *	signals		default dispositions, empty mask; a session of its own, so that Ctrl-C on
 *			the terminal reaches the warden alone
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "ipc/message.h"
#include "vmm-core/warden/failure.h"

#define SPAWN_EXIT_EXEC 127

/* What all children of one VM share. */
struct spawner {
	char *program_dir; /* owned; where bulkhead-core and the device programs are */
	int null_fd;
	int stderr_fd; /* a duplicate of ours, or of the log file */
	int warden_fd; /* pidfd of the warden, sent to every child with its start message */
};

#define SPAWNER_INIT                                                                              \
	((struct spawner){ .null_fd = -1, .stderr_fd = -1, .warden_fd = -1 })

struct spawned {
	pid_t pid;
	int pidfd; /* owned */
};

/**
 * spawner_init() - find the programs, open what children share; needed once
 * @stderr_fd: borrowed, becomes fd 2 of children
 * Programs are taken from the directory of our own executable when bulkhead-core is there (a
 * build folder), else from BULKHEAD_LIBEXECDIR, else from ../libexec/bulkhead beside it.
 * Return: 0; FAILED.
 */
int must_check spawner_init(int stderr_fd, struct spawner *ret, struct failure *f);
void spawner_done(struct spawner *spawner);

/** spawner_check() - is the program "bulkhead-@role" there and executable? Return: 0; FAILED */
int must_check spawner_check(const struct spawner *spawner, const char *role, struct failure *f);

/* What to start. */
struct spawn_what {
	const char *role; /* "bulkhead-ROLE" */
	const char *title; /* argv[1], what ps shows */
	int channel_fd; /* the child's end; taken (closed by spawn()), also on failure */
	int ring_fd; /* becomes fd DEVICE_RING_FD; borrowed; -1: none */
	int program_fd; /* another program than the installed one; borrowed; -1: none */
};

/**
 * spawn() - start a program
 *
 * An exec that fails shows as exit status SPAWN_EXIT_EXEC and a line on the child's stderr.
 * Return: 0; -errno.
 */
int must_check spawn(const struct spawner *spawner, const struct spawn_what *what, struct spawned *ret);

/**
 * spawn_is_current() - does process @pid run the file that spawn() would execute now?
 * @program_fd: as in struct spawn_what
 * False also when nobody can tell.
 */
bool spawn_is_current(const struct spawner *spawner, const char *role, int program_fd, pid_t pid);
