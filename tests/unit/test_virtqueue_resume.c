/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtqueue whose process dies between any two stores, and its successor. The queue's code is
 * built with crash points here; a death is a longjmp() out of one.
 */
#include "device-procs/common/virtqueue_journal.h"

#include <criterion/criterion.h>
#include <setjmp.h>
#include <string.h>

#define RAM (1u << 20)
#define SIZE 8u
#define DESC 0x1000u
#define AVAIL 0x2000u
#define USED 0x3000u
#define BUFFER 0x8000u
#define WRITE 2u
#define TOTAL 24u /* chains that the driver makes available in one run */
#define SECOND_CRASHES 60u

static struct guest_memory *gm;
static struct device_page_queue page;
static struct virtqueue vq;
static struct span spans[4];
static struct virtqueue_chain chain;

/* The driver: what it has made available, and what it saw come back. */
static struct {
	uint16_t avail_idx, used_idx;
	uint32_t n_submitted, n_completed;
	uint32_t submission[SIZE]; /* of the head, counted from 1; 0: it is the driver's */
} driver;

static jmp_buf death;
static unsigned stores_left; /* until the death; 0: never */

void virtqueue_crash_point(struct virtqueue *at)
{
	(void)at;
	if (stores_left > 0 && --stores_left == 0)
		longjmp(death, 1);
}

static struct virtqueue_setup setup(bool resume, bool is_concurrent)
{
	return (struct virtqueue_setup){
		.size = SIZE, .desc = DESC, .avail = AVAIL, .used = USED,
		.features = VIRTIO_F_EVENT_IDX_BIT | VIRTIO_F_VERSION_1_BIT,
		.resume = resume, .is_concurrent = is_concurrent,
	};
}

static void put(uint64_t at, const void *src, size_t n)
{
	cr_assert_eq(guest_memory_write(gm, gpa(at), src, n), 0);
}

static void put16(uint64_t at, uint16_t v)
{
	put(at, &v, sizeof(v));
}

static uint32_t get(uint64_t at, size_t n)
{
	uint32_t v = 0;

	cr_assert_eq(guest_memory_read(gm, gpa(at), &v, n), 0);
	return v;
}

static void submit(uint16_t head)
{
	struct virtqueue_descriptor d = { BUFFER + head * 64u, 64, WRITE, 0 };

	cr_assert_eq(driver.submission[head], 0);
	driver.submission[head] = ++driver.n_submitted;
	put(DESC + head * 16u, &d, sizeof(d));
	put16(AVAIL + 4 + 2u * (driver.avail_idx % SIZE), head);
	put16(AVAIL + 2, ++driver.avail_idx);
}

/* Takes what came back, once each, and makes as much available again. */
static void drive(void)
{
	while (driver.used_idx != (uint16_t)get(USED + 2, 2)) {
		uint64_t at = USED + 4 + 8u * (driver.used_idx++ % SIZE);
		uint32_t head = get(at, 4);

		cr_assert_lt(head, SIZE);
		cr_assert_neq(driver.submission[head], 0, "head %u completed twice", head);
		cr_assert_eq(get(at + 4, 4), head + 1);
		driver.submission[head] = 0;
		driver.n_completed++;
		if (driver.n_submitted < TOTAL)
			submit((uint16_t)head);
	}
}

static void begin(bool is_concurrent, uint32_t n)
{
	static const struct guest_region region = { 0, RAM };
	struct virtqueue_setup s = setup(false, is_concurrent);

	gm = guest_memory_free(gm);
	cr_assert_eq(guest_memory_create(&region, 1, false, false, &gm), 0);
	memset(&page, 0, sizeof(page));
	memset(&driver, 0, sizeof(driver));
	chain = (struct virtqueue_chain){ .spans = spans, .n_spans_max = 4 };
	stores_left = 0;
	virtqueue_init(&vq, gm, &page);
	cr_assert_eq(virtqueue_enable(&vq, &s), 0);
	for (uint16_t i = 0; i < n; i++)
		submit(i);
}

static void start(void)
{
	begin(true, 6);
}

static void stop(void)
{
	gm = guest_memory_free(gm);
}

TestSuite(virtqueue_resume, .init = start, .fini = stop, .timeout = 120);

static int resume(bool is_concurrent)
{
	struct virtqueue_setup s = setup(true, is_concurrent);

	virtqueue_init(&vq, gm, &page);
	return virtqueue_enable(&vq, &s);
}

/* The predecessor of each dies with what it has in hand. */
static void succeed(void)
{
	cr_assert_eq(resume(true), 0);
}

static void pop(uint16_t head)
{
	cr_assert_eq(virtqueue_pop(&vq, &chain), 0);
	cr_assert_eq(chain.head, head);
}

static void complete(uint16_t head)
{
	virtqueue_push(&vq, head, head + 1u);
	(void)!virtqueue_flush(&vq);
	drive();
}

/* --- a death between any two stores --- */

/* One turn of a device that takes some chains, gives one back, and finishes some, last first. */
static bool turn(unsigned n)
{
	uint16_t heads[SIZE];
	uint32_t last = 0, n_heads = 0;

	while (n_heads < 1 + n % 4 && virtqueue_pop(&vq, &chain) == 0) {
		cr_assert_not(chain.is_poisoned);
		cr_assert_neq(driver.submission[chain.head], 0, "popped twice");
		if (chain.is_replayed)
			cr_assert_gt(driver.submission[chain.head], last, "not in order");
		last = chain.is_replayed ? driver.submission[chain.head] : 0;
		heads[n_heads++] = chain.head;
	}
	if (n_heads > 1 && n % 3 == 0)
		virtqueue_unpop(&vq, heads[--n_heads]);
	for (uint32_t i = n_heads; i > 0; i--) {
		virtqueue_push(&vq, heads[i - 1], heads[i - 1] + 1u);
		if (i == n_heads && n % 2 == 0)
			virtqueue_show(&vq);
	}
	(void)!virtqueue_flush(&vq);
	drive();
	return n_heads > 0;
}

/*
 * The whole life: the first process dies after @first stores, the second after @second, the third
 * finishes. Return: how many of them died.
 */
static unsigned live(unsigned first, unsigned second, bool is_concurrent)
{
	const unsigned stores[] = { first, second, 0 };
	volatile unsigned n_deaths = 0;
	volatile unsigned n = 0;

	begin(is_concurrent, SIZE - 1);
	if (setjmp(death) != 0)
		n_deaths++;
	stores_left = stores[n_deaths];
	if (n_deaths > 0)
		cr_assert_eq(resume(is_concurrent), 0, "after %u and %u stores", first, second);
	drive();
	while (turn(n))
		n++;
	cr_assert_eq(driver.n_completed, TOTAL, "after %u and %u stores: %u", first, second,
		     driver.n_completed);
	cr_assert_eq(vq.n_in_flight, 0);
	return n_deaths;
}

static void die_everywhere(bool is_concurrent)
{
	unsigned first, second;

	for (first = 1; live(first, 0, is_concurrent) == 1; first++) {
		for (second = 1; second <= SECOND_CRASHES; second++)
			(void)live(first, second, is_concurrent);
	}
	cr_assert_gt(first, TOTAL * 5, "only %u stores", first);
}

Test(virtqueue_resume, dies_between_any_two_stores)
{
	die_everywhere(false);
}

Test(virtqueue_resume, dies_between_any_two_stores_when_concurrent)
{
	die_everywhere(true);
}

/* --- what is handed out again, and when --- */

Test(virtqueue_resume, replays_oldest_first_then_new_ones)
{
	pop(0);
	pop(1);
	pop(2);
	pop(3);
	complete(1); /* submits it again, behind the others */
	succeed();
	pop(0);
	cr_expect(chain.is_replayed);
	cr_expect_not(chain.is_poisoned);
	cr_expect_eq(chain.n_spans, 1);
	pop(2);
	pop(3);
	cr_expect_eq(vq.n_in_flight, 3);
	cr_expect_eq(virtqueue_pop(&vq, &chain), VIRTQUEUE_EMPTY, "new ones wait");
	cr_expect_not(virtqueue_has_more(&vq));
	cr_expect_not(virtqueue_enable_notify(&vq));
	complete(3);
	complete(0);
	cr_expect_not(virtqueue_is_open_again(&vq));
	complete(2);
	cr_expect(virtqueue_is_open_again(&vq));
	cr_expect_not(virtqueue_is_open_again(&vq), "once");
	cr_expect(virtqueue_has_more(&vq));
	pop(4);
	cr_expect_not(chain.is_replayed);
}

Test(virtqueue_resume, serial_device_need_not_finish_replayed_ones_first)
{
	begin(false, 4);
	pop(0);
	cr_assert_eq(resume(false), 0);
	pop(0);
	pop(1);
	cr_expect_not(chain.is_replayed);
}

Test(virtqueue_resume, driver_changed_a_chain_in_flight)
{
	struct virtqueue_descriptor d = { RAM, 64, WRITE, 0 };

	pop(0);
	pop(1);
	put(DESC, &d, sizeof(d));
	d.flags = 1;
	d.next = SIZE;
	put(DESC + 16, &d, sizeof(d));
	succeed();
	pop(0);
	cr_expect(chain.is_bad);
	cr_expect_eq(virtqueue_pop(&vq, &chain), VIRTQUEUE_BROKEN);
}

Test(virtqueue_resume, head_in_flight_cannot_be_made_available_again)
{
	pop(0);
	succeed();
	pop(0);
	complete(0);
	succeed();
	pop(1);
	succeed();
	driver.submission[1] = 0;
	submit(1);
	pop(1);
	complete(1);
	for (uint16_t i = 2; i < 6; i++) {
		pop(i);
		complete(i);
	}
	pop(0);
	complete(0);
	pop(1);
}

Test(virtqueue_resume, first_flush_interrupts)
{
	put16(AVAIL, 1); /* no interrupts, if EVENT_IDX were off */
	put16(AVAIL + 4 + 2 * SIZE, 1000);
	pop(0);
	succeed();
	pop(0);
	virtqueue_push(&vq, 0, 1);
	cr_expect(virtqueue_flush(&vq));
}

Test(virtqueue_resume, queue_that_was_not_begun_begins)
{
	page.size = 0;
	page.next_avail = 77;
	page.journal[3] = 99;
	succeed();
	pop(0);
	cr_expect_not(chain.is_replayed);
	cr_expect_eq(page.size, SIZE);
	cr_expect_eq(vq.next_avail, 1);
}

/* --- chains that kill --- */

Test(virtqueue_resume, third_death_poisons_the_chain_and_no_other)
{
	/* Each process takes what it gets; chain 2 kills it. */
	unsigned n_deaths = 0;

	for (;;) {
		int r = virtqueue_pop(&vq, &chain);

		if (r == VIRTQUEUE_EMPTY) {
			cr_assert(virtqueue_is_open_again(&vq) || driver.n_completed == TOTAL);
			if (driver.n_completed == TOTAL)
				break;
			continue;
		}
		cr_assert_eq(r, 0);
		if (driver.submission[chain.head] == 3 && !chain.is_poisoned) {
			n_deaths++;
			succeed();
			continue;
		}
		cr_assert_eq(chain.is_poisoned, driver.submission[chain.head] == 3);
		complete(chain.head);
	}
	cr_expect_eq(n_deaths, VIRTQUEUE_DEATHS_MAX);
}

Test(virtqueue_resume, kill_from_outside_is_nobodys_fault)
{
	struct virtqueue_setup s = setup(true, true);

	s.is_blameless = true;
	pop(0);
	pop(1);
	for (unsigned i = 0; i < 2 * VIRTQUEUE_DEATHS_MAX; i++) {
		virtqueue_init(&vq, gm, &page);
		cr_assert_eq(virtqueue_enable(&vq, &s), 0);
		pop(0);
		pop(1);
		cr_expect(chain.is_replayed);
		cr_expect_not(chain.is_poisoned);
		virtqueue_unpop(&vq, 1);
		cr_expect_eq(page.deaths[1], 0);
		pop(1);
	}
	succeed();
	pop(0); /* the first death that counts */
	cr_expect_eq(page.deaths[0], 1);
	virtqueue_init(&vq, gm, &page);
	cr_assert_eq(virtqueue_enable(&vq, &s), 0);
	pop(0);
	cr_expect_eq(page.deaths[0], 1, "what was counted stays counted");
}

Test(virtqueue_resume, suspects_go_one_at_a_time)
{
	pop(0);
	pop(1);
	pop(2);
	succeed();
	pop(0);
	pop(1); /* both in hand at the second death */
	succeed();
	pop(0);
	cr_expect_eq(virtqueue_pop(&vq, &chain), VIRTQUEUE_EMPTY);
	cr_expect_eq(page.deaths[0], 2);
	cr_expect_eq(page.deaths[1], 1);
	complete(0);
	cr_expect_eq(page.deaths[0], 0);
	cr_expect(virtqueue_is_open_again(&vq));
	pop(1);
	cr_expect_eq(virtqueue_pop(&vq, &chain), VIRTQUEUE_EMPTY);
	complete(1);
	pop(2);
	cr_expect_eq(page.deaths[2], 1, "it was in nobody's hand at the second death");
}

Test(virtqueue_resume, deaths_are_capped)
{
	pop(0);
	succeed();
	page.deaths[0] = 255;
	pop(0);
	cr_expect(chain.is_poisoned);
	cr_expect_eq(page.deaths[0], 255);
}

Test(virtqueue_resume, replacement_with_nothing_in_flight_counts_nothing)
{
	pop(0);
	complete(0);
	succeed();
	succeed();
	pop(1);
	cr_expect_not(chain.is_replayed);
	for (uint32_t i = 0; i < SIZE; i++)
		cr_expect_eq(page.deaths[i], 0);
}

/* --- unpop --- */

Test(virtqueue_resume, unpop_gives_back)
{
	struct device_page_queue before = page;

	pop(0);
	virtqueue_unpop(&vq, 0);
	cr_expect_eq(memcmp(&before, &page, sizeof(page)), 0);
	cr_expect_eq(vq.n_in_flight, 0);
	cr_expect(virtqueue_has_more(&vq));
	virtqueue_unpop(&vq, 0); /* our own bug: ignored */
	virtqueue_unpop(&vq, SIZE);
	pop(0);
	complete(0);
	cr_expect_eq(driver.n_completed, 1);
}

Test(virtqueue_resume, unpop_gives_a_replayed_one_back)
{
	struct device_page_queue before;

	pop(0);
	pop(1);
	succeed();
	before = page;
	pop(0);
	virtqueue_unpop(&vq, 0);
	cr_expect_eq(memcmp(&before, &page, sizeof(page)), 0);
	cr_expect_eq(vq.n_in_flight, 0);
	pop(0);
	cr_expect(chain.is_replayed);
	pop(1);
}

/* The page has counted the fetch that is taken back. */
Test(virtqueue_resume, unpop_after_a_show_dies_between_its_stores)
{
	for (volatile unsigned n = 1; n <= 2; n++) {
		begin(true, 2);
		pop(0);
		virtqueue_push(&vq, 0, 1);
		pop(1);
		virtqueue_show(&vq);
		cr_assert_eq(page.next_avail, 2);
		if (setjmp(death) == 0) {
			stores_left = n;
			virtqueue_unpop(&vq, 1);
			cr_assert_fail("it lives after %u stores", n);
		}
		cr_assert_eq(resume(true), 0, "after %u stores", n);
		pop(1);
		cr_expect_eq(chain.is_replayed, n == 1);
	}
}

/* --- forged pages --- */

/* One published, one done but unseen, three in flight: 0, 1; 2; 3, 4, 5. */
static void leave_work(void)
{
	pop(0);
	pop(1);
	complete(0);
	complete(1);
	pop(2);
	pop(3);
	pop(4);
	pop(5);
	virtqueue_push(&vq, 2, 3);
}

#define FETCHED(seq) ((uint64_t)JOURNAL_FETCHED << 62 | (seq))
#define DONE(slot) ((uint64_t)JOURNAL_DONE << 62 | (slot))

static void refuse(const char *what)
{
	struct device_page_queue before = page;

	cr_expect_eq(resume(true), VIRTQUEUE_BAD_JOURNAL, "%s", what);
	cr_expect_not(virtqueue_is_enabled(&vq), "%s", what);
	cr_expect_eq(memcmp(&before, &page, sizeof(page)), 0, "%s: changed", what);
}

#define REFUSE(statement)                                                                         \
	do {                                                                                      \
		page = good;                                                                      \
		statement;                                                                        \
		refuse(#statement);                                                               \
	} while (0)

Test(virtqueue_resume, forged_pages_are_refused)
{
	struct device_page_queue good;

	leave_work();
	good = page;
	cr_assert_eq(good.next_avail, 2);
	cr_assert_eq(good.journal[1], DONE(1));
	cr_assert_eq(good.journal[2], DONE(2));
	cr_assert_eq(good.journal[3], FETCHED(3));
	REFUSE(page.size = 16);
	REFUSE(page.size = SIZE | 1u << 31);
	REFUSE(page.size = 1);
	REFUSE(page.next_avail--);
	REFUSE(page.next_avail = 0);
	REFUSE(page.next_avail = 7);
	REFUSE(page.next_avail = UINT64_MAX);
	REFUSE(page.next_avail = JOURNAL_REST_MASK);
	REFUSE(page.next_avail += 1u << 16);
	REFUSE(page.used_commit++);
	REFUSE(page.used_commit = 3; page.next_avail = 7);
	REFUSE(page.used_commit = UINT64_MAX);
	REFUSE(page.used_commit += UINT64_C(1) << 62);
	REFUSE(page.used_commit = page.next_avail = UINT64_C(1) << 61);
	REFUSE(page.journal[2] = 0);
	REFUSE(page.journal[3] = 0);
	REFUSE(page.journal[3] = 1);
	REFUSE(page.journal[3] = UINT64_C(3) << 62);
	REFUSE(page.journal[3] = UINT64_MAX);
	REFUSE(page.journal[3] = FETCHED(4));
	REFUSE(page.journal[3] = FETCHED(6));
	REFUSE(page.journal[3] = FETCHED(JOURNAL_REST_MASK));
	REFUSE(page.journal[3] = DONE(1));
	REFUSE(page.journal[0] = FETCHED(0));
	REFUSE(page.journal[0] = FETCHED(6); page.journal[1] = FETCHED(6));
	REFUSE(page.journal[7] = 5);
	REFUSE(page.journal[2] = DONE(1));
	REFUSE(page.journal[2] = DONE(3));
	REFUSE(page.journal[2] = DONE(2 + SIZE));
	REFUSE(page.journal[2] = DONE(JOURNAL_REST_MASK));
	REFUSE(page.journal[0] = DONE(2));
	REFUSE(page.journal[0] = DONE(4));
	REFUSE(page.journal[SIZE] = FETCHED(1));
	REFUSE(page.journal[DEVICE_QUEUE_SIZE_MAX - 1] = 1);
	page = good;
	cr_expect_eq(resume(true), 0);
}

/* Any three words at random: refused, or something that ends; under the sanitizers, too. */
Test(virtqueue_resume, random_pages_do_no_harm)
{
	struct device_page_queue good;
	uint64_t random = 1;
	unsigned n_taken = 0;

	leave_work();
	good = page;
	for (unsigned i = 0; i < 20000; i++) {
		page = good;
		for (unsigned k = 0; k < 3; k++) {
			uint64_t v;

			random = random * 6364136223846793005u + 1442695040888963407u;
			v = (random >> 20 & 15) | (random & UINT64_C(3) << 62);
			((uint64_t *)&page)[(random >> 40) % (8 + SIZE)] = v;
			page.size = random >> 60 ? SIZE : (uint32_t)v;
		}
		if (resume(true) != 0)
			continue;
		n_taken++;
		for (unsigned k = 0; k < 3 * SIZE && virtqueue_pop(&vq, &chain) == 0; k++)
			virtqueue_push(&vq, chain.head, 1);
		(void)!virtqueue_flush(&vq);
	}
	cr_expect_gt(n_taken, 0);
}
