/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ownership helpers used by every process.
 *
 * An owned local is declared with cleanup_* and handed over with *_steal; destructors take NULL
 * (or -1) and half-built objects and return NULL (or -1), so `x = thing_free(x)` leaves no
 * dangling name behind.
 */
#pragma once

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define must_check __attribute__((warn_unused_result))
#define printf_like(fmt, args) __attribute__((format(printf, fmt, args)))
#define ARRAY_LEN(a)                                                                              \
	(sizeof(a) / sizeof((a)[0]) +                                                             \
	 0 * sizeof(char[1 - 2 * __builtin_types_compatible_p(__typeof__(a), __typeof__(&(a)[0]))]))

/** fd_close() - close @fd when it is >= 0; keeps errno; Return: always -1 */
static inline int fd_close(int fd)
{
	if (fd >= 0) {
		int saved = errno;

		(void)close(fd); /* Linux frees the number even when close() reports an error */
		errno = saved;
	}
	return -1;
}

/** fd_steal() - hand the fd over: returns it and leaves -1 behind */
static inline int fd_steal(int *fd)
{
	int v = *fd;

	*fd = -1;
	return v;
}

static inline void fd_closep(int *fd)
{
	*fd = fd_close(*fd);
}

static inline void freep(void *p)
{
	free(*(void **)p);
}

/** ptr_steal() - hand a pointer over: evaluates to it and leaves NULL behind */
#define ptr_steal(p)                                                                              \
	({                                                                                        \
		__typeof__(p) *ptr_steal_at = &(p);                                               \
		__typeof__(p) ptr_steal_v = *ptr_steal_at;                                        \
		*ptr_steal_at = NULL;                                                             \
		ptr_steal_v;                                                                      \
	})

#define cleanup(fn) __attribute__((cleanup(fn)))
#define cleanup_fd cleanup(fd_closep)
#define cleanup_free cleanup(freep)
