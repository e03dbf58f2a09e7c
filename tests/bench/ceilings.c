/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this machine can do at best, beside the figures of the VMMs: a wake-up between two
 * processes by eventfd, and a process with namespaces of its own. Prints NAME=VALUE lines.
 * usage: ceilings CPU_A CPU_B
 */
#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ipc/clock.h"

#define ROUNDS 20000
#define SPAWNS 200

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void print_median(const char *name, uint64_t *ns, size_t n, double unit)
{
	qsort(ns, n, sizeof(*ns), compare);
	(void)printf("%s=%.2f\n", name, (double)ns[n / 2] / unit);
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		exit(1);
}

static void wait_and_answer(int in, int out)
{
	eventfd_t v;

	while (eventfd_read(in, &v) == 0 && v == 1) {
		if (eventfd_write(out, 1) < 0)
			break;
	}
}

static void ping_pong(const char *name, int cpu_a, int cpu_b)
{
	static uint64_t ns[ROUNDS];
	int there = eventfd(0, EFD_CLOEXEC), back = eventfd(0, EFD_CLOEXEC);
	pid_t pid = fork();
	eventfd_t v;

	if (there < 0 || back < 0 || pid < 0)
		exit(1);
	if (pid == 0) {
		pin(cpu_b);
		wait_and_answer(there, back);
		_exit(0);
	}
	pin(cpu_a);
	for (size_t i = 0; i < ROUNDS; i++) {
		uint64_t start = clock_now_ns();

		if (eventfd_write(there, 1) < 0 || eventfd_read(back, &v) < 0)
			exit(1);
		ns[i] = clock_now_ns() - start;
	}
	(void)eventfd_write(there, 2); /* anything but 1: the end */
	(void)waitpid(pid, NULL, 0);
	print_median(name, ns, ROUNDS, 1e3);
}

static void spawn(const char *name, int flags)
{
	static uint64_t ns[SPAWNS];

	for (size_t i = 0; i < SPAWNS; i++) {
		uint64_t start = clock_now_ns();
		pid_t pid = fork();

		if (pid < 0)
			exit(1);
		if (pid == 0) {
			if (flags != 0 && unshare(flags) < 0)
				_exit(1);
			(void)execl("/bin/true", "true", (char *)NULL);
			_exit(1);
		}
		(void)waitpid(pid, NULL, 0);
		ns[i] = clock_now_ns() - start;
	}
	print_median(name, ns, SPAWNS, 1e6);
}

int main(int argc, char *argv[])
{
	int a = argc == 3 ? atoi(argv[1]) : 0, b = argc == 3 ? atoi(argv[2]) : 0;

	ping_pong("eventfd_round_trip_one_cpu_us", a, a);
	ping_pong("eventfd_round_trip_two_cpus_us", a, b);
	spawn("fork_exec_ms", 0);
	spawn("fork_exec_namespaces_ms", CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS |
						 CLONE_NEWPID | CLONE_NEWCGROUP);
	spawn("fork_exec_namespaces_net_ms", CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWIPC |
						     CLONE_NEWUTS | CLONE_NEWPID |
						     CLONE_NEWCGROUP | CLONE_NEWNET);
	return 0;
}
