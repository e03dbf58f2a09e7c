/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One descriptor chain: fetched once, checked in private memory, turned into spans. Device
 * processes. Hostile input: descriptors and indirect tables, which change under our eyes.
 */
#include "device-procs/common/virtqueue.h"
#include "device-procs/common/virtqueue_iommu.h"

/* VIRTIO 1.2 §2.7.5 */
#define DESC_F_NEXT 1u
#define DESC_F_WRITE 2u
#define DESC_F_INDIRECT 4u
#define DESC_BYTES 16u

static struct virtqueue_descriptor fetch(const struct virtqueue *vq, uint32_t i)
{
	/* Two loads, each of whole fields: nothing is read twice. */
	uint64_t addr = guest_window_load64(&vq->desc, i * DESC_BYTES);
	uint64_t rest = guest_window_load64(&vq->desc, i * DESC_BYTES + 8);

	return (struct virtqueue_descriptor){
		.addr = addr,
		.len = (uint32_t)rest,
		.flags = (uint16_t)(rest >> 32),
		.next = (uint16_t)(rest >> 48),
	};
}

struct span *virtqueue_chain_next(struct virtqueue_chain *chain)
{
	return chain->n_spans < chain->n_spans_max ? &chain->spans[chain->n_spans] : &chain->rest;
}

void virtqueue_chain_add(struct virtqueue_chain *chain, struct span *span, bool write)
{
	if (write)
		chain->last = span;
	if (span == &chain->rest) {
		chain->is_cut = true;
		return;
	}
	chain->n_spans++;
	chain->n_readable += !write;
}

static bool add_spans(struct virtqueue *vq, struct virtqueue_chain *chain,
		      const struct virtqueue_descriptor *d, bool write)
{
	enum span_direction direction = write ? SPAN_DEVICE_WRITES : SPAN_DEVICE_READS;
	struct span *span = virtqueue_chain_next(chain);

	if (vq->iommu)
		return virtqueue_iommu_add(vq, chain, d->addr, d->len, direction);
	if (guest_memory_span(vq->gm, gpa(d->addr), d->len, direction, span) != 0)
		return false;
	virtqueue_chain_add(chain, span, write);
	return true;
}

/* @is_writing: a writable buffer came before; §2.7.4.2 wants the readable ones first. */
static const char *add_buffer(struct virtqueue *vq, struct virtqueue_chain *chain,
			      const struct virtqueue_descriptor *d, bool *is_writing)
{
	bool write = d->flags & DESC_F_WRITE;

	if (*is_writing && !write)
		return "readable buffer after a writable one";
	*is_writing = write;
	/* §2.7.5.2: below 2^32 bytes in one chain. Both sums are, so this cannot wrap. */
	if (d->len > UINT32_MAX - (chain->readable_len + chain->writable_len))
		return "chain of 2^32 bytes or more";
	if (write)
		chain->writable_len += d->len;
	else
		chain->readable_len += d->len;
	if (d->len == 0)
		return NULL;
	if (!add_spans(vq, chain, d, write)) {
		chain->is_bad = true;
		if (write)
			chain->last = NULL;
	}
	return NULL;
}

/* §2.7.5.3: copied whole, before anything of it is looked at. */
static const char *walk_indirect(struct virtqueue *vq, struct virtqueue_chain *chain,
				 const struct virtqueue_descriptor *outer, bool *is_writing)
{
	uint32_t n = outer->len / DESC_BYTES, i = 0, n_links;

	if (!vq->has_indirect)
		return "indirect descriptor that was not negotiated";
	if (outer->flags & DESC_F_NEXT)
		return "indirect descriptor with a next one";
	if (outer->len % DESC_BYTES != 0 || n == 0 || n > vq->size)
		return "indirect table of a bad size";
	if (vq->iommu) {
		/* The table is the request's own, so the rest of the ring does not suffer for it. */
		chain->is_bad = iommu_client_read(vq->iommu->client, outer->addr, vq->table,
						  outer->len) != 0;
		if (chain->is_bad)
			return NULL;
	} else if (guest_memory_read(vq->gm, gpa(outer->addr), vq->table, outer->len) != 0) {
		return "indirect table outside guest memory";
	}
	for (n_links = 0; n_links < n; n_links++) {
		const struct virtqueue_descriptor *d = &vq->table[i];
		const char *fault;

		if (d->flags & DESC_F_INDIRECT)
			return "nested indirect descriptor";
		fault = add_buffer(vq, chain, d, is_writing);
		if (fault || !(d->flags & DESC_F_NEXT))
			return fault;
		i = d->next;
		if (i >= n)
			return "next index outside the indirect table";
	}
	return "loop in an indirect table";
}

static const char *walk(struct virtqueue *vq, uint16_t head, struct virtqueue_chain *chain)
{
	bool is_writing = false;
	uint32_t i = head, n_links;

	chain->head = head;
	chain->is_bad = chain->is_cut = false;
	chain->last = NULL;
	chain->n_spans = chain->n_readable = 0;
	chain->readable_len = chain->writable_len = 0;
	for (n_links = 0; n_links < vq->size; n_links++) {
		struct virtqueue_descriptor d = fetch(vq, i);
		const char *fault;

		if (d.flags & DESC_F_INDIRECT)
			return walk_indirect(vq, chain, &d, &is_writing);
		fault = add_buffer(vq, chain, &d, &is_writing);
		if (fault || !(d.flags & DESC_F_NEXT))
			return fault;
		i = d.next;
		if (i >= vq->size)
			return "next index outside the queue";
	}
	return "loop in a descriptor chain";
}

const char *virtqueue_chain_walk(struct virtqueue *vq, uint16_t head,
				 struct virtqueue_chain *chain)
{
	const char *fault = virtqueue_iommu_enter(vq);

	if (!fault) {
		virtqueue_iommu_hold_rings(vq, head);
		fault = walk(vq, head, chain);
	}
	virtqueue_iommu_leave(vq);
	if (fault)
		virtqueue_iommu_release(vq, head);
	return fault;
}
