/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running as a plain user: the warden moves into a user namespace of its own in which it is root
 * over the user's subordinate ids, so that everything after this is the same as for real root.
 *
 *	id 0		the user
 *	ids 1..N	the user's range in /etc/subuid and /etc/subgid, by newuidmap(1), newgidmap(1)
 *
 * Without such a range only the user's own id is mapped, and only when --allow-weak-sandbox was
 * given.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "vmm-core/warden/failure.h"
#include "vmm-core/warden/uid_block.h"

struct subid_range {
	uint32_t first;
	uint32_t count;
};

/**
 * subid_find() - the largest range of a user in a file like /etc/subuid
 * @name: login name, NULL when it has none
 * Lines that are not NAME:FIRST:COUNT are skipped. Return: true when there is one.
 */
bool subid_find(FILE *in, const char *name, uint32_t uid, struct subid_range *ret);

/**
 * rootless_enter() - as root: nothing but choosing the range; otherwise: the user namespace
 * @ret_range: ids that VMs may take
 * @ret_weak: true when all processes will share one id
 *
 * Call once, early, with one thread. Return: 0; FAILED.
 */
int must_check rootless_enter(bool allow_weak, struct uid_range *ret_range, bool *ret_weak,
			      struct failure *f);
