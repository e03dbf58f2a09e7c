/* SPDX-License-Identifier: Apache-2.0 */
/* The small modes of the probe guest: what tests of the VMM need a guest to do. */
#include "blk.h"
#include "modes.h"
#include "net.h"

#define SECTOR 512
#define STAMP 0x5354414d50424b21ull
#define STAMP_STEP (64 * 1024)

static void mode_hello(void)
{
	print("probe: hello\n");
}

void mode_idle(void)
{
	print("probe: idle\n");
	/* Interrupt lines stay masked: nothing wakes this CPU. */
	port_out8(0x21, 0xff);
	port_out8(0xa1, 0xff);
	for (;;)
		cpu_halt();
}

static void mode_reset(void)
{
	print("probe: boot\n");
	end_reset();
}

static void mode_triple(void)
{
	print("probe: triple fault\n");
	end_triple_fault();
}

/* touch=ADDRESS[,ADDRESS...]: writes and reads back a word at each */
static void mode_memtouch(void)
{
	char list[1024] = "";
	const char *s = list;

	boot_option("touch", list, sizeof(list));
	while (*s) {
		uint64_t at = string_number(s, &s) & ~7ull;
		volatile uint64_t *word = (volatile uint64_t *)memory_map(at, 8);

		if (!memory_is_ram(at, 8)) {
			print("probe: 0x%lx is no RAM\n", at);
		} else {
			*word = at ^ STAMP;
			print("probe: 0x%lx %s\n", at, *word == (at ^ STAMP) ? "ok" : "differs");
		}
		while (*s && (*s < '0' || *s > '9'))
			s++;
	}
	print("probe: touched\n");
}

static void mode_memmap(void)
{
	for (unsigned i = 0; i < n_ram_regions; i++)
		print("probe: ram 0x%lx 0x%lx\n", ram_regions[i].start, ram_regions[i].size);
	print("probe: cmdline %s\n", command_line);
}

static void mode_echo(void)
{
	print("probe: echo\n");
	for (;;) {
		int c = console_get();

		if (c == 'q')
			break;
		if (c >= 0) {
			print("%c", c);
			console_flush();
		} else {
			time_sleep(1);
		}
	}
	print("\nprobe: end of echo\n");
}

static uint32_t checksum(const uint8_t *data, size_t len)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ data[i]) * 16777619u;
	return hash;
}

/* One line per disk: place, sectors, read-only, serial number, FNV-1a of the first sector. */
static void mode_readdisk(void)
{
	struct vdev *dev;

	discover();
	for (unsigned n = 0; (dev = discover_nth(VIRTIO_ID_BLK, n)) != NULL; n++) {
		uint8_t *data = memory_alloc(SECTOR, SECTOR);
		char serial[24] = "";
		char *id = memory_alloc(20, 16);
		struct blk blk;
		int status = -1;

		if (!blk_start(&blk, dev, BLK_F_RO, 16)) {
			print("probe: disk %u does not start, status 0x%x\n", n, vdev_status(dev));
			continue;
		}
		if (blk_request(&blk, BLK_GET_ID, 0, id, 20) == BLK_S_OK)
			memcpy(serial, id, 20);
		status = blk_request(&blk, BLK_IN, 0, data, SECTOR);
		print("probe: disk %u at 0x%lx sectors %lu ro %u serial '%s' status %d "
		      "checksum %08x\n",
		      n, dev->is_pci ? dev->common : dev->mmio, blk_capacity(dev),
		      (dev->features & BLK_F_RO) != 0, serial, status, checksum(data, SECTOR));
	}
	print("probe: disks done\n");
}

/*
 * The counter of boots in the first eight bytes of the first disk: RAM is empty after a reset, the
 * disk is not. Return: boots before this one
 */
static uint64_t boots_count(void)
{
	uint64_t *sector = memory_alloc(SECTOR, SECTOR);
	struct vdev *dev;
	struct blk blk;
	uint64_t boots;

	discover();
	dev = discover_nth(VIRTIO_ID_BLK, 0);
	if (!dev || !blk_start(&blk, dev, BLK_F_FLUSH, 16) ||
	    blk_request(&blk, BLK_IN, 0, sector, SECTOR) != BLK_S_OK) {
		print("probe: no disk to count boots on\n");
		end_power_off();
	}
	boots = (*sector)++;
	if (blk_request(&blk, BLK_OUT, 0, sector, SECTOR) != BLK_S_OK ||
	    (blk.dev->features & BLK_F_FLUSH &&
	     blk_request(&blk, BLK_FLUSH, 0, NULL, 0) != BLK_S_OK)) {
		print("probe: the count of boots cannot be written\n");
		end_power_off();
	}
	return boots;
}

/* Resets until the disk has counted resets=N of them (1 when not given). */
static void mode_reset_count(void)
{
	uint64_t boots = boots_count();

	print("probe: boot %lu\n", boots + 1);
	if (boots < boot_option_number("resets", 1))
		end_reset();
	print("probe: resets done\n");
}

/* Every STAMP_STEP bytes of RAM above the arena, up to 4 GiB. */
static uint64_t stamp_ram(bool write)
{
	uint64_t found = 0;

	for (unsigned i = 0; i < n_ram_regions; i++) {
		uint64_t at = (ram_regions[i].start + STAMP_STEP - 1) & ~(STAMP_STEP - 1ull);
		uint64_t end = ram_regions[i].start + ram_regions[i].size;

		if (at < memory_arena_end())
			at = memory_arena_end();
		for (; at < 4 * GIB && at + 16 <= end; at += STAMP_STEP) {
			volatile uint64_t *word = (volatile uint64_t *)at;

			if (write) {
				word[0] = STAMP;
				word[1] = at;
			}
			found += word[0] == STAMP && word[1] == at;
		}
	}
	return found;
}

static void mode_stamp(void)
{
	uint64_t boots = boots_count();

	if (boots == 0) {
		print("probe: stamped %lu places\n", stamp_ram(true));
		end_reset();
	}
	print("probe: boot %lu found %lu stamps\n", boots + 1, stamp_ram(false));
}

static volatile uint32_t smp_turn;

static void smp_print(void *argument)
{
	print("probe: cpu %u\n", *(unsigned *)argument);
	smp_turn++;
}

static void mode_smp(void)
{
	unsigned n = smp_start();

	print("probe: cpu 0\n");
	for (unsigned i = 0; i + 1 < n; i++) {
		unsigned cpu = smp_cpu(i);

		/* One after the other: they share the console. */
		smp_run(cpu, smp_print, &cpu);
		while (smp_turn == i)
			cpu_pause();
	}
	print("probe: %u cpus\n", n);
}

const struct mode modes[] = {
	{ "hello", mode_hello },
	{ "idle", mode_idle },
	{ "reset", mode_reset },
	{ "reset-count", mode_reset_count },
	{ "triple", mode_triple },
	{ "memtouch", mode_memtouch },
	{ "memmap", mode_memmap },
	{ "echo", mode_echo },
	{ "readdisk", mode_readdisk },
	{ "stamp", mode_stamp },
	{ "smp", mode_smp },
	{ "conformance", conformance_run },
	{ "iommu", iommu_run },
	{ "bench-iommu", bench_iommu_run },
	{ "drive", mode_drive },
	{ "vcon", mode_vcon },
	{ "hostile", hostile_run },
	{ "net-echo", net_echo_run },
	{ "conformance-net", conformance_net_run },
	{ "hostile-net", hostile_net_run },
	{ "bench", bench_blk_run },
	{ "bench-net", bench_net_run },
	{ "verify", verify_blk_run },
	{ "vsock", vsock_run },
	{ "vsock-survive", vsock_survive_run },
	{ "hostile-vsock", hostile_vsock_run },
	{ "bench-vsock", bench_vsock_run },
	{ 0 },
};
