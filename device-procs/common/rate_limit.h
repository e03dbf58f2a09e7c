/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Token buckets for bytes and operations. Pure: the caller brings the time. Device processes.
 *
 * A bucket that holds anything lets the next operation through, whatever its size, and then owes
 * what is missing: so nobody needs to know a size before it begins, nothing is too large to pass,
 * and the long-run rate is exact.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/vm_config.h"

struct rate_bucket {
	uint64_t size; /* 0: no limit */
	uint64_t refill_ns; /* for size tokens */
	uint64_t burst; /* left of what is there only once */
	int64_t tokens; /* <= size; negative: owed */
	uint64_t filled_ns; /* tokens is what it is since then */
};

struct rate_limit {
	struct rate_bucket bytes, ops;
};

/** rate_limit_set() - new limits, with full buckets */
void rate_limit_set(struct rate_limit *limit, const struct rate_limit_config *config,
		    uint64_t now_ns);

/** rate_limit_is_on() - is there any limit? If not, the other functions need not be called */
static inline bool rate_limit_is_on(const struct rate_limit *limit)
{
	return limit->bytes.size != 0 || limit->ops.size != 0;
}

/** rate_limit_wait_ns() - how long until the next operation may begin; 0: now */
uint64_t rate_limit_wait_ns(struct rate_limit *limit, uint64_t now_ns);

/** rate_limit_charge() - one operation of @bytes was begun */
void rate_limit_charge(struct rate_limit *limit, uint64_t bytes);
