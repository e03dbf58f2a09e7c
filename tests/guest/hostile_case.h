/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a case of the hostile suites is run, whatever device it attacks: a session, the wrong thing,
 * the outcome that is due, and then the question whether everything works again. A suite says once
 * what a session is and what "works" means; its cases say only what they break.
 */
#pragma once

#include "tap.h"

struct vdev;
struct vq;

struct hostile_target {
	const char *prefix; /* begins the name of each case; "" for none */
	/* A session for the next case, NULL or a detail. NULL: every case starts its own */
	const char *(*start)(void);
	/* NULL, or what does not work after a case; it resets where the case may need that. */
	const char *(*recovers)(void);
	/* Sessions go on from case to case, and so does the memory that they took. */
	bool is_lasting;
};

/*
 * Runs one case, called "PREFIX NAME (RULE)". The first failure counts: of start, run, recovers. A
 * case that fails or is skipped must leave everything well, too.
 */
void hostile_case_of(const struct hostile_target *target, tap_run run, uint64_t argument,
		     const char *rule, const char *name, ...) __attribute__((format(printf, 5, 6)));

/* A case that has a function of its own; tables of them are run in order. */
struct hostile_row {
	const char *name, *rule;
	tap_run run;
	uint64_t argument;
};

void hostile_rows(const struct hostile_target *target, const struct hostile_row *rows, size_t n);

/* Waits for DEVICE_NEEDS_RESET, as long as that may take at the most; NULL or a detail. */
const char *device_needs_reset(const struct vdev *dev);
/* The same, and nothing is used in this queue before or after; for queues without chains under way. */
const char *queue_needs_reset(struct vq *vq);
