/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console device under attack, VIRTIO 1.2 §5.3; after each case it must work again. The host's
 * side sends back what it gets, so a chain of the receive queue is answered once a byte is out.
 */
#include "hostile_stream.h"
#include "virtio_console.h"

#define ROOM STREAM_ROOM
#define RAM_END STREAM_RAM_END
#define W DESC_WRITE
#define N DESC_NEXT
#define RX VCON_RX
#define TX VCON_TX

static struct vdev *dev;
static struct vcon con;
static uint8_t *data;

static const struct stream_case cases[] = {
	{ "output of a writable buffer", "5.3.6.1, row 10", TX, OUTCOME_USED_0, 0, 1,
	  { { 0, 64, W } } },
	{ "output with a writable buffer behind it", "5.3.6.1, row 10", TX, OUTCOME_USED_0, 0, 2,
	  { { 0, 64, N, 1 }, { 64, 64, W } } },
	{ "output behind a writable buffer", "2.7.4.2, row 10", TX, OUTCOME_RESET, 0, 2,
	  { { 0, 64, W | N, 1 }, { 64, 64, 0 } } },
	{ "output of nothing", "5.3.6, row 9", TX, OUTCOME_USED_0, 0, 1, { { 0, 0, 0 } } },
	{ "output of nothing in pieces", "5.3.6, row 9", TX, OUTCOME_USED_0, 0, 3,
	  { { 0, 0, N, 1 }, { 0, 0, N, 2 }, { 0, 0, 0 } } },
	{ "output from behind RAM", "2.7.5, row 12", TX, OUTCOME_USED_0, 0, 1,
	  { { RAM_END, 64, 0 } } },
	{ "output across the end of RAM", "2.7.5, row 12", TX, OUTCOME_USED_0, 0, 1,
	  { { RAM_END - 32, 64, 0 } } },
	{ "output of good bytes and some from behind RAM", "2.7.5, row 12", TX, OUTCOME_USED_0, 0,
	  2, { { 0, 64, N, 1 }, { RAM_END, 64, 0 } } },
	{ "output that wraps through 2^64", "2.7.5, row 8", TX, OUTCOME_USED_0, 0, 1,
	  { { -16ull, 64, 0 } } },
	{ "output of 2^32 - 1 bytes", "2.7.5, row 8", TX, OUTCOME_USED_0, 0, 1,
	  { { RAM_END - 32, 0xffffffff, 0 } } },
	{ "output of 2^32 bytes in pieces", "2.7.5.2, row 8", TX, OUTCOME_RESET, 0, 2,
	  { { 0, 0xffffffff, N, 1 }, { 64, 1, 0 } } },
	{ "output from the registers of a device", "2.7.5, row 23", TX, OUTCOME_USED_0, 0, 1,
	  { { 0xd0000000, 64, 0 } } },
	{ "output that is a loop", "2.7.5, row 1", TX, OUTCOME_RESET, 0, 2,
	  { { 0, 64, N, 1 }, { 64, 64, N, 0 } } },
	{ "output that leaves the table", "2.7.5, row 2", TX, OUTCOME_RESET, 0, 1,
	  { { 0, 64, N, VICTIM_QUEUE_SIZE } } },
	{ "output by an indirect table not negotiated", "2.7.5.3, row 11", TX, OUTCOME_RESET, 0, 1,
	  { { 0, 16, DESC_INDIRECT } } },

	{ "input into a readable buffer", "5.3.6.1, row 10", RX, OUTCOME_USED_0, 0, 1,
	  { { 0, 64, 0 } } },
	{ "input into a buffer behind a readable one", "5.3.6.1, row 10", RX, OUTCOME_USED_0, 0,
	  2, { { 0, 64, N, 1 }, { 64, 64, W } } },
	{ "input with a readable buffer behind it", "2.7.4.2, row 10", RX, OUTCOME_RESET, 0, 2,
	  { { 0, 64, W | N, 1 }, { 64, 64, 0 } } },
	{ "input into nothing", "5.3.6, row 9", RX, OUTCOME_USED_0, 0, 1, { { 0, 0, W } } },
	{ "input behind RAM", "2.7.5, row 12", RX, OUTCOME_USED_0, 0, 1, { { RAM_END, 64, W } } },
	{ "input across the end of RAM", "2.7.5, row 12", RX, OUTCOME_USED_0, 0, 1,
	  { { RAM_END - 32, 64, W } } },
	{ "input into the last bytes of RAM", "2.7.5, row 12", RX, OUTCOME_STATUS, 1, 1,
	  { { RAM_END - 32, 32, W } } },
	{ "input into a good buffer and one behind RAM", "2.7.5, row 12", RX, OUTCOME_USED_0, 0,
	  2, { { 0, 64, W | N, 1 }, { RAM_END, 64, W } } },
	{ "input that wraps through 2^64", "2.7.5, row 8", RX, OUTCOME_USED_0, 0, 1,
	  { { -16ull, 64, W } } },
	{ "input into 2^32 bytes in pieces", "2.7.5.2, row 8", RX, OUTCOME_RESET, 0, 2,
	  { { 0, 0xffffffff, W | N, 1 }, { 64, 1, W } } },
	{ "input into the registers of a device", "2.7.5, row 23", RX, OUTCOME_USED_0, 0, 1,
	  { { 0xd0000000, 64, W } } },
	{ "input into a loop", "2.7.5, row 1", RX, OUTCOME_RESET, 0, 2,
	  { { 0, 64, W | N, 1 }, { 64, 64, W | N, 0 } } },
	{ "input by an indirect table not negotiated", "2.7.5.3, row 11", RX, OUTCOME_RESET, 0, 1,
	  { { 0, 16, DESC_INDIRECT } } },
};

static const char *start(void)
{
	dev = discover_nth(VIRTIO_ID_CONSOLE, 0);
	if (!dev)
		return tap_skip("no console device");
	data = stream_room();
	EXPECT(vcon_start(&con, dev, 0, VICTIM_QUEUE_SIZE), "no start, status 0x%x",
	       vdev_status(dev));
	return vcon_sync(&con);
}

/* Out and in, byte for byte, with the session as it is */
static const char *works(void)
{
	uint8_t *out = memory_alloc(100, 16), *in = memory_alloc(100, 16);

	for (unsigned i = 0; i < 100; i++)
		out[i] = (uint8_t)(i * 7);
	EXPECT(vcon_write(&con, out, 100) == 0, "no answer to good output, status 0x%x",
	       vdev_status(dev));
	EXPECT_OK(vcon_read(&con, in, 100));
	EXPECT(memcmp(out, in, 100) == 0, "good output comes back changed");
	return NULL;
}

static const char *recovers(void)
{
	return stream_recovers(dev, start, works);
}

static struct vq *queue_of(uint64_t queue)
{
	return queue == RX ? &con.rx : &con.tx;
}

/* Something must come in before a chain of the receive queue is looked at. */
static const char *provoke(uint64_t queue)
{
	if (queue == RX)
		EXPECT(vcon_write(&con, data, 1) == 0, "no answer to output");
	return NULL;
}

static const char *answer(const struct stream_case *c, struct vq *vq)
{
	uint8_t *in = memory_alloc(1, 16);
	struct vring_used_elem elem;

	EXPECT(vq_wait(vq, TIMEOUT_REQUEST, &elem), "no answer, status 0x%x", vdev_status(dev));
	EXPECT(elem.id == 0 && elem.len == c->used, "used id %u length %u", elem.id, elem.len);
	EXPECT_OK(stream_is_untouched(data, 0));
	/* A buffer that was refused did not swallow the byte; a bad output put none out. */
	if (c->queue == RX && c->used == 0) {
		EXPECT_OK(vcon_read(&con, in, 1));
		EXPECT(*in == STREAM_UNTOUCHED, "another byte came back: 0x%x", *in);
	}
	return works();
}

static const char *run_case(uint64_t i)
{
	const struct stream_case *c = &cases[i];
	struct vq *vq = queue_of(c->queue);

	stream_push(vq, c, data);
	EXPECT_OK(provoke(c->queue));
	return c->outcome == OUTCOME_RESET ? queue_needs_reset(vq) : answer(c, vq);
}

static const char *head_outside(uint64_t queue)
{
	stream_push_outside(queue_of(queue));
	EXPECT_OK(provoke(queue));
	return queue_needs_reset(queue_of(queue));
}

static const char *index_jumps(uint64_t queue)
{
	stream_jump(queue_of(queue));
	EXPECT_OK(provoke(queue));
	return queue_needs_reset(queue_of(queue));
}

static const char *same_head(uint64_t unused)
{
	(void)unused;
	vq_desc(&con.tx, 0, data, 1, 0, 0);
	vq_stage(&con.tx, 0);
	vq_stage(&con.tx, 0);
	vq_publish(&con.tx);
	vq_kick(&con.tx);
	return queue_needs_reset(&con.tx);
}

/* Input lands in the rings themselves: the device may call them broken, nothing else. */
static const char *over_rings(uint64_t part)
{
	for (uint16_t i = 0; i < 4; i++)
		stream_push_ring(&con.rx, i, (enum ring_part)part);
	vq_kick(&con.rx);
	for (unsigned i = 0; i < 4; i++)
		(void)vcon_write(&con, data, 132);
	time_sleep(20);
	return NULL;
}

/* Far more output than anybody takes, and no room for what comes back: it waits, a reset does not. */
static const char *flood(uint64_t unused)
{
	struct vring_used_elem elem;
	uint8_t *lots = memory_alloc(64 * 1024, 4096);
	unsigned n = 0;

	(void)unused;
	for (uint16_t i = 0; i < con.tx.size; i++) {
		vq_desc(&con.tx, i, lots, 64 * 1024, 0, 0);
		vq_push(&con.tx, i);
	}
	vq_kick(&con.tx);
	while (n < 10000 && vq_wait(&con.tx, 500, &elem)) {
		vq_push(&con.tx, (uint16_t)elem.id);
		vq_kick(&con.tx);
		n++;
	}
	EXPECT(n < 10000, "%u outputs of 64 KiB were taken", n);
	EXPECT(!(vdev_status(dev) & STATUS_NEEDS_RESET), "status 0x%x", vdev_status(dev));
	return NULL;
}

static const char *flood_of_nothing(uint64_t unused)
{
	struct vring_used_elem elem;

	(void)unused;
	for (unsigned round = 0; round < 200; round++) {
		for (uint16_t i = 0; i < con.tx.size; i++) {
			vq_desc(&con.tx, i, data, 0, 0, 0);
			vq_push(&con.tx, i);
			vq_kick(&con.tx);
			vq_kick(&con.rx);
		}
		for (uint16_t i = 0; i < con.tx.size; i++)
			EXPECT(vq_wait(&con.tx, TIMEOUT_REQUEST, &elem) && elem.len == 0,
			       "round %u", round);
	}
	return works();
}

/* Resets while bytes go both ways: no byte is written to memory behind one. */
static const char *reset_races(uint64_t unused)
{
	(void)unused;
	for (unsigned round = 0; round < 30; round++) {
		size_t mark = memory_mark();

		EXPECT_OK(start());
		for (uint16_t i = 0; i < con.rx.size; i++) {
			vq_desc(&con.rx, i, data, ROOM, DESC_WRITE, 0);
			vq_desc(&con.tx, i, data, ROOM, 0, 0);
			vq_stage(&con.rx, i);
			vq_stage(&con.tx, i);
		}
		vq_publish(&con.rx);
		vq_publish(&con.tx);
		vq_kick(&con.rx);
		vq_kick(&con.tx);
		EXPECT(vdev_reset(dev), "no reset in round %u", round);
		memset(data, 0x11, ROOM); /* not what comes in */
		time_sleep(1);
		for (unsigned i = 0; i < ROOM; i++)
			EXPECT(data[i] == 0x11, "byte %u was written after the reset", i);
		memory_release(mark);
	}
	return NULL;
}

static const char *config_write(uint64_t at)
{
	for (unsigned i = 0; i < 1000; i++)
		mmio_write32(dev->config + at, i);
	return works();
}

static const struct hostile_row rows[] = {
	{ "output head outside the queue", "2.7.6, row 2", head_outside, TX },
	{ "input head outside the queue", "2.7.6, row 2", head_outside, RX },
	{ "output index that jumps", "2.7.6, row 4", index_jumps, TX },
	{ "input index that jumps", "2.7.6, row 4", index_jumps, RX },
	{ "the same output twice", "2.7.6, row 5", same_head, 0 },
	{ "input into the descriptor table", "row 23", over_rings, RING_DESC },
	{ "input into the available ring", "row 23", over_rings, RING_AVAIL },
	{ "input into the used ring", "row 23", over_rings, RING_USED },
	{ "output that nobody takes", "row 20", flood, 0 },
	{ "a flood of empty output and kicks", "row 20", flood_of_nothing, 0 },
	{ "resets in the middle of bytes", "2.4, row 22", reset_races, 0 },
	{ "writes to cols", "5.3.4, row 14", config_write, VCON_CONFIG_COLS },
	{ "emergency writes that are not offered", "5.3.4, row 14", config_write,
	  VCON_CONFIG_EMERG_WRITE },
};

void hostile_console(void)
{
	static const struct hostile_target target = {
		.prefix = "console, ", .start = start, .recovers = recovers
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++)
		hostile_case_of(&target, run_case, i, cases[i].rule, "%s", cases[i].name);
	hostile_rows(&target, rows, ARRAY_LEN(rows));
}
