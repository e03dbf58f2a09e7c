/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a Bulkhead process gives up everything it does not need. Core and device processes enter
 * the same way; a const profile per program says where they differ.
 *
 * Two steps, because the core makes its vCPU threads in between:
 *
 *   sandbox_enter()  own uid and gid, no groups; own user, mount, ipc, uts and cgroup namespaces
 *		      (pid and net came with the spawn); an empty read-only root; rlimits; no
 *		      capabilities; not dumpable; dies with the warden; no_new_privs; Landlock;
 *		      only the kept fds are open
 *   sandbox_seal()   the seccomp allow-list, for every thread (TSYNC)
 *
 * Any step that fails is fatal to the caller: there is no way to run with less, except the uid
 * change under --allow-weak-sandbox.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "ipc/cleanup.h"

struct sock_filter;

/* BPF made at build time by sandbox/seccomp_compile.c from the program's rules. */
struct sandbox_filter {
	const struct sock_filter *kill; /* violation kills the process */
	const struct sock_filter *log; /* violation is logged: --seccomp log */
	unsigned short n_kill, n_log; /* instructions */
};

struct sandbox_profile {
	const char *name; /* "core", "blk": host name of its UTS namespace, thread name */
	const struct sandbox_filter *filter;
	uint64_t max_fds; /* RLIMIT_NOFILE */
	uint64_t max_threads; /* RLIMIT_NPROC after sealing is 0; this many before */
	bool fsize_from_params; /* RLIMIT_FSIZE = params.file_size_max, else 0 */
};

struct sandbox_params {
	uid_t uid; /* 0: keep the current one (weak sandbox) */
	gid_t gid;
	int parent_pidfd; /* pidfd of the warden, borrowed: is it still alive once PDEATHSIG is set? */
	uint64_t file_size_max; /* bytes; RLIM_INFINITY for block devices */
	bool seccomp_log;
};

/**
 * sandbox_enter() - everything but seccomp; call it while there is one thread
 * @ret_step: on failure, a short name of the step ("user namespace"), static storage
 * Return: 0; -errno.
 */
int must_check sandbox_enter(const struct sandbox_profile *profile,
			     const struct sandbox_params *params, const char **ret_step);

/** sandbox_seal() - install the filter on every thread; Return: 0; -errno */
int must_check sandbox_seal(const struct sandbox_profile *profile,
			    const struct sandbox_params *params);

/**
 * sandbox_close_fds() - close every fd from 3 upwards that is not in @keep (ascending)
 * Return: 0; -errno.
 */
int must_check sandbox_close_fds(const int *keep, size_t n_keep);
