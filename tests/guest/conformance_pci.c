/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conformance of PCI and MSI-X: a driver that keeps to PCI Local Bus 3.0 and VIRTIO 1.2 §4.1. Every
 * case leaves BAR, command and MSI-X as it found them.
 */
#include "conformance.h"
#include "pci.h"

#define LAPIC_SPURIOUS (LAPIC_BASE + 0xf0)
#define INTERRUPT_A 0x42
#define INTERRUPT_B 0x43
#define STATUS_CAPABILITIES 0x10
#define CAPABILITY_VENDOR 0x09
#define RUNNING (PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER)

static uint32_t count_of(uint8_t interrupt)
{
	return *(volatile uint32_t *)&interrupt_counts[interrupt];
}

/* Does the count leave @before? */
static bool arrives(uint8_t interrupt, uint32_t before)
{
	uint64_t deadline = time_deadline(TIMEOUT_REQUEST);

	while (count_of(interrupt) == before) {
		if (time_passed(deadline))
			return false;
	}
	return true;
}

static uint16_t common16(unsigned offset)
{
	return mmio_read16(disk->common + offset);
}

static uint16_t set_vector(unsigned offset, uint16_t vector)
{
	mmio_write16(disk->common + offset, vector);
	return common16(offset);
}

/* A started disk whose queue 0 has vector 1, at INTERRUPT_A. MSI-X is on when it returns. */
static const char *msix_start(struct blk *blk, uint64_t features)
{
	uint16_t size;

	if (!disk->msix || disk->n_vectors < 2)
		return tap_skip("no MSI-X");
	port_out8(0x21, 0xff);
	port_out8(0xa1, 0xff);
	mmio_write32(LAPIC_SPURIOUS, 0x1ff);
	msix_control(disk, MSIX_ENABLE);
	msix_set(disk, 1, INTERRUPT_A, false);
	EXPECT(vdev_start(disk, features), "no start");
	size = vdev_queue_max(disk, 0);
	vdev_select(disk, 0);
	EXPECT(set_vector(PCI_QUEUE_MSIX_VECTOR, 1) == 1, "vector 1 is not taken");
	*blk = (struct blk){ .dev = disk };
	vq_make(&blk->vq, disk, 0, size < 16 ? size : 16);
	vq_enable(&blk->vq);
	blk->header = memory_alloc(sizeof(*blk->header), 16);
	blk->status = memory_alloc(1, 1);
	vdev_driver_ok(disk);
	cpu_interrupts_on();
	return NULL;
}

static const char *msix_end(const char *result)
{
	cpu_interrupts_off();
	vdev_reset(disk);
	pci_set_command(disk, RUNNING);
	for (unsigned i = 0; i < disk->n_vectors; i++)
		msix_mask(disk, i, true);
	msix_control(disk, 0);
	return result;
}

/* Runs what it is given between msix_start() and msix_end(). */
static const char *msix_case(uint64_t argument)
{
	const char *(*run)(struct blk *) = (const char *(*)(struct blk *))argument;
	struct blk blk;

	EXPECT_OK(msix_start(&blk, 0));
	return msix_end(run(&blk));
}

/* ---- configuration space ---- */

static const char *identity(uint64_t unused)
{
	(void)unused;
	EXPECT(pci_read(disk->slot, 0, 4) == 0x10421af4, "0x%x", pci_read(disk->slot, 0, 4));
	EXPECT(pci_read(disk->slot, 8, 1) >= 1, "revision %u", pci_read(disk->slot, 8, 1));
	EXPECT((pci_read(disk->slot, 0x0e, 1) & 0x7f) == 0, "header type");
	EXPECT(pci_read(disk->slot, 6, 2) & STATUS_CAPABILITIES, "no capabilities");
	EXPECT(pci_read(disk->slot, 0x2e, 2) >= 0x40, "subsystem 0x%x",
	       pci_read(disk->slot, 0x2e, 2));
	return NULL;
}

static const char *widths(uint64_t width)
{
	for (unsigned at = 0; at < 256; at += 4) {
		uint32_t whole = pci_read(disk->slot, at, 4), parts = 0;

		for (unsigned i = 0; i < 4; i += (unsigned)width)
			parts |= pci_read(disk->slot, at + i, (unsigned)width) << 8 * i;
		EXPECT(parts == whole, "offset 0x%x: 0x%x, by parts 0x%x", at, whole, parts);
	}
	return NULL;
}

static const char *ecam(uint64_t width)
{
	uint64_t at = PCI_ECAM + (disk->slot << 15);

	if (mmio_read32(at) != pci_read(disk->slot, 0, 4))
		return tap_skip("the place of ECAM is not known");
	for (unsigned i = 0; i < 256; i += (unsigned)width) {
		uint32_t value = width == 1 ? mmio_read8(at + i) :
				 width == 2 ? mmio_read16(at + i) : mmio_read32(at + i);

		EXPECT(value == pci_read(disk->slot, i, (unsigned)width), "offset 0x%x: 0x%x", i,
		       value);
	}
	for (unsigned i = 256; i < 4096; i += 4)
		EXPECT(mmio_read32(at + i) == 0, "offset 0x%x: an extended capability", i);
	return NULL;
}

static const char *absent(uint64_t bus_device_function)
{
	port_out32(PCI_CONFIG_ADDRESS, (uint32_t)(0x80000000u | bus_device_function << 8));
	EXPECT(port_in32(PCI_CONFIG_DATA) == 0xffffffff, "0x%x", port_in32(PCI_CONFIG_DATA));
	port_out32(PCI_CONFIG_DATA, 0);
	return NULL;
}

static const char *list_ends(uint64_t unused)
{
	unsigned n = 0;

	(void)unused;
	for (unsigned at = pci_read(disk->slot, 0x34, 1); at; n++) {
		EXPECT(at >= 0x40 && at % 4 == 0, "capability at 0x%x", at);
		EXPECT(n < 48, "the list is a loop");
		at = pci_read(disk->slot, at + 1, 1);
	}
	EXPECT(n >= 6, "%u capabilities", n);
	return NULL;
}

/* Structures lie in a BAR that exists, each with its least length (§4.1.4). */
static const char *capability(uint64_t type)
{
	static const uint32_t least[] = { 0, 0x38, 2, 1, 1, 0 };

	for (unsigned at = pci_read(disk->slot, 0x34, 1); at; at = pci_read(disk->slot, at + 1, 1)) {
		if (pci_read(disk->slot, at, 1) != CAPABILITY_VENDOR ||
		    pci_read(disk->slot, at + 3, 1) != type)
			continue;
		EXPECT(pci_read(disk->slot, at + 2, 1) >= (type == 2 || type == 5 ? 20 : 16),
		       "capability of %u bytes", pci_read(disk->slot, at + 2, 1));
		EXPECT(pci_read(disk->slot, at + 12, 4) >= least[type], "length %u",
		       pci_read(disk->slot, at + 12, 4));
		EXPECT(type == 5 || pci_bar(disk->slot, pci_read(disk->slot, at + 4, 1)),
		       "no BAR");
		return NULL;
	}
	return tap_fail("not there");
}

static const char *bar_sizing(uint64_t unused)
{
	uint64_t at = disk->bar, mask;
	unsigned bar = PCI_BAR0;

	(void)unused;
	while (bar < 0x24 && pci_bar(disk->slot, (bar - PCI_BAR0) / 4) != at)
		bar += 4;
	pci_set_command(disk, 0);
	pci_write(disk->slot, bar, 4, 0xffffffff);
	pci_write(disk->slot, bar + 4, 4, 0xffffffff);
	mask = (uint64_t)pci_read(disk->slot, bar + 4, 4) << 32 |
	       (pci_read(disk->slot, bar, 4) & ~0xfu);
	EXPECT((pci_read(disk->slot, bar, 4) & 7) == 4, "not 64 bits of memory");
	pci_write(disk->slot, bar, 4, (uint32_t)at);
	pci_write(disk->slot, bar + 4, 4, (uint32_t)(at >> 32));
	pci_set_command(disk, RUNNING);
	EXPECT(mask && ((~mask + 1) & ~mask) == 0 && ~mask + 1 >= 0x1000, "mask 0x%lx", mask);
	EXPECT(pci_bar(disk->slot, (bar - PCI_BAR0) / 4) == at, "the BAR does not come back");
	return disk_restart_works(disk, 0);
}

/* The BAR goes elsewhere while a driver uses the disk; notifications follow it. */
static const char *bar_moves(uint64_t at)
{
	uint64_t home = disk->bar;
	const char *result;
	struct blk blk;

	if (home < PCI_ECAM - (128 << 20) || home >= PCI_ECAM)
		return tap_skip("where BARs may be is not known");
	EXPECT(blk_start(&blk, disk, 0, 16), "no start");
	for (unsigned i = 0; i < 3; i++) {
		pci_move(disk, at);
		result = disk_read_works(&blk);
		if (!result && mmio_read32(home) != 0xffffffff)
			result = tap_fail("the old place reads 0x%x", mmio_read32(home));
		pci_move(disk, home);
		if (!result)
			result = disk_read_works(&blk);
		EXPECT_OK(result);
	}
	return NULL;
}

static const char *memory_off(uint64_t unused)
{
	struct blk blk;
	uint32_t value;

	(void)unused;
	EXPECT(blk_start(&blk, disk, 0, 16), "no start");
	pci_set_command(disk, PCI_COMMAND_MASTER);
	value = mmio_read32(disk->common);
	mmio_write8(disk->common + PCI_DEVICE_STATUS, 0); /* reaches nobody */
	pci_set_command(disk, RUNNING);
	EXPECT(value == 0xffffffff, "reads 0x%x", value);
	EXPECT(vdev_status(disk) & STATUS_DRIVER_OK, "the session is lost");
	return disk_read_works(&blk);
}

static const char *window_reads(uint64_t width)
{
	static const uint32_t offsets[] = { 0, PCI_DEVICE_STATUS, PCI_NUM_QUEUES, 0, 0 };
	uint32_t base = (uint32_t)(disk->common - disk->bar);
	uint32_t offset = base + offsets[width];
	uint64_t data = window_offset(disk, (unsigned)width, offset), at = disk->bar + offset;
	uint32_t value = width == 1 ? mmio_read8(at) : width == 2 ? mmio_read16(at)
								  : mmio_read32(at);

	EXPECT(pci_read(disk->slot, (unsigned)data, (unsigned)width) == value, "0x%x, not 0x%x",
	       pci_read(disk->slot, (unsigned)data, (unsigned)width), value);
	return NULL;
}

static const char *window_writes(uint64_t unused)
{
	uint32_t offset = (uint32_t)(disk->common - disk->bar) + PCI_QUEUE_SELECT;

	(void)unused;
	for (uint16_t i = 5; i < 8; i++) {
		pci_write(disk->slot, (unsigned)window_offset(disk, 2, offset), 2, i);
		EXPECT(common16(PCI_QUEUE_SELECT) == i, "%u, not %u", common16(PCI_QUEUE_SELECT), i);
	}
	return NULL;
}

/* ---- common configuration ---- */

static const char *queue_fields(uint64_t unused)
{
	uint16_t n = common16(PCI_NUM_QUEUES);

	(void)unused;
	EXPECT(vdev_reset(disk), "no reset");
	for (uint16_t i = 0; i < n; i++) {
		uint16_t size = vdev_queue_max(disk, i);

		EXPECT(size && !(size & (size - 1)), "queue %u has size %u", i, size);
		EXPECT(common16(PCI_QUEUE_ENABLE) == 0, "queue %u is enabled", i);
		EXPECT(common16(PCI_QUEUE_MSIX_VECTOR) == PCI_NO_VECTOR, "queue %u: vector", i);
	}
	EXPECT(vdev_queue_max(disk, n) == 0, "queue %u exists", n);
	EXPECT(common16(PCI_QUEUE_ENABLE) == 0, "and is enabled");
	EXPECT(common16(PCI_CONFIG_MSIX_VECTOR) == PCI_NO_VECTOR, "configuration vector");
	return NULL;
}

static const char *queue_size_chosen(uint64_t unused)
{
	struct blk blk;

	(void)unused;
	EXPECT(blk_start(&blk, disk, 0, 8), "no start");
	EXPECT(vdev_queue_max(disk, 0) == 8, "the chosen size reads %u", vdev_queue_max(disk, 0));
	EXPECT(vdev_reset(disk), "no reset");
	EXPECT(vdev_queue_max(disk, 0) > 8, "after a reset %u", vdev_queue_max(disk, 0));
	return NULL;
}

static const char *notify_width(uint64_t width)
{
	struct blk blk;

	EXPECT(blk_start(&blk, disk, 0, 16), "no start");
	for (unsigned i = 0; i < 3; i++) {
		struct vring_used_elem elem;
		const struct part parts[] = { { blk.header, sizeof(*blk.header), false },
					      { blk.status, 1, true } };
		uint64_t at;

		*blk.header = (struct blk_header){ .type = BLK_FLUSH };
		vq_chain(&blk.vq, 0, parts, 2);
		vq_push(&blk.vq, 0);
		vdev_select(disk, 0);
		at = disk->notify + (uint64_t)common16(PCI_QUEUE_NOTIFY_OFF) * disk->notify_multiplier;
		if (width == 2)
			mmio_write16(at, 0);
		else
			mmio_write32(at, 0);
		EXPECT(vq_wait(&blk.vq, TIMEOUT_REQUEST, &elem), "no answer to kick %u", i);
	}
	return NULL;
}

static const char *vector_read_back(uint64_t vector)
{
	EXPECT(vdev_reset(disk), "no reset");
	vdev_select(disk, 0);
	EXPECT(set_vector(PCI_QUEUE_MSIX_VECTOR, (uint16_t)vector) == vector, "queue");
	EXPECT(set_vector(PCI_CONFIG_MSIX_VECTOR, (uint16_t)vector) == vector, "configuration");
	EXPECT(vdev_reset(disk), "no reset");
	vdev_select(disk, 0);
	EXPECT(common16(PCI_QUEUE_MSIX_VECTOR) == PCI_NO_VECTOR, "the queue's survives a reset");
	EXPECT(common16(PCI_CONFIG_MSIX_VECTOR) == PCI_NO_VECTOR, "the configuration's does");
	return NULL;
}

/* ---- MSI-X ---- */

static const char *table_is_masked(uint64_t unused)
{
	(void)unused;
	EXPECT(disk->msix && disk->n_vectors >= common16(PCI_NUM_QUEUES) + 1u, "%u vectors for %u",
	       disk->n_vectors, common16(PCI_NUM_QUEUES));
	for (unsigned i = 0; i < disk->n_vectors; i++)
		EXPECT(mmio_read32(disk->table + 16 * i + 12) & 1, "vector %u", i);
	return NULL;
}

static const char *messages_arrive(struct blk *blk)
{
	for (unsigned i = 0; i < 5; i++) {
		uint32_t before = count_of(INTERRUPT_A);

		EXPECT_OK(disk_read_works(blk));
		EXPECT(arrives(INTERRUPT_A, before), "none after request %u", i);
		EXPECT(count_of(INTERRUPT_A) == before + 1, "%u after one request",
		       count_of(INTERRUPT_A) - before);
	}
	return NULL;
}

static bool becomes_pending(void)
{
	uint64_t deadline = time_deadline(TIMEOUT_REQUEST);

	while (!msix_is_pending(disk, 1)) {
		if (time_passed(deadline))
			return false;
	}
	return true;
}

/* After mask(), a request leaves a pending bit and no interrupt; unmask() sends it, once. */
static const char *held_back(struct blk *blk, void (*mask)(bool))
{
	for (unsigned i = 0; i < 3; i++) {
		uint32_t before;

		mask(true);
		before = count_of(INTERRUPT_A);
		EXPECT(!msix_is_pending(disk, 1), "pending before the request");
		EXPECT_OK(disk_read_works(blk));
		EXPECT(becomes_pending(), "not pending");
		EXPECT(count_of(INTERRUPT_A) == before, "it came though it was masked");
		mask(false);
		EXPECT(arrives(INTERRUPT_A, before), "not sent when it was unmasked");
		EXPECT(!msix_is_pending(disk, 1), "still pending");
		EXPECT(count_of(INTERRUPT_A) == before + 1, "sent %u times",
		       count_of(INTERRUPT_A) - before);
	}
	return messages_arrive(blk);
}

static void mask_vector(bool on)
{
	msix_mask(disk, 1, on);
}

static void mask_function(bool on)
{
	msix_control(disk, on ? MSIX_ENABLE | MSIX_FUNCTION_MASK : MSIX_ENABLE);
}

static const char *vector_mask(struct blk *blk)
{
	return held_back(blk, mask_vector);
}

static const char *function_mask(struct blk *blk)
{
	return held_back(blk, mask_function);
}

/* As when an operating system moves an interrupt: masked, rewritten, unmasked. */
static const char *vector_moves(struct blk *blk)
{
	for (unsigned i = 0; i < 20; i++) {
		uint8_t to = i % 2 ? INTERRUPT_A : INTERRUPT_B;
		uint32_t before = count_of(to);

		msix_mask(disk, 1, true);
		if (i % 4 < 2)
			EXPECT_OK(disk_read_works(blk));
		msix_set(disk, 1, to, false);
		if (i % 4 >= 2)
			EXPECT_OK(disk_read_works(blk));
		EXPECT(arrives(to, before), "lost at move %u", i);
	}
	return NULL;
}

/* A queue's vector may be another one later; nothing is lost on the way. */
static const char *queue_changes_vector(struct blk *blk)
{
	uint32_t before = count_of(INTERRUPT_B);

	msix_set(disk, 0, INTERRUPT_B, false);
	vdev_select(disk, 0);
	EXPECT(set_vector(PCI_QUEUE_MSIX_VECTOR, 0) == 0, "not taken");
	EXPECT_OK(disk_read_works(blk));
	EXPECT(arrives(INTERRUPT_B, before), "not at the new vector");
	EXPECT(set_vector(PCI_QUEUE_MSIX_VECTOR, PCI_NO_VECTOR) == PCI_NO_VECTOR, "not given up");
	before = count_of(INTERRUPT_B);
	EXPECT_OK(disk_read_works(blk));
	time_sleep(2);
	EXPECT(count_of(INTERRUPT_B) == before, "it comes without a vector");
	return NULL;
}

static const char *no_interrupt_flag(struct blk *blk)
{
	uint32_t before;

	EXPECT_OK(messages_arrive(blk));
	blk->vq.avail->flags = AVAIL_NO_INTERRUPT;
	before = count_of(INTERRUPT_A);
	EXPECT_OK(disk_read_works(blk));
	time_sleep(2);
	EXPECT(count_of(INTERRUPT_A) == before, "it comes though nobody wants it");
	return NULL;
}

static const char *msix_off(struct blk *blk)
{
	uint32_t before = count_of(INTERRUPT_A);

	msix_control(disk, 0);
	EXPECT_OK(disk_read_works(blk));
	time_sleep(2);
	EXPECT(count_of(INTERRUPT_A) == before, "a message without MSI-X");
	return NULL;
}

#define MSIX_CASE(run, name) tap_case(msix_case, (uint64_t)(run), "pci, " name)

void conformance_pci(void)
{
	if (!disk->is_pci)
		return;
	tap_case(identity, 0, "pci, identity (4.1.2)");
	tap_case(widths, 1, "pci, configuration by bytes (PCI 6.1)");
	tap_case(widths, 2, "pci, configuration by 16 bits (PCI 6.1)");
	tap_case(ecam, 1, "pci, ECAM by bytes");
	tap_case(ecam, 2, "pci, ECAM by 16 bits");
	tap_case(ecam, 4, "pci, ECAM by 32 bits");
	tap_case(absent, disk->slot << 3 | 1, "pci, no function 1");
	tap_case(absent, 30 << 3, "pci, no device 30");
	tap_case(absent, 200 << 8, "pci, no bus 200");
	tap_case(list_ends, 0, "pci, the list of capabilities ends (PCI 6.7)");
	for (unsigned type = 1; type <= 5; type++)
		tap_case(capability, type, "pci, capability of type %u (4.1.4)", type);
	tap_case(bar_sizing, 0, "pci, the BAR tells its size (PCI 6.2.5.1)");
	tap_case(bar_moves, 0xe4000000, "pci, the BAR moves (PCI 6.2.5)");
	tap_case(bar_moves, 64 * GIB, "pci, the BAR moves above 4 GiB (PCI 6.2.5)");
	tap_case(memory_off, 0, "pci, no memory decoding (PCI 6.2.2)");
	for (unsigned width = 1; width <= 4; width *= 2)
		tap_case(window_reads, width, "pci, configuration window, %u bytes (4.1.4.9)",
			 width);
	tap_case(window_writes, 0, "pci, configuration window, writes (4.1.4.9)");
	tap_case(queue_fields, 0, "pci, queues after a reset (4.1.4.3)");
	tap_case(queue_size_chosen, 0, "pci, the chosen queue size (4.1.4.3)");
	tap_case(notify_width, 2, "pci, notification of 16 bits (4.1.5.2)");
	tap_case(notify_width, 4, "pci, notification of 32 bits (4.1.5.2)");
	tap_case(vector_read_back, 0, "pci, vector 0 is taken and given back (4.1.5.1.2)");
	tap_case(vector_read_back, 1, "pci, vector 1 is taken and given back (4.1.5.1.2)");
	tap_case(table_is_masked, 0, "pci, vectors are masked at first (PCI 6.8.2)");
	MSIX_CASE(messages_arrive, "messages arrive (4.1.5.3)");
	MSIX_CASE(vector_mask, "a masked vector is pending (PCI 6.8.3.4)");
	MSIX_CASE(function_mask, "a masked function is pending (PCI 6.8.3.4)");
	MSIX_CASE(vector_moves, "a vector is moved, nothing is lost (PCI 6.8.3.5)");
	MSIX_CASE(queue_changes_vector, "a queue changes its vector (4.1.5.1.2)");
	MSIX_CASE(no_interrupt_flag, "no message that the driver does not want (2.7.10)");
	MSIX_CASE(msix_off, "no message while MSI-X is off (PCI 6.8.2)");
}
