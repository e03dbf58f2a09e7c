/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Domains, endpoints and mappings: the writer of the shared table. bulkhead-iommu; one thread.
 *
 * The functions named after requests do what VIRTIO 1.2 §5.13.6 asks for and answer with the
 * request's status. Each does all or nothing: endpoints of a domain share its mappings, so there is
 * no state in which one of them has a mapping and another has not.
 *
 * One that takes something away leaves a wait: it is complete, and the next may begin, only when
 * iommu_map_is_settled(). iommu_table.h says for what it waits.
 *
 * Hostile: the requests (guest), the endpoint pages (device processes), and, when a predecessor
 * died, the table itself.
 */
#pragma once

#include "device-procs/common/iommu_table.h"
#include "ipc/cleanup.h"
#include "ipc/guest_memory.h"

#define IOMMU_PAGE_MASK (~UINT64_C(0xfff)) /* granularity and only page size, see iommu_device.c */
#define IOMMU_INPUT_LAST ((UINT64_C(1) << 48) - 1)
#define IOMMU_DOMAIN_LAST 0xffffu
/* Where x86 devices write their interrupts; no mapping is looked up for it. */
#define IOMMU_MSI_START UINT64_C(0xfee00000)
#define IOMMU_MSI_LAST UINT64_C(0xfeefffff)

/* What one endpoint has to give up before a request is complete. */
struct iommu_wait {
	bool is_for_all; /* everything it holds, not only the retired nodes */
	uint64_t epoch; /* odd: of a section that has to end first */
	uint32_t n_checked; /* retired nodes that are not in use there any more */
};

struct iommu_map_endpoint {
	const struct iommu_page *page; /* borrowed; NULL: no such endpoint */
	uint32_t id; /* the driver's: on PCI its bus, device and function */
	struct iommu_wait wait;
};

struct iommu_map {
	struct iommu_table *table; /* borrowed */
	const struct guest_memory *gm; /* borrowed */
	struct iommu_map_endpoint endpoints[IOMMU_ENDPOINTS_MAX]; /* by slot */
	uint64_t random; /* heights of nodes: the guest must not choose them */
	uint32_t slots; /* mask of those that exist */
	uint32_t due; /* mask of those that are waited for */
	bool is_replay; /* the next request may be the one in which the predecessor died */
	bool is_waiting;
	uint32_t n_free, n_retired;
	uint32_t free[IOMMU_NODES];
	uint32_t retired[IOMMU_NODES]; /* unlinked, perhaps still in use somewhere */
	uint8_t owner[IOMMU_NODES]; /* while adopting: domain index + 1 */
};

/** iommu_map_new() - borrows both; endpoints come next, then iommu_map_adopt(); NULL: no memory */
struct iommu_map *iommu_map_new(struct iommu_table *table, const struct guest_memory *gm,
				uint64_t random_seed);

/** iommu_map_free() - takes NULL; Return: NULL */
struct iommu_map *iommu_map_free(struct iommu_map *m);

/** iommu_map_add_endpoint() - borrows @page; Return: 0; -EINVAL: slot or id taken or out of range */
int must_check iommu_map_add_endpoint(struct iommu_map *m, uint32_t slot, uint32_t id,
				      const struct iommu_page *page);

/**
 * iommu_map_adopt() - continue with what a predecessor left, or begin with an empty table
 *
 * Every mapping that is well-formed and in order survives. Whatever is not (a predecessor may have
 * been taken over) is cut off, so that accesses to it fault. Leaves a wait.
 * Return: how many mappings there are.
 */
uint32_t iommu_map_adopt(struct iommu_map *m);

/** iommu_map_reset() - the driver reset the device: detach everybody. Leaves a wait. */
void iommu_map_reset(struct iommu_map *m);

/** iommu_map_slot() - the slot of endpoint @id; IOMMU_ENDPOINTS_MAX when it does not exist */
uint32_t iommu_map_slot(const struct iommu_map *m, uint32_t id);

/** iommu_map_attach() - @flags: VIRTIO_IOMMU_ATTACH_F_BYPASS or 0 */
uint8_t must_check iommu_map_attach(struct iommu_map *m, uint32_t domain, uint32_t endpoint,
				    uint32_t flags);
uint8_t must_check iommu_map_detach(struct iommu_map *m, uint32_t domain, uint32_t endpoint);

/** iommu_map_map() - [@start, @last] to @phys; @flags: IOMMU_READ, IOMMU_WRITE */
uint8_t must_check iommu_map_map(struct iommu_map *m, uint32_t domain, uint64_t start,
				 uint64_t last, uint64_t phys, uint32_t flags);
uint8_t must_check iommu_map_unmap(struct iommu_map *m, uint32_t domain, uint64_t start,
				   uint64_t last);

/** iommu_map_set_bypass() - may endpoints without a domain reach all of guest RAM? */
void iommu_map_set_bypass(struct iommu_map *m, bool bypass);

/** iommu_map_is_settled() - is nothing left to wait for? A few loads; ask again later if not. */
bool iommu_map_is_settled(struct iommu_map *m);

/** iommu_map_waits_for() - is it this slot that has not given up everything? */
bool iommu_map_waits_for(const struct iommu_map *m, uint32_t slot);

/** iommu_map_begin() - note what is about to be done; @op->type != 0 */
void iommu_map_begin(struct iommu_map *m, const struct iommu_operation *op);

/** iommu_map_end() - it was answered */
void iommu_map_end(struct iommu_map *m);
