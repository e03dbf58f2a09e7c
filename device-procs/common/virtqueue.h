/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device's side of a split virtqueue (VIRTIO 1.2 §2.7), with indirect descriptors and
 * EVENT_IDX. Runs in device processes; one thread.
 *
 * Everything in the rings is written by a hostile guest, concurrently. Each descriptor is fetched
 * once into private memory and checked there; positions come from private counters, never from
 * what the guest can write. A ring that breaks a rule of §2.7 breaks its queue: nothing of it is
 * read or written any more until the driver resets the device. A buffer that is not guest RAM,
 * or that the IOMMU does not let the device reach, spoils only its own chain.
 *
 * The journal in the device page is written alongside, in an order from which a successor can
 * tell what its predecessor had fetched, finished and published:
 *
 *	pop	journal[head] = FETCHED(seq)
 *	push	used element, journal[head] = DONE(slot)
 *	flush	next_avail, used_commit, used->idx
 *
 * virtqueue_journal.c is that successor's side.
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
#define VIRTIO_F_ACCESS_PLATFORM_BIT (UINT64_C(1) << 33)

/*
 * So many deaths of a device process that found the same chain being worked on are put down to
 * that chain: it is not tried again, and its driver gets an error.
 */
#ifndef VIRTQUEUE_DEATHS_MAX
#define VIRTQUEUE_DEATHS_MAX 3u
#endif

enum virtqueue_result {
	VIRTQUEUE_EMPTY = 1,
	VIRTQUEUE_BROKEN = 2, /* the guest broke the ring: see virtqueue_fault() */
	VIRTQUEUE_BAD_SETUP = 3, /* size or ring areas are not acceptable */
	VIRTQUEUE_BAD_JOURNAL = 4, /* resume: no virtqueue of ours can have left this behind */
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
	bool is_replayed; /* a predecessor had fetched it and not finished */
	bool is_poisoned; /* ... VIRTQUEUE_DEATHS_MAX times: answer it with an error, do nothing */
	bool is_bad; /* a buffer may not be reached or is not guest RAM; it is left out of spans */
	bool is_cut; /* more buffers than n_spans_max; the rest was checked and dropped */
	struct span *last; /* the last writable buffer, even if it was cut off; NULL: none */
	struct span rest; /* where what was cut off goes */
	uint32_t n_spans;
	uint32_t n_readable; /* the first so many spans */
	uint32_t readable_len, writable_len; /* bytes, of all buffers: together below 2^32 */
};

enum virtqueue_head_state {
	VIRTQUEUE_HEAD_FREE,
	VIRTQUEUE_HEAD_FETCHED,
	VIRTQUEUE_HEAD_REPLAYED, /* handed out again */
	VIRTQUEUE_HEAD_DONE,
};

struct virtqueue_setup {
	uint32_t size; /* power of two, <= DEVICE_QUEUE_SIZE_MAX */
	uint64_t desc, avail, used; /* guest addresses */
	uint64_t features; /* negotiated */
	bool resume; /* continue from the device page, unless nothing had been begun there */
	bool is_blameless; /* ... whose end is not counted against what it had in hand */
	/*
	 * The device works on many chains of this queue at once. Then new chains wait for the
	 * replayed ones, and these for each other if one of them may be what kills the process.
	 */
	bool is_concurrent;
};

struct iommu_client;
struct virtqueue_iommu;

/* Only virtqueue*.c look inside; it is here so that it can be embedded. */
struct virtqueue {
	const struct guest_memory *gm; /* borrowed */
	struct device_page_queue *page; /* borrowed; this process is its only writer */
	struct virtqueue_iommu *iommu; /* NULL: addresses are guest-physical; virtqueue_iommu.h */
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
	/* Chains of a predecessor */
	bool is_concurrent; /* of the setup */
	bool is_careful; /* replay one at a time */
	bool is_blameless; /* what is replayed is not under suspicion for the last death */
	bool is_open_again; /* see the function of that name */
	uint32_t n_replay, replay_next; /* of replay[]: all, and handed out so far */
	uint32_t n_replaying; /* handed out again and not pushed yet */
	uint16_t replay[DEVICE_QUEUE_SIZE_MAX]; /* heads, oldest fetch first */
	struct virtqueue_descriptor table[DEVICE_QUEUE_SIZE_MAX]; /* copy of an indirect table */
};

/** virtqueue_init() - a disabled queue; borrows both */
void virtqueue_init(struct virtqueue *vq, const struct guest_memory *gm,
		    struct device_page_queue *page);

/**
 * virtqueue_use_iommu() - from now on all addresses of @vq go through @client (borrowed)
 * @size_max: of the queue
 *
 * Before the queue is enabled first. Return: 0; -ENOMEM.
 */
int must_check virtqueue_use_iommu(struct virtqueue *vq, struct iommu_client *client,
				   uint32_t size_max);

/**
 * virtqueue_enable() - check the ring areas and start
 *
 * With resume, chains that the predecessor had finished are handed to the driver first.
 * Return: 0; VIRTQUEUE_BAD_SETUP; VIRTQUEUE_BAD_JOURNAL. The queue stays disabled unless 0.
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
 * virtqueue_pop() - fetch the next chain, those of a predecessor first, oldest first
 *
 * At most `size` chains can be in flight. Every chain that was popped is to be pushed once. A
 * replayed chain is walked and checked like a new one.
 * Return: 0; VIRTQUEUE_EMPTY, also while replayed chains must be pushed first; VIRTQUEUE_BROKEN.
 */
int must_check virtqueue_pop(struct virtqueue *vq, struct virtqueue_chain *chain);

/**
 * virtqueue_unpop() - give back the chain that was popped last, as if it had not been
 *
 * For devices that need a buffer to find out that they have nothing to put into it. Nothing was
 * popped or pushed since; several go back in the reverse order. The next virtqueue_pop() returns
 * the same chain, fetched anew.
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

/** virtqueue_has_more() - would virtqueue_pop() return a chain? One load. */
bool virtqueue_has_more(const struct virtqueue *vq);

/** virtqueue_is_open_again() - may chains that waited for replayed ones go now? True once. */
static inline bool virtqueue_is_open_again(struct virtqueue *vq)
{
	bool is_open_again = vq->is_open_again;

	vq->is_open_again = false;
	return is_open_again;
}

/** virtqueue_chain_walk() - virtqueue_chain.c: fetch and check one chain; fault text or NULL */
const char *virtqueue_chain_walk(struct virtqueue *vq, uint16_t head,
				 struct virtqueue_chain *chain);
