/* SPDX-License-Identifier: Apache-2.0 */
/* When a dead device process gets a successor. Pure code, used by the warden. */
#include "vmm-core/warden/restart_policy.h"

#include <string.h>

static void history_forget(const struct restart_policy *policy, struct restart_history *history,
			   uint64_t now_ms)
{
	uint32_t old = 0;

	while (old < history->n && now_ms - history->deaths_ms[old] >= policy->window_ms)
		old++;
	history->n -= old;
	memmove(history->deaths_ms, history->deaths_ms + old,
		history->n * sizeof(history->deaths_ms[0]));
}

/* After the @n-th death within the window. */
static uint64_t policy_delay(const struct restart_policy *policy, uint32_t n)
{
	uint64_t delay = policy->backoff_ms;

	if (n < 2)
		return 0;
	for (uint32_t i = 2; i < n && delay < RESTART_DELAY_MAX_MS; i++)
		delay *= 2;
	return delay < RESTART_DELAY_MAX_MS ? delay : RESTART_DELAY_MAX_MS;
}

int restart_policy_death(const struct restart_policy *policy, struct restart_history *history,
			 uint64_t now_ms, uint64_t *ret_delay_ms)
{
	history_forget(policy, history, now_ms);
	/* Of more deaths than the window allows, only the latest count. */
	if (history->n > policy->max || history->n > RESTART_MAX) {
		history->n--;
		memmove(history->deaths_ms, history->deaths_ms + 1,
			history->n * sizeof(history->deaths_ms[0]));
	}
	history->deaths_ms[history->n++] = now_ms;
	if (history->n > policy->max)
		return RESTART_GIVE_UP;
	*ret_delay_ms = policy_delay(policy, history->n);
	return 0;
}

uint64_t restart_policy_revive(const struct restart_policy *policy,
			       struct restart_history *history, uint64_t now_ms)
{
	uint64_t delay = policy_delay(policy, history->n), since;

	if (history->n == 0)
		return 0;
	since = now_ms - history->deaths_ms[history->n - 1];
	if (delay < RESTART_REVIVE_DELAY_MS)
		delay = RESTART_REVIVE_DELAY_MS;
	history_forget(policy, history, now_ms);
	return since >= delay ? 0 : delay - since;
}
