/* SPDX-License-Identifier: Apache-2.0 */
/* The source of entropy; see rng_source.h. bulkhead-rng; no hostile input. */
#include "device-procs/rng/rng_source.h"

#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

int rng_source_open(int fd, struct rng_source *ret)
{
	struct stat st;

	*ret = (struct rng_source){ .fd = fd };
	if (fd < 0)
		return 0;
	if (fstat(fd, &st) < 0)
		return -errno;
	ret->is_fifo = S_ISFIFO(st.st_mode);
	return 0;
}

int rng_source_read(const struct rng_source *s, void *to, size_t n, size_t *ret_n)
{
	/* GRND_NONBLOCK: a host that has just booted may have no seed yet. */
	ssize_t r = s->fd < 0 ? getrandom(to, n, GRND_NONBLOCK) : read(s->fd, to, n);

	if (r > 0) {
		*ret_n = (size_t)r;
		return 0;
	}
	if (r == 0)
		return s->is_fifo ? RNG_SOURCE_DRY : RNG_SOURCE_ENDED;
	return errno == EAGAIN || errno == EINTR ? RNG_SOURCE_DRY : -errno;
}
