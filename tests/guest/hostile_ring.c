/* SPDX-License-Identifier: Apache-2.0 */
/* Ring indices, heads and notifications against the rules of VIRTIO 1.2 §2.7.6 to §2.7.14. */
#include "hostile.h"

/* A read of one zero sector with its own status byte, at descriptors first to first + 2 */
static void good_chain(uint16_t first, uint8_t *data, volatile uint8_t *status)
{
	struct part parts[] = {
		{ victim.blk.header, 16, false },
		{ data, SECTOR, true },
		{ status, 1, true },
	};

	vq_chain(&victim.blk.vq, first, parts, 3);
}

static void stage_good(uint16_t first)
{
	good_chain(first, victim.data, victim.blk.status);
	vq_stage(&victim.blk.vq, first);
}

static const char *collect(unsigned n)
{
	struct vring_used_elem elem;

	for (unsigned i = 0; i < n; i++) {
		EXPECT(vq_wait(&victim.blk.vq, TIMEOUT_REQUEST, &elem), "answer %u of %u is missing",
		       i + 1, n);
		EXPECT(elem.len == SECTOR + 1, "used length %u", elem.len);
	}
	return NULL;
}

/* argument: requests before, and by how much the index then jumps */
static const char *index_jumps(uint64_t argument)
{
	uint16_t jump = (uint16_t)argument;
	unsigned before = (unsigned)(argument >> 16);

	EXPECT_OK(victim_start(0));
	victim_header(BLK_IN, ZERO_SECTOR);
	good_chain(0, victim.data, victim.blk.status);
	for (unsigned i = 0; i < before; i++)
		EXPECT_OK(victim_good_request());
	victim.blk.vq.avail_idx = (uint16_t)(victim.blk.vq.avail_idx + jump);
	vq_publish(&victim.blk.vq);
	vq_kick(&victim.blk.vq);
	return victim_needs_reset();
}

/* 65,536 requests bring the index back to 0: a jump is judged right there, too. */
static const char *index_jumps_at_wrap(uint64_t jump)
{
	EXPECT_OK(victim_start(0));
	victim.blk.vq.avail->flags = AVAIL_NO_INTERRUPT;
	victim_header(BLK_IN, ZERO_SECTOR);
	for (uint16_t i = 0; i < 5; i++)
		good_chain(i * 3, victim.data, victim.blk.status);
	for (unsigned n = 0; n + 5 < 65536; n += 5) {
		for (uint16_t i = 0; i < 5; i++)
			vq_stage(&victim.blk.vq, i * 3);
		vq_publish(&victim.blk.vq);
		vq_kick(&victim.blk.vq);
		EXPECT_OK(collect(5));
	}
	victim.blk.vq.avail_idx = (uint16_t)(victim.blk.vq.avail_idx + jump);
	vq_publish(&victim.blk.vq);
	vq_kick(&victim.blk.vq);
	return victim_needs_reset();
}

/* A head that is in flight comes a second time in the same batch. */
static const char *head_twice(uint64_t first)
{
	EXPECT_OK(victim_start(0));
	victim_header(BLK_IN, ZERO_SECTOR);
	if (first)
		stage_good(3);
	stage_good(0);
	vq_stage(&victim.blk.vq, 0);
	vq_publish(&victim.blk.vq);
	vq_kick(&victim.blk.vq);
	return victim_needs_reset();
}

static const char *head_everywhere(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(victim_start(0));
	victim_header(BLK_IN, ZERO_SECTOR);
	for (unsigned i = 0; i < VICTIM_QUEUE_SIZE; i++)
		stage_good(0);
	vq_publish(&victim.blk.vq);
	vq_kick(&victim.blk.vq);
	return victim_needs_reset();
}

/* Two chains that share all but their heads: the guest's own mix-up, both are answered. */
static const char *chains_share_tail(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(victim_start(0));
	victim_header(BLK_IN, ZERO_SECTOR);
	stage_good(0);
	vq_desc(&victim.blk.vq, 3, victim.blk.header, 16, DESC_NEXT, 1);
	vq_stage(&victim.blk.vq, 3);
	vq_publish(&victim.blk.vq);
	vq_kick(&victim.blk.vq);
	EXPECT_OK(collect(2));
	return victim_good_request();
}

/* The second head is the middle of the first chain: a request without a header. */
static const char *head_in_chain(uint64_t unused)
{
	struct vring_used_elem elem;
	unsigned seen = 0;

	(void)unused;
	EXPECT_OK(victim_start(0));
	victim_header(BLK_IN, ZERO_SECTOR);
	stage_good(0);
	vq_stage(&victim.blk.vq, 1);
	vq_publish(&victim.blk.vq);
	vq_kick(&victim.blk.vq);
	for (unsigned i = 0; i < 2; i++) {
		EXPECT(vq_wait(&victim.blk.vq, TIMEOUT_REQUEST, &elem), "answer %u", i);
		EXPECT(elem.len == (elem.id == 0 ? SECTOR + 1 : 1), "head %u: used length %u",
		       elem.id, elem.len);
		seen |= 1u << (elem.id & 31);
	}
	EXPECT(seen == 3, "heads 0x%x", seen);
	return victim_good_request();
}

/* Good requests before a broken one in a batch: none of them is answered twice. */
static const char *broken_behind_good(uint64_t unused)
{
	uint64_t deadline = time_deadline(5000);

	(void)unused;
	EXPECT_OK(victim_start(0));
	victim_header(BLK_IN, ZERO_SECTOR);
	stage_good(0);
	stage_good(3);
	vq_desc(&victim.blk.vq, 6, victim.blk.header, 16, DESC_NEXT, 6);
	vq_stage(&victim.blk.vq, 6);
	vq_publish(&victim.blk.vq);
	vq_kick(&victim.blk.vq);
	while (!(vdev_status(victim.blk.dev) & STATUS_NEEDS_RESET))
		EXPECT(!time_passed(deadline), "no DEVICE_NEEDS_RESET");
	time_sleep(1);
	EXPECT(victim.blk.vq.used->idx <= 2, "%u answers", victim.blk.vq.used->idx);
	return NULL;
}

/* What the driver writes into the used ring does not move the device, row 13. */
static const char *used_forged(uint64_t index)
{
	EXPECT_OK(victim_start(0));
	EXPECT_OK(victim_good_request());
	EXPECT_OK(victim_good_request());
	victim.blk.vq.used->idx = (uint16_t)index;
	for (unsigned i = 0; i < VICTIM_QUEUE_SIZE; i++) {
		victim.blk.vq.used->ring[i].id = 0xffffffff;
		victim.blk.vq.used->ring[i].len = 0xffffffff;
	}
	victim_header(BLK_IN, ZERO_SECTOR);
	stage_good(0);
	vq_publish(&victim.blk.vq);
	vq_kick(&victim.blk.vq);
	for (uint64_t d = time_deadline(5000); victim.blk.vq.used->idx != 3;)
		EXPECT(!time_passed(d), "used index is %u, not 3", victim.blk.vq.used->idx);
	EXPECT(victim.blk.vq.used->ring[2].id == 0 && victim.blk.vq.used->ring[2].len == 513,
	       "used element %u, %u", victim.blk.vq.used->ring[2].id,
	       victim.blk.vq.used->ring[2].len);
	victim.blk.vq.used_idx = 3;
	return victim_good_request();
}

static const char *flags_forged(uint64_t flags)
{
	EXPECT_OK(victim_start(0));
	victim.blk.vq.avail->flags = (uint16_t)flags;
	victim.blk.vq.used->flags = (uint16_t)flags;
	return victim_good_request();
}

static const char *events_forged(uint64_t event)
{
	EXPECT_OK(victim_start(FEATURE_EVENT_IDX));
	for (unsigned i = 0; i < 40; i++) {
		*vq_used_event(&victim.blk.vq) = (uint16_t)event;
		*vq_avail_event(&victim.blk.vq) = (uint16_t)~event;
		EXPECT_OK(victim_good_request());
	}
	return NULL;
}

/* avail->idx goes back after requests were answered, as a confused driver might do. */
static const char *index_goes_back(uint64_t by)
{
	EXPECT_OK(victim_start(0));
	for (unsigned i = 0; i < 4; i++)
		EXPECT_OK(victim_good_request());
	victim.blk.vq.avail_idx = (uint16_t)(victim.blk.vq.avail_idx - by);
	vq_publish(&victim.blk.vq);
	vq_kick(&victim.blk.vq);
	return victim_needs_reset();
}

static const char *kick_storm(uint64_t n)
{
	EXPECT_OK(victim_start(0));
	for (uint64_t i = 0; i < n; i++)
		vq_kick(&victim.blk.vq);
	return victim_good_request();
}

static const char *kick_unknown_queue(uint64_t value)
{
	EXPECT_OK(victim_start(0));
	for (unsigned i = 0; i < 100; i++) {
		if (victim.blk.dev->is_pci)
			mmio_write16(victim.blk.dev->notify, (uint16_t)value);
		else
			mmio_write32(victim.blk.dev->mmio + MMIO_QUEUE_NOTIFY, (uint32_t)value);
	}
	return victim_good_request();
}

static const char *kick_before_driver_ok(uint64_t unused)
{
	(void)unused;
	EXPECT(vdev_start(victim.blk.dev, 0), "no start");
	for (unsigned i = 0; i < 100; i++)
		vdev_kick(victim.blk.dev, 0);
	EXPECT_OK(victim_start(0));
	return victim_good_request();
}

static const char *kick_after_reset(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(victim_start(0));
	victim_header(BLK_IN, ZERO_SECTOR);
	stage_good(0);
	EXPECT(vdev_reset(victim.blk.dev), "no reset");
	vq_publish(&victim.blk.vq);
	vdev_kick(victim.blk.dev, 0);
	time_sleep(3);
	EXPECT(victim.blk.vq.used->idx == 0, "answered after reset");
	EXPECT(vdev_status(victim.blk.dev) == 0, "status 0x%x", vdev_status(victim.blk.dev));
	return NULL;
}

static const char *kick_when_broken(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(head_twice(0));
	for (unsigned i = 0; i < 10000; i++)
		vq_kick(&victim.blk.vq);
	return victim_needs_reset();
}

/* Everything is broken at once: heads, links, lengths; the first fault decides. */
static const char *all_ones(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(victim_start(FEATURE_INDIRECT));
	memset((void *)(uintptr_t)victim.blk.vq.desc, 0xff, 16 * VICTIM_QUEUE_SIZE);
	memset((void *)(uintptr_t)victim.blk.vq.avail->ring, 0xff, 2 * VICTIM_QUEUE_SIZE);
	victim.blk.vq.avail_idx = VICTIM_QUEUE_SIZE;
	vq_publish(&victim.blk.vq);
	vq_kick(&victim.blk.vq);
	return victim_needs_reset();
}

/* Indices that keep moving under a device that works on them: no endless loop, row 4. */
static const char *refill_while_serving(uint64_t unused)
{
	uint32_t done = 0;

	(void)unused;
	EXPECT_OK(victim_start(0));
	victim_header(BLK_IN, ZERO_SECTOR);
	for (uint16_t i = 0; i < 5; i++)
		stage_good(i * 3);
	vq_publish(&victim.blk.vq);
	vq_kick(&victim.blk.vq);
	while (done < 20000) {
		struct vring_used_elem elem;

		EXPECT(vq_wait(&victim.blk.vq, TIMEOUT_REQUEST, &elem), "stuck after %u", done);
		done++;
		vq_push(&victim.blk.vq, (uint16_t)elem.id);
		vq_kick(&victim.blk.vq);
	}
	return collect(5);
}

static const char *break_many_times(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		size_t mark = memory_mark();

		EXPECT_OK(head_twice(i & 1));
		memory_release(mark);
	}
	return NULL;
}

/* A broken second queue: the device asks for reset; the first queue's memory is left alone. */
static const char *second_queue_breaks(uint64_t unused)
{
	struct vq second;

	(void)unused;
	EXPECT(vdev_start(victim.blk.dev, BLK_F_MQ), "no start");
	if (!(victim.blk.dev->features & BLK_F_MQ) ||
	    mmio_read16(victim.blk.dev->config + BLK_CONFIG_NUM_QUEUES) < 2)
		return tap_skip("one queue only");
	vq_make(&victim.blk.vq, victim.blk.dev, 0, VICTIM_QUEUE_SIZE);
	vq_make(&second, victim.blk.dev, 1, VICTIM_QUEUE_SIZE);
	vq_enable(&victim.blk.vq);
	vq_enable(&second);
	vdev_driver_ok(victim.blk.dev);
	EXPECT_OK(victim_good_request());
	vq_push(&second, VICTIM_QUEUE_SIZE);
	vq_kick(&second);
	EXPECT_OK(victim_needs_reset());
	EXPECT(second.used->idx == 0, "the broken queue was answered");
	return NULL;
}

void hostile_ring(void)
{
	hostile_case(index_jumps, VICTIM_QUEUE_SIZE + 1, "2.7.6, row 4",
		     "index jumps by the queue size and one");
	hostile_case(index_jumps, 0x8000, "2.7.6, row 4", "index jumps by 32768");
	hostile_case(index_jumps, 0xffff, "2.7.6, row 4", "index jumps by 65535");
	hostile_case(index_jumps, 3 << 16 | (VICTIM_QUEUE_SIZE + 1), "2.7.6, row 4",
		     "index jumps by the queue size and one, later");
	hostile_case(index_jumps_at_wrap, VICTIM_QUEUE_SIZE + 1, "2.7.6, row 4",
		     "index jumps where it wraps");
	hostile_case(index_goes_back, 1, "2.7.6, row 4", "index goes back by one");
	hostile_case(index_goes_back, 4, "2.7.6, row 4", "index goes back to 0");
	hostile_case(head_twice, 0, "2.7.13, row 5", "the same head twice");
	hostile_case(head_twice, 1, "2.7.13, row 5", "the same head twice behind a good one");
	hostile_case(head_everywhere, 0, "2.7.13, row 5", "the same head in the whole ring");
	hostile_case(chains_share_tail, 0, "2.7.5", "two chains share their tail");
	hostile_case(head_in_chain, 0, "2.7.5, row 9", "a head inside another chain");
	hostile_case(broken_behind_good, 0, "2.7.5, row 27", "a loop behind two good requests");
	hostile_case(used_forged, 0, "2.7.8, row 13", "used index is set to 0");
	hostile_case(used_forged, 0xffff, "2.7.8, row 13", "used index is set to 65535");
	hostile_case(flags_forged, 0xfffe, "2.7.6, row 7", "reserved ring flags");
	hostile_case(flags_forged, 0xffff, "2.7.6, row 7", "all ring flags");
	hostile_case(events_forged, 0xffff, "2.7.7, row 13", "events are set to 65535 and 0");
	hostile_case(events_forged, 0x8000, "2.7.7, row 13", "events are set to 32768 and 32767");
	hostile_case(kick_storm, 1000000, "2.7.10, row 4", "a million kicks");
	hostile_case(kick_unknown_queue, 1000, "4.2.2, row 2", "kicks of queue 1000");
	hostile_case(kick_unknown_queue, 0xffff, "4.2.2, row 2", "kicks of queue 65535");
	hostile_case(kick_unknown_queue, 0x10000, "4.2.2, row 2", "kicks of queue 65536");
	hostile_case(kick_unknown_queue, 0xffffffff, "4.2.2, row 2", "kicks of queue 4294967295");
	hostile_case(kick_before_driver_ok, 0, "3.1.1", "kicks before DRIVER_OK");
	hostile_case(kick_after_reset, 0, "2.4, row 22", "a request and a kick after reset");
	hostile_case(kick_when_broken, 0, "2.1.2, row 20", "10000 kicks of a broken queue");
	hostile_case(all_ones, 0, "2.7, row 2", "descriptors and ring of all ones");
	hostile_case(refill_while_serving, 0, "2.7.13, row 4", "20000 requests without a pause");
	hostile_case(break_many_times, 400, "2.1.2, row 20", "400 broken queues in a row");
	hostile_case(second_queue_breaks, 0, "2.7.6, row 2", "the second queue breaks");
}
