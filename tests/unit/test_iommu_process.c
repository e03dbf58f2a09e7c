/* SPDX-License-Identifier: Apache-2.0 */
/* A real, sealed bulkhead-iommu whose one endpoint is played by the test. Needs root. */
#include "fake_core.h"

#include <criterion/criterion.h>
#include <linux/virtio_iommu.h>
#include <string.h>
#include <sys/wait.h>

#define ENDPOINT 0x10u
#define SLOT 2u
#define OUT FAKE_HEADERS(0)
#define IN (FAKE_HEADERS(0) + 0x1000u)

static struct fake_core core;

static void start(void)
{
	struct fake_core_config c = { .program = BULKHEAD_IOMMU, .is_iommu = true };

	if (geteuid() != 0)
		cr_skip_test("needs root to give the process its uid");
	fake_core_start(&core, &c);
	fake_core_activate(&core, 0);
}

static void stop(void)
{
	int status = fake_core_stop(&core);

	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", status);
}

TestSuite(iommu_process, .init = start, .fini = stop, .timeout = 100);

static void post(const void *request, uint32_t len)
{
	struct fake_buffer b[2] = { { OUT, len, false }, { IN, 4, true } };

	cr_assert_eq(guest_memory_write(core.gm, gpa(OUT), request, len), 0);
	(void)fake_add(&core, 0, b, 2);
	fake_kick(&core, 0);
}

static uint8_t answer(void)
{
	uint32_t len;

	(void)fake_wait_used(&core, 0, &len);
	cr_assert_eq(len, 4);
	return fake_read8(&core, IN);
}

static void map_a_page(void)
{
	struct virtio_iommu_req_attach a = {
		.head.type = VIRTIO_IOMMU_T_ATTACH, .domain = 1, .endpoint = ENDPOINT,
	};
	struct virtio_iommu_req_map m = {
		.head.type = VIRTIO_IOMMU_T_MAP, .domain = 1, .virt_start = 0x1000,
		.virt_end = 0x1fff, .flags = VIRTIO_IOMMU_MAP_F_READ,
	};

	post(&a, 20);
	cr_assert_eq(answer(), VIRTIO_IOMMU_S_OK);
	post(&m, 36);
	cr_assert_eq(answer(), VIRTIO_IOMMU_S_OK);
}

static uint32_t mapped_node(void)
{
	uint64_t domain = core.table->endpoints[SLOT].attached & 0xff;
	struct iommu_mapping m;

	cr_assert_neq(domain, 0);
	cr_assert(iommu_table_find(core.table, (uint32_t)domain - 1, 0x1000, &m));
	return m.node;
}

static void unmap(void)
{
	struct virtio_iommu_req_unmap u = {
		.head.type = VIRTIO_IOMMU_T_UNMAP, .domain = 1, .virt_start = 0x1000,
		.virt_end = 0x1fff,
	};

	post(&u, 28);
}

static void expect_stalled(void)
{
	struct message m;

	fake_core_receive(&core, &m);
	cr_assert_eq(m.type, MESSAGE_ENDPOINT_STALLED, "%s", message_type_name(m.type));
	cr_expect_eq(m.endpoint.slot, SLOT);
}

Test(iommu_process, an_endpoint_that_does_not_let_go_is_reported_and_waited_for)
{
	uint32_t node;

	map_a_page();
	node = mapped_node();
	__atomic_store_n(&core.endpoint->uses[node], 1, __ATOMIC_RELEASE);
	unmap();
	expect_stalled();
	/* Its process is dead now, and the core clears the page. */
	__atomic_store_n(&core.endpoint->uses[node], 0, __ATOMIC_RELEASE);
	cr_expect_eq(answer(), VIRTIO_IOMMU_S_OK);
}

/* Nobody clears the page: nothing is promised then, nor ever after. */
Test(iommu_process, an_unmap_that_never_settles_fails)
{
	map_a_page();
	__atomic_store_n(&core.endpoint->epoch, 3, __ATOMIC_RELEASE);
	unmap();
	expect_stalled();
	cr_expect_eq(answer(), VIRTIO_IOMMU_S_DEVERR);
	unmap();
	cr_expect_eq(answer(), VIRTIO_IOMMU_S_DEVERR);
	__atomic_store_n(&core.endpoint->epoch, 4, __ATOMIC_RELEASE);
	unmap();
	cr_expect_eq(answer(), VIRTIO_IOMMU_S_OK);
}

Test(iommu_process, a_reset_while_an_unmap_waits_ends_in_time)
{
	map_a_page();
	__atomic_store_n(&core.endpoint->epoch, 3, __ATOMIC_RELEASE);
	unmap();
	expect_stalled();
	cr_expect_eq(fake_core_simple(&core, MESSAGE_RESET), 0);
}

/*
 * The endpoint's process was taken over and writes what it likes. Its own unmaps do not settle, what
 * it calls faults are reported as its own in a form that the driver knows, and that is all.
 */
Test(iommu_process, a_page_of_nonsense_costs_its_device_alone)
{
	struct fake_buffer b = { IN + 0x100, sizeof(struct virtio_iommu_fault), true };
	struct virtio_iommu_fault f;
	uint32_t len;

	map_a_page();
	memset(core.endpoint, 0xff, sizeof(*core.endpoint));
	(void)fake_add(&core, 1, &b, 1);
	fake_kick(&core, 1); /* a head that jumped means no faults */
	unmap();
	expect_stalled();
	cr_expect_eq(answer(), VIRTIO_IOMMU_S_DEVERR);
	__atomic_store_n(&core.endpoint->fault_head, 4, __ATOMIC_RELEASE);
	fake_kick(&core, 1);
	(void)fake_wait_used(&core, 1, &len);
	cr_assert_eq(len, sizeof(f));
	cr_assert_eq(guest_memory_read(core.gm, gpa(IN + 0x100), &f, sizeof(f)), 0);
	cr_expect_eq(f.reason, VIRTIO_IOMMU_FAULT_R_UNKNOWN);
	cr_expect_eq(f.flags, VIRTIO_IOMMU_FAULT_F_READ | VIRTIO_IOMMU_FAULT_F_WRITE |
				      VIRTIO_IOMMU_FAULT_F_ADDRESS);
	cr_expect_eq(f.endpoint, ENDPOINT);
	/* Its process is dead now, and the core clears the page. */
	memset((uint8_t *)core.endpoint + IOMMU_PAGE_USES_OFFSET, 0,
	       IOMMU_PAGE_BYTES - IOMMU_PAGE_USES_OFFSET);
	unmap();
	cr_expect_eq(answer(), VIRTIO_IOMMU_S_OK);
}
