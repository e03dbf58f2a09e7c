/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <event2/event.h>
#include <fcntl.h>
#include <liburing.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "vmm-core/warden/fence.h"

static const struct device_config blk = {
	.type = DEVICE_TYPE_BLK, .blk = { .num_queues = 1, .queue_size = 4 },
};
static int called, result;

static void on_over(void *ctx, int r)
{
	called++;
	result = r;
	(void)event_base_loopbreak(ctx);
}

/* Submits @n reads of @fd in a child that then dies without waiting for them. */
static void submit_and_die(const struct fence *fence, int fd, unsigned n)
{
	struct message_device_start start;
	pid_t pid;
	int status;

	fence_describe(fence, &start);
	cr_assert_eq(start.n_ring, RING_PARAMS_N);
	pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0) {
		static char buffer[64];
		struct io_uring_params p;
		struct io_uring ring;

		memset(&ring, 0, sizeof(ring));
		ring_params_unpack(start.ring, &p);
		if (io_uring_queue_mmap(fence->ring_fd, &p, &ring) < 0)
			_exit(1);
		ring.ring_fd = ring.enter_ring_fd = fence->ring_fd;
		if (syscall(SYS_io_uring_register, fence->ring_fd, IORING_REGISTER_ENABLE_RINGS, 0,
			    0) < 0)
			_exit(2);
		for (unsigned i = 0; i < p.sq_entries; i++)
			ring.sq.array[i] = i;
		for (; n > 0; n--) {
			io_uring_prep_read(io_uring_get_sqe(&ring), fd, buffer, sizeof(buffer), 0);
			if (io_uring_submit(&ring) != 1)
				_exit(3);
		}
		(void)kill(getpid(), SIGKILL);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFSIGNALED(status), "0x%x", (unsigned)status);
}

Test(fence, device_without_ring_is_over_at_once)
{
	const struct device_config net = { .type = DEVICE_TYPE_NET };
	struct message_device_start start = { .n_ring = 5 };
	struct fence fence;

	cr_assert_eq(fence_open(&net, &fence), 0);
	cr_assert_eq(fence.ring_fd, -1);
	fence_describe(&fence, &start);
	cr_assert_eq(start.n_ring, 0);
	cr_assert_eq(fence_wait(&fence, NULL, on_over, NULL), 0);
	fence_close(&fence);
}

Test(fence, unused_ring_is_over_at_once)
{
	struct fence fence;

	cr_assert_eq(fence_open(&blk, &fence), 0);
	cr_assert_geq(fence.ring_fd, 0);
	cr_assert_eq(fence_look(&fence), 0);
	cr_assert_eq(fence_wait(&fence, NULL, on_over, NULL), 0);
	fence_close(&fence);
	cr_assert_eq(fence.ring_fd, -1);
}

static void completions_are_counted(unsigned n)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct event_base *base = event_base_new();
	struct fence fence;
	int r;

	cr_assert_eq(fence_open(&blk, &fence), 0);
	submit_and_die(&fence, fd, n);
	r = fence_wait(&fence, base, on_over, base);
	if (r == FENCE_PENDING) {
		(void)event_base_dispatch(base);
		cr_assert_eq(called, 1);
		r = result;
	}
	cr_assert_eq(r, 0);
	fence_close(&fence);
	event_base_free(base);
	(void)close(fd);
}

Test(fence, completions_that_nobody_took_are_counted)
{
	completions_are_counted(3);
}

Test(fence, completions_that_overflowed_are_counted)
{
	completions_are_counted(7); /* the ring has room for four */
}
