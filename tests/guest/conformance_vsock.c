/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-vsock by the book (VIRTIO 1.2 §5.10), against the services of tests/vsock/peer.py:
 * probe=vsock. Port numbers below are those of the services there.
 */
#include "modes.h"
#include "tap.h"
#include "vsock.h"

#define N_RX 64
#define RX_BYTES 4096u

static struct vdev *dev;
static struct vsock vsock;

static const char *start(uint32_t rx_bytes)
{
	EXPECT(vsock_start(&vsock, dev, FEATURE_EVENT_IDX | FEATURE_INDIRECT, N_RX, rx_bytes),
	       "it does not start, status 0x%x", vdev_status(dev));
	return NULL;
}

static const char *connects(struct vconn *c, uint32_t port)
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

static const char *echo_case(uint64_t len)
{
	struct vconn c;

	EXPECT_OK(start(RX_BYTES));
	EXPECT_OK(connects(&c, 1));
	EXPECT_OK(echo_of(&c, (uint32_t)len));
	EXPECT(vconn_close(&c), "no RST after SHUTDOWN");
	return NULL;
}

static const char *identity_case(uint64_t argument)
{
	(void)argument;
	EXPECT_OK(start(RX_BYTES));
	EXPECT(vsock.cid >= 3 && vsock.cid < 0xffffffff, "cid %lu", vsock.cid);
	for (uint16_t q = 0; q < 3; q++)
		EXPECT(vdev_queue_max(dev, q) >= 128, "queue %u has %u entries", q,
		       vdev_queue_max(dev, q));
	EXPECT(vdev_queue_max(dev, 3) == 0, "there is a fourth queue");
	return NULL;
}

void vsock_run(void)
{
	discover();
	dev = discover_nth(VIRTIO_ID_VSOCK, 0);
	if (!dev) {
		print("Bail out! no vsock device\n");
		return;
	}
	tap_case(identity_case, 0, "cid and three queues");
	tap_case(echo_case, 1, "echo of 1 byte");
	tap_case(echo_case, 4096, "echo of 4096 bytes");
	tap_case(echo_case, 100000, "echo of 100000 bytes");
	tap_case(echo_case, 1000000, "echo of 1000000 bytes");
	tap_done();
}
