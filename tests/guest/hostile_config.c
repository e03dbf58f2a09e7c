/* SPDX-License-Identifier: Apache-2.0 */
/* Device configuration space out of bounds, VIRTIO 1.2 §2.5 and §4.2.2.2; row 14. */
#include "hostile.h"

#define CONFIG_BYTES 0xf00u /* what is left of a register page */

static uint64_t config(void)
{
	return victim.blk.dev->config;
}

static uint64_t config_read(uint64_t offset, unsigned width)
{
	switch (width) {
	case 1:
		return mmio_read8(config() + offset);
	case 2:
		return mmio_read16(config() + offset);
	case 4:
		return mmio_read32(config() + offset);
	default:
		return mmio_read64(config() + offset);
	}
}

static void config_write(uint64_t offset, unsigned width, uint64_t value)
{
	switch (width) {
	case 1:
		mmio_write8(config() + offset, (uint8_t)value);
		break;
	case 2:
		mmio_write16(config() + offset, (uint16_t)value);
		break;
	case 4:
		mmio_write32(config() + offset, (uint32_t)value);
		break;
	default:
		mmio_write64(config() + offset, value);
		break;
	}
}

/* Bytes behind the structure read as 0, whatever the width. */
static const char *read_past_end(uint64_t width)
{
	if (victim.blk.dev->is_pci)
		return tap_skip("virtio-mmio only");
	EXPECT_OK(victim_start(0));
	for (uint64_t at = 128; at + width <= CONFIG_BYTES; at += 61 * width)
		EXPECT(config_read(at, (unsigned)width) == 0, "offset %lu: 0x%lx", at,
		       config_read(at, (unsigned)width));
	return victim_good_request();
}

/* A wide read anywhere is made of the bytes that single reads give. */
static const char *read_unaligned(uint64_t width)
{
	EXPECT_OK(victim_start(0));
	for (uint64_t at = 0; at + width <= BLK_CONFIG_LEN; at++) {
		uint64_t bytes = 0, wide = config_read(at, (unsigned)width);

		for (unsigned i = 0; i < width; i++)
			bytes |= config_read(at + i, 1) << 8 * i;
		EXPECT(wide == bytes || wide == 0, "offset %lu: 0x%lx, by bytes 0x%lx", at, wide,
		       bytes);
	}
	return victim_good_request();
}

static const char *read_last_byte(uint64_t width)
{
	if (victim.blk.dev->is_pci)
		return tap_skip("virtio-mmio only");
	EXPECT_OK(victim_start(0));
	EXPECT(config_read(CONFIG_BYTES - width, (unsigned)width) == 0, "not 0");
	return victim_good_request();
}

/* Four bytes of which the last ones lie in the next page, perhaps another device's. */
static const char *across_the_page(uint64_t is_write)
{
	if (victim.blk.dev->is_pci)
		return tap_skip("virtio-mmio only");
	EXPECT_OK(victim_start(0));
	if (is_write)
		config_write(CONFIG_BYTES - 2, 4, 0);
	else
		(void)config_read(CONFIG_BYTES - 2, 4);
	return victim_good_request();
}

struct field {
	const char *name;
	uint32_t offset;
	unsigned width;
};

static const struct field fields[] = {
	{ "capacity", BLK_CONFIG_CAPACITY, 4 },
	{ "capacity, as 64 bits", BLK_CONFIG_CAPACITY, 8 },
	{ "capacity, one byte", BLK_CONFIG_CAPACITY + 3, 1 },
	{ "size_max", BLK_CONFIG_SIZE_MAX, 4 },
	{ "seg_max", BLK_CONFIG_SEG_MAX, 4 },
	{ "blk_size", BLK_CONFIG_BLK_SIZE, 4 },
	{ "num_queues", BLK_CONFIG_NUM_QUEUES, 2 },
	{ "max_discard_sectors", BLK_CONFIG_MAX_DISCARD_SECTORS, 4 },
	{ "max_discard_seg", BLK_CONFIG_MAX_DISCARD_SEG, 4 },
	{ "max_write_zeroes_sectors", BLK_CONFIG_MAX_WRITE_ZEROES_SECTORS, 4 },
};

static const char *field_is_read_only(uint64_t i)
{
	const struct field *f = &fields[i];
	uint64_t before;

	EXPECT_OK(victim_start(0));
	before = config_read(f->offset, f->width);
	config_write(f->offset, f->width, ~before);
	EXPECT(config_read(f->offset, f->width) == before, "0x%lx became 0x%lx", before,
	       config_read(f->offset, f->width));
	EXPECT(blk_capacity(victim.blk.dev) == victim.capacity, "the capacity has changed");
	return victim_good_request();
}

/* The capacity cannot be raised and then used. */
static const char *capacity_raised(uint64_t unused)
{
	EXPECT_OK(victim_start(0));
	(void)unused;
	config_write(BLK_CONFIG_CAPACITY, 4, 0xffffffff);
	config_write(BLK_CONFIG_CAPACITY + 4, 4, 0xffffffff);
	EXPECT(blk_request(&victim.blk, BLK_IN, victim.capacity, victim.data, SECTOR) ==
		       BLK_S_IOERR,
	       "a sector behind the disk can be read");
	return victim_good_request();
}

static const char *write_past_end(uint64_t width)
{
	if (victim.blk.dev->is_pci)
		return tap_skip("virtio-mmio only");
	EXPECT_OK(victim_start(0));
	for (uint64_t at = 128; at + width <= CONFIG_BYTES; at += 61 * width)
		config_write(at, (unsigned)width, ~0ull);
	return victim_good_request();
}

static const char *write_storm(uint64_t n)
{
	EXPECT_OK(victim_start(0));
	for (uint64_t i = 0; i < n; i++)
		config_write(i % 64, 1u << i % 4, i);
	return victim_good_request();
}

static const char *config_before_start(uint64_t unused)
{
	(void)unused;
	EXPECT(vdev_reset(victim.blk.dev), "no reset");
	EXPECT(blk_capacity(victim.blk.dev) == victim.capacity, "capacity %lu",
	       blk_capacity(victim.blk.dev));
	config_write(BLK_CONFIG_WRITEBACK, 1, 1);
	EXPECT(blk_capacity(victim.blk.dev) == victim.capacity, "capacity %lu",
	       blk_capacity(victim.blk.dev));
	return NULL;
}

void hostile_config(void)
{
	for (unsigned width = 1; width <= 8; width *= 2) {
		hostile_case(read_past_end, width, "4.2.2.2, row 14",
			     "config, %u bytes read behind the end", width);
		hostile_case(write_past_end, width, "4.2.2.2, row 14",
			     "config, %u bytes written behind the end", width);
		hostile_case(read_last_byte, width, "4.2.2.2, row 14",
			     "config, last %u bytes of the page", width);
		if (width > 1)
			hostile_case(read_unaligned, width, "4.2.2.2, row 14",
				     "config, %u bytes at every offset", width);
	}
	hostile_case(across_the_page, 0, "4.2.2.2, row 14", "config, read across the page's end");
	hostile_case(across_the_page, 1, "4.2.2.2, row 14", "config, write across the page's end");
	for (unsigned i = 0; i < ARRAY_LEN(fields); i++)
		hostile_case(field_is_read_only, i, "5.2.4, row 14", "config, %s is written",
			     fields[i].name);
	hostile_case(capacity_raised, 0, "5.2.4, row 14", "config, capacity is raised and used");
	hostile_case(write_storm, 20000, "4.2.2.2, row 14", "config, 20000 writes");
	hostile_case(config_before_start, 0, "2.5.1", "config, read and written before the start");
}
