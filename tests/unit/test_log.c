/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "ipc/clock.h"
#include "ipc/log.h"

static char last[1024];
static enum log_level last_level;
static unsigned n_records;

static void remember(void *ctx, enum log_level level, const char *line)
{
	cr_assert_eq(ctx, (void *)&n_records);
	cr_assert_lt(strlen(line), LOG_LINE_MAX);
	strcpy(last, line);
	last_level = level;
	n_records++;
}

static void watch_log(void)
{
	log_set_sink(remember, &n_records);
}

Test(log, records_reach_the_sink, .init = watch_log)
{
	log_error("a %d %s", 5, "b");
	cr_assert_str_eq(last, "a 5 b");
	cr_assert_eq(last_level, LOG_LEVEL_ERROR);
}

Test(log, level_filters, .init = watch_log)
{
	log_info("dropped");
	log_debug("dropped");
	cr_assert_eq(n_records, 0);
	log_warning("kept");
	cr_assert_eq(n_records, 1);
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("kept");
	cr_assert_eq(n_records, 2);
	log_set_level(LOG_LEVEL_ERROR);
	log_warning("dropped");
	cr_assert_eq(n_records, 2);
}

Test(log, long_line_is_cut, .init = watch_log)
{
	static char longest[1000];

	memset(longest, 'x', sizeof(longest) - 1);
	log_error("%s", longest);
	cr_assert_eq(strlen(last), LOG_LINE_MAX - 1);
}

Test(log, control_characters_are_replaced, .init = watch_log)
{
	log_error("a\nb\x1b[0m\x7f\xc3\xa4");
	cr_assert_str_eq(last, "a?b?[0m?\xc3\xa4");
}

Test(log, errno_is_kept, .init = watch_log)
{
	errno = ENOTTY;
	log_error("x");
	cr_assert_eq(errno, ENOTTY);
}

Test(log, stderr_gets_the_prefix)
{
	char got[64] = "";
	int pipefd[2];

	cr_assert_eq(pipe(pipefd), 0);
	cr_assert_geq(dup2(pipefd[1], STDERR_FILENO), 0);
	log_set_sink(NULL, NULL);
	log_error("--disk: no");
	cr_assert_gt(read(pipefd[0], got, sizeof(got) - 1), 0);
	cr_assert_str_eq(got, "bulkhead: --disk: no\n");
}

Test(log, limit_passes_a_burst_and_counts_the_rest)
{
	struct log_limit limit = { 0 };
	uint32_t dropped = 99;

	for (unsigned i = 0; i < LOG_LIMIT_BURST; i++) {
		cr_assert(log_limit_pass(&limit, &dropped));
		cr_assert_eq(dropped, 0);
	}
	for (unsigned i = 0; i < 7; i++)
		cr_assert_not(log_limit_pass(&limit, &dropped));
	/* The window is over: as if it had begun long ago. */
	limit.window_start_ms -= LOG_LIMIT_WINDOW_MS;
	cr_assert(log_limit_pass(&limit, &dropped));
	cr_assert_eq(dropped, 7);
	cr_assert(log_limit_pass(&limit, &dropped));
	cr_assert_eq(dropped, 0);
}

Test(log, limited_site_stops_at_the_burst, .init = watch_log)
{
	for (unsigned i = 0; i < 100; i++)
		log_limited(LOG_LEVEL_ERROR, "bad request %u", i);
	cr_assert_eq(n_records, LOG_LIMIT_BURST);
	cr_assert_str_eq(last, "bad request 4");
}

Test(clock, deadlines)
{
	uint64_t now = clock_now_ms();

	cr_assert_eq(clock_left_ms(0), 0);
	cr_assert_eq(clock_left_ms(now), 0);
	cr_assert_gt(clock_left_ms(now + 60000), 0);
	cr_assert_leq(clock_left_ms(now + 60000), 60000);
	cr_assert_eq(clock_left_ms(UINT64_MAX), 3600000);
}
