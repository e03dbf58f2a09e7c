/* SPDX-License-Identifier: Apache-2.0 */
/* bulkhead-vsock: the guest's virtio sockets. Started by the warden only; all it needs comes on fd 3. */
#include "device-procs/common/device.h"
#include "device-procs/vsock/vsock_device.h"
#include "sandbox/sanitizer_options.h"

int main(void)
{
	return device_main(&vsock_device_ops);
}
