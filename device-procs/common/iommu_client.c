/* SPDX-License-Identifier: Apache-2.0 */
/* See iommu_client.h; the names D1 to D6 are those of iommu_table.h. */
#include "device-procs/common/iommu_client.h"

#include <linux/virtio_iommu.h>
#include <string.h>
#include <unistd.h>

#define ATTACHED_DOMAIN 0xffu

void iommu_client_init(struct iommu_client *c, const struct guest_memory *gm,
		       const struct iommu_table *table, struct iommu_page *page, uint32_t slot,
		       int fault_fd)
{
	*c = (struct iommu_client){
		.gm = gm, .table = table, .page = page, .slot = slot, .fault_fd = fault_fd,
		/* Whatever a predecessor left, ours are other sections than its. */
		.epoch = (__atomic_load_n(&page->epoch, __ATOMIC_RELAXED) | 1) + 1,
	};
	__atomic_store_n(&page->epoch, c->epoch, __ATOMIC_RELEASE);
}

void iommu_client_enter(struct iommu_client *c)
{
	uint64_t attached;

	__atomic_store_n(&c->page->epoch, ++c->epoch, __ATOMIC_RELAXED); /* D1 */
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* D2 */
	attached = __atomic_load_n(&c->table->endpoints[c->slot].attached, __ATOMIC_ACQUIRE);
	if (attached != c->attached) {
		memset(c->cache, 0, sizeof(c->cache));
		c->attached = attached;
	}
}

void iommu_client_leave(struct iommu_client *c)
{
	__atomic_store_n(&c->page->epoch, ++c->epoch, __ATOMIC_RELEASE); /* D5 */
}

/*
 * The iommu process sets faults_taken before it looks at the head again, we set the head before we
 * look at faults_taken: one of the two sees the other's, and no fault is left lying.
 */
static int fault(struct iommu_client *c, uint64_t iova, uint32_t need, uint32_t reason)
{
	static const uint64_t one = 1;
	struct iommu_page *page = c->page;
	const uint32_t *taken_at = &c->table->endpoints[c->slot].faults_taken;
	uint32_t head = __atomic_load_n(&page->fault_head, __ATOMIC_RELAXED);
	struct iommu_page_fault *f = &page->faults[head % IOMMU_FAULTS];

	if (head - __atomic_load_n(taken_at, __ATOMIC_ACQUIRE) >= IOMMU_FAULTS) {
		(void)__atomic_fetch_add(&page->n_dropped, 1, __ATOMIC_RELAXED);
		return IOMMU_FAULT;
	}
	__atomic_store_n(&f->address, iova, __ATOMIC_RELAXED);
	__atomic_store_n(&f->flags, need, __ATOMIC_RELAXED);
	__atomic_store_n(&f->reason, reason, __ATOMIC_RELAXED);
	__atomic_store_n(&page->fault_head, head + 1, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	/* A full counter means that it was told already. */
	if (__atomic_load_n(taken_at, __ATOMIC_RELAXED) == head && c->fault_fd >= 0)
		(void)!write(c->fault_fd, &one, sizeof(one));
	return IOMMU_FAULT;
}

/* Return: the mapping of @iova in the endpoint's domain; NULL */
static const struct iommu_mapping *find(struct iommu_client *c, uint32_t domain, uint64_t iova)
{
	struct iommu_mapping *m = &c->cache[(iova >> IOMMU_PAGE_SHIFT) % IOMMU_CACHE];

	if (m->node != 0 && m->start <= iova && iova <= m->last &&
	    iommu_table_is_alive(c->table, m))
		return m;
	if (iommu_table_find(c->table, domain, iova, m))
		return m;
	m->node = 0;
	return NULL;
}

static bool is_bypassing(const struct iommu_client *c)
{
	uint32_t domain = (uint32_t)(c->attached & ATTACHED_DOMAIN);

	if (domain == 0)
		return __atomic_load_n(&c->table->is_strict, __ATOMIC_RELAXED) == 0;
	return domain <= IOMMU_DOMAINS_MAX &&
	       __atomic_load_n(&c->table->domains[domain - 1].state, __ATOMIC_RELAXED) ==
		       IOMMU_DOMAIN_BYPASS;
}

int iommu_client_translate(struct iommu_client *c, uint64_t iova, uint32_t len,
			   enum span_direction direction, struct iommu_piece *ret)
{
	uint32_t need = direction == SPAN_DEVICE_WRITES ? IOMMU_WRITE : IOMMU_READ;
	uint32_t domain = (uint32_t)(c->attached & ATTACHED_DOMAIN);
	const struct iommu_mapping *m;
	uint64_t left;

	if (is_bypassing(c)) {
		*ret = (struct iommu_piece){ .gpa = iova, .len = len };
		return 0;
	}
	if (domain == 0 || domain > IOMMU_DOMAINS_MAX)
		return fault(c, iova, need, VIRTIO_IOMMU_FAULT_R_DOMAIN);
	m = find(c, domain - 1, iova);
	if (!m || !(m->flags & need) || iova - m->start > UINT64_MAX - m->phys)
		return fault(c, iova, need, VIRTIO_IOMMU_FAULT_R_MAPPING);
	left = m->last - iova; /* and one byte more, which might not fit */
	*ret = (struct iommu_piece){
		.node = m->node,
		.seq = m->seq,
		.gpa = m->phys + (iova - m->start),
		.len = left < len ? (uint32_t)left + 1 : len,
	};
	return 0;
}

int iommu_client_span(struct iommu_client *c, uint64_t iova, uint32_t len,
		      enum span_direction direction, struct iommu_piece *ret_piece,
		      struct span *ret)
{
	int r = iommu_client_translate(c, iova, len, direction, ret_piece);

	if (r == 0 && guest_memory_span(c->gm, gpa(ret_piece->gpa), ret_piece->len, direction,
					ret) != 0)
		r = fault(c, iova, direction == SPAN_DEVICE_WRITES ? IOMMU_WRITE : IOMMU_READ,
			  VIRTIO_IOMMU_FAULT_R_UNKNOWN);
	return r;
}

int iommu_client_read(struct iommu_client *c, uint64_t iova, void *dst, uint32_t len)
{
	uint8_t *at = dst;

	while (len > 0) {
		struct iommu_piece piece = { 0 }; /* gcc -O3 cannot tell that it is set when r is 0 */
		struct span span;
		int r = iommu_client_span(c, iova, len, SPAN_DEVICE_READS, &piece, &span);

		if (r != 0 || span_copy_in(&span, 0, at, piece.len) != 0)
			return IOMMU_FAULT;
		at += piece.len;
		iova += piece.len;
		len -= piece.len;
	}
	return 0;
}

bool iommu_client_is_current(const struct iommu_client *c, const struct iommu_piece *piece)
{
	if (piece->node == 0)
		return is_bypassing(c);
	return __atomic_load_n(&c->table->nodes[piece->node].seq, __ATOMIC_ACQUIRE) == piece->seq;
}

/* Single writer, so a load and a store do. */
static void add(uint32_t *at, uint32_t n, int order)
{
	uint32_t v = __atomic_load_n(at, __ATOMIC_RELAXED) + n;

	if (order == __ATOMIC_RELEASE)
		__atomic_store_n(at, v, __ATOMIC_RELEASE);
	else
		__atomic_store_n(at, v, __ATOMIC_RELAXED);
}

void iommu_client_hold(struct iommu_client *c, uint32_t node)
{
	add(&c->page->uses[node], 1, __ATOMIC_RELAXED); /* D4 */
	add(&c->page->n_held, 1, __ATOMIC_RELAXED);
}

void iommu_client_release(struct iommu_client *c, uint32_t node)
{
	add(&c->page->uses[node], UINT32_MAX, __ATOMIC_RELEASE); /* D6 */
	add(&c->page->n_held, UINT32_MAX, __ATOMIC_RELEASE);
}
