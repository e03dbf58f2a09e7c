/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last log records of a VM, for `bulkheadctl log`. Bounded: the oldest are overwritten, and a
 * reader that falls behind learns how many it lost.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/message.h"

#define LOG_RING_RECORDS 256u

struct log_ring_record {
	char source[VM_ID_MAX]; /* device id, "core" or "warden" */
	char line[MESSAGE_TEXT_MAX];
};

struct log_ring {
	uint64_t next; /* number of the record to come; the first is 0 */
	struct log_ring_record records[LOG_RING_RECORDS];
};

/** log_ring_add() - append, cutting what is too long and hiding control characters */
void log_ring_add(struct log_ring *ring, const char *source, const char *line);

/**
 * log_ring_next() - the oldest record at or after *at, only of @source unless that is ""
 * @at: reader's position; moved behind the record. Start with 0.
 * @ret_lost: records that were overwritten before this reader came
 * Return: NULL when there is none yet.
 */
const struct log_ring_record *log_ring_next(const struct log_ring *ring, const char *source,
					    uint64_t *at, uint64_t *ret_lost);
