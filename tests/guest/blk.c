/* SPDX-License-Identifier: Apache-2.0 */
#include "blk.h"

bool blk_start(struct blk *blk, struct vdev *dev, uint64_t features, uint16_t size)
{
	uint16_t max;

	if (!vdev_start(dev, features))
		return false;
	max = vdev_queue_max(dev, 0);
	if (max == 0)
		return false;
	blk->dev = dev;
	vq_make(&blk->vq, dev, 0, size < max ? size : max);
	blk->header = memory_alloc(sizeof(*blk->header), 16);
	blk->status = memory_alloc(1, 16);
	vq_enable(&blk->vq);
	vdev_driver_ok(dev);
	return true;
}

uint64_t blk_capacity(const struct vdev *dev)
{
	uint64_t at = dev->config + BLK_CONFIG_CAPACITY;

	return mmio_read32(at) | (uint64_t)mmio_read32(at + 4) << 32;
}

int blk_request(struct blk *blk, uint32_t type, uint64_t sector, void *data, uint32_t len)
{
	uint16_t writes = type == BLK_IN || type == BLK_GET_ID ? DESC_WRITE : 0;
	struct vring_used_elem elem;

	*blk->header = (struct blk_header){ .type = type, .sector = sector };
	*blk->status = BLK_S_NONE;
	vq_desc(&blk->vq, 0, blk->header, sizeof(*blk->header), DESC_NEXT, len ? 1 : 2);
	vq_desc(&blk->vq, 1, data, len, DESC_NEXT | writes, 2);
	vq_desc(&blk->vq, 2, blk->status, 1, DESC_WRITE, 0);
	vq_push(&blk->vq, 0);
	vq_kick(&blk->vq);
	if (!vq_wait(&blk->vq, TIMEOUT_REQUEST, &elem))
		return BLK_TIMED_OUT;
	blk->used_len = elem.len;
	return elem.id == 0 ? *blk->status : BLK_BAD_USED;
}
