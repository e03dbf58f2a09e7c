/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bulkhead-vsock parses: packet headers out of chains of any shape, CONNECT lines of host
 * clients, and records that a predecessor left. Whatever comes, credit stays within its bounds.
 *
 * Input: one byte that chooses, then the rest.
 */
#include "device-procs/vsock/vsock_store.h"
#include "device-procs/vsock/vsock_table.h"

#include "tests/fuzz/fuzz.h"

#define RAM (64u << 10)
#define CID 42
#define SPANS_MAX 16u

static struct guest_memory *gm;
static struct vsock_table table;

static void command(struct fuzz_reader *in)
{
	char text[VSOCK_COMMAND_MAX];
	uint32_t n = in->left < sizeof(text) ? (uint32_t)in->left : (uint32_t)sizeof(text);
	uint32_t port, len = 0;

	fuzz_bytes(in, text, n);
	if (vsock_command_parse(text, n, &port, &len) == 0)
		fuzz_check(len > 0 && len <= n && text[len - 1] == '\n');
}

static void packet(struct fuzz_reader *in)
{
	struct span spans[SPANS_MAX], payload[SPANS_MAX];
	struct virtqueue_chain c = { .spans = spans, .n_spans_max = SPANS_MAX };
	uint32_t n = fuzz_u8(in) % (SPANS_MAX + 1), i, sum = 0;
	struct vsock_packet p;
	int r;

	for (i = 0; i < n; i++) {
		uint32_t at = fuzz_u16(in), len = fuzz_u8(in) + 1u;
		uint8_t bytes[256];

		fuzz_bytes(in, bytes, len);
		if (guest_memory_write(gm, gpa(at), bytes, len) != 0 ||
		    guest_memory_span(gm, gpa(at), len, SPAN_DEVICE_READS, &spans[c.n_spans]) != 0)
			continue;
		c.n_spans++;
		c.readable_len += len;
	}
	c.n_readable = c.n_spans;
	r = vsock_packet_read(&c, CID, &p);
	fuzz_check(r != 0 || c.readable_len >= VSOCK_HEADER_BYTES);
	if (r != 0)
		return;
	fuzz_check(p.src_cid == CID && p.dst_cid == VSOCK_HOST_CID);
	n = vsock_packet_payload(&c, false, p.len, payload);
	for (i = 0; i < n; i++)
		sum += span_len(&payload[i]);
	fuzz_check(sum == p.len);
}

static void connection(struct fuzz_reader *in)
{
	struct vsock_record r;
	struct vsock_conn *c;

	vsock_table_init(&table);
	fuzz_bytes(in, &r, sizeof(r));
	c = vsock_table_restore(&table, fuzz_u16(in), &r);
	if (!c)
		c = vsock_table_add(&table, 1, 2);
	while (in->left > 0) {
		struct vsock_packet p = { .buf_alloc = fuzz_u32(in), .fwd_cnt = fuzz_u32(in) };
		uint32_t credit = vsock_credit_of_guest(c), n = fuzz_u16(in);

		fuzz_check(vsock_unsent(c) <= VSOCK_BUFFER_BYTES);
		fuzz_check(credit <= VSOCK_BUFFER_BYTES - vsock_unsent(c));
		c->r.tx_cnt += n < credit ? n : credit;
		n = fuzz_u16(in);
		c->r.fwd_cnt += n < vsock_unsent(c) ? n : vsock_unsent(c);
		if (vsock_credit_is_due(c))
			c->r.fwd_told = c->r.fwd_cnt;
		if (!vsock_credit_learn(c, &p))
			break;
		fuzz_check(c->r.rx_cnt - c->r.peer_fwd_cnt <= INT32_MAX || credit == 0 ||
			   vsock_credit_to_guest(c) <= c->r.peer_buf_alloc);
		credit = vsock_credit_to_guest(c);
		fuzz_check(credit <= c->r.peer_buf_alloc);
		n = fuzz_u16(in);
		c->r.rx_cnt += n < credit ? n : credit;
	}
	vsock_table_remove(&table, c);
	fuzz_check(table.n_connections == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_reader in = { data, size };

	if (!gm) {
		const struct guest_region region = { 0, RAM };

		if (guest_memory_create(&region, 1, false, false, &gm) != 0)
			abort();
	}
	switch (fuzz_u8(&in) % 3) {
	case 0:
		command(&in);
		break;
	case 1:
		packet(&in);
		break;
	default:
		connection(&in);
	}
	return 0;
}
