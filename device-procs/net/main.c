/* SPDX-License-Identifier: Apache-2.0 */
/* bulkhead-net and bulkhead-net-user: one NIC. Started by the warden only, all comes on fd 3. */
#include "device-procs/common/device.h"
#include "device-procs/net/net_device.h"
#include "sandbox/sanitizer_options.h"

int main(void)
{
	return device_main(&net_device_ops);
}
