/* SPDX-License-Identifier: Apache-2.0 */
/* What of a program stays in memory after its start. All processes. */
#pragma once

/**
 * resident_trim() - give the pages of code and constants back that the start has touched
 *
 * They come back from the page cache as they are used. Nothing that was ever written is touched.
 * Best effort. Context: any; needs madvise() and dl_iterate_phdr().
 */
void resident_trim(void);
