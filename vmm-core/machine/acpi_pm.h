/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registers of a hardware-reduced ACPI machine (ACPI 6.4 §4.8.3.7, §4.8.3.6): sleep control
 * and status, reset, and the event word that the generic event device (GED) reads when its
 * interrupt fires. Four byte-wide ports from LAYOUT_ACPI_SLEEP_CONTROL on.
 */
#pragma once

#include "vmm-core/machine/io_bus.h"
#include "vmm-core/machine/machine_request.h"

#define ACPI_PM_PORTS 4u

struct acpi_pm {
	struct machine_requester requester;
	int irq_fd; /* borrowed eventfd of LAYOUT_GSI_ACPI_EVENT */
	uint32_t events; /* atomic: LAYOUT_ACPI_EVENT_* not yet read by the guest */
};

/** acpi_pm_io - the four ports; ctx is a struct acpi_pm */
extern const struct io_handler acpi_pm_io;

/** acpi_pm_press_power_button() - tell the guest; it decides what to do. Any thread. */
void acpi_pm_press_power_button(struct acpi_pm *pm);

/** acpi_pm_reset() - machine reset: forget what was pressed */
void acpi_pm_reset(struct acpi_pm *pm);
