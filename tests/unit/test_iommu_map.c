/* SPDX-License-Identifier: Apache-2.0 */
/*
 * iommu_map.c and iommu_adopt.c: every request against the rules of VIRTIO 1.2 §5.13.6, what they
 * wait for, and tables that a predecessor left behind whole, half-written or forged.
 */
#include "device-procs/iommu/iommu_map.h"

#include <criterion/criterion.h>
#include <linux/virtio_iommu.h>
#include <stdlib.h>
#include <string.h>

#define RAM (64u << 20)
#define PAGE 4096u
#define E0 0x10u /* endpoints, in slots 0 and 1 */
#define E1 0x18u
#define RW (IOMMU_READ | IOMMU_WRITE)

static struct guest_memory *gm;
static struct iommu_table *table;
static struct iommu_page *pages[2];
static struct iommu_map *map;

static void take_over(void)
{
	map = iommu_map_free(map);
	map = iommu_map_new(table, gm, 42);
	cr_assert_not_null(map);
	cr_assert_eq(iommu_map_add_endpoint(map, 0, E0, pages[0]), 0);
	cr_assert_eq(iommu_map_add_endpoint(map, 1, E1, pages[1]), 0);
}

static void start(void)
{
	static const struct guest_region region = { 0, RAM };

	cr_assert_eq(guest_memory_create(&region, 1, false, false, &gm), 0);
	table = calloc(1, sizeof(*table));
	pages[0] = calloc(1, sizeof(*pages[0]));
	pages[1] = calloc(1, sizeof(*pages[1]));
	take_over();
	cr_assert_eq(iommu_map_adopt(map), 0);
	cr_assert(iommu_map_is_settled(map));
}

static void stop(void)
{
	map = iommu_map_free(map);
	gm = guest_memory_free(gm);
	free(table);
	free(pages[0]);
	free(pages[1]);
}

TestSuite(iommu_map, .init = start, .fini = stop, .timeout = 60);

static void attach(uint32_t domain, uint32_t endpoint)
{
	cr_assert_eq(iommu_map_attach(map, domain, endpoint, 0), VIRTIO_IOMMU_S_OK);
	cr_assert(iommu_map_is_settled(map));
}

static uint8_t do_map(uint32_t domain, uint64_t start_at, uint64_t last)
{
	return iommu_map_map(map, domain, start_at, last, 0x100000, RW);
}

static uint8_t do_unmap(uint32_t domain, uint64_t start_at, uint64_t last)
{
	uint8_t status = iommu_map_unmap(map, domain, start_at, last);

	cr_assert(iommu_map_is_settled(map), "nobody uses anything");
	return status;
}

static bool is_mapped(uint32_t slot, uint64_t iova)
{
	uint64_t d = table->endpoints[slot].attached & 0xff;
	struct iommu_mapping m;

	return d != 0 && iommu_table_find(table, (uint32_t)d - 1, iova, &m);
}

Test(iommu_map, a_mapping_is_found_by_every_address_in_it_and_by_no_other)
{
	attach(1, E0);
	cr_expect_eq(do_map(1, 0x10000, 0x12fff), VIRTIO_IOMMU_S_OK);
	cr_expect_not(is_mapped(0, 0xffff));
	cr_expect(is_mapped(0, 0x10000));
	cr_expect(is_mapped(0, 0x11234));
	cr_expect(is_mapped(0, 0x12fff));
	cr_expect_not(is_mapped(0, 0x13000));
	cr_expect_not(is_mapped(1, 0x10000), "not attached");
}

Test(iommu_map, endpoints_of_a_domain_share_it)
{
	attach(1, E0);
	cr_expect_eq(do_map(1, 0, PAGE - 1), VIRTIO_IOMMU_S_OK);
	attach(1, E1);
	cr_expect(is_mapped(1, 0));
	cr_expect_eq(do_unmap(1, 0, PAGE - 1), VIRTIO_IOMMU_S_OK);
	cr_expect_not(is_mapped(0, 0));
	cr_expect_not(is_mapped(1, 0));
}

Test(iommu_map, ranges_that_map_refuses)
{
	static const struct {
		const char *what;
		uint64_t start, last, phys;
		uint32_t flags;
		uint8_t status;
	} cases[] = {
		{ "start behind last", 0x2000, 0x0fff, 0, RW, VIRTIO_IOMMU_S_RANGE },
		{ "last is start - 1", 0x1000, 0x0fff, 0, RW, VIRTIO_IOMMU_S_RANGE },
		{ "unaligned start", 0x1001, 0x1fff, 0, RW, VIRTIO_IOMMU_S_RANGE },
		{ "unaligned end", 0x1000, 0x1ffe, 0, RW, VIRTIO_IOMMU_S_RANGE },
		{ "end one too far", 0x1000, 0x2000, 0, RW, VIRTIO_IOMMU_S_RANGE },
		{ "unaligned phys", 0x1000, 0x1fff, 0x800, RW, VIRTIO_IOMMU_S_RANGE },
		{ "one byte", 0x1000, 0x1000, 0, RW, VIRTIO_IOMMU_S_RANGE },
		{ "behind input_range", IOMMU_INPUT_LAST + 1, IOMMU_INPUT_LAST + PAGE, 0, RW,
		  VIRTIO_IOMMU_S_RANGE },
		{ "across its end", IOMMU_INPUT_LAST - PAGE + 1, IOMMU_INPUT_LAST + PAGE, 0, RW,
		  VIRTIO_IOMMU_S_RANGE },
		{ "to the top", 0, UINT64_MAX, 0, RW, VIRTIO_IOMMU_S_RANGE },
		{ "the top page", UINT64_MAX - PAGE + 1, UINT64_MAX, 0, RW, VIRTIO_IOMMU_S_RANGE },
		{ "MSI window", IOMMU_MSI_START, IOMMU_MSI_LAST, 0, RW, VIRTIO_IOMMU_S_INVAL },
		{ "page in it", 0xfee01000, 0xfee01fff, 0, RW, VIRTIO_IOMMU_S_INVAL },
		{ "its first page", 0xfedff000, 0xfee00fff, 0, RW, VIRTIO_IOMMU_S_INVAL },
		{ "its last page", 0xfeeff000, 0xfef00fff, 0, RW, VIRTIO_IOMMU_S_INVAL },
		{ "around it", 0xfe000000, 0xfeffffff, 0, RW, VIRTIO_IOMMU_S_INVAL },
		{ "phys behind RAM", 0x1000, 0x1fff, RAM, RW, VIRTIO_IOMMU_S_FAULT },
		{ "phys across its end", 0x1000, 0x2fff, RAM - PAGE, RW, VIRTIO_IOMMU_S_FAULT },
		{ "phys that wraps", 0x1000, 0x2fff, UINT64_MAX - PAGE + 1, RW,
		  VIRTIO_IOMMU_S_FAULT },
		{ "larger than RAM", 0x100000000, 0x100000000 + RAM + PAGE - 1, 0, RW,
		  VIRTIO_IOMMU_S_FAULT },
		{ "unknown flag", 0x1000, 0x1fff, 0, RW | 8, VIRTIO_IOMMU_S_INVAL },
		{ "MMIO, not offered", 0x1000, 0x1fff, 0, RW | 4, VIRTIO_IOMMU_S_INVAL },
	};

	attach(1, E0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cr_expect_eq(iommu_map_map(map, 1, cases[i].start, cases[i].last, cases[i].phys,
					   cases[i].flags),
			     cases[i].status, "%s", cases[i].what);
	cr_expect_eq(do_map(1, IOMMU_INPUT_LAST - PAGE + 1, IOMMU_INPUT_LAST), VIRTIO_IOMMU_S_OK);
	cr_expect_eq(do_map(1, 0xfedff000, 0xfedfffff), VIRTIO_IOMMU_S_OK, "just below MSI");
	cr_expect_eq(do_map(1, 0xfef00000, 0xfef00fff), VIRTIO_IOMMU_S_OK, "just above MSI");
	cr_expect_eq(iommu_map_map(map, 1, 0x200000000, 0x200000000 + RAM - 1, 0, RW),
		     VIRTIO_IOMMU_S_OK, "all of RAM");
}

Test(iommu_map, overlaps_are_refused_and_neighbours_are_not)
{
	attach(1, E0);
	cr_assert_eq(do_map(1, 0x10000, 0x13fff), VIRTIO_IOMMU_S_OK);
	cr_expect_eq(do_map(1, 0x10000, 0x13fff), VIRTIO_IOMMU_S_INVAL, "the same");
	cr_expect_eq(do_map(1, 0x11000, 0x11fff), VIRTIO_IOMMU_S_INVAL, "inside");
	cr_expect_eq(do_map(1, 0x0f000, 0x10fff), VIRTIO_IOMMU_S_INVAL, "across its start");
	cr_expect_eq(do_map(1, 0x13000, 0x14fff), VIRTIO_IOMMU_S_INVAL, "across its end");
	cr_expect_eq(do_map(1, 0x0f000, 0x14fff), VIRTIO_IOMMU_S_INVAL, "around");
	cr_expect_eq(do_map(1, 0x0f000, 0x0ffff), VIRTIO_IOMMU_S_OK, "just before");
	cr_expect_eq(do_map(1, 0x14000, 0x14fff), VIRTIO_IOMMU_S_OK, "just behind");
}

/* The seven examples of §5.13.6.6, in pages. */
Test(iommu_map, unmap_as_in_the_examples_of_the_specification)
{
	attach(1, E0);
	cr_expect_eq(do_unmap(1, 0, 5 * PAGE - 1), VIRTIO_IOMMU_S_OK, "(1)");
	cr_expect_eq(do_map(1, 0, 10 * PAGE - 1), VIRTIO_IOMMU_S_OK);
	cr_expect_eq(do_unmap(1, 0, 10 * PAGE - 1), VIRTIO_IOMMU_S_OK, "(2)");
	cr_expect_not(is_mapped(0, 0));
	cr_expect_eq(do_map(1, 0, 5 * PAGE - 1), VIRTIO_IOMMU_S_OK);
	cr_expect_eq(do_map(1, 5 * PAGE, 10 * PAGE - 1), VIRTIO_IOMMU_S_OK);
	cr_expect_eq(do_unmap(1, 0, 10 * PAGE - 1), VIRTIO_IOMMU_S_OK, "(3)");
	cr_expect_not(is_mapped(0, 0) || is_mapped(0, 5 * PAGE));
	cr_expect_eq(do_map(1, 0, 10 * PAGE - 1), VIRTIO_IOMMU_S_OK);
	cr_expect_eq(do_unmap(1, 0, 5 * PAGE - 1), VIRTIO_IOMMU_S_RANGE, "(4)");
	cr_expect_eq(do_unmap(1, 5 * PAGE, 10 * PAGE - 1), VIRTIO_IOMMU_S_RANGE, "(4) its end");
	cr_expect_eq(do_unmap(1, PAGE, 2 * PAGE - 1), VIRTIO_IOMMU_S_RANGE, "(4) inside");
	cr_expect(is_mapped(0, 0) && is_mapped(0, 10 * PAGE - 1));
	cr_expect_eq(do_unmap(1, 0, UINT64_MAX), VIRTIO_IOMMU_S_OK, "all there is");
	cr_expect_eq(do_map(1, 0, 5 * PAGE - 1), VIRTIO_IOMMU_S_OK);
	cr_expect_eq(do_map(1, 5 * PAGE, 10 * PAGE - 1), VIRTIO_IOMMU_S_OK);
	cr_expect_eq(do_unmap(1, 0, 5 * PAGE - 1), VIRTIO_IOMMU_S_OK, "(5)");
	cr_expect(!is_mapped(0, 0) && is_mapped(0, 5 * PAGE));
	cr_expect_eq(do_unmap(1, 4 * PAGE, 20 * PAGE - 1), VIRTIO_IOMMU_S_OK, "(6)");
	cr_expect_not(is_mapped(0, 5 * PAGE));
	cr_expect_eq(do_map(1, 0, 5 * PAGE - 1), VIRTIO_IOMMU_S_OK);
	cr_expect_eq(do_map(1, 10 * PAGE, 15 * PAGE - 1), VIRTIO_IOMMU_S_OK);
	cr_expect_eq(do_unmap(1, 0, 15 * PAGE - 1), VIRTIO_IOMMU_S_OK, "(7)");
	cr_expect_not(is_mapped(0, 0) || is_mapped(0, 10 * PAGE));
}

/* All or nothing: the mapping that would be split comes after two that would not. */
Test(iommu_map, an_unmap_that_fails_removes_nothing)
{
	attach(1, E0);
	cr_assert_eq(do_map(1, 0, PAGE - 1), VIRTIO_IOMMU_S_OK);
	cr_assert_eq(do_map(1, PAGE, 2 * PAGE - 1), VIRTIO_IOMMU_S_OK);
	cr_assert_eq(do_map(1, 2 * PAGE, 4 * PAGE - 1), VIRTIO_IOMMU_S_OK);
	cr_expect_eq(do_unmap(1, 0, 3 * PAGE - 1), VIRTIO_IOMMU_S_RANGE);
	cr_expect(is_mapped(0, 0) && is_mapped(0, PAGE) && is_mapped(0, 2 * PAGE));
	cr_expect_eq(do_unmap(1, 0x3000, 0x2fff), VIRTIO_IOMMU_S_RANGE, "inverted");
	cr_expect_eq(do_unmap(1, UINT64_MAX, 0), VIRTIO_IOMMU_S_RANGE, "inverted at the top");
}

Test(iommu_map, domains_and_endpoints_that_do_not_exist)
{
	cr_expect_eq(do_map(1, 0, PAGE - 1), VIRTIO_IOMMU_S_NOENT);
	cr_expect_eq(do_unmap(1, 0, PAGE - 1), VIRTIO_IOMMU_S_NOENT);
	cr_expect_eq(iommu_map_attach(map, 1, 0x999, 0), VIRTIO_IOMMU_S_NOENT);
	cr_expect_eq(iommu_map_detach(map, 1, 0x999), VIRTIO_IOMMU_S_NOENT);
	cr_expect_eq(iommu_map_detach(map, 1, E0), VIRTIO_IOMMU_S_INVAL);
	attach(1, E0);
	cr_expect_eq(iommu_map_detach(map, 2, E0), VIRTIO_IOMMU_S_INVAL);
	cr_expect_eq(iommu_map_detach(map, 1, E1), VIRTIO_IOMMU_S_INVAL);
	cr_expect_eq(iommu_map_attach(map, IOMMU_DOMAIN_LAST + 1, E0, 0), VIRTIO_IOMMU_S_RANGE);
	cr_expect_eq(do_map(UINT32_MAX, 0, PAGE - 1), VIRTIO_IOMMU_S_RANGE);
	cr_expect_eq(iommu_map_attach(map, IOMMU_DOMAIN_LAST, E0, 0), VIRTIO_IOMMU_S_OK);
	cr_expect_eq(iommu_map_add_endpoint(map, 0, 0x20, pages[0]), -EINVAL, "slot taken");
	cr_expect_eq(iommu_map_add_endpoint(map, 5, E0, pages[0]), -EINVAL, "id taken");
	cr_expect_eq(iommu_map_add_endpoint(map, IOMMU_ENDPOINTS_MAX, 0x20, pages[0]), -EINVAL);
}

Test(iommu_map, a_domain_ends_with_its_last_endpoint)
{
	attach(1, E0);
	attach(1, E1);
	cr_assert_eq(do_map(1, 0, PAGE - 1), VIRTIO_IOMMU_S_OK);
	cr_expect_eq(iommu_map_detach(map, 1, E0), VIRTIO_IOMMU_S_OK);
	cr_assert(iommu_map_is_settled(map));
	cr_expect(!is_mapped(0, 0) && is_mapped(1, 0));
	attach(7, E1); /* moves */
	cr_expect_eq(do_map(1, 0, PAGE - 1), VIRTIO_IOMMU_S_NOENT);
	attach(1, E0);
	cr_expect_not(is_mapped(0, 0), "a new domain of that number is empty");
	cr_expect_eq(do_map(1, 0, PAGE - 1), VIRTIO_IOMMU_S_OK);
}

Test(iommu_map, bypass_domains_take_no_mappings)
{
	uint32_t bypass = VIRTIO_IOMMU_ATTACH_F_BYPASS;

	cr_expect_eq(iommu_map_attach(map, 3, E0, bypass), VIRTIO_IOMMU_S_OK);
	cr_assert(iommu_map_is_settled(map));
	cr_expect_eq(do_map(3, 0, PAGE - 1), VIRTIO_IOMMU_S_INVAL);
	cr_expect_eq(do_unmap(3, 0, PAGE - 1), VIRTIO_IOMMU_S_INVAL);
	cr_expect_eq(iommu_map_attach(map, 3, E1, 0), VIRTIO_IOMMU_S_INVAL);
	cr_expect_eq(iommu_map_attach(map, 3, E1, bypass), VIRTIO_IOMMU_S_OK);
	cr_assert(iommu_map_is_settled(map));
	attach(4, E0);
	cr_expect_eq(iommu_map_attach(map, 4, E1, bypass), VIRTIO_IOMMU_S_INVAL);
}

Test(iommu_map, the_table_fills_up_and_empties)
{
	uint32_t n = 0;

	attach(1, E0);
	while (do_map(1, (uint64_t)n * 2 * PAGE, (uint64_t)n * 2 * PAGE + PAGE - 1) ==
	       VIRTIO_IOMMU_S_OK)
		n++;
	cr_expect_eq(n, IOMMU_NODES - 1);
	cr_expect_eq(do_map(1, PAGE, 2 * PAGE - 1), VIRTIO_IOMMU_S_NOMEM);
	cr_expect(is_mapped(0, (uint64_t)(n - 1) * 2 * PAGE));
	cr_expect_eq(do_unmap(1, 0, PAGE - 1), VIRTIO_IOMMU_S_OK);
	cr_expect_eq(do_map(1, PAGE, 2 * PAGE - 1), VIRTIO_IOMMU_S_OK);
	cr_expect_eq(do_unmap(1, 0, UINT64_MAX), VIRTIO_IOMMU_S_OK);
	cr_expect_not(is_mapped(0, PAGE));
	cr_expect_eq(do_map(1, PAGE, 2 * PAGE - 1), VIRTIO_IOMMU_S_OK);
}

Test(iommu_map, random_requests_agree_with_a_plain_model)
{
	enum { PAGES = 64 };
	int8_t model[PAGES]; /* -1: free; else the first page of its mapping */
	unsigned seed = 7;

	memset(model, -1, sizeof(model));
	attach(1, E0);
	for (uint32_t i = 0; i < 20000; i++) {
		int a = rand_r(&seed) % PAGES, n = 1 + rand_r(&seed) % 5, k;
		bool fits = a + n <= PAGES, is_free = true, splits = false;
		uint64_t at = (uint64_t)a * PAGE, last = at + (uint64_t)n * PAGE - 1;

		if (!fits)
			continue;
		for (k = a; k < a + n; k++)
			is_free &= model[k] < 0;
		splits = (model[a] >= 0 && model[a] < a) ||
			 (a + n < PAGES && model[a + n] >= 0 && model[a + n] < a + n);
		if (rand_r(&seed) % 2) {
			cr_assert_eq(do_map(1, at, last),
				     is_free ? VIRTIO_IOMMU_S_OK : VIRTIO_IOMMU_S_INVAL);
			for (k = a; k < a + n && is_free; k++)
				model[k] = (int8_t)a;
		} else {
			cr_assert_eq(do_unmap(1, at, last),
				     splits ? VIRTIO_IOMMU_S_RANGE : VIRTIO_IOMMU_S_OK);
			for (k = a; k < a + n && !splits; k++)
				model[k] = -1;
		}
		k = rand_r(&seed) % PAGES;
		cr_assert_eq(is_mapped(0, (uint64_t)k * PAGE + 5), model[k] >= 0);
	}
}

/* --- waiting --- */

Test(iommu_map, unmap_waits_for_whoever_uses_the_mapping)
{
	struct iommu_mapping m;

	attach(1, E0);
	attach(1, E1);
	cr_assert_eq(do_map(1, 0, PAGE - 1), VIRTIO_IOMMU_S_OK);
	cr_assert_eq(do_map(1, PAGE, 2 * PAGE - 1), VIRTIO_IOMMU_S_OK);
	cr_assert(iommu_table_find(table, 0, 0, &m));
	pages[1]->uses[m.node] = 1;
	cr_expect_eq(do_unmap(1, PAGE, 2 * PAGE - 1), VIRTIO_IOMMU_S_OK, "another mapping");
	cr_expect_eq(iommu_map_unmap(map, 1, 0, PAGE - 1), VIRTIO_IOMMU_S_OK);
	cr_expect_not(iommu_map_is_settled(map));
	cr_expect(iommu_map_waits_for(map, 1) && !iommu_map_waits_for(map, 0));
	cr_expect_not(iommu_table_find(table, 0, 0, &m), "it is gone for new requests");
	pages[1]->uses[m.node] = 0;
	cr_expect(iommu_map_is_settled(map));
	cr_expect_not(iommu_map_waits_for(map, 1));
}

Test(iommu_map, unmap_waits_for_sections_that_had_begun)
{
	attach(1, E0);
	cr_assert_eq(do_map(1, 0, PAGE - 1), VIRTIO_IOMMU_S_OK);
	pages[0]->epoch = 5;
	cr_expect_eq(iommu_map_unmap(map, 1, 0, PAGE - 1), VIRTIO_IOMMU_S_OK);
	cr_expect_not(iommu_map_is_settled(map));
	cr_expect_not(iommu_map_is_settled(map));
	pages[0]->epoch = 7; /* over, and the next has begun */
	cr_expect(iommu_map_is_settled(map));
	pages[0]->epoch = 8;
	pages[1]->epoch = 5; /* not in this domain */
	cr_assert_eq(do_map(1, 0, PAGE - 1), VIRTIO_IOMMU_S_OK);
	cr_expect_eq(do_unmap(1, 0, PAGE - 1), VIRTIO_IOMMU_S_OK);
}

Test(iommu_map, a_node_is_not_used_again_before_it_was_given_up)
{
	struct iommu_mapping m;

	attach(1, E0);
	cr_assert_eq(do_map(1, 0, PAGE - 1), VIRTIO_IOMMU_S_OK);
	cr_assert(iommu_table_find(table, 0, 0, &m));
	pages[0]->uses[m.node] = 1;
	cr_expect_eq(iommu_map_unmap(map, 1, 0, PAGE - 1), VIRTIO_IOMMU_S_OK);
	cr_expect_not(iommu_table_is_alive(table, &m));
	cr_expect_not(iommu_map_is_settled(map));
	cr_expect_eq(map->n_free, 0);
	pages[0]->uses[m.node] = 0;
	cr_expect(iommu_map_is_settled(map));
	cr_assert_eq(do_map(1, 0, PAGE - 1), VIRTIO_IOMMU_S_OK);
	cr_expect_not(iommu_table_is_alive(table, &m), "the same node, another mapping");
}

Test(iommu_map, attach_and_detach_wait_for_all_that_an_endpoint_holds)
{
	pages[0]->n_held = 1; /* a request from before, without translation */
	cr_expect_eq(iommu_map_attach(map, 1, E0, 0), VIRTIO_IOMMU_S_OK);
	cr_expect_not(iommu_map_is_settled(map));
	pages[0]->n_held = 0;
	cr_expect(iommu_map_is_settled(map));
	pages[0]->n_held = 2;
	cr_expect_eq(iommu_map_attach(map, 1, E0, 0), VIRTIO_IOMMU_S_OK, "already there");
	cr_expect(iommu_map_is_settled(map));
	cr_expect_eq(iommu_map_detach(map, 1, E0), VIRTIO_IOMMU_S_OK);
	cr_expect_not(iommu_map_is_settled(map));
	pages[0]->n_held = 0;
	cr_expect(iommu_map_is_settled(map));
}

Test(iommu_map, reset_detaches_everybody_and_waits_for_them)
{
	attach(1, E0);
	attach(2, E1);
	cr_assert_eq(do_map(1, 0, PAGE - 1), VIRTIO_IOMMU_S_OK);
	pages[1]->n_held = 1;
	iommu_map_reset(map);
	cr_expect_not(iommu_map_is_settled(map));
	pages[1]->n_held = 0;
	cr_expect(iommu_map_is_settled(map));
	cr_expect_not(is_mapped(0, 0));
	cr_expect_eq(do_map(1, 0, PAGE - 1), VIRTIO_IOMMU_S_NOENT);
	cr_expect_eq(do_map(2, 0, PAGE - 1), VIRTIO_IOMMU_S_NOENT);
}

/* --- successors --- */

static void map_many(uint32_t domain, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		cr_assert_eq(iommu_map_map(map, domain, (uint64_t)i * 2 * PAGE,
					   (uint64_t)i * 2 * PAGE + PAGE - 1, (uint64_t)i * PAGE,
					   IOMMU_READ),
			     VIRTIO_IOMMU_S_OK);
}

Test(iommu_map, a_successor_loses_nothing)
{
	struct iommu_mapping m;

	attach(1, E0);
	attach(2, E1);
	map_many(1, 1000);
	map_many(2, 500);
	cr_assert_eq(do_unmap(1, 0, PAGE - 1), VIRTIO_IOMMU_S_OK);
	take_over();
	cr_expect_eq(iommu_map_adopt(map), 1499);
	cr_assert(iommu_map_is_settled(map));
	cr_expect_eq(map->n_free, 1);
	for (uint32_t i = 1; i < 1000; i++) {
		cr_assert(iommu_table_find(table, 0, (uint64_t)i * 2 * PAGE, &m), "%u", i);
		cr_assert_eq(m.phys, (uint64_t)i * PAGE);
		cr_assert_eq(m.flags, IOMMU_READ);
	}
	cr_expect_eq(do_map(1, 4 * PAGE, 5 * PAGE - 1), VIRTIO_IOMMU_S_INVAL, "still taken");
	cr_expect_eq(do_unmap(1, 0, UINT64_MAX), VIRTIO_IOMMU_S_OK);
	cr_expect_eq(do_unmap(2, 0, UINT64_MAX), VIRTIO_IOMMU_S_OK);
	cr_expect_eq(map->n_free, 1500);
}

static struct iommu_operation op_map(uint64_t start_at)
{
	return (struct iommu_operation){
		.type = VIRTIO_IOMMU_T_MAP, .domain = 1, .start = start_at,
		.last = start_at + PAGE - 1, .phys = 0x100000, .flags = RW,
	};
}

/* The predecessor did it but did not say so: the same request comes again. */
Test(iommu_map, the_request_of_the_death_is_done_once)
{
	struct iommu_operation op = op_map(0);
	struct iommu_operation detach = {
		.type = VIRTIO_IOMMU_T_DETACH, .domain = 1, .endpoint = E0,
	};

	attach(1, E0);
	iommu_map_begin(map, &op);
	cr_assert_eq(do_map(1, 0, PAGE - 1), VIRTIO_IOMMU_S_OK);
	take_over();
	cr_assert_eq(iommu_map_adopt(map), 1);
	cr_assert(iommu_map_is_settled(map));
	iommu_map_begin(map, &op);
	cr_expect_eq(do_map(1, 0, PAGE - 1), VIRTIO_IOMMU_S_OK);
	iommu_map_end(map);
	iommu_map_begin(map, &op);
	cr_expect_eq(do_map(1, 0, PAGE - 1), VIRTIO_IOMMU_S_INVAL, "and the next is a new one");
	iommu_map_end(map);
	iommu_map_begin(map, &detach);
	cr_assert_eq(iommu_map_detach(map, 1, E0), VIRTIO_IOMMU_S_OK);
	take_over();
	(void)iommu_map_adopt(map);
	cr_assert(iommu_map_is_settled(map));
	iommu_map_begin(map, &detach);
	cr_expect_eq(iommu_map_detach(map, 1, E0), VIRTIO_IOMMU_S_OK);
	cr_assert(iommu_map_is_settled(map));
	iommu_map_end(map);
}

Test(iommu_map, another_request_after_a_death_is_judged_as_ever)
{
	struct iommu_operation op = op_map(0), other = op_map(PAGE);

	attach(1, E0);
	cr_assert_eq(do_map(1, PAGE, 2 * PAGE - 1), VIRTIO_IOMMU_S_OK);
	iommu_map_begin(map, &op);
	take_over();
	(void)iommu_map_adopt(map);
	iommu_map_begin(map, &other);
	cr_expect_eq(do_map(1, PAGE, 2 * PAGE - 1), VIRTIO_IOMMU_S_INVAL);
}

Test(iommu_map, a_successor_waits_for_what_its_predecessor_had_unlinked)
{
	struct iommu_mapping m;

	attach(1, E0);
	map_many(1, 10);
	cr_assert(iommu_table_find(table, 0, 0, &m));
	pages[0]->uses[m.node] = 1;
	cr_assert_eq(iommu_map_unmap(map, 1, 0, PAGE - 1), VIRTIO_IOMMU_S_OK);
	cr_assert_not(iommu_map_is_settled(map));
	take_over();
	cr_expect_eq(iommu_map_adopt(map), 9);
	cr_expect_not(iommu_map_is_settled(map));
	pages[0]->uses[m.node] = 0;
	cr_expect(iommu_map_is_settled(map));
}

/* Every byte may be wrong: whatever is adopted is well-formed, and the table works afterwards. */
Test(iommu_map, forged_tables_are_adopted_without_harm)
{
	unsigned seed = 3;

	for (uint32_t round = 0; round < 300; round++) {
		memset(table, 0, sizeof(*table));
		take_over();
		(void)iommu_map_adopt(map);
		cr_assert(iommu_map_is_settled(map));
		attach(1, E0);
		attach(2, E1);
		map_many(1, 40);
		map_many(2, 20);
		for (uint32_t i = 0; i < 1 + round % 8; i++) {
			uint8_t *at = rand_r(&seed) % 2 ? (uint8_t *)table : (uint8_t *)table->nodes;

			at[(uint32_t)rand_r(&seed) % 4096] = (uint8_t)rand_r(&seed);
		}
		take_over();
		(void)iommu_map_adopt(map);
		cr_assert(iommu_map_is_settled(map));
		iommu_map_reset(map);
		cr_assert(iommu_map_is_settled(map));
		attach(1, E0);
		cr_assert_eq(do_map(1, 0, PAGE - 1), VIRTIO_IOMMU_S_OK);
		cr_assert(is_mapped(0, 0));
	}
}

Test(iommu_map, a_cycle_is_cut)
{
	attach(1, E0);
	map_many(1, 3);
	table->nodes[3].next[0] = 1;
	table->nodes[2].next[1] = 2;
	take_over();
	cr_expect_eq(iommu_map_adopt(map), 3);
	cr_expect_eq(table->nodes[3].next[0], 0);
}
