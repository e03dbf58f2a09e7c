/* SPDX-License-Identifier: Apache-2.0 */
/* The virtio entropy device (VIRTIO 1.2 §5.4), as the common code of device processes runs it. */
#pragma once

#include "device-procs/common/device.h"

extern const struct device_ops rng_device_ops;
