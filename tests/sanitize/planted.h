/* SPDX-License-Identifier: Apache-2.0 */
/* Bugs on purpose; a program in which one of them stays unseen was not built as it should be. */
#pragma once

#include <limits.h>
#include <stdint.h>
#include <stdlib.h>

static inline void planted_leak(void)
{
	volatile char *volatile p = malloc(100);

	if (p != NULL)
		p[0] = 1;
	p = NULL;
}

static inline void planted_undefined(void)
{
	volatile int largest = INT_MAX;

	largest = largest + 1;
}

static inline void planted_overflow(void)
{
	volatile char *volatile p = malloc(8);
	volatile size_t at = 8;

	if (p != NULL)
		p[at] = 1;
	free((void *)(uintptr_t)p);
}

static inline void planted_after_free(void)
{
	volatile char *volatile p = malloc(8);

	free((void *)(uintptr_t)p);
	p[0] = 1;
}
