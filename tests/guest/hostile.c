/* SPDX-License-Identifier: Apache-2.0 */
/* The hostile suite: the victim, what is checked after each case, and what its files share. */
#include "hostile.h"
#include "modes.h"

#define PAGE 4096u
#define GUARD 0xc7

struct victim victim;

static struct vdev *victim_dev;
static struct blk other; /* the second disk */
static uint8_t *other_data, *other_before, *good_data, *guards;

const char *victim_start_size(uint64_t features, uint16_t size)
{
	EXPECT(blk_start(&victim.blk, victim_dev, features, size),
	       "the victim does not start, status 0x%x", vdev_status(victim_dev));
	EXPECT(victim_dev->features == ((features | FEATURE_VERSION_1) & vdev_offered(victim_dev)),
	       "features");
	EXPECT(vdev_queue_is_enabled(victim_dev, 0), "the victim's queue is not enabled");
	victim.table = memory_alloc(64 * sizeof(*victim.table), 16);
	memset(victim.data, 0, DATA_BYTES);
	return NULL;
}

const char *victim_start(uint64_t features)
{
	return victim_start_size(features, VICTIM_QUEUE_SIZE);
}

void victim_header(uint32_t type, uint64_t sector)
{
	*victim.blk.header = (struct blk_header){ .type = type, .sector = sector };
	*victim.blk.status = BLK_S_NONE;
}

const char *victim_needs_reset(void)
{
	return queue_needs_reset(&victim.blk.vq);
}

const char *victim_good_request(void)
{
	int status = blk_request(&victim.blk, BLK_IN, GOOD_SECTOR, good_data, SECTOR);

	EXPECT(status == BLK_S_OK, "a good request ends with %d, device status 0x%x", status,
	       vdev_status(victim_dev));
	EXPECT(victim.blk.used_len == SECTOR + 1, "a good request has used length %u",
	       victim.blk.used_len);
	for (unsigned i = 0; i < SECTOR; i++)
		EXPECT(good_data[i] == (uint8_t)(GOOD_SECTOR + i), "good data differ at %u", i);
	return NULL;
}

static const char *victim_answer(uint16_t head, int status, uint32_t used_len)
{
	struct vring_used_elem elem;

	EXPECT(vq_wait(&victim.blk.vq, TIMEOUT_REQUEST, &elem), "no answer, device status 0x%x",
	       vdev_status(victim_dev));
	EXPECT(elem.id == head, "used id %u, not %u", elem.id, head);
	EXPECT(status == BLK_S_NONE || *victim.blk.status == status,
	       "status byte 0x%x, not 0x%x; used length %u", *victim.blk.status, status, elem.len);
	EXPECT(elem.len == used_len, "used length %u, not %u; status byte 0x%x", elem.len,
	       used_len, *victim.blk.status);
	return victim_good_request();
}

const char *victim_outcome(uint16_t head, enum outcome outcome, int status, uint32_t used_len)
{
	switch (outcome) {
	case OUTCOME_STATUS:
		return victim_answer(head, status, used_len);
	case OUTCOME_USED_0:
		return victim_answer(head, BLK_S_NONE, 0);
	case OUTCOME_RESET:
		return victim_needs_reset();
	case OUTCOME_IGNORED:
		time_sleep(1);
		EXPECT(!vq_pending(&victim.blk.vq), "it was answered");
		return victim_good_request();
	}
	return "no such outcome";
}

unsigned hostile_partner(void)
{
	static unsigned n;

	if (!n)
		n = smp_start();
	return n > 1 ? smp_cpu(0) : 0;
}

/* The victim comes back by a reset and nothing else. */
static const char *victim_recovers(void)
{
	EXPECT(vdev_reset(victim_dev), "no reset afterwards, status 0x%x", vdev_status(victim_dev));
	EXPECT_OK(victim_start(0));
	EXPECT_OK(victim_good_request());
	EXPECT(vdev_reset(victim_dev), "no second reset");
	return NULL;
}

static const char *other_works(void)
{
	int status = blk_request(&other, BLK_IN, 0, other_data, SECTOR);

	EXPECT(status == BLK_S_OK, "the other disk answers %d, device status 0x%x", status,
	       vdev_status(other.dev));
	EXPECT(memcmp(other_data, other_before, SECTOR) == 0, "the other disk's data differ");
	return NULL;
}

static const char *guards_hold(void)
{
	for (unsigned i = 0; i < PAGE; i++) {
		EXPECT(guards[i] == GUARD, "byte %u before the buffer was written", i);
		EXPECT(guards[PAGE + DATA_BYTES + i] == GUARD, "byte %u behind the buffer", i);
	}
	return NULL;
}

const char *victim_and_others_work(void)
{
	EXPECT_OK(victim_recovers());
	EXPECT_OK(other_works());
	return guards_hold();
}

const struct hostile_target victim_target = { .prefix = "", .recovers = victim_and_others_work };

static bool hostile_seed(void)
{
	struct blk blk;

	for (unsigned s = 0; s < DATA_BYTES / SECTOR; s++) {
		for (unsigned i = 0; i < SECTOR; i++)
			victim.data[s * SECTOR + i] = (uint8_t)(s + i);
	}
	return blk_start(&blk, victim_dev, 0, 16) &&
	       blk_request(&blk, BLK_OUT, 0, victim.data, DATA_BYTES) == BLK_S_OK;
}

static bool hostile_prepare(void)
{
	struct vdev *second;

	victim_dev = discover_nth(VIRTIO_ID_BLK, 0);
	second = discover_nth(VIRTIO_ID_BLK, 1);
	if (!victim_dev || !second)
		return false;
	guards = memory_alloc(DATA_BYTES + 2 * PAGE, PAGE);
	memset(guards, GUARD, DATA_BYTES + 2 * PAGE);
	victim.data = guards + PAGE;
	good_data = memory_alloc(SECTOR, 16);
	other_data = memory_alloc(SECTOR, 16);
	other_before = memory_alloc(SECTOR, 16);
	for (unsigned i = 0; i < n_ram_regions; i++) {
		if (memory_is_ram((uint64_t)guards, 1) && ram_regions[i].start <= (uint64_t)guards)
			victim.ram_end = ram_regions[i].start + ram_regions[i].size;
		if (victim.ram_end > (uint64_t)guards)
			break;
	}
	victim.blk.dev = victim_dev; /* for cases that come before its first start */
	victim.capacity = blk_capacity(victim_dev);
	return hostile_seed() && blk_start(&other, second, 0, 16) &&
	       blk_request(&other, BLK_IN, 0, other_before, SECTOR) == BLK_S_OK;
}

/* Nothing that was not written on purpose has changed on the victim's disk. */
static const char *disk_is_intact(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(victim_start(0));
	EXPECT(blk_request(&victim.blk, BLK_IN, 0, victim.data, DATA_BYTES) == BLK_S_OK, "read");
	for (unsigned i = 0; i < DATA_BYTES; i++)
		EXPECT(victim.data[i] == (uint8_t)(i / SECTOR + i % SECTOR), "byte %u differs", i);
	return NULL;
}

void hostile_run(void)
{
	discover();
	if (!hostile_prepare()) {
		print("Bail out! two disks are needed, the first one writable\n");
		return;
	}
	hostile_setup();
	hostile_status();
	hostile_registers();
	hostile_config();
	hostile_pci();
	hostile_console();
	hostile_rng();
	hostile_random();
	if (!boot_option("registers", NULL, 0)) { /* these are the same with every transport */
		hostile_chain();
		hostile_indirect();
		hostile_blk();
		hostile_ring();
		hostile_race();
	}
	hostile_case(disk_is_intact, 0, "row 8", "sectors that no case writes are intact");
	tap_done();
}
