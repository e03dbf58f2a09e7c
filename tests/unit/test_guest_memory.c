/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "ipc/guest_memory.h"
#include "ipc/shared_memory.h"
#include "open_fds.h"

#define HIGH UINT64_C(0x100000000)

/* Two regions with a hole between them, two that touch. */
static const struct guest_region regions[] = {
	{ 0x0, 0x10000 },
	{ 0x20000, 0x4000 },
	{ 0x24000, 0x4000 },
	{ HIGH, 0x8000 },
};

static struct guest_memory *gm;

static void make_memory(void)
{
	cr_assert_eq(guest_memory_create(regions, 4, false, false, &gm), 0);
}

static int range(uint64_t at, uint32_t len)
{
	struct span s;
	int r = guest_memory_span(gm, gpa(at), len, SPAN_DEVICE_READS, &s);

	if (r == 0)
		cr_assert_eq(span_len(&s), len);
	return r;
}

TestSuite(guest_memory, .init = make_memory);

Test(guest_memory, ranges_inside_a_region)
{
	cr_expect_eq(range(0, 1), 0);
	cr_expect_eq(range(0, 0x10000), 0);
	cr_expect_eq(range(0xffff, 1), 0);
	cr_expect_eq(range(0x20000, 0x4000), 0);
	cr_expect_eq(range(HIGH + 0x7fff, 1), 0);
	cr_expect_eq(range(HIGH, 0x8000), 0);
}

Test(guest_memory, ranges_that_leave_a_region)
{
	cr_expect_eq(range(0, 0x10001), GUEST_MEMORY_BAD_RANGE);
	cr_expect_eq(range(0xffff, 2), GUEST_MEMORY_BAD_RANGE);
	cr_expect_eq(range(0x10000, 1), GUEST_MEMORY_BAD_RANGE);
	cr_expect_eq(range(HIGH + 0x7fff, 2), GUEST_MEMORY_BAD_RANGE);
	cr_expect_eq(range(HIGH + 0x8000, 1), GUEST_MEMORY_BAD_RANGE);
	cr_expect_eq(range(HIGH, UINT32_MAX), GUEST_MEMORY_BAD_RANGE);
}

Test(guest_memory, ranges_in_holes)
{
	cr_expect_eq(range(0x1ffff, 1), GUEST_MEMORY_BAD_RANGE);
	cr_expect_eq(range(0x1ffff, 2), GUEST_MEMORY_BAD_RANGE);
	cr_expect_eq(range(0xf000, 0x12000), GUEST_MEMORY_BAD_RANGE); /* over the hole */
	cr_expect_eq(range(0x28000, 1), GUEST_MEMORY_BAD_RANGE);
	cr_expect_eq(range(HIGH - 1, 1), GUEST_MEMORY_BAD_RANGE);
	cr_expect_eq(range(HIGH - 1, 2), GUEST_MEMORY_BAD_RANGE);
}

Test(guest_memory, neighbours_are_two_regions)
{
	cr_expect_eq(range(0x23fff, 1), 0);
	cr_expect_eq(range(0x24000, 1), 0);
	cr_expect_eq(range(0x23fff, 2), GUEST_MEMORY_BAD_RANGE);
}

Test(guest_memory, ranges_that_wrap)
{
	cr_expect_eq(range(UINT64_MAX, 1), GUEST_MEMORY_BAD_RANGE);
	cr_expect_eq(range(UINT64_MAX, 2), GUEST_MEMORY_BAD_RANGE);
	cr_expect_eq(range(UINT64_MAX - 0xfff, 0x1000), GUEST_MEMORY_BAD_RANGE);
	cr_expect_eq(range(UINT64_MAX - 0xfff, 0x2000), GUEST_MEMORY_BAD_RANGE);
	cr_expect_eq(guest_memory_read(gm, gpa(0x1000), &(uint8_t[1]){ 0 }, SIZE_MAX),
		     GUEST_MEMORY_BAD_RANGE);
	cr_expect_eq(guest_memory_read(gm, gpa(1), &(uint8_t[1]){ 0 }, SIZE_MAX),
		     GUEST_MEMORY_BAD_RANGE);
}

Test(guest_memory, nothing_lies_nowhere)
{
	cr_expect_eq(range(0, 0), GUEST_MEMORY_BAD_RANGE);
	cr_expect_eq(range(0x10000, 0), GUEST_MEMORY_BAD_RANGE);
	cr_expect_eq(guest_memory_write(gm, gpa(0), "", 0), GUEST_MEMORY_BAD_RANGE);
	cr_expect_eq(guest_memory_read_file(gm, gpa(0), -1, 0, 0), GUEST_MEMORY_BAD_RANGE);
}

Test(guest_memory, ret_is_untouched_on_failure)
{
	struct span s = { .len_ = 77 };

	cr_expect_neq(guest_memory_span(gm, gpa(0x10000), 1, SPAN_DEVICE_READS, &s), 0);
	cr_expect_eq(s.len_, 77);
}

Test(guest_memory, last_region_ends_below_2_to_the_64)
{
	static const struct guest_region top = { UINT64_MAX - 0xfff, 0x1000 };
	static const struct guest_region below = { UINT64_MAX - 0x1fff, 0x1000 };
	struct guest_memory *other = NULL;

	/* Refused: its end is no number. The page below is the last possible one. */
	cr_assert_eq(guest_memory_create(&top, 1, false, false, &other), -EINVAL);
	cr_assert_eq(guest_memory_create(&below, 1, false, false, &other), 0);
	guest_memory_free(gm);
	gm = other;
	cr_expect_eq(range(UINT64_MAX - 0x1000, 1), 0);
	cr_expect_eq(range(UINT64_MAX - 0x1000, 2), GUEST_MEMORY_BAD_RANGE);
}

Test(guest_memory, bad_region_lists_are_refused)
{
	static const struct guest_region overlap[] = { { 0, 0x2000 }, { 0x1000, 0x1000 } };
	static const struct guest_region descending[] = { { 0x2000, 0x1000 }, { 0, 0x1000 } };
	static const struct guest_region empty[] = { { 0, 0 } };
	static const struct guest_region odd[] = { { 0, 0x1001 } };
	static const struct guest_region unaligned[] = { { 0x800, 0x1000 } };
	static const struct guest_region wrapping[] = { { 0x1000, UINT64_MAX - 0xfff } };
	static const struct guest_region five[GUEST_MEMORY_REGIONS_MAX + 1];
	struct guest_memory *x = NULL;

	cr_expect_eq(guest_memory_create(overlap, 2, false, false, &x), -EINVAL);
	cr_expect_eq(guest_memory_create(descending, 2, false, false, &x), -EINVAL);
	cr_expect_eq(guest_memory_create(empty, 1, false, false, &x), -EINVAL);
	cr_expect_eq(guest_memory_create(odd, 1, false, false, &x), -EINVAL);
	cr_expect_eq(guest_memory_create(unaligned, 1, false, false, &x), -EINVAL);
	cr_expect_eq(guest_memory_create(wrapping, 1, false, false, &x), -EINVAL);
	cr_expect_eq(guest_memory_create(regions, 0, false, false, &x), -EINVAL);
	cr_expect_eq(guest_memory_create(five, ARRAY_LEN(five), false, false, &x), -EINVAL);
	cr_expect_null(x);
}

Test(guest_memory, copies_arrive_and_stay_inside)
{
	char got[4] = "";

	cr_assert_eq(guest_memory_write(gm, gpa(0xfffd), "abc", 3), 0);
	cr_assert_eq(guest_memory_read(gm, gpa(0xfffd), got, 3), 0);
	cr_assert_str_eq(got, "abc");
	cr_assert_eq(guest_memory_write(gm, gpa(0xfffe), "xyz", 3), GUEST_MEMORY_BAD_RANGE);
	cr_assert_eq(guest_memory_read(gm, gpa(0xfffd), got, 3), 0);
	cr_assert_str_eq(got, "abc");
}

Test(guest_memory, spans_keep_their_direction)
{
	struct span in, out;
	struct iovec iov = { 0 };
	uint8_t b[8] = { 1 };

	cr_assert_eq(guest_memory_span(gm, gpa(0x100), 8, SPAN_DEVICE_READS, &in), 0);
	cr_assert_eq(guest_memory_span(gm, gpa(0x200), 8, SPAN_DEVICE_WRITES, &out), 0);
	cr_expect_eq(span_copy_in(&in, 0, b, 8), 0);
	cr_expect_eq(span_copy_out(&out, 0, b, 8), 0);
	cr_expect_eq(span_copy_out(&in, 0, b, 8), GUEST_MEMORY_BAD_DIRECTION);
	cr_expect_eq(span_copy_in(&out, 0, b, 8), GUEST_MEMORY_BAD_DIRECTION);
	cr_expect_eq(span_iovec(&in, SPAN_DEVICE_WRITES, &iov), GUEST_MEMORY_BAD_DIRECTION);
	cr_expect_eq(span_iovec(&out, SPAN_DEVICE_READS, &iov), GUEST_MEMORY_BAD_DIRECTION);
	cr_expect_null(iov.iov_base);
	cr_expect_eq(span_iovec(&out, SPAN_DEVICE_WRITES, &iov), 0);
	cr_expect_eq(iov.iov_len, 8);
	cr_expect_eq((uint64_t)(uintptr_t)iov.iov_base, guest_memory_host_base(gm, 0) + 0x200);
}

Test(guest_memory, span_offsets_do_not_leave_the_span)
{
	struct span s, part;
	uint8_t b[16];

	cr_assert_eq(guest_memory_span(gm, gpa(0x100), 8, SPAN_DEVICE_READS, &s), 0);
	cr_expect_eq(span_copy_in(&s, 7, b, 1), 0);
	cr_expect_eq(span_copy_in(&s, 7, b, 2), GUEST_MEMORY_BAD_RANGE);
	cr_expect_eq(span_copy_in(&s, 8, b, 1), GUEST_MEMORY_BAD_RANGE);
	cr_expect_eq(span_copy_in(&s, UINT32_MAX, b, 2), GUEST_MEMORY_BAD_RANGE);
	cr_expect_eq(span_copy_in(&s, 0, b, SIZE_MAX), GUEST_MEMORY_BAD_RANGE);
	cr_expect_eq(span_copy_in(&s, 0, b, UINT64_C(0x100000001)), GUEST_MEMORY_BAD_RANGE);
	cr_expect_eq(span_cut(&s, 8, 1, &part), GUEST_MEMORY_BAD_RANGE);
	cr_expect_eq(span_cut(&s, 4, 5, &part), GUEST_MEMORY_BAD_RANGE);
	cr_expect_eq(span_cut(&s, 4, 0, &part), GUEST_MEMORY_BAD_RANGE);
	cr_expect_eq(span_cut(&s, 4, UINT32_MAX, &part), GUEST_MEMORY_BAD_RANGE);
	cr_assert_eq(span_cut(&s, 4, 4, &part), 0);
	cr_expect_eq(span_len(&part), 4);
	cr_expect_eq(span_copy_in(&part, 3, b, 1), 0);
	cr_expect_eq(span_copy_in(&part, 4, b, 1), GUEST_MEMORY_BAD_RANGE);
}

Test(guest_memory, windows_are_aligned_and_inside)
{
	struct guest_window w = { 0 };

	cr_expect_eq(guest_memory_window(gm, gpa(0x1001), 4, 2, &w), GUEST_MEMORY_BAD_RANGE);
	cr_expect_eq(guest_memory_window(gm, gpa(0x1008), 16, 16, &w), GUEST_MEMORY_BAD_RANGE);
	cr_expect_eq(guest_memory_window(gm, gpa(0x1000), 16, 0, &w), GUEST_MEMORY_BAD_RANGE);
	cr_expect_eq(guest_memory_window(gm, gpa(0x1000), 16, 3, &w), GUEST_MEMORY_BAD_RANGE);
	cr_expect_eq(guest_memory_window(gm, gpa(0x1000), 0, 16, &w), GUEST_MEMORY_BAD_RANGE);
	cr_expect_eq(guest_memory_window(gm, gpa(0xfff0), 17, 16, &w), GUEST_MEMORY_BAD_RANGE);
	cr_expect_null(w.host_);
	cr_assert_eq(guest_memory_window(gm, gpa(0xfff0), 16, 16, &w), 0);
	guest_window_store16_release(&w, 14, 0x1234);
	cr_expect_eq(guest_window_load16_acquire(&w, 14), 0x1234);
	guest_window_store32(&w, 0, 0x89abcdef);
	cr_expect_eq(guest_window_load64(&w, 0), 0x89abcdef);
	cr_expect_eq(guest_window_load16(&w, 0), 0xcdef); /* little-endian, as the spec's rings */
}

Test(guest_memory, memfds_are_sealed)
{
	int fd = guest_memory_fd(gm, 0);

	cr_assert_eq(ftruncate(fd, 0x1000), -1);
	cr_assert_eq(errno, EPERM);
	cr_assert_eq(ftruncate(fd, 0x20000), -1);
	cr_assert_eq(shared_memory_check(fd, 0x10000), 0);
	cr_assert_eq(guest_memory_fd(gm, 4), -1);
	cr_assert_eq(guest_memory_host_base(gm, 4), 0);
}

static void duplicates(struct fdset *fds)
{
	for (uint32_t i = 0; i < 4; i++)
		cr_assert_eq(fdset_add_dup(fds, guest_memory_fd(gm, i)), 0);
}

Test(guest_memory, device_maps_the_same_ram_and_keeps_no_fd)
{
	cleanup_fdset struct fdset fds = FDSET_EMPTY;
	struct guest_memory *mine = NULL;
	unsigned before = open_fds();
	uint32_t n = 0, got = 0;

	duplicates(&fds);
	cr_assert_eq(guest_memory_map(regions, 4, &fds, &mine), 0);
	cr_assert_eq(open_fds(), before);
	cr_assert_eq(guest_memory_fd(mine, 0), -1);
	cr_assert_eq(guest_memory_regions(mine, &n)[3].gpa, HIGH);
	cr_assert_eq(n, 4);
	cr_assert_eq(guest_memory_write(gm, gpa(HIGH + 4), &(uint32_t){ 99 }, 4), 0);
	cr_assert_eq(guest_memory_read(mine, gpa(HIGH + 4), &got, 4), 0);
	cr_assert_eq(got, 99);
	cr_assert_null(guest_memory_free(mine));
	cr_assert_eq(guest_memory_read(gm, gpa(HIGH + 4), &got, 4), 0);
}

/* Maps region 0 as @fd (taken) and the others rightly; nothing may leak. */
static int map_with(int fd)
{
	cleanup_fdset struct fdset fds = FDSET_EMPTY;
	struct guest_memory *mine = NULL;
	int r;

	duplicates(&fds);
	fd_close(fds.fds[0]);
	fds.fds[0] = fd;
	r = guest_memory_map(regions, 4, &fds, &mine);
	guest_memory_free(mine);
	return r;
}

Test(guest_memory, map_refuses_fds_that_are_not_as_promised)
{
	unsigned before = open_fds();
	int unsealed = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int read_only = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	cr_assert_eq(ftruncate(unsealed, 0x10000), 0);
	cr_expect_eq(map_with(unsealed), -EINVAL);
	cr_expect_eq(map_with(shared_memory_create("test", 0xf000, 0)), -EINVAL);
	cr_expect_eq(map_with(shared_memory_create("test", 0x11000, 0)), -EINVAL);
	cr_expect_eq(map_with(open("/dev/zero", O_RDWR | O_CLOEXEC)), -EINVAL);
	cr_expect_eq(map_with(-1), -EINVAL);
	cr_assert_eq(ftruncate(read_only, 0x10000), 0);
	cr_assert_eq(fcntl(read_only, F_ADD_SEALS,
			   F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE),
		     0);
	cr_expect_eq(map_with(read_only), -EPERM);
	cr_expect_eq(map_with(shared_memory_create("test", 0x10000, 0)), 0);
	cr_expect_eq(open_fds(), before);
}

Test(guest_memory, map_refuses_a_wrong_count)
{
	cleanup_fdset struct fdset fds = FDSET_EMPTY;
	struct guest_memory *mine = NULL;

	duplicates(&fds);
	cr_assert_eq(guest_memory_map(regions, 3, &fds, &mine), -EINVAL);
	cr_assert_eq(fds.n, 4);
}

Test(guest_memory, punch_forgets_everything)
{
	uint32_t got = 1;

	cr_assert_eq(guest_memory_write(gm, gpa(0x8000), "data", 4), 0);
	cr_assert_eq(guest_memory_write(gm, gpa(HIGH), "data", 4), 0);
	cr_assert_eq(guest_memory_punch(gm), 0);
	cr_assert_eq(guest_memory_read(gm, gpa(0x8000), &got, 4), 0);
	cr_assert_eq(got, 0);
	cr_assert_eq(guest_memory_read(gm, gpa(HIGH), &got, 4), 0);
	cr_assert_eq(got, 0);
}

static uint64_t allocated(const struct guest_memory *m, uint32_t region)
{
	struct stat st;

	cr_assert_eq(fstat(guest_memory_fd(m, region), &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

Test(guest_memory, prefaulted_memory_is_there_before_and_after_a_punch)
{
	struct guest_memory *m = NULL;

	cr_assert_eq(allocated(gm, 0), 0);
	cr_assert_eq(guest_memory_create(regions, 1, false, true, &m), 0);
	cr_assert_eq(allocated(m, 0), 0x10000);
	cr_assert_eq(guest_memory_punch(m), 0);
	cr_assert_eq(allocated(m, 0), 0x10000);
	guest_memory_free(m);
}

/* Hosts without a huge page pool refuse at once, and not by a SIGBUS later. */
Test(guest_memory, populated_are_the_pages_of_the_range_and_no_others)
{
	guest_memory_populate(gm, gpa(0x1fff), 2);
	cr_expect_eq(allocated(gm, 0), 0x2000);
	guest_memory_populate(gm, gpa(0x24000), 0x4000);
	cr_expect_eq(allocated(gm, 2), 0x4000);
	guest_memory_populate(gm, gpa(0xf000), 0x2000);
	guest_memory_populate(gm, gpa(HIGH), UINT64_MAX);
	guest_memory_populate(gm, gpa(HIGH), 0);
	cr_expect_eq(allocated(gm, 0) + allocated(gm, 1) + allocated(gm, 3), 0x2000);
}

Test(guest_memory, hugepages_are_reserved_or_refused)
{
	static const struct guest_region huge = { 0, UINT64_C(4) << 20 };
	struct guest_memory *m = NULL;
	unsigned before = open_fds();
	uint32_t got = 1;
	int r = guest_memory_create(&huge, 1, true, false, &m);

	if (r != 0) {
		cr_assert(r == -ENOMEM || r == -EPERM || r == -ENOSYS, "%d", r);
		cr_assert_eq(open_fds(), before);
		cr_skip("no huge pages to be had here");
	}
	cr_assert_eq(guest_memory_write(m, gpa(huge.size - 4), "data", 4), 0);
	cr_assert_eq(guest_memory_punch(m), 0);
	cr_assert_eq(allocated(m, 0), huge.size);
	cr_assert_eq(guest_memory_read(m, gpa(huge.size - 4), &got, 4), 0);
	cr_assert_eq(got, 0);
	guest_memory_free(m);
}

Test(guest_memory, hundred_gigabytes_cost_nothing_until_used)
{
	static const struct guest_region big[] = { { 0, UINT64_C(3) << 30 },
						   { HIGH, UINT64_C(97) << 30 } };
	uint64_t last = HIGH + (UINT64_C(97) << 30) - 1;
	struct guest_memory *m = NULL;

	cr_assert_eq(guest_memory_create(big, 2, false, false, &m), 0);
	guest_memory_free(gm);
	gm = m;
	cr_expect_eq(guest_memory_write(m, gpa(last), "z", 1), 0);
	cr_expect_eq(range(last, 1), 0);
	cr_expect_eq(range(last, 2), GUEST_MEMORY_BAD_RANGE);
	cr_expect_eq(range(HIGH, UINT32_MAX), 0);
	cr_expect_eq(guest_memory_punch(m), 0);
	guest_memory_free(m);
}

Test(guest_memory, file_is_loaded_where_it_belongs)
{
	cleanup_fd int fd = memfd_create("file", MFD_CLOEXEC);
	char got[6] = "";

	cr_assert_eq(write(fd, "0123456789", 10), 10);
	cr_assert_eq(guest_memory_read_file(gm, gpa(0xfffb), fd, 5, 5), 0);
	cr_assert_eq(guest_memory_read(gm, gpa(0xfffb), got, 5), 0);
	cr_assert_str_eq(got, "56789");
	cr_expect_eq(guest_memory_read_file(gm, gpa(0xfffb), fd, 6, 5), -ENODATA);
	cr_expect_eq(guest_memory_read_file(gm, gpa(0xfffc), fd, 0, 5), GUEST_MEMORY_BAD_RANGE);
	cr_expect_eq(guest_memory_read_file(gm, gpa(0), fd, UINT64_MAX, 5), -EINVAL);
	cr_expect_eq(guest_memory_read_file(gm, gpa(0), -1, 0, 5), -EBADF);
}

Test(guest_memory, free_gives_everything_back)
{
	unsigned before = open_fds();

	cr_assert_null(guest_memory_free(gm));
	cr_assert_eq(open_fds(), before - 4);
	cr_assert_null(guest_memory_free(NULL));
}
