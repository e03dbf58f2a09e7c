/* SPDX-License-Identifier: Apache-2.0 */
/* What of a program stays in memory after its start. All processes. */
#pragma once

/**
 * resident_trim() - give back pages of code, constants and unused stack that the start touched
 *
 * Code comes back from the page cache as it is used. Nothing that somebody may still read is lost.
 * Best effort. Context: the stack of the first thread; needs madvise() and dl_iterate_phdr().
 */
void resident_trim(void);
