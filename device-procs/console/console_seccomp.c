/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bulkhead-console may still ask of the kernel once it is sealed. Compiled to BPF at build
 * time. read() and sendmsg() of the common part also serve the host's side.
 */
#include <sys/ioctl.h>

#include "device-procs/common/device_seccomp.h"

const struct seccomp_rule seccomp_rules[] = {
	DEVICE_SECCOMP_RULES,
	ANY(poll, "console_host.c: a terminal shared with others, before each piece"),
	ANY(writev, "console_host.c: output, straight from guest memory"),
	ANY(accept4, "console_host.c: the next client of the warden's socket"),
	IOCTL(TIOCGWINSZ, "console_host.c: the size of the terminal"),
	{ .nr = SECCOMP_RULES_END },
};
