/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For builds with AddressSanitizer only, in one source file of each program that is sealed: its
 * leak checker would clone and ptrace at exit, and die of the filter. Options cannot come from
 * the environment, which is empty.
 */
#pragma once

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZER_OPTIONS_NEEDED
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define SANITIZER_OPTIONS_NEEDED
#endif

#ifdef SANITIZER_OPTIONS_NEEDED
const char *__asan_default_options(void);

__attribute__((visibility("default"))) const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}
#endif
