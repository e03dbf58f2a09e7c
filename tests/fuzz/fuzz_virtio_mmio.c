/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any sequence of register accesses against the rules of VIRTIO 1.2 §2.1, §3.1.1 and §4.2.2.
 *
 * Input: struct start, then per access: how (1 byte), offset (2 bytes), value (4 bytes).
 */
#include "tests/fuzz/fuzz.h"
#include "tests/unit/virtio_mmio_registers.h"
#include "vmm-core/transport/virtio_mmio.h"

#define ACCESSES_MAX 128u
#define LOW_RAM 0x100000u
#define HIGH_RAM_GPA UINT64_C(0x100000000)
#define VERSION_1 (UINT64_C(1) << 32)
#define ACCESS_PLATFORM (UINT64_C(1) << 33)

struct start {
	uint64_t features;
	uint8_t n_queues;
	uint8_t queue_size_shift;
} __attribute__((packed));

static const struct guest_region ram[2] = { { 0, LOW_RAM }, { HIGH_RAM_GPA, LOW_RAM } };

/* Behind an IOMMU (ACCESS_PLATFORM) an address only must not wrap: the device translates it. */
static bool is_allowed(uint64_t at, uint64_t len, bool is_translated)
{
	if (is_translated)
		return len - 1 <= UINT64_MAX - at;
	for (uint32_t i = 0; i < 2; i++)
		if (at >= ram[i].gpa && at - ram[i].gpa < ram[i].size &&
		    len <= ram[i].size - (at - ram[i].gpa))
			return true;
	return false;
}

static bool is_apart(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a < b ? b - a >= a_len : a - b >= b_len;
}

/* VIRTIO 1.2 §2.7.1: what a device may be handed. */
static void check_ready_queue(const struct virtio_queue *q, uint32_t size_max, bool is_translated)
{
	uint64_t desc = 16ull * q->size, avail = 6 + 2ull * q->size, used = 6 + 8ull * q->size;

	fuzz_check(q->size > 0 && q->size <= size_max && __builtin_popcount(q->size) == 1);
	fuzz_check(q->desc % 16 == 0 && q->avail % 2 == 0 && q->used % 4 == 0);
	fuzz_check(is_allowed(q->desc, desc, is_translated) &&
		   is_allowed(q->avail, avail, is_translated) &&
		   is_allowed(q->used, used, is_translated));
	fuzz_check(is_apart(q->desc, desc, q->avail, avail) &&
		   is_apart(q->desc, desc, q->used, used) &&
		   is_apart(q->avail, avail, q->used, used));
}

/* At any moment. */
static void check_state(const struct virtio_state *regs)
{
	uint32_t status = regs->status;

	fuzz_check((status & ~0xcfu) == 0);
	fuzz_check(!(status & VIRTIO_STATUS_DRIVER) || (status & VIRTIO_STATUS_ACKNOWLEDGE));
	fuzz_check(!(status & VIRTIO_STATUS_FEATURES_OK) || (status & VIRTIO_STATUS_DRIVER));
	fuzz_check(!(status & VIRTIO_STATUS_DRIVER_OK) || (status & VIRTIO_STATUS_FEATURES_OK));
	fuzz_check(!(status & VIRTIO_STATUS_NEEDS_RESET) || (status & VIRTIO_STATUS_FEATURES_OK));
	if (status & VIRTIO_STATUS_FEATURES_OK) {
		fuzz_check(!regs->driver_features_beyond);
		fuzz_check((regs->driver_features & ~regs->features) == 0);
		fuzz_check(regs->driver_features & VERSION_1);
		fuzz_check((regs->driver_features & ACCESS_PLATFORM) ==
			   (regs->features & ACCESS_PLATFORM));
	}
	for (uint32_t i = 0; i < regs->n_queues; i++)
		if (regs->queues[i].ready)
			check_ready_queue(&regs->queues[i], regs->queue_size_max,
					  regs->features & ACCESS_PLATFORM);
}

/* Queues that do not exist have no settings. */
static void check_absent_queues(const struct virtio_state *regs)
{
	static const struct virtio_queue none[DEVICE_QUEUES_MAX];
	uint32_t n = DEVICE_QUEUES_MAX - regs->n_queues;

	fuzz_check(memcmp(&regs->queues[regs->n_queues], none, n * sizeof(none[0])) == 0);
}

static bool is_same_session(const struct virtio_state *a, const struct virtio_state *b)
{
	return a->status == b->status && a->device_features_sel == b->device_features_sel &&
	       a->driver_features_sel == b->driver_features_sel && a->queue_sel == b->queue_sel &&
	       a->driver_features == b->driver_features &&
	       a->driver_features_beyond == b->driver_features_beyond &&
	       memcmp(a->queues, b->queues, sizeof(a->queues)) == 0;
}

/* What one write may have changed. */
static void check_change(const struct virtio_state *old, const struct virtio_state *now,
			 uint64_t offset, enum virtio_action action)
{
	const uint32_t dead = VIRTIO_STATUS_NEEDS_RESET | VIRTIO_STATUS_FAILED;
	bool may_set_up = (old->status & VIRTIO_STATUS_FEATURES_OK) &&
			  !(old->status & (VIRTIO_STATUS_DRIVER_OK | dead));
	uint32_t added = now->status & ~old->status;

	fuzz_check((old->status & ~now->status) == 0);
	fuzz_check(offset == VIRTIO_MMIO_STATUS || added == 0);
	fuzz_check(!(added & VIRTIO_STATUS_NEEDS_RESET)); /* the device's to set */
	fuzz_check(!(old->status & dead) || added == 0);
	fuzz_check(!(added & VIRTIO_STATUS_FEATURES_OK) || now->is_usable);
	fuzz_check((action == VIRTIO_ACTIVATE) == ((added & VIRTIO_STATUS_DRIVER_OK) != 0));
	if (!may_set_up)
		fuzz_check(memcmp(old->queues, now->queues, sizeof(old->queues)) == 0);
	if ((old->status & (VIRTIO_STATUS_FEATURES_OK | dead)) ||
	    !(old->status & VIRTIO_STATUS_DRIVER))
		fuzz_check(old->driver_features == now->driver_features &&
			   old->driver_features_beyond == now->driver_features_beyond);
	for (uint32_t i = 0; i < now->n_queues; i++) /* a ready queue is taken back first */
		if (old->queues[i].ready && now->queues[i].ready)
			fuzz_check(memcmp(&old->queues[i], &now->queues[i],
					  sizeof(old->queues[i])) == 0);
	fuzz_check(now->n_ignored == old->n_ignored || is_same_session(old, now));
}

static void do_write(struct virtio_state *regs, uint64_t offset, unsigned size, uint64_t value)
{
	static struct virtio_state old;
	enum virtio_action action;
	bool is_register = size == 4 && offset % 4 == 0 && offset < VIRTIO_MMIO_CONFIG;

	old = *regs;
	action = virtio_state_write(regs, &virtio_mmio_map, offset, size, value);
	fuzz_check(regs->n_ignored == old.n_ignored || regs->n_ignored == old.n_ignored + 1);
	check_change(&old, regs, offset, action);
	if (!is_register)
		fuzz_check(regs->n_ignored == old.n_ignored + 1 && action == VIRTIO_NOTHING);
	fuzz_check((action == VIRTIO_RESET) ==
		   (is_register && offset == VIRTIO_MMIO_STATUS && (uint32_t)value == 0));
	fuzz_check((action == VIRTIO_ACKNOWLEDGE) ==
		   (is_register && offset == VIRTIO_MMIO_INTERRUPT_ACK));
	if (action == VIRTIO_RESET) {
		static struct virtio_state fresh;

		memset(&fresh, 0, sizeof(fresh));
		for (uint32_t i = 0; i < regs->n_queues; i++)
			fresh.queues[i].size = regs->queue_size_max;
		virtio_state_reset(regs);
		fuzz_check(is_same_session(regs, &fresh));
	}
}

static void do_read(const struct virtio_state *regs, uint64_t offset, unsigned size)
{
	uint32_t v = virtio_state_read(regs, &virtio_mmio_map, offset, size);

	if (size != 4 || offset % 4 != 0 || offset >= VIRTIO_MMIO_CONFIG)
		fuzz_check(v == 0);
	else if (offset == VIRTIO_MMIO_STATUS)
		fuzz_check(v == regs->status);
	else if (offset == VIRTIO_MMIO_QUEUE_SIZE_MAX)
		fuzz_check(v == (regs->queue_sel < regs->n_queues ? regs->queue_size_max : 0));
	else if (offset == VIRTIO_MMIO_QUEUE_READY)
		fuzz_check(v == (regs->queue_sel < regs->n_queues &&
				 regs->queues[regs->queue_sel].ready));
	else if (offset == VIRTIO_MMIO_MAGIC_VALUE)
		fuzz_check(v == 0x74726976);
}

/* The device breaks; or it becomes, or stops being, usable. */
static void do_owner(struct virtio_state *regs, uint8_t how)
{
	uint32_t old = regs->status;
	bool wants;

	if (how & 0x10) {
		regs->is_usable = how & 0x20;
		return;
	}
	wants = virtio_state_fail(regs);
	fuzz_check((old & ~regs->status) == 0);
	fuzz_check(!wants ||
		   ((regs->status & VIRTIO_STATUS_NEEDS_RESET) &&
		    !(old & VIRTIO_STATUS_NEEDS_RESET) && (old & VIRTIO_STATUS_DRIVER_OK)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned sizes[] = { 1, 2, 4, 8 };
	static struct virtio_state regs;
	struct fuzz_reader in = { data, size };
	struct start s;

	fuzz_bytes(&in, &s, sizeof(s));
	memset(&regs, 0, sizeof(regs));
	regs.device_id = 2;
	regs.features = s.features | VERSION_1;
	regs.n_queues = 1 + s.n_queues % DEVICE_QUEUES_MAX;
	regs.queue_size_max = 1u << s.queue_size_shift % 11;
	regs.ram = ram;
	regs.n_ram = 2;
	regs.is_usable = true;
	for (uint32_t i = 0; i < ACCESSES_MAX && in.left > 0; i++) {
		uint8_t how = fuzz_u8(&in);
		uint64_t offset = fuzz_u16(&in);
		uint64_t value = fuzz_u32(&in);
		unsigned width = how & 0x80 ? sizes[how & 3] : 4;

		if ((how & 0xc) == 0xc)
			do_owner(&regs, how);
		else if ((how & 0xc) == 0x8)
			do_read(&regs, offset % 0x200, width);
		else
			do_write(&regs, how & 0x40 ? offset : offset % 0x200, width, value);
		check_state(&regs);
	}
	check_absent_queues(&regs);
	return 0;
}
