/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "ipc/clock.h"
#include "vmm-core/warden/child.h"

static void expect_words(int code, int status, int nr, const char *words)
{
	char text[64];

	child_describe_exit(code, status, nr, text, sizeof(text));
	cr_assert_str_eq(text, words);
}

Test(child, ends_have_words)
{
	expect_words(CLD_EXITED, 3, -1, "exit 3");
	expect_words(CLD_KILLED, SIGKILL, -1, "SIGKILL");
	expect_words(CLD_DUMPED, SIGSEGV, -1, "SIGSEGV");
	expect_words(CLD_KILLED, SIGSYS, -1, "SIGSYS (seccomp: system call unknown)");
	expect_words(CLD_KILLED, SIGSYS, SYS_socket, "SIGSYS (seccomp: socket)");
	expect_words(CLD_KILLED, SIGSYS, SYS_read, "SIGSYS (seccomp: read)");
	expect_words(CLD_KILLED, SIGSYS, 1023, "SIGSYS (seccomp: system call 1023)");
	expect_words(CLD_KILLED, SIGSYS, INT_MAX, "SIGSYS (seccomp: system call 2147483647)");
	expect_words(CLD_KILLED, 40, -1, "signal 40");
}

static void start(struct child *child)
{
	pid_t pid = fork();

	if (pid == 0) {
		for (;;)
			(void)pause();
	}
	child_init(child, "blk0", "blk", 0);
	child->pid = pid;
	child->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	cr_assert_geq(child->pidfd, 0);
}

Test(child, wait_kills_and_collects)
{
	struct child child;
	pid_t pid;

	start(&child);
	pid = child.pid;
	cr_assert_not(child_reap(&child), "it still runs");
	cr_assert_eq(child_wait(&child, clock_now_ms() + 10000), 0);
	cr_assert_str_eq(child.last_exit, "SIGKILL");
	cr_assert_eq(child.pid, 0);
	cr_assert_eq(child.pidfd, -1);
	cr_assert_eq(waitpid(pid, NULL, WNOHANG), -1, "it was not collected");
	cr_assert_eq(child_wait(&child, 0), 0, "nothing runs any more");
}

Test(child, an_end_is_known_before_it_is_collected)
{
	struct corpse corpse = CORPSE_INIT;
	struct child child;
	siginfo_t info = { 0 };
	pid_t pid;

	start(&child);
	pid = child.pid;
	child_hold_mounts(&child);
	cr_assert_geq(child.mounts_fd, 0);
	cr_assert_not(child_end(&child, &corpse), "it still runs");
	cr_assert_eq(corpse.pidfd, -1);
	child_kill(&child);
	while (!child_end(&child, &corpse))
		continue;
	cr_assert_str_eq(child.last_exit, "SIGKILL");
	cr_assert_eq(child.pid, 0);
	cr_assert_eq(child.pidfd, -1);
	cr_assert_eq(child.mounts_fd, -1);
	cr_assert_geq(corpse.mounts_fd, 0);
	cr_assert_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT), 0);
	cr_assert_eq(info.si_pid, pid, "it was collected already");
	corpse_bury(&corpse);
	cr_assert_eq(corpse.pidfd, -1);
	cr_assert_eq(corpse.mounts_fd, -1);
	cr_assert_eq(waitpid(pid, NULL, WNOHANG), -1, "it was not collected");
	corpse_bury(&corpse);
}

Test(child, the_reason_of_a_condemned_one_is_kept)
{
	struct child child;

	start(&child);
	strcpy(child.condemned, "forged a message");
	cr_assert_eq(child_wait(&child, clock_now_ms() + 10000), 0);
	cr_assert_str_eq(child.last_exit, "SIGKILL: forged a message");
}

Test(child, a_condemned_one_that_ends_by_itself_says_so)
{
	struct child child;

	child_init(&child, "blk0", "blk", 0);
	child.pid = fork();
	if (child.pid == 0)
		_exit(3);
	child.pidfd = (int)syscall(SYS_pidfd_open, child.pid, 0);
	cr_assert_geq(child.pidfd, 0);
	strcpy(child.condemned, "closed its channel");
	while (!child_reap(&child))
		continue;
	cr_assert_str_eq(child.last_exit, "exit 3: closed its channel");
}

Test(child, a_long_reason_is_cut)
{
	struct child child;

	start(&child);
	memset(child.condemned, 'x', sizeof(child.condemned) - 1);
	cr_assert_eq(child_wait(&child, clock_now_ms() + 10000), 0);
	cr_assert_eq(strlen(child.last_exit), sizeof(child.last_exit) - 1);
	cr_assert_eq(strncmp(child.last_exit, "SIGKILL: xxx", 12), 0);
	cr_assert_str_eq(child.last_exit + sizeof(child.last_exit) - 5, "x...");
}

Test(child, only_one_that_waits_for_a_cpu_is_starved)
{
	struct child child;

	start(&child);
	for (int i = 0; i < 5; i++) { /* it sleeps, or is just about to */
		cr_assert(!child_is_starved(&child) || child.starved_at_ns != 0);
		(void)usleep(10000);
	}
	cr_assert_not(child_is_starved(&child), "it sleeps");
	cr_assert_eq(child_wait(&child, clock_now_ms() + 10000), 0);

	/* One that spins has a CPU, and may be blamed, from the second look. */
	child.pid = fork();
	if (child.pid == 0) {
		for (;;)
			continue;
	}
	child.pidfd = (int)syscall(SYS_pidfd_open, child.pid, 0);
	child.starved_at_ns = 0;
	cr_assert(child_is_starved(&child), "nothing to compare with yet");
	for (int i = 0; child_is_starved(&child); i++) {
		cr_assert_lt(i, 1000, "it spins");
		(void)usleep(10000);
	}
	cr_assert_eq(child_wait(&child, clock_now_ms() + 10000), 0);
}
