/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-rng of the probe guest (VIRTIO 1.2 §5.4). */
#pragma once

#include "virtio.h"

struct rng {
	struct vdev *dev;
	struct vq vq;
};

/* Starts it with its queue of at most size entries; Return: false when it refuses */
bool rng_start(struct rng *rng, struct vdev *dev, uint64_t features, uint16_t size);
/* One buffer by descriptor 0, polled; Return: bytes that came, -1 when it was not answered */
int64_t rng_read(struct rng *rng, volatile void *data, uint32_t len);
