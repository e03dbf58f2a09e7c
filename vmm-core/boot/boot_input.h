/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files that a guest boots from, and the one line that says why they cannot be used.
 *
 * Runs in the core. The files are hostile: sizes are taken once, every read is checked against
 * them, and a file that shrinks in between ends in an error.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ipc/guest_memory.h"

struct boot_error {
	char *text; /* the caller's room for one line; never NULL */
	size_t len;
};

/* One file; @fd is borrowed. */
struct boot_input {
	int fd;
	uint64_t size;
	const char *flag; /* how the user names it: "--kernel" */
};

#define BOOT_SIZE_TEXT_LEN 32

/** boot_refuse() - write the reason; Return: always -EINVAL */
int must_check boot_refuse(struct boot_error *error, const char *fmt, ...) printf_like(2, 3);

/** boot_fail() - write the reason and keep @r, a negative errno; Return: always @r */
int must_check boot_fail(struct boot_error *error, int r, const char *fmt, ...) printf_like(3, 4);

/** boot_size_text() - @bytes for people, rounded up: "300 MiB"; Return: @text */
const char *boot_size_text(uint64_t bytes, char text[static BOOT_SIZE_TEXT_LEN]);

/**
 * boot_input_open() - look at a file before it is read
 * @flag: a literal; lives as long as @ret
 *
 * Return: 0; -EINVAL when it is empty or no regular file; -errno of fstat. @error is set.
 */
int must_check boot_input_open(int fd, const char *flag, struct boot_error *error,
			       struct boot_input *ret);

/**
 * boot_input_check() - is [offset, offset + n) inside the file?
 * @what: names the part in the error line: "the setup header"
 *
 * Return: 0; -EINVAL, and @error says that the file is truncated.
 */
int must_check boot_input_check(const struct boot_input *in, uint64_t offset, uint64_t n,
				const char *what, struct boot_error *error);

/** boot_input_read() - check and copy a part; Return: 0; -EINVAL; -errno of pread */
int must_check boot_input_read(const struct boot_input *in, uint64_t offset, void *dst, size_t n,
			       const char *what, struct boot_error *error);

/** boot_input_load() - check and load a part to @at; @n may be 0; Return: as boot_input_read() */
int must_check boot_input_load(const struct boot_input *in, uint64_t offset, uint64_t n,
			       const char *what, const struct guest_memory *gm, gpa_t at,
			       struct boot_error *error);
