/* SPDX-License-Identifier: Apache-2.0 */
/* What a process does once it is set up and before it serves: one call. */
#pragma once

/**
 * startup_done() - unmap the pages of the program's code that only the start needed
 *
 * A static program's start touches most of its C library, and the kernel maps 64 KiB around every
 * touched page. The code is clean and in the page cache: what is still needed comes back by a
 * minor fault. Saves about 0.6 MiB per process for as long as it lives. Best effort.
 * System call: madvise. Context: any process, one thread, before the sandbox is sealed.
 */
void startup_done(void);
