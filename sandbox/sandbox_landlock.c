/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landlock: a second wall behind the empty root and the seccomp list. Every access right that the
 * kernel knows is handled and none is allowed. Fds that are already open are not affected.
 */
#include "sandbox/sandbox_steps.h"

#include <stddef.h>
#include <sys/syscall.h>

#include "sandbox/kernel_compat.h"

#define LANDLOCK_ABI_MIN 2 /* what Debian 12's own kernel offers */

static size_t ruleset_for_abi(int abi, struct compat_landlock_ruleset *ret)
{
	/* ABI 1 defines bits 0..12, ABI 2 adds REFER. */
	uint64_t fs = (LANDLOCK_ACCESS_FS_REFER << 1) - 1;
	uint64_t net = 0, scoped = 0;
	size_t size = offsetof(struct compat_landlock_ruleset, handled_access_net);

	if (abi >= 3)
		fs |= LANDLOCK_ACCESS_FS_TRUNCATE;
	if (abi >= 4) {
		net = LANDLOCK_ACCESS_NET_BIND_TCP | LANDLOCK_ACCESS_NET_CONNECT_TCP;
		size = offsetof(struct compat_landlock_ruleset, scoped);
	}
	if (abi >= 5)
		fs |= LANDLOCK_ACCESS_FS_IOCTL_DEV;
	if (abi >= 6) {
		scoped = LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | LANDLOCK_SCOPE_SIGNAL;
		size = sizeof(*ret);
	}
	*ret = (struct compat_landlock_ruleset){ fs, net, scoped };
	return size;
}

int sandbox_step_landlock(const struct sandbox_profile *profile,
			  const struct sandbox_params *params)
{
	struct compat_landlock_ruleset rules;
	cleanup_fd int fd = -1;
	size_t size;
	long abi;

	(void)params;
	abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	if (abi < LANDLOCK_ABI_MIN)
		return -ENOTSUP;
	size = ruleset_for_abi((int)abi, &rules);
	if (profile->has_network)
		rules.handled_access_net = 0;
	fd = (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);
	if (fd < 0)
		return -errno;
	if (syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		return -errno;
	return 0;
}
