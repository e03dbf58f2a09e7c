/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line of an allow-list. Every rule says why it is there; tests/ has for each rule something
 * that needs it and something that breaks it.
 *
 * Several rules for one system call are alternatives: the call is allowed when any of them holds.
 */
#pragma once

#include <stdint.h>

#define SECCOMP_VALUES_MAX 3

enum seccomp_test {
	SECCOMP_ANY, /* no condition on arguments */
	SECCOMP_ARG_EQ, /* argument `arg` equals `value`, all 64 bits */
	SECCOMP_ARG_MASKED_ZERO, /* argument `arg` & value == 0 */
	SECCOMP_FIRST_ARGS_EQ, /* the first `arg` arguments equal `values` */
};

struct seccomp_rule {
	int nr; /* SCMP_SYS(name); the table ends with nr == SECCOMP_RULES_END */
	const char *why;
	enum seccomp_test test;
	unsigned arg; /* 0..5 */
	uint64_t value;
	uint64_t values[SECCOMP_VALUES_MAX];
};

#define SECCOMP_RULES_END (-0x7fffffff)

/* Each program that is sealed defines exactly this, in <folder>/<name>_seccomp.c. */
extern const struct seccomp_rule seccomp_rules[];
