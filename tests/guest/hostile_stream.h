/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the hostile cases of devices that fill or take plain bytes share (console, rng): a table of
 * chains, and ways to break a queue.
 */
#pragma once

#include "hostile.h"

#define STREAM_ROOM 8192u
#define STREAM_UNTOUCHED 0x77 /* what fills a room */
#define STREAM_RAM_END (1ull << 62) /* in a case's descriptor: the end of RAM, plus a signed offset */

/* A chain from descriptor 0 on that breaks a rule. */
struct stream_case {
	const char *name, *rule;
	unsigned queue;
	enum outcome outcome; /* OUTCOME_STATUS: a used element, of at most this length: */
	uint32_t used;
	unsigned n;
	struct vring_desc desc[3]; /* addr below STREAM_ROOM: offset in the room */
};

enum ring_part { RING_DESC, RING_AVAIL, RING_USED };

/* STREAM_ROOM bytes for buffers, whose content says whether they were written. */
uint8_t *stream_room(void);
void stream_fill(uint8_t *room);
/* Nothing was written from this byte on; NULL or a detail */
const char *stream_is_untouched(const uint8_t *room, uint32_t from);
/* Whatever the case did: after a reset the device is as good as new. @dev: NULL if there is none */
const char *stream_recovers(struct vdev *dev, const char *(*start)(void),
			    const char *(*works)(void));
/* Pushes and kicks: the chain of a case; a head that there is not; an index that jumps. */
void stream_push(struct vq *vq, const struct stream_case *c, const uint8_t *room);
void stream_push_outside(struct vq *vq);
void stream_jump(struct vq *vq);
/* Pushes a part of the queue itself as a buffer to be written. */
void stream_push_ring(struct vq *vq, uint16_t head, enum ring_part part);
