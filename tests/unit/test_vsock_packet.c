/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "device-procs/vsock/vsock_packet.h"

#define RAM_BYTES (1u << 20)
#define CID 42

static struct guest_memory *gm;
static struct span spans[8];

static void setup(void)
{
	const struct guest_region region = { 0, RAM_BYTES };

	cr_assert_eq(guest_memory_create(&region, 1, false, false, &gm), 0);
}

static void teardown(void)
{
	gm = guest_memory_free(gm);
}

TestSuite(vsock_packet, .init = setup, .fini = teardown);

/* A chain of buffers of these lengths, one after the other from 0x1000 on. */
static struct virtqueue_chain chain_of(enum span_direction direction, uint32_t n,
				       const uint32_t *lens)
{
	struct virtqueue_chain c = { .spans = spans, .n_spans_max = 8, .n_spans = n };
	uint64_t at = 0x1000;

	for (uint32_t i = 0; i < n; i++) {
		cr_assert_eq(guest_memory_span(gm, gpa(at), lens[i], direction, &spans[i]), 0);
		at += lens[i];
		if (direction == SPAN_DEVICE_READS)
			c.readable_len += lens[i];
		else
			c.writable_len += lens[i];
	}
	c.n_readable = direction == SPAN_DEVICE_READS ? n : 0;
	return c;
}

static int read_bytes(uint64_t src_cid, uint64_t dst_cid, uint16_t type, uint16_t op, uint32_t len,
		      uint32_t payload, struct vsock_packet *ret)
{
	struct vsock_packet p = { .src_cid = src_cid, .dst_cid = dst_cid, .src_port = 7,
				  .dst_port = 9, .len = len, .type = type, .op = op, .flags = 1,
				  .buf_alloc = 100, .fwd_cnt = 50 };
	const uint32_t lens[] = { VSOCK_HEADER_BYTES, payload };
	struct virtqueue_chain c = chain_of(SPAN_DEVICE_WRITES, 1, lens);

	vsock_packet_write(&c, &p);
	c = chain_of(SPAN_DEVICE_READS, payload > 0 ? 2 : 1, lens);
	return vsock_packet_read(&c, CID, ret);
}

Test(vsock_packet, what_is_written_is_read)
{
	struct vsock_packet p;

	cr_assert_eq(read_bytes(CID, 2, 1, VSOCK_OP_RW, 10, 10, &p), 0);
	cr_expect_eq(p.src_cid, CID);
	cr_expect_eq(p.dst_cid, 2);
	cr_expect_eq(p.src_port, 7);
	cr_expect_eq(p.dst_port, 9);
	cr_expect_eq(p.len, 10);
	cr_expect_eq(p.op, VSOCK_OP_RW);
	cr_expect_eq(p.flags, 1);
	cr_expect_eq(p.buf_alloc, 100);
	cr_expect_eq(p.fwd_cnt, 50);
}

Test(vsock_packet, foreign_cids_are_dropped)
{
	const uint64_t bad[] = { 0, 1, 3, 43, UINT64_C(1) << 32 | CID, UINT64_MAX };
	struct vsock_packet p;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		cr_expect_eq(read_bytes(bad[i], 2, 1, VSOCK_OP_RW, 0, 0, &p), VSOCK_PACKET_DROPPED);
		cr_expect_eq(read_bytes(CID, bad[i], 1, VSOCK_OP_RW, 0, 0, &p),
			     VSOCK_PACKET_DROPPED);
	}
}

Test(vsock_packet, types_ops_and_lengths_are_refused)
{
	struct vsock_packet p;

	cr_expect_eq(read_bytes(CID, 2, 0, VSOCK_OP_RW, 0, 0, &p), VSOCK_PACKET_REFUSED);
	cr_expect_eq(read_bytes(CID, 2, 2, VSOCK_OP_RW, 0, 0, &p), VSOCK_PACKET_REFUSED);
	cr_expect_eq(read_bytes(CID, 2, 1, 0, 0, 0, &p), VSOCK_PACKET_REFUSED);
	cr_expect_eq(read_bytes(CID, 2, 1, 8, 0, 0, &p), VSOCK_PACKET_REFUSED);
	cr_expect_eq(read_bytes(CID, 2, 1, VSOCK_OP_RW, 11, 10, &p), VSOCK_PACKET_REFUSED);
	cr_expect_eq(read_bytes(CID, 2, 1, VSOCK_OP_RW, UINT32_MAX, 10, &p),
		     VSOCK_PACKET_REFUSED);
	cr_expect_eq(read_bytes(CID, 2, 1, VSOCK_OP_SHUTDOWN, 1, 10, &p), VSOCK_PACKET_REFUSED);
	cr_expect_eq(read_bytes(CID, 2, 1, VSOCK_OP_RW, 5, 10, &p), 0, "more than is said is fine");
}

Test(vsock_packet, short_and_bad_chains_are_dropped)
{
	const uint32_t short_one[] = { VSOCK_HEADER_BYTES - 1 }, whole[] = { VSOCK_HEADER_BYTES };
	struct virtqueue_chain c = chain_of(SPAN_DEVICE_READS, 1, short_one);
	struct vsock_packet p;

	cr_expect_eq(vsock_packet_read(&c, CID, &p), VSOCK_PACKET_DROPPED);
	c = chain_of(SPAN_DEVICE_READS, 0, NULL);
	cr_expect_eq(vsock_packet_read(&c, CID, &p), VSOCK_PACKET_DROPPED);
	c = chain_of(SPAN_DEVICE_READS, 1, whole);
	c.is_bad = true;
	cr_expect_eq(vsock_packet_read(&c, CID, &p), VSOCK_PACKET_DROPPED);
}

Test(vsock_packet, payload_skips_the_header_wherever_it_ends)
{
	struct span out[8];

	for (uint32_t first = 1; first <= 60; first++) {
		const uint32_t lens[] = { first, 30, 100 };
		struct virtqueue_chain c = chain_of(SPAN_DEVICE_READS, 3, lens);
		uint32_t total = first + 130 - VSOCK_HEADER_BYTES, sum = 0, n;

		n = vsock_packet_payload(&c, false, UINT32_MAX, out);
		for (uint32_t i = 0; i < n; i++)
			sum += span_len(&out[i]);
		cr_expect_eq(sum, total, "first %u: %u of %u", first, sum, total);
		n = vsock_packet_payload(&c, false, 17, out);
		for (sum = 0; n > 0; n--)
			sum += span_len(&out[n - 1]);
		cr_expect_eq(sum, 17);
	}
}

Test(vsock_packet, room)
{
	const uint32_t lens[] = { 43, 1, 10 };
	struct virtqueue_chain c = chain_of(SPAN_DEVICE_WRITES, 3, lens);

	cr_expect(vsock_packet_can_hold(&c));
	cr_expect_eq(vsock_packet_room(&c), 10);
	c = chain_of(SPAN_DEVICE_WRITES, 1, lens);
	cr_expect_not(vsock_packet_can_hold(&c));
	cr_expect_eq(vsock_packet_room(&c), 0);
	c = chain_of(SPAN_DEVICE_WRITES, 3, lens);
	c.is_poisoned = true;
	cr_expect_not(vsock_packet_can_hold(&c));
}

Test(vsock_packet, commands)
{
	static const struct {
		const char *text;
		int result;
		uint32_t port;
	} cases[] = {
		{ "CONNECT 52\n", 0, 52 },
		{ "connect 52\nmore", 0, 52 },
		{ "  CoNnEcT\t  7 \r\n", 0, 7 },
		{ "CONNECT 0\n", 0, 0 },
		{ "CONNECT 4294967295\n", 0, UINT32_MAX },
		{ "CONNECT 4294967296\n", VSOCK_COMMAND_BAD, 0 },
		{ "CONNECT 99999999999999999999\n", VSOCK_COMMAND_BAD, 0 },
		{ "CONNECT\n", VSOCK_COMMAND_BAD, 0 },
		{ "CONNECT \n", VSOCK_COMMAND_BAD, 0 },
		{ "CONNECT52\n", VSOCK_COMMAND_BAD, 0 },
		{ "CONNECT -1\n", VSOCK_COMMAND_BAD, 0 },
		{ "CONNECT 5x\n", VSOCK_COMMAND_BAD, 0 },
		{ "CONNECT 5 6\n", VSOCK_COMMAND_BAD, 0 },
		{ "CONNECT 0x5\n", VSOCK_COMMAND_BAD, 0 },
		{ "\n", VSOCK_COMMAND_BAD, 0 },
		{ "", VSOCK_COMMAND_PARTIAL, 0 },
		{ "CONNECT 5", VSOCK_COMMAND_PARTIAL, 0 },
		{ "CONNECT 5                       ", VSOCK_COMMAND_BAD, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint32_t port = 0, len = 0;
		int r = vsock_command_parse(cases[i].text, (uint32_t)strlen(cases[i].text), &port,
					    &len);

		cr_expect_eq(r, cases[i].result, "'%s': %d", cases[i].text, r);
		if (r == 0) {
			cr_expect_eq(port, cases[i].port);
			cr_expect_eq(cases[i].text[len - 1], '\n');
		}
	}
}
