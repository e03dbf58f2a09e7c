/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock-down from outside and from inside, by way of sandbox_probe: a program that goes
 * through it with the filter of bulkhead-blk, or of bulkhead-vsock, and then does one forbidden
 * thing. Needs root.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandbox/sandbox.h"

static void need_root(void)
{
	if (geteuid() != 0)
		cr_skip_test("needs root to make namespaces and give ids away");
}

TestSuite(sandbox, .init = need_root, .timeout = 60);

/* What the probe printed, newlines as spaces. */
static void run(const char *arguments, char *ret, size_t size)
{
	char command[512];
	FILE *f;
	size_t n;

	(void)snprintf(command, sizeof(command), "%s %s </dev/null 2>&1", SANDBOX_PROBE, arguments);
	f = popen(command, "re");
	cr_assert_not_null(f);
	n = fread(ret, 1, size - 1, f);
	ret[n] = '\0';
	pclose(f);
	for (char *c = ret; *c; c++)
		if (*c == '\n')
			*c = ' ';
}

static void expect(const char *arguments, const char *outcome)
{
	char out[512];

	run(arguments, out, sizeof(out));
	cr_expect_str_eq(out, outcome, "%s: %s, not %s", arguments, out, outcome);
}

Test(sandbox, sealed_process_still_works)
{
	expect("none", "sealed exit 0 ");
}

Test(sandbox, every_forbidden_act_kills)
{
	static const char *const acts[] = {
		"open", "open-old", "socket", "ptrace", "execve", "fork", "clone", "clone3",
		"mmap-exec", "mprotect-exec", "io_uring_setup", "io_uring_register", "kill",
		"unshare", "mount", "setuid", "ioctl", "dup", "process_vm_readv", "bpf", "x32", "i386",
	};
	char killed[32];
	size_t i;

	(void)snprintf(killed, sizeof(killed), "sealed signal %d ", SIGSYS);
	for (i = 0; i < sizeof(acts) / sizeof(acts[0]); i++)
		expect(acts[i], killed);
}

/* Of each program: what it needs and may do, and what its list is there to refuse. */
Test(sandbox, each_list_has_its_own_exceptions)
{
	static const char *const forbidden[] = {
		"open", "open-old", "ptrace", "execve", "fork", "clone", "clone3", "mmap-exec",
		"mprotect-exec", "io_uring_setup", "kill", "unshare", "mount", "setuid", "dup",
		"process_vm_readv", "bpf", "x32", "i386", "ioctl-tun-attach", "ioctl-type-for-user",
		"socket-unix", "socket-packet", "socket-inet6",
	};
	static const char *const some[] = {
		"ioctl-tun-offload", "ioctl-window-size", "getrandom", "accept", "writev", "connect",
	};
	static const struct {
		const char *name, *may;
	} programs[] = {
		{ "net", "none ioctl-tun-offload writev" },
		{ "net-user", "none accept writev connect" },
		{ "console", "none ioctl-window-size accept writev" },
		{ "rng", "none getrandom" },
	};
	char killed[32], arguments[64];
	size_t i, j;

	(void)snprintf(killed, sizeof(killed), "sealed signal %d ", SIGSYS);
	for (i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
		(void)snprintf(arguments, sizeof(arguments), "none --program %s", programs[i].name);
		expect(arguments, "sealed exit 0 ");
		for (j = 0; j < sizeof(forbidden) / sizeof(forbidden[0]); j++) {
			(void)snprintf(arguments, sizeof(arguments), "%s --program %s", forbidden[j],
				       programs[i].name);
			expect(arguments, killed);
		}
		for (j = 0; j < sizeof(some) / sizeof(some[0]); j++) {
			(void)snprintf(arguments, sizeof(arguments), "%s --program %s", some[j],
				       programs[i].name);
			expect(arguments, strstr(programs[i].may, some[j]) ? "sealed exit 0 " :
									       killed);
		}
	}
}

/* As bulkhead-vsock, which lives in a folder of the host and may make sockets. */
Test(sandbox, a_folder_to_live_in_is_no_way_out)
{
	static const struct {
		const char *act;
		bool is_killed;
	} rows[] = {
		{ "none", false }, { "open", true }, { "open-old", true }, { "socket", true },
		{ "socket-datagram", true }, { "socket-blocking", true }, { "socket-vsock", true },
		{ "bind", true }, { "listen", true }, { "setsockopt", true }, { "execve", true },
		{ "fork", true }, { "mmap-exec", true }, { "mount", true }, { "unshare", true },
		{ "io_uring_setup", true }, { "ptrace", true }, { "dup", true },
		{ "connect-outside", false }, { "connect-parent", false },
		{ "connect-abstract", false },
	};
	char folder[] = "/tmp/bulkhead-test-XXXXXX", file[64], killed[32], arguments[128];
	size_t i;

	cr_assert_not_null(mkdtemp(folder));
	cr_assert_eq(chmod(folder, 0755), 0);
	(void)snprintf(file, sizeof(file), "%s/file", folder);
	close(open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0666));
	(void)snprintf(killed, sizeof(killed), "sealed signal %d ", SIGSYS);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		(void)snprintf(arguments, sizeof(arguments), "%s --program vsock --folder %s", rows[i].act, folder);
		expect(arguments, rows[i].is_killed ? killed : "sealed exit 0 ");
	}
	(void)snprintf(arguments, sizeof(arguments), "unsealed-open-in-folder --program vsock --folder %s", folder);
	expect(arguments, "sealed exit 0 ");
	(void)snprintf(arguments, sizeof(arguments), "unsealed-make-in-folder --program vsock --folder %s", folder);
	expect(arguments, "sealed exit 0 ");
	unlink(file);
	rmdir(folder);
}

Test(sandbox, limits_hold_where_the_call_is_allowed)
{
	expect("fd-too-many", "sealed exit 0 ");
	expect("grow-file", "sealed exit 0 ");
}

Test(sandbox, other_walls_hold_without_the_filter)
{
	static const char *const acts[] = {
		"unsealed-open", "unsealed-write-root", "unsealed-mount", "unsealed-setuid",
		"unsealed-fork", "unsealed-mprotect", "unsealed-dup", "unsealed-connect",
	};
	size_t i;

	for (i = 0; i < sizeof(acts) / sizeof(acts[0]); i++)
		expect(acts[i], "sealed exit 0 ");
}

Test(sandbox, log_mode_lets_a_violation_through)
{
	/* ptrace(TRACEME) succeeds then: 10 is "allowed". Other ABIs are killed all the same. */
	expect("ptrace --log", "sealed exit 10 ");
	expect("i386 --log", "sealed signal 31 ");
}

Test(sandbox, without_a_uid_of_its_own_the_rest_holds)
{
	expect("open --uid 0", "sealed signal 31 ");
	expect("unsealed-mount --uid 0", "sealed exit 0 ");
}

static void slurp(const char *path, char *ret, size_t size)
{
	FILE *f = fopen(path, "re");
	size_t n;

	cr_assert_not_null(f, "%s", path);
	n = fread(ret, 1, size - 1, f);
	ret[n] = '\0';
	fclose(f);
}

static bool proc_has(int pid, const char *file, const char *text)
{
	char path[64], content[8192];

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	slurp(path, content, sizeof(content));
	return strstr(content, text) != NULL;
}

static void expect_own_namespace(int pid, const char *name)
{
	char path[64], ours[64] = "", theirs[64] = "";

	(void)snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, name);
	cr_assert_gt(readlink(path, theirs, sizeof(theirs) - 1), 0);
	(void)snprintf(path, sizeof(path), "/proc/self/ns/%s", name);
	cr_assert_gt(readlink(path, ours, sizeof(ours) - 1), 0);
	cr_expect_str_neq(ours, theirs, "%s namespace is shared", name);
}

Test(sandbox, properties_as_seen_from_outside)
{
	static const char *const namespaces[] = { "user", "mnt", "pid", "net", "ipc", "uts",
						  "cgroup" };
	static const char *const status[] = {
		"\nUid:\t1879035904\t1879035904\t1879035904\t1879035904\n",
		"\nGid:\t1879035904\t1879035904\t1879035904\t1879035904\n", "\nGroups:\t \n",
		"\nCapInh:\t0000000000000000\n", "\nCapPrm:\t0000000000000000\n",
		"\nCapEff:\t0000000000000000\n", "\nCapBnd:\t0000000000000000\n",
		"\nCapAmb:\t0000000000000000\n",
		"\nNoNewPrivs:\t1\n", "\nSeccomp:\t2\n", "\nThreads:\t1\n",
	};
	char command[256], line[64], path[64];
	struct stat st;
	int in[2], pid = 0;
	size_t i;
	FILE *f;

	/* The probe's stdin: it lets its child go when we close our end. */
	cr_assert_eq(pipe2(in, O_CLOEXEC), 0);
	cr_assert_eq(dup2(in[0], STDIN_FILENO), STDIN_FILENO);
	(void)snprintf(command, sizeof(command), "%s wait --uid 0x6fffd000", SANDBOX_PROBE);
	f = popen(command, "re");
	cr_assert_not_null(f);
	cr_assert_not_null(fgets(line, sizeof(line), f));
	cr_assert_eq(sscanf(line, "pid %d", &pid), 1, "%s", line);
	for (i = 0; i < sizeof(status) / sizeof(status[0]); i++)
		cr_expect(proc_has(pid, "status", status[i]), "%s", status[i]);
	for (i = 0; i < sizeof(namespaces) / sizeof(namespaces[0]); i++)
		expect_own_namespace(pid, namespaces[i]);
	cr_expect(proc_has(pid, "uid_map", "1879035904 1879035904          1\n"));
	cr_expect(proc_has(pid, "setgroups", "deny"));
	cr_expect(proc_has(pid, "mountinfo", " / / ro,nosuid,nodev,noexec"));
	cr_expect(proc_has(pid, "limits", "Max open files            8 "));
	cr_expect(proc_has(pid, "limits", "Max processes             0 "));
	cr_expect(proc_has(pid, "limits", "Max core file size        0 "));
	/* Not dumpable: its files belong to root. */
	(void)snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	cr_assert_eq(stat(path, &st), 0);
	cr_expect_eq(st.st_uid, 0);
	close(in[1]);
	cr_expect_not_null(fgets(line, sizeof(line), f));
	cr_expect_str_eq(line, "exit 0\n");
	pclose(f);
	close(in[0]);
}

Test(sandbox_fds, counts_what_is_open_below_a_number)
{
	uint64_t end, before = sandbox_count_fds(200, &end);

	cr_assert_geq(before, 3);
	cr_assert_leq(end, 200);
	cr_assert_eq(dup2(STDIN_FILENO, 199), 199);
	cr_expect_eq(sandbox_count_fds(200, &end), before + 1);
	cr_expect_eq(end, 200);
	cr_expect_eq(sandbox_count_fds(199, &end), before);
	cr_expect_lt(end, 199);
	cr_expect_eq(sandbox_count_fds(0, &end), 0);
	cr_expect_eq(end, 0);
}
