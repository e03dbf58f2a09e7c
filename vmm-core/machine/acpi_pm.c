/* SPDX-License-Identifier: Apache-2.0 */
/* Process: bulkhead-core, vCPU threads and event loop. Every offset and value is the guest's. */
#include "vmm-core/machine/acpi_pm.h"

#include <sys/eventfd.h>

#include "vmm-core/machine/layout.h"

enum {
	OFFSET_SLEEP_CONTROL = 0,
	OFFSET_SLEEP_STATUS = LAYOUT_ACPI_SLEEP_STATUS - LAYOUT_ACPI_SLEEP_CONTROL,
	OFFSET_RESET = LAYOUT_ACPI_RESET - LAYOUT_ACPI_SLEEP_CONTROL,
	OFFSET_EVENTS = LAYOUT_ACPI_EVENTS - LAYOUT_ACPI_SLEEP_CONTROL,
};

/* SLEEP_CONTROL_REG: SLP_TYPx in bits 2..4, SLP_EN bit 5. The DSDT gives S5 the type 5. */
#define SLEEP_MASK 0x3cu
#define SLEEP_S5 (0x20u | 5u << 2)

static uint64_t acpi_pm_read(void *ctx, uint64_t offset, unsigned size)
{
	struct acpi_pm *pm = ctx;

	(void)size;
	if (offset == OFFSET_EVENTS)
		return __atomic_exchange_n(&pm->events, 0, __ATOMIC_ACQ_REL);
	return 0; /* control and reset are write-only; the machine never wakes: WAK_STS is clear */
}

static void acpi_pm_write(void *ctx, uint64_t offset, unsigned size, uint64_t value)
{
	struct acpi_pm *pm = ctx;

	(void)size;
	if (offset == OFFSET_SLEEP_CONTROL && (value & SLEEP_MASK) == SLEEP_S5)
		pm->requester.request(pm->requester.ctx, MACHINE_REQUEST_POWER_OFF);
	else if (offset == OFFSET_RESET && (value & 0xff) == 1)
		pm->requester.request(pm->requester.ctx, MACHINE_REQUEST_RESET);
}

const struct io_handler acpi_pm_io = {
	.read = acpi_pm_read,
	.write = acpi_pm_write,
};

void acpi_pm_press_power_button(struct acpi_pm *pm)
{
	__atomic_fetch_or(&pm->events, LAYOUT_ACPI_EVENT_POWER_BUTTON, __ATOMIC_ACQ_REL);
	(void)eventfd_write(pm->irq_fd, 1); /* cannot fill up: KVM drains it */
}

void acpi_pm_reset(struct acpi_pm *pm)
{
	__atomic_store_n(&pm->events, 0, __ATOMIC_RELEASE);
}
