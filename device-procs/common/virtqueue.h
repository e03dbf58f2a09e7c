/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device's side of a split virtqueue (VIRTIO 1.2 §2.7), with indirect descriptors and
 * EVENT_IDX. Runs in device processes; one thread.
 *
 * Everything in the rings is written by a hostile guest, concurrently. Each descriptor is fetched
 * once into private memory and checked there; positions come from private counters, never from
 * what the guest can write. A ring that breaks a rule of §2.7 breaks its queue: nothing of it is
 * read or written any more until the driver resets the device. A buffer that is not guest RAM
 * spoils only its own chain.
 *
 * The journal in the device page is written alongside, in an order from which a successor can
 * tell what its predecessor had fetched, finished and published:
 *
 *	pop	journal[head] = FETCHED(seq), next_avail
 *	push	journal[head] = DONE(slot, len), used element
 *	flush	used_commit, used->idx, journal[head] = FREE
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/device_page.h"
#include "ipc/guest_memory.h"

/* VIRTIO 1.2 §6 */
#define VIRTIO_F_INDIRECT_DESC_BIT (UINT64_C(1) << 28)
#define VIRTIO_F_EVENT_IDX_BIT (UINT64_C(1) << 29)
#define VIRTIO_F_VERSION_1_BIT (UINT64_C(1) << 32)

enum virtqueue_result {
	VIRTQUEUE_EMPTY = 1,
	VIRTQUEUE_BROKEN = 2, /* the guest broke the ring: see virtqueue_fault() */
	VIRTQUEUE_BAD_SETUP = 3, /* size or ring areas are not acceptable */
	VIRTQUEUE_NOT_CLEAN = 4, /* resume: the journal holds what this process cannot continue */
};

/* One descriptor as it lies in the ring, §2.7.5. */
struct virtqueue_descriptor {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

/*
 * One chain. Readable buffers come first. Empty buffers are left out. The caller provides
 * @spans with room for @n_spans_max; everything else is filled in by virtqueue_pop().
 */
struct virtqueue_chain {
	struct span *spans;
	uint32_t n_spans_max;

	uint16_t head;
	bool is_bad; /* a buffer is not guest RAM; such buffers are left out of spans */
	bool is_cut; /* more buffers than n_spans_max; the rest was checked and dropped */
	bool has_last; /* `last` is the chain's last writable buffer, even if it was cut off */
	struct span last;
	uint32_t n_spans;
	uint32_t n_readable; /* the first so many spans */
	uint32_t readable_len, writable_len; /* bytes, of all buffers: together below 2^32 */
};

enum virtqueue_head_state {
	VIRTQUEUE_HEAD_FREE,
	VIRTQUEUE_HEAD_FETCHED,
	VIRTQUEUE_HEAD_DONE,
};

struct virtqueue_setup {
	uint32_t size; /* power of two, <= DEVICE_QUEUE_SIZE_MAX */
	uint64_t desc, avail, used; /* guest addresses */
	uint64_t features; /* negotiated */
	bool resume; /* continue from the device page instead of from 0 */
};

/* Only virtqueue*.c look inside; it is here so that it can be embedded. */
struct virtqueue {
	const struct guest_memory *gm; /* borrowed */
	struct device_page_queue *page; /* borrowed; this process is its only writer */
	struct guest_window desc, avail, used;
	uint32_t size; /* 0: disabled */
	const char *fault; /* why it is broken; NULL: it is not */
	bool has_event_idx, has_indirect;
	bool is_shown; /* something was published since the last interrupt decision */
	bool is_signalled_known; /* false: interrupt at the next flush, whatever the driver says */
	uint16_t avail_seen; /* avail->idx as last read */
	uint16_t signalled; /* used index at the last interrupt decision */
	uint64_t next_avail; /* fetches so far */
	uint64_t used_next; /* used elements written so far */
	uint32_t n_in_flight; /* fetched and not yet flushed */
	uint32_t n_done; /* pushed and not yet flushed */
	uint8_t heads[DEVICE_QUEUE_SIZE_MAX]; /* enum virtqueue_head_state */
	uint16_t done[DEVICE_QUEUE_SIZE_MAX]; /* the n_done heads */
	struct virtqueue_descriptor table[DEVICE_QUEUE_SIZE_MAX]; /* copy of an indirect table */
};

/** virtqueue_init() - a disabled queue; borrows both */
void virtqueue_init(struct virtqueue *vq, const struct guest_memory *gm,
		    struct device_page_queue *page);

/**
 * virtqueue_enable() - check the ring areas and start
 *
 * Return: 0; VIRTQUEUE_BAD_SETUP; VIRTQUEUE_NOT_CLEAN. The queue stays disabled unless 0.
 */
int must_check virtqueue_enable(struct virtqueue *vq, const struct virtqueue_setup *setup);

/** virtqueue_disable() - forget the rings; nothing may be in flight */
void virtqueue_disable(struct virtqueue *vq);

static inline bool virtqueue_is_enabled(const struct virtqueue *vq)
{
	return vq->size != 0;
}

/** virtqueue_fault() - why the queue is broken; NULL when it is not */
const char *virtqueue_fault(const struct virtqueue *vq);

/**
 * virtqueue_pop() - fetch the next chain
 *
 * At most `size` chains can be in flight. Every chain that was popped is to be pushed once.
 * Return: 0; VIRTQUEUE_EMPTY; VIRTQUEUE_BROKEN.
 */
int must_check virtqueue_pop(struct virtqueue *vq, struct virtqueue_chain *chain);

/**
 * virtqueue_unpop() - put back the chain popped last, as if it had not been fetched
 *
 * Several can be put back, the last one first. Nothing may have been pushed since.
 */
void virtqueue_unpop(struct virtqueue *vq, uint16_t head);

/**
 * virtqueue_push() - hand a chain back, invisible to the driver until virtqueue_flush()
 * @len: bytes that were really written, from the start of the writable part
 *
 * A head that is not in flight is our own bug and ignored.
 */
void virtqueue_push(struct virtqueue *vq, uint16_t head, uint32_t len);

/** virtqueue_show() - publish what was pushed; whether to interrupt is left to the next flush */
void virtqueue_show(struct virtqueue *vq);

/**
 * virtqueue_flush() - publish what was pushed, with one index store
 * Return: true when the driver wants an interrupt for it.
 */
bool must_check virtqueue_flush(struct virtqueue *vq);

/** virtqueue_disable_notify() - ask for no kicks; a hint */
void virtqueue_disable_notify(struct virtqueue *vq);

/**
 * virtqueue_enable_notify() - ask for a kick at the next chain
 * Return: true when a chain has become available meanwhile, for which no kick will come.
 */
bool must_check virtqueue_enable_notify(struct virtqueue *vq);

/** virtqueue_has_more() - has the driver made a chain available? One load. */
bool virtqueue_has_more(const struct virtqueue *vq);

/** virtqueue_chain_walk() - virtqueue_chain.c: fetch and check one chain; fault text or NULL */
const char *virtqueue_chain_walk(struct virtqueue *vq, uint16_t head,
				 struct virtqueue_chain *chain);
