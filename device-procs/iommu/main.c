/* SPDX-License-Identifier: Apache-2.0 */
/* bulkhead-iommu: the IOMMU of one VM. Started by the warden only; all it needs comes on fd 3. */
#include "device-procs/common/device.h"
#include "device-procs/iommu/iommu_device.h"
#include "sandbox/sanitizer_options.h"

int main(void)
{
	return device_main(&iommu_device_ops);
}
