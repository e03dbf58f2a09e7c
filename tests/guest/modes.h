/* SPDX-License-Identifier: Apache-2.0 */
/* The modes of the probe guest; README.md says what each does and prints. */
#pragma once

struct mode {
	const char *name;
	void (*run)(void); /* the VM is powered off when it returns */
};

extern const struct mode modes[]; /* ends with a NULL name */

void mode_idle(void) __attribute__((noreturn));
void conformance_run(void);
void iommu_run(void);
void bench_iommu_run(void);
void iommu_drive_run(void);
void mode_drive(void);
void mode_vcon(void);
void hostile_run(void);
void conformance_net_run(void);
void hostile_net_run(void);
void bench_blk_run(void);
void bench_net_run(void);
void bench_tcp_run(void);
void verify_blk_run(void);
void verify_net_run(void);
void vsock_run(void);
void vsock_survive_run(void);
void hostile_vsock_run(void);
void bench_vsock_run(void);
