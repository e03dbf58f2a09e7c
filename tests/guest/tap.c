/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#define SKIP "SKIP "

static char detail[200];
static unsigned n_cases;

const char *tap_fail(const char *f, ...)
{
	va_list args;

	va_start(args, f);
	format_list(detail, sizeof(detail), f, args);
	va_end(args);
	return detail;
}

const char *tap_skip(const char *reason)
{
	format(detail, sizeof(detail), SKIP "%s", reason);
	return detail;
}

bool tap_is_skip(const char *result)
{
	return string_starts(result, SKIP);
}

bool tap_is_selected(const char *name)
{
	char only[64];

	return !boot_option("only", only, sizeof(only)) || string_contains(name, only);
}

void tap_report(const char *name, const char *result)
{
	n_cases++;
	if (!result)
		print("ok %u %s\n", n_cases, name);
	else if (tap_is_skip(result))
		print("ok %u %s # %s\n", n_cases, name, result);
	else
		print("not ok %u %s: %s\n", n_cases, name, result);
}

void tap_case(tap_run run, uint64_t argument, const char *f, ...)
{
	char name[100];
	size_t mark = memory_mark();
	va_list args;

	va_start(args, f);
	format_list(name, sizeof(name), f, args);
	va_end(args);
	if (!tap_is_selected(name))
		return;
	tap_report(name, run(argument));
	memory_release(mark);
}

void tap_done(void)
{
	print("1..%u\n", n_cases);
}
