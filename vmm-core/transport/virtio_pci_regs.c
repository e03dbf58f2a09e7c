/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-pci common configuration, pure part. Runs in the core; every access is hostile. */
#include "vmm-core/transport/virtio_pci_regs.h"

/* Size of the field that starts at an offset; 0: none does. */
static const uint8_t field_sizes[VIRTIO_PCI_COMMON_SIZE] = {
	[VIRTIO_PCI_DEVICE_FEATURE_SELECT] = 4,
	[VIRTIO_PCI_DEVICE_FEATURE] = 4,
	[VIRTIO_PCI_DRIVER_FEATURE_SELECT] = 4,
	[VIRTIO_PCI_DRIVER_FEATURE] = 4,
	[VIRTIO_PCI_CONFIG_MSIX_VECTOR] = 2,
	[VIRTIO_PCI_NUM_QUEUES] = 2,
	[VIRTIO_PCI_DEVICE_STATUS] = 1,
	[VIRTIO_PCI_CONFIG_GENERATION] = 1,
	[VIRTIO_PCI_QUEUE_SELECT] = 2,
	[VIRTIO_PCI_QUEUE_SIZE] = 2,
	[VIRTIO_PCI_QUEUE_MSIX_VECTOR] = 2,
	[VIRTIO_PCI_QUEUE_ENABLE] = 2,
	[VIRTIO_PCI_QUEUE_NOTIFY_OFF] = 2,
	[VIRTIO_PCI_QUEUE_DESC] = 4,
	[VIRTIO_PCI_QUEUE_DESC + 4] = 4,
	[VIRTIO_PCI_QUEUE_DRIVER] = 4,
	[VIRTIO_PCI_QUEUE_DRIVER + 4] = 4,
	[VIRTIO_PCI_QUEUE_DEVICE] = 4,
	[VIRTIO_PCI_QUEUE_DEVICE + 4] = 4,
};

static bool is_field(uint32_t offset, unsigned size)
{
	return offset < VIRTIO_PCI_COMMON_SIZE && size != 0 && field_sizes[offset] == size;
}

/* §4.1.4.3: a queue that does not exist has size 0; one whose size was not chosen, the largest. */
static uint32_t queue_size(const struct virtio_state *state)
{
	const struct virtio_queue *q = virtio_state_queue(state);

	if (q == NULL)
		return 0;
	return q->size != 0 ? q->size : state->queue_size_max;
}

static uint32_t queue_address(const struct virtio_queue *q, uint32_t offset)
{
	uint64_t address = offset < VIRTIO_PCI_QUEUE_DRIVER ? q->desc :
			   offset < VIRTIO_PCI_QUEUE_DEVICE ? q->avail : q->used;

	return (uint32_t)(address >> 8 * (offset % 8));
}

uint32_t virtio_pci_regs_read(const struct virtio_state *state, const uint16_t *vectors,
			      uint32_t offset, unsigned size)
{
	const struct virtio_queue *q = virtio_state_queue(state);

	if (!is_field(offset, size))
		return 0;
	switch (offset) {
	case VIRTIO_PCI_DEVICE_FEATURE_SELECT:
		return state->device_features_sel;
	case VIRTIO_PCI_DEVICE_FEATURE:
		return virtio_state_offered(state);
	case VIRTIO_PCI_DRIVER_FEATURE_SELECT:
		return state->driver_features_sel;
	case VIRTIO_PCI_DRIVER_FEATURE:
		return virtio_state_accepted(state);
	case VIRTIO_PCI_CONFIG_MSIX_VECTOR:
		return vectors[state->n_queues];
	case VIRTIO_PCI_NUM_QUEUES:
		return state->n_queues;
	case VIRTIO_PCI_DEVICE_STATUS:
		return state->status;
	case VIRTIO_PCI_QUEUE_SELECT:
		return state->queue_sel;
	case VIRTIO_PCI_QUEUE_SIZE:
		return queue_size(state);
	case VIRTIO_PCI_QUEUE_MSIX_VECTOR:
		return q != NULL ? vectors[state->queue_sel] : VIRTIO_PCI_NO_VECTOR;
	case VIRTIO_PCI_QUEUE_ENABLE:
		return q != NULL && q->ready;
	case VIRTIO_PCI_QUEUE_NOTIFY_OFF:
		return q != NULL ? state->queue_sel : 0;
	case VIRTIO_PCI_CONFIG_GENERATION:
		return 0;
	default:
		return q != NULL ? queue_address(q, offset) : 0;
	}
}

/* §4.1.5.1.2.2: a vector that does not exist is not taken, which the driver reads back. */
static uint16_t checked_vector(const struct virtio_state *state, uint32_t value)
{
	return value <= state->n_queues ? (uint16_t)value : VIRTIO_PCI_NO_VECTOR;
}

/* §4.1.4.3.2: the driver does not write 0. A size that it did not choose is the largest. */
static bool write_queue_enable(struct virtio_state *state, uint32_t value)
{
	const struct virtio_queue *q = virtio_state_queue(state);

	if (q == NULL || value != 1)
		return false;
	if (q->size == 0 && !virtio_state_write_queue_size(state, state->queue_size_max))
		return false;
	return virtio_state_write_queue_ready(state, 1);
}

/* Return: false when the write had no effect. */
static bool write_plain(struct virtio_state *state, uint32_t offset, uint32_t value)
{
	switch (offset) {
	case VIRTIO_PCI_DEVICE_FEATURE_SELECT:
		state->device_features_sel = value;
		return true;
	case VIRTIO_PCI_DRIVER_FEATURE_SELECT:
		state->driver_features_sel = value;
		return true;
	case VIRTIO_PCI_QUEUE_SELECT:
		state->queue_sel = value;
		return true;
	case VIRTIO_PCI_DRIVER_FEATURE:
		return virtio_state_write_features(state, value);
	case VIRTIO_PCI_QUEUE_SIZE:
		return virtio_state_write_queue_size(state, value);
	case VIRTIO_PCI_QUEUE_ENABLE:
		return write_queue_enable(state, value);
	default:
		if (offset < VIRTIO_PCI_QUEUE_DESC)
			return false; /* read-only */
		return virtio_state_write_queue_address(
			state, (offset - VIRTIO_PCI_QUEUE_DESC) / 8, offset % 8 / 4, value);
	}
}

enum virtio_action virtio_pci_regs_write(struct virtio_state *state, uint16_t *vectors,
					 uint32_t offset, unsigned size, uint32_t value)
{
	bool is_known = is_field(offset, size);

	if (is_known && offset == VIRTIO_PCI_DEVICE_STATUS)
		return virtio_state_write_status(state, value & 0xff);
	if (is_known && offset == VIRTIO_PCI_CONFIG_MSIX_VECTOR) {
		vectors[state->n_queues] = checked_vector(state, value);
		return VIRTIO_VECTORS;
	}
	if (is_known && offset == VIRTIO_PCI_QUEUE_MSIX_VECTOR && virtio_state_queue(state)) {
		vectors[state->queue_sel] = checked_vector(state, value);
		return VIRTIO_VECTORS;
	}
	if (!is_known || !write_plain(state, offset, value))
		state->n_ignored++;
	return VIRTIO_NOTHING;
}
