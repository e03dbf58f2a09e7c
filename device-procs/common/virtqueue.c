/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ring positions, publication and notification of a split virtqueue; see virtqueue.h. Device
 * processes. Hostile input: the available ring, and the device page when continuing from it.
 */
#include "device-procs/common/virtqueue.h"

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

#define JOURNAL_STATE_SHIFT 62
#define JOURNAL_SLOT_SHIFT 32
#define JOURNAL_SLOT_MASK ((UINT64_C(1) << 30) - 1)

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

static int map_rings(struct virtqueue *vq, const struct virtqueue_setup *s)
{
	struct ring_area desc = area_desc(s), avail = area_avail(s), used = area_used(s);

	/* §2.7.1: alignment 16, 2 and 4 */
	if (guest_memory_window(vq->gm, gpa(desc.at), desc.len, 16, &vq->desc) != 0 ||
	    guest_memory_window(vq->gm, gpa(avail.at), avail.len, 2, &vq->avail) != 0 ||
	    guest_memory_window(vq->gm, gpa(used.at), used.len, 4, &vq->used) != 0)
		return VIRTQUEUE_BAD_SETUP;
	if (areas_overlap(desc, avail) || areas_overlap(desc, used) || areas_overlap(avail, used))
		return VIRTQUEUE_BAD_SETUP;
	return 0;
}

static void page_store(uint64_t *at, uint64_t v)
{
	__atomic_store_n(at, v, __ATOMIC_RELEASE);
}

static void journal_store(struct virtqueue *vq, uint16_t head, enum journal_state state,
			  uint64_t rest)
{
	page_store(&vq->page->journal[head], (uint64_t)state << JOURNAL_STATE_SHIFT | rest);
}

/* The page may have been written by a compromised predecessor: each word is loaded once. */
static int load_position(struct virtqueue *vq, uint32_t size)
{
	uint64_t next_avail = __atomic_load_n(&vq->page->next_avail, __ATOMIC_ACQUIRE);
	uint64_t used_commit = __atomic_load_n(&vq->page->used_commit, __ATOMIC_ACQUIRE);
	uint32_t i;

	if (__atomic_load_n(&vq->page->size, __ATOMIC_RELAXED) != size ||
	    next_avail != used_commit)
		return VIRTQUEUE_NOT_CLEAN;
	for (i = 0; i < size; i++)
		if (__atomic_load_n(&vq->page->journal[i], __ATOMIC_RELAXED) >>
			    JOURNAL_STATE_SHIFT !=
		    JOURNAL_FREE)
			return VIRTQUEUE_NOT_CLEAN;
	vq->next_avail = next_avail;
	vq->used_next = used_commit;
	return 0;
}

static void start_position(struct virtqueue *vq, uint32_t size)
{
	uint32_t i;

	for (i = 0; i < DEVICE_QUEUE_SIZE_MAX; i++)
		journal_store(vq, (uint16_t)i, JOURNAL_FREE, 0);
	page_store(&vq->page->next_avail, 0);
	page_store(&vq->page->used_commit, 0);
	__atomic_store_n(&vq->page->size, size, __ATOMIC_RELEASE);
	vq->next_avail = 0;
	vq->used_next = 0;
}

void virtqueue_init(struct virtqueue *vq, const struct guest_memory *gm,
		    struct device_page_queue *page)
{
	memset(vq, 0, sizeof(*vq));
	vq->gm = gm;
	vq->page = page;
}

int virtqueue_enable(struct virtqueue *vq, const struct virtqueue_setup *s)
{
	int r;

	if (s->size == 0 || s->size > DEVICE_QUEUE_SIZE_MAX || (s->size & (s->size - 1)) != 0)
		return VIRTQUEUE_BAD_SETUP;
	r = map_rings(vq, s);
	if (r != 0)
		return r;
	if (s->resume) {
		r = load_position(vq, s->size);
		if (r != 0)
			return r;
	} else {
		start_position(vq, s->size);
	}
	vq->has_event_idx = s->features & VIRTIO_F_EVENT_IDX_BIT;
	vq->has_indirect = s->features & VIRTIO_F_INDIRECT_DESC_BIT;
	vq->fault = NULL;
	vq->is_shown = false;
	vq->is_signalled_known = !s->resume;
	vq->signalled = (uint16_t)vq->used_next;
	vq->avail_seen = (uint16_t)vq->next_avail;
	vq->n_in_flight = 0;
	vq->n_done = 0;
	memset(vq->heads, VIRTQUEUE_HEAD_FREE, sizeof(vq->heads));
	vq->size = s->size;
	return 0;
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

int virtqueue_pop(struct virtqueue *vq, struct virtqueue_chain *chain)
{
	uint16_t next = (uint16_t)vq->next_avail, head;
	const char *fault;

	if (vq->fault)
		return VIRTQUEUE_BROKEN;
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
	vq->heads[head] = VIRTQUEUE_HEAD_FETCHED;
	vq->n_in_flight++;
	journal_store(vq, head, JOURNAL_FETCHED,
		      vq->next_avail & ((UINT64_C(1) << JOURNAL_STATE_SHIFT) - 1));
	page_store(&vq->page->next_avail, ++vq->next_avail);
	return 0;
}

void virtqueue_unpop(struct virtqueue *vq, uint16_t head)
{
	if (head >= vq->size || vq->heads[head] != VIRTQUEUE_HEAD_FETCHED)
		return;
	vq->heads[head] = VIRTQUEUE_HEAD_FREE;
	vq->n_in_flight--;
	/* Between the two stores it is FETCHED with the next sequence number: not fetched. */
	page_store(&vq->page->next_avail, --vq->next_avail);
	journal_store(vq, head, JOURNAL_FREE, 0);
}

void virtqueue_push(struct virtqueue *vq, uint16_t head, uint32_t len)
{
	uint32_t at;

	if (head >= vq->size || vq->heads[head] != VIRTQUEUE_HEAD_FETCHED)
		return;
	vq->heads[head] = VIRTQUEUE_HEAD_DONE;
	vq->done[vq->n_done++] = head;
	if (vq->fault)
		return; /* only the count goes down; the ring is not touched any more */
	journal_store(vq, head, JOURNAL_DONE,
		      (vq->used_next & JOURNAL_SLOT_MASK) << JOURNAL_SLOT_SHIFT | len);
	at = RING_ENTRIES + ((uint32_t)vq->used_next & (vq->size - 1)) * USED_ENTRY_BYTES;
	guest_window_store32(&vq->used, at, head);
	guest_window_store32(&vq->used, at + 4, len);
	vq->used_next++;
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
	if (!vq->fault) {
		page_store(&vq->page->used_commit, vq->used_next);
		guest_window_store16_release(&vq->used, RING_IDX, (uint16_t)vq->used_next);
	}
	for (i = 0; i < vq->n_done; i++) {
		journal_store(vq, vq->done[i], JOURNAL_FREE, 0);
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
	if (!vq->fault && !vq->has_event_idx)
		guest_window_store16_release(&vq->used, RING_FLAGS, USED_F_NO_NOTIFY);
}

bool virtqueue_has_more(const struct virtqueue *vq)
{
	return !vq->fault && vq->size != 0 &&
	       guest_window_load16_acquire(&vq->avail, RING_IDX) != (uint16_t)vq->next_avail;
}

bool virtqueue_enable_notify(struct virtqueue *vq)
{
	if (vq->fault)
		return false;
	if (vq->has_event_idx)
		guest_window_store16_release(&vq->used, offset_avail_event(vq),
					     (uint16_t)vq->next_avail);
	else
		guest_window_store16_release(&vq->used, RING_FLAGS, 0);
	/* The wish is visible before the index is read again; the driver does the reverse. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return virtqueue_has_more(vq);
}
