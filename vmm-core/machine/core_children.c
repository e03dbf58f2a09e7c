/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the warden says about the processes of devices: CHILD_* and DRAIN, see message.h.
 *
 * Event-loop thread. A slot keeps its link and registers from one process to the next; here is
 * which of them it has. Generations tell late words about an earlier one apart.
 */
#include <string.h>

#include "vmm-core/machine/core.h"

static struct core_slot *core_slot_of(struct core *core, const struct message_child *child)
{
	if (child->slot >= core->config.n_devices ||
	    child->type != core->config.devices[child->slot].type)
		core_fail(core, "core: the warden speaks of a device that was not configured");
	return &core->slots[child->slot];
}

static void core_slot_begin(struct core_slot *slot, uint32_t generation)
{
	slot->generation = generation;
	slot->is_dead = slot->is_condemned = slot->has_hung_up = false;
	slot->told = DEVICE_STATE_STARTING;
}

void core_child_added(struct core *core, const struct message_child *child, int channel_fd)
{
	struct core_slot *slot = core_slot_of(core, child);
	int r;

	core_slot_begin(slot, child->generation);
	r = device_link_attach(slot->link, channel_fd, child->generation);
	if (r < 0)
		core_slot_condemn(slot, strerror(-r));
	else if (child->is_held)
		device_link_hold(slot->link);
}

/* The offer is off, or was taken. */
static void core_next_drop(struct core *core)
{
	core->next.is_dead = true; /* nobody has to be condemned */
	device_link_detach(core->next.link, "is not needed any more");
	core->next.generation = 0;
}

void core_child_offered(struct core *core, const struct message_child *child, int channel_fd)
{
	struct core_slot *slot = core_slot_of(core, child), *next = &core->next;
	int r;

	core_next_drop(core);
	core->next_slot = child->slot;
	core->is_slot_drained = false;
	core_slot_begin(next, child->generation);
	r = device_link_offer(slot->link, next->link, channel_fd, child->generation);
	if (r < 0)
		core_slot_condemn(next, strerror(-r));
	else if (child->is_held)
		device_link_hold(next->link);
}

int core_child_drain(struct core *core, const struct message_child *child)
{
	struct core_slot *slot = core_slot_of(core, child);

	if (slot->generation != child->generation || child->slot != core->next_slot)
		return ESRCH;
	core->is_slot_drained = device_link_drain(slot->link, true) == 0;
	return core->is_slot_drained ? 0 : EIO;
}

void core_child_released(struct core *core, const struct message_child *child)
{
	struct core_slot *slot = core_slot_of(core, child);

	if (slot->generation == child->generation)
		device_link_release(slot->link);
}

void core_child_traced(struct core *core, const struct message_child *child)
{
	struct core_slot *slot = core_slot_of(core, child);

	if (slot->generation == child->generation)
		device_link_wait_on(slot->link);
}

/* The process that was made ready for this takes over. */
static void core_slot_adopt(struct core_slot *slot)
{
	struct core *core = slot->core;

	if (core->next.generation == 0 || core->next_slot != core_slot_number(slot))
		return;
	core_slot_begin(slot, core->next.generation);
	slot->told = core->next.told;
	if (slot->told == DEVICE_STATE_READY)
		slot->told = DEVICE_STATE_STARTING; /* it is told again once it serves */
	if (device_link_adopt(slot->link, core->next.link) < 0)
		core_slot_condemn(slot, "was not ready");
	core->is_slot_drained = false;
	core_next_drop(core);
}

void core_child_gone(struct core *core, const struct message_child *child)
{
	struct core_slot *slot = core_slot_of(core, child);

	if (core->next.generation == child->generation && core->next_slot == child->slot) {
		core_next_drop(core);
		if (core->is_slot_drained)
			(void)!device_link_drain(slot->link, false);
		core->is_slot_drained = false;
		return;
	}
	if (slot->generation != child->generation)
		return; /* an older one */
	slot->is_dead = true;
	device_link_detach(slot->link, "its process has ended");
	device_link_absolve(slot->link, child->is_blameless);
	core_iommu_let_go(core, child->slot);
	if (child->has_successor) {
		core_slot_adopt(slot);
	} else {
		device_link_give_up(slot->link);
		core_slot_tell(slot, DEVICE_STATE_FAILED);
		if (slot->device)
			virtio_device_needs_reset(slot->device);
	}
	if (core->is_reset_wanted)
		core_settle(core);
}
