/* SPDX-License-Identifier: Apache-2.0 */
/* The console device with one port, VIRTIO 1.2 §5.3; the host's side sends back what it gets. */
#include "conformance.h"
#include "virtio_console.h"

#define LARGE 65536u
#define UNTOUCHED 0x77
#define INDIRECT 1u
#define EMPTY 2u

static struct vcon con;

/* Every case begins with it: the device starts anew, or the case is skipped. */
static const char *start(uint64_t features)
{
	struct vdev *dev = discover_nth(VIRTIO_ID_CONSOLE, 0);

	if (!dev)
		return tap_skip("no console device");
	EXPECT(vcon_start(&con, dev, features, 16), "no start, status 0x%x", vdev_status(dev));
	if ((dev->features & features) != features)
		return tap_skip("not offered");
	return vcon_sync(&con);
}

static uint8_t *pattern(uint32_t len, uint64_t salt)
{
	uint8_t *data = memory_alloc(len, 16);

	pattern_fill(data, salt, len, salt);
	return data;
}

static const char *features(uint64_t unused)
{
	uint64_t offered;

	(void)unused;
	EXPECT_OK(start(0));
	offered = vdev_offered(con.dev);
	EXPECT(!(offered & VCON_F_MULTIPORT), "MULTIPORT with one port");
	EXPECT((offered & 0xfffff8) == 0, "reserved features 0x%lx", offered);
	return NULL;
}

static const char *queues(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(start(0));
	EXPECT(vdev_queue_max(con.dev, 0) > 0 && vdev_queue_max(con.dev, 1) > 0, "missing");
	EXPECT(vdev_queue_max(con.dev, 2) == 0, "a third queue");
	return NULL;
}

/* §5.3.4: cols and rows hold the size when SIZE is offered. */
static const char *size_fields(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(start(VCON_F_SIZE));
	for (unsigned at = 0; at < 4; at++)
		EXPECT(mmio_read8(con.dev->config + at) ==
			       (uint8_t)(mmio_read32(con.dev->config) >> 8 * at),
		       "byte %u of the size", at);
	return NULL;
}

static const char *config_is_read_only(uint64_t at)
{
	uint16_t before;

	EXPECT_OK(start(0));
	before = mmio_read16(con.dev->config + at);
	mmio_write16(con.dev->config + at, (uint16_t)~before);
	EXPECT(mmio_read16(con.dev->config + at) == before, "offset %lu changed", at);
	return NULL;
}

static const char *echo(uint64_t len)
{
	uint8_t *data = pattern((uint32_t)len, len), *back = memory_alloc(len, 16);
	int64_t used;

	EXPECT_OK(start(0));
	used = vcon_write(&con, data, (uint32_t)len);
	EXPECT(used == 0, "used length %ld of output", used);
	EXPECT_OK(vcon_read(&con, back, (uint32_t)len));
	return pattern_check(back, len, len, len);
}

static const char *pieces(uint64_t how)
{
	uint8_t *data = pattern(64, 5), *back = memory_alloc(64, 16);
	struct vring_desc *table = memory_alloc(4 * sizeof(*table), 16);
	struct part parts[] = {
		{ data, 16, false }, { data + 16, 1, false },
		{ data + 17, how & EMPTY ? 0 : 8, false },
		{ data + (how & EMPTY ? 17 : 25), how & EMPTY ? 47 : 39, false },
	};
	struct vring_used_elem elem;

	EXPECT_OK(start(how & INDIRECT ? FEATURE_INDIRECT : 0));
	if (how & INDIRECT)
		vq_indirect(&con.tx, 0, table, parts, ARRAY_LEN(parts));
	else
		vq_chain(&con.tx, 0, parts, ARRAY_LEN(parts));
	vq_push(&con.tx, 0);
	vq_kick(&con.tx);
	EXPECT(vq_wait(&con.tx, TIMEOUT_REQUEST, &elem) && elem.id == 0, "no answer");
	EXPECT_OK(vcon_read(&con, back, 64));
	return pattern_check(back, 5, 64, 5);
}

/* A queue full of outputs at once: all are used, and the bytes keep their order. */
static const char *order(uint64_t rounds)
{
	uint8_t *data = pattern(16 * 7, 9), *back = memory_alloc(16 * 7, 16);
	struct vring_used_elem elem;

	EXPECT_OK(start(0));
	for (uint64_t round = 0; round < rounds; round++) {
		for (uint16_t i = 0; i < con.tx.size; i++) {
			vq_desc(&con.tx, i, data + i * 7, 7, 0, 0);
			vq_stage(&con.tx, i);
		}
		vq_publish(&con.tx);
		vq_kick(&con.tx);
		for (uint16_t i = 0; i < con.tx.size; i++)
			EXPECT(vq_wait(&con.tx, TIMEOUT_REQUEST, &elem) && elem.id == i,
			       "used id %u, not %u", elem.id, i);
		EXPECT_OK(vcon_read(&con, back, con.tx.size * 7u));
		EXPECT_OK(pattern_check(back, 9, con.tx.size * 7u, 9));
	}
	return NULL;
}

/* Nothing is lost while there is no room: the bytes wait on the host's side. */
static const char *no_room(uint64_t len)
{
	uint8_t *data = pattern((uint32_t)len, 11), *back = memory_alloc(len, 16);

	EXPECT_OK(start(0));
	EXPECT(vcon_write(&con, data, (uint32_t)len) == 0, "no answer");
	time_sleep(20);
	EXPECT(!vq_pending(&con.rx), "input without a buffer");
	EXPECT_OK(vcon_read(&con, back, (uint32_t)len));
	return pattern_check(back, 11, len, 11);
}

/* 64 bytes into buffers of one byte, all in the queue before they come. */
static const char *small_buffers(uint64_t unused)
{
	uint8_t *data = pattern(64, 13), *back = memory_alloc(64, 16);
	struct vring_used_elem elem;
	uint32_t got = 0;

	(void)unused;
	EXPECT_OK(start(0));
	for (uint16_t i = 0; i < con.rx.size; i++) {
		vq_desc(&con.rx, i, back + i, 1, DESC_WRITE, 0);
		vq_stage(&con.rx, i);
	}
	vq_publish(&con.rx);
	vq_kick(&con.rx);
	EXPECT(vcon_write(&con, data, 64) == 0, "no answer");
	for (; got < con.rx.size; got++) {
		EXPECT(vq_wait(&con.rx, TIMEOUT_REQUEST, &elem), "byte %u does not come", got);
		EXPECT(elem.id == got && elem.len == 1, "id %u length %u", elem.id, elem.len);
	}
	EXPECT_OK(vcon_read(&con, back + got, 64 - got));
	return pattern_check(back, 13, 64, 13);
}

static const char *input_pieces(uint64_t how)
{
	uint8_t *data = pattern(48, 15), *back = memory_alloc(4096, 16);
	struct vring_desc *table = memory_alloc(3 * sizeof(*table), 16);
	struct part parts[] = {
		{ back, 16, true }, { back + 16, 1, true }, { back + 17, 31, true },
	};
	struct vring_used_elem elem;

	EXPECT_OK(start(how & INDIRECT ? FEATURE_INDIRECT : 0));
	memset(back, UNTOUCHED, 4096);
	EXPECT(vcon_write(&con, data, 48) == 0, "no answer");
	time_sleep(20); /* so that all of it is likely to be there */
	if (how & INDIRECT)
		vq_indirect(&con.rx, 0, table, parts, ARRAY_LEN(parts));
	else
		vq_chain(&con.rx, 0, parts, ARRAY_LEN(parts));
	vq_push(&con.rx, 0);
	vq_kick(&con.rx);
	EXPECT(vq_wait(&con.rx, TIMEOUT_REQUEST, &elem), "no input");
	EXPECT(elem.id == 0 && elem.len >= 1 && elem.len <= 48, "id %u length %u", elem.id,
	       elem.len);
	EXPECT_OK(pattern_check(back, 15, elem.len, 15));
	for (uint32_t i = elem.len; i < 4096; i++)
		EXPECT(back[i] == UNTOUCHED, "byte %u was written behind the %u", i, elem.len);
	return NULL;
}

/* A buffer is used when something has come, not when it is full. */
static const char *does_not_wait_for_full(uint64_t unused)
{
	uint8_t *data = pattern(3, 17), *back = memory_alloc(4096, 16);
	struct vring_used_elem elem;

	(void)unused;
	EXPECT_OK(start(0));
	vq_desc(&con.rx, 0, back, 4096, DESC_WRITE, 0);
	vq_push(&con.rx, 0);
	vq_kick(&con.rx);
	EXPECT(vcon_write(&con, data, 3) == 0, "no answer");
	EXPECT(vq_wait(&con.rx, TIMEOUT_REQUEST, &elem), "no input");
	EXPECT(elem.len >= 1 && elem.len <= 3, "length %u", elem.len);
	return pattern_check(back, 17, elem.len, 17);
}

static const char *by_event_idx(uint64_t unused)
{
	uint8_t *data = memory_alloc(64, 64);
	struct vring_used_elem elem;

	(void)unused;
	EXPECT_OK(start(FEATURE_EVENT_IDX));
	for (unsigned i = 0; i < 200; i++) {
		uint16_t old = con.tx.avail_idx;

		vq_desc(&con.tx, 0, data, 1, 0, 0);
		vq_push(&con.tx, 0);
		vq_kick_event(&con.tx, old);
		EXPECT(vq_wait(&con.tx, TIMEOUT_REQUEST, &elem), "no answer %u", i);
	}
	return vcon_read(&con, memory_alloc(200, 16), 200);
}

static const char *interrupts(uint64_t queue)
{
	uint8_t *data = memory_alloc(64, 64);
	struct vring_used_elem elem;

	EXPECT_OK(start(0));
	vdev_interrupt_ack(con.dev, vdev_interrupt(con.dev));
	if (queue == VCON_TX) {
		EXPECT(vcon_write(&con, data, 1) == 0, "no answer");
	} else {
		con.tx.avail->flags = AVAIL_NO_INTERRUPT;
		EXPECT(vcon_write(&con, data, 1) == 0, "no answer");
		vq_desc(&con.rx, 0, data, 64, DESC_WRITE, 0);
		vq_push(&con.rx, 0);
		vq_kick(&con.rx);
		EXPECT(vq_wait(&con.rx, TIMEOUT_REQUEST, &elem), "no input");
	}
	EXPECT(interrupt_wait(con.dev, TIMEOUT_REQUEST), "none");
	return NULL;
}

static const char *resets(uint64_t unused)
{
	uint8_t *data = memory_alloc(64, 64);

	(void)unused;
	for (unsigned i = 0; i < 10; i++)
		EXPECT_OK(start(0));
	vq_desc(&con.rx, 0, data, 64, DESC_WRITE, 0);
	vq_push(&con.rx, 0);
	vq_kick(&con.rx);
	EXPECT(vcon_write(&con, data, 64) == 0, "no answer");
	EXPECT(vdev_reset(con.dev), "no reset");
	memset(data, UNTOUCHED, 64);
	time_sleep(5);
	for (unsigned i = 0; i < 64; i++)
		EXPECT(data[i] == UNTOUCHED, "byte %u was written after the reset", i);
	return start(0);
}

void conformance_console(void)
{
	static const uint32_t lengths[] = { 1, 2, 64, 4095, 4096, 4097, LARGE };

	tap_case(features, 0, "console, features of one port (5.3.3)");
	tap_case(queues, 0, "console, two queues (5.3.2)");
	tap_case(size_fields, 0, "console, size in config space (5.3.4)");
	tap_case(config_is_read_only, VCON_CONFIG_COLS, "console, cols cannot be written (5.3.4)");
	tap_case(config_is_read_only, VCON_CONFIG_ROWS, "console, rows cannot be written (5.3.4)");
	for (unsigned i = 0; i < ARRAY_LEN(lengths); i++)
		tap_case(echo, lengths[i], "console, %u bytes out and in (5.3.6)", lengths[i]);
	tap_case(pieces, 0, "console, output in pieces (2.7.5)");
	tap_case(pieces, INDIRECT, "console, indirect output (2.7.5.3)");
	tap_case(pieces, EMPTY, "console, output in pieces, empty piece in it (2.7.5)");
	tap_case(order, 20, "console, full queues keep their order (2.7)");
	tap_case(no_room, 100, "console, 100 bytes wait for room (5.3.6)");
	tap_case(no_room, 40000, "console, 40000 bytes wait for room (5.3.6)");
	tap_case(small_buffers, 0, "console, input into single bytes (5.3.6)");
	tap_case(input_pieces, 0, "console, input into pieces (2.7.5)");
	tap_case(input_pieces, INDIRECT, "console, input into an indirect buffer (2.7.5.3)");
	tap_case(does_not_wait_for_full, 0, "console, input does not wait for more (5.3.6)");
	tap_case(by_event_idx, 0, "console, kicks as EVENT_IDX asks for them (2.7.10)");
	tap_case(interrupts, VCON_TX, "console, an interrupt for output (2.7.7)");
	tap_case(interrupts, VCON_RX, "console, an interrupt for input (2.7.7)");
	tap_case(resets, 0, "console, resets (2.4)");
}
