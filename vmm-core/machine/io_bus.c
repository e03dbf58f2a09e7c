/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports and memory-mapped I/O: from the address of a vCPU's exit to the handler behind it.
 *
 * Process: bulkhead-core, vCPU threads. Address, size and value come from a hostile guest.
 */
#include "vmm-core/machine/io_bus.h"

#include <string.h>

int io_bus_add(struct io_bus *bus, uint64_t base, uint64_t size, const struct io_handler *handler,
	       void *ctx)
{
	size_t at = 0;

	if (size == 0 || size - 1 > UINT64_MAX - base)
		return -EINVAL;
	if (bus->n == IO_BUS_RANGES_MAX)
		return -ENOSPC;
	while (at < bus->n && bus->ranges[at].base < base)
		at++;
	if (at > 0 && base - bus->ranges[at - 1].base < bus->ranges[at - 1].size)
		return -EINVAL;
	if (at < bus->n && bus->ranges[at].base - base < size)
		return -EINVAL;
	memmove(&bus->ranges[at + 1], &bus->ranges[at], (bus->n - at) * sizeof(bus->ranges[0]));
	bus->ranges[at] = (struct io_range){
		.base = base, .size = size, .handler = handler, .ctx = ctx
	};
	bus->n++;
	return 0;
}

/** io_bus_find() - the range that holds all of [addr, addr + size), or NULL */
static const struct io_range *io_bus_find(const struct io_bus *bus, uint64_t addr, unsigned size)
{
	size_t low = 0, high = bus->n;
	const struct io_range *range;

	while (low < high) { /* the last range whose base is not above addr is before `low` */
		size_t mid = low + (high - low) / 2;

		if (bus->ranges[mid].base <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == 0)
		return NULL;
	range = &bus->ranges[low - 1];
	if (addr - range->base >= range->size || size > range->size - (addr - range->base))
		return NULL;
	return range;
}

uint64_t io_bus_read(const struct io_bus *bus, uint64_t addr, unsigned size)
{
	const struct io_range *range = io_bus_find(bus, addr, size);
	uint64_t ones = size >= 8 ? UINT64_MAX : (1ull << (size * 8)) - 1;

	if (!range || !range->handler->read)
		return ones;
	return range->handler->read(range->ctx, addr - range->base, size) & ones;
}

void io_bus_write(const struct io_bus *bus, uint64_t addr, unsigned size, uint64_t value)
{
	const struct io_range *range = io_bus_find(bus, addr, size);

	if (range && range->handler->write)
		range->handler->write(range->ctx, addr - range->base, size, value);
}
