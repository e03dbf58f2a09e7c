/* SPDX-License-Identifier: Apache-2.0 */
/* The first process of a device, once it works, leaves a journal that does not add up, and dies. */
#include "device-procs/common/virtqueue_journal.h"

#define STORES 300u

void virtqueue_crash_point(struct virtqueue *vq)
{
	static uint32_t n_stores;

	if (vq->page->pad[0] != 0 || ++n_stores < STORES)
		return;
	vq->page->pad[0] = 1;
	vq->page->next_avail += DEVICE_QUEUE_SIZE_MAX;
	__builtin_trap();
}
