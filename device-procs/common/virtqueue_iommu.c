/* SPDX-License-Identifier: Apache-2.0 */
/* See virtqueue_iommu.h. Device processes. Hostile input: addresses, and the table behind them. */
#include "device-procs/common/virtqueue_iommu.h"

#include <errno.h>
#include <stdlib.h>

int virtqueue_use_iommu(struct virtqueue *vq, struct iommu_client *client, uint32_t size_max)
{
	/* As untouched as the heads that are never used. */
	vq->iommu = calloc(1, sizeof(*vq->iommu) + size_max * sizeof(vq->iommu->refs[0]));
	if (!vq->iommu)
		return -ENOMEM;
	vq->iommu->client = client;
	return 0;
}

void virtqueue_iommu_forget_rings(struct virtqueue *vq)
{
	struct virtqueue_iommu *i = vq->iommu;

	if (!i)
		return;
	i->n_areas = i->n_pieces = 0;
	iommu_client_enter(i->client);
	i->attached = i->client->attached;
}

void virtqueue_iommu_leave(struct virtqueue *vq)
{
	if (vq->iommu)
		iommu_client_leave(vq->iommu->client);
}

/* Return: how many pieces; 0: a part may not be reached, or they are too many */
static uint32_t look_up(struct iommu_client *c, const struct virtqueue_area *area,
			struct iommu_piece *ret, uint32_t n_max)
{
	uint64_t at = area->at;
	uint32_t len = area->len, n;

	for (n = 0; len > 0; n++) {
		if (n == n_max ||
		    iommu_client_translate(c, at, len, area->direction, &ret[n]) != 0)
			return 0;
		at += ret[n].len;
		len -= ret[n].len;
	}
	return n;
}

int virtqueue_iommu_window(struct virtqueue *vq, uint64_t at, uint32_t len, uint32_t align,
			   enum span_direction direction, struct guest_window *ret)
{
	struct virtqueue_iommu *i = vq->iommu;
	struct virtqueue_area *area = &i->areas[i->n_areas];
	struct iommu_piece *pieces = &i->pieces[i->n_pieces];
	uint32_t k, n;

	*area = (struct virtqueue_area){ .at = at, .len = len, .direction = direction };
	n = look_up(i->client, area, pieces, VIRTQUEUE_PIECES_MAX - i->n_pieces);
	if (n == 0)
		return GUEST_MEMORY_BAD_RANGE;
	for (k = 1; k < n; k++)
		if (pieces[k].gpa != pieces[k - 1].gpa + pieces[k - 1].len)
			return GUEST_MEMORY_BAD_RANGE;
	if (guest_memory_window(i->client->gm, gpa(pieces[0].gpa), len, align, ret) != 0)
		return GUEST_MEMORY_BAD_RANGE;
	i->n_areas++;
	i->n_pieces += n;
	return 0;
}

/* Something changed, perhaps not for us: do the rings still lie where the windows are? */
static bool is_same_memory(struct virtqueue_iommu *i)
{
	struct iommu_piece now[VIRTQUEUE_PIECES_MAX];
	uint32_t a, k, n = 0;

	for (a = 0; a < i->n_areas; a++) {
		uint32_t more = look_up(i->client, &i->areas[a], now + n, VIRTQUEUE_PIECES_MAX - n);

		if (more == 0)
			return false;
		n += more;
	}
	if (n != i->n_pieces)
		return false;
	for (k = 0; k < n; k++)
		if (now[k].gpa != i->pieces[k].gpa || now[k].len != i->pieces[k].len)
			return false;
	for (k = 0; k < n; k++)
		i->pieces[k] = now[k];
	i->attached = i->client->attached;
	return true;
}

const char *virtqueue_iommu_enter(struct virtqueue *vq)
{
	struct virtqueue_iommu *i = vq->iommu;
	bool is_current;
	uint32_t k;

	if (!i)
		return NULL;
	iommu_client_enter(i->client);
	is_current = i->attached == i->client->attached;
	for (k = 0; k < i->n_pieces && is_current; k++)
		is_current = iommu_client_is_current(i->client, &i->pieces[k]);
	return is_current || is_same_memory(i) ? NULL : "its rings were unmapped";
}

/* Return: false: no room, so the node must not be used by this chain */
static bool hold(struct virtqueue_iommu *i, uint16_t head, uint32_t node)
{
	uint16_t n = i->n_refs[head];

	if (n > 0 && i->refs[head][n - 1] == node)
		return true; /* pieces of one mapping mostly come together */
	if (n == VIRTQUEUE_REFS_MAX)
		return false;
	i->refs[head][n] = node;
	i->n_refs[head]++;
	iommu_client_hold(i->client, node);
	return true;
}

void virtqueue_iommu_hold_rings(struct virtqueue *vq, uint16_t head)
{
	struct virtqueue_iommu *i = vq->iommu;
	uint32_t k;

	if (!i)
		return;
	for (k = 0; k < i->n_pieces; k++)
		(void)hold(i, head, i->pieces[k].node);
}

bool virtqueue_iommu_add(struct virtqueue *vq, struct virtqueue_chain *chain, uint64_t at,
			 uint32_t len, enum span_direction direction)
{
	struct virtqueue_iommu *i = vq->iommu;
	uint32_t n_spans = chain->n_spans, n_readable = chain->n_readable;

	while (len > 0) {
		struct span *span = virtqueue_chain_next(chain);
		struct iommu_piece piece;

		if (iommu_client_span(i->client, at, len, direction, &piece, span) != 0) {
			chain->n_spans = n_spans;
			chain->n_readable = n_readable;
			return false;
		}
		if (!hold(i, chain->head, piece.node)) {
			chain->is_cut = true;
			if (direction == SPAN_DEVICE_WRITES)
				chain->last = NULL;
			return true;
		}
		virtqueue_chain_add(chain, span, direction == SPAN_DEVICE_WRITES);
		at += piece.len;
		len -= piece.len;
	}
	return true;
}

void virtqueue_iommu_release(struct virtqueue *vq, uint16_t head)
{
	struct virtqueue_iommu *i = vq->iommu;

	if (!i)
		return;
	while (i->n_refs[head] > 0)
		iommu_client_release(i->client, i->refs[head][--i->n_refs[head]]);
}
