/* SPDX-License-Identifier: Apache-2.0 */
/* When device_poll.c tries to spin. */
#include "device-procs/common/device_poll.h"

#include <criterion/criterion.h>

static unsigned wakes_until_on(struct device_poll *p)
{
	unsigned n = 0;

	for (; !p->is_on && n < 100000; n++)
		device_poll_skipped(p);
	return n;
}

Test(device_poll, starts_at_the_first_wake)
{
	struct device_poll p = { 0 };

	cr_expect_eq(wakes_until_on(&p), 1);
}

Test(device_poll, backs_off_while_it_does_not_pay)
{
	struct device_poll p = { .is_on = true };
	unsigned n, wakes, last = 1;

	for (n = 0; n < 20; n++) {
		device_poll_failed(&p);
		cr_expect_not(p.is_on);
		wakes = wakes_until_on(&p);
		cr_expect(wakes == 2 * last || wakes == 1024);
		last = wakes;
	}
	cr_expect_eq(last, 1024, "bounded, so that a changed guest is noticed");
}

Test(device_poll, comes_back_when_it_pays)
{
	struct device_poll p = { .is_on = true };
	unsigned n;

	for (n = 0; n < 5; n++)
		device_poll_failed(&p);
	(void)wakes_until_on(&p);
	device_poll_paid(&p);
	cr_expect(p.is_on);
	device_poll_failed(&p);
	cr_expect_eq(wakes_until_on(&p), 2);
}
