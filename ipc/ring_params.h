/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How an io_uring that one process made is mapped by another that inherited it: the kernel says it
 * only to the one that made it. The warden fills DEVICE_START.ring in, the device process maps.
 */
#pragma once

#include <linux/io_uring.h>
#include <stdint.h>

/* Places in DEVICE_START.ring; only ever extended. */
#define RING_PARAMS(X)                                                                            \
	X(flags) X(features) X(sq_entries) X(cq_entries)                                          \
	X(sq_off.head) X(sq_off.tail) X(sq_off.ring_mask) X(sq_off.ring_entries)                  \
	X(sq_off.flags) X(sq_off.dropped) X(sq_off.array)                                         \
	X(cq_off.head) X(cq_off.tail) X(cq_off.ring_mask) X(cq_off.ring_entries)                  \
	X(cq_off.overflow) X(cq_off.cqes) X(cq_off.flags)
#define RING_PARAMS_N 18u

/** ring_params_pack() - for DEVICE_START; @ret: RING_PARAMS_N numbers */
static inline void ring_params_pack(const struct io_uring_params *p, uint64_t *ret)
{
	uint32_t i = 0;

#define RING_PARAMS_PACK(field) ret[i++] = p->field;
	RING_PARAMS(RING_PARAMS_PACK)
#undef RING_PARAMS_PACK
}

/** ring_params_unpack() - the opposite; every number must fit in 32 bits (message.h) */
static inline void ring_params_unpack(const uint64_t *numbers, struct io_uring_params *ret)
{
	uint32_t i = 0;

	*ret = (struct io_uring_params){ 0 };
#define RING_PARAMS_UNPACK(field) ret->field = (uint32_t)numbers[i++];
	RING_PARAMS(RING_PARAMS_UNPACK)
#undef RING_PARAMS_UNPACK
}
