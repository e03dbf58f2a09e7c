/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The run dir of one VM. Runs in the warden (and in unit tests).
 *
 * The order that makes takeover safe: who holds the lock checks that the locked file is still
 * the one that the path names (a predecessor may have removed it between our open and our lock),
 * and removal unlinks the lock file last, while it is still held.
 */
#include "vmm-core/warden/run_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define RUN_DIR_LOCK "lock"
#define RUN_DIR_CLAIM_TRIES 50

enum run_dir_outcome {
	RUN_DIR_RACED = 2, /* the directory vanished under us: try again */
};

static const char *const run_dir_files[] = { RUN_DIR_CONTROL, RUN_DIR_PTY,
						RUN_DIR_CONSOLE_PTY };

static int run_dir_make(const char *path, struct failure *f)
{
	struct stat st;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return failure_set(f, STATUS_FAILED, "%s: %s", path, strerror(errno));
	if (lstat(path, &st) < 0)
		return failure_set(f, STATUS_FAILED, "%s: %s", path, strerror(errno));
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022) != 0)
		return failure_set(f, STATUS_FAILED,
				   "%s: must be a directory that only its owner can write", path);
	return 0;
}

int run_dir_runtime_path(uid_t uid, char **ret, struct failure *f)
{
	cleanup_free char *path = NULL;
	const char *xdg = getenv("XDG_RUNTIME_DIR");
	int r;

	if (uid == 0)
		r = asprintf(&path, "/run/bulkhead");
	else if (xdg != NULL && xdg[0] == '/')
		r = asprintf(&path, "%s/bulkhead", xdg);
	else
		r = asprintf(&path, "/run/user/%u/bulkhead", (unsigned)uid);
	if (r < 0) {
		path = NULL;
		return -ENOMEM;
	}
	r = run_dir_make(path, f);
	if (r == FAILED && uid != 0 && xdg == NULL)
		return failure_set(f, STATUS_FAILED,
				   "XDG_RUNTIME_DIR is not set and %s cannot be used", path);
	if (r != 0)
		return r;
	*ret = ptr_steal(path);
	return 0;
}

/* Is @dir_fd free of anything but what a run dir holds? *ret_empty: of that too. */
static int run_dir_look(int dir_fd, bool *ret_ours, bool *ret_empty)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool ours = false, empty = true;
	struct dirent *entry;
	DIR *dir;

	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (dir == NULL) {
		(void)fd_close(fd);
		return -ENOMEM;
	}
	while ((entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		empty = false;
		if (strcmp(entry->d_name, RUN_DIR_LOCK) == 0)
			ours = true;
	}
	(void)closedir(dir);
	*ret_ours = ours;
	*ret_empty = empty;
	return 0;
}

/* Open the directory and decide whether we may use it. */
static int run_dir_open(struct run_dir *dir, struct failure *f)
{
	bool made = true, ours, empty;
	struct stat st;
	int r;

	if (mkdir(dir->path, 0700) < 0) {
		if (errno != EEXIST)
			return failure_set(f, STATUS_FAILED, "--run-dir %s: %s", dir->path,
					   errno == ENOENT ? "its parent does not exist" :
							     strerror(errno));
		made = false;
	}
	dir->dir_fd = open(dir->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir->dir_fd < 0 && errno == ENOENT)
		return RUN_DIR_RACED;
	if (dir->dir_fd < 0 || fstat(dir->dir_fd, &st) < 0)
		return failure_set(f, STATUS_FAILED, "--run-dir %s: %s", dir->path,
				   errno == ELOOP ? "is a symbolic link" : strerror(errno));
	if (st.st_uid != geteuid() || (st.st_mode & 022) != 0)
		return failure_set(f, STATUS_FAILED,
				   "--run-dir %s: must be a directory that only you can write",
				   dir->path);
	r = run_dir_look(dir->dir_fd, &ours, &empty);
	if (r < 0)
		return r;
	if (!made && !ours && !empty)
		return failure_set(f, STATUS_FAILED,
				   "--run-dir %s: is not empty and not a run dir", dir->path);
	dir->keep = !made && !ours;
	return 0;
}

static int run_dir_lock(struct run_dir *dir, struct failure *f)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct stat locked, named;

	dir->lock_fd = openat(dir->dir_fd, RUN_DIR_LOCK,
			      O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	if (dir->lock_fd < 0 && errno == ENOENT)
		return RUN_DIR_RACED;
	if (dir->lock_fd < 0)
		return failure_set(f, STATUS_FAILED, "--run-dir %s/%s: %s", dir->path,
				   RUN_DIR_LOCK, strerror(errno));
	if (fcntl(dir->lock_fd, F_OFD_SETLK, &lock) < 0) {
		if (errno == EAGAIN || errno == EACCES)
			return failure_set(f, STATUS_FAILED, "--run-dir %s: in use by another VM; "
					   "choose another --name or --run-dir", dir->path);
		return -errno;
	}
	if (fstat(dir->lock_fd, &locked) < 0 ||
	    fstatat(dir->dir_fd, RUN_DIR_LOCK, &named, AT_SYMLINK_NOFOLLOW) < 0 ||
	    locked.st_ino != named.st_ino || locked.st_dev != named.st_dev)
		return RUN_DIR_RACED;
	return 0;
}

static void run_dir_drop(struct run_dir *dir)
{
	dir->lock_fd = fd_close(dir->lock_fd);
	dir->dir_fd = fd_close(dir->dir_fd);
	free(dir->path);
	dir->path = NULL;
}

int run_dir_claim(const char *path, struct run_dir *ret, struct failure *f)
{
	struct run_dir dir = RUN_DIR_INIT;
	int r = RUN_DIR_RACED;

	for (int i = 0; i < RUN_DIR_CLAIM_TRIES && r == RUN_DIR_RACED; i++) {
		run_dir_drop(&dir);
		dir.path = strdup(path);
		if (dir.path == NULL)
			return -ENOMEM;
		r = run_dir_open(&dir, f);
		if (r == 0)
			r = run_dir_lock(&dir, f);
	}
	if (r != 0) {
		run_dir_drop(&dir);
		return r == RUN_DIR_RACED ?
			       failure_set(f, STATUS_FAILED, "--run-dir %s: others come and go there",
					   path) :
			       r;
	}
	/* What a killed predecessor left. */
	for (size_t i = 0; i < ARRAY_LEN(run_dir_files); i++)
		(void)unlinkat(dir.dir_fd, run_dir_files[i], 0);
	*ret = dir;
	return 0;
}

void run_dir_release(struct run_dir *dir)
{
	if (dir->dir_fd >= 0) {
		for (size_t i = 0; i < ARRAY_LEN(run_dir_files); i++)
			(void)unlinkat(dir->dir_fd, run_dir_files[i], 0);
		(void)unlinkat(dir->dir_fd, RUN_DIR_LOCK, 0);
		/* Fails, and should, when somebody put a file of their own there. */
		if (!dir->keep)
			(void)rmdir(dir->path);
	}
	run_dir_drop(dir);
}
