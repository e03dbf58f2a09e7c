/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every fuzz target shares: the reader that turns an input into choices, and the check that
 * ends the run when an invariant does not hold. A target is one file fuzz_NAME.c; libFuzzer calls
 * it with every input, in one process, so what it keeps between calls must not change the outcome.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* libFuzzer's entry points */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** fuzz_check() - an invariant: when it is false the input is kept and the run has failed */
#define fuzz_check(condition)                                                                     \
	do {                                                                                      \
		if (!(condition))                                                                 \
			fuzz_fail(__FILE__, __LINE__, #condition);                                \
	} while (0)

static inline _Noreturn void fuzz_fail(const char *file, int line, const char *condition)
{
	(void)fprintf(stderr, "%s:%d: invariant does not hold: %s\n", file, line, condition);
	abort();
}

/* Takes values from the front of an input; what is missing at its end reads as zero. */
struct fuzz_reader {
	const uint8_t *at;
	size_t left;
};

static inline void fuzz_bytes(struct fuzz_reader *r, void *ret, size_t n)
{
	size_t have = n < r->left ? n : r->left;

	memset(ret, 0, n);
	if (have > 0)
		memcpy(ret, r->at, have);
	r->at += have;
	r->left -= have;
}

static inline uint8_t fuzz_u8(struct fuzz_reader *r)
{
	uint8_t v;

	fuzz_bytes(r, &v, sizeof(v));
	return v;
}

static inline uint16_t fuzz_u16(struct fuzz_reader *r)
{
	uint16_t v;

	fuzz_bytes(r, &v, sizeof(v));
	return v;
}

static inline uint32_t fuzz_u32(struct fuzz_reader *r)
{
	uint32_t v;

	fuzz_bytes(r, &v, sizeof(v));
	return v;
}

static inline uint64_t fuzz_u64(struct fuzz_reader *r)
{
	uint64_t v;

	fuzz_bytes(r, &v, sizeof(v));
	return v;
}

/** fuzz_is_text() - printable ASCII that ends within @size bytes */
static inline bool fuzz_is_text(const char *text, size_t size)
{
	size_t len = strnlen(text, size);

	for (size_t i = 0; i < len; i++) {
		if (text[i] < ' ' || text[i] > '~')
			return false;
	}
	return len < size;
}
