/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table that sends a vCPU's I/O exit to the code that answers it: one for ports, one for
 * memory-mapped I/O. Filled before the first vCPU runs, then never changed, so it is read
 * without a lock.
 *
 * Handlers run on vCPU threads, several at once: each device locks for itself. Offsets are
 * relative to the range's base and, with the size (1, 2, 4 or 8), lie inside the range. Both come
 * from a hostile guest in every other respect.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ipc/cleanup.h"

struct io_handler {
	/* a read has no way to fail: unknown registers read as the spec says, or all ones */
	uint64_t (*read)(void *ctx, uint64_t offset, unsigned size);
	void (*write)(void *ctx, uint64_t offset, unsigned size, uint64_t value);
};

#define IO_BUS_RANGES_MAX 32u

struct io_range {
	uint64_t base;
	uint64_t size;
	const struct io_handler *handler;
	void *ctx;
};

struct io_bus {
	struct io_range ranges[IO_BUS_RANGES_MAX]; /* sorted by base, not overlapping */
	size_t n;
};

/** io_bus_add() - Return: 0; -EINVAL when empty, wrapping or overlapping; -ENOSPC */
int must_check io_bus_add(struct io_bus *bus, uint64_t base, uint64_t size,
			  const struct io_handler *handler, void *ctx);

/** io_bus_read() - all ones when nothing is there or the access leaves its range */
uint64_t io_bus_read(const struct io_bus *bus, uint64_t addr, unsigned size);

/** io_bus_write() - ignored when nothing is there or the access leaves its range */
void io_bus_write(const struct io_bus *bus, uint64_t addr, unsigned size, uint64_t value);
