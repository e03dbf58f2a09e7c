/* SPDX-License-Identifier: Apache-2.0 */
/* The power registers: ACPI sleep, reset and events, and what is left of the i8042. */
#include <criterion/criterion.h>
#include <sys/eventfd.h>

#include "vmm-core/machine/acpi_pm.h"
#include "vmm-core/machine/i8042.h"
#include "vmm-core/machine/layout.h"

struct fixture {
	struct acpi_pm pm;
	enum machine_request asked;
};

static void on_request(void *ctx, enum machine_request request)
{
	struct fixture *f = ctx;

	f->asked = request;
}

static void fixture_init(struct fixture *f)
{
	*f = (struct fixture){ .asked = MACHINE_REQUEST_NONE };
	f->pm = (struct acpi_pm){
		.requester = { .request = on_request, .ctx = f },
		.irq_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
	};
	cr_assert_geq(f->pm.irq_fd, 0);
}

static void write_port(struct fixture *f, uint32_t port, uint64_t value)
{
	acpi_pm_io.write(&f->pm, port - LAYOUT_ACPI_SLEEP_CONTROL, 1, value);
}

static uint64_t read_port(struct fixture *f, uint32_t port)
{
	return acpi_pm_io.read(&f->pm, port - LAYOUT_ACPI_SLEEP_CONTROL, 1);
}

static uint64_t take_interrupts(const struct fixture *f)
{
	eventfd_t n = 0;

	(void)eventfd_read(f->pm.irq_fd, &n);
	return n;
}

Test(acpi_pm, sleep_state_5_powers_off)
{
	struct fixture f;

	fixture_init(&f);
	write_port(&f, LAYOUT_ACPI_SLEEP_CONTROL, 0x34);
	cr_assert_eq(f.asked, MACHINE_REQUEST_POWER_OFF);
}

Test(acpi_pm, other_sleep_values_do_nothing)
{
	struct fixture f;

	fixture_init(&f);
	write_port(&f, LAYOUT_ACPI_SLEEP_CONTROL, 0x14); /* type without enable */
	write_port(&f, LAYOUT_ACPI_SLEEP_CONTROL, 0x20); /* S0 */
	write_port(&f, LAYOUT_ACPI_SLEEP_CONTROL, 0x2c); /* S3 */
	write_port(&f, LAYOUT_ACPI_SLEEP_STATUS, 0x34);
	cr_assert_eq(f.asked, MACHINE_REQUEST_NONE);
	cr_assert_eq(read_port(&f, LAYOUT_ACPI_SLEEP_CONTROL), 0);
	cr_assert_eq(read_port(&f, LAYOUT_ACPI_SLEEP_STATUS), 0);
}

Test(acpi_pm, reset_register_takes_1_only)
{
	struct fixture f;

	fixture_init(&f);
	write_port(&f, LAYOUT_ACPI_RESET, 2);
	cr_assert_eq(f.asked, MACHINE_REQUEST_NONE);
	write_port(&f, LAYOUT_ACPI_RESET, 1);
	cr_assert_eq(f.asked, MACHINE_REQUEST_RESET);
}

Test(acpi_pm, power_button_interrupts_and_is_read_once)
{
	struct fixture f;

	fixture_init(&f);
	cr_assert_eq(read_port(&f, LAYOUT_ACPI_EVENTS), 0);
	acpi_pm_press_power_button(&f.pm);
	cr_assert_eq(take_interrupts(&f), 1);
	cr_assert_eq(read_port(&f, LAYOUT_ACPI_EVENTS), LAYOUT_ACPI_EVENT_POWER_BUTTON);
	cr_assert_eq(read_port(&f, LAYOUT_ACPI_EVENTS), 0);
	cr_assert_eq(f.asked, MACHINE_REQUEST_NONE);
}

Test(acpi_pm, reset_forgets_the_power_button)
{
	struct fixture f;

	fixture_init(&f);
	acpi_pm_press_power_button(&f.pm);
	acpi_pm_reset(&f.pm);
	cr_assert_eq(read_port(&f, LAYOUT_ACPI_EVENTS), 0);
}

Test(i8042, reset_command_resets_and_no_other)
{
	struct fixture f;

	fixture_init(&f);
	i8042_command_io.write(&f.pm.requester, 0, 1, 0x20);
	cr_assert_eq(f.asked, MACHINE_REQUEST_NONE);
	i8042_command_io.write(&f.pm.requester, 0, 1, I8042_RESET);
	cr_assert_eq(f.asked, MACHINE_REQUEST_RESET);
}

Test(i8042, status_shows_an_empty_controller)
{
	struct fixture f;

	fixture_init(&f);
	cr_assert_eq(i8042_command_io.read(&f.pm.requester, 0, 1), 0);
	cr_assert_eq(i8042_data_io.read(NULL, 0, 1), 0);
}
