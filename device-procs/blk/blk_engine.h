/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does requests on the disk. bulkhead-blk; requests were checked by blk_request.c.
 *
 * One io_uring with one fixed file, made by the warden, inherited disabled, and restricted by the
 * kernel to reading, writing, syncing and fallocate on that file; enabled for this thread only. No
 * operation skips its completion or posts two: the warden counts them (fence.h). Reads, all
 * direct I/O, flushes and fallocate go through it; buffered writes are plain pwritev2(), because
 * a ring would hand them to a worker thread.
 *
 * A request has at most one operation in the kernel at a time. A short transfer, the next chunk
 * of a bounced one and the next segment of a discard continue in the same request.
 */
#pragma once

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>

#include "device-procs/blk/blk_disk.h"
#include "device-procs/blk/blk_request.h"

#define BLK_WORKERS 4u /* kernel threads of the ring, of each of its two kinds */
#define BLK_BOUNCE_BYTES 65536u
#define BLK_BOUNCE_BUFFERS 8u

/* Buffers of a request that has many, or is written as zeroes: few ever touch this memory. */
struct blk_buffers {
	struct span spans[BLK_SPANS_MAX];
	struct iovec iov[BLK_SPANS_MAX];
};

#define BLK_BUFFERS_FEW 4u

/* Small, so that a busy disk, and one that has just been restarted, needs few pages for them. */
struct blk_io {
	struct blk_request request;
	uint32_t queue;
	uint16_t head;
	/* progress */
	uint8_t phase; /* write zeroes: enum in blk_engine.c */
	bool is_synced; /* the write-through of segments was done */
	uint32_t segment;
	uint64_t done; /* bytes, of the data or of the segment */
	int bounce; /* index of the buffer; -1: none */
	struct blk_io *next; /* waiting for a buffer */
	struct span *spans; /* of the data; below, or in struct blk_buffers */
	struct iovec *iov; /* scratch, as many */
	struct span few_spans[BLK_BUFFERS_FEW];
	struct iovec few_iov[BLK_BUFFERS_FEW];
};

/** blk_done_fn - @io is finished; @status: VIRTIO_BLK_S_*. May not start new requests. */
typedef void blk_done_fn(void *ctx, struct blk_io *io, uint8_t status);

struct blk_engine {
	const struct blk_disk *disk;
	blk_done_fn *done;
	void *ctx;
	struct io_uring ring;
	bool is_write_through; /* the driver did not take VIRTIO_BLK_F_FLUSH */
	bool lacks_punch, lacks_zero_range; /* learned: the file system refused it */
	uint32_t n_in_ring;
	uint8_t *bounce; /* BLK_BOUNCE_BUFFERS buffers; NULL unless direct */
	uint8_t *zeroes; /* one buffer of zeroes */
	uint32_t bounce_free; /* bit mask */
	struct blk_io *waiting, **waiting_end;
};

/**
 * blk_engine_init() - take, restrict and enable the ring
 * @disk: borrowed
 * @params: of the ring that is DEVICE_RING_FD
 * Return: 0; -errno. Context: in the sandbox, before the seal.
 */
int must_check blk_engine_init(struct blk_engine *e, const struct blk_disk *disk,
			       const struct io_uring_params *params, blk_done_fn *done, void *ctx);

/** blk_engine_fd() - becomes readable when something has completed */
int blk_engine_fd(const struct blk_engine *e);

/** blk_engine_start() - begin @io, which may be done before this returns; 0, -errno (fatal) */
int must_check blk_engine_start(struct blk_engine *e, struct blk_io *io);

/** blk_engine_submit() - one system call for all that was started; 0, -errno (fatal) */
int must_check blk_engine_submit(struct blk_engine *e);

/** blk_engine_reap() - take completions, without a system call; 0, -errno (fatal) */
int must_check blk_engine_reap(struct blk_engine *e);
