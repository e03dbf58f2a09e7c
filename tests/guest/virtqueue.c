/* SPDX-License-Identifier: Apache-2.0 */
/* Split rings (VIRTIO 1.2 §2.7), driver side. */
#include "virtio.h"

#define STATUS_INTERVAL 20 /* ms */

void vq_make(struct vq *vq, struct vdev *dev, uint16_t index, uint16_t size)
{
	*vq = (struct vq){
		.dev = dev,
		.index = index,
		.size = size,
		.desc = memory_alloc(16u * size, 4096),
		.avail = memory_alloc(6u + 2u * size, 4096),
		.used = memory_alloc(6u + 8u * size, 4096),
	};
}

void vq_enable(const struct vq *vq)
{
	vdev_queue_enable(vq->dev, vq->index, vq->size, (uint64_t)vq->desc, (uint64_t)vq->avail,
			  (uint64_t)vq->used);
}

void vq_desc(struct vq *vq, uint16_t i, const volatile void *addr, uint32_t len, uint16_t flags,
	     uint16_t next)
{
	vq->desc[i].addr = (uint64_t)addr;
	vq->desc[i].len = len;
	vq->desc[i].flags = flags;
	vq->desc[i].next = next;
}

void vq_stage(struct vq *vq, uint16_t head)
{
	vq->avail->ring[vq->avail_idx++ & (vq->size - 1)] = head;
}

/* Stores are in order on x86: the ring entry is seen before the index. */
void vq_publish(struct vq *vq)
{
	compiler_barrier();
	vq->avail->idx = vq->avail_idx;
}

void vq_push(struct vq *vq, uint16_t head)
{
	vq_stage(vq, head);
	vq_publish(vq);
}

void vq_kick(const struct vq *vq)
{
	vdev_kick(vq->dev, vq->index);
}

volatile uint16_t *vq_used_event(const struct vq *vq)
{
	return &vq->avail->ring[vq->size];
}

volatile uint16_t *vq_avail_event(const struct vq *vq)
{
	return (volatile uint16_t *)&vq->used->ring[vq->size];
}

bool vq_kick_event(const struct vq *vq, uint16_t old)
{
	cpu_fence(); /* the new index before the device's wish is read, §2.7.13.4.1 */
	if ((uint16_t)(vq->avail_idx - *vq_avail_event(vq) - 1) >= (uint16_t)(vq->avail_idx - old))
		return false;
	vq_kick(vq);
	return true;
}

bool vq_pending(const struct vq *vq)
{
	return vq->used->idx != vq->used_idx;
}

bool vq_wait(struct vq *vq, uint64_t timeout_ms, struct vring_used_elem *ret)
{
	uint64_t deadline = time_deadline(timeout_ms);
	uint64_t look = time_deadline(timeout_ms < STATUS_INTERVAL ? timeout_ms : STATUS_INTERVAL);
	volatile struct vring_used_elem *elem = &vq->used->ring[vq->used_idx & (vq->size - 1)];

	while (!vq_pending(vq)) {
		/* A device that asks for a reset will not answer any more. */
		if (time_passed(look)) {
			if (time_passed(deadline) || vdev_status(vq->dev) & STATUS_NEEDS_RESET)
				return false;
			look = time_deadline(STATUS_INTERVAL);
		}
		cpu_pause();
	}
	compiler_barrier();
	ret->id = elem->id;
	ret->len = elem->len;
	vq->used_idx++;
	return true;
}

static void desc_fill(volatile struct vring_desc *desc, const struct part *part, bool is_last,
		      uint16_t next)
{
	desc->addr = (uint64_t)part->addr;
	desc->len = part->len;
	desc->flags = (uint16_t)((is_last ? 0 : DESC_NEXT) | (part->is_writable ? DESC_WRITE : 0));
	desc->next = is_last ? 0 : next;
}

void vq_chain(struct vq *vq, uint16_t first, const struct part *parts, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		desc_fill(&vq->desc[first + i], &parts[i], i + 1 == n, (uint16_t)(first + i + 1));
}

void vq_indirect(struct vq *vq, uint16_t head, volatile struct vring_desc *table,
		 const struct part *parts, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		desc_fill(&table[i], &parts[i], i + 1 == n, (uint16_t)(i + 1));
	vq_desc(vq, head, table, n * (uint32_t)sizeof(*table), DESC_INDIRECT, 0);
}
