/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PCI root: configuration accesses, and where BARs are. Runs in the core on vCPU threads.
 * Hostile: every access (the guest).
 *
 * Registers say what the guest wants; after each write that changed one, KVM is brought in line
 * with them (update()), so that no sequence of writes matters, only where it ends.
 *
 * A BAR is decoded when its function may decode memory and it lies wholly in a window of the host
 * bridge, over the BAR of no lower slot. So it cannot come over RAM, ECAM or an interrupt
 * controller, and of two in one place the lower slot's is there.
 *
 * Nothing here waits for a device process while it holds the lock, and configuration accesses not
 * at all, but for one: the window of VIRTIO 1.2 §4.1.4.9, through which a guest does on purpose
 * what it could do at the BAR; others can access configuration space meanwhile.
 */
#include "vmm-core/transport/pci_internal.h"

#define ALL_ONES UINT32_MAX

/* A PCI Express host bridge that has nothing to configure: other systems look for one. */
static const struct pci_register bridge_registers[] = {
	{ PCI_ID, 0x00081b36, 0 },
	{ PCI_CLASS, 0x06000000, 0 },
};

static void lock(struct pci_root *root)
{
	(void)pthread_mutex_lock(&root->lock);
}

static void unlock(struct pci_root *root)
{
	(void)pthread_mutex_unlock(&root->lock);
}

static bool is_in_window(const struct pci_root *root, uint64_t bar)
{
	for (uint32_t i = 0; i < PCI_WINDOWS; i++) {
		const struct pci_window *w = &root->windows[i].window;

		if (bar >= w->base && bar - w->base < w->size &&
		    PCI_BAR_SIZE <= w->size - (bar - w->base))
			return true;
	}
	return false;
}

/* Where the BAR of @f is to be, given those of lower slots; 0: nowhere */
static uint64_t wanted_place(const struct pci_root *root, const struct pci_function *f,
			     const uint64_t *lower)
{
	uint64_t bar = (uint64_t)pci_config_word(&f->config, PCI_BAR + 4) << 32 |
		       (pci_config_word(&f->config, PCI_BAR) & ~0xfu);

	if (!(pci_config_word(&f->config, PCI_COMMAND) & PCI_COMMAND_MEMORY) ||
	    !is_in_window(root, bar))
		return 0;
	for (uint32_t i = 0; i < f->slot; i++) {
		if (lower[i] == bar) /* all have one size and are aligned to it */
			return 0;
	}
	return bar;
}

/* All that leave a place first, so that it is free for those that come. */
static void place_bars(struct pci_root *root)
{
	uint64_t wanted[PCI_SLOTS] = { 0 };

	for (uint32_t i = 0; i < PCI_SLOTS; i++) {
		struct pci_function *f = root->functions[i];

		if (f == NULL || f->device == NULL)
			continue;
		wanted[i] = wanted_place(root, f, wanted);
		if (f->decoded != 0 && f->decoded != wanted[i]) {
			virtio_pci_set_notify(f, false);
			f->decoded = 0;
		}
	}
	for (uint32_t i = 0; i < PCI_SLOTS; i++) {
		struct pci_function *f = root->functions[i];

		if (wanted[i] != 0 && f->decoded == 0) {
			f->decoded = wanted[i];
			virtio_pci_set_notify(f, true);
		}
	}
}

static void update(struct pci_function *f)
{
	place_bars(f->root);
	pci_interrupts_update(f);
}

/* What the window of §4.1.4.9 means; false when it is none of what a driver may choose. */
static bool cfg_window(const struct pci_config *config, uint32_t *ret_offset, unsigned *ret_size)
{
	uint32_t bar = pci_config_word(config, VIRTIO_PCI_CFG_CAPABILITY + 4);
	uint32_t at = pci_config_word(config, VIRTIO_PCI_CFG_CAPABILITY + 8);
	uint32_t len = pci_config_word(config, VIRTIO_PCI_CFG_CAPABILITY + 12);

	*ret_offset = at;
	*ret_size = len;
	return bar == 0 && (len == 1 || len == 2 || len == 4) && at % len == 0 &&
	       at < PCI_BAR_SIZE && len <= PCI_BAR_SIZE - at;
}

static bool is_cfg_data(const struct pci_function *f, uint32_t offset)
{
	return f->device != NULL && (offset & ~3u) == VIRTIO_PCI_CFG_DATA;
}

static struct pci_function *function_at(const struct pci_root *root, uint32_t bus_device_function)
{
	/* one bus, and in every device function 0 alone */
	if (bus_device_function % 8 != 0 || bus_device_function / 8 >= PCI_SLOTS)
		return NULL;
	return root->functions[bus_device_function / 8];
}

static uint32_t config_read(struct pci_function *f, uint32_t offset, unsigned size)
{
	uint32_t value, at;
	unsigned len;

	if (f == NULL)
		return ALL_ONES;
	lock(f->root);
	if (is_cfg_data(f, offset) && cfg_window(&f->config, &at, &len)) {
		unlock(f->root);
		value = (uint32_t)virtio_pci_read(f, at, len);
		lock(f->root);
		(void)pci_config_write(&f->config, VIRTIO_PCI_CFG_DATA, len, value);
	}
	value = pci_config_read(&f->config, offset, size);
	unlock(f->root);
	return value;
}

static void config_write(struct pci_function *f, uint32_t offset, unsigned size, uint32_t value)
{
	bool is_window = false;
	unsigned len;
	uint32_t at;

	if (f == NULL)
		return;
	lock(f->root);
	if (pci_config_write(&f->config, offset, size, value))
		update(f);
	if (is_cfg_data(f, offset) && cfg_window(&f->config, &at, &len)) {
		value = pci_config_read(&f->config, VIRTIO_PCI_CFG_DATA, len);
		is_window = true;
	}
	unlock(f->root);
	if (is_window)
		virtio_pci_write(f, at, len, value);
}

/* Configuration mechanism #1, PCI 3.0 §3.2.2.3.2: the address by a 32-bit access alone. */
static struct pci_function *selected(struct pci_root *root, uint32_t *ret_word)
{
	uint32_t address;

	lock(root);
	address = root->address;
	unlock(root);
	*ret_word = address & 0xfc;
	return address & 0x80000000u ? function_at(root, address >> 8 & 0xffff) : NULL;
}

static uint64_t ports_read(void *ctx, uint64_t offset, unsigned size)
{
	struct pci_root *root = ctx;
	struct pci_function *f;
	uint32_t word;

	if (offset >= 4) {
		f = selected(root, &word);
		return config_read(f, word + (uint32_t)offset - 4, size);
	}
	lock(root);
	word = offset == 0 && size == 4 ? root->address : ALL_ONES;
	unlock(root);
	return word;
}

static void ports_write(void *ctx, uint64_t offset, unsigned size, uint64_t value)
{
	struct pci_root *root = ctx;
	struct pci_function *f;
	uint32_t word;

	if (offset >= 4) {
		f = selected(root, &word);
		config_write(f, word + (uint32_t)offset - 4, size, (uint32_t)value);
	} else if (offset == 0 && size == 4) {
		lock(root);
		root->address = (uint32_t)value & 0x80fffffcu; /* the rest is reserved */
		unlock(root);
	}
}

/* PCI Express 5.0 §7.2.2: 12 bits of register number, then function, device and bus */
static uint64_t ecam_read(void *ctx, uint64_t offset, unsigned size)
{
	struct pci_function *f = function_at(ctx, (uint32_t)(offset >> 12));

	return size > 4 ? UINT64_MAX : config_read(f, offset & 0xfff, size);
}

static void ecam_write(void *ctx, uint64_t offset, unsigned size, uint64_t value)
{
	if (size <= 4)
		config_write(function_at(ctx, (uint32_t)(offset >> 12)), offset & 0xfff, size,
			     (uint32_t)value);
}

/* The function whose BAR is at @address, and how far into it; NULL: none */
static struct pci_function *decode(struct pci_root *root, uint64_t address, uint64_t *ret_offset)
{
	struct pci_function *f = NULL;

	lock(root);
	for (uint32_t i = 0; i < PCI_SLOTS && f == NULL; i++) {
		f = root->functions[i];
		if (f != NULL && (f->decoded == 0 || address - f->decoded >= PCI_BAR_SIZE))
			f = NULL;
	}
	if (f != NULL)
		*ret_offset = address - f->decoded;
	unlock(root);
	return f;
}

static uint64_t window_read(void *ctx, uint64_t offset, unsigned size)
{
	struct pci_window_ctx *w = ctx;
	struct pci_function *f = decode(w->root, w->window.base + offset, &offset);

	return f != NULL ? virtio_pci_read(f, offset, size) : UINT64_MAX;
}

static void window_write(void *ctx, uint64_t offset, unsigned size, uint64_t value)
{
	struct pci_window_ctx *w = ctx;
	struct pci_function *f = decode(w->root, w->window.base + offset, &offset);

	if (f != NULL)
		virtio_pci_write(f, offset, size, value);
}

const struct io_handler pci_ports_io = { .read = ports_read, .write = ports_write };
const struct io_handler pci_ecam_io = { .read = ecam_read, .write = ecam_write };
const struct io_handler pci_window_io = { .read = window_read, .write = window_write };

void *pci_root_window(struct pci_root *root, uint32_t i)
{
	return &root->windows[i];
}

static struct pci_function *function_new(struct pci_root *root, uint32_t slot)
{
	struct pci_function *f = calloc(1, sizeof(*f));

	if (f != NULL) {
		f->root = root;
		f->slot = slot;
		root->functions[slot] = f;
	}
	return f;
}

int pci_root_new(const struct pci_window windows[PCI_WINDOWS], const struct pci_host *host,
		 void *ctx, struct pci_root **ret)
{
	struct pci_root *root = calloc(1, sizeof(*root));
	struct pci_function *bridge = root != NULL ? function_new(root, 0) : NULL;

	if (bridge == NULL) {
		free(root);
		return -ENOMEM;
	}
	(void)pthread_mutex_init(&root->lock, NULL); /* cannot fail with default attributes */
	root->host = host;
	root->ctx = ctx;
	for (uint32_t i = 0; i < PCI_WINDOWS; i++)
		root->windows[i] = (struct pci_window_ctx){ root, windows[i] };
	pci_config_load(&bridge->config, bridge_registers, ARRAY_LEN(bridge_registers));
	*ret = root;
	return 0;
}

struct pci_root *pci_root_free(struct pci_root *root)
{
	if (root == NULL)
		return NULL;
	for (uint32_t i = 0; i < PCI_SLOTS; i++)
		free(root->functions[i]);
	(void)pthread_mutex_destroy(&root->lock);
	free(root);
	return NULL;
}

int pci_root_add(struct pci_root *root, uint32_t slot, struct virtio_device *dev,
		 const struct virtio_device_fds *fds)
{
	struct pci_function *f;

	if (slot >= PCI_SLOTS || root->functions[slot] != NULL)
		return -EINVAL;
	f = function_new(root, slot);
	if (f == NULL)
		return -ENOMEM;
	f->device = dev;
	f->fds = fds;
	f->n_queues = device_link_n_queues(virtio_device_link(dev));
	f->first_vector = root->n_vectors;
	root->n_vectors += f->n_queues + 1;
	for (uint32_t i = 0; i < PCI_SOURCES_MAX; i++) {
		f->vectors[i] = VIRTIO_PCI_NO_VECTOR;
		f->armed[i] = VIRTIO_PCI_NO_VECTOR;
	}
	virtio_pci_load(f);
	return 0;
}

void pci_root_reset(struct pci_root *root)
{
	lock(root);
	root->address = 0;
	for (uint32_t i = 1; i < PCI_SLOTS; i++) {
		struct pci_function *f = root->functions[i];

		if (f == NULL)
			continue;
		virtio_pci_load(f);
		pci_interrupts_forget(f);
	}
	place_bars(root);
	unlock(root);
}
