/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bulkhead-net-user may still ask of the kernel once it is sealed. Compiled to BPF at build
 * time. libslirp opens, uses and closes sockets for the guest's connections, so this list has
 * them where no other program's has: IPv4, and nothing that needs a capability.
 */
#include "sandbox/seccomp_rule.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define ANY(name, why_) { .nr = SCMP_SYS(name), .why = why_, .test = SECCOMP_ANY }
#define NO_EXEC(name, why_)                                                                       \
	{ .nr = SCMP_SYS(name), .why = why_, .test = SECCOMP_ARG_MASKED_ZERO, .arg = 2,           \
	  .value = PROT_EXEC }
#define EQUALS(name, arg_, value_, why_)                                                          \
	{ .nr = SCMP_SYS(name), .why = why_, .test = SECCOMP_ARG_EQ, .arg = arg_, .value = value_ }

const struct seccomp_rule seccomp_rules[] = {
	/* event loop */
	ANY(epoll_wait, "event loop; net_user.c: which sockets are ready"),
	ANY(epoll_ctl, "event loop: kick fds; net_user.c: sockets"),
	ANY(clock_gettime, "clock.h and event loop, where the vDSO has no usable clock"),
	ANY(gettimeofday, "event loop's cached time, where the vDSO has no usable clock"),
	ANY(restart_syscall, "the kernel resumes an interrupted wait after SIGCONT"),
	/* control channel and notifications */
	ANY(recvmsg, "channel.c: messages of the core, with the fds of queues; libslirp: datagrams"),
	ANY(sendmsg, "channel.c: replies to the core; libslirp: datagrams"),
	ANY(read, "kick eventfds"),
	ANY(write, "call eventfds"),
	ANY(close, "fds of a queue that was disabled; libslirp: sockets"),
	/* libslirp */
	EQUALS(socket, 0, AF_INET, "libslirp: a connection, datagrams or an echo of the guest"),
	ANY(connect, "libslirp: a connection of the guest"),
	ANY(bind, "libslirp: the local end"),
	ANY(accept, "libslirp: a connection to a port of hostfwd"),
	ANY(accept4, "libslirp: the same, in newer versions"),
	ANY(shutdown, "libslirp: one direction is at its end"),
	ANY(readv, "libslirp: data of a connection"),
	ANY(writev, "libslirp: data of a connection"),
	ANY(recvfrom, "libslirp: data of a connection, datagrams"),
	ANY(sendto, "libslirp: data of a connection, datagrams"),
	ANY(getsockopt, "libslirp: has a connect succeeded?"),
	ANY(setsockopt, "libslirp: reuse of ports, no delay, urgent data in line"),
	ANY(getsockname, "libslirp: the port that was chosen"),
	ANY(getpeername, "libslirp: is it still connected?"),
	EQUALS(fcntl, 1, F_GETFL, "libslirp: non-blocking sockets"),
	EQUALS(fcntl, 1, F_SETFL, "libslirp: non-blocking sockets"),
	EQUALS(fcntl, 1, F_SETFD, "libslirp: sockets that no exec inherits"),
	EQUALS(ioctl, 1, FIONREAD, "libslirp: size of the next datagram"),
	EQUALS(ioctl, 1, FIONBIO, "libslirp: non-blocking sockets"),
	/* memory: the message codec and libslirp allocate, the C library grows and trims its heap */
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
