/* SPDX-License-Identifier: Apache-2.0 */
/* Token buckets under a clock of our own. */
#include <criterion/criterion.h>

#include "device-procs/common/rate_limit.h"

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)

static struct rate_limit make(struct rate_limit_config c)
{
	struct rate_limit l;

	rate_limit_set(&l, &c, 0);
	return l;
}

Test(rate_limit, is_off_without_sizes)
{
	struct rate_limit l = make((struct rate_limit_config){ .bw_refill_time = 100 });

	cr_assert(!rate_limit_is_on(&l));
	rate_limit_charge(&l, UINT64_MAX);
	cr_assert_eq(rate_limit_wait_ns(&l, 5), 0);
}

Test(rate_limit, a_size_without_a_time_limits_nothing)
{
	struct rate_limit l = make((struct rate_limit_config){ .bw_size = 100 });

	cr_assert(!rate_limit_is_on(&l));
}

Test(rate_limit, what_is_owed_is_waited_for)
{
	/* 1000 bytes per second */
	struct rate_limit l =
		make((struct rate_limit_config){ .bw_size = 1000, .bw_refill_time = 1000 });

	cr_assert_eq(rate_limit_wait_ns(&l, 0), 0);
	rate_limit_charge(&l, 3000);
	/* 2000 owed, and one token more */
	cr_assert_eq(rate_limit_wait_ns(&l, 0), 2001 * MS);
	cr_assert_eq(rate_limit_wait_ns(&l, 2000 * MS), 1 * MS);
	cr_assert_eq(rate_limit_wait_ns(&l, 2001 * MS), 0);
}

Test(rate_limit, a_bucket_holds_no_more_than_its_size)
{
	struct rate_limit l =
		make((struct rate_limit_config){ .ops_size = 10, .ops_refill_time = 1000 });
	unsigned n = 0;

	while (rate_limit_wait_ns(&l, 3600 * SECOND) == 0 && n < 100) {
		rate_limit_charge(&l, 1);
		n++;
	}
	cr_assert_eq(n, 10);
}

Test(rate_limit, the_burst_comes_once)
{
	struct rate_limit l = make((struct rate_limit_config){
		.ops_size = 10, .ops_refill_time = 1000, .ops_one_time_burst = 5 });
	unsigned round, n;

	for (round = 0; round < 3; round++) {
		for (n = 0; rate_limit_wait_ns(&l, round * 10 * SECOND) == 0 && n < 100; n++)
			rate_limit_charge(&l, 1);
		cr_assert_eq(n, round == 0 ? 15 : 10, "round %u: %u", round, n);
	}
}

Test(rate_limit, the_tighter_of_both_decides)
{
	struct rate_limit l = make((struct rate_limit_config){ .bw_size = 1000000,
							       .bw_refill_time = 1000,
							       .ops_size = 1,
							       .ops_refill_time = 1000 });

	rate_limit_charge(&l, 10);
	cr_assert_eq(rate_limit_wait_ns(&l, 0), SECOND);
}

/* However often somebody asks, the rate over a long time is what was asked for. */
Test(rate_limit, the_long_run_is_exact)
{
	struct rate_limit l =
		make((struct rate_limit_config){ .bw_size = 7777, .bw_refill_time = 333 });
	uint64_t now, sent = 0;

	for (now = 0; now < 100 * SECOND; now += 12345) {
		if (rate_limit_wait_ns(&l, now) != 0)
			continue;
		rate_limit_charge(&l, 1514);
		sent += 1514;
	}
	/* 100 s at 7777 bytes per 333 ms, one bucket to begin with, one frame too many at the end */
	cr_assert_geq(sent, 100000ull * 7777 / 333);
	cr_assert_leq(sent, 100000ull * 7777 / 333 + 7777 + 1514);
}

Test(rate_limit, values_at_the_ends)
{
	struct rate_limit l = make((struct rate_limit_config){ .bw_size = UINT64_MAX,
							       .bw_refill_time = UINT32_MAX,
							       .bw_one_time_burst = UINT64_MAX,
							       .ops_size = 1,
							       .ops_refill_time = UINT32_MAX });
	unsigned i;

	for (i = 0; i < 1000; i++)
		rate_limit_charge(&l, UINT64_MAX);
	cr_assert_gt(rate_limit_wait_ns(&l, SECOND), 0);
	cr_assert_eq(rate_limit_wait_ns(&l, UINT64_MAX), 0, "584 years are enough");
	/* a clock that goes backwards does no harm */
	(void)rate_limit_wait_ns(&l, 0);
}
