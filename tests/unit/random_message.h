/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random messages with valid content, for the tests of codec and channel. The generator is a
 * fixed sequence per seed, so a failure repeats; tests print the seed.
 */
#pragma once

#include <stdint.h>
#include <string.h>

#include "ipc/message.h"

static inline uint64_t random_next(uint64_t *state) /* xorshift64*, Vigna 2016 */
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(0x2545f4914f6cdd1d);
}

/* One of lo..hi; the ends come up often, because mistakes live there. */
static inline uint32_t random_in(uint64_t *state, uint32_t lo, uint32_t hi)
{
	uint64_t v = random_next(state) >> 16;

	if (v % 8 == 0)
		return lo;
	if (v % 8 == 1)
		return hi;
	return lo + (uint32_t)((v >> 3) % ((uint64_t)hi - lo + 1));
}

static inline bool random_bool(uint64_t *state)
{
	return random_in(state, 0, 1) != 0;
}

static inline void random_bytes(uint64_t *state, void *at, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		((uint8_t *)at)[i] = (uint8_t)random_in(state, 0, 255);
}

/* @cap bytes with the NUL; at least @min characters */
static inline void random_name(uint64_t *state, char *at, uint32_t min, uint32_t cap)
{
	static const char alphabet[] = "abcxyzABCXYZ0123456789._-";
	uint32_t len = random_in(state, min, cap - 1);

	for (uint32_t i = 0; i < len; i++)
		at[i] = alphabet[random_in(state, 0, i == 0 ? 21 : 24)];
}

static inline void random_text(uint64_t *state, char *at, uint32_t cap)
{
	uint32_t len = random_in(state, 0, cap - 1);

	for (uint32_t i = 0; i < len; i++)
		at[i] = (char)random_in(state, ' ', '~');
}

static inline enum device_type random_device_type(uint64_t *state)
{
	static const enum device_type types[] = {
		DEVICE_TYPE_NET, DEVICE_TYPE_BLK,   DEVICE_TYPE_CONSOLE,
		DEVICE_TYPE_RNG, DEVICE_TYPE_VSOCK, DEVICE_TYPE_IOMMU,
	};

	return types[random_in(state, 0, ARRAY_LEN(types) - 1)];
}

static inline void random_limits(uint64_t *state, struct rate_limit_config *c)
{
	c->bw_size = random_next(state);
	c->bw_one_time_burst = random_next(state);
	c->bw_refill_time = random_in(state, 1, UINT32_MAX);
	c->ops_size = random_bool(state) ? random_next(state) : 0;
	c->ops_refill_time = random_in(state, c->ops_size != 0, UINT32_MAX);
}

static inline void random_net_config(uint64_t *state, struct net_config *c)
{
	c->mode = random_in(state, NET_MODE_TAP, NET_MODE_USER);
	c->mac = random_next(state) >> 16;
	c->num_queues = 2 * random_in(state, 1, NET_PAIRS_MAX);
	c->queue_size = 1u << random_in(state, 1, 10);
	c->mtu = random_in(state, 0, UINT16_MAX);
	c->no_tso = random_bool(state);
	c->no_ufo = random_bool(state);
	c->no_csum = random_bool(state);
	c->link_down = random_bool(state);
	c->loopback = random_bool(state);
	c->dns = random_in(state, 0, UINT32_MAX);
	c->tap_offloads = random_in(state, 0, UINT32_MAX);
	random_limits(state, &c->limits);
}

static inline void random_device_config(uint64_t *state, struct device_config *c)
{
	c->type = random_device_type(state);
	random_name(state, c->id, 1, sizeof(c->id));
	if (c->type == DEVICE_TYPE_NET)
		random_net_config(state, &c->net);
	if (c->type == DEVICE_TYPE_CONSOLE) {
		c->console.mode = random_in(state, SERIAL_NULL, SERIAL_SOCKET);
		c->console.has_in = random_bool(state);
		c->console.has_out = random_bool(state);
		c->console.has_size = random_bool(state);
	}
	if (c->type == DEVICE_TYPE_VSOCK)
		c->vsock.cid = random_in(state, VM_CID_MIN, VM_CID_MAX);
	if (c->type != DEVICE_TYPE_BLK)
		return;
	random_limits(state, &c->blk.limits);
	c->blk.read_only = random_bool(state);
	c->blk.direct = random_bool(state);
	c->blk.num_queues = random_in(state, 1, VM_CPUS_MAX);
	c->blk.queue_size = 1u << random_in(state, 1, 10);
	random_text(state, c->blk.serial, sizeof(c->blk.serial));
}

static inline void random_vm_config(uint64_t *state, struct vm_config *c)
{
	random_name(state, c->name, 1, sizeof(c->name));
	random_text(state, c->cmdline, sizeof(c->cmdline));
	c->n_cpus = random_in(state, 1, VM_CPUS_MAX);
	c->memory_size = (uint64_t)random_in(state, 1, UINT32_MAX) * GUEST_PAGE_SIZE;
	c->memory_hugepages = random_bool(state);
	c->memory_prefault = random_bool(state);
	c->serial = random_in(state, SERIAL_OFF, SERIAL_FILE);
	c->n_devices = random_in(state, 0, VM_DEVICES_MAX);
	for (uint32_t i = 0; i < c->n_devices; i++)
		random_device_config(state, &c->devices[i]);
	c->restart.max = random_in(state, 0, UINT32_MAX);
	c->restart.window_ms = random_in(state, 0, UINT32_MAX);
	c->restart.backoff_ms = random_in(state, 0, UINT32_MAX);
	c->restart.heartbeat_ms = random_in(state, 0, UINT32_MAX);
	c->restart.standby = random_bool(state);
	c->allow_weak_sandbox = random_bool(state);
	c->seccomp_log = random_bool(state);
	c->verbosity = random_in(state, 0, UINT32_MAX);
}

static inline void random_device_body(uint64_t *state, struct message *m)
{
	if (m->type == MESSAGE_DEVICE_START) {
		struct message_device_start *s = &m->device_start;

		s->protocol = random_in(state, 0, UINT32_MAX);
		s->uid = random_in(state, 0, UINT32_MAX - 1);
		s->gid = random_in(state, 0, UINT32_MAX - 1);
		s->slot = random_in(state, 0, VM_DEVICES_MAX - 1);
		s->n_cpus = random_in(state, 1, VM_CPUS_MAX);
		s->seccomp_log = random_bool(state);
		s->verbosity = random_in(state, 0, UINT32_MAX);
		random_device_config(state, &s->config);
		s->n_fds = random_in(state, 0, FDSET_MAX - 3);
		s->has_root = random_bool(state);
		s->has_network = random_bool(state);
		s->is_ahead = random_bool(state);
		s->n_forwards = random_in(state, 0, NET_FORWARDS_MAX);
		for (uint32_t i = 0; i < s->n_forwards; i++) {
			s->forwards[i].is_udp = random_bool(state);
			s->forwards[i].host_addr = random_in(state, 0, UINT32_MAX);
			s->forwards[i].host_port = random_in(state, 1, UINT16_MAX);
			s->forwards[i].guest_port = random_in(state, 1, UINT16_MAX);
		}
		s->n_ring = random_bool(state) ? RING_PARAMS_N : 0;
		for (uint32_t i = 0; i < s->n_ring; i++)
			s->ring[i] = random_in(state, 0, UINT32_MAX);
	} else if (m->type == MESSAGE_HELLO) {
		struct message_hello *h = &m->hello;

		h->protocol = random_in(state, 0, UINT32_MAX);
		h->type = random_device_type(state);
		h->features = random_next(state);
		h->n_queues = random_in(state, 1, DEVICE_QUEUES_MAX);
		h->queue_size_max = 1u << random_in(state, 0, 10);
		h->config_len = random_in(state, 0, DEVICE_CONFIG_SPACE_MAX);
		random_bytes(state, h->config, h->config_len);
		h->config_writable_len = random_in(state, 0, DEVICE_CONFIG_SPACE_MAX);
		random_bytes(state, h->config_writable, h->config_writable_len);
		h->state_size = random_in(state, 0, DEVICE_STATE_MAX);
	} else if (m->type == MESSAGE_CONFIG_CHANGED || m->type == MESSAGE_CONFIG_WRITTEN) {
		m->config.offset = random_in(state, 0, DEVICE_CONFIG_SPACE_MAX);
		m->config.len = random_in(state, 0, DEVICE_CONFIG_SPACE_MAX - m->config.offset);
		random_bytes(state, m->config.data, m->config.len);
	} else if (m->type == MESSAGE_SETUP) {
		m->setup.n_queues = random_in(state, 1, DEVICE_QUEUES_MAX);
		m->setup.n_regions = random_in(state, 1, GUEST_MEMORY_REGIONS_MAX);
		for (uint32_t i = 0; i < m->setup.n_regions; i++) {
			m->setup.regions[i].gpa =
				random_in(state, 0, UINT32_MAX) * (uint64_t)GUEST_PAGE_SIZE;
			m->setup.regions[i].size =
				random_in(state, 1, UINT32_MAX) * (uint64_t)GUEST_PAGE_SIZE;
		}
		if (random_bool(state))
			m->setup.is_behind_iommu = random_bool(state);
		else
			m->setup.n_endpoints = random_in(state, 0, VM_DEVICES_MAX);
	} else if (m->type == MESSAGE_ENDPOINT) {
		m->endpoint.slot = random_in(state, 0, VM_DEVICES_MAX - 1);
		m->endpoint.id = (uint32_t)random_next(state);
	} else if (m->type == MESSAGE_ENDPOINT_STALLED) {
		m->endpoint.slot = random_in(state, 0, VM_DEVICES_MAX - 1);
	} else if (m->type == MESSAGE_SET_FEATURES) {
		m->set_features.features = random_next(state);
	} else if (m->type == MESSAGE_ENABLE_QUEUE) {
		m->enable_queue.index = random_in(state, 0, DEVICE_QUEUES_MAX - 1);
		m->enable_queue.size = 1u << random_in(state, 0, 10);
		m->enable_queue.desc = random_next(state);
		m->enable_queue.avail = random_next(state);
		m->enable_queue.used = random_next(state);
		m->enable_queue.resume = random_bool(state);
		m->enable_queue.is_blameless = random_bool(state);
	} else if (m->type == MESSAGE_DISABLE_QUEUE) {
		m->disable_queue.index = random_in(state, 0, DEVICE_QUEUES_MAX - 1);
	}
}

static inline void random_core_body(uint64_t *state, struct message *m)
{
	if (m->type == MESSAGE_CORE_START) {
		m->core_start.protocol = random_in(state, 0, UINT32_MAX);
		m->core_start.uid = random_in(state, 0, UINT32_MAX - 1);
		m->core_start.gid = random_in(state, 0, UINT32_MAX - 1);
		m->core_start.has_initramfs = random_bool(state);
		m->core_start.has_serial_in = random_bool(state);
		m->core_start.has_serial_out = random_bool(state);
		m->core_start.exec_time_ns = random_next(state);
		random_vm_config(state, &m->core_start.config);
	} else if (m->type == MESSAGE_ADJUST) {
		m->adjust.slot = random_in(state, 0, VM_DEVICES_MAX - 1);
		m->adjust.link_down = random_bool(state);
		random_limits(state, &m->adjust.limits);
	} else if (m->type == MESSAGE_CHILD_ADDED || m->type == MESSAGE_CHILD_GONE ||
		   m->type == MESSAGE_CHILD_OFFERED || m->type == MESSAGE_CHILD_RELEASED ||
		   m->type == MESSAGE_CHILD_TRACED || m->type == MESSAGE_DRAIN) {
		m->child.slot = random_in(state, 0, VM_DEVICES_MAX - 1);
		m->child.generation = random_in(state, 0, UINT32_MAX);
		m->child.type = random_device_type(state);
		m->child.is_held = random_bool(state);
		m->child.has_successor = random_bool(state);
		m->child.is_blameless = random_bool(state);
	} else if (m->type == MESSAGE_GET_COUNTERS) {
		m->counters.slot = random_in(state, 0, VM_DEVICES_MAX - 1);
	} else if (m->type == MESSAGE_COUNTERS) {
		m->counters.slot = random_in(state, 0, VM_DEVICES_MAX - 1);
		m->counters.n = random_in(state, 0, DEVICE_COUNTERS_MAX);
		for (uint32_t i = 0; i < m->counters.n; i++)
			m->counters.values[i] = random_next(state) >> random_in(state, 0, 63);
	} else if (m->type == MESSAGE_CORE_READY) {
		m->core_ready.ready_ns = random_next(state);
	} else if (m->type == MESSAGE_VM_STATE) {
		m->vm_state.state = random_in(state, 0, VM_STATE_N_ - 1);
		m->vm_state.value = random_next(state);
		random_text(state, m->vm_state.text, sizeof(m->vm_state.text));
	} else if (m->type == MESSAGE_CONDEMN || m->type == MESSAGE_STALLED ||
		   m->type == MESSAGE_REFUSED || m->type == MESSAGE_REVIVE ||
		   m->type == MESSAGE_DEVICE_STATE ||
		   m->type == MESSAGE_LOG) {
		m->device_event.slot = random_in(state, 0, VM_DEVICES_MAX - 1);
		if (m->type == MESSAGE_LOG && random_bool(state))
			m->device_event.slot = MESSAGE_SLOT_CORE;
		m->device_event.generation = random_in(state, 0, UINT32_MAX);
		m->device_event.state = random_in(state, 0, DEVICE_STATE_N_ - 1);
		m->device_event.level = random_in(state, 0, LOG_LEVEL_DEBUG);
		random_text(state, m->device_event.text, sizeof(m->device_event.text));
	}
}

static inline void random_control_reply(uint64_t *state, struct message_control_reply *c)
{
	c->result = (int32_t)random_in(state, 0, 4095);
	random_text(state, c->text, sizeof(c->text));
	c->more = random_bool(state);
	random_name(state, c->vm_name, 0, sizeof(c->vm_name));
	random_text(state, c->vm_state, sizeof(c->vm_state));
	c->n_cpus = random_in(state, 0, VM_CPUS_MAX);
	c->memory_size = random_next(state);
	c->n_processes = random_in(state, 0, CONTROL_PROCESSES_MAX);
	for (uint32_t i = 0; i < c->n_processes; i++) {
		struct control_process *p = &c->processes[i];

		random_name(state, p->name, 1, sizeof(p->name));
		random_text(state, p->role, sizeof(p->role));
		p->pid = (int32_t)random_in(state, 0, INT32_MAX);
		random_text(state, p->state, sizeof(p->state));
		p->restarts = random_in(state, 0, UINT32_MAX);
		random_text(state, p->last_exit, sizeof(p->last_exit));
		random_text(state, p->address, sizeof(p->address));
		p->last_stall_us = random_next(state);
		p->last_stall_at = random_next(state);
	}
	c->pid = (int32_t)random_in(state, 0, INT32_MAX);
	c->n_counters = random_in(state, 0, CONTROL_COUNTERS_MAX);
	for (uint32_t i = 0; i < c->n_counters; i++) {
		random_name(state, c->counters[i].device, 0, sizeof(c->counters[i].device));
		random_name(state, c->counters[i].name, 1, sizeof(c->counters[i].name));
		c->counters[i].value = random_next(state);
	}
}

/* Everything that the type does not use is zero, so that two messages compare by memcmp(). */
static inline void random_message(uint64_t *state, enum message_type type, struct message *m)
{
	memset(m, 0, sizeof(*m));
	m->type = type;
	m->generation = random_in(state, 0, UINT32_MAX);
	m->seq = random_in(state, 0, UINT32_MAX);
	random_device_body(state, m);
	random_core_body(state, m);
	if (type == MESSAGE_REPLY) {
		m->reply.result = (int32_t)random_in(state, 0, 4095);
		m->reply.value = random_next(state);
	} else if (type == MESSAGE_DEVICE_FAILED || type == MESSAGE_CORE_FAILED) {
		random_text(state, m->failed.text, sizeof(m->failed.text));
	} else if (type == MESSAGE_VSOCK_KEEP || type == MESSAGE_VSOCK_FORGET ||
		   type == MESSAGE_VSOCK_KEPT) {
		m->vsock_sockets.n = random_in(state, 0, VSOCK_SOCKETS_MAX);
		for (uint32_t i = 0; i < m->vsock_sockets.n; i++)
			m->vsock_sockets.ids[i] = random_next(state);
	} else if (type == MESSAGE_VSOCK_CONNECT || type == MESSAGE_VSOCK_CONNECTED) {
		m->vsock_connect.id = random_next(state);
		m->vsock_connect.port = random_in(state, 0, UINT32_MAX);
		m->vsock_connect.result = (int32_t)random_in(state, 0, 4095);
	} else if (type == MESSAGE_CONTROL_REQUEST) {
		m->control_request.protocol = random_in(state, 0, UINT32_MAX);
		m->control_request.command = random_in(state, 1, CONTROL_N_ - 1);
		random_name(state, m->control_request.device, 0,
			    sizeof(m->control_request.device));
		m->control_request.has_program = random_bool(state);
		m->control_request.is_stopped = random_bool(state);
		random_text(state, m->control_request.text, sizeof(m->control_request.text));
	} else if (type == MESSAGE_CONTROL_REPLY) {
		random_control_reply(state, &m->control_reply);
	}
}
