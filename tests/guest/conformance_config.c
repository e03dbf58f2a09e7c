/* SPDX-License-Identifier: Apache-2.0 */
/* Device configuration space and interrupt status, VIRTIO 1.2 §2.5, §4.2.2, §5.2.4. */
#include "conformance.h"

#define IOAPIC 0xfec00000ull
#define IOAPIC_REDIRECTION 0x10
#define IOAPIC_MASKED 0x10000
#define LAPIC_SPURIOUS (LAPIC_BASE + 0xf0)
#define TEST_VECTOR 0x41

static const char *config_width(uint64_t width)
{
	for (uint64_t at = 0; at + width <= BLK_CONFIG_LEN; at += width) {
		uint32_t bytes = 0, wide;

		for (unsigned i = 0; i < width; i++)
			bytes |= (uint32_t)mmio_read8(disk->config + at + i) << 8 * i;
		wide = width == 1   ? mmio_read8(disk->config + at)
		       : width == 2 ? mmio_read16(disk->config + at)
				    : mmio_read32(disk->config + at);
		EXPECT(wide == bytes, "offset %lu: 0x%x, by bytes 0x%x", at, wide, bytes);
	}
	return NULL;
}

static const char *config_generation(uint64_t unused)
{
	uint8_t generation = vdev_generation(disk);

	(void)unused;
	for (unsigned i = 0; i < 100; i++) {
		blk_capacity(disk);
		EXPECT(vdev_generation(disk) == generation, "changed without a change of config");
	}
	return NULL;
}

/* Fields of features that are offered have values that a driver can use. */
static const char *config_fields(uint64_t unused)
{
	uint64_t offered = vdev_offered(disk);
	uint32_t block = mmio_read32(disk->config + BLK_CONFIG_BLK_SIZE);

	(void)unused;
	EXPECT(blk_capacity(disk) >= 8192, "capacity %lu", blk_capacity(disk));
	if (offered & BLK_F_BLK_SIZE)
		EXPECT(block >= 512 && (block & (block - 1)) == 0, "blk_size %u", block);
	if (offered & BLK_F_SEG_MAX)
		EXPECT(mmio_read32(disk->config + BLK_CONFIG_SEG_MAX), "seg_max 0");
	if (offered & BLK_F_MQ)
		EXPECT(mmio_read16(disk->config + BLK_CONFIG_NUM_QUEUES), "num_queues 0");
	if (offered & BLK_F_DISCARD)
		EXPECT(mmio_read32(disk->config + BLK_CONFIG_MAX_DISCARD_SECTORS) &&
			       mmio_read32(disk->config + BLK_CONFIG_MAX_DISCARD_SEG),
		       "discard limits are 0");
	if (offered & BLK_F_WRITE_ZEROES)
		EXPECT(mmio_read32(disk->config + BLK_CONFIG_MAX_WRITE_ZEROES_SECTORS) &&
			       mmio_read32(disk->config + BLK_CONFIG_MAX_WRITE_ZEROES_SEG),
		       "write zeroes limits are 0");
	return NULL;
}

static const char *config_queues(uint64_t unused)
{
	uint16_t n = 1;

	(void)unused;
	EXPECT(vdev_start(disk, BLK_F_MQ), "no start");
	if (disk->features & BLK_F_MQ)
		n = mmio_read16(disk->config + BLK_CONFIG_NUM_QUEUES);
	for (uint16_t q = 0; q < n; q++) {
		uint16_t max = vdev_queue_max(disk, q);

		EXPECT(max && (max & (max - 1)) == 0, "queue %u has maximum %u", q, max);
	}
	EXPECT(vdev_queue_max(disk, 512) == 0, "queue 512 exists");
	return NULL;
}

static const char *interrupt_status(uint64_t unused)
{
	struct blk blk;

	(void)unused;
	if (disk->is_pci)
		return tap_skip("virtio-mmio only");
	EXPECT(blk_start(&blk, disk, 0, 16), "no start");
	for (unsigned i = 0; i < 3; i++) {
		EXPECT(vdev_interrupt(disk) == 0, "0x%x before request %u", vdev_interrupt(disk),
		       i);
		EXPECT_OK(disk_read_works(&blk));
		EXPECT(interrupt_wait(disk, TIMEOUT_REQUEST), "not set after request %u", i);
		EXPECT(vdev_interrupt(disk) == 1, "0x%x after request", vdev_interrupt(disk));
		vdev_interrupt_ack(disk, 2);
		EXPECT(vdev_interrupt(disk) == 1, "another bit's acknowledge cleared it");
		vdev_interrupt_ack(disk, 1);
		EXPECT(vdev_interrupt(disk) == 0, "not cleared by acknowledge");
	}
	EXPECT_OK(disk_read_works(&blk));
	EXPECT(interrupt_wait(disk, TIMEOUT_REQUEST), "not set at the end");
	EXPECT(vdev_reset(disk) && vdev_interrupt(disk) == 0, "reset leaves it set");
	return NULL;
}

static const char *interrupt_status_pci(uint64_t unused)
{
	struct blk blk;

	(void)unused;
	if (!disk->is_pci)
		return tap_skip("virtio-pci only");
	EXPECT(blk_start(&blk, disk, 0, 16), "no start");
	vdev_interrupt(disk);
	EXPECT_OK(disk_read_works(&blk));
	EXPECT(interrupt_wait(disk, TIMEOUT_REQUEST), "not set after a request");
	EXPECT(vdev_interrupt(disk) == 0, "not cleared by the read");
	return NULL;
}

static void ioapic_write(uint32_t index, uint32_t value)
{
	mmio_write32(IOAPIC, index);
	mmio_write32(IOAPIC + 0x10, value);
}

static const char *interrupt_arrives_checked(struct blk *blk, uint32_t redirection)
{
	ioapic_write(redirection + 1, 0); /* to APIC id 0 */
	ioapic_write(redirection, TEST_VECTOR); /* edge, active high, fixed */
	for (unsigned i = 0; i < 5; i++) {
		uint32_t before = interrupt_counts[TEST_VECTOR];
		uint64_t deadline = time_deadline(TIMEOUT_REQUEST);

		EXPECT_OK(disk_read_works(blk));
		while (interrupt_counts[TEST_VECTOR] == before)
			EXPECT(!time_passed(deadline), "none after request %u", i);
		EXPECT(interrupt_wait(disk, TIMEOUT_REQUEST), "without a status bit");
		vdev_interrupt_ack(disk, 1);
	}
	return NULL;
}

/* The interrupt itself, through the I/O APIC to CPL3 code. */
static const char *interrupt_arrives(uint64_t unused)
{
	uint32_t redirection = IOAPIC_REDIRECTION + 2 * disk->gsi;
	const char *result;
	struct blk blk;

	(void)unused;
	if (disk->gsi == 0 || disk->is_pci)
		return tap_skip("the number of the interrupt is not known");
	EXPECT(blk_start(&blk, disk, 0, 16), "no start");
	port_out8(0x21, 0xff);
	port_out8(0xa1, 0xff);
	mmio_write32(LAPIC_SPURIOUS, 0x1ff);
	cpu_interrupts_on();
	result = interrupt_arrives_checked(&blk, redirection);
	cpu_interrupts_off();
	ioapic_write(redirection, IOAPIC_MASKED);
	return result;
}

static const char *mmio_identity(uint64_t unused)
{
	(void)unused;
	if (disk->is_pci)
		return tap_skip("virtio-mmio only");
	EXPECT(mmio_read32(disk->mmio + MMIO_MAGIC) == MMIO_MAGIC_VALUE, "magic");
	EXPECT(mmio_read32(disk->mmio + MMIO_VERSION) == 2, "version");
	EXPECT(mmio_read32(disk->mmio + MMIO_DEVICE_ID) == VIRTIO_ID_BLK, "device id");
	return NULL;
}

/* §4.2.2: a shared memory region that does not exist has length 2^64 - 1. */
static const char *mmio_shared_memory(uint64_t region)
{
	uint32_t low, high;

	if (disk->is_pci)
		return tap_skip("virtio-mmio only");
	mmio_write32(disk->mmio + MMIO_SHM_SEL, (uint32_t)region);
	low = mmio_read32(disk->mmio + MMIO_SHM_LEN_LOW);
	high = mmio_read32(disk->mmio + MMIO_SHM_LEN_HIGH);
	EXPECT(low == 0xffffffff && high == 0xffffffff, "length 0x%x%08x", high, low);
	return NULL;
}

void conformance_config(void)
{
	tap_case(mmio_identity, 0, "identity registers");
	tap_case(mmio_shared_memory, 0, "shared memory region 0 does not exist");
	tap_case(config_width, 1, "config space by bytes");
	tap_case(config_width, 2, "config space by 16 bits");
	tap_case(config_width, 4, "config space by 32 bits");
	tap_case(config_generation, 0, "config generation is stable");
	tap_case(config_fields, 0, "config fields are usable");
	tap_case(config_queues, 0, "queues exist as announced");
	tap_case(interrupt_status, 0, "interrupt status is set and acknowledged");
	tap_case(interrupt_status_pci, 0, "interrupt status is cleared by reading");
	tap_case(interrupt_arrives, 0, "interrupts arrive");
}
