/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a Bulkhead process gives up everything it does not need. Core and device processes enter
 * the same way; a const profile per program says where they differ.
 *
 * The process was spawned into its own pid namespace, with fds 0 and 1 on /dev/null, stderr on 2
 * and its channel on 3. Two steps, because the core makes its
 * vCPU threads in between:
 *
 *   sandbox_enter()  own uid and gid, no groups; own user, mount, ipc, uts and cgroup namespaces,
 *		      the VM's empty net namespace; an empty read-only root; rlimits; no
 *		      capabilities; not dumpable; dies with the warden; no_new_privs; Landlock;
 *		      no memory that was writable becomes executable
 *   sandbox_seal()   stderr onto /dev/null, no more fds or threads than promised, then the
 *		      seccomp allow-list for every thread (TSYNC)
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
	const char *name; /* "core", "blk": host name of its UTS namespace */
	const struct sandbox_filter *filter;
	uint64_t max_fds; /* RLIMIT_NOFILE from sandbox_enter() on; see params.max_fds */
	uint64_t max_threads; /* RLIMIT_NPROC until sandbox_seal() */
	/*
	 * RLIMIT_NPROC after it. 0, or one more than the workers that a sealed process's io_uring
	 * may have: the kernel makes them, but counts them as ours and gives up without.
	 */
	uint64_t max_threads_sealed;
	uint64_t max_locked; /* RLIMIT_MEMLOCK, bytes: the kernel counts the memory of rings */
	bool takes_folder; /* the root is params.folder_fd instead of an empty one */
	bool has_network; /* Landlock lets it bind and connect; only for who keeps the host's network */
	bool fsize_from_params; /* RLIMIT_FSIZE = params.file_size_max, else 0 */
};

struct sandbox_params {
	uid_t uid; /* 0: keep the current one (weak sandbox) */
	gid_t gid;
	int parent_pidfd; /* pidfd of the warden, borrowed: is it still alive once PDEATHSIG is set? */
	/*
	 * A mount namespace that sandbox_make_root() was called in: ours becomes a copy of it. 0:
	 * make one like it, which takes the kernel 0.5 ms and more.
	 */
	int root_fd;
	int network_fd; /* the network namespace to join; 0: stay in this one */
	int folder_fd; /* borrowed; O_PATH of a folder, if the profile says so: see sandbox_enter() */
	uint64_t file_size_max; /* bytes; RLIM_INFINITY for block devices */
	uint64_t max_fds; /* sandbox_seal(): RLIMIT_NOFILE from now on; 0: as in the profile */
	bool seccomp_log;
};

/**
 * sandbox_enter() - everything but seccomp; call it while there is one thread
 * @ret_step: on failure, a short name of the step ("user namespace"), static storage
 *
 * /proc of an enclosing pid namespace must be mounted. Nothing that was opened before is closed:
 * call sandbox_close_fds() first.
 *
 * A profile with takes_folder gets the folder as its root, read-only, without devices, set-id
 * bits or programs. Landlock still lets nothing in it be opened, listed or made: what is left is
 * connecting to sockets that the uid may write to. When the uid may not even search the folder,
 * the root is empty as for everybody else.
 * Return: 0; -errno (-ENOTSUP: the kernel lacks something that is required; -ESRCH: the warden
 * is already gone; -EBADF: fd 0 is not /dev/null).
 */
int must_check sandbox_enter(const struct sandbox_profile *profile,
			     const struct sandbox_params *params, const char **ret_step);

/** sandbox_close_params() - close the descriptors in @params: the sandbox was entered */
void sandbox_close_params(struct sandbox_params *params);

/**
 * sandbox_seal() - point stderr at /dev/null and install the filter on every thread
 *
 * Return: 0; -errno; -EBUSY when a thread could not be synchronised.
 */
int must_check sandbox_seal(const struct sandbox_profile *profile,
			    const struct sandbox_params *params);

/**
 * sandbox_make_root() - replace the root of the caller's mount namespace by an empty, read-only one
 *
 * The namespace must be the caller's own. Nothing of the old tree stays in it. Also used by the
 * warden, in a thread that has unshared it.
 * Return: 0; -errno.
 */
int must_check sandbox_make_root(void);

/**
 * sandbox_close_fds() - close every fd from 3 upwards that is not in @keep
 * @keep: ascending, each >= 3, no value twice
 * Return: 0; -EINVAL for a list in the wrong order; -errno.
 */
int must_check sandbox_close_fds(const int *keep, size_t n_keep);

/**
 * sandbox_count_fds() - which fds are open
 * @below: look at the numbers below this one; RLIMIT_NOFILE must allow as many
 * @ret_end: one more than the highest that is open; 0: none is
 * Return: how many are open.
 */
uint64_t sandbox_count_fds(uint64_t below, uint64_t *ret_end);
