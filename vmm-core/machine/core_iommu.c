/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the IOMMU's process and the devices behind it share (ipc/iommu_memory.h). The core makes it
 * and keeps it for their successors; it never looks inside. Hostile: which device is said to be
 * stalled.
 */
#include <fcntl.h>
#include <string.h>

#include "ipc/iommu_memory.h"
#include "ipc/log.h"
#include "ipc/shared_memory.h"
#include "vmm-core/machine/core.h"

/* The function numbers of the bus, as drivers and ACPI count them: slot n is device n + 1. */
static uint32_t core_iommu_id(uint32_t slot)
{
	return (slot + 1) << 3;
}

static void core_iommu_make(struct core *core, const char *name, uint64_t size, int *ret_fd,
			    int *ret_read_fd)
{
	*ret_fd = shared_memory_create(name, size, 0);
	*ret_read_fd = *ret_fd < 0 ? *ret_fd : shared_memory_read_only(*ret_fd);
	if (*ret_read_fd < 0)
		core_fail(core, "core: %s: %s", name, strerror(-*ret_read_fd));
}

static void core_iommu_make_view(struct core *core, uint32_t slot)
{
	struct core_iommu *iommu = &core->iommu;
	struct device_link_iommu *view = &iommu->views[slot];
	bool is_itself = core->config.devices[slot].type == DEVICE_TYPE_IOMMU;

	*view = (struct device_link_iommu){
		.table_fd = is_itself ? iommu->table_fd : iommu->table_read_fd,
		.fault_fd = iommu->fault_fd,
		.page_fd = iommu->page_fds[slot],
	};
	for (uint32_t i = 0; i < core->config.n_devices && is_itself; i++) {
		if (!core->config.devices[i].iommu)
			continue;
		view->endpoints[view->n_endpoints].endpoint =
			(struct message_endpoint){ .slot = i, .id = core_iommu_id(i) };
		view->endpoints[view->n_endpoints++].page_fd = iommu->page_read_fds[i];
	}
}

void core_iommu_open(struct core *core)
{
	struct core_iommu *iommu = &core->iommu;
	const struct vm_config *config = &core->config;

	memset(iommu->page_fds, 0xff, sizeof(iommu->page_fds)); /* all -1 */
	memset(iommu->page_read_fds, 0xff, sizeof(iommu->page_read_fds));
	iommu->table_fd = iommu->table_read_fd = iommu->fault_fd = -1;
	if (config->n_devices == 0 ||
	    config->devices[config->n_devices - 1].type != DEVICE_TYPE_IOMMU)
		return;
	core_iommu_make(core, "bulkhead-iommu-table", IOMMU_TABLE_BYTES, &iommu->table_fd,
			&iommu->table_read_fd);
	iommu->fault_fd = core_eventfd(core);
	for (uint32_t i = 0; i < config->n_devices; i++) {
		if (config->devices[i].iommu)
			core_iommu_make(core, "bulkhead-iommu-page", IOMMU_PAGE_BYTES,
					&iommu->page_fds[i], &iommu->page_read_fds[i]);
	}
	for (uint32_t i = 0; i < config->n_devices; i++)
		core_iommu_make_view(core, i);
}

uint32_t core_iommu_fds(const struct core *core, int *ret)
{
	const struct core_iommu *iommu = &core->iommu;
	uint32_t n = 0;

	if (iommu->table_fd < 0)
		return 0;
	ret[n++] = iommu->table_fd;
	ret[n++] = iommu->table_read_fd;
	ret[n++] = iommu->fault_fd;
	for (uint32_t i = 0; i < core->config.n_devices; i++) {
		if (iommu->page_fds[i] < 0)
			continue;
		ret[n++] = iommu->page_fds[i];
		ret[n++] = iommu->page_read_fds[i];
	}
	return n;
}

const struct device_link_iommu *core_iommu_view(struct core *core, uint32_t slot)
{
	const struct device_config *d = &core->config.devices[slot];

	return d->iommu || d->type == DEVICE_TYPE_IOMMU ? &core->iommu.views[slot] : NULL;
}

void core_iommu_let_go(struct core *core, uint32_t slot)
{
	int fd = core->iommu.page_fds[slot];

	if (core->config.devices[slot].iommu &&
	    fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, IOMMU_PAGE_USES_OFFSET,
		      IOMMU_PAGE_BYTES - IOMMU_PAGE_USES_OFFSET) != 0)
		core_fail(core, "core: the page of an IOMMU endpoint: %s", strerror(errno));
}

/* Under the lock of the IOMMU's link; that of another may be taken inside, never the reverse. */
void core_iommu_stalled(struct core *core, uint32_t slot)
{
	if (slot >= core->config.n_devices || !core->config.devices[slot].iommu)
		return;
	device_link_condemn(core->slots[slot].link, "keeps using memory that was unmapped");
}

void core_iommu_announce(struct core *core)
{
	const struct vm_config *config = &core->config;

	for (uint32_t i = 0; i < config->n_devices; i++) {
		if (config->devices[i].type == DEVICE_TYPE_IOMMU)
			core->source.iommu = core_iommu_id(i);
		else if (config->devices[i].iommu)
			core->source.behind_iommu |= 1u << (i + 1);
	}
}
