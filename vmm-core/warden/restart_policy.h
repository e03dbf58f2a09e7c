/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a device process that died gets a successor, and when it gets none.
 *
 * Pure: the caller brings the clock. The first death is answered at once; from the second death
 * within the window on there is a delay that doubles; with more deaths than `max` in the window
 * the device has failed. A driver that resets a failed device may revive it, but never sooner
 * than the back-off allows: a guest must not make the warden start processes in a loop.
 */
#pragma once

#include <stdint.h>

#include "ipc/vm_config.h"

#define RESTART_MAX 1000u /* the largest `max` */
#define RESTART_DELAY_MAX_MS 30000u /* doubling ends here */
#define RESTART_REVIVE_DELAY_MS 1000u /* the least between a death and a revival */

#define RESTART_GIVE_UP 1

/* The deaths within the window. Zero-initialised. */
struct restart_history {
	uint32_t n;
	uint64_t deaths_ms[RESTART_MAX + 1]; /* the oldest first; one more than any window allows */
};

/**
 * restart_policy_death() - a process died at @now_ms: what now?
 * @ret_delay_ms: how long the successor has to wait
 * Return: 0; RESTART_GIVE_UP.
 */
int restart_policy_death(const struct restart_policy *policy, struct restart_history *history,
			 uint64_t now_ms, uint64_t *ret_delay_ms);

/** restart_policy_revive() - how many ms after @now_ms may a failed device be started again? */
uint64_t restart_policy_revive(const struct restart_policy *policy,
			       struct restart_history *history, uint64_t now_ms);
