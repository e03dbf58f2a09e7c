/* SPDX-License-Identifier: Apache-2.0 */
/* Registers of virtio-mmio (VIRTIO 1.2 §4.2) and virtio-pci (§4.1) behind one interface. */
#include "pci.h"

uint8_t vdev_status(const struct vdev *dev)
{
	if (dev->is_pci)
		return mmio_read8(dev->common + PCI_DEVICE_STATUS);
	return (uint8_t)mmio_read32(dev->mmio + MMIO_STATUS);
}

void vdev_set_status(const struct vdev *dev, uint8_t status)
{
	if (dev->is_pci)
		mmio_write8(dev->common + PCI_DEVICE_STATUS, status);
	else
		mmio_write32(dev->mmio + MMIO_STATUS, status);
}

uint64_t vdev_offered(const struct vdev *dev)
{
	uint64_t select = dev->is_pci ? dev->common + PCI_DEVICE_FEATURE_SELECT
				      : dev->mmio + MMIO_DEVICE_FEATURES_SEL;
	uint64_t bits = dev->is_pci ? dev->common + PCI_DEVICE_FEATURE
				    : dev->mmio + MMIO_DEVICE_FEATURES;
	uint64_t features;

	mmio_write32(select, 0);
	features = mmio_read32(bits);
	mmio_write32(select, 1);
	return features | (uint64_t)mmio_read32(bits) << 32;
}

void vdev_accept(const struct vdev *dev, uint64_t features)
{
	uint64_t select = dev->is_pci ? dev->common + PCI_DRIVER_FEATURE_SELECT
				      : dev->mmio + MMIO_DRIVER_FEATURES_SEL;
	uint64_t bits = dev->is_pci ? dev->common + PCI_DRIVER_FEATURE
				    : dev->mmio + MMIO_DRIVER_FEATURES;

	mmio_write32(select, 0);
	mmio_write32(bits, (uint32_t)features);
	mmio_write32(select, 1);
	mmio_write32(bits, (uint32_t)(features >> 32));
}

void vdev_select(const struct vdev *dev, uint16_t queue)
{
	if (dev->is_pci)
		mmio_write16(dev->common + PCI_QUEUE_SELECT, queue);
	else
		mmio_write32(dev->mmio + MMIO_QUEUE_SEL, queue);
}

uint16_t vdev_queue_max(const struct vdev *dev, uint16_t queue)
{
	vdev_select(dev, queue);
	if (dev->is_pci)
		return mmio_read16(dev->common + PCI_QUEUE_SIZE);
	return (uint16_t)mmio_read32(dev->mmio + MMIO_QUEUE_NUM_MAX);
}

static void vdev_write_address(const struct vdev *dev, uint32_t pci, uint32_t mmio, uint64_t value)
{
	uint64_t at = dev->is_pci ? dev->common + pci : dev->mmio + mmio;

	mmio_write32(at, (uint32_t)value);
	mmio_write32(at + 4, (uint32_t)(value >> 32));
}

/* Some answer it only to a driver that has begun, so discovery was too early. */
static void vdev_learn_notify_offset(struct vdev *dev, uint16_t queue)
{
	if (queue < ARRAY_LEN(dev->notify_offsets))
		dev->notify_offsets[queue] = mmio_read16(dev->common + PCI_QUEUE_NOTIFY_OFF);
}

void vdev_queue_enable(struct vdev *dev, uint16_t queue, uint32_t size, uint64_t desc,
		       uint64_t avail, uint64_t used)
{
	vdev_select(dev, queue);
	if (dev->is_pci)
		mmio_write16(dev->common + PCI_QUEUE_SIZE, (uint16_t)size);
	else
		mmio_write32(dev->mmio + MMIO_QUEUE_NUM, size);
	vdev_write_address(dev, PCI_QUEUE_DESC, MMIO_QUEUE_DESC_LOW, desc);
	vdev_write_address(dev, PCI_QUEUE_DRIVER, MMIO_QUEUE_DRIVER_LOW, avail);
	vdev_write_address(dev, PCI_QUEUE_DEVICE, MMIO_QUEUE_DEVICE_LOW, used);
	if (dev->is_pci) {
		vdev_learn_notify_offset(dev, queue);
		mmio_write16(dev->common + PCI_QUEUE_ENABLE, 1);
	} else {
		mmio_write32(dev->mmio + MMIO_QUEUE_READY, 1);
	}
}

bool vdev_queue_is_enabled(const struct vdev *dev, uint16_t queue)
{
	vdev_select(dev, queue);
	if (dev->is_pci)
		return mmio_read16(dev->common + PCI_QUEUE_ENABLE) == 1;
	return mmio_read32(dev->mmio + MMIO_QUEUE_READY) == 1;
}

void vdev_kick(const struct vdev *dev, uint16_t queue)
{
	unsigned i = queue % ARRAY_LEN(dev->notify_offsets);

	cpu_fence();
	if (dev->is_pci)
		mmio_write16(dev->notify + (uint64_t)dev->notify_offsets[i] * dev->notify_multiplier,
			     queue);
	else
		mmio_write32(dev->mmio + MMIO_QUEUE_NOTIFY, queue);
}

uint32_t vdev_interrupt(const struct vdev *dev)
{
	return dev->is_pci ? mmio_read8(dev->isr) : mmio_read32(dev->mmio + MMIO_INTERRUPT_STATUS);
}

void vdev_interrupt_ack(const struct vdev *dev, uint32_t bits)
{
	if (!dev->is_pci)
		mmio_write32(dev->mmio + MMIO_INTERRUPT_ACK, bits);
}

uint8_t vdev_generation(const struct vdev *dev)
{
	if (dev->is_pci)
		return mmio_read8(dev->common + PCI_CONFIG_GENERATION);
	return (uint8_t)mmio_read32(dev->mmio + MMIO_CONFIG_GENERATION);
}

bool vdev_reset(const struct vdev *dev)
{
	uint64_t deadline = time_deadline(TIMEOUT_REQUEST);

	vdev_set_status(dev, 0);
	while (vdev_status(dev) != 0) {
		if (time_passed(deadline))
			return false;
		cpu_pause();
	}
	return true;
}

bool vdev_start(struct vdev *dev, uint64_t features)
{
	uint8_t status = STATUS_ACKNOWLEDGE | STATUS_DRIVER;

	if (!vdev_reset(dev))
		return false;
	vdev_set_status(dev, STATUS_ACKNOWLEDGE);
	vdev_set_status(dev, status);
	dev->features = (features | FEATURE_VERSION_1 | FEATURE_ACCESS_PLATFORM) & vdev_offered(dev);
	vdev_accept(dev, dev->features);
	status |= STATUS_FEATURES_OK;
	vdev_set_status(dev, status);
	return vdev_status(dev) == status;
}

void vdev_driver_ok(const struct vdev *dev)
{
	vdev_set_status(dev, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK |
				     STATUS_DRIVER_OK);
}
