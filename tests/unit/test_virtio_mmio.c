/* SPDX-License-Identifier: Apache-2.0 */
/* virtio_mmio: the pure registers alone, then the whole with a scripted device process. */
#include "fake_device.h"
#include "vmm-core/transport/virtio_mmio.h"
#include "virtio_mmio_registers.h"

#define ACK VIRTIO_STATUS_ACKNOWLEDGE
#define DRIVER (ACK | VIRTIO_STATUS_DRIVER)
#define FEATURES_OK (DRIVER | VIRTIO_STATUS_FEATURES_OK)
#define DRIVER_OK (FEATURES_OK | VIRTIO_STATUS_DRIVER_OK)
#define NEEDS_RESET VIRTIO_STATUS_NEEDS_RESET

static const struct guest_region ram[] = {
	{ .gpa = 0x100000, .size = 0x100000 },
	{ .gpa = 0x200000, .size = 0x100000 }, /* adjacent, but another region */
	{ .gpa = UINT64_MAX - 0xfff, .size = 0x1000 }, /* up to the last byte there is */
};

static struct virtio_state make_regs(void)
{
	return (struct virtio_state){ .device_id = 2,
					  .features = FAKE_VERSION_1 | 0x206,
					  .n_queues = 2,
					  .queue_size_max = 256,
					  .ram = ram,
					  .n_ram = 3,
					  .is_usable = true };
}

static uint32_t get(struct virtio_state *r, uint32_t offset)
{
	return virtio_state_read(r, &virtio_mmio_map, offset, 4);
}

static enum virtio_action put(struct virtio_state *r, uint32_t offset, uint32_t value)
{
	return virtio_state_write(r, &virtio_mmio_map, offset, 4, value);
}

/* A write that must have no effect: it is counted, and the registers stay as they were. */
static void put_in_vain(struct virtio_state *r, uint32_t offset, uint32_t value)
{
	struct virtio_state before = *r;

	before.n_ignored++;
	cr_assert_eq(put(r, offset, value), VIRTIO_NOTHING);
	cr_assert_eq(memcmp(&before, r, sizeof(before)), 0, "offset %#x value %#x", offset, value);
}

static void accept_features(struct virtio_state *r)
{
	put(r, VIRTIO_MMIO_STATUS, ACK);
	put(r, VIRTIO_MMIO_STATUS, DRIVER);
	put(r, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	put(r, VIRTIO_MMIO_DRIVER_FEATURES, 1);
	put(r, VIRTIO_MMIO_STATUS, FEATURES_OK);
	cr_assert_eq(get(r, VIRTIO_MMIO_STATUS), FEATURES_OK);
}

static void set_queue(struct virtio_state *r, uint32_t size, uint64_t desc, uint64_t avail,
		      uint64_t used)
{
	put(r, VIRTIO_MMIO_QUEUE_SIZE, size);
	put(r, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)desc);
	put(r, VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(desc >> 32));
	put(r, VIRTIO_MMIO_QUEUE_DRIVER_LOW, (uint32_t)avail);
	put(r, VIRTIO_MMIO_QUEUE_DRIVER_HIGH, (uint32_t)(avail >> 32));
	put(r, VIRTIO_MMIO_QUEUE_DEVICE_LOW, (uint32_t)used);
	put(r, VIRTIO_MMIO_QUEUE_DEVICE_HIGH, (uint32_t)(used >> 32));
}

static bool is_accepted(uint32_t size, uint64_t desc, uint64_t avail, uint64_t used)
{
	struct virtio_state r = make_regs();
	bool ready;

	accept_features(&r);
	set_queue(&r, size, desc, avail, used);
	put(&r, VIRTIO_MMIO_QUEUE_READY, 1);
	ready = get(&r, VIRTIO_MMIO_QUEUE_READY) == 1;
	cr_assert_eq(r.n_ignored, ready ? 0 : 1);
	cr_assert_eq(get(&r, VIRTIO_MMIO_STATUS), FEATURES_OK);
	return ready;
}

static struct virtio_state make_active(void)
{
	struct virtio_state r = make_regs();

	accept_features(&r);
	set_queue(&r, 16, 0x100000, 0x101000, 0x102000);
	put(&r, VIRTIO_MMIO_QUEUE_READY, 1);
	cr_assert_eq(put(&r, VIRTIO_MMIO_STATUS, DRIVER_OK), VIRTIO_ACTIVATE);
	return r;
}

/* ---- reading ---- */

Test(regs, constants_read_as_the_spec_says)
{
	struct virtio_state r = make_regs();

	cr_assert_eq(get(&r, 0x000), 0x74726976);
	cr_assert_eq(get(&r, 0x004), 2);
	cr_assert_eq(get(&r, 0x008), 2);
	cr_assert_eq(get(&r, 0x00c), 0x44484b42);
	for (uint32_t sel = 0; sel < 3; sel++) {
		put(&r, VIRTIO_MMIO_SHM_SEL, sel);
		for (uint32_t at = 0x0b0; at <= 0x0bc; at += 4)
			cr_assert_eq(get(&r, at), UINT32_MAX);
	}
	cr_assert_eq(get(&r, VIRTIO_MMIO_QUEUE_RESET), 0);
	cr_assert_eq(get(&r, VIRTIO_MMIO_STATUS), 0);
}

Test(regs, features_are_read_in_halves)
{
	struct virtio_state r = make_regs();

	cr_assert_eq(get(&r, VIRTIO_MMIO_DEVICE_FEATURES), 0x206);
	put(&r, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	cr_assert_eq(get(&r, VIRTIO_MMIO_DEVICE_FEATURES), 1);
	put(&r, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
	cr_assert_eq(get(&r, VIRTIO_MMIO_DEVICE_FEATURES), 0);
	put(&r, VIRTIO_MMIO_DEVICE_FEATURES_SEL, UINT32_MAX);
	cr_assert_eq(get(&r, VIRTIO_MMIO_DEVICE_FEATURES), 0);
}

Test(regs, write_only_and_unknown_registers_read_as_zero)
{
	static const uint32_t known[] = { 0x000, 0x004, 0x008, 0x00c, 0x010, 0x034,
					  0x044, 0x070, 0x0b0, 0x0b4, 0x0b8, 0x0bc };
	struct virtio_state r = make_active();
	uint32_t n_known = 0;

	for (uint32_t at = 0; at < 0x100; at += 4) {
		if (n_known < ARRAY_LEN(known) && at == known[n_known])
			n_known++;
		else
			cr_assert_eq(get(&r, at), 0, "%#x", at);
	}
	cr_assert_eq(n_known, ARRAY_LEN(known));
}

Test(regs, only_aligned_32_bit_accesses_count)
{
	static const unsigned sizes[] = { 1, 2, 4, 8 };
	struct virtio_state r = make_active();

	for (uint32_t at = 0; at < 0x100; at++) {
		for (uint32_t i = 0; i < ARRAY_LEN(sizes); i++) {
			struct virtio_state before = r;

			if (sizes[i] == 4 && at % 4 == 0)
				continue;
			cr_assert_eq(virtio_state_read(&r, &virtio_mmio_map, at, sizes[i]), 0);
			cr_assert_eq(virtio_state_write(&r, &virtio_mmio_map, at, sizes[i], 0),
				     VIRTIO_NOTHING);
			before.n_ignored++;
			cr_assert_eq(memcmp(&before, &r, sizeof(r)), 0);
		}
	}
	cr_assert_eq(virtio_state_read(&r, &virtio_mmio_map, 0x100, 4), 0);
	cr_assert_eq(virtio_state_read(&r, &virtio_mmio_map, UINT64_MAX - 3, 4), 0);
}

Test(regs, read_only_registers_ignore_writes)
{
	static const uint32_t read_only[] = { 0x000, 0x004, 0x008, 0x00c, 0x010, 0x018, 0x034, 0x060,
					      0x0b0, 0x0b4, 0x0b8, 0x0bc, 0x0c0, 0x0fc, 0x050 };
	struct virtio_state r = make_regs();

	accept_features(&r);
	for (uint32_t i = 0; i < ARRAY_LEN(read_only); i++)
		put_in_vain(&r, read_only[i], 1);
}

Test(regs, acknowledge_is_the_owners)
{
	struct virtio_state r = make_active();

	cr_assert_eq(put(&r, VIRTIO_MMIO_INTERRUPT_ACK, 3), VIRTIO_ACKNOWLEDGE);
}

/* ---- status ---- */

Test(status, goes_up_in_order)
{
	struct virtio_state r = make_regs();

	for (uint32_t bit = 2; bit < 0x40; bit <<= 1) { /* nothing without ACKNOWLEDGE */
		put(&r, VIRTIO_MMIO_STATUS, bit);
		cr_assert_eq(get(&r, VIRTIO_MMIO_STATUS), 0);
	}
	put(&r, VIRTIO_MMIO_STATUS, ACK);
	cr_assert_eq(get(&r, VIRTIO_MMIO_STATUS), ACK);
	put(&r, VIRTIO_MMIO_STATUS, ACK | VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK);
	cr_assert_eq(get(&r, VIRTIO_MMIO_STATUS), ACK);
	put(&r, VIRTIO_MMIO_STATUS, DRIVER);
	cr_assert_eq(get(&r, VIRTIO_MMIO_STATUS), DRIVER);
	cr_assert_eq(put(&r, VIRTIO_MMIO_STATUS, DRIVER | VIRTIO_STATUS_DRIVER_OK),
		     VIRTIO_NOTHING);
	cr_assert_eq(get(&r, VIRTIO_MMIO_STATUS), DRIVER);
}

Test(status, undefined_and_device_bits_never_stick)
{
	struct virtio_state r = make_regs();

	put(&r, VIRTIO_MMIO_STATUS, 0xffffff70 | ACK);
	cr_assert_eq(get(&r, VIRTIO_MMIO_STATUS), ACK);
}

Test(status, bits_are_not_cleared_but_by_reset)
{
	struct virtio_state r = make_active();

	put_in_vain(&r, VIRTIO_MMIO_STATUS, ACK);
	put_in_vain(&r, VIRTIO_MMIO_STATUS, FEATURES_OK);
	put_in_vain(&r, VIRTIO_MMIO_STATUS, VIRTIO_STATUS_DRIVER_OK);
	cr_assert_eq(put(&r, VIRTIO_MMIO_STATUS, DRIVER_OK), VIRTIO_NOTHING);
	cr_assert_eq(put(&r, VIRTIO_MMIO_STATUS, 0), VIRTIO_RESET);
}

Test(status, features_ok_needs_version_1)
{
	struct virtio_state r = make_regs();

	put(&r, VIRTIO_MMIO_STATUS, DRIVER);
	put(&r, VIRTIO_MMIO_DRIVER_FEATURES, 0x200);
	put(&r, VIRTIO_MMIO_STATUS, FEATURES_OK);
	cr_assert_eq(get(&r, VIRTIO_MMIO_STATUS), DRIVER);
	cr_assert_eq(put(&r, VIRTIO_MMIO_STATUS, DRIVER_OK), VIRTIO_NOTHING);
	cr_assert_eq(get(&r, VIRTIO_MMIO_STATUS), DRIVER);
}

Test(status, features_ok_needs_a_subset_and_may_be_tried_again)
{
	struct virtio_state r = make_regs();

	put(&r, VIRTIO_MMIO_STATUS, DRIVER);
	put(&r, VIRTIO_MMIO_DRIVER_FEATURES, 0x207);
	put(&r, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	put(&r, VIRTIO_MMIO_DRIVER_FEATURES, 1);
	put(&r, VIRTIO_MMIO_STATUS, FEATURES_OK);
	cr_assert_eq(get(&r, VIRTIO_MMIO_STATUS), DRIVER);
	put(&r, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	put(&r, VIRTIO_MMIO_DRIVER_FEATURES, 0x204);
	put(&r, VIRTIO_MMIO_STATUS, FEATURES_OK);
	cr_assert_eq(get(&r, VIRTIO_MMIO_STATUS), FEATURES_OK);
	cr_assert_eq(r.driver_features, FAKE_VERSION_1 | 0x204);
}

Test(status, features_above_63_are_refused)
{
	struct virtio_state r = make_regs();

	put(&r, VIRTIO_MMIO_STATUS, DRIVER);
	put(&r, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	put(&r, VIRTIO_MMIO_DRIVER_FEATURES, 1);
	put(&r, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 2);
	put(&r, VIRTIO_MMIO_DRIVER_FEATURES, 0);
	cr_assert_eq(r.driver_features_beyond, false);
	put(&r, VIRTIO_MMIO_DRIVER_FEATURES, 1);
	put(&r, VIRTIO_MMIO_STATUS, FEATURES_OK);
	cr_assert_eq(get(&r, VIRTIO_MMIO_STATUS), DRIVER);
}

Test(status, features_are_frozen_outside_their_step)
{
	struct virtio_state r = make_regs();

	put_in_vain(&r, VIRTIO_MMIO_DRIVER_FEATURES, 2);
	put(&r, VIRTIO_MMIO_STATUS, ACK);
	put_in_vain(&r, VIRTIO_MMIO_DRIVER_FEATURES, 2);
	r = make_regs();
	accept_features(&r);
	put_in_vain(&r, VIRTIO_MMIO_DRIVER_FEATURES, 0);
}

Test(status, failed_by_the_driver_leaves_only_reset)
{
	struct virtio_state r = make_regs();

	put(&r, VIRTIO_MMIO_STATUS, DRIVER | VIRTIO_STATUS_FAILED);
	cr_assert_eq(get(&r, VIRTIO_MMIO_STATUS), DRIVER | VIRTIO_STATUS_FAILED);
	put_in_vain(&r, VIRTIO_MMIO_DRIVER_FEATURES, 2);
	put_in_vain(&r, VIRTIO_MMIO_STATUS, FEATURES_OK | VIRTIO_STATUS_FAILED);
	cr_assert_eq(put(&r, VIRTIO_MMIO_STATUS, 0), VIRTIO_RESET);
}

Test(status, needs_reset_leaves_only_reset)
{
	struct virtio_state r = make_active();

	cr_assert_eq(virtio_state_fail(&r), true);
	cr_assert_eq(virtio_state_fail(&r), false);
	cr_assert_eq(get(&r, VIRTIO_MMIO_STATUS), DRIVER_OK | NEEDS_RESET);
	put_in_vain(&r, VIRTIO_MMIO_STATUS, DRIVER_OK);
	put_in_vain(&r, VIRTIO_MMIO_STATUS, DRIVER_OK | NEEDS_RESET);
	put_in_vain(&r, VIRTIO_MMIO_QUEUE_READY, 0);
	cr_assert_eq(put(&r, VIRTIO_MMIO_STATUS, 0), VIRTIO_RESET);
	virtio_state_reset(&r);
	cr_assert_eq(get(&r, VIRTIO_MMIO_STATUS), 0);
	accept_features(&r);
}

Test(status, failure_before_features_ok_shows_nothing)
{
	struct virtio_state r = make_regs();

	cr_assert_eq(virtio_state_fail(&r), false);
	put(&r, VIRTIO_MMIO_STATUS, DRIVER);
	cr_assert_eq(virtio_state_fail(&r), false);
	cr_assert_eq(get(&r, VIRTIO_MMIO_STATUS), DRIVER);
}

Test(status, failure_between_features_ok_and_driver_ok_blocks_without_interrupt)
{
	struct virtio_state r = make_regs();

	accept_features(&r);
	cr_assert_eq(virtio_state_fail(&r), false);
	cr_assert_eq(get(&r, VIRTIO_MMIO_STATUS), FEATURES_OK | NEEDS_RESET);
	put_in_vain(&r, VIRTIO_MMIO_STATUS, DRIVER_OK);
	put_in_vain(&r, VIRTIO_MMIO_QUEUE_SIZE, 16);
}

Test(status, unusable_device_refuses_features_ok)
{
	struct virtio_state r = make_regs();

	r.is_usable = false;
	put(&r, VIRTIO_MMIO_STATUS, DRIVER);
	put(&r, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	put(&r, VIRTIO_MMIO_DRIVER_FEATURES, 1);
	put(&r, VIRTIO_MMIO_STATUS, FEATURES_OK);
	cr_assert_eq(get(&r, VIRTIO_MMIO_STATUS), DRIVER);
}

Test(status, reset_returns_everything_to_its_initial_value)
{
	struct virtio_state fresh = make_regs(), r = make_active();

	put(&r, VIRTIO_MMIO_QUEUE_SEL, 1);
	put(&r, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	virtio_state_reset(&r);
	cr_assert_eq(memcmp(&fresh, &r, sizeof(r)), 0);
}

/* ---- queues ---- */

Test(queue, selector_out_of_range_reads_zero_and_ignores_writes)
{
	static const uint32_t outside[] = { 2, 63, 64, 65, UINT32_MAX };
	struct virtio_state r = make_regs();

	cr_assert_eq(get(&r, VIRTIO_MMIO_QUEUE_SIZE_MAX), 256);
	accept_features(&r);
	for (uint32_t i = 0; i < ARRAY_LEN(outside); i++) {
		put(&r, VIRTIO_MMIO_QUEUE_SEL, outside[i]);
		cr_assert_eq(get(&r, VIRTIO_MMIO_QUEUE_SIZE_MAX), 0);
		cr_assert_eq(get(&r, VIRTIO_MMIO_QUEUE_READY), 0);
		put_in_vain(&r, VIRTIO_MMIO_QUEUE_SIZE, 16);
		put_in_vain(&r, VIRTIO_MMIO_QUEUE_READY, 1);
		put_in_vain(&r, VIRTIO_MMIO_QUEUE_DESC_LOW, 0x100000);
		put_in_vain(&r, VIRTIO_MMIO_QUEUE_DEVICE_HIGH, 1);
	}
	put(&r, VIRTIO_MMIO_QUEUE_SEL, 1);
	cr_assert_eq(get(&r, VIRTIO_MMIO_QUEUE_SIZE_MAX), 256);
}

static void expect_frozen(struct virtio_state *r)
{
	put_in_vain(r, VIRTIO_MMIO_QUEUE_SIZE, 16);
	for (uint32_t at = VIRTIO_MMIO_QUEUE_DESC_LOW; at <= VIRTIO_MMIO_QUEUE_DEVICE_HIGH;
	     at += at % 8 == 0 ? 4 : 12)
		put_in_vain(r, at, 0x200000);
	put_in_vain(r, VIRTIO_MMIO_QUEUE_READY, 1);
}

Test(queue, settings_are_frozen_outside_their_step)
{
	struct virtio_state r = make_regs();

	expect_frozen(&r);
	put(&r, VIRTIO_MMIO_STATUS, DRIVER);
	expect_frozen(&r);
	r = make_active();
	expect_frozen(&r);
	put_in_vain(&r, VIRTIO_MMIO_QUEUE_READY, 0);
	put(&r, VIRTIO_MMIO_QUEUE_SEL, 1); /* one that was not set up */
	expect_frozen(&r);
}

Test(queue, a_ready_queue_is_frozen_until_taken_back)
{
	struct virtio_state r = make_regs();

	accept_features(&r);
	set_queue(&r, 16, 0x100000, 0x101000, 0x102000);
	put(&r, VIRTIO_MMIO_QUEUE_READY, 1);
	cr_assert_eq(get(&r, VIRTIO_MMIO_QUEUE_READY), 1);
	put_in_vain(&r, VIRTIO_MMIO_QUEUE_SIZE, 32);
	put_in_vain(&r, VIRTIO_MMIO_QUEUE_DESC_LOW, 0);
	put_in_vain(&r, VIRTIO_MMIO_QUEUE_READY, 2);
	put(&r, VIRTIO_MMIO_QUEUE_READY, 0);
	cr_assert_eq(get(&r, VIRTIO_MMIO_QUEUE_READY), 0);
	put(&r, VIRTIO_MMIO_QUEUE_SIZE, 32);
	cr_assert_eq(r.queues[0].size, 32);
}

Test(queue, addresses_are_put_together_from_halves)
{
	struct virtio_state r = make_regs();

	accept_features(&r);
	put(&r, VIRTIO_MMIO_QUEUE_SEL, 1);
	set_queue(&r, 8, UINT64_C(0x1122334455667788), UINT64_C(0x99aabbccddeeff00),
		  UINT64_C(0x0102030405060708));
	cr_assert_eq(r.queues[1].desc, UINT64_C(0x1122334455667788));
	cr_assert_eq(r.queues[1].avail, UINT64_C(0x99aabbccddeeff00));
	cr_assert_eq(r.queues[1].used, UINT64_C(0x0102030405060708));
	put(&r, VIRTIO_MMIO_QUEUE_DESC_LOW, 1);
	cr_assert_eq(r.queues[1].desc, UINT64_C(0x1122334400000001));
}

Test(queue, sizes_are_powers_of_two_up_to_the_maximum)
{
	static const uint32_t bad[] = { 0, 3, 255, 257, 512, 0x80000000u, UINT32_MAX };

	for (uint32_t size = 1; size <= 256; size *= 2)
		cr_assert(is_accepted(size, 0x100000, 0x110000, 0x120000));
	for (uint32_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_assert_not(is_accepted(bad[i], 0x100000, 0x110000, 0x120000));
}

Test(queue, areas_are_aligned)
{
	cr_assert(is_accepted(16, 0x100010, 0x110002, 0x120004));
	cr_assert_not(is_accepted(16, 0x100008, 0x110000, 0x120000));
	cr_assert_not(is_accepted(16, 0x100000, 0x110001, 0x120000));
	cr_assert_not(is_accepted(16, 0x100000, 0x110000, 0x120002));
}

Test(queue, areas_lie_in_one_region_of_ram)
{
	/* 16 entries: 256, 38 and 134 bytes */
	cr_assert(is_accepted(16, 0x1fff00, 0x110000, 0x120000));
	cr_assert_not(is_accepted(16, 0x1fff10, 0x110000, 0x120000)); /* crosses into the next */
	cr_assert(is_accepted(16, 0x100000, 0x2fffda, 0x120000));
	cr_assert_not(is_accepted(16, 0x100000, 0x2fffdc, 0x120000));
	cr_assert(is_accepted(16, 0x100000, 0x110000, 0x2fff78));
	cr_assert_not(is_accepted(16, 0x100000, 0x110000, 0x2fff7c));
	cr_assert_not(is_accepted(16, 0, 0x110000, 0x120000));
	cr_assert_not(is_accepted(16, 0x0ffff0, 0x110000, 0x120000));
	cr_assert_not(is_accepted(16, 0x300000, 0x110000, 0x120000));
	cr_assert(is_accepted(16, UINT64_MAX - 0xff, 0x110000, 0x120000)); /* ends with the world */
	cr_assert_not(is_accepted(16, UINT64_MAX - 0xef, 0x110000, 0x120000)); /* would wrap */
	cr_assert_not(is_accepted(16, 0x100000, UINT64_MAX - 1, 0x120000));
}

Test(queue, areas_do_not_overlap)
{
	cr_assert(is_accepted(16, 0x100000, 0x100100, 0x100128)); /* packed closely */
	cr_assert_not(is_accepted(16, 0x100000, 0x1000fe, 0x120000));
	cr_assert_not(is_accepted(16, 0x100000, 0x100100, 0x100124));
	cr_assert_not(is_accepted(16, 0x100080, 0x110000, 0x100000));
	cr_assert_not(is_accepted(16, 0x100000, 0x100000, 0x100000));
}

/* ---- with a device process ---- */

static struct upcalls up;
static struct device_link *link_of_test;
static struct virtio_device *mmio;
static struct fake *device;
static int call_fd;

static void start(void)
{
	static struct virtio_device_fds fds;

	call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	fds.config = call_fd;
	for (uint32_t i = 0; i < DEVICE_QUEUES_MAX; i++) {
		fds.kick[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		fds.call[i] = call_fd;
	}
	link_of_test = fake_link(&up);
	cr_assert_eq(virtio_device_new(link_of_test, &fds, &mmio), 0);
	device = fake_start(link_of_test, 1);
}

static void stop(void)
{
	mmio = virtio_device_free(mmio);
	fake_end();
}

static uint32_t rd(uint32_t offset)
{
	return (uint32_t)virtio_mmio_io.read(mmio, offset, 4);
}

static void wr(uint32_t offset, uint32_t value)
{
	virtio_mmio_io.write(mmio, offset, 4, value);
}

static uint64_t n_calls(void)
{
	eventfd_t n = 0;

	return eventfd_read(call_fd, &n) == 0 ? n : 0;
}

static void drive_to_features_ok(void)
{
	wr(VIRTIO_MMIO_STATUS, ACK);
	wr(VIRTIO_MMIO_STATUS, DRIVER);
	wr(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	wr(VIRTIO_MMIO_DRIVER_FEATURES, 1);
	wr(VIRTIO_MMIO_STATUS, FEATURES_OK);
}

static void drive_to_driver_ok(void)
{
	drive_to_features_ok();
	wr(VIRTIO_MMIO_QUEUE_SEL, 1);
	wr(VIRTIO_MMIO_QUEUE_SIZE, 16);
	wr(VIRTIO_MMIO_QUEUE_DESC_LOW, FAKE_RAM_BASE);
	wr(VIRTIO_MMIO_QUEUE_DRIVER_LOW, FAKE_RAM_BASE + 0x1000);
	wr(VIRTIO_MMIO_QUEUE_DEVICE_LOW, FAKE_RAM_BASE + 0x2000);
	wr(VIRTIO_MMIO_QUEUE_READY, 1);
	wr(VIRTIO_MMIO_STATUS, DRIVER_OK);
}

TestSuite(device, .init = start, .fini = stop);

Test(device, shows_what_hello_said)
{
	cr_assert_eq(rd(VIRTIO_MMIO_DEVICE_ID), DEVICE_TYPE_BLK);
	cr_assert_eq(rd(VIRTIO_MMIO_DEVICE_FEATURES), 0x30000200);
	cr_assert_eq(rd(VIRTIO_MMIO_QUEUE_SIZE_MAX), 256);
	wr(VIRTIO_MMIO_QUEUE_SEL, FAKE_QUEUES);
	cr_assert_eq(rd(VIRTIO_MMIO_QUEUE_SIZE_MAX), 0);
}

Test(device, driver_ok_activates_the_ready_queues)
{
	fake_run(device, FAKE_HONEST, MESSAGE_NONE);
	drive_to_driver_ok();
	cr_assert_eq(rd(VIRTIO_MMIO_STATUS), DRIVER_OK);
	cr_assert(virtio_device_is_active(mmio));
	cr_assert_eq(fake_load(&device->n_seen), 2);
	cr_assert_eq(device->seen[0].set_features.features, FAKE_VERSION_1);
	cr_assert_eq(device->seen[1].enable_queue.index, 1);
	cr_assert_eq(device->seen[1].enable_queue.size, 16);
	cr_assert_eq(device->seen[1].enable_queue.used, FAKE_RAM_BASE + 0x2000);
	wr(VIRTIO_MMIO_STATUS, 0);
	cr_assert_eq(rd(VIRTIO_MMIO_STATUS), 0);
	cr_assert_eq(device->seen[2].type, MESSAGE_RESET);
	cr_assert_not(virtio_device_is_active(mmio));
	drive_to_driver_ok();
	cr_assert_eq(rd(VIRTIO_MMIO_STATUS), DRIVER_OK);
}

Test(device, refused_activation_needs_reset_and_interrupts)
{
	fake_run(device, FAKE_REFUSES, MESSAGE_ENABLE_QUEUE);
	drive_to_driver_ok();
	cr_assert_eq(rd(VIRTIO_MMIO_STATUS), DRIVER_OK | NEEDS_RESET);
	cr_assert_geq(n_calls(), 1);
	cr_assert_eq(rd(VIRTIO_MMIO_INTERRUPT_STATUS), DEVICE_INTERRUPT_CONFIG);
	wr(VIRTIO_MMIO_STATUS, 0);
	cr_assert_eq(rd(VIRTIO_MMIO_STATUS), 0);
	cr_assert_eq(rd(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
}

/* A successor begins what the silent one did not; without one the driver is told, for good. */
Test(device, silent_activation_is_the_successors)
{
	link_of_test->request_deadline_ms = 100;
	fake_run(device, FAKE_SILENT, MESSAGE_NONE);
	drive_to_driver_ok();
	cr_assert_eq(rd(VIRTIO_MMIO_STATUS), DRIVER_OK);
	fake_settle(link_of_test);
	device_link_detach(link_of_test, "its process has ended");
	device_link_give_up(link_of_test);
	virtio_device_needs_reset(mmio); /* as the core does then */
	cr_assert_eq(rd(VIRTIO_MMIO_STATUS), DRIVER_OK | NEEDS_RESET);
	wr(VIRTIO_MMIO_STATUS, 0);
	cr_assert_eq(rd(VIRTIO_MMIO_STATUS), 0);
	drive_to_features_ok();
	cr_assert_eq(rd(VIRTIO_MMIO_STATUS), DRIVER);
	wr(VIRTIO_MMIO_STATUS, DRIVER_OK);
	cr_assert_eq(rd(VIRTIO_MMIO_STATUS), DRIVER);
}

Test(device, silent_reset_ends_and_status_reads_zero)
{
	fake_run(device, FAKE_SILENT, MESSAGE_RESET);
	drive_to_driver_ok();
	link_of_test->request_deadline_ms = 100;
	cr_assert_eq(virtio_device_reset(mmio), DEVICE_LINK_GONE);
	virtio_device_needs_reset(mmio); /* the upcall comes after the reset that found it out */
	cr_assert_eq(rd(VIRTIO_MMIO_STATUS), 0);
	cr_assert_eq(rd(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	cr_assert_eq(virtio_device_reset(mmio), DEVICE_LINK_GONE);
}

Test(device, death_while_active_needs_reset)
{
	fake_run(device, FAKE_HONEST, MESSAGE_NONE);
	drive_to_driver_ok();
	(void)n_calls();
	virtio_device_needs_reset(mmio);
	cr_assert_eq(n_calls(), 1);
	cr_assert_eq(rd(VIRTIO_MMIO_STATUS), DRIVER_OK | NEEDS_RESET);
	cr_assert_eq(rd(VIRTIO_MMIO_INTERRUPT_STATUS), DEVICE_INTERRUPT_CONFIG);
	wr(VIRTIO_MMIO_INTERRUPT_ACK, DEVICE_INTERRUPT_CONFIG);
	cr_assert_eq(rd(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	wr(VIRTIO_MMIO_STATUS, 0);
	drive_to_driver_ok(); /* the process answers, so it goes on */
	cr_assert_eq(rd(VIRTIO_MMIO_STATUS), DRIVER_OK);
}

Test(device, interrupts_show_in_their_session_only)
{
	struct device_page *page = device_link_page(link_of_test);

	fake_run(device, FAKE_HONEST, MESSAGE_NONE);
	device_page_raise(page, DEVICE_INTERRUPT_QUEUE | DEVICE_INTERRUPT_CONFIG);
	cr_assert_eq(rd(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	drive_to_driver_ok();
	cr_assert_eq(rd(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	device_page_raise(page, UINT32_MAX); /* CONFIG is not the process's to raise */
	cr_assert_eq(rd(VIRTIO_MMIO_INTERRUPT_STATUS), DEVICE_INTERRUPT_QUEUE);
	wr(VIRTIO_MMIO_INTERRUPT_ACK, DEVICE_INTERRUPT_CONFIG);
	cr_assert_eq(rd(VIRTIO_MMIO_INTERRUPT_STATUS), DEVICE_INTERRUPT_QUEUE);
	wr(VIRTIO_MMIO_INTERRUPT_ACK, UINT32_MAX);
	cr_assert_eq(rd(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	device_page_raise(page, DEVICE_INTERRUPT_QUEUE);
	wr(VIRTIO_MMIO_STATUS, 0);
	cr_assert_eq(rd(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
}

Test(device, config_change_interrupts_once_the_driver_is_ready)
{
	fake_run(device, FAKE_HONEST, MESSAGE_NONE);
	drive_to_features_ok();
	virtio_device_config_changed(mmio);
	cr_assert_eq(n_calls(), 0);
	wr(VIRTIO_MMIO_STATUS, DRIVER_OK);
	cr_assert_eq(n_calls(), 1);
	cr_assert_eq(rd(VIRTIO_MMIO_INTERRUPT_STATUS), DEVICE_INTERRUPT_CONFIG);
	wr(VIRTIO_MMIO_INTERRUPT_ACK, DEVICE_INTERRUPT_CONFIG);
	virtio_device_config_changed(mmio);
	cr_assert_eq(n_calls(), 1);
	cr_assert_eq(rd(VIRTIO_MMIO_STATUS), DRIVER_OK);
}

Test(device, config_space_is_read_and_written_in_every_width)
{
	uint32_t generation = rd(VIRTIO_MMIO_CONFIG_GENERATION);

	cr_assert_eq(virtio_mmio_io.read(mmio, 0x100, 1), 0x01);
	cr_assert_eq(virtio_mmio_io.read(mmio, 0x101, 2), 0x0302);
	cr_assert_eq(virtio_mmio_io.read(mmio, 0x102, 4), 0x06050403);
	cr_assert_eq(virtio_mmio_io.read(mmio, 0x100, 8), UINT64_C(0x0807060504030201));
	cr_assert_eq(virtio_mmio_io.read(mmio, 0x100 + FAKE_CONFIG_LEN - 1, 8), FAKE_CONFIG_LEN);
	cr_assert_eq(virtio_mmio_io.read(mmio, 0xff8, 8), 0);
	cr_assert_eq(virtio_mmio_io.read(mmio, VIRTIO_MMIO_CONFIG_GENERATION, 1), 0);
	virtio_mmio_io.write(mmio, 0x100, 8, 0);
	virtio_mmio_io.write(mmio, 0xff8, 8, 0);
	cr_assert_eq(rd(VIRTIO_MMIO_CONFIG_GENERATION), generation);
	virtio_mmio_io.write(mmio, 0x120, 1, 0x42);
	cr_assert_eq(virtio_mmio_io.read(mmio, 0x120, 1), 0x42);
	cr_assert_neq(rd(VIRTIO_MMIO_CONFIG_GENERATION), generation);
	cr_assert_eq(fake_expect(device, MESSAGE_CONFIG_WRITTEN).config.data[0], 0x42);
}

static void *poke_thread(void *arg)
{
	uint32_t seed = (uint32_t)(uintptr_t)arg;

	for (uint32_t i = 0; i < 20000; i++) {
		static const unsigned sizes[] = { 1, 2, 4, 4, 4, 4, 4, 8 };

		seed = seed * 1664525u + 1013904223u;
		if (seed & 0x80000000u)
			(void)virtio_mmio_io.read(mmio, (seed >> 8) % 0x180, sizes[seed % 8]);
		else if (i % 64 == 0)
			virtio_device_config_changed(mmio);
		else
			virtio_mmio_io.write(mmio, (seed >> 8) % 0x40 * 4, sizes[seed % 8],
					     (seed >> 4) % 17);
		if (i % 500 == 0)
			drive_to_driver_ok();
	}
	return NULL;
}

Test(device, hostile_vcpus_at_once_leave_it_working)
{
	pthread_t vcpus[3];

	fake_run(device, FAKE_HONEST, MESSAGE_NONE);
	for (uintptr_t i = 0; i < 3; i++)
		cr_assert_eq(pthread_create(&vcpus[i], NULL, poke_thread, (void *)(i + 1)), 0);
	for (uint32_t i = 0; i < 3; i++)
		cr_assert_eq(pthread_join(vcpus[i], NULL), 0);
	cr_assert_eq(device_link_get_state(link_of_test), DEVICE_LINK_READY);
	wr(VIRTIO_MMIO_STATUS, 0);
	drive_to_driver_ok();
	cr_assert_eq(rd(VIRTIO_MMIO_STATUS), DRIVER_OK);
}
