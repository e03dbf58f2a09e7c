/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device on PCI (VIRTIO 1.2 §4.1): its configuration registers after a reset, and what
 * its one BAR holds. Runs in the core on vCPU threads. Hostile: every access (the guest).
 */
#include <sys/eventfd.h>

#include "vmm-core/transport/pci_internal.h"

#define VENDOR_VIRTIO 0x1af4u
#define DEVICE_VIRTIO 0x1040u
#define REVISION 1u

/* The BAR: a page each, so that a guest can map them apart. */
#define COMMON_AT 0x0000u
#define ISR_AT 0x1000u
#define DEVICE_AT 0x2000u
#define NOTIFY_AT 0x3000u
#define MSIX_TABLE_AT 0x4000u
#define MSIX_PENDING_AT 0x5000u

/* Fields of the common configuration (§4.1.4.3) that are not the state's */
#define CONFIG_MSIX_VECTOR 0x10u
#define CONFIG_GENERATION 0x15u
#define QUEUE_MSIX_VECTOR 0x1au
#define COMMON_SIZE 0x38u

/* One word per queue: KVM tells them apart by their addresses alone. */
#define NOTIFY_STEP 4u
#define PENDING_SIZE ((MSIX_VECTORS_MAX + 63u) / 64u * 8u)

/* §4.1.4: struct virtio_pci_cap, its first word and where it points to in BAR 0 */
#define CAP(at, next, len, type, offset, size)                                                     \
	{ (at), (uint32_t)(type) << 24 | (uint32_t)(len) << 16 | (uint32_t)(next) << 8 | 0x09u, 0 }, \
	{ (at) + 8, (offset), 0 },                                                                 \
	{ (at) + 12, (size), 0 }

static const struct pci_register registers[] = {
	{ PCI_COMMAND, PCI_STATUS_CAPABILITIES,
	  PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_NO_INTX },
	{ 0x0c, 0, 0xff }, /* cache line size: no meaning */
	{ PCI_BAR, PCI_BAR_64_BIT, ~(PCI_BAR_SIZE - 1u) },
	{ PCI_BAR + 4, 0, UINT32_MAX },
	{ 0x34, VIRTIO_PCI_MSIX_CONTROL, 0 }, /* the first capability */
	{ 0x3c, 0, 0xff }, /* interrupt line: the guest's notebook; there is no pin */
	{ VIRTIO_PCI_MSIX_CONTROL, 0x50 << 8 | 0x11,
	  VIRTIO_PCI_MSIX_ENABLE | VIRTIO_PCI_MSIX_FUNCTION_MASK },
	{ VIRTIO_PCI_MSIX_CONTROL + 4, MSIX_TABLE_AT, 0 },
	{ VIRTIO_PCI_MSIX_CONTROL + 8, MSIX_PENDING_AT, 0 },
	CAP(0x50, 0x60, 16, 1, COMMON_AT, COMMON_SIZE),
	CAP(0x60, 0x70, 16, 3, ISR_AT, 1),
	CAP(0x70, 0x80, 16, 4, DEVICE_AT, DEVICE_CONFIG_SPACE_MAX),
	CAP(0x80, VIRTIO_PCI_CFG_CAPABILITY, 20, 2, NOTIFY_AT, DEVICE_QUEUES_MAX * NOTIFY_STEP),
	{ 0x90, NOTIFY_STEP, 0 }, /* notify_off_multiplier */
	/* §4.1.4.9: a window of the configuration space to the BAR; the guest says where to */
	{ VIRTIO_PCI_CFG_CAPABILITY, 5u << 24 | 20u << 16 | 0x09u, 0 },
	{ VIRTIO_PCI_CFG_CAPABILITY + 4, 0, 0xff }, /* bar */
	{ VIRTIO_PCI_CFG_CAPABILITY + 8, 0, UINT32_MAX }, /* offset */
	{ VIRTIO_PCI_CFG_CAPABILITY + 12, 0, UINT32_MAX }, /* length */
	{ VIRTIO_PCI_CFG_DATA, 0, UINT32_MAX },
};

/* struct virtio_pci_common_cfg; §4.1.3.1: a field is accessed by its size, 64 bits as two words */
static const struct virtio_register common[] = {
	{ 0x00, 4, VIRTIO_RW, VIRTIO_DEVICE_FEATURES_SEL, 0 },
	{ 0x04, 4, VIRTIO_R, VIRTIO_DEVICE_FEATURES, 0 },
	{ 0x08, 4, VIRTIO_RW, VIRTIO_DRIVER_FEATURES_SEL, 0 },
	{ 0x0c, 4, VIRTIO_RW, VIRTIO_DRIVER_FEATURES, 0 },
	{ 0x12, 2, VIRTIO_R, VIRTIO_NUM_QUEUES, 0 },
	{ 0x14, 1, VIRTIO_RW, VIRTIO_STATUS, 0 },
	{ 0x16, 2, VIRTIO_RW, VIRTIO_QUEUE_SEL, 0 },
	{ 0x18, 2, VIRTIO_RW, VIRTIO_QUEUE_SIZE, 0 },
	{ 0x1c, 2, VIRTIO_RW, VIRTIO_QUEUE_ENABLE, 0 },
	{ 0x1e, 2, VIRTIO_R, VIRTIO_QUEUE_NUMBER, 0 }, /* times the multiplier: where to notify */
	{ 0x20, 4, VIRTIO_RW, VIRTIO_QUEUE_DESC_LOW, 0 },
	{ 0x24, 4, VIRTIO_RW, VIRTIO_QUEUE_DESC_HIGH, 0 },
	{ 0x28, 4, VIRTIO_RW, VIRTIO_QUEUE_DRIVER_LOW, 0 },
	{ 0x2c, 4, VIRTIO_RW, VIRTIO_QUEUE_DRIVER_HIGH, 0 },
	{ 0x30, 4, VIRTIO_RW, VIRTIO_QUEUE_DEVICE_LOW, 0 },
	{ 0x34, 4, VIRTIO_RW, VIRTIO_QUEUE_DEVICE_HIGH, 0 },
};
static const struct virtio_map common_map = { common, ARRAY_LEN(common) };

/* PCI Code and ID Assignment 1.11 */
static uint32_t class_of(uint32_t type)
{
	switch (type) {
	case DEVICE_TYPE_NET:
		return 0x020000; /* Ethernet */
	case DEVICE_TYPE_BLK:
		return 0x018000; /* other mass storage */
	case DEVICE_TYPE_CONSOLE:
	case DEVICE_TYPE_VSOCK:
		return 0x078000; /* other communication */
	default:
		return 0xff0000; /* none of the classes */
	}
}

void virtio_pci_load(struct pci_function *f)
{
	uint32_t type = (uint32_t)device_link_type(virtio_device_link(f->device));
	uint64_t bar = f->root->windows[0].window.base + (uint64_t)f->slot * PCI_BAR_SIZE;
	uint32_t *words = f->config.words;

	pci_config_load(&f->config, registers, ARRAY_LEN(registers));
	words[PCI_ID / 4] = (DEVICE_VIRTIO + type) << 16 | VENDOR_VIRTIO;
	words[PCI_SUBSYSTEM / 4] = words[PCI_ID / 4];
	words[PCI_CLASS / 4] = class_of(type) << 8 | REVISION;
	words[PCI_BAR / 4] |= (uint32_t)bar;
	words[PCI_BAR / 4 + 1] = (uint32_t)(bar >> 32);
	words[VIRTIO_PCI_MSIX_CONTROL / 4] |= f->n_queues << 16; /* size of the table, less one */
	msix_reset(&f->msix, f->n_queues + 1);
}

void virtio_pci_set_notify(struct pci_function *f, bool on)
{
	/* One that KVM does not take arrives at notify_write(). */
	for (uint32_t i = 0; i < f->n_queues; i++)
		(void)!f->root->host->set_notify(f->root->ctx, f->fds->kick[i],
						 f->decoded + NOTIFY_AT + i * NOTIFY_STEP, on);
}

static void lock(struct pci_function *f)
{
	(void)pthread_mutex_lock(&f->root->lock);
}

static void unlock(struct pci_function *f)
{
	(void)pthread_mutex_unlock(&f->root->lock);
}

/* The interrupt source whose vector a field is, or -1; of no queue: PCI_SOURCES_MAX */
static int source_of(const struct virtio_state *state, uint32_t offset, unsigned size)
{
	if (size == 2 && offset == CONFIG_MSIX_VECTOR)
		return (int)state->n_queues;
	if (size == 2 && offset == QUEUE_MSIX_VECTOR)
		return state->queue_sel < state->n_queues ? (int)state->queue_sel : (int)PCI_SOURCES_MAX;
	return -1;
}

static uint64_t vector_read(struct pci_function *f, uint32_t source)
{
	uint64_t vector = VIRTIO_PCI_NO_VECTOR;

	lock(f);
	if (source <= f->n_queues)
		vector = f->vectors[source];
	unlock(f);
	return vector;
}

/* §4.1.5.1.2.2: a vector that does not exist is not taken, which the driver reads back. */
static void vector_write(struct pci_function *f, uint32_t source, uint64_t value)
{
	if (source > f->n_queues)
		return;
	lock(f);
	f->vectors[source] = value < f->msix.n ? (uint16_t)value : VIRTIO_PCI_NO_VECTOR;
	pci_interrupts_update(f);
	unlock(f);
}

static uint64_t common_read(struct pci_function *f, uint32_t offset, unsigned size)
{
	struct virtio_device *dev = f->device;
	const struct virtio_state *state;
	uint64_t value;
	int source;

	if (offset == CONFIG_GENERATION && size == 1)
		return device_link_config_generation(virtio_device_link(dev));
	state = virtio_device_enter(dev);
	source = source_of(state, offset, size);
	value = source < 0 ? virtio_state_read(state, &common_map, offset, size) :
			     vector_read(f, (uint32_t)source);
	virtio_device_leave(dev);
	return value;
}

static void common_write(struct pci_function *f, uint32_t offset, unsigned size, uint64_t value)
{
	struct virtio_device *dev = f->device;
	struct virtio_state *state = virtio_device_enter(dev);
	int source = source_of(state, offset, size);
	enum virtio_action action = VIRTIO_NOTHING;

	if (source >= 0)
		vector_write(f, (uint32_t)source, value);
	else
		action = virtio_state_write(state, &common_map, offset, size, value);
	virtio_device_act(dev, action);
	if (action == VIRTIO_RESET) {
		lock(f);
		pci_interrupts_forget(f);
		unlock(f);
	}
	virtio_device_leave(dev);
}

/* §4.1.4.5: reading it clears it. */
static uint64_t isr_read(struct pci_function *f, uint32_t offset, unsigned size)
{
	uint32_t bits;

	(void)offset;
	(void)size;
	(void)virtio_device_enter(f->device);
	bits = virtio_device_interrupt_status(f->device);
	virtio_device_acknowledge(f->device, bits);
	virtio_device_leave(f->device);
	return bits;
}

static uint64_t device_read(struct pci_function *f, uint32_t offset, unsigned size)
{
	return device_link_config_read(virtio_device_link(f->device), offset, size);
}

static void device_write(struct pci_function *f, uint32_t offset, unsigned size, uint64_t value)
{
	device_link_config_write(virtio_device_link(f->device), offset, size, value);
}

/* KVM takes these; what comes here is for no queue, or was on its way when the BAR moved. */
static void notify_write(struct pci_function *f, uint32_t offset, unsigned size, uint64_t value)
{
	(void)size;
	(void)value;
	if (offset % NOTIFY_STEP == 0 && offset / NOTIFY_STEP < f->n_queues)
		(void)eventfd_write(f->fds->kick[offset / NOTIFY_STEP], 1);
}

static uint64_t table_read(struct pci_function *f, uint32_t offset, unsigned size)
{
	uint32_t value;

	lock(f);
	value = msix_read(&f->msix, offset, size);
	unlock(f);
	return value;
}

static void table_write(struct pci_function *f, uint32_t offset, unsigned size, uint64_t value)
{
	lock(f);
	if (msix_write(&f->msix, offset, size, (uint32_t)value))
		pci_interrupts_update(f);
	unlock(f);
}

static uint64_t pending_read(struct pci_function *f, uint32_t offset, unsigned size)
{
	uint32_t value;

	if (size != 4 || offset % 4 != 0)
		return 0;
	lock(f);
	value = pci_interrupts_pending(f, offset);
	unlock(f);
	return value;
}

static const struct region {
	uint32_t at, len;
	uint64_t (*read)(struct pci_function *f, uint32_t offset, unsigned size);
	void (*write)(struct pci_function *f, uint32_t offset, unsigned size, uint64_t value);
} regions[] = {
	{ COMMON_AT, COMMON_SIZE, common_read, common_write },
	{ ISR_AT, 1, isr_read, NULL },
	{ DEVICE_AT, DEVICE_CONFIG_SPACE_MAX, device_read, device_write },
	{ NOTIFY_AT, DEVICE_QUEUES_MAX * NOTIFY_STEP, NULL, notify_write },
	{ MSIX_TABLE_AT, MSIX_VECTORS_MAX * MSIX_ENTRY_SIZE, table_read, table_write },
	{ MSIX_PENDING_AT, PENDING_SIZE, pending_read, NULL },
};

/* The region that holds all of the access, or NULL. */
static const struct region *region_of(uint64_t offset, unsigned size)
{
	for (uint32_t i = 0; i < ARRAY_LEN(regions); i++) {
		const struct region *r = &regions[i];

		if (offset >= r->at && offset - r->at < r->len &&
		    size <= r->len - (offset - r->at))
			return r;
	}
	return NULL;
}

uint64_t virtio_pci_read(struct pci_function *f, uint64_t offset, unsigned size)
{
	const struct region *r = region_of(offset, size);

	if (r == NULL || r->read == NULL)
		return 0;
	if (size == 8) /* two words side by side, as everything here that has 64 bits */
		return (virtio_pci_read(f, offset, 4) & UINT32_MAX) |
		       virtio_pci_read(f, offset + 4, 4) << 32;
	return r->read(f, (uint32_t)(offset - r->at), size);
}

void virtio_pci_write(struct pci_function *f, uint64_t offset, unsigned size, uint64_t value)
{
	const struct region *r = region_of(offset, size);

	if (r == NULL || r->write == NULL)
		return;
	if (size == 8 && r->write != notify_write) {
		virtio_pci_write(f, offset, 4, value & UINT32_MAX);
		virtio_pci_write(f, offset + 4, 4, value >> 32);
		return;
	}
	r->write(f, (uint32_t)(offset - r->at), size, value);
}
