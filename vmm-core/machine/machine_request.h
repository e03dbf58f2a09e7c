/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest asks of its machine through a register. */
#pragma once

/* In rising order of precedence when several are asked for before the vCPUs have stopped. */
enum machine_request {
	MACHINE_REQUEST_NONE,
	MACHINE_REQUEST_RESET,
	MACHINE_REQUEST_POWER_OFF,
	MACHINE_REQUEST_CRASH, /* not a wish: the guest cannot run on */
};

/* Called on the vCPU thread that wrote the register; that vCPU executes nothing further. */
struct machine_requester {
	void (*request)(void *ctx, enum machine_request request);
	void *ctx;
};
