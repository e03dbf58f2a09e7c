/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device page: what one device process and the core share besides guest RAM.
 *
 * A sealed memfd made by the core, mapped by the core and the device process, never by the
 * warden. It survives the process: a successor continues from it. The device process may be
 * compromised, so for the core, and for a successor, every word in it is hostile input: single
 * atomic accesses, each value checked after the load, no index used unmasked.
 *
 * Layout, little-endian, version DEVICE_PAGE_VERSION:
 *
 *	0	  struct device_page_header	interrupt status, heartbeat, counters
 *	4096	  struct device_page_log	log ring
 *	12288	  struct device_page_queue[]	one per queue: indices and the in-flight table
 *	after it  state_size bytes		the device's own, from a page boundary on
 *
 * Interrupt status: the device sets bits with an atomic OR before it signals the irqfd, the core
 * answers the guest's InterruptStatus read from it and clears what the guest acknowledges
 * (VIRTIO 1.2 §4.2.2), so no message is needed per interrupt.
 *
 * The device's own state is whatever its type must keep across a restart. It is zero when the page
 * is made and after every reset of the device (the device process clears it before it answers; if
 * none is there to answer, the core does), and hostile input for a successor.
 *
 * Journal: per queue and head one 64-bit word (journal_* below) plus next_avail and used_commit,
 * written in the order that lets a successor tell apart a crash between any two stores.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/cleanup.h"
#include "ipc/log.h"

#define DEVICE_PAGE_MAGIC 0x44484b42u /* "BKHD" */
#define DEVICE_PAGE_VERSION 2u
#define DEVICE_QUEUES_MAX 64u
#define DEVICE_QUEUE_SIZE_MAX 1024u
#define DEVICE_STATE_MAX (128u << 10)

/* VIRTIO 1.2 §4.2.2 InterruptStatus */
#define DEVICE_INTERRUPT_QUEUE 0x1u
#define DEVICE_INTERRUPT_CONFIG 0x2u

enum device_counter {
	DEVICE_COUNTER_READS,
	DEVICE_COUNTER_WRITES,
	DEVICE_COUNTER_READ_BYTES,
	DEVICE_COUNTER_WRITE_BYTES,
	DEVICE_COUNTER_FLUSHES,
	DEVICE_COUNTER_ERRORS,
	DEVICE_COUNTER_KICKS,
	DEVICE_COUNTER_INTERRUPTS,
	DEVICE_COUNTER_BAD_REQUESTS,
	DEVICE_COUNTER_DROPPED_BYTES, /* for which nobody was there */
	DEVICE_COUNTER_RX_FRAMES,
	DEVICE_COUNTER_RX_BYTES,
	DEVICE_COUNTER_RX_DROPPED,
	DEVICE_COUNTER_TX_FRAMES,
	DEVICE_COUNTER_TX_BYTES,
	DEVICE_COUNTER_TX_DROPPED,
	DEVICE_COUNTER_N_,
	DEVICE_COUNTERS_MAX = 64,
};

struct device_page_header {
	uint32_t magic;
	uint32_t version;
	uint32_t generation; /* incarnation that writes; set by the core before hand-over */
	uint32_t n_queues;
	uint32_t interrupt_status; /* atomic; see above */
	uint32_t state_size; /* bytes, as in HELLO */
	uint64_t heartbeat; /* device: incremented at every turn of its loop */
	uint64_t pad1[12];
	uint64_t counters[DEVICE_COUNTERS_MAX];
};

#define DEVICE_LOG_RECORDS 32u

struct device_page_log_record {
	uint32_t seq; /* 0: never written; stored last, so equal before and after a copy = whole */
	uint16_t level;
	uint16_t len;
	char line[LOG_LINE_MAX];
};

struct device_page_log {
	uint32_t next_seq; /* first record is 1; record s lives in slot (s - 1) % RECORDS */
	uint32_t pad[15];
	struct device_page_log_record records[DEVICE_LOG_RECORDS];
};

/* Journal word of one head: state in the top 2 bits, a number in the others. */
enum journal_state {
	JOURNAL_FREE = 0,
	JOURNAL_FETCHED = 1, /* number of the fetch, counted from 0 */
	JOURNAL_DONE = 2, /* number of the completion; below used_commit: as good as free */
};

struct device_page_queue {
	uint64_t next_avail; /* fetches when used_commit was last stored */
	uint64_t used_commit; /* completions published so far; (uint16_t) is used->idx */
	uint32_t size; /* as enabled; 0 while disabled */
	uint32_t pad[11];
	uint64_t journal[DEVICE_QUEUE_SIZE_MAX];
	uint8_t deaths[DEVICE_QUEUE_SIZE_MAX]; /* that found this head in flight, and may be due to it */
};

#define DEVICE_PAGE_LOG_OFFSET 4096u
#define DEVICE_PAGE_QUEUES_OFFSET 12288u

struct device_page {
	struct device_page_header header;
	uint8_t pad0[DEVICE_PAGE_LOG_OFFSET - sizeof(struct device_page_header)];
	struct device_page_log log;
	uint8_t pad1[DEVICE_PAGE_QUEUES_OFFSET - DEVICE_PAGE_LOG_OFFSET -
		     sizeof(struct device_page_log)];
	struct device_page_queue queues[];
};

/* What a page is made for; both ends know it from HELLO, never from the page itself. */
struct device_page_shape {
	uint32_t n_queues; /* 1..DEVICE_QUEUES_MAX */
	uint32_t state_size; /* 0..DEVICE_STATE_MAX */
};

/** device_page_size() - bytes of a page of that shape */
uint64_t device_page_size(struct device_page_shape shape);

/** device_page_state() - the device's own state, page-aligned; NULL when it has none */
void *device_page_state(struct device_page *page, struct device_page_shape shape);

/** device_page_create() - core: make, map and stamp a page; *ret_fd owned; Return: 0, -errno */
int must_check device_page_create(struct device_page_shape shape, struct device_page **ret,
				  int *ret_fd);

/**
 * device_page_map() - device process: check and map the fd that the core sent (borrowed)
 * Return: 0; -EINVAL when size, seals, magic, version or shape are not as expected.
 */
int must_check device_page_map(int fd, struct device_page_shape shape, struct device_page **ret);

/** device_page_unmap() - takes NULL; Return: NULL */
struct device_page *device_page_unmap(struct device_page *page, struct device_page_shape shape);

/** device_page_raise() - device: set interrupt bits; signal the irqfd afterwards */
void device_page_raise(struct device_page *page, uint32_t bits);

/** device_page_interrupts() - core: pending bits, masked to the defined ones */
uint32_t device_page_interrupts(const struct device_page *page);

/** device_page_acknowledge() - core: clear @bits */
void device_page_acknowledge(struct device_page *page, uint32_t bits);

/** device_page_count() - device: add to a counter (single writer, relaxed) */
static inline void device_page_count(struct device_page *page, enum device_counter c, uint64_t n)
{
	uint64_t *at = &page->header.counters[c];

	__atomic_store_n(at, __atomic_load_n(at, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

/** device_page_counter_name() - "reads", "write_bytes", ...; NULL when @c is not defined */
const char *device_page_counter_name(enum device_counter c);

/** device_page_log_write() - device: append a record, overwriting the oldest */
void device_page_log_write(struct device_page *page, enum log_level level, const char *line);

/**
 * device_page_log_read() - core: copy the next whole record after *cursor
 * @cursor: last sequence number read, 0 at first; moved forward, over records that were lost
 * @ret_line: LOG_LINE_MAX bytes; printable ASCII only, other bytes become '?'
 *
 * Return: true when a record was copied. A hostile device can make it true for ever: the caller
 * bounds how many it takes in one turn.
 */
bool device_page_log_read(const struct device_page *page, uint32_t *cursor,
			  enum log_level *ret_level, char *ret_line);
