/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory that the IOMMU process and the devices behind it share: how much, and who maps it.
 *
 * The core makes it, keeps it for the successors of either side, and never looks inside:
 *
 *	table		one per VM	iommu process read-write, devices behind it read-only
 *	endpoint page	one per device	that device read-write, iommu process read-only
 *
 * All zeroes is the valid state of both: nothing is attached, nothing mapped, nothing in use.
 * What lies inside is device-procs/common/iommu_table.h.
 */
#pragma once

#include "ipc/vm_config.h"

#define IOMMU_ENDPOINTS_MAX VM_DEVICES_MAX /* an endpoint's number is its device's slot */
#define IOMMU_NODES 65536u /* mappings per VM, less one */

#define IOMMU_TABLE_NODES_OFFSET 8192u
#define IOMMU_TABLE_BYTES (IOMMU_TABLE_NODES_OFFSET + IOMMU_NODES * 64u)

/*
 * The faults of a process outlive it. What it had in use does not: everything from here on is
 * zeroed once the process is gone and all its I/O is over.
 */
#define IOMMU_PAGE_USES_OFFSET 4096u
#define IOMMU_PAGE_BYTES (IOMMU_PAGE_USES_OFFSET + 4096u + IOMMU_NODES * 4u)
