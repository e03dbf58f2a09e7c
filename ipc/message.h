/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control messages, as plain structs.
 *
 * message_encode() and message_decode() are the only users of the generated protobuf-c code.
 * Decoding checks presence, ranges, enum membership and string contents, so a decoded message is
 * well-formed; whether it is permitted now, from this peer, is the receiver's table (struct
 * message_rule), and whether its values make sense together is the handler's business.
 *
 * Who sends what, in the order of a normal start. W warden, C core, D device process:
 *
 *	W->C  CORE_START	  on the warden channel
 *	W->C  NAMESPACES	  as soon as they are there: the core makes the VM meanwhile
 *	W->C  CHILD_ADDED	  one per device
 *	W->D  DEVICE_START	  first frame on the device's channel, written by the warden before
 *				  the core gets its end
 *	D->C  HELLO		  protocol version, virtio type, features, queues, config space
 *	C->D  SETUP		  regions of guest RAM
 *	C->D  ENDPOINT...	  to the IOMMU's process: one per device behind it
 *	D->C  READY		  everything is mapped and the sandbox is sealed
 *	W->C  RESUME		  run when ready: a VM starts paused
 *	C->W  CORE_READY	  all devices are ready, the core is sealed, vCPUs run or may run
 *	C->D  SET_FEATURES, ENABLE_QUEUE...	at DRIVER_OK; each request answered by REPLY
 *
 * When a device process has died:
 *
 *	W->C  CHILD_GONE	  no I/O of it can land any more; has_successor: another one comes,
 *				  else the device has failed, until the core asks to REVIVE it
 *	W->C  CHILD_ADDED	  the successor, with the next generation
 *
 * Planned replacement, while the old process serves; with is_held the new one gets no SETUP
 * before CHILD_RELEASED:
 *
 *	W->C  CHILD_OFFERED	  the new one; the core starts it, up to READY (or HELLO)
 *	C->W  DEVICE_STATE	  of the new generation: READY or HELD; or CONDEMN
 *	W->C  DRAIN		  stop the old one; REPLY: nothing of it is in flight
 *	W->C  CHILD_GONE	  the old one was killed: the new one takes over. Of the new generation
 *				  instead: forget it, the old one goes on
 *
 * A process that does not answer, perhaps because a debugger has stopped it:
 *
 *	C->W  STALLED
 *	W->C  CHILD_TRACED	  that is why: wait on, and ask again. If it is not, the warden kills it
 *
 * A request carries seq != 0; its answer is a REPLY with the same seq. Every message about a
 * device carries the generation (incarnation) of its process; late ones are dropped.
 *
 * Descriptors, in this order and exactly so many (message_n_fds()); all others carry none:
 *
 *	CORE_START	/dev/kvm, kernel, UID-block lock, pidfd of the warden, then as the has_*
 *			fields say: initramfs, serial in, serial out
 *	NAMESPACES	what the core's sandbox begins with: the VM's empty network namespace, a
 *			mount namespace with an empty root
 *	CHILD_ADDED	the core's end of that device's channel; CHILD_OFFERED likewise
 *	DEVICE_START	n_fds resources of the device (disk, tap, socket, ...), then the pidfd of
 *			the warden, then with has_root a mount namespace with an empty root, with
 *			has_network the VM's empty network namespace
 *	SETUP		the device page, then one memfd per region; then, for a device behind the
 *			IOMMU, the table (read-only), its endpoint page, the eventfd of faults; for
 *			the IOMMU's process the table and that eventfd (ipc/iommu_memory.h)
 *	ENDPOINT	the endpoint page of that device, read-only
 *	ENABLE_QUEUE	kick eventfd, call eventfd
 *	VSOCK_KEEP, VSOCK_KEPT	one per id
 *	VSOCK_CONNECTED	the connected socket, if there is one
 *	CONTROL_REQUEST	with has_program: the program to run
 *
 * NAMESPACES, READY, NEEDS_RESET, RESET, PAUSE, RESUME, PING, POWER_BUTTON, REBOOT: no body.
 * GET_COUNTERS uses counters.slot and is answered by COUNTERS with the same seq. CONDEMN, STALLED,
 * REFUSED, REVIVE, DEVICE_STATE and LOG use device_event, CONFIG_WRITTEN and CONFIG_CHANGED config,
 * CORE_FAILED and DEVICE_FAILED failed, ENDPOINT_STALLED endpoint, the CHILD_* and DRAIN child; the others the member of their
 * own name.
 *
 * Ranges, checked on both sides: slot < VM_DEVICES_MAX; n_cpus 1..VM_CPUS_MAX; queue sizes powers
 * of two up to DEVICE_QUEUE_SIZE_MAX; results 0..4095; uid and gid never -1; enums only the values
 * named here; names and ids [A-Za-z0-9][A-Za-z0-9._-]*. Texts (reasons, states, log lines) arrive
 * as printable ASCII, every other byte as '?'.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ipc/device_page.h"
#include "ipc/fdset.h"
#include "ipc/guest_memory.h"
#include "ipc/ring_params.h"
#include "ipc/vm_config.h"

#define PROTOCOL_VERSION 3u
#define MESSAGE_FRAME_MAX 65536u /* bytes of one encoded frame */
#define MESSAGE_TEXT_MAX 256u /* bytes of a reason or log line, including NUL */
#define DEVICE_CONFIG_SPACE_MAX 256u
#define DEVICE_CHANNEL_FD 3 /* of every child, inherited from the warden */
#define DEVICE_RING_FD 4 /* of a device process with DEVICE_START.ring, likewise */

enum message_type {
	MESSAGE_NONE = 0,
	/* any direction */
	MESSAGE_REPLY,
	/* warden -> device */
	MESSAGE_DEVICE_START,
	/* device -> core */
	MESSAGE_HELLO,
	MESSAGE_READY,
	MESSAGE_CONFIG_CHANGED,
	MESSAGE_DEVICE_FAILED,
	MESSAGE_ENDPOINT_STALLED, /* IOMMU's process: a device does not let go of what was unmapped */
	MESSAGE_NEEDS_RESET, /* the guest broke a queue: show DEVICE_NEEDS_RESET to the driver */
	/* core -> device */
	MESSAGE_SETUP,
	MESSAGE_ENDPOINT,
	MESSAGE_SET_FEATURES,
	MESSAGE_ENABLE_QUEUE,
	MESSAGE_DISABLE_QUEUE,
	MESSAGE_CONFIG_WRITTEN,
	MESSAGE_RESET,
	MESSAGE_PAUSE, /* also warden -> core */
	MESSAGE_RESUME, /* also warden -> core */
	MESSAGE_PING, /* also warden -> core */
	MESSAGE_ADJUST, /* also warden -> core: what may change while a device runs */
	/* warden -> core */
	MESSAGE_CORE_START,
	MESSAGE_NAMESPACES,
	MESSAGE_CHILD_ADDED,
	MESSAGE_CHILD_GONE,
	MESSAGE_CHILD_OFFERED,
	MESSAGE_CHILD_RELEASED,
	MESSAGE_CHILD_TRACED,
	MESSAGE_DRAIN,
	MESSAGE_POWER_BUTTON,
	MESSAGE_REBOOT,
	MESSAGE_GET_COUNTERS,
	/* core -> warden */
	MESSAGE_CORE_READY,
	MESSAGE_VM_STATE,
	MESSAGE_CONDEMN,
	MESSAGE_STALLED,
	MESSAGE_REFUSED,
	MESSAGE_REVIVE,
	MESSAGE_DEVICE_STATE,
	MESSAGE_COUNTERS,
	MESSAGE_LOG,
	MESSAGE_CORE_FAILED,
	/* bulkhead-vsock <-> warden, on a channel of their own */
	MESSAGE_VSOCK_KEEP, /* keep copies of these sockets for a successor */
	MESSAGE_VSOCK_FORGET,
	MESSAGE_VSOCK_KEPT, /* warden -> a successor */
	MESSAGE_VSOCK_CONNECT,
	MESSAGE_VSOCK_CONNECTED,
	/* bulkheadctl <-> warden */
	MESSAGE_CONTROL_REQUEST,
	MESSAGE_CONTROL_REPLY,
	MESSAGE_N_,
};

/* REPLY: result 0 or a positive errno value; value by request (DISABLE_QUEUE: last avail index) */
/* VSOCK_KEEP, VSOCK_FORGET, VSOCK_KEPT: host sockets by the number that their process gave them */
#define VSOCK_SOCKETS_MAX FDSET_MAX

struct message_vsock_sockets {
	uint32_t n;
	uint64_t ids[VSOCK_SOCKETS_MAX];
};

/* VSOCK_CONNECT: to PATH_<port>; VSOCK_CONNECTED: the answer, with the socket if result is 0 */
struct message_vsock_connect {
	uint64_t id;
	uint32_t port;
	int32_t result; /* 0 or a positive errno value */
};

struct message_reply {
	int32_t result;
	uint64_t value;
};

struct message_device_start {
	uint32_t protocol;
	uint32_t uid, gid; /* what this process becomes; 0: keep (weak sandbox) */
	uint32_t slot;
	uint32_t n_cpus;
	bool seccomp_log;
	uint32_t verbosity;
	struct device_config config; /* without paths */
	uint32_t n_fds; /* the resources, without what follows them */
	bool is_ahead; /* it is not needed yet: let others have the CPU first */
	bool has_root, has_network; /* without has_root the device makes an empty root itself */
	/* Not 0: fd DEVICE_RING_FD is an io_uring that is still disabled; see ring_params.h */
	uint32_t n_ring;
	uint64_t ring[RING_PARAMS_N];
	uint32_t n_forwards; /* net, user mode */
	struct net_forward forwards[NET_FORWARDS_MAX];
};

struct message_hello {
	uint32_t protocol;
	enum device_type type;
	uint64_t features; /* all offered: the type's, the ring's and VERSION_1 */
	uint32_t n_queues; /* 1..DEVICE_QUEUES_MAX */
	uint32_t queue_size_max; /* power of two <= DEVICE_QUEUE_SIZE_MAX */
	uint32_t config_len; /* bytes of config, <= DEVICE_CONFIG_SPACE_MAX */
	uint8_t config[DEVICE_CONFIG_SPACE_MAX];
	uint32_t config_writable_len; /* bytes of the mask below in use; 0: nothing is writable */
	uint8_t config_writable[DEVICE_CONFIG_SPACE_MAX]; /* the bits that the driver may write */
	uint32_t state_size; /* bytes of the device's own state in the page, <= DEVICE_STATE_MAX */
};

struct message_setup {
	uint32_t n_queues; /* as in HELLO; the device page is sized for it */
	uint32_t n_regions;
	struct guest_region regions[GUEST_MEMORY_REGIONS_MAX];
	bool is_behind_iommu;
	uint32_t n_endpoints; /* not 0: to the IOMMU's process; so many ENDPOINTs follow */
};

/* ENDPOINT and, with a slot alone, ENDPOINT_STALLED */
struct message_endpoint {
	uint32_t slot;
	uint32_t id; /* the driver's: on PCI bus, device and function */
};

struct message_set_features {
	uint64_t features; /* negotiated, a subset of what was offered */
};

struct message_enable_queue {
	uint32_t index;
	uint32_t size;
	uint64_t desc, avail, used; /* guest addresses; validated again by the device */
	bool resume; /* false: start at 0; true: continue from the device page */
	bool is_blameless; /* what the predecessor had in hand is not why it ended */
};

struct message_disable_queue {
	uint32_t index;
};

/* CONFIG_WRITTEN, CONFIG_CHANGED: the whole or a part of config space */
struct message_config {
	uint32_t offset;
	uint32_t len; /* offset + len <= DEVICE_CONFIG_SPACE_MAX */
	uint8_t data[DEVICE_CONFIG_SPACE_MAX];
};

struct message_core_start {
	uint32_t protocol;
	uint32_t uid, gid;
	bool has_initramfs, has_serial_in, has_serial_out;
	uint64_t exec_time_ns; /* CLOCK_MONOTONIC at the warden's start, for -v timings */
	struct vm_config config; /* without paths */
};

/* One incarnation of a device: the CHILD_* and DRAIN */
struct message_child {
	uint32_t slot;
	uint32_t generation;
	enum device_type type;
	bool is_held; /* CHILD_ADDED, CHILD_OFFERED: for a debugger; also, its start takes any time */
	bool has_successor; /* CHILD_GONE: do not tell the driver */
	bool is_blameless; /* CHILD_GONE: killed from outside, not by what it worked on */
};

/* ADJUST: all of it, every time. No reply: a successor is started with the same, and told again. */
struct message_adjust {
	uint32_t slot;
	bool link_down; /* net */
	struct rate_limit_config limits; /* blk, net */
};

struct message_core_ready {
	uint64_t ready_ns; /* CLOCK_MONOTONIC */
};

enum vm_state {
	VM_STATE_STARTING,
	VM_STATE_PAUSED,
	VM_STATE_RUNNING,
	VM_STATE_POWERED_OFF,
	VM_STATE_CRASHED,
	VM_STATE_REBOOTED, /* an event: running again after a reset */
	VM_STATE_FIRST_RUN, /* an event: value = time of the first KVM_RUN */
	VM_STATE_FIRST_BYTE, /* an event: value = time of the first COM1 byte */
	VM_STATE_N_,
};

struct message_vm_state {
	enum vm_state state;
	uint64_t value; /* CLOCK_MONOTONIC ns of the event */
	char text[MESSAGE_TEXT_MAX]; /* CRASHED: why */
};

enum device_state {
	DEVICE_STATE_STARTING,
	DEVICE_STATE_READY, /* sealed, no driver yet */
	DEVICE_STATE_ACTIVE, /* the driver set DRIVER_OK */
	DEVICE_STATE_FAILED,
	DEVICE_STATE_HELD, /* said HELLO, waits for CHILD_RELEASED */
	DEVICE_STATE_N_,
};

/*
 * CONDEMN: kill that child, reason in text. STALLED: it shows no sign of life. REFUSED: it cannot
 * continue where its predecessor ended, nor could another. REVIVE: the driver reset a device that
 * has failed. DEVICE_STATE: what ps shows. LOG: a device's record
 */
struct message_device_event {
	uint32_t slot;
	uint32_t generation;
	enum device_state state;
	uint32_t level; /* LOG only: enum log_level */
	char text[MESSAGE_TEXT_MAX];
};

/* LOG with slot == MESSAGE_SLOT_CORE: a record of the core itself */
#define MESSAGE_SLOT_CORE UINT32_MAX

struct message_counters {
	uint32_t slot;
	uint32_t n; /* COUNTERS only */
	uint64_t values[DEVICE_COUNTERS_MAX];
};

/* CORE_FAILED, DEVICE_FAILED: one line for the user: "--kernel: not a bzImage or an ELF vmlinux" */
struct message_failed {
	char text[MESSAGE_TEXT_MAX];
};

enum control_command {
	CONTROL_PS = 1,
	CONTROL_INFO,
	CONTROL_COUNTERS,
	CONTROL_PAUSE,
	CONTROL_RESUME,
	CONTROL_POWER_BUTTON,
	CONTROL_REBOOT,
	CONTROL_SHUTDOWN,
	CONTROL_LOG,
	CONTROL_RESTART,
	CONTROL_RESUME_DEVICE,
	CONTROL_LIMIT, /* text: KEY=VALUE,... */
	CONTROL_LINK, /* text: up or down */
	CONTROL_N_,
};

struct message_control_request {
	uint32_t protocol;
	enum control_command command;
	char device[VM_ID_MAX]; /* empty: all */
	bool has_program; /* RESTART: the fd of the program to run instead of the installed one */
	bool is_stopped; /* RESTART: wait for RESUME_DEVICE before the guest is served */
	char text[MESSAGE_TEXT_MAX]; /* by command */
};

/* One frame of an answer; `more` says that another frame of this answer follows. */
struct control_process {
	char name[VM_ID_MAX];
	char role[16];
	int32_t pid; /* 0: not running */
	char state[16];
	uint32_t restarts;
	char last_exit[96];
	uint64_t last_stall_us; /* how long the guest waited at the last restart; 0: never */
	uint64_t last_stall_at; /* when, in seconds since 1970 */
	char address[16]; /* of a device in the guest: "00:01.0" on PCI, else "0xd0000000" */
};

struct control_counter {
	char device[VM_ID_MAX];
	char name[32];
	uint64_t value;
};

#define CONTROL_PROCESSES_MAX (VM_DEVICES_MAX + 2u) /* in one frame */
#define CONTROL_COUNTERS_MAX 64u

struct message_control_reply {
	int32_t result; /* 0 or a positive errno value; text explains */
	char text[MESSAGE_TEXT_MAX];
	int32_t pid; /* RESTART with is_stopped: of the process that waits */
	bool more;
	char vm_name[VM_NAME_MAX]; /* INFO */
	char vm_state[16]; /* INFO */
	uint32_t n_cpus; /* INFO */
	uint64_t memory_size; /* INFO */
	uint32_t n_processes; /* PS, INFO */
	struct control_process processes[CONTROL_PROCESSES_MAX];
	uint32_t n_counters; /* COUNTERS, one device per frame */
	struct control_counter counters[CONTROL_COUNTERS_MAX];
};

struct message {
	enum message_type type;
	uint32_t generation;
	uint32_t seq;
	union {
		struct message_reply reply;
		struct message_device_start device_start;
		struct message_hello hello;
		struct message_setup setup;
		struct message_endpoint endpoint;
		struct message_set_features set_features;
		struct message_enable_queue enable_queue;
		struct message_disable_queue disable_queue;
		struct message_config config;
		struct message_core_start core_start;
		struct message_child child;
		struct message_adjust adjust;
		struct message_core_ready core_ready;
		struct message_vm_state vm_state;
		struct message_device_event device_event;
		struct message_counters counters;
		struct message_failed failed;
		struct message_control_request control_request;
		struct message_control_reply control_reply;
		struct message_vsock_sockets vsock_sockets;
		struct message_vsock_connect vsock_connect;
	};
};

enum message_result {
	MESSAGE_MALFORMED = 1, /* condemn the sender */
};

/** message_type_name() - "HELLO", for logs; "unknown" when out of range */
const char *message_type_name(enum message_type type);

/** message_n_fds() - how many fds a well-formed @m carries; every other count is malformed */
uint32_t message_n_fds(const struct message *m);

/**
 * message_encode() - serialise into @buf of MESSAGE_FRAME_MAX bytes
 * Return: 0; -EMSGSIZE; -EINVAL when a field is outside its range (our own bug).
 */
int must_check message_encode(const struct message *m, uint8_t *buf, size_t *ret_len);

/**
 * message_decode() - parse and check one frame
 * @len: at most MESSAGE_FRAME_MAX, checked before anything is unpacked
 * @n_fds: fds that arrived with it; must match message_n_fds()
 *
 * Unpacks into a fixed arena and accepts only what message_encode() produces (see
 * proto/README.md). Hostile input. On success the header and the member of @ret that belongs to
 * the type are written, with zeroes after strings and lists, and nothing else; on failure the type
 * is MESSAGE_NONE and the rest is undefined. Return: 0; MESSAGE_MALFORMED. Context: any thread.
 */
int must_check message_decode(const uint8_t *buf, size_t len, uint32_t n_fds,
			      struct message *ret);
