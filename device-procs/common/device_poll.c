/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a device process tries to spin; device_spin.c does it. Nobody tells us whether spinning
 * helps: that depends on the guest and on who shares this CPU. So it is measured: each spin that
 * ends without work doubles the number of wake-ups until the next try, one that finds work clears
 * it.
 */
#include "device-procs/common/device_poll.h"

#define FAILURES_MAX 10u

void device_poll_failed(struct device_poll *p)
{
	if (p->n_failures < FAILURES_MAX)
		p->n_failures++;
	p->n_skip = 1u << p->n_failures;
	p->is_on = false;
}

void device_poll_paid(struct device_poll *p)
{
	p->n_failures = 0;
}

void device_poll_skipped(struct device_poll *p)
{
	if (p->n_skip > 0)
		p->n_skip--;
	p->is_on = p->n_skip == 0;
}
