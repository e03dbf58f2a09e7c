/* SPDX-License-Identifier: Apache-2.0 */
/* blk_request.c: every kind of request, well-formed and not, over spans in real guest memory. */
#include "device-procs/blk/blk_request.h"

#include <criterion/criterion.h>
#include <linux/virtio_blk.h>
#include <string.h>

#include "device-procs/common/spans.h"

#define RAM (1u << 20)
#define DATA 0x10000u
#define SECTORS 1000u

static struct guest_memory *gm;
static struct span spans[BLK_SPANS_MAX];
static struct virtqueue_chain chain;
static struct blk_limits limits;
static struct blk_request request;
static uint8_t status;

static void make_memory(void)
{
	static const struct guest_region region = { 0, RAM };

	gm = guest_memory_free(gm); /* tests start over by calling this again */
	cr_assert_eq(guest_memory_create(&region, 1, false, false, &gm), 0);
	chain = (struct virtqueue_chain){ .spans = spans, .n_spans_max = BLK_SPANS_MAX };
	limits = (struct blk_limits){
		.n_sectors = SECTORS, .has_discard = true, .has_write_zeroes = true,
	};
}

static void free_memory(void)
{
	gm = guest_memory_free(gm);
}

TestSuite(blk_request, .init = make_memory, .fini = free_memory);

/* Readable buffers must be added first. */
static void add(uint64_t at, uint32_t len, bool write)
{
	struct span *s = &spans[chain.n_spans];

	cr_assert_eq(guest_memory_span(gm, gpa(at), len,
				       write ? SPAN_DEVICE_WRITES : SPAN_DEVICE_READS, s),
		     0);
	chain.n_spans++;
	chain.n_readable += !write;
	*(write ? &chain.writable_len : &chain.readable_len) += len;
	if (write)
		chain.last = s;
}

static void put(uint64_t at, const void *src, size_t n)
{
	cr_assert_eq(guest_memory_write(gm, gpa(at), src, n), 0);
}

static void header(uint32_t type, uint64_t sector)
{
	struct virtio_blk_outhdr h = { .type = type, .sector = sector };

	put(0, &h, sizeof(h));
	add(0, sizeof(h), false);
}

static int parse(void)
{
	status = 0xee;
	return blk_request_parse(&chain, &limits, &request, &status);
}

static int data(uint32_t type, uint64_t sector, uint32_t len)
{
	header(type, sector);
	if (len > 0)
		add(DATA, len, type == VIRTIO_BLK_T_IN);
	add(512, 1, true);
	return parse();
}

static void expect_failed(int r, uint8_t with)
{
	cr_expect_eq(r, BLK_REQUEST_FAILED);
	cr_expect_eq(status, with);
	cr_expect_eq(span_len(&request.status), 1);
}

Test(blk_request, read)
{
	cr_assert_eq(data(VIRTIO_BLK_T_IN, 10, 1024), 0);
	cr_expect_eq(request.operation, BLK_READ);
	cr_expect_eq(request.offset, 5120);
	cr_expect_eq(request.len, 1024);
	cr_expect_eq(request.n_spans, 1);
	cr_expect_eq(span_len(&spans[0]), 1024);
}

Test(blk_request, write)
{
	cr_assert_eq(data(VIRTIO_BLK_T_OUT, 10, 1024), 0);
	cr_expect_eq(request.operation, BLK_WRITE);
	cr_expect_eq(request.n_spans, 1);
}

Test(blk_request, empty_read_is_a_read_of_nothing)
{
	cr_assert_eq(data(VIRTIO_BLK_T_IN, SECTORS, 0), 0);
	cr_expect_eq(request.len, 0);
	cr_expect_eq(request.n_spans, 0);
}

Test(blk_request, the_last_sector_and_the_one_behind)
{
	cr_expect_eq(data(VIRTIO_BLK_T_IN, SECTORS - 2, 1024), 0);
	make_memory();
	expect_failed(data(VIRTIO_BLK_T_IN, SECTORS - 1, 1024), VIRTIO_BLK_S_IOERR);
	make_memory();
	expect_failed(data(VIRTIO_BLK_T_IN, SECTORS, 512), VIRTIO_BLK_S_IOERR);
	make_memory();
	expect_failed(data(VIRTIO_BLK_T_IN, UINT64_MAX, 512), VIRTIO_BLK_S_IOERR);
	make_memory();
	/* sector * 512 would wrap to 0 */
	expect_failed(data(VIRTIO_BLK_T_IN, UINT64_C(1) << 55, 512), VIRTIO_BLK_S_IOERR);
}

Test(blk_request, length_is_whole_sectors)
{
	expect_failed(data(VIRTIO_BLK_T_IN, 0, 513), VIRTIO_BLK_S_IOERR);
	make_memory();
	expect_failed(data(VIRTIO_BLK_T_OUT, 0, 511), VIRTIO_BLK_S_IOERR);
}

Test(blk_request, header_and_status_may_be_split_anywhere)
{
	struct virtio_blk_outhdr h = { .type = VIRTIO_BLK_T_OUT, .sector = 7 };
	uint32_t cut;

	for (cut = 1; cut < 16; cut++) {
		make_memory();
		put(100, &h, cut);
		put(5000, (const uint8_t *)&h + cut, 16 - cut);
		add(100, cut, false);
		add(5000, 16 - cut + 512, false); /* data begins in the same buffer */
		add(DATA, 512, false);
		add(600, 1, true);
		cr_assert_eq(parse(), 0);
		cr_expect_eq(request.offset, 7 * 512);
		cr_expect_eq(request.len, 1024);
		cr_expect_eq(request.n_spans, 2);
		cr_expect_eq(span_len(&spans[0]), 512);
	}
	make_memory();
	header(VIRTIO_BLK_T_IN, 0);
	add(DATA, 512 + 1, true); /* data and status in one buffer */
	cr_assert_eq(parse(), 0);
	cr_expect_eq(request.len, 512);
	cr_expect_eq(span_len(&spans[0]), 512);
	cr_assert_eq(span_copy_out(&request.status, 0, "\x05", 1), 0);
	cr_assert_eq(guest_memory_read(gm, gpa(DATA + 512), &status, 1), 0);
	cr_expect_eq(status, 5);
}

Test(blk_request, no_room_for_a_status)
{
	header(VIRTIO_BLK_T_OUT, 0);
	add(DATA, 512, false);
	cr_expect_eq(parse(), BLK_REQUEST_NO_STATUS);
	make_memory();
	cr_expect_eq(parse(), BLK_REQUEST_NO_STATUS, "an empty chain");
}

Test(blk_request, short_header)
{
	add(0, 15, false);
	add(512, 1, true);
	expect_failed(parse(), VIRTIO_BLK_S_IOERR);
	make_memory();
	add(512, 600, true);
	expect_failed(parse(), VIRTIO_BLK_S_IOERR);
}

Test(blk_request, data_in_the_wrong_direction)
{
	header(VIRTIO_BLK_T_OUT, 0);
	add(DATA, 512, true);
	add(512, 1, true);
	expect_failed(parse(), VIRTIO_BLK_S_IOERR);
	make_memory();
	header(VIRTIO_BLK_T_IN, 0);
	add(DATA, 512, false);
	add(512, 1, true);
	expect_failed(parse(), VIRTIO_BLK_S_IOERR);
	make_memory();
	header(VIRTIO_BLK_T_OUT, 0);
	add(DATA, 512, false);
	add(DATA, 512, true);
	add(512, 1, true);
	expect_failed(parse(), VIRTIO_BLK_S_IOERR);
}

Test(blk_request, bad_and_cut_chains_get_a_status_only)
{
	header(VIRTIO_BLK_T_IN, 0);
	add(DATA, 512, true);
	add(512, 1, true);
	chain.is_bad = true;
	expect_failed(parse(), VIRTIO_BLK_S_IOERR);
	chain.is_bad = false;
	chain.is_cut = true;
	chain.n_spans = 0;
	expect_failed(parse(), VIRTIO_BLK_S_IOERR);
}

Test(blk_request, read_only_disks_refuse_all_writers)
{
	limits.is_read_only = true;
	expect_failed(data(VIRTIO_BLK_T_OUT, 0, 512), VIRTIO_BLK_S_IOERR);
	make_memory();
	limits.is_read_only = true;
	cr_expect_eq(data(VIRTIO_BLK_T_IN, 0, 512), 0);
	make_memory();
	limits.is_read_only = true;
	expect_failed(data(VIRTIO_BLK_T_DISCARD, 0, 0), VIRTIO_BLK_S_IOERR);
	make_memory();
	limits.is_read_only = true;
	cr_expect_eq(data(VIRTIO_BLK_T_FLUSH, 0, 0), 0);
}

Test(blk_request, unknown_types)
{
	static const uint32_t types[] = { 2, 3, 5, 7, 9, 10, 12, 14, 0x80000000u, UINT32_MAX };
	size_t i;

	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		make_memory();
		header(types[i], 0);
		add(512, 1, true);
		expect_failed(parse(), VIRTIO_BLK_S_UNSUPP);
	}
}

Test(blk_request, get_id)
{
	header(VIRTIO_BLK_T_GET_ID, 0);
	add(DATA, 20, true);
	add(512, 1, true);
	cr_assert_eq(parse(), 0);
	cr_expect_eq(request.operation, BLK_GET_ID);
	cr_expect_eq(request.len, 20);
	make_memory();
	header(VIRTIO_BLK_T_GET_ID, 0);
	add(DATA, 19, true);
	add(512, 1, true);
	expect_failed(parse(), VIRTIO_BLK_S_IOERR);
}

static int segments(uint32_t type, const struct virtio_blk_discard_write_zeroes *s, uint32_t bytes)
{
	header(type, 0);
	if (bytes > 0) {
		put(DATA, s, bytes);
		add(DATA, bytes, false);
	}
	add(512, 1, true);
	return parse();
}

Test(blk_request, segments_are_checked_one_by_one)
{
	struct virtio_blk_discard_write_zeroes s[BLK_SEGMENTS_MAX + 1] = {
		{ .sector = 1, .num_sectors = 2 },
		{ .sector = 3, .num_sectors = 0 },
		{ .sector = SECTORS - 1, .num_sectors = 1 },
	};

	cr_assert_eq(segments(VIRTIO_BLK_T_DISCARD, s, 48), 0);
	cr_expect_eq(request.n_segments, 2, "the empty one is left out");
	cr_expect_eq(request.segments[0].offset, 512);
	cr_expect_eq(request.segments[0].len, 1024);
	cr_expect_eq(request.segments[1].offset, (SECTORS - 1) * 512u);
	make_memory();
	s[1].num_sectors = SECTORS;
	expect_failed(segments(VIRTIO_BLK_T_DISCARD, s, 48), VIRTIO_BLK_S_IOERR);
	make_memory();
	s[1].num_sectors = UINT32_MAX;
	expect_failed(segments(VIRTIO_BLK_T_WRITE_ZEROES, s, 48), VIRTIO_BLK_S_IOERR);
	s[1].num_sectors = 0;
	make_memory();
	expect_failed(segments(VIRTIO_BLK_T_DISCARD, s, 47), VIRTIO_BLK_S_IOERR);
	make_memory();
	expect_failed(segments(VIRTIO_BLK_T_DISCARD, s, 0), VIRTIO_BLK_S_IOERR);
	make_memory();
	cr_expect_eq(segments(VIRTIO_BLK_T_DISCARD, s, sizeof(s) - 16), 0);
	make_memory();
	expect_failed(segments(VIRTIO_BLK_T_DISCARD, s, sizeof(s)), VIRTIO_BLK_S_IOERR);
}

Test(blk_request, segment_size_limit_holds_on_a_large_disk)
{
	struct virtio_blk_discard_write_zeroes s = { .num_sectors = BLK_SEGMENT_SECTORS_MAX };

	limits.n_sectors = UINT64_C(1) << 40;
	cr_expect_eq(segments(VIRTIO_BLK_T_WRITE_ZEROES, &s, 16), 0);
	make_memory();
	limits.n_sectors = UINT64_C(1) << 40;
	s.num_sectors++;
	expect_failed(segments(VIRTIO_BLK_T_WRITE_ZEROES, &s, 16), VIRTIO_BLK_S_IOERR);
}

Test(blk_request, segment_flags)
{
	struct virtio_blk_discard_write_zeroes s = { .num_sectors = 1, .flags = 1 };

	cr_assert_eq(segments(VIRTIO_BLK_T_WRITE_ZEROES, &s, 16), 0);
	cr_expect(request.segments[0].unmap);
	make_memory();
	expect_failed(segments(VIRTIO_BLK_T_DISCARD, &s, 16), VIRTIO_BLK_S_UNSUPP);
	make_memory();
	s.flags = 2;
	expect_failed(segments(VIRTIO_BLK_T_WRITE_ZEROES, &s, 16), VIRTIO_BLK_S_UNSUPP);
}

Test(blk_request, what_was_not_negotiated_is_unsupported)
{
	struct virtio_blk_discard_write_zeroes s = { .num_sectors = 1 };

	limits.has_discard = limits.has_write_zeroes = false;
	expect_failed(segments(VIRTIO_BLK_T_DISCARD, &s, 16), VIRTIO_BLK_S_UNSUPP);
	make_memory();
	limits.has_discard = limits.has_write_zeroes = false;
	expect_failed(segments(VIRTIO_BLK_T_WRITE_ZEROES, &s, 16), VIRTIO_BLK_S_UNSUPP);
}

Test(blk_request, iovecs_skip_and_stop)
{
	struct iovec iov[4];
	uint64_t len;

	add(0, 100, true);
	add(200, 50, true);
	add(300, 7, true);
	cr_expect_eq(blk_spans_iovec(spans, 3, 0, SPAN_DEVICE_WRITES, iov, 4, &len), 3);
	cr_expect_eq(len, 157);
	cr_expect_eq(blk_spans_iovec(spans, 3, 120, SPAN_DEVICE_WRITES, iov, 4, &len), 2);
	cr_expect_eq(len, 37);
	cr_expect_eq(iov[0].iov_len, 30);
	cr_expect_eq(blk_spans_iovec(spans, 3, 100, SPAN_DEVICE_WRITES, iov, 1, &len), 1);
	cr_expect_eq(len, 50);
	cr_expect_eq(blk_spans_iovec(spans, 3, 157, SPAN_DEVICE_WRITES, iov, 4, &len), 0);
	cr_expect_eq(blk_spans_iovec(spans, 3, 0, SPAN_DEVICE_READS, iov, 4, &len), 0,
		     "the other direction is refused");
}

Test(blk_request, copies_scatter_and_gather)
{
	char in[8] = "";

	add(10, 3, true);
	add(20, 3, true);
	cr_expect_eq(spans_copy_out(spans, 2, 2, "abcd", 4), 4);
	cr_expect_eq(spans_copy_out(spans, 2, 5, "xy", 2), 1, "no room for the second");
	cr_assert_eq(guest_memory_read(gm, gpa(12), in, 1), 0);
	cr_expect_eq(in[0], 'a');
	cr_assert_eq(guest_memory_read(gm, gpa(20), in, 3), 0);
	cr_expect_arr_eq(in, "bcx", 3);
	cr_expect_eq(spans_copy_in(spans, 2, 0, in, 3), 0, "not readable by the device");
}

Test(blk_request, poisoned_chain_fails_unread)
{
	add(0, 16, false); /* type 0, sector 0: a read */
	add(DATA, 512, true);
	add(DATA + 512, 1, true);
	chain.is_replayed = chain.is_poisoned = true;
	cr_expect_eq(blk_request_parse(&chain, &limits, &request, &status), BLK_REQUEST_FAILED);
	cr_expect_eq(status, VIRTIO_BLK_S_IOERR);
	cr_expect_eq(span_len(&request.status), 1);
	cr_expect_eq(request.n_spans, 0);
}
