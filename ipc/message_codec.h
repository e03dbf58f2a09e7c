/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables between the plain structs of message.h and the generated wire structs.
 *
 * Private to message.c, message_table.c, message_encode.c and message_decode.c. One row per field
 * names the field on both sides and its permitted values; the encoder and the decoder walk the
 * same rows, so what one refuses the other never sends. The macros compare the C types of both
 * sides at compile time: a row cannot copy between fields of different types.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "ipc/message.h"

enum codec_kind {
	CODEC_KIND_U32, /* min..max */
	CODEC_KIND_I32, /* min..max, never negative */
	CODEC_KIND_U64, /* min..max */
	CODEC_KIND_BOOL,
	CODEC_KIND_ENUM, /* bit v of max: value v is defined */
	CODEC_KIND_NAME, /* [A-Za-z0-9][A-Za-z0-9._-]*, < cap bytes; empty when min is 0 */
	CODEC_KIND_TEXT, /* < cap bytes; decoded to printable ASCII, the rest becomes '?' */
	CODEC_KIND_RAW, /* < cap bytes, anything but NUL */
	CODEC_KIND_BYTES, /* <= cap bytes, length in the plain field at plain_n */
	CODEC_KIND_U64S, /* <= cap values, count at plain_n */
	CODEC_KIND_STRUCT, /* one struct of type sub; present when plain_n (u32) is max, or always */
	CODEC_KIND_STRUCTS, /* min..cap structs of type sub, count at plain_n */
};

#define CODEC_ALWAYS UINT16_MAX /* plain_n of a CODEC_KIND_STRUCT without condition */

struct codec_struct;

struct codec_field {
	enum codec_kind kind;
	uint16_t wire; /* offset in the generated struct */
	uint16_t wire_n; /* offset of its element count */
	uint16_t plain; /* offset in the plain struct */
	uint16_t plain_n;
	uint32_t cap;
	uint64_t min, max;
	const struct codec_struct *sub;
};

struct codec_struct {
	const ProtobufCMessageDescriptor *wire;
	const struct codec_field *fields;
	uint32_t n_fields;
	uint32_t plain_size;
	bool (*check)(const void *plain); /* what no single row can say; NULL: nothing */
};

struct codec_type {
	const char *name;
	uint32_t body; /* field number in Envelope.body; 0: not a message */
	const struct codec_struct *layout;
};

/** codec_type_get() - the row of @type; NULL when it is no message */
const struct codec_type *codec_type_get(enum message_type type);

/** codec_type_of_body() - the type whose field number in Envelope.body is @body, or NONE */
enum message_type codec_type_of_body(uint32_t body);

/** codec_number_ok() - is @v permitted for this U32, I32, U64 or ENUM field? */
bool codec_number_ok(const struct codec_field *f, uint64_t v);

/** codec_string_ok() - is @s of @len bytes (no NUL among them) permitted for this field? */
bool codec_string_ok(const struct codec_field *f, const char *s, size_t len);

/** codec_wanted() - must this CODEC_KIND_STRUCT be present, by the plain fields before it? */
bool codec_wanted(const struct codec_field *f, const void *plain);

/* Wire and plain structs are walked by offset; the tables guarantee the type. */
static inline const void *codec_at(const void *base, uint16_t offset)
{
	return (const uint8_t *)base + offset;
}

static inline void *codec_at_mut(void *base, uint16_t offset)
{
	return (uint8_t *)base + offset;
}

/*
 * Row macros. WIRE and PLAIN name the two struct types while a table is written; fields have the
 * same name on both sides.
 */
#define CODEC_FIELD_(type, field) (((type *)0)->field)
#define CODEC_SAME_(expr, as) __builtin_types_compatible_p(__typeof__(expr), as)
#define CODEC_ASSERT_(cond) (0 * sizeof(char[(cond) ? 1 : -1]))
#define CODEC_SCALAR_(knd, field, as, lo, hi)                                                     \
	{                                                                                         \
		.kind = (knd), .min = (lo), .max = (hi),                                          \
		.wire = offsetof(WIRE, field) +                                                   \
			CODEC_ASSERT_(CODEC_SAME_(CODEC_FIELD_(WIRE, field), as)),                \
		.plain = offsetof(PLAIN, field) +                                                 \
			 CODEC_ASSERT_(CODEC_SAME_(CODEC_FIELD_(PLAIN, field), as)),              \
	}
#define CODEC_STRING_(knd, field, lo)                                                             \
	{                                                                                         \
		.kind = (knd), .min = (lo), .cap = sizeof(CODEC_FIELD_(PLAIN, field)),            \
		.wire = offsetof(WIRE, field) +                                                   \
			CODEC_ASSERT_(CODEC_SAME_(CODEC_FIELD_(WIRE, field), char *)),            \
		.plain = offsetof(PLAIN, field) +                                                 \
			 CODEC_ASSERT_(CODEC_SAME_(&CODEC_FIELD_(PLAIN, field)[0], char *)),      \
	}
#define CODEC_LIST_(knd, field, n, lo)                                                            \
	.kind = (knd), .min = (lo), .cap = ARRAY_LEN(CODEC_FIELD_(PLAIN, field)),                 \
	.wire = offsetof(WIRE, field), .plain = offsetof(PLAIN, field),                           \
	.plain_n = offsetof(PLAIN, n) +                                                           \
		   CODEC_ASSERT_(CODEC_SAME_(CODEC_FIELD_(PLAIN, n), uint32_t))

#define CODEC_U32(field, lo, hi) CODEC_SCALAR_(CODEC_KIND_U32, field, uint32_t, lo, hi)
#define CODEC_I32(field, hi) CODEC_SCALAR_(CODEC_KIND_I32, field, int32_t, 0, hi)
#define CODEC_U64(field, lo, hi) CODEC_SCALAR_(CODEC_KIND_U64, field, uint64_t, lo, hi)
#define CODEC_ANY32(field) CODEC_U32(field, 0, UINT32_MAX)
#define CODEC_ANY64(field) CODEC_U64(field, 0, UINT64_MAX)
#define CODEC_BOOL(field)                                                                         \
	{                                                                                         \
		.kind = CODEC_KIND_BOOL,                                                          \
		.wire = offsetof(WIRE, field) +                                                   \
			CODEC_ASSERT_(CODEC_SAME_(CODEC_FIELD_(WIRE, field), protobuf_c_boolean)), \
		.plain = offsetof(PLAIN, field) +                                                 \
			 CODEC_ASSERT_(CODEC_SAME_(CODEC_FIELD_(PLAIN, field), bool)),            \
	}
/* Enums of both sides are different types of the size of int; their values are the same. */
#define CODEC_ENUM(field, mask)                                                                   \
	{                                                                                         \
		.kind = CODEC_KIND_ENUM, .max = (mask),                                           \
		.wire = offsetof(WIRE, field) +                                                   \
			CODEC_ASSERT_(sizeof(CODEC_FIELD_(WIRE, field)) == sizeof(uint32_t)),     \
		.plain = offsetof(PLAIN, field) +                                                 \
			 CODEC_ASSERT_(sizeof(CODEC_FIELD_(PLAIN, field)) == sizeof(uint32_t)),   \
	}
#define CODEC_NAME(field) CODEC_STRING_(CODEC_KIND_NAME, field, 1)
#define CODEC_NAME_OR_EMPTY(field) CODEC_STRING_(CODEC_KIND_NAME, field, 0)
#define CODEC_TEXT(field) CODEC_STRING_(CODEC_KIND_TEXT, field, 0)
#define CODEC_RAW(field) CODEC_STRING_(CODEC_KIND_RAW, field, 0)
#define CODEC_BYTES(field, n)                                                                     \
	{                                                                                         \
		CODEC_LIST_(CODEC_KIND_BYTES, field, n, 0),                                       \
		.wire_n = CODEC_ASSERT_(                                                          \
			CODEC_SAME_(CODEC_FIELD_(WIRE, field), ProtobufCBinaryData)),             \
	}
#define CODEC_U64S(field, n)                                                                      \
	{                                                                                         \
		CODEC_LIST_(CODEC_KIND_U64S, field, n, 0),                                        \
		.wire_n = offsetof(WIRE, n_##field) +                                             \
			  CODEC_ASSERT_(CODEC_SAME_(CODEC_FIELD_(WIRE, field), uint64_t *)),      \
	}
#define CODEC_STRUCT(field, layout)                                                               \
	{                                                                                         \
		.kind = CODEC_KIND_STRUCT, .plain_n = CODEC_ALWAYS, .sub = &(layout),             \
		.wire = offsetof(WIRE, field), .plain = offsetof(PLAIN, field),                   \
	}
#define CODEC_STRUCT_IF(field, layout, selector, value)                                           \
	{                                                                                         \
		.kind = CODEC_KIND_STRUCT, .plain_n = offsetof(PLAIN, selector),                  \
		.max = (value), .sub = &(layout),                                                 \
		.wire = offsetof(WIRE, field), .plain = offsetof(PLAIN, field),                   \
	}
#define CODEC_STRUCTS(field, n, layout, lo)                                                       \
	{                                                                                         \
		CODEC_LIST_(CODEC_KIND_STRUCTS, field, n, lo),                                    \
		.wire_n = offsetof(WIRE, n_##field), .sub = &(layout),                            \
	}
#define CODEC_LAYOUT(wire_desc, plain_type, rows, check_fn)                                       \
	{                                                                                         \
		.wire = &(wire_desc), .fields = (rows), .n_fields = ARRAY_LEN(rows),              \
		.plain_size = sizeof(plain_type), .check = (check_fn),                            \
	}
