/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "vmm-core/machine/io_bus.h"

struct probe {
	uint64_t offset, value;
	unsigned size, n_reads, n_writes;
	uint64_t answer;
};

static uint64_t probe_read(void *ctx, uint64_t offset, unsigned size)
{
	struct probe *p = ctx;

	p->offset = offset;
	p->size = size;
	p->n_reads++;
	return p->answer;
}

static void probe_write(void *ctx, uint64_t offset, unsigned size, uint64_t value)
{
	struct probe *p = ctx;

	p->offset = offset;
	p->size = size;
	p->value = value;
	p->n_writes++;
}

static const struct io_handler probe_io = { .read = probe_read, .write = probe_write };
static const struct io_handler write_only_io = { .write = probe_write };

Test(io_bus, access_reaches_the_handler_with_its_offset)
{
	struct io_bus bus = { .n = 0 };
	struct probe p = { .answer = 0x1234 };

	cr_assert_eq(io_bus_add(&bus, 0x100, 0x10, &probe_io, &p), 0);
	cr_assert_eq(io_bus_read(&bus, 0x10e, 2), 0x1234);
	cr_assert_eq(p.offset, 0xe);
	cr_assert_eq(p.size, 2);
	io_bus_write(&bus, 0x100, 4, 0xabcd);
	cr_assert_eq(p.offset, 0);
	cr_assert_eq(p.value, 0xabcd);
}

Test(io_bus, answer_is_cut_to_the_size_of_the_access)
{
	struct io_bus bus = { .n = 0 };
	struct probe p = { .answer = UINT64_MAX };

	cr_assert_eq(io_bus_add(&bus, 0, 8, &probe_io, &p), 0);
	cr_assert_eq(io_bus_read(&bus, 0, 1), 0xff);
	cr_assert_eq(io_bus_read(&bus, 0, 4), 0xffffffff);
	cr_assert_eq(io_bus_read(&bus, 0, 8), UINT64_MAX);
}

Test(io_bus, nothing_there_reads_all_ones)
{
	struct io_bus bus = { .n = 0 };
	struct probe p = { .answer = 0 };

	cr_assert_eq(io_bus_read(&bus, 0x60, 1), 0xff);
	cr_assert_eq(io_bus_add(&bus, 0x100, 0x10, &probe_io, &p), 0);
	cr_assert_eq(io_bus_read(&bus, 0xff, 1), 0xff);
	cr_assert_eq(io_bus_read(&bus, 0x110, 2), 0xffff);
	io_bus_write(&bus, 0x110, 1, 0);
	cr_assert_eq(p.n_reads + p.n_writes, 0);
}

Test(io_bus, access_that_leaves_its_range_reaches_nobody)
{
	struct io_bus bus = { .n = 0 };
	struct probe low = { .answer = 0 }, high = { .answer = 0 };

	cr_assert_eq(io_bus_add(&bus, 0x100, 4, &probe_io, &low), 0);
	cr_assert_eq(io_bus_add(&bus, 0x104, 4, &probe_io, &high), 0);
	cr_assert_eq(io_bus_read(&bus, 0x103, 2), 0xffff);
	cr_assert_eq(io_bus_read(&bus, 0xff, 2), 0xffff);
	io_bus_write(&bus, 0x106, 4, 0);
	cr_assert_eq(low.n_reads + high.n_writes, 0);
}

Test(io_bus, the_last_addresses_work)
{
	struct io_bus bus = { .n = 0 };
	struct probe p = { .answer = 7 };

	cr_assert_eq(io_bus_add(&bus, UINT64_MAX - 7, 8, &probe_io, &p), 0);
	cr_assert_eq(io_bus_read(&bus, UINT64_MAX - 7, 8), 7);
	cr_assert_eq(io_bus_read(&bus, UINT64_MAX, 1), 7);
	cr_assert_eq(io_bus_read(&bus, UINT64_MAX, 2), 0xffff);
}

Test(io_bus, empty_and_wrapping_ranges_are_refused)
{
	struct io_bus bus = { .n = 0 };

	cr_assert_eq(io_bus_add(&bus, 5, 0, &probe_io, NULL), -EINVAL);
	cr_assert_eq(io_bus_add(&bus, UINT64_MAX, 2, &probe_io, NULL), -EINVAL);
	cr_assert_eq(bus.n, 0);
}

Test(io_bus, overlapping_ranges_are_refused)
{
	struct io_bus bus = { .n = 0 };

	cr_assert_eq(io_bus_add(&bus, 0x100, 0x10, &probe_io, NULL), 0);
	cr_assert_eq(io_bus_add(&bus, 0x100, 0x10, &probe_io, NULL), -EINVAL);
	cr_assert_eq(io_bus_add(&bus, 0x10f, 1, &probe_io, NULL), -EINVAL);
	cr_assert_eq(io_bus_add(&bus, 0xf0, 0x11, &probe_io, NULL), -EINVAL);
	cr_assert_eq(io_bus_add(&bus, 0, UINT64_MAX, &probe_io, NULL), -EINVAL);
	cr_assert_eq(io_bus_add(&bus, 0xf0, 0x10, &probe_io, NULL), 0);
	cr_assert_eq(io_bus_add(&bus, 0x110, 0x10, &probe_io, NULL), 0);
}

Test(io_bus, order_of_adding_does_not_matter)
{
	struct io_bus bus = { .n = 0 };
	struct probe p[3] = { { .answer = 1 }, { .answer = 2 }, { .answer = 3 } };

	cr_assert_eq(io_bus_add(&bus, 0x300, 1, &probe_io, &p[2]), 0);
	cr_assert_eq(io_bus_add(&bus, 0x100, 1, &probe_io, &p[0]), 0);
	cr_assert_eq(io_bus_add(&bus, 0x200, 1, &probe_io, &p[1]), 0);
	cr_assert_eq(io_bus_read(&bus, 0x100, 1), 1);
	cr_assert_eq(io_bus_read(&bus, 0x200, 1), 2);
	cr_assert_eq(io_bus_read(&bus, 0x300, 1), 3);
}

Test(io_bus, a_full_table_says_so)
{
	struct io_bus bus = { .n = 0 };

	for (uint64_t i = 0; i < IO_BUS_RANGES_MAX; i++)
		cr_assert_eq(io_bus_add(&bus, i, 1, &probe_io, NULL), 0);
	cr_assert_eq(io_bus_add(&bus, IO_BUS_RANGES_MAX, 1, &probe_io, NULL), -ENOSPC);
}

Test(io_bus, a_write_only_register_reads_all_ones)
{
	struct io_bus bus = { .n = 0 };
	struct probe p = { .answer = 0 };

	cr_assert_eq(io_bus_add(&bus, 0, 1, &write_only_io, &p), 0);
	cr_assert_eq(io_bus_read(&bus, 0, 1), 0xff);
}
