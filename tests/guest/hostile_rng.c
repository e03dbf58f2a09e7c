/* SPDX-License-Identifier: Apache-2.0 */
/* The entropy device under attack, VIRTIO 1.2 §5.4; after each case it must work again. */
#include "hostile_stream.h"
#include "rng.h"

#define ANSWER_MAX 4096u /* the device's own limit for one request */

static struct vdev *dev;
static struct rng rng;
static uint8_t *data;

#define ROOM STREAM_ROOM
#define RAM_END STREAM_RAM_END
#define W DESC_WRITE
#define N DESC_NEXT

static const struct stream_case cases[] = {
	{ "a readable buffer", "5.4.6.1, row 10", 0, OUTCOME_USED_0, 0, 1, { { 0, 64, 0 } } },
	{ "a readable buffer before a writable one", "5.4.6.1, row 10", 0, OUTCOME_USED_0, 0, 2,
	  { { 0, 64, N, 1 }, { 64, 64, W } } },
	{ "a readable buffer behind a writable one", "2.7.4.2, row 10", 0, OUTCOME_RESET, 0, 2,
	  { { 0, 64, W | N, 1 }, { 64, 64, 0 } } },
	{ "an empty buffer", "5.4.6.1, row 9", 0, OUTCOME_USED_0, 0, 1, { { 0, 0, W } } },
	{ "buffers that are all empty", "5.4.6.1, row 9", 0, OUTCOME_USED_0, 0, 3,
	  { { 0, 0, W | N, 1 }, { 0, 0, W | N, 2 }, { 0, 0, W } } },
	{ "an empty readable buffer and a writable one", "2.7.5", 0, OUTCOME_STATUS, 64, 2,
	  { { 0, 0, N, 1 }, { 0, 64, W } } },
	{ "a buffer behind RAM", "2.7.5, row 12", 0, OUTCOME_USED_0, 0, 1, { { RAM_END, 64, W } } },
	{ "a buffer across the end of RAM", "2.7.5, row 12", 0, OUTCOME_USED_0, 0, 1,
	  { { RAM_END - 32, 64, W } } },
	{ "a buffer that ends with RAM", "2.7.5, row 12", 0, OUTCOME_STATUS, 32, 1,
	  { { RAM_END - 32, 32, W } } },
	{ "a buffer that wraps through 2^64", "2.7.5, row 8", 0, OUTCOME_USED_0, 0, 1,
	  { { -16ull, 64, W } } },
	{ "a buffer of 2^32 - 1 bytes", "2.7.5, row 8", 0, OUTCOME_USED_0, 0, 1,
	  { { RAM_END - 32, 0xffffffff, W } } },
	{ "buffers of 2^32 bytes together", "2.7.5.2, row 8", 0, OUTCOME_RESET, 0, 2,
	  { { 0, 0xffffffff, W | N, 1 }, { 64, 1, W } } },
	{ "the registers of a device as a buffer", "2.7.5, row 23", 0, OUTCOME_USED_0, 0, 1,
	  { { 0xd0000000, 64, W } } },
	{ "a good buffer and one behind RAM", "2.7.5, row 12", 0, OUTCOME_USED_0, 0, 2,
	  { { 0, 64, W | N, 1 }, { RAM_END, 64, W } } },
	{ "a chain that is a loop", "2.7.5, row 1", 0, OUTCOME_RESET, 0, 2,
	  { { 0, 64, W | N, 1 }, { 64, 64, W | N, 0 } } },
	{ "a chain that leaves the table", "2.7.5, row 2", 0, OUTCOME_RESET, 0, 1,
	  { { 0, 64, W | N, VICTIM_QUEUE_SIZE } } },
	{ "an indirect table that was not negotiated", "2.7.5.3, row 11", 0, OUTCOME_RESET, 0, 1,
	  { { 0, 16, DESC_INDIRECT } } },
	{ "more than one request gets", "5.4.6.1, row 26", 0, OUTCOME_STATUS, ANSWER_MAX, 1,
	  { { 0, ROOM, W } } },
	{ "buffers that are the same", "5.4.6.1", 0, OUTCOME_STATUS, 192, 3,
	  { { 0, 64, W | N, 1 }, { 0, 64, W | N, 2 }, { 0, 64, W } } },
};

static const char *start(void)
{
	dev = discover_nth(VIRTIO_ID_RNG, 0);
	if (!dev)
		return tap_skip("no entropy device");
	data = stream_room();
	EXPECT(rng_start(&rng, dev, 0, VICTIM_QUEUE_SIZE), "no start, status 0x%x",
	       vdev_status(dev));
	return NULL;
}

static const char *works(void)
{
	int64_t n = rng_read(&rng, data, 64);

	EXPECT(n == 64, "a good request ends with %ld, status 0x%x", n, vdev_status(dev));
	return NULL;
}

static const char *recovers(void)
{
	return stream_recovers(dev, start, works);
}

static const char *answer(const struct stream_case *c)
{
	struct vring_used_elem elem;
	bool is_empty = c->outcome == OUTCOME_USED_0;

	EXPECT(vq_wait(&rng.vq, TIMEOUT_REQUEST, &elem), "no answer, status 0x%x",
	       vdev_status(dev));
	EXPECT(elem.id == 0, "used id %u", elem.id);
	EXPECT(is_empty ? elem.len == 0 : elem.len >= 1 && elem.len <= c->used,
	       "used length %u", elem.len);
	EXPECT_OK(stream_is_untouched(data, is_empty ? 0 : c->used));
	return works();
}

static const char *run_case(uint64_t i)
{
	stream_push(&rng.vq, &cases[i], data);
	return cases[i].outcome == OUTCOME_RESET ? queue_needs_reset(&rng.vq) : answer(&cases[i]);
}

static const char *head_outside(uint64_t unused)
{
	(void)unused;
	stream_push_outside(&rng.vq);
	return queue_needs_reset(&rng.vq);
}

static const char *index_jumps(uint64_t unused)
{
	(void)unused;
	stream_jump(&rng.vq);
	return queue_needs_reset(&rng.vq);
}

/* The device writes random bytes over its own rings: it may call them broken, nothing else. */
static const char *over_rings(uint64_t part)
{
	stream_push_ring(&rng.vq, 0, (enum ring_part)part);
	for (unsigned i = 0; i < 50; i++)
		vq_kick(&rng.vq);
	time_sleep(5);
	return NULL;
}

/* A queue full of requests without room, again and again, with far too many kicks. */
static const char *flood(uint64_t unused)
{
	struct vring_used_elem elem;

	(void)unused;
	for (unsigned round = 0; round < 200; round++) {
		for (uint16_t i = 0; i < rng.vq.size; i++) {
			vq_desc(&rng.vq, i, data, 64, 0, 0);
			vq_push(&rng.vq, i);
			vq_kick(&rng.vq);
		}
		for (uint16_t i = 0; i < rng.vq.size; i++)
			EXPECT(vq_wait(&rng.vq, TIMEOUT_REQUEST, &elem) && elem.len == 0,
			       "round %u", round);
	}
	return works();
}

/* Resets while the device fills as much as it can. */
static const char *reset_races(uint64_t unused)
{
	(void)unused;
	for (unsigned round = 0; round < 50; round++) {
		size_t mark = memory_mark();

		EXPECT_OK(start());
		for (uint16_t i = 0; i < rng.vq.size; i++) {
			vq_desc(&rng.vq, i, data, ROOM, DESC_WRITE, 0);
			vq_stage(&rng.vq, i);
		}
		vq_publish(&rng.vq);
		vq_kick(&rng.vq);
		EXPECT(vdev_reset(dev), "no reset in round %u", round);
		stream_fill(data);
		time_sleep(1);
		EXPECT_OK(stream_is_untouched(data, 0));
		memory_release(mark);
	}
	return NULL;
}

static const struct hostile_row rows[] = {
	{ "a head outside the queue", "2.7.6, row 2", head_outside, 0 },
	{ "an available index that jumps", "2.7.6, row 4", index_jumps, 0 },
	{ "the descriptor table as a buffer", "row 23", over_rings, RING_DESC },
	{ "the available ring as a buffer", "row 23", over_rings, RING_AVAIL },
	{ "the used ring as a buffer", "row 23", over_rings, RING_USED },
	{ "a flood of bad requests and kicks", "row 20", flood, 0 },
	{ "resets in the middle of requests", "2.4, row 22", reset_races, 0 },
};

void hostile_rng(void)
{
	static const struct hostile_target target = {
		.prefix = "rng, ", .start = start, .recovers = recovers
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++)
		hostile_case_of(&target, run_case, i, cases[i].rule, "%s", cases[i].name);
	hostile_rows(&target, rows, ARRAY_LEN(rows));
}
