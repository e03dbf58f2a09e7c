/* SPDX-License-Identifier: Apache-2.0 */
/* Sealed memfds; see shared_memory.h. shared_memory_check() judges fds of hostile peers. */
#include "ipc/shared_memory.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define SIZE_SEALS (F_SEAL_SHRINK | F_SEAL_GROW)

int shared_memory_create(const char *name, uint64_t size, unsigned flags)
{
	cleanup_fd int fd = -1;

	if (size == 0 || size > INT64_MAX || (flags & ~MFD_HUGETLB) != 0)
		return -EINVAL;
	fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size) != 0)
		return -errno;
	if (fcntl(fd, F_ADD_SEALS, SIZE_SEALS | F_SEAL_SEAL) != 0)
		return -errno;
	return fd_steal(&fd);
}

int shared_memory_check(int fd, uint64_t size)
{
	struct stat st;
	int seals;

	/* Only memfds have seals; any other kind of fd fails here. */
	seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || (seals & SIZE_SEALS) != SIZE_SEALS)
		return -EINVAL;
	/* With the seals in place the size cannot change after this look. */
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return -EINVAL;
	if (size == 0 || st.st_size < 0 || (uint64_t)st.st_size != size)
		return -EINVAL;
	return 0;
}

int shared_memory_read_only(int fd)
{
	char path[32];
	int r;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = open(path, O_RDONLY | O_CLOEXEC);
	return r < 0 ? -errno : r;
}

static int map(int fd, uint64_t size, int protection, void **ret)
{
	void *at;

	if (size == 0 || size > SIZE_MAX)
		return -EINVAL;
	at = mmap(NULL, (size_t)size, protection, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		return -errno;
	*ret = at;
	return 0;
}

int shared_memory_map(int fd, uint64_t size, void **ret)
{
	return map(fd, size, PROT_READ | PROT_WRITE, ret);
}

int shared_memory_map_read_only(int fd, uint64_t size, const void **ret)
{
	void *at;
	int r = map(fd, size, PROT_READ, &at);

	if (r == 0)
		*ret = at;
	return r;
}
