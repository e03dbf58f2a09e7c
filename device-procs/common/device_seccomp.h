/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the common code of device processes needs of the kernel once it is sealed. The first part
 * of every device's allow-list, so that a list names only what is that device's own. Read at
 * build time (sandbox/meson.build).
 */
#pragma once

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* AT_EMPTY_PATH; a build-time tool, without the project's flags */
#endif

#include <fcntl.h>
#include <seccomp.h>
#include <sys/mman.h>

#include "sandbox/seccomp_rule.h"

#define ANY(name, why_) { .nr = SCMP_SYS(name), .why = why_, .test = SECCOMP_ANY }
#define EQUALS(name, arg_, value_, why_)                                                          \
	{ .nr = SCMP_SYS(name), .why = why_, .test = SECCOMP_ARG_EQ, .arg = arg_, .value = value_ }
#define IOCTL(request, why_) EQUALS(ioctl, 1, request, why_)
#define NO_EXEC(name, why_)                                                                       \
	{ .nr = SCMP_SYS(name), .why = why_, .test = SECCOMP_ARG_MASKED_ZERO, .arg = 2,           \
	  .value = PROT_EXEC }

/* Of a process that was sealed after SETUP. */
#define DEVICE_SECCOMP_RULES_LATE                                                                 \
	ANY(epoll_wait, "event loop: sleep until a kick, a completion or a message"),             \
	ANY(epoll_ctl, "event loop: watch and forget the kick fds of queues"),                    \
	ANY(clock_gettime, "clock.h and event loop, where the vDSO has no usable clock"),         \
	ANY(gettimeofday, "event loop's cached time, where the vDSO has no usable clock"),        \
	ANY(restart_syscall, "the kernel resumes an interrupted wait after SIGCONT"),             \
	ANY(recvmsg, "channel.c: messages of the core, with the fds of queues"),                  \
	ANY(sendmsg, "channel.c: replies to the core"),                                           \
	ANY(read, "kick eventfds"),                                                               \
	ANY(write, "call eventfds"),                                                              \
	ANY(close, "fds of a queue that was disabled"),                                           \
	EQUALS(madvise, 2, MADV_DONTNEED, "resident.c: what only the start used is given back"),  \
	ANY(brk, "malloc: heap; the message codec allocates"),                                    \
	NO_EXEC(mmap, "malloc: large blocks; never executable"),                                  \
	NO_EXEC(mprotect, "malloc: heap growth; never executable"),                               \
	ANY(munmap, "malloc: large blocks"),                                                      \
	ANY(mremap, "malloc: realloc of large blocks"),                                           \
	ANY(exit_group, "the end, when the channel closes")

/* Of one that may have been sealed before (is_sealed_early in device.h). */
#define DEVICE_SECCOMP_RULES                                                                      \
	DEVICE_SECCOMP_RULES_LATE,                                                                \
	ANY(poll, "channel.c: wait for SETUP"),                                                   \
	EQUALS(fcntl, 1, F_GET_SEALS, "shared_memory.c: is what SETUP brings sealed?"),           \
	ANY(fstat, "shared_memory.c: and of the right size?"),                                    \
	EQUALS(newfstatat, 3, AT_EMPTY_PATH, "shared_memory.c: fstat() in some C libraries"),     \
	EQUALS(madvise, 2, MADV_DONTDUMP, "guest_memory.c: no guest memory in a core dump")
