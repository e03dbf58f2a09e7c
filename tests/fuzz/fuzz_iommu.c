/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to the IOMMU, one after the other, out of chains of any shape; in between the process
 * is replaced, and the table is damaged as a compromised predecessor could. After every step the
 * table must be one in which every mapping is well-formed and apart from the others; a MAP that was
 * said to be OK is found, and after an UNMAP that was nothing is.
 *
 * Input: a sequence of struct step, each with its bytes behind it.
 */
#include <linux/virtio_iommu.h>

#include "device-procs/iommu/iommu_map.h"
#include "device-procs/iommu/iommu_request.h"
#include "tests/fuzz/fuzz.h"

#define RAM (1u << 20)
#define OUT 0x1000u
#define IN 0x2000u
#define STEPS_MAX 200u

struct step {
	uint8_t kind; /* 0 to 3: a request; 4: successor; 5: damage and successor; 6: reset */
	uint8_t n_out, n_in, piece; /* bytes of either part, and in one buffer */
} __attribute__((packed));

static struct guest_memory *gm;
static struct iommu_table *table;
static struct iommu_page *pages[2];
static struct iommu_map *map;
static struct span spans[IOMMU_SPANS_MAX];

/* As iommu_map_free() and _new() would do, without asking for so much memory each time. */
static void take_over(void)
{
	memset(map, 0, offsetof(struct iommu_map, free));
	memset(map->owner, 0, sizeof(map->owner));
	map->table = table;
	map->gm = gm;
	map->random = 43;
	for (uint32_t i = 0; i < 2; i++)
		fuzz_check(iommu_map_add_endpoint(map, i, (i + 1) << 3, pages[i]) == 0);
	(void)iommu_map_adopt(map);
	fuzz_check(iommu_map_is_settled(map));
}

static void start(void)
{
	static const struct guest_region region = { 0, RAM };

	if (gm == NULL) {
		fuzz_check(guest_memory_create(&region, 1, false, false, &gm) == 0);
		table = calloc(1, sizeof(*table));
		map = iommu_map_new(table, gm, 42);
		pages[0] = calloc(1, sizeof(*pages[0]));
		pages[1] = calloc(1, sizeof(*pages[1]));
	}
	memset(table, 0, IOMMU_TABLE_NODES_OFFSET + 512 * sizeof(table->nodes[0]));
	take_over();
}

static void check_domain(const struct iommu_domain *d)
{
	uint64_t above = 0;
	uint32_t n, count = 0;

	for (n = d->head[0]; n != 0; n = table->nodes[n].next[0]) {
		const struct iommu_node *node = &table->nodes[n];

		fuzz_check(n < IOMMU_NODES && ++count < IOMMU_NODES);
		fuzz_check(node->start >= above && node->last >= node->start);
		fuzz_check(node->last <= IOMMU_INPUT_LAST);
		fuzz_check((node->start & 4095) == 0 && (node->last & 4095) == 4095);
		fuzz_check(node->phys < RAM && node->last - node->start < RAM - node->phys);
		fuzz_check(node->last < IOMMU_MSI_START || node->start > IOMMU_MSI_LAST);
		fuzz_check((node->flags & ~3u) == 0 && (node->seq & 1) == 0);
		above = node->last + 1;
	}
	for (uint32_t level = 1; level < IOMMU_LEVELS; level++) {
		uint32_t below = d->head[0];

		for (n = d->head[level]; n != 0; n = table->nodes[n].next[level]) {
			while (below != 0 && below != n)
				below = table->nodes[below].next[0];
			fuzz_check(below == n); /* a part of level 0, in its order */
		}
	}
}

static void check_table(void)
{
	for (uint32_t i = 0; i < IOMMU_DOMAINS_MAX; i++)
		if (table->domains[i].state == IOMMU_DOMAIN_MAPPED)
			check_domain(&table->domains[i]);
}

static bool is_found(const struct iommu_operation *op, uint64_t at)
{
	struct iommu_mapping m;

	for (uint32_t i = 0; i < IOMMU_DOMAINS_MAX; i++)
		if (table->domains[i].state == IOMMU_DOMAIN_MAPPED &&
		    table->domains[i].id == op->domain)
			return iommu_table_find(table, i, at, &m);
	return false;
}

static void apply(const struct iommu_operation *op)
{
	uint8_t status = 0xee;

	iommu_map_begin(map, op);
	switch (op->type) {
	case VIRTIO_IOMMU_T_ATTACH:
		status = iommu_map_attach(map, op->domain, op->endpoint, op->flags);
		break;
	case VIRTIO_IOMMU_T_DETACH:
		status = iommu_map_detach(map, op->domain, op->endpoint);
		break;
	case VIRTIO_IOMMU_T_MAP:
		status = iommu_map_map(map, op->domain, op->start, op->last, op->phys, op->flags);
		if (status == VIRTIO_IOMMU_S_OK)
			fuzz_check(is_found(op, op->start) && is_found(op, op->last));
		break;
	case VIRTIO_IOMMU_T_UNMAP:
		status = iommu_map_unmap(map, op->domain, op->start, op->last);
		if (status == VIRTIO_IOMMU_S_OK)
			fuzz_check(!is_found(op, op->start) && !is_found(op, op->last));
		break;
	default:
		break;
	}
	fuzz_check(status == 0xee || status <= VIRTIO_IOMMU_S_NOMEM);
	fuzz_check(iommu_map_is_settled(map));
	iommu_map_end(map);
}

static void add(struct virtqueue_chain *chain, uint64_t at, uint32_t n, uint32_t piece, bool write)
{
	while (n > 0 && chain->n_spans < chain->n_spans_max) {
		uint32_t len = n < piece ? n : piece;

		fuzz_check(guest_memory_span(gm, gpa(at), len,
					     write ? SPAN_DEVICE_WRITES : SPAN_DEVICE_READS,
					     &spans[chain->n_spans]) == 0);
		chain->n_spans++;
		chain->n_readable += !write;
		*(write ? &chain->writable_len : &chain->readable_len) += len;
		at += len;
		n -= len;
	}
}

static void do_request(struct fuzz_reader *r, const struct step *s)
{
	struct virtqueue_chain chain = { .spans = spans, .n_spans_max = IOMMU_SPANS_MAX };
	struct iommu_request q;
	uint8_t bytes[256], status = 0xee;
	uint32_t len;
	int verdict;

	fuzz_bytes(r, bytes, s->n_out);
	if (s->n_out > 0)
		fuzz_check(guest_memory_write(gm, gpa(OUT), bytes, s->n_out) == 0);
	add(&chain, OUT, s->n_out, s->piece + 1u, false);
	add(&chain, IN, s->n_in, s->piece + 1u, true);
	verdict = iommu_request_parse(&chain, s->kind & 1, &q, &status);
	if (verdict == IOMMU_REQUEST_NO_ANSWER)
		return;
	fuzz_check(q.tail <= IOMMU_PROBE_BYTES && q.tail + IOMMU_TAIL_BYTES <= chain.writable_len);
	fuzz_check(q.op.type >= 1 && q.op.type <= 5);
	if (verdict == 0)
		apply(&q.op);
	else
		fuzz_check(verdict == IOMMU_REQUEST_REJECTED && status == VIRTIO_IOMMU_S_INVAL);
	len = iommu_request_answer(&q, spans + chain.n_readable, chain.n_spans - chain.n_readable,
				   VIRTIO_IOMMU_S_OK);
	fuzz_check(len == 0 || len == q.tail + IOMMU_TAIL_BYTES);
}

static void damage(struct fuzz_reader *r, const struct step *s)
{
	for (uint32_t i = 0; i <= s->n_out % 8u; i++) {
		uint32_t at = fuzz_u16(r) % (IOMMU_TABLE_NODES_OFFSET + 64 * 64);

		((uint8_t *)table)[at] = fuzz_u8(r);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_reader r = { data, size };
	uint32_t i;

	start();
	for (i = 0; i < STEPS_MAX && r.left > 0; i++) {
		struct step s;

		fuzz_bytes(&r, &s, sizeof(s));
		if (s.kind % 8 == 5)
			damage(&r, &s);
		if (s.kind % 8 == 4 || s.kind % 8 == 5)
			take_over();
		else if (s.kind % 8 == 6)
			iommu_map_reset(map);
		else
			do_request(&r, &s);
		fuzz_check(iommu_map_is_settled(map));
		check_table();
	}
	return 0;
}
