/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "ipc/device_page.h"
#include "ipc/shared_memory.h"
#include "open_fds.h"

#define SHAPE(n) ((struct device_page_shape){ .n_queues = (n) })

static struct device_page *page;
static int page_fd;
static uint32_t cursor;
static enum log_level level;
static char line[LOG_LINE_MAX];

static void make_page(void)
{
	cr_assert_eq(device_page_create(SHAPE(2), &page, &page_fd), 0);
}

static bool next_line(void)
{
	return device_page_log_read(page, &cursor, &level, line);
}

static void write_number(unsigned i)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "line %u", i);
	device_page_log_write(page, LOG_LEVEL_INFO, text);
}

TestSuite(device_page, .init = make_page);

Test(device_page, new_page_is_stamped_and_empty)
{
	cr_assert_eq(page->header.magic, DEVICE_PAGE_MAGIC);
	cr_assert_eq(page->header.n_queues, 2);
	cr_assert_eq(device_page_interrupts(page), 0);
	cr_assert_eq(page->queues[1].size, 0);
	cr_assert_eq(page->queues[1].journal[DEVICE_QUEUE_SIZE_MAX - 1], 0);
	cr_assert_not(next_line());
	cr_assert_eq(shared_memory_check(page_fd, device_page_size(SHAPE(2))), 0);
	cr_assert_eq(device_page_size(SHAPE(2)) % 4096, 0);
}

Test(device_page, size_covers_every_queue)
{
	for (uint32_t n = 1; n <= DEVICE_QUEUES_MAX; n++) {
		cr_assert_geq(device_page_size(SHAPE(n)), DEVICE_PAGE_QUEUES_OFFSET +
							   n * sizeof(struct device_page_queue));
		cr_assert_lt(device_page_size(SHAPE(n)), DEVICE_PAGE_QUEUES_OFFSET + 4096 +
							  n * sizeof(struct device_page_queue));
	}
}

Test(device_page, device_maps_the_same_page)
{
	struct device_page *mine = NULL;

	cr_assert_eq(device_page_map(page_fd, SHAPE(2), &mine), 0);
	page->header.generation = 7;
	cr_assert_eq(mine->header.generation, 7);
	cr_assert_null(device_page_unmap(mine, SHAPE(2)));
	cr_assert_null(device_page_unmap(NULL, SHAPE(2)));
}

Test(device_page, map_refuses_what_does_not_fit)
{
	struct device_page *mine = NULL;
	cleanup_fd int other = shared_memory_create("other", device_page_size(SHAPE(2)), 0);
	unsigned before = open_fds();

	cr_assert_eq(device_page_map(page_fd, SHAPE(1), &mine), -EINVAL);
	cr_assert_eq(device_page_map(page_fd, SHAPE(3), &mine), -EINVAL);
	cr_assert_eq(device_page_map(page_fd, SHAPE(0), &mine), -EINVAL);
	cr_assert_eq(device_page_map(page_fd, SHAPE(DEVICE_QUEUES_MAX + 1), &mine), -EINVAL);
	cr_assert_eq(device_page_map(other, SHAPE(2), &mine), -EINVAL); /* no magic */
	page->header.version++;
	cr_assert_eq(device_page_map(page_fd, SHAPE(2), &mine), -EINVAL);
	page->header.version--;
	page->header.n_queues = 1;
	cr_assert_eq(device_page_map(page_fd, SHAPE(2), &mine), -EINVAL);
	cr_assert_null(mine);
	cr_assert_eq(open_fds(), before);
}

Test(device_page, create_refuses_bad_counts)
{
	struct device_page *p = NULL;
	int fd = -1;

	cr_assert_eq(device_page_create(SHAPE(0), &p, &fd), -EINVAL);
	cr_assert_eq(device_page_create(SHAPE(DEVICE_QUEUES_MAX + 1), &p, &fd), -EINVAL);
	cr_assert_eq(fd, -1);
}

Test(device_page, interrupts_are_raised_and_acknowledged)
{
	device_page_raise(page, DEVICE_INTERRUPT_QUEUE);
	device_page_raise(page, DEVICE_INTERRUPT_CONFIG);
	cr_assert_eq(device_page_interrupts(page), 3);
	device_page_acknowledge(page, DEVICE_INTERRUPT_QUEUE);
	cr_assert_eq(device_page_interrupts(page), DEVICE_INTERRUPT_CONFIG);
	device_page_acknowledge(page, UINT32_MAX);
	cr_assert_eq(device_page_interrupts(page), 0);
}

Test(device_page, undefined_interrupt_bits_are_not_seen)
{
	page->header.interrupt_status = UINT32_MAX;
	cr_assert_eq(device_page_interrupts(page), 3);
}

Test(device_page, counters_count)
{
	device_page_count(page, DEVICE_COUNTER_READS, 2);
	device_page_count(page, DEVICE_COUNTER_READS, 3);
	cr_assert_eq(page->header.counters[DEVICE_COUNTER_READS], 5);
	for (unsigned c = 0; c < DEVICE_COUNTER_N_; c++)
		cr_assert_not_null(device_page_counter_name(c));
	cr_assert_str_eq(device_page_counter_name(DEVICE_COUNTER_BAD_REQUESTS), "bad_requests");
	cr_assert_null(device_page_counter_name(DEVICE_COUNTER_N_));
}

Test(device_page, log_lines_come_in_order)
{
	device_page_log_write(page, LOG_LEVEL_WARNING, "one");
	device_page_log_write(page, LOG_LEVEL_DEBUG, "");
	cr_assert(next_line());
	cr_assert_str_eq(line, "one");
	cr_assert_eq(level, LOG_LEVEL_WARNING);
	cr_assert(next_line());
	cr_assert_str_eq(line, "");
	cr_assert_not(next_line());
	cr_assert_eq(cursor, 2);
}

Test(device_page, log_wraps_and_keeps_the_newest)
{
	unsigned n = 0;

	for (unsigned i = 1; i <= 3 * DEVICE_LOG_RECORDS + 5; i++)
		write_number(i);
	for (unsigned i = 2 * DEVICE_LOG_RECORDS + 6; next_line(); i++, n++) {
		char expected[32];

		(void)snprintf(expected, sizeof(expected), "line %u", i);
		cr_assert_str_eq(line, expected);
	}
	cr_assert_eq(n, DEVICE_LOG_RECORDS);
	cr_assert_eq(cursor, 3 * DEVICE_LOG_RECORDS + 5);
}

Test(device_page, log_survives_the_wrap_of_its_numbers)
{
	page->log.next_seq = UINT32_MAX - 1;
	cursor = UINT32_MAX - 2;
	for (unsigned i = 0; i < 5; i++)
		write_number(i);
	for (unsigned i = 0; i < 5; i++) {
		cr_assert(next_line());
		cr_assert_eq(line[5], (char)('0' + i));
	}
	cr_assert_not(next_line());
}

Test(device_page, torn_record_is_skipped)
{
	for (unsigned i = 1; i <= 3; i++)
		write_number(i);
	page->log.records[1].seq = 0; /* being overwritten */
	cr_assert(next_line());
	cr_assert_str_eq(line, "line 1");
	cr_assert(next_line());
	cr_assert_str_eq(line, "line 3");
	cr_assert_not(next_line());
}

Test(device_page, log_written_by_a_hostile_device)
{
	struct device_page_log_record *r = &page->log.records[0];

	device_page_log_write(page, LOG_LEVEL_INFO, "a\x1b[2J\n\xff\x7f");
	r->level = 500;
	cr_assert(next_line());
	cr_assert_str_eq(line, "a?[2J???");
	cr_assert_eq(level, LOG_LEVEL_ERROR);
	cursor = 0;
	r->len = UINT16_MAX;
	memset(r->line, 'x', sizeof(r->line));
	cr_assert(next_line());
	cr_assert_eq(strlen(line), LOG_LINE_MAX - 1);
}

Test(device_page, hostile_numbers_end_each_turn)
{
	static const uint32_t next[] = { 0, 1, 2, 33, UINT32_MAX, 0x80000000u, 7 };

	for (unsigned i = 0; i < ARRAY_LEN(next); i++) {
		unsigned n = 0;

		page->log.next_seq = next[i];
		for (unsigned s = 0; s < DEVICE_LOG_RECORDS; s++)
			page->log.records[s].seq = next[i] - 1 - s;
		while (next_line())
			n++;
		cr_assert_leq(n, DEVICE_LOG_RECORDS);
		cr_assert_eq(cursor, next[i] - 1);
	}
}

Test(device_page, long_line_is_cut)
{
	static char longest[1000];

	memset(longest, 'y', sizeof(longest) - 1);
	device_page_log_write(page, LOG_LEVEL_INFO, longest);
	cr_assert(next_line());
	cr_assert_eq(strlen(line), LOG_LINE_MAX - 1);
}

#define RACE_LINES 200000u

static void *write_many(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < RACE_LINES; i++) {
		char text[LOG_LINE_MAX] = "";

		memset(text, 'a' + (int)(i % 26), 1 + i % (LOG_LINE_MAX - 1));
		device_page_log_write(page, LOG_LEVEL_INFO, text);
	}
	return NULL;
}

Test(device_page, lines_are_whole_while_another_process_writes)
{
	uint32_t previous = 0;
	pthread_t writer;

	cr_assert_eq(pthread_create(&writer, NULL, write_many, NULL), 0);
	while (cursor < RACE_LINES) {
		if (!next_line())
			continue;
		cr_assert_gt(cursor, previous);
		previous = cursor;
		/* Record s was written with i = s - 1. */
		cr_assert_eq(strlen(line), 1 + (cursor - 1) % (LOG_LINE_MAX - 1));
		for (const char *c = line; *c != '\0'; c++)
			cr_assert_eq(*c, (char)('a' + (cursor - 1) % 26));
	}
	cr_assert_eq(pthread_join(writer, NULL), 0);
}

Test(device_page, own_state_lies_behind_the_queues)
{
	struct device_page_shape shape = { .n_queues = 2, .state_size = 5000 };
	struct device_page *mine = NULL, *theirs = NULL;
	cleanup_fd int fd = -1;
	uint8_t *state;

	cr_assert_eq(device_page_create(shape, &mine, &fd), 0);
	cr_assert_eq(device_page_size(shape), device_page_size(SHAPE(2)) + 8192);
	state = device_page_state(mine, shape);
	cr_assert_geq(state, (uint8_t *)&mine->queues[2]);
	for (uint32_t i = 0; i < shape.state_size; i++)
		cr_assert_eq(state[i], 0);
	state[4999] = 7;
	cr_assert_eq(device_page_map(fd, SHAPE(2), &theirs), -EINVAL);
	shape.state_size++;
	cr_assert_eq(device_page_map(fd, shape, &theirs), -EINVAL);
	shape.state_size--;
	cr_assert_eq(device_page_map(fd, shape, &theirs), 0);
	cr_assert_eq(((uint8_t *)device_page_state(theirs, shape))[4999], 7);
	cr_assert_null(device_page_unmap(theirs, shape));
	cr_assert_null(device_page_unmap(mine, shape));
	cr_assert_null(device_page_state(page, SHAPE(2)));
	shape.state_size = DEVICE_STATE_MAX + 1;
	cr_assert_eq(device_page_create(shape, &mine, &fd), -EINVAL);
}
