/* SPDX-License-Identifier: Apache-2.0 */
/* See fence.h. Hostile: nothing; what is read here comes from the kernel alone. */
#include "vmm-core/warden/fence.h"

#include <event2/event.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "ipc/clock.h"
#include "ipc/ring_params.h"

#define SQ_ENTRIES_MAX 256u
#define CQ_ENTRIES_MAX 65536u /* the kernel's own limit, and DEVICE_QUEUES_MAX full queues */
#define LINE_BYTES 256u

static uint32_t requests_at_a_time(const struct device_config *config)
{
	return config->type == DEVICE_TYPE_BLK ? config->blk.num_queues * config->blk.queue_size : 0;
}

int fence_open(const struct device_config *config, struct fence *ret)
{
	uint32_t n = requests_at_a_time(config);
	/*
	 * Not DEFER_TASKRUN: nobody but the dead process could bring its completions in. Disabled
	 * until the process has restricted it; that also makes the process its single issuer.
	 */
	struct io_uring_params p = {
		.flags = IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER |
			 IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
			 IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
		/* Room for every request: the ring of an honest process never overflows. */
		.cq_entries = n < CQ_ENTRIES_MAX ? n : CQ_ENTRIES_MAX,
	};
	uint32_t sq_entries = n < SQ_ENTRIES_MAX ? n : SQ_ENTRIES_MAX;
	long fd;

	*ret = FENCE_INIT;
	if (n == 0)
		return 0;
	fd = syscall(SYS_io_uring_setup, sq_entries, &p);
	if (fd < 0)
		return -errno;
	ret->ring_fd = (int)fd;
	ring_params_pack(&p, ret->ring);
	return 0;
}

void fence_describe(const struct fence *fence, struct message_device_start *start)
{
	start->n_ring = fence->ring_fd < 0 ? 0 : RING_PARAMS_N;
	memcpy(start->ring, fence->ring, sizeof(start->ring));
}

static bool take_number(const char *line, const char *key, uint32_t *ret)
{
	size_t len = strlen(key);

	if (strncmp(line, key, len) != 0)
		return false;
	*ret = (uint32_t)strtoul(line + len, NULL, 10);
	return true;
}

/*
 * fdinfo has one "Key:\tvalue" a line, and below "CqOverflowList:" one indented line per entry. A
 * kernel that has the ring locked at this moment leaves all of it out.
 */
static int count(FILE *f, uint32_t *ret_under_way)
{
	uint32_t taken = 0, posted = 0, n_overflowed = 0;
	bool has_taken = false, has_posted = false, in_overflow = false;
	char line[LINE_BYTES];

	/* Posted is read before what overflowed; an entry that moves meanwhile is not counted twice. */
	while (fgets(line, sizeof(line), f) != NULL) {
		if (line[0] == ' ') {
			n_overflowed += in_overflow;
			continue;
		}
		in_overflow = strncmp(line, "CqOverflowList:", 15) == 0;
		has_taken |= take_number(line, "CachedSqHead:", &taken);
		has_posted |= take_number(line, "CachedCqTail:", &posted);
		if (has_taken && has_posted && taken == posted)
			break;
	}
	if (ferror(f))
		return -EIO;
	if (!has_taken || !has_posted)
		return FENCE_PENDING;
	*ret_under_way = taken - posted - n_overflowed;
	return 0;
}

int fence_look(const struct fence *fence)
{
	char path[64];
	uint32_t under_way;
	FILE *f;
	int r;

	if (fence->ring_fd < 0)
		return 0;
	(void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fence->ring_fd);
	f = fopen(path, "re");
	if (f == NULL)
		return -errno;
	r = count(f, &under_way);
	(void)fclose(f);
	if (r != 0)
		return r;
	return under_way == 0 ? 0 : FENCE_PENDING;
}

static void stop_waiting(struct fence *fence)
{
	if (fence->completion != NULL)
		event_free(fence->completion);
	if (fence->recheck != NULL)
		event_free(fence->recheck);
	fence->completion = fence->recheck = NULL;
}

static void on_event(evutil_socket_t fd, short what, void *ctx)
{
	static const struct timeval again = { .tv_usec = FENCE_RECHECK_MS * 1000 };
	struct fence *fence = ctx;
	int r = fence_look(fence);

	(void)fd;
	(void)what;
	if (r == FENCE_PENDING && clock_now_ms() < fence->deadline_ms &&
	    event_add(fence->recheck, &again) == 0)
		return;
	if (r == FENCE_PENDING)
		r = -ETIMEDOUT;
	stop_waiting(fence);
	fence->done(fence->ctx, r);
}

int fence_wait(struct fence *fence, struct event_base *base, fence_done_fn *done, void *ctx)
{
	static const struct timeval again = { .tv_usec = FENCE_RECHECK_MS * 1000 };
	int r = fence_look(fence);

	if (r != FENCE_PENDING)
		return r;
	fence->done = done;
	fence->ctx = ctx;
	fence->deadline_ms = clock_now_ms() + FENCE_DEADLINE_MS;
	/* Edge-triggered: completions that nobody took make the ring readable for ever. */
	fence->completion = event_new(base, fence->ring_fd, EV_READ | EV_ET | EV_PERSIST, on_event,
				      fence);
	fence->recheck = evtimer_new(base, on_event, fence);
	if (fence->completion == NULL || fence->recheck == NULL ||
	    event_add(fence->completion, NULL) < 0 || event_add(fence->recheck, &again) < 0) {
		stop_waiting(fence);
		return -ENOMEM;
	}
	return FENCE_PENDING;
}

void fence_close(struct fence *fence)
{
	stop_waiting(fence);
	fence->ring_fd = fd_close(fence->ring_fd);
}
