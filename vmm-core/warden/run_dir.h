/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The run dir of one VM, and the runtime dir that holds them all.
 *
 *	/run/bulkhead/			runtime dir as root; $XDG_RUNTIME_DIR/bulkhead otherwise
 *		uids			lock file of uid_block.h
 *		NAME/			run dir, mode 0700
 *			lock		OFD lock for as long as the VM lives
 *			control.sock	control socket
 *			serial.pty	symlink, with --serial pty
 *
 * A run dir whose lock is free belongs to a warden that was killed: the next start of that name
 * takes it over. Everything in it is opened relative to its directory fd and without following
 * symlinks; only the files above are ever removed.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "vmm-core/warden/failure.h"

#define RUN_DIR_CONTROL "control.sock"
#define RUN_DIR_PTY "serial.pty"
#define RUN_DIR_CONSOLE_PTY "console.pty"

struct run_dir {
	int dir_fd; /* O_DIRECTORY; -1: not there */
	int lock_fd;
	bool keep; /* it existed, empty, before us: leave the directory itself */
	char *path; /* absolute or as the user gave it; for messages and for rmdir */
};

#define RUN_DIR_INIT ((struct run_dir){ .dir_fd = -1, .lock_fd = -1 })

/**
 * run_dir_runtime_path() - where run dirs are by default; makes the directory when it is missing
 * @uid: user id outside any user namespace of our own
 * @ret: owned string
 * Return: 0; FAILED with STATUS_FAILED; -ENOMEM.
 */
int must_check run_dir_runtime_path(uid_t uid, char **ret, struct failure *f);

/**
 * run_dir_claim() - make or take over @path and lock it
 * @path: the directory; its parent exists
 * Return: 0; FAILED (in use, not ours, not a run dir); -errno.
 */
int must_check run_dir_claim(const char *path, struct run_dir *ret, struct failure *f);

/** run_dir_release() - remove our files and the directory, free the lock; takes RUN_DIR_INIT */
void run_dir_release(struct run_dir *dir);
