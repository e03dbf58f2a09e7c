/* SPDX-License-Identifier: Apache-2.0 */
/* Child processes by pidfd. Runs in the warden. */
#include "vmm-core/warden/child.h"

#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "ipc/clock.h"
#include "sandbox/syscall_names.h"

#define CHILD_KMSG_RECORDS 4096 /* bound on the search for an audit record */

void child_init(struct child *child, const char *name, const char *role, uint32_t slot)
{
	*child = (struct child){ .slot = slot, .pidfd = -1, .mounts_fd = -1,
				  .state = DEVICE_STATE_STARTING, .fence = FENCE_INIT };
	(void)snprintf(child->name, sizeof(child->name), "%s", name);
	(void)snprintf(child->role, sizeof(child->role), "%s", role);
}

void child_signal(const struct child *child, int number)
{
	if (child->pidfd >= 0)
		(void)syscall(SYS_pidfd_send_signal, child->pidfd, number, NULL, 0);
}

void child_kill(const struct child *child)
{
	child_signal(child, SIGKILL);
}

void child_describe_exit(int code, int status, int syscall, char *ret, size_t size)
{
	const char *name;

	if (code == CLD_EXITED) {
		(void)snprintf(ret, size, "exit %d", status);
		return;
	}
	if (status == SIGSYS) {
		if (syscall >= 0 && (size_t)syscall < ARRAY_LEN(syscall_names) &&
		    syscall_names[syscall] != NULL)
			(void)snprintf(ret, size, "SIGSYS (seccomp: %s)", syscall_names[syscall]);
		else if (syscall >= 0)
			(void)snprintf(ret, size, "SIGSYS (seccomp: system call %d)", syscall);
		else
			(void)snprintf(ret, size, "SIGSYS (seccomp: system call unknown)");
		return;
	}
	name = sigabbrev_np(status);
	if (name != NULL)
		(void)snprintf(ret, size, "SIG%s", name);
	else
		(void)snprintf(ret, size, "signal %d", status);
}

/* The number behind "@key=" in an audit record, -1 when there is none. */
static long child_audit_field(const char *record, const char *key)
{
	const char *at = strstr(record, key);
	char *end;
	long v;

	if (at == NULL)
		return -1;
	at += strlen(key);
	v = strtol(at, &end, 10);
	return end == at || v < 0 || v > 0x7fffffff ? -1 : v;
}

int child_audit_syscall(pid_t pid)
{
	cleanup_fd int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	char record[2048];
	int found = -1;

	if (fd < 0)
		return -1;
	for (int i = 0; i < CHILD_KMSG_RECORDS; i++) {
		ssize_t n = read(fd, record, sizeof(record) - 1);

		if (n < 0 && errno == EPIPE)
			continue; /* overwritten while we read: go on with the next one */
		if (n <= 0)
			break;
		record[n] = '\0';
		/* AUDIT_SECCOMP is 1326; the last matching record counts, pids are reused. */
		if (strstr(record, "type=1326 ") != NULL &&
		    child_audit_field(record, " pid=") == pid)
			found = (int)child_audit_field(record, " syscall=");
	}
	return found;
}

/* How it really ended: a condemned one may have been faster than the kill. */
static void child_note_exit(struct child *child, const char *words)
{
	size_t size = sizeof(child->last_exit);
	int n = snprintf(child->last_exit, size, "%s%s%s", words,
			 child->condemned[0] != '\0' ? ": " : "", child->condemned);

	if (n >= (int)size)
		memcpy(child->last_exit + size - 4, "...", 4);
}

bool child_end(struct child *child, struct corpse *ret)
{
	siginfo_t info = { 0 };
	char words[CHILD_LAST_EXIT_MAX];
	int syscall = -1;

	if (child->pidfd < 0)
		return true;
	if (waitid(P_PIDFD, (id_t)child->pidfd, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	    info.si_pid == 0)
		return false;
	if (info.si_code != CLD_EXITED && info.si_status == SIGSYS)
		syscall = child_audit_syscall(child->pid);
	child_describe_exit(info.si_code, info.si_status, syscall, words, sizeof(words));
	child_note_exit(child, words);
	child->was_killed = info.si_code == CLD_KILLED && info.si_status == SIGKILL &&
			    child->condemned[0] == '\0';
	if (child->event != NULL) {
		(void)event_del(child->event);
		event_free(child->event);
		child->event = NULL;
	}
	*ret = (struct corpse){ .pidfd = fd_steal(&child->pidfd),
				.mounts_fd = fd_steal(&child->mounts_fd) };
	child->pid = 0;
	return true;
}

void corpse_bury(struct corpse *corpse)
{
	siginfo_t info;

	if (corpse->pidfd >= 0)
		(void)waitid(P_PIDFD, (id_t)corpse->pidfd, &info, WEXITED | WNOHANG);
	corpse->pidfd = fd_close(corpse->pidfd);
	corpse->mounts_fd = fd_close(corpse->mounts_fd);
}

bool child_reap(struct child *child)
{
	struct corpse corpse = CORPSE_INIT;
	bool has_ended = child_end(child, &corpse);

	corpse_bury(&corpse);
	return has_ended;
}

void child_hold_mounts(struct child *child)
{
	char path[64];

	if (child->pid == 0 || child->mounts_fd >= 0)
		return;
	(void)snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)child->pid);
	child->mounts_fd = open(path, O_RDONLY | O_CLOEXEC);
}

void child_succeed(struct child *child, struct child *next)
{
	child->generation = next->generation;
	child->pid = next->pid;
	child->pidfd = next->pidfd;
	child->mounts_fd = fd_steal(&next->mounts_fd);
	child->event = next->event;
	child->fence = next->fence;
	child->state = next->state;
	child->restarts++;
	child->condemned[0] = '\0';
	child->starved_at_ns = 0;
	next->pid = 0;
	next->pidfd = -1;
	next->event = NULL;
	next->fence = FENCE_INIT;
}

/* The line of /proc/PID/status that starts with @key, behind the key; Return: false: none */
static bool child_status(const struct child *child, const char *key, char *ret, size_t size)
{
	char path[64], text[4096];
	const char *at;
	ssize_t n;
	cleanup_fd int fd = -1;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)child->pid);
	fd = child->pid > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return false;
	text[n] = '\0';
	at = strstr(text, key); /* the name, which a process may choose, cannot hold a newline */
	if (at == NULL)
		return false;
	(void)snprintf(ret, size, "%.*s", (int)strcspn(at + strlen(key), "\n"), at + strlen(key));
	return true;
}

bool child_is_traced(const struct child *child)
{
	char pid[32];

	return child_status(child, "\nTracerPid:\t", pid, sizeof(pid)) && strcmp(pid, "0") != 0;
}

bool child_is_in_kernel(const struct child *child)
{
	char state[32];

	return child_status(child, "\nState:\t", state, sizeof(state)) && state[0] == 'D';
}

/* How long it has run, in ns, at least 1; 0: the kernel does not say. */
static uint64_t child_cpu_ns(const struct child *child)
{
	char path[64], text[128] = "";
	cleanup_fd int fd = -1;

	(void)snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)child->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return 0;
	return strtoull(text, NULL, 10) + 1;
}

bool child_is_starved(struct child *child)
{
	uint64_t last_ns = child->starved_at_ns;
	char state[32];

	if (!child_status(child, "\nState:\t", state, sizeof(state)) || state[0] != 'R')
		return false;
	child->starved_at_ns = child_cpu_ns(child);
	return child->starved_at_ns != 0 && (last_ns == 0 || last_ns == child->starved_at_ns);
}

int child_wait(struct child *child, uint64_t deadline_ms)
{
	child_kill(child);
	while (!child_reap(child)) {
		struct pollfd p = { .fd = child->pidfd, .events = POLLIN };
		int left = clock_left_ms(deadline_ms);

		if (left == 0)
			return -ETIMEDOUT;
		(void)poll(&p, 1, left);
	}
	return 0;
}
