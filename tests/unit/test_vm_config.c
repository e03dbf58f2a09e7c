/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/vm_config.h"

Test(vm_config, clear_frees_and_zeroes)
{
	static const struct vm_config zero;
	static struct vm_config c;

	c.kernel = strdup("kernel");
	c.run_dir = strdup("dir");
	c.n_devices = 2;
	c.devices[0].type = DEVICE_TYPE_BLK;
	c.devices[0].path = strdup("disk");
	c.devices[1].type = DEVICE_TYPE_RNG;
	vm_config_clear(&c); /* a leak shows under the address sanitizer */
	cr_assert_eq(memcmp(&c, &zero, sizeof(c)), 0);
	vm_config_clear(&c);
}

Test(vm_config, type_names)
{
	cr_expect_str_eq(device_type_name(DEVICE_TYPE_BLK), "blk");
	cr_expect_str_eq(device_type_name(DEVICE_TYPE_IOMMU), "iommu");
	cr_expect_null(device_type_name((enum device_type)0));
	cr_expect_null(device_type_name((enum device_type)99));
}
