/* SPDX-License-Identifier: Apache-2.0 */
/* Parsing and checking of virtio-blk requests; see blk_request.h. Everything here is hostile. */
#include "device-procs/blk/blk_request.h"

#include <endian.h>
#include <linux/virtio_blk.h>
#include <string.h>

#include "device-procs/common/spans.h"

/* §5.2.6: the fixed front of every request. */
struct wire_header {
	uint32_t type;
	uint32_t reserved; /* legacy ioprio */
	uint64_t sector;
};

_Static_assert(sizeof(struct wire_header) == BLK_HEADER_BYTES, "VIRTIO 1.2 §5.2.6");

struct wire_segment {
	uint64_t sector;
	uint32_t num_sectors;
	uint32_t flags;
};

_Static_assert(sizeof(struct wire_segment) == 16, "VIRTIO 1.2 §5.2.6");

uint32_t blk_spans_iovec(const struct span *spans, uint32_t n, uint32_t skip,
			 enum span_direction direction, struct iovec *ret, uint32_t n_max,
			 uint64_t *ret_len)
{
	uint32_t i, n_iov = 0;
	uint64_t total = 0;

	for (i = 0; i < n && n_iov < n_max; i++) {
		uint32_t len = span_len(&spans[i]);
		struct span part;

		if (skip >= len) {
			skip -= len;
			continue;
		}
		if (span_cut(&spans[i], skip, len - skip, &part) != 0 ||
		    span_iovec(&part, direction, &ret[n_iov]) != 0)
			break;
		total += ret[n_iov++].iov_len;
		skip = 0;
	}
	*ret_len = total;
	return n_iov;
}

/* The status is the last writable byte of the chain, whatever else is wrong with it. */
static int take_status(struct virtqueue_chain *chain, struct blk_request *ret)
{
	struct span *last = chain->last;
	uint32_t len;

	if (!last)
		return BLK_REQUEST_NO_STATUS;
	len = span_len(last);
	if (span_cut(last, len - 1, 1, &ret->status) != 0)
		return BLK_REQUEST_NO_STATUS;
	if (chain->is_bad || chain->is_cut)
		return 0; /* nothing but the status will be used */
	/* A chain that is whole ends in this very span: data in front of the status stays. */
	if (len == 1 || span_cut(last, 0, len - 1, last) != 0)
		chain->n_spans--;
	return 0;
}

/* Removes the first @n bytes of the readable part. They are there. */
static void drop_front(struct virtqueue_chain *chain, uint32_t n)
{
	uint32_t i = 0;

	while (n > 0 && i < chain->n_readable) {
		struct span *s = &chain->spans[i];
		uint32_t len = span_len(s);

		if (n < len && span_cut(s, n, len - n, s) == 0)
			break;
		n -= len;
		i++;
	}
	chain->n_readable -= i;
	chain->n_spans -= i;
	memmove(chain->spans, chain->spans + i, chain->n_spans * sizeof(chain->spans[0]));
}

static bool is_on_disk(const struct blk_limits *limits, uint64_t sector, uint64_t n_sectors)
{
	return sector <= limits->n_sectors && n_sectors <= limits->n_sectors - sector;
}

static int check_data(const struct virtqueue_chain *chain, const struct blk_limits *limits,
		      uint64_t sector, bool is_write, struct blk_request *ret)
{
	uint32_t readable = chain->readable_len - BLK_HEADER_BYTES;
	uint32_t writable = chain->writable_len - 1;

	ret->operation = is_write ? BLK_WRITE : BLK_READ;
	ret->len = is_write ? readable : writable;
	ret->n_spans = chain->n_spans;
	/* Data in the other direction would mean that driver and device do not agree on what this
	 * request is. */
	if ((is_write ? writable : readable) != 0 || ret->len % BLK_SECTOR_BYTES != 0)
		return VIRTIO_BLK_S_IOERR;
	if (is_write && limits->is_read_only)
		return VIRTIO_BLK_S_IOERR;
	if (!is_on_disk(limits, sector, ret->len >> BLK_SECTOR_SHIFT))
		return VIRTIO_BLK_S_IOERR;
	ret->offset = sector << BLK_SECTOR_SHIFT; /* fits: the disk's size in bytes does */
	return VIRTIO_BLK_S_OK;
}

static int check_segment(const struct wire_segment *wire, const struct blk_limits *limits,
			 bool is_discard, struct blk_segment *ret)
{
	uint64_t sector = le64toh(wire->sector);
	uint32_t n = le32toh(wire->num_sectors), flags = le32toh(wire->flags);

	/* §5.2.6.2: unknown flags are refused, and unmap is for write zeroes only. */
	if (flags & ~(is_discard ? 0u : (uint32_t)VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP))
		return VIRTIO_BLK_S_UNSUPP;
	if (n > BLK_SEGMENT_SECTORS_MAX || !is_on_disk(limits, sector, n))
		return VIRTIO_BLK_S_IOERR;
	*ret = (struct blk_segment){
		.offset = sector << BLK_SECTOR_SHIFT,
		.len = (uint64_t)n << BLK_SECTOR_SHIFT,
		.unmap = flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
	};
	return VIRTIO_BLK_S_OK;
}

/* All segments are checked before the first one is touched. */
static int check_segments(const struct virtqueue_chain *chain, const struct blk_limits *limits,
			  bool is_discard, struct blk_request *ret)
{
	struct wire_segment wire[BLK_SEGMENTS_MAX];
	uint32_t len = chain->readable_len - BLK_HEADER_BYTES, i;

	ret->operation = is_discard ? BLK_DISCARD : BLK_WRITE_ZEROES;
	if (!(is_discard ? limits->has_discard : limits->has_write_zeroes))
		return VIRTIO_BLK_S_UNSUPP;
	if (limits->is_read_only || len == 0 || len % sizeof(wire[0]) != 0 || len > sizeof(wire))
		return VIRTIO_BLK_S_IOERR;
	if (spans_copy_in(chain->spans, chain->n_readable, 0, wire, len) != len)
		return VIRTIO_BLK_S_IOERR;
	ret->n_segments = 0;
	for (i = 0; i < len / sizeof(wire[0]); i++) {
		struct blk_segment *s = &ret->segments[ret->n_segments];
		int status = check_segment(&wire[i], limits, is_discard, s);

		if (status != VIRTIO_BLK_S_OK)
			return status;
		ret->n_segments += s->len != 0; /* an empty one is done already */
	}
	return VIRTIO_BLK_S_OK;
}

static int check_get_id(const struct virtqueue_chain *chain, struct blk_request *ret)
{
	ret->operation = BLK_GET_ID;
	ret->len = chain->writable_len - 1;
	ret->n_spans = chain->n_spans;
	if (chain->readable_len != BLK_HEADER_BYTES || ret->len < BLK_ID_BYTES)
		return VIRTIO_BLK_S_IOERR;
	ret->len = BLK_ID_BYTES;
	return VIRTIO_BLK_S_OK;
}

static int check(const struct virtqueue_chain *chain, const struct wire_header *header,
		 const struct blk_limits *limits, struct blk_request *ret)
{
	uint64_t sector = le64toh(header->sector);

	switch (le32toh(header->type)) {
	case VIRTIO_BLK_T_IN:
		return check_data(chain, limits, sector, false, ret);
	case VIRTIO_BLK_T_OUT:
		return check_data(chain, limits, sector, true, ret);
	case VIRTIO_BLK_T_FLUSH:
		ret->operation = BLK_FLUSH;
		return VIRTIO_BLK_S_OK;
	case VIRTIO_BLK_T_DISCARD:
		return check_segments(chain, limits, true, ret);
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return check_segments(chain, limits, false, ret);
	case VIRTIO_BLK_T_GET_ID:
		return check_get_id(chain, ret);
	default:
		return VIRTIO_BLK_S_UNSUPP;
	}
}

int blk_request_parse(struct virtqueue_chain *chain, const struct blk_limits *limits,
		      struct blk_request *ret, uint8_t *ret_status)
{
	struct wire_header header;
	int r = take_status(chain, ret);

	if (r != 0)
		return r;
	ret->len = 0;
	ret->n_spans = 0;
	ret->n_segments = 0;
	*ret_status = VIRTIO_BLK_S_IOERR;
	/* Of a poisoned one nothing is looked at: that may be what the processes died of. */
	if (chain->is_bad || chain->is_cut || chain->is_poisoned)
		return BLK_REQUEST_FAILED;
	/* Gathered from as many buffers as the driver likes (§2.7.4.3), exactly once. */
	if (spans_copy_in(chain->spans, chain->n_readable, 0, &header, sizeof(header)) !=
	    sizeof(header))
		return BLK_REQUEST_FAILED;
	drop_front(chain, sizeof(header));
	*ret_status = (uint8_t)check(chain, &header, limits, ret);
	return *ret_status == VIRTIO_BLK_S_OK ? 0 : BLK_REQUEST_FAILED;
}
