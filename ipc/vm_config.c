/* SPDX-License-Identifier: Apache-2.0 */
/* Ownership and names of the VM configuration; see vm_config.h. Trusted input. */
#include "ipc/vm_config.h"

#include <stdlib.h>
#include <string.h>

#include "ipc/cleanup.h"

static void device_config_clear(struct device_config *d)
{
	free(d->path);
	if (d->type == DEVICE_TYPE_NET)
		free(d->net.host);
}

void vm_config_clear(struct vm_config *config)
{
	for (uint32_t i = 0; i < config->n_devices && i < VM_DEVICES_MAX; i++)
		device_config_clear(&config->devices[i]);
	free(config->run_dir);
	free(config->kernel);
	free(config->initramfs);
	free(config->serial_path);
	free(config->log_file);
	memset(config, 0, sizeof(*config));
}

const char *device_type_name(enum device_type type)
{
	switch (type) {
	case DEVICE_TYPE_NET:
		return "net";
	case DEVICE_TYPE_BLK:
		return "blk";
	case DEVICE_TYPE_CONSOLE:
		return "console";
	case DEVICE_TYPE_RNG:
		return "rng";
	case DEVICE_TYPE_VSOCK:
		return "vsock";
	case DEVICE_TYPE_IOMMU:
		return "iommu";
	}
	return NULL;
}

const char *device_program_name(const struct device_config *config)
{
	/* libslirp and glib are for those who use them. */
	if (config->type == DEVICE_TYPE_NET && config->net.mode == NET_MODE_USER)
		return "net-user";
	return device_type_name(config->type);
}

void device_config_forget_host(struct device_config *config)
{
	config->path = NULL;
	if (config->type == DEVICE_TYPE_NET)
		config->net.host = NULL;
}
