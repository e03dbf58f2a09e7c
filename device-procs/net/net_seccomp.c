/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bulkhead-net may still ask of the kernel once it is sealed. Compiled to BPF at build time.
 */
#include "sandbox/seccomp_rule.h"

#include <linux/if_tun.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define ANY(name, why_) { .nr = SCMP_SYS(name), .why = why_, .test = SECCOMP_ANY }
#define NO_EXEC(name, why_)                                                                       \
	{ .nr = SCMP_SYS(name), .why = why_, .test = SECCOMP_ARG_MASKED_ZERO, .arg = 2,           \
	  .value = PROT_EXEC }
#define IOCTL(request, why_)                                                                      \
	{ .nr = SCMP_SYS(ioctl), .why = why_, .test = SECCOMP_ARG_EQ, .arg = 1, .value = request }

const struct seccomp_rule seccomp_rules[] = {
	/* event loop */
	ANY(epoll_wait, "event loop: sleep until a kick, a frame or a message"),
	ANY(epoll_ctl, "event loop: watch and forget kick fds and the tap"),
	ANY(clock_gettime, "clock.h and event loop, where the vDSO has no usable clock"),
	ANY(gettimeofday, "event loop's cached time, where the vDSO has no usable clock"),
	ANY(restart_syscall, "the kernel resumes an interrupted wait after SIGCONT"),
	/* control channel and notifications */
	ANY(recvmsg, "channel.c: messages of the core, with the fds of queues"),
	ANY(sendmsg, "channel.c: replies to the core"),
	ANY(read, "kick eventfds"),
	ANY(write, "call eventfds"),
	ANY(close, "fds of a queue that was disabled"),
	/* the tap */
	ANY(readv, "net_tap.c: a frame for the driver"),
	ANY(writev, "net_tap.c: a frame of the driver"),
	IOCTL(TUNSETOFFLOAD, "net_tap.c: what the driver has accepted"),
	IOCTL(TUNSETQUEUE, "net_tap.c: how many queues the driver uses"),
	IOCTL(TUNSETCARRIER, "net_tap.c: bulkheadctl link"),
	/* memory: the message codec allocates, the C library grows and trims its heap */
	ANY(brk, "malloc: heap"),
	NO_EXEC(mmap, "malloc: large blocks; never executable"),
	NO_EXEC(mprotect, "malloc: heap growth; never executable"),
	ANY(munmap, "malloc: large blocks"),
	{ .nr = SCMP_SYS(madvise), .why = "resident.c: what only the start used is given back",
	  .test = SECCOMP_ARG_EQ, .arg = 2, .value = MADV_DONTNEED },
	ANY(mremap, "malloc: realloc of large blocks"),
	ANY(exit_group, "the end, when the channel closes"),
	{ .nr = SECCOMP_RULES_END },
};
