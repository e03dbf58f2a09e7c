/* SPDX-License-Identifier: Apache-2.0 */
/*
 * iommu_client.c and virtqueue_iommu.c: translation, permission, faults, what is held for how long;
 * and both sides of the protocol of iommu_table.h at once, on as many threads as there are sides.
 */
#include "device-procs/common/iommu_client.h"

#include <criterion/criterion.h>
#include <linux/virtio_iommu.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "device-procs/common/virtqueue_iommu.h"
#include "device-procs/iommu/iommu_map.h"

#define RAM (16u << 20)
#define PAGE 4096u
#define RW (IOMMU_READ | IOMMU_WRITE)

static struct guest_memory *gm;
static struct iommu_table *table;
static struct iommu_page *pages[2];
static struct iommu_map *map;
static struct iommu_client client;
static int fault_fd = -1;

static void start(void)
{
	static const struct guest_region region = { 0, RAM };

	cr_assert_eq(guest_memory_create(&region, 1, false, false, &gm), 0);
	table = calloc(1, sizeof(*table));
	map = iommu_map_new(table, gm, 42);
	for (uint32_t i = 0; i < 2; i++) {
		pages[i] = calloc(1, sizeof(*pages[i]));
		cr_assert_eq(iommu_map_add_endpoint(map, i, i, pages[i]), 0);
	}
	(void)iommu_map_adopt(map);
	cr_assert(iommu_map_is_settled(map));
	fault_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	iommu_client_init(&client, gm, table, pages[0], 0, fault_fd);
}

static void stop(void)
{
	map = iommu_map_free(map);
	gm = guest_memory_free(gm);
	free(table);
	free(pages[0]);
	free(pages[1]);
	fault_fd = fd_close(fault_fd);
}

TestSuite(iommu_client, .init = start, .fini = stop, .timeout = 110);

static void attach(uint32_t slot)
{
	cr_assert_eq(iommu_map_attach(map, 1, slot, 0), VIRTIO_IOMMU_S_OK);
	cr_assert(iommu_map_is_settled(map));
}

static void do_map(uint64_t iova, uint64_t n_pages, uint64_t phys, uint32_t flags)
{
	cr_assert_eq(iommu_map_map(map, 1, iova, iova + n_pages * PAGE - 1, phys, flags),
		     VIRTIO_IOMMU_S_OK);
}

/* In a section of its own. */
static int span_of(uint64_t iova, uint32_t len, enum span_direction direction,
		   struct iommu_piece *piece)
{
	struct span span;
	int r;

	iommu_client_enter(&client);
	r = iommu_client_span(&client, iova, len, direction, piece, &span);
	iommu_client_leave(&client);
	if (r == 0)
		cr_expect_eq(span_len(&span), piece->len);
	return r;
}

static void expect_fault(uint64_t address, uint32_t flags, uint32_t reason)
{
	const struct iommu_page_fault *f =
		&pages[0]->faults[table->endpoints[0].faults_taken % IOMMU_FAULTS];

	cr_assert_neq(pages[0]->fault_head, table->endpoints[0].faults_taken);
	cr_expect_eq(f->address, address);
	cr_expect_eq(f->flags, flags);
	cr_expect_eq(f->reason, reason);
	table->endpoints[0].faults_taken++;
}

Test(iommu_client, who_is_not_attached_passes_through_unless_that_is_forbidden)
{
	struct iommu_piece piece;

	cr_expect_eq(span_of(0x1234, 100, SPAN_DEVICE_WRITES, &piece), 0);
	cr_expect_eq(piece.gpa, 0x1234);
	cr_expect_eq(piece.node, 0);
	iommu_map_set_bypass(map, false);
	cr_expect_eq(span_of(0x1234, 100, SPAN_DEVICE_WRITES, &piece), IOMMU_FAULT);
	expect_fault(0x1234, IOMMU_WRITE, VIRTIO_IOMMU_FAULT_R_DOMAIN);
	cr_assert_eq(iommu_map_attach(map, 1, 0, VIRTIO_IOMMU_ATTACH_F_BYPASS),
		     VIRTIO_IOMMU_S_OK);
	cr_expect_eq(span_of(0x1234, 100, SPAN_DEVICE_READS, &piece), 0);
	cr_expect_eq(span_of(RAM, 100, SPAN_DEVICE_READS, &piece), IOMMU_FAULT);
	expect_fault(RAM, IOMMU_READ, VIRTIO_IOMMU_FAULT_R_UNKNOWN);
}

Test(iommu_client, a_range_comes_in_pieces)
{
	struct iommu_piece piece;

	attach(0);
	do_map(0x10000, 2, 0x100000, RW);
	do_map(0x12000, 1, 0x300000, RW);
	cr_expect_eq(span_of(0x10010, 0x3000, SPAN_DEVICE_READS, &piece), 0);
	cr_expect_eq(piece.gpa, 0x100010);
	cr_expect_eq(piece.len, 0x1ff0);
	cr_expect_eq(span_of(0x12000, 0x1000, SPAN_DEVICE_READS, &piece), 0);
	cr_expect_eq(piece.gpa, 0x300000);
	cr_expect_eq(piece.len, 0x1000);
	cr_expect_eq(span_of(0x12fff, UINT32_MAX, SPAN_DEVICE_READS, &piece), 0);
	cr_expect_eq(piece.len, 1);
}

Test(iommu_client, permissions_are_kept_apart)
{
	struct iommu_piece piece;

	attach(0);
	do_map(0x10000, 1, 0, IOMMU_READ);
	do_map(0x11000, 1, 0, IOMMU_WRITE);
	do_map(0x12000, 1, 0, 0);
	cr_expect_eq(span_of(0x10000, 1, SPAN_DEVICE_READS, &piece), 0);
	cr_expect_eq(span_of(0x10007, 1, SPAN_DEVICE_WRITES, &piece), IOMMU_FAULT);
	expect_fault(0x10007, IOMMU_WRITE, VIRTIO_IOMMU_FAULT_R_MAPPING);
	cr_expect_eq(span_of(0x11000, 1, SPAN_DEVICE_WRITES, &piece), 0);
	cr_expect_eq(span_of(0x11000, 1, SPAN_DEVICE_READS, &piece), IOMMU_FAULT);
	expect_fault(0x11000, IOMMU_READ, VIRTIO_IOMMU_FAULT_R_MAPPING);
	cr_expect_eq(span_of(0x12000, 1, SPAN_DEVICE_READS, &piece), IOMMU_FAULT);
	cr_expect_eq(span_of(0x12000, 1, SPAN_DEVICE_WRITES, &piece), IOMMU_FAULT);
}

Test(iommu_client, what_is_unmapped_or_mapped_anew_is_not_served_from_the_cache)
{
	struct iommu_piece piece;

	attach(0);
	do_map(0x10000, 1, 0x1000, RW);
	cr_expect_eq(span_of(0x10000, 1, SPAN_DEVICE_READS, &piece), 0);
	cr_expect_eq(span_of(0x10000, 1, SPAN_DEVICE_READS, &piece), 0);
	cr_assert_eq(iommu_map_unmap(map, 1, 0x10000, 0x10fff), VIRTIO_IOMMU_S_OK);
	cr_expect_eq(span_of(0x10000, 1, SPAN_DEVICE_READS, &piece), IOMMU_FAULT);
	cr_assert(iommu_map_is_settled(map));
	do_map(0x10000, 1, 0x5000, RW);
	cr_expect_eq(span_of(0x10000, 1, SPAN_DEVICE_READS, &piece), 0);
	cr_expect_eq(piece.gpa, 0x5000);
	cr_assert_eq(iommu_map_attach(map, 2, 0, 0), VIRTIO_IOMMU_S_OK);
	cr_expect_eq(span_of(0x10000, 1, SPAN_DEVICE_READS, &piece), IOMMU_FAULT, "moved");
}

Test(iommu_client, unmap_waits_for_a_section_and_for_what_is_held)
{
	struct iommu_piece piece;

	attach(0);
	do_map(0x10000, 1, 0x1000, RW);
	iommu_client_enter(&client);
	cr_assert_eq(iommu_client_translate(&client, 0x10000, 1, SPAN_DEVICE_READS, &piece), 0);
	cr_assert_eq(iommu_map_unmap(map, 1, 0x10000, 0x10fff), VIRTIO_IOMMU_S_OK);
	cr_expect_not(iommu_map_is_settled(map));
	iommu_client_hold(&client, piece.node);
	iommu_client_leave(&client);
	cr_expect_not(iommu_map_is_settled(map));
	iommu_client_enter(&client);
	iommu_client_leave(&client);
	cr_expect_not(iommu_map_is_settled(map));
	iommu_client_release(&client, piece.node);
	cr_expect(iommu_map_is_settled(map));
}

Test(iommu_client, faults_are_bounded_and_counted)
{
	struct iommu_piece piece;
	eventfd_t n;

	attach(0);
	for (uint32_t i = 0; i < IOMMU_FAULTS + 10; i++)
		cr_expect_eq(span_of(i, 1, SPAN_DEVICE_READS, &piece), IOMMU_FAULT);
	cr_expect_eq(pages[0]->fault_head, IOMMU_FAULTS);
	cr_expect_eq(pages[0]->n_dropped, 10);
	cr_expect_eq(eventfd_read(fault_fd, &n), 0);
	cr_expect_eq(n, 1, "told once, while nobody takes them");
	table->endpoints[0].faults_taken = IOMMU_FAULTS;
	cr_expect_eq(span_of(7, 1, SPAN_DEVICE_READS, &piece), IOMMU_FAULT);
	expect_fault(7, IOMMU_READ, VIRTIO_IOMMU_FAULT_R_MAPPING);
}

Test(iommu_client, reading_across_mappings)
{
	uint8_t got[8], want[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };

	attach(0);
	do_map(0x10000, 1, 0x1000, RW);
	do_map(0x11000, 1, 0x7000, RW);
	cr_assert_eq(guest_memory_write(gm, gpa(0x1ffd), want, 3), 0);
	cr_assert_eq(guest_memory_write(gm, gpa(0x7000), want + 3, 5), 0);
	iommu_client_enter(&client);
	cr_expect_eq(iommu_client_read(&client, 0x10ffd, got, 8), 0);
	cr_expect_eq(memcmp(got, want, 8), 0);
	cr_expect_eq(iommu_client_read(&client, 0x11ffd, got, 8), IOMMU_FAULT);
	iommu_client_leave(&client);
}

/* The table is the iommu process's, and that may be anybody's. */
Test(iommu_client, forged_tables_lead_nowhere_but_to_guest_ram)
{
	unsigned seed = 5;

	for (uint32_t round = 0; round < 2000; round++) {
		struct iommu_piece piece;

		table->endpoints[0].attached = (uint64_t)rand_r(&seed) << 8 | (rand_r(&seed) % 20);
		for (uint32_t i = 0; i < 2048; i++)
			((uint8_t *)table)[1024 + i] = (uint8_t)rand_r(&seed);
		for (uint32_t i = 1; i < 64; i++) {
			struct iommu_node *n = &table->nodes[i];

			n->start = (uint64_t)rand_r(&seed) << (rand_r(&seed) % 33);
			n->last = rand_r(&seed) % 2 ? UINT64_MAX : n->start + PAGE;
			n->phys = rand_r(&seed) % 2 ? 0 : UINT64_MAX - (uint64_t)rand_r(&seed);
			n->flags = (uint32_t)rand_r(&seed);
			for (uint32_t l = 0; l < IOMMU_LEVELS; l++)
				n->next[l] = (uint32_t)rand_r(&seed) % 70;
		}
		for (uint32_t i = 0; i < IOMMU_DOMAINS_MAX; i++) {
			table->domains[i].state = (uint32_t)rand_r(&seed) % 4;
			table->domains[i].head[7] = (uint32_t)rand_r(&seed) % 64;
		}
		(void)!span_of((uint64_t)rand_r(&seed) << (rand_r(&seed) % 33),
			       1 + (uint32_t)rand_r(&seed), SPAN_DEVICE_WRITES, &piece);
	}
}

/* --- a queue behind it --- */

#define SIZE 8u
#define RINGS 0x40000000u /* I/O address of three pages */

static struct device_page_queue queue_page;
static struct virtqueue vq;
static struct span spans[16];
static struct virtqueue_chain chain;
static uint16_t avail_idx;

static void put(uint64_t at, const void *src, size_t n)
{
	cr_assert_eq(guest_memory_write(gm, gpa(at), src, n), 0);
}

static void desc(uint64_t table_at, uint16_t i, uint64_t addr, uint32_t len, uint16_t flags,
		 uint16_t next)
{
	struct virtqueue_descriptor d = { addr, len, flags, next };

	put(table_at + i * 16u, &d, sizeof(d));
}

static void make_available(uint16_t head)
{
	put(0x2000 + 4 + 2u * (avail_idx % SIZE), &head, 2);
	avail_idx++;
	put(0x2000 + 2, &avail_idx, 2);
}

/* The rings lie at 0x1000, 0x2000 and 0x3000, each in a mapping of its own. */
static void start_queue(void)
{
	struct virtqueue_setup s = {
		.size = SIZE, .desc = RINGS, .avail = RINGS + 0x1000, .used = RINGS + 0x2000,
		.features = VIRTIO_F_INDIRECT_DESC_BIT | VIRTIO_F_EVENT_IDX_BIT,
	};

	attach(0);
	do_map(RINGS, 1, 0x1000, IOMMU_READ);
	do_map(RINGS + 0x1000, 1, 0x2000, IOMMU_READ);
	do_map(RINGS + 0x2000, 1, 0x3000, IOMMU_WRITE);
	memset(&queue_page, 0, sizeof(queue_page));
	chain = (struct virtqueue_chain){ .spans = spans, .n_spans_max = 16 };
	virtqueue_init(&vq, gm, &queue_page);
	cr_assert_eq(virtqueue_use_iommu(&vq, &client, SIZE), 0);
	cr_assert_eq(virtqueue_enable(&vq, &s), 0);
}

static void stop_queue(void)
{
	cr_expect_eq(pages[0]->n_held, 0, "nothing is left behind");
	free(vq.iommu);
}

Test(iommu_client, a_descriptor_becomes_as_many_spans_as_there_are_mappings)
{
	start_queue();
	do_map(0x10000, 1, 0x20000, IOMMU_READ);
	do_map(0x11000, 1, 0x30000, IOMMU_READ);
	do_map(0x12000, 1, 0x40000, IOMMU_WRITE);
	desc(0x1000, 0, 0x10800, 0x1800, 1, 1);
	desc(0x1000, 1, 0x12000, 16, 2, 0);
	make_available(0);
	cr_assert_eq(virtqueue_pop(&vq, &chain), 0);
	cr_expect_eq(chain.n_spans, 3);
	cr_expect_eq(chain.n_readable, 2);
	cr_expect_eq(span_len(&spans[0]), 0x800);
	cr_expect_eq(span_len(&spans[1]), 0x1000);
	cr_expect_eq(chain.readable_len, 0x1800);
	cr_expect(chain.last && !chain.is_bad);
	cr_expect_eq(pages[0]->n_held, 6, "three rings, three buffers");
	virtqueue_push(&vq, 0, 16);
	(void)!virtqueue_flush(&vq);
	stop_queue();
}

Test(iommu_client, a_buffer_that_may_not_be_reached_spoils_its_chain_alone)
{
	start_queue();
	do_map(0x10000, 1, 0x20000, IOMMU_READ);
	desc(0x1000, 0, 0x10ff0, 0x20, 1, 1); /* its second half is not mapped */
	desc(0x1000, 1, 0x10000, 16, 2, 0); /* read-only */
	desc(0x1000, 2, 0x10000, 16, 0, 0);
	make_available(0);
	make_available(2);
	cr_assert_eq(virtqueue_pop(&vq, &chain), 0);
	cr_expect(chain.is_bad && !chain.last);
	cr_expect_eq(chain.n_spans, 0);
	expect_fault(0x11000, IOMMU_READ, VIRTIO_IOMMU_FAULT_R_MAPPING);
	expect_fault(0x10000, IOMMU_WRITE, VIRTIO_IOMMU_FAULT_R_MAPPING);
	cr_assert_eq(virtqueue_pop(&vq, &chain), 0);
	cr_expect(!chain.is_bad && chain.n_spans == 1);
	virtqueue_push(&vq, 0, 0);
	virtqueue_push(&vq, 2, 0);
	(void)!virtqueue_flush(&vq);
	stop_queue();
}

Test(iommu_client, indirect_tables_are_translated_too)
{
	start_queue();
	do_map(0x10000, 1, 0x20000, IOMMU_READ);
	do_map(0x11000, 1, 0x50000, IOMMU_READ);
	desc(0x20ff0, 0, 0x10000, 8, 1, 1);
	desc(0x50000 - 16, 1, 0x10100, 8, 0, 0);
	desc(0x1000, 0, 0x10ff0, 32, 4, 0);
	desc(0x1000, 1, 0x12000, 32, 4, 0); /* unmapped */
	make_available(0);
	make_available(1);
	cr_assert_eq(virtqueue_pop(&vq, &chain), 0, "%s", virtqueue_fault(&vq));
	cr_expect_eq(chain.n_spans, 2);
	cr_assert_eq(virtqueue_pop(&vq, &chain), 0);
	cr_expect(chain.is_bad && chain.n_spans == 0 && !chain.last);
	virtqueue_push(&vq, 0, 0);
	virtqueue_push(&vq, 1, 0);
	(void)!virtqueue_flush(&vq);
	stop_queue();
}

Test(iommu_client, rings_of_an_idle_device_may_go)
{
	uint8_t event[2];

	start_queue();
	cr_expect_not(virtqueue_enable_notify(&vq));
	cr_assert_eq(iommu_map_unmap(map, 1, RINGS, RINGS + 0x2fff), VIRTIO_IOMMU_S_OK);
	cr_expect(iommu_map_is_settled(map), "nothing is in flight");
	put(0x3000 + 4 + 8 * SIZE, "\xaa\xaa", 2);
	cr_expect_not(virtqueue_enable_notify(&vq));
	cr_assert_eq(guest_memory_read(gm, gpa(0x3000 + 4 + 8 * SIZE), event, 2), 0);
	cr_expect_eq(memcmp(event, "\xaa\xaa", 2), 0, "it is the driver's again");
	do_map(RINGS, 3, 0x101000, RW);
	desc(0x1000, 0, 0x10000, 8, 0, 0);
	make_available(0);
	cr_expect_eq(virtqueue_pop(&vq, &chain), VIRTQUEUE_BROKEN, "they lie elsewhere now");
	cr_expect_not_null(strstr(virtqueue_fault(&vq), "unmapped"));
	stop_queue();
}

Test(iommu_client, the_same_rings_mapped_again_are_the_same)
{
	start_queue();
	cr_assert_eq(iommu_map_unmap(map, 1, RINGS, RINGS + 0xfff), VIRTIO_IOMMU_S_OK);
	cr_assert(iommu_map_is_settled(map));
	do_map(RINGS, 1, 0x1000, RW);
	do_map(0x10000, 1, 0x20000, RW);
	desc(0x1000, 0, 0x10000, 8, 0, 0);
	make_available(0);
	cr_expect_eq(virtqueue_pop(&vq, &chain), 0);
	cr_expect_eq(iommu_map_unmap(map, 1, RINGS, RINGS + 0xfff), VIRTIO_IOMMU_S_OK);
	cr_expect_not(iommu_map_is_settled(map), "a request is in flight");
	virtqueue_push(&vq, 0, 0);
	(void)!virtqueue_flush(&vq);
	cr_expect(iommu_map_is_settled(map));
	stop_queue();
}

Test(iommu_client, rings_that_cannot_be_reached_are_refused)
{
	struct virtqueue_setup s = {
		.size = SIZE, .desc = RINGS, .avail = RINGS + 0x1000, .used = RINGS + 0x2000,
	};

	attach(0);
	do_map(RINGS, 3, 0x1000, IOMMU_READ);
	virtqueue_init(&vq, gm, &queue_page);
	cr_assert_eq(virtqueue_use_iommu(&vq, &client, SIZE), 0);
	cr_expect_eq(virtqueue_enable(&vq, &s), VIRTQUEUE_BAD_SETUP, "used is not writable");
	expect_fault(RINGS + 0x2000, IOMMU_WRITE, VIRTIO_IOMMU_FAULT_R_MAPPING);
	stop_queue();
}

/* --- both sides at once --- */

#define STRESS_PAGES 64u
#define STRESS_ROUNDS 20000u

static bool is_offered[STRESS_PAGES]; /* the driver has this page mapped, or is about to */
static bool is_over;
static uint32_t n_bad, n_hits;

static void *reader(void *arg)
{
	struct iommu_client *c = calloc(1, sizeof(*c));
	uint32_t slot = *(uint32_t *)arg;
	unsigned seed = slot + 1;

	iommu_client_init(c, gm, table, pages[slot], slot, -1);
	while (!__atomic_load_n(&is_over, __ATOMIC_ACQUIRE)) {
		uint32_t page = (uint32_t)rand_r(&seed) % STRESS_PAGES, k;
		struct iommu_piece piece;
		int r;

		iommu_client_enter(c);
		r = iommu_client_translate(c, (uint64_t)page * PAGE, 1, SPAN_DEVICE_READS, &piece);
		if (r == 0)
			iommu_client_hold(c, piece.node);
		iommu_client_leave(c);
		__atomic_store_n(&table->endpoints[slot].faults_taken, pages[slot]->fault_head,
				 __ATOMIC_RELAXED);
		if (r != 0)
			continue;
		for (k = 0; k < 20; k++)
			if (piece.gpa != (uint64_t)page * PAGE ||
			    !__atomic_load_n(&is_offered[page], __ATOMIC_RELAXED))
				__atomic_fetch_add(&n_bad, 1, __ATOMIC_RELAXED);
		__atomic_fetch_add(&n_hits, 1, __ATOMIC_RELAXED);
		iommu_client_release(c, piece.node);
	}
	free(c);
	return NULL;
}

/* What a device holds is offered by the driver for as long as it holds it. */
Test(iommu_client, nothing_is_used_after_its_unmap_was_complete)
{
	uint32_t slots[2] = { 0, 1 }, i;
	pthread_t threads[2];
	unsigned seed = 99;

	attach(0);
	attach(1);
	for (i = 0; i < 2; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, reader, &slots[i]), 0);
	for (i = 0; i < STRESS_ROUNDS || (__atomic_load_n(&n_hits, __ATOMIC_RELAXED) < 1000 &&
					  i < 100 * STRESS_ROUNDS);
	     i++) {
		uint32_t page = (uint32_t)rand_r(&seed) % STRESS_PAGES;
		uint64_t at = (uint64_t)page * PAGE;

		if (!is_offered[page]) {
			__atomic_store_n(&is_offered[page], true, __ATOMIC_RELEASE);
			cr_assert_eq(iommu_map_map(map, 1, at, at + PAGE - 1, at, IOMMU_READ), 0);
			continue;
		}
		cr_assert_eq(iommu_map_unmap(map, 1, at, at + PAGE - 1), 0);
		while (!iommu_map_is_settled(map))
			sched_yield();
		__atomic_store_n(&is_offered[page], false, __ATOMIC_RELEASE);
	}
	__atomic_store_n(&is_over, true, __ATOMIC_RELEASE);
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	cr_expect_eq(n_bad, 0);
	cr_expect_gt(n_hits, 0);
	cr_expect_eq(pages[0]->n_held + pages[1]->n_held, 0);
}
