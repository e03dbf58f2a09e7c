/* SPDX-License-Identifier: Apache-2.0 */
/* What devices behind the IOMMU reach and what they do not, seen through a disk. */
#include "iommu.h"

#define PAGE 4096ull
#define SECTOR 512u
#define BASE 0x4000000000ull /* rings, headers and status lie here, at BASE + their address */
#define DATA 0x10000000ull /* I/O addresses that the cases map themselves */
#define NO_STATUS 0xee
#define WAIT_SHORT 200 /* ms: for what is not to come */

struct piece {
	uint64_t iova;
	uint32_t len;
};

static struct vq queue;
static struct blk_header *header;
static volatile uint8_t *status;
static uint8_t *ram; /* 16 pages that cases map */
static uint32_t used_len;

static uint64_t iova_of(const volatile void *at)
{
	return BASE + (uint64_t)at;
}

static void vq_desc_at(struct vq *vq, uint16_t i, uint64_t iova, uint32_t len, uint16_t flags,
		       uint16_t next)
{
	vq_desc(vq, i, (void *)iova, len, flags, next);
}

/* Everything that memory_alloc() gave out so far or will, at BASE. */
static const char *map_arena(uint32_t domain)
{
	uint64_t end = (memory_arena_end() + PAGE - 1) & ~(PAGE - 1);

	EXPECT(iommu_map(domain, BASE, BASE + end - 1, 0, MAP_RW) == IOMMU_OK, "no map of RAM");
	return NULL;
}

static const char *start_disk(struct vdev *dev, uint64_t offset)
{
	EXPECT(vdev_start(dev, FEATURE_INDIRECT), "no start, status 0x%x", vdev_status(dev));
	vq_make(&queue, dev, 0, 64);
	vdev_queue_enable(dev, 0, 64, offset + (uint64_t)queue.desc, offset + (uint64_t)queue.avail,
			  offset + (uint64_t)queue.used);
	vdev_driver_ok(dev);
	return NULL;
}

/* The disk in domain 1 with all of RAM at BASE, 16 event buffers. Nothing at DATA. */
static const char *begin(void)
{
	EXPECT(vdev_reset(disk) && vdev_reset(second_disk), "no reset");
	EXPECT_OK(iommu_start(IOMMU_FEATURES, 16));
	iommu_set_bypass(0);
	EXPECT(iommu_attach(1, disk->function, 0) == IOMMU_OK, "attach");
	EXPECT_OK(map_arena(1));
	header = memory_alloc(sizeof(*header), 4096);
	status = memory_alloc(1, 4096);
	ram = memory_alloc(16 * PAGE, 4096);
	return start_disk(disk, BASE);
}

/* Header and status from where they are given; Return: status byte, -1: no answer at all */
static int request_at(uint64_t header_at, uint64_t status_at, uint32_t type, uint64_t sector,
		      const struct piece *pieces, unsigned n)
{
	uint16_t writes = type == BLK_IN || type == BLK_GET_ID ? DESC_WRITE : 0;
	struct vring_used_elem elem;
	uint16_t i = 0;

	*header = (struct blk_header){ .type = type, .sector = sector };
	*status = NO_STATUS;
	vq_desc_at(&queue, 0, header_at, sizeof(*header), DESC_NEXT, 1);
	for (; i < n; i++)
		vq_desc_at(&queue, (uint16_t)(1 + i), pieces[i].iova, pieces[i].len,
			   (uint16_t)(DESC_NEXT | writes), (uint16_t)(2 + i));
	vq_desc_at(&queue, (uint16_t)(1 + i), status_at, 1, DESC_WRITE, 0);
	vq_push(&queue, 0);
	vq_kick(&queue);
	if (!vq_wait(&queue, TIMEOUT_REQUEST, &elem))
		return -1;
	used_len = elem.len;
	return *status;
}

static int request(uint32_t type, uint64_t sector, const struct piece *pieces, unsigned n)
{
	return request_at(iova_of(header), iova_of(status), type, sector, pieces, n);
}

static int simple(uint32_t type, uint64_t sector, uint64_t iova, uint32_t len)
{
	const struct piece piece = { iova, len };

	return request(type, sector, &piece, 1);
}

static const char *expect_fault(uint64_t address, uint32_t flags, uint32_t reason)
{
	const struct iommu_fault *f = iommu_wait_fault(TIMEOUT_REQUEST);

	EXPECT(f, "no fault");
	EXPECT(f->reason == reason, "reason %u", f->reason);
	EXPECT(f->flags == flags, "flags 0x%x", f->flags);
	EXPECT(f->endpoint == disk->function, "endpoint 0x%x", f->endpoint);
	EXPECT(f->address == address, "address 0x%lx, not 0x%lx", f->address, address);
	EXPECT(f->reserved[0] + f->reserved[1] + f->reserved[2] + f->reserved1 == 0, "reserved");
	return NULL;
}

static const char *no_fault(void)
{
	EXPECT(!iommu_wait_fault(WAIT_SHORT), "an unexpected fault");
	return NULL;
}

/* After whatever happened the disk works as before. */
static const char *still_works(void)
{
	memset(ram, 0x5a, SECTOR);
	EXPECT(simple(BLK_OUT, 100, iova_of(ram), SECTOR) == BLK_S_OK, "good write: 0x%x", *status);
	memset(ram, 0, SECTOR);
	EXPECT(simple(BLK_IN, 100, iova_of(ram), SECTOR) == BLK_S_OK, "good read: 0x%x", *status);
	EXPECT(ram[0] == 0x5a && ram[SECTOR - 1] == 0x5a, "other data");
	return NULL;
}

static const char *through(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(begin());
	EXPECT_OK(still_works());
	return no_fault();
}

/* n pages of RAM, in reverse order, look like one buffer. */
static const char *crossing(uint64_t n)
{
	uint32_t len = (uint32_t)(n * PAGE - 1024);

	EXPECT_OK(begin());
	for (uint64_t i = 0; i < n; i++)
		EXPECT(iommu_map(1, DATA + i * PAGE, DATA + i * PAGE + PAGE - 1,
				 (uint64_t)ram + (n - 1 - i) * PAGE, MAP_RW) == IOMMU_OK, "map");
	for (uint64_t i = 0; i < n * PAGE; i++)
		ram[i] = (uint8_t)(i / PAGE * 16 + i % 13);
	EXPECT(simple(BLK_OUT, 200, DATA + 512, len) == BLK_S_OK, "write: 0x%x", *status);
	memset(ram, 0, n * PAGE);
	EXPECT(simple(BLK_IN, 200, DATA + 512, len) == BLK_S_OK, "read: 0x%x", *status);
	EXPECT(used_len == len + 1, "used length %u", used_len);
	for (uint64_t i = 0; i < n * PAGE; i++) {
		uint64_t at = (n - 1 - i / PAGE) * PAGE + i % PAGE; /* in the buffer */
		bool is_in = at >= 512 && at < 512 + len;

		EXPECT(ram[i] == (is_in ? (uint8_t)(i / PAGE * 16 + i % 13) : 0), "byte %lu", i);
	}
	return no_fault();
}

struct access_case {
	const char *name;
	uint32_t flags; /* of the page at DATA */
	uint32_t type;
	uint64_t at;
	uint32_t len;
	uint64_t fault_at; /* 0: none */
};

static const struct access_case access_cases[] = {
	{ "read into a writable page", MAP_W, BLK_IN, DATA, SECTOR, 0 },
	{ "read into a page for both", MAP_RW, BLK_IN, DATA, SECTOR, 0 },
	{ "read into a read-only page", MAP_R, BLK_IN, DATA, SECTOR, DATA },
	{ "read into a page for nothing", 0, BLK_IN, DATA, SECTOR, DATA },
	{ "write from a readable page", MAP_R, BLK_OUT, DATA, SECTOR, 0 },
	{ "write from a write-only page", MAP_W, BLK_OUT, DATA, SECTOR, DATA },
	{ "write from a page for nothing", 0, BLK_OUT, DATA + 512, SECTOR, DATA + 512 },
	{ "read into an unmapped page", MAP_RW, BLK_IN, DATA + PAGE, SECTOR, DATA + PAGE },
	{ "write from an unmapped page", MAP_RW, BLK_OUT, DATA - PAGE, SECTOR, DATA - PAGE },
	{ "read across the end of a mapping", MAP_RW, BLK_IN, DATA + PAGE - 512, 1024, DATA + PAGE },
	{ "read across its start", MAP_RW, BLK_IN, DATA - 512, 1024, DATA - 512 },
	{ "read from address 0", MAP_RW, BLK_IN, 0x200, SECTOR, 0x200 },
	{ "read at the end of input_range", MAP_RW, BLK_IN, 0xfffffffffe00, SECTOR,
	  0xfffffffffe00 },
	{ "read behind input_range", MAP_RW, BLK_IN, 0x1000000000000, SECTOR, 0x1000000000000 },
	{ "read at the top", MAP_RW, BLK_IN, UINT64_MAX - 511, SECTOR, UINT64_MAX - 511 },
	{ "read that wraps", MAP_RW, BLK_IN, UINT64_MAX - 255, SECTOR, UINT64_MAX - 255 },
	{ "read into the MSI window", MAP_RW, BLK_IN, 0xfee00000, SECTOR, 0xfee00000 },
	{ "write to guest-physical memory", MAP_RW, BLK_OUT, 0x200000, SECTOR, 0x200000 },
};

static const char *access(uint64_t i)
{
	const struct access_case *c = &access_cases[i];
	uint32_t flags = c->type == BLK_IN ? FAULT_WRITE : FAULT_READ;
	int want = c->fault_at ? BLK_S_IOERR : BLK_S_OK, got;

	EXPECT_OK(begin());
	memset(ram, 0x77, PAGE);
	EXPECT(iommu_map(1, DATA, DATA + PAGE - 1, (uint64_t)ram, c->flags) == IOMMU_OK, "map");
	got = simple(c->type, 300, c->at, c->len);
	EXPECT(got == want, "status 0x%x, not 0x%x", got, want);
	if (!c->fault_at) {
		EXPECT_OK(no_fault());
		return still_works();
	}
	EXPECT_OK(expect_fault(c->fault_at, flags, FAULT_MAPPING));
	for (unsigned k = 0; k < PAGE; k++)
		EXPECT(ram[k] == 0x77, "byte %u was written", k);
	return still_works();
}

static const char *header_unmapped(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(begin());
	EXPECT(request_at(DATA, iova_of(status), BLK_FLUSH, 0, NULL, 0) == BLK_S_IOERR,
	       "status 0x%x", *status);
	EXPECT_OK(expect_fault(DATA, FAULT_READ, FAULT_MAPPING));
	return still_works();
}

static const char *status_unmapped(uint64_t flags)
{
	EXPECT_OK(begin());
	if (flags)
		EXPECT(iommu_map(1, DATA, DATA + PAGE - 1, (uint64_t)ram, (uint32_t)flags) ==
		       IOMMU_OK, "map");
	EXPECT(request_at(iova_of(header), DATA, BLK_FLUSH, 0, NULL, 0) == NO_STATUS, "answered");
	EXPECT(used_len == 0, "used length %u", used_len);
	EXPECT_OK(expect_fault(DATA, FAULT_WRITE, FAULT_MAPPING));
	return still_works();
}

static const char *indirect(uint64_t where)
{
	volatile struct vring_desc *table = (void *)ram;
	struct vring_used_elem elem;

	EXPECT_OK(begin());
	*header = (struct blk_header){ .type = BLK_FLUSH };
	*status = NO_STATUS;
	if (where != 0)
		EXPECT(iommu_map(1, DATA, DATA + PAGE - 1, (uint64_t)ram,
				 where == 1 ? MAP_R : MAP_W) == IOMMU_OK, "map");
	table[0] = (struct vring_desc){ iova_of(header), 16, DESC_NEXT, 1 };
	table[1] = (struct vring_desc){ iova_of(status), 1, DESC_WRITE, 0 };
	vq_desc_at(&queue, 0, DATA, 32, DESC_INDIRECT, 0);
	vq_push(&queue, 0);
	vq_kick(&queue);
	EXPECT(vq_wait(&queue, TIMEOUT_REQUEST, &elem), "no answer");
	if (where == 1) {
		EXPECT(elem.len == 1 && *status == BLK_S_OK, "status 0x%x", *status);
		return still_works();
	}
	EXPECT(elem.len == 0 && *status == NO_STATUS, "used length %u", elem.len);
	EXPECT_OK(expect_fault(DATA, FAULT_READ, FAULT_MAPPING));
	return still_works();
}

static const char *after_unmap(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(begin());
	for (unsigned i = 0; i < 50; i++) {
		uint64_t page = (uint64_t)ram + i % 16 * PAGE;

		EXPECT(iommu_map(1, DATA, DATA + PAGE - 1, page, MAP_RW) == IOMMU_OK, "map");
		memset((void *)page, (int)(0x80 + i), SECTOR);
		EXPECT(simple(BLK_OUT, 400 + i, DATA, SECTOR) == BLK_S_OK, "write %u", i);
		EXPECT(iommu_unmap(1, DATA, DATA + PAGE - 1) == IOMMU_OK, "unmap");
		EXPECT(simple(BLK_IN, 400 + i, DATA, SECTOR) == BLK_S_IOERR, "read %u", i);
		EXPECT_OK(expect_fault(DATA, FAULT_WRITE, FAULT_MAPPING));
		if (i % 8 == 7) {
			for (uint16_t k = 0; k < 8; k++)
				iommu_add_event(k, sizeof(struct iommu_fault));
		}
		EXPECT(simple(BLK_IN, 400 + i, iova_of(ram), SECTOR) == BLK_S_OK, "read back");
		EXPECT(ram[0] == 0x80 + i, "what was written came from elsewhere");
	}
	return NULL;
}

/* Without EVENT_IDX a driver may look at the used ring whenever it likes: so do we. */
static const char *unmap_in_flight(uint64_t unused)
{
	uint32_t len = 16 * PAGE;
	struct vring_used_elem elem;

	(void)unused;
	EXPECT_OK(begin());
	for (unsigned i = 0; i < 200; i++) {
		struct piece piece = { DATA, len };
		uint16_t seen = queue.used_idx;

		EXPECT(iommu_map(1, DATA, DATA + len - 1, (uint64_t)ram, MAP_RW) == IOMMU_OK, "map");
		*header = (struct blk_header){ .type = BLK_IN, .sector = 0 };
		*status = NO_STATUS;
		vq_desc_at(&queue, 0, iova_of(header), 16, DESC_NEXT, 1);
		vq_desc_at(&queue, 1, piece.iova, piece.len, DESC_NEXT | DESC_WRITE, 2);
		vq_desc_at(&queue, 2, iova_of(status), 1, DESC_WRITE, 0);
		vq_push(&queue, 0);
		vq_kick(&queue);
		EXPECT(iommu_unmap(1, DATA, DATA + len - 1) == IOMMU_OK, "unmap");
		/* From here on nobody writes to ram: either it was read before, or not at all. */
		memset(ram, 0xc3, len);
		EXPECT(vq_wait(&queue, TIMEOUT_REQUEST, &elem), "no answer %u", i);
		(void)seen;
		for (uint32_t k = 0; k < len; k += 64)
			EXPECT(ram[k] == 0xc3, "round %u: byte %u was written afterwards", i, k);
		if (*status == BLK_S_IOERR && i % 4 == 0) {
			while (iommu_wait_fault(1))
				;
			for (uint16_t k = 0; k < 16; k++)
				iommu_add_event(k, sizeof(struct iommu_fault));
		}
	}
	return still_works();
}

static const char *other_domain(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(begin());
	EXPECT(iommu_attach(2, second_disk->function, 0) == IOMMU_OK, "attach");
	EXPECT(iommu_map(2, DATA, DATA + PAGE - 1, (uint64_t)ram, MAP_RW) == IOMMU_OK, "map");
	EXPECT(simple(BLK_IN, 0, DATA, SECTOR) == BLK_S_IOERR, "another domain's mapping works");
	EXPECT_OK(expect_fault(DATA, FAULT_WRITE, FAULT_MAPPING));
	EXPECT(iommu_map(1, DATA, DATA + PAGE - 1, (uint64_t)ram + PAGE, MAP_RW) == IOMMU_OK,
	       "the same address in both");
	return still_works();
}

static const char *two_disks(uint64_t unused)
{
	struct vq first;

	(void)unused;
	EXPECT_OK(begin());
	EXPECT(iommu_attach(1, second_disk->function, 0) == IOMMU_OK, "attach");
	first = queue;
	EXPECT_OK(start_disk(second_disk, BASE));
	EXPECT(simple(BLK_IN, 0, iova_of(ram), SECTOR) == BLK_S_OK, "second disk");
	EXPECT(iommu_map(1, DATA, DATA + PAGE - 1, (uint64_t)ram, MAP_RW) == IOMMU_OK, "map");
	EXPECT(simple(BLK_IN, 0, DATA, SECTOR) == BLK_S_OK, "second disk at DATA");
	queue = first;
	EXPECT(simple(BLK_IN, 0, DATA, SECTOR) == BLK_S_OK, "first disk at DATA");
	EXPECT(iommu_unmap(1, DATA, DATA + PAGE - 1) == IOMMU_OK, "unmap for both");
	EXPECT(simple(BLK_IN, 0, DATA, SECTOR) == BLK_S_IOERR, "first disk");
	return NULL;
}

/* Config space is written behind the device's back: that it has heard of it may take a while. */
static const char *passes_through(void)
{
	uint64_t deadline = time_deadline(TIMEOUT_REQUEST);
	const struct piece piece = { (uint64_t)ram, SECTOR };

	do {
		EXPECT_OK(start_disk(disk, 0));
		if (request_at((uint64_t)header, (uint64_t)status, BLK_IN, 0, &piece, 1) ==
		    BLK_S_OK)
			return NULL;
	} while (!time_passed(deadline));
	return tap_fail("status 0x%x", *status);
}

static const char *detached(uint64_t bypass)
{
	EXPECT_OK(begin());
	EXPECT(vdev_reset(disk), "no reset");
	EXPECT(iommu_detach(1, disk->function) == IOMMU_OK, "detach");
	iommu_set_bypass((uint8_t)bypass);
	if (bypass)
		return passes_through();
	EXPECT(vdev_start(disk, 0), "no start");
	vq_make(&queue, disk, 0, 64);
	vq_enable(&queue);
	vdev_driver_ok(disk);
	EXPECT_OK(expect_fault((uint64_t)queue.desc, FAULT_READ, FAULT_DOMAIN));
	EXPECT(vdev_status(disk) & STATUS_NEEDS_RESET, "status 0x%x", vdev_status(disk));
	return NULL;
}

static const char *detach_active(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(begin());
	EXPECT_OK(still_works());
	EXPECT(iommu_detach(1, disk->function) == IOMMU_OK, "detach");
	EXPECT(simple(BLK_IN, 0, iova_of(ram), SECTOR) == -1, "it still reads");
	EXPECT(vdev_status(disk) & STATUS_NEEDS_RESET, "status 0x%x", vdev_status(disk));
	EXPECT(vdev_reset(disk), "no reset");
	EXPECT(iommu_attach(1, disk->function, 0) == IOMMU_OK, "attach");
	EXPECT_OK(map_arena(1));
	EXPECT_OK(start_disk(disk, BASE));
	return still_works();
}

static const char *bypass_domain(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(begin());
	EXPECT(vdev_reset(disk), "no reset");
	EXPECT(iommu_attach(9, disk->function, ATTACH_BYPASS) == IOMMU_OK, "attach");
	EXPECT_OK(start_disk(disk, 0));
	EXPECT(request_at((uint64_t)header, (uint64_t)status, BLK_IN, 0,
			  &(struct piece){ (uint64_t)ram, SECTOR }, 1) == BLK_S_OK, "status 0x%x",
	       *status);
	return no_fault();
}

static const char *move_active(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(begin());
	EXPECT_OK(still_works());
	EXPECT(iommu_attach(3, second_disk->function, 0) == IOMMU_OK, "second disk");
	EXPECT_OK(map_arena(3));
	EXPECT(iommu_attach(3, disk->function, 0) == IOMMU_OK, "move");
	return still_works(); /* the rings are where they were */
}

static const char *rings_unmapped(uint64_t unused)
{
	uint64_t end = (memory_arena_end() + PAGE - 1) & ~(PAGE - 1);

	(void)unused;
	EXPECT_OK(begin());
	EXPECT_OK(still_works());
	EXPECT(iommu_unmap(1, BASE, BASE + end - 1) == IOMMU_OK, "an idle device holds its rings");
	EXPECT(simple(BLK_IN, 0, iova_of(ram), SECTOR) == -1, "it still reads");
	EXPECT(vdev_status(disk) & STATUS_NEEDS_RESET, "status 0x%x", vdev_status(disk));
	EXPECT(vdev_reset(disk), "no reset");
	EXPECT_OK(map_arena(1));
	EXPECT_OK(start_disk(disk, BASE));
	return still_works();
}

static const char *rings_mapped_again(uint64_t unused)
{
	uint64_t end = (memory_arena_end() + PAGE - 1) & ~(PAGE - 1);

	(void)unused;
	EXPECT_OK(begin());
	for (unsigned i = 0; i < 20; i++) {
		EXPECT_OK(still_works());
		EXPECT(iommu_unmap(1, BASE, BASE + end - 1) == IOMMU_OK, "unmap");
		EXPECT_OK(map_arena(1));
	}
	return NULL;
}

/* Ring @which is mapped without what the device needs: 'd'escriptors, 'a'vailable, 'u'sed */
static const char *ring_permission(uint64_t which)
{
	uint64_t at, ring;

	EXPECT_OK(begin());
	EXPECT(vdev_reset(disk), "no reset");
	EXPECT(vdev_start(disk, 0), "no start");
	vq_make(&queue, disk, 0, 64);
	ring = which == 'd' ? (uint64_t)queue.desc :
	       which == 'a' ? (uint64_t)queue.avail :
			      (uint64_t)queue.used;
	EXPECT(iommu_map(1, DATA, DATA + PAGE - 1, ring, which == 'u' ? MAP_R : MAP_W) == IOMMU_OK,
	       "map");
	at = DATA;
	vdev_queue_enable(disk, 0, 64, which == 'd' ? at : iova_of(queue.desc),
			  which == 'a' ? at : iova_of(queue.avail),
			  which == 'u' ? at : iova_of(queue.used));
	vdev_driver_ok(disk);
	EXPECT_OK(expect_fault(DATA, which == 'u' ? FAULT_WRITE : FAULT_READ, FAULT_MAPPING));
	EXPECT(vdev_status(disk) & STATUS_NEEDS_RESET, "status 0x%x", vdev_status(disk));
	EXPECT_OK(start_disk(disk, BASE));
	return still_works();
}

/* --- faults --- */

static const char *fault_waits(uint64_t unused)
{
	(void)unused;
	EXPECT(vdev_reset(disk), "no reset");
	EXPECT_OK(begin());
	EXPECT_OK(iommu_start(IOMMU_FEATURES, 0));
	EXPECT(vdev_reset(disk), "no reset");
	EXPECT(iommu_attach(1, disk->function, 0) == IOMMU_OK, "attach");
	EXPECT_OK(map_arena(1));
	EXPECT_OK(start_disk(disk, BASE));
	EXPECT(simple(BLK_IN, 0, DATA, SECTOR) == BLK_S_IOERR, "read");
	EXPECT_OK(no_fault());
	iommu_add_event(0, sizeof(struct iommu_fault));
	EXPECT_OK(expect_fault(DATA, FAULT_WRITE, FAULT_MAPPING));
	return still_works();
}

static const char *fault_small_buffer(uint64_t unused)
{
	struct vring_used_elem elem;

	(void)unused;
	EXPECT_OK(begin());
	EXPECT(vdev_reset(disk), "no reset");
	EXPECT_OK(iommu_start(IOMMU_FEATURES, 0));
	EXPECT(iommu_attach(1, disk->function, 0) == IOMMU_OK, "attach");
	EXPECT_OK(map_arena(1));
	EXPECT_OK(start_disk(disk, BASE));
	iommu_add_event(0, 23);
	iommu_add_event(1, sizeof(struct iommu_fault));
	EXPECT(simple(BLK_IN, 0, DATA, SECTOR) == BLK_S_IOERR, "read");
	EXPECT(vq_wait(&mmu.events, TIMEOUT_REQUEST, &elem), "no answer");
	EXPECT(elem.id == 0 && elem.len == 0, "used length %u", elem.len);
	return expect_fault(DATA, FAULT_WRITE, FAULT_MAPPING);
}

/* More than anybody keeps: some are lost, none is wrong, and everything goes on. */
static const char *fault_flood(uint64_t unused)
{
	const struct iommu_fault *f;
	unsigned n = 0;

	(void)unused;
	EXPECT_OK(begin());
	for (unsigned i = 0; i < 500; i++)
		EXPECT(simple(BLK_IN, 0, DATA + i * PAGE, SECTOR) == BLK_S_IOERR, "read %u", i);
	while ((f = iommu_wait_fault(WAIT_SHORT)) != NULL) {
		EXPECT(f->address >= DATA && f->address < DATA + 500 * PAGE, "0x%lx", f->address);
		n++;
		iommu_add_event((uint16_t)(f - mmu.faults), sizeof(*f));
	}
	EXPECT(n >= 16 && n <= 16 + 64 + 16, "%u faults", n);
	EXPECT(simple(BLK_IN, 0, 0x123000, SECTOR) == BLK_S_IOERR, "read");
	EXPECT_OK(expect_fault(0x123000, FAULT_WRITE, FAULT_MAPPING));
	return still_works();
}

/* --- resets --- */

static const char *iommu_reset_under_disk(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(begin());
	EXPECT_OK(still_works());
	EXPECT(vdev_reset(mmu.dev), "no reset");
	EXPECT(simple(BLK_IN, 0, iova_of(ram), SECTOR) == -1, "it still reads");
	EXPECT(vdev_reset(disk), "no reset of the disk");
	EXPECT_OK(begin());
	return still_works();
}

static const char *reset_with_work(uint64_t unused)
{
	(void)unused;
	for (unsigned i = 0; i < 20; i++) {
		EXPECT_OK(begin());
		for (uint16_t k = 0; k < 60; k += 3) {
			*header = (struct blk_header){ .type = BLK_IN };
			vq_desc_at(&queue, k, iova_of(header), 16, DESC_NEXT, (uint16_t)(k + 1));
			vq_desc_at(&queue, (uint16_t)(k + 1), iova_of(ram), 16 * PAGE,
				   DESC_NEXT | DESC_WRITE, (uint16_t)(k + 2));
			vq_desc_at(&queue, (uint16_t)(k + 2), iova_of(status), 1, DESC_WRITE, 0);
			vq_stage(&queue, k);
		}
		vq_publish(&queue);
		vq_kick(&queue);
		EXPECT(vdev_reset(i % 2 ? mmu.dev : disk), "no reset, round %u", i);
	}
	EXPECT_OK(begin());
	return still_works();
}

/* --- at random, against a model --- */

#define MODEL_PAGES 16u

static const char *random_accesses(uint64_t seed)
{
	uint8_t model[MODEL_PAGES] = { 0 }; /* permissions; 0: not mapped */
	uint64_t state = seed * 77 + 1;

	EXPECT_OK(begin());
	for (unsigned i = 0; i < 300; i++) {
		uint32_t page = (uint32_t)random_next(&state) % MODEL_PAGES;
		uint64_t at = DATA + page * PAGE;
		uint8_t flags = (uint8_t)(1 + random_next(&state) % 3);
		uint32_t type = random_next(&state) % 2 ? BLK_IN : BLK_OUT;
		bool may = model[page] & (type == BLK_IN ? MAP_W : MAP_R);
		int got;

		switch (random_next(&state) % 4) {
		case 0:
			got = iommu_map(1, at, at + PAGE - 1, (uint64_t)ram + page * PAGE, flags);
			EXPECT(got == (model[page] ? IOMMU_INVAL : IOMMU_OK), "%u: map %d", i, got);
			if (!model[page])
				model[page] = flags;
			break;
		case 1:
			EXPECT(iommu_unmap(1, at, at + PAGE - 1) == IOMMU_OK, "%u: unmap", i);
			model[page] = 0;
			break;
		default:
			got = simple(type, 500 + page * 8, at, PAGE);
			EXPECT(got == (may ? BLK_S_OK : BLK_S_IOERR), "%u: access 0x%x", i, got);
			if (may)
				break;
			EXPECT_OK(expect_fault(at, type == BLK_IN ? FAULT_WRITE : FAULT_READ,
					       FAULT_MAPPING));
			iommu_add_event((uint16_t)(mmu.events.used_idx - 1) % 16,
					sizeof(struct iommu_fault));
		}
	}
	return still_works();
}

void iommu_access_cases(void)
{
	uint64_t seed = boot_option_number("seed", 1);

	tap_case(through, 0, "a disk reads and writes through it");
	for (uint64_t n = 2; n <= 16; n *= 2)
		tap_case(crossing, n, "a buffer of %lu mappings", n);
	tap_case(crossing, 3, "a buffer of 3 mappings");
	for (unsigned i = 0; i < ARRAY_LEN(access_cases); i++)
		tap_case(access, i, "access: %s", access_cases[i].name);
	tap_case(header_unmapped, 0, "access: header unmapped");
	tap_case(status_unmapped, 0, "access: status unmapped");
	tap_case(status_unmapped, MAP_R, "access: status read-only");
	tap_case(indirect, 1, "access: indirect table");
	tap_case(indirect, 0, "access: indirect table unmapped");
	tap_case(indirect, 2, "access: indirect table write-only");
	tap_case(after_unmap, 0, "what was unmapped is not reached any more");
	tap_case(unmap_in_flight, 0, "unmap of what is in flight waits for it");
	tap_case(other_domain, 0, "domains are apart");
	tap_case(two_disks, 0, "two disks in one domain");
	tap_case(detached, 0, "who is detached reaches nothing");
	tap_case(detached, 1, "who is detached passes through with bypass");
	tap_case(detach_active, 0, "detach of a disk at work");
	tap_case(bypass_domain, 0, "a bypass domain passes through");
	tap_case(move_active, 0, "move of a disk at work");
	tap_case(rings_unmapped, 0, "rings unmapped under an idle disk");
	tap_case(rings_mapped_again, 0, "rings unmapped and mapped again");
	tap_case(ring_permission, 'd', "descriptors that cannot be read");
	tap_case(ring_permission, 'a', "available ring that cannot be read");
	tap_case(ring_permission, 'u', "used ring that cannot be written");
	tap_case(fault_waits, 0, "a fault waits for a buffer");
	tap_case(fault_small_buffer, 0, "a fault and a buffer that is too small");
	tap_case(fault_flood, 0, "500 faults");
	tap_case(iommu_reset_under_disk, 0, "reset under a disk at work");
	tap_case(reset_with_work, 0, "resets with requests in flight");
	for (uint64_t i = 0; i < 10; i++)
		tap_case(random_accesses, seed + i, "random accesses %lu", seed + i);
}
