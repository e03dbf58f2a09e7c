/* SPDX-License-Identifier: Apache-2.0 */
/* bulkhead-blk: one disk. Started by the warden only; everything it needs comes on fd 3. */
#include "device-procs/blk/blk_device.h"
#include "device-procs/common/device.h"
#include "sandbox/sanitizer_options.h"

int main(void)
{
	return device_main(&blk_device_ops);
}
