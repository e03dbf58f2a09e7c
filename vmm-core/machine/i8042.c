/* SPDX-License-Identifier: Apache-2.0 */
/* Process: bulkhead-core, vCPU threads. No state, so no lock. Every value comes from the guest. */
#include "vmm-core/machine/i8042.h"

static uint64_t i8042_read(void *ctx, uint64_t offset, unsigned size)
{
	(void)ctx;
	(void)offset;
	(void)size;
	return 0;
}

static void i8042_command_write(void *ctx, uint64_t offset, unsigned size, uint64_t value)
{
	const struct machine_requester *requester = ctx;

	(void)offset;
	(void)size;
	if ((value & 0xff) == I8042_RESET)
		requester->request(requester->ctx, MACHINE_REQUEST_RESET);
}

const struct io_handler i8042_command_io = {
	.read = i8042_read,
	.write = i8042_command_write,
};

const struct io_handler i8042_data_io = {
	.read = i8042_read,
};
