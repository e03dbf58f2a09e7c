/* SPDX-License-Identifier: Apache-2.0 */
/* Runs in the warden, once, before it has heard anything from anybody. */
#include "vmm-core/warden/namespaces.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>

#include "sandbox/sandbox.h"

#define STACK_SIZE 65536u

static int open_own(const char *path, int *ret_fd)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

/* The fds first: there is no /proc in the new root. */
static int make(struct namespaces *ns)
{
	int r;

	ns->step = "new namespaces";
	if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0)
		return -errno;
	ns->step = "/proc/thread-self/ns";
	r = open_own("/proc/thread-self/ns/net", &ns->net_fd);
	if (r == 0)
		r = open_own("/proc/thread-self/ns/mnt", &ns->root_fd);
	if (r < 0)
		return r;
	ns->step = "empty root";
	return sandbox_make_root();
}

static void *run(void *arg)
{
	struct namespaces *ns = arg;

	ns->error = make(ns);
	return NULL;
}

int namespaces_start(struct namespaces *ns)
{
	pthread_attr_t attr;
	sigset_t all, old;
	int r = pthread_attr_init(&attr);

	if (r != 0)
		return -r;
	/* Signals are the event loop's, in the first thread. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_attr_setstacksize(&attr, STACK_SIZE);
	if (r == 0)
		r = pthread_create(&ns->thread, &attr, run, ns);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	(void)pthread_attr_destroy(&attr);
	ns->is_running = r == 0;
	return -r;
}

int namespaces_wait(struct namespaces *ns, struct failure *f)
{
	if (ns->is_running)
		(void)pthread_join(ns->thread, NULL);
	ns->is_running = false;
	if (ns->error == 0)
		return 0;
	return failure_set(f, STATUS_FAILED, "%s: %s%s", ns->step, strerror(-ns->error),
			   ns->error == -EPERM ? " (CAP_SYS_ADMIN)" : "");
}

void namespaces_done(struct namespaces *ns)
{
	if (ns->is_running)
		(void)pthread_join(ns->thread, NULL);
	ns->is_running = false;
	ns->net_fd = fd_close(ns->net_fd);
	ns->root_fd = fd_close(ns->root_fd);
}
