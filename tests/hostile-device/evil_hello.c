/* SPDX-License-Identifier: Apache-2.0 */
/* HELLOs that are wrong, for the step "hello". */
#include <string.h>

#include "evil.h"

static struct wire wire, body;

/* The honest one byte by byte, so that every number can be one that the codec refuses. */
struct raw_hello {
	uint64_t protocol, type, features, n_queues, queue_size;
	size_t config_len, writable_len;
};

#define HONEST                                                                                     \
	{                                                                                          \
		.protocol = PROTOCOL_VERSION, .type = DEVICE_TYPE_BLK,                             \
		.features = VIRTIO_F_VERSION_1_BIT, .n_queues = 1, .queue_size = 128,              \
		.config_len = EVIL_CONFIG_LEN,                                                     \
	}

static enum evil_next send_raw(struct evil *e, const struct raw_hello *h)
{
	static uint8_t bytes[MESSAGE_FRAME_MAX];

	body.len = 0;
	wire_number(&body, 1, h->protocol);
	wire_number(&body, 2, h->type);
	wire_number(&body, 3, h->features);
	wire_number(&body, 4, h->n_queues);
	wire_number(&body, 5, h->queue_size);
	if (h->config_len > 0)
		wire_bytes(&body, 6, bytes, h->config_len);
	if (h->writable_len > 0)
		wire_bytes(&body, 7, bytes, h->writable_len);
	wire_envelope(e, &wire, 0);
	wire_wrap(&wire, 17, &body);
	evil_send_wire(&wire);
	return NEXT_SKIP;
}

#define HELLO(name, field, value)                                                                  \
	static enum evil_next act_##name(struct evil *e)                                           \
	{                                                                                          \
		struct raw_hello h = HONEST;                                                       \
                                                                                                   \
		h.field = (value);                                                                 \
		return send_raw(e, &h);                                                            \
	}

HELLO(honest, protocol, PROTOCOL_VERSION)
HELLO(protocol, protocol, PROTOCOL_VERSION + 1)
HELLO(protocol_none, protocol, 0)
HELLO(type_vsock, type, DEVICE_TYPE_VSOCK)
HELLO(type_none, type, 0)
HELLO(type_unknown, type, 77)
HELLO(features_none, features, 0)
HELLO(features_all, features, UINT64_MAX)
HELLO(queues_none, n_queues, 0)
HELLO(queues_65, n_queues, 65)
HELLO(queues_huge, n_queues, UINT32_MAX)
HELLO(queues_wrap, n_queues, (UINT64_C(1) << 32) + 1)
HELLO(size_none, queue_size, 0)
HELLO(size_3, queue_size, 3)
HELLO(size_2048, queue_size, 2048)
HELLO(size_huge, queue_size, UINT64_C(1) << 31)
HELLO(config_257, config_len, 257)
HELLO(config_60000, config_len, 60000)
HELLO(writable_257, writable_len, 257)
HELLO(writable_beyond, writable_len, EVIL_CONFIG_LEN + 1)

static enum evil_next act_twice(struct evil *e)
{
	evil_hello(e);
	evil_hello(e);
	return NEXT_SKIP;
}

static enum evil_next act_again(struct evil *e)
{
	evil_hello(e);
	return NEXT_GO_ON;
}

static enum evil_next skip(struct evil *e)
{
	(void)e;
	return NEXT_SKIP;
}

/* READY follows at once, without waiting for SETUP, and not where it belongs. */
static enum evil_next act_ready_at_once(struct evil *e)
{
	evil_hello(e);
	evil_send_empty(e, MESSAGE_READY);
	e->step = STEP_MAPPED;
	e->action = skip;
	return NEXT_SKIP;
}

const struct evil_action evil_hello_actions[] = {
	{ "honest", act_honest, true },
	{ "protocol", act_protocol, true },
	{ "protocol-none", act_protocol_none, true },
	{ "type-vsock", act_type_vsock, true },
	{ "type-none", act_type_none, true },
	{ "type-unknown", act_type_unknown, true },
	{ "features-none", act_features_none, true },
	{ "features-all", act_features_all, true },
	{ "queues-none", act_queues_none, true },
	{ "queues-65", act_queues_65, true },
	{ "queues-huge", act_queues_huge, true },
	{ "queues-wrap", act_queues_wrap, true },
	{ "size-none", act_size_none, true },
	{ "size-3", act_size_3, true },
	{ "size-2048", act_size_2048, true },
	{ "size-huge", act_size_huge, true },
	{ "config-257", act_config_257, true },
	{ "config-60000", act_config_60000, true },
	{ "writable-257", act_writable_257, true },
	{ "writable-beyond", act_writable_beyond, true },
	{ "twice", act_twice, true },
	{ "again", act_again, true },
	{ "ready-at-once", act_ready_at_once, true },
	{ 0 },
};
