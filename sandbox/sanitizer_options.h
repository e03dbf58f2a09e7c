/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For builds with AddressSanitizer only, in one source file of each program that is sealed.
 * Options cannot come from the environment, which is empty. What each is for:
 *
 *	detect_leaks=0			the leak checker clones, ptraces and reads /proc at exit:
 *					there is no /proc in an empty root. Unit tests run the
 *					same code with the checker on
 *	symbolize=0			would start a program; addr2line does it afterwards
 *	color=never			would ask whether stderr is a terminal
 *	use_sigaltstack=0		a system call at the start and the end of every thread
 *	allocator_release_to_os...	madvise now and then
 *	quarantine_size_mb		what was freed stays in memory, which is limited here
 *
 * A report begins with what is wrong and where; its stack cannot be named from inside, and the
 * attempt (readlink and open in /proc) ends the process by the filter instead of by exit().
 *
 * What is left that the run-time library asks of the kernel is allowed in such builds only:
 * sandbox/seccomp_compile.c.
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
/* One each: with gcc they are two libraries that read their own options. */
const char *__asan_default_options(void);
const char *__ubsan_default_options(void);

__attribute__((visibility("default"))) const char *__asan_default_options(void)
{
	return "detect_leaks=0:symbolize=0:color=never:use_sigaltstack=0:"
	       "allocator_release_to_os_interval_ms=-1:quarantine_size_mb=16";
}

__attribute__((visibility("default"))) const char *__ubsan_default_options(void)
{
	return "symbolize=0:color=never:print_summary=0";
}
#endif
