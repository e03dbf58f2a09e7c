/* SPDX-License-Identifier: Apache-2.0 */
/* The entropy device, VIRTIO 1.2 §5.4. */
#include "conformance.h"
#include "rng.h"

#define TYPE_FEATURES ((1ull << 24) - 1)
#define LARGE 65536u
#define UNTOUCHED 0x77

static struct rng rng;

/* Every case begins with it: the device starts anew, or the case is skipped. */
static const char *start(uint64_t features)
{
	struct vdev *dev = discover_nth(VIRTIO_ID_RNG, 0);

	if (!dev)
		return tap_skip("no entropy device");
	EXPECT(rng_start(&rng, dev, features, 16), "no start, status 0x%x", vdev_status(dev));
	return NULL;
}

static const char *needs(uint64_t features)
{
	EXPECT_OK(start(features));
	return (rng.dev->features & features) == features ? NULL : tap_skip("not offered");
}

/* All of the first n bytes are new, none of the others; a byte may be new by 1 in 256. */
static const char *only_first_written(const volatile uint8_t *data, uint32_t n, uint32_t len)
{
	uint32_t same = 0;

	for (uint32_t i = 0; i < n; i++)
		same += data[i] == UNTOUCHED;
	EXPECT(n < 32 || same < n / 4, "%u of %u bytes did not change", same, n);
	for (uint32_t i = n; i < len; i++)
		EXPECT(data[i] == UNTOUCHED, "byte %u of %u was written behind the %u", i, len, n);
	return NULL;
}

static const char *identity(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(start(0));
	EXPECT((vdev_offered(rng.dev) & TYPE_FEATURES) == 0, "features 0x%lx",
	       vdev_offered(rng.dev));
	return NULL;
}

static const char *queues(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(start(0));
	EXPECT(vdev_queue_max(rng.dev, 0) > 0, "no requestq");
	EXPECT(vdev_queue_max(rng.dev, 1) == 0, "a second queue");
	return NULL;
}

static const char *fills(uint64_t len)
{
	uint8_t *data = memory_alloc(LARGE, 4096);
	int64_t n;

	EXPECT_OK(start(0));
	memset(data, UNTOUCHED, LARGE);
	n = rng_read(&rng, data, (uint32_t)len);
	EXPECT(n >= 1 && n <= (int64_t)len, "used length %ld", n);
	return only_first_written(data, (uint32_t)n, LARGE);
}

static const char *never_the_same(uint64_t unused)
{
	uint8_t *data = memory_alloc(64 * 32, 64);

	(void)unused;
	EXPECT_OK(start(0));
	for (unsigned i = 0; i < 64; i++) {
		EXPECT(rng_read(&rng, data + i * 32, 32) == 32, "short answer %u", i);
		for (unsigned k = 0; k < i; k++)
			EXPECT(memcmp(data + i * 32, data + k * 32, 32) != 0,
			       "answers %u and %u are the same", k, i);
	}
	return NULL;
}

/* Half of all bits, give or take far more than chance ever does. */
static const char *balanced(uint64_t unused)
{
	uint64_t *data = memory_alloc(8192, 64);
	uint32_t got = 0, n_set = 0;

	(void)unused;
	EXPECT_OK(start(0));
	while (got < 8192) {
		int64_t n = rng_read(&rng, (uint8_t *)data + got, 8192 - got);

		EXPECT(n > 0, "no bytes after %u", got);
		got += (uint32_t)n;
	}
	for (unsigned i = 0; i < 1024; i++) {
		for (uint64_t word = data[i]; word; word &= word - 1)
			n_set++;
	}
	EXPECT(n_set > 30000 && n_set < 35536, "%u of 65536 bits are set", n_set);
	return NULL;
}

/* The whole queue at once: every buffer comes back once, with bytes of its own. */
static const char *many(uint64_t unused)
{
	uint8_t *data = memory_alloc(16 * 64, 64);
	struct vring_used_elem elem;
	uint32_t seen = 0;

	(void)unused;
	EXPECT_OK(start(0));
	memset(data, UNTOUCHED, 16 * 64);
	for (uint16_t i = 0; i < rng.vq.size; i++) {
		vq_desc(&rng.vq, i, data + i * 64, 64, DESC_WRITE, 0);
		vq_stage(&rng.vq, i);
	}
	vq_publish(&rng.vq);
	vq_kick(&rng.vq);
	for (uint16_t i = 0; i < rng.vq.size; i++) {
		EXPECT(vq_wait(&rng.vq, TIMEOUT_REQUEST, &elem), "no answer %u", i);
		EXPECT(elem.id < rng.vq.size && !(seen & 1u << elem.id), "id %u", elem.id);
		seen |= 1u << elem.id;
		EXPECT(elem.len >= 1 && elem.len <= 64, "used length %u", elem.len);
		EXPECT_OK(only_first_written(data + elem.id * 64, elem.len, 64));
	}
	return NULL;
}

#define INDIRECT 1u
#define EMPTY 2u

static const char *pieces(uint64_t how)
{
	uint8_t *data = memory_alloc(4096, 64);
	struct vring_desc *table = memory_alloc(4 * sizeof(*table), 16);
	struct part parts[] = {
		{ data, 16, true }, { data + 16, 1, true }, { data + 17, how & EMPTY ? 0 : 8, true },
		{ data + (how & EMPTY ? 17 : 25), how & EMPTY ? 47 : 39, true },
	};
	struct vring_used_elem elem;

	EXPECT_OK(needs(how & INDIRECT ? FEATURE_INDIRECT : 0));
	memset(data, UNTOUCHED, 4096);
	if (how & INDIRECT)
		vq_indirect(&rng.vq, 0, table, parts, ARRAY_LEN(parts));
	else
		vq_chain(&rng.vq, 0, parts, ARRAY_LEN(parts));
	vq_push(&rng.vq, 0);
	vq_kick(&rng.vq);
	EXPECT(vq_wait(&rng.vq, TIMEOUT_REQUEST, &elem), "no answer");
	EXPECT(elem.id == 0 && elem.len >= 1 && elem.len <= 64, "id %u length %u", elem.id,
	       elem.len);
	return only_first_written(data, elem.len, 4096);
}

static const char *by_event_idx(uint64_t unused)
{
	uint8_t *data = memory_alloc(64, 64);
	struct vring_used_elem elem;

	(void)unused;
	EXPECT_OK(needs(FEATURE_EVENT_IDX));
	for (unsigned i = 0; i < 200; i++) {
		uint16_t old = rng.vq.avail_idx;

		vq_desc(&rng.vq, 0, data, 64, DESC_WRITE, 0);
		vq_push(&rng.vq, 0);
		vq_kick_event(&rng.vq, old);
		EXPECT(vq_wait(&rng.vq, TIMEOUT_REQUEST, &elem), "no answer %u", i);
	}
	return NULL;
}

static const char *interrupts(uint64_t unused)
{
	uint8_t *data = memory_alloc(64, 64);

	(void)unused;
	EXPECT_OK(start(0));
	vdev_interrupt_ack(rng.dev, vdev_interrupt(rng.dev));
	EXPECT(rng_read(&rng, data, 64) > 0, "no answer");
	EXPECT(interrupt_wait(rng.dev, TIMEOUT_REQUEST), "no interrupt");
	return NULL;
}

static const char *resets(uint64_t unused)
{
	uint8_t *data = memory_alloc(64, 64);

	(void)unused;
	for (unsigned i = 0; i < 20; i++) {
		EXPECT_OK(start(0));
		EXPECT(rng_read(&rng, data, 64) > 0, "no answer after %u resets", i);
	}
	vq_desc(&rng.vq, 0, data, 64, DESC_WRITE, 0);
	vq_push(&rng.vq, 0);
	EXPECT(vdev_reset(rng.dev), "no reset");
	memset(data, UNTOUCHED, 64);
	vq_kick(&rng.vq);
	time_sleep(2);
	return only_first_written(data, 0, 64);
}

void conformance_rng(void)
{
	static const uint32_t lengths[] = { 1, 2, 7, 64, 4095, 4096, 4097, LARGE };

	tap_case(identity, 0, "rng, no feature of its own (5.4.3)");
	tap_case(queues, 0, "rng, one queue (5.4.2)");
	for (unsigned i = 0; i < ARRAY_LEN(lengths); i++)
		tap_case(fills, lengths[i], "rng, %u bytes, at least one of them (5.4.6.1)",
			 lengths[i]);
	tap_case(never_the_same, 0, "rng, no answer comes twice (5.4.6)");
	tap_case(balanced, 0, "rng, as many ones as zeroes (5.4.6)");
	tap_case(many, 0, "rng, a full queue (2.7)");
	tap_case(pieces, 0, "rng, a buffer in pieces (2.7.5)");
	tap_case(pieces, INDIRECT, "rng, an indirect buffer (2.7.5.3)");
	tap_case(pieces, EMPTY, "rng, a buffer in pieces, empty piece in it (2.7.5)");
	tap_case(pieces, INDIRECT | EMPTY, "rng, an indirect buffer, empty piece in it (2.7.5.3)");
	tap_case(by_event_idx, 0, "rng, kicks as EVENT_IDX asks for them (2.7.10)");
	tap_case(interrupts, 0, "rng, an interrupt for an answer (2.7.7)");
	tap_case(resets, 0, "rng, resets (2.4)");
}
