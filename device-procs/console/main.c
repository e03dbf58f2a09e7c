/* SPDX-License-Identifier: Apache-2.0 */
/* bulkhead-console: one console. Started by the warden only; all it needs comes on fd 3. */
#include "device-procs/common/device.h"
#include "device-procs/console/console_device.h"
#include "sandbox/sanitizer_options.h"

int main(void)
{
	return device_main(&console_device_ops);
}
