/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "device-procs/rng/rng_source.h"

static char folder[] = "/tmp/bulkhead-unit-XXXXXX";
static char path[64];
static uint8_t bytes[64];
static size_t n;

static void setup(void)
{
	cr_assert_not_null(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/source", folder);
}

static void teardown(void)
{
	(void)unlink(path);
	(void)rmdir(folder);
}

TestSuite(rng_source, .init = setup, .fini = teardown, .timeout = 60);

static struct rng_source open_source(const char *name)
{
	struct rng_source s;
	int fd = open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(rng_source_open(fd, &s), 0);
	return s;
}

Test(rng_source, the_kernels_own)
{
	struct rng_source s;

	cr_assert_eq(rng_source_open(-1, &s), 0);
	cr_assert_eq(rng_source_read(&s, bytes, sizeof(bytes), &n), 0);
	cr_expect_eq(n, sizeof(bytes));
}

Test(rng_source, a_file_ends)
{
	struct rng_source s;
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	cr_assert_eq(write(fd, "0123456789", 10), 10);
	close(fd);
	s = open_source(path);
	cr_assert_eq(rng_source_read(&s, bytes, 8, &n), 0);
	cr_expect_eq(n, 8);
	cr_assert_eq(rng_source_read(&s, bytes, 8, &n), 0);
	cr_expect_eq(n, 2);
	cr_expect_eq(rng_source_read(&s, bytes, 8, &n), RNG_SOURCE_ENDED);
	close(s.fd);
}

/* Nobody writes yet, somebody writes, they leave, another one comes: it is dry, never over. */
Test(rng_source, a_fifo_is_dry_and_comes_back)
{
	struct rng_source s;

	cr_assert_eq(mkfifo(path, 0600), 0);
	s = open_source(path);
	for (unsigned i = 0; i < 2; i++) {
		int writer;

		cr_expect_eq(rng_source_read(&s, bytes, 8, &n), RNG_SOURCE_DRY);
		writer = open(path, O_WRONLY | O_CLOEXEC);
		cr_expect_eq(rng_source_read(&s, bytes, 8, &n), RNG_SOURCE_DRY);
		cr_assert_eq(write(writer, "abc", 3), 3);
		cr_assert_eq(rng_source_read(&s, bytes, 8, &n), 0);
		cr_expect_eq(n, 3);
		close(writer);
	}
	close(s.fd);
}

Test(rng_source, an_error_is_told)
{
	struct rng_source s = open_source(folder);

	cr_expect_eq(rng_source_read(&s, bytes, 8, &n), -EISDIR);
	close(s.fd);
}
