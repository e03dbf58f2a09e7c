/* SPDX-License-Identifier: Apache-2.0 */
/* See iommu_map.h; the names I1 to I6 are those of iommu_table.h. Adoption is iommu_adopt.c. */
#include "device-procs/iommu/iommu_map_internal.h"

#include <errno.h>
#include <linux/virtio_iommu.h>
#include <stdlib.h>
#include <string.h>

struct iommu_map *iommu_map_new(struct iommu_table *table, const struct guest_memory *gm,
				uint64_t random_seed)
{
	struct iommu_map *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->table = table;
	m->gm = gm;
	m->random = random_seed | 1;
	return m;
}

struct iommu_map *iommu_map_free(struct iommu_map *m)
{
	free(m);
	return NULL;
}

uint32_t iommu_map_slot(const struct iommu_map *m, uint32_t id)
{
	uint32_t i;

	for (i = 0; i < IOMMU_ENDPOINTS_MAX; i++)
		if (m->endpoints[i].page && m->endpoints[i].id == id)
			break;
	return i;
}

int iommu_map_add_endpoint(struct iommu_map *m, uint32_t slot, uint32_t id,
			   const struct iommu_page *page)
{
	if (slot >= IOMMU_ENDPOINTS_MAX || m->endpoints[slot].page ||
	    iommu_map_slot(m, id) != IOMMU_ENDPOINTS_MAX)
		return -EINVAL;
	m->endpoints[slot].id = id;
	m->endpoints[slot].page = page;
	m->slots |= 1u << slot;
	return 0;
}

/* Return: the lowest slot of a mask that is not empty; it is taken off */
static uint32_t next_slot(uint32_t *slots)
{
	uint32_t slot = (uint32_t)__builtin_ctz(*slots);

	*slots &= *slots - 1;
	return slot;
}

/* --- the wait --- */

void iommu_map_wait(struct iommu_map *m, uint32_t slots, bool for_all)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* I3 */
	slots &= m->slots;
	m->due |= slots;
	/* Nobody to wait for: the retired nodes go back to the free ones all the same. */
	m->is_waiting |= slots != 0 || m->n_retired > 0;
	while (slots != 0) {
		struct iommu_map_endpoint *e = &m->endpoints[next_slot(&slots)];

		e->wait = (struct iommu_wait){
			.is_for_all = for_all,
			.epoch = __atomic_load_n(&e->page->epoch, __ATOMIC_ACQUIRE),
		};
	}
}

static bool is_drained(const struct iommu_map *m, struct iommu_map_endpoint *e)
{
	struct iommu_wait *w = &e->wait;

	if (w->epoch & 1) {
		if (__atomic_load_n(&e->page->epoch, __ATOMIC_ACQUIRE) == w->epoch) /* I4 */
			return false;
		w->epoch = 0;
	}
	if (w->is_for_all && __atomic_load_n(&e->page->n_held, __ATOMIC_ACQUIRE) != 0)
		return false;
	for (; w->n_checked < m->n_retired; w->n_checked++)
		if (__atomic_load_n(&e->page->uses[m->retired[w->n_checked]],
				    __ATOMIC_ACQUIRE) != 0) /* I5 */
			return false;
	return true;
}

bool iommu_map_is_settled(struct iommu_map *m)
{
	uint32_t slots = m->due;

	if (!m->is_waiting)
		return true;
	while (slots != 0) {
		uint32_t slot = next_slot(&slots);

		if (is_drained(m, &m->endpoints[slot]))
			m->due &= ~(1u << slot);
	}
	if (m->due != 0)
		return false;
	memcpy(&m->free[m->n_free], m->retired, m->n_retired * sizeof(m->free[0])); /* I6 */
	m->n_free += m->n_retired;
	m->n_retired = 0;
	m->is_waiting = false;
	return true;
}

bool iommu_map_waits_for(const struct iommu_map *m, uint32_t slot)
{
	return m->due & (1u << slot);
}

/* --- the list --- */

/* Where a search for @key passed: the links that lead to the first node with start >= key. */
struct trace {
	uint32_t before; /* the node before that one; 0: none */
	uint32_t *link[IOMMU_LEVELS];
};

/* Our own table: only we write it, and what a predecessor wrote was verified. */
static void trace(struct iommu_map *m, struct iommu_domain *d, uint64_t key, struct trace *ret)
{
	uint32_t *next = d->head, level;

	ret->before = 0;
	for (level = IOMMU_LEVELS; level-- > 0;) {
		while (next[level] != 0 && m->table->nodes[next[level]].start < key) {
			ret->before = next[level];
			next = m->table->nodes[next[level]].next;
		}
		ret->link[level] = &next[level];
	}
}

static void store64(uint64_t *at, uint64_t v)
{
	__atomic_store_n(at, v, __ATOMIC_RELAXED);
}

static void store32(uint32_t *at, uint32_t v)
{
	__atomic_store_n(at, v, __ATOMIC_RELAXED);
}

static void link_store(uint32_t *link, uint32_t n)
{
	__atomic_store_n(link, n, __ATOMIC_RELEASE);
}

/* Return: a number that is neither linked nor in use anywhere; 0: all are */
static uint32_t take_node(struct iommu_map *m)
{
	uint32_t n = m->table->n_nodes;

	if (m->n_free > 0)
		return m->free[--m->n_free];
	if (n == 0)
		n = 1; /* a new table */
	if (n >= IOMMU_NODES)
		return 0;
	store32(&m->table->n_nodes, n + 1);
	return n;
}

/* One in four is higher than the one below: xorshift64*. */
static uint32_t height(struct iommu_map *m)
{
	uint64_t bits;
	uint32_t h = 1;

	m->random ^= m->random >> 12;
	m->random ^= m->random << 25;
	m->random ^= m->random >> 27;
	bits = (m->random * UINT64_C(0x2545f4914f6cdd1d)) >> 32;
	for (; h < IOMMU_LEVELS && (bits & 3) == 0; bits >>= 2)
		h++;
	return h;
}

static bool insert(struct iommu_map *m, const struct trace *t, const struct iommu_mapping *mapping)
{
	uint32_t n = take_node(m), h = height(m), level;
	struct iommu_node *node = &m->table->nodes[n];

	if (n == 0)
		return false;
	store64(&node->start, mapping->start);
	store64(&node->last, mapping->last);
	store64(&node->phys, mapping->phys);
	store32(&node->flags, mapping->flags);
	store32(&node->seq, (node->seq | 1) + 1);
	for (level = 0; level < IOMMU_LEVELS; level++)
		store32(&node->next[level], level < h ? *t->link[level] : 0);
	for (level = 0; level < h; level++)
		link_store(t->link[level], n);
	return true;
}

void iommu_map_retire(struct iommu_map *m, uint32_t n)
{
	uint32_t *seq = &m->table->nodes[n].seq;

	__atomic_store_n(seq, *seq | 1, __ATOMIC_RELEASE); /* I2 */
	m->retired[m->n_retired++] = n;
}

/* Unlink the nodes from @t up to @last. They keep their own links: readers may stand on them. */
static void unlink_range(struct iommu_map *m, const struct trace *t, uint64_t last)
{
	struct iommu_node *nodes = m->table->nodes;
	uint32_t first = *t->link[0], level, n;

	for (level = IOMMU_LEVELS; level-- > 0;) {
		n = *t->link[level];
		while (n != 0 && nodes[n].start <= last)
			n = nodes[n].next[level];
		link_store(t->link[level], n); /* I1 */
	}
	for (n = first; n != 0 && nodes[n].start <= last; n = nodes[n].next[0])
		iommu_map_retire(m, n);
}

/* --- domains --- */

static struct iommu_domain *find_domain(struct iommu_map *m, uint32_t id)
{
	uint32_t i;

	for (i = 0; i < IOMMU_DOMAINS_MAX; i++) {
		struct iommu_domain *d = &m->table->domains[i];

		if (d->state != IOMMU_DOMAIN_FREE && d->id == id)
			return d;
	}
	return NULL;
}

static struct iommu_domain *new_domain(struct iommu_map *m, uint32_t id, uint32_t state)
{
	uint32_t i;

	for (i = 0; i < IOMMU_DOMAINS_MAX; i++) {
		struct iommu_domain *d = &m->table->domains[i];

		if (d->state != IOMMU_DOMAIN_FREE)
			continue;
		d->id = id;
		store32(&d->state, state);
		return d;
	}
	return NULL;
}

static uint64_t index_of(const struct iommu_map *m, const struct iommu_domain *d)
{
	return (uint64_t)(d - m->table->domains);
}

uint32_t iommu_map_attached(const struct iommu_map *m, const struct iommu_domain *d)
{
	uint32_t left = m->slots, slots = 0;

	while (left != 0) {
		uint32_t slot = next_slot(&left);

		if ((m->table->endpoints[slot].attached & 0xff) == index_of(m, d) + 1)
			slots |= 1u << slot;
	}
	return slots;
}

/* A domain whose last endpoint has gone does not exist. */
static void drop_if_empty(struct iommu_map *m, struct iommu_domain *d)
{
	struct trace all;

	if (iommu_map_attached(m, d) != 0)
		return;
	trace(m, d, 0, &all);
	unlink_range(m, &all, UINT64_MAX);
	store32(&d->state, IOMMU_DOMAIN_FREE);
}

void iommu_map_move(struct iommu_map *m, uint32_t slot, const struct iommu_domain *to)
{
	uint64_t *attached = &m->table->endpoints[slot].attached;
	uint64_t from = *attached & 0xff, n_changes = (*attached >> 8) + 1;

	__atomic_store_n(attached, n_changes << 8 | (to ? index_of(m, to) + 1 : 0),
			 __ATOMIC_RELEASE);
	if (from != 0)
		drop_if_empty(m, &m->table->domains[from - 1]);
}

/* Is the next request the one that the predecessor was at? Then it may be done already. */
static bool is_repeated(struct iommu_map *m)
{
	bool is_replay = m->is_replay;

	m->is_replay = false;
	return is_replay;
}

uint8_t iommu_map_attach(struct iommu_map *m, uint32_t domain, uint32_t endpoint, uint32_t flags)
{
	uint32_t slot = iommu_map_slot(m, endpoint);
	uint32_t state = flags & VIRTIO_IOMMU_ATTACH_F_BYPASS ? IOMMU_DOMAIN_BYPASS :
								 IOMMU_DOMAIN_MAPPED;
	struct iommu_domain *d;

	if (slot == IOMMU_ENDPOINTS_MAX)
		return VIRTIO_IOMMU_S_NOENT;
	if (domain > IOMMU_DOMAIN_LAST)
		return VIRTIO_IOMMU_S_RANGE;
	d = find_domain(m, domain);
	if (d && d->state != state)
		return VIRTIO_IOMMU_S_INVAL;
	if (!d)
		d = new_domain(m, domain, state);
	if (!d)
		return VIRTIO_IOMMU_S_NOMEM;
	if ((m->table->endpoints[slot].attached & 0xff) != index_of(m, d) + 1)
		iommu_map_move(m, slot, d);
	else if (!is_repeated(m))
		return VIRTIO_IOMMU_S_OK;
	iommu_map_wait(m, 1u << slot, true);
	return VIRTIO_IOMMU_S_OK;
}

uint8_t iommu_map_detach(struct iommu_map *m, uint32_t domain, uint32_t endpoint)
{
	uint32_t slot = iommu_map_slot(m, endpoint);
	struct iommu_domain *d = find_domain(m, domain);
	bool is_attached;

	if (slot == IOMMU_ENDPOINTS_MAX)
		return VIRTIO_IOMMU_S_NOENT;
	is_attached = d && (iommu_map_attached(m, d) & (1u << slot));
	if (is_attached)
		iommu_map_move(m, slot, NULL);
	else if (!is_repeated(m))
		return VIRTIO_IOMMU_S_INVAL;
	iommu_map_wait(m, 1u << slot, true);
	return VIRTIO_IOMMU_S_OK;
}

void iommu_map_reset(struct iommu_map *m)
{
	uint32_t i;

	m->is_replay = false;
	for (i = 0; i < IOMMU_ENDPOINTS_MAX; i++)
		if (m->table->endpoints[i].attached & 0xff)
			iommu_map_move(m, i, NULL);
	iommu_map_wait(m, UINT32_MAX, true);
	iommu_map_end(m);
}

void iommu_map_set_bypass(struct iommu_map *m, bool bypass)
{
	__atomic_store_n(&m->table->is_strict, !bypass, __ATOMIC_SEQ_CST);
}

/* --- mappings --- */

bool iommu_map_is_ram(const struct iommu_map *m, uint64_t at, uint64_t last_offset)
{
	uint32_t n, i;
	const struct guest_region *r = guest_memory_regions(m->gm, &n);

	for (i = 0; i < n; i++)
		if (at >= r[i].gpa && at - r[i].gpa < r[i].size)
			return last_offset < r[i].size - (at - r[i].gpa);
	return false;
}

uint8_t iommu_map_check(const struct iommu_map *m, const struct iommu_mapping *mapping)
{
	if (mapping->flags & ~(IOMMU_READ | IOMMU_WRITE))
		return VIRTIO_IOMMU_S_INVAL;
	if (mapping->last < mapping->start || mapping->last > IOMMU_INPUT_LAST)
		return VIRTIO_IOMMU_S_RANGE;
	if ((mapping->start | mapping->phys) & ~IOMMU_PAGE_MASK ||
	    (mapping->last & ~IOMMU_PAGE_MASK) != ~IOMMU_PAGE_MASK)
		return VIRTIO_IOMMU_S_RANGE;
	if (mapping->start <= IOMMU_MSI_LAST && mapping->last >= IOMMU_MSI_START)
		return VIRTIO_IOMMU_S_INVAL;
	if (!iommu_map_is_ram(m, mapping->phys, mapping->last - mapping->start))
		return VIRTIO_IOMMU_S_FAULT;
	return VIRTIO_IOMMU_S_OK;
}

static bool is_same(const struct iommu_node *node, const struct iommu_mapping *mapping)
{
	return node->start == mapping->start && node->last == mapping->last &&
	       node->phys == mapping->phys && node->flags == mapping->flags;
}

/* Return: the domain, or NULL and why not */
static struct iommu_domain *mappable(struct iommu_map *m, uint32_t domain, uint8_t *ret_status)
{
	struct iommu_domain *d = find_domain(m, domain);

	*ret_status = domain > IOMMU_DOMAIN_LAST ? VIRTIO_IOMMU_S_RANGE :
		      !d			 ? VIRTIO_IOMMU_S_NOENT :
						   VIRTIO_IOMMU_S_INVAL;
	return d && d->state == IOMMU_DOMAIN_MAPPED ? d : NULL;
}

uint8_t iommu_map_map(struct iommu_map *m, uint32_t domain, uint64_t start, uint64_t last,
		      uint64_t phys, uint32_t flags)
{
	const struct iommu_mapping mapping = {
		.start = start, .last = last, .phys = phys, .flags = flags,
	};
	uint8_t status = iommu_map_check(m, &mapping);
	struct iommu_node *nodes = m->table->nodes;
	struct iommu_domain *d;
	struct trace t;
	uint32_t after;

	if (status != VIRTIO_IOMMU_S_OK)
		return status;
	d = mappable(m, domain, &status);
	if (!d)
		return status;
	trace(m, d, start, &t);
	after = *t.link[0];
	if (after != 0 && nodes[after].start <= last)
		return is_repeated(m) && is_same(&nodes[after], &mapping) ? VIRTIO_IOMMU_S_OK :
									    VIRTIO_IOMMU_S_INVAL;
	if (t.before != 0 && nodes[t.before].last >= start)
		return VIRTIO_IOMMU_S_INVAL;
	return insert(m, &t, &mapping) ? VIRTIO_IOMMU_S_OK : VIRTIO_IOMMU_S_NOMEM;
}

uint8_t iommu_map_unmap(struct iommu_map *m, uint32_t domain, uint64_t start, uint64_t last)
{
	struct iommu_node *nodes = m->table->nodes;
	struct iommu_domain *d;
	uint8_t status;
	struct trace t;
	uint32_t n;

	if (last < start)
		return VIRTIO_IOMMU_S_RANGE;
	d = mappable(m, domain, &status);
	if (!d)
		return status;
	trace(m, d, start, &t);
	if (t.before != 0 && nodes[t.before].last >= start)
		return VIRTIO_IOMMU_S_RANGE;
	for (n = *t.link[0]; n != 0 && nodes[n].start <= last; n = nodes[n].next[0])
		if (nodes[n].last > last)
			return VIRTIO_IOMMU_S_RANGE;
	unlink_range(m, &t, last);
	if (m->n_retired > 0)
		iommu_map_wait(m, iommu_map_attached(m, d), false);
	return VIRTIO_IOMMU_S_OK;
}

/* --- the operation that a successor may meet again --- */

void iommu_map_begin(struct iommu_map *m, const struct iommu_operation *op)
{
	struct iommu_operation *at = &m->table->operation;

	/* After a crash the same request comes first, and it alone. */
	m->is_replay = m->is_replay && at->type == op->type && at->domain == op->domain &&
		       at->endpoint == op->endpoint && at->flags == op->flags &&
		       at->start == op->start && at->last == op->last && at->phys == op->phys;
	at->domain = op->domain;
	at->endpoint = op->endpoint;
	at->flags = op->flags;
	at->start = op->start;
	at->last = op->last;
	at->phys = op->phys;
	__atomic_store_n(&at->type, op->type, __ATOMIC_RELEASE);
}

void iommu_map_end(struct iommu_map *m)
{
	m->is_replay = false;
	__atomic_store_n(&m->table->operation.type, 0, __ATOMIC_RELEASE);
}
