/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "ipc/vm_config.h"
#include "vmm-core/warden/uid_block.h"

static char folder[64];
static char path[96];
static const struct uid_range root_range = { UID_BLOCK_FIRST, UID_BLOCK_COUNT };

static void setup(void)
{
	(void)snprintf(folder, sizeof(folder), "/tmp/bulkhead-unit-XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/uids", folder);
}

static void teardown(void)
{
	(void)unlink(path);
	(void)rmdir(folder);
}

TestSuite(uid_block, .init = setup, .fini = teardown);

Test(uid_block, ids_of_one_block_differ)
{
	struct uid_block block = UID_BLOCK_INIT;
	struct failure f;

	cr_assert_eq(uid_block_claim(path, &root_range, &block, &f), 0);
	cr_assert_eq(uid_block_core(&block), 0x70000000);
	cr_assert_eq(uid_block_device(&block, 0, 1), 0x70000001);
	cr_assert_eq(uid_block_device(&block, VM_DEVICES_MAX - 1, 1),
		     UID_BLOCK_FIRST + VM_DEVICES_MAX);
	cr_assert_eq(uid_block_device(&block, 0, 2), UID_BLOCK_FIRST + VM_DEVICES_MAX + 1,
		     "not its predecessor's");
	cr_assert_eq(uid_block_device(&block, VM_DEVICES_MAX - 1, 3),
		     UID_BLOCK_FIRST + 3 * VM_DEVICES_MAX);
	cr_assert_eq(uid_block_device(&block, 0, 4), 0x70000001);
	uid_block_release(&block);
}

/* Another process holds block 0 and dies: the block is free again. */
Test(uid_block, two_processes_do_not_share_one)
{
	struct uid_block block = UID_BLOCK_INIT, again = UID_BLOCK_INIT;
	struct failure f;
	int ready[2], status;
	char byte;
	pid_t pid;

	cr_assert_eq(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		if (uid_block_claim(path, &root_range, &block, &f) != 0 ||
		    write(ready[1], "r", 1) != 1)
			_exit(1);
		for (;;)
			(void)pause();
	}
	cr_assert_eq(read(ready[0], &byte, 1), 1);
	cr_assert_eq(uid_block_claim(path, &root_range, &block, &f), 0);
	cr_assert_eq(uid_block_core(&block), UID_BLOCK_FIRST + UID_BLOCK_SIZE);
	cr_assert_eq(kill(pid, SIGKILL), 0);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(uid_block_claim(path, &root_range, &again, &f), 0);
	cr_assert_eq(uid_block_core(&again), 0x70000000);
	uid_block_release(&again);
	uid_block_release(&block);
}

/* The core's copy of the fd keeps the block while the warden is gone. */
Test(uid_block, a_copy_of_the_fd_keeps_it)
{
	struct uid_block block = UID_BLOCK_INIT, other = UID_BLOCK_INIT;
	struct failure f;
	int copy;

	cr_assert_eq(uid_block_claim(path, &root_range, &block, &f), 0);
	copy = fcntl(block.fd, F_DUPFD_CLOEXEC, 3);
	uid_block_release(&block);
	cr_assert_eq(uid_block_claim(path, &root_range, &other, &f), 0);
	cr_assert_eq(uid_block_core(&other), UID_BLOCK_FIRST + UID_BLOCK_SIZE);
	uid_block_release(&other);
	(void)close(copy);
}

Test(uid_block, a_full_range_is_refused)
{
	const struct uid_range range = { 1, 2 };
	struct uid_block a = UID_BLOCK_INIT, b = UID_BLOCK_INIT, c = UID_BLOCK_INIT;
	struct failure f;

	cr_assert_eq(uid_block_claim(path, &range, &a, &f), 0);
	cr_assert_eq(uid_block_core(&a), 1);
	cr_assert_eq(uid_block_claim(path, &range, &b, &f), 0);
	cr_assert_eq(uid_block_core(&b), 1 + UID_BLOCK_SIZE);
	cr_assert_eq(uid_block_claim(path, &range, &c, &f), FAILED);
	cr_assert_not_null(strstr(f.text, "in use"));
	uid_block_release(&a);
	uid_block_release(&b);
}

Test(uid_block, without_ids_everybody_keeps_their_own)
{
	const struct uid_range none = { 0, 0 };
	struct uid_block block = UID_BLOCK_INIT;
	struct failure f;

	cr_assert_eq(uid_block_claim(path, &none, &block, &f), 0);
	cr_assert_geq(block.fd, 0);
	cr_assert_eq(uid_block_core(&block), 0);
	cr_assert_eq(uid_block_device(&block, 3, 1), 0);
	uid_block_release(&block);
}

Test(uid_block, a_link_is_not_followed)
{
	struct uid_block block = UID_BLOCK_INIT;
	struct failure f;

	cr_assert_eq(symlink("/dev/null", path), 0);
	cr_assert_eq(uid_block_claim(path, &root_range, &block, &f), FAILED);
}
