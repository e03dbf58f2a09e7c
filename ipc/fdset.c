/* SPDX-License-Identifier: Apache-2.0 */
/* The fds of one message; see fdset.h. Runs in every process. */
#include "ipc/fdset.h"

#include <fcntl.h>

int fdset_add(struct fdset *set, int fd)
{
	if (fd < 0)
		return -EBADF;
	if (set->n >= FDSET_MAX) {
		fd_close(fd);
		return -ENOSPC;
	}
	set->fds[set->n++] = fd;
	return 0;
}

int fdset_add_dup(struct fdset *set, int fd)
{
	int copy;

	if (set->n >= FDSET_MAX)
		return -ENOSPC;
	/* 3 and up: a copy must never become stdin, stdout or stderr of a process without them. */
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (copy < 0)
		return -errno;
	return fdset_add(set, copy);
}

int fdset_steal(struct fdset *set, uint32_t i)
{
	if (i >= set->n)
		return -1;
	return fd_steal(&set->fds[i]);
}

void fdset_clear(struct fdset *set)
{
	for (uint32_t i = 0; i < set->n; i++)
		set->fds[i] = fd_close(set->fds[i]);
	set->n = 0;
}
