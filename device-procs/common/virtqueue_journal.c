/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a successor finds in the device page, and how it continues. Device processes. Hostile: all
 * of the page, which a predecessor may have written that the guest had taken over.
 *
 * DOC: Every store, and what a crash after it leaves
 *
 *	pop	P1  journal[head] = FETCHED(next_avail)
 *		P2  next_avail + 1
 *	unpop	U1  next_avail - 1
 *		U2  journal[head] = FREE
 *	push	S1  journal[head] = DONE(slot, len), slot being the next of the used ring
 *		S2  the used element
 *	show	C1  used_commit = slot after the last one pushed
 *		C2  used->idx = used_commit
 *		C3  journal[head] = FREE, each
 *
 * After P1, or U1: a FETCHED whose number is next_avail itself. It was fetched: P2 is made up for.
 * After S1 or S2: DONE, not committed. The work is done and is not done again; S2 on are repeated.
 * After C1 on: DONE, committed. C2 and C3 are repeated; C2 changes nothing if it had happened,
 * since only the device writes that index and the driver has seen no other value.
 * What is FETCHED then was being worked on. It is done again, in the order of the fetches.
 *
 * Only the process can crash, so the order in which its stores become visible is enough.
 *
 * Nothing here is taken from indexes that the guest can write. The numbers check each other: as
 * many fetches as completions and chains in flight, fetches with numbers of their own, slots
 * without a gap. What does not add up was not written by virtqueue.c, and is refused whole.
 *
 * deaths[head] is raised before a chain is handed out again and cleared when it is done: it counts
 * the deaths of processes that had it in hand, but for those that were killed from outside.
 *
 * DOC: Packed rings
 *
 * There the driver overwrites a chain's descriptors as soon as any earlier slot is used, and the
 * device writes used elements into the same ring. Their journal needs, beside the words above, a
 * private copy per head of the chain (addr, len, flags, id of each descriptor) from before P1, and
 * both positions with their wrap counters in next_avail and used_commit (position = n % size, wrap
 * = n / size & 1, so the 64-bit counters hold both). C1 and C2 fall together in the flags of the
 * first used descriptor; a successor repeats S2 for a DONE slot only if the flags there still say
 * "available in this lap", for otherwise the driver has seen it and may have reused the slot.
 */
#include "device-procs/common/virtqueue_journal.h"

#include <string.h>

struct fetch {
	uint64_t seq;
	uint16_t head;
};

/* A private copy of the journal, taken once, and what it says. */
struct journal {
	uint64_t next_avail, used_commit;
	uint32_t n_fetched, n_unseen, n_seen; /* DONE: not committed, and committed */
	struct fetch fetched[DEVICE_QUEUE_SIZE_MAX];
	/* Heads: unseen ones by distance from used_commit on, seen ones back from it; -1: none */
	int32_t unseen[DEVICE_QUEUE_SIZE_MAX], seen[DEVICE_QUEUE_SIZE_MAX];
	uint32_t len[DEVICE_QUEUE_SIZE_MAX];
};

static int compare_fetch(const void *a, const void *b)
{
	const struct fetch *x = a, *y = b;

	return (x->seq > y->seq) - (x->seq < y->seq);
}

static bool read_done(struct journal *j, uint32_t size, uint16_t head, uint64_t rest)
{
	uint32_t slot = (uint32_t)(rest >> JOURNAL_SLOT_SHIFT);
	uint32_t ahead = (slot - (uint32_t)j->used_commit) & JOURNAL_SLOT_MASK;
	uint32_t behind = ((uint32_t)j->used_commit - 1 - slot) & JOURNAL_SLOT_MASK;

	if (ahead < size && j->unseen[ahead] < 0) {
		j->unseen[ahead] = head;
		j->len[ahead] = (uint32_t)rest;
		j->n_unseen++;
		return true;
	}
	if (behind < size && behind < j->used_commit && j->seen[behind] < 0) {
		j->seen[behind] = head;
		j->n_seen++;
		return true;
	}
	return false;
}

static bool read_word(struct journal *j, uint32_t size, uint16_t head, uint64_t word)
{
	uint64_t rest = word & JOURNAL_REST_MASK;

	switch (word >> JOURNAL_STATE_SHIFT) {
	case JOURNAL_FREE:
		return rest == 0;
	case JOURNAL_FETCHED:
		j->fetched[j->n_fetched++] = (struct fetch){ .seq = rest, .head = head };
		return rest <= j->next_avail;
	case JOURNAL_DONE:
		return read_done(j, size, head, rest);
	default:
		return false;
	}
}

/* Each word of the page is loaded here, once. Return: false: not a journal */
static bool journal_read(const struct device_page_queue *page, uint32_t size, struct journal *j)
{
	uint32_t i;

	j->next_avail = __atomic_load_n(&page->next_avail, __ATOMIC_ACQUIRE);
	j->used_commit = __atomic_load_n(&page->used_commit, __ATOMIC_ACQUIRE);
	j->n_fetched = j->n_unseen = j->n_seen = 0;
	memset(j->unseen, 0xff, sizeof(j->unseen));
	memset(j->seen, 0xff, sizeof(j->seen));
	if (j->next_avail > JOURNAL_REST_MASK - size || j->used_commit > j->next_avail)
		return false;
	for (i = 0; i < DEVICE_QUEUE_SIZE_MAX; i++) {
		uint64_t word = __atomic_load_n(&page->journal[i], __ATOMIC_RELAXED);

		if (i < size ? !read_word(j, size, (uint16_t)i, word) : word != 0)
			return false;
	}
	return true;
}

/* Do the numbers add up? Sorts the fetches, and makes up for P2. */
static bool journal_check(struct journal *j)
{
	uint32_t i;

	/* C3 is over before the next S1, and goes by slot, so what is left of it has no gap. */
	if (j->n_unseen > 0 && j->n_seen > 0)
		return false;
	for (i = 0; i < j->n_unseen; i++)
		if (j->unseen[i] < 0)
			return false;
	for (i = 0; i < j->n_seen; i++)
		if (j->seen[i] < 0)
			return false;
	qsort(j->fetched, j->n_fetched, sizeof(j->fetched[0]), compare_fetch);
	for (i = 1; i < j->n_fetched; i++)
		if (j->fetched[i].seq == j->fetched[i - 1].seq)
			return false;
	if (j->n_fetched > 0 && j->fetched[j->n_fetched - 1].seq == j->next_avail)
		j->next_avail++;
	return j->next_avail == j->used_commit + j->n_unseen + j->n_fetched;
}

/* Publishes what the predecessor had done, as virtqueue_show() does. */
static void journal_finish(struct virtqueue *vq, const struct journal *j)
{
	uint64_t used = j->used_commit;
	uint32_t i;

	page_store(vq, &vq->page->next_avail, j->next_avail);
	for (i = 0; i < j->n_unseen; i++)
		virtqueue_write_used(vq, used++, (uint16_t)j->unseen[i], j->len[i]);
	page_store(vq, &vq->page->used_commit, used);
	virtqueue_write_used_index(vq, used);
	for (i = j->n_seen; i > 0; i--)
		journal_store(vq, (uint16_t)j->seen[i - 1], JOURNAL_FREE, 0);
	for (i = 0; i < j->n_unseen; i++)
		journal_store(vq, (uint16_t)j->unseen[i], JOURNAL_FREE, 0);
	vq->next_avail = j->next_avail;
	vq->used_next = used;
}

/* What is left was being worked on. */
static void journal_list(struct virtqueue *vq, const struct journal *j)
{
	uint32_t i;

	for (i = 0; i < j->n_fetched; i++) {
		vq->replay[i] = j->fetched[i].head;
		vq->heads[j->fetched[i].head] = VIRTQUEUE_HEAD_FETCHED;
		/* Somebody died with it in hand before: one at a time shows who is to blame. */
		if (__atomic_load_n(&vq->page->deaths[j->fetched[i].head], __ATOMIC_RELAXED) > 0)
			vq->is_careful = true;
	}
	vq->n_replay = j->n_fetched;
	for (i = 0; i < vq->size; i++)
		if (vq->heads[i] == VIRTQUEUE_HEAD_FREE)
			__atomic_store_n(&vq->page->deaths[i], 0, __ATOMIC_RELAXED);
}

void journal_begin(struct virtqueue *vq, uint32_t size)
{
	uint32_t i;

	/* The size is what makes it a journal: it goes first and comes last. */
	__atomic_store_n(&vq->page->size, 0, __ATOMIC_RELEASE);
	for (i = 0; i < DEVICE_QUEUE_SIZE_MAX; i++) {
		__atomic_store_n(&vq->page->journal[i], 0, __ATOMIC_RELAXED);
		__atomic_store_n(&vq->page->deaths[i], 0, __ATOMIC_RELAXED);
	}
	page_store(vq, &vq->page->next_avail, 0);
	page_store(vq, &vq->page->used_commit, 0);
	__atomic_store_n(&vq->page->size, size, __ATOMIC_RELEASE);
	virtqueue_crash_point(vq);
	vq->next_avail = 0;
	vq->used_next = 0;
}

int journal_recover(struct virtqueue *vq)
{
	uint32_t size = __atomic_load_n(&vq->page->size, __ATOMIC_ACQUIRE);
	static struct journal journal; /* one thread; too large for its stack */
	struct journal *j = &journal;
	int r = VIRTQUEUE_BAD_JOURNAL;

	if (size == 0) {
		journal_begin(vq, vq->size); /* died before it had enabled this queue */
		return 0;
	}
	if (size == vq->size && journal_read(vq->page, size, j) && journal_check(j)) {
		journal_finish(vq, j);
		journal_list(vq, j);
		r = 0;
	}
	return r;
}
