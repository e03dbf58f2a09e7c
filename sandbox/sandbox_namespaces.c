/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Namespaces and the empty root. Runs once in core and device processes, before they have heard
 * anything from a guest; nothing read here is hostile.
 *
 * Inside its user namespace the process keeps the number that it has outside (map "U U 1"), so
 * every observer reads the same unique uid, and no other id exists there.
 */
#include "sandbox/sandbox_steps.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>

static int self_dir = -1; /* /proc/self, from the first of these steps to the id maps */

/* One write: the kernel takes id maps in a single piece. */
static int write_file(const char *name, const char *text)
{
	cleanup_fd int fd = openat(self_dir, name, O_WRONLY | O_CLOEXEC);
	size_t len = strlen(text);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, text, len);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}

static int write_id_map(const char *name, unsigned id)
{
	char line[48];

	(void)snprintf(line, sizeof(line), "%u %u 1\n", id, id);
	return write_file(name, line);
}

int sandbox_step_join(const struct sandbox_profile *profile, const struct sandbox_params *params)
{
	(void)profile;
	self_dir = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (self_dir < 0)
		return -errno;
	if (params->network_fd != 0 && setns(params->network_fd, CLONE_NEWNET) < 0)
		return -errno;
	if (params->root_fd != 0 && setns(params->root_fd, CLONE_NEWNS) < 0)
		return -errno;
	return 0;
}

int sandbox_step_userns(const struct sandbox_profile *profile,
			const struct sandbox_params *params)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int r;

	(void)profile;
	(void)params;
	if (unshare(CLONE_NEWUSER) < 0)
		return -errno;
	/* Required before gid_map by a process without CAP_SETGID outside. */
	r = write_file("setgroups", "deny");
	if (r < 0)
		return r;
	r = write_id_map("uid_map", uid);
	if (r == 0)
		r = write_id_map("gid_map", gid);
	self_dir = fd_close(self_dir);
	return r;
}

int sandbox_step_namespaces(const struct sandbox_profile *profile,
			    const struct sandbox_params *params)
{
	(void)params;
	if (unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP) < 0)
		return -errno;
	if (sethostname(profile->name, strlen(profile->name)) < 0)
		return -errno;
	return 0;
}

int sandbox_make_root(void)
{
	/* Any directory that is sure to exist serves as mount point: the id maps were in /proc. */
	static const char at[] = "/proc";

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -errno;
	if (mount("none", at, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  "size=4k,nr_inodes=1,mode=0555") < 0)
		return -errno;
	if (chdir(at) < 0)
		return -errno;
	/* Both names may be the same directory: the old root then lies on top of the new one. */
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return -errno;
	if (umount2(".", MNT_DETACH) < 0)
		return -errno;
	return chdir("/") < 0 ? -errno : 0;
}

int sandbox_step_root(const struct sandbox_profile *profile, const struct sandbox_params *params)
{
	(void)profile;
	return params->root_fd != 0 ? 0 : sandbox_make_root();
}
