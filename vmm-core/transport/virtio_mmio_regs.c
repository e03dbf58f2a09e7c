/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-mmio registers, pure part. Runs in the core; every access is the guest's and hostile.
 *
 * What a driver may write depends on how far it got (VIRTIO 1.2 §3.1.1):
 *
 *	after DRIVER, before FEATURES_OK	driver features
 *	after FEATURES_OK, before DRIVER_OK	queue size, addresses, ready
 *	any time				selectors, interrupt acknowledgement, status
 *
 * A write at another time has no effect and is counted. After DRIVER_OK the queues are thus
 * frozen, so what the device was told stays what the registers say, until a reset.
 */
#include "vmm-core/transport/virtio_mmio_regs.h"

#include <string.h>

#define MAGIC 0x74726976u /* "virt" */
#define VERSION 2u
#define FEATURE_VERSION_1 (UINT64_C(1) << 32)

/* The steps of a driver's start; each needs all before it. */
static const uint32_t status_steps[] = {
	VIRTIO_STATUS_ACKNOWLEDGE,
	VIRTIO_STATUS_DRIVER,
	VIRTIO_STATUS_FEATURES_OK,
	VIRTIO_STATUS_DRIVER_OK,
};

/* VIRTIO 1.2 §2.7: bytes of the three parts of a split ring and their alignment. */
struct ring_area {
	uint64_t at;
	uint64_t len;
	uint64_t align;
};

void virtio_mmio_regs_reset(struct virtio_mmio_regs *regs)
{
	regs->status = 0;
	regs->device_features_sel = 0;
	regs->driver_features_sel = 0;
	regs->queue_sel = 0;
	regs->driver_features = 0;
	regs->driver_features_beyond = false;
	memset(regs->queues, 0, sizeof(regs->queues));
}

bool virtio_mmio_regs_fail(struct virtio_mmio_regs *regs)
{
	if (!(regs->status & VIRTIO_STATUS_FEATURES_OK) ||
	    (regs->status & VIRTIO_STATUS_NEEDS_RESET))
		return false;
	regs->status |= VIRTIO_STATUS_NEEDS_RESET;
	return regs->status & VIRTIO_STATUS_DRIVER_OK;
}

/* Has the driver got through step @has, not yet through @has_not, and is nothing broken? */
static bool is_between(const struct virtio_mmio_regs *regs, uint32_t has, uint32_t has_not)
{
	has_not |= VIRTIO_STATUS_NEEDS_RESET | VIRTIO_STATUS_FAILED;
	return (regs->status & has) == has && (regs->status & has_not) == 0;
}

static const struct virtio_mmio_queue *selected_queue(const struct virtio_mmio_regs *regs)
{
	return regs->queue_sel < regs->n_queues ? &regs->queues[regs->queue_sel] : NULL;
}

/* The selected queue while the driver may set it up; a ready one has to be taken back first. */
static struct virtio_mmio_queue *writable_queue(struct virtio_mmio_regs *regs, bool ready_too)
{
	struct virtio_mmio_queue *q;

	if (regs->queue_sel >= regs->n_queues ||
	    !is_between(regs, VIRTIO_STATUS_FEATURES_OK, VIRTIO_STATUS_DRIVER_OK))
		return NULL;
	q = &regs->queues[regs->queue_sel];
	return q->ready && !ready_too ? NULL : q;
}

static bool is_in_ram(const struct virtio_mmio_regs *regs, const struct ring_area *area)
{
	for (uint32_t i = 0; i < regs->n_ram; i++) {
		const struct guest_region *ram = &regs->ram[i];

		if (area->at >= ram->gpa && area->at - ram->gpa < ram->size &&
		    area->len <= ram->size - (area->at - ram->gpa))
			return true;
	}
	return false;
}

/* Both lie in RAM, so neither wraps. */
static bool is_overlapping(const struct ring_area *a, const struct ring_area *b)
{
	return a->at <= b->at ? b->at - a->at < a->len : a->at - b->at < b->len;
}

/* May this queue be handed to the device? The device process checks again. */
static bool is_queue_valid(const struct virtio_mmio_regs *regs, const struct virtio_mmio_queue *q)
{
	const struct ring_area areas[] = {
		{ q->desc, UINT64_C(16) * q->size, 16 },
		{ q->avail, UINT64_C(6) + UINT64_C(2) * q->size, 2 },
		{ q->used, UINT64_C(6) + UINT64_C(8) * q->size, 4 },
	};

	if (q->size == 0 || q->size > regs->queue_size_max || (q->size & (q->size - 1)) != 0)
		return false;
	for (uint32_t i = 0; i < 3; i++) {
		if (areas[i].at % areas[i].align != 0 || !is_in_ram(regs, &areas[i]))
			return false;
	}
	return !is_overlapping(&areas[0], &areas[1]) && !is_overlapping(&areas[0], &areas[2]) &&
	       !is_overlapping(&areas[1], &areas[2]);
}

/* The half of a 64-bit value that a selector of 0 or 1 means; nothing exists above. */
static uint32_t half_of(uint64_t v, uint32_t sel)
{
	return sel > 1 ? 0 : (uint32_t)(v >> (32 * sel));
}

static void set_half(uint64_t *v, uint32_t sel, uint32_t half)
{
	*v = sel == 0 ? (*v & ~UINT64_C(0xffffffff)) | half :
			(*v & UINT64_C(0xffffffff)) | (uint64_t)half << 32;
}

uint32_t virtio_mmio_regs_read(const struct virtio_mmio_regs *regs, uint64_t offset, unsigned size)
{
	const struct virtio_mmio_queue *q = selected_queue(regs);

	if (size != 4 || offset % 4 != 0 || offset >= VIRTIO_MMIO_CONFIG)
		return 0; /* §4.2.2.2: drivers access control registers as aligned 32 bits only */
	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MAGIC;
	case VIRTIO_MMIO_VERSION:
		return VERSION;
	case VIRTIO_MMIO_DEVICE_ID:
		return regs->device_id;
	case VIRTIO_MMIO_VENDOR_ID:
		return VIRTIO_MMIO_VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return half_of(regs->features, regs->device_features_sel);
	case VIRTIO_MMIO_QUEUE_SIZE_MAX:
		return q != NULL ? regs->queue_size_max : 0;
	case VIRTIO_MMIO_QUEUE_READY:
		return q != NULL && q->ready;
	case VIRTIO_MMIO_STATUS:
		return regs->status;
	case VIRTIO_MMIO_SHM_LEN_LOW:
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		return UINT32_MAX; /* "no such region", whichever is selected */
	default:
		return 0; /* write-only, reserved, or the owner's */
	}
}

static bool are_features_acceptable(const struct virtio_mmio_regs *regs)
{
	return regs->is_usable && !regs->driver_features_beyond &&
	       (regs->driver_features & ~regs->features) == 0 &&
	       (regs->driver_features & FEATURE_VERSION_1);
}

/*
 * §2.1.1: a driver adds bits, in order, and clears them by a reset only; once something failed,
 * only that reset is left. §2.2.2: FEATURES_OK is the device's to refuse, and the driver reads
 * back whether it stuck.
 */
static enum virtio_mmio_action write_status(struct virtio_mmio_regs *regs, uint32_t value)
{
	uint32_t had = regs->status & ~VIRTIO_STATUS_NEEDS_RESET;

	if (value == 0)
		return VIRTIO_MMIO_RESET;
	if ((had & ~value) != 0 || !is_between(regs, 0, 0)) {
		regs->n_ignored++;
		return VIRTIO_MMIO_NOTHING;
	}
	for (uint32_t i = 0; i < ARRAY_LEN(status_steps); i++) {
		uint32_t step = status_steps[i];

		if (!(value & step))
			break;
		if (step == VIRTIO_STATUS_FEATURES_OK && !(had & step) &&
		    !are_features_acceptable(regs))
			break;
		regs->status |= step;
	}
	regs->status |= value & VIRTIO_STATUS_FAILED; /* the driver gave up, at whatever step */
	return (regs->status & ~had & VIRTIO_STATUS_DRIVER_OK) ? VIRTIO_MMIO_ACTIVATE :
								 VIRTIO_MMIO_NOTHING;
}

static bool write_driver_features(struct virtio_mmio_regs *regs, uint32_t value)
{
	if (!is_between(regs, VIRTIO_STATUS_DRIVER, VIRTIO_STATUS_FEATURES_OK))
		return false;
	if (regs->driver_features_sel <= 1)
		set_half(&regs->driver_features, regs->driver_features_sel, value);
	else if (value != 0)
		regs->driver_features_beyond = true;
	return true;
}

static bool write_queue_size(struct virtio_mmio_regs *regs, uint32_t value)
{
	struct virtio_mmio_queue *q = writable_queue(regs, false);

	if (q == NULL)
		return false;
	q->size = value; /* judged with the rest when the queue is made ready */
	return true;
}

/* A queue that cannot work stays not ready, which the driver can read back. */
static bool write_queue_ready(struct virtio_mmio_regs *regs, uint32_t value)
{
	struct virtio_mmio_queue *q = writable_queue(regs, true);

	if (q == NULL || value > 1)
		return false;
	if (value == 1 && !q->ready && !is_queue_valid(regs, q))
		return false;
	q->ready = value == 1;
	return true;
}

static bool write_queue_address(struct virtio_mmio_regs *regs, uint64_t offset, uint32_t value)
{
	struct virtio_mmio_queue *q = writable_queue(regs, false);
	uint32_t half = offset % 8 == 0 ? 0 : 1;

	if (q == NULL)
		return false;
	if (offset < VIRTIO_MMIO_QUEUE_DRIVER_LOW)
		set_half(&q->desc, half, value);
	else if (offset < VIRTIO_MMIO_QUEUE_DEVICE_LOW)
		set_half(&q->avail, half, value);
	else
		set_half(&q->used, half, value);
	return true;
}

/* Registers that change nothing outside. Return: false when the write had no effect. */
static bool write_plain(struct virtio_mmio_regs *regs, uint64_t offset, uint32_t value)
{
	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		regs->device_features_sel = value;
		return true;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		regs->driver_features_sel = value;
		return true;
	case VIRTIO_MMIO_QUEUE_SEL:
		regs->queue_sel = value;
		return true;
	case VIRTIO_MMIO_SHM_SEL:
		return true; /* no region exists, so the selection does not matter */
	case VIRTIO_MMIO_DRIVER_FEATURES:
		return write_driver_features(regs, value);
	case VIRTIO_MMIO_QUEUE_SIZE:
		return write_queue_size(regs, value);
	case VIRTIO_MMIO_QUEUE_READY:
		return write_queue_ready(regs, value);
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
	case VIRTIO_MMIO_QUEUE_DRIVER_LOW:
	case VIRTIO_MMIO_QUEUE_DRIVER_HIGH:
	case VIRTIO_MMIO_QUEUE_DEVICE_LOW:
	case VIRTIO_MMIO_QUEUE_DEVICE_HIGH:
		return write_queue_address(regs, offset, value);
	default:
		/*
		 * Read-only and reserved ones; QUEUE_RESET, whose feature is not offered; and
		 * QUEUE_NOTIFY: KVM takes the notifications of queues that exist.
		 */
		return false;
	}
}

enum virtio_mmio_action virtio_mmio_regs_write(struct virtio_mmio_regs *regs, uint64_t offset,
					       unsigned size, uint64_t value)
{
	if (size != 4 || offset % 4 != 0 || offset >= VIRTIO_MMIO_CONFIG) {
		regs->n_ignored++;
		return VIRTIO_MMIO_NOTHING;
	}
	if (offset == VIRTIO_MMIO_STATUS)
		return write_status(regs, (uint32_t)value);
	if (offset == VIRTIO_MMIO_INTERRUPT_ACK)
		return VIRTIO_MMIO_ACKNOWLEDGE;
	if (!write_plain(regs, offset, (uint32_t)value))
		regs->n_ignored++;
	return VIRTIO_MMIO_NOTHING;
}
