/* SPDX-License-Identifier: Apache-2.0 */
/* One planted bug, in a program that has the project's flags and nothing else: planted BUG. */
#include "tests/sanitize/planted.h"

#include <string.h>

int main(int argc, char **argv)
{
	const char *bug = argc > 1 ? argv[1] : "";

	if (strcmp(bug, "leak") == 0)
		planted_leak();
	else if (strcmp(bug, "undefined") == 0)
		planted_undefined();
	else if (strcmp(bug, "overflow") == 0)
		planted_overflow();
	else if (strcmp(bug, "after-free") == 0)
		planted_after_free();
	else if (strcmp(bug, "none") != 0)
		return 2;
	return 0;
}
