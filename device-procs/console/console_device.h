/* SPDX-License-Identifier: Apache-2.0 */
/* The virtio console device with one port (VIRTIO 1.2 §5.3), as the common code runs it. */
#pragma once

#include "device-procs/common/device.h"

extern const struct device_ops console_device_ops;
