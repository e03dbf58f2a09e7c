/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <fcntl.h>

#include "ipc/fdset.h"
#include "open_fds.h"

static int fresh_fd(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	cr_assert_geq(fd, 0);
	return fd;
}

Test(fdset, add_takes_and_clear_closes)
{
	struct fdset set = FDSET_EMPTY;
	unsigned before = open_fds();

	cr_assert_eq(fdset_add(&set, fresh_fd()), 0);
	cr_assert_eq(fdset_add(&set, fresh_fd()), 0);
	cr_assert_eq(open_fds(), before + 2);
	fdset_clear(&set);
	cr_assert_eq(open_fds(), before);
	cr_assert_eq(set.n, 0);
	fdset_clear(&set);
}

Test(fdset, full_set_closes_what_it_refuses)
{
	struct fdset set = FDSET_EMPTY;
	unsigned before = open_fds();

	for (unsigned i = 0; i < FDSET_MAX; i++)
		cr_assert_eq(fdset_add(&set, fresh_fd()), 0);
	cr_assert_eq(fdset_add(&set, fresh_fd()), -ENOSPC);
	cr_assert_eq(open_fds(), before + FDSET_MAX);
	cr_assert_eq(fdset_add_dup(&set, 0), -ENOSPC);
	cr_assert_eq(open_fds(), before + FDSET_MAX);
	fdset_clear(&set);
	cr_assert_eq(open_fds(), before);
}

Test(fdset, bad_fd_is_refused)
{
	struct fdset set = FDSET_EMPTY;

	cr_assert_eq(fdset_add(&set, -1), -EBADF);
	cr_assert_eq(fdset_add_dup(&set, 100000), -EBADF);
	cr_assert_eq(set.n, 0);
}

Test(fdset, dup_is_cloexec_and_leaves_the_original)
{
	struct fdset set = FDSET_EMPTY;
	int fd = fresh_fd();

	cr_assert_eq(fdset_add_dup(&set, fd), 0);
	cr_assert_neq(set.fds[0], fd);
	cr_assert_geq(set.fds[0], 3);
	cr_assert_eq(fcntl(set.fds[0], F_GETFD), FD_CLOEXEC);
	fdset_clear(&set);
	cr_assert_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	fd_close(fd);
}

Test(fdset, stolen_fd_survives_clear)
{
	struct fdset set = FDSET_EMPTY;
	int fd = fresh_fd();

	cr_assert_eq(fdset_add(&set, fd), 0);
	cr_assert_eq(fdset_steal(&set, 0), fd);
	cr_assert_eq(fdset_steal(&set, 0), -1);
	cr_assert_eq(fdset_steal(&set, 1), -1);
	cr_assert_eq(fdset_steal(&set, FDSET_MAX + 1), -1);
	fdset_clear(&set);
	cr_assert_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	fd_close(fd);
}
