/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a device process spins for work before it sleeps; device_poll.c tells why. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct device_poll {
	bool is_on; /* the next turn spins; queues do not ask for kicks meanwhile */
	uint32_t n_failures; /* spins without work, one after the other */
	uint32_t n_skip; /* wake-ups until the next try */
};

/** device_poll_failed() - a spin ended without work */
void device_poll_failed(struct device_poll *p);

/** device_poll_paid() - a spin found work */
void device_poll_paid(struct device_poll *p);

/** device_poll_skipped() - a wake-up after which nobody spins */
void device_poll_skipped(struct device_poll *p);
