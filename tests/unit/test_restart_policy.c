/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "vmm-core/warden/restart_policy.h"

static const struct restart_policy policy = { .max = 5, .window_ms = 60000, .backoff_ms = 100 };
static struct restart_history history;

static void expect_delay(uint64_t now_ms, uint64_t delay_ms)
{
	uint64_t delay = UINT64_MAX;

	cr_assert_eq(restart_policy_death(&policy, &history, now_ms, &delay), 0);
	cr_assert_eq(delay, delay_ms, "%lu instead of %lu", (unsigned long)delay,
		     (unsigned long)delay_ms);
}

static void expect_end(uint64_t now_ms)
{
	uint64_t delay;

	cr_assert_eq(restart_policy_death(&policy, &history, now_ms, &delay), RESTART_GIVE_UP);
}

Test(restart_policy, first_at_once_then_doubling_then_never)
{
	expect_delay(1000, 0);
	expect_delay(1001, 100);
	expect_delay(1002, 200);
	expect_delay(1003, 400);
	expect_delay(1004, 800);
	expect_end(1005);
	expect_end(1006);
}

Test(restart_policy, what_is_older_than_the_window_is_forgotten)
{
	expect_delay(0, 0);
	expect_delay(1, 100);
	expect_delay(59999, 200);
	expect_delay(60001, 100);
	expect_delay(120001, 0);
}

Test(restart_policy, zero_means_never)
{
	const struct restart_policy never = { .max = 0, .window_ms = 60000 };
	uint64_t delay;

	cr_assert_eq(restart_policy_death(&never, &history, 5, &delay), RESTART_GIVE_UP);
}

Test(restart_policy, the_largest_max_and_the_longest_delay)
{
	const struct restart_policy most = {
		.max = RESTART_MAX, .window_ms = UINT32_MAX, .backoff_ms = UINT32_MAX
	};
	uint64_t delay = 0;

	for (uint32_t i = 0; i < RESTART_MAX; i++)
		cr_assert_eq(restart_policy_death(&most, &history, i, &delay), 0);
	cr_assert_eq(delay, RESTART_DELAY_MAX_MS);
	for (uint32_t i = 0; i < 10; i++)
		cr_assert_eq(restart_policy_death(&most, &history, RESTART_MAX + i, &delay),
			     RESTART_GIVE_UP);
	cr_assert_eq(history.n, RESTART_MAX + 1);
}

Test(restart_policy, reviving_waits_for_the_back_off)
{
	const struct restart_policy eager = { .max = 1, .window_ms = 60000, .backoff_ms = 0 };
	uint64_t delay;

	for (uint64_t i = 0; i < 6; i++)
		(void)restart_policy_death(&policy, &history, i, &delay);
	cr_assert_eq(restart_policy_revive(&policy, &history, 5), 1600);
	cr_assert_eq(restart_policy_revive(&policy, &history, 1004), 601);
	cr_assert_eq(restart_policy_revive(&policy, &history, 1605), 0);
	history = (struct restart_history){ 0 };
	cr_assert_eq(restart_policy_revive(&eager, &history, 7), 0);
	for (uint64_t i = 0; i < 2; i++)
		(void)restart_policy_death(&eager, &history, i, &delay);
	cr_assert_eq(restart_policy_revive(&eager, &history, 1), RESTART_REVIVE_DELAY_MS,
		     "a guest must not set the pace");
}
