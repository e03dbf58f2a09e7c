/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small owned set of file descriptors: what one message carries.
 *
 * Every fd in the set is owned by the set and closed by fdset_clear() unless it was stolen.
 * Every fd is O_CLOEXEC from birth; SCM_RIGHTS fds are received with MSG_CMSG_CLOEXEC.
 */
#pragma once

#include <stdint.h>

#include "ipc/cleanup.h"

#define FDSET_MAX 16 /* fds in one message, architecture §3 */

struct fdset {
	int fds[FDSET_MAX];
	uint32_t n;
};

#define FDSET_EMPTY ((struct fdset){ .n = 0 })
#define cleanup_fdset cleanup(fdset_clear)

/** fdset_add() - the set takes @fd; Return: 0, -ENOSPC (the fd is closed then), -EBADF */
int must_check fdset_add(struct fdset *set, int fd);

/** fdset_add_dup() - the set owns a CLOEXEC duplicate of @fd; borrows @fd; Return: 0, -errno */
int must_check fdset_add_dup(struct fdset *set, int fd);

/** fdset_steal() - returns owned fd @i and leaves -1 in its place; -1 when there is none */
int fdset_steal(struct fdset *set, uint32_t i);

/** fdset_clear() - close everything that was not stolen; the set is empty and reusable */
void fdset_clear(struct fdset *set);
