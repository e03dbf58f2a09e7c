/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "vmm-core/warden/run_dir.h"

static char folder[64];
static char path[96];

static void setup(void)
{
	(void)snprintf(folder, sizeof(folder), "/tmp/bulkhead-unit-XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/vm", folder);
}

static void teardown(void)
{
	(void)rmdir(path);
	cr_assert_eq(rmdir(folder), 0, "something is left in %s", folder);
}

TestSuite(run_dir, .init = setup, .fini = teardown);

Test(run_dir, is_made_private_and_removed)
{
	struct run_dir dir = RUN_DIR_INIT;
	struct failure f;
	struct stat st;

	cr_assert_eq(run_dir_claim(path, &dir, &f), 0);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0700);
	run_dir_release(&dir);
	cr_assert_eq(stat(path, &st), -1);
}

Test(run_dir, in_use_is_refused)
{
	struct run_dir first = RUN_DIR_INIT, second = RUN_DIR_INIT;
	char expected[200];
	struct failure f;

	cr_assert_eq(run_dir_claim(path, &first, &f), 0);
	cr_assert_eq(run_dir_claim(path, &second, &f), FAILED);
	(void)snprintf(expected, sizeof(expected), "--run-dir %s: in use by another VM; choose "
		       "another --name or --run-dir", path);
	cr_assert_str_eq(f.text, expected);
	run_dir_release(&second);
	run_dir_release(&first);
}

/* A killed warden leaves its files; the lock goes with it. */
Test(run_dir, of_a_killed_process_is_taken_over)
{
	struct run_dir dir = RUN_DIR_INIT;
	struct failure f;
	int ready[2], status;
	char byte;
	pid_t pid;

	cr_assert_eq(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		if (run_dir_claim(path, &dir, &f) != 0 ||
		    symlinkat("/dev/pts/0", dir.dir_fd, RUN_DIR_PTY) < 0 ||
		    write(ready[1], "r", 1) != 1)
			_exit(1);
		for (;;)
			(void)pause();
	}
	cr_assert_eq(read(ready[0], &byte, 1), 1);
	cr_assert_eq(run_dir_claim(path, &dir, &f), FAILED);
	cr_assert_eq(kill(pid, SIGKILL), 0);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(run_dir_claim(path, &dir, &f), 0, "%s", f.text);
	cr_assert_eq(faccessat(dir.dir_fd, RUN_DIR_PTY, F_OK, AT_SYMLINK_NOFOLLOW), -1);
	run_dir_release(&dir);
}

Test(run_dir, of_somebody_else_s_files_is_refused)
{
	struct run_dir dir = RUN_DIR_INIT;
	struct failure f;
	char file[128];
	int fd;

	(void)snprintf(file, sizeof(file), "%s/precious", path);
	cr_assert_eq(mkdir(path, 0700), 0);
	fd = open(file, O_CREAT | O_WRONLY, 0600);
	cr_assert_geq(fd, 0);
	(void)close(fd);
	cr_assert_eq(run_dir_claim(path, &dir, &f), FAILED);
	cr_assert_not_null(strstr(f.text, "not a run dir"));
	cr_assert_eq(unlink(file), 0, "the file was touched");
}

Test(run_dir, that_others_can_write_is_refused)
{
	struct run_dir dir = RUN_DIR_INIT;
	struct failure f;

	cr_assert_eq(mkdir(path, 0700), 0);
	cr_assert_eq(chmod(path, 0777), 0);
	cr_assert_eq(run_dir_claim(path, &dir, &f), FAILED);
}

Test(run_dir, is_not_reached_through_a_link)
{
	struct run_dir dir = RUN_DIR_INIT;
	struct failure f;

	cr_assert_eq(symlink(folder, path), 0);
	cr_assert_eq(run_dir_claim(path, &dir, &f), FAILED);
	cr_assert_eq(unlink(path), 0);
}

/* A directory that the user made stays; only our files go. */
Test(run_dir, that_was_there_and_empty_is_kept)
{
	struct run_dir dir = RUN_DIR_INIT;
	struct failure f;
	struct stat st;

	cr_assert_eq(mkdir(path, 0700), 0);
	cr_assert_eq(run_dir_claim(path, &dir, &f), 0);
	run_dir_release(&dir);
	cr_assert_eq(stat(path, &st), 0);
}
