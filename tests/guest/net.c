/* SPDX-License-Identifier: Apache-2.0 */
#include "net.h"

#define CTRL_MQ 4
#define ACK_NONE 0xee

void net_offer(struct net *net, uint16_t i)
{
	vq_desc(&net->rx, i, net->buffers + (size_t)i * net->buffer_len, net->buffer_len,
		DESC_WRITE, 0);
	vq_push(&net->rx, i);
}

static uint16_t at_most(uint16_t a, uint16_t b)
{
	return a < b ? a : b;
}

bool net_start(struct net *net, struct vdev *dev, uint64_t features, uint16_t size,
	       uint32_t buffer_len)
{
	uint16_t pairs, ctrl, max;

	if (!vdev_start(dev, features))
		return false;
	max = vdev_queue_max(dev, 0);
	if (max == 0)
		return false;
	pairs = dev->features & NET_F_MQ ? mmio_read16(dev->config + NET_CONFIG_PAIRS) : 1;
	ctrl = (uint16_t)(2 * pairs);
	net->dev = dev;
	net->buffer_len = buffer_len;
	vq_make(&net->rx, dev, 0, at_most(size, max));
	vq_make(&net->tx, dev, 1, at_most(size, max));
	net->buffers = memory_alloc((size_t)net->rx.size * buffer_len, 4096);
	net->out = memory_alloc(NET_HEADER + NET_FRAME_MAX, 4096);
	net->command = memory_alloc(NET_COMMAND_MAX + 1, 16);
	for (unsigned i = 0; i < 6; i++)
		net->mac[i] = mmio_read8(dev->config + NET_CONFIG_MAC + i);
	for (uint16_t i = 0; i < net->rx.size; i++)
		net_offer(net, i);
	vq_enable(&net->rx);
	vq_enable(&net->tx);
	if (dev->features & NET_F_CTRL_VQ) {
		vq_make(&net->ctrl, dev, ctrl, at_most(16, max));
		vq_enable(&net->ctrl);
	}
	vdev_driver_ok(dev);
	vq_kick(&net->rx);
	return true;
}

int net_send(struct net *net, uint32_t frame_len)
{
	struct vring_used_elem elem;

	vq_desc(&net->tx, 0, net->out, NET_HEADER, DESC_NEXT, 1);
	vq_desc(&net->tx, 1, net->out + NET_HEADER, frame_len, 0, 0);
	vq_push(&net->tx, 0);
	vq_kick(&net->tx);
	if (!vq_wait(&net->tx, TIMEOUT_REQUEST, &elem))
		return -1;
	return elem.id == 0 ? (int)elem.len : -1;
}

static uint32_t take_buffer(struct net *net, const struct vring_used_elem *elem, uint8_t *to,
			    uint32_t done)
{
	uint32_t len = elem->len;

	if (elem->id >= net->rx.size || len > net->buffer_len ||
	    len > NET_HEADER + NET_FRAME_MAX - done)
		return 0;
	memcpy(to + done, net->buffers + elem->id * (size_t)net->buffer_len, len);
	net_offer(net, (uint16_t)elem->id);
	return len;
}

int net_receive(struct net *net, uint8_t *to, uint64_t timeout_ms)
{
	static uint8_t scratch[NET_HEADER + NET_FRAME_MAX];
	struct vring_used_elem elem;
	uint16_t old = net->rx.avail_idx;
	uint32_t done = 0, n = 1, got;

	if (!to)
		to = scratch;
	for (uint32_t i = 0; i < n; i++) {
		if (!vq_wait(&net->rx, i == 0 ? timeout_ms : TIMEOUT_REQUEST, &elem))
			return i == 0 ? 0 : -1;
		got = take_buffer(net, &elem, to, done);
		if (got == 0)
			return -1;
		done += got;
		if (i == 0)
			n = ((struct net_header *)to)->num_buffers;
	}
	if (net->dev->features & FEATURE_EVENT_IDX)
		vq_kick_event(&net->rx, old);
	else
		vq_kick(&net->rx);
	return (int)done;
}

int net_control(struct net *net, uint8_t class, uint8_t command, const void *data, uint32_t len)
{
	volatile uint8_t *ack = net->command + NET_COMMAND_MAX;
	struct vring_used_elem elem;

	net->command[0] = class;
	net->command[1] = command;
	memcpy(net->command + 2, data, len);
	*ack = ACK_NONE;
	vq_desc(&net->ctrl, 0, net->command, 2, DESC_NEXT, len ? 1 : 2);
	vq_desc(&net->ctrl, 1, net->command + 2, len, DESC_NEXT, 2);
	vq_desc(&net->ctrl, 2, ack, 1, DESC_WRITE, 0);
	vq_push(&net->ctrl, 0);
	vq_kick(&net->ctrl);
	if (!vq_wait(&net->ctrl, TIMEOUT_REQUEST, &elem) || elem.id != 0)
		return -1;
	return *ack;
}

void net_fill(struct net *net, const uint8_t *destination, uint32_t len, uint8_t salt)
{
	uint8_t *frame = net->out + NET_HEADER;

	memset(net->out, 0, NET_HEADER);
	memcpy(frame, destination, 6);
	memcpy(frame + 6, net->mac, 6);
	frame[12] = 0x88; /* IEEE 802 local experimental EtherType */
	frame[13] = 0xb5;
	for (uint32_t i = ETH_HEADER; i < len; i++)
		frame[i] = (uint8_t)(i * 7 + salt);
}

/* Sends back what comes for our address, until nothing comes for 10 seconds. */
void net_echo_run(void)
{
	const uint8_t pairs[2] = { (uint8_t)boot_option_number("pairs", 1), 0 };
	uint64_t wait_ms = boot_option_number("wait", TIMEOUT_REQUEST);
	uint64_t features = NET_F_MAC | NET_F_MRG_RXBUF | NET_F_CTRL_VQ;
	struct vdev *dev;
	struct net net;
	unsigned n = 0;
	int len;

	discover();
	dev = discover_nth(VIRTIO_ID_NET, 0);
	if (pairs[0] > 1)
		features |= NET_F_MQ;
	if (!dev || !net_start(&net, dev, features, 256, 2048) ||
	    (pairs[0] > 1 && net_control(&net, CTRL_MQ, 0, pairs, 2) != 0)) {
		print("probe: no NIC that starts\n");
		return;
	}
	print("probe: echo %02x:%02x:%02x:%02x:%02x:%02x\n", net.mac[0], net.mac[1], net.mac[2],
	      net.mac[3], net.mac[4], net.mac[5]);
	while ((len = net_receive(&net, net.out, wait_ms)) > 0) {
		uint8_t *frame = net.out + NET_HEADER;

		if (memcmp(frame, net.mac, 6) != 0)
			continue;
		memcpy(frame, frame + 6, 6);
		memcpy(frame + 6, net.mac, 6);
		memset(net.out, 0, NET_HEADER);
		if (net_send(&net, (uint32_t)len - NET_HEADER) < 0)
			break;
		n++;
	}
	print("probe: echoed %u frames\n", n);
}
