/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-vsock by the book: packets and buffers of every shape. See conformance_vsock.c. */
#include "conformance_vsock.h"

static const char *small_pieces_case(uint64_t argument)
{
	struct vconn c;

	(void)argument;
	EXPECT_OK(vsock_test_start());
	EXPECT_OK(vsock_test_connects(&c, PEER_SMALL_PIECES));
	*(uint32_t *)vsock.tx_data = 3000;
	EXPECT(vconn_send(&c, VSOCK_RW, 0, 4), "the count is not taken");
	EXPECT(vconn_read_to(&c, 3000), "%u bytes", c.rx_cnt);
	return vsock_test_closes(&c);
}

static const char *send_fds_case(uint64_t argument)
{
	struct vconn c;

	(void)argument;
	EXPECT_OK(vsock_test_start());
	EXPECT_OK(vsock_test_connects(&c, PEER_SEND_FDS));
	EXPECT(vconn_read_to(&c, 100), "%u bytes", c.rx_cnt);
	return NULL;
}

/* 200 packets with one kick, of two connections in turn. */
static const char *batch_case(uint64_t is_mixed)
{
	struct vsock_header *headers = memory_alloc(200 * sizeof(*headers), 64);
	uint8_t *data = memory_alloc(200, 16);
	struct vconn c[2];

	EXPECT_OK(vsock_test_start());
	EXPECT_OK(vsock_test_connects(&c[0], PEER_ECHO));
	EXPECT_OK(vsock_test_connects(&c[1], PEER_ECHO));
	for (unsigned i = 0; i < 200; i++) {
		struct vconn *to = &c[is_mixed ? i % 2 : i / 100];
		uint16_t at = (uint16_t)(i % 100 * 2);
		struct part parts[2] = { { &headers[i], VSOCK_HEADER_BYTES, false },
					 { &data[i], 1, false } };

		if (i == 100) { /* the table is full */
			vq_publish(&vsock.tx);
			vq_kick(&vsock.tx);
			for (unsigned k = 0; k < 100; k++) {
				struct vring_used_elem elem;

				EXPECT(vq_wait(&vsock.tx, TIMEOUT_REQUEST, &elem), "stuck");
			}
		}
		headers[i] = vsock_make(&vsock, VSOCK_RW, to->guest_port, to->host_port);
		headers[i].len = 1;
		data[i] = vsock_pattern(to->tx_cnt++);
		vq_chain(&vsock.tx, at, parts, 2);
		vq_stage(&vsock.tx, at);
	}
	vq_publish(&vsock.tx);
	vq_kick(&vsock.tx);
	for (unsigned k = 0; k < 100; k++) {
		struct vring_used_elem elem;

		EXPECT(vq_wait(&vsock.tx, TIMEOUT_REQUEST, &elem), "stuck");
	}
	EXPECT(vconn_read_to(&c[0], 100), "%u bytes of the first", c[0].rx_cnt);
	EXPECT(vconn_read_to(&c[1], 100), "%u bytes of the second", c[1].rx_cnt);
	return NULL;
}

/* Header and payload cut into pieces of @piece bytes, in an indirect table. */
static const char *pieces_case(uint64_t piece)
{
	enum { LEN = 200 };
	struct vring_desc *table = memory_alloc(256 * sizeof(*table), 16);
	uint8_t *packet = memory_alloc(VSOCK_HEADER_BYTES + LEN, 16);
	struct part parts[256];
	struct vsock_header h;
	struct vring_used_elem elem;
	struct vconn c;
	unsigned n = 0;

	EXPECT_OK(vsock_test_start());
	EXPECT_OK(vsock_test_connects(&c, PEER_ECHO));
	h = vsock_make(&vsock, VSOCK_RW, c.guest_port, c.host_port);
	h.len = LEN;
	memcpy(packet, &h, sizeof(h));
	for (unsigned i = 0; i < LEN; i++)
		packet[VSOCK_HEADER_BYTES + i] = vsock_pattern(i);
	for (uint32_t at = 0; at < VSOCK_HEADER_BYTES + LEN; at += (uint32_t)piece, n++) {
		uint32_t left = VSOCK_HEADER_BYTES + LEN - at;

		parts[n] = (struct part){ packet + at, left < piece ? left : (uint32_t)piece,
					  false };
	}
	vq_indirect(&vsock.tx, 0, table, parts, n);
	vq_push(&vsock.tx, 0);
	vq_kick(&vsock.tx);
	EXPECT(vq_wait(&vsock.tx, TIMEOUT_REQUEST, &elem) && elem.len == 0, "not taken");
	EXPECT(vconn_read_to(&c, LEN), "%u bytes come back", c.rx_cnt);
	return NULL;
}

/* Receive buffers that are two descriptors each: @first bytes, then the rest. */
static const char *split_buffer_case(uint64_t first)
{
	struct vring_used_elem elem;
	struct vsock_header *h;
	struct vconn c;
	uint8_t *buffer = memory_alloc(4096, 64);
	struct part parts[2] = { { buffer, (uint32_t)first, true },
				 { buffer + 2048, 1024, true } };

	EXPECT_OK(vsock_test_start_with(ALL_FEATURES, 0, RX_BYTES));
	vconn_make(&c, &vsock, PEER_TALK_FIRST);
	EXPECT(vconn_send(&c, VSOCK_REQUEST, 0, 0), "REQUEST is not taken");
	for (unsigned i = 0; i < 2; i++) {
		memset(buffer, 0, 4096);
		vq_chain(&vsock.rx, 0, parts, 2);
		vq_push(&vsock.rx, 0);
		vq_kick(&vsock.rx);
		EXPECT(vq_wait(&vsock.rx, TIMEOUT_REQUEST, &elem), "packet %u does not come", i);
	}
	EXPECT(elem.len == VSOCK_HEADER_BYTES + 256, "used length %u", elem.len);
	memmove(buffer + first, buffer + 2048, 1024); /* together again */
	h = (struct vsock_header *)buffer;
	EXPECT(h->op == VSOCK_RW && h->len == 256, "op %u, len %u", h->op, h->len);
	for (unsigned i = 0; i < 256; i++)
		EXPECT(buffer[VSOCK_HEADER_BYTES + i] == vsock_pattern(i), "byte %u differs", i);
	return NULL;
}

/* A driver may wait until a whole packet has room, and must hear of it without asking. */
static const char *whole_packets_case(uint64_t total)
{
	struct vconn c;
	int64_t len;

	EXPECT_OK(vsock_test_start());
	EXPECT_OK(vsock_test_connects(&c, PEER_SINK));
	while (c.tx_cnt < total) {
		while (c.peer_buf_alloc - (c.tx_cnt - c.peer_fwd_cnt) < VSOCK_TX_BYTES)
			EXPECT(vconn_next(&c, TIMEOUT_REQUEST, &len) == VSOCK_CREDIT_UPDATE,
			       "no more room after %u bytes", c.tx_cnt);
		EXPECT(vconn_write(&c, VSOCK_TX_BYTES), "not taken after %u bytes", c.tx_cnt);
	}
	EXPECT(vconn_send(&c, VSOCK_SHUTDOWN, VSOCK_SHUT_SEND, 0), "SHUTDOWN is not taken");
	while (c.rx_cnt < 8)
		EXPECT(vconn_next(&c, TIMEOUT_REQUEST, &len) != VSOCK_NONE, "nothing comes");
	EXPECT(*(uint64_t *)vsock_last == total, "the host counted %lu", *(uint64_t *)vsock_last);
	return NULL;
}

static const char *late_buffers_case(uint64_t argument)
{
	struct vconn c;

	(void)argument;
	EXPECT_OK(vsock_test_start_with(ALL_FEATURES, 0, RX_BYTES));
	vconn_make(&c, &vsock, PEER_TALK_FIRST);
	EXPECT(vconn_send(&c, VSOCK_REQUEST, 0, 0), "REQUEST is not taken");
	time_sleep(QUIET_MS);
	vsock.n_rx = 2;
	for (unsigned i = 0; i < 2; i++) {
		vsock.rx_data[i] = memory_alloc(RX_BYTES, 64);
		vsock_recycle(&vsock, i);
	}
	vq_kick(&vsock.rx);
	EXPECT(vconn_expect(&c, VSOCK_RESPONSE), "no RESPONSE");
	EXPECT(vconn_read_to(&c, 256), "%u bytes", c.rx_cnt);
	return NULL;
}

void vsock_test_streams(void)
{
	static const uint32_t pieces[] = { 1, 3, 43, 44, 45, 244 };
	static const uint32_t firsts[] = { 1, 43, 44, 45, 100 };

	CASE(small_pieces_case, 0, "3000 bytes one by one");
	CASE(send_fds_case, 0, "file descriptors from the host are dropped");
	CASE(batch_case, 0, "200 packets with two kicks");
	CASE(batch_case, 1, "200 packets of two connections in turn");
	for (unsigned i = 0; i < ARRAY_LEN(pieces); i++)
		CASE(pieces_case, pieces[i], "a packet in pieces of %u bytes", pieces[i]);
	for (unsigned i = 0; i < ARRAY_LEN(firsts); i++)
		CASE(split_buffer_case, firsts[i], "receive buffers cut after %u bytes",
		     firsts[i]);
	CASE(whole_packets_case, 4u << 20, "4 MiB in packets of 64 KiB, each when it has room");
	CASE(late_buffers_case, 0, "receive buffers come late");
}
