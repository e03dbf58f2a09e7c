/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frame -> plain struct. Runs in every process; the frame comes from a possibly hostile peer.
 *
 * protobuf-c unpacks into a fixed arena, so that no frame costs more than ARENA_BYTES, whatever
 * it claims. Then two checks close what protobuf lets through: unknown fields are refused, and
 * the size of the unpacked message packed again must be the size of the frame. The latter catches
 * single fields that occur twice, several bodies, defaults written out, overlong varints and
 * strings with NUL bytes (protobuf-c reports such a string by its first part only). What is left
 * is copied field by field under the rows of message_table.c.
 */
#include "ipc/message.h"

#include <pthread.h>
#include <string.h>

#include "envelope.pb-c.h"
#include "ipc/message_codec.h"

/* The largest legal message, a full CONTROL_REPLY, needs less than a quarter of this. */
#define ARENA_BYTES 131072u

/*
 * One arena per process under a lock: decoding takes microseconds and waits for nobody, and a
 * thread-local one would sit on every vCPU thread's stack.
 */
static struct {
	pthread_mutex_t lock;
	size_t used;
	uint8_t bytes[ARENA_BYTES] __attribute__((aligned(16)));
} arena = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void *arena_alloc(void *ctx, size_t size)
{
	size_t rounded;

	(void)ctx;
	if (size > sizeof(arena.bytes))
		return NULL;
	rounded = (size + 15u) & ~(size_t)15u;
	if (rounded > sizeof(arena.bytes) - arena.used)
		return NULL;
	arena.used += rounded;
	return arena.bytes + arena.used - rounded;
}

/* Everything is given back at once, when the next frame is decoded. */
static void arena_release(void *ctx, void *at)
{
	(void)ctx;
	(void)at;
}

static int decode_struct(const struct codec_struct *layout, const ProtobufCMessage *wire,
			 void *plain);

static int decode_number(const struct codec_field *f, const void *wire, void *plain)
{
	uint32_t v32;
	uint64_t v64;

	if (f->kind == CODEC_KIND_U64) {
		memcpy(&v64, wire, sizeof(v64));
		if (!codec_number_ok(f, v64))
			return MESSAGE_MALFORMED;
		memcpy(plain, &v64, sizeof(v64));
		return 0;
	}
	memcpy(&v32, wire, sizeof(v32));
	if (!codec_number_ok(f, v32))
		return MESSAGE_MALFORMED;
	memcpy(plain, &v32, sizeof(v32));
	return 0;
}

static int decode_string(const struct codec_field *f, const char *wire, char *plain)
{
	size_t len;

	if (wire == NULL)
		return MESSAGE_MALFORMED;
	len = strnlen(wire, f->cap);
	if (!codec_string_ok(f, wire, len))
		return MESSAGE_MALFORMED;
	memcpy(plain, wire, len); /* the rest was zeroed */
	if (f->kind != CODEC_KIND_TEXT)
		return 0;
	for (size_t i = 0; i < len; i++) {
		if (plain[i] < ' ' || plain[i] > '~')
			plain[i] = '?';
	}
	return 0;
}

/* Stores the count of a list after checking it. */
static int decode_count(const struct codec_field *f, size_t n, void *plain)
{
	uint32_t n32;

	if (n < f->min || n > f->cap)
		return MESSAGE_MALFORMED;
	n32 = (uint32_t)n;
	memcpy(codec_at_mut(plain, f->plain_n), &n32, sizeof(n32));
	return 0;
}

static int decode_bytes(const struct codec_field *f, const ProtobufCMessage *wire, void *plain)
{
	const ProtobufCBinaryData *bytes = codec_at(wire, f->wire);

	if (decode_count(f, bytes->len, plain) != 0)
		return MESSAGE_MALFORMED;
	if (bytes->len > 0)
		memcpy(codec_at_mut(plain, f->plain), bytes->data, bytes->len);
	return 0;
}

static int decode_u64s(const struct codec_field *f, const ProtobufCMessage *wire, void *plain)
{
	size_t n = *(const size_t *)codec_at(wire, f->wire_n);

	if (decode_count(f, n, plain) != 0)
		return MESSAGE_MALFORMED;
	if (n > 0)
		memcpy(codec_at_mut(plain, f->plain),
		       *(uint64_t *const *)codec_at(wire, f->wire), n * sizeof(uint64_t));
	return 0;
}

static int decode_structs(const struct codec_field *f, const ProtobufCMessage *wire, void *plain)
{
	ProtobufCMessage *const *list = *(ProtobufCMessage **const *)codec_at(wire, f->wire);
	uint8_t *element = codec_at_mut(plain, f->plain);
	size_t n = *(const size_t *)codec_at(wire, f->wire_n);

	if (decode_count(f, n, plain) != 0)
		return MESSAGE_MALFORMED;
	for (size_t i = 0; i < n; i++) {
		if (decode_struct(f->sub, list[i], element + i * f->sub->plain_size) != 0)
			return MESSAGE_MALFORMED;
	}
	return 0;
}

static int decode_one_struct(const struct codec_field *f, const ProtobufCMessage *wire,
			     void *plain)
{
	const ProtobufCMessage *sub = *(ProtobufCMessage *const *)codec_at(wire, f->wire);

	if (codec_wanted(f, plain) != (sub != NULL))
		return MESSAGE_MALFORMED;
	return sub != NULL ? decode_struct(f->sub, sub, codec_at_mut(plain, f->plain)) : 0;
}

static int decode_field(const struct codec_field *f, const ProtobufCMessage *wire, void *plain)
{
	const void *from = codec_at(wire, f->wire);
	void *to = codec_at_mut(plain, f->plain);

	switch (f->kind) {
	case CODEC_KIND_U32:
	case CODEC_KIND_I32:
	case CODEC_KIND_U64:
	case CODEC_KIND_ENUM:
		return decode_number(f, from, to);
	case CODEC_KIND_BOOL:
		*(bool *)to = *(const protobuf_c_boolean *)from != 0;
		return 0;
	case CODEC_KIND_NAME:
	case CODEC_KIND_TEXT:
	case CODEC_KIND_RAW:
		return decode_string(f, *(char *const *)from, to);
	case CODEC_KIND_BYTES:
		return decode_bytes(f, wire, plain);
	case CODEC_KIND_U64S:
		return decode_u64s(f, wire, plain);
	case CODEC_KIND_STRUCT:
		return decode_one_struct(f, wire, plain);
	case CODEC_KIND_STRUCTS:
		return decode_structs(f, wire, plain);
	}
	return MESSAGE_MALFORMED;
}

/* @plain is zeroed memory of layout->plain_size bytes. */
static int decode_struct(const struct codec_struct *layout, const ProtobufCMessage *wire,
			 void *plain)
{
	if (wire->n_unknown_fields != 0)
		return MESSAGE_MALFORMED;
	for (uint32_t i = 0; i < layout->n_fields; i++) {
		if (decode_field(&layout->fields[i], wire, plain) != 0)
			return MESSAGE_MALFORMED;
	}
	if (layout->check != NULL && !layout->check(plain))
		return MESSAGE_MALFORMED;
	return 0;
}

static int decode_envelope(const Bulkhead__Envelope *envelope, uint32_t n_fds,
			   struct message *ret)
{
	/* A union of pointers: any member is the body. */
	const ProtobufCMessage *body = (const ProtobufCMessage *)(const void *)envelope->ready;
	enum message_type type = codec_type_of_body(envelope->body_case);
	const struct codec_struct *layout;

	if (type == MESSAGE_NONE || body == NULL || envelope->base.n_unknown_fields != 0)
		return MESSAGE_MALFORMED;
	layout = codec_type_get(type)->layout;
	memset(&ret->reply, 0, layout->plain_size);
	if (decode_struct(layout, body, &ret->reply) != 0)
		return MESSAGE_MALFORMED;
	ret->type = type;
	ret->generation = envelope->generation;
	ret->seq = envelope->seq;
	if (message_n_fds(ret) != n_fds) {
		ret->type = MESSAGE_NONE;
		return MESSAGE_MALFORMED;
	}
	return 0;
}

int message_decode(const uint8_t *buf, size_t len, uint32_t n_fds, struct message *ret)
{
	ProtobufCAllocator allocator = { .alloc = arena_alloc, .free = arena_release };
	int r = MESSAGE_MALFORMED;
	ProtobufCMessage *wire;

	ret->type = MESSAGE_NONE;
	if (len == 0 || len > MESSAGE_FRAME_MAX)
		return MESSAGE_MALFORMED;
	(void)pthread_mutex_lock(&arena.lock);
	arena.used = 0;
	wire = protobuf_c_message_unpack(&bulkhead__envelope__descriptor, &allocator, len, buf);
	if (wire != NULL && protobuf_c_message_get_packed_size(wire) == len)
		r = decode_envelope((const Bulkhead__Envelope *)(const void *)wire, n_fds, ret);
	(void)pthread_mutex_unlock(&arena.lock);
	return r;
}
