/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-mmio, from an access to the device. Runs in the core; every access is hostile. */
#include "vmm-core/transport/virtio_mmio.h"

#include "vmm-core/transport/virtio_mmio_regs.h"

static uint64_t mmio_read(void *ctx, uint64_t offset, unsigned size)
{
	struct virtio_device *dev = ctx;
	const struct virtio_state *state;
	uint64_t value;

	if (offset >= VIRTIO_MMIO_CONFIG)
		return device_link_config_read(virtio_device_link(dev),
					       (uint32_t)(offset - VIRTIO_MMIO_CONFIG), size);
	if (offset == VIRTIO_MMIO_CONFIG_GENERATION && size == 4)
		return device_link_config_generation(virtio_device_link(dev));
	state = virtio_device_enter(dev);
	if (offset == VIRTIO_MMIO_INTERRUPT_STATUS && size == 4)
		value = virtio_device_interrupt_status(dev);
	else
		value = virtio_mmio_regs_read(state, offset, size);
	virtio_device_leave(dev);
	return value;
}

static void mmio_write(void *ctx, uint64_t offset, unsigned size, uint64_t value)
{
	struct virtio_device *dev = ctx;
	struct virtio_state *state;
	enum virtio_action action;

	if (offset >= VIRTIO_MMIO_CONFIG) {
		device_link_config_write(virtio_device_link(dev),
					 (uint32_t)(offset - VIRTIO_MMIO_CONFIG), size, value);
		return;
	}
	state = virtio_device_enter(dev);
	action = virtio_mmio_regs_write(state, offset, size, value);
	if (action == VIRTIO_ACKNOWLEDGE)
		virtio_device_acknowledge(dev, (uint32_t)value);
	else
		virtio_device_act(dev, action);
	virtio_device_leave(dev);
}

const struct io_handler virtio_mmio_io = { .read = mmio_read, .write = mmio_write };
