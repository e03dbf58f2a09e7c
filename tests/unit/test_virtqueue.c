/* SPDX-License-Identifier: Apache-2.0 */
/* virtqueue.c and virtqueue_chain.c over hand-made, mostly hostile rings. */
#include "device-procs/common/virtqueue.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#define RAM (1u << 20)
#define SIZE 8u
#define DESC 0x1000u
#define AVAIL 0x2000u
#define USED 0x3000u
#define TABLE 0x4000u
#define BUFFER 0x8000u
#define NEXT 1u
#define WRITE 2u
#define INDIRECT 4u
#define ALL_FEATURES                                                                              \
	(VIRTIO_F_INDIRECT_DESC_BIT | VIRTIO_F_EVENT_IDX_BIT | VIRTIO_F_VERSION_1_BIT)

static struct guest_memory *gm;
static struct device_page_queue page;
static struct virtqueue vq;
static struct span spans[16];
static struct virtqueue_chain chain;
static uint16_t avail_idx;

static struct virtqueue_setup setup(void)
{
	return (struct virtqueue_setup){
		.size = SIZE, .desc = DESC, .avail = AVAIL, .used = USED, .features = ALL_FEATURES,
	};
}

static void start_with(uint64_t features)
{
	static const struct guest_region region = { 0, RAM };
	struct virtqueue_setup s = setup();

	gm = guest_memory_free(gm);
	cr_assert_eq(guest_memory_create(&region, 1, false, false, &gm), 0);
	memset(&page, 0, sizeof(page));
	avail_idx = 0;
	chain = (struct virtqueue_chain){ .spans = spans, .n_spans_max = 16 };
	virtqueue_init(&vq, gm, &page);
	s.features = features;
	cr_assert_eq(virtqueue_enable(&vq, &s), 0);
}

static void start(void)
{
	start_with(ALL_FEATURES);
}

static void stop(void)
{
	gm = guest_memory_free(gm);
}

TestSuite(virtqueue, .init = start, .fini = stop, .timeout = 60);

static void put(uint64_t at, const void *src, size_t n)
{
	cr_assert_eq(guest_memory_write(gm, gpa(at), src, n), 0);
}

static void put16(uint64_t at, uint16_t v)
{
	put(at, &v, sizeof(v));
}

static uint16_t get16(uint64_t at)
{
	uint16_t v;

	cr_assert_eq(guest_memory_read(gm, gpa(at), &v, sizeof(v)), 0);
	return v;
}

static uint32_t get32(uint64_t at)
{
	uint32_t v;

	cr_assert_eq(guest_memory_read(gm, gpa(at), &v, sizeof(v)), 0);
	return v;
}

static void desc_at(uint64_t table, uint16_t i, uint64_t addr, uint32_t len, uint16_t flags,
		    uint16_t next)
{
	struct virtqueue_descriptor d = { addr, len, flags, next };

	put(table + i * 16u, &d, sizeof(d));
}

static void desc(uint16_t i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	desc_at(DESC, i, addr, len, flags, next);
}

static void make_available(uint16_t head)
{
	put16(AVAIL + 4 + 2u * (avail_idx % SIZE), head);
	put16(AVAIL + 2, ++avail_idx);
}

static void simple(uint16_t head)
{
	desc(head, BUFFER, 64, WRITE, 0);
	make_available(head);
}

static void expect_broken(const char *why)
{
	cr_expect_eq(virtqueue_pop(&vq, &chain), VIRTQUEUE_BROKEN);
	cr_assert_not_null(virtqueue_fault(&vq));
	cr_expect_not_null(strstr(virtqueue_fault(&vq), why), "%s, not %s", virtqueue_fault(&vq),
			   why);
	cr_expect_eq(virtqueue_pop(&vq, &chain), VIRTQUEUE_BROKEN, "it stays broken");
	cr_expect_not(virtqueue_enable_notify(&vq));
}

Test(virtqueue, empty)
{
	cr_expect_eq(virtqueue_pop(&vq, &chain), VIRTQUEUE_EMPTY);
	cr_expect_not(virtqueue_has_more(&vq));
}

Test(virtqueue, one_chain_there_and_back)
{
	desc(3, BUFFER, 16, NEXT, 5);
	desc(5, BUFFER + 100, 200, NEXT, 1);
	desc(1, BUFFER + 400, 300, WRITE | NEXT, 0);
	desc(0, BUFFER + 900, 1, WRITE, 7);
	make_available(3);
	cr_assert_eq(virtqueue_pop(&vq, &chain), 0);
	cr_expect_eq(chain.head, 3);
	cr_expect_eq(chain.n_spans, 4);
	cr_expect_eq(chain.n_readable, 2);
	cr_expect_eq(chain.readable_len, 216);
	cr_expect_eq(chain.writable_len, 301);
	cr_expect(chain.last);
	cr_expect_eq(span_len(chain.last), 1);
	cr_expect_not(chain.is_bad || chain.is_cut);
	cr_expect_eq(vq.n_in_flight, 1);
	cr_expect_eq(page.journal[3], (uint64_t)JOURNAL_FETCHED << 62);
	virtqueue_push(&vq, 3, 301);
	cr_expect_eq(page.journal[3], (uint64_t)JOURNAL_DONE << 62);
	cr_expect_eq(page.used_commit, 0);
	cr_expect_eq(get16(USED + 2), 0, "not published yet");
	cr_expect(virtqueue_flush(&vq));
	cr_expect_eq(get16(USED + 2), 1);
	cr_expect_eq(get32(USED + 4), 3);
	cr_expect_eq(get32(USED + 8), 301);
	cr_expect_eq(page.next_avail, 1);
	cr_expect_eq(page.used_commit, 1);
	cr_expect_eq(vq.n_in_flight, 0);
}

Test(virtqueue, setup_is_checked)
{
	static const struct virtqueue_setup bad[] = {
		{ 0, DESC, AVAIL, USED, 0, false, false, false },
		{ 3, DESC, AVAIL, USED, 0, false, false, false },
		{ 2048, DESC, 0x20000, 0x40000, 0, false, false, false },
		{ SIZE, DESC + 8, AVAIL, USED, 0, false, false, false },
		{ SIZE, DESC, AVAIL + 1, USED, 0, false, false, false },
		{ SIZE, DESC, AVAIL, USED + 2, 0, false, false, false },
		{ SIZE, RAM, AVAIL, USED, 0, false, false, false },
		{ SIZE, RAM - 112, AVAIL, USED, 0, false, false, false },
		{ SIZE, DESC, RAM - 20, USED, 0, false, false, false },
		{ SIZE, DESC, AVAIL, RAM - 64, 0, false, false, false },
		{ SIZE, DESC, AVAIL, UINT64_MAX - 3, 0, false, false, false },
		{ SIZE, DESC, DESC, USED, 0, false, false, false },
		{ SIZE, DESC, DESC + 126, USED, 0, false, false, false },
		{ SIZE, DESC, AVAIL, AVAIL + 20, 0, false, false, false },
		{ SIZE, DESC, USED + 68, USED, 0, false, false, false },
		{ SIZE, USED - 112, AVAIL, USED, 0, false, false, false },
	};
	static struct virtqueue other;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		virtqueue_init(&other, gm, &page);
		cr_expect_eq(virtqueue_enable(&other, &bad[i]), VIRTQUEUE_BAD_SETUP, "row %zu", i);
		cr_expect_not(virtqueue_is_enabled(&other));
	}
}

Test(virtqueue, adjacent_areas_are_fine)
{
	struct virtqueue_setup s = setup();
	static struct virtqueue other;

	s.avail = DESC + SIZE * 16;
	s.used = s.avail + 24;
	virtqueue_init(&other, gm, &page);
	cr_expect_eq(virtqueue_enable(&other, &s), 0);
}

Test(virtqueue, index_jump)
{
	put16(AVAIL + 2, SIZE + 1);
	expect_broken("ran ahead");
}

Test(virtqueue, index_going_back)
{
	simple(0);
	cr_assert_eq(virtqueue_pop(&vq, &chain), 0);
	put16(AVAIL + 2, 0);
	expect_broken("ran ahead");
}

Test(virtqueue, head_out_of_range)
{
	make_available(SIZE);
	expect_broken("head outside");
}

Test(virtqueue, head_twice_in_flight)
{
	simple(2);
	simple(2);
	cr_assert_eq(virtqueue_pop(&vq, &chain), 0);
	expect_broken("in flight");
}

Test(virtqueue, head_is_busy_until_published)
{
	simple(2);
	cr_assert_eq(virtqueue_pop(&vq, &chain), 0);
	virtqueue_push(&vq, 2, 0);
	simple(2);
	expect_broken("in flight");
}

Test(virtqueue, next_out_of_range)
{
	desc(0, BUFFER, 16, NEXT, SIZE);
	make_available(0);
	expect_broken("next index");
}

Test(virtqueue, loop)
{
	desc(0, BUFFER, 16, NEXT, 1);
	desc(1, BUFFER, 16, NEXT, 0);
	make_available(0);
	expect_broken("loop");
}

Test(virtqueue, loop_of_empty_buffers)
{
	desc(0, BUFFER, 0, NEXT, 0);
	make_available(0);
	expect_broken("loop");
}

Test(virtqueue, a_chain_as_long_as_the_queue)
{
	uint16_t i;

	for (i = 0; i < SIZE; i++)
		desc(i, BUFFER, 16, i + 1u < SIZE ? NEXT : 0, (uint16_t)(i + 1));
	make_available(0);
	cr_expect_eq(virtqueue_pop(&vq, &chain), 0);
	cr_expect_eq(chain.n_spans, SIZE);
}

Test(virtqueue, readable_after_writable)
{
	desc(0, BUFFER, 16, WRITE | NEXT, 1);
	desc(1, BUFFER, 16, 0, 0);
	make_available(0);
	expect_broken("readable buffer after");
}

Test(virtqueue, total_length)
{
	desc(0, BUFFER, 0xffffffff, NEXT, 1);
	desc(1, BUFFER, 1, WRITE, 0);
	make_available(0);
	expect_broken("2^32");
}

Test(virtqueue, empty_buffers_are_left_out)
{
	desc(0, UINT64_MAX, 0, NEXT, 1);
	desc(1, BUFFER, 16, NEXT, 2);
	desc(2, 0, 0, WRITE | NEXT, 3);
	desc(3, BUFFER, 1, WRITE, 0);
	make_available(0);
	cr_assert_eq(virtqueue_pop(&vq, &chain), 0);
	cr_expect_eq(chain.n_spans, 2);
	cr_expect_not(chain.is_bad);
}

Test(virtqueue, buffers_outside_ram_spoil_the_chain_only)
{
	static const struct {
		uint64_t at;
		uint32_t len;
	} bad[] = {
		{ RAM, 1 }, { RAM - 1, 2 }, { UINT64_MAX, 1 }, { UINT64_MAX - 1, 4 },
		{ 0, RAM + 1 }, { RAM / 2, 0xffffff00 },
	};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		start();
		desc(0, BUFFER, 16, NEXT, 1);
		desc(1, bad[i].at, bad[i].len, WRITE | NEXT, 2);
		desc(2, BUFFER + 32, 1, WRITE, 0);
		make_available(0);
		cr_expect_eq(virtqueue_pop(&vq, &chain), 0);
		cr_expect(chain.is_bad);
		cr_expect(chain.last, "the status can still be written");
		cr_expect_eq(span_len(chain.last), 1);
		desc(3, BUFFER, 16, NEXT, 4);
		desc(4, bad[i].at, bad[i].len, WRITE, 0);
		make_available(3);
		cr_expect_eq(virtqueue_pop(&vq, &chain), 0);
		cr_expect(chain.is_bad);
		cr_expect_not(chain.last);
	}
}

Test(virtqueue, more_buffers_than_the_caller_has_room_for)
{
	desc(0, BUFFER, 16, NEXT, 1);
	desc(1, BUFFER, 16, WRITE | NEXT, 2);
	desc(2, BUFFER, 7, WRITE, 0);
	make_available(0);
	chain.n_spans_max = 1;
	cr_assert_eq(virtqueue_pop(&vq, &chain), 0);
	cr_expect(chain.is_cut);
	cr_expect_eq(chain.n_spans, 1);
	cr_expect_eq(span_len(chain.last), 7);
	cr_expect_eq(chain.writable_len, 23);
}

Test(virtqueue, indirect)
{
	desc(0, BUFFER, 8, NEXT, 1);
	desc(1, TABLE, 48, INDIRECT | WRITE, 0); /* WRITE is to be ignored here, §2.7.5.3.2 */
	desc_at(TABLE, 0, BUFFER + 8, 8, NEXT, 2);
	desc_at(TABLE, 2, BUFFER + 16, 5, WRITE, 0);
	make_available(0);
	cr_assert_eq(virtqueue_pop(&vq, &chain), 0);
	cr_expect_eq(chain.n_spans, 3);
	cr_expect_eq(chain.n_readable, 2);
	cr_expect_eq(chain.readable_len, 16);
	cr_expect_eq(chain.writable_len, 5);
}

static void indirect(uint64_t at, uint32_t len, uint16_t flags)
{
	desc(0, at, len, INDIRECT | flags, 1);
	desc(1, BUFFER, 1, WRITE, 0);
	make_available(0);
}

Test(virtqueue, indirect_with_next)
{
	indirect(TABLE, 16, NEXT);
	expect_broken("with a next");
}

Test(virtqueue, indirect_of_no_length)
{
	indirect(TABLE, 0, 0);
	expect_broken("bad size");
}

Test(virtqueue, indirect_of_odd_length)
{
	indirect(TABLE, 17, 0);
	expect_broken("bad size");
}

Test(virtqueue, indirect_larger_than_the_queue)
{
	indirect(TABLE, (SIZE + 1) * 16, 0);
	expect_broken("bad size");
}

Test(virtqueue, indirect_of_huge_length)
{
	indirect(TABLE, 0xfffffff0, 0);
	expect_broken("bad size");
}

Test(virtqueue, indirect_outside_ram)
{
	indirect(RAM - 16, 32, 0);
	expect_broken("outside guest memory");
}

Test(virtqueue, indirect_nested)
{
	indirect(TABLE, 16, 0);
	desc_at(TABLE, 0, TABLE, 16, INDIRECT, 0);
	expect_broken("nested");
}

Test(virtqueue, indirect_next_out_of_range)
{
	indirect(TABLE, 32, 0);
	desc_at(TABLE, 0, BUFFER, 1, NEXT, 2);
	expect_broken("next index outside the indirect");
}

Test(virtqueue, indirect_loop)
{
	indirect(TABLE, 32, 0);
	desc_at(TABLE, 0, BUFFER, 1, NEXT, 1);
	desc_at(TABLE, 1, BUFFER, 1, NEXT, 0);
	expect_broken("loop in an indirect");
}

Test(virtqueue, indirect_that_was_not_negotiated)
{
	start_with(VIRTIO_F_VERSION_1_BIT);
	indirect(TABLE, 16, 0);
	expect_broken("not negotiated");
}

Test(virtqueue, broken_queue_takes_back_what_is_in_flight)
{
	simple(0);
	cr_assert_eq(virtqueue_pop(&vq, &chain), 0);
	make_available(100);
	expect_broken("head outside");
	cr_expect_eq(vq.n_in_flight, 1);
	virtqueue_push(&vq, 0, 64);
	cr_expect_not(virtqueue_flush(&vq));
	cr_expect_eq(vq.n_in_flight, 0);
	cr_expect_eq(get16(USED + 2), 0, "the ring is not touched any more");
}

Test(virtqueue, push_of_what_was_not_fetched_is_ignored)
{
	virtqueue_push(&vq, 0, 1);
	virtqueue_push(&vq, 5000, 1);
	cr_expect_not(virtqueue_flush(&vq));
	cr_expect_eq(get16(USED + 2), 0);
}

static bool complete(uint16_t head)
{
	simple(head);
	cr_assert_eq(virtqueue_pop(&vq, &chain), 0);
	virtqueue_push(&vq, head, 0);
	return virtqueue_flush(&vq);
}

Test(virtqueue, event_idx_interrupts_all_the_way_round)
{
	uint32_t i;

	/* The driver wants every 5th, over the wrap of the 16-bit index. */
	put16(AVAIL + 4 + 2 * SIZE, 4);
	for (i = 0; i < 70000; i++) {
		bool wanted = i % 5 == 4;

		cr_assert_eq(complete((uint16_t)(i % SIZE)), wanted, "at %u", i);
		if (wanted)
			put16(AVAIL + 4 + 2 * SIZE, (uint16_t)(i + 5));
	}
	cr_expect_eq(page.next_avail, 70000);
	cr_expect_eq(page.used_commit, 70000);
}

Test(virtqueue, event_idx_batch_that_passes_the_event)
{
	uint16_t i;

	put16(AVAIL + 4 + 2 * SIZE, 2);
	for (i = 0; i < 5; i++)
		simple(i);
	for (i = 0; i < 5; i++)
		cr_assert_eq(virtqueue_pop(&vq, &chain), 0);
	virtqueue_push(&vq, 0, 0);
	cr_expect_not(virtqueue_flush(&vq));
	for (i = 1; i < 5; i++)
		virtqueue_push(&vq, i, 0);
	cr_expect(virtqueue_flush(&vq));
}

Test(virtqueue, interrupt_flag_without_event_idx)
{
	start_with(VIRTIO_F_VERSION_1_BIT);
	cr_expect(complete(0));
	put16(AVAIL, 1);
	cr_expect_not(complete(1));
	put16(AVAIL, 0);
	cr_expect(complete(2));
}

Test(virtqueue, notifications_with_event_idx)
{
	cr_expect_not(virtqueue_enable_notify(&vq));
	cr_expect_eq(get16(USED + 4 + 8 * SIZE), 0);
	simple(0);
	cr_expect(virtqueue_enable_notify(&vq), "it came before the wish was visible");
	cr_assert_eq(virtqueue_pop(&vq, &chain), 0);
	cr_expect_not(virtqueue_enable_notify(&vq));
	cr_expect_eq(get16(USED + 4 + 8 * SIZE), 1);
	virtqueue_disable_notify(&vq);
	cr_expect_eq(get16(USED), 0, "the flag is not used");
}

Test(virtqueue, notifications_without_event_idx)
{
	start_with(VIRTIO_F_VERSION_1_BIT);
	virtqueue_disable_notify(&vq);
	cr_expect_eq(get16(USED), 1);
	simple(0);
	cr_expect(virtqueue_enable_notify(&vq));
	cr_expect_eq(get16(USED), 0);
}

Test(virtqueue, continues_from_a_clean_page)
{
	struct virtqueue_setup s = setup();
	uint16_t i;

	for (i = 0; i < 3; i++)
		(void)!complete(i);
	s.resume = true;
	put16(AVAIL + 4 + 2 * SIZE, 1000);
	virtqueue_init(&vq, gm, &page);
	cr_assert_eq(virtqueue_enable(&vq, &s), 0);
	cr_expect_eq(virtqueue_pop(&vq, &chain), VIRTQUEUE_EMPTY);
	cr_expect(complete(3), "whether the last one was signalled is unknown");
	cr_expect_eq(get16(USED + 2), 4);
	cr_expect_not(complete(4));
}

/* A guest that rewrites its descriptors while they are being fetched. */
static bool over;

static void *flip(void *ctx)
{
	struct guest_memory *mem = ctx;
	struct virtqueue_descriptor good = { BUFFER, 64, WRITE, 0 };
	struct virtqueue_descriptor evil = { RAM - 8, 0xffffff00, WRITE | NEXT, 0xffff };
	struct virtqueue_descriptor inner = { RAM + 4096, 1u << 20, INDIRECT | NEXT, 700 };

	while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) {
		(void)!guest_memory_write(mem, gpa(DESC), &good, sizeof(good));
		(void)!guest_memory_write(mem, gpa(TABLE), &good, sizeof(good));
		(void)!guest_memory_write(mem, gpa(DESC), &evil, sizeof(evil));
		(void)!guest_memory_write(mem, gpa(TABLE), &inner, sizeof(inner));
		(void)!guest_memory_write(mem, gpa(DESC + 16), &inner, sizeof(inner));
	}
	return NULL;
}

Test(virtqueue, descriptors_that_change_while_they_are_read)
{
	struct virtqueue_setup s = setup();
	pthread_t thread;
	uint32_t i;

	cr_assert_eq(pthread_create(&thread, NULL, flip, gm), 0);
	for (i = 0; i < 200000; i++) {
		uint32_t j, sum = 0;
		uint16_t head = i % 3 == 2;

		if (head)
			desc(1, TABLE, 16, INDIRECT, 0);
		make_available(head);
		if (virtqueue_pop(&vq, &chain) == 0) {
			for (j = 0; j < chain.n_spans; j++)
				sum += span_len(&chain.spans[j]);
			cr_assert_leq(sum, chain.readable_len + chain.writable_len);
			for (j = 0; j < chain.n_spans; j++)
				cr_assert_eq(span_len(&chain.spans[j]) % 64, 0);
			virtqueue_push(&vq, head, 0);
			(void)!virtqueue_flush(&vq);
			continue;
		}
		virtqueue_disable(&vq);
		avail_idx = 0;
		put16(AVAIL + 2, 0);
		cr_assert_eq(virtqueue_enable(&vq, &s), 0);
	}
	__atomic_store_n(&over, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
}

Test(virtqueue, shown_is_visible_and_flush_decides_for_all)
{
	simple(0);
	simple(1);
	put16(AVAIL + 4 + 2 * SIZE, 0); /* used_event: interrupt after the first */
	cr_assert_eq(virtqueue_pop(&vq, &chain), 0);
	virtqueue_push(&vq, 0, 64);
	virtqueue_show(&vq);
	cr_expect_eq(get16(USED + 2), 1);
	cr_expect_eq(vq.n_in_flight, 0);
	cr_assert_eq(virtqueue_pop(&vq, &chain), 0);
	virtqueue_push(&vq, 1, 64);
	virtqueue_show(&vq);
	cr_expect_eq(get16(USED + 2), 2);
	cr_expect(virtqueue_flush(&vq), "the wish was passed by what was shown before");
	cr_expect_not(virtqueue_flush(&vq), "once");
}
