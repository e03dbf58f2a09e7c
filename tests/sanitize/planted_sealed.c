/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same behind the filter of a program that is sealed: planted_sealed BUG. The report must come
 * out and the status must say that the process failed, not that the filter killed it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "ipc/cleanup.h"
#include "sandbox/filters.h"
#include "sandbox/sanitizer_options.h"
#include "tests/sanitize/planted.h"

int main(int argc, char **argv)
{
	static const struct sandbox_profile profile = {
		.name = "planted", .filter = &PLANTED_FILTER, .max_fds = 8, .max_threads = 1,
	};
	static const struct sandbox_params params = { .parent_pidfd = -1 };
	const char *bug = argc > 1 ? argv[1] : "";
	int r;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return 2;
	r = sandbox_seal(&profile, &params);
	if (r != 0) {
		fprintf(stderr, "planted_sealed: %s\n", strerror(-r));
		return 2;
	}
	if (strcmp(bug, "undefined") == 0)
		planted_undefined();
	else if (strcmp(bug, "overflow") == 0)
		planted_overflow();
	else if (strcmp(bug, "after-free") == 0)
		planted_after_free();
	else if (strcmp(bug, "none") != 0)
		return 2;
	return 0;
}
