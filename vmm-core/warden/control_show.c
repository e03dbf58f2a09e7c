/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands of the control socket that only look: ps, info, counters, log.
 */
#include <stdio.h>
#include <string.h>

#include "vmm-core/machine/layout.h"
#include "vmm-core/warden/control_internal.h"

static void show_fill_process(struct control_process *p, const char *name, const char *role,
			      pid_t pid, const char *state)
{
	(void)snprintf(p->name, sizeof(p->name), "%s", name);
	(void)snprintf(p->role, sizeof(p->role), "%s", role);
	(void)snprintf(p->state, sizeof(p->state), "%s", state);
	p->pid = pid;
}

static void show_fill_child(struct control_process *p, const struct child *child, const char *state)
{
	show_fill_process(p, child->name, child->role, child->pid, state);
	p->restarts = child->restarts;
	p->last_stall_us = child->last_stall_us;
	p->last_stall_at = child->last_stall_at;
	(void)snprintf(p->last_exit, sizeof(p->last_exit), "%s", child->last_exit);
}

static const char *show_device_state(const struct vm_device *d)
{
	if (d->state == VM_DEVICE_DOWN)
		return "restarting";
	switch (d->process.state) {
	case DEVICE_STATE_STARTING:
		return "starting";
	case DEVICE_STATE_READY:
		return "ready";
	case DEVICE_STATE_ACTIVE:
		return "active";
	case DEVICE_STATE_HELD:
		return "stopped";
	case DEVICE_STATE_FAILED:
	case DEVICE_STATE_N_:
		break;
	}
	return "failed";
}

/* The process that was started ahead, if there is one. */
static void show_add_next(struct message_control_reply *reply, const struct vm_device *d)
{
	struct control_process *p = &reply->processes[reply->n_processes];
	char name[VM_ID_MAX];

	if (d->next_state == VM_NEXT_NONE)
		return;
	/* Names are unique, and this one is of no device. */
	(void)snprintf(name, sizeof(name), "%.*s.next", VM_ID_MAX - 6, d->next.name);
	show_fill_process(p, name, d->next.role, d->next.pid,
			  d->next_state == VM_NEXT_STANDBY ? "standby" : "successor");
	reply->n_processes++;
}

/* What ps shows beyond that it reads from /proc. */
void control_show_vm(struct control_client *c)
{
	const struct vm *vm = c->vm;
	struct message_control_reply reply = {
		.n_cpus = vm->config->n_cpus,
		.memory_size = vm->config->memory_size,
		.n_processes = vm->config->n_devices + 2,
		.more = true,
	};

	(void)snprintf(reply.vm_name, sizeof(reply.vm_name), "%s", vm->config->name);
	(void)snprintf(reply.vm_state, sizeof(reply.vm_state), "%s", vm_state_name(vm));
	show_fill_process(&reply.processes[0], "warden", "warden", getpid(), "running");
	show_fill_child(&reply.processes[1], &vm->core, vm_state_name(vm));
	for (uint32_t i = 0; i < vm->config->n_devices; i++) {
		struct control_process *p = &reply.processes[i + 2];

		show_fill_child(p, &vm->devices[i].process, show_device_state(&vm->devices[i]));
		if (vm->config->transport == VM_TRANSPORT_PCI)
			(void)snprintf(p->address, sizeof(p->address), "00:%02x.0", i + 1);
		else
			(void)snprintf(p->address, sizeof(p->address), "0x%llx",
				       (unsigned long long)layout_virtio_mmio_base(i));
	}
	if (!control_client_send(c, &reply))
		return;
	reply.n_processes = 0;
	reply.more = false;
	for (uint32_t i = 0; i < vm->config->n_devices; i++)
		show_add_next(&reply, &vm->devices[i]);
	if (control_client_send(c, &reply))
		control_client_close(c);
}

void control_show_counters(struct control_client *c, const char *device)
{
	const struct vm *vm = c->vm;

	if (vm->config->n_devices == 0) {
		control_client_finish(c, 0, "");
		return;
	}
	c->slot = 0;
	c->last_slot = vm->config->n_devices - 1;
	if (device[0] != '\0') {
		int slot = control_client_find_device(c, device);

		if (slot < 0)
			return;
		c->slot = (uint32_t)slot;
		c->last_slot = c->slot;
	}
	control_client_ask_core(c, MESSAGE_GET_COUNTERS);
}

/* Frames are for NICs, reads and writes for the others. */
static bool show_counter_fits(enum device_type type, enum device_counter counter)
{
	if (counter >= DEVICE_COUNTER_RX_FRAMES && counter <= DEVICE_COUNTER_TX_DROPPED)
		return type == DEVICE_TYPE_NET;
	return counter > DEVICE_COUNTER_FLUSHES || type != DEVICE_TYPE_NET;
}

void control_show_counters_of(struct control_client *c, const struct message_counters *counters)
{
	struct message_control_reply reply = { .more = c->slot < c->last_slot };

	for (uint32_t i = 0; i < counters->n && i < DEVICE_COUNTER_N_; i++) {
		struct control_counter *to = &reply.counters[reply.n_counters];

		if (!show_counter_fits(c->vm->config->devices[c->slot].type, i))
			continue;
		reply.n_counters++;
		(void)snprintf(to->device, sizeof(to->device), "%s",
			       c->vm->devices[c->slot].process.name);
		(void)snprintf(to->name, sizeof(to->name), "%s",
			       device_page_counter_name((enum device_counter)i));
		to->value = counters->values[i];
	}
	if (!control_client_send(c, &reply))
		return;
	if (!reply.more) {
		control_client_close(c);
		return;
	}
	c->slot++;
	control_client_ask_core(c, MESSAGE_GET_COUNTERS);
}

/* One record as a frame; Return: 0; CHANNEL_CLOSED; -EAGAIN; -errno. */
static int show_send_record(struct control_client *c, const char *source, const char *line)
{
	struct message m = { .type = MESSAGE_CONTROL_REPLY, .control_reply = { .more = true } };

	if (line != NULL)
		(void)snprintf(m.control_reply.text, sizeof(m.control_reply.text), "%s: %s", source,
			       line);
	return channel_send(c->channel, &m, NULL);
}

void control_show_log_on(struct control_client *c)
{
	const struct log_ring *ring = &c->vm->log;
	int r = 0;

	for (;;) {
		uint64_t at = c->log_at, lost;
		const struct log_ring_record *record =
			log_ring_next(ring, c->log_source, &at, &lost);
		char words[64];

		if (lost > 0 && c->log_at > 0) {
			(void)snprintf(words, sizeof(words), "%llu records lost",
				       (unsigned long long)lost);
			r = show_send_record(c, "warden", words);
			if (r != 0)
				break;
			c->log_at = ring->next - LOG_RING_RECORDS;
			continue;
		}
		if (record == NULL && c->log_caught_up)
			return;
		r = show_send_record(c, record != NULL ? record->source : "",
				     record != NULL ? record->line : NULL);
		if (r != 0)
			break;
		if (record == NULL)
			c->log_caught_up = true;
		c->log_at = at;
	}
	if (r != -EAGAIN || event_add(c->writable, NULL) < 0)
		control_client_close(c);
}

void control_show_log(struct control_client *c, const char *device)
{
	if (device[0] != '\0' && strcmp(device, "core") != 0 && strcmp(device, "warden") != 0 &&
	    control_client_find_device(c, device) < 0)
		return;
	(void)snprintf(c->log_source, sizeof(c->log_source), "%s", device);
	c->is_log = true;
	control_show_log_on(c);
}
