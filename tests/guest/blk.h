/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk of the probe guest (VIRTIO 1.2 §5.2): one request at a time, and its pieces. */
#pragma once

#include "virtio.h"

#define BLK_F_SIZE_MAX (1ull << 1)
#define BLK_F_SEG_MAX (1ull << 2)
#define BLK_F_GEOMETRY (1ull << 4)
#define BLK_F_RO (1ull << 5)
#define BLK_F_BLK_SIZE (1ull << 6)
#define BLK_F_FLUSH (1ull << 9)
#define BLK_F_TOPOLOGY (1ull << 10)
#define BLK_F_CONFIG_WCE (1ull << 11)
#define BLK_F_MQ (1ull << 12)
#define BLK_F_DISCARD (1ull << 13)
#define BLK_F_WRITE_ZEROES (1ull << 14)

enum blk_type {
	BLK_IN = 0,
	BLK_OUT = 1,
	BLK_FLUSH = 4,
	BLK_GET_ID = 8,
	BLK_DISCARD = 11,
	BLK_WRITE_ZEROES = 13,
};

enum blk_status {
	BLK_S_OK = 0,
	BLK_S_IOERR = 1,
	BLK_S_UNSUPP = 2,
	BLK_S_NONE = 0xee, /* our own: what the byte holds before the device writes it */
};

#define BLK_TIMED_OUT (-1)
#define BLK_BAD_USED (-2) /* the used ring names another chain */

/* Offsets in struct virtio_blk_config */
enum blk_config {
	BLK_CONFIG_CAPACITY = 0,
	BLK_CONFIG_SIZE_MAX = 8,
	BLK_CONFIG_SEG_MAX = 12,
	BLK_CONFIG_BLK_SIZE = 20,
	BLK_CONFIG_WRITEBACK = 32,
	BLK_CONFIG_NUM_QUEUES = 34,
	BLK_CONFIG_MAX_DISCARD_SECTORS = 36,
	BLK_CONFIG_MAX_DISCARD_SEG = 40,
	BLK_CONFIG_DISCARD_ALIGNMENT = 44,
	BLK_CONFIG_MAX_WRITE_ZEROES_SECTORS = 48,
	BLK_CONFIG_MAX_WRITE_ZEROES_SEG = 52,
	BLK_CONFIG_LEN = 56, /* up to there every device of VIRTIO 1.1 has it */
};

struct blk_header {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
};

struct blk_segment { /* discard and write zeroes */
	uint64_t sector;
	uint32_t n_sectors;
	uint32_t flags;
};

/* A disk with one queue in use, and the buffers of the one request that it does. */
struct blk {
	struct vdev *dev;
	struct vq vq;
	struct blk_header *header;
	volatile uint8_t *status;
	uint32_t used_len; /* of the last request */
};

/* Starts a disk with queue 0 of at most size entries; Return: false when it refuses */
bool blk_start(struct blk *blk, struct vdev *dev, uint64_t features, uint16_t size);
uint64_t blk_capacity(const struct vdev *dev);
/*
 * One request by descriptors 0 to 2, polled: header, data (none when len is 0), status.
 * Return: the status byte, BLK_TIMED_OUT or BLK_BAD_USED
 */
int blk_request(struct blk *blk, uint32_t type, uint64_t sector, void *data, uint32_t len);
