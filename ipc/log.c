/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Diagnostics; see log.h. Runs in every process and on every thread. Arguments may hold bytes
 * that came from a guest or a peer, so control characters never reach a sink.
 */
#include "ipc/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

#include "ipc/clock.h"

static void log_to_stderr(void *ctx, enum log_level level, const char *line)
{
	static const char prefix[] = "bulkhead: ";
	struct iovec iov[3] = {
		{ .iov_base = (void *)(uintptr_t)prefix, .iov_len = sizeof(prefix) - 1 },
		{ .iov_base = (void *)(uintptr_t)line, .iov_len = strlen(line) },
		{ .iov_base = (void *)(uintptr_t)"\n", .iov_len = 1 },
	};

	(void)ctx;
	(void)level;
	/* One call, so that lines of several processes do not mix. Nowhere to report a failure. */
	if (writev(STDERR_FILENO, iov, 3) < 0)
		return;
}

/* Set at start, before threads exist; the level may change later. */
static log_sink_fn *log_sink = log_to_stderr;
static void *log_sink_ctx;
static int log_level_max = LOG_LEVEL_WARNING;

void log_set_sink(log_sink_fn *fn, void *ctx)
{
	log_sink = fn != NULL ? fn : log_to_stderr;
	log_sink_ctx = ctx;
}

void log_set_level(enum log_level max)
{
	__atomic_store_n(&log_level_max, (int)max, __ATOMIC_RELAXED);
}

void log_record(enum log_level level, const char *fmt, ...)
{
	char line[LOG_LINE_MAX];
	int saved = errno;
	va_list args;
	int n;

	if ((int)level > __atomic_load_n(&log_level_max, __ATOMIC_RELAXED))
		return;
	va_start(args, fmt);
	n = vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	if (n >= 0) {
		for (char *c = line; *c != '\0'; c++) {
			if ((unsigned char)*c < ' ' || *c == 0x7f)
				*c = '?';
		}
		log_sink(log_sink_ctx, level, line);
	}
	errno = saved;
}

bool log_limit_pass(struct log_limit *limit, uint32_t *ret_dropped)
{
	uint64_t now = clock_now_ms();

	if (limit->n_passed == 0 || now - limit->window_start_ms >= LOG_LIMIT_WINDOW_MS) {
		limit->window_start_ms = now;
		limit->n_passed = 0;
	}
	if (limit->n_passed >= LOG_LIMIT_BURST) {
		if (limit->n_dropped < UINT32_MAX)
			limit->n_dropped++;
		return false;
	}
	limit->n_passed++;
	*ret_dropped = limit->n_dropped;
	limit->n_dropped = 0;
	return true;
}
