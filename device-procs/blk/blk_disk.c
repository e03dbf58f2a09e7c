/* SPDX-License-Identifier: Apache-2.0 */
/* Probing of the disk; see blk_disk.h. bulkhead-blk before its sandbox; no hostile input. */
#include "device-procs/blk/blk_disk.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/stat.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "device-procs/blk/blk_request.h"
#include "ipc/message.h"

#define BLOCK_BYTES_MAX 4096u /* larger ones are not announced to guests */

static int refuse(char *text, int r, const char *why)
{
	(void)snprintf(text, MESSAGE_TEXT_MAX, "disk: %s", why);
	return r;
}

static bool is_power_of_two(uint32_t v)
{
	return v != 0 && (v & (v - 1)) == 0;
}

static int probe_block(struct blk_disk *d)
{
	unsigned physical;
	int logical;
	/* Sector 1 is not byte 1: a range that is refused for its alignment, but only by a device
	 * that can discard at all. */
	uint64_t unaligned[2] = { 1, 1 };

	if (ioctl(d->fd, BLKGETSIZE64, &d->size) < 0 || ioctl(d->fd, BLKSSZGET, &logical) < 0 ||
	    ioctl(d->fd, BLKPBSZGET, &physical) < 0)
		return -errno;
	d->block_bytes = (uint32_t)logical;
	d->physical_bytes = physical;
	d->has_discard = !d->is_read_only && ioctl(d->fd, BLKDISCARD, unaligned) < 0 &&
			 errno == EINVAL;
	return 0;
}

static int probe_file(struct blk_disk *d, const struct stat *st)
{
	d->size = (uint64_t)st->st_size;
	d->block_bytes = BLK_SECTOR_BYTES;
	d->physical_bytes = (uint32_t)st->st_blksize;
	/* A hole behind the end of the file changes nothing. */
	d->has_discard = !d->is_read_only && st->st_size < INT64_MAX - 8192 &&
			 fallocate(d->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				   (st->st_size + 4095) & ~(off_t)4095, 4096) == 0;
	return 0;
}

/* Which of these reads does O_DIRECT take? For kernels and files that STATX_DIOALIGN says
 * nothing about. */
static uint32_t find_direct_block(const struct blk_disk *d)
{
	static char buffer[BLOCK_BYTES_MAX] __attribute__((aligned(BLOCK_BYTES_MAX)));
	uint32_t n;

	for (n = BLK_SECTOR_BYTES; n < BLOCK_BYTES_MAX; n *= 2)
		if (pread(d->fd, buffer, n, 0) >= 0)
			break;
	return n;
}

static void probe_direct(struct blk_disk *d)
{
	struct statx stx;
	uint32_t block = 0, memory = 0;

	memset(&stx, 0, sizeof(stx));
	if (syscall(SYS_statx, d->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
	    (stx.stx_mask & STATX_DIOALIGN)) {
		block = stx.stx_dio_offset_align;
		memory = stx.stx_dio_mem_align;
	}
	if (!is_power_of_two(block))
		block = find_direct_block(d);
	if (block > d->block_bytes)
		d->block_bytes = block;
	d->memory_align = is_power_of_two(memory) ? memory : d->block_bytes;
}

static int check_size(const struct blk_disk *d, char *text)
{
	if (d->size == 0)
		return refuse(text, -EINVAL, "is empty");
	if (d->size > INT64_MAX)
		return refuse(text, -EFBIG, "is too large");
	if (!is_power_of_two(d->block_bytes) || d->block_bytes < BLK_SECTOR_BYTES ||
	    d->block_bytes > BLOCK_BYTES_MAX)
		return refuse(text, -EINVAL, "has an unusual block size");
	if (d->size % BLK_SECTOR_BYTES != 0)
		return refuse(text, -EINVAL, "size is not a multiple of 512 bytes");
	if (d->size % d->block_bytes != 0)
		return refuse(text, -EINVAL,
			      "size is not a multiple of what direct I/O needs on this host");
	return 0;
}

int blk_disk_open(int fd, bool read_only, bool direct, struct blk_disk *ret, char *text)
{
	struct blk_disk d = { .fd = fd, .memory_align = 1, .is_read_only = read_only };
	cleanup_fd int owned = fd;
	struct stat st;
	int flags = fcntl(fd, F_GETFL), r;

	if (flags < 0 || fstat(fd, &st) < 0)
		return refuse(text, -errno, strerror(errno));
	if ((flags & O_ACCMODE) != (read_only ? O_RDONLY : O_RDWR))
		return refuse(text, -EBADF, "was not opened as configured (readonly)");
	d.is_direct = flags & O_DIRECT;
	if (d.is_direct != direct)
		return refuse(text, -EBADF, "was not opened as configured (direct)");
	d.is_block = S_ISBLK(st.st_mode);
	if (!d.is_block && !S_ISREG(st.st_mode))
		return refuse(text, -EINVAL, "is neither a regular file nor a block device");
	r = d.is_block ? probe_block(&d) : probe_file(&d, &st);
	if (r < 0)
		return refuse(text, r, strerror(-r));
	if (d.is_direct)
		probe_direct(&d);
	if (!is_power_of_two(d.physical_bytes) || d.physical_bytes < d.block_bytes)
		d.physical_bytes = d.block_bytes;
	r = check_size(&d, text);
	if (r < 0)
		return r;
	d.fd = fd_steal(&owned);
	*ret = d;
	return 0;
}
