/* SPDX-License-Identifier: Apache-2.0 */
/* Packets that break rules; see hostile_vsock.h. */
#include "hostile_vsock.h"
#include "modes.h"

#define N_RX 64
#define FLOOD 1500u

struct vsock hv;
static struct vdev *dev;
static struct vconn other;
static bool is_started;

enum outcome {
	OUT_RST, /* the connection is reset */
	OUT_DROPPED, /* no answer at all, and the connection goes on */
	OUT_TAKEN, /* nothing wrong with it: the connection goes on */
};

const char *hv_connect(struct vconn *c, uint32_t port)
{
	enum vsock_op op = vconn_connect(c, &hv, port);

	EXPECT(op == VSOCK_RESPONSE, "port %u answers with op %u, device status 0x%x", port, op,
	       vdev_status(dev));
	return NULL;
}

const char *hv_start(void)
{
	EXPECT(vsock_start(&hv, dev, FEATURE_INDIRECT, N_RX, 4096), "it does not start");
	is_started = true;
	return hv_connect(&other, PEER_ECHO);
}

static const char *echo(struct vconn *c, uint32_t len)
{
	uint32_t end = c->rx_cnt + len;

	EXPECT(vconn_write(c, len), "an echo is not taken, device status 0x%x", vdev_status(dev));
	EXPECT(vconn_read_to(c, end), "%u of %u bytes of an echo", c->rx_cnt, end);
	return NULL;
}

const char *hv_other_works(void)
{
	return echo(&other, 50);
}

const char *hv_needs_reset(void)
{
	EXPECT_OK(device_needs_reset(dev));
	is_started = false;
	return NULL;
}

static const char *begin(void)
{
	return is_started ? NULL : hv_start();
}

/* What a case broke, the next one gets anew. */
static const char *recovers(void)
{
	const char *detail = begin();

	if (!detail)
		detail = hv_other_works();
	if (detail)
		is_started = false;
	return detail;
}

const struct hostile_target hv_target = {
	.prefix = "", .start = begin, .recovers = recovers, .is_lasting = true
};

/* ---- one packet on an open connection, with one field wrong ---- */

enum field {
	F_SRC_CID, F_DST_CID, F_TYPE, F_OP, F_LEN, F_FLAGS, F_BUF_ALLOC, F_FWD_CNT,
};

static const struct packet_case {
	const char *name, *rule;
	enum vsock_op op;
	enum field field;
	uint64_t value;
	uint32_t payload; /* bytes that are there */
	enum outcome outcome;
} packet_cases[] = {
	{ "type 0", "5.10.6", VSOCK_RW, F_TYPE, 0, 10, OUT_RST },
	{ "type 2, seqpacket, not negotiated", "5.10.6.6", VSOCK_RW, F_TYPE, 2, 10, OUT_RST },
	{ "type 3", "5.10.6", VSOCK_RW, F_TYPE, 3, 10, OUT_RST },
	{ "type 0xffff", "5.10.6", VSOCK_RW, F_TYPE, 0xffff, 10, OUT_RST },
	{ "type 0x101", "5.10.6", VSOCK_CREDIT_UPDATE, F_TYPE, 0x101, 0, OUT_RST },
	{ "op 0", "5.10.6", VSOCK_RW, F_OP, 0, 0, OUT_RST },
	{ "op 8", "5.10.6", VSOCK_RW, F_OP, 8, 0, OUT_RST },
	{ "op 255", "5.10.6", VSOCK_RW, F_OP, 255, 0, OUT_RST },
	{ "op 0x105", "5.10.6", VSOCK_RW, F_OP, 0x105, 0, OUT_RST },
	{ "op 0xffff", "5.10.6", VSOCK_RW, F_OP, 0xffff, 0, OUT_RST },
	{ "source cid 0", "5.10.6.4", VSOCK_RW, F_SRC_CID, 0, 10, OUT_DROPPED },
	{ "source cid 1", "5.10.6.4", VSOCK_RW, F_SRC_CID, 1, 10, OUT_DROPPED },
	{ "source cid 2, the host's", "5.10.6.4", VSOCK_RW, F_SRC_CID, 2, 10, OUT_DROPPED },
	{ "source cid of another guest", "5.10.6.4", VSOCK_RST, F_SRC_CID, 43, 0, OUT_DROPPED },
	{ "source cid of another guest, request", "5.10.6.4", VSOCK_REQUEST, F_SRC_CID, 43, 0,
	  OUT_DROPPED },
	{ "source cid above 2^32", "5.10.6.4", VSOCK_RST, F_SRC_CID, 1ull << 32 | 42, 0,
	  OUT_DROPPED },
	{ "source cid 2^64-1", "5.10.6.4", VSOCK_RST, F_SRC_CID, ~0ull, 0, OUT_DROPPED },
	{ "destination cid 0", "5.10.6.4", VSOCK_RW, F_DST_CID, 0, 10, OUT_DROPPED },
	{ "destination cid 1", "5.10.6.4", VSOCK_RW, F_DST_CID, 1, 10, OUT_DROPPED },
	{ "destination cid 3", "5.10.6.4", VSOCK_RW, F_DST_CID, 3, 10, OUT_DROPPED },
	{ "destination cid, the guest's own", "5.10.6.4", VSOCK_RST, F_DST_CID, 42, 0,
	  OUT_DROPPED },
	{ "destination cid 2^32+2", "5.10.6.4", VSOCK_RST, F_DST_CID, 1ull << 32 | 2, 0,
	  OUT_DROPPED },
	{ "destination cid 2^64-1", "5.10.6.4", VSOCK_REQUEST, F_DST_CID, ~0ull, 0, OUT_DROPPED },
	{ "length 1 more than there is", "row 18", VSOCK_RW, F_LEN, 11, 10, OUT_RST },
	{ "length 1 without payload", "row 18", VSOCK_RW, F_LEN, 1, 0, OUT_RST },
	{ "length 2^31", "row 8", VSOCK_RW, F_LEN, 0x80000000, 10, OUT_RST },
	{ "length 2^32-44", "row 8", VSOCK_RW, F_LEN, 0xffffffd4, 10, OUT_RST },
	{ "length 2^32-1", "row 8", VSOCK_RW, F_LEN, 0xffffffff, 10, OUT_RST },
	{ "length beyond the credit by 1", "row 18", VSOCK_RW, F_LEN, 0x10001, 0x10000, OUT_RST },
	{ "length 0", "5.10.6", VSOCK_RW, F_LEN, 0, 0, OUT_TAKEN },
	{ "length 0 with payload", "5.10.6", VSOCK_RW, F_LEN, 0, 100, OUT_TAKEN },
	{ "request with a length", "5.10.6", VSOCK_REQUEST, F_LEN, 10, 10, OUT_RST },
	{ "response with a length", "5.10.6", VSOCK_RESPONSE, F_LEN, 10, 10, OUT_RST },
	{ "shutdown with a length", "5.10.6", VSOCK_SHUTDOWN, F_LEN, 10, 10, OUT_RST },
	{ "shutdown with a length and no payload", "5.10.6", VSOCK_SHUTDOWN, F_LEN, 10, 0,
	  OUT_RST },
	{ "credit update with a length", "5.10.6", VSOCK_CREDIT_UPDATE, F_LEN, 4096, 0, OUT_RST },
	{ "credit request with a length", "5.10.6", VSOCK_CREDIT_REQUEST, F_LEN, 1, 1, OUT_RST },
	{ "reset with a length", "5.10.6", VSOCK_RST, F_LEN, 10, 10, OUT_RST },
	{ "request for an open connection", "5.10.6", VSOCK_REQUEST, F_FLAGS, 0, 0, OUT_RST },
	{ "response for an open connection", "5.10.6", VSOCK_RESPONSE, F_FLAGS, 0, 0, OUT_RST },
	{ "shutdown without a flag", "5.10.6.5", VSOCK_SHUTDOWN, F_FLAGS, 0, 0, OUT_TAKEN },
	{ "shutdown with unknown flags", "5.10.6.5", VSOCK_SHUTDOWN, F_FLAGS, 0xfffffffc, 0,
	  OUT_TAKEN },
	{ "shutdown with all flags", "5.10.6.5", VSOCK_SHUTDOWN, F_FLAGS, 0xffffffff, 0, OUT_RST },
	{ "data with flags of seqpacket", "5.10.6.6", VSOCK_RW, F_FLAGS, 3, 0, OUT_TAKEN },
	{ "credit update with flags", "5.10.6", VSOCK_CREDIT_UPDATE, F_FLAGS, 0xffffffff, 0,
	  OUT_TAKEN },
	{ "claims to have taken 1 byte too many", "row 18", VSOCK_CREDIT_UPDATE, F_FWD_CNT, 1, 0,
	  OUT_RST },
	{ "claims to have taken 2^31-1 bytes", "row 18", VSOCK_CREDIT_UPDATE, F_FWD_CNT,
	  0x7fffffff, 0, OUT_RST },
	{ "claims to have taken 1 byte too many, with data", "row 18", VSOCK_RW, F_FWD_CNT, 1, 0,
	  OUT_RST },
	{ "claims to have taken less than before", "row 18", VSOCK_CREDIT_UPDATE, F_FWD_CNT,
	  0xffffffff, 0, OUT_TAKEN },
	{ "claims to have taken much less than before", "row 18", VSOCK_CREDIT_UPDATE, F_FWD_CNT,
	  0x80000000, 0, OUT_TAKEN },
	{ "room of 0", "row 18", VSOCK_CREDIT_UPDATE, F_BUF_ALLOC, 0, 0, OUT_TAKEN },
	{ "room of 2^32-1", "row 18", VSOCK_CREDIT_UPDATE, F_BUF_ALLOC, 0xffffffff, 0, OUT_TAKEN },
};

static void set_field(struct vsock_header *h, enum field field, uint64_t value)
{
	switch (field) {
	case F_SRC_CID:
		h->src_cid = value;
		break;
	case F_DST_CID:
		h->dst_cid = value;
		break;
	case F_TYPE:
		h->type = (uint16_t)value;
		break;
	case F_OP:
		h->op = (uint16_t)value;
		break;
	case F_LEN:
		h->len = (uint32_t)value;
		break;
	case F_FLAGS:
		h->flags = (uint32_t)value;
		break;
	case F_BUF_ALLOC:
		h->buf_alloc = (uint32_t)value;
		break;
	case F_FWD_CNT:
		h->fwd_cnt = (uint32_t)value;
		break;
	}
}

static const char *has_outcome(struct vconn *c, enum outcome outcome)
{
	int64_t len;

	if (outcome == OUT_RST) {
		EXPECT(vconn_expect(c, VSOCK_RST), "no RST");
		return NULL;
	}
	if (outcome == OUT_DROPPED)
		EXPECT(vconn_next(c, QUIET_MS, &len) == VSOCK_NONE, "it was answered");
	EXPECT(!c->is_reset, "it was reset");
	EXPECT_OK(echo(c, 50));
	EXPECT(vconn_close(c), "it cannot be closed");
	return NULL;
}

static const char *packet_case(uint64_t i)
{
	const struct packet_case *k = &packet_cases[i];
	struct vsock_header h;
	struct vconn c;

	EXPECT_OK(hv_connect(&c, PEER_ECHO));
	h = vsock_make(&hv, k->op, c.guest_port, c.host_port);
	h.len = k->field != F_LEN && k->op == VSOCK_RW && k->outcome != OUT_TAKEN ? k->payload : 0;
	set_field(&h, k->field, k->value);
	if (k->payload > VSOCK_TX_BYTES)
		return "the case is wrong";
	EXPECT(vsock_send(&hv, &h, k->payload), "the packet is not taken, device status 0x%x",
	       vdev_status(dev));
	return has_outcome(&c, k->outcome);
}

/* ---- packets for connections that are not there ---- */

static const char *stranger_case(uint64_t op)
{
	struct vconn c;
	int64_t len;

	vconn_make(&c, &hv, PEER_ECHO);
	EXPECT(vconn_send(&c, (enum vsock_op)op, VSOCK_SHUT_BOTH, op == VSOCK_RW ? 10 : 0),
	       "not taken");
	if (op == VSOCK_RST)
		EXPECT(vconn_next(&c, QUIET_MS, &len) == VSOCK_NONE, "a RST was answered");
	else
		EXPECT(vconn_expect(&c, VSOCK_RST), "no RST");
	return NULL;
}

static const char *port_case(uint64_t port)
{
	struct vconn c;

	EXPECT(vconn_connect(&c, &hv, (uint32_t)port) == VSOCK_RST, "port %lu is not refused",
	       port);
	return NULL;
}

static const char *after_shutdown_case(uint64_t op)
{
	struct vconn c;

	EXPECT_OK(hv_connect(&c, PEER_NEVER_READ));
	EXPECT(vconn_send(&c, VSOCK_SHUTDOWN, VSOCK_SHUT_SEND, 0), "SHUTDOWN is not taken");
	EXPECT(vconn_send(&c, (enum vsock_op)op, 0, op == VSOCK_RW ? 10 : 0), "not taken");
	EXPECT(vconn_expect(&c, VSOCK_RST), "no RST");
	return NULL;
}

/* ---- credit ---- */

static const char *overrun_case(uint64_t len)
{
	struct vconn c;
	unsigned n;

	EXPECT_OK(hv_connect(&c, PEER_NEVER_READ));
	for (n = 0; n < 100 && !c.is_reset; n++) {
		int64_t got;

		EXPECT(vconn_send(&c, VSOCK_RW, 0, (uint32_t)len), "packet %u is not taken", n);
		while (!c.is_reset && vq_pending(&hv.rx))
			(void)vconn_next(&c, 1, &got);
		if (len < 1000)
			n = c.tx_cnt > 4 * MIB ? 100 : 0;
	}
	(void)(c.is_reset || vconn_expect(&c, VSOCK_RST));
	EXPECT(c.is_reset, "%u bytes beyond all credit were taken", c.tx_cnt);
	return NULL;
}

static const char *no_credit_case(uint64_t flood)
{
	struct vconn c;
	int64_t len;

	EXPECT_OK(hv_connect(&c, PEER_ECHO));
	for (unsigned i = 0; i < flood; i++)
		EXPECT(vconn_send(&c, VSOCK_CREDIT_REQUEST, 0, 0), "request %u is not taken", i);
	EXPECT(vconn_next(&c, TIMEOUT_REQUEST, &len) == VSOCK_CREDIT_UPDATE, "no update");
	while (vconn_next(&c, QUIET_MS, &len) == VSOCK_CREDIT_UPDATE)
		;
	EXPECT(!c.is_reset, "it was reset");
	EXPECT(vconn_close(&c), "it cannot be closed");
	return NULL;
}

/* ---- floods ---- */

static const char *request_flood_case(uint64_t port)
{
	unsigned n_reset = 0;
	struct vsock_header h;

	for (unsigned i = 0; i < FLOOD; i++) {
		struct vsock_header r = vsock_make(&hv, VSOCK_REQUEST, 100000 + i, (uint32_t)port);

		EXPECT(vsock_send(&hv, &r, 0), "request %u is not taken", i);
		while (vsock_receive(&hv, 0, &h, NULL, 0) >= 0)
			n_reset += h.op == VSOCK_RST;
	}
	while (n_reset < FLOOD && vsock_receive(&hv, TIMEOUT_REQUEST, &h, NULL, 0) >= 0)
		n_reset += h.op == VSOCK_RST;
	EXPECT(n_reset == FLOOD, "%u of %u are answered by RST", n_reset, FLOOD);
	return NULL;
}

/* Nothing takes the answers: the device stops taking requests, and goes on later. */
static const char *no_buffers_case(uint64_t argument)
{
	struct vsock_header *headers = memory_alloc(256 * sizeof(*headers), 64);
	uint64_t deadline = time_deadline(TIMEOUT_REQUEST);
	unsigned n_answers = 0, n_sent = 0;

	(void)argument;
	EXPECT(vsock_start(&hv, dev, 0, 0, 4096), "it does not start");
	for (unsigned round = 0; round < 4; round++) {
		for (unsigned i = 0; i < 128; i++, n_sent++) {
			headers[i] = vsock_make(&hv, VSOCK_RW, n_sent, 7777);
			vq_desc(&hv.tx, (uint16_t)i, &headers[i], VSOCK_HEADER_BYTES, 0, 0);
			vq_stage(&hv.tx, (uint16_t)i);
		}
		vq_publish(&hv.tx);
		vq_kick(&hv.tx);
		for (unsigned i = 0; i < 128; i++) {
			struct vring_used_elem elem;

			if (!vq_wait(&hv.tx, 200, &elem))
				break; /* full of resets */
		}
	}
	hv.n_rx = 16;
	for (unsigned i = 0; i < 16; i++) {
		hv.rx_data[i] = memory_alloc(4096, 64);
		vsock_recycle(&hv, i);
	}
	vq_kick(&hv.rx);
	while (n_answers < 200 && !time_passed(deadline)) {
		struct vsock_header h;

		n_answers += vsock_receive(&hv, 1000, &h, NULL, 0) >= 0;
	}
	is_started = false;
	EXPECT(n_answers >= 200, "%u answers", n_answers);
	return NULL;
}

static const char *churn_case(uint64_t how)
{
	for (unsigned i = 0; i < FLOOD / 3; i++) {
		struct vconn c;

		EXPECT_OK(hv_connect(&c, PEER_ECHO));
		if (how == VSOCK_RST)
			EXPECT(vconn_send(&c, VSOCK_RST, 0, 0), "RST %u is not taken", i);
		else
			EXPECT(vconn_close(&c), "connection %u cannot be closed", i);
	}
	return NULL;
}

/* The same pair of ports, again and again, with its REQUEST in flight. */
static const char *same_ports_case(uint64_t argument)
{
	struct vconn c;

	(void)argument;
	vconn_make(&c, &hv, PEER_ECHO);
	for (unsigned i = 0; i < 300; i++)
		EXPECT(vconn_send(&c, VSOCK_REQUEST, 0, 0), "request %u is not taken", i);
	for (;;) {
		int64_t len;

		if (vconn_next(&c, QUIET_MS, &len) == VSOCK_NONE)
			break;
	}
	EXPECT(vconn_send(&c, VSOCK_RST, 0, 0), "RST is not taken");
	return NULL;
}

static const char *kick_flood_case(uint64_t queue)
{
	for (unsigned i = 0; i < 20000; i++)
		vdev_kick(dev, (uint16_t)queue);
	return NULL;
}

static const char *random_case(uint64_t seed)
{
	static const uint32_t ports[] = { PEER_ECHO, 2, 4, PEER_NEVER_READ }; /* no endless source */
	uint64_t state = seed * 0x9e3779b97f4a7c15ull + 1;

	for (unsigned i = 0; i < 400; i++) {
		struct vsock_header h;
		uint64_t r = random_next(&state);
		uint8_t *bytes = (uint8_t *)&h;

		h = vsock_make(&hv, (enum vsock_op)(1 + (r >> 8) % 7), (uint32_t)(r >> 16) % 8,
			       ports[(r >> 24) % 4]);
		h.len = (uint32_t)(r >> 32) % 300;
		for (unsigned k = 0; k < (r & 3); k++) {
			uint64_t w = random_next(&state);

			bytes[w % sizeof(h)] = (uint8_t)(w >> 32);
		}
		if (h.src_port == other.guest_port)
			continue;
		EXPECT(vsock_send(&hv, &h, (uint32_t)(r >> 40) % 300), "packet %u is not taken", i);
		while (vsock_receive(&hv, 0, &h, NULL, 0) >= 0)
			;
	}
	return NULL;
}

static void run_packets(void)
{
	static const uint32_t ports[] = { 14, PEER_NOBODY, 0x7fffffff, 0xffffffff };
	static const char *const ops[] = { "",	      "request", "response",	  "reset",
					   "shutdown", "data",	 "credit update", "credit request" };

	for (unsigned i = 0; i < ARRAY_LEN(packet_cases); i++)
		hv_case(packet_case, i, packet_cases[i].rule, "%s", packet_cases[i].name);
	for (unsigned op = VSOCK_RESPONSE; op <= VSOCK_CREDIT_REQUEST; op++)
		hv_case(stranger_case, op, "5.10.6", "%s for no connection", ops[op]);
	for (unsigned i = 0; i < ARRAY_LEN(ports); i++)
		hv_case(port_case, ports[i], "5.10.6", "request to port %u", ports[i]);
	hv_case(after_shutdown_case, VSOCK_RW, "5.10.6.5", "data after a shutdown");
	hv_case(after_shutdown_case, VSOCK_REQUEST, "5.10.6.5", "request after a shutdown");
	hv_case(after_shutdown_case, VSOCK_RESPONSE, "5.10.6.5", "response after a shutdown");
}

static const struct hostile_row rows[] = {
	{ "data beyond all credit, 64 KiB each", "row 18", overrun_case, 65536 },
	{ "data beyond all credit, 4 KiB each", "row 18", overrun_case, 4096 },
	{ "data beyond all credit, 999 bytes each", "row 18", overrun_case, 999 },
	{ "a credit request", "5.10.6.3", no_credit_case, 1 },
	{ "a flood of credit requests", "row 20", no_credit_case, 1000 },
	{ "a flood of requests to nobody", "row 20", request_flood_case, PEER_NOBODY },
	{ "no buffers for answers", "row 19", no_buffers_case, 0 },
	{ "connections that are reset at once", "row 20", churn_case, VSOCK_RST },
	{ "connections that are closed at once", "row 20", churn_case, VSOCK_SHUTDOWN },
	{ "requests for the same ports", "row 20", same_ports_case, 0 },
};

void hostile_vsock_run(void)
{
	discover();
	dev = discover_nth(VIRTIO_ID_VSOCK, 0);
	if (!dev) {
		print("Bail out! no vsock device\n");
		return;
	}
	run_packets();
	hostile_rows(&hv_target, rows, ARRAY_LEN(rows));
	for (unsigned q = 0; q < 4; q++)
		hv_case(kick_flood_case, q, "row 20", "a flood of kicks of queue %u", q);
	hostile_vsock_ring();
	for (unsigned i = 0; i < 8; i++) {
		uint64_t seed = boot_option_number("seed", 1) * 100 + i;

		hv_case(random_case, seed, "row 8", "random packets, seed %lu", seed);
	}
	tap_done();
}
