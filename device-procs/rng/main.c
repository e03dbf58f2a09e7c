/* SPDX-License-Identifier: Apache-2.0 */
/* bulkhead-rng: one source of entropy. Started by the warden only; all it needs comes on fd 3. */
#include "device-procs/common/device.h"
#include "device-procs/rng/rng_device.h"
#include "sandbox/sanitizer_options.h"

int main(void)
{
	return device_main(&rng_device_ops);
}
