/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sealed memfds: memory that two processes share and neither can resize under the other.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ipc/cleanup.h"

/**
 * shared_memory_create() - a memfd of exactly @size bytes, sealed against shrinking, growing and
 *			    further sealing
 * @flags: extra memfd_create flags, 0 or MFD_HUGETLB
 * Return: owned fd; -errno.
 */
int must_check shared_memory_create(const char *name, uint64_t size, unsigned flags);

/**
 * shared_memory_check() - is @fd a memfd of exactly @size bytes that nobody can resize?
 * Return: 0; -EINVAL otherwise. Whoever maps an fd that a peer sent calls this first: a page
 * beyond the file's end would be a SIGBUS.
 */
int must_check shared_memory_check(int fd, uint64_t size);

/**
 * shared_memory_read_only() - another fd for @fd's memory, through which nobody can write to it
 *
 * Not even whoever gets it: a mapping of it cannot be made writable. Needs /proc, so not in a
 * sandbox. Return: owned fd; -errno.
 */
int must_check shared_memory_read_only(int fd);

/** shared_memory_map_read_only() - as shared_memory_map() */
int must_check shared_memory_map_read_only(int fd, uint64_t size, const void **ret);

/** shared_memory_map() - map all of @fd shared and read-write; borrows @fd; Return: 0, -errno */
int must_check shared_memory_map(int fd, uint64_t size, void **ret);
