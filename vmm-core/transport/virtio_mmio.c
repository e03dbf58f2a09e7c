/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-mmio, from an access to the device. Runs in the core; every access is hostile. */
#include "vmm-core/transport/virtio_mmio.h"

#define VENDOR 0x44484b42u /* "BKHD" */
#define INTERRUPT_STATUS 0x060u
#define CONFIG_GENERATION 0x0fcu
#define NO_REGION UINT32_MAX /* of shared memory, whichever is selected */

/*
 * §4.2.2.2: drivers access control registers as aligned 32 bits only. What is not here is
 * reserved; or QueueReset, whose feature is not offered; or QueueNotify, which is KVM's.
 */
static const struct virtio_register registers[] = {
	{ 0x000, 4, VIRTIO_R, VIRTIO_CONSTANT, VIRTIO_MMIO_MAGIC },
	{ 0x004, 4, VIRTIO_R, VIRTIO_CONSTANT, VIRTIO_MMIO_MODERN },
	{ 0x008, 4, VIRTIO_R, VIRTIO_DEVICE_ID, 0 },
	{ 0x00c, 4, VIRTIO_R, VIRTIO_CONSTANT, VENDOR },
	{ 0x010, 4, VIRTIO_R, VIRTIO_DEVICE_FEATURES, 0 },
	{ 0x014, 4, VIRTIO_W, VIRTIO_DEVICE_FEATURES_SEL, 0 },
	{ 0x020, 4, VIRTIO_W, VIRTIO_DRIVER_FEATURES, 0 },
	{ 0x024, 4, VIRTIO_W, VIRTIO_DRIVER_FEATURES_SEL, 0 },
	{ 0x030, 4, VIRTIO_W, VIRTIO_QUEUE_SEL, 0 },
	{ 0x034, 4, VIRTIO_R, VIRTIO_QUEUE_SIZE_MAX, 0 },
	{ 0x038, 4, VIRTIO_W, VIRTIO_QUEUE_SIZE, 0 },
	{ 0x044, 4, VIRTIO_RW, VIRTIO_QUEUE_READY, 0 },
	{ 0x064, 4, VIRTIO_W, VIRTIO_INTERRUPT_ACK, 0 },
	{ 0x070, 4, VIRTIO_RW, VIRTIO_STATUS, 0 },
	{ 0x080, 4, VIRTIO_W, VIRTIO_QUEUE_DESC_LOW, 0 },
	{ 0x084, 4, VIRTIO_W, VIRTIO_QUEUE_DESC_HIGH, 0 },
	{ 0x090, 4, VIRTIO_W, VIRTIO_QUEUE_DRIVER_LOW, 0 },
	{ 0x094, 4, VIRTIO_W, VIRTIO_QUEUE_DRIVER_HIGH, 0 },
	{ 0x0a0, 4, VIRTIO_W, VIRTIO_QUEUE_DEVICE_LOW, 0 },
	{ 0x0a4, 4, VIRTIO_W, VIRTIO_QUEUE_DEVICE_HIGH, 0 },
	{ 0x0ac, 4, VIRTIO_W, VIRTIO_CONSTANT, 0 }, /* SHMSel */
	{ 0x0b0, 4, VIRTIO_R, VIRTIO_CONSTANT, NO_REGION },
	{ 0x0b4, 4, VIRTIO_R, VIRTIO_CONSTANT, NO_REGION },
	{ 0x0b8, 4, VIRTIO_R, VIRTIO_CONSTANT, NO_REGION },
	{ 0x0bc, 4, VIRTIO_R, VIRTIO_CONSTANT, NO_REGION },
};

const struct virtio_map virtio_mmio_map = { registers, ARRAY_LEN(registers) };

static uint64_t mmio_read(void *ctx, uint64_t offset, unsigned size)
{
	struct virtio_device *dev = ctx;
	const struct virtio_state *state;
	uint64_t value;

	if (offset >= VIRTIO_MMIO_CONFIG)
		return device_link_config_read(virtio_device_link(dev),
					       (uint32_t)(offset - VIRTIO_MMIO_CONFIG), size);
	if (offset == CONFIG_GENERATION && size == 4)
		return device_link_config_generation(virtio_device_link(dev));
	state = virtio_device_enter(dev);
	if (offset == INTERRUPT_STATUS && size == 4)
		value = virtio_device_interrupt_status(dev);
	else
		value = virtio_state_read(state, &virtio_mmio_map, offset, size);
	virtio_device_leave(dev);
	return value;
}

static void mmio_write(void *ctx, uint64_t offset, unsigned size, uint64_t value)
{
	struct virtio_device *dev = ctx;
	enum virtio_action action;

	if (offset >= VIRTIO_MMIO_CONFIG) {
		device_link_config_write(virtio_device_link(dev),
					 (uint32_t)(offset - VIRTIO_MMIO_CONFIG), size, value);
		return;
	}
	action = virtio_state_write(virtio_device_enter(dev), &virtio_mmio_map, offset, size, value);
	if (action == VIRTIO_ACKNOWLEDGE)
		virtio_device_acknowledge(dev, (uint32_t)value);
	virtio_device_act(dev, action);
	virtio_device_leave(dev);
}

const struct io_handler virtio_mmio_io = { .read = mmio_read, .write = mmio_write };
