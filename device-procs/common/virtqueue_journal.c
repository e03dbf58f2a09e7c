/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a successor finds in the device page, and how it continues. Device processes. Hostile: all
 * of the page, which a predecessor may have written that the guest had taken over.
 *
 * DOC: Every store, and what a crash after it leaves
 *
 *	pop	P1  journal[head] = FETCHED(number of the fetch)
 *	unpop	U1  next_avail = that number
 *		U2  journal[head] = FREE
 *	push	S1  the used element
 *		S2  journal[head] = DONE(its slot)
 *	show	C1  next_avail = fetches so far
 *		C2  used_commit = slot after the last one pushed
 *		C3  used->idx = used_commit
 *
 * After P1, or U1: a FETCHED. The fetches so far need no store of their own: each was published, or
 * is DONE and not published, or FETCHED.
 * After S1: still a FETCHED, and done again. The driver has not seen the element.
 * After S2 or C1: a DONE from used_commit on. The work is not done again; C2 on are repeated.
 * After C2 on: a DONE below used_commit, which means FREE. C3 is repeated, and changes nothing if it
 * had happened, since only the device writes that index and the driver has seen no other value.
 * What is FETCHED then was being worked on. It is done again, in the order of the fetches.
 *
 * Only the process can crash, so the order in which its stores become visible is enough. Two of them
 * are made per request, one at each end, and two per batch, all on lines that nobody else uses.
 *
 * Nothing here is taken from what the guest can write. The numbers check each other: fetches have
 * numbers of their own, slots have no gap, and each of the fetches that next_avail counted when a
 * batch was last published is published, still in flight, or done since. What does not add up was not
 * written by virtqueue.c, and is refused whole.
 *
 * deaths[head] is raised before a chain is handed out again and cleared when it is done: it counts
 * the deaths of processes that had it in hand, but for those that were killed from outside.
 *
 * DOC: Packed rings
 *
 * There the driver overwrites a chain's descriptors as soon as any earlier slot is used, and the
 * device writes used elements into the same ring. Their journal needs, beside the words above, a
 * private copy per head of the chain (addr, len, flags, id of each descriptor) from before P1, and
 * of the length written from before S2. The numbers count descriptors, so that they hold positions
 * with their wrap counters (position = n % size, wrap = n / size & 1). C3 is S1 of the first element
 * of a batch: its flags. A successor repeats that only if the flags there still say "available in
 * this lap", for otherwise the driver has seen it and may have reused the slot.
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
	uint32_t n_fetched, n_unseen; /* unseen: DONE from used_commit on */
	struct fetch fetched[DEVICE_QUEUE_SIZE_MAX];
	bool is_unseen[DEVICE_QUEUE_SIZE_MAX]; /* by distance of the slot from used_commit */
};

static int compare_fetch(const void *a, const void *b)
{
	const struct fetch *x = a, *y = b;

	return (x->seq > y->seq) - (x->seq < y->seq);
}

static bool read_done(struct journal *j, uint32_t size, uint64_t slot)
{
	if (slot < j->used_commit)
		return true;
	if (slot - j->used_commit >= size || j->is_unseen[slot - j->used_commit])
		return false;
	j->is_unseen[slot - j->used_commit] = true;
	j->n_unseen++;
	return true;
}

static bool read_word(struct journal *j, uint32_t size, uint16_t head, uint64_t word)
{
	uint64_t rest = word & JOURNAL_REST_MASK;

	switch (word >> JOURNAL_STATE_SHIFT) {
	case JOURNAL_FREE:
		return rest == 0;
	case JOURNAL_FETCHED:
		j->fetched[j->n_fetched++] = (struct fetch){ .seq = rest, .head = head };
		return true;
	case JOURNAL_DONE:
		return read_done(j, size, rest);
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
	j->n_fetched = j->n_unseen = 0;
	memset(j->is_unseen, 0, sizeof(j->is_unseen));
	if (j->next_avail > JOURNAL_REST_MASK - 2 * size || j->used_commit > j->next_avail)
		return false;
	for (i = 0; i < DEVICE_QUEUE_SIZE_MAX; i++) {
		uint64_t word = __atomic_load_n(&page->journal[i], __ATOMIC_RELAXED);

		if (i < size ? !read_word(j, size, (uint16_t)i, word) : word != 0)
			return false;
	}
	return true;
}

/* Do the numbers add up? Sorts the fetches, and brings next_avail up to date. */
static bool journal_check(struct journal *j)
{
	uint64_t next = j->used_commit + j->n_unseen + j->n_fetched;
	uint64_t accounted = j->used_commit; /* of the fetches that next_avail counts */
	uint32_t i;

	for (i = 0; i < j->n_unseen; i++)
		if (!j->is_unseen[i])
			return false;
	qsort(j->fetched, j->n_fetched, sizeof(j->fetched[0]), compare_fetch);
	for (i = 0; i < j->n_fetched; i++) {
		if (j->fetched[i].seq >= next ||
		    (i > 0 && j->fetched[i].seq == j->fetched[i - 1].seq))
			return false;
		accounted += j->fetched[i].seq < j->next_avail;
	}
	/* The others are done and unseen. */
	if (accounted > j->next_avail || j->next_avail - accounted > j->n_unseen)
		return false;
	j->next_avail = next;
	return true;
}

/* Publishes what the predecessor had done, as virtqueue_show() does. */
static void journal_finish(struct virtqueue *vq, const struct journal *j)
{
	vq->next_avail = j->next_avail;
	vq->used_next = j->used_commit + j->n_unseen;
	virtqueue_commit(vq);
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
