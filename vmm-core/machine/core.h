/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process bulkhead-core: one machine, its small built-in devices, the links to the device
 * processes, and the channel to the warden, on one event loop.
 *
 * main.c orders the steps of the start, core.c assembles and runs, core_devices.c looks after the
 * device links, core_children.c after the processes behind them, core_control.c after the warden.
 * Everything here happens on the event-loop thread, except core_send() and what a vCPU thread
 * reaches through the I/O tables.
 */
#pragma once

#include <event2/event.h>
#include <pthread.h>

#include "ipc/channel.h"
#include "ipc/log.h"
#include "sandbox/sandbox.h"
#include "vmm-core/machine/acpi_pm.h"
#include "vmm-core/machine/machine.h"
#include "vmm-core/machine/serial.h"
#include "vmm-core/transport/device_link.h"
#include "vmm-core/transport/pci_root.h"
#include "vmm-core/transport/virtio_device.h"

#define CORE_TICK_MS 250u

enum core_state { /* what the warden may send depends on it */
	CORE_WAITING, /* for CORE_START */
	CORE_BUILDING, /* what needs no sandbox, until NAMESPACES comes */
	CORE_STARTING,
	CORE_PAUSED,
	CORE_RUNNING, /* or on the way to it, or stopping for a reset */
};

struct core;

/* Memory that the IOMMU and the devices behind it share; fds owned, -1 when there is no IOMMU. */
struct core_iommu {
	int table_fd, table_read_fd;
	int fault_fd; /* eventfd: a device raised a fault */
	int page_fds[VM_DEVICES_MAX], page_read_fds[VM_DEVICES_MAX];
	struct device_link_iommu views[VM_DEVICES_MAX]; /* by slot: what its process gets of that */
};

struct core_slot {
	struct core *core;
	struct device_link *link; /* NULL: no device here */
	struct virtio_device *device; /* NULL until wired */
	struct event *event;
	struct virtio_device_fds fds; /* owned; -1 beyond the device's queues */
	uint32_t generation;
	uint32_t log_cursor;
	enum device_state told; /* what the warden knows */
	bool is_dead; /* the warden knows that the process has ended */
	bool is_condemned; /* or has been told that it should */
	bool has_hung_up; /* it closed its channel, as the last tick saw it */
};

struct core {
	enum core_state state;
	struct channel *warden;
	pthread_mutex_t send_lock; /* innermost; the channel's sending side */
	struct vm_config config;
	struct sandbox_params sandbox;
	struct boot_source source; /* owns its fds */
	int uid_lock_fd; /* owned, only held: the VM's uids stay claimed while we live */
	int serial_in_fd, serial_out_fd; /* owned, or -1 */

	struct machine machine;
	struct serial *serial;
	struct acpi_pm acpi_pm;
	struct machine_requester requester;
	int serial_irq_fd, acpi_irq_fd; /* owned eventfds */
	int wake_fd; /* owned eventfd: vCPUs have something for the event loop */
	int parked_fd; /* owned eventfd: all vCPUs are parked */
	struct core_slot slots[VM_DEVICES_MAX];
	struct pci_root *pci; /* NULL: --transport mmio */
	struct core_iommu iommu;
	struct core_slot next; /* the process that is to replace one; its link is made for it */
	uint32_t next_slot; /* whose */
	bool is_slot_drained; /* the old one was stopped for it */

	struct event_base *base;
	struct event *on_warden, *on_wake, *on_parked, *on_tick;
	uint64_t ticked_ms; /* when the last tick came */
	struct event *on_serial_in, *on_serial_out;

	bool is_wanted_running; /* the warden's last word: RESUME or PAUSE */
	bool is_reset_wanted; /* REBOOT */
	bool are_devices_paused;
	uint32_t pause_seq; /* the PAUSE that waits for its answer, 0: none */
	uint64_t exec_time_ns; /* when the warden started, for the times in the log */
	bool told_first_run, told_first_byte;
	bool is_trimmed; /* what only the start needed is given back */
	bool is_input_polled; /* serial_in_fd is a file: the tick reads it */
};

/* core.c */

/** core_fail() - the VM cannot go on: CORE_FAILED with one line for the user, exit status 1 */
void __attribute__((noreturn)) printf_like(2, 3) core_fail(struct core *core, const char *fmt, ...);

/** core_eventfd() - a new one, owned by the caller, non-blocking; or the start fails */
int core_eventfd(struct core *core);

/** core_open_loop() - event base, events on the warden's channel and on our own eventfds */
void core_open_loop(struct core *core);

/** core_pump() - handle what has arrived, without waiting */
void core_pump(struct core *core);

/** core_create_vm() - KVM's VM with all vCPUs; before the sandbox, nothing comes from a guest yet */
void core_create_vm(struct core *core);

/** core_build() - built-in devices, kernel in memory */
void core_build(struct core *core);

/** core_run() - CORE_READY, then the event loop; the end of the VM ends the process in there */
void __attribute__((noreturn)) core_run(struct core *core);

/** core_log_time() - at -v: milliseconds since the warden started */
void core_log_time(const struct core *core, const char *what);

/** core_settle() - all vCPUs may be parked: do what they were stopped for */
void core_settle(struct core *core);

/* core_devices.c */

/** core_devices_open() - one link per configured device; processes come by CHILD_ADDED */
void core_devices_open(struct core *core);

/** core_devices_give_time() - the core was busy: start deadlines count from now */
void core_devices_give_time(struct core *core);

/** core_devices_wait() - until all are READY; a device that does not get there ends the start */
void core_devices_wait(struct core *core);

/** core_devices_wire() - registers, kick and interrupt eventfds of every slot */
void core_devices_wire(struct core *core);

/** core_devices_reset() - machine reset; a device that does not answer in time has failed */
void core_devices_reset(struct core *core);

/** core_devices_are_dying() - may a process that has failed still write to guest memory? */
bool core_devices_are_dying(struct core *core);

/** core_devices_pause(), core_devices_resume() - all I/O stops and goes on */
void core_devices_pause(struct core *core);
void core_devices_resume(struct core *core);

/** core_devices_tick() - pass on log records and state changes, look for signs of life */
void core_devices_tick(struct core *core);

/** core_slot_number() - by it the warden means the slot; of core->next, that of its device */
uint32_t core_slot_number(const struct core_slot *slot);

/** core_slot_tell() - what ps shows of the device, if the warden does not know yet */
void core_slot_tell(struct core_slot *slot, enum device_state state);

/** core_slot_condemn() - have its process killed, if it lives; @reason: one line for the user */
void core_slot_condemn(struct core_slot *slot, const char *reason);

/** core_device_counters() - false when there is no page to read them from */
bool core_device_counters(struct core *core, uint32_t slot, struct message_counters *ret);

/* core_children.c */

/* What the warden says about processes: see message.h. @channel_fd is taken. */
void core_child_added(struct core *core, const struct message_child *child, int channel_fd);
void core_child_offered(struct core *core, const struct message_child *child, int channel_fd);
void core_child_released(struct core *core, const struct message_child *child);
void core_child_traced(struct core *core, const struct message_child *child);
void core_child_gone(struct core *core, const struct message_child *child);

/** core_child_drain() - Return: 0 or a positive errno value for the reply */
int core_child_drain(struct core *core, const struct message_child *child);

/* core_pci.c */

/** core_pci_open() - the root, without devices, and where the guest reaches it */
void core_pci_open(struct core *core);

/* core_iommu.c */

/** core_iommu_open() - what the configuration asks for; before the sandbox */
void core_iommu_open(struct core *core);

/** core_iommu_fds() - borrow all that is open, into @ret of CORE_IOMMU_FDS; Return: how many */
#define CORE_IOMMU_FDS (3u + 2u * VM_DEVICES_MAX)
uint32_t core_iommu_fds(const struct core *core, int *ret);

/** core_iommu_view() - what the process in @slot gets of it; NULL: nothing */
const struct device_link_iommu *core_iommu_view(struct core *core, uint32_t slot);

/** core_iommu_let_go() - the process in @slot is gone, and all its I/O: it uses nothing any more */
void core_iommu_let_go(struct core *core, uint32_t slot);

/** core_iommu_stalled() - the IOMMU says that @slot keeps what was unmapped: condemn it */
void core_iommu_stalled(struct core *core, uint32_t slot);

/** core_iommu_announce() - into core->source, for the ACPI tables */
void core_iommu_announce(struct core *core);

/* core_control.c */

/** core_open_warden() - take the channel; log records go there from now on */
void core_open_warden(struct core *core, int channel_fd);

/** core_wait_warden() - take the next message of the start (CORE_START, NAMESPACES), or exit */
void core_wait_warden(struct core *core);

/**
 * core_send() - to the warden; any thread. A warden that is gone or does not read for a second
 * ends the process: nobody would be left to stop it.
 */
void core_send(struct core *core, const struct message *m);

/** core_send_state() - VM_STATE */
void core_send_state(struct core *core, enum vm_state state, uint64_t value, const char *text);

/** core_reply() - to the request @seq; nothing when it is 0 */
void core_reply(struct core *core, uint32_t seq, int32_t result);

/** core_on_warden() - event: receive and act */
void core_on_warden(evutil_socket_t fd, short what, void *ctx);
