/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio driver of the probe guest: virtio-mmio version 2 and modern virtio-pci behind one
 * struct vdev, and split rings whose every byte a test may forge. Nothing here protects the caller
 * from its own mistakes: making mistakes on purpose is what it is for.
 */
#pragma once

#include "probe.h"

#define VIRTIO_ID_BLK 2
#define VIRTIO_ID_CONSOLE 3
#define VIRTIO_ID_RNG 4
#define VIRTIO_ID_VSOCK 19
#define VIRTIO_ID_IOMMU 23

#define STATUS_ACKNOWLEDGE 0x01
#define STATUS_DRIVER 0x02
#define STATUS_DRIVER_OK 0x04
#define STATUS_FEATURES_OK 0x08
#define STATUS_NEEDS_RESET 0x40
#define STATUS_FAILED 0x80

#define FEATURE_INDIRECT (1ull << 28)
#define FEATURE_EVENT_IDX (1ull << 29)
#define FEATURE_VERSION_1 (1ull << 32)
#define FEATURE_ACCESS_PLATFORM (1ull << 33)
#define FEATURE_RING_PACKED (1ull << 34)

#define DESC_NEXT 1
#define DESC_WRITE 2
#define DESC_INDIRECT 4

#define AVAIL_NO_INTERRUPT 1
#define USED_NO_NOTIFY 1

/* Registers of virtio-mmio (VIRTIO 1.2 §4.2.2). */
enum mmio_register {
	MMIO_MAGIC = 0x000,
	MMIO_VERSION = 0x004,
	MMIO_DEVICE_ID = 0x008,
	MMIO_VENDOR_ID = 0x00c,
	MMIO_DEVICE_FEATURES = 0x010,
	MMIO_DEVICE_FEATURES_SEL = 0x014,
	MMIO_DRIVER_FEATURES = 0x020,
	MMIO_DRIVER_FEATURES_SEL = 0x024,
	MMIO_QUEUE_SEL = 0x030,
	MMIO_QUEUE_NUM_MAX = 0x034,
	MMIO_QUEUE_NUM = 0x038,
	MMIO_QUEUE_READY = 0x044,
	MMIO_QUEUE_NOTIFY = 0x050,
	MMIO_INTERRUPT_STATUS = 0x060,
	MMIO_INTERRUPT_ACK = 0x064,
	MMIO_STATUS = 0x070,
	MMIO_QUEUE_DESC_LOW = 0x080,
	MMIO_QUEUE_DESC_HIGH = 0x084,
	MMIO_QUEUE_DRIVER_LOW = 0x090,
	MMIO_QUEUE_DRIVER_HIGH = 0x094,
	MMIO_QUEUE_DEVICE_LOW = 0x0a0,
	MMIO_QUEUE_DEVICE_HIGH = 0x0a4,
	MMIO_SHM_SEL = 0x0ac,
	MMIO_SHM_LEN_LOW = 0x0b0,
	MMIO_SHM_LEN_HIGH = 0x0b4,
	MMIO_CONFIG_GENERATION = 0x0fc,
	MMIO_CONFIG = 0x100,
};

#define MMIO_MAGIC_VALUE 0x74726976

struct vdev {
	bool is_pci;
	uint32_t device_id;
	uint64_t mmio; /* registers, when !is_pci */
	uint32_t function; /* on PCI: bus, device and function number */
	uint64_t common, isr, notify; /* structures of virtio-pci */
	uint32_t notify_multiplier;
	uint16_t notify_offsets[16]; /* queue_notify_off of the first queues */
	uint64_t config; /* device-specific configuration */
	uint32_t config_len; /* bytes that may be read; 0: unknown */
	uint32_t gsi; /* 0: unknown */
	uint32_t slot; /* the rest: PCI, see pci.h */
	uint64_t bar; /* of the structures */
	uint32_t msix, window; /* offsets of these capabilities in configuration space, 0: none */
	uint64_t table, pending; /* of MSI-X */
	uint32_t n_vectors;
	uint64_t features; /* accepted by vdev_start() */
};

struct vring_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

struct vring_avail {
	uint16_t flags;
	uint16_t idx;
	uint16_t ring[]; /* then used_event */
};

struct vring_used_elem {
	uint32_t id;
	uint32_t len;
};

struct vring_used {
	uint16_t flags;
	uint16_t idx;
	struct vring_used_elem ring[]; /* then avail_event */
};

struct vq {
	struct vdev *dev;
	uint16_t index;
	uint16_t size;
	volatile struct vring_desc *desc;
	volatile struct vring_avail *avail;
	volatile struct vring_used *used;
	uint16_t avail_idx; /* next to fill */
	uint16_t used_idx; /* next to read */
};

#define VDEVS_MAX 32

extern struct vdev vdevs[VDEVS_MAX];
extern unsigned n_vdevs;

/* ---- discover.c, pci.c ---- */

/* Finds devices by command line, fixed places and PCI, in the order of their addresses. */
void discover(void);
void pci_discover(void);
struct vdev *discover_add(void);
/* The n-th device of a kind, NULL when there are fewer. */
struct vdev *discover_nth(uint32_t device_id, unsigned n);

/* ---- virtio_transport.c ---- */

uint8_t vdev_status(const struct vdev *dev);
void vdev_set_status(const struct vdev *dev, uint8_t status);
uint64_t vdev_offered(const struct vdev *dev);
void vdev_accept(const struct vdev *dev, uint64_t features);
void vdev_select(const struct vdev *dev, uint16_t queue);
uint16_t vdev_queue_max(const struct vdev *dev, uint16_t queue);
/* Writes size and addresses of a queue and enables it; nothing is checked. */
void vdev_queue_enable(struct vdev *dev, uint16_t queue, uint32_t size, uint64_t desc,
		       uint64_t avail, uint64_t used);
bool vdev_queue_is_enabled(const struct vdev *dev, uint16_t queue);
void vdev_kick(const struct vdev *dev, uint16_t queue);
/* Interrupt status, not acknowledged by mmio; reading acknowledges with PCI. */
uint32_t vdev_interrupt(const struct vdev *dev);
void vdev_interrupt_ack(const struct vdev *dev, uint32_t bits);
uint8_t vdev_generation(const struct vdev *dev);
/* Writes 0 to status and waits until it reads 0; Return: false when it never does */
bool vdev_reset(const struct vdev *dev);
/*
 * Reset, ACKNOWLEDGE, DRIVER, features & offered (VERSION_1 and ACCESS_PLATFORM are added),
 * FEATURES_OK. DRIVER_OK is left to the caller, after its queues. Return: false when FEATURES_OK does not stick
 */
bool vdev_start(struct vdev *dev, uint64_t features);
void vdev_driver_ok(const struct vdev *dev);

/* ---- virtqueue.c ---- */

/* Rings from the arena; the caller enables them by vq_enable() or by hand. */
void vq_make(struct vq *vq, struct vdev *dev, uint16_t index, uint16_t size);
void vq_enable(const struct vq *vq);
void vq_desc(struct vq *vq, uint16_t i, const volatile void *addr, uint32_t len, uint16_t flags,
	     uint16_t next);
/* Puts a head into the available ring and publishes the index. */
void vq_push(struct vq *vq, uint16_t head);
/* The same without publishing: vq_publish() does. */
void vq_stage(struct vq *vq, uint16_t head);
void vq_publish(struct vq *vq);
void vq_kick(const struct vq *vq);
/*
 * Kicks when the device asks for it by EVENT_IDX; old is avail_idx before the last publish.
 * Return: whether it did.
 */
bool vq_kick_event(const struct vq *vq, uint16_t old);
volatile uint16_t *vq_used_event(const struct vq *vq);
volatile uint16_t *vq_avail_event(const struct vq *vq);
/* The next used element; Return: false after timeout_ms or when the device needs a reset */
bool vq_wait(struct vq *vq, uint64_t timeout_ms, struct vring_used_elem *ret);
bool vq_pending(const struct vq *vq);

/* One buffer of a chain. */
struct part {
	const volatile void *addr;
	uint32_t len;
	bool is_writable; /* by the device */
};

/* Descriptors first, first + 1, … as one chain; the caller keeps inside the table. */
void vq_chain(struct vq *vq, uint16_t first, const struct part *parts, unsigned n);
/* Descriptor head points to table[0..n), which holds the chain. */
void vq_indirect(struct vq *vq, uint16_t head, volatile struct vring_desc *table,
		 const struct part *parts, unsigned n);
