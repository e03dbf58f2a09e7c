/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stddef.h>
#include <string.h>

#include "vmm-core/warden/config_value.h"

Test(config_value, numbers)
{
	static const char *const bad[] = { "",	 "-1",	 "+1", " 1", "1 ", "0x10", "1K",
					   "1.5", "18446744073709551616" };
	uint64_t v = 7;

	cr_assert_eq(config_value_number("18446744073709551615", &v), 0);
	cr_assert_eq(v, UINT64_MAX);
	cr_assert_eq(config_value_number("007", &v), 0);
	cr_assert_eq(v, 7);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		cr_assert_eq(config_value_number(bad[i], &v), CONFIG_VALUE_BAD, "%s", bad[i]);
		cr_assert_eq(v, 7, "%s was stored", bad[i]);
	}
}

Test(config_value, sizes)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{ "0", 0 },
		{ "512", 512 },
		{ "1K", 1024 },
		{ "512M", 512ull << 20 },
		{ "100G", 100ull << 30 },
		{ "16777215T", 16777215ull << 40 },
	};
	static const char *const bad[] = { "",	"K",  "1KB", "1KK", "1k",
					   "1B", "-1", "M1",  "1 M", "16777216T",
					   "99999999999999999999" };
	uint64_t v;

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		cr_assert_eq(config_value_size(good[i].text, &v), 0, "%s", good[i].text);
		cr_assert_eq(v, good[i].bytes, "%s", good[i].text);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_assert_eq(config_value_size(bad[i], &v), CONFIG_VALUE_BAD, "%s", bad[i]);
}

Test(config_value, durations)
{
	static const struct {
		const char *text;
		uint32_t ms;
	} good[] = { { "0", 0 }, { "100ms", 100 }, { "60s", 60000 }, { "2m", 120000 } };
	static const char *const bad[] = { "", "5", "s", "1h", "1.5s", "-1s", "99999999999m" };
	uint32_t v;

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		cr_assert_eq(config_value_duration(good[i].text, &v), 0, "%s", good[i].text);
		cr_assert_eq(v, good[i].ms, "%s", good[i].text);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_assert_eq(config_value_duration(bad[i], &v), CONFIG_VALUE_BAD, "%s", bad[i]);
}

Test(config_value, names)
{
	cr_assert(config_value_is_name("blk0", 32));
	cr_assert(config_value_is_name("A.b_c-9", 32));
	cr_assert(config_value_is_name("1234567", 8));
	cr_assert_not(config_value_is_name("12345678", 8));
	cr_assert_not(config_value_is_name("", 8));
	cr_assert_not(config_value_is_name(".", 8));
	cr_assert_not(config_value_is_name("..", 8));
	cr_assert_not(config_value_is_name("-x", 8));
	cr_assert_not(config_value_is_name("a/b", 8));
	cr_assert_not(config_value_is_name("a b", 8));
}

struct target {
	char *path;
	bool on;
	uint32_t n;
	char text[8];
};

static const struct config_key keys[] = {
	{ "path", CONFIG_KEY_STRING, offsetof(struct target, path), 0, 0, true },
	{ "on", CONFIG_KEY_BOOL, offsetof(struct target, on), 0, 0, false },
	{ "n", CONFIG_KEY_POWER, offsetof(struct target, n), 2, 16, false },
	{ "text", CONFIG_KEY_TEXT, offsetof(struct target, text), 0, 8, false },
	{ "later", CONFIG_KEY_UNSUPPORTED, 0, 0, 0, false },
	{ 0 },
};

Test(config_keys, sets_fields)
{
	struct target t = { 0 };
	struct failure f = { 0 };

	cr_assert_eq(config_keys_parse("--x", "path=a=b,on=on,n=8,text=hi there,later=off", keys,
				       &t, &f),
		     FAILED, "a text longer than its field must be refused");
	cr_assert_eq(config_keys_parse("--x", "path=a=b,on=on,n=8,text=h i,later=off", keys, &t,
				       &f),
		     0);
	cr_assert_str_eq(t.path, "a=b");
	cr_assert(t.on);
	cr_assert_eq(t.n, 8);
	cr_assert_str_eq(t.text, "h i");
	free(t.path);
}

Test(config_keys, quotes_hold_commas)
{
	struct target t = { 0 };
	struct failure f = { 0 };

	cr_assert_eq(config_keys_parse("--x", "path=\"a,on=off\",on=on", keys, &t, &f), 0);
	cr_assert_str_eq(t.path, "a,on=off");
	cr_assert(t.on);
	free(t.path);
}

Test(config_keys, refuses)
{
	static const struct {
		const char *text;
		const char *line;
	} rows[] = {
		{ "", "--x: missing value" },
		{ "path", "--x path: missing value" },
		{ "path=", "--x path: missing value" },
		{ "on=on", "--x path: required" },
		{ "path=a,path=b", "--x path: given twice" },
		{ "path=a,colour=red", "--x colour: unknown key" },
		{ "/a", "--x /a: not KEY=VALUE; did you mean path=/a?" },
		{ "path=a,", "--x: a key is missing, key=value expected" },
		{ ",path=a", "--x: a key is missing, key=value expected" },
		{ "path=a,=b", "--x: a key is missing, key=value expected" },
		{ "path=a,on=maybe", "--x on=maybe: must be on or off" },
		{ "path=a,n=1", "--x n=1: must be 2 to 16" },
		{ "path=a,n=17", "--x n=17: must be 2 to 16" },
		{ "path=a,n=6", "--x n=6: not a power of two" },
		{ "path=a,n=x", "--x n=x: not a number" },
		{ "path=a,later=on", "--x later=on: not supported yet" },
		{ "path=\"a", "--x: a quote is not closed" },
		{ "path=a,text=\x1b[2J", "--x text=?[2J: must be 1 to 7 printable characters" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct target t = { 0 };
		struct failure f = { 0 };

		cr_assert_eq(config_keys_parse("--x", rows[i].text, keys, &t, &f), FAILED, "%s",
			     rows[i].text);
		cr_assert_eq(f.status, STATUS_USAGE);
		cr_assert_str_eq(f.text, rows[i].line);
		free(t.path);
	}
}
