/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The namespaces that the processes of a VM join: one empty network namespace, in which all of
 * them stay, and a mount namespace with an empty root, of which the core takes a copy of its own.
 *
 * Making them takes over a millisecond, most of it waiting for the kernel. So a thread makes them
 * while the warden opens files and starts the core; namespaces belong to a thread until it ends,
 * and to whoever holds their fds from then on.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "ipc/cleanup.h"
#include "vmm-core/warden/failure.h"

struct namespaces {
	pthread_t thread;
	bool is_running; /* the thread was not joined yet */
	const char *step; /* what failed, with error */
	int error; /* of the thread: 0, -errno */
	int net_fd, root_fd; /* owned; of the thread until it was joined */
};

#define NAMESPACES_INIT ((struct namespaces){ .net_fd = -1, .root_fd = -1 })

/** namespaces_start() - begin to make them, in the warden's user namespace; Return: 0; -errno */
int must_check namespaces_start(struct namespaces *ns);

/** namespaces_wait() - until they are there; Return: 0; FAILED */
int must_check namespaces_wait(struct namespaces *ns, struct failure *f);

/** namespaces_done() - wait, then close what is left */
void namespaces_done(struct namespaces *ns);
