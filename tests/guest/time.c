/* SPDX-License-Identifier: Apache-2.0 */
/* Limits for waiting, by the TSC: taken as 4 GHz, so that a limit is never shorter than it says. */
#include "probe.h"

#define TSC_PER_MS 4000000ull

uint64_t time_deadline(uint64_t ms)
{
	return cpu_tsc() + ms * TSC_PER_MS;
}

bool time_passed(uint64_t deadline)
{
	return (int64_t)(cpu_tsc() - deadline) > 0;
}

void time_sleep(uint64_t ms)
{
	uint64_t deadline = time_deadline(ms);

	while (!time_passed(deadline))
		cpu_pause();
}
