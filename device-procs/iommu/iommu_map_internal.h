/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the writer: shared by iommu_map.c and iommu_adopt.c. */
#pragma once

#include "device-procs/iommu/iommu_map.h"

/** iommu_map_wait() - after the table was changed: wait for the endpoints in the mask @slots */
void iommu_map_wait(struct iommu_map *m, uint32_t slots, bool for_all);

/** iommu_map_retire() - node @n was unlinked */
void iommu_map_retire(struct iommu_map *m, uint32_t n);

/** iommu_map_move() - attach @slot to @to, NULL: to nothing; an empty domain is dropped */
void iommu_map_move(struct iommu_map *m, uint32_t slot, const struct iommu_domain *to);

/** iommu_map_attached() - mask of the slots that are attached to @d */
uint32_t iommu_map_attached(const struct iommu_map *m, const struct iommu_domain *d);

/** iommu_map_check() - may @mapping exist? Return: VIRTIO_IOMMU_S_* */
uint8_t must_check iommu_map_check(const struct iommu_map *m, const struct iommu_mapping *mapping);

/** iommu_map_is_ram() - does [@at, @at + @last_offset] lie in one region of guest RAM? */
bool iommu_map_is_ram(const struct iommu_map *m, uint64_t at, uint64_t last_offset);
