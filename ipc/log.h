/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Diagnostics of every process.
 *
 * A record is one line without a newline. Where it goes is the process's choice: the warden
 * prints to stderr or --log-file, the core sends records to the warden, a device process writes
 * them to the log ring of its device page. Functions in ipc/ log nothing above debug: the caller
 * that decides what to do about a failure logs it, once.
 *
 * Anything that a guest or a peer can cause repeatedly goes through log_limited().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/cleanup.h"

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

#define LOG_LINE_MAX 240 /* bytes of one record, including the terminating NUL */

/** log_sink_fn - receives one NUL-terminated record; must not log itself */
typedef void log_sink_fn(void *ctx, enum log_level level, const char *line);

/** log_set_sink() - where records go from now on; NULL @fn: stderr with a "bulkhead: " prefix */
void log_set_sink(log_sink_fn *fn, void *ctx);

/** log_set_level() - records above @max (more verbose) are dropped; default LOG_LEVEL_WARNING */
void log_set_level(enum log_level max);

/**
 * log_record() - format and deliver one record; longer lines are cut at LOG_LINE_MAX - 1,
 * control characters become '?'; keeps errno
 */
void log_record(enum log_level level, const char *fmt, ...) printf_like(2, 3);

/**
 * struct log_limit - state of one rate-limited call site
 *
 * At most LOG_LIMIT_BURST records per LOG_LIMIT_WINDOW_MS pass; the number of dropped ones is
 * appended to the first record that passes again. Zero-initialised; one thread only.
 */
struct log_limit {
	uint64_t window_start_ms;
	uint32_t n_passed;
	uint32_t n_dropped;
};

#define LOG_LIMIT_BURST 5
#define LOG_LIMIT_WINDOW_MS 10000

/** log_limit_pass() - true when a record may be written now; *ret_dropped: records lost before */
bool log_limit_pass(struct log_limit *limit, uint32_t *ret_dropped);

#define log_error(...) log_record(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_record(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_record(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_record(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* log_limited(level, fmt, ...) - for lines that a guest or a peer can cause; limited per site */
#define log_limited(level, fmt, ...)                                                              \
	do {                                                                                      \
		static _Thread_local struct log_limit log_site;                                   \
		uint32_t log_dropped;                                                             \
		if (!log_limit_pass(&log_site, &log_dropped))                                     \
			break;                                                                    \
		if (log_dropped > 0)                                                              \
			log_record((level), fmt " (%u dropped before)", ##__VA_ARGS__,            \
				   log_dropped);                                                  \
		else                                                                              \
			log_record((level), fmt, ##__VA_ARGS__);                                  \
	} while (0)
