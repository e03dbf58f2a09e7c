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

struct blk_config {
	bool read_only;
	bool direct; /* O_DIRECT */
	uint32_t num_queues; /* 1..n_cpus */
	uint32_t queue_size; /* power of two, 2..1024 */
	char serial[21]; /* VIRTIO_BLK_T_GET_ID: up to 20 bytes */
};

struct console_config {
	enum serial_mode mode; /* not off */
	bool has_in, has_out; /* DEVICE_START: which fds come, in this order; a listener is last */
	bool has_size; /* one of them is a terminal */
};

struct device_config {
	enum device_type type;
	char id[VM_ID_MAX];
	bool iommu; /* its DMA goes through the IOMMU */
	char *path; /* warden only: image (blk), file or socket (console), source (rng) */
	union {
		struct blk_config blk;
		struct console_config console;
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

/** device_type_name() - "blk", "net", …; the program is bulkhead-NAME; NULL when unknown */
const char *device_type_name(enum device_type type);
