/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-mmio registers, pure part. Runs in the core; every access is the guest's and hostile. */
#include "vmm-core/transport/virtio_mmio_regs.h"

#define MAGIC 0x74726976u /* "virt" */
#define VERSION 2u

uint32_t virtio_mmio_regs_read(const struct virtio_state *state, uint64_t offset, unsigned size)
{
	const struct virtio_queue *q = virtio_state_queue(state);

	if (size != 4 || offset % 4 != 0 || offset >= VIRTIO_MMIO_CONFIG)
		return 0; /* §4.2.2.2: drivers access control registers as aligned 32 bits only */
	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MAGIC;
	case VIRTIO_MMIO_VERSION:
		return VERSION;
	case VIRTIO_MMIO_DEVICE_ID:
		return state->device_id;
	case VIRTIO_MMIO_VENDOR_ID:
		return VIRTIO_MMIO_VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return virtio_state_offered(state);
	case VIRTIO_MMIO_QUEUE_SIZE_MAX:
		return q != NULL ? state->queue_size_max : 0;
	case VIRTIO_MMIO_QUEUE_READY:
		return q != NULL && q->ready;
	case VIRTIO_MMIO_STATUS:
		return state->status;
	case VIRTIO_MMIO_SHM_LEN_LOW:
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		return UINT32_MAX; /* "no such region", whichever is selected */
	default:
		return 0; /* write-only, reserved, or the owner's */
	}
}

/* Registers that change nothing outside. Return: false when the write had no effect. */
static bool write_plain(struct virtio_state *state, uint64_t offset, uint32_t value)
{
	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		state->device_features_sel = value;
		return true;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		state->driver_features_sel = value;
		return true;
	case VIRTIO_MMIO_QUEUE_SEL:
		state->queue_sel = value;
		return true;
	case VIRTIO_MMIO_SHM_SEL:
		return true; /* no region exists, so the selection does not matter */
	case VIRTIO_MMIO_DRIVER_FEATURES:
		return virtio_state_write_features(state, value);
	case VIRTIO_MMIO_QUEUE_SIZE:
		return virtio_state_write_queue_size(state, value);
	case VIRTIO_MMIO_QUEUE_READY:
		return virtio_state_write_queue_ready(state, value);
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
	case VIRTIO_MMIO_QUEUE_DRIVER_LOW:
	case VIRTIO_MMIO_QUEUE_DRIVER_HIGH:
	case VIRTIO_MMIO_QUEUE_DEVICE_LOW:
	case VIRTIO_MMIO_QUEUE_DEVICE_HIGH:
		return virtio_state_write_queue_address(
			state, (uint32_t)(offset - VIRTIO_MMIO_QUEUE_DESC_LOW) / 0x10u,
			offset % 8 / 4, value);
	default:
		/*
		 * Read-only and reserved ones; QUEUE_RESET, whose feature is not offered; and
		 * QUEUE_NOTIFY: KVM takes the notifications of queues that exist.
		 */
		return false;
	}
}

enum virtio_action virtio_mmio_regs_write(struct virtio_state *state, uint64_t offset,
					  unsigned size, uint64_t value)
{
	if (size != 4 || offset % 4 != 0 || offset >= VIRTIO_MMIO_CONFIG) {
		state->n_ignored++;
		return VIRTIO_NOTHING;
	}
	if (offset == VIRTIO_MMIO_STATUS)
		return virtio_state_write_status(state, (uint32_t)value);
	if (offset == VIRTIO_MMIO_INTERRUPT_ACK)
		return VIRTIO_ACKNOWLEDGE;
	if (!write_plain(state, offset, (uint32_t)value))
		state->n_ignored++;
	return VIRTIO_NOTHING;
}
