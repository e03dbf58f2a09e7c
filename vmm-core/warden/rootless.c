/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running as a plain user. Runs in the warden, once, before anything is opened.
 *
 * newuidmap and newgidmap must be run by a process outside the new namespace, so a helper is
 * forked first, waits until the warden has made its namespace, and runs them.
 */
#include "vmm-core/warden/rootless.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "ipc/clock.h"
#include "vmm-core/warden/config_value.h"

#define ROOTLESS_HELPER_DEADLINE_MS 10000u

/* The tools are set-user-ID; only the system's own are run, whatever PATH says. */
static const char *const rootless_uidmap = "/usr/bin/newuidmap";
static const char *const rootless_gidmap = "/usr/bin/newgidmap";

bool subid_find(FILE *in, const char *name, uint32_t uid, struct subid_range *ret)
{
	char line[256], number[16];
	bool found = false;

	(void)snprintf(number, sizeof(number), "%u", uid);
	while (fgets(line, sizeof(line), in) != NULL) {
		char *rest = line;
		const char *who = strsep(&rest, ":");
		const char *first = strsep(&rest, ":");
		const char *count = strsep(&rest, ":\n");
		uint64_t a, n;

		if (count == NULL || config_value_number(first, &a) != 0 ||
		    config_value_number(count, &n) != 0 || a > UINT32_MAX || n > UINT32_MAX - a)
			continue;
		if (strcmp(who, number) != 0 && (name == NULL || strcmp(who, name) != 0))
			continue;
		if (!found || n > ret->count)
			*ret = (struct subid_range){ (uint32_t)a, (uint32_t)n };
		found = true;
	}
	return found;
}

/* Login name of @uid from /etc/passwd; a static program cannot load name service modules. */
static bool rootless_user_name(uint32_t uid, char *ret, size_t size)
{
	FILE *in = fopen("/etc/passwd", "re");
	char line[1024];
	bool found = false;

	if (in == NULL)
		return false;
	while (!found && fgets(line, sizeof(line), in) != NULL) {
		char *rest = line;
		const char *name = strsep(&rest, ":");
		const char *number;
		uint64_t v;

		(void)strsep(&rest, ":");
		number = strsep(&rest, ":");
		if (number == NULL || config_value_number(number, &v) != 0 || v != uid)
			continue;
		found = snprintf(ret, size, "%s", name) < (int)size;
	}
	(void)fclose(in);
	return found;
}

static bool rootless_range(const char *path, const char *name, uint32_t uid,
			   struct subid_range *ret)
{
	FILE *in = fopen(path, "re");
	bool found;

	if (in == NULL)
		return false;
	found = subid_find(in, name, uid, ret);
	(void)fclose(in);
	return found;
}

/* Run one of the tools for @pid and wait for it; in the helper. */
static int rootless_run_tool(const char *tool, pid_t pid, uint32_t own, struct subid_range range)
{
	char a_pid[16], a_own[16], a_first[16], a_count[16];
	char *const env[] = { NULL };
	pid_t child;
	int status;

	(void)snprintf(a_pid, sizeof(a_pid), "%d", (int)pid);
	(void)snprintf(a_own, sizeof(a_own), "%u", own);
	(void)snprintf(a_first, sizeof(a_first), "%u", range.first);
	(void)snprintf(a_count, sizeof(a_count), "%u", range.count);
	child = fork();
	if (child < 0)
		return -errno;
	if (child == 0) {
		char *const argv[] = { (char *)tool, a_pid, "0", a_own, "1", "1",
				       a_first,	     a_count, NULL };
		int null_fd = open("/dev/null", O_RDWR);

		/* Its complaint would be a second line on stderr. */
		if (null_fd >= 0)
			(void)dup2(null_fd, 2);
		(void)execve(tool, argv, env);
		_exit(127);
	}
	if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return -EPERM;
	return 0;
}

struct rootless_helper {
	pid_t pid;
	int go_fd; /* closing it tells the helper that the namespace is there */
};

/* Fork the process that stays outside and will write the maps. */
static int rootless_helper_start(uint32_t uid, uint32_t gid, struct subid_range uids,
				 struct subid_range gids, struct rootless_helper *ret)
{
	pid_t warden = getpid();
	int go[2];
	pid_t pid;

	if (pipe2(go, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid < 0) {
		int r = -errno;

		(void)fd_close(go[0]);
		(void)fd_close(go[1]);
		return r;
	}
	if (pid == 0) {
		char byte;

		(void)fd_close(go[1]);
		/* One byte: go. End of file: the warden gave up or died. */
		if (read(go[0], &byte, 1) != 1)
			_exit(1);
		if (rootless_run_tool(rootless_uidmap, warden, uid, uids) != 0)
			_exit(2);
		_exit(rootless_run_tool(rootless_gidmap, warden, gid, gids) != 0 ? 3 : 0);
	}
	(void)fd_close(go[0]);
	*ret = (struct rootless_helper){ .pid = pid, .go_fd = go[1] };
	return 0;
}

/* Wait for the helper; Return: its exit status, or -errno. It is gone afterwards in any case. */
static int rootless_helper_finish(struct rootless_helper *h)
{
	cleanup_fd int pidfd = (int)syscall(SYS_pidfd_open, h->pid, 0);
	uint64_t deadline = clock_now_ms() + ROOTLESS_HELPER_DEADLINE_MS;
	struct pollfd pfd = { .fd = pidfd, .events = POLLIN };
	bool in_time;
	int status;

	h->go_fd = fd_close(h->go_fd);
	do {
		in_time = pidfd >= 0 && poll(&pfd, 1, clock_left_ms(deadline)) > 0;
	} while (!in_time && pidfd >= 0 && clock_left_ms(deadline) > 0);
	if (!in_time)
		(void)kill(h->pid, SIGKILL);
	if (waitpid(h->pid, &status, 0) != h->pid)
		return -ECHILD;
	if (!in_time)
		return -ETIMEDOUT;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -EPERM;
}

static int rootless_map_range(uint32_t uid, uint32_t gid, struct subid_range uids,
			      struct subid_range gids, struct failure *f)
{
	struct rootless_helper helper = { .go_fd = -1 };
	int r, e = 0;

	if (access(rootless_uidmap, X_OK) < 0 || access(rootless_gidmap, X_OK) < 0)
		return failure_set(f, STATUS_FAILED,
				   "running without root needs %s and %s (package uidmap)",
				   rootless_uidmap, rootless_gidmap);
	r = rootless_helper_start(uid, gid, uids, gids, &helper);
	if (r < 0)
		return failure_set(f, STATUS_FAILED, "fork: %s", strerror(-r));
	if (unshare(CLONE_NEWUSER) < 0)
		e = errno;
	else if (write(helper.go_fd, "g", 1) != 1)
		e = EIO;
	r = rootless_helper_finish(&helper);
	if (e != 0)
		return failure_set(f, STATUS_FAILED, "user namespace: %s", strerror(e));
	if (r != 0)
		return failure_set(f, STATUS_FAILED,
				   "%s failed: are the ids in /etc/sub%s free to use?",
				   r == 3 ? rootless_gidmap : rootless_uidmap,
				   r == 3 ? "gid" : "uid");
	return 0;
}

static int rootless_write(const char *path, const char *text)
{
	cleanup_fd int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -errno;
}

/* Weak: a namespace with the user's own id only. */
static int rootless_map_self(uint32_t uid, uint32_t gid, struct failure *f)
{
	char uids[32], gids[32];

	(void)snprintf(uids, sizeof(uids), "0 %u 1", uid);
	(void)snprintf(gids, sizeof(gids), "0 %u 1", gid);
	if (unshare(CLONE_NEWUSER) < 0)
		return failure_set(f, STATUS_FAILED, "user namespace: %s", strerror(errno));
	if (rootless_write("/proc/self/setgroups", "deny") < 0 ||
	    rootless_write("/proc/self/uid_map", uids) < 0 ||
	    rootless_write("/proc/self/gid_map", gids) < 0)
		return failure_set(f, STATUS_FAILED, "user namespace: cannot map our own id");
	return 0;
}

/* As root: are the ids we would use there at all? In a container they may not be. */
static int rootless_check_root(const struct uid_range *range, struct failure *f)
{
	static const char *const maps[] = { "/proc/self/uid_map", "/proc/self/gid_map" };
	uint64_t end = range->first + (uint64_t)range->n_blocks * UID_BLOCK_SIZE;

	for (size_t i = 0; i < ARRAY_LEN(maps); i++) {
		FILE *in = fopen(maps[i], "re");
		unsigned long inside, outside, count;
		bool covered = false;

		while (in != NULL && fscanf(in, "%lu %lu %lu", &inside, &outside, &count) == 3)
			covered = covered || (inside <= range->first && inside + count >= end);
		if (in != NULL)
			(void)fclose(in);
		if (!covered)
			return failure_set(f, STATUS_FAILED,
					   "ids from 0x%x are not mapped in this user namespace",
					   range->first);
	}
	return 0;
}

int rootless_enter(bool allow_weak, struct uid_range *ret_range, bool *ret_weak,
		   struct failure *f)
{
	struct subid_range uids, gids;
	uint32_t uid = geteuid(), gid = getegid();
	char name[256];
	bool has_name;
	int r;

	*ret_weak = false;
	if (uid == 0) {
		*ret_range = (struct uid_range){ UID_BLOCK_FIRST, UID_BLOCK_COUNT };
		return rootless_check_root(ret_range, f);
	}
	has_name = rootless_user_name(uid, name, sizeof(name));
	if (rootless_range("/etc/subuid", has_name ? name : NULL, uid, &uids) &&
	    rootless_range("/etc/subgid", has_name ? name : NULL, uid, &gids) &&
	    uids.count >= UID_BLOCK_SIZE && gids.count >= UID_BLOCK_SIZE) {
		uint32_t count = uids.count < gids.count ? uids.count : gids.count;

		r = rootless_map_range(uid, gid, uids, gids, f);
		*ret_range = (struct uid_range){ 1, count / UID_BLOCK_SIZE };
		return r;
	}
	if (!allow_weak)
		return failure_set(f, STATUS_FAILED,
				   "no %u subordinate ids in /etc/subuid and /etc/subgid: run as "
				   "root, add a range, or accept less with --allow-weak-sandbox",
				   UID_BLOCK_SIZE);
	r = rootless_map_self(uid, gid, f);
	*ret_range = (struct uid_range){ 0, 0 };
	*ret_weak = true;
	return r;
}
