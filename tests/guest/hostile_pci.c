/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI configuration, BAR, MSI-X and virtio-pci structures misused, PCI Local Bus 3.0 and VIRTIO 1.2
 * §4.1. Each case starts the victim, does its harm, and puts BAR, command and MSI-X back; then
 * hostile_case() wants the victim to work and its neighbour not to have noticed.
 */
#include "hostile.h"
#include "pci.h"

#define RUNNING (PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER)
#define BAR_SIZE 0x8000u
#define WINDOW 0xe0000000ull
#define BRIDGE 0u
#define ONES 0xffffffffu

/* Offsets in the BAR that the capabilities of Bulkhead name */
#define COMMON 0x0000u
#define ISR 0x1000u
#define DEVICE 0x2000u
#define NOTIFY 0x3000u
#define TABLE 0x4000u
#define PENDING 0x5000u

static uint64_t home; /* of the victim's BAR */
static uint64_t random_state;

static struct vdev *victim_pci(void)
{
	return victim.blk.dev;
}

static void restore(void)
{
	struct vdev *dev = victim_pci();

	pci_set_command(dev, 0);
	pci_set_bar(dev, home);
	pci_set_command(dev, RUNNING);
	msix_control(dev, 0);
	for (unsigned i = 0; i < dev->n_vectors; i++)
		mmio_write32(dev->table + 16ull * i + 12, 1);
}

static uint64_t bar_read(uint32_t offset, unsigned width)
{
	uint64_t at = home + offset;

	return width == 1 ? mmio_read8(at) : width == 2 ? mmio_read16(at) :
	       width == 4 ? mmio_read32(at) : mmio_read64(at);
}

static void bar_write(uint32_t offset, unsigned width, uint64_t value)
{
	uint64_t at = home + offset;

	if (width == 1)
		mmio_write8(at, (uint8_t)value);
	else if (width == 2)
		mmio_write16(at, (uint16_t)value);
	else if (width == 4)
		mmio_write32(at, (uint32_t)value);
	else
		mmio_write64(at, value);
}

/* ---- configuration space ---- */

struct config_case {
	const char *name;
	unsigned slot_delta; /* 0: the victim, 1: the host bridge */
	unsigned offset;
	unsigned width;
};

/* Writes of all ones that change nothing. */
static const struct config_case read_only[] = {
	{ "vendor", 0, 0x00, 2 },
	{ "device", 0, 0x02, 2 },
	{ "status", 0, 0x06, 2 },
	{ "revision", 0, 0x08, 1 },
	{ "class", 0, 0x08, 4 },
	{ "header type", 0, 0x0e, 1 },
	{ "BIST", 0, 0x0f, 1 },
	{ "BAR 2", 0, 0x18, 4 },
	{ "BAR 5", 0, 0x24, 4 },
	{ "CardBus pointer", 0, 0x28, 4 },
	{ "subsystem", 0, 0x2c, 4 },
	{ "expansion ROM", 0, 0x30, 4 },
	{ "capability pointer", 0, 0x34, 1 },
	{ "interrupt pin", 0, 0x3d, 1 },
	{ "identity of the MSI-X capability", 0, 0x40, 2 },
	{ "size of the MSI-X table", 0, 0x42, 1 },
	{ "place of the MSI-X table", 0, 0x44, 4 },
	{ "place of the pending bits", 0, 0x48, 4 },
	{ "head of a virtio capability", 0, 0x50, 4 },
	{ "BAR of a virtio capability", 0, 0x54, 4 },
	{ "offset of a virtio capability", 0, 0x58, 4 },
	{ "length of a virtio capability", 0, 0x5c, 4 },
	{ "notification multiplier", 0, 0x90, 4 },
	{ "head of the window's capability", 0, 0x98, 4 },
	{ "behind the capabilities", 0, 0xac, 4 },
	{ "the last word", 0, 0xfc, 4 },
	{ "command of the host bridge", 1, 0x04, 4 },
	{ "BAR of the host bridge", 1, 0x10, 4 },
	{ "capability pointer of the host bridge", 1, 0x34, 4 },
};

static const char *config_is_read_only(uint64_t i)
{
	const struct config_case *c = &read_only[i];
	unsigned slot = c->slot_delta ? BRIDGE : victim_pci()->slot;
	uint32_t before = pci_read(slot, c->offset & ~3u, 4);

	EXPECT_OK(victim_start(0));
	pci_write(slot, c->offset, c->width, ONES);
	EXPECT(pci_read(slot, c->offset & ~3u, 4) == before, "0x%x became 0x%x", before,
	       pci_read(slot, c->offset & ~3u, 4));
	pci_write(slot, c->offset, c->width, 0);
	EXPECT(pci_read(slot, c->offset & ~3u, 4) == before, "it can be cleared");
	return victim_good_request();
}

static const char *command_bits(uint64_t unused)
{
	uint16_t command;

	(void)unused;
	EXPECT_OK(victim_start(0));
	pci_write(victim_pci()->slot, PCI_COMMAND, 2, ONES);
	command = (uint16_t)pci_read(victim_pci()->slot, PCI_COMMAND, 2);
	pci_set_command(victim_pci(), RUNNING);
	EXPECT(command == 0x0406, "0x%x", command);
	return victim_good_request();
}

/* Accesses of ECAM that cross a word, or are wider than one: ones, and no write. */
static const char *ecam_odd(uint64_t argument)
{
	unsigned offset = argument & 0xff, width = argument >> 8;
	uint64_t at = PCI_ECAM + (victim_pci()->slot << 15) + offset;
	uint64_t value = width == 2 ? mmio_read16(at) | ~0xffffull :
			 width == 4 ? mmio_read32(at) | ~0xffffffffull : mmio_read64(at);

	EXPECT_OK(victim_start(0));
	EXPECT(value == ~0ull, "0x%lx", value);
	if (width == 2)
		mmio_write16(at, 0);
	else if (width == 4)
		mmio_write32(at, 0);
	else
		mmio_write64(at, 0);
	return victim_good_request();
}

/* Port 0xcf8 takes 32 bits and nothing else; 0xcfc does not cross its word. */
static const char *ports_odd(uint64_t unused)
{
	unsigned slot = victim_pci()->slot;
	uint32_t address = 0x80000000u | slot << 11;

	(void)unused;
	EXPECT_OK(victim_start(0));
	port_out32(PCI_CONFIG_ADDRESS, address);
	port_out8(PCI_CONFIG_ADDRESS, 4);
	port_out16(PCI_CONFIG_ADDRESS, 4);
	port_out8(PCI_CONFIG_ADDRESS + 3, 0);
	EXPECT(port_in32(PCI_CONFIG_ADDRESS) == address, "0x%x", port_in32(PCI_CONFIG_ADDRESS));
	EXPECT(port_in8(PCI_CONFIG_ADDRESS) == 0xff, "a byte can be read");
	EXPECT(port_in32(PCI_CONFIG_DATA + 1) == ONES, "0x%x across the end",
	       port_in32(PCI_CONFIG_DATA + 1));
	port_out32(PCI_CONFIG_DATA + 2, 0);
	EXPECT(port_in16(PCI_CONFIG_DATA + 3) == 0xffff, "16 bits across the end");
	port_out32(PCI_CONFIG_ADDRESS, address & ~0x80000000u);
	EXPECT(port_in32(PCI_CONFIG_DATA) == ONES, "configuration without the enable bit");
	port_out32(PCI_CONFIG_DATA, 0);
	return victim_good_request();
}

static const char *other_functions(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(victim_start(0));
	for (unsigned at = 0; at < 256 * 4096; at += 4096) {
		if (at >> 12 == victim_pci()->slot << 3 || (at >> 12 & 7) == 0)
			continue;
		EXPECT(mmio_read32(PCI_ECAM + at) == ONES, "at 0x%x", at);
		mmio_write32(PCI_ECAM + at + 4, 0xffff);
		mmio_write32(PCI_ECAM + at + 0x10, 0);
	}
	return victim_good_request();
}

/* ---- where the BAR may be ---- */

struct place_case {
	const char *name;
	uint64_t at;
	bool is_decoded; /* the victim answers there */
};

static const struct place_case places[] = {
	{ "at 0", 0, false },
	{ "over RAM at 16 MiB", 0x1000000, false },
	{ "over the last RAM below 3 GiB", 0xc0000000 - BAR_SIZE, false },
	{ "over RAM above 4 GiB", 4 * GIB, false },
	{ "right below the window", WINDOW - BAR_SIZE, false },
	{ "over ECAM", PCI_ECAM, false },
	{ "over the I/O APIC", 0xfec00000, false },
	{ "over the local APIC", 0xfee00000, false },
	{ "over the TSS of KVM", 0xfeff8000, false },
	{ "below 4 GiB", 4 * GIB - BAR_SIZE, false },
	{ "at the top of the address space", ~0ull - BAR_SIZE + 1, false },
	{ "at 2^63", 1ull << 63, false },
	{ "at 2^52", 1ull << 52, false },
	{ "over virtio-mmio", 0xd0000000, false },
	{ "at the start of the window", WINDOW, true },
	{ "at the end of the window", PCI_ECAM - BAR_SIZE, true },
	{ "at 512 GiB", 512 * GIB, true },
};

static bool is_reachable(uint64_t at)
{
	return at < 1ull << 46 && !memory_is_ram(at, BAR_SIZE);
}

static const char *place(uint64_t i)
{
	const struct place_case *c = &places[i];
	static uint8_t ram[64];
	uint32_t found = ONES;
	bool is_ram = memory_is_ram(c->at, BAR_SIZE);

	EXPECT_OK(victim_start(0));
	if (is_ram && c->at)
		memory_map(c->at, BAR_SIZE);
	if (is_ram)
		memcpy(ram, (void *)c->at, sizeof(ram));
	pci_set_command(victim_pci(), 0);
	pci_set_bar(victim_pci(), c->at);
	pci_set_command(victim_pci(), RUNNING);
	if (is_reachable(c->at)) {
		memory_map(c->at, BAR_SIZE);
		found = mmio_read16(c->at + PCI_NUM_QUEUES);
	}
	if (is_ram && memcmp(ram, (void *)c->at, sizeof(ram)) != 0)
		found = 0xbad;
	restore();
	EXPECT(found != 0xbad, "RAM has changed");
	if (c->is_decoded)
		EXPECT(found == mmio_read16(home + PCI_NUM_QUEUES), "found 0x%x there", found);
	EXPECT(vdev_status(victim_pci()) & STATUS_DRIVER_OK, "the session is lost");
	return victim_good_request();
}

/* Two BARs in one place: the lower slot's is there. */
static const char *on_each_other(uint64_t moves_neighbour)
{
	struct vdev *dev = victim_pci(), *other = discover_nth(VIRTIO_ID_BLK, 1);
	struct vdev *mover = moves_neighbour ? other : dev;
	uint64_t place_of_mover = mover->bar;
	uint8_t there;

	EXPECT_OK(victim_start(0));
	pci_set_bar(mover, moves_neighbour ? dev->bar : other->bar);
	mmio_write16(mover->bar + PCI_QUEUE_SELECT, 3);
	there = mmio_read8((moves_neighbour ? dev->bar : other->bar) + PCI_DEVICE_STATUS);
	pci_set_bar(mover, place_of_mover);
	EXPECT(there & STATUS_DRIVER_OK, "nobody is there: 0x%x", there);
	return victim_good_request();
}

static const char *half_moved(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(victim_start(0));
	for (unsigned i = 0; i < 32; i++) { /* with decoding on, as no driver does */
		pci_write(victim_pci()->slot, PCI_BAR0 + 4, 4, 1u << i);
		pci_write(victim_pci()->slot, PCI_BAR0, 4, 1u << i);
		pci_write(victim_pci()->slot, PCI_BAR0 + 1, 2, i << 8);
	}
	restore();
	return victim_good_request();
}

/* ---- command register ---- */

static volatile bool is_toggling;

static void kick_on_and_on(void *unused)
{
	(void)unused;
	while (is_toggling)
		mmio_write16(home + NOTIFY, 0);
}

/* One CPU notifies while the other switches decoding, or moves the BAR, or masks. */
static const char *under_load(uint64_t what)
{
	unsigned cpu = hostile_partner();
	struct vdev *dev = victim_pci();

	if (!cpu)
		return tap_skip("one CPU");
	EXPECT_OK(victim_start(0));
	is_toggling = true;
	smp_run(cpu, kick_on_and_on, NULL);
	for (unsigned i = 0; i < 60; i++) {
		if (what == 0)
			pci_set_command(dev, i % 2 ? RUNNING : PCI_COMMAND_MASTER);
		else if (what == 1)
			pci_set_bar(dev, i % 2 ? home : WINDOW + 0x400000);
		else if (what == 2)
			msix_control(dev, i % 2 ? MSIX_ENABLE : MSIX_ENABLE | MSIX_FUNCTION_MASK);
		else
			pci_set_command(dev, i % 2 ? RUNNING : PCI_COMMAND_MEMORY);
	}
	is_toggling = false;
	while (!smp_is_idle(cpu))
		cpu_pause();
	restore();
	return victim_good_request();
}

/* ---- MSI-X ---- */

static const char *table_width(uint64_t width)
{
	uint32_t before = (uint32_t)bar_read(TABLE + 8, 4);

	EXPECT_OK(victim_start(0));
	bar_write(TABLE + 8, (unsigned)width, ~before);
	EXPECT(bar_read(TABLE + 8, 4) == before, "0x%lx", bar_read(TABLE + 8, 4));
	EXPECT(bar_read(TABLE + 12, (unsigned)width) == 0, "it can be read");
	return victim_good_request();
}

static const char *table_reserved(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(victim_start(0));
	bar_write(TABLE, 4, ONES);
	bar_write(TABLE + 12, 4, ONES);
	EXPECT(bar_read(TABLE, 4) == 0xfffffffc, "address 0x%lx", bar_read(TABLE, 4));
	EXPECT(bar_read(TABLE + 12, 4) == 1, "control 0x%lx", bar_read(TABLE + 12, 4));
	bar_write(TABLE, 4, 0);
	return victim_good_request();
}

static const char *table_end(uint64_t unused)
{
	uint32_t behind = TABLE + 16 * victim_pci()->n_vectors;

	(void)unused;
	EXPECT_OK(victim_start(0));
	for (uint32_t at = behind; at < PENDING; at += 4) {
		bar_write(at, 4, 0);
		EXPECT(bar_read(at, 4) == 0, "0x%x holds 0x%lx", at, bar_read(at, 4));
	}
	return victim_good_request();
}

static const char *pending_is_read_only(uint64_t width)
{
	EXPECT_OK(victim_start(0));
	bar_write(PENDING, (unsigned)width, ~0ull);
	EXPECT(bar_read(PENDING, 4) == 0, "0x%lx", bar_read(PENDING, 4));
	return victim_good_request();
}

/* Messages to addresses that no local APIC has: none is sent, and memory stays as it is. */
static const char *message_elsewhere(uint64_t address)
{
	struct vdev *dev = victim_pci();
	volatile uint32_t *ram = NULL;

	if (address == 1)
		ram = memory_alloc(4096, 4096);
	EXPECT(vdev_start(dev, 0), "no start");
	vdev_select(dev, 0);
	mmio_write16(dev->common + PCI_QUEUE_MSIX_VECTOR, 0);
	bar_write(TABLE, 4, ram ? (uint64_t)ram : address);
	bar_write(TABLE + 4, 4, address >> 32);
	bar_write(TABLE + 8, 4, 0xdeadbeef);
	bar_write(TABLE + 12, 4, 0);
	msix_control(dev, MSIX_ENABLE);
	vq_make(&victim.blk.vq, dev, 0, VICTIM_QUEUE_SIZE);
	vq_enable(&victim.blk.vq);
	vdev_driver_ok(dev);
	EXPECT_OK(victim_good_request());
	restore();
	EXPECT(!ram || *ram == 0, "it was written to memory: 0x%x", *ram);
	return NULL;
}

static const char *vector_of(uint64_t vector)
{
	EXPECT_OK(victim_start(0));
	vdev_select(victim_pci(), 0);
	bar_write(COMMON + PCI_QUEUE_MSIX_VECTOR, 2, vector);
	EXPECT(bar_read(COMMON + PCI_QUEUE_MSIX_VECTOR, 2) == PCI_NO_VECTOR, "queue: 0x%lx",
	       bar_read(COMMON + PCI_QUEUE_MSIX_VECTOR, 2));
	bar_write(COMMON + PCI_CONFIG_MSIX_VECTOR, 2, vector);
	EXPECT(bar_read(COMMON + PCI_CONFIG_MSIX_VECTOR, 2) == PCI_NO_VECTOR, "configuration");
	return victim_good_request();
}

static const char *vector_of_no_queue(uint64_t queue)
{
	EXPECT_OK(victim_start(0));
	vdev_select(victim_pci(), (uint16_t)queue);
	bar_write(COMMON + PCI_QUEUE_MSIX_VECTOR, 2, 0);
	EXPECT(bar_read(COMMON + PCI_QUEUE_MSIX_VECTOR, 2) == PCI_NO_VECTOR, "it was taken");
	EXPECT(bar_read(COMMON + PCI_QUEUE_NOTIFY_OFF, 2) == 0, "it has a notification");
	EXPECT(bar_read(COMMON + PCI_QUEUE_SIZE, 2) == 0, "it has a size");
	bar_write(COMMON + PCI_QUEUE_ENABLE, 2, 1);
	EXPECT(bar_read(COMMON + PCI_QUEUE_ENABLE, 2) == 0, "it was enabled");
	return victim_good_request();
}

static const char *mask_storm(uint64_t unused)
{
	struct vdev *dev = victim_pci();

	(void)unused;
	EXPECT_OK(victim_start(0));
	msix_control(dev, MSIX_ENABLE);
	for (unsigned i = 0; i < 200; i++) {
		unsigned vector = i % dev->n_vectors;

		msix_set(dev, vector, (uint8_t)(0x60 + i % 16), i & 1);
		bar_write(COMMON + PCI_QUEUE_SELECT, 2, 0);
		bar_write(COMMON + PCI_QUEUE_MSIX_VECTOR, 2, vector);
		bar_write(COMMON + PCI_CONFIG_MSIX_VECTOR, 2, vector);
	}
	EXPECT_OK(victim_good_request());
	restore();
	return NULL;
}

/* §2.1.2: a broken queue is a configuration change, which goes to its own vector. */
static const char *needs_reset_is_told(uint64_t unused)
{
	struct vdev *dev = victim_pci();
	uint64_t deadline = time_deadline(TIMEOUT_REQUEST);
	bool is_pending;

	(void)unused;
	EXPECT_OK(victim_start(0));
	msix_control(dev, MSIX_ENABLE);
	bar_write(COMMON + PCI_CONFIG_MSIX_VECTOR, 2, 1);
	victim.blk.vq.avail->idx = 0x4000; /* more than the queue holds */
	vq_kick(&victim.blk.vq);
	while (!(vdev_status(dev) & STATUS_NEEDS_RESET))
		EXPECT(!time_passed(deadline), "no DEVICE_NEEDS_RESET");
	is_pending = msix_is_pending(dev, 1);
	restore();
	EXPECT(is_pending, "no message waits at the masked vector");
	return NULL;
}

static const char *no_bus_master(uint64_t unused)
{
	struct vdev *dev = victim_pci();
	const char *result;
	bool is_pending;

	(void)unused;
	EXPECT_OK(victim_start(0));
	vdev_select(dev, 0);
	msix_set(dev, 0, 0x61, false);
	bar_write(COMMON + PCI_QUEUE_MSIX_VECTOR, 2, 0);
	pci_set_command(dev, PCI_COMMAND_MEMORY);
	msix_control(dev, MSIX_ENABLE);
	result = victim_good_request(); /* requests go on: only messages do not */
	is_pending = msix_is_pending(dev, 0);
	restore();
	EXPECT_OK(result);
	EXPECT(interrupt_counts[0x61] == 0, "a message without bus mastering");
	EXPECT(is_pending, "the message is lost");
	return NULL;
}

/* ---- the window of §4.1.4.9 ---- */

struct window_case {
	const char *name;
	uint8_t bar;
	uint32_t offset, length;
};

static const struct window_case windows[] = {
	{ "BAR 1", 1, 0x14, 1 },
	{ "BAR 5", 5, 0x14, 1 },
	{ "BAR 6", 6, 0x14, 1 },
	{ "BAR 255", 255, 0x14, 1 },
	{ "length 0", 0, 0x14, 0 },
	{ "length 3", 0, 0x12, 3 },
	{ "length 5", 0, 0x14, 5 },
	{ "length 8", 0, 0x10, 8 },
	{ "length 2^31", 0, 0, 0x80000000 },
	{ "length 2^32 - 1", 0, 0, ONES },
	{ "16 bits at an odd offset", 0, 0x13, 2 },
	{ "32 bits at an odd offset", 0, 0x12, 4 },
	{ "behind the BAR", 0, BAR_SIZE, 4 },
	{ "far behind the BAR", 0, 0x10000000, 4 },
	{ "the end of 32 bits", 0, 0xfffffffc, 4 },
	{ "the last byte of 32 bits", 0, ONES, 1 },
};

static const char *window(uint64_t i)
{
	const struct window_case *c = &windows[i];
	unsigned slot = victim_pci()->slot, at = victim_pci()->window;

	EXPECT_OK(victim_start(0));
	pci_write(slot, at + 4, 1, 1); /* nowhere */
	pci_write(slot, at + 16, 4, 0x5a5a5a5a);
	pci_write(slot, at + 12, 4, c->length);
	pci_write(slot, at + 8, 4, c->offset);
	pci_write(slot, at + 4, 1, c->bar);
	EXPECT(pci_read(slot, at + 16, 4) == 0x5a5a5a5a, "read 0x%x", pci_read(slot, at + 16, 4));
	pci_write(slot, at + 16, 4, 0);
	EXPECT(vdev_status(victim_pci()) & STATUS_DRIVER_OK, "it was written");
	return victim_good_request();
}

/* Everything in the BAR can be reached, also with memory decoding off. */
static const char *window_sweep(uint64_t width)
{
	unsigned slot = victim_pci()->slot;

	EXPECT_OK(victim_start(0));
	pci_set_command(victim_pci(), 0);
	for (uint32_t at = 0; at < BAR_SIZE; at += at < 0x20 ? (unsigned)width : 0x3fc & -(unsigned)width) {
		unsigned data = (unsigned)window_offset(victim_pci(), (unsigned)width, at);

		(void)pci_read(slot, data, 4);
		if (at >= 0x38)
			pci_write(slot, data, 4, ONES);
	}
	restore();
	return NULL;
}

static const char *window_resets(uint64_t unused)
{
	unsigned slot = victim_pci()->slot;

	(void)unused;
	EXPECT_OK(victim_start(0));
	pci_write(slot, (unsigned)window_offset(victim_pci(), 1, COMMON + PCI_DEVICE_STATUS), 1, 0);
	EXPECT(vdev_status(victim_pci()) == 0, "status 0x%x", vdev_status(victim_pci()));
	return NULL;
}

/* ---- structures ---- */

struct access_case {
	const char *name;
	uint32_t offset;
	unsigned width;
};

/* Writes of 0 (and reads) that change nothing and read as 0. */
static const struct access_case accesses[] = {
	{ "device_status as 16 bits", PCI_DEVICE_STATUS, 2 },
	{ "device_status as 32 bits", PCI_DEVICE_STATUS, 4 },
	{ "num_queues as a byte", PCI_NUM_QUEUES, 1 },
	{ "num_queues to device_status as 32 bits", PCI_NUM_QUEUES, 4 },
	{ "queue_enable as a byte", PCI_QUEUE_ENABLE, 1 },
	{ "queue_enable as 32 bits", PCI_QUEUE_ENABLE, 4 },
	{ "queue_size as a byte", PCI_QUEUE_SIZE, 1 },
	{ "queue_size and vector as 32 bits", PCI_QUEUE_SIZE, 4 },
	{ "queue_desc as 16 bits", PCI_QUEUE_DESC, 2 },
	{ "queue_desc as a byte", PCI_QUEUE_DESC, 1 },
	{ "queue_driver misaligned", PCI_QUEUE_DRIVER + 2, 4 },
	{ "the end of the common configuration", 0x38, 4 },
	{ "across the end of the common configuration", 0x36, 4 },
	{ "between the structures", 0x800, 4 },
	{ "64 bits between the structures", 0x800, 8 },
	{ "behind ISR", ISR + 1, 1 },
	{ "ISR as 16 bits", ISR, 2 },
	{ "ISR as 32 bits", ISR, 4 },
	{ "ISR as 64 bits", ISR, 8 },
	{ "behind the device configuration", DEVICE + 0x100, 4 },
	{ "across the end of the device configuration", DEVICE + 0xfe, 4 },
	{ "notifications of no queue", NOTIFY + 0xf0, 2 },
	{ "notifications at an odd place", NOTIFY + 1, 2 },
	{ "notifications between two queues", NOTIFY + 2, 2 },
	{ "behind the notifications", NOTIFY + 0x100, 4 },
	{ "behind the pending bits", PENDING + 0x10, 4 },
	{ "the end of the BAR", BAR_SIZE - 4, 4 },
};

static const char *access(uint64_t i)
{
	const struct access_case *c = &accesses[i];

	EXPECT_OK(victim_start(0));
	vdev_select(victim_pci(), 0);
	EXPECT(bar_read(c->offset, c->width) == 0, "reads 0x%lx", bar_read(c->offset, c->width));
	bar_write(c->offset, c->width, 0);
	EXPECT(vdev_status(victim_pci()) & STATUS_DRIVER_OK, "status 0x%x",
	       vdev_status(victim_pci()));
	EXPECT(vdev_queue_is_enabled(victim_pci(), 0), "the queue is gone");
	EXPECT(vdev_queue_max(victim_pci(), 0) == VICTIM_QUEUE_SIZE, "its size has changed");
	return victim_good_request();
}

/* After DRIVER_OK what a queue is stays as the device was told. */
static const char *frozen(uint64_t offset)
{
	unsigned width = offset < PCI_QUEUE_DESC ? 2 : 4;
	uint64_t before;

	EXPECT_OK(victim_start(0));
	vdev_select(victim_pci(), 0);
	before = bar_read((uint32_t)offset, width);
	bar_write((uint32_t)offset, width, offset == PCI_QUEUE_ENABLE ? 0 : 0x80);
	EXPECT(bar_read((uint32_t)offset, width) == before, "0x%lx became 0x%lx", before,
	       bar_read((uint32_t)offset, width));
	return victim_good_request();
}

static const char *isr_is_read_only(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(victim_start(0));
	bar_write(ISR, 1, 0xff);
	EXPECT((bar_read(ISR, 1) & ~3ull) == 0, "bits that do not exist");
	return victim_good_request();
}

static const char *kick_width(uint64_t width)
{
	EXPECT_OK(victim_start(0));
	for (unsigned i = 0; i < 50; i++)
		bar_write(NOTIFY + i % 16 * 4, (unsigned)width, ~0ull);
	return victim_good_request();
}

static const char *bar_sweep(uint64_t value)
{
	EXPECT_OK(victim_start(0));
	for (uint32_t at = 0; at < BAR_SIZE; at += at % 0x1000 < 0x20 ? 1 : 0x7f1) {
		for (unsigned width = 1; width <= 8; width *= 2) {
			bar_write(at, width, value);
			(void)bar_read(at, width);
		}
	}
	restore();
	return NULL;
}

static const char *config_sweep(uint64_t value)
{
	EXPECT_OK(victim_start(0));
	for (unsigned at = 0; at < 256; at += 1 + at % 3) {
		for (unsigned width = 1; width <= 4; width *= 2) {
			pci_write(victim_pci()->slot, at, width, (uint32_t)value);
			(void)pci_read(victim_pci()->slot, at, width);
		}
	}
	restore();
	return NULL;
}

static uint32_t pick(uint32_t n)
{
	return (uint32_t)random_next(&random_state) % n;
}

/* Any order of configuration, table and common writes. */
static const char *random_pci(uint64_t seed)
{
	static const uint16_t config[] = { 0x04, 0x06, 0x10, 0x12, 0x14, 0x42, 0x43, 0x9c, 0xa0,
					   0xa4, 0xa8, 0x3c, 0x0c };
	unsigned slot = victim_pci()->slot;

	random_state = seed;
	EXPECT_OK(victim_start(0));
	for (unsigned i = 0; i < 600; i++) {
		uint32_t value = pick(3) ? pick(8) : (uint32_t)random_next(&random_state);
		uint32_t offset;

		switch (pick(4)) {
		case 0:
			pci_write(slot, config[pick(ARRAY_LEN(config))], 1u << pick(3), value);
			break;
		case 1:
			bar_write(TABLE + pick(80) * 4, 4, value);
			break;
		case 2: /* ring addresses stay out of the probe's own memory */
			offset = pick(0x38);
			bar_write(COMMON + offset, offset < 0x20 ? 1u << pick(3) : 4,
				  offset < 0x20 ? value : value | 0x80000000u);
			break;
		default:
			(void)bar_read(pick(BAR_SIZE / 8) * 8, 1u << pick(4));
			break;
		}
		if (i % 64 == 63)
			restore();
	}
	restore();
	return NULL;
}

static void hostile_pci_tables(void)
{
	for (unsigned i = 0; i < ARRAY_LEN(read_only); i++)
		hostile_case(config_is_read_only, i, "PCI 6.1, row 14", "pci, written: %s",
			     read_only[i].name);
	for (unsigned i = 0; i < ARRAY_LEN(places); i++)
		hostile_case(place, i, "PCI 6.2.5, row 3", "pci, BAR %s", places[i].name);
	for (unsigned i = 0; i < ARRAY_LEN(windows); i++)
		hostile_case(window, i, "4.1.4.9, row 3", "pci, window: %s", windows[i].name);
	for (unsigned i = 0; i < ARRAY_LEN(accesses); i++)
		hostile_case(access, i, "4.1.3.1, row 14", "pci, %s", accesses[i].name);
}

static void hostile_msix(void)
{
	for (unsigned width = 1; width <= 2; width++)
		hostile_case(table_width, width, "PCI 6.8.2", "pci, MSI-X table by %u bytes", width);
	hostile_case(table_reserved, 0, "PCI 6.8.2", "pci, reserved bits of the MSI-X table");
	hostile_case(table_end, 0, "PCI 6.8.2, row 3", "pci, behind the MSI-X table");
	for (unsigned width = 1; width <= 8; width *= 2)
		hostile_case(pending_is_read_only, width, "PCI 6.8.2",
			     "pci, pending bits are written by %u bytes", width);
	hostile_case(message_elsewhere, 0, "PCI 6.8.3.1", "pci, message to address 0");
	hostile_case(message_elsewhere, 1, "PCI 6.8.3.1", "pci, message to RAM");
	hostile_case(message_elsewhere, 0xfec00000, "PCI 6.8.3.1", "pci, message to the I/O APIC");
	hostile_case(message_elsewhere, 0x1fee00000, "PCI 6.8.3.1", "pci, message above 4 GiB");
	hostile_case(message_elsewhere, 0xfeeff000, "PCI 6.8.3.1", "pci, message to an absent CPU");
	hostile_case(vector_of, victim_pci()->n_vectors, "4.1.5.1.2", "pci, the vector behind the last");
	hostile_case(vector_of, 0x7ff, "4.1.5.1.2", "pci, vector 0x7ff");
	hostile_case(vector_of, 0x8000, "4.1.5.1.2", "pci, vector 0x8000");
	hostile_case(vector_of, 0xfffe, "4.1.5.1.2", "pci, vector 0xfffe");
	hostile_case(vector_of_no_queue, 60, "4.1.4.3, row 2", "pci, queue 60");
	hostile_case(vector_of_no_queue, 0xffff, "4.1.4.3, row 2", "pci, queue 0xffff");
	hostile_case(mask_storm, 0, "PCI 6.8.3.5", "pci, vectors move on and on");
	hostile_case(needs_reset_is_told, 0, "2.1.2", "pci, DEVICE_NEEDS_RESET has a message");
	hostile_case(no_bus_master, 0, "PCI 6.2.2", "pci, no message without bus mastering");
}

void hostile_pci(void)
{
	static const char *const load[] = { "memory decoding", "the BAR", "the function mask",
					    "bus mastering" };
	uint64_t seed = boot_option_number("seed", 1);

	victim.blk.dev = discover_nth(VIRTIO_ID_BLK, 0);
	if (!victim_pci()->is_pci || victim_pci()->bar < WINDOW || victim_pci()->bar >= PCI_ECAM)
		return;
	home = victim_pci()->bar;
	hostile_pci_tables();
	hostile_msix();
	hostile_case(command_bits, 0, "PCI 6.2.2", "pci, reserved bits of the command");
	hostile_case(ecam_odd, 0x400 | 0x02, "PCI 6.1", "pci, ECAM, 32 bits across a word");
	hostile_case(ecam_odd, 0x200 | 0x03, "PCI 6.1", "pci, ECAM, 16 bits across a word");
	hostile_case(ecam_odd, 0x800, "PCI 6.1", "pci, ECAM, 64 bits");
	hostile_case(ecam_odd, 0x800 | 0x10, "PCI 6.1", "pci, ECAM, 64 bits at the BAR");
	hostile_case(ports_odd, 0, "PCI 3.2.2.3.2", "pci, ports 0xcf8 and 0xcfc misused");
	hostile_case(other_functions, 0, "PCI 6.1", "pci, functions that do not exist are written");
	hostile_case(on_each_other, 0, "PCI 6.2.5", "pci, BAR on the neighbour's");
	hostile_case(on_each_other, 1, "PCI 6.2.5", "pci, the neighbour's BAR on this one");
	hostile_case(half_moved, 0, "PCI 6.2.5", "pci, BAR written with decoding on");
	for (unsigned i = 0; i < ARRAY_LEN(load); i++)
		hostile_case(under_load, i, "PCI 6.2.2, row 10", "pci, %s changes under load", load[i]);
	for (unsigned width = 1; width <= 4; width *= 2)
		hostile_case(window_sweep, width, "4.1.4.9", "pci, window, all of the BAR by %u", width);
	hostile_case(window_resets, 0, "4.1.4.9", "pci, reset through the window");
	for (uint64_t at = PCI_QUEUE_SIZE; at <= PCI_QUEUE_DEVICE + 4; at += 4)
		hostile_case(frozen, at, "4.1.4.3.2, row 3", "pci, queue field 0x%x after DRIVER_OK",
			     (unsigned)at);
	hostile_case(isr_is_read_only, 0, "4.1.4.5", "pci, ISR is written");
	for (unsigned width = 1; width <= 8; width *= 2)
		hostile_case(kick_width, width, "4.1.5.2", "pci, kicks of %u bytes", width);
	hostile_case(bar_sweep, 0, "4.1.3.1, row 14", "pci, all of the BAR, value 0");
	hostile_case(bar_sweep, ~0ull, "4.1.3.1, row 14", "pci, all of the BAR, all ones");
	hostile_case(config_sweep, ONES, "PCI 6.1", "pci, all of the configuration, all ones");
	for (unsigned i = 0; i < 4; i++)
		hostile_case(random_pci, seed + i, "PCI 6, 4.1", "pci, random registers, seed %lu",
			     seed + i);
}
