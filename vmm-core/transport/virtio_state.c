/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The session of a driver, pure part. Runs in the core; every value is the guest's and hostile.
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
#include "vmm-core/transport/virtio_state.h"

#include <string.h>

#define FEATURE_VERSION_1 (UINT64_C(1) << 32)
#define FEATURE_ACCESS_PLATFORM (UINT64_C(1) << 33)

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

void virtio_state_reset(struct virtio_state *state)
{
	state->status = 0;
	state->device_features_sel = 0;
	state->driver_features_sel = 0;
	state->queue_sel = 0;
	state->driver_features = 0;
	state->driver_features_beyond = false;
	memset(state->queues, 0, sizeof(state->queues));
	for (uint32_t i = 0; i < state->n_queues; i++)
		state->queues[i].size = state->queue_size_max;
}

bool virtio_state_fail(struct virtio_state *state)
{
	if (!(state->status & VIRTIO_STATUS_FEATURES_OK) ||
	    (state->status & VIRTIO_STATUS_NEEDS_RESET))
		return false;
	state->status |= VIRTIO_STATUS_NEEDS_RESET;
	return state->status & VIRTIO_STATUS_DRIVER_OK;
}

/* Has the driver got through step @has, not yet through @has_not, and is nothing broken? */
static bool is_between(const struct virtio_state *state, uint32_t has, uint32_t has_not)
{
	has_not |= VIRTIO_STATUS_NEEDS_RESET | VIRTIO_STATUS_FAILED;
	return (state->status & has) == has && (state->status & has_not) == 0;
}

static const struct virtio_queue *selected_queue(const struct virtio_state *state)
{
	return state->queue_sel < state->n_queues ? &state->queues[state->queue_sel] : NULL;
}

/* The selected queue while the driver may set it up; a ready one has to be taken back first. */
static struct virtio_queue *writable_queue(struct virtio_state *state, bool ready_too)
{
	struct virtio_queue *q;

	if (state->queue_sel >= state->n_queues ||
	    !is_between(state, VIRTIO_STATUS_FEATURES_OK, VIRTIO_STATUS_DRIVER_OK))
		return NULL;
	q = &state->queues[state->queue_sel];
	return q->ready && !ready_too ? NULL : q;
}

/* Behind an IOMMU the addresses are not those of RAM: what they lead to is the device's to find. */
static bool is_in_ram(const struct virtio_state *state, const struct ring_area *area)
{
	if (state->features & FEATURE_ACCESS_PLATFORM)
		return area->len - 1 <= UINT64_MAX - area->at;
	for (uint32_t i = 0; i < state->n_ram; i++) {
		const struct guest_region *ram = &state->ram[i];

		if (area->at >= ram->gpa && area->at - ram->gpa < ram->size &&
		    area->len <= ram->size - (area->at - ram->gpa))
			return true;
	}
	return false;
}

/* Neither wraps: is_in_ram(). */
static bool is_overlapping(const struct ring_area *a, const struct ring_area *b)
{
	return a->at <= b->at ? b->at - a->at < a->len : a->at - b->at < b->len;
}

/* May this queue be handed to the device? The device process checks again. */
static bool is_queue_valid(const struct virtio_state *state, const struct virtio_queue *q)
{
	const struct ring_area areas[] = {
		{ q->desc, UINT64_C(16) * q->size, 16 },
		{ q->avail, UINT64_C(6) + UINT64_C(2) * q->size, 2 },
		{ q->used, UINT64_C(6) + UINT64_C(8) * q->size, 4 },
	};

	if (q->size == 0 || q->size > state->queue_size_max || (q->size & (q->size - 1)) != 0)
		return false;
	for (uint32_t i = 0; i < 3; i++) {
		if (areas[i].at % areas[i].align != 0 || !is_in_ram(state, &areas[i]))
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

/* §6.2: a driver that knows nothing of an IOMMU would give the device addresses that it lacks. */
static bool are_features_acceptable(const struct virtio_state *state)
{
	uint64_t needed = FEATURE_VERSION_1 | (state->features & FEATURE_ACCESS_PLATFORM);

	return state->is_usable && !state->driver_features_beyond &&
	       (state->driver_features & ~state->features) == 0 &&
	       (state->driver_features & needed) == needed;
}

/*
 * §2.1.1: a driver adds bits, in order, and clears them by a reset only; once something failed,
 * only that reset is left. §2.2.2: FEATURES_OK is the device's to refuse, and the driver reads
 * back whether it stuck.
 */
static enum virtio_action write_status(struct virtio_state *state, uint32_t value)
{
	uint32_t had = state->status & ~VIRTIO_STATUS_NEEDS_RESET;

	if (value == 0)
		return VIRTIO_RESET;
	if ((had & ~value) != 0 || !is_between(state, 0, 0)) {
		state->n_ignored++;
		return VIRTIO_NOTHING;
	}
	for (uint32_t i = 0; i < ARRAY_LEN(status_steps); i++) {
		uint32_t step = status_steps[i];

		if (!(value & step))
			break;
		if (step == VIRTIO_STATUS_FEATURES_OK && !(had & step) &&
		    !are_features_acceptable(state))
			break;
		state->status |= step;
	}
	state->status |= value & VIRTIO_STATUS_FAILED; /* the driver gave up, at whatever step */
	return (state->status & ~had & VIRTIO_STATUS_DRIVER_OK) ? VIRTIO_ACTIVATE :
								 VIRTIO_NOTHING;
}

static bool write_driver_features(struct virtio_state *state, uint32_t value)
{
	if (!is_between(state, VIRTIO_STATUS_DRIVER, VIRTIO_STATUS_FEATURES_OK))
		return false;
	if (state->driver_features_sel <= 1)
		set_half(&state->driver_features, state->driver_features_sel, value);
	else if (value != 0)
		state->driver_features_beyond = true;
	return true;
}

static bool write_queue_size(struct virtio_state *state, uint32_t value)
{
	struct virtio_queue *q = writable_queue(state, false);

	if (q == NULL)
		return false;
	q->size = value; /* judged with the rest when the queue is made ready */
	return true;
}

/* A queue that cannot work stays not ready, which the driver can read back. */
static bool write_queue_ready(struct virtio_state *state, uint32_t value)
{
	struct virtio_queue *q = writable_queue(state, true);

	if (q == NULL || value > 1)
		return false;
	if (value == 1 && !q->ready && !is_queue_valid(state, q))
		return false;
	q->ready = value == 1;
	return true;
}

/* VIRTIO 1.2 §4.1.4.3.2: the driver does not write 0. */
static bool write_queue_enable(struct virtio_state *state, uint32_t value)
{
	return value == 1 && write_queue_ready(state, value);
}

/* Which of a queue's addresses, and which half of it, a field is. */
static uint64_t *address_of(struct virtio_queue *q, enum virtio_field field, uint32_t *ret_half)
{
	uint32_t i = (uint32_t)field - VIRTIO_QUEUE_DESC_LOW;

	*ret_half = i % 2;
	return i < 2 ? &q->desc : i < 4 ? &q->avail : &q->used;
}

static bool write_queue_address(struct virtio_state *state, enum virtio_field field, uint32_t value)
{
	struct virtio_queue *q = writable_queue(state, false);
	uint64_t *address;
	uint32_t half;

	if (q == NULL)
		return false;
	address = address_of(q, field, &half);
	set_half(address, half, value);
	return true;
}

static uint32_t read_queue_field(const struct virtio_state *state, enum virtio_field field)
{
	const struct virtio_queue *q = selected_queue(state);
	struct virtio_queue copy;
	uint64_t *address;
	uint32_t half;

	if (q == NULL)
		return 0;
	switch ((int)field) {
	case VIRTIO_QUEUE_SIZE_MAX:
		return state->queue_size_max;
	case VIRTIO_QUEUE_SIZE:
		return q->size;
	case VIRTIO_QUEUE_READY:
	case VIRTIO_QUEUE_ENABLE:
		return q->ready;
	case VIRTIO_QUEUE_NUMBER:
		return state->queue_sel;
	default:
		copy = *q;
		address = address_of(&copy, field, &half);
		return half_of(*address, half);
	}
}

static uint32_t read_field(const struct virtio_state *state, enum virtio_field field)
{
	switch ((int)field) {
	case VIRTIO_DEVICE_ID:
		return state->device_id;
	case VIRTIO_STATUS:
		return state->status;
	case VIRTIO_DEVICE_FEATURES_SEL:
		return state->device_features_sel;
	case VIRTIO_DEVICE_FEATURES:
		return half_of(state->features, state->device_features_sel);
	case VIRTIO_DRIVER_FEATURES_SEL:
		return state->driver_features_sel;
	case VIRTIO_DRIVER_FEATURES:
		return half_of(state->driver_features, state->driver_features_sel);
	case VIRTIO_NUM_QUEUES:
		return state->n_queues;
	case VIRTIO_QUEUE_SEL:
		return state->queue_sel;
	default:
		return read_queue_field(state, field);
	}
}

/* What changes nothing outside. Return: false when the write had no effect. */
static bool write_field(struct virtio_state *state, enum virtio_field field, uint32_t value)
{
	switch ((int)field) {
	case VIRTIO_DEVICE_FEATURES_SEL:
		state->device_features_sel = value;
		return true;
	case VIRTIO_DRIVER_FEATURES_SEL:
		state->driver_features_sel = value;
		return true;
	case VIRTIO_QUEUE_SEL:
		state->queue_sel = value;
		return true;
	case VIRTIO_CONSTANT:
		return true; /* a selector that selects among nothing */
	case VIRTIO_DRIVER_FEATURES:
		return write_driver_features(state, value);
	case VIRTIO_QUEUE_SIZE:
		return write_queue_size(state, value);
	case VIRTIO_QUEUE_READY:
		return write_queue_ready(state, value);
	case VIRTIO_QUEUE_ENABLE:
		return write_queue_enable(state, value);
	default:
		return write_queue_address(state, field, value);
	}
}

/* The row that allows this very access, or NULL. */
static const struct virtio_register *row_of(const struct virtio_map *map, uint64_t offset,
					    unsigned size, uint32_t access)
{
	for (uint32_t i = 0; i < map->n; i++) {
		const struct virtio_register *r = &map->rows[i];

		if (r->offset == offset && r->size == size && (r->access & access))
			return r;
	}
	return NULL;
}

uint32_t virtio_state_read(const struct virtio_state *state, const struct virtio_map *map,
			   uint64_t offset, unsigned size)
{
	const struct virtio_register *r = row_of(map, offset, size, VIRTIO_R);

	if (r == NULL)
		return 0;
	return r->field == VIRTIO_CONSTANT ? r->value : read_field(state, r->field);
}

enum virtio_action virtio_state_write(struct virtio_state *state, const struct virtio_map *map,
				      uint64_t offset, unsigned size, uint64_t value)
{
	const struct virtio_register *r = row_of(map, offset, size, VIRTIO_W);

	if (r != NULL && r->field == VIRTIO_STATUS)
		return write_status(state, (uint32_t)value);
	if (r != NULL && r->field == VIRTIO_INTERRUPT_ACK)
		return VIRTIO_ACKNOWLEDGE;
	if (r == NULL || !write_field(state, r->field, (uint32_t)value))
		state->n_ignored++;
	return VIRTIO_NOTHING;
}
