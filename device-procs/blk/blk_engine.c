/* SPDX-License-Identifier: Apache-2.0 */
/* See blk_engine.h. Nothing here is hostile but the values inside the guest's buffers. */
#include "device-procs/blk/blk_engine.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/virtio_blk.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "device-procs/common/spans.h"
#include "ipc/log.h"
#include "ipc/message.h"

#define SUBMIT_TRIES 1000u
#define FIXED_FILE 0 /* index of the disk among the ring's files */
#define BUFFER_ALIGN 4096u

/* Write zeroes goes from the cheapest way to the one that always works. */
enum zero_phase {
	ZERO_PUNCH,
	ZERO_RANGE,
	ZERO_WRITE,
};

enum step {
	STEP_QUEUED = 1, /* the io waits for the kernel or for a buffer */
	STEP_FINISHED = 2, /* status is set */
};

/* Debian 12's shared liburing exports neither of the two functions that this is needed for. */
static int ring_register(const struct io_uring *ring, unsigned op, const void *arg, unsigned n)
{
	return syscall(SYS_io_uring_register, ring->ring_fd, op, arg, n) < 0 ? -errno : 0;
}

static int restrict_ring(struct io_uring *ring)
{
	static const uint8_t ops[] = {
		IORING_OP_READ, IORING_OP_WRITE, IORING_OP_READV, IORING_OP_WRITEV,
		IORING_OP_FSYNC, IORING_OP_FALLOCATE,
	};
	struct io_uring_restriction res[ARRAY_LEN(ops) + 2];
	size_t i;

	memset(res, 0, sizeof(res));
	for (i = 0; i < ARRAY_LEN(ops); i++) {
		res[i].opcode = IORING_RESTRICTION_SQE_OP;
		res[i].sqe_op = ops[i];
	}
	res[i].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
	res[i++].sqe_flags = IOSQE_FIXED_FILE;
	res[i].opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
	res[i++].sqe_flags = IOSQE_FIXED_FILE;
	return ring_register(ring, IORING_REGISTER_RESTRICTIONS, res, (unsigned)i);
}

/* What liburing does only for a ring that it made itself; it differs from version to version. */
static int map_ring(struct io_uring *ring, const struct io_uring_params *params)
{
	struct io_uring_params p = *params;
	int r = io_uring_queue_mmap(DEVICE_RING_FD, &p, ring);
	uint32_t i;

	if (r < 0)
		return r;
	ring->ring_fd = ring->enter_ring_fd = DEVICE_RING_FD;
	ring->features = p.features;
	for (i = 0; i < p.sq_entries; i++)
		ring->sq.array[i] = i;
	return 0;
}

static int take_ring(struct blk_engine *e, const struct io_uring_params *params)
{
	unsigned workers[2] = { BLK_WORKERS, BLK_WORKERS };
	int r = map_ring(&e->ring, params);

	if (r < 0)
		return r;
	r = io_uring_register_files(&e->ring, &e->disk->fd, 1);
	if (r == 0)
		r = io_uring_register_iowq_max_workers(&e->ring, workers);
	if (r == 0)
		r = restrict_ring(&e->ring);
	if (r == 0)
		r = ring_register(&e->ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	return r < 0 ? r : 0;
}

int blk_engine_init(struct blk_engine *e, const struct blk_disk *disk,
		    const struct io_uring_params *params, blk_done_fn *done, void *ctx)
{
	*e = (struct blk_engine){ .disk = disk, .done = done, .ctx = ctx };
	e->waiting_end = &e->waiting;
	/* Never written: it stays the kernel's one page of zeroes and costs no memory. */
	e->zeroes = mmap(NULL, BLK_BOUNCE_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (e->zeroes == MAP_FAILED)
		return -errno;
	if (disk->is_direct) {
		e->bounce = aligned_alloc(BUFFER_ALIGN, BLK_BOUNCE_BYTES * BLK_BOUNCE_BUFFERS);
		if (!e->bounce)
			return -ENOMEM;
		e->bounce_free = (1u << BLK_BOUNCE_BUFFERS) - 1;
	}
	return take_ring(e, params);
}

int blk_engine_fd(const struct blk_engine *e)
{
	return e->ring.ring_fd;
}

int blk_engine_submit(struct blk_engine *e)
{
	unsigned tries = 0;

	while (io_uring_sq_ready(&e->ring) > 0) {
		int r = io_uring_submit(&e->ring);

		/* The kernel is short of memory for the moment. */
		if (r == -EINTR || r == -EAGAIN || r == -EBUSY || r == 0) {
			if (++tries == SUBMIT_TRIES)
				return -EAGAIN;
		} else if (r < 0) {
			return r;
		}
	}
	return 0;
}

static int queue_sqe(struct blk_engine *e, struct io_uring_sqe **ret)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&e->ring);
	int r;

	if (!sqe) {
		r = blk_engine_submit(e);
		if (r < 0)
			return r;
		sqe = io_uring_get_sqe(&e->ring);
		if (!sqe)
			return -EBUSY;
	}
	memset(sqe, 0, sizeof(*sqe));
	e->n_in_ring++;
	*ret = sqe;
	return 0;
}

/* liburing's prep functions set all fields, so these two come after them. */
static int queued(struct io_uring_sqe *sqe, struct blk_io *io)
{
	sqe->flags = IOSQE_FIXED_FILE;
	io_uring_sqe_set_data(sqe, io);
	return STEP_QUEUED;
}

static int finished(uint8_t *ret_status, uint8_t status)
{
	*ret_status = status;
	return STEP_FINISHED;
}

static int queue_vector(struct blk_engine *e, struct blk_io *io, bool is_write, uint32_t n_iov,
			uint64_t offset)
{
	struct io_uring_sqe *sqe;
	int r = queue_sqe(e, &sqe);

	if (r < 0)
		return r;
	if (is_write)
		io_uring_prep_writev2(sqe, FIXED_FILE, io->iov, n_iov, offset,
				      e->is_write_through ? RWF_DSYNC : 0);
	else
		io_uring_prep_readv2(sqe, FIXED_FILE, io->iov, n_iov, offset, 0);
	return queued(sqe, io);
}

static int queue_flush(struct blk_engine *e, struct blk_io *io)
{
	struct io_uring_sqe *sqe;
	int r = queue_sqe(e, &sqe);

	if (r < 0)
		return r;
	io_uring_prep_fsync(sqe, FIXED_FILE, IORING_FSYNC_DATASYNC);
	return queued(sqe, io);
}

static int queue_fallocate(struct blk_engine *e, struct blk_io *io, int mode,
			   const struct blk_segment *s)
{
	struct io_uring_sqe *sqe;
	int r = queue_sqe(e, &sqe);

	if (r < 0)
		return r;
	io_uring_prep_fallocate(sqe, FIXED_FILE, mode, (off_t)s->offset, (off_t)s->len);
	return queued(sqe, io);
}

/* Buffered writes, at once. Return: bytes; -errno. */
static ssize_t write_now(const struct blk_engine *e, const struct blk_io *io, uint32_t n_iov,
			 uint64_t offset)
{
	ssize_t n;

	do
		n = pwritev2(e->disk->fd, io->iov, (int)n_iov, (off_t)offset,
			     e->is_write_through ? RWF_DSYNC : 0);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static bool is_aligned(const struct blk_engine *e, const struct iovec *iov, uint32_t n)
{
	uintptr_t bits = 0;
	uint32_t i;

	for (i = 0; i < n; i++)
		bits |= (uintptr_t)iov[i].iov_base | iov[i].iov_len;
	return (bits & (e->disk->memory_align - 1)) == 0;
}

static uint8_t *bounce_buffer(const struct blk_engine *e, const struct blk_io *io)
{
	return e->bounce + (size_t)io->bounce * BLK_BOUNCE_BYTES;
}

static bool take_bounce(struct blk_engine *e, struct blk_io *io)
{
	if (io->bounce >= 0)
		return true;
	if (e->bounce_free == 0)
		return false;
	io->bounce = __builtin_ctz(e->bounce_free);
	e->bounce_free &= ~(1u << io->bounce);
	return true;
}

static void release_bounce(struct blk_engine *e, struct blk_io *io)
{
	if (io->bounce < 0)
		return;
	e->bounce_free |= 1u << io->bounce;
	io->bounce = -1;
}

/* The next chunk of a request whose buffers O_DIRECT does not take. */
static int step_bounced(struct blk_engine *e, struct blk_io *io, bool is_write,
			uint8_t *ret_status)
{
	const struct blk_request *q = &io->request;
	uint64_t left = q->len - io->done;
	uint32_t n = left < BLK_BOUNCE_BYTES ? (uint32_t)left : BLK_BOUNCE_BYTES;

	if (!take_bounce(e, io)) {
		io->next = NULL;
		*e->waiting_end = io;
		e->waiting_end = &io->next;
		return STEP_QUEUED;
	}
	if (is_write && spans_copy_in(io->spans, q->n_spans, (uint32_t)io->done,
				      bounce_buffer(e, io), n) != n)
		return finished(ret_status, VIRTIO_BLK_S_IOERR);
	io->iov[0] = (struct iovec){ .iov_base = bounce_buffer(e, io), .iov_len = n };
	return queue_vector(e, io, is_write, 1, q->offset + io->done);
}

static int step_data(struct blk_engine *e, struct blk_io *io, uint8_t *ret_status)
{
	const struct blk_request *q = &io->request;
	bool is_write = q->operation == BLK_WRITE;

	while (io->done < q->len) {
		uint64_t bytes;
		uint32_t n = blk_spans_iovec(io->spans, q->n_spans, (uint32_t)io->done,
					     is_write ? SPAN_DEVICE_READS : SPAN_DEVICE_WRITES,
					     io->iov, q->n_spans, &bytes);
		ssize_t got;

		if (n == 0)
			return finished(ret_status, VIRTIO_BLK_S_IOERR);
		if (io->bounce >= 0 || (e->disk->is_direct && !is_aligned(e, io->iov, n)))
			return step_bounced(e, io, is_write, ret_status);
		if (!is_write || e->disk->is_direct)
			return queue_vector(e, io, is_write, n, q->offset + io->done);
		got = write_now(e, io, n, q->offset + io->done);
		if (got <= 0) {
			log_limited(LOG_LEVEL_WARNING, "write: %s", strerror((int)-got));
			return finished(ret_status, VIRTIO_BLK_S_IOERR);
		}
		io->done += (uint64_t)got;
	}
	return finished(ret_status, VIRTIO_BLK_S_OK);
}

/* Zeroes the slow way, as many at once as one call takes. */
static int step_zero_write(struct blk_engine *e, struct blk_io *io, uint8_t *ret_status)
{
	const struct blk_segment *s = &io->request.segments[io->segment];

	while (io->done < s->len) {
		uint64_t left = s->len - io->done;
		uint32_t n;
		ssize_t got;

		for (n = 0; n < BLK_SPANS_MAX && left > 0; n++) {
			size_t part = left < BLK_BOUNCE_BYTES ? (size_t)left : BLK_BOUNCE_BYTES;

			io->iov[n] = (struct iovec){ .iov_base = e->zeroes, .iov_len = part };
			left -= part;
		}
		if (e->disk->is_direct)
			return queue_vector(e, io, true, n, s->offset + io->done);
		got = write_now(e, io, n, s->offset + io->done);
		if (got <= 0)
			return finished(ret_status, VIRTIO_BLK_S_IOERR);
		io->done += (uint64_t)got;
	}
	return 0;
}

/* Return: 0: this segment is zero now. */
static int step_zeroes(struct blk_engine *e, struct blk_io *io, uint8_t *ret_status)
{
	const struct blk_segment *s = &io->request.segments[io->segment];

	/* Without unmap the blocks must stay allocated, §5.2.6.2, so no hole then. */
	if (io->phase == ZERO_PUNCH && (!s->unmap || e->lacks_punch))
		io->phase = ZERO_RANGE;
	if (io->phase == ZERO_RANGE && e->lacks_zero_range)
		io->phase = ZERO_WRITE;
	if (io->phase == ZERO_PUNCH)
		return queue_fallocate(e, io, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, s);
	if (io->phase == ZERO_RANGE)
		return queue_fallocate(e, io, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, s);
	return step_zero_write(e, io, ret_status);
}

/* Return: 0: this segment is discarded. */
static int step_discard(struct blk_engine *e, struct blk_io *io, uint8_t *ret_status)
{
	const struct blk_segment *s = &io->request.segments[io->segment];
	uint64_t range[2] = { s->offset, s->len };

	if (!e->disk->is_block)
		return queue_fallocate(e, io, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, s);
	if (ioctl(e->disk->fd, BLKDISCARD, range) < 0)
		return finished(ret_status, errno == EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP :
								  VIRTIO_BLK_S_IOERR);
	return 0;
}

static void next_segment(struct blk_io *io)
{
	io->segment++;
	io->phase = ZERO_PUNCH;
	io->done = 0;
}

static int step_segments(struct blk_engine *e, struct blk_io *io, uint8_t *ret_status)
{
	bool is_discard = io->request.operation == BLK_DISCARD;

	while (io->segment < io->request.n_segments) {
		int r = is_discard ? step_discard(e, io, ret_status) :
				     step_zeroes(e, io, ret_status);

		if (r != 0)
			return r;
		next_segment(io);
	}
	if (e->is_write_through && !io->is_synced)
		return queue_flush(e, io);
	return finished(ret_status, VIRTIO_BLK_S_OK);
}

static int step(struct blk_engine *e, struct blk_io *io, uint8_t *ret_status)
{
	switch (io->request.operation) {
	case BLK_READ:
	case BLK_WRITE:
		return step_data(e, io, ret_status);
	case BLK_FLUSH:
		return queue_flush(e, io);
	case BLK_DISCARD:
	case BLK_WRITE_ZEROES:
		return step_segments(e, io, ret_status);
	case BLK_GET_ID: /* answered by blk_device.c, no I/O */
	default:
		return finished(ret_status, VIRTIO_BLK_S_UNSUPP);
	}
}

static int proceed(struct blk_engine *e, struct blk_io *io)
{
	uint8_t status = VIRTIO_BLK_S_IOERR;
	int r = step(e, io, &status);

	if (r == STEP_FINISHED) {
		release_bounce(e, io);
		e->done(e->ctx, io, status);
	}
	return r < 0 ? r : 0;
}

int blk_engine_start(struct blk_engine *e, struct blk_io *io)
{
	io->phase = ZERO_PUNCH;
	io->is_synced = false;
	io->segment = 0;
	io->done = 0;
	io->bounce = -1;
	return proceed(e, io);
}

/* What completion @res means. Return: 0 go on with the next step; STEP_FINISHED */
static int data_completed(struct blk_engine *e, struct blk_io *io, int res, uint8_t *ret_status)
{
	const struct blk_request *q = &io->request;

	/* 0: the image was cut short under us. */
	if (res <= 0) {
		log_limited(LOG_LEVEL_WARNING, "%s: %s",
			    q->operation == BLK_READ ? "read" : "write",
			    res < 0 ? strerror(-res) : "end of file");
		return finished(ret_status, VIRTIO_BLK_S_IOERR);
	}
	if (io->bounce >= 0 && q->operation == BLK_READ &&
	    spans_copy_out(io->spans, q->n_spans, (uint32_t)io->done, bounce_buffer(e, io),
			   (uint32_t)res) != (uint32_t)res)
		return finished(ret_status, VIRTIO_BLK_S_IOERR);
	io->done += (uint32_t)res;
	return 0;
}

static int zeroes_completed(struct blk_engine *e, struct blk_io *io, int res)
{
	if (io->phase == ZERO_WRITE) {
		if (res <= 0)
			return VIRTIO_BLK_S_IOERR;
		io->done += (uint32_t)res;
		if (io->done >= io->request.segments[io->segment].len)
			next_segment(io);
		return VIRTIO_BLK_S_OK;
	}
	if (res == 0) {
		next_segment(io);
		return VIRTIO_BLK_S_OK;
	}
	if (res != -EOPNOTSUPP)
		return VIRTIO_BLK_S_IOERR;
	if (io->phase == ZERO_PUNCH)
		e->lacks_punch = true;
	else
		e->lacks_zero_range = true;
	io->phase++;
	return VIRTIO_BLK_S_OK;
}

static int segment_completed(struct blk_engine *e, struct blk_io *io, int res,
			     uint8_t *ret_status)
{
	int status;

	if (io->segment == io->request.n_segments) { /* that was the write-through */
		io->is_synced = true;
		status = res < 0 ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
	} else if (io->request.operation == BLK_WRITE_ZEROES) {
		status = zeroes_completed(e, io, res);
	} else if (res == 0) {
		next_segment(io);
		status = VIRTIO_BLK_S_OK;
	} else {
		status = res == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
	}
	return status == VIRTIO_BLK_S_OK ? 0 : finished(ret_status, (uint8_t)status);
}

static int completed(struct blk_engine *e, struct blk_io *io, int res)
{
	uint8_t status = VIRTIO_BLK_S_OK;
	int r;

	e->n_in_ring--;
	if (res == -EINTR || res == -EAGAIN) {
		r = 0; /* nothing was done: the same step again */
	} else if (io->request.operation == BLK_FLUSH) {
		r = finished(&status, res < 0 ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
	} else if (io->request.n_segments > 0 || io->request.operation == BLK_DISCARD ||
		   io->request.operation == BLK_WRITE_ZEROES) {
		r = segment_completed(e, io, res, &status);
	} else {
		r = data_completed(e, io, res, &status);
	}
	if (r == 0)
		return proceed(e, io);
	release_bounce(e, io);
	e->done(e->ctx, io, status);
	return 0;
}

/* First come, first served. */
static int serve_waiting(struct blk_engine *e)
{
	while (e->waiting && e->bounce_free != 0) {
		struct blk_io *io = e->waiting;
		int r;

		e->waiting = io->next;
		if (!e->waiting)
			e->waiting_end = &e->waiting;
		r = proceed(e, io);
		if (r < 0)
			return r;
	}
	return 0;
}

int blk_engine_reap(struct blk_engine *e)
{
	struct io_uring_cqe *cqe;
	int r;

	while (e->n_in_ring > 0 && io_uring_peek_cqe(&e->ring, &cqe) == 0) {
		struct blk_io *io = io_uring_cqe_get_data(cqe);
		int res = cqe->res;

		io_uring_cqe_seen(&e->ring, cqe);
		r = completed(e, io, res);
		if (r < 0)
			return r;
	}
	return serve_waiting(e);
}
