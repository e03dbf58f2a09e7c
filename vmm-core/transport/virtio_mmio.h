/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio over MMIO, version 2 (VIRTIO 1.2 §4.2): the register page of one device. Runs in the
 * core, on vCPU threads. A notification for a queue that does not exist arrives here (others are
 * KVM's), and is ignored.
 */
#pragma once

#include "vmm-core/machine/io_bus.h"
#include "vmm-core/transport/virtio_device.h"

/** virtio_mmio_io - handler for a register page; ctx is the struct virtio_device */
extern const struct io_handler virtio_mmio_io;
