/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Continuing with the table of a predecessor. bulkhead-iommu, at its start, while devices read the
 * table. Hostile input: the predecessor may have been taken over, or have died between two stores.
 *
 * Level 0 is the truth. It is followed while its nodes are well-formed, ascending and seen for the
 * first time, and cut where they are not; each level above must be a part of it, and is cut too.
 */
#include "device-procs/iommu/iommu_map_internal.h"

#include <linux/virtio_iommu.h>

#include "ipc/log.h"

static uint32_t n_nodes(const struct iommu_map *m)
{
	return m->table->n_nodes < IOMMU_NODES ? m->table->n_nodes : IOMMU_NODES;
}

static void cut(uint32_t *link)
{
	log_limited(LOG_LEVEL_WARNING, "the table is damaged; what lies behind is lost");
	__atomic_store_n(link, 0, __ATOMIC_RELEASE);
}

static bool is_well_formed(const struct iommu_map *m, uint32_t n, uint64_t above)
{
	const struct iommu_node *node;
	struct iommu_mapping mapping;

	if (n >= n_nodes(m) || m->owner[n] != 0)
		return false;
	node = &m->table->nodes[n];
	mapping = (struct iommu_mapping){
		.start = node->start, .last = node->last, .phys = node->phys,
		.flags = node->flags,
	};
	return (node->seq & 1) == 0 && node->start >= above &&
	       iommu_map_check(m, &mapping) == VIRTIO_IOMMU_S_OK;
}

static uint32_t adopt_level0(struct iommu_map *m, struct iommu_domain *d, uint8_t owner)
{
	uint32_t *link = &d->head[0], count = 0;
	uint64_t above = 0; /* addresses below are taken */

	while (*link != 0) {
		struct iommu_node *node;

		if (!is_well_formed(m, *link, above)) {
			cut(link);
			break;
		}
		m->owner[*link] = owner;
		node = &m->table->nodes[*link];
		above = node->last + 1; /* last is below 2^48 */
		link = &node->next[0];
		count++;
	}
	return count;
}

static void adopt_level(struct iommu_map *m, struct iommu_domain *d, uint32_t level, uint8_t owner)
{
	uint32_t *link = &d->head[level];
	uint64_t above = 0;

	while (*link != 0) {
		struct iommu_node *node;

		if (*link >= n_nodes(m) || m->owner[*link] != owner ||
		    m->table->nodes[*link].start < above) {
			cut(link);
			break;
		}
		node = &m->table->nodes[*link];
		above = node->last + 1;
		link = &node->next[level];
	}
}

static bool is_valid(const struct iommu_map *m, uint32_t i)
{
	const struct iommu_domain *d = &m->table->domains[i];
	uint32_t k;

	if (d->state != IOMMU_DOMAIN_MAPPED && d->state != IOMMU_DOMAIN_BYPASS)
		return false;
	for (k = 0; k < i; k++)
		if (m->table->domains[k].state != IOMMU_DOMAIN_FREE &&
		    m->table->domains[k].id == d->id)
			return false;
	return d->id <= IOMMU_DOMAIN_LAST && iommu_map_attached(m, d) != 0;
}

static uint32_t adopt_domain(struct iommu_map *m, uint32_t i)
{
	struct iommu_domain *d = &m->table->domains[i];
	uint32_t level, count = 0;

	if (is_valid(m, i) && d->state == IOMMU_DOMAIN_MAPPED) {
		count = adopt_level0(m, d, (uint8_t)(i + 1));
		for (level = 1; level < IOMMU_LEVELS; level++)
			adopt_level(m, d, level, (uint8_t)(i + 1));
		return count;
	}
	for (level = 0; level < IOMMU_LEVELS; level++)
		__atomic_store_n(&d->head[level], 0, __ATOMIC_RELEASE);
	if (!is_valid(m, i))
		__atomic_store_n(&d->state, IOMMU_DOMAIN_FREE, __ATOMIC_RELEASE);
	return 0;
}

/* Whoever is attached to what is no domain is attached to nothing. */
static void adopt_endpoint(struct iommu_map *m, uint32_t slot)
{
	uint64_t *attached = &m->table->endpoints[slot].attached;
	uint64_t i = *attached & 0xff;

	if (i == 0 || (m->endpoints[slot].page && i <= IOMMU_DOMAINS_MAX &&
		       m->table->domains[i - 1].state != IOMMU_DOMAIN_FREE))
		return;
	__atomic_store_n(attached, ((*attached >> 8) + 1) << 8, __ATOMIC_RELEASE);
}

uint32_t iommu_map_adopt(struct iommu_map *m)
{
	uint32_t i, n, count = 0;

	for (i = 0; i < IOMMU_DOMAINS_MAX; i++)
		count += adopt_domain(m, i);
	for (i = 0; i < IOMMU_ENDPOINTS_MAX; i++)
		adopt_endpoint(m, i);
	if (m->table->n_nodes > IOMMU_NODES)
		m->table->n_nodes = IOMMU_NODES;
	/* What is not linked may still be in use, by a request that was translated before. */
	for (n = 1; n < n_nodes(m); n++)
		if (m->owner[n] == 0)
			iommu_map_retire(m, n);
	iommu_map_wait(m, UINT32_MAX, false);
	m->is_replay = m->table->operation.type != 0;
	return count;
}
