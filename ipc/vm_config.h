/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of one VM: what the command line says and what travels to the core.
 *
 * proto/vm_config.proto is its wire form. Host paths are owned strings (NULL: not given), used by
 * the warden alone and never sent to another process.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define VM_CPUS_MAX 64u
#define VM_DEVICES_MAX 31u /* what one PCI bus holds beside its host bridge */
#define VM_NAME_MAX 64u /* bytes including NUL; [A-Za-z0-9][A-Za-z0-9._-]* */
#define VM_ID_MAX 32u /* device id, bytes including NUL; same alphabet */
#define VM_CID_MIN 3u /* 0 to 2 have meanings of their own, VIRTIO 1.2 §5.10.4 */
#define VM_CID_MAX 0xfffffffeu /* 2^32 - 2; the one above means "any" */
#define VM_VSOCK_CONNECTIONS 1023u /* open at a time */
#define VM_VSOCK_CLIENTS 64u /* of the host, not connected through yet */
/*
 * Of each, for bytes that the host has yet to take. Twice what a packet of the guest can hold, and
 * news of room are due at half: so a driver that waits for room for a whole packet hears of it.
 */
#define VM_VSOCK_BUFFER_BYTES (128u << 10)
#define VM_VSOCK_RINGS_BYTES                                                                      \
	((uint64_t)(VM_VSOCK_CONNECTIONS + VM_VSOCK_CLIENTS) * VM_VSOCK_BUFFER_BYTES)
#define VM_RNG_SOURCE_DEFAULT "/dev/urandom" /* stands for getrandom() */
#define VM_CMDLINE_MAX 4096u /* bytes including NUL; the kernel's own limit may be lower */

enum device_type { /* the virtio device ids of VIRTIO 1.2 §5 */
	DEVICE_TYPE_NET = 1,
	DEVICE_TYPE_BLK = 2,
	DEVICE_TYPE_CONSOLE = 3,
	DEVICE_TYPE_RNG = 4,
	DEVICE_TYPE_VSOCK = 19,
	DEVICE_TYPE_IOMMU = 23,
};

enum vm_transport {
	VM_TRANSPORT_PCI,
	VM_TRANSPORT_MMIO,
};

enum serial_mode {
	SERIAL_OFF, /* COM1: the port exists, output is dropped, nobody types; console: no device */
	SERIAL_NULL, /* output is dropped, nobody types */
	SERIAL_TTY, /* stdin and stdout */
	SERIAL_PTY,
	SERIAL_FILE, /* output only */
	SERIAL_SOCKET, /* virtio console only */
};

/*
 * Two token buckets, bytes and operations; size 0: no limit. A bucket is refilled steadily by its
 * size in its refill time and starts with the burst on top, which is not refilled.
 */
struct rate_limit_config {
	uint64_t bw_size, bw_one_time_burst; /* bytes */
	uint64_t ops_size, ops_one_time_burst; /* requests, or frames */
	uint32_t bw_refill_time, ops_refill_time; /* milliseconds; not 0 where size is not */
};

struct blk_config {
	bool read_only;
	bool direct; /* O_DIRECT */
	uint32_t num_queues; /* 1..n_cpus */
	uint32_t queue_size; /* power of two, 2..1024 */
	char serial[21]; /* VIRTIO_BLK_T_GET_ID: up to 20 bytes */
	struct rate_limit_config limits;
};

#define NET_PAIRS_MAX 13u /* queue pairs; each is one fd of a tap, all come in one message */
#define NET_FORWARDS_MAX 8u

enum net_mode {
	NET_MODE_TAP,
	NET_MODE_USER, /* libslirp */
};

/* A port of the host that leads to one of the guest. */
struct net_forward {
	bool is_udp;
	uint32_t host_addr; /* IPv4, host byte order */
	uint32_t host_port, guest_port; /* 1..65535 */
};

/* What the warden alone needs to know about a NIC. */
struct net_host {
	uint32_t n_fds;
	int fds[NET_PAIRS_MAX]; /* of the tap, inherited from whoever started us */
	uint32_t n_forwards;
	struct net_forward forwards[NET_FORWARDS_MAX];
};

struct net_config {
	enum net_mode mode;
	struct net_host *host; /* warden only; owned */
	uint64_t mac; /* first byte in bits 40 to 47; 0: the warden finds one */
	uint32_t num_queues; /* receive and transmit: 2 per pair */
	uint32_t queue_size; /* power of two, 2..1024 */
	uint32_t mtu; /* 0: nothing is said about it */
	bool no_tso, no_ufo, no_csum; /* offloads that are not offered */
	bool link_down; /* `bulkheadctl link`: a successor starts so too */
	bool loopback; /* USER: the host's loopback may be reached */
	uint32_t dns; /* USER: server, IPv4, host byte order; 0: none */
	uint32_t tap_offloads; /* TAP: what this kernel can do, TUN_F_* of TUNSETOFFLOAD */
	struct rate_limit_config limits;
};

struct console_config {
	enum serial_mode mode; /* not off */
	bool has_in, has_out; /* DEVICE_START: which fds come, in this order; a listener is last */
	bool has_size; /* one of them is a terminal */
};

struct vsock_config {
	uint32_t cid; /* of the guest: VM_CID_MIN..VM_CID_MAX */
};

struct device_config {
	enum device_type type;
	char id[VM_ID_MAX];
	bool iommu; /* its DMA goes through the IOMMU */
	/* warden only: image (blk), named tap (net), file or socket (console), source (rng), socket
	 * (vsock) */
	char *path;
	union {
		struct blk_config blk;
		struct net_config net;
		struct console_config console;
		struct vsock_config vsock;
	};
};

struct restart_policy {
	uint32_t max; /* restarts allowed in window_ms */
	uint32_t window_ms;
	uint32_t backoff_ms;
	uint32_t heartbeat_ms; /* 0: off */
	bool standby; /* a successor of every device process is started ahead */
};

struct vm_config {
	char name[VM_NAME_MAX];
	char *run_dir; /* warden only */
	char *kernel; /* warden only */
	char *initramfs; /* warden only */
	char cmdline[VM_CMDLINE_MAX];
	uint32_t n_cpus;
	uint64_t memory_size; /* bytes, multiple of 4096 */
	bool memory_hugepages;
	bool memory_prefault;
	enum vm_transport transport;
	enum serial_mode serial;
	char *serial_path; /* warden only; SERIAL_FILE */
	uint32_t n_devices;
	struct device_config devices[VM_DEVICES_MAX]; /* slot order: disks, nets, console, … */
	struct restart_policy restart;
	bool allow_weak_sandbox;
	bool seccomp_log; /* violations are logged instead of killing: diagnosis only */
	uint32_t verbosity;
	char *log_file; /* warden only */
};

/** vm_config_clear() - free the owned strings and zero the struct */
void vm_config_clear(struct vm_config *config);

/** device_config_forget_host() - set to NULL, without freeing, what only the warden may know */
void device_config_forget_host(struct device_config *config);

/** device_type_name() - "blk", "net", …; NULL when unknown */
const char *device_type_name(enum device_type type);

/** device_program_name() - the program is bulkhead-NAME; NULL when unknown */
const char *device_program_name(const struct device_config *config);
