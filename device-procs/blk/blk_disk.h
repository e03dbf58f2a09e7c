/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is behind the one fd that bulkhead-blk gets: a raw image or a block device. Looked at once,
 * before the sandbox; the guest has no say in it yet. An image's content is never interpreted.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/cleanup.h"

struct blk_disk {
	int fd; /* owned */
	bool is_block; /* a block device */
	bool is_direct; /* opened with O_DIRECT */
	bool is_read_only;
	bool has_discard;
	uint64_t size; /* bytes, a multiple of block_bytes */
	uint32_t block_bytes; /* unit of offset and length that every request must keep to */
	uint32_t physical_bytes; /* unit of efficient access, a multiple of block_bytes */
	uint32_t memory_align; /* of buffers; 1 unless is_direct */
};

/**
 * blk_disk_open() - take @fd and find out what it is
 * @read_only, @direct: what the configuration says; the fd must agree
 * @text: MESSAGE_TEXT_MAX bytes: on failure why, for the user
 *
 * Return: 0; -errno.
 */
int must_check blk_disk_open(int fd, bool read_only, bool direct, struct blk_disk *ret,
			     char *text);
