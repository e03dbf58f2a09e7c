/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The core's view of its device processes: links, registers, eventfds, and what the warden is told.
 *
 * Event-loop thread. Hostile: log records and counters in the device pages, and every upcall in
 * the sense that a device process decides when it comes.
 */
#include <string.h>

#include "ipc/clock.h"
#include "vmm-core/machine/core.h"
#include "vmm-core/machine/layout.h"
#include "vmm-core/transport/virtio_mmio.h"

uint32_t core_slot_number(const struct core_slot *slot)
{
	if (slot == &slot->core->next)
		return slot->core->next_slot;
	return (uint32_t)(slot - slot->core->slots);
}

static const char *core_slot_id(const struct core_slot *slot)
{
	return slot->core->config.devices[core_slot_number(slot)].id;
}

static void core_slot_send(struct core_slot *slot, enum message_type type, enum device_state state,
			   enum log_level level, const char *text)
{
	struct message m = {
		.type = type,
		.generation = slot->generation,
		.device_event = {
			.slot = core_slot_number(slot),
			.generation = slot->generation,
			.state = state,
			.level = level,
		},
	};

	memcpy(m.device_event.text, text, strnlen(text, sizeof(m.device_event.text) - 1));
	core_send(slot->core, &m);
}

void core_slot_tell(struct core_slot *slot, enum device_state state)
{
	if (slot->told == state)
		return;
	slot->told = state;
	core_slot_send(slot, MESSAGE_DEVICE_STATE, state, LOG_LEVEL_INFO, "");
}

/** core_slot_forward_log() - a device can write without end, so only a ring full at a time */
static void core_slot_forward_log(struct core_slot *slot)
{
	const struct device_page *page = slot == &slot->core->next ?
						 NULL : /* it shares the page of the old one */
						 device_link_page(slot->link);
	enum log_level level;
	char line[LOG_LINE_MAX];

	if (!page)
		return;
	for (uint32_t i = 0; i < DEVICE_LOG_RECORDS; i++) {
		if (!device_page_log_read(page, &slot->log_cursor, &level, line))
			return;
		core_slot_send(slot, MESSAGE_LOG, slot->told, level, line);
	}
}

static void on_device_ready(void *ctx, struct device_link *link)
{
	core_slot_tell(ctx, device_link_get_state(link) == DEVICE_LINK_HELD ? DEVICE_STATE_HELD :
									      DEVICE_STATE_READY);
}

void core_slot_condemn(struct core_slot *slot, const char *reason)
{
	if (slot->is_dead || slot->is_condemned)
		return;
	slot->is_condemned = true;
	core_slot_send(slot, MESSAGE_CONDEMN, DEVICE_STATE_FAILED, LOG_LEVEL_ERROR, reason);
}

static void on_device_failed(void *ctx, struct device_link *link, const char *reason)
{
	struct core_slot *slot = ctx;
	struct core *core = slot->core;

	core_slot_forward_log(slot); /* its last words explain the reason */
	/* One that has ended speaks for itself, by its pidfd; the tick looks whether it has. */
	if (!device_link_hung_up(link) || core->state == CORE_STARTING)
		core_slot_condemn(slot, reason);
	if (core->state == CORE_STARTING)
		core_fail(core, "%s: %s", core_slot_id(slot), reason);
	/* Whether the driver has to know is the warden's decision: CHILD_GONE. */
}

static void on_device_config_changed(void *ctx, struct device_link *link)
{
	struct core_slot *slot = ctx;

	(void)link;
	if (slot->device)
		virtio_device_config_changed(slot->device);
}

/* Any thread, under the link's lock. */
static void on_device_needs_reset(void *ctx)
{
	struct core_slot *slot = ctx;

	if (slot->device)
		virtio_device_needs_reset(slot->device);
}

static void on_endpoint_stalled(void *ctx, uint32_t slot)
{
	const struct core_slot *iommu = ctx;

	core_iommu_stalled(iommu->core, slot);
}

/* Any thread, under the link's lock: the driver may have another try. */
static bool on_device_revive(void *ctx)
{
	struct core_slot *slot = ctx;

	if (slot->core->config.restart.max == 0)
		return false;
	core_slot_send(slot, MESSAGE_REVIVE, DEVICE_STATE_FAILED, LOG_LEVEL_INFO, "");
	return true;
}

/* Any thread, under the link's lock. */
static void on_device_refused(void *ctx, const char *reason)
{
	core_slot_send(ctx, MESSAGE_REFUSED, DEVICE_STATE_FAILED, LOG_LEVEL_ERROR, reason);
}

/* Any thread, under the link's lock. */
static void on_device_overdue(void *ctx)
{
	core_slot_send(ctx, MESSAGE_STALLED, DEVICE_STATE_ACTIVE, LOG_LEVEL_ERROR,
		       "did not answer in time");
}

static const struct device_link_events core_link_events = {
	.ready = on_device_ready,
	.failed = on_device_failed,
	.config_changed = on_device_config_changed,
	.needs_reset = on_device_needs_reset,
	.endpoint_stalled = on_endpoint_stalled,
	.revive = on_device_revive,
	.refused = on_device_refused,
	.overdue = on_device_overdue,
};

static void on_link_readable(evutil_socket_t fd, short what, void *ctx)
{
	struct core_slot *slot = ctx;

	(void)fd;
	(void)what;
	device_link_on_readable(slot->link);
}

static void core_slot_open(struct core_slot *slot, enum device_type type)
{
	struct core *core = slot->core;
	int r = device_link_new(core_slot_number(slot), type, core->machine.gm, &core_link_events,
				slot, &slot->link);

	if (r < 0)
		core_fail(core, "%s: %s", core_slot_id(slot), strerror(-r));
	device_link_set_iommu(slot->link, core_iommu_view(core, core_slot_number(slot)));
	slot->event = event_new(core->base, device_link_fd(slot->link), EV_READ | EV_PERSIST,
				on_link_readable, slot);
	if (!slot->event || event_add(slot->event, NULL) < 0)
		core_fail(core, "%s: no room for its event", core_slot_id(slot));
}

void core_devices_open(struct core *core)
{
	for (uint32_t i = 0; i < VM_DEVICES_MAX; i++) {
		core->slots[i] = (struct core_slot){ .core = core };
		memset(&core->slots[i].fds, 0xff, sizeof(core->slots[i].fds)); /* all -1 */
		if (i < core->config.n_devices)
			core_slot_open(&core->slots[i], core->config.devices[i].type);
	}
	/* One process is replaced at a time; now, because the sealed core cannot make it. */
	core->next = (struct core_slot){ .core = core };
	if (core->config.n_devices > 0)
		core_slot_open(&core->next, core->config.devices[0].type);
}

static bool core_devices_are_ready(struct core *core)
{
	for (uint32_t i = 0; i < core->config.n_devices; i++) {
		if (device_link_get_state(core->slots[i].link) != DEVICE_LINK_READY)
			return false;
	}
	return true;
}

void core_devices_give_time(struct core *core)
{
	for (uint32_t i = 0; i < VM_DEVICES_MAX; i++) {
		if (core->slots[i].link)
			device_link_give_time(core->slots[i].link);
	}
}

void core_devices_wait(struct core *core)
{
	/* A link watches its own deadline; ours is for a process that never came. */
	uint64_t deadline_ms = clock_now_ms() + DEVICE_START_DEADLINE_MS + 1000u;

	while (!core_devices_are_ready(core)) {
		if (clock_now_ms() >= deadline_ms)
			core_fail(core, "core: the warden has not started every device in time");
		(void)event_base_loop(core->base, EVLOOP_ONCE); /* the tick bounds its wait */
	}
}

/** core_slot_wire_mmio() - one interrupt line for everything */
static int core_slot_wire_mmio(struct core_slot *slot, uint32_t n_queues)
{
	struct machine *machine = &slot->core->machine;
	uint32_t number = core_slot_number(slot);
	uint64_t base = layout_virtio_mmio_base(number);
	int r = machine_connect_irq(machine, slot->fds.config, layout_virtio_mmio_gsi(number));

	for (uint32_t i = 0; i < n_queues && r == 0; i++) {
		slot->fds.call[i] = slot->fds.config;
		r = machine_connect_notify(machine, slot->fds.kick[i],
					   base + VIRTIO_MMIO_NOTIFY, i);
	}
	if (r < 0)
		core_fail(slot->core, "%s: %s", core_slot_id(slot), machine->error);
	return io_bus_add(&machine->memory, base, LAYOUT_VIRTIO_MMIO_SIZE, &virtio_mmio_io,
			  slot->device);
}

/** core_slot_wire_pci() - an event fd per queue, which the guest connects by MSI-X */
static int core_slot_wire_pci(struct core_slot *slot, uint32_t n_queues)
{
	for (uint32_t i = 0; i < n_queues; i++)
		slot->fds.call[i] = core_eventfd(slot->core);
	return pci_root_add(slot->core->pci, core_slot_number(slot) + 1, slot->device, &slot->fds);
}

static void core_slot_wire(struct core_slot *slot)
{
	uint32_t n_queues = device_link_n_queues(slot->link);
	struct core *core = slot->core;
	int r;

	slot->fds.config = core_eventfd(core);
	for (uint32_t i = 0; i < n_queues; i++)
		slot->fds.kick[i] = core_eventfd(core);
	r = virtio_device_new(slot->link, &slot->fds, &slot->device);
	if (r == 0)
		r = core->pci ? core_slot_wire_pci(slot, n_queues) :
				core_slot_wire_mmio(slot, n_queues);
	if (r < 0)
		core_fail(core, "%s: %s", core_slot_id(slot), strerror(-r));
}

/* A slot without a device says so (VIRTIO 1.2 §4.2.2.1): device id 0, everything else reads 0. */
static uint64_t core_absent_read(void *ctx, uint64_t offset, unsigned size)
{
	static const uint32_t identity[] = { VIRTIO_MMIO_MAGIC, VIRTIO_MMIO_MODERN, 0, 0 };

	(void)ctx;
	if (size == 4 && offset % 4 == 0 && offset / 4 < ARRAY_LEN(identity))
		return identity[offset / 4];
	return 0;
}

static const struct io_handler core_absent_io = { .read = core_absent_read };

void core_devices_wire(struct core *core)
{
	if (core->config.transport == VM_TRANSPORT_PCI)
		core_pci_open(core);
	for (uint32_t i = 0; i < core->config.n_devices; i++)
		core_slot_wire(&core->slots[i]);
	for (uint32_t i = core->config.n_devices; !core->pci && i < LAYOUT_VIRTIO_MMIO_SLOTS; i++) {
		int r = io_bus_add(&core->machine.memory, layout_virtio_mmio_base(i),
				   LAYOUT_VIRTIO_MMIO_SIZE, &core_absent_io, NULL);

		if (r < 0)
			core_fail(core, "core: slot %u: %s", i, strerror(-r));
	}
}

void core_devices_reset(struct core *core)
{
	for (uint32_t i = 0; i < core->config.n_devices; i++)
		(void)!virtio_device_reset(core->slots[i].device); /* failed ones make their upcall */
	if (core->pci)
		pci_root_reset(core->pci);
}

void core_devices_pause(struct core *core)
{
	for (uint32_t i = 0; i < core->config.n_devices; i++)
		(void)!device_link_pause(core->slots[i].link);
}

void core_devices_resume(struct core *core)
{
	for (uint32_t i = 0; i < core->config.n_devices; i++)
		(void)!device_link_resume(core->slots[i].link);
}

/* A debugger or a slow disk may be the reason: the warden can see that. */
static void core_slot_watch(struct core_slot *slot, bool is_late)
{
	uint32_t heartbeat_ms = slot->core->config.restart.heartbeat_ms;
	uint32_t ticks = (heartbeat_ms + CORE_TICK_MS - 1) / CORE_TICK_MS;

	if (device_link_hung_up(slot->link)) {
		if (slot->has_hung_up)
			core_slot_condemn(slot, "closed its channel");
		slot->has_hung_up = true;
	} else if (heartbeat_ms > 0 &&
		   device_link_heartbeat(slot->link, ticks < 4 ? 4 : ticks, is_late)) {
		core_slot_send(slot, MESSAGE_STALLED, slot->told, LOG_LEVEL_ERROR,
			       "shows no sign of life");
	}
}

static void core_slot_tick(struct core_slot *slot, bool is_late)
{
	core_slot_forward_log(slot);
	if (slot->core->state != CORE_STARTING)
		core_slot_watch(slot, is_late);
	if (slot->device && device_link_get_state(slot->link) == DEVICE_LINK_READY)
		core_slot_tell(slot, virtio_device_is_active(slot->device) ?
					     DEVICE_STATE_ACTIVE : DEVICE_STATE_READY);
}

void core_devices_tick(struct core *core)
{
	uint64_t now_ms = clock_now_ms();
	bool is_late = now_ms - core->ticked_ms > 2 * CORE_TICK_MS;

	core->ticked_ms = now_ms;
	for (uint32_t i = 0; i < core->config.n_devices; i++)
		core_slot_tick(&core->slots[i], is_late);
}

bool core_devices_are_dying(struct core *core)
{
	for (uint32_t i = 0; i < core->config.n_devices; i++) {
		if (device_link_is_dying(core->slots[i].link))
			return true;
	}
	return false;
}

bool core_device_counters(struct core *core, uint32_t slot, struct message_counters *ret)
{
	const struct device_page *page;

	if (slot >= core->config.n_devices)
		return false;
	page = device_link_page(core->slots[slot].link);
	if (!page)
		return false;
	ret->slot = slot;
	ret->n = DEVICE_COUNTER_N_;
	for (uint32_t i = 0; i < ret->n; i++) /* shown to the user, never used as a number */
		ret->values[i] = __atomic_load_n(&page->header.counters[i], __ATOMIC_RELAXED);
	return true;
}
