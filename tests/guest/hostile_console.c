/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console device under attack, VIRTIO 1.2 §5.3; after each case it must work again. The host's
 * side sends back what it gets, so a chain of the receive queue is answered once a byte is out.
 */
#include "hostile.h"
#include "virtio_console.h"

#define ROOM 8192u
#define UNTOUCHED 0x77
#define RAM_END (1ull << 62) /* plus a signed offset */
#define W DESC_WRITE
#define N DESC_NEXT
#define RX VCON_RX
#define TX VCON_TX

static struct vdev *dev;
static struct vcon con;
static uint8_t *data;

struct console_case {
	const char *name, *rule;
	unsigned queue;
	enum outcome outcome; /* OUTCOME_STATUS: used length is used */
	uint32_t used, n;
	struct vring_desc desc[3]; /* addr below ROOM: offset in data */
};

static const struct console_case cases[] = {
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
	data = memory_alloc(ROOM, 4096);
	memset(data, UNTOUCHED, ROOM);
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

/* Whatever the case did: after a reset the device is as good as new. */
static const char *recovers(const char *result)
{
	if (result)
		return result;
	EXPECT(vdev_reset(dev), "no reset afterwards, status 0x%x", vdev_status(dev));
	EXPECT_OK(start());
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

static const char *answer(const struct console_case *c, struct vq *vq)
{
	uint8_t *in = memory_alloc(1, 16);
	struct vring_used_elem elem;

	EXPECT(vq_wait(vq, TIMEOUT_REQUEST, &elem), "no answer, status 0x%x", vdev_status(dev));
	EXPECT(elem.id == 0 && elem.len == c->used, "used id %u length %u", elem.id, elem.len);
	for (uint32_t i = 0; i < ROOM; i++)
		EXPECT(data[i] == UNTOUCHED, "byte %u was written", i);
	/* A buffer that was refused did not swallow the byte; a bad output put none out. */
	if (c->queue == RX && c->used == 0) {
		EXPECT_OK(vcon_read(&con, in, 1));
		EXPECT(*in == UNTOUCHED, "another byte came back: 0x%x", *in);
	}
	return works();
}

static const char *run_case(uint64_t i)
{
	const struct console_case *c = &cases[i];
	struct vq *vq;

	EXPECT_OK(start());
	vq = c->queue == RX ? &con.rx : &con.tx;
	for (uint16_t k = 0; k < c->n; k++)
		vq_desc(vq, k, (void *)address(c->desc[k].addr), c->desc[k].len,
			c->desc[k].flags, c->desc[k].next);
	vq_push(vq, 0);
	vq_kick(vq);
	if (c->queue == RX) /* something must come in before a buffer is looked at */
		EXPECT(vcon_write(&con, data, 1) == 0, "no answer to output");
	return recovers(c->outcome == OUTCOME_RESET ? queue_needs_reset(vq) : answer(c, vq));
}

static const char *head_outside(uint64_t queue)
{
	struct vq *vq = queue == RX ? &con.rx : &con.tx;

	EXPECT_OK(start());
	vq_push(vq, VICTIM_QUEUE_SIZE);
	vq_kick(vq);
	if (queue == RX)
		EXPECT(vcon_write(&con, data, 1) == 0, "no answer to output");
	return recovers(queue_needs_reset(vq));
}

static const char *index_jumps(uint64_t queue)
{
	struct vq *vq = queue == RX ? &con.rx : &con.tx;

	EXPECT_OK(start());
	vq->avail_idx += VICTIM_QUEUE_SIZE + 1;
	vq_publish(vq);
	vq_kick(vq);
	if (queue == RX)
		EXPECT(vcon_write(&con, data, 1) == 0, "no answer to output");
	return recovers(queue_needs_reset(vq));
}

static const char *same_head(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(start());
	vq_desc(&con.tx, 0, data, 1, 0, 0);
	vq_stage(&con.tx, 0);
	vq_stage(&con.tx, 0);
	vq_publish(&con.tx);
	vq_kick(&con.tx);
	return recovers(queue_needs_reset(&con.tx));
}

/* Input lands in the rings themselves: the device may call them broken, nothing else. */
static const char *over_rings(uint64_t which)
{
	volatile void *at;

	EXPECT_OK(start());
	at = which == 0 ? (volatile void *)con.rx.desc :
	     which == 1 ? (volatile void *)con.rx.avail :
			  (volatile void *)con.rx.used;
	for (uint16_t i = 0; i < 4; i++) {
		vq_desc(&con.rx, i, at, 132, DESC_WRITE, 0);
		vq_push(&con.rx, i);
	}
	vq_kick(&con.rx);
	for (unsigned i = 0; i < 4; i++)
		(void)vcon_write(&con, data, 132);
	time_sleep(20);
	return recovers(NULL);
}

/* Far more output than anybody takes, and no room for what comes back: it waits, a reset does not. */
static const char *flood(uint64_t unused)
{
	struct vring_used_elem elem;
	uint8_t *lots = memory_alloc(64 * 1024, 4096);
	unsigned n = 0;

	(void)unused;
	EXPECT_OK(start());
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
	return recovers(NULL);
}

static const char *flood_of_nothing(uint64_t unused)
{
	struct vring_used_elem elem;

	(void)unused;
	EXPECT_OK(start());
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
	return recovers(works());
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
		memset(data, 0x11, ROOM);
		time_sleep(1);
		for (unsigned i = 0; i < ROOM; i++)
			EXPECT(data[i] == 0x11, "byte %u was written after the reset", i);
		memory_release(mark);
	}
	return recovers(NULL);
}

static const char *config_write(uint64_t at)
{
	EXPECT_OK(start());
	for (unsigned i = 0; i < 1000; i++)
		mmio_write32(dev->config + at, i);
	return recovers(works());
}

void hostile_console(void)
{
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++)
		hostile_case(run_case, i, cases[i].rule, "console, %s", cases[i].name);
	hostile_case(head_outside, TX, "2.7.6, row 2", "console, output head outside the queue");
	hostile_case(head_outside, RX, "2.7.6, row 2", "console, input head outside the queue");
	hostile_case(index_jumps, TX, "2.7.6, row 4", "console, output index that jumps");
	hostile_case(index_jumps, RX, "2.7.6, row 4", "console, input index that jumps");
	hostile_case(same_head, 0, "2.7.6, row 5", "console, the same output twice");
	hostile_case(over_rings, 0, "row 23", "console, input into the descriptor table");
	hostile_case(over_rings, 1, "row 23", "console, input into the available ring");
	hostile_case(over_rings, 2, "row 23", "console, input into the used ring");
	hostile_case(flood, 0, "row 20", "console, output that nobody takes");
	hostile_case(flood_of_nothing, 0, "row 20", "console, a flood of empty output and kicks");
	hostile_case(reset_races, 0, "2.4, row 22", "console, resets in the middle of bytes");
	hostile_case(config_write, VCON_CONFIG_COLS, "5.3.4, row 14", "console, writes to cols");
	hostile_case(config_write, VCON_CONFIG_EMERG_WRITE, "5.3.4, row 14",
		     "console, emergency writes that are not offered");
}
