/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every message: its fields, their ranges, and its place in the envelope.
 *
 * Runs in every process. The rows decide what a hostile peer can put into a plain struct, so a
 * range belongs here whenever it can be said without the receiver's state.
 */
#include "ipc/message_codec.h"

#include <assert.h>

#include "control.pb-c.h"
#include "device.pb-c.h"
#include "envelope.pb-c.h"
#include "vm.pb-c.h"
#include "vm_config.pb-c.h"
#include "vsock.pb-c.h"

#define ERRNO_MAX 4095 /* MAX_ERRNO of the kernel */
#define ID_MAX (UINT32_MAX - 1) /* (uid_t)-1 means "leave as it is" to setresuid() */
#define SLOT_MAX (VM_DEVICES_MAX - 1)

#define BIT(v) (UINT64_C(1) << (v))
#define UP_TO(n) (BIT(n) - 1) /* values 0..n-1 */
#define DEVICE_TYPES                                                                              \
	(BIT(DEVICE_TYPE_NET) | BIT(DEVICE_TYPE_BLK) | BIT(DEVICE_TYPE_CONSOLE) |                 \
	 BIT(DEVICE_TYPE_RNG) | BIT(DEVICE_TYPE_VSOCK) | BIT(DEVICE_TYPE_IOMMU))

/* Enum values are copied as numbers: both sides must agree. */
#define SAME_VALUE(plain, wire) static_assert((int)(plain) == (int)(wire), #plain)
SAME_VALUE(DEVICE_TYPE_NET, BULKHEAD__DEVICE_TYPE__DEVICE_TYPE_NET);
SAME_VALUE(DEVICE_TYPE_BLK, BULKHEAD__DEVICE_TYPE__DEVICE_TYPE_BLK);
SAME_VALUE(DEVICE_TYPE_CONSOLE, BULKHEAD__DEVICE_TYPE__DEVICE_TYPE_CONSOLE);
SAME_VALUE(DEVICE_TYPE_RNG, BULKHEAD__DEVICE_TYPE__DEVICE_TYPE_RNG);
SAME_VALUE(DEVICE_TYPE_VSOCK, BULKHEAD__DEVICE_TYPE__DEVICE_TYPE_VSOCK);
SAME_VALUE(DEVICE_TYPE_IOMMU, BULKHEAD__DEVICE_TYPE__DEVICE_TYPE_IOMMU);
SAME_VALUE(SERIAL_OFF, BULKHEAD__SERIAL_MODE__SERIAL_OFF);
SAME_VALUE(SERIAL_NULL, BULKHEAD__SERIAL_MODE__SERIAL_NULL);
SAME_VALUE(SERIAL_TTY, BULKHEAD__SERIAL_MODE__SERIAL_TTY);
SAME_VALUE(SERIAL_PTY, BULKHEAD__SERIAL_MODE__SERIAL_PTY);
SAME_VALUE(SERIAL_FILE, BULKHEAD__SERIAL_MODE__SERIAL_FILE);
SAME_VALUE(SERIAL_SOCKET, BULKHEAD__SERIAL_MODE__SERIAL_SOCKET);
SAME_VALUE(VM_TRANSPORT_PCI, BULKHEAD__TRANSPORT__TRANSPORT_PCI);
SAME_VALUE(VM_TRANSPORT_MMIO, BULKHEAD__TRANSPORT__TRANSPORT_MMIO);
SAME_VALUE(NET_MODE_TAP, BULKHEAD__NET_MODE__NET_MODE_TAP);
SAME_VALUE(NET_MODE_USER, BULKHEAD__NET_MODE__NET_MODE_USER);
SAME_VALUE(VM_STATE_STARTING, BULKHEAD__VM_STATE__VM_STATE_STARTING);
SAME_VALUE(VM_STATE_PAUSED, BULKHEAD__VM_STATE__VM_STATE_PAUSED);
SAME_VALUE(VM_STATE_RUNNING, BULKHEAD__VM_STATE__VM_STATE_RUNNING);
SAME_VALUE(VM_STATE_POWERED_OFF, BULKHEAD__VM_STATE__VM_STATE_POWERED_OFF);
SAME_VALUE(VM_STATE_CRASHED, BULKHEAD__VM_STATE__VM_STATE_CRASHED);
SAME_VALUE(VM_STATE_REBOOTED, BULKHEAD__VM_STATE__VM_STATE_REBOOTED);
SAME_VALUE(VM_STATE_FIRST_RUN, BULKHEAD__VM_STATE__VM_STATE_FIRST_RUN);
SAME_VALUE(VM_STATE_FIRST_BYTE, BULKHEAD__VM_STATE__VM_STATE_FIRST_BYTE);
SAME_VALUE(DEVICE_STATE_STARTING, BULKHEAD__DEVICE_STATE__DEVICE_STATE_STARTING);
SAME_VALUE(DEVICE_STATE_READY, BULKHEAD__DEVICE_STATE__DEVICE_STATE_READY);
SAME_VALUE(DEVICE_STATE_ACTIVE, BULKHEAD__DEVICE_STATE__DEVICE_STATE_ACTIVE);
SAME_VALUE(DEVICE_STATE_FAILED, BULKHEAD__DEVICE_STATE__DEVICE_STATE_FAILED);
SAME_VALUE(DEVICE_STATE_HELD, BULKHEAD__DEVICE_STATE__DEVICE_STATE_HELD);
SAME_VALUE(CONTROL_PS, BULKHEAD__CONTROL_COMMAND__CONTROL_PS);
SAME_VALUE(CONTROL_INFO, BULKHEAD__CONTROL_COMMAND__CONTROL_INFO);
SAME_VALUE(CONTROL_COUNTERS, BULKHEAD__CONTROL_COMMAND__CONTROL_COUNTERS);
SAME_VALUE(CONTROL_PAUSE, BULKHEAD__CONTROL_COMMAND__CONTROL_PAUSE);
SAME_VALUE(CONTROL_RESUME, BULKHEAD__CONTROL_COMMAND__CONTROL_RESUME);
SAME_VALUE(CONTROL_POWER_BUTTON, BULKHEAD__CONTROL_COMMAND__CONTROL_POWER_BUTTON);
SAME_VALUE(CONTROL_REBOOT, BULKHEAD__CONTROL_COMMAND__CONTROL_REBOOT);
SAME_VALUE(CONTROL_SHUTDOWN, BULKHEAD__CONTROL_COMMAND__CONTROL_SHUTDOWN);
SAME_VALUE(CONTROL_LOG, BULKHEAD__CONTROL_COMMAND__CONTROL_LOG);
SAME_VALUE(CONTROL_RESTART, BULKHEAD__CONTROL_COMMAND__CONTROL_RESTART);
SAME_VALUE(CONTROL_RESUME_DEVICE, BULKHEAD__CONTROL_COMMAND__CONTROL_RESUME_DEVICE);
SAME_VALUE(CONTROL_LIMIT, BULKHEAD__CONTROL_COMMAND__CONTROL_LIMIT);
SAME_VALUE(CONTROL_LINK, BULKHEAD__CONTROL_COMMAND__CONTROL_LINK);

static bool is_power_of_two(uint32_t v)
{
	return v != 0 && (v & (v - 1)) == 0;
}

/* --- vm_config.proto --- */

#define WIRE Bulkhead__RateLimit
#define PLAIN struct rate_limit_config
static bool rate_limit_check(const void *plain)
{
	const struct rate_limit_config *c = plain;

	return (c->bw_size == 0 || c->bw_refill_time != 0) &&
	       (c->ops_size == 0 || c->ops_refill_time != 0);
}

static const struct codec_field rate_limit_fields[] = {
	CODEC_ANY64(bw_size),
	CODEC_ANY64(bw_one_time_burst),
	CODEC_ANY64(ops_size),
	CODEC_ANY64(ops_one_time_burst),
	CODEC_ANY32(bw_refill_time),
	CODEC_ANY32(ops_refill_time),
};
static const struct codec_struct rate_limit_layout = CODEC_LAYOUT(
	bulkhead__rate_limit__descriptor, PLAIN, rate_limit_fields, rate_limit_check);
#undef WIRE
#undef PLAIN

#define WIRE Bulkhead__BlkConfig
#define PLAIN struct blk_config
static bool blk_config_check(const void *plain)
{
	const struct blk_config *c = plain;

	return is_power_of_two(c->queue_size);
}

static const struct codec_field blk_config_fields[] = {
	CODEC_BOOL(read_only),
	CODEC_BOOL(direct),
	CODEC_U32(num_queues, 1, VM_CPUS_MAX),
	CODEC_U32(queue_size, 2, DEVICE_QUEUE_SIZE_MAX),
	CODEC_RAW(serial),
	CODEC_STRUCT(limits, rate_limit_layout),
};
static const struct codec_struct blk_config_layout = CODEC_LAYOUT(
	bulkhead__blk_config__descriptor, PLAIN, blk_config_fields, blk_config_check);
#undef WIRE
#undef PLAIN

#define WIRE Bulkhead__NetForward
#define PLAIN struct net_forward
static const struct codec_field net_forward_fields[] = {
	CODEC_BOOL(is_udp),
	CODEC_ANY32(host_addr),
	CODEC_U32(host_port, 1, UINT16_MAX),
	CODEC_U32(guest_port, 1, UINT16_MAX),
};
static const struct codec_struct net_forward_layout = CODEC_LAYOUT(
	bulkhead__net_forward__descriptor, PLAIN, net_forward_fields, NULL);
#undef WIRE
#undef PLAIN

#define WIRE Bulkhead__NetConfig
#define PLAIN struct net_config
static bool net_config_check(const void *plain)
{
	const struct net_config *c = plain;

	return is_power_of_two(c->queue_size) && c->num_queues % 2 == 0;
}

static const struct codec_field net_config_fields[] = {
	CODEC_ENUM(mode, UP_TO(NET_MODE_USER + 1)),
	CODEC_U64(mac, 0, (UINT64_C(1) << 48) - 1),
	CODEC_U32(num_queues, 2, 2 * NET_PAIRS_MAX),
	CODEC_U32(queue_size, 2, DEVICE_QUEUE_SIZE_MAX),
	CODEC_U32(mtu, 0, UINT16_MAX),
	CODEC_BOOL(no_tso),
	CODEC_BOOL(no_ufo),
	CODEC_BOOL(no_csum),
	CODEC_BOOL(link_down),
	CODEC_BOOL(loopback),
	CODEC_ANY32(dns),
	CODEC_ANY32(tap_offloads),
	CODEC_STRUCT(limits, rate_limit_layout),
};
static const struct codec_struct net_config_layout = CODEC_LAYOUT(
	bulkhead__net_config__descriptor, PLAIN, net_config_fields, net_config_check);
#undef WIRE
#undef PLAIN

#define WIRE Bulkhead__ConsoleConfig
#define PLAIN struct console_config
static const struct codec_field console_config_fields[] = {
	CODEC_ENUM(mode, UP_TO(SERIAL_SOCKET + 1) & ~BIT(SERIAL_OFF)),
	CODEC_BOOL(has_in),
	CODEC_BOOL(has_out),
	CODEC_BOOL(has_size),
};
static const struct codec_struct console_config_layout = CODEC_LAYOUT(
	bulkhead__console_config__descriptor, PLAIN, console_config_fields, NULL);
#undef WIRE
#undef PLAIN

#define WIRE Bulkhead__VsockConfig
#define PLAIN struct vsock_config
static const struct codec_field vsock_config_fields[] = {
	CODEC_U32(cid, VM_CID_MIN, VM_CID_MAX),
};
static const struct codec_struct vsock_config_layout = CODEC_LAYOUT(
	bulkhead__vsock_config__descriptor, PLAIN, vsock_config_fields, NULL);
#undef WIRE
#undef PLAIN

#define WIRE Bulkhead__DeviceConfig
#define PLAIN struct device_config
static const struct codec_field device_config_fields[] = {
	CODEC_ENUM(type, DEVICE_TYPES),
	CODEC_NAME(id),
	CODEC_STRUCT_IF(blk, blk_config_layout, type, DEVICE_TYPE_BLK),
	CODEC_STRUCT_IF(net, net_config_layout, type, DEVICE_TYPE_NET),
	CODEC_BOOL(iommu),
	CODEC_STRUCT_IF(console, console_config_layout, type, DEVICE_TYPE_CONSOLE),
	CODEC_STRUCT_IF(vsock, vsock_config_layout, type, DEVICE_TYPE_VSOCK),
};
static const struct codec_struct device_config_layout = CODEC_LAYOUT(
	bulkhead__device_config__descriptor, PLAIN, device_config_fields, NULL);
#undef WIRE
#undef PLAIN

#define WIRE Bulkhead__RestartPolicy
#define PLAIN struct restart_policy
static const struct codec_field restart_policy_fields[] = {
	CODEC_ANY32(max),
	CODEC_ANY32(window_ms),
	CODEC_ANY32(backoff_ms),
	CODEC_ANY32(heartbeat_ms),
	CODEC_BOOL(standby),
};
static const struct codec_struct restart_policy_layout = CODEC_LAYOUT(
	bulkhead__restart_policy__descriptor, PLAIN, restart_policy_fields, NULL);
#undef WIRE
#undef PLAIN

#define WIRE Bulkhead__VmConfig
#define PLAIN struct vm_config
static bool vm_config_check(const void *plain)
{
	const struct vm_config *c = plain;

	return c->memory_size % GUEST_PAGE_SIZE == 0;
}

static const struct codec_field vm_config_fields[] = {
	CODEC_NAME(name),
	CODEC_RAW(cmdline),
	CODEC_U32(n_cpus, 1, VM_CPUS_MAX),
	CODEC_U64(memory_size, GUEST_PAGE_SIZE, UINT64_MAX),
	CODEC_BOOL(memory_hugepages),
	CODEC_BOOL(memory_prefault),
	CODEC_ENUM(transport, UP_TO(VM_TRANSPORT_MMIO + 1)),
	CODEC_ENUM(serial, UP_TO(SERIAL_FILE + 1)),
	CODEC_STRUCTS(devices, n_devices, device_config_layout, 0),
	CODEC_STRUCT(restart, restart_policy_layout),
	CODEC_BOOL(allow_weak_sandbox),
	CODEC_BOOL(seccomp_log),
	CODEC_ANY32(verbosity),
};
static const struct codec_struct vm_config_layout = CODEC_LAYOUT(
	bulkhead__vm_config__descriptor, PLAIN, vm_config_fields, vm_config_check);
#undef WIRE
#undef PLAIN

/* --- device.proto --- */

#define WIRE Bulkhead__DeviceStart
#define PLAIN struct message_device_start
static bool device_start_check(const void *plain)
{
	const struct message_device_start *s = plain;

	for (uint32_t i = 0; i < s->n_ring; i++) {
		if (s->ring[i] > UINT32_MAX)
			return false;
	}
	return s->n_ring == 0 || s->n_ring == RING_PARAMS_N;
}

static const struct codec_field device_start_fields[] = {
	CODEC_ANY32(protocol), /* the receiver names a difference, so it must get through */
	CODEC_U32(uid, 0, ID_MAX),
	CODEC_U32(gid, 0, ID_MAX),
	CODEC_U32(slot, 0, SLOT_MAX),
	CODEC_U32(n_cpus, 1, VM_CPUS_MAX),
	CODEC_BOOL(seccomp_log),
	CODEC_ANY32(verbosity),
	CODEC_STRUCT(config, device_config_layout),
	CODEC_U32(n_fds, 0, FDSET_MAX - 3),
	CODEC_BOOL(has_root),
	CODEC_BOOL(has_network),
	CODEC_U64S(ring, n_ring),
	CODEC_STRUCTS(forwards, n_forwards, net_forward_layout, 0),
	CODEC_BOOL(is_ahead),
};
static const struct codec_struct device_start_layout = CODEC_LAYOUT(
	bulkhead__device_start__descriptor, PLAIN, device_start_fields, device_start_check);
#undef WIRE
#undef PLAIN

#define WIRE Bulkhead__Hello
#define PLAIN struct message_hello
static bool hello_check(const void *plain)
{
	const struct message_hello *h = plain;

	return is_power_of_two(h->queue_size_max);
}

static const struct codec_field hello_fields[] = {
	CODEC_ANY32(protocol),
	CODEC_ENUM(type, DEVICE_TYPES),
	CODEC_ANY64(features),
	CODEC_U32(n_queues, 1, DEVICE_QUEUES_MAX),
	CODEC_U32(queue_size_max, 1, DEVICE_QUEUE_SIZE_MAX),
	CODEC_BYTES(config, config_len),
	CODEC_BYTES(config_writable, config_writable_len),
	CODEC_U32(state_size, 0, DEVICE_STATE_MAX),
};
static const struct codec_struct hello_layout =
	CODEC_LAYOUT(bulkhead__hello__descriptor, PLAIN, hello_fields, hello_check);
#undef WIRE
#undef PLAIN

#define WIRE Bulkhead__GuestRegion
#define PLAIN struct guest_region
static bool guest_region_check(const void *plain)
{
	const struct guest_region *r = plain;

	return r->gpa % GUEST_PAGE_SIZE == 0 && r->size % GUEST_PAGE_SIZE == 0 &&
	       r->size - 1 <= UINT64_MAX - r->gpa;
}

static const struct codec_field guest_region_fields[] = {
	CODEC_ANY64(gpa),
	CODEC_U64(size, GUEST_PAGE_SIZE, UINT64_MAX),
};
static const struct codec_struct guest_region_layout = CODEC_LAYOUT(
	bulkhead__guest_region__descriptor, PLAIN, guest_region_fields, guest_region_check);
#undef WIRE
#undef PLAIN

#define WIRE Bulkhead__Setup
#define PLAIN struct message_setup
static const struct codec_field setup_fields[] = {
	CODEC_U32(n_queues, 1, DEVICE_QUEUES_MAX),
	CODEC_STRUCTS(regions, n_regions, guest_region_layout, 1),
	CODEC_BOOL(is_behind_iommu),
	CODEC_U32(n_endpoints, 0, VM_DEVICES_MAX),
};
static bool setup_check(const void *plain)
{
	const struct message_setup *s = plain;

	return !s->is_behind_iommu || s->n_endpoints == 0; /* the IOMMU is not behind itself */
}
static const struct codec_struct setup_layout =
	CODEC_LAYOUT(bulkhead__setup__descriptor, PLAIN, setup_fields, setup_check);
#undef WIRE
#undef PLAIN

#define WIRE Bulkhead__Endpoint
#define PLAIN struct message_endpoint
static const struct codec_field endpoint_fields[] = {
	CODEC_U32(slot, 0, SLOT_MAX),
	CODEC_ANY32(id),
};
static const struct codec_struct endpoint_layout =
	CODEC_LAYOUT(bulkhead__endpoint__descriptor, PLAIN, endpoint_fields, NULL);
#undef WIRE
#undef PLAIN

#define WIRE Bulkhead__EndpointStalled
#define PLAIN struct message_endpoint
static const struct codec_field endpoint_stalled_fields[] = {
	CODEC_U32(slot, 0, SLOT_MAX),
};
static const struct codec_struct endpoint_stalled_layout = CODEC_LAYOUT(
	bulkhead__endpoint_stalled__descriptor, PLAIN, endpoint_stalled_fields, NULL);
#undef WIRE
#undef PLAIN

#define WIRE Bulkhead__SetFeatures
#define PLAIN struct message_set_features
static const struct codec_field set_features_fields[] = {
	CODEC_ANY64(features),
};
static const struct codec_struct set_features_layout = CODEC_LAYOUT(
	bulkhead__set_features__descriptor, PLAIN, set_features_fields, NULL);
#undef WIRE
#undef PLAIN

#define WIRE Bulkhead__EnableQueue
#define PLAIN struct message_enable_queue
static bool enable_queue_check(const void *plain)
{
	const struct message_enable_queue *q = plain;

	return is_power_of_two(q->size);
}

static const struct codec_field enable_queue_fields[] = {
	CODEC_U32(index, 0, DEVICE_QUEUES_MAX - 1),
	CODEC_U32(size, 1, DEVICE_QUEUE_SIZE_MAX),
	CODEC_ANY64(desc),
	CODEC_ANY64(avail),
	CODEC_ANY64(used),
	CODEC_BOOL(resume),
	CODEC_BOOL(is_blameless),
};
static const struct codec_struct enable_queue_layout = CODEC_LAYOUT(
	bulkhead__enable_queue__descriptor, PLAIN, enable_queue_fields, enable_queue_check);
#undef WIRE
#undef PLAIN

#define WIRE Bulkhead__DisableQueue
#define PLAIN struct message_disable_queue
static const struct codec_field disable_queue_fields[] = {
	CODEC_U32(index, 0, DEVICE_QUEUES_MAX - 1),
};
static const struct codec_struct disable_queue_layout = CODEC_LAYOUT(
	bulkhead__disable_queue__descriptor, PLAIN, disable_queue_fields, NULL);
#undef WIRE
#undef PLAIN

#define WIRE Bulkhead__ConfigBytes
#define PLAIN struct message_config
static bool config_check(const void *plain)
{
	const struct message_config *c = plain;

	return c->len <= DEVICE_CONFIG_SPACE_MAX - c->offset;
}

static const struct codec_field config_fields[] = {
	CODEC_U32(offset, 0, DEVICE_CONFIG_SPACE_MAX),
	CODEC_BYTES(data, len),
};
static const struct codec_struct config_layout =
	CODEC_LAYOUT(bulkhead__config_bytes__descriptor, PLAIN, config_fields, config_check);
#undef WIRE
#undef PLAIN

/* --- vm.proto --- */

#define WIRE Bulkhead__CoreStart
#define PLAIN struct message_core_start
static const struct codec_field core_start_fields[] = {
	CODEC_ANY32(protocol),
	CODEC_U32(uid, 0, ID_MAX),
	CODEC_U32(gid, 0, ID_MAX),
	CODEC_BOOL(has_initramfs),
	CODEC_BOOL(has_serial_in),
	CODEC_BOOL(has_serial_out),
	CODEC_ANY64(exec_time_ns),
	CODEC_STRUCT(config, vm_config_layout),
};
static const struct codec_struct core_start_layout = CODEC_LAYOUT(
	bulkhead__core_start__descriptor, PLAIN, core_start_fields, NULL);
#undef WIRE
#undef PLAIN

#define WIRE Bulkhead__Child
#define PLAIN struct message_child
static const struct codec_field child_fields[] = {
	CODEC_U32(slot, 0, SLOT_MAX),
	CODEC_ANY32(generation),
	CODEC_ENUM(type, DEVICE_TYPES),
	CODEC_BOOL(is_held),
	CODEC_BOOL(has_successor),
	CODEC_BOOL(is_blameless),
};
static const struct codec_struct child_layout =
	CODEC_LAYOUT(bulkhead__child__descriptor, PLAIN, child_fields, NULL);
#undef WIRE
#undef PLAIN

#define WIRE Bulkhead__GetCounters
#define PLAIN struct message_counters
static const struct codec_field get_counters_fields[] = {
	CODEC_U32(slot, 0, SLOT_MAX),
};
static const struct codec_struct get_counters_layout = CODEC_LAYOUT(
	bulkhead__get_counters__descriptor, PLAIN, get_counters_fields, NULL);
#undef WIRE
#undef PLAIN

#define WIRE Bulkhead__Counters
#define PLAIN struct message_counters
static const struct codec_field counters_fields[] = {
	CODEC_U32(slot, 0, SLOT_MAX),
	CODEC_U64S(values, n),
};
static const struct codec_struct counters_layout =
	CODEC_LAYOUT(bulkhead__counters__descriptor, PLAIN, counters_fields, NULL);
#undef WIRE
#undef PLAIN

#define WIRE Bulkhead__Adjust
#define PLAIN struct message_adjust
static const struct codec_field adjust_fields[] = {
	CODEC_U32(slot, 0, SLOT_MAX),
	CODEC_BOOL(link_down),
	CODEC_STRUCT(limits, rate_limit_layout),
};
static const struct codec_struct adjust_layout =
	CODEC_LAYOUT(bulkhead__adjust__descriptor, PLAIN, adjust_fields, NULL);
#undef WIRE
#undef PLAIN

#define WIRE Bulkhead__CoreReady
#define PLAIN struct message_core_ready
static const struct codec_field core_ready_fields[] = {
	CODEC_ANY64(ready_ns),
};
static const struct codec_struct core_ready_layout = CODEC_LAYOUT(
	bulkhead__core_ready__descriptor, PLAIN, core_ready_fields, NULL);
#undef WIRE
#undef PLAIN

#define WIRE Bulkhead__VmStateChange
#define PLAIN struct message_vm_state
static const struct codec_field vm_state_fields[] = {
	CODEC_ENUM(state, UP_TO(VM_STATE_N_)),
	CODEC_ANY64(value),
	CODEC_TEXT(text),
};
static const struct codec_struct vm_state_layout = CODEC_LAYOUT(
	bulkhead__vm_state_change__descriptor, PLAIN, vm_state_fields, NULL);
#undef WIRE
#undef PLAIN

#define WIRE Bulkhead__DeviceEvent
#define PLAIN struct message_device_event
static const struct codec_field device_event_fields[] = {
	CODEC_U32(slot, 0, SLOT_MAX),
	CODEC_ANY32(generation),
	CODEC_ENUM(state, UP_TO(DEVICE_STATE_N_)),
	CODEC_U32(level, 0, LOG_LEVEL_DEBUG),
	CODEC_TEXT(text),
};
static const struct codec_struct device_event_layout = CODEC_LAYOUT(
	bulkhead__device_event__descriptor, PLAIN, device_event_fields, NULL);

static bool log_check(const void *plain)
{
	const struct message_device_event *e = plain;

	return e->slot <= SLOT_MAX || e->slot == MESSAGE_SLOT_CORE;
}

static const struct codec_field log_fields[] = {
	CODEC_ANY32(slot), /* also MESSAGE_SLOT_CORE: log_check() */
	CODEC_ANY32(generation),
	CODEC_ENUM(state, UP_TO(DEVICE_STATE_N_)),
	CODEC_U32(level, 0, LOG_LEVEL_DEBUG),
	CODEC_TEXT(text),
};
static const struct codec_struct log_layout =
	CODEC_LAYOUT(bulkhead__device_event__descriptor, PLAIN, log_fields, log_check);
#undef WIRE
#undef PLAIN

/* --- control.proto --- */

#define WIRE Bulkhead__ControlRequest
#define PLAIN struct message_control_request
static const struct codec_field control_request_fields[] = {
	CODEC_ANY32(protocol),
	CODEC_ENUM(command, UP_TO(CONTROL_N_) & ~BIT(0)),
	CODEC_NAME_OR_EMPTY(device),
	CODEC_BOOL(has_program),
	CODEC_BOOL(is_stopped),
	CODEC_TEXT(text),
};
static const struct codec_struct control_request_layout = CODEC_LAYOUT(
	bulkhead__control_request__descriptor, PLAIN, control_request_fields, NULL);
#undef WIRE
#undef PLAIN

#define WIRE Bulkhead__ControlProcess
#define PLAIN struct control_process
static const struct codec_field control_process_fields[] = {
	CODEC_NAME(name),
	CODEC_TEXT(role),
	CODEC_I32(pid, INT32_MAX),
	CODEC_TEXT(state),
	CODEC_ANY32(restarts),
	CODEC_TEXT(last_exit),
	CODEC_ANY64(last_stall_us),
	CODEC_ANY64(last_stall_at),
	CODEC_TEXT(address),
};
static const struct codec_struct control_process_layout = CODEC_LAYOUT(
	bulkhead__control_process__descriptor, PLAIN, control_process_fields, NULL);
#undef WIRE
#undef PLAIN

#define WIRE Bulkhead__ControlCounter
#define PLAIN struct control_counter
static const struct codec_field control_counter_fields[] = {
	CODEC_NAME_OR_EMPTY(device),
	CODEC_NAME(name),
	CODEC_ANY64(value),
};
static const struct codec_struct control_counter_layout = CODEC_LAYOUT(
	bulkhead__control_counter__descriptor, PLAIN, control_counter_fields, NULL);
#undef WIRE
#undef PLAIN

#define WIRE Bulkhead__ControlReply
#define PLAIN struct message_control_reply
static const struct codec_field control_reply_fields[] = {
	CODEC_I32(result, ERRNO_MAX),
	CODEC_TEXT(text),
	CODEC_BOOL(more),
	CODEC_NAME_OR_EMPTY(vm_name),
	CODEC_TEXT(vm_state),
	CODEC_U32(n_cpus, 0, VM_CPUS_MAX),
	CODEC_ANY64(memory_size),
	CODEC_STRUCTS(processes, n_processes, control_process_layout, 0),
	CODEC_STRUCTS(counters, n_counters, control_counter_layout, 0),
	CODEC_I32(pid, INT32_MAX),
};
static const struct codec_struct control_reply_layout = CODEC_LAYOUT(
	bulkhead__control_reply__descriptor, PLAIN, control_reply_fields, NULL);
#undef WIRE
#undef PLAIN

/* --- vsock.proto --- */

#define WIRE Bulkhead__VsockSockets
#define PLAIN struct message_vsock_sockets
static const struct codec_field vsock_sockets_fields[] = {
	CODEC_U64S(ids, n),
};
static const struct codec_struct vsock_sockets_layout = CODEC_LAYOUT(
	bulkhead__vsock_sockets__descriptor, PLAIN, vsock_sockets_fields, NULL);
#undef WIRE
#undef PLAIN

#define WIRE Bulkhead__VsockConnect
#define PLAIN struct message_vsock_connect
static const struct codec_field vsock_connect_fields[] = {
	CODEC_ANY64(id),
	CODEC_ANY32(port),
	CODEC_I32(result, ERRNO_MAX),
};
static const struct codec_struct vsock_connect_layout = CODEC_LAYOUT(
	bulkhead__vsock_connect__descriptor, PLAIN, vsock_connect_fields, NULL);
#undef WIRE
#undef PLAIN

/* --- envelope.proto --- */

static const struct codec_struct empty_layout = {
	.wire = &bulkhead__empty__descriptor,
};

#define WIRE Bulkhead__Reply
#define PLAIN struct message_reply
static const struct codec_field reply_fields[] = {
	CODEC_I32(result, ERRNO_MAX),
	CODEC_ANY64(value),
};
static const struct codec_struct reply_layout =
	CODEC_LAYOUT(bulkhead__reply__descriptor, PLAIN, reply_fields, NULL);
#undef WIRE
#undef PLAIN

#define WIRE Bulkhead__Failed
#define PLAIN struct message_failed
static const struct codec_field failed_fields[] = {
	CODEC_TEXT(text),
};
static const struct codec_struct failed_layout =
	CODEC_LAYOUT(bulkhead__failed__descriptor, PLAIN, failed_fields, NULL);
#undef WIRE
#undef PLAIN

#define ROW(type, field, plain)                                                                   \
	[MESSAGE_##type] = { #type, BULKHEAD__ENVELOPE__BODY_##field, &(plain) }

static const struct codec_type types[MESSAGE_N_] = {
	ROW(REPLY, REPLY, reply_layout),
	ROW(DEVICE_START, DEVICE_START, device_start_layout),
	ROW(HELLO, HELLO, hello_layout),
	ROW(READY, READY, empty_layout),
	ROW(CONFIG_CHANGED, CONFIG_CHANGED, config_layout),
	ROW(DEVICE_FAILED, DEVICE_FAILED, failed_layout),
	ROW(NEEDS_RESET, NEEDS_RESET, empty_layout),
	ROW(SETUP, SETUP, setup_layout),
	ROW(ENDPOINT, ENDPOINT, endpoint_layout),
	ROW(ENDPOINT_STALLED, ENDPOINT_STALLED, endpoint_stalled_layout),
	ROW(SET_FEATURES, SET_FEATURES, set_features_layout),
	ROW(ENABLE_QUEUE, ENABLE_QUEUE, enable_queue_layout),
	ROW(DISABLE_QUEUE, DISABLE_QUEUE, disable_queue_layout),
	ROW(CONFIG_WRITTEN, CONFIG_WRITTEN, config_layout),
	ROW(RESET, RESET, empty_layout),
	ROW(PAUSE, PAUSE, empty_layout),
	ROW(RESUME, RESUME, empty_layout),
	ROW(PING, PING, empty_layout),
	ROW(ADJUST, ADJUST, adjust_layout),
	ROW(CORE_START, CORE_START, core_start_layout),
	ROW(NAMESPACES, NAMESPACES, empty_layout),
	ROW(CHILD_ADDED, CHILD_ADDED, child_layout),
	ROW(CHILD_GONE, CHILD_GONE, child_layout),
	ROW(CHILD_OFFERED, CHILD_OFFERED, child_layout),
	ROW(CHILD_RELEASED, CHILD_RELEASED, child_layout),
	ROW(CHILD_TRACED, CHILD_TRACED, child_layout),
	ROW(DRAIN, DRAIN, child_layout),
	ROW(POWER_BUTTON, POWER_BUTTON, empty_layout),
	ROW(REBOOT, REBOOT, empty_layout),
	ROW(GET_COUNTERS, GET_COUNTERS, get_counters_layout),
	ROW(CORE_READY, CORE_READY, core_ready_layout),
	ROW(VM_STATE, VM_STATE, vm_state_layout),
	ROW(CONDEMN, CONDEMN, device_event_layout),
	ROW(STALLED, STALLED, device_event_layout),
	ROW(REFUSED, REFUSED, device_event_layout),
	ROW(REVIVE, REVIVE, device_event_layout),
	ROW(DEVICE_STATE, DEVICE_STATE, device_event_layout),
	ROW(COUNTERS, COUNTERS, counters_layout),
	ROW(LOG, LOG, log_layout),
	ROW(CORE_FAILED, CORE_FAILED, failed_layout),
	ROW(VSOCK_KEEP, VSOCK_KEEP, vsock_sockets_layout),
	ROW(VSOCK_FORGET, VSOCK_FORGET, vsock_sockets_layout),
	ROW(VSOCK_KEPT, VSOCK_KEPT, vsock_sockets_layout),
	ROW(VSOCK_CONNECT, VSOCK_CONNECT, vsock_connect_layout),
	ROW(VSOCK_CONNECTED, VSOCK_CONNECTED, vsock_connect_layout),
	ROW(CONTROL_REQUEST, CONTROL_REQUEST, control_request_layout),
	ROW(CONTROL_REPLY, CONTROL_REPLY, control_reply_layout),
};

const struct codec_type *codec_type_get(enum message_type type)
{
	if ((unsigned)type >= MESSAGE_N_ || types[type].layout == NULL)
		return NULL;
	return &types[type];
}

enum message_type codec_type_of_body(uint32_t body)
{
	for (unsigned i = 0; i < MESSAGE_N_; i++) {
		if (types[i].layout != NULL && types[i].body == body)
			return (enum message_type)i;
	}
	return MESSAGE_NONE;
}
