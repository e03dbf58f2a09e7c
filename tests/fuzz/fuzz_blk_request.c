/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk requests out of chains of any shape. The chain goes through the real queue; what the
 * parser makes of it is compared with what the header, gathered here a second time, asks for.
 *
 * Input: struct start, its n_buffers of struct buffer, then the content of the buffers' memory.
 */
#include "device-procs/blk/blk_request.h"

#include <linux/virtio_blk.h>

#include "device-procs/common/spans.h"
#include "tests/fuzz/fuzz.h"

#define RAM (64u << 10)
#define DESC 0xc000u
#define AVAIL 0xe000u
#define USED 0xe800u
#define QUEUE_SIZE 512u
#define BUFFERS_MAX 300u /* more than BLK_SPANS_MAX */
#define GATHER_MAX 1024u

struct start {
	uint8_t limits; /* 1: read-only, 2: discard, 4: write zeroes */
	uint8_t n_sectors_shift;
	uint16_t n_sectors;
	uint16_t n_buffers;
	uint16_t skip;
	uint8_t n_iovecs;
} __attribute__((packed));

struct buffer {
	uint16_t at;
	uint16_t len;
	uint8_t flags; /* 1: writable, 2: outside RAM, 4: length times 4096 */
} __attribute__((packed));

static struct guest_memory *gm;
static uint8_t *ram;
static struct device_page_queue page;
static struct virtqueue vq;
static struct span spans[BLK_SPANS_MAX];

/* The first bytes that the driver offers to read, in the order of the chain. */
static uint8_t gathered[GATHER_MAX];
static uint32_t n_gathered;

static void put16(uint32_t at, uint16_t v)
{
	memcpy(ram + at, &v, sizeof(v));
}

static void gather(uint64_t at, uint32_t len)
{
	uint32_t n = GATHER_MAX - n_gathered;

	if (at >= RAM || len > RAM - at)
		return;
	n = len < n ? len : n;
	memcpy(gathered + n_gathered, ram + at, n);
	n_gathered += n;
}

static void put_chain(struct fuzz_reader *in, uint32_t n)
{
	struct virtqueue_descriptor d;

	for (uint32_t i = 0; i < n; i++) {
		struct buffer b;

		fuzz_bytes(in, &b, sizeof(b));
		d = (struct virtqueue_descriptor){
			.addr = b.at + (b.flags & 2 ? RAM : 0u),
			.len = (uint32_t)b.len << (b.flags & 4 ? 12 : 0),
			.flags = (uint16_t)((b.flags & 1 ? 2 : 0) | (i + 1 < n ? 1 : 0)),
			.next = (uint16_t)(i + 1),
		};
		memcpy(ram + DESC + i * sizeof(d), &d, sizeof(d));
	}
	/* Now that memory is what it stays. */
	fuzz_bytes(in, ram, DESC);
	n_gathered = 0;
	for (uint32_t i = 0; i < n; i++) {
		memcpy(&d, ram + DESC + i * sizeof(d), sizeof(d));
		if (!(d.flags & 2))
			gather(d.addr, d.len);
	}
}

static int pop(struct virtqueue_chain *chain)
{
	const struct virtqueue_setup setup = {
		.size = QUEUE_SIZE,
		.desc = DESC,
		.avail = AVAIL,
		.used = USED,
		.features = VIRTIO_F_VERSION_1_BIT,
	};

	put16(AVAIL, 0);
	put16(AVAIL + 2, 1);
	put16(AVAIL + 4, 0);
	virtqueue_init(&vq, gm, &page);
	fuzz_check(virtqueue_enable(&vq, &setup) == 0);
	*chain = (struct virtqueue_chain){ .spans = spans, .n_spans_max = BLK_SPANS_MAX };
	return virtqueue_pop(&vq, chain);
}

static bool is_on_disk(const struct blk_limits *limits, uint64_t offset, uint64_t len)
{
	uint64_t size = limits->n_sectors << BLK_SECTOR_SHIFT;

	return offset % BLK_SECTOR_BYTES == 0 && len % BLK_SECTOR_BYTES == 0 && offset <= size &&
	       len <= size - offset;
}

static uint64_t data_len(const struct virtqueue_chain *chain, uint32_t n)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += span_len(&chain->spans[i]);
	return sum;
}

/* The data as iovecs: from @skip on, all of it, in the right direction, inside RAM. */
static void check_iovecs(const struct virtqueue_chain *chain, const struct blk_request *rq,
			 const struct start *s)
{
	static struct iovec iov[BLK_SPANS_MAX];
	enum span_direction direction =
		rq->operation == BLK_WRITE ? SPAN_DEVICE_READS : SPAN_DEVICE_WRITES;
	uint64_t total = data_len(chain, rq->n_spans), len, sum = 0;
	uint32_t n = blk_spans_iovec(chain->spans, rq->n_spans, s->skip, direction, iov,
				     BLK_SPANS_MAX, &len);

	fuzz_check(len == (total > s->skip ? total - s->skip : 0));
	for (uint32_t i = 0; i < n; i++) {
		uintptr_t at = (uintptr_t)iov[i].iov_base - (uintptr_t)ram;

		fuzz_check(at < RAM && iov[i].iov_len > 0 && iov[i].iov_len <= RAM - at);
		sum += iov[i].iov_len;
	}
	fuzz_check(sum == len);
	fuzz_check(blk_spans_iovec(chain->spans, rq->n_spans, s->skip, direction, iov, s->n_iovecs,
				   &len) <= s->n_iovecs);
	fuzz_check(len <= sum);
}

/* What a write would write is what lies behind the header. */
static void check_copies(const struct virtqueue_chain *chain, const struct blk_request *rq)
{
	static uint8_t copy[GATHER_MAX];
	uint32_t n = n_gathered - BLK_HEADER_BYTES;

	if (rq->operation != BLK_WRITE)
		return;
	fuzz_check(spans_copy_in(chain->spans, rq->n_spans, 0, copy, n) == n);
	fuzz_check(memcmp(copy, gathered + BLK_HEADER_BYTES, n) == 0);
	fuzz_check(spans_copy_out(chain->spans, rq->n_spans, 0, copy, n) == 0);
}

static void check_data(const struct virtqueue_chain *chain, const struct blk_limits *limits,
		       const struct blk_request *rq, const struct start *s)
{
	bool is_write = rq->operation == BLK_WRITE;
	uint64_t sector;

	memcpy(&sector, gathered + 8, sizeof(sector));
	fuzz_check(rq->offset == sector << BLK_SECTOR_SHIFT);
	fuzz_check(sector <= limits->n_sectors && is_on_disk(limits, rq->offset, rq->len));
	fuzz_check(!is_write || !limits->is_read_only);
	fuzz_check(data_len(chain, rq->n_spans) == rq->len);
	check_iovecs(chain, rq, s);
	check_copies(chain, rq);
}

static void check_segments(const struct blk_limits *limits, const struct blk_request *rq)
{
	bool is_discard = rq->operation == BLK_DISCARD;

	fuzz_check(is_discard ? limits->has_discard : limits->has_write_zeroes);
	fuzz_check(!limits->is_read_only);
	fuzz_check(rq->n_segments <= BLK_SEGMENTS_MAX);
	for (uint32_t i = 0; i < rq->n_segments; i++) {
		const struct blk_segment *seg = &rq->segments[i];

		fuzz_check(seg->len > 0 && is_on_disk(limits, seg->offset, seg->len));
		fuzz_check(!is_discard || !seg->unmap);
	}
}

static void check_accepted(const struct virtqueue_chain *chain, const struct blk_limits *limits,
			   const struct blk_request *rq, const struct start *s)
{
	static const uint32_t types[] = {
		[BLK_READ] = VIRTIO_BLK_T_IN,       [BLK_WRITE] = VIRTIO_BLK_T_OUT,
		[BLK_FLUSH] = VIRTIO_BLK_T_FLUSH,   [BLK_DISCARD] = VIRTIO_BLK_T_DISCARD,
		[BLK_GET_ID] = VIRTIO_BLK_T_GET_ID, [BLK_WRITE_ZEROES] = VIRTIO_BLK_T_WRITE_ZEROES,
	};
	uint32_t type;

	fuzz_check(!chain->is_bad && !chain->is_cut);
	fuzz_check(n_gathered >= BLK_HEADER_BYTES);
	memcpy(&type, gathered, sizeof(type));
	fuzz_check((unsigned)rq->operation < ARRAY_LEN(types) && type == types[rq->operation]);
	fuzz_check(rq->n_spans <= chain->n_spans);
	if (rq->operation == BLK_READ || rq->operation == BLK_WRITE)
		check_data(chain, limits, rq, s);
	else if (rq->operation == BLK_DISCARD || rq->operation == BLK_WRITE_ZEROES)
		check_segments(limits, rq);
	else if (rq->operation == BLK_GET_ID)
		fuzz_check(rq->len == BLK_ID_BYTES && data_len(chain, rq->n_spans) >= rq->len);
}

/* One writable byte in RAM. */
static void check_status(const struct span *status)
{
	struct iovec iov;

	fuzz_check(span_len(status) == 1);
	fuzz_check(span_iovec(status, SPAN_DEVICE_WRITES, &iov) == 0);
	fuzz_check((uintptr_t)iov.iov_base - (uintptr_t)ram < RAM);
}

static void open_memory(void)
{
	static const struct guest_region region = { 0, RAM };

	fuzz_check(guest_memory_create(&region, 1, false, false, &gm) == 0);
	ram = (uint8_t *)(uintptr_t)guest_memory_host_base(gm, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct blk_request rq;
	struct fuzz_reader in = { data, size };
	struct virtqueue_chain chain;
	struct blk_limits limits;
	uint8_t status = 0xff;
	struct start s;
	int r;

	if (gm == NULL)
		open_memory();
	fuzz_bytes(&in, &s, sizeof(s));
	limits = (struct blk_limits){
		.n_sectors = (uint64_t)s.n_sectors << s.n_sectors_shift % 38,
		.is_read_only = s.limits & 1,
		.has_discard = s.limits & 2,
		.has_write_zeroes = s.limits & 4,
	};
	put_chain(&in, 1 + s.n_buffers % BUFFERS_MAX);
	if (pop(&chain) != 0)
		return 0;
	memset(&rq, 0xa5, sizeof(rq));
	r = blk_request_parse(&chain, &limits, &rq, &status);
	if (r == BLK_REQUEST_NO_STATUS)
		return 0;
	check_status(&rq.status);
	if (r == BLK_REQUEST_FAILED) {
		fuzz_check(status == VIRTIO_BLK_S_IOERR || status == VIRTIO_BLK_S_UNSUPP);
		return 0;
	}
	fuzz_check(r == 0 && status == VIRTIO_BLK_S_OK);
	check_accepted(&chain, &limits, &rq, &s);
	return 0;
}
