/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting children. Runs in the warden; spawn_child() runs in the child before its exec.
 *
 * The child borrows the warden's memory until then, as vfork()'s does, on a stack of its own: to
 * copy it, and every page that either writes to meanwhile, costs more than all that the child does.
 */
#include "vmm-core/warden/spawn.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#ifndef BULKHEAD_LIBEXECDIR
#define BULKHEAD_LIBEXECDIR "/usr/libexec/bulkhead"
#endif

#define SPAWN_FD_MIN 16 /* our copies live above every number that dup2 fills in the child */
#define SPAWN_STACK (64u << 10)

static int spawn_fd_above(int fd)
{
	int r = fcntl(fd, F_DUPFD_CLOEXEC, SPAWN_FD_MIN);

	return r < 0 ? -errno : r;
}

static bool spawn_has_core(const char *dir)
{
	cleanup_free char *path = NULL;

	if (asprintf(&path, "%s/bulkhead-core", dir) < 0) {
		path = NULL;
		return false;
	}
	return access(path, X_OK) == 0;
}

/* Directory of our own executable. */
static int spawn_own_dir(char *ret, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", ret, size - 1);
	char *slash;

	if (n < 0)
		return -errno;
	ret[n] = '\0';
	slash = strrchr(ret, '/');
	if (slash == NULL)
		return -ENOENT;
	*slash = '\0';
	return 0;
}

static int spawn_find_programs(char **ret_dir)
{
	cleanup_free char *beside = NULL;
	char own[4096];
	const char *found = BULKHEAD_LIBEXECDIR;
	int r = spawn_own_dir(own, sizeof(own));

	if (r < 0)
		return r;
	if (asprintf(&beside, "%s/../libexec/bulkhead", own) < 0) {
		beside = NULL;
		return -ENOMEM;
	}
	if (spawn_has_core(own))
		found = own;
	else if (!spawn_has_core(found) && spawn_has_core(beside))
		found = beside;
	*ret_dir = strdup(found);
	return *ret_dir == NULL ? -ENOMEM : 0;
}

int spawner_init(int stderr_fd, struct spawner *ret, struct failure *f)
{
	cleanup_fd int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	cleanup_fd int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	int r = spawn_find_programs(&ret->program_dir);

	if (r < 0)
		return failure_set(f, STATUS_FAILED, "/proc/self/exe: %s", strerror(-r));
	if (null_fd < 0)
		return failure_set(f, STATUS_FAILED, "/dev/null: %s", strerror(errno));
	if (pidfd < 0)
		return failure_set(f, STATUS_FAILED, "pidfd_open: %s", strerror(errno));
	ret->null_fd = spawn_fd_above(null_fd);
	ret->stderr_fd = spawn_fd_above(stderr_fd);
	ret->warden_fd = spawn_fd_above(pidfd);
	if (ret->null_fd < 0 || ret->stderr_fd < 0 || ret->warden_fd < 0)
		return failure_set(f, STATUS_FAILED, "stderr: cannot duplicate file descriptors");
	return 0;
}

void spawner_done(struct spawner *spawner)
{
	free(spawner->program_dir);
	spawner->program_dir = NULL;
	spawner->null_fd = fd_close(spawner->null_fd);
	spawner->stderr_fd = fd_close(spawner->stderr_fd);
	spawner->warden_fd = fd_close(spawner->warden_fd);
}

int spawner_check(const struct spawner *spawner, const char *role, struct failure *f)
{
	cleanup_free char *path = NULL;

	if (asprintf(&path, "%s/bulkhead-%s", spawner->program_dir, role) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	if (access(path, X_OK) < 0)
		return failure_set(f, STATUS_FAILED, "%s: %s", path, strerror(errno));
	return 0;
}

struct spawn_plan {
	const struct spawner *spawner;
	const char *path;
	char *const *argv;
	int channel_fd; /* >= SPAWN_FD_MIN, like all fds of the spawner */
	int ring_fd; /* likewise, or -1 */
	int program_fd; /* likewise; -1: path */
};

/* In the child, with every signal blocked: no handler of the warden's may run here. */
static int spawn_exec(const struct spawn_plan *plan)
{
	struct sigaction act = { .sa_handler = SIG_DFL };
	const struct spawner *s = plan->spawner;
	char *const env[] = { NULL };
	sigset_t none;

	if (setsid() < 0)
		return errno;
	/* exec resets handlers but keeps what is ignored. */
	for (int i = 1; i < NSIG; i++)
		(void)sigaction(i, &act, NULL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (chdir("/") < 0)
		return errno;
	if (dup2(s->null_fd, 0) < 0 || dup2(s->null_fd, 1) < 0 || dup2(s->stderr_fd, 2) < 0 ||
	    dup2(plan->channel_fd, DEVICE_CHANNEL_FD) < 0)
		return errno;
	if (plan->ring_fd >= 0 && dup2(plan->ring_fd, DEVICE_RING_FD) < 0)
		return errno;
	/* At exec, so that a program given as a descriptor is still there. */
	if (syscall(SYS_close_range, DEVICE_CHANNEL_FD + (plan->ring_fd >= 0) + 1, ~0u,
		    CLOSE_RANGE_CLOEXEC) < 0)
		return errno;
	if (plan->program_fd >= 0)
		(void)execveat(plan->program_fd, "", plan->argv, env, AT_EMPTY_PATH);
	else
		(void)execve(plan->path, plan->argv, env);
	return errno;
}

static int spawn_child(void *arg)
{
	const struct spawn_plan *plan = arg;
	int e = spawn_exec(plan);

	(void)dprintf(2, "bulkhead: %s: %s\n", plan->path, strerror(e));
	_exit(SPAWN_EXIT_EXEC);
}

/* Returns once the child has left our memory, by its exec or its end. */
static int spawn_clone(struct spawn_plan *plan, struct spawned *ret)
{
	cleanup_free uint8_t *stack = malloc(SPAWN_STACK);
	sigset_t all, old;
	int pidfd = -1, pid;

	if (stack == NULL)
		return -ENOMEM;
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	pid = clone(spawn_child, stack + SPAWN_STACK,
		    CLONE_VM | CLONE_VFORK | CLONE_PIDFD | CLONE_NEWPID | SIGCHLD, plan, &pidfd);
	if (pid < 0)
		pid = -errno;
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (pid < 0)
		return pid;
	*ret = (struct spawned){ .pid = pid, .pidfd = pidfd };
	return 0;
}

/* A duplicate above every number that dup2() fills; -1 stays -1. */
static int spawn_lift(int fd, int *ret)
{
	if (fd < 0)
		return 0;
	*ret = spawn_fd_above(fd);
	return *ret < 0 ? *ret : 0;
}

int spawn(const struct spawner *spawner, const struct spawn_what *what, struct spawned *ret)
{
	cleanup_fd int given_fd = what->channel_fd;
	cleanup_fd int channel_fd = -1, ring_fd = -1, program_fd = -1;
	cleanup_free char *path = NULL, *name = NULL;
	int r = spawn_lift(given_fd, &channel_fd);

	if (r == 0)
		r = spawn_lift(what->ring_fd, &ring_fd);
	if (r == 0)
		r = spawn_lift(what->program_fd, &program_fd);
	if (r < 0)
		return r;
	if (asprintf(&name, "bulkhead-%s", what->role) < 0) {
		name = NULL;
		return -ENOMEM;
	}
	if (asprintf(&path, "%s/%s", spawner->program_dir, name) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	char *const argv[] = { name, (char *)what->title, NULL };
	struct spawn_plan plan = {
		.spawner = spawner, .path = path, .argv = argv, .program_fd = program_fd,
		.channel_fd = channel_fd, .ring_fd = ring_fd,
	};

	return spawn_clone(&plan, ret);
}

/* Of the file that spawn() would execute. */
static int spawn_stat(const struct spawner *spawner, const char *role, int program_fd,
		      struct stat *ret)
{
	cleanup_free char *path = NULL;

	if (program_fd >= 0)
		return fstat(program_fd, ret);
	if (asprintf(&path, "%s/bulkhead-%s", spawner->program_dir, role) < 0) {
		path = NULL;
		return -1;
	}
	return stat(path, ret);
}

bool spawn_is_current(const struct spawner *spawner, const char *role, int program_fd, pid_t pid)
{
	struct stat wanted, running;
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	/* While it runs, its file can neither be written to nor its number be given to another. */
	return spawn_stat(spawner, role, program_fd, &wanted) == 0 && stat(path, &running) == 0 &&
	       wanted.st_dev == running.st_dev && wanted.st_ino == running.st_ino;
}
