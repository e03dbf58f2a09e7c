/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "vmm-core/warden/log_ring.h"

static struct log_ring ring;

static void add(unsigned n)
{
	char line[32];

	for (unsigned i = 0; i < n; i++) {
		(void)snprintf(line, sizeof(line), "%u", i);
		log_ring_add(&ring, i % 2 == 0 ? "core" : "blk0", line);
	}
}

Test(log_ring, gives_records_in_order_and_by_source)
{
	uint64_t at = 0, lost;

	cr_assert_null(log_ring_next(&ring, "", &at, &lost));
	add(4);
	cr_assert_str_eq(log_ring_next(&ring, "", &at, &lost)->line, "0");
	cr_assert_str_eq(log_ring_next(&ring, "blk0", &at, &lost)->line, "1");
	cr_assert_str_eq(log_ring_next(&ring, "blk0", &at, &lost)->line, "3");
	cr_assert_null(log_ring_next(&ring, "", &at, &lost));
}

Test(log_ring, tells_how_many_were_lost)
{
	uint64_t at = 0, lost;

	add(LOG_RING_RECORDS + 10);
	cr_assert_str_eq(log_ring_next(&ring, "", &at, &lost)->line, "10");
	cr_assert_eq(lost, 10);
	(void)log_ring_next(&ring, "", &at, &lost);
	cr_assert_eq(lost, 0);
}

Test(log_ring, hides_control_characters)
{
	uint64_t at = 0, lost;

	log_ring_add(&ring, "blk0", "a\x1b[2J\nb");
	cr_assert_str_eq(log_ring_next(&ring, "", &at, &lost)->line, "a?[2J?b");
}
