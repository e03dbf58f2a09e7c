/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers and rings of vsock that break rules; see hostile_vsock.h. */
#include "hostile_vsock.h"

#define HOLE 0xfff00000000ull /* nothing is there */

/* ---- chains of the TX queue ---- */

enum shape {
	SHAPE_EMPTY,
	SHAPE_SHORT_1,
	SHAPE_SHORT_43,
	SHAPE_WRITABLE,
	SHAPE_HEADER_WRITABLE,
	SHAPE_NOT_RAM,
	SHAPE_REGISTERS,
	SHAPE_WRAPS,
	SHAPE_PAYLOAD_NOT_RAM,
	SHAPE_PAYLOAD_REGISTERS,
	SHAPE_PAYLOAD_LONG,
	SHAPE_PAYLOAD_WRITABLE,
	SHAPE_MANY_EMPTY,
};

static const struct {
	const char *name, *rule;
	enum shape shape;
} shapes[] = {
	{ "packet of 0 bytes", "row 9", SHAPE_EMPTY },
	{ "packet of 1 byte", "row 9", SHAPE_SHORT_1 },
	{ "packet of 43 bytes", "row 9", SHAPE_SHORT_43 },
	{ "packet in a writable buffer", "row 10", SHAPE_WRITABLE },
	{ "packet of 20 readable and 24 writable bytes", "row 10", SHAPE_HEADER_WRITABLE },
	{ "packet where nothing is", "row 12", SHAPE_NOT_RAM },
	{ "packet in the device's registers", "row 23", SHAPE_REGISTERS },
	{ "packet that wraps around", "row 12", SHAPE_WRAPS },
	{ "payload where nothing is", "row 12", SHAPE_PAYLOAD_NOT_RAM },
	{ "payload in the device's registers", "row 23", SHAPE_PAYLOAD_REGISTERS },
	{ "payload of 2^31 bytes", "row 8", SHAPE_PAYLOAD_LONG },
	{ "payload in a writable buffer", "row 10", SHAPE_PAYLOAD_WRITABLE },
	{ "packet with 200 empty buffers", "row 1", SHAPE_MANY_EMPTY },
};

static unsigned make_shape(struct vconn *c, enum shape shape, struct part *parts)
{
	struct vsock_header *h = hv.tx_header;
	const void *regs = (const void *)(hv.dev->is_pci ? hv.dev->common : hv.dev->mmio);

	*h = vsock_make(&hv, VSOCK_RW, c->guest_port, c->host_port);
	h->len = 10;
	parts[0] = (struct part){ h, VSOCK_HEADER_BYTES, false };
	parts[1] = (struct part){ hv.tx_data, 10, false };
	switch (shape) {
	case SHAPE_EMPTY:
		parts[0].len = 0;
		return 1;
	case SHAPE_SHORT_1:
		parts[0].len = 1;
		return 1;
	case SHAPE_SHORT_43:
		parts[0].len = 43;
		return 1;
	case SHAPE_WRITABLE:
		parts[0].is_writable = true;
		return 1;
	case SHAPE_HEADER_WRITABLE:
		parts[0].len = 20;
		parts[1] = (struct part){ (uint8_t *)h + 20, 24, true };
		return 2;
	case SHAPE_NOT_RAM:
		parts[0].addr = (const void *)HOLE;
		return 1;
	case SHAPE_REGISTERS:
		parts[0].addr = regs;
		return 1;
	case SHAPE_WRAPS:
		parts[0].addr = (const void *)~15ull;
		return 1;
	case SHAPE_PAYLOAD_NOT_RAM:
		parts[1].addr = (const void *)HOLE;
		return 2;
	case SHAPE_PAYLOAD_REGISTERS:
		parts[1].addr = regs;
		return 2;
	case SHAPE_PAYLOAD_LONG:
		parts[1].len = 1u << 31;
		return 2;
	case SHAPE_PAYLOAD_WRITABLE:
		parts[1].is_writable = true;
		return 2;
	case SHAPE_MANY_EMPTY:
		for (unsigned i = 2; i < 202; i++)
			parts[i] = (struct part){ hv.tx_data, 0, false };
		return 202;
	}
	return 0;
}

/* Whatever becomes of the packet: its chain comes back unwritten, and others are not touched. */
static const char *shape_case(uint64_t shape)
{
	struct vring_used_elem elem;
	struct part parts[256];
	struct vconn c;

	EXPECT_OK(hv_connect(&c, PEER_NEVER_READ));
	vq_chain(&hv.tx, 0, parts, make_shape(&c, (enum shape)shape, parts));
	vq_push(&hv.tx, 0);
	vq_kick(&hv.tx);
	EXPECT(vq_wait(&hv.tx, TIMEOUT_REQUEST, &elem), "it is not given back");
	EXPECT(elem.id == 0 && elem.len == 0, "used id %u, length %u", elem.id, elem.len);
	EXPECT(vconn_send(&c, VSOCK_RST, 0, 0), "RST is not taken");
	return NULL;
}

/* ---- buffers of the RX queue ---- */

enum buffer {
	BUFFER_1,
	BUFFER_43,
	BUFFER_READABLE,
	BUFFER_NOT_RAM,
	BUFFER_REGISTERS,
	BUFFER_WRAPS,
	BUFFER_HALF_RAM,
	BUFFER_EMPTY,
};

static const struct {
	const char *name, *rule;
	enum buffer buffer;
} buffers[] = {
	{ "receive buffer of 1 byte", "row 9", BUFFER_1 },
	{ "receive buffer of 43 bytes", "row 9", BUFFER_43 },
	{ "receive buffer that is readable", "row 10", BUFFER_READABLE },
	{ "receive buffer where nothing is", "row 12", BUFFER_NOT_RAM },
	{ "receive buffer in the device's registers", "row 23", BUFFER_REGISTERS },
	{ "receive buffer that wraps around", "row 12", BUFFER_WRAPS },
	{ "receive buffer of which half is RAM", "row 12", BUFFER_HALF_RAM },
	{ "receive buffer of 0 bytes", "row 9", BUFFER_EMPTY },
};

static unsigned make_buffer(enum buffer buffer, uint8_t *data, struct part *parts)
{
	const void *regs = (const void *)(hv.dev->is_pci ? hv.dev->common : hv.dev->mmio);

	parts[0] = (struct part){ data, 4096, true };
	parts[1] = (struct part){ (const void *)HOLE, 4096, true };
	switch (buffer) {
	case BUFFER_1:
		parts[0].len = 1;
		return 1;
	case BUFFER_43:
		parts[0].len = 43;
		return 1;
	case BUFFER_READABLE:
		parts[0].is_writable = false;
		return 1;
	case BUFFER_NOT_RAM:
		parts[0].addr = (const void *)HOLE;
		return 1;
	case BUFFER_REGISTERS:
		parts[0].addr = regs;
		return 1;
	case BUFFER_WRAPS:
		parts[0].addr = (const void *)~15ull;
		return 1;
	case BUFFER_HALF_RAM:
		return 2;
	case BUFFER_EMPTY:
		parts[0].len = 0;
		return 1;
	}
	return 0;
}

/* The bad buffer comes back empty, and the answer goes to a good one behind it. */
static const char *buffer_case(uint64_t buffer)
{
	uint8_t *bad = memory_alloc(4096, 64), *good = memory_alloc(4096, 64);
	struct part parts[2], fine = { good, 4096, true };
	struct vring_used_elem elem;
	struct vconn c;

	memset(bad, 0xc7, 4096);
	EXPECT(vsock_start(&hv, hv.dev, FEATURE_INDIRECT, 0, 4096), "it does not start");
	vq_chain(&hv.rx, 0, parts, make_buffer((enum buffer)buffer, bad, parts));
	vq_chain(&hv.rx, 4, &fine, 1);
	vq_push(&hv.rx, 0);
	vq_push(&hv.rx, 4);
	vconn_make(&c, &hv, PEER_NOBODY);
	EXPECT(vconn_send(&c, VSOCK_REQUEST, 0, 0), "REQUEST is not taken");
	EXPECT(vq_wait(&hv.rx, TIMEOUT_REQUEST, &elem) && elem.id == 0 && elem.len == 0,
	       "the bad buffer: used id %u, length %u", elem.id, elem.len);
	EXPECT(vq_wait(&hv.rx, TIMEOUT_REQUEST, &elem) && elem.id == 4 &&
		       elem.len == VSOCK_HEADER_BYTES,
	       "the good buffer: used id %u, length %u", elem.id, elem.len);
	EXPECT(((struct vsock_header *)good)->op == VSOCK_RST, "no RST in it");
	for (unsigned i = 0; i < 4096; i++)
		EXPECT(bad[i] == 0xc7, "byte %u of the bad buffer was written", i);
	return hv_start();
}

/* Room for a header and no payload: such buffers come back empty until a better one is there. */
static const char *no_payload_room_case(uint64_t len)
{
	uint8_t *small = memory_alloc(4096, 64), *good = memory_alloc(4096, 64);
	struct part part = { small, (uint32_t)len, true }, fine = { good, 4096, true };
	struct vring_used_elem elem;
	struct vconn c;

	EXPECT(vsock_start(&hv, hv.dev, 0, 0, 4096), "it does not start");
	for (uint16_t i = 0; i < 4; i++) {
		vq_chain(&hv.rx, i, &part, 1);
		vq_push(&hv.rx, i);
	}
	vconn_make(&c, &hv, 6 /* talks first */);
	EXPECT(vconn_send(&c, VSOCK_REQUEST, 0, 0), "REQUEST is not taken");
	vq_chain(&hv.rx, 8, &fine, 1);
	vq_push(&hv.rx, 8);
	vq_kick(&hv.rx);
	do
		EXPECT(vq_wait(&hv.rx, TIMEOUT_REQUEST, &elem), "nothing comes");
	while (elem.id != 8);
	EXPECT(((struct vsock_header *)good)->op == VSOCK_RW, "op %u in the good buffer",
	       ((struct vsock_header *)good)->op);
	return hv_start();
}

/* ---- rings ---- */

enum ring_break {
	RING_HEAD,
	RING_JUMP,
	RING_LOOP,
	RING_NEXT,
	RING_INDIRECT_ODD,
	RING_INDIRECT_NESTED,
	RING_WRITE_FIRST,
};

static const struct {
	const char *name, *rule;
	enum ring_break how;
} breaks[] = {
	{ "head outside the queue", "row 2", RING_HEAD },
	{ "available index that jumps", "row 4", RING_JUMP },
	{ "descriptors in a loop", "row 1", RING_LOOP },
	{ "next outside the queue", "row 2", RING_NEXT },
	{ "indirect table of 17 bytes", "row 11", RING_INDIRECT_ODD },
	{ "nested indirect table", "row 11", RING_INDIRECT_NESTED },
	{ "readable behind writable", "row 10", RING_WRITE_FIRST },
};

static void break_ring(struct vq *vq, enum ring_break how)
{
	struct vring_desc *table = memory_alloc(64, 16);

	switch (how) {
	case RING_HEAD:
		vq_push(vq, vq->size);
		return;
	case RING_JUMP:
		vq->avail_idx = (uint16_t)(vq->avail_idx + vq->size + 1);
		vq_publish(vq);
		return;
	case RING_LOOP:
		vq_desc(vq, 200, table, 16, DESC_NEXT, 201);
		vq_desc(vq, 201, table, 16, DESC_NEXT, 200);
		break;
	case RING_NEXT:
		vq_desc(vq, 200, table, 16, DESC_NEXT, vq->size);
		break;
	case RING_INDIRECT_ODD:
		vq_desc(vq, 200, table, 17, DESC_INDIRECT, 0);
		break;
	case RING_INDIRECT_NESTED:
		table[0] = (struct vring_desc){ (uint64_t)table, 16, DESC_INDIRECT, 0 };
		vq_desc(vq, 200, table, 16, DESC_INDIRECT, 0);
		break;
	case RING_WRITE_FIRST:
		vq_desc(vq, 200, table, 16, DESC_NEXT | DESC_WRITE, 201);
		vq_desc(vq, 201, table, 16, 0, 0);
		break;
	}
	vq_push(vq, 200);
}

static const char *tx_break_case(uint64_t how)
{
	break_ring(&hv.tx, (enum ring_break)how);
	vq_kick(&hv.tx);
	return hv_needs_reset();
}

/* Buffers of the RX queue are looked at when there is something for them. */
static const char *rx_break_case(uint64_t how)
{
	struct vconn c;

	EXPECT(vsock_start(&hv, hv.dev, FEATURE_INDIRECT, 0, 4096), "it does not start");
	break_ring(&hv.rx, (enum ring_break)how);
	vq_kick(&hv.rx);
	vconn_make(&c, &hv, PEER_NOBODY);
	(void)vconn_send(&c, VSOCK_REQUEST, 0, 0);
	return hv_needs_reset();
}

void hostile_vsock_ring(void)
{
	for (unsigned i = 0; i < ARRAY_LEN(shapes); i++)
		hv_case(shape_case, shapes[i].shape, shapes[i].rule, "%s", shapes[i].name);
	for (unsigned i = 0; i < ARRAY_LEN(buffers); i++)
		hv_case(buffer_case, buffers[i].buffer, buffers[i].rule, "%s", buffers[i].name);
	hv_case(no_payload_room_case, 44, "row 9", "receive buffers of 44 bytes for data");
	for (unsigned i = 0; i < ARRAY_LEN(breaks); i++)
		hv_case(tx_break_case, breaks[i].how, breaks[i].rule, "transmit queue: %s",
			breaks[i].name);
	for (unsigned i = 0; i < ARRAY_LEN(breaks); i++)
		hv_case(rx_break_case, breaks[i].how, breaks[i].rule, "receive queue: %s",
			breaks[i].name);
}
