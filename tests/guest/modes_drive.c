/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe=drive: a driver by remote control, for tests of device processes that misbehave.
 *
 * Disk 0 is the one in question and is driven by a CPU of its own with the option "smp", so that
 * the console and disk 1 go on while it is stuck. One letter on COM1 is one command:
 *
 *	s	disk 0: reset, start, read a sector
 *	k	disk 0: reset, start, kick for a read, do not wait
 *	i	disk 0: read once more
 *	r	disk 0: reset
 *	l	disk 0: "s" twenty times
 *	w	disk 0: 4000 writes to its config space
 *	c	disk 0: print what it offers and all of its config space
 *	o	disk 1: read a sector
 *	m	start the IOMMU, disk 0 in domain 1 with its memory mapped
 *	A..K	the same in domain 0x100 and up, where evil-iommu misbehaves
 *	q	power off
 *
 * Each ends with a line "drive: LETTER RESULT"; 0 is good, a negative number says how far it got.
 * Every other character is answered at once by itself in brackets.
 */
#include "iommu.h"
#include "modes.h"

#define SECTOR 512
#define QUEUE_SIZE 16
#define LOOPS 20
#define CONFIG_WRITES 4000
#define CONFIG_BYTES 256

#define NOT_STARTED (-10)
#define NOT_RESET (-11)
#define NOT_MAPPED (-12)

#define EVIL_DOMAIN 0x100u /* tests/hostile-device/evil_iommu.c */

struct drive {
	struct vdev *dev;
	struct blk blk;
	uint8_t *data;
	char command;
	int result;
};

static struct drive drives[2];

/* Rings are made once: the arena is not for two CPUs. */
static void drive_make(struct drive *d, unsigned n)
{
	d->dev = discover_nth(VIRTIO_ID_BLK, n);
	if (!d->dev) {
		print("drive: no disk %u\n", n);
		end_power_off();
	}
	d->blk.dev = d->dev;
	d->blk.header = memory_alloc(sizeof(*d->blk.header), 16);
	d->blk.status = memory_alloc(1, 16);
	d->data = memory_alloc(SECTOR, SECTOR);
	vq_make(&d->blk.vq, d->dev, 0, QUEUE_SIZE);
}

static bool drive_start(struct drive *d)
{
	struct vq *vq = &d->blk.vq;

	if (!vdev_start(d->dev, 0))
		return false;
	memset((void *)vq->avail, 0, 6 + 2 * QUEUE_SIZE);
	memset((void *)vq->used, 0, 6 + 8 * QUEUE_SIZE);
	vq->avail_idx = vq->used_idx = 0;
	vq_enable(vq);
	vdev_driver_ok(d->dev);
	return true;
}

static int drive_read(struct drive *d)
{
	return blk_request(&d->blk, BLK_IN, 0, d->data, SECTOR);
}

static int drive_kick(struct drive *d)
{
	struct blk *blk = &d->blk;

	*blk->header = (struct blk_header){ .type = BLK_IN };
	vq_desc(&blk->vq, 0, blk->header, sizeof(*blk->header), DESC_NEXT, 1);
	vq_desc(&blk->vq, 1, d->data, SECTOR, DESC_NEXT | DESC_WRITE, 2);
	vq_desc(&blk->vq, 2, blk->status, 1, DESC_WRITE, 0);
	vq_push(&blk->vq, 0);
	vq_kick(&blk->vq);
	return 0;
}

static int drive_loop(struct drive *d)
{
	for (unsigned i = 0; i < LOOPS; i++) {
		int r = drive_start(d) ? drive_read(d) : NOT_STARTED;

		if (r != 0)
			return r;
	}
	return 0;
}

static int drive_write_config(struct drive *d)
{
	for (unsigned i = 0; i < CONFIG_WRITES; i++)
		mmio_write32(d->dev->config + i % 8 * 4, i);
	return 0;
}

static int drive_do(struct drive *d)
{
	switch (d->command) {
	case 's':
		return drive_start(d) ? drive_read(d) : NOT_STARTED;
	case 'k':
		return drive_start(d) ? drive_kick(d) : NOT_STARTED;
	case 'i':
	case 'o':
		return drive_read(d);
	case 'r':
		return vdev_reset(d->dev) ? 0 : NOT_RESET;
	case 'l':
		return drive_loop(d);
	case 'w':
		return drive_write_config(d);
	case 'm':
		return iommu_map_arena(d->dev) ? 0 : NOT_MAPPED;
	default:
		if (d->command >= 'A' && d->command <= 'K')
			return iommu_map_arena_in(d->dev, EVIL_DOMAIN + (uint32_t)(d->command - 'A')) ?
				       0 :
				       NOT_MAPPED;
		return 0;
	}
}

static void drive_run(void *argument)
{
	struct drive *d = argument;

	d->result = drive_do(d);
}

static void drive_tell(const struct drive *d)
{
	print("drive: %c %d\n", d->command, d->result);
}

static void drive_print_config(struct drive *d)
{
	print("drive: features 0x%lx queue %u status 0x%x\n", vdev_offered(d->dev),
	      vdev_queue_max(d->dev, 0), vdev_status(d->dev));
	print("drive: config");
	for (unsigned i = 0; i < CONFIG_BYTES; i += 4)
		print(" %08x", mmio_read32(d->dev->config + i));
	print("\ndrive: c 0\n");
}

/* On @cpu, or here when that is 0. Return: true when the result comes later */
static bool drive_begin(struct drive *d, unsigned cpu, char command)
{
	d->command = command;
	if (cpu != 0)
		return smp_run(cpu, drive_run, d);
	drive_run(d);
	drive_tell(d);
	return false;
}

/* Return: false to end */
static bool drive_command(char c, unsigned cpu, bool *is_busy)
{
	if (c == 'q')
		return false;
	if (c == 'o') {
		(void)drive_begin(&drives[1], 0, c);
	} else if (c == 'c') {
		drive_print_config(&drives[0]);
	} else if (string_contains("skirlwmABCDEFGHIJK", (const char[]){ c, '\0' })) {
		if (*is_busy)
			print("drive: busy\n");
		else
			*is_busy = drive_begin(&drives[0], cpu, c);
	} else {
		print("[%c]\n", c);
	}
	return true;
}

void mode_drive(void)
{
	bool is_busy = false;
	unsigned cpu = 0;

	discover();
	drive_make(&drives[0], 0);
	drive_make(&drives[1], 1);
	if (!drive_start(&drives[1]))
		print("drive: disk 1 does not start\n");
	if (boot_option("smp", NULL, 0) && smp_start() > 1)
		cpu = smp_cpu(0);
	print("drive: ready\n");
	for (;;) {
		int c = console_get();

		if (is_busy && smp_is_idle(cpu)) {
			is_busy = false;
			drive_tell(&drives[0]);
		}
		if (c < 0)
			time_sleep(1);
		else if (!drive_command((char)c, cpu, &is_busy))
			break;
	}
	print("drive: end\n");
}
