/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any sequence of configuration, MSI-X and virtio-pci accesses on a bus of three devices, against
 * what KVM has to hold afterwards: BARs, notifications and messages follow from the registers
 * alone, whatever the way there was.
 *
 * Input, per access: how (1 byte), device (1), offset (2), value (4). The devices themselves are
 * the state machine of virtio_state.c without any process behind it.
 */
#include "fuzz.h"

#define fake_check fuzz_check
#include "tests/unit/fake_pci_host.h"
#include "vmm-core/transport/pci_internal.h"

#define ACCESSES_MAX 200u
#define DEVICES 3u
#define WINDOW 0xe0000000u
#define WINDOW_SIZE 0x40000u
#define HIGH_WINDOW UINT64_C(0x4000000000)
#define VERSION_1 (UINT64_C(1) << 32)
#define NOTIFY_OFFSET 0x3000u
#define NOTIFY_STEP 4u

struct virtio_device {
	struct virtio_state state;
	bool is_entered;
};

static const struct guest_region ram = { 0, 0x100000 };
static const struct pci_window windows[PCI_WINDOWS] = {
	{ WINDOW, WINDOW_SIZE }, { HIGH_WINDOW, WINDOW_SIZE },
};
static struct virtio_device devices[DEVICES];
static struct virtio_device_fds fds[DEVICES];
static struct fake_host host;

/* ---- in the place of virtio_device.c and device_link.c ---- */

struct device_link *virtio_device_link(const struct virtio_device *dev)
{
	return (struct device_link *)(uintptr_t)dev;
}

struct virtio_state *virtio_device_enter(struct virtio_device *dev)
{
	fuzz_check(!dev->is_entered);
	dev->is_entered = true;
	return &dev->state;
}

void virtio_device_leave(struct virtio_device *dev)
{
	fuzz_check(dev->is_entered);
	dev->is_entered = false;
}

void virtio_device_act(struct virtio_device *dev, enum virtio_action action)
{
	fuzz_check(dev->is_entered);
	if (action == VIRTIO_RESET)
		virtio_state_reset(&dev->state);
}

uint32_t virtio_device_interrupt_status(struct virtio_device *dev)
{
	fuzz_check(dev->is_entered);
	return DEVICE_INTERRUPT_QUEUE;
}

void virtio_device_acknowledge(struct virtio_device *dev, uint32_t bits)
{
	fuzz_check(dev->is_entered && bits == DEVICE_INTERRUPT_QUEUE);
}

enum device_type device_link_type(const struct device_link *link)
{
	return (enum device_type)((const struct virtio_device *)link)->state.device_id;
}

uint32_t device_link_n_queues(struct device_link *link)
{
	return ((struct virtio_device *)link)->state.n_queues;
}

uint64_t device_link_config_read(struct device_link *link, uint32_t offset, unsigned size)
{
	(void)link;
	fuzz_check(size <= 8 && offset <= DEVICE_CONFIG_SPACE_MAX - size);
	return 0;
}

void device_link_config_write(struct device_link *link, uint32_t offset, unsigned size,
			      uint64_t value)
{
	(void)link;
	(void)value;
	fuzz_check(size <= 8 && offset <= DEVICE_CONFIG_SPACE_MAX - size);
}

uint32_t device_link_config_generation(struct device_link *link)
{
	(void)link;
	return 7;
}

/* ---- invariants ---- */

static uint64_t bar_of(const struct pci_function *f)
{
	return (uint64_t)f->config.words[5] << 32 | (f->config.words[4] & ~0xfu);
}

static bool is_decoded(const struct pci_root *root, uint32_t slot)
{
	const struct pci_function *f = root->functions[slot];
	uint64_t bar = bar_of(f);

	if (!(f->config.words[1] & PCI_COMMAND_MEMORY))
		return false;
	if (!(bar >= WINDOW && bar <= WINDOW + WINDOW_SIZE - PCI_BAR_SIZE) &&
	    !(bar >= HIGH_WINDOW && bar <= HIGH_WINDOW + WINDOW_SIZE - PCI_BAR_SIZE))
		return false;
	for (uint32_t lower = 1; lower < slot; lower++)
		if (bar_of(root->functions[lower]) == bar && is_decoded(root, lower))
			return false;
	return true;
}

static void check_notifications(const struct pci_root *root, uint32_t slot)
{
	const struct pci_function *f = root->functions[slot];
	bool decoded = is_decoded(root, slot);

	fuzz_check(f->decoded == (decoded ? bar_of(f) : 0));
	for (uint32_t q = 0; q < f->n_queues; q++)
		fuzz_check(fake_notify_of(&host, f->fds->kick[q]) ==
			   (decoded ? bar_of(f) + NOTIFY_OFFSET + q * NOTIFY_STEP : 0));
}

static void check_messages(const struct pci_function *f)
{
	uint32_t control = f->config.words[0x40 / 4] >> 30;
	bool may_send = control == 2 && (f->config.words[1] & PCI_COMMAND_MASTER);

	for (uint32_t i = 0; i <= f->n_queues; i++) {
		int fd = i < f->n_queues ? f->fds->call[i] : f->fds->config;
		const struct pci_route *message = fake_message_of(&host, fd);
		uint16_t v = f->vectors[i];

		fuzz_check(v == VIRTIO_PCI_NO_VECTOR || v <= f->n_queues);
		if (!may_send || v == VIRTIO_PCI_NO_VECTOR || (f->msix.entries[v][3] & 1) ||
		    f->msix.entries[v][1] != 0 || f->msix.entries[v][0] >> 20 != 0xfee) {
			fuzz_check(message == NULL);
			continue;
		}
		fuzz_check(message != NULL && message->address == f->msix.entries[v][0] &&
			   message->data == f->msix.entries[v][2]);
	}
}

/* What the guest cannot write stays. */
static void check_constants(const struct pci_function *f)
{
	static const uint32_t caps[] = { 0x50, 0x60, 0x70, 0x80 };

	fuzz_check(f->config.words[0] ==
		   ((0x1040u + devices[f->slot - 1].state.device_id) << 16 | 0x1af4u));
	fuzz_check((f->config.words[1] & ~0x406u) == 0x100000u);
	fuzz_check((f->config.words[4] & 0x7fff) == 4);
	fuzz_check((f->config.words[0x40 / 4] & 0x3fffffffu) == (f->n_queues << 16 | 0x5011u));
	for (uint32_t i = 0; i < 4; i++)
		fuzz_check((f->config.words[caps[i] / 4] & 0xff) == 9 &&
			   f->config.words[caps[i] / 4 + 2] == (i == 0 ? 0 : i * 0x1000u));
	for (uint32_t v = 0; v < f->msix.n; v++)
		fuzz_check((f->msix.entries[v][0] & 3) == 0 && f->msix.entries[v][3] <= 1);
}

static void check(const struct pci_root *root)
{
	uint32_t n_notify = 0;

	for (uint32_t slot = 1; slot <= DEVICES; slot++) {
		check_constants(root->functions[slot]);
		check_notifications(root, slot);
		check_messages(root->functions[slot]);
		fuzz_check(!devices[slot - 1].is_entered);
		if (root->functions[slot]->decoded)
			n_notify += root->functions[slot]->n_queues;
	}
	fuzz_check(host.n_notify == n_notify);
}

/* ---- accesses ---- */

static uint64_t window_offset(const struct pci_root *root, uint32_t slot, uint16_t offset,
			      uint32_t *ret_window)
{
	uint64_t bar = bar_of(root->functions[slot]);

	*ret_window = bar >= HIGH_WINDOW;
	bar -= *ret_window ? HIGH_WINDOW : WINDOW;
	return (bar <= WINDOW_SIZE - PCI_BAR_SIZE ? bar : 0) + offset % PCI_BAR_SIZE;
}

static void do_access(struct pci_root *root, struct fuzz_reader *in)
{
	static const unsigned sizes[] = { 1, 2, 4, 8 };
	uint8_t how = fuzz_u8(in);
	uint32_t slot = 1 + fuzz_u8(in) % DEVICES, window;
	uint16_t offset = fuzz_u16(in);
	uint32_t value = fuzz_u32(in);
	unsigned size = sizes[how & 3];
	uint64_t at;

	switch (how >> 2 & 7) {
	case 0: /* ports */
		pci_ports_io.write(root, 0, 4, 0x80000000u | slot << 11 | (offset & 0x7fc));
		at = 4u + (offset & 3u);
		if (size == 8 || at + size > PCI_PORTS)
			size = 1;
		if (how & 0x20)
			(void)pci_ports_io.read(root, at, size);
		else
			pci_ports_io.write(root, at, size, value);
		break;
	case 1:
	case 2: /* configuration */
		at = (uint64_t)slot << 15 | offset % (how & 0x40 ? 0x8000u : 0x100u);
		if (at + size > PCI_ECAM_SIZE)
			at = 0;
		if (how & 0x20)
			(void)pci_ecam_io.read(root, at, size);
		else
			pci_ecam_io.write(root, at, size, value);
		break;
	case 3: /* a table entry, most often a good one */
		slot = how & 0x40 ? 1 : slot;
		at = window_offset(root, slot, 0x4000 + offset % 0x440 / 4 * 4, &window);
		value = (offset & 0xc) == 0 ? 0xfee00000u | (value & 0xff000u) :
			(offset & 0xc) == 4 ? value & 0x10000u : value;
		pci_window_io.write(pci_root_window(root, window), at, 4, value);
		break;
	case 4:
		pci_root_reset(root);
		for (uint32_t i = 0; i < DEVICES; i++)
			virtio_state_reset(&devices[i].state);
		break;
	default: /* anywhere in the BAR */
		if (!(how & 0x40))
			offset %= 0x38;
		at = window_offset(root, slot, offset, &window);
		if (how & 0x20)
			(void)pci_window_io.read(pci_root_window(root, window), at, size);
		else
			pci_window_io.write(pci_root_window(root, window), at, size, value);
		break;
	}
}

static struct pci_root *start(void)
{
	static const uint32_t types[DEVICES] = { 2, 1, 4 }, n_queues[DEVICES] = { 2, 4, 1 };
	struct pci_root *root;
	int fd = 1000; /* none of these is open: their counters are never looked at */

	memset(&host, 0, sizeof(host));
	fuzz_check(pci_root_new(windows, &fake_pci_host, &host, &root) == 0);
	for (uint32_t i = 0; i < DEVICES; i++) {
		devices[i] = (struct virtio_device){ .state = {
			.device_id = types[i], .features = VERSION_1 | 3, .n_queues = n_queues[i],
			.queue_size_max = 64, .ram = &ram, .n_ram = 1, .is_usable = true } };
		virtio_state_reset(&devices[i].state);
		for (uint32_t q = 0; q < n_queues[i]; q++) {
			fds[i].kick[q] = fd++;
			fds[i].call[q] = fd++;
		}
		fds[i].config = fd++;
		fuzz_check(pci_root_add(root, i + 1, &devices[i], &fds[i]) == 0);
	}
	return root;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_reader in = { data, size };
	struct pci_root *root = start();

	for (uint32_t i = 0; i < ACCESSES_MAX && in.left > 0; i++) {
		do_access(root, &in);
		check(root);
	}
	(void)pci_root_free(root);
	return 0;
}
