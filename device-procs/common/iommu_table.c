/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the table; see iommu_table.h. Everything in it may be wrong and may change. */
#include "device-procs/common/iommu_table.h"

#include <assert.h>
#include <stddef.h>

/* Processes of different builds meet here. */
static_assert(sizeof(struct iommu_node) == 64, "a node is a cache line");
static_assert(sizeof(struct iommu_domain) == 64, "domain");
static_assert(sizeof(struct iommu_endpoint) == 64, "endpoint");
static_assert(offsetof(struct iommu_table, operation) == 64, "table");
static_assert(offsetof(struct iommu_table, endpoints) == 128, "table");
static_assert(offsetof(struct iommu_table, nodes) == IOMMU_TABLE_NODES_OFFSET, "table");
static_assert(sizeof(struct iommu_table) == IOMMU_TABLE_BYTES, "table");
static_assert(offsetof(struct iommu_page, epoch) == IOMMU_PAGE_USES_OFFSET, "page");
static_assert(offsetof(struct iommu_page, uses) == IOMMU_PAGE_USES_OFFSET + 4096, "page");
static_assert(sizeof(struct iommu_page) == IOMMU_PAGE_BYTES, "page");
static_assert((IOMMU_FAULTS & (IOMMU_FAULTS - 1)) == 0, "slots are masked");

static uint64_t load64(const uint64_t *at)
{
	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

/* seq first: an even one says that the rest is a mapping, and it stays as it is in a section. */
static bool copy_node(const struct iommu_table *table, uint32_t n, struct iommu_mapping *ret)
{
	const struct iommu_node *node = &table->nodes[n];

	ret->node = n;
	ret->seq = __atomic_load_n(&node->seq, __ATOMIC_ACQUIRE);
	ret->start = load64(&node->start);
	ret->last = load64(&node->last);
	ret->phys = load64(&node->phys);
	ret->flags = __atomic_load_n(&node->flags, __ATOMIC_RELAXED);
	return (ret->seq & 1) == 0;
}

bool iommu_table_find(const struct iommu_table *table, uint32_t domain, uint64_t iova,
		      struct iommu_mapping *ret)
{
	const uint32_t *next = table->domains[domain].head;
	uint32_t level = IOMMU_LEVELS, found = 0, n_steps = 0;

	while (level > 0) {
		uint32_t n = __atomic_load_n(&next[level - 1], __ATOMIC_ACQUIRE);

		if (n == 0 || n >= IOMMU_NODES || load64(&table->nodes[n].start) > iova) {
			level--;
			continue;
		}
		if (++n_steps > IOMMU_STEPS_MAX)
			return false;
		found = n;
		next = table->nodes[n].next;
	}
	return found != 0 && copy_node(table, found, ret) && ret->start <= iova &&
	       iova <= ret->last;
}
