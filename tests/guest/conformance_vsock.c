/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-vsock by the book (VIRTIO 1.2 §5.10), against the services of tests/vsock/peer.py:
 * probe=vsock. Port numbers below 100 are those of the services there.
 */
#include "conformance_vsock.h"

#include "modes.h"

static struct vdev *dev;
struct vsock vsock;
static struct vconn many[CONNECTIONS_MAX + 1];

const char *vsock_test_start_with(uint64_t features, unsigned n_rx, uint32_t rx_bytes)
{
	EXPECT(vsock_start(&vsock, dev, features, n_rx, rx_bytes),
	       "it does not start, status 0x%x", vdev_status(dev));
	return NULL;
}

const char *vsock_test_start(void)
{
	return vsock_test_start_with(ALL_FEATURES, N_RX, RX_BYTES);
}

const char *vsock_test_connects(struct vconn *c, uint32_t port)
{
	enum vsock_op op = vconn_connect(c, &vsock, port);

	EXPECT(op == VSOCK_RESPONSE, "port %u answers with op %u", port, op);
	EXPECT(c->peer_buf_alloc >= 4096, "buf_alloc %u", c->peer_buf_alloc);
	return NULL;
}

static const char *echo_of(struct vconn *c, uint32_t len)
{
	uint32_t end = c->rx_cnt + len;

	EXPECT(vconn_write(c, len), "%u bytes are not taken, %u came back", len, c->rx_cnt);
	EXPECT(vconn_read_to(c, end), "%u of %u bytes come back, or they differ", c->rx_cnt, end);
	return NULL;
}

const char *vsock_test_closes(struct vconn *c)
{
	EXPECT(vconn_close(c), "no RST after SHUTDOWN");
	return NULL;
}

static const char *stays_quiet(struct vconn *c)
{
	int64_t len;
	enum vsock_op op = vconn_next(c, QUIET_MS, &len);

	EXPECT(op == VSOCK_NONE, "op %u came", op);
	return NULL;
}

static const char *echo_through(uint64_t features, uint32_t rx_bytes, uint32_t len)
{
	struct vconn c;

	EXPECT_OK(vsock_test_start_with(features, N_RX, rx_bytes));
	EXPECT_OK(vsock_test_connects(&c, PEER_ECHO));
	EXPECT_OK(echo_of(&c, len));
	return vsock_test_closes(&c);
}

static const char *echo_case(uint64_t len)
{
	return echo_through(ALL_FEATURES, RX_BYTES, (uint32_t)len);
}

static const char *buffer_case(uint64_t rx_bytes)
{
	return echo_through(ALL_FEATURES, (uint32_t)rx_bytes, rx_bytes < 64 ? 100 : 70000);
}

static const char *feature_case(uint64_t features)
{
	return echo_through(features, RX_BYTES, 200000);
}

static const char *identity_case(uint64_t argument)
{
	(void)argument;
	EXPECT_OK(vsock_test_start());
	EXPECT(vsock.cid >= 3 && vsock.cid < 0xffffffff, "cid %lu", vsock.cid);
	for (uint16_t q = 0; q < 3; q++)
		EXPECT(vdev_queue_max(dev, q) >= 128, "queue %u has %u entries", q,
		       vdev_queue_max(dev, q));
	EXPECT(vdev_queue_max(dev, 3) == 0, "there is a fourth queue");
	return NULL;
}

/* ---- how connections begin and end ---- */

static const char *nobody_case(uint64_t argument)
{
	struct vconn c;
	enum vsock_op op;

	(void)argument;
	EXPECT_OK(vsock_test_start());
	op = vconn_connect(&c, &vsock, PEER_NOBODY);
	EXPECT(op == VSOCK_RST, "op %u", op);
	return stays_quiet(&c);
}

static const char *host_closes_case(uint64_t argument)
{
	struct vconn c;

	(void)argument;
	EXPECT_OK(vsock_test_start());
	EXPECT_OK(vsock_test_connects(&c, PEER_CLOSE));
	EXPECT(vconn_expect(&c, VSOCK_SHUTDOWN), "no SHUTDOWN");
	EXPECT(c.shut == VSOCK_SHUT_BOTH, "SHUTDOWN flags %u", c.shut);
	EXPECT(vconn_send(&c, VSOCK_RST, 0, 0), "our RST is not taken");
	return stays_quiet(&c);
}

/* §5.10.6.5: a peer that does not answer a SHUTDOWN is reset. */
static const char *no_answer_to_shutdown_case(uint64_t argument)
{
	struct vconn c;

	(void)argument;
	EXPECT_OK(vsock_test_start());
	EXPECT_OK(vsock_test_connects(&c, PEER_CLOSE));
	EXPECT(vconn_expect(&c, VSOCK_SHUTDOWN), "no SHUTDOWN");
	EXPECT(vconn_expect(&c, VSOCK_RST), "no RST when we do not answer");
	return NULL;
}

static const char *source_case(uint64_t len)
{
	struct vconn c;

	EXPECT_OK(vsock_test_start());
	EXPECT_OK(vsock_test_connects(&c, PEER_SOURCE));
	*(uint32_t *)vsock.tx_data = (uint32_t)len;
	EXPECT(vconn_send(&c, VSOCK_RW, 0, 4), "the count is not taken");
	EXPECT(vconn_read_to(&c, (uint32_t)len), "%u of %lu bytes", c.rx_cnt, len);
	EXPECT(vconn_expect(&c, VSOCK_SHUTDOWN) && c.shut == VSOCK_SHUT_BOTH,
	       "no SHUTDOWN of both ways: %u", c.shut);
	EXPECT(vconn_send(&c, VSOCK_RST, 0, 0), "our RST is not taken");
	return NULL;
}

static const char *sink_case(uint64_t len)
{
	struct vconn c;
	int64_t got;

	EXPECT_OK(vsock_test_start());
	EXPECT_OK(vsock_test_connects(&c, PEER_SINK));
	EXPECT(vconn_write(&c, len), "not taken");
	EXPECT(vconn_send(&c, VSOCK_SHUTDOWN, VSOCK_SHUT_SEND, 0), "SHUTDOWN is not taken");
	while (c.rx_cnt < 8) {
		enum vsock_op op = vconn_next(&c, TIMEOUT_REQUEST, &got);

		EXPECT(op == VSOCK_RW || op == VSOCK_CREDIT_UPDATE, "op %u", op);
	}
	EXPECT(*(uint64_t *)vsock_last == len, "the host counted %lu", *(uint64_t *)vsock_last);
	EXPECT(vconn_expect(&c, VSOCK_SHUTDOWN), "no SHUTDOWN");
	EXPECT(vconn_send(&c, VSOCK_SHUTDOWN, VSOCK_SHUT_RECEIVE, 0), "SHUTDOWN is not taken");
	EXPECT(vconn_expect(&c, VSOCK_RST), "no RST once both ways are shut");
	return NULL;
}

static const char *talk_first_case(uint64_t argument)
{
	struct vconn c;

	(void)argument;
	EXPECT_OK(vsock_test_start());
	EXPECT_OK(vsock_test_connects(&c, PEER_TALK_FIRST));
	EXPECT(vconn_read_to(&c, 256), "%u bytes", c.rx_cnt);
	return vsock_test_closes(&c);
}

static const char *half_close_case(uint64_t argument)
{
	struct vconn c;

	(void)argument;
	EXPECT_OK(vsock_test_start());
	EXPECT_OK(vsock_test_connects(&c, PEER_HALF_CLOSE));
	EXPECT(vconn_read_to(&c, 100), "%u bytes", c.rx_cnt);
	EXPECT(vconn_expect(&c, VSOCK_SHUTDOWN), "no SHUTDOWN");
	EXPECT(c.shut == VSOCK_SHUT_SEND, "SHUTDOWN flags %u", c.shut);
	EXPECT(vconn_write(&c, 300000), "our half does not go on");
	EXPECT(vconn_send(&c, VSOCK_SHUTDOWN, VSOCK_SHUT_SEND, 0), "SHUTDOWN is not taken");
	EXPECT(vconn_expect(&c, VSOCK_SHUTDOWN) && c.shut == VSOCK_SHUT_BOTH,
	       "no SHUTDOWN of both ways: %u", c.shut);
	EXPECT(vconn_send(&c, VSOCK_SHUTDOWN, VSOCK_SHUT_BOTH, 0), "SHUTDOWN is not taken");
	EXPECT(vconn_expect(&c, VSOCK_RST), "no RST");
	return NULL;
}

static const char *reads_no_more_case(uint64_t argument)
{
	struct vconn c;
	int64_t len;

	(void)argument;
	EXPECT_OK(vsock_test_start());
	EXPECT_OK(vsock_test_connects(&c, PEER_READS_NO_MORE));
	EXPECT(vconn_read_to(&c, 100), "%u bytes", c.rx_cnt);
	EXPECT(vconn_write(&c, 10), "not taken");
	while (!(c.shut & VSOCK_SHUT_RECEIVE))
		EXPECT(vconn_next(&c, TIMEOUT_REQUEST, &len) != VSOCK_NONE && !c.is_reset,
		       "no SHUTDOWN, flags %u", c.shut);
	EXPECT(c.shut == VSOCK_SHUT_RECEIVE, "SHUTDOWN flags %u", c.shut);
	EXPECT(vconn_write(&c, 10), "what was under way is not taken");
	return vsock_test_closes(&c);
}

static const char *reset_case(uint64_t argument)
{
	struct vconn c;

	(void)argument;
	EXPECT_OK(vsock_test_start());
	EXPECT_OK(vsock_test_connects(&c, PEER_ECHO));
	EXPECT(vconn_send(&c, VSOCK_RST, 0, 0), "RST is not taken");
	EXPECT_OK(stays_quiet(&c)); /* a RST is never answered */
	EXPECT(vconn_send(&c, VSOCK_RW, 0, 10), "RW is not taken");
	EXPECT(vconn_expect(&c, VSOCK_RST), "RW to a closed connection: no RST");
	return NULL;
}

static const char *shut_in_two_steps_case(uint64_t first)
{
	struct vconn c;

	EXPECT_OK(vsock_test_start());
	EXPECT_OK(vsock_test_connects(&c, PEER_NEVER_READ));
	EXPECT(vconn_send(&c, VSOCK_SHUTDOWN, (uint32_t)first, 0), "SHUTDOWN is not taken");
	EXPECT_OK(stays_quiet(&c));
	EXPECT(vconn_send(&c, VSOCK_SHUTDOWN, VSOCK_SHUT_BOTH & ~(uint32_t)first, 0),
	       "the other SHUTDOWN is not taken");
	EXPECT(vconn_expect(&c, VSOCK_RST), "no RST");
	return NULL;
}

/* ---- credit ---- */

static const char *credit_request_case(uint64_t argument)
{
	struct vconn c;
	int64_t len;
	enum vsock_op op;

	(void)argument;
	EXPECT_OK(vsock_test_start());
	EXPECT_OK(vsock_test_connects(&c, PEER_SINK));
	EXPECT(vconn_write(&c, 1000), "not taken");
	EXPECT(vconn_send(&c, VSOCK_CREDIT_REQUEST, 0, 0), "CREDIT_REQUEST is not taken");
	op = vconn_next(&c, TIMEOUT_REQUEST, &len);
	EXPECT(op == VSOCK_CREDIT_UPDATE, "op %u", op);
	EXPECT(c.peer_fwd_cnt == 1000, "fwd_cnt %u", c.peer_fwd_cnt);
	return vsock_test_closes(&c);
}

/* A source, and a guest that claims to have room for so many bytes only. */
static const char *small_room(struct vconn *c, uint32_t buf_alloc)
{
	uint32_t *count;

	EXPECT_OK(vsock_test_start());
	EXPECT_OK(vsock_test_connects(c, PEER_SOURCE));
	count = (uint32_t *)vsock.tx_data;
	*count = 100000;
	c->buf_alloc = buf_alloc;
	EXPECT(vconn_send(c, VSOCK_RW, 0, 4), "the count is not taken");
	return NULL;
}

static const char *small_room_case(uint64_t buf_alloc)
{
	struct vconn c;
	int64_t len;

	EXPECT_OK(small_room(&c, (uint32_t)buf_alloc));
	while (c.rx_cnt < 100000) {
		enum vsock_op op;

		while (c.rx_cnt - c.fwd_cnt < c.buf_alloc && c.rx_cnt < 100000) {
			op = vconn_next(&c, TIMEOUT_REQUEST, &len);
			EXPECT(op == VSOCK_RW || op == VSOCK_CREDIT_REQUEST, "op %u after %u", op,
			       c.rx_cnt);
			EXPECT(len >= 0, "wrong data");
			EXPECT(c.rx_cnt - c.fwd_cnt <= c.buf_alloc, "%u bytes, with room for %u",
			       c.rx_cnt - c.fwd_cnt, c.buf_alloc);
		}
		c.fwd_cnt = c.rx_cnt;
		EXPECT(vconn_send(&c, VSOCK_CREDIT_UPDATE, 0, 0), "CREDIT_UPDATE is not taken");
	}
	return NULL;
}

static const char *shrinking_room_case(uint64_t argument)
{
	struct vconn c;
	int64_t len;

	(void)argument;
	EXPECT_OK(small_room(&c, 8000));
	while (c.rx_cnt < 8000)
		EXPECT(vconn_next(&c, TIMEOUT_REQUEST, &len) != VSOCK_NONE, "%u bytes", c.rx_cnt);
	c.buf_alloc = 1000; /* 8000 are under way: less than no room */
	EXPECT(vconn_send(&c, VSOCK_CREDIT_UPDATE, 0, 0), "not taken");
	while (vconn_next(&c, QUIET_MS, &len) != VSOCK_NONE)
		EXPECT(c.rx_cnt == 8000, "%u bytes, with no room", c.rx_cnt);
	c.fwd_cnt = 7500;
	EXPECT(vconn_send(&c, VSOCK_CREDIT_UPDATE, 0, 0), "not taken");
	while (c.rx_cnt < 8500)
		EXPECT(vconn_next(&c, TIMEOUT_REQUEST, &len) != VSOCK_NONE, "%u bytes", c.rx_cnt);
	EXPECT(c.rx_cnt == 8500, "%u bytes, with room for 500", c.rx_cnt);
	return NULL;
}

/* @told_by: 0: CREDIT_UPDATE tells that there is room again; else so many bytes of data do */
static const char *no_room_case(uint64_t told_by)
{
	struct vconn c;
	enum vsock_op op;
	int64_t len;

	EXPECT_OK(small_room(&c, 0));
	op = vconn_next(&c, TIMEOUT_REQUEST, &len);
	if (op == VSOCK_RW) /* begun before the count arrived there */
		op = vconn_next(&c, TIMEOUT_REQUEST, &len);
	EXPECT(op == VSOCK_CREDIT_REQUEST, "op %u", op);
	EXPECT_OK(stays_quiet(&c)); /* once is enough */
	EXPECT(vconn_send(&c, VSOCK_CREDIT_UPDATE, 0, 0), "not taken");
	EXPECT_OK(stays_quiet(&c)); /* "none" is an answer */
	c.buf_alloc = VSOCK_BUFFER;
	c.fwd_cnt = c.rx_cnt;
	EXPECT(vconn_send(&c, told_by ? VSOCK_RW : VSOCK_CREDIT_UPDATE, 0, (uint32_t)told_by),
	       "not taken");
	EXPECT(vconn_read_to(&c, 100000), "%u bytes", c.rx_cnt);
	return NULL;
}

/* ---- one that waits holds up no other ---- */

static const char *fill(struct vconn *c)
{
	int64_t len;

	while (c->tx_cnt - c->peer_fwd_cnt < c->peer_buf_alloc) {
		uint32_t room = c->peer_buf_alloc - (c->tx_cnt - c->peer_fwd_cnt);
		enum vsock_op op;

		EXPECT(vconn_write(c, room), "not taken");
		do
			op = vconn_next(c, QUIET_MS, &len);
		while (op != VSOCK_NONE);
		EXPECT(!c->is_reset, "reset after %u bytes", c->tx_cnt);
	}
	return NULL;
}

static const char *never_read_case(uint64_t argument)
{
	struct vconn full, other;

	(void)argument;
	EXPECT_OK(vsock_test_start());
	EXPECT_OK(vsock_test_connects(&other, PEER_ECHO));
	EXPECT_OK(vsock_test_connects(&full, PEER_NEVER_READ));
	EXPECT_OK(fill(&full));
	EXPECT_OK(echo_of(&other, 300000));
	EXPECT_OK(vsock_test_closes(&other));
	EXPECT(vconn_send(&full, VSOCK_RST, 0, 0), "RST is not taken");
	return NULL;
}

static const char *late_reader_case(uint64_t argument)
{
	struct vconn full, trigger;
	uint64_t sent;

	(void)argument;
	EXPECT_OK(vsock_test_start());
	EXPECT_OK(vsock_test_connects(&full, PEER_LATE_READER));
	EXPECT_OK(fill(&full));
	sent = full.tx_cnt;
	EXPECT_OK(vsock_test_connects(&trigger, PEER_GO_ON));
	while (full.rx_cnt < 8) {
		int64_t len;

		EXPECT(vconn_next(&full, TIMEOUT_REQUEST, &len) != VSOCK_NONE, "nothing comes");
	}
	EXPECT(*(uint64_t *)vsock_last == sent, "the host counted %lu of %lu",
	       *(uint64_t *)vsock_last, sent);
	return vsock_test_closes(&full);
}

static const char *busy_case(uint64_t argument)
{
	struct vconn busy, other;

	(void)argument;
	EXPECT_OK(vsock_test_start());
	vconn_make(&busy, &vsock, PEER_BUSY);
	EXPECT(vconn_send(&busy, VSOCK_REQUEST, 0, 0), "REQUEST is not taken");
	EXPECT_OK(vsock_test_connects(&other, PEER_ECHO));
	EXPECT_OK(echo_of(&other, 100000));
	EXPECT_OK(vsock_test_closes(&other));
	EXPECT(!busy.is_reset && vconn_expect(&busy, VSOCK_RST), "no RST in the end");
	return NULL;
}

static const char *many_case(uint64_t argument)
{
	unsigned n = CONNECTIONS_MAX;

	(void)argument;
	EXPECT_OK(vsock_test_start());
	for (unsigned i = 0; i < n; i++)
		EXPECT_OK(vsock_test_connects(&many[i], PEER_ECHO));
	EXPECT(vconn_connect(&many[n], &vsock, PEER_ECHO) == VSOCK_RST,
	       "connection %u is not refused", n + 1);
	for (unsigned i = 0; i < n; i += 31)
		EXPECT_OK(echo_of(&many[i], 100));
	EXPECT_OK(vsock_test_closes(&many[500]));
	EXPECT_OK(vsock_test_connects(&many[n], PEER_ECHO));
	EXPECT_OK(echo_of(&many[n], 100));
	return NULL;
}

/* ---- the host asks ---- */

static const char *control(struct vconn *c, const char *line)
{
	EXPECT_OK(vsock_test_connects(c, PEER_CONTROL));
	EXPECT(vconn_say(c, line), "the order is not taken");
	return NULL;
}

static const char *asked(struct vconn *ctl, struct vconn *c, const char *line)
{
	enum vsock_op op;

	EXPECT_OK(vsock_test_start());
	EXPECT_OK(control(ctl, line));
	op = vconn_await(c, &vsock, 5000);
	EXPECT(op == VSOCK_REQUEST, "no REQUEST: op %u", op);
	EXPECT(c->host_port >= 1u << 30, "host port %u", c->host_port);
	return NULL;
}

static const char *accepts_case(uint64_t argument)
{
	char answer[40];
	struct vconn ctl, c;
	int64_t len;

	(void)argument;
	EXPECT_OK(asked(&ctl, &c, "connect 5000\n"));
	EXPECT(vconn_send(&c, VSOCK_RESPONSE, 0, 0), "RESPONSE is not taken");
	format(answer, sizeof(answer), "answer OK %u\n", c.host_port);
	EXPECT(vconn_hears(&ctl, answer), "the client did not get %s", answer);
	EXPECT(vconn_send(&c, VSOCK_CREDIT_REQUEST, 0, 0), "CREDIT_REQUEST is not taken");
	EXPECT(vconn_next(&c, TIMEOUT_REQUEST, &len) == VSOCK_CREDIT_UPDATE, "no credit");
	EXPECT_OK(echo_of(&c, 200000));
	return vsock_test_closes(&c);
}

static const char *refuses_case(uint64_t argument)
{
	struct vconn ctl, c;

	(void)argument;
	EXPECT_OK(asked(&ctl, &c, "connect 5000\n"));
	EXPECT(vconn_send(&c, VSOCK_RST, 0, 0), "RST is not taken");
	EXPECT(vconn_hears(&ctl, "answer closed\n"), "the client is not closed");
	return stays_quiet(&c);
}

static const char *no_answer_case(uint64_t argument)
{
	struct vconn ctl, c;

	(void)argument;
	EXPECT_OK(asked(&ctl, &c, "connect 5000\n"));
	EXPECT(vconn_hears(&ctl, "answer closed\n"), "the client is not closed");
	EXPECT(vconn_expect(&c, VSOCK_RST), "no RST to the guest");
	EXPECT(vconn_send(&c, VSOCK_RESPONSE, 0, 0), "RESPONSE is not taken");
	EXPECT(vconn_expect(&c, VSOCK_RST), "a late RESPONSE: no RST");
	return NULL;
}

static const char *early_data_case(uint64_t argument)
{
	struct vconn ctl, c;
	int64_t len;

	(void)argument;
	EXPECT_OK(asked(&ctl, &c, "send 434f4e4e45435420353030300a68656c6c6f\n"));
	EXPECT_OK(stays_quiet(&c));
	EXPECT(vconn_send(&c, VSOCK_RESPONSE, 0, 0), "RESPONSE is not taken");
	EXPECT(vconn_next(&c, TIMEOUT_REQUEST, &len) == VSOCK_RW, "no data");
	EXPECT(c.rx_cnt == 5 && memcmp(vsock_last, "hello", 5) == 0, "%u bytes, or wrong ones",
	       c.rx_cnt);
	return NULL;
}

static const struct {
	const char *name, *hex;
} good_commands[] = {
	{ "CONNECT 5000", "434f4e4e45435420353030300a" },
	{ "connect 5000", "636f6e6e65637420353030300a" },
	{ "blanks around", "2020434f4e4e454354202035303030200a" },
	{ "CR before LF", "434f4e4e45435420353030300d0a" },
	{ "leading zeros", "434f4e4e45435420303030353030300a" },
}, bad_commands[] = {
	{ "no port", "434f4e4e4543540a" },
	{ "no port, a blank", "434f4e4e454354200a" },
	{ "another word", "434f4e4e45435320353030300a" },
	{ "a letter", "434f4e4e4543542035303030780a" },
	{ "a sign", "434f4e4e454354202d310a" },
	{ "2^32", "434f4e4e45435420343239343936373239360a" },
	{ "two ports", "434f4e4e454354203530303020360a" },
	{ "an empty line", "0a" },
	{ "no blank", "434f4e4e454354353030300a" },
	{ "a NUL", "434f4e4e45435420350030300a" },
	{ "33 bytes without an end", "434f4e4e4543542020202020202020202020202020202020202020202020353030" },
};

static const char *good_command_case(uint64_t i)
{
	struct vconn ctl, c;
	char line[128];

	format(line, sizeof(line), "send %s\n", good_commands[i].hex);
	EXPECT_OK(asked(&ctl, &c, line));
	EXPECT(vconn_send(&c, VSOCK_RESPONSE, 0, 0), "RESPONSE is not taken");
	EXPECT(vconn_hears(&ctl, "answer OK "), "the client got no OK");
	return vsock_test_closes(&c);
}

static const char *bad_command_case(uint64_t i)
{
	struct vconn ctl;
	char line[128];

	format(line, sizeof(line), "send %s\n", bad_commands[i].hex);
	EXPECT_OK(vsock_test_start());
	EXPECT_OK(control(&ctl, line));
	EXPECT(vconn_hears(&ctl, "answer closed\n"), "the client is not closed");
	return NULL;
}

static const char *silent_clients_case(uint64_t n)
{
	struct vconn ctl, c;
	char line[32];

	EXPECT_OK(vsock_test_start());
	format(line, sizeof(line), "hold %lu\n", n);
	EXPECT_OK(control(&ctl, line));
	EXPECT(vconn_hears(&ctl, "held\n"), "they do not get in");
	EXPECT_OK(vsock_test_connects(&c, PEER_ECHO));
	EXPECT_OK(echo_of(&c, 1000));
	EXPECT(vconn_say(&ctl, "await\n"), "not taken");
	for (unsigned i = 0; i < 3; i++) /* longer than one wait */
		if (vconn_hears(&ctl, "all closed\n"))
			return vsock_test_closes(&c);
	return tap_fail("clients without a CONNECT line stay");
}

static const char *device_reset_case(uint64_t argument)
{
	struct vconn ctl, c;

	(void)argument;
	EXPECT_OK(asked(&ctl, &c, "connect 5000\n"));
	EXPECT(vconn_send(&c, VSOCK_RESPONSE, 0, 0), "RESPONSE is not taken");
	EXPECT(vdev_reset(dev), "no reset");
	EXPECT_OK(vsock_test_start());
	EXPECT(vconn_send(&c, VSOCK_RW, 0, 4), "RW is not taken");
	EXPECT(vconn_expect(&c, VSOCK_RST), "a connection survived the reset of the device");
	EXPECT_OK(vsock_test_connects(&c, PEER_ECHO));
	return echo_of(&c, 1000);
}

static void run_connections(void)
{
	static const uint32_t sizes[] = { 1, 2, 43, 4052, 4053, 65536, 65537, 1000000 };
	static const uint32_t buffers[] = { 45, 64, 300, 4096, 65536 + 44 };

	CASE(identity_case, 0, "cid and three queues");
	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++)
		CASE(echo_case, sizes[i], "echo of %u bytes", sizes[i]);
	for (unsigned i = 0; i < ARRAY_LEN(buffers); i++)
		CASE(buffer_case, buffers[i], "echo with receive buffers of %u bytes", buffers[i]);
	CASE(feature_case, 0, "echo without ring features");
	CASE(feature_case, FEATURE_EVENT_IDX, "echo with event indices alone");
	CASE(feature_case, FEATURE_INDIRECT, "echo with indirect descriptors alone");
	CASE(nobody_case, 0, "a port where nobody listens");
	CASE(host_closes_case, 0, "the host closes at once");
	CASE(no_answer_to_shutdown_case, 0, "the host closes, the guest does not answer");
	CASE(source_case, 1, "1 byte from the host, then its end");
	CASE(source_case, 1000000, "1000000 bytes from the host, then its end");
	CASE(sink_case, 0, "guest half-close after nothing");
	CASE(sink_case, 1000000, "guest half-close after 1000000 bytes");
	CASE(talk_first_case, 0, "the host talks first");
	CASE(half_close_case, 0, "host half-close");
	CASE(reads_no_more_case, 0, "the host reads no more");
	CASE(reset_case, 0, "reset by the guest");
	CASE(shut_in_two_steps_case, VSOCK_SHUT_SEND, "shutdown in two steps, send first");
	CASE(shut_in_two_steps_case, VSOCK_SHUT_RECEIVE, "shutdown in two steps, receive first");
	CASE(device_reset_case, 0, "a device reset ends all connections");
}

static void run_flow(void)
{
	static const uint32_t rooms[] = { 1, 100, 4052, 65536 };

	CASE(credit_request_case, 0, "a credit request is answered");
	for (unsigned i = 0; i < ARRAY_LEN(rooms); i++)
		CASE(small_room_case, rooms[i] == 1 ? 37 : rooms[i],
		     "a guest with room for %u bytes", rooms[i] == 1 ? 37 : rooms[i]);
	CASE(shrinking_room_case, 0, "a guest whose room shrinks");
	CASE(no_room_case, 0, "a guest without room is asked for credit");
	CASE(no_room_case, 8, "data of the guest tell that it has room again");
	CASE(never_read_case, 0, "a host that never reads holds up nobody");
	CASE(late_reader_case, 0, "a host that reads late gets everything");
	CASE(busy_case, 0, "a listener with a full backlog holds up nobody");
	CASE(many_case, 0, "1023 connections, and not one more");
}

static void run_host(void)
{
	CASE(accepts_case, 0, "the host connects");
	CASE(refuses_case, 0, "the host connects, the guest refuses");
	CASE(no_answer_case, 0, "the host connects, the guest does not answer");
	CASE(early_data_case, 0, "data behind the CONNECT line");
	for (unsigned i = 0; i < ARRAY_LEN(good_commands); i++)
		CASE(good_command_case, i, "CONNECT line: %s", good_commands[i].name);
	for (unsigned i = 0; i < ARRAY_LEN(bad_commands); i++)
		CASE(bad_command_case, i, "bad CONNECT line: %s", bad_commands[i].name);
	/* More than have places at a time; they get in when the first ones are out. */
	CASE(silent_clients_case, 100, "100 clients that never say CONNECT time out");
}

void vsock_run(void)
{
	discover();
	dev = discover_nth(VIRTIO_ID_VSOCK, 0);
	if (!dev) {
		print("Bail out! no vsock device\n");
		return;
	}
	run_connections();
	run_flow();
	run_host();
	vsock_test_streams();
	tap_done();
}
