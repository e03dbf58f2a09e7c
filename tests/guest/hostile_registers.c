/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-mmio registers of the wrong width, place or kind, VIRTIO 1.2 §4.2.2.2: without effect.
 * Each case runs on a started device whose state must be the same afterwards.
 */
#include "hostile.h"

struct snapshot {
	uint32_t values[9];
};

static uint64_t registers(void)
{
	return victim.blk.dev->mmio;
}

static void snapshot_take(struct snapshot *s)
{
	static const uint32_t readable[] = {
		MMIO_MAGIC, MMIO_VERSION, MMIO_DEVICE_ID, MMIO_VENDOR_ID, MMIO_DEVICE_FEATURES,
		MMIO_QUEUE_NUM_MAX, MMIO_QUEUE_READY, MMIO_STATUS, MMIO_CONFIG_GENERATION,
	};

	for (unsigned i = 0; i < ARRAY_LEN(readable); i++)
		s->values[i] = mmio_read32(registers() + readable[i]);
}

static void register_write(uint64_t at, unsigned width, uint64_t value)
{
	switch (width) {
	case 1:
		mmio_write8(at, (uint8_t)value);
		break;
	case 2:
		mmio_write16(at, (uint16_t)value);
		break;
	case 4:
		mmio_write32(at, (uint32_t)value);
		break;
	default:
		mmio_write64(at, value);
		break;
	}
}

static uint64_t register_read(uint64_t at, unsigned width)
{
	switch (width) {
	case 1:
		return mmio_read8(at);
	case 2:
		return mmio_read16(at);
	case 4:
		return mmio_read32(at);
	default:
		return mmio_read64(at);
	}
}

struct register_case {
	const char *name;
	uint32_t offset;
	unsigned width;
	uint64_t value;
};

/* Writes that must not change anything. */
static const struct register_case write_cases[] = {
	{ "MagicValue is written", MMIO_MAGIC, 4, 0 },
	{ "Version is written", MMIO_VERSION, 4, 1 },
	{ "DeviceID is written", MMIO_DEVICE_ID, 4, 1 },
	{ "VendorID is written", MMIO_VENDOR_ID, 4, 0 },
	{ "DeviceFeatures is written", MMIO_DEVICE_FEATURES, 4, 0xffffffff },
	{ "QueueNumMax is written", MMIO_QUEUE_NUM_MAX, 4, 1 },
	{ "InterruptStatus is written", MMIO_INTERRUPT_STATUS, 4, 3 },
	{ "ConfigGeneration is written", MMIO_CONFIG_GENERATION, 4, 77 },
	{ "SHMLenLow is written", MMIO_SHM_LEN_LOW, 4, 0 },
	{ "QueueReset is written, not offered", 0x0c0, 4, 1 },
	{ "GuestPageSize of the legacy interface", 0x028, 4, 4096 },
	{ "QueueAlign of the legacy interface", 0x03c, 4, 4096 },
	{ "QueuePFN of the legacy interface", 0x040, 4, 0x1000 },
	{ "reserved 0x048", 0x048, 4, 1 },
	{ "reserved 0x054", 0x054, 4, 0xffffffff },
	{ "reserved 0x074", 0x074, 4, 0 },
	{ "reserved 0x0f8", 0x0f8, 4, 0xffffffff },
	{ "Status 0 as a byte", MMIO_STATUS, 1, 0 },
	{ "Status 0 as 16 bits", MMIO_STATUS, 2, 0 },
	{ "Status 0 as 64 bits", MMIO_STATUS, 8, 0 },
	{ "Status, second byte", MMIO_STATUS + 1, 1, 0 },
	{ "Status, upper half", MMIO_STATUS + 2, 2, 0 },
	{ "32 bits across Status", MMIO_STATUS - 2, 4, 0 },
	{ "64 bits up to Status", MMIO_STATUS - 4, 8, 0 },
	{ "QueueReady 0 as a byte", MMIO_QUEUE_READY, 1, 0 },
	{ "QueueReady 0 as 16 bits", MMIO_QUEUE_READY, 2, 0 },
	{ "QueueNum as 16 bits", MMIO_QUEUE_NUM, 2, 8 },
	{ "QueueNum as 64 bits", MMIO_QUEUE_NUM, 8, 8 },
	{ "QueueDesc as 64 bits", MMIO_QUEUE_DESC_LOW, 8, 0x1000 },
	{ "QueueDriver as 64 bits", MMIO_QUEUE_DRIVER_LOW, 8, 0x1000 },
	{ "QueueDevice as 64 bits", MMIO_QUEUE_DEVICE_LOW, 8, 0x1000 },
	{ "QueueSel as a byte", MMIO_QUEUE_SEL, 1, 1 },
	{ "QueueSel as 16 bits", MMIO_QUEUE_SEL, 2, 1 },
	{ "QueueSel as 64 bits", MMIO_QUEUE_SEL, 8, 1 },
	{ "QueueSel misaligned", MMIO_QUEUE_SEL + 1, 4, 1 },
	{ "DeviceFeaturesSel as a byte", MMIO_DEVICE_FEATURES_SEL, 1, 7 },
	{ "DriverFeatures as 16 bits", MMIO_DRIVER_FEATURES, 2, 0xffff },
	{ "InterruptACK as a byte", MMIO_INTERRUPT_ACK, 1, 3 },
	{ "InterruptACK of undefined bits", MMIO_INTERRUPT_ACK, 4, 0xfffffffc },
	{ "DriverFeatures after DRIVER_OK", MMIO_DRIVER_FEATURES, 4, 0 },
	{ "SHMSel of a region that does not exist", MMIO_SHM_SEL, 4, 255 },
};

static const char *write_run(uint64_t i)
{
	const struct register_case *c = &write_cases[i];
	struct snapshot before, after;

	if (victim.blk.dev->is_pci)
		return tap_skip("virtio-mmio only");
	EXPECT_OK(victim_start(0));
	mmio_write32(registers() + MMIO_QUEUE_SEL, 0);
	snapshot_take(&before);
	register_write(registers() + c->offset, c->width, c->value);
	snapshot_take(&after);
	for (unsigned r = 0; r < ARRAY_LEN(before.values); r++)
		EXPECT(before.values[r] == after.values[r], "register %u: 0x%x became 0x%x", r,
		       before.values[r], after.values[r]);
	return victim_good_request();
}

/* Reads whose answer is 0. */
static const struct register_case read_cases[] = {
	{ "MagicValue as a byte", MMIO_MAGIC, 1, 0 },
	{ "MagicValue as 16 bits", MMIO_MAGIC, 2, 0 },
	{ "MagicValue as 64 bits", MMIO_MAGIC, 8, 0 },
	{ "Version and DeviceID misaligned", MMIO_VERSION + 2, 4, 0 },
	{ "Status as a byte", MMIO_STATUS, 1, 0 },
	{ "Status as 16 bits", MMIO_STATUS, 2, 0 },
	{ "Status as 64 bits", MMIO_STATUS, 8, 0 },
	{ "InterruptStatus as a byte", MMIO_INTERRUPT_STATUS, 1, 0 },
	{ "ConfigGeneration as a byte", MMIO_CONFIG_GENERATION, 1, 0 },
	{ "QueueReady as 64 bits", MMIO_QUEUE_READY, 8, 0 },
	{ "DriverFeatures, write-only", MMIO_DRIVER_FEATURES, 4, 0 },
	{ "QueueNum, write-only", MMIO_QUEUE_NUM, 4, 0 },
	{ "QueueNotify, write-only", MMIO_QUEUE_NOTIFY, 4, 0 },
	{ "InterruptACK, write-only", MMIO_INTERRUPT_ACK, 4, 0 },
	{ "QueueDescLow, write-only", MMIO_QUEUE_DESC_LOW, 4, 0 },
	{ "QueueDeviceHigh, write-only", MMIO_QUEUE_DEVICE_HIGH, 4, 0 },
	{ "reserved 0x01c", 0x01c, 4, 0 },
	{ "reserved 0x05c", 0x05c, 4, 0 },
	{ "reserved 0x07c", 0x07c, 4, 0 },
};

static const char *read_run(uint64_t i)
{
	const struct register_case *c = &read_cases[i];
	uint64_t value;

	if (victim.blk.dev->is_pci)
		return tap_skip("virtio-mmio only");
	EXPECT_OK(victim_start(0));
	value = register_read(registers() + c->offset, c->width);
	EXPECT(value == 0, "0x%lx", value);
	return victim_good_request();
}

/* Kicks of other widths than the 32 bits of §4.2.2: KVM or the VMM drops them. */
static const char *kick_width(uint64_t width)
{
	if (victim.blk.dev->is_pci)
		return tap_skip("virtio-mmio only");
	EXPECT_OK(victim_start(0));
	for (unsigned i = 0; i < 50; i++)
		register_write(registers() + MMIO_QUEUE_NOTIFY, (unsigned)width, 0);
	return victim_good_request();
}

/* Every offset, width and several values: the device survives and comes back. */
static const char *sweep(uint64_t value)
{
	if (victim.blk.dev->is_pci)
		return tap_skip("virtio-mmio only");
	EXPECT_OK(victim_start(0));
	for (uint32_t at = 0; at < 0x200; at++) {
		for (unsigned width = 1; width <= 8; width *= 2) {
			register_write(registers() + at, width, value);
			(void)register_read(registers() + at, width);
		}
	}
	return NULL;
}

static const char *acknowledge_nothing(uint64_t unused)
{
	(void)unused;
	if (victim.blk.dev->is_pci)
		return tap_skip("virtio-mmio only");
	EXPECT_OK(victim_start(0));
	for (unsigned i = 0; i < 100; i++)
		mmio_write32(registers() + MMIO_INTERRUPT_ACK, 0xffffffff);
	EXPECT(vdev_interrupt(victim.blk.dev) == 0, "status 0x%x",
	       vdev_interrupt(victim.blk.dev));
	return victim_good_request();
}

/* Slots without a device read as nothing and swallow writes. */
static const char *empty_slot(uint64_t slot)
{
	uint64_t at = 0xd0000000 + slot * 0x1000;

	if (victim.blk.dev->is_pci || registers() < 0xd0000000 || registers() >= 0xd0010000)
		return tap_skip("no fixed slots");
	EXPECT(mmio_read32(at + MMIO_DEVICE_ID) == 0 ||
		       mmio_read32(at + MMIO_MAGIC) != MMIO_MAGIC_VALUE,
	       "slot %lu holds a device", slot);
	for (uint32_t reg = 0; reg < 0x110; reg += 4)
		mmio_write32(at + reg, 1);
	EXPECT_OK(victim_start(0));
	return victim_good_request();
}

void hostile_registers(void)
{
	for (unsigned i = 0; i < ARRAY_LEN(write_cases); i++)
		hostile_case(write_run, i, "4.2.2.2, row 14", "register write, %s",
			     write_cases[i].name);
	for (unsigned i = 0; i < ARRAY_LEN(read_cases); i++)
		hostile_case(read_run, i, "4.2.2.2, row 14", "register read, %s",
			     read_cases[i].name);
	hostile_case(kick_width, 1, "4.2.2.2", "kicks as bytes");
	hostile_case(kick_width, 2, "4.2.2.2", "kicks as 16 bits");
	hostile_case(kick_width, 8, "4.2.2.2", "kicks as 64 bits");
	hostile_case(sweep, 0, "4.2.2.2, row 14", "all offsets and widths, value 0");
	hostile_case(sweep, 1, "4.2.2.2, row 14", "all offsets and widths, value 1");
	hostile_case(sweep, ~0ull, "4.2.2.2, row 14", "all offsets and widths, all ones");
	hostile_case(acknowledge_nothing, 0, "4.2.2", "acknowledge without an interrupt");
	hostile_case(empty_slot, 9, "4.2.2", "a slot without a device");
	hostile_case(empty_slot, 15, "4.2.2", "the last slot, without a device");
}
