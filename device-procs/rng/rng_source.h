/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the bytes come from: the kernel's getrandom(), or the fd that the warden opened for
 * `--rng src=`. bulkhead-rng. The guest has no say in it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "ipc/cleanup.h"

enum rng_source_result {
	RNG_SOURCE_DRY = 1, /* nothing now; more may come */
	RNG_SOURCE_ENDED = 2, /* a file was read to its end: nothing will come any more */
};

struct rng_source {
	int fd; /* owned; -1: getrandom() */
	bool is_fifo; /* reads 0 bytes while nobody writes, which is not its end */
};

/** rng_source_open() - take @fd, -1 for getrandom(); Return: 0; -errno */
int must_check rng_source_open(int fd, struct rng_source *ret);

/**
 * rng_source_read() - up to @n (> 0) bytes, without waiting
 * Return: 0 with *ret_n > 0; RNG_SOURCE_*; -errno.
 */
int must_check rng_source_read(const struct rng_source *s, void *to, size_t n, size_t *ret_n);
