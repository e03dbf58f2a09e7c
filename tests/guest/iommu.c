/* SPDX-License-Identifier: Apache-2.0 */
#include "iommu.h"
#include "modes.h"

struct iommu mmu;

uint32_t iommu_readable(uint8_t type)
{
	static const uint8_t bytes[] = { 0, 20, 20, 36, 28, 72 };

	return type < ARRAY_LEN(bytes) ? bytes[type] : 0;
}

void iommu_add_event(uint16_t i, uint32_t len)
{
	vq_desc(&mmu.events, i, &mmu.faults[i], len, DESC_WRITE, 0);
	vq_push(&mmu.events, i);
	vq_kick(&mmu.events);
}

const char *iommu_start(uint64_t features, unsigned n_events)
{
	EXPECT(vdev_start(mmu.dev, features), "no start, status 0x%x", vdev_status(mmu.dev));
	vq_make(&mmu.requests, mmu.dev, 0, 128);
	vq_make(&mmu.events, mmu.dev, 1, 64);
	mmu.out = memory_alloc(4096, 4096);
	mmu.in = memory_alloc(256, 256);
	mmu.faults = memory_alloc(64 * sizeof(mmu.faults[0]), 64);
	vq_enable(&mmu.requests);
	vq_enable(&mmu.events);
	vdev_driver_ok(mmu.dev);
	for (unsigned i = 0; i < n_events; i++)
		iommu_add_event((uint16_t)i, sizeof(mmu.faults[0]));
	return NULL;
}

int iommu_send(uint32_t out_len, uint32_t in_len)
{
	struct vring_used_elem elem;

	memset((void *)mmu.in, 0xee, 256);
	vq_desc(&mmu.requests, 0, mmu.out, out_len, in_len ? DESC_NEXT : 0, 1);
	vq_desc(&mmu.requests, 1, mmu.in, in_len, DESC_WRITE, 0);
	vq_push(&mmu.requests, 0);
	vq_kick(&mmu.requests);
	if (!vq_wait(&mmu.requests, TIMEOUT_REQUEST, &elem))
		return IOMMU_TIMED_OUT;
	mmu.used_len = elem.len;
	return elem.len < 4 ? IOMMU_NO_ANSWER : mmu.in[elem.len - 4];
}

static int attach(uint8_t type, uint32_t domain, uint32_t endpoint, uint32_t flags)
{
	*mmu.out = (struct iommu_request){
		.type = type, .attach = { .domain = domain, .endpoint = endpoint, .flags = flags },
	};
	return iommu_send(20, 4);
}

int iommu_attach(uint32_t domain, uint32_t endpoint, uint32_t flags)
{
	return attach(IOMMU_ATTACH, domain, endpoint, flags);
}

int iommu_detach(uint32_t domain, uint32_t endpoint)
{
	return attach(IOMMU_DETACH, domain, endpoint, 0);
}

int iommu_map(uint32_t domain, uint64_t start, uint64_t last, uint64_t phys, uint32_t flags)
{
	*mmu.out = (struct iommu_request){ .type = IOMMU_MAP };
	mmu.out->map.domain = domain;
	mmu.out->map.start = start;
	mmu.out->map.last = last;
	mmu.out->map.phys = phys;
	mmu.out->map.flags = flags;
	return iommu_send(36, 4);
}

int iommu_unmap(uint32_t domain, uint64_t start, uint64_t last)
{
	*mmu.out = (struct iommu_request){ .type = IOMMU_UNMAP };
	mmu.out->map.domain = domain;
	mmu.out->map.start = start;
	mmu.out->map.last = last;
	return iommu_send(28, 4);
}

void iommu_set_bypass(uint8_t value)
{
	mmio_write8(mmu.dev->config + IOMMU_CONFIG_BYPASS, value);
}

uint8_t iommu_bypass(void)
{
	return mmio_read8(mmu.dev->config + IOMMU_CONFIG_BYPASS);
}

const struct iommu_fault *iommu_wait_fault(uint64_t timeout_ms)
{
	struct vring_used_elem elem;

	if (!vq_wait(&mmu.events, timeout_ms, &elem) || elem.len != sizeof(mmu.faults[0]))
		return NULL;
	return &mmu.faults[elem.id];
}

bool iommu_map_arena_in(const struct vdev *dev, uint32_t domain)
{
	uint64_t end = (memory_arena_end() + 4095) & ~4095ull;

	mmu.dev = discover_nth(VIRTIO_ID_IOMMU, 0);
	return mmu.dev && !iommu_start(IOMMU_FEATURES, 0) &&
	       iommu_attach(domain, dev->function, 0) == IOMMU_OK &&
	       iommu_map(domain, 0, end - 1, 0, MAP_RW) == IOMMU_OK;
}

bool iommu_map_arena(const struct vdev *dev)
{
	return iommu_map_arena_in(dev, 1);
}

void iommu_run(void)
{
	discover();
	mmu.dev = discover_nth(VIRTIO_ID_IOMMU, 0);
	disk = discover_nth(VIRTIO_ID_BLK, 0);
	second_disk = discover_nth(VIRTIO_ID_BLK, 1);
	if (!mmu.dev || !disk || !second_disk) {
		print("Bail out! no IOMMU with two disks\n");
		return;
	}
	iommu_requests_cases();
	iommu_access_cases();
	iommu_devices_cases();
	tap_done();
}
