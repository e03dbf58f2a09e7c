/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notification suppression, VIRTIO 1.2 §2.7.7 to §2.7.10, and indices that wrap through 65,536.
 * Interrupts are seen by the status register, since they are raised together.
 */
#include "conformance.h"

#define QUIET_MS 3 /* how long nothing must happen */

/* Reads of one sector in three descriptors; all share the buffer, whose data is checked once. */
#define PARTS 3u

struct burst {
	struct blk blk;
	uint8_t *data;
	uint16_t n_max;
};

static void burst_prepare(struct burst *burst)
{
	*burst->blk.header = (struct blk_header){ .type = BLK_IN, .sector = 5 };
	for (uint16_t i = 0; i < burst->n_max; i++) {
		struct part parts[] = {
			{ burst->blk.header, sizeof(*burst->blk.header), false },
			{ burst->data, SECTOR, true },
			{ burst->data + SECTOR, 1, true },
		};

		vq_chain(&burst->blk.vq, (uint16_t)(i * PARTS), parts, PARTS);
	}
}

static const char *burst_open(struct burst *burst, uint64_t features, uint16_t size)
{
	EXPECT(blk_start(&burst->blk, disk, features, size), "no start");
	if ((disk->features & features) != features)
		return tap_skip("not offered");
	burst->data = memory_alloc(SECTOR + 1, 16);
	burst->n_max = (uint16_t)(burst->blk.vq.size / PARTS);
	burst_prepare(burst);
	return NULL;
}

static void burst_submit(struct burst *burst, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++)
		vq_stage(&burst->blk.vq, (uint16_t)(i * PARTS));
	vq_publish(&burst->blk.vq);
}

static const char *burst_collect(struct burst *burst, uint16_t n)
{
	struct vring_used_elem elem;

	for (uint16_t i = 0; i < n; i++) {
		EXPECT(vq_wait(&burst->blk.vq, TIMEOUT_REQUEST, &elem),
		       "lost: available %u, used %u, device wants a kick at %u",
		       burst->blk.vq.avail_idx, burst->blk.vq.used_idx,
		       *vq_avail_event(&burst->blk.vq));
		EXPECT(elem.id % PARTS == 0 && elem.id / PARTS < n, "used id %u", elem.id);
		EXPECT(elem.len == SECTOR + 1, "used length %u", elem.len);
	}
	EXPECT(burst->data[SECTOR] == BLK_S_OK, "status %u", burst->data[SECTOR]);
	return NULL;
}

static const char *burst_check_data(struct burst *burst)
{
	return pattern_check(burst->data, 5, SECTOR, SEED_SALT);
}

static const char *wrap_flags(uint64_t size)
{
	struct burst burst;
	uint32_t total = 0;

	EXPECT_OK(burst_open(&burst, 0, (uint16_t)size));
	burst.blk.vq.avail->flags = AVAIL_NO_INTERRUPT;
	while (total < 70000) {
		burst_submit(&burst, burst.n_max);
		vq_kick(&burst.blk.vq);
		EXPECT_OK(burst_collect(&burst, burst.n_max));
		total += burst.n_max;
	}
	return burst_check_data(&burst);
}

/*
 * Every burst asks for an interrupt at its last element, and kicks only when the device asked for
 * it. The size of the bursts varies, so that the ends fall everywhere.
 */
static const char *wrap_event(uint64_t size)
{
	struct burst burst;
	uint32_t total = 0;
	uint16_t n = 1;

	EXPECT_OK(burst_open(&burst, FEATURE_EVENT_IDX, (uint16_t)size));
	while (total < 70000) {
		uint16_t old = burst.blk.vq.avail_idx;

		*vq_used_event(&burst.blk.vq) = (uint16_t)(burst.blk.vq.used_idx + n - 1);
		burst_submit(&burst, n);
		vq_kick_event(&burst.blk.vq, old);
		EXPECT_OK(burst_collect(&burst, n));
		EXPECT(interrupt_wait(disk, TIMEOUT_REQUEST), "no interrupt at used index %u",
		       burst.blk.vq.used_idx);
		vdev_interrupt_ack(disk, 1);
		total += n;
		n = n == burst.n_max ? burst.n_max / 2 + 1 : burst.n_max;
	}
	return burst_check_data(&burst);
}

/* used_event stays half the index space away: §2.7.7.2 says SHOULD NOT, we say does not. */
static const char *event_not_reached(uint64_t unused)
{
	struct burst burst;

	(void)unused;
	EXPECT_OK(burst_open(&burst, FEATURE_EVENT_IDX, 16));
	EXPECT_OK(disk_read_works(&burst.blk)); /* the first one may always interrupt */
	burst_prepare(&burst);
	time_sleep(QUIET_MS);
	vdev_interrupt_ack(disk, 1);
	for (unsigned i = 0; i < 8; i++) {
		*vq_used_event(&burst.blk.vq) = (uint16_t)(burst.blk.vq.used_idx + 0x8000);
		vdev_interrupt(disk); /* clears it, for PCI */
		burst_submit(&burst, 4);
		vq_kick(&burst.blk.vq);
		EXPECT_OK(burst_collect(&burst, 4));
		time_sleep(QUIET_MS);
		EXPECT(vdev_interrupt(disk) == 0, "interrupt status 0x%x", vdev_interrupt(disk));
	}
	return NULL;
}

static const char *event_flag_ignored(uint64_t unused)
{
	struct burst burst;

	(void)unused;
	EXPECT_OK(burst_open(&burst, FEATURE_EVENT_IDX, 16));
	burst.blk.vq.avail->flags = AVAIL_NO_INTERRUPT; /* has no meaning now, §2.7.7.2 */
	*vq_used_event(&burst.blk.vq) = 0;
	burst_submit(&burst, 1);
	vq_kick(&burst.blk.vq);
	EXPECT_OK(burst_collect(&burst, 1));
	EXPECT(interrupt_wait(disk, TIMEOUT_REQUEST), "no interrupt");
	return NULL;
}

static const char *flag_no_interrupt(uint64_t unused)
{
	struct burst burst;

	(void)unused;
	EXPECT_OK(burst_open(&burst, 0, 16));
	burst.blk.vq.avail->flags = AVAIL_NO_INTERRUPT;
	for (unsigned i = 0; i < 8; i++) {
		burst_submit(&burst, 4);
		vq_kick(&burst.blk.vq);
		EXPECT_OK(burst_collect(&burst, 4));
		time_sleep(QUIET_MS);
		EXPECT(vdev_interrupt(disk) == 0, "interrupt status 0x%x", vdev_interrupt(disk));
	}
	burst.blk.vq.avail->flags = 0;
	burst_submit(&burst, 1);
	vq_kick(&burst.blk.vq);
	EXPECT_OK(burst_collect(&burst, 1));
	EXPECT(interrupt_wait(disk, TIMEOUT_REQUEST), "no interrupt with the flag off");
	return NULL;
}

/* An idle device must ask for the next kick, or the queue stands still. */
static const char *event_idle_wants_kick(uint64_t unused)
{
	struct burst burst;

	(void)unused;
	EXPECT_OK(burst_open(&burst, FEATURE_EVENT_IDX, 64));
	for (unsigned i = 0; i < 200; i++) {
		uint64_t deadline = time_deadline(TIMEOUT_REQUEST);
		uint16_t n = i % burst.n_max + 1;

		burst_submit(&burst, n);
		vq_kick(&burst.blk.vq);
		EXPECT_OK(burst_collect(&burst, n));
		while (*vq_avail_event(&burst.blk.vq) != burst.blk.vq.avail_idx)
			EXPECT(!time_passed(deadline), "available %u, avail_event %u",
			       burst.blk.vq.avail_idx, *vq_avail_event(&burst.blk.vq));
	}
	return NULL;
}

/* One request at a time, each kicked only when asked for, as fast as the answers come. */
static const char *event_ping_pong(uint64_t unused)
{
	struct burst burst;

	(void)unused;
	EXPECT_OK(burst_open(&burst, FEATURE_EVENT_IDX, 8));
	for (unsigned i = 0; i < 5000; i++) {
		uint16_t old = burst.blk.vq.avail_idx;

		burst_submit(&burst, 1);
		vq_kick_event(&burst.blk.vq, old);
		EXPECT_OK(burst_collect(&burst, 1));
	}
	return burst_check_data(&burst);
}

/* Kicks that nobody needs are harmless. */
static const char *kicks_without_requests(uint64_t features)
{
	struct burst burst;

	EXPECT_OK(burst_open(&burst, features, 16));
	for (unsigned i = 0; i < 1000; i++)
		vq_kick(&burst.blk.vq);
	time_sleep(QUIET_MS);
	EXPECT(!vq_pending(&burst.blk.vq), "used index moved");
	return disk_read_works(&burst.blk);
}

void conformance_event(void)
{
	tap_case(wrap_flags, 256, "indices wrap through 65536, no interrupts");
	tap_case(wrap_flags, 8, "indices wrap through 65536, queue size 8");
	tap_case(wrap_event, 256, "EVENT_IDX wraps through 65536, queue size 256");
	tap_case(wrap_event, 64, "EVENT_IDX wraps through 65536, queue size 64");
	tap_case(event_not_reached, 0, "no interrupt before used_event");
	tap_case(event_flag_ignored, 0, "NO_INTERRUPT has no meaning with EVENT_IDX");
	tap_case(flag_no_interrupt, 0, "NO_INTERRUPT is honoured");
	tap_case(event_idle_wants_kick, 0, "an idle device asks for a kick");
	tap_case(event_ping_pong, 0, "5000 single requests with EVENT_IDX");
	tap_case(kicks_without_requests, 0, "kicks without requests");
	tap_case(kicks_without_requests, FEATURE_EVENT_IDX, "kicks without requests, EVENT_IDX");
}
