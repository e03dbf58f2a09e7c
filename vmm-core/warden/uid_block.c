/* SPDX-License-Identifier: Apache-2.0 */
/* User ids of one VM. Runs in the warden (and in unit tests). */
#include "vmm-core/warden/uid_block.h"

#include <fcntl.h>
#include <string.h>

#include "ipc/vm_config.h"

int uid_block_claim(const char *path, const struct uid_range *range, struct uid_block *ret,
		    struct failure *f)
{
	cleanup_fd int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
				 0600);

	if (fd < 0)
		return failure_set(f, STATUS_FAILED, "%s: %s", path, strerror(errno));
	if (range->n_blocks == 0) {
		ret->first = 0;
		ret->fd = fd_steal(&fd);
		return 0;
	}
	for (uint32_t n = 0; n < range->n_blocks; n++) {
		struct flock lock = {
			.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = n, .l_len = 1
		};

		if (fcntl(fd, F_OFD_SETLK, &lock) == 0) {
			ret->first = range->first + n * UID_BLOCK_SIZE;
			ret->fd = fd_steal(&fd);
			return 0;
		}
		if (errno != EAGAIN && errno != EACCES)
			return -errno;
	}
	return failure_set(f, STATUS_FAILED, "%s: all %u blocks of %u user ids are in use: end a "
			   "VM%s", path, range->n_blocks, UID_BLOCK_SIZE,
			   range->first == UID_BLOCK_FIRST ? "" :
			   ", or enlarge the ranges in /etc/subuid and /etc/subgid");
}

uid_t uid_block_core(const struct uid_block *block)
{
	return block->first;
}

#define UID_BLOCK_TURNS 3u
_Static_assert(1 + UID_BLOCK_TURNS * VM_DEVICES_MAX <= UID_BLOCK_SIZE, "ids for all devices");

uid_t uid_block_device(const struct uid_block *block, uint32_t slot, uint32_t generation)
{
	uint32_t turn = (generation - 1) % UID_BLOCK_TURNS;

	return block->first == 0 ? 0 : block->first + 1 + turn * VM_DEVICES_MAX + slot;
}

void uid_block_release(struct uid_block *block)
{
	block->fd = fd_close(block->fd);
}
