/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock-down of core and device processes, in its one fixed order. See sandbox.h.
 *
 * The order is the kernel's: an id change clears the parent-death signal and makes the process
 * undumpable, an undumpable process may not write its id maps, a process with threads cannot
 * enter a user namespace, and the capabilities that the namespaces need come from the user
 * namespace and are given up as soon as the root is empty.
 */
#include "sandbox/sandbox.h"

#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "sandbox/kernel_compat.h"
#include "sandbox/sandbox_steps.h"

#define SECUREBITS_ALL                                                                            \
	(SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |                          \
	 SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |  \
	 SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED)

typedef int step_fn(const struct sandbox_profile *profile, const struct sandbox_params *params);

static int limit(int resource, uint64_t value)
{
	struct rlimit64 l = { .rlim_cur = value, .rlim_max = value };

	return setrlimit64((__rlimit_resource_t)resource, &l) < 0 ? -errno : 0;
}

/* fd 0 later takes the place of stderr, so it must be what the warden promises. */
static int step_stdio(const struct sandbox_profile *profile, const struct sandbox_params *params)
{
	struct stat st;

	(void)profile;
	(void)params;
	if (fstat(STDIN_FILENO, &st) < 0)
		return -errno;
	if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
		return -EBADF;
	return 0;
}

static int step_ids(const struct sandbox_profile *profile, const struct sandbox_params *params)
{
	(void)profile;
	/* Without subordinate ids the kernel refuses setgroups(): the accepted weak case. */
	if (setgroups(0, NULL) < 0 && !(params->uid == 0 && errno == EPERM))
		return -errno;
	if (params->uid != 0) {
		if (setresgid(params->gid, params->gid, params->gid) < 0)
			return -errno;
		if (setresuid(params->uid, params->uid, params->uid) < 0)
			return -errno;
	}
	/* The id change made the process undumpable, which would forbid it to write its maps. */
	return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0 ? -errno : 0;
}

static int step_rlimits(const struct sandbox_profile *profile,
			const struct sandbox_params *params)
{
	const struct {
		int resource;
		uint64_t value;
	} limits[] = {
		{ RLIMIT_FSIZE, profile->fsize_from_params ? params->file_size_max : 0 },
		{ RLIMIT_CORE, 0 },
		/* the hard limit must leave room for what the seal sets */
		{ RLIMIT_NPROC, profile->max_threads > profile->max_threads_sealed ?
					profile->max_threads :
					profile->max_threads_sealed },
		{ RLIMIT_MEMLOCK, profile->max_locked },
		{ RLIMIT_MSGQUEUE, 0 },
		{ RLIMIT_RTPRIO, 0 },
		{ RLIMIT_NICE, 0 },
	};
	size_t i;
	int r;

	for (i = 0; i < ARRAY_LEN(limits); i++) {
		r = limit(limits[i].resource, limits[i].value);
		if (r < 0)
			return r;
	}
	return 0;
}

static int step_capabilities(const struct sandbox_profile *profile,
			     const struct sandbox_params *params)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { { 0 } };
	unsigned long cap = 0;

	(void)profile;
	(void)params;
	while (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0)
		cap++;
	if (errno != EINVAL) /* the first that the kernel does not know */
		return -errno;
	if (prctl(PR_SET_SECUREBITS, SECUREBITS_ALL, 0, 0, 0) < 0)
		return -errno;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;
	return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

static int step_undumpable(const struct sandbox_profile *profile,
			   const struct sandbox_params *params)
{
	(void)profile;
	(void)params;
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? -errno : 0;
}

/*
 * The parent may have died before the signal was asked for. getppid() is 0 in the first process
 * of a pid namespace whether the parent lives or not, so its pidfd is asked.
 */
static int step_parent(const struct sandbox_profile *profile, const struct sandbox_params *params)
{
	struct pollfd p = { .fd = params->parent_pidfd, .events = POLLIN };

	(void)profile;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return -errno;
	if (p.fd < 0)
		return -EBADF;
	if (poll(&p, 1, 0) < 0)
		return -errno;
	return p.revents ? -ESRCH : 0;
}

static int step_no_new_privs(const struct sandbox_profile *profile,
			     const struct sandbox_params *params)
{
	(void)profile;
	(void)params;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

/* The seccomp list refuses PROT_EXEC anyway; where the kernel can refuse it too, it does. */
static int step_write_xor_exec(const struct sandbox_profile *profile,
			       const struct sandbox_params *params)
{
	(void)profile;
	(void)params;
	if (prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) < 0 && errno != EINVAL)
		return -errno;
	return 0;
}

/* Last of the limits: the Landlock step still needed an fd for a moment. */
static int step_fd_limit(const struct sandbox_profile *profile,
			 const struct sandbox_params *params)
{
	(void)params;
	return limit(RLIMIT_NOFILE, profile->max_fds);
}

int sandbox_enter(const struct sandbox_profile *profile, const struct sandbox_params *params,
		  const char **ret_step)
{
	static const struct {
		const char *name;
		step_fn *run;
	} steps[] = {
		{ "standard fds", step_stdio },
		{ "given namespaces", sandbox_step_join },
		{ "folder", sandbox_step_folder },
		{ "user and group ids", step_ids },
		{ "user namespace", sandbox_step_userns },
		{ "namespaces", sandbox_step_namespaces },
		{ "empty root", sandbox_step_root },
		{ "resource limits", step_rlimits },
		{ "capabilities", step_capabilities },
		{ "dumpable", step_undumpable },
		{ "parent", step_parent },
		{ "no_new_privs", step_no_new_privs },
		{ "Landlock", sandbox_step_landlock },
		{ "W^X", step_write_xor_exec },
		{ "fd limit", step_fd_limit },
	};
	size_t i;
	int r;

	for (i = 0; i < ARRAY_LEN(steps); i++) {
		r = steps[i].run(profile, params);
		if (r < 0) {
			*ret_step = steps[i].name;
			return r;
		}
	}
	return 0;
}

void sandbox_close_params(struct sandbox_params *params)
{
	params->parent_pidfd = fd_close(params->parent_pidfd);
	if (params->root_fd != 0)
		(void)fd_close(params->root_fd);
	if (params->network_fd != 0)
		(void)fd_close(params->network_fd);
	if (params->folder_fd != 0)
		(void)fd_close(params->folder_fd);
	params->root_fd = params->network_fd = params->folder_fd = 0;
}

int sandbox_seal(const struct sandbox_profile *profile, const struct sandbox_params *params)
{
	const struct sandbox_filter *f = profile->filter;
	struct sock_fprog program = {
		.len = params->seccomp_log ? f->n_log : f->n_kill,
		/* The kernel's interface lacks the const; it only copies. */
		.filter = (struct sock_filter *)(uintptr_t)(params->seccomp_log ? f->log : f->kill),
	};
	long r;

#ifndef SANDBOX_KEEPS_STDERR /* builds with sanitizers: their reports are to be read */
	if (dup2(STDIN_FILENO, STDERR_FILENO) < 0)
		return -errno;
#endif
	r = limit(RLIMIT_NPROC, profile->max_threads_sealed);
	if (r < 0)
		return (int)r;
	r = limit(RLIMIT_NOFILE, params->max_fds != 0 ? params->max_fds : profile->max_fds);
	if (r < 0)
		return (int)r;
	r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
	if (r < 0)
		return -errno;
	return r == 0 ? 0 : -EBUSY; /* positive: the thread that could not follow */
}

int sandbox_close_fds(const int *keep, size_t n_keep)
{
	unsigned from = 3;
	size_t i;

	for (i = 0; i < n_keep; i++) {
		if (keep[i] < 0 || (unsigned)keep[i] < from)
			return -EINVAL;
		if ((unsigned)keep[i] > from &&
		    syscall(SYS_close_range, from, (unsigned)keep[i] - 1, 0) < 0)
			return -errno;
		from = (unsigned)keep[i] + 1;
	}
	return syscall(SYS_close_range, from, ~0u, 0) < 0 ? -errno : 0;
}

/* By poll(), which tells 64 numbers apart in one call. */
uint64_t sandbox_count_fds(uint64_t below, uint64_t *ret_end)
{
	struct pollfd fds[64];
	uint64_t from, i, n, n_open = 0, end = 0;

	for (from = 0; from < below; from += n) {
		n = below - from < ARRAY_LEN(fds) ? below - from : ARRAY_LEN(fds);
		for (i = 0; i < n; i++)
			fds[i] = (struct pollfd){ .fd = (int)(from + i) };
		(void)poll(fds, n, 0);
		for (i = 0; i < n; i++) {
			if (fds[i].revents & POLLNVAL)
				continue;
			n_open++;
			end = from + i + 1;
		}
	}
	*ret_end = end;
	return n_open;
}
