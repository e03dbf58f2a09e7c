/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ring positions, publication and notification of a split virtqueue; see virtqueue.h. Device
 * processes. Hostile input: the available ring, and the device page when continuing from it.
 */
#include "device-procs/common/virtqueue_iommu.h"
#include "device-procs/common/virtqueue_journal.h"

#include <string.h>

/* Offsets in the available and used rings, VIRTIO 1.2 §2.7.6 and §2.7.8 */
#define RING_FLAGS 0u
#define RING_IDX 2u
#define RING_ENTRIES 4u
#define AVAIL_ENTRY_BYTES 2u
#define USED_ENTRY_BYTES 8u
#define DESC_BYTES 16u
#define AVAIL_F_NO_INTERRUPT 1u
#define USED_F_NO_NOTIFY 1u

struct ring_area {
	uint64_t at;
	uint32_t len;
};

static struct ring_area area_desc(const struct virtqueue_setup *s)
{
	return (struct ring_area){ s->desc, s->size * DESC_BYTES };
}

/* The rings include used_event and avail_event, negotiated or not. */
static struct ring_area area_avail(const struct virtqueue_setup *s)
{
	return (struct ring_area){ s->avail, RING_ENTRIES + s->size * AVAIL_ENTRY_BYTES + 2 };
}

static struct ring_area area_used(const struct virtqueue_setup *s)
{
	return (struct ring_area){ s->used, RING_ENTRIES + s->size * USED_ENTRY_BYTES + 2 };
}

static uint32_t offset_used_event(const struct virtqueue *vq)
{
	return RING_ENTRIES + vq->size * AVAIL_ENTRY_BYTES;
}

static uint32_t offset_avail_event(const struct virtqueue *vq)
{
	return RING_ENTRIES + vq->size * USED_ENTRY_BYTES;
}

static bool areas_overlap(struct ring_area a, struct ring_area b)
{
	return a.at <= b.at ? b.at - a.at < a.len : a.at - b.at < b.len;
}

static bool map_ring(struct virtqueue *vq, struct ring_area area, uint32_t align,
		     enum span_direction direction, struct guest_window *ret)
{
	if (vq->iommu)
		return virtqueue_iommu_window(vq, area.at, area.len, align, direction, ret) == 0;
	return guest_memory_window(vq->gm, gpa(area.at), area.len, align, ret) == 0;
}

static int map_rings(struct virtqueue *vq, const struct virtqueue_setup *s)
{
	struct ring_area desc = area_desc(s), avail = area_avail(s), used = area_used(s);

	/* §2.7.1: alignment 16, 2 and 4 */
	if (!map_ring(vq, desc, 16, SPAN_DEVICE_READS, &vq->desc) ||
	    !map_ring(vq, avail, 2, SPAN_DEVICE_READS, &vq->avail) ||
	    !map_ring(vq, used, 4, SPAN_DEVICE_WRITES, &vq->used))
		return VIRTQUEUE_BAD_SETUP;
	if (areas_overlap(desc, avail) || areas_overlap(desc, used) || areas_overlap(avail, used))
		return VIRTQUEUE_BAD_SETUP;
	return 0;
}

static void write_used(struct virtqueue *vq, uint16_t head, uint32_t len)
{
	uint32_t slot = (uint32_t)vq->used_next & (vq->size - 1);
	uint32_t at = RING_ENTRIES + slot * USED_ENTRY_BYTES;

	guest_window_store32(&vq->used, at, head);
	guest_window_store32(&vq->used, at + 4, len);
	virtqueue_crash_point(vq);
}

void virtqueue_commit(struct virtqueue *vq)
{
	page_store(vq, &vq->page->next_avail, vq->next_avail);
	page_store(vq, &vq->page->used_commit, vq->used_next);
	guest_window_store16_release(&vq->used, RING_IDX, (uint16_t)vq->used_next);
	virtqueue_crash_point(vq);
}

void virtqueue_init(struct virtqueue *vq, const struct guest_memory *gm,
		    struct device_page_queue *page)
{
	memset(vq, 0, sizeof(*vq));
	vq->gm = gm;
	vq->page = page;
}

static int enable(struct virtqueue *vq, const struct virtqueue_setup *s)
{
	int r = map_rings(vq, s);

	if (r != 0)
		return r;
	vq->has_event_idx = s->features & VIRTIO_F_EVENT_IDX_BIT;
	vq->has_indirect = s->features & VIRTIO_F_INDIRECT_DESC_BIT;
	vq->is_concurrent = s->is_concurrent;
	vq->is_careful = vq->is_open_again = false;
	vq->n_replay = vq->replay_next = vq->n_replaying = 0;
	vq->fault = NULL;
	vq->n_in_flight = 0;
	vq->n_done = 0;
	memset(vq->heads, VIRTQUEUE_HEAD_FREE, sizeof(vq->heads));
	vq->size = s->size;
	if (s->resume)
		r = journal_recover(vq);
	else
		journal_begin(vq, s->size);
	if (r != 0) {
		vq->size = 0;
		return r;
	}
	vq->is_shown = false;
	vq->is_blameless = s->is_blameless;
	vq->is_signalled_known = !s->resume;
	vq->signalled = (uint16_t)vq->used_next;
	vq->avail_seen = (uint16_t)vq->next_avail;
	return 0;
}

int virtqueue_enable(struct virtqueue *vq, const struct virtqueue_setup *s)
{
	int r;

	if (s->size == 0 || s->size > DEVICE_QUEUE_SIZE_MAX || (s->size & (s->size - 1)) != 0)
		return VIRTQUEUE_BAD_SETUP;
	virtqueue_iommu_forget_rings(vq);
	r = enable(vq, s);
	virtqueue_iommu_leave(vq);
	return r;
}

void virtqueue_disable(struct virtqueue *vq)
{
	vq->size = 0;
	vq->fault = NULL;
	__atomic_store_n(&vq->page->size, 0, __ATOMIC_RELEASE);
}

const char *virtqueue_fault(const struct virtqueue *vq)
{
	return vq->fault;
}

static int broken(struct virtqueue *vq, const char *why)
{
	vq->fault = why;
	return VIRTQUEUE_BROKEN;
}

/* The next chain of the predecessor, whose head was checked by journal_recover(). */
static int pop_replay(struct virtqueue *vq, struct virtqueue_chain *chain)
{
	uint16_t head = vq->replay[vq->replay_next];
	uint8_t *deaths = &vq->page->deaths[head];
	uint8_t n = __atomic_load_n(deaths, __ATOMIC_RELAXED);
	const char *fault;

	/* Before anything of it is looked at, for that may be what kills us. */
	n += n < UINT8_MAX && !vq->is_blameless;
	__atomic_store_n(deaths, n, __ATOMIC_RELEASE);
	virtqueue_crash_point(vq);
	fault = virtqueue_chain_walk(vq, head, chain);
	if (fault)
		return broken(vq, fault);
	chain->is_replayed = true;
	chain->is_poisoned = n >= VIRTQUEUE_DEATHS_MAX;
	vq->heads[head] = VIRTQUEUE_HEAD_REPLAYED;
	vq->replay_next++;
	vq->n_replaying++;
	vq->n_in_flight++;
	return 0;
}

/* May a chain be handed out, as far as the replayed ones are concerned? */
static bool may_pop(const struct virtqueue *vq)
{
	if (!vq->is_concurrent || vq->n_replaying == 0)
		return true;
	return vq->replay_next < vq->n_replay && !vq->is_careful;
}

int virtqueue_pop(struct virtqueue *vq, struct virtqueue_chain *chain)
{
	uint16_t next = (uint16_t)vq->next_avail, head;
	const char *fault;

	if (vq->fault)
		return VIRTQUEUE_BROKEN;
	if (vq->n_replay > 0) {
		if (!may_pop(vq))
			return VIRTQUEUE_EMPTY;
		if (vq->replay_next < vq->n_replay)
			return pop_replay(vq, chain);
	}
	if (vq->avail_seen == next) {
		vq->avail_seen = guest_window_load16_acquire(&vq->avail, RING_IDX);
		if ((uint16_t)(vq->avail_seen - next) > vq->size)
			return broken(vq, "available index ran ahead by more than the queue");
		if (vq->avail_seen == next)
			return VIRTQUEUE_EMPTY;
	}
	head = guest_window_load16(&vq->avail,
				   RING_ENTRIES + (next & (vq->size - 1)) * AVAIL_ENTRY_BYTES);
	if (head >= vq->size)
		return broken(vq, "head outside the queue");
	if (vq->heads[head] != VIRTQUEUE_HEAD_FREE)
		return broken(vq, "head that is already in flight");
	fault = virtqueue_chain_walk(vq, head, chain);
	if (fault)
		return broken(vq, fault);
	chain->is_replayed = chain->is_poisoned = false;
	vq->heads[head] = VIRTQUEUE_HEAD_FETCHED;
	vq->n_in_flight++;
	journal_store(vq, head, JOURNAL_FETCHED, vq->next_avail++);
	return 0;
}

static void unpop_replay(struct virtqueue *vq, uint16_t head)
{
	uint8_t *deaths = &vq->page->deaths[head];

	vq->heads[head] = VIRTQUEUE_HEAD_FETCHED; /* as it is in the journal */
	vq->replay_next--;
	vq->n_replaying--;
	if (!vq->is_blameless)
		__atomic_store_n(deaths, __atomic_load_n(deaths, __ATOMIC_RELAXED) - 1,
				 __ATOMIC_RELAXED);
}

void virtqueue_unpop(struct virtqueue *vq, uint16_t head)
{
	if (head >= vq->size || (vq->heads[head] != VIRTQUEUE_HEAD_FETCHED &&
				 vq->heads[head] != VIRTQUEUE_HEAD_REPLAYED))
		return;
	virtqueue_iommu_release(vq, head);
	vq->n_in_flight--;
	if (vq->heads[head] == VIRTQUEUE_HEAD_REPLAYED) {
		unpop_replay(vq, head);
		return;
	}
	vq->heads[head] = VIRTQUEUE_HEAD_FREE;
	/* The count first: in between it looks as if the fetch had just begun. */
	page_store(vq, &vq->page->next_avail, --vq->next_avail);
	journal_store(vq, head, JOURNAL_FREE, 0);
}

static void replayed(struct virtqueue *vq, uint16_t head)
{
	__atomic_store_n(&vq->page->deaths[head], 0, __ATOMIC_RELAXED);
	if (--vq->n_replaying > 0)
		return;
	vq->is_open_again = vq->is_concurrent;
	if (vq->replay_next == vq->n_replay)
		vq->n_replay = vq->replay_next = 0; /* that was the last of them */
}

void virtqueue_push(struct virtqueue *vq, uint16_t head, uint32_t len)
{
	uint8_t state;

	if (head >= vq->size)
		return;
	state = vq->heads[head];
	if (state != VIRTQUEUE_HEAD_FETCHED && state != VIRTQUEUE_HEAD_REPLAYED)
		return;
	vq->heads[head] = VIRTQUEUE_HEAD_DONE;
	vq->done[vq->n_done++] = head;
	if (vq->fault)
		return; /* only the count goes down; the ring is not touched any more */
	write_used(vq, head, len);
	journal_store(vq, head, JOURNAL_DONE, vq->used_next++);
	if (state == VIRTQUEUE_HEAD_REPLAYED)
		replayed(vq, head);
}

/* §2.7.7.2: has used->idx moved past used_event since the last decision? */
static bool wants_interrupt(struct virtqueue *vq)
{
	uint16_t now = (uint16_t)vq->used_next, before = vq->signalled, event;
	bool is_known = vq->is_signalled_known;

	vq->is_signalled_known = true;
	if (!vq->has_event_idx)
		return !is_known || !(guest_window_load16(&vq->avail, RING_FLAGS) &
				      AVAIL_F_NO_INTERRUPT);
	vq->signalled = now;
	event = guest_window_load16(&vq->avail, offset_used_event(vq));
	return !is_known || (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

void virtqueue_show(struct virtqueue *vq)
{
	uint32_t i;

	if (vq->n_done == 0)
		return;
	if (!vq->fault) /* else a successor finds a journal that adds up, and the fault again */
		virtqueue_commit(vq);
	for (i = 0; i < vq->n_done; i++) {
		virtqueue_iommu_release(vq, vq->done[i]);
		vq->heads[vq->done[i]] = VIRTQUEUE_HEAD_FREE;
	}
	vq->n_in_flight -= vq->n_done;
	vq->n_done = 0;
	vq->is_shown = true;
}

bool virtqueue_flush(struct virtqueue *vq)
{
	virtqueue_show(vq);
	if (!vq->is_shown)
		return false;
	vq->is_shown = false;
	if (vq->fault)
		return false;
	/* The index is visible before the driver's wish is read; the driver does the reverse. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return wants_interrupt(vq);
}

void virtqueue_disable_notify(struct virtqueue *vq)
{
	/* With EVENT_IDX the old avail_event stands: it is behind, so no kick comes. */
	if (vq->fault || vq->has_event_idx)
		return;
	if (!virtqueue_iommu_enter(vq))
		guest_window_store16_release(&vq->used, RING_FLAGS, USED_F_NO_NOTIFY);
	virtqueue_iommu_leave(vq);
}

bool virtqueue_has_more(const struct virtqueue *vq)
{
	if (vq->fault || vq->size == 0)
		return false;
	if (vq->n_replay > 0) {
		if (!may_pop(vq))
			return false;
		if (vq->replay_next < vq->n_replay)
			return true;
	}
	return guest_window_load16_acquire(&vq->avail, RING_IDX) != (uint16_t)vq->next_avail;
}

bool virtqueue_enable_notify(struct virtqueue *vq)
{
	const char *fault;

	if (vq->fault)
		return false;
	fault = virtqueue_iommu_enter(vq); /* the rings may be gone: the next pop says so */
	if (!fault && vq->has_event_idx)
		guest_window_store16_release(&vq->used, offset_avail_event(vq),
					     (uint16_t)vq->next_avail);
	else if (!fault)
		guest_window_store16_release(&vq->used, RING_FLAGS, 0);
	virtqueue_iommu_leave(vq);
	/* The wish is visible before the index is read again; the driver does the reverse. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return virtqueue_has_more(vq);
}
