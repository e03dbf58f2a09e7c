/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Monotonic time for deadlines; vDSO only, so it needs no system call in a sandbox. But for
 * clock_pause(), which is for the time before it.
 */
#pragma once

#include <stdint.h>
#include <time.h>

/** clock_now_ns() - CLOCK_MONOTONIC in nanoseconds */
static inline uint64_t clock_now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail for this clock */
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/** clock_now_ms() - CLOCK_MONOTONIC in milliseconds */
static inline uint64_t clock_now_ms(void)
{
	return clock_now_ns() / 1000000u;
}

#define CLOCK_PAUSE_US 250u

/**
 * clock_pause() - let others have this CPU for CLOCK_PAUSE_US
 *
 * For work that nobody waits for: a process that serves a guest gets its turn, which yielding and
 * priorities do not achieve between sessions (sched(7), autogroup).
 */
static inline void clock_pause(void)
{
	static const struct timespec pause = { .tv_nsec = CLOCK_PAUSE_US * 1000 };

	(void)nanosleep(&pause, NULL);
}

/** clock_left_ms() - milliseconds until @deadline_ms, 0 when it has passed, for poll() */
static inline int clock_left_ms(uint64_t deadline_ms)
{
	uint64_t now = clock_now_ms();

	if (now >= deadline_ms)
		return 0;
	return deadline_ms - now > 3600000u ? 3600000 : (int)(deadline_ms - now);
}
