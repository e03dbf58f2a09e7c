/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a VM cannot start or had to end: one line for the user and the exit status.
 *
 * Functions that can fail for a reason the user should read take a struct failure and return
 * FAILED after describing it; the caller only passes that on. main() prints the line.
 */
#pragma once

#include "ipc/cleanup.h"

/* Exit status of bulkhead, interfaces that scripts rely on. */
enum exit_status {
	STATUS_POWERED_OFF = 0,
	STATUS_FAILED = 1, /* the VM could not start, or its core failed */
	STATUS_USAGE = 2,
	STATUS_CRASHED = 3, /* triple fault, unhandled exit */
};

enum failure_result {
	FAILED = 1, /* described in the struct failure */
};

struct failure {
	enum exit_status status;
	char text[512]; /* without the program's name and newline */
};

/** failure_set() - describe a failure; control characters become '?'; Return: always FAILED */
int failure_set(struct failure *f, enum exit_status status, const char *fmt, ...)
	printf_like(3, 4);
