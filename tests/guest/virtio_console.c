/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio_console.h"

#include "tap.h"

#define SYNC_BYTES 12u
#define SYNC_MS 30000
#define SYNC_AGAIN_MS 200 /* somebody who was not there yet has missed it */

bool vcon_start(struct vcon *c, struct vdev *dev, uint64_t features, uint16_t size)
{
	uint16_t max;

	if (!vdev_start(dev, features))
		return false;
	max = vdev_queue_max(dev, VCON_TX);
	if (max == 0)
		return false;
	c->dev = dev;
	c->byte = memory_alloc(VCON_PIECE, 16);
	vq_make(&c->rx, dev, VCON_RX, size < max ? size : max);
	vq_make(&c->tx, dev, VCON_TX, size < max ? size : max);
	vq_enable(&c->rx);
	vq_enable(&c->tx);
	vdev_driver_ok(dev);
	return true;
}

int64_t vcon_write(struct vcon *c, const volatile void *data, uint32_t len)
{
	struct vring_used_elem elem;

	vq_desc(&c->tx, 0, data, len, 0, 0);
	vq_push(&c->tx, 0);
	vq_kick(&c->tx);
	if (!vq_wait(&c->tx, TIMEOUT_REQUEST, &elem) || elem.id != 0)
		return -1;
	return elem.len;
}

/* One buffer; it stays in the queue when nothing comes. Return: bytes, -1: none in time */
static int64_t receive(struct vcon *c, uint32_t len, uint64_t ms)
{
	struct vring_used_elem elem;

	if (c->rx.avail_idx == c->rx.used_idx) { /* else the last one is still there */
		vq_desc(&c->rx, 0, c->byte, len, DESC_WRITE, 0);
		vq_push(&c->rx, 0);
		vq_kick(&c->rx);
	}
	if (!vq_wait(&c->rx, ms, &elem) || elem.id != 0 || elem.len > len)
		return -1;
	return elem.len;
}

const char *vcon_read(struct vcon *c, void *data, uint32_t len)
{
	uint8_t *to = data;
	uint32_t got = 0;

	while (got < len) {
		uint32_t room = len - got < VCON_PIECE ? len - got : VCON_PIECE;
		int64_t n = receive(c, room, TIMEOUT_REQUEST);

		EXPECT(n >= 0, "%u of %u bytes came back, device status 0x%x", got, len,
		       vdev_status(c->dev));
		memcpy(to + got, c->byte, (size_t)n);
		got += (uint32_t)n;
	}
	return NULL;
}

/* How far the token has come with these bytes; its first byte is nowhere else in it. */
static uint32_t match(const uint8_t *token, uint32_t matched, const uint8_t *bytes, uint32_t n)
{
	for (uint32_t i = 0; i < n && matched < SYNC_BYTES; i++)
		matched = bytes[i] == token[matched] ? matched + 1 : bytes[i] == token[0];
	return matched;
}

/* Reads all the while: what is left of earlier times may keep the output from getting out. */
const char *vcon_sync(struct vcon *c)
{
	static uint32_t n_syncs;
	uint8_t *token = memory_alloc(SYNC_BYTES, 16);
	uint64_t deadline = time_deadline(SYNC_MS);
	struct vring_used_elem elem;

	while (!time_passed(deadline)) {
		uint32_t matched = 0;
		int64_t n;

		format((char *)token, SYNC_BYTES, "\x01sync%06x", ++n_syncs & 0xffffff);
		vq_desc(&c->tx, 0, token, SYNC_BYTES, 0, 0);
		vq_push(&c->tx, 0);
		vq_kick(&c->tx);
		while (matched < SYNC_BYTES && (n = receive(c, VCON_PIECE, SYNC_AGAIN_MS)) >= 0)
			matched = match(token, matched, c->byte, (uint32_t)n);
		EXPECT(vq_wait(&c->tx, TIMEOUT_REQUEST, &elem), "no answer to output, status 0x%x",
		       vdev_status(c->dev));
		if (matched == SYNC_BYTES)
			return NULL;
	}
	return tap_fail("nothing comes back, device status 0x%x", vdev_status(c->dev));
}
