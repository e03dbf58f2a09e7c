/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory that devices share with the IOMMU's process (ipc/iommu_memory.h), mapped before the
 * seal, on either side. What is in it is hostile; what the core sends is checked as it all is.
 */
#include "device-procs/common/device_internal.h"

#include <string.h>

#include "device-procs/common/iommu_client.h"
#include "ipc/shared_memory.h"

/* Takes @fd. */
static int map(int fd, uint64_t size, void **ret)
{
	cleanup_fd int owned = fd;
	int r = shared_memory_check(owned, size);

	return r == 0 ? shared_memory_map(owned, size, ret) : r;
}

static int map_read_only(int fd, uint64_t size, const void **ret)
{
	cleanup_fd int owned = fd;
	int r = shared_memory_check(owned, size);

	return r == 0 ? shared_memory_map_read_only(owned, size, ret) : r;
}

static int setup_client(struct device *dev, struct fdset *fds, uint32_t first)
{
	const void *table;
	void *page;
	int r = map_read_only(fdset_steal(fds, first), IOMMU_TABLE_BYTES, &table);

	if (r == 0)
		r = map(fdset_steal(fds, first + 1), IOMMU_PAGE_BYTES, &page);
	if (r < 0)
		return r;
	dev->iommu = calloc(1, sizeof(*dev->iommu));
	if (!dev->iommu)
		return -ENOMEM;
	/* A predecessor may still be at work: nothing is written to the page before SET_FEATURES. */
	*dev->iommu = (struct iommu_client){
		.gm = dev->gm, .table = table, .page = page, .slot = dev->slot,
		.fault_fd = fdset_steal(fds, first + 2),
	};
	return 0;
}

int device_iommu_setup(struct device *dev, const struct message_setup *setup, struct fdset *fds)
{
	uint32_t first = 1 + setup->n_regions;
	void *table;
	int r;

	if ((setup->n_endpoints > 0) != (dev->ops->type == DEVICE_TYPE_IOMMU) ||
	    setup->is_behind_iommu != !!(dev->features_offered & VIRTIO_F_ACCESS_PLATFORM_BIT))
		return -EPROTO;
	if (setup->is_behind_iommu)
		return setup_client(dev, fds, first);
	if (setup->n_endpoints == 0)
		return 0;
	r = map(fdset_steal(fds, first), IOMMU_TABLE_BYTES, &table);
	if (r < 0)
		return r;
	dev->iommu_host.table = table;
	dev->iommu_host.fault_fd = fdset_steal(fds, first + 1);
	return 0;
}

int device_iommu_endpoint(struct device *dev, const struct message_endpoint *m, struct fdset *fds)
{
	struct device_iommu_host *host = &dev->iommu_host;
	const void *page;
	int r;

	if (host->n == ARRAY_LEN(host->endpoints))
		return -EPROTO;
	r = map_read_only(fdset_steal(fds, 0), IOMMU_PAGE_BYTES, &page);
	if (r < 0)
		return r;
	host->endpoints[host->n++] = (struct device_iommu_endpoint){
		.slot = m->slot, .id = m->id, .page = page,
	};
	return 0;
}

const struct device_iommu_host *device_iommu_host(const struct device *dev)
{
	return dev->iommu_host.table ? &dev->iommu_host : NULL;
}

void device_endpoint_stalled(struct device *dev, uint32_t slot)
{
	struct message m = { .type = MESSAGE_ENDPOINT_STALLED, .endpoint.slot = slot };

	device_send(dev, &m);
}
