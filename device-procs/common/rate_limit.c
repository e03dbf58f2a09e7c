/* SPDX-License-Identifier: Apache-2.0 */
/* See rate_limit.h. Limits are the user's and any 64-bit values, sizes of operations the guest's. */
#include "device-procs/common/rate_limit.h"

#define NS_PER_MS 1000000u
#define TOKENS_MAX ((uint64_t)INT64_MAX / 2)

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void bucket_set(struct rate_bucket *b, uint64_t size, uint64_t burst, uint32_t refill_ms,
		       uint64_t now_ns)
{
	*b = (struct rate_bucket){
		.size = refill_ms == 0 ? 0 : min_u64(size, TOKENS_MAX),
		.refill_ns = (uint64_t)refill_ms * NS_PER_MS,
		.burst = burst,
		.filled_ns = now_ns,
	};
	b->tokens = (int64_t)b->size;
}

void rate_limit_set(struct rate_limit *limit, const struct rate_limit_config *config,
		    uint64_t now_ns)
{
	bucket_set(&limit->bytes, config->bw_size, config->bw_one_time_burst,
		   config->bw_refill_time, now_ns);
	bucket_set(&limit->ops, config->ops_size, config->ops_one_time_burst,
		   config->ops_refill_time, now_ns);
}

/* Time is used up only by whole tokens, so none is lost however often this is called. */
static void bucket_fill(struct rate_bucket *b, uint64_t now_ns)
{
	uint64_t missing = (uint64_t)((int64_t)b->size - b->tokens);
	uint64_t passed = now_ns > b->filled_ns ? now_ns - b->filled_ns : 0;
	unsigned __int128 tokens = (unsigned __int128)passed * b->size / b->refill_ns;

	if (tokens >= missing) {
		b->tokens = (int64_t)b->size;
		b->filled_ns = now_ns;
		return;
	}
	b->tokens += (int64_t)tokens;
	b->filled_ns += (uint64_t)(tokens * b->refill_ns / b->size);
}

static uint64_t bucket_wait_ns(struct rate_bucket *b, uint64_t now_ns)
{
	unsigned __int128 ns;
	uint64_t at;

	if (b->size == 0 || b->burst > 0)
		return 0;
	bucket_fill(b, now_ns);
	if (b->tokens > 0)
		return 0;
	/* Until there is one, rounded up. */
	ns = ((unsigned __int128)(uint64_t)(1 - b->tokens) * b->refill_ns + b->size - 1) / b->size;
	at = ns > UINT64_MAX - b->filled_ns ? UINT64_MAX : b->filled_ns + (uint64_t)ns;
	return at > now_ns ? at - now_ns : 1;
}

static void bucket_charge(struct rate_bucket *b, uint64_t n)
{
	uint64_t from_burst = min_u64(n, b->burst);

	if (b->size == 0)
		return;
	b->burst -= from_burst;
	n = min_u64(n - from_burst, TOKENS_MAX);
	/* A debt has an end too. */
	if (b->tokens >= (int64_t)n - (int64_t)TOKENS_MAX)
		b->tokens -= (int64_t)n;
}

uint64_t rate_limit_wait_ns(struct rate_limit *limit, uint64_t now_ns)
{
	uint64_t bytes = bucket_wait_ns(&limit->bytes, now_ns);
	uint64_t ops = bucket_wait_ns(&limit->ops, now_ns);

	return bytes > ops ? bytes : ops;
}

void rate_limit_charge(struct rate_limit *limit, uint64_t bytes)
{
	bucket_charge(&limit->bytes, bytes);
	bucket_charge(&limit->ops, 1);
}
