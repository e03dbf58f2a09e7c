/* SPDX-License-Identifier: Apache-2.0 */
/* What the evil disk does to the memory and the eventfds that it was given. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "evil.h"
#include "ipc/clock.h"

#define STORM_MS 3000

/* What must not work does: say so, which no test expects. */
static enum evil_next succeeded(struct evil *e, const char *what)
{
	struct message m = { .type = MESSAGE_DEVICE_FAILED };

	(void)snprintf(m.failed.text, sizeof(m.failed.text), "BREACH: %s", what);
	evil_send(e, &m, NULL, 0);
	evil_stay();
}

/* ---- the device page ---- */

static enum evil_next act_page_ones(struct evil *e)
{
	memset(e->page, 0xff, device_page_size(EVIL_PAGE_SHAPE));
	return NEXT_GO_ON;
}

static enum evil_next act_page_zero(struct evil *e)
{
	memset(e->page, 0, device_page_size(EVIL_PAGE_SHAPE));
	return NEXT_GO_ON;
}

static enum evil_next act_page_log(struct evil *e)
{
	struct device_page_log *log = &e->page->log;

	/* Numbers that fit their slots, lengths far beyond the line, bytes that are no text. */
	memset(log->records, 0x9b, sizeof(log->records));
	for (uint32_t i = 0; i < DEVICE_LOG_RECORDS; i++) {
		log->records[i].seq = i + 1;
		log->records[i].level = 0xffff;
		log->records[i].len = 0xffff;
	}
	__atomic_store_n(&log->next_seq, DEVICE_LOG_RECORDS + 1, __ATOMIC_RELEASE);
	return NEXT_GO_ON;
}

static uint32_t noise(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state;
}

/* Everything at once, without end, while the disk works. */
static void *page_race(void *argument)
{
	struct evil *e = argument;
	volatile uint32_t *words = (volatile uint32_t *)(void *)e->page;
	uint32_t state = 1, n = (uint32_t)(DEVICE_PAGE_QUEUES_OFFSET / sizeof(*words));

	for (;;) {
		words[noise(&state) % n] = noise(&state);
		e->page->header.interrupt_status = noise(&state);
		e->page->log.next_seq += noise(&state) % 40;
		e->page->log.records[noise(&state) % DEVICE_LOG_RECORDS].seq =
			e->page->log.next_seq - noise(&state) % 40;
		if (noise(&state) % 1024 == 0)
			(void)usleep(100);
	}
	return NULL;
}

/* A whole ring of true records at every moment. */
static void *log_flood(void *argument)
{
	struct evil *e = argument;

	for (;;) {
		for (int i = 0; i < 16; i++)
			device_page_log_write(e->page, LOG_LEVEL_ERROR, "evil: flood");
		(void)usleep(1000);
	}
	return NULL;
}

/* ---- interrupts ---- */

static void *storm(void *argument)
{
	struct evil *e = argument;
	uint64_t deadline = clock_now_ms() + STORM_MS, one = 1;

	while (clock_now_ms() < deadline) {
		device_page_raise(e->page, DEVICE_INTERRUPT_QUEUE);
		if (write(e->call_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
			break;
	}
	return NULL;
}

static enum evil_next in_thread(struct evil *e, void *(*run)(void *))
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, run, e) != 0)
		evil_die("thread");
	return NEXT_GO_ON;
}

static enum evil_next act_page_race(struct evil *e)
{
	return in_thread(e, page_race);
}

static enum evil_next act_log_flood(struct evil *e)
{
	return in_thread(e, log_flood);
}

static enum evil_next act_storm(struct evil *e)
{
	return in_thread(e, storm);
}

/*
 * The core writes to the same eventfd where KVM drains it at once, and must not wait where it is
 * full. Where KVM does not, because no vector is unmasked, only we could wait: so fill it first.
 */
static enum evil_next act_call_full(struct evil *e)
{
	uint64_t most = UINT64_MAX - 1;

	for (int i = 0; i < 1000; i++)
		if (write(e->call_fd, &most, sizeof(most)) < 0)
			break;
	(void)fcntl(e->call_fd, F_SETFL, 0);
	return NEXT_GO_ON;
}

/* The guest kicks into a full eventfd. */
static enum evil_next act_kick_full(struct evil *e)
{
	uint64_t most = UINT64_MAX - 1;

	if (write(e->kick_fd, &most, sizeof(most)) < 0 && errno != EAGAIN)
		evil_die("kick");
	return NEXT_GO_ON;
}

/* ---- guest memory and the page as files ---- */

static enum evil_next change_file(struct evil *e, int fd)
{
	static const uint64_t sizes[] = { 0, 4096, UINT64_C(1) << 40 };

	for (size_t i = 0; i < 3; i++)
		if (ftruncate(fd, (off_t)sizes[i]) == 0)
			return succeeded(e, "ftruncate");
	if (fallocate(fd, 0, 1 << 30, 1 << 20) == 0)
		return succeeded(e, "fallocate beyond the end");
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == 0)
		return succeeded(e, "F_SEAL_WRITE");
	return NEXT_GO_ON;
}

static enum evil_next act_ram_file(struct evil *e)
{
	return change_file(e, e->ram_fd);
}

static enum evil_next act_page_file(struct evil *e)
{
	return change_file(e, e->page_fd);
}

/* A hole in the page gives zeroes to the core, and the mapping stays. */
static enum evil_next act_page_punch(struct evil *e)
{
	if (fallocate(e->page_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
		      (off_t)device_page_size(EVIL_PAGE_SHAPE)) != 0)
		evil_die("punch");
	return NEXT_GO_ON;
}

/* High in RAM, where this guest keeps nothing. */
static enum evil_next act_ram_punch(struct evil *e)
{
	if (fallocate(e->ram_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 48 << 20,
		      4 << 20) != 0)
		evil_die("punch");
	return NEXT_GO_ON;
}

static enum evil_next act_ram_exec(struct evil *e)
{
	void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED, e->ram_fd, 0);

	return at != MAP_FAILED ? succeeded(e, "executable guest memory") : NEXT_GO_ON;
}

const struct evil_action evil_page_actions[] = {
	{ "page-ones", act_page_ones, true },
	{ "page-zero", act_page_zero, true },
	{ "page-log", act_page_log, true },
	{ "page-race", act_page_race, true },
	{ "page-file", act_page_file, true },
	{ "page-punch", act_page_punch, true },
	{ "log-flood", act_log_flood, true },
	{ "storm", act_storm, true },
	{ "call-full", act_call_full, true },
	{ "kick-full", act_kick_full, true },
	{ "ram-file", act_ram_file, true },
	{ "ram-punch", act_ram_punch, true },
	{ "ram-exec", act_ram_exec, true },
	{ 0 },
};
