/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "vmm-core/warden/rootless.h"

static bool find(const char *text, const char *name, struct subid_range *ret)
{
	FILE *in = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
	bool found = subid_find(in, name, 1000, ret);

	(void)fclose(in);
	return found;
}

Test(subid_find, by_name_and_by_number)
{
	struct subid_range r;

	cr_assert(find("bob:5:6\nalice:100000:65536\n", "alice", &r));
	cr_assert_eq(r.first, 100000);
	cr_assert_eq(r.count, 65536);
	cr_assert(find("1000:200000:64\n", "alice", &r));
	cr_assert_eq(r.first, 200000);
	cr_assert(find("1000:200000:64", NULL, &r));
}

Test(subid_find, the_largest_range_wins)
{
	struct subid_range r;

	cr_assert(find("alice:1:64\nalice:1000:128\nalice:5000:32\n", "alice", &r));
	cr_assert_eq(r.first, 1000);
	cr_assert_eq(r.count, 128);
}

Test(subid_find, skips_what_is_not_a_range)
{
	struct subid_range r;

	cr_assert_not(find("alice\nalice:1\nalice:x:64\nalice:1:-64\n# alice:1:2\n"
			   "alice:4294967295:4294967295\nalicea:1:64\n100:1:64\n\n",
			   "alice", &r));
}
