/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chain that was in hand at VIRTQUEUE_DEATHS_MAX deaths: its driver gets an error, nothing of it
 * is looked at, and the device goes on. Real processes; the page is what three deaths leave. Needs
 * root. Disks: test_blk_request.c and tests/restart, vsock: test_vsock_packet.c.
 */
#include "fake_core.h"

#include <criterion/criterion.h>
#include <linux/virtio_iommu.h>
#include <string.h>
#include <sys/wait.h>

#include "device-procs/common/virtqueue.h"

#define OUT FAKE_HEADERS(0)
#define IN (FAKE_HEADERS(0) + 0x1000u)
#define UNTOUCHED 0xee
#define QUEUE_SIZE 64u

static struct fake_core core;

static void start(const char *program, bool is_iommu)
{
	struct fake_core_config c = {
		.program = program, .is_iommu = is_iommu, .is_rng = !is_iommu
	};
	uint8_t fill[4096];

	if (geteuid() != 0)
		cr_skip_test("needs root to give the process its uid");
	fake_core_start(&core, &c);
	/* The first begins the rings, which are written to before a successor goes on with them. */
	cr_assert_eq(fake_core_set_features(&core, 0), 0);
	cr_assert_eq(fake_core_enable(&core, 0, QUEUE_SIZE), 0);
	cr_assert_eq(fake_core_simple(&core, MESSAGE_RESET), 0);
	cr_assert_eq(fake_core_set_features(&core, 0), 0);
	memset(fill, UNTOUCHED, sizeof(fill));
	cr_assert_eq(guest_memory_write(core.gm, gpa(IN), fill, sizeof(fill)), 0);
}

static void stop(void)
{
	int status = fake_core_stop(&core);

	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", status);
}

TestSuite(poisoned_chain, .fini = stop, .timeout = 100);

/* Continues as the process that found the chain at head 0 in hand, after so many deaths. */
static uint32_t used_after(uint8_t deaths)
{
	struct device_page_queue *page = &core.page->queues[0];
	uint32_t len;

	page->size = QUEUE_SIZE;
	page->journal[0] = (uint64_t)JOURNAL_FETCHED << 62;
	page->next_avail = 1;
	page->deaths[0] = deaths;
	core.page->header.generation = FAKE_GENERATION;
	cr_assert_eq(fake_core_resume(&core, 0), 0);
	cr_assert_eq(fake_wait_used(&core, 0, &len), 0);
	return len;
}

static void post(const void *request, uint32_t len, uint32_t room)
{
	struct fake_buffer b[2] = { { OUT, len, false }, { IN, room, true } };

	cr_assert_eq(guest_memory_write(core.gm, gpa(OUT), request, len), 0);
	(void)fake_add(&core, 0, b, 2);
}

static const struct virtio_iommu_req_attach attach = {
	.head.type = VIRTIO_IOMMU_T_ATTACH, .domain = 1, .endpoint = 0x10,
};

Test(poisoned_chain, iommu_answers_a_request_with_an_error)
{
	start(BULKHEAD_IOMMU, true);
	post(&attach, 20, 4);
	cr_expect_eq(used_after(VIRTQUEUE_DEATHS_MAX - 1), 4);
	cr_expect_eq(fake_read8(&core, IN), VIRTIO_IOMMU_S_DEVERR);
	cr_expect_eq(core.table->endpoints[2].attached, 0, "it was looked at");
	post(&attach, 20, 4);
	fake_kick(&core, 0);
	(void)fake_wait_used(&core, 0, NULL);
	cr_expect_eq(fake_read8(&core, IN), VIRTIO_IOMMU_S_OK, "the next one");
}

Test(poisoned_chain, iommu_tries_once_more_before)
{
	start(BULKHEAD_IOMMU, true);
	post(&attach, 20, 4);
	cr_expect_eq(used_after(VIRTQUEUE_DEATHS_MAX - 2), 4);
	cr_expect_eq(fake_read8(&core, IN), VIRTIO_IOMMU_S_OK);
}

Test(poisoned_chain, rng_gives_a_buffer_back_unwritten)
{
	struct fake_buffer b = { IN, 64, true };
	uint32_t len;

	start(BULKHEAD_RNG, false);
	(void)fake_add(&core, 0, &b, 1);
	cr_expect_eq(used_after(VIRTQUEUE_DEATHS_MAX - 1), 0);
	for (uint32_t i = 0; i < 64; i++)
		cr_expect_eq(fake_read8(&core, IN + i), UNTOUCHED, "byte %u", i);
	(void)fake_add(&core, 0, &b, 1);
	fake_kick(&core, 0);
	(void)fake_wait_used(&core, 0, &len);
	cr_expect_eq(len, 64, "the next one");
}
