/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-console of the probe guest (VIRTIO 1.2 §5.3), port 0 without MULTIPORT. The host's side is
 * expected to send back whatever it gets. (console.c is something else: COM1.)
 */
#pragma once

#include "virtio.h"

#define VCON_F_SIZE (1ull << 0)
#define VCON_F_MULTIPORT (1ull << 1)
#define VCON_F_EMERG_WRITE (1ull << 2)

enum { VCON_RX, VCON_TX };

/* Offsets in struct virtio_console_config */
enum vcon_config {
	VCON_CONFIG_COLS = 0,
	VCON_CONFIG_ROWS = 2,
	VCON_CONFIG_MAX_PORTS = 4,
	VCON_CONFIG_EMERG_WRITE = 8,
	VCON_CONFIG_LEN = 12,
};

struct vcon {
	struct vdev *dev;
	struct vq rx, tx;
	uint8_t *byte; /* what vcon_read() receives into: VCON_PIECE bytes */
};

#define VCON_PIECE 512u

/* Starts it with queues of at most size entries; Return: false when it refuses */
bool vcon_start(struct vcon *c, struct vdev *dev, uint64_t features, uint16_t size);
/* One chain of one buffer by descriptor 0, waited for; Return: used length, -1: none in time */
int64_t vcon_write(struct vcon *c, const volatile void *data, uint32_t len);
/* Exactly len bytes, by one buffer after the other; NULL, or what went wrong */
const char *vcon_read(struct vcon *c, void *data, uint32_t len);
/*
 * Sends something unique until it comes back, and drops what comes before it: whatever is left of
 * earlier times, and until somebody is there. NULL, or what went wrong
 */
const char *vcon_sync(struct vcon *c);
