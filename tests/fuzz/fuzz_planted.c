/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bugs on purpose, one for each input named here: tests/fuzz/run makes sure that every one of them
 * is found, so that a build without its sanitizers cannot pass for a good one.
 */
#include <limits.h>

#include "tests/fuzz/fuzz.h"

static volatile int sum;

static bool is(const uint8_t *data, size_t size, const char *name)
{
	return size == strlen(name) && memcmp(data, name, size) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	volatile char *memory = malloc(8);
	volatile int largest = INT_MAX;

	fuzz_check(memory != NULL);
	if (is(data, size, "overflow"))
		memory[size] = 1;
	if (is(data, size, "undefined"))
		sum = largest + 1;
	if (is(data, size, "invariant"))
		fuzz_check(sum != 0);
	if (is(data, size, "endless"))
		while (largest != 0)
			continue;
	if (!is(data, size, "leak"))
		free((void *)(uintptr_t)memory);
	return 0;
}
