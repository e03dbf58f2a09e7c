/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "ipc/clock.h"
#include "vmm-core/warden/resources.h"

static char folder[64];
static char kernel[96], disk[96];
static struct vm_config config;
static struct resources res;

static void make_file(const char *path, off_t size)
{
	int fd = open(path, O_CREAT | O_WRONLY, 0600);

	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, size), 0);
	(void)close(fd);
}

static void setup(void)
{
	(void)snprintf(folder, sizeof(folder), "/tmp/bulkhead-unit-XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
	(void)snprintf(kernel, sizeof(kernel), "%s/kernel", folder);
	(void)snprintf(disk, sizeof(disk), "%s/disk", folder);
	make_file(kernel, 1);
	make_file(disk, 4096);
	config = (struct vm_config){ .kernel = kernel, .n_cpus = 1, .n_devices = 1 };
	config.devices[0].type = DEVICE_TYPE_BLK;
	config.devices[0].path = disk;
	resources_init(&res);
}

static void teardown(void)
{
	resources_close(&res);
	(void)unlink(kernel);
	(void)unlink(disk);
	(void)rmdir(disk);
	(void)rmdir(folder);
}

TestSuite(resources, .init = setup, .fini = teardown);

static void expect_refused(const char *words)
{
	struct failure f = { 0 };

	cr_assert_eq(resources_open(&config, &res, &f), FAILED);
	cr_assert_eq(f.status, STATUS_FAILED);
	cr_assert_not_null(strstr(f.text, words), "no \"%s\" in \"%s\"", words, f.text);
}

Test(resources, kernel_must_be_a_file_with_content)
{
	cr_assert_eq(truncate(kernel, 0), 0);
	expect_refused("kernel: is empty");
	config.kernel = folder;
	expect_refused("is a directory");
	config.kernel = "/dev/null";
	expect_refused("--kernel /dev/null: not a regular file");
	config.kernel = "/nonexistent";
	expect_refused("--kernel /nonexistent: No such file or directory");
}

/* A FIFO without a writer would block a plain open(). */
Test(resources, a_fifo_does_not_hang, .timeout = 20)
{
	cr_assert_eq(unlink(kernel), 0);
	cr_assert_eq(mkfifo(kernel, 0600), 0);
	expect_refused("not a regular file");
}

/* The rest needs /dev/kvm, which is opened before the disks. */
static void need_kvm(void)
{
	if (access("/dev/kvm", R_OK | W_OK) < 0)
		cr_skip_test("no access to /dev/kvm");
}

Test(resources, disk_rows)
{
	need_kvm();
	cr_assert_eq(truncate(disk, 1000), 0);
	expect_refused("not a multiple of 512 bytes");
	resources_close(&res);
	cr_assert_eq(truncate(disk, 0), 0);
	expect_refused("is empty");
	resources_close(&res);
	cr_assert_eq(unlink(disk), 0);
	expect_refused("No such file or directory");
	resources_close(&res);
	cr_assert_eq(mkdir(disk, 0700), 0);
	expect_refused("is a directory");
}

Test(resources, read_only_is_read_only_by_the_fd)
{
	struct failure f;

	need_kvm();
	config.devices[0].blk.read_only = true;
	cr_assert_eq(resources_open(&config, &res, &f), 0, "%s", f.text);
	cr_assert_eq(fcntl(res.device_fds[0].fds[0], F_GETFL) & O_ACCMODE, O_RDONLY);
	cr_assert(fcntl(res.device_fds[0].fds[0], F_GETFD) & FD_CLOEXEC);
}

Test(resources, one_writer_or_many_readers)
{
	struct resources other;
	struct failure f;

	need_kvm();
	resources_init(&other);
	config.devices[0].blk.read_only = true;
	cr_assert_eq(resources_open(&config, &res, &f), 0);
	cr_assert_eq(resources_open(&config, &other, &f), 0);
	resources_close(&other);
	config.devices[0].blk.read_only = false;
	cr_assert_eq(resources_open(&config, &other, &f), FAILED);
	cr_assert_not_null(strstr(f.text, "locked by another process"));
	resources_close(&other);
}

Test(resources, unlock_frees_although_copies_of_the_fd_live)
{
	struct resources other;
	struct failure f;
	int copy;

	need_kvm();
	resources_init(&other);
	cr_assert_eq(resources_open(&config, &res, &f), 0);
	copy = fcntl(res.device_fds[0].fds[0], F_DUPFD_CLOEXEC, 3);
	resources_unlock(&res);
	cr_assert_eq(resources_open(&config, &other, &f), 0, "%s", f.text);
	resources_close(&other);
	(void)close(copy);
}

/* A lock that goes away within the waiting time is no reason to refuse. */
Test(resources, a_lock_is_waited_for)
{
	struct failure f;
	uint64_t start;
	pid_t pid;
	int ready[2], status;
	char byte;

	need_kvm();
	cr_assert_eq(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		if (resources_open(&config, &res, &f) != 0 || write(ready[1], "r", 1) != 1)
			_exit(1);
		(void)usleep(200000);
		_exit(0);
	}
	cr_assert_eq(read(ready[0], &byte, 1), 1);
	start = clock_now_ms();
	cr_assert_eq(resources_open(&config, &res, &f), 0, "%s", f.text);
	cr_assert_lt(clock_now_ms() - start, RESOURCES_LOCK_WAIT_MS);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0);
}
