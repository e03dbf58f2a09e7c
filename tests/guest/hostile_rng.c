/* SPDX-License-Identifier: Apache-2.0 */
/* The entropy device under attack, VIRTIO 1.2 §5.4; after each case it must work again. */
#include "hostile.h"
#include "rng.h"

#define ROOM 8192u
#define UNTOUCHED 0x77
#define ANSWER_MAX 4096u /* the device's own limit for one request */

static struct vdev *dev;
static struct rng rng;
static uint8_t *data;

struct rng_case {
	const char *name, *rule;
	enum outcome outcome; /* OUTCOME_STATUS: 1 to used_max bytes */
	uint32_t used_max;
	unsigned n;
	struct vring_desc desc[3]; /* addr below ROOM: offset in data; RAM_END: behind the RAM */
};

#define RAM_END (1ull << 62) /* plus a signed offset */
#define W DESC_WRITE
#define N DESC_NEXT

static const struct rng_case cases[] = {
	{ "a readable buffer", "5.4.6.1, row 10", OUTCOME_USED_0, 0, 1, { { 0, 64, 0 } } },
	{ "a readable buffer before a writable one", "5.4.6.1, row 10", OUTCOME_USED_0, 0, 2,
	  { { 0, 64, N, 1 }, { 64, 64, W } } },
	{ "a readable buffer behind a writable one", "2.7.4.2, row 10", OUTCOME_RESET, 0, 2,
	  { { 0, 64, W | N, 1 }, { 64, 64, 0 } } },
	{ "an empty buffer", "5.4.6.1, row 9", OUTCOME_USED_0, 0, 1, { { 0, 0, W } } },
	{ "buffers that are all empty", "5.4.6.1, row 9", OUTCOME_USED_0, 0, 3,
	  { { 0, 0, W | N, 1 }, { 0, 0, W | N, 2 }, { 0, 0, W } } },
	{ "an empty readable buffer and a writable one", "2.7.5", OUTCOME_STATUS, 64, 2,
	  { { 0, 0, N, 1 }, { 0, 64, W } } },
	{ "a buffer behind RAM", "2.7.5, row 12", OUTCOME_USED_0, 0, 1, { { RAM_END, 64, W } } },
	{ "a buffer across the end of RAM", "2.7.5, row 12", OUTCOME_USED_0, 0, 1,
	  { { RAM_END - 32, 64, W } } },
	{ "a buffer that ends with RAM", "2.7.5, row 12", OUTCOME_STATUS, 32, 1,
	  { { RAM_END - 32, 32, W } } },
	{ "a buffer that wraps through 2^64", "2.7.5, row 8", OUTCOME_USED_0, 0, 1,
	  { { -16ull, 64, W } } },
	{ "a buffer of 2^32 - 1 bytes", "2.7.5, row 8", OUTCOME_USED_0, 0, 1,
	  { { RAM_END - 32, 0xffffffff, W } } },
	{ "buffers of 2^32 bytes together", "2.7.5.2, row 8", OUTCOME_RESET, 0, 2,
	  { { 0, 0xffffffff, W | N, 1 }, { 64, 1, W } } },
	{ "the registers of a device as a buffer", "2.7.5, row 23", OUTCOME_USED_0, 0, 1,
	  { { 0xd0000000, 64, W } } },
	{ "a good buffer and one behind RAM", "2.7.5, row 12", OUTCOME_USED_0, 0, 2,
	  { { 0, 64, W | N, 1 }, { RAM_END, 64, W } } },
	{ "a chain that is a loop", "2.7.5, row 1", OUTCOME_RESET, 0, 2,
	  { { 0, 64, W | N, 1 }, { 64, 64, W | N, 0 } } },
	{ "a chain that leaves the table", "2.7.5, row 2", OUTCOME_RESET, 0, 1,
	  { { 0, 64, W | N, VICTIM_QUEUE_SIZE } } },
	{ "an indirect table that was not negotiated", "2.7.5.3, row 11", OUTCOME_RESET, 0, 1,
	  { { 0, 16, DESC_INDIRECT } } },
	{ "more than one request gets", "5.4.6.1, row 26", OUTCOME_STATUS, ANSWER_MAX, 1,
	  { { 0, ROOM, W } } },
	{ "buffers that are the same", "5.4.6.1", OUTCOME_STATUS, 192, 3,
	  { { 0, 64, W | N, 1 }, { 0, 64, W | N, 2 }, { 0, 64, W } } },
};

static const char *start(uint64_t features)
{
	dev = discover_nth(VIRTIO_ID_RNG, 0);
	if (!dev)
		return tap_skip("no entropy device");
	data = memory_alloc(ROOM, 4096);
	memset(data, UNTOUCHED, ROOM);
	EXPECT(rng_start(&rng, dev, features, VICTIM_QUEUE_SIZE), "no start, status 0x%x",
	       vdev_status(dev));
	return NULL;
}

static const char *works(void)
{
	int64_t n = rng_read(&rng, data, 64);

	EXPECT(n == 64, "a good request ends with %ld, status 0x%x", n, vdev_status(dev));
	return NULL;
}

/* Whatever the case did: after a reset the device is as good as new. */
static const char *recovers(const char *result)
{
	if (result)
		return result;
	EXPECT(vdev_reset(dev), "no reset afterwards, status 0x%x", vdev_status(dev));
	EXPECT_OK(start(0));
	return works();
}

static uint64_t address(uint64_t addr)
{
	if (addr < ROOM)
		return (uint64_t)data + addr;
	if (addr >= RAM_END - 4096 && addr <= RAM_END + 4096)
		return victim.ram_end + (addr - RAM_END);
	return addr;
}

static const char *answer(const struct rng_case *c)
{
	struct vring_used_elem elem;
	bool is_empty = c->outcome == OUTCOME_USED_0;

	EXPECT(vq_wait(&rng.vq, TIMEOUT_REQUEST, &elem), "no answer, status 0x%x",
	       vdev_status(dev));
	EXPECT(elem.id == 0, "used id %u", elem.id);
	EXPECT(is_empty ? elem.len == 0 : elem.len >= 1 && elem.len <= c->used_max,
	       "used length %u", elem.len);
	for (uint32_t i = is_empty ? 0 : c->used_max; i < ROOM; i++)
		EXPECT(data[i] == UNTOUCHED, "byte %u was written", i);
	return works();
}

static const char *run_case(uint64_t i)
{
	const struct rng_case *c = &cases[i];

	EXPECT_OK(start(0));
	for (uint16_t k = 0; k < c->n; k++)
		vq_desc(&rng.vq, k, (void *)address(c->desc[k].addr), c->desc[k].len,
			c->desc[k].flags, c->desc[k].next);
	vq_push(&rng.vq, 0);
	vq_kick(&rng.vq);
	return recovers(c->outcome == OUTCOME_RESET ? queue_needs_reset(&rng.vq) : answer(c));
}

static const char *head_outside(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(start(0));
	vq_push(&rng.vq, VICTIM_QUEUE_SIZE);
	vq_kick(&rng.vq);
	return recovers(queue_needs_reset(&rng.vq));
}

static const char *index_jumps(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(start(0));
	rng.vq.avail_idx += VICTIM_QUEUE_SIZE + 1;
	vq_publish(&rng.vq);
	vq_kick(&rng.vq);
	return recovers(queue_needs_reset(&rng.vq));
}

/* The device writes random bytes over its own rings: it may call them broken, nothing else. */
static const char *over_rings(uint64_t which)
{
	volatile void *at;

	EXPECT_OK(start(0));
	at = which == 0 ? (volatile void *)rng.vq.desc :
	     which == 1 ? (volatile void *)rng.vq.avail :
			  (volatile void *)rng.vq.used;
	vq_desc(&rng.vq, 0, at, 132, DESC_WRITE, 0);
	vq_push(&rng.vq, 0);
	for (unsigned i = 0; i < 50; i++)
		vq_kick(&rng.vq);
	time_sleep(5);
	return recovers(NULL);
}

/* A queue full of requests without room, again and again, with far too many kicks. */
static const char *flood(uint64_t unused)
{
	struct vring_used_elem elem;

	(void)unused;
	EXPECT_OK(start(0));
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
	return recovers(works());
}

/* Resets while the device fills as much as it can. */
static const char *reset_races(uint64_t unused)
{
	(void)unused;
	for (unsigned round = 0; round < 50; round++) {
		size_t mark = memory_mark();

		EXPECT_OK(start(0));
		for (uint16_t i = 0; i < rng.vq.size; i++) {
			vq_desc(&rng.vq, i, data, ROOM, DESC_WRITE, 0);
			vq_stage(&rng.vq, i);
		}
		vq_publish(&rng.vq);
		vq_kick(&rng.vq);
		EXPECT(vdev_reset(dev), "no reset in round %u", round);
		memset(data, UNTOUCHED, ROOM);
		time_sleep(1);
		for (unsigned i = 0; i < ROOM; i++)
			EXPECT(data[i] == UNTOUCHED, "byte %u was written after the reset", i);
		memory_release(mark);
	}
	return recovers(NULL);
}

void hostile_rng(void)
{
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++)
		hostile_case(run_case, i, cases[i].rule, "rng, %s", cases[i].name);
	hostile_case(head_outside, 0, "2.7.6, row 2", "rng, a head outside the queue");
	hostile_case(index_jumps, 0, "2.7.6, row 4", "rng, an available index that jumps");
	hostile_case(over_rings, 0, "row 23", "rng, the descriptor table as a buffer");
	hostile_case(over_rings, 1, "row 23", "rng, the available ring as a buffer");
	hostile_case(over_rings, 2, "row 23", "rng, the used ring as a buffer");
	hostile_case(flood, 0, "row 20", "rng, a flood of bad requests and kicks");
	hostile_case(reset_races, 0, "2.4, row 22", "rng, resets in the middle of requests");
}
