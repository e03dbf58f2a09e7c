/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every host file of a VM, opened by the warden. Nobody else opens anything.
 *
 * A path that the user gave is followed through symbolic links, also in its last component:
 * images and kernels are commonly links, and the user is the one who may name files. Its type is
 * looked at through an O_PATH fd before it is really opened, so naming a device, a FIFO or a
 * socket by mistake has no side effect. Files that Bulkhead itself names (run dir, id lock file)
 * and files that it creates (--log-file, --serial file=) are never reached through a final link.
 */
#pragma once

#include <stdint.h>

#include "ipc/fdset.h"
#include "ipc/vm_config.h"
#include "vmm-core/warden/failure.h"
#include "vmm-core/warden/resources_net.h"
#include "vmm-core/warden/vsock_socket.h"

#define RESOURCES_LOCK_WAIT_MS 2000u

struct resources {
	int kvm_fd;
	int kernel_fd;
	int initramfs_fd; /* -1: none */
	/*
	 * By slot, what DEVICE_START hands over, in this order. Kept for the device's next process:
	 *	blk	the image, with its OFD lock
	 *	net	the tap, one fd per queue pair; none in user mode
	 *	console	none: they are in struct chardev, with the mode of the terminal
	 *	rng	the source; none when it is the kernel's own, getrandom()
	 *	vsock	the listening socket, its folder, memory for what is under way
	 */
	struct fdset device_fds[VM_DEVICES_MAX];
	struct vsock_socket vsock; /* one per VM */
	struct net_resources nets[VM_DEVICES_MAX]; /* by slot: what else there is about a NIC */
};

/** resources_init() - everything -1 */
void resources_init(struct resources *res);

/**
 * resources_open() - open and check /dev/kvm, kernel, initramfs and what devices use, lock
 * images
 *
 * An image that is locked is tried again for RESOURCES_LOCK_WAIT_MS: the ring of a killed VM
 * keeps it locked for some tens of milliseconds.
 *
 * Return: 0; FAILED; what was opened stays in @res for resources_close().
 */
int must_check resources_open(const struct vm_config *config, struct resources *res,
			      struct failure *f);

/**
 * resources_unlock() - free the image locks now, although fds of dead processes may linger
 *
 * Only when no request can be under way any more (the guest powered itself off, or never ran):
 * after a kill, the kernel's own release of the lock is what fences late writes off.
 */
void resources_unlock(struct resources *res);

/** resources_close() - close everything */
void resources_close(struct resources *res);

/** resources_open_log() - open or create a log file for appending; Return: fd, or -errno */
int must_check resources_open_log(const char *path);
