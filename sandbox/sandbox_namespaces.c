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
	self_dir = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (self_dir < 0)
		return -errno;
	if (params->network_fd != 0 && setns(params->network_fd, CLONE_NEWNET) < 0)
		return -errno;
	if (params->root_fd != 0 && !profile->takes_folder &&
	    setns(params->root_fd, CLONE_NEWNS) < 0)
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

int sandbox_step_folder(const struct sandbox_profile *profile,
			const struct sandbox_params *params)
{
	if (!profile->takes_folder)
		return 0;
	return fchdir(params->folder_fd) < 0 ? -errno : 0;
}

/*
 * A tree of its own of the folder that we are in, fit to be a root. Unsharing took the working
 * directory along into our mount namespace; an fd would still lead to the old one. What is mounted
 * below comes along, because without privilege over it it cannot be left out.
 */
static int copy_folder(void)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID |
					       MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC };
	cleanup_fd int fd = open_tree(AT_FDCWD, "", AT_EMPTY_PATH | AT_RECURSIVE |
					      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) < 0)
		return -errno;
	return fd_steal(&fd);
}

static int enter_folder(const char *at)
{
	cleanup_fd int tree = copy_folder();

	if (tree < 0)
		return tree;
	if (move_mount(tree, "", AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return -errno;
	return chdir(at) < 0 ? -errno : 0;
}

static int enter_empty(const char *at)
{
	if (mount("none", at, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  "size=4k,nr_inodes=1,mode=0555") < 0)
		return -errno;
	return chdir(at) < 0 ? -errno : 0;
}

/* @is_folder: of where we are; if that may not be seen, an empty one. */
static int make_root(bool is_folder)
{
	/* Any directory that is sure to exist serves as mount point: the id maps were in /proc. */
	static const char at[] = "/proc";
	int r = -EACCES;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -errno;
	if (is_folder)
		r = enter_folder(at);
	if (r == -EACCES)
		r = enter_empty(at);
	if (r < 0)
		return r;
	/* Both names may be the same directory: the old root then lies on top of the new one. */
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return -errno;
	if (umount2(".", MNT_DETACH) < 0)
		return -errno;
	return chdir("/") < 0 ? -errno : 0;
}

int sandbox_make_root(void)
{
	return make_root(false);
}

int sandbox_step_root(const struct sandbox_profile *profile, const struct sandbox_params *params)
{
	if (profile->takes_folder)
		return make_root(true);
	return params->root_fd != 0 ? 0 : sandbox_make_root();
}
