/* SPDX-License-Identifier: Apache-2.0 */
#include "hostile_stream.h"

#define PAGE 4096u

void stream_fill(uint8_t *room)
{
	memset(room, STREAM_UNTOUCHED, STREAM_ROOM);
}

uint8_t *stream_room(void)
{
	uint8_t *room = memory_alloc(STREAM_ROOM, PAGE);

	stream_fill(room);
	return room;
}

const char *stream_is_untouched(const uint8_t *room, uint32_t from)
{
	for (uint32_t i = from; i < STREAM_ROOM; i++)
		EXPECT(room[i] == STREAM_UNTOUCHED, "byte %u was written", i);
	return NULL;
}

const char *stream_recovers(struct vdev *dev, const char *(*start)(void),
			    const char *(*works)(void))
{
	if (dev) {
		EXPECT(vdev_reset(dev), "no reset afterwards, status 0x%x", vdev_status(dev));
		EXPECT_OK(start());
		EXPECT_OK(works());
	}
	return victim_and_others_work();
}

static uint64_t stream_address(const uint8_t *room, uint64_t addr)
{
	if (addr < STREAM_ROOM)
		return (uint64_t)room + addr;
	if (addr >= STREAM_RAM_END - PAGE && addr <= STREAM_RAM_END + PAGE)
		return victim.ram_end + (addr - STREAM_RAM_END);
	return addr;
}

void stream_push(struct vq *vq, const struct stream_case *c, const uint8_t *room)
{
	for (uint16_t k = 0; k < c->n; k++)
		vq_desc(vq, k, (void *)stream_address(room, c->desc[k].addr), c->desc[k].len,
			c->desc[k].flags, c->desc[k].next);
	vq_push(vq, 0);
	vq_kick(vq);
}

void stream_push_outside(struct vq *vq)
{
	vq_push(vq, vq->size);
	vq_kick(vq);
}

void stream_jump(struct vq *vq)
{
	vq->avail_idx = (uint16_t)(vq->avail_idx + vq->size + 1);
	vq_publish(vq);
	vq_kick(vq);
}

void stream_push_ring(struct vq *vq, uint16_t head, enum ring_part part)
{
	volatile void *const at[] = { vq->desc, vq->avail, vq->used };

	vq_desc(vq, head, at[part], 132, DESC_WRITE, 0);
	vq_push(vq, head);
}
