/* SPDX-License-Identifier: Apache-2.0 */
#include "rng.h"

bool rng_start(struct rng *rng, struct vdev *dev, uint64_t features, uint16_t size)
{
	uint16_t max;

	if (!vdev_start(dev, features))
		return false;
	max = vdev_queue_max(dev, 0);
	if (max == 0)
		return false;
	rng->dev = dev;
	vq_make(&rng->vq, dev, 0, size < max ? size : max);
	vq_enable(&rng->vq);
	vdev_driver_ok(dev);
	return true;
}

int64_t rng_read(struct rng *rng, volatile void *data, uint32_t len)
{
	struct vring_used_elem elem;

	vq_desc(&rng->vq, 0, data, len, DESC_WRITE, 0);
	vq_push(&rng->vq, 0);
	vq_kick(&rng->vq);
	if (!vq_wait(&rng->vq, TIMEOUT_REQUEST, &elem) || elem.id != 0)
		return -1;
	return elem.len;
}
