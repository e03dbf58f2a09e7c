/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bulkhead-net may still ask of the kernel once it is sealed. Compiled to BPF at build time.
 */
#include <linux/if_tun.h>
#include <sys/ioctl.h>

#include "device-procs/common/device_seccomp.h"

const struct seccomp_rule seccomp_rules[] = {
	DEVICE_SECCOMP_RULES_LATE,
	ANY(readv, "net_tap.c: a frame for the driver"),
	ANY(writev, "net_tap.c: a frame of the driver"),
	IOCTL(TUNSETOFFLOAD, "net_tap.c: what the driver has accepted"),
	IOCTL(TUNSETQUEUE, "net_tap.c: how many queues the driver uses"),
	IOCTL(TUNSETCARRIER, "net_tap.c: bulkheadctl link"),
	{ .nr = SECCOMP_RULES_END },
};
