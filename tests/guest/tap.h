/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named cases and their results on COM1: "ok N NAME", "not ok N NAME: DETAIL", "ok N NAME # SKIP
 * REASON", and "1..N" at the end. A case returns NULL when it passed, else what tap_fail() or
 * tap_skip() returned. only=TEXT on the command line runs the cases whose names contain TEXT.
 */
#pragma once

#include "probe.h"

typedef const char *(*tap_run)(uint64_t argument);

void tap_case(tap_run run, uint64_t argument, const char *name, ...)
	__attribute__((format(printf, 3, 4)));
const char *tap_fail(const char *detail, ...) __attribute__((format(printf, 1, 2)));
const char *tap_skip(const char *reason);
bool tap_is_skip(const char *result);
bool tap_is_selected(const char *name);
/* Reports a case that was run by other means. */
void tap_report(const char *name, const char *result);
void tap_done(void);

/* Leaves the case when a condition does not hold. */
#define EXPECT(condition, ...)                                                                     \
	do {                                                                                       \
		if (!(condition))                                                                  \
			return tap_fail(__VA_ARGS__);                                              \
	} while (0)
/* Leaves the case when a helper that returns a detail does. */
#define EXPECT_OK(call)                                                                            \
	do {                                                                                       \
		const char *detail_ = (call);                                                      \
		if (detail_)                                                                       \
			return detail_;                                                            \
	} while (0)
