/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decoder against frames that our encoder would never make. Frames are written byte by byte
 * here, with the field numbers of proto/: this file notices when a number changes its meaning.
 */
#include <criterion/criterion.h>

#include "ipc/message.h"

struct wire {
	uint8_t bytes[2 * MESSAGE_FRAME_MAX];
	size_t n;
};

enum { VARINT = 0, FIXED64 = 1, BLOB = 2, FIXED32 = 5 };

/* Field numbers of Envelope.body */
enum {
	REPLY = 8,
	DEVICE_START = 16,
	HELLO = 17,
	READY = 18,
	DEVICE_FAILED = 20,
	SETUP = 21,
	ENABLE_QUEUE = 23,
	DISABLE_QUEUE = 24,
	CONFIG_WRITTEN = 25,
	CORE_START = 64,
	CHILD_GONE = 66,
	VM_STATE = 71,
	CONDEMN = 72,
	COUNTERS = 74,
	LOG = 75,
	CONTROL_REQUEST = 128,
	CONTROL_REPLY = 129,
};

static struct wire body, sub, inner, frame;
static struct message m;

static void put_varint(struct wire *w, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		w->bytes[w->n++] = (uint8_t)(v | 0x80);
	w->bytes[w->n++] = (uint8_t)v;
}

static void put_number(struct wire *w, uint32_t field, uint64_t v)
{
	put_varint(w, field << 3 | VARINT);
	put_varint(w, v);
}

static void put_blob(struct wire *w, uint32_t field, const void *at, size_t n)
{
	put_varint(w, field << 3 | BLOB);
	put_varint(w, n);
	memcpy(w->bytes + w->n, at, n);
	w->n += n;
}

static void put_text(struct wire *w, uint32_t field, const char *text)
{
	put_blob(w, field, text, strlen(text));
}

/* body -> frame -> decoder; empties body for the next case */
static int decode_body(uint32_t number, uint32_t n_fds)
{
	frame.n = 0;
	put_blob(&frame, number, body.bytes, body.n);
	body.n = 0;
	return message_decode(frame.bytes, frame.n, n_fds, &m);
}

struct number_case {
	const char *what;
	uint32_t body;
	uint32_t n_fds;
	int expect;
	struct {
		uint32_t field;
		uint64_t v;
	} put[5]; /* up to field 0 */
};

#define BAD MESSAGE_MALFORMED

static const struct number_case number_cases[] = {
	{ "empty reply", REPLY, 0, 0, { { 0 } } },
	{ "reply", REPLY, 0, 0, { { 1, 5 }, { 2, UINT64_MAX } } },
	{ "negative result", REPLY, 0, BAD, { { 1, UINT64_MAX } } },
	{ "result 4096", REPLY, 0, BAD, { { 1, 4096 } } },
	{ "result beyond 32 bits", REPLY, 0, BAD, { { 1, UINT64_C(1) << 32 } } },
	{ "unknown field", REPLY, 0, BAD, { { 9, 1 } } },
	{ "field twice", REPLY, 0, BAD, { { 1, 5 }, { 1, 5 } } },
	{ "default written out", REPLY, 0, BAD, { { 1, 0 } } },
	{ "empty body", READY, 0, 0, { { 0 } } },
	{ "field in an empty body", READY, 0, BAD, { { 1, 1 } } },
	{ "hello", HELLO, 0, 0, { { 1, 1 }, { 2, 2 }, { 4, 1 }, { 5, 256 } } },
	{ "hello, type 0", HELLO, 0, BAD, { { 1, 1 }, { 4, 1 }, { 5, 256 } } },
	{ "hello, type 6", HELLO, 0, BAD, { { 1, 1 }, { 2, 6 }, { 4, 1 }, { 5, 256 } } },
	{ "hello, negative type", HELLO, 0, BAD, { { 2, UINT64_MAX }, { 4, 1 }, { 5, 256 } } },
	{ "hello, no queue", HELLO, 0, BAD, { { 1, 1 }, { 2, 2 }, { 5, 256 } } },
	{ "hello, 65 queues", HELLO, 0, BAD, { { 1, 1 }, { 2, 2 }, { 4, 65 }, { 5, 256 } } },
	{ "hello, size 0", HELLO, 0, BAD, { { 1, 1 }, { 2, 2 }, { 4, 1 } } },
	{ "hello, size 2048", HELLO, 0, BAD, { { 1, 1 }, { 2, 2 }, { 4, 1 }, { 5, 2048 } } },
	{ "hello, size 100", HELLO, 0, BAD, { { 1, 1 }, { 2, 2 }, { 4, 1 }, { 5, 100 } } },
	{ "queue", ENABLE_QUEUE, 2, 0, { { 1, 63 }, { 2, 1024 }, { 3, 4096 }, { 6, 1 } } },
	{ "queue 64", ENABLE_QUEUE, 2, BAD, { { 1, 64 }, { 2, 1024 } } },
	{ "queue of size 0", ENABLE_QUEUE, 2, BAD, { { 1, 1 } } },
	{ "queue of size 3", ENABLE_QUEUE, 2, BAD, { { 1, 1 }, { 2, 3 } } },
	{ "queue without fds", ENABLE_QUEUE, 0, BAD, { { 1, 1 }, { 2, 4 } } },
	{ "disable queue 64", DISABLE_QUEUE, 0, BAD, { { 1, 64 } } },
	{ "setup without regions", SETUP, 1, BAD, { { 1, 1 } } },
	{ "config offset 257", CONFIG_WRITTEN, 0, BAD, { { 1, 257 } } },
	{ "child", CHILD_GONE, 0, 0, { { 1, 15 }, { 2, 9 }, { 3, 23 } } },
	{ "child in slot 31", CHILD_GONE, 0, BAD, { { 1, 31 }, { 3, 2 } } },
	{ "child, type 24", CHILD_GONE, 0, BAD, { { 1, 1 }, { 3, 24 } } },
	{ "state 7", VM_STATE, 0, 0, { { 1, 7 } } },
	{ "state 8", VM_STATE, 0, BAD, { { 1, 8 } } },
	{ "condemn slot 31", CONDEMN, 0, BAD, { { 1, 31 } } },
	{ "condemn the core", CONDEMN, 0, BAD, { { 1, UINT32_MAX } } },
	{ "condemn, device state 5", CONDEMN, 0, BAD, { { 3, 5 } } },
	{ "log of the core", LOG, 0, 0, { { 1, UINT32_MAX }, { 4, 3 } } },
	{ "log of slot 31", LOG, 0, BAD, { { 1, 31 } } },
	{ "log level 4", LOG, 0, BAD, { { 4, 4 } } },
	{ "counters of slot 31", COUNTERS, 0, BAD, { { 1, 31 } } },
	{ "no command", CONTROL_REQUEST, 0, BAD, { { 1, 1 } } },
	{ "command", CONTROL_REQUEST, 0, 0, { { 1, 1 }, { 2, 13 } } },
	{ "command 14", CONTROL_REQUEST, 0, BAD, { { 1, 1 }, { 2, 14 } } },
	{ "reply for 65 CPUs", CONTROL_REPLY, 0, BAD, { { 6, 65 } } },
	{ "core without config", CORE_START, 4, BAD, { { 1, 1 } } },
	{ "device without config", DEVICE_START, 1, BAD, { { 1, 1 }, { 5, 1 } } },
	{ "unknown body", 200, 0, BAD, { { 0 } } },
};

Test(message_decode, numbers)
{
	for (size_t i = 0; i < ARRAY_LEN(number_cases); i++) {
		const struct number_case *c = &number_cases[i];

		for (unsigned f = 0; f < ARRAY_LEN(c->put) && c->put[f].field != 0; f++)
			put_number(&body, c->put[f].field, c->put[f].v);
		cr_expect_eq(decode_body(c->body, c->n_fds), c->expect, "%s", c->what);
	}
}

Test(message_decode, frames_of_wrong_size)
{
	memset(frame.bytes, 0, sizeof(frame.bytes));
	cr_expect_eq(message_decode(frame.bytes, 0, 0, &m), BAD);
	cr_expect_eq(message_decode(frame.bytes, MESSAGE_FRAME_MAX + 1, 0, &m), BAD);
	cr_expect_eq(message_decode(frame.bytes, MESSAGE_FRAME_MAX, 0, &m), BAD);
}

Test(message_decode, envelope_without_or_with_two_bodies)
{
	put_number(&frame, 1, 7);
	cr_expect_eq(message_decode(frame.bytes, frame.n, 0, &m), BAD);
	put_blob(&frame, READY, "", 0);
	cr_expect_eq(message_decode(frame.bytes, frame.n, 0, &m), 0);
	cr_expect_eq(m.type, MESSAGE_READY);
	cr_expect_eq(m.generation, 7);
	put_blob(&frame, READY, "", 0);
	cr_expect_eq(message_decode(frame.bytes, frame.n, 0, &m), BAD);
}

Test(message_decode, unknown_field_in_the_envelope)
{
	put_number(&frame, 3, 1);
	put_blob(&frame, READY, "", 0);
	cr_expect_eq(message_decode(frame.bytes, frame.n, 0, &m), BAD);
}

Test(message_decode, overlong_varint)
{
	static const uint8_t bytes[] = { REPLY << 3 | BLOB, 3, 1 << 3, 0x85, 0x00 };
	static const uint8_t exact[] = { REPLY << 3 | BLOB, 2, 1 << 3, 0x05 };

	cr_expect_eq(message_decode(bytes, sizeof(bytes), 0, &m), BAD);
	cr_expect_eq(message_decode(exact, sizeof(exact), 0, &m), 0);
	cr_expect_eq(m.reply.result, 5);
}

Test(message_decode, wrong_wire_type)
{
	put_text(&body, 1, "five");
	cr_expect_eq(decode_body(REPLY, 0), BAD);
	put_varint(&body, 2 << 3 | FIXED64);
	body.n += 8;
	cr_expect_eq(decode_body(REPLY, 0), BAD);
}

Test(message_decode, strings)
{
	static char longest[MESSAGE_TEXT_MAX];
	static const char nul[] = { 'a', '\0', 'b' };

	memset(longest, 'x', sizeof(longest));
	put_blob(&body, 1, longest, MESSAGE_TEXT_MAX - 1);
	cr_expect_eq(decode_body(DEVICE_FAILED, 0), 0);
	cr_expect_eq(strlen(m.failed.text), MESSAGE_TEXT_MAX - 1);
	put_blob(&body, 1, longest, MESSAGE_TEXT_MAX);
	cr_expect_eq(decode_body(DEVICE_FAILED, 0), BAD);
	put_blob(&body, 1, nul, sizeof(nul));
	cr_expect_eq(decode_body(DEVICE_FAILED, 0), BAD);
	put_blob(&body, 1, nul, 2);
	cr_expect_eq(decode_body(DEVICE_FAILED, 0), BAD);
	put_text(&body, 1, "a\x1b]0;x\x07");
	cr_expect_eq(decode_body(DEVICE_FAILED, 0), 0);
	cr_expect_str_eq(m.failed.text, "a?]0;x?");
}

static int control_request_for(const char *device)
{
	put_number(&body, 2, CONTROL_PS);
	put_text(&body, 3, device);
	return decode_body(CONTROL_REQUEST, 0);
}

Test(message_decode, names)
{
	cr_expect_eq(control_request_for("blk0"), 0);
	cr_expect_str_eq(m.control_request.device, "blk0");
	cr_expect_eq(control_request_for("0.a_b-C"), 0);
	cr_expect_eq(control_request_for("abcdefghijklmnopqrstuvwxyz01234"), 0);
	cr_expect_eq(control_request_for("abcdefghijklmnopqrstuvwxyz012345"), BAD);
	cr_expect_eq(control_request_for(".hidden"), BAD);
	cr_expect_eq(control_request_for("-rf"), BAD);
	cr_expect_eq(control_request_for("a/../b"), BAD);
	cr_expect_eq(control_request_for("a b"), BAD);
	cr_expect_eq(control_request_for("a\n"), BAD);
	cr_expect_eq(control_request_for("\xff"), BAD);
}

Test(message_decode, config_bytes)
{
	static const uint8_t data[DEVICE_CONFIG_SPACE_MAX + 1] = { 1, 2, 3 };

	put_blob(&body, 2, data, DEVICE_CONFIG_SPACE_MAX);
	cr_expect_eq(decode_body(CONFIG_WRITTEN, 0), 0);
	cr_expect_eq(m.config.len, DEVICE_CONFIG_SPACE_MAX);
	put_blob(&body, 2, data, DEVICE_CONFIG_SPACE_MAX + 1);
	cr_expect_eq(decode_body(CONFIG_WRITTEN, 0), BAD);
	put_number(&body, 1, 1);
	put_blob(&body, 2, data, DEVICE_CONFIG_SPACE_MAX);
	cr_expect_eq(decode_body(CONFIG_WRITTEN, 0), BAD);
	put_number(&body, 1, DEVICE_CONFIG_SPACE_MAX - 2);
	put_blob(&body, 2, data, 2);
	cr_expect_eq(decode_body(CONFIG_WRITTEN, 0), 0);
	put_number(&body, 1, DEVICE_CONFIG_SPACE_MAX - 2);
	put_blob(&body, 2, data, 3);
	cr_expect_eq(decode_body(CONFIG_WRITTEN, 0), BAD);
}

static void put_region(uint64_t at, uint64_t size)
{
	sub.n = 0;
	put_number(&sub, 1, at);
	put_number(&sub, 2, size);
	put_blob(&body, 2, sub.bytes, sub.n);
}

Test(message_decode, regions)
{
	for (uint32_t n = 1; n <= GUEST_MEMORY_REGIONS_MAX + 1; n++) {
		put_number(&body, 1, 1);
		for (uint32_t i = 0; i < n; i++)
			put_region((i + 1) << 20, 4096);
		cr_expect_eq(decode_body(SETUP, n + 1),
			     n <= GUEST_MEMORY_REGIONS_MAX ? 0 : BAD, "%u regions", n);
	}
	put_number(&body, 1, 1);
	put_region(4096, 4095);
	cr_expect_eq(decode_body(SETUP, 2), BAD);
	put_number(&body, 1, 1);
	put_region(UINT64_MAX - 4095, 8192);
	cr_expect_eq(decode_body(SETUP, 2), BAD);
	put_number(&body, 1, 1);
	put_region(UINT64_MAX - 4095, 4096);
	cr_expect_eq(decode_body(SETUP, 2), 0); /* ends at 2^64; guest_memory_map() has its say */
}

static void put_device_config(uint32_t type, bool blk, uint32_t queue_size)
{
	sub.n = 0;
	inner.n = 0;
	put_number(&sub, 1, type);
	put_text(&sub, 2, "dev0");
	if (blk) {
		put_number(&inner, 3, 1);
		put_number(&inner, 4, queue_size);
		put_blob(&inner, 6, inner.bytes, 0); /* limits: none */
		put_blob(&sub, 3, inner.bytes, inner.n);
	}
}

static int device_start_with_config(void)
{
	put_number(&body, 5, 1);
	put_blob(&body, 8, sub.bytes, sub.n);
	return decode_body(DEVICE_START, 1);
}

Test(message_decode, device_config_must_belong_to_the_type)
{
	put_device_config(DEVICE_TYPE_BLK, true, 256);
	cr_expect_eq(device_start_with_config(), 0);
	cr_expect_eq(m.device_start.config.blk.queue_size, 256);
	put_device_config(DEVICE_TYPE_BLK, false, 0);
	cr_expect_eq(device_start_with_config(), BAD);
	put_device_config(DEVICE_TYPE_NET, true, 256);
	cr_expect_eq(device_start_with_config(), BAD);
	put_device_config(DEVICE_TYPE_NET, false, 0);
	cr_expect_eq(device_start_with_config(), BAD);
	put_device_config(DEVICE_TYPE_RNG, false, 0);
	cr_expect_eq(device_start_with_config(), 0);
	put_device_config(DEVICE_TYPE_BLK, true, 1);
	cr_expect_eq(device_start_with_config(), BAD);
	put_device_config(DEVICE_TYPE_BLK, true, 100);
	cr_expect_eq(device_start_with_config(), BAD);
	put_device_config(DEVICE_TYPE_BLK, true, 2048);
	cr_expect_eq(device_start_with_config(), BAD);
}

Test(message_decode, counters)
{
	static uint8_t values[DEVICE_COUNTERS_MAX + 1];

	memset(values, 1, sizeof(values));
	put_blob(&body, 2, values, DEVICE_COUNTERS_MAX);
	cr_expect_eq(decode_body(COUNTERS, 0), 0);
	cr_expect_eq(m.counters.n, DEVICE_COUNTERS_MAX);
	cr_expect_eq(m.counters.values[DEVICE_COUNTERS_MAX - 1], 1);
	put_blob(&body, 2, values, DEVICE_COUNTERS_MAX + 1);
	cr_expect_eq(decode_body(COUNTERS, 0), BAD);
}

/* 2 bytes on the wire, some 100 in memory each: stopped by the arena, not by the host. */
Test(message_decode, amplification_is_bounded)
{
	while (body.n < MESSAGE_FRAME_MAX - 16)
		put_blob(&body, 8, "", 0);
	cr_expect_eq(decode_body(CONTROL_REPLY, 0), BAD);
	while (body.n < MESSAGE_FRAME_MAX - 16)
		put_number(&body, 15, 1);
	cr_expect_eq(decode_body(CONTROL_REPLY, 0), BAD);
	put_number(&body, 1, 5);
	cr_expect_eq(decode_body(REPLY, 0), 0); /* the next frame is not affected */
}
