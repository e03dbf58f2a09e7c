/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device page; see device_page.h. The core's functions (interrupts, acknowledge, log_read)
 * read what a hostile device process may write at the same moment: each word is loaded once,
 * atomically, and checked after the load.
 *
 * Log ring: the device marks a slot as empty (seq 0), fills it, stores the record's number and
 * then publishes it in next_seq. The reader takes a copy only if the slot shows the wanted number
 * before and after copying; everything else was overwritten meanwhile and is skipped.
 */
#include "ipc/device_page.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "ipc/shared_memory.h"

/* Two processes of different builds meet here: the layout is part of DEVICE_PAGE_VERSION. */
static_assert(sizeof(struct device_page_header) == 640, "header");
static_assert(offsetof(struct device_page_header, interrupt_status) == 16, "header");
static_assert(offsetof(struct device_page_header, state_size) == 20, "header");
static_assert(offsetof(struct device_page_header, heartbeat) == 24, "header");
static_assert(offsetof(struct device_page_header, counters) == 128, "header");
static_assert(DEVICE_COUNTER_N_ <= DEVICE_COUNTERS_MAX, "counters");
static_assert(sizeof(struct device_page_log_record) == 8 + LOG_LINE_MAX, "log");
static_assert(offsetof(struct device_page_log_record, line) == 8, "log");
static_assert(sizeof(struct device_page_log) == 64 + DEVICE_LOG_RECORDS * (8 + LOG_LINE_MAX),
	      "log");
static_assert(offsetof(struct device_page_log, records) == 64, "log");
static_assert(offsetof(struct device_page_queue, used_commit) == 8, "queue");
static_assert(offsetof(struct device_page_queue, size) == 16, "queue");
static_assert(offsetof(struct device_page_queue, journal) == 64, "queue");
static_assert(offsetof(struct device_page_queue, deaths) == 64 + 8 * DEVICE_QUEUE_SIZE_MAX,
	      "queue");
static_assert(sizeof(struct device_page_queue) == 64 + 9 * DEVICE_QUEUE_SIZE_MAX, "queue");
static_assert(offsetof(struct device_page, log) == DEVICE_PAGE_LOG_OFFSET, "page");
static_assert(offsetof(struct device_page, queues) == DEVICE_PAGE_QUEUES_OFFSET, "page");
static_assert(DEVICE_PAGE_QUEUES_OFFSET % 64 == 0 && sizeof(struct device_page_queue) % 64 == 0,
	      "every queue starts on its own cache line");
/* A journal word keeps its state in bits 62..63. */
static_assert(JOURNAL_FREE == 0, "a new page says: nothing in flight");
static_assert(JOURNAL_FETCHED < 4 && JOURNAL_DONE < 4, "journal word");
static_assert(sizeof(((struct device_page_queue *)0)->journal[0]) == 8, "journal word");

#define PAGE_BYTES 4096u
#define INTERRUPTS (DEVICE_INTERRUPT_QUEUE | DEVICE_INTERRUPT_CONFIG)

static uint64_t round_to_page(uint64_t n)
{
	return (n + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

static uint64_t state_offset(struct device_page_shape shape)
{
	return round_to_page(sizeof(struct device_page) +
			     (uint64_t)shape.n_queues * sizeof(struct device_page_queue));
}

static bool is_shape_ok(struct device_page_shape shape)
{
	return shape.n_queues > 0 && shape.n_queues <= DEVICE_QUEUES_MAX &&
	       shape.state_size <= DEVICE_STATE_MAX;
}

uint64_t device_page_size(struct device_page_shape shape)
{
	return state_offset(shape) + round_to_page(shape.state_size);
}

void *device_page_state(struct device_page *page, struct device_page_shape shape)
{
	return shape.state_size == 0 ? NULL : (uint8_t *)page + state_offset(shape);
}

int device_page_create(struct device_page_shape shape, struct device_page **ret, int *ret_fd)
{
	cleanup_fd int fd = -1;
	struct device_page *page;
	void *at;
	int r;

	if (!is_shape_ok(shape))
		return -EINVAL;
	fd = shared_memory_create("bulkhead-device-page", device_page_size(shape), 0);
	if (fd < 0)
		return fd;
	r = shared_memory_map(fd, device_page_size(shape), &at);
	if (r != 0)
		return r;
	page = at; /* all zero: no interrupt, no record, every queue disabled, every head free */
	page->header.magic = DEVICE_PAGE_MAGIC;
	page->header.version = DEVICE_PAGE_VERSION;
	page->header.n_queues = shape.n_queues;
	page->header.state_size = shape.state_size;
	page->log.next_seq = 1;
	*ret = page;
	*ret_fd = fd_steal(&fd);
	return 0;
}

int device_page_map(int fd, struct device_page_shape shape, struct device_page **ret)
{
	struct device_page_header *h;
	struct device_page *page;
	void *at;
	int r;

	if (!is_shape_ok(shape))
		return -EINVAL;
	r = shared_memory_check(fd, device_page_size(shape));
	if (r != 0)
		return r;
	r = shared_memory_map(fd, device_page_size(shape), &at);
	if (r != 0)
		return r;
	page = at;
	h = &page->header;
	if (__atomic_load_n(&h->magic, __ATOMIC_RELAXED) != DEVICE_PAGE_MAGIC ||
	    __atomic_load_n(&h->version, __ATOMIC_RELAXED) != DEVICE_PAGE_VERSION ||
	    __atomic_load_n(&h->n_queues, __ATOMIC_RELAXED) != shape.n_queues ||
	    __atomic_load_n(&h->state_size, __ATOMIC_RELAXED) != shape.state_size) {
		device_page_unmap(page, shape);
		return -EINVAL;
	}
	*ret = page;
	return 0;
}

struct device_page *device_page_unmap(struct device_page *page, struct device_page_shape shape)
{
	if (page != NULL)
		(void)munmap(page, device_page_size(shape));
	return NULL;
}

void device_page_raise(struct device_page *page, uint32_t bits)
{
	/* Ordered before the irqfd write that follows; pairs with device_page_interrupts(). */
	(void)__atomic_fetch_or(&page->header.interrupt_status, bits & INTERRUPTS,
				__ATOMIC_SEQ_CST);
}

uint32_t device_page_interrupts(const struct device_page *page)
{
	return __atomic_load_n(&page->header.interrupt_status, __ATOMIC_SEQ_CST) & INTERRUPTS;
}

void device_page_acknowledge(struct device_page *page, uint32_t bits)
{
	(void)__atomic_fetch_and(&page->header.interrupt_status, ~bits, __ATOMIC_SEQ_CST);
}

const char *device_page_counter_name(enum device_counter c)
{
	static const char *const names[DEVICE_COUNTER_N_] = {
		[DEVICE_COUNTER_READS] = "reads",
		[DEVICE_COUNTER_WRITES] = "writes",
		[DEVICE_COUNTER_READ_BYTES] = "read_bytes",
		[DEVICE_COUNTER_WRITE_BYTES] = "write_bytes",
		[DEVICE_COUNTER_FLUSHES] = "flushes",
		[DEVICE_COUNTER_ERRORS] = "errors",
		[DEVICE_COUNTER_KICKS] = "kicks",
		[DEVICE_COUNTER_INTERRUPTS] = "interrupts",
		[DEVICE_COUNTER_BAD_REQUESTS] = "bad_requests",
		[DEVICE_COUNTER_DROPPED_BYTES] = "dropped_bytes",
		[DEVICE_COUNTER_RX_FRAMES] = "rx_frames",
		[DEVICE_COUNTER_RX_BYTES] = "rx_bytes",
		[DEVICE_COUNTER_RX_DROPPED] = "rx_dropped",
		[DEVICE_COUNTER_TX_FRAMES] = "tx_frames",
		[DEVICE_COUNTER_TX_BYTES] = "tx_bytes",
		[DEVICE_COUNTER_TX_DROPPED] = "tx_dropped",
	};

	return (unsigned)c < DEVICE_COUNTER_N_ ? names[c] : NULL;
}

void device_page_log_write(struct device_page *page, enum log_level level, const char *line)
{
	uint32_t seq = __atomic_load_n(&page->log.next_seq, __ATOMIC_RELAXED);
	struct device_page_log_record *record;
	size_t len = strnlen(line, LOG_LINE_MAX - 1);

	if (seq == 0) /* 0 means "never written"; also after 2^32 records */
		seq = 1;
	record = &page->log.records[(seq - 1) % DEVICE_LOG_RECORDS];
	__atomic_store_n(&record->seq, 0, __ATOMIC_RELAXED);
	/* The slot is seen as empty before its new bytes; pairs with the fence in log_copy(). */
	__atomic_thread_fence(__ATOMIC_RELEASE);
	__atomic_store_n(&record->level, (uint16_t)level, __ATOMIC_RELAXED);
	__atomic_store_n(&record->len, (uint16_t)len, __ATOMIC_RELAXED);
	memcpy(record->line, line, len);
	__atomic_store_n(&record->seq, seq, __ATOMIC_RELEASE);
	__atomic_store_n(&page->log.next_seq, seq + 1, __ATOMIC_RELEASE);
}

/* Copies record @seq out of its slot; false when the slot holds, or held meanwhile, another. */
static bool log_copy(const struct device_page_log_record *record, uint32_t seq,
		     enum log_level *ret_level, char *ret_line)
{
	uint16_t level, len;

	if (seq == 0 || __atomic_load_n(&record->seq, __ATOMIC_ACQUIRE) != seq)
		return false;
	level = __atomic_load_n(&record->level, __ATOMIC_RELAXED);
	len = __atomic_load_n(&record->len, __ATOMIC_RELAXED);
	if (len >= LOG_LINE_MAX)
		len = LOG_LINE_MAX - 1;
	memcpy(ret_line, record->line, len);
	/* The bytes are read before the number is looked at again; pairs with log_write(). */
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (__atomic_load_n(&record->seq, __ATOMIC_RELAXED) != seq)
		return false;
	for (uint16_t i = 0; i < len; i++) {
		if (ret_line[i] < ' ' || ret_line[i] > '~')
			ret_line[i] = '?';
	}
	ret_line[len] = '\0';
	*ret_level = level <= LOG_LEVEL_DEBUG ? (enum log_level)level : LOG_LEVEL_ERROR;
	return true;
}

bool device_page_log_read(const struct device_page *page, uint32_t *cursor,
			  enum log_level *ret_level, char *ret_line)
{
	uint32_t newest = __atomic_load_n(&page->log.next_seq, __ATOMIC_ACQUIRE) - 1;
	uint32_t behind = newest - *cursor;

	/* More than a ring behind, or a next_seq that moved backwards: continue at the oldest. */
	if (behind > DEVICE_LOG_RECORDS) {
		*cursor = newest - DEVICE_LOG_RECORDS;
		behind = DEVICE_LOG_RECORDS;
	}
	for (; behind > 0; behind--) {
		uint32_t seq = ++*cursor;

		if (log_copy(&page->log.records[(seq - 1) % DEVICE_LOG_RECORDS], seq, ret_level,
			     ret_line))
			return true;
	}
	return false;
}
