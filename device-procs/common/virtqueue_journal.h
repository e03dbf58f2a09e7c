/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal of a virtqueue: what is written to the device page, and how a successor reads it.
 * Internal to virtqueue*.c. The rules are in virtqueue_journal.c.
 */
#pragma once

#include "device-procs/common/virtqueue.h"

#define JOURNAL_STATE_SHIFT 62
#define JOURNAL_REST_MASK ((UINT64_C(1) << JOURNAL_STATE_SHIFT) - 1)

/*
 * Between any two stores that outlive the process. Test programs define BULKHEAD_CRASH_POINTS and
 * may die there (tests/restart/crash_point.c).
 */
#ifdef BULKHEAD_CRASH_POINTS
void virtqueue_crash_point(struct virtqueue *vq);
#else
static inline void virtqueue_crash_point(struct virtqueue *vq)
{
	(void)vq;
}
#endif

/* BULKHEAD_NO_JOURNAL: only to measure what the journal costs (tests/restart/journal_turns.c). */
static inline void page_store(struct virtqueue *vq, uint64_t *at, uint64_t v)
{
#ifndef BULKHEAD_NO_JOURNAL
	__atomic_store_n(at, v, __ATOMIC_RELEASE);
#else
	(void)at;
	(void)v;
#endif
	virtqueue_crash_point(vq);
}

static inline void journal_store(struct virtqueue *vq, uint16_t head, enum journal_state state,
				 uint64_t number)
{
	page_store(vq, &vq->page->journal[head],
		   (uint64_t)state << JOURNAL_STATE_SHIFT | (number & JOURNAL_REST_MASK));
}

/** virtqueue_commit() - virtqueue.c: lets the driver see all used elements before used_next */
void virtqueue_commit(struct virtqueue *vq);

/** journal_begin() - an empty journal for a queue of @size */
void journal_begin(struct virtqueue *vq, uint32_t size);

/**
 * journal_recover() - continue where the journal ends: finish what was done, list what was not
 *
 * vq->size and the rings are set. An empty page begins an empty journal.
 * Return: 0; VIRTQUEUE_BAD_JOURNAL: nothing was changed.
 */
int must_check journal_recover(struct virtqueue *vq);
