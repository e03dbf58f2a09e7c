/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtqueue behind an IOMMU: the addresses in its rings, and those of the rings, are I/O
 * addresses. For virtqueue*.c alone; without an IOMMU all of this does nothing.
 *
 * Every chain holds the mappings that its buffers lie in, and those of the rings, from the walk to
 * the publication. So whoever unmaps a buffer waits until the device is done with it, and the rings
 * of an idle device may go at any time: the next access to them finds out, in a section.
 */
#pragma once

#include "device-procs/common/iommu_client.h"
#include "device-procs/common/virtqueue.h"

#define VIRTQUEUE_AREAS 3u
#define VIRTQUEUE_PIECES_MAX 16u /* of the rings: 1,024 entries with nothing contiguous need 9 */
#define VIRTQUEUE_REFS_MAX 288u /* mappings that one chain can hold, rings included */

struct virtqueue_area {
	uint64_t at;
	uint32_t len;
	enum span_direction direction;
};

struct virtqueue_iommu {
	struct iommu_client *client; /* borrowed */
	uint64_t attached; /* the attachment that `pieces` come from */
	uint32_t n_areas, n_pieces;
	struct virtqueue_area areas[VIRTQUEUE_AREAS];
	struct iommu_piece pieces[VIRTQUEUE_PIECES_MAX];
	uint16_t n_refs[DEVICE_QUEUE_SIZE_MAX]; /* by head */
	uint32_t refs[][VIRTQUEUE_REFS_MAX]; /* by head: the nodes that are held for it */
};

/**
 * virtqueue_iommu_forget_rings() - enter a section in which the rings are looked up anew, with
 *				    virtqueue_iommu_window()
 */
void virtqueue_iommu_forget_rings(struct virtqueue *vq);

/** virtqueue_iommu_window() - as guest_memory_window(); Return: 0; GUEST_MEMORY_BAD_RANGE */
int must_check virtqueue_iommu_window(struct virtqueue *vq, uint64_t at, uint32_t len,
				      uint32_t align, enum span_direction direction,
				      struct guest_window *ret);

/**
 * virtqueue_iommu_enter() - begin a section in which the rings may be used
 * Return: NULL; why they may not. virtqueue_iommu_leave() is due either way.
 */
const char *virtqueue_iommu_enter(struct virtqueue *vq);

void virtqueue_iommu_leave(struct virtqueue *vq);

/** virtqueue_iommu_hold_rings() - in a section, for @head */
void virtqueue_iommu_hold_rings(struct virtqueue *vq, uint16_t head);

/**
 * virtqueue_iommu_add() - in a section: the spans of one buffer, held for the chain's head
 * Return: false: a part of it may not be reached; none of it is in the chain, a fault was raised.
 */
bool virtqueue_iommu_add(struct virtqueue *vq, struct virtqueue_chain *chain, uint64_t at,
			 uint32_t len, enum span_direction direction);

/** virtqueue_iommu_release() - what was held for @head; idempotent */
void virtqueue_iommu_release(struct virtqueue *vq, uint16_t head);

/**
 * virtqueue_chain_next() - virtqueue_chain.c: where the next span of the chain is to be made
 *
 * It is made in its place and not copied there: a copy in one piece of what was just stored in
 * several has to wait until those stores, and with them all before, have reached the cache, and
 * the status of the request before may still be on its way to another CPU.
 */
struct span *virtqueue_chain_next(struct virtqueue_chain *chain);

/** virtqueue_chain_add() - virtqueue_chain.c: the span there belongs to the chain now */
void virtqueue_chain_add(struct virtqueue_chain *chain, struct span *span, bool write);
