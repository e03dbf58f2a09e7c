/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Assembly of the machine and the event loop.
 *
 * DOC: From stopped vCPUs to what comes next
 *
 * Reset, power-off, crash, pause: each begins by asking all vCPUs to stop (vcpus_stop()), on
 * whichever thread it came up, and goes on when the last of them has parked. Meanwhile the event
 * loop keeps running, since a vCPU may be waiting for a device process. core_settle() then looks
 * at what is wanted, the most final wish first, and lets the vCPUs run again if nothing forbids
 * it. So one vCPU cannot run on while another resets the machine, and two wishes at once meet in
 * one place.
 */
#include "vmm-core/machine/core.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "ipc/clock.h"
#include "ipc/resident.h"
#include "vmm-core/machine/i8042.h"
#include "vmm-core/machine/layout.h"

#define CORE_LAST_OUTPUT_MS 1000u /* how long a full terminal may delay the end */

void core_fail(struct core *core, const char *fmt, ...)
{
	struct message m = { .type = MESSAGE_CORE_FAILED };
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(m.failed.text, sizeof(m.failed.text), fmt, args);
	va_end(args);
	core_send(core, &m);
	_exit(1);
}

void core_log_time(const struct core *core, const char *what)
{
	log_info("%.2f ms: %s", (double)(clock_now_ns() - core->exec_time_ns) / 1e6, what);
}

/** core_tell_times() - the two moments that a start is measured by */
static void core_tell_times(struct core *core)
{
	uint64_t run_ns = vcpus_first_run_ns(&core->machine.vcpus);
	uint64_t byte_ns = serial_first_byte_ns(core->serial);

	if (!core->told_first_run && run_ns != 0) {
		core->told_first_run = true;
		core_send_state(core, VM_STATE_FIRST_RUN, run_ns, "");
	}
	if (!core->told_first_byte && byte_ns != 0) {
		core->told_first_byte = true;
		core_send_state(core, VM_STATE_FIRST_BYTE, byte_ns, "");
	}
}

static void core_read_serial(struct core *core)
{
	uint8_t data[SERIAL_INPUT_MAX];
	size_t room = serial_room(core->serial);
	ssize_t n;

	if (room == 0) { /* the port wakes us when the guest has read some */
		(void)event_del(core->on_serial_in);
		return;
	}
	n = read(core->serial_in_fd, data, room);
	if (n > 0) {
		serial_input(core->serial, data, (size_t)n);
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		(void)event_del(core->on_serial_in);
		core->serial_in_fd = fd_close(core->serial_in_fd);
	}
}

static void on_serial_in(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	core_read_serial(ctx);
}

static void on_serial_out(evutil_socket_t fd, short what, void *ctx)
{
	struct core *core = ctx;

	(void)fd;
	(void)what;
	if (serial_flush(core->serial))
		(void)event_add(core->on_serial_out, NULL);
}

/** core_watch_serial_in() - again or for the first time; files cannot be watched: see the tick */
static void core_watch_serial_in(struct core *core)
{
	if (core->serial_in_fd >= 0)
		core->is_input_polled = event_add(core->on_serial_in, NULL) < 0;
}

static void on_wake(evutil_socket_t fd, short what, void *ctx)
{
	struct core *core = ctx;
	eventfd_t n;

	(void)what;
	(void)eventfd_read(fd, &n);
	if (core->state != CORE_RUNNING && core->state != CORE_PAUSED)
		return;
	core_tell_times(core);
	if (core->on_serial_out && serial_flush(core->serial))
		(void)event_add(core->on_serial_out, NULL);
	core_watch_serial_in(core);
}

static void on_parked(evutil_socket_t fd, short what, void *ctx)
{
	eventfd_t n;

	(void)what;
	(void)eventfd_read(fd, &n);
	core_settle(ctx);
}

static void on_tick(evutil_socket_t fd, short what, void *ctx)
{
	struct core *core = ctx;

	(void)fd;
	(void)what;
	core_devices_tick(core);
	if (core->state != CORE_RUNNING)
		return;
	if (!core->is_trimmed)
		resident_trim();
	core->is_trimmed = true;
	core_tell_times(core);
	if (core->is_input_polled && core->serial_in_fd >= 0)
		core_read_serial(core);
}

static void core_silence(int severity, const char *text)
{
	(void)severity; /* libevent would write to stderr; what matters comes back as an error */
	(void)text;
}

static struct event *core_event(struct core *core, int fd, short what, event_callback_fn fn,
				const struct timeval *interval)
{
	struct event *event = event_new(core->base, fd, what, fn, core);

	if (!event || (interval != NULL || (what & EV_PERSIST) ? event_add(event, interval) : 0) < 0)
		core_fail(core, "core: the event loop cannot watch fd %d", fd);
	return event;
}

int core_eventfd(struct core *core)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0)
		core_fail(core, "core: eventfd: %s", strerror(errno));
	return fd;
}

void core_open_loop(struct core *core)
{
	static const struct timeval interval = { .tv_usec = CORE_TICK_MS * 1000 };
	struct event_config *config = event_config_new();

	event_set_log_callback(core_silence);
	/* Our environment is empty, but nothing of it should count even if it were not. */
	if (!config || event_config_set_flag(config, EVENT_BASE_FLAG_IGNORE_ENV) < 0 ||
	    event_config_require_features(config, EV_FEATURE_O1) < 0)
		core_fail(core, "core: no event loop");
	core->base = event_base_new_with_config(config);
	event_config_free(config);
	if (!core->base)
		core_fail(core, "core: no event loop");
	core->wake_fd = core_eventfd(core);
	core->on_warden = core_event(core, channel_fd(core->warden), EV_READ | EV_PERSIST,
				     core_on_warden, NULL);
	core->on_wake = core_event(core, core->wake_fd, EV_READ | EV_PERSIST, on_wake, NULL);
	core->on_parked = core_event(core, core->parked_fd, EV_READ | EV_PERSIST, on_parked, NULL);
	core->on_tick = core_event(core, -1, EV_PERSIST, on_tick, &interval);
}

void core_pump(struct core *core)
{
	(void)event_base_loop(core->base, EVLOOP_NONBLOCK);
}

static void core_request(void *ctx, enum machine_request request)
{
	struct core *core = ctx;

	vcpus_request(&core->machine.vcpus, request);
}

static int core_add_ports(struct core *core)
{
	struct io_bus *ports = &core->machine.ports;
	int r = io_bus_add(ports, LAYOUT_COM1, SERIAL_PORTS, &serial_io, core->serial);

	if (r == 0)
		r = io_bus_add(ports, LAYOUT_I8042_DATA, 1, &i8042_data_io, NULL);
	if (r == 0)
		r = io_bus_add(ports, LAYOUT_I8042_COMMAND, 1, &i8042_command_io, &core->requester);
	if (r == 0)
		r = io_bus_add(ports, LAYOUT_ACPI_SLEEP_CONTROL, ACPI_PM_PORTS, &acpi_pm_io,
			       &core->acpi_pm);
	return r;
}

/** core_build_ports() - COM1 and the power registers */
static void core_build_ports(struct core *core)
{
	int r;

	core->serial_irq_fd = core_eventfd(core);
	core->acpi_irq_fd = core_eventfd(core);
	core->requester = (struct machine_requester){ .request = core_request, .ctx = core };
	core->acpi_pm = (struct acpi_pm){
		.requester = core->requester, .irq_fd = core->acpi_irq_fd
	};
	r = serial_new(core->serial_out_fd, core->serial_irq_fd, core->wake_fd, &core->serial);
	if (r == 0)
		r = core_add_ports(core);
	if (r < 0)
		core_fail(core, "core: ports: %s", strerror(-r));
	if (machine_connect_irq(&core->machine, core->serial_irq_fd, LAYOUT_GSI_COM1) < 0 ||
	    machine_connect_irq(&core->machine, core->acpi_irq_fd, LAYOUT_GSI_ACPI_EVENT) < 0)
		core_fail(core, "%s", core->machine.error);
	if (core->serial_in_fd >= 0)
		core->on_serial_in = event_new(core->base, core->serial_in_fd,
					       EV_READ | EV_PERSIST, on_serial_in, core);
	if (core->serial_out_fd >= 0)
		core->on_serial_out = core_event(core, core->serial_out_fd, EV_WRITE,
						 on_serial_out, NULL);
}

void core_create_vm(struct core *core)
{
	struct machine *m = &core->machine;

	core->parked_fd = core_eventfd(core);
	if (machine_create_vm(m, core->parked_fd) < 0)
		core_fail(core, "%s", m->error);
	for (uint32_t i = 0; i < core->config.n_cpus; i++) {
		if (machine_add_vcpu(m) < 0)
			core_fail(core, "%s", m->error);
	}
	core_log_time(core, "the VM and its vCPUs exist");
}

void core_build(struct core *core)
{
	struct machine *m = &core->machine;

	core_pump(core); /* the device processes need an answer now and then to get on */
	core_build_ports(core);
	core->source.cmdline = core->config.cmdline;
	core->source.n_cpus = core->config.n_cpus;
	core->source.has_pci = core->config.transport == VM_TRANSPORT_PCI;
	if (core->source.has_pci)
		core->source.pci_window = machine_pci_window(m, &core->source.pci_window_size);
	else
		core->source.virtio_mmio_slots = (1u << core->config.n_devices) - 1;
	core_iommu_announce(core);
	if (machine_load(m, &core->source) < 0)
		core_fail(core, "%s", m->error);
	/* A large kernel on slow storage takes its time; the devices could not get on meanwhile. */
	core_devices_give_time(core);
	core_pump(core);
	core_log_time(core, "the kernel is in memory");
}

/** core_end() - the guest's end: everything it said goes out, then the warden learns of it */
static void __attribute__((noreturn)) core_end(struct core *core, enum vm_state state,
					       const char *text)
{
	uint64_t deadline_ms = clock_now_ms() + CORE_LAST_OUTPUT_MS;
	int left;

	while (serial_flush(core->serial) && (left = clock_left_ms(deadline_ms)) > 0) {
		struct pollfd pfd = { .fd = core->serial_out_fd, .events = POLLOUT };

		(void)poll(&pfd, 1, left);
	}
	if (serial_dropped(core->serial) > 0)
		log_warning("COM1: %llu bytes of output were lost",
			    (unsigned long long)serial_dropped(core->serial));
	core_devices_tick(core);
	core_tell_times(core);
	core_send_state(core, state, clock_now_ns(), text);
	_exit(0);
}

/** core_reset() - a real reset: nothing of the old boot stays in memory, CPUs or devices */
static void core_reset(struct core *core)
{
	core->is_reset_wanted = false;
	core_devices_reset(core); /* first: afterwards nobody else writes to memory */
	if (machine_reset(&core->machine) < 0)
		core_fail(core, "%s", core->machine.error);
	serial_reset(core->serial);
	acpi_pm_reset(&core->acpi_pm);
	if (machine_load(&core->machine, &core->source) < 0)
		core_fail(core, "reset: %s", core->machine.error);
	core_send_state(core, VM_STATE_REBOOTED, clock_now_ns(), "");
}

static void core_become_paused(struct core *core)
{
	if (core->state != CORE_RUNNING)
		return;
	core->state = CORE_PAUSED;
	core->are_devices_paused = true;
	core_devices_pause(core);
	core_send_state(core, VM_STATE_PAUSED, clock_now_ns(), "");
	core_reply(core, core->pause_seq, 0);
	core->pause_seq = 0;
}

static void core_become_running(struct core *core)
{
	if (core->are_devices_paused)
		core_devices_resume(core);
	core->are_devices_paused = false;
	if (core->state != CORE_RUNNING) {
		core->state = CORE_RUNNING;
		core_send_state(core, VM_STATE_RUNNING, clock_now_ns(), "");
		core_watch_serial_in(core);
	}
}

void core_settle(struct core *core)
{
	char crash[VCPU_CRASH_TEXT_MAX];
	enum machine_request request;

	if (core->state == CORE_STARTING)
		return; /* not sealed yet: core_run() comes here again */
	if (!vcpus_are_parked(&core->machine.vcpus))
		return; /* running, or the last of them has yet to park */
	request = vcpus_get_request(&core->machine.vcpus, crash);
	if (request == MACHINE_REQUEST_CRASH)
		core_end(core, VM_STATE_CRASHED, crash);
	if (request == MACHINE_REQUEST_POWER_OFF)
		core_end(core, VM_STATE_POWERED_OFF, "");
	if (!core->is_wanted_running) {
		core_become_paused(core);
		return;
	}
	core_become_running(core);
	if (request == MACHINE_REQUEST_RESET || core->is_reset_wanted) {
		core->is_reset_wanted = true;
		if (core_devices_are_dying(core))
			return; /* core_child_gone() comes back here */
		core_reset(core);
	}
	vcpus_resume(&core->machine.vcpus);
	machine_populate(&core->machine);
}

void core_run(struct core *core)
{
	struct message ready = {
		.type = MESSAGE_CORE_READY, .core_ready = { .ready_ns = clock_now_ns() }
	};

	core->state = CORE_PAUSED;
	core_send(core, &ready);
	core_settle(core); /* RESUME may have come already */
	(void)event_base_loop(core->base, EVLOOP_NO_EXIT_ON_EMPTY);
	core_fail(core, "core: the event loop has failed");
}
