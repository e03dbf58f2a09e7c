/* SPDX-License-Identifier: Apache-2.0 */
/* Rings of every size, direct and indirect, and several queues at once; VIRTIO 1.2 §2.7. */
#include "conformance.h"

/* One slot is a read of one sector in three descriptors; in two where the queue has no more. */
struct slot {
	struct blk_header header;
	struct vring_desc table[3];
	uint8_t data[SECTOR + 1];
	bool is_done;
} __attribute__((aligned(16)));

struct flow {
	struct vq vq;
	struct slot *slots;
	uint16_t n_slots;
	uint16_t n_parts; /* descriptors of a chain */
	bool is_indirect;
};

static bool flow_open(struct flow *flow, uint16_t queue, uint16_t size, bool is_indirect)
{
	vq_make(&flow->vq, disk, queue, size);
	flow->is_indirect = is_indirect;
	flow->n_parts = size > 2 ? 3 : 2;
	flow->n_slots = is_indirect ? size : size / flow->n_parts;
	flow->slots = memory_alloc(flow->n_slots * sizeof(*flow->slots), 16);
	vq_enable(&flow->vq);
	return vdev_queue_is_enabled(disk, queue);
}

static uint16_t flow_head(const struct flow *flow, uint16_t slot)
{
	return flow->is_indirect ? slot : (uint16_t)(slot * flow->n_parts);
}

static uint64_t slot_sector(uint16_t slot)
{
	return slot % SEEDED_SECTORS;
}

static void flow_stage(struct flow *flow, uint16_t i)
{
	struct slot *slot = &flow->slots[i];
	struct part parts[] = {
		{ &slot->header, sizeof(slot->header), false },
		{ slot->data, flow->n_parts == 3 ? SECTOR : SECTOR + 1, true },
		{ slot->data + SECTOR, 1, true },
	};

	memset(slot->data, BLK_S_NONE, sizeof(slot->data));
	slot->header = (struct blk_header){ .type = BLK_IN, .sector = slot_sector(i) };
	slot->is_done = false;
	if (flow->is_indirect)
		vq_indirect(&flow->vq, flow_head(flow, i), slot->table, parts,
			    flow->n_parts);
	else
		vq_chain(&flow->vq, flow_head(flow, i), parts, flow->n_parts);
	vq_stage(&flow->vq, flow_head(flow, i));
}

static const char *flow_collect(struct flow *flow)
{
	struct vring_used_elem elem;
	struct slot *slot;
	uint16_t i;

	EXPECT(vq_wait(&flow->vq, TIMEOUT_REQUEST, &elem), "a request got lost");
	i = (uint16_t)(flow->is_indirect ? elem.id : elem.id / flow->n_parts);
	EXPECT(i < flow->n_slots && flow_head(flow, i) == elem.id, "used id %u", elem.id);
	slot = &flow->slots[i];
	EXPECT(!slot->is_done, "head %u came back twice", elem.id);
	slot->is_done = true;
	EXPECT(elem.len == SECTOR + 1, "used length %u", elem.len);
	EXPECT(slot->data[SECTOR] == BLK_S_OK, "status %u", slot->data[SECTOR]);
	return pattern_check(slot->data, slot_sector(i), SECTOR, SEED_SALT);
}

static const char *flow_round(struct flow *flow, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++)
		flow_stage(flow, i);
	vq_publish(&flow->vq);
	vq_kick(&flow->vq);
	for (uint16_t i = 0; i < n; i++)
		EXPECT_OK(flow_collect(flow));
	EXPECT(!vq_pending(&flow->vq), "more used entries than requests");
	return NULL;
}

static const char *ring_size(uint64_t argument)
{
	uint16_t size = (uint16_t)argument;
	bool is_indirect = argument >> 16;
	struct flow flow;

	EXPECT(vdev_start(disk, is_indirect ? FEATURE_INDIRECT : 0), "no start");
	if (is_indirect && !(disk->features & FEATURE_INDIRECT))
		return tap_skip("not offered");
	EXPECT(flow_open(&flow, 0, size, is_indirect), "queue is not enabled");
	vdev_driver_ok(disk);
	for (unsigned round = 0; round < 4; round++)
		EXPECT_OK(flow_round(&flow, flow.n_slots));
	/* An odd number moves the rounds across the ring's end. */
	if (flow.n_slots > 2) {
		for (unsigned round = 0; round < 5; round++)
			EXPECT_OK(flow_round(&flow, flow.n_slots - 1));
	}
	return NULL;
}

/* Each of the three areas right behind the other, as tight as alignment allows, §2.7. */
static const char *ring_tight(uint64_t argument)
{
	uint16_t size = (uint16_t)argument;
	uint64_t bytes = 16u * size + 6u + 2u * size + 2 + 6u + 8u * size;
	struct flow flow = { .n_slots = size / 3, .n_parts = 3 };
	uint64_t at = (uint64_t)memory_alloc(bytes, 16);

	flow.slots = memory_alloc(flow.n_slots * sizeof(*flow.slots), 16);
	flow.vq = (struct vq){ .dev = disk, .size = size };
	flow.vq.desc = (void *)at;
	flow.vq.avail = (void *)(at + 16u * size);
	flow.vq.used = (void *)((at + 18u * size + 6 + 3) & ~3ull);
	EXPECT(vdev_start(disk, 0), "no start");
	vq_enable(&flow.vq);
	vdev_driver_ok(disk);
	EXPECT_OK(flow_round(&flow, flow.n_slots));
	return flow_round(&flow, flow.n_slots);
}

static const char *ring_two_queues(uint64_t is_indirect)
{
	struct flow flows[2];

	EXPECT(vdev_start(disk, BLK_F_MQ | (is_indirect ? FEATURE_INDIRECT : 0)), "no start");
	if (!(disk->features & BLK_F_MQ) ||
	    mmio_read16(disk->config + BLK_CONFIG_NUM_QUEUES) < 2)
		return tap_skip("one queue only");
	for (uint16_t q = 0; q < 2; q++)
		EXPECT(flow_open(&flows[q], q, 32, is_indirect), "queue %u is not enabled", q);
	vdev_driver_ok(disk);
	for (unsigned round = 0; round < 50; round++) {
		for (uint16_t i = 0; i < flows[0].n_slots; i++) {
			for (unsigned q = 0; q < 2; q++) {
				flow_stage(&flows[q], i);
				vq_publish(&flows[q].vq);
			}
		}
		vq_kick(&flows[0].vq);
		vq_kick(&flows[1].vq);
		for (uint16_t i = 0; i < flows[0].n_slots; i++) {
			EXPECT_OK(flow_collect(&flows[1]));
			EXPECT_OK(flow_collect(&flows[0]));
		}
	}
	return NULL;
}

/* Queue 1 alone: a driver need not use queue 0. */
static const char *ring_second_alone(uint64_t unused)
{
	struct flow flow;

	(void)unused;
	EXPECT(vdev_start(disk, BLK_F_MQ), "no start");
	if (!(disk->features & BLK_F_MQ) ||
	    mmio_read16(disk->config + BLK_CONFIG_NUM_QUEUES) < 2)
		return tap_skip("one queue only");
	EXPECT(flow_open(&flow, 1, 16, false), "queue is not enabled");
	vdev_driver_ok(disk);
	return flow_round(&flow, flow.n_slots);
}

/* Requests that are in the ring before DRIVER_OK are served after it, or after the next kick. */
static const char *ring_filled_early(uint64_t unused)
{
	struct flow flow;

	(void)unused;
	EXPECT(vdev_start(disk, 0), "no start");
	EXPECT(flow_open(&flow, 0, 16, false), "queue is not enabled");
	flow_stage(&flow, 0);
	vq_publish(&flow.vq);
	time_sleep(5);
	EXPECT(!vq_pending(&flow.vq), "served before DRIVER_OK");
	vdev_driver_ok(disk);
	vq_kick(&flow.vq);
	return flow_collect(&flow);
}

static const char *two_disks(uint64_t unused)
{
	struct blk first, second;
	uint8_t *data = memory_alloc(SECTOR, 16);

	(void)unused;
	if (!second_disk)
		return tap_skip("one disk only");
	EXPECT(blk_start(&first, disk, 0, 16), "first disk does not start");
	EXPECT(blk_start(&second, second_disk, BLK_F_RO, 16), "second disk does not start");
	for (unsigned i = 0; i < 20; i++) {
		int status = blk_request(&second, BLK_IN, 0, data, SECTOR);

		EXPECT(status == BLK_S_OK, "second disk answers %d", status);
		EXPECT_OK(disk_read_works(&first));
	}
	EXPECT(vdev_reset(second_disk), "second disk does not reset");
	return disk_read_works(&first);
}

void conformance_ring(void)
{
	uint16_t max = vdev_queue_max(disk, 0);

	/* A chain, indirect or not, is no longer than the queue (§2.7.5.3.1): 1 is too short. */
	for (unsigned size = 2; size <= max; size *= 2) {
		tap_case(ring_size, size, "queue size %u, direct chains", size);
		tap_case(ring_size, size | 1 << 16, "queue size %u, indirect chains", size);
	}
	tap_case(ring_tight, 4, "ring areas without gaps, size 4");
	tap_case(ring_tight, 64, "ring areas without gaps, size 64");
	tap_case(ring_two_queues, 0, "two queues at once, direct chains");
	tap_case(ring_two_queues, 1, "two queues at once, indirect chains");
	tap_case(ring_second_alone, 0, "the second queue alone");
	tap_case(ring_filled_early, 0, "requests in the ring before DRIVER_OK");
	tap_case(two_disks, 0, "two disks at once");
}
