/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>

#include "boot_images.h"
#include "vmm-core/boot/boot_input.h"

static char text[160];
static struct boot_error error = { text, sizeof(text) };

static struct boot_input open_input(int fd)
{
	struct boot_input in;

	cr_assert_eq(boot_input_open(fd, "--kernel", &error, &in), 0, "%s", text);
	return in;
}

Test(boot_input, sizes_are_rounded_up_for_people)
{
	char size[BOOT_SIZE_TEXT_LEN];

	cr_expect_str_eq(boot_size_text(1023, size), "1023 bytes");
	cr_expect_str_eq(boot_size_text(1025, size), "2 KiB");
	cr_expect_str_eq(boot_size_text(MIB(300), size), "300 MiB");
	cr_expect_str_eq(boot_size_text(MIB(300) + 1, size), "301 MiB");
	cr_expect_str_eq(boot_size_text(UINT64_MAX, size), "17592186044416 MiB");
}

Test(boot_input, refuses_what_is_no_file_with_bytes_in_it)
{
	struct boot_input in;
	int pipe_fds[2];

	cr_assert_eq(pipe(pipe_fds), 0);
	cr_expect_eq(boot_input_open(test_hole(0), "--kernel", &error, &in), -EINVAL);
	cr_expect_str_eq(text, "--kernel: empty file");
	cr_expect_eq(boot_input_open(open("/", O_RDONLY), "--kernel", &error, &in), -EINVAL);
	cr_expect_str_eq(text, "--kernel: is a directory");
	cr_expect_eq(boot_input_open(pipe_fds[0], "--kernel", &error, &in), -EINVAL);
	cr_expect_str_eq(text, "--kernel: not a regular file");
	cr_expect_eq(boot_input_open(-1, "--kernel", &error, &in), -EBADF);
	cr_expect_str_eq(text, "--kernel: Bad file descriptor");
}

Test(boot_input, reads_stay_inside_the_file)
{
	struct boot_input in = open_input(test_file("abcdef", 6));
	char got[8] = "";

	cr_expect_eq(boot_input_read(&in, 2, got, 4, "a part", &error), 0);
	cr_expect_str_eq(got, "cdef");
	cr_expect_eq(boot_input_read(&in, 3, got, 4, "a part", &error), -EINVAL);
	cr_expect_str_eq(text, "--kernel: truncated: a part ends past the end of the file");
	cr_expect_eq(boot_input_check(&in, 6, 0, "a part", &error), 0);
	cr_expect_eq(boot_input_check(&in, 7, 0, "a part", &error), -EINVAL);
	cr_expect_eq(boot_input_check(&in, 1, UINT64_MAX, "a part", &error), -EINVAL);
	cr_expect_eq(boot_input_check(&in, UINT64_MAX, 1, "a part", &error), -EINVAL);
}

Test(boot_input, a_file_that_shrinks_is_truncated)
{
	int fd = test_hole(8192);
	struct boot_input in = open_input(fd);
	struct guest_memory *gm = test_memory(MIB(2));
	char got[8];

	cr_assert_eq(ftruncate(fd, 4), 0);
	cr_expect_eq(boot_input_read(&in, 0, got, 8, "a part", &error), -EINVAL);
	cr_expect_str_eq(text, "--kernel: truncated: a part ends past the end of the file");
	cr_expect_eq(boot_input_load(&in, 0, 8192, "a part", gm, gpa(0), &error), -EINVAL);
	cr_expect_str_eq(text, "--kernel: truncated: a part ends past the end of the file");
	guest_memory_free(gm);
}

Test(boot_input, a_failing_read_is_named)
{
	struct guest_memory *gm = test_memory(MIB(2));
	struct boot_input in = open_input(open("/proc/self/exe", O_PATH));
	char got[8];

	cr_expect_eq(boot_input_read(&in, 0, got, 8, "a part", &error), -EBADF);
	cr_expect_str_eq(text, "--kernel: cannot read a part: Bad file descriptor");
	cr_expect_eq(boot_input_load(&in, 0, 8, "a part", gm, gpa(0), &error), -EBADF);
	cr_expect_str_eq(text, "--kernel: cannot read a part: Bad file descriptor");
	guest_memory_free(gm);
}

Test(boot_input, loads_into_guest_memory_only)
{
	struct guest_memory *gm = test_memory(MIB(2));
	struct boot_input in = open_input(test_file("abcdef", 6));
	char got[8] = "";

	cr_expect_eq(boot_input_load(&in, 1, 5, "a part", gm, gpa(MIB(2) - 5), &error), 0);
	test_read(gm, MIB(2) - 5, got, 5);
	cr_expect_str_eq(got, "bcdef");
	cr_expect_eq(boot_input_load(&in, 0, 6, "a part", gm, gpa(MIB(2) - 5), &error), -EINVAL);
	cr_expect_str_eq(text, "--kernel: a part lies outside guest memory");
	cr_expect_eq(boot_input_load(&in, 6, 0, "a part", gm, gpa(MIB(2)), &error), 0);
	guest_memory_free(gm);
}
