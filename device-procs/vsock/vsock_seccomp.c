/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bulkhead-vsock may still ask of the kernel once it is sealed. Compiled to BPF at build time.
 * No address family but AF_UNIX, and of the file system only what connect() reaches: the folder of
 * its socket, and there only what its uid may write to.
 */
#include "device-procs/common/device_seccomp.h"

#include <sys/socket.h>

#define STREAM (SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)

const struct seccomp_rule seccomp_rules[] = {
	DEVICE_SECCOMP_RULES, /* sendmsg and recvmsg also carry the data of connections */
	{ .nr = SCMP_SYS(socket), .why = "vsock_host.c: a connection that the guest asks for",
	  .test = SECCOMP_FIRST_ARGS_EQ, .arg = 3, .values = { AF_UNIX, STREAM, 0 } },
	ANY(connect, "vsock_host.c: to PATH_<port>"),
	{ .nr = SCMP_SYS(accept4), .why = "vsock_host.c: clients of PATH", .test = SECCOMP_ARG_EQ,
	  .arg = 3, .value = SOCK_NONBLOCK | SOCK_CLOEXEC },
	ANY(recvfrom, "vsock_host.c: the CONNECT line of a client"),
	ANY(sendto, "vsock_host.c: the OK line for a client"),
	ANY(shutdown, "vsock_conn.c: half-closed connections, and ends of kept ones"),
	{ .nr = SECCOMP_RULES_END },
};
