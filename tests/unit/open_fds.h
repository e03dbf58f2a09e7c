/* SPDX-License-Identifier: Apache-2.0 */
/* How many fds this process has open: the proof that nothing leaked. */
#pragma once

#include <criterion/criterion.h>
#include <dirent.h>

static inline unsigned open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	cr_assert_not_null(dir);
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n - 3; /* ".", ".." and the directory itself */
}
