/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain struct -> frame. Runs in every process; the input is our own, so a value that a row of
 * message_table.c does not permit is a bug of the caller and is reported, not sent.
 *
 * The wire structs are built on the stack: they hold pointers into the plain struct, so nothing
 * but numbers and pointers is copied before protobuf-c writes the frame.
 */
#include "ipc/message.h"

#include <string.h>

#include "envelope.pb-c.h"
#include "ipc/message_codec.h"

/* The largest message, a CORE_START with 16 NICs, needs 13 KiB; test_message.c encodes it. */
#define SCRATCH_BYTES 16384u

struct scratch {
	size_t used;
	uint8_t bytes[SCRATCH_BYTES] __attribute__((aligned(16)));
};

static int scratch_take(struct scratch *s, size_t size, void **ret)
{
	size_t rounded = (size + 15u) & ~(size_t)15u;

	if (rounded > sizeof(s->bytes) - s->used)
		return -EMSGSIZE;
	*ret = s->bytes + s->used;
	s->used += rounded;
	return 0;
}

static int encode_struct(struct scratch *s, const struct codec_struct *layout, const void *plain,
			 ProtobufCMessage **ret);

static int encode_number(const struct codec_field *f, const void *plain, void *wire)
{
	uint32_t v32;
	uint64_t v64;

	if (f->kind == CODEC_KIND_U64) {
		memcpy(&v64, plain, sizeof(v64));
		if (!codec_number_ok(f, v64))
			return -EINVAL;
		memcpy(wire, &v64, sizeof(v64));
		return 0;
	}
	memcpy(&v32, plain, sizeof(v32));
	if (!codec_number_ok(f, v32)) /* a negative I32 is above every maximum */
		return -EINVAL;
	memcpy(wire, &v32, sizeof(v32));
	return 0;
}

static int encode_string(const struct codec_field *f, const char *plain, char **wire)
{
	size_t len = strnlen(plain, f->cap);

	if (!codec_string_ok(f, plain, len))
		return -EINVAL;
	*wire = (char *)(uintptr_t)plain; /* protobuf-c only reads it */
	return 0;
}

static int encode_count(const struct codec_field *f, const void *plain, uint32_t *ret)
{
	uint32_t n;

	memcpy(&n, codec_at(plain, f->plain_n), sizeof(n));
	if (n < f->min || n > f->cap)
		return -EINVAL;
	*ret = n;
	return 0;
}

static int encode_array(const struct codec_field *f, const void *plain, ProtobufCMessage *wire)
{
	void *elements = (void *)(uintptr_t)codec_at(plain, f->plain); /* only read, as above */
	uint32_t n;
	int r;

	r = encode_count(f, plain, &n);
	if (r != 0)
		return r;
	if (f->kind == CODEC_KIND_BYTES) {
		*(ProtobufCBinaryData *)codec_at_mut(wire, f->wire) =
			(ProtobufCBinaryData){ .len = n, .data = elements };
	} else {
		*(size_t *)codec_at_mut(wire, f->wire_n) = n;
		*(uint64_t **)codec_at_mut(wire, f->wire) = elements;
	}
	return 0;
}

static int encode_structs(struct scratch *s, const struct codec_field *f, const void *plain,
			  ProtobufCMessage *wire)
{
	const uint8_t *element = codec_at(plain, f->plain);
	ProtobufCMessage **list;
	void *room;
	uint32_t n;
	int r;

	r = encode_count(f, plain, &n);
	if (r != 0)
		return r;
	r = scratch_take(s, n * sizeof(*list), &room);
	if (r != 0)
		return r;
	list = room;
	for (uint32_t i = 0; i < n; i++) {
		r = encode_struct(s, f->sub, element + (size_t)i * f->sub->plain_size, &list[i]);
		if (r != 0)
			return r;
	}
	*(size_t *)codec_at_mut(wire, f->wire_n) = n;
	*(ProtobufCMessage ***)codec_at_mut(wire, f->wire) = list;
	return 0;
}

static int encode_field(struct scratch *s, const struct codec_field *f, const void *plain,
			ProtobufCMessage *wire)
{
	const void *from = codec_at(plain, f->plain);
	void *to = codec_at_mut(wire, f->wire);

	switch (f->kind) {
	case CODEC_KIND_U32:
	case CODEC_KIND_I32:
	case CODEC_KIND_U64:
	case CODEC_KIND_ENUM:
		return encode_number(f, from, to);
	case CODEC_KIND_BOOL:
		*(protobuf_c_boolean *)to = *(const bool *)from;
		return 0;
	case CODEC_KIND_NAME:
	case CODEC_KIND_TEXT:
	case CODEC_KIND_RAW:
		return encode_string(f, from, to);
	case CODEC_KIND_BYTES:
	case CODEC_KIND_U64S:
		return encode_array(f, plain, wire);
	case CODEC_KIND_STRUCT:
		if (!codec_wanted(f, plain))
			return 0;
		return encode_struct(s, f->sub, from, to);
	case CODEC_KIND_STRUCTS:
		return encode_structs(s, f, plain, wire);
	}
	return -EINVAL;
}

static int encode_struct(struct scratch *s, const struct codec_struct *layout, const void *plain,
			 ProtobufCMessage **ret)
{
	ProtobufCMessage *wire;
	void *room;
	int r;

	r = scratch_take(s, layout->wire->sizeof_message, &room);
	if (r != 0)
		return r;
	wire = room;
	protobuf_c_message_init(layout->wire, wire);
	for (uint32_t i = 0; i < layout->n_fields; i++) {
		r = encode_field(s, &layout->fields[i], plain, wire);
		if (r != 0)
			return r;
	}
	if (layout->check != NULL && !layout->check(plain))
		return -EINVAL;
	*ret = wire;
	return 0;
}

int message_encode(const struct message *m, uint8_t *buf, size_t *ret_len)
{
	const struct codec_type *type = codec_type_get(m->type);
	Bulkhead__Envelope envelope = BULKHEAD__ENVELOPE__INIT;
	ProtobufCMessage *body;
	/* What is taken of it is written first; to zero it all would keep four pages of stack. */
	struct scratch s __attribute__((uninitialized));
	int r;

	if (type == NULL)
		return -EINVAL;
	s.used = 0;
	/* All members of the union start at the same address. */
	r = encode_struct(&s, type->layout, &m->reply, &body);
	if (r != 0)
		return r;
	envelope.generation = m->generation;
	envelope.seq = m->seq;
	envelope.body_case = (Bulkhead__Envelope__BodyCase)type->body;
	envelope.ready = (Bulkhead__Empty *)(void *)body; /* as above: a union of pointers */
	if (protobuf_c_message_get_packed_size(&envelope.base) > MESSAGE_FRAME_MAX)
		return -EMSGSIZE;
	*ret_len = protobuf_c_message_pack(&envelope.base, buf);
	return 0;
}
