/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "ipc/shared_memory.h"

Test(shared_memory, size_is_sealed)
{
	cleanup_fd int fd = shared_memory_create("test", 8192, 0);

	cr_assert_geq(fd, 0);
	cr_assert_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	cr_assert_neq(ftruncate(fd, 4096), 0);
	cr_assert_eq(errno, EPERM);
	cr_assert_neq(ftruncate(fd, 12288), 0);
	cr_assert_eq(errno, EPERM);
	cr_assert_eq(pwrite(fd, "x", 1, 8192), -1);
	cr_assert_neq(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	cr_assert_eq(shared_memory_check(fd, 8192), 0);
}

Test(shared_memory, nonsense_is_refused)
{
	cr_assert_eq(shared_memory_create("test", 0, 0), -EINVAL);
	cr_assert_eq(shared_memory_create("test", UINT64_MAX, 0), -EINVAL);
	cr_assert_eq(shared_memory_create("test", 4096, MFD_ALLOW_SEALING), -EINVAL);
}

Test(shared_memory, check_refuses_other_sizes)
{
	cleanup_fd int fd = shared_memory_create("test", 8192, 0);

	cr_assert_eq(shared_memory_check(fd, 4096), -EINVAL);
	cr_assert_eq(shared_memory_check(fd, 8193), -EINVAL);
	cr_assert_eq(shared_memory_check(fd, 0), -EINVAL);
}

Test(shared_memory, check_refuses_what_can_be_resized)
{
	cleanup_fd int unsealed = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	cleanup_fd int half = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	cleanup_fd int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	cr_assert_eq(ftruncate(unsealed, 4096), 0);
	cr_assert_eq(shared_memory_check(unsealed, 4096), -EINVAL);
	cr_assert_eq(ftruncate(half, 4096), 0);
	cr_assert_eq(fcntl(half, F_ADD_SEALS, F_SEAL_GROW), 0);
	cr_assert_eq(shared_memory_check(half, 4096), -EINVAL);
	cr_assert_eq(fcntl(half, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	cr_assert_eq(shared_memory_check(half, 4096), 0);
	cr_assert_eq(shared_memory_check(null, 4096), -EINVAL);
	cr_assert_eq(shared_memory_check(-1, 4096), -EINVAL);
}

Test(shared_memory, two_mappings_share)
{
	cleanup_fd int fd = shared_memory_create("test", 4096, 0);
	void *a, *b;

	cr_assert_eq(shared_memory_map(fd, 4096, &a), 0);
	cr_assert_eq(shared_memory_map(fd, 4096, &b), 0);
	((uint8_t *)a)[4095] = 7;
	cr_assert_eq(((uint8_t *)b)[4095], 7);
	cr_assert_eq(shared_memory_map(fd, 0, &a), -EINVAL);
	cr_assert_eq(shared_memory_map(-1, 4096, &a), -EBADF);
}
