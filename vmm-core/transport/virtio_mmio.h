/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio over MMIO, version 2 (VIRTIO 1.2 §4.2): the register page of one device. Runs in the
 * core, on vCPU threads. A notification for a queue that does not exist arrives here (others are
 * KVM's), and is ignored.
 */
#pragma once

#include "vmm-core/machine/io_bus.h"
#include "vmm-core/transport/virtio_device.h"

#define VIRTIO_MMIO_CONFIG 0x100u /* device config space starts here */
#define VIRTIO_MMIO_NOTIFY 0x050u /* QueueNotify */
#define VIRTIO_MMIO_MAGIC 0x74726976u /* "virt", what offset 0 reads as; then the version */
#define VIRTIO_MMIO_MODERN 2u

/** virtio_mmio_map - the registers below VIRTIO_MMIO_CONFIG that the state answers alone */
extern const struct virtio_map virtio_mmio_map;

/** virtio_mmio_io - handler for a register page; ctx is the struct virtio_device */
extern const struct io_handler virtio_mmio_io;
