/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bulkhead-net-user may still ask of the kernel once it is sealed. Compiled to BPF at build
 * time. libslirp opens, uses and closes sockets for the guest's connections, so this list has
 * them where no other program's has: IPv4, and nothing that needs a capability.
 */
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "device-procs/common/device_seccomp.h"

const struct seccomp_rule seccomp_rules[] = {
	DEVICE_SECCOMP_RULES_LATE, /* also epoll and close for libslirp's sockets, and datagrams */
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
	IOCTL(FIONREAD, "libslirp: size of the next datagram"),
	IOCTL(FIONBIO, "libslirp: non-blocking sockets"),
	{ .nr = SECCOMP_RULES_END },
};
