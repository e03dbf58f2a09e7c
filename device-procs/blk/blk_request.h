/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One virtio-blk request (VIRTIO 1.2 §5.2.6): from a checked chain of spans to an operation that
 * may be done as it stands. No I/O, no state. bulkhead-blk; the content is the guest's, hostile.
 *
 * What goes into the operation is copied once: the 16 bytes of header, the segments of a discard.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "device-procs/common/virtqueue.h"
#include "ipc/guest_memory.h"

#define BLK_SECTOR_SHIFT 9
#define BLK_SECTOR_BYTES 512u
#define BLK_HEADER_BYTES 16u
#define BLK_ID_BYTES 20u
#define BLK_SPANS_MAX 256u /* data buffers of one request, header and status included */
#define BLK_SEGMENTS_MAX 16u /* of one discard or write zeroes request */
#define BLK_SEGMENT_SECTORS_MAX (UINT32_C(1) << 22) /* 2 GiB */

/* What config space promises and the backend can do. */
struct blk_limits {
	uint64_t n_sectors; /* of 512 bytes */
	bool is_read_only;
	bool has_discard, has_write_zeroes; /* negotiated */
};

enum blk_operation {
	BLK_READ,
	BLK_WRITE,
	BLK_FLUSH,
	BLK_DISCARD,
	BLK_WRITE_ZEROES,
	BLK_GET_ID,
};

struct blk_segment {
	uint64_t offset, len; /* bytes, inside the disk; len is never 0 */
	bool unmap; /* write zeroes: may deallocate */
};

struct blk_request {
	enum blk_operation operation;
	uint64_t offset; /* READ, WRITE: bytes, a multiple of 512 */
	uint32_t len; /* READ, WRITE, GET_ID: bytes of data; 0 is possible */
	struct span status; /* one writable byte */
	uint32_t n_spans; /* data */
	uint32_t n_segments; /* DISCARD, WRITE_ZEROES */
	struct blk_segment segments[BLK_SEGMENTS_MAX];
};

enum blk_request_result {
	BLK_REQUEST_FAILED = 1, /* answer *ret_status (ret->status is valid) and nothing else */
	BLK_REQUEST_NO_STATUS = 2, /* there is no room even for an answer: used.len 0 */
};

/**
 * blk_request_parse() - check a chain against the limits
 * @chain: its spans are turned, in place, into the data spans of the request: header and status
 *	   are cut off
 * @ret_status: VIRTIO_BLK_S_IOERR or _UNSUPP for BLK_REQUEST_FAILED
 *
 * Return: 0; BLK_REQUEST_FAILED; BLK_REQUEST_NO_STATUS.
 */
int must_check blk_request_parse(struct virtqueue_chain *chain, const struct blk_limits *limits,
				 struct blk_request *ret, uint8_t *ret_status);

/**
 * blk_spans_iovec() - the part of the data from byte @skip on, as iovecs for one system call
 * @direction: SPAN_DEVICE_WRITES to read the disk into them
 * @n_max: at most so many iovecs
 * @ret_len: bytes in the iovecs
 *
 * Return: how many were filled in.
 */
uint32_t blk_spans_iovec(const struct span *spans, uint32_t n, uint32_t skip,
			 enum span_direction direction, struct iovec *ret, uint32_t n_max,
			 uint64_t *ret_len);
