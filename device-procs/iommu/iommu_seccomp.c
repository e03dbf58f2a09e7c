/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bulkhead-iommu may still ask of the kernel once it is sealed. Compiled to BPF at build time.
 */
#include "device-procs/common/device_seccomp.h"

const struct seccomp_rule seccomp_rules[] = {
	DEVICE_SECCOMP_RULES, /* read() also serves the eventfd of faults */
	{ .nr = SECCOMP_RULES_END },
};
