/* SPDX-License-Identifier: Apache-2.0 */
/* The virtio IOMMU (VIRTIO 1.2 §5.13), as the common code of device processes runs it. */
#pragma once

#include "device-procs/common/device.h"

extern const struct device_ops iommu_device_ops;
