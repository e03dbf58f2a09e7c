/* SPDX-License-Identifier: Apache-2.0 */
/* Devices on the command line; see config_device.h. Runs in the warden; input is the user's. */
#include "vmm-core/warden/config_device.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "vmm-core/warden/config_net.h"
#include "vmm-core/warden/config_value.h"
#include "vmm-core/warden/vsock_socket.h"

#define CONFIG_QUEUE_SIZE_DEFAULT 128u
/* Parts of a ring have to be contiguous below the IOMMU: up to here each fits a page. */
#define CONFIG_IOMMU_QUEUE_SIZE_MAX 256u

struct device_option {
	const char *name; /* "--disk" */
	enum device_type type;
	bool is_single; /* at most one in a VM; its default id has no number */
	int (*parse)(const char *name, const char *value, struct device_config *d,
		     struct failure *f);
};

static int parse_disk(const char *name, const char *value, struct device_config *d,
		      struct failure *f)
{
	static const struct config_key keys[] = {
		{ "path", CONFIG_KEY_STRING, offsetof(struct device_config, path), 0, 0, true },
		{ "readonly", CONFIG_KEY_BOOL, offsetof(struct device_config, blk.read_only), 0, 0,
		  false },
		{ "direct", CONFIG_KEY_BOOL, offsetof(struct device_config, blk.direct), 0, 0,
		  false },
		{ "num_queues", CONFIG_KEY_NUMBER, offsetof(struct device_config, blk.num_queues),
		  1, VM_CPUS_MAX, false },
		{ "queue_size", CONFIG_KEY_POWER, offsetof(struct device_config, blk.queue_size),
		  2, 1024, false },
		{ "serial", CONFIG_KEY_TEXT, offsetof(struct device_config, blk.serial), 0,
		  sizeof(((struct blk_config *)0)->serial), false },
		{ "id", CONFIG_KEY_NAME, offsetof(struct device_config, id), 0, VM_ID_MAX, false },
		CONFIG_LIMIT_KEYS(struct device_config, blk.limits),
		{ "iommu", CONFIG_KEY_BOOL, offsetof(struct device_config, iommu), 0, 0, false },
		{ 0 },
	};
	int r;

	d->blk.num_queues = 1;
	d->blk.queue_size = CONFIG_QUEUE_SIZE_DEFAULT;
	r = config_keys_parse(name, value, keys, d, f);
	return r == 0 ? config_limits_check(name, &d->blk.limits, f) : r;
}

int config_serial_parse(const char *option, const char *value, bool has_socket,
			enum serial_mode *ret_mode, char **ret_path, struct failure *f)
{
	static const struct {
		const char *name; /* with "=": the rest is a path */
		enum serial_mode mode;
	} modes[] = {
		{ "off", SERIAL_OFF }, { "null", SERIAL_NULL },	  { "tty", SERIAL_TTY },
		{ "pty", SERIAL_PTY }, { "file=", SERIAL_FILE }, { "socket=", SERIAL_SOCKET },
	};

	for (size_t i = 0; i < ARRAY_LEN(modes) - !has_socket; i++) {
		size_t len = strlen(modes[i].name);
		bool has_path = modes[i].name[len - 1] == '=';

		if (strncmp(value, modes[i].name, len) != 0 || (!has_path && value[len] != '\0'))
			continue;
		if (has_path && value[len] == '\0')
			return failure_set(f, STATUS_USAGE, "%s %.*s: missing value", option,
					   (int)len - 1, value);
		*ret_mode = modes[i].mode;
		*ret_path = has_path ? strdup(value + len) : NULL;
		return has_path && *ret_path == NULL ? -ENOMEM : 0;
	}
	return failure_set(f, STATUS_USAGE, "%s %s: must be off, null, tty, pty%s", option, value,
			   has_socket ? ", file=FILE or socket=PATH" : " or file=FILE");
}

/*
 * "off" alone never gets here: no device is made for it. The mode is no list of keys, since its path
 * may hold commas, but it may be followed by one.
 */
static int parse_console(const char *name, const char *value, struct device_config *d,
			 struct failure *f)
{
	static const struct config_key keys[] = {
		{ "iommu", CONFIG_KEY_BOOL, offsetof(struct device_config, iommu), 0, 0, false },
		{ 0 },
	};
	cleanup_free char *mode = strdup(value);
	char *more = mode ? strstr(mode, ",iommu=") : NULL;
	int r = mode ? 0 : -ENOMEM;

	if (more) {
		*more = '\0';
		r = config_keys_parse(name, more + 1, keys, d, f);
	}
	if (r == 0)
		r = config_serial_parse(name, mode, true, &d->console.mode, &d->path, f);
	if (r == 0 && d->console.mode == SERIAL_OFF)
		return failure_set(f, STATUS_USAGE, "%s off: takes no keys", name);
	return r;
}

static int parse_rng(const char *name, const char *value, struct device_config *d,
		     struct failure *f)
{
	static const struct config_key keys[] = {
		{ "src", CONFIG_KEY_STRING, offsetof(struct device_config, path), 0, 0, false },
		{ "id", CONFIG_KEY_NAME, offsetof(struct device_config, id), 0, VM_ID_MAX, false },
		{ "iommu", CONFIG_KEY_BOOL, offsetof(struct device_config, iommu), 0, 0, false },
		{ 0 },
	};
	int r = *value == '\0' ? 0 : config_keys_parse(name, value, keys, d, f);

	if (r == 0 && d->path == NULL) {
		d->path = strdup(VM_RNG_SOURCE_DEFAULT);
		r = d->path == NULL ? -ENOMEM : 0;
	}
	return r;
}

static int parse_vsock(const char *name, const char *value, struct device_config *d,
		       struct failure *f)
{
	static const struct config_key keys[] = {
		{ "cid", CONFIG_KEY_NUMBER, offsetof(struct device_config, vsock.cid), VM_CID_MIN,
		  VM_CID_MAX, true },
		{ "socket", CONFIG_KEY_STRING, offsetof(struct device_config, path), 0, 0, true },
		{ "id", CONFIG_KEY_NAME, offsetof(struct device_config, id), 0, VM_ID_MAX, false },
		{ "iommu", CONFIG_KEY_BOOL, offsetof(struct device_config, iommu), 0, 0, false },
		{ 0 },
	};

	const char *fault;
	int r = config_keys_parse(name, value, keys, d, f);

	if (r != 0)
		return r;
	fault = vsock_socket_path_fault(d->path);
	return fault ? failure_set(f, STATUS_USAGE, "%s socket=%s: %s", name, d->path, fault) : 0;
}

/* In slot order (vm_config.h). */
static const struct device_option device_options[] = {
	{ "--disk", DEVICE_TYPE_BLK, false, parse_disk },
	{ "--net", DEVICE_TYPE_NET, false, config_net_parse },
	{ "--console", DEVICE_TYPE_CONSOLE, true, parse_console },
	{ "--rng", DEVICE_TYPE_RNG, true, parse_rng },
	{ "--vsock", DEVICE_TYPE_VSOCK, true, parse_vsock },
	{ "iommu=on", DEVICE_TYPE_IOMMU, true, NULL }, /* no option: iommu=on of others brings it */
};

static const struct device_option *option_of_type(enum device_type type)
{
	const struct device_option *o = device_options;

	while (o->type != type)
		o++; /* every device came from a row */
	return o;
}

int config_device_add(struct vm_config *config, const char *option, const char *value,
		      struct failure *f)
{
	const struct device_option *o = device_options;
	struct device_config *d;

	while (o < device_options + ARRAY_LEN(device_options) && strcmp(o->name, option) != 0)
		o++;
	if (o == device_options + ARRAY_LEN(device_options))
		return -EINVAL;
	if (config->n_devices == VM_DEVICES_MAX)
		return failure_set(f, STATUS_USAGE, "%s: at most %u devices fit in one VM", option,
				   VM_DEVICES_MAX);
	d = &config->devices[config->n_devices++];
	d->type = o->type;
	return o->parse(option, value, d, f);
}

/* Stable: devices of one type stay as they were given. */
static void sort_by_slot(struct vm_config *config)
{
	for (uint32_t i = 1; i < config->n_devices; i++) {
		for (uint32_t k = i; k > 0 && option_of_type(config->devices[k].type) <
						      option_of_type(config->devices[k - 1].type);
		     k--) {
			struct device_config other = config->devices[k];

			config->devices[k] = config->devices[k - 1];
			config->devices[k - 1] = other;
		}
	}
}

/* Default ids are blk0, blk1, … by position among their type, and rng for what is single. */
static void name_devices(struct vm_config *config)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < config->n_devices; i++) {
		struct device_config *d = &config->devices[i];
		const char *type = device_type_name(d->type);

		n = i > 0 && config->devices[i - 1].type == d->type ? n + 1 : 0;
		if (d->id[0] != '\0')
			continue;
		if (option_of_type(d->type)->is_single)
			(void)snprintf(d->id, sizeof(d->id), "%s", type);
		else
			(void)snprintf(d->id, sizeof(d->id), "%s%u", type, n);
	}
}

/* The first device that wants one brings the IOMMU. */
static int add_iommu(struct vm_config *config, struct failure *f)
{
	uint32_t i = 0;

	while (i < config->n_devices && !config->devices[i].iommu)
		i++;
	if (i == config->n_devices)
		return 0;
	if (config->transport != VM_TRANSPORT_PCI)
		return failure_set(f, STATUS_USAGE,
				   "%s iommu=on: needs --transport pci: with mmio nothing tells the "
				   "guest which devices are behind the IOMMU",
				   option_of_type(config->devices[i].type)->name);
	if (config->n_devices == VM_DEVICES_MAX)
		return failure_set(f, STATUS_USAGE,
				   "%s iommu=on: the IOMMU takes a place itself, and all %u are in "
				   "use", option_of_type(config->devices[i].type)->name,
				   VM_DEVICES_MAX);
	config->devices[config->n_devices++].type = DEVICE_TYPE_IOMMU;
	return 0;
}

/* Return: 0: not for the user to say */
static uint32_t queue_size_of(const struct device_config *d)
{
	return d->type == DEVICE_TYPE_BLK ? d->blk.queue_size :
	       d->type == DEVICE_TYPE_NET ? d->net.queue_size :
					    0;
}

int config_devices_finish(struct vm_config *config, struct failure *f)
{
	int r = add_iommu(config, f);

	if (r != 0)
		return r;
	sort_by_slot(config);
	name_devices(config);
	for (uint32_t i = 0; i < config->n_devices; i++) {
		const struct device_config *d = &config->devices[i];
		const char *option = option_of_type(d->type)->name;

		if (strcmp(d->id, "core") == 0 || strcmp(d->id, "warden") == 0)
			return failure_set(f, STATUS_USAGE, "%s id=%s: this id is reserved", option,
					   d->id);
		if (d->type == DEVICE_TYPE_BLK && d->blk.num_queues > config->n_cpus)
			return failure_set(f, STATUS_USAGE,
					   "--disk num_queues=%u: more than the %u vCPUs of "
					   "--cpus boot",
					   d->blk.num_queues, config->n_cpus);
		if (d->type == DEVICE_TYPE_NET && d->net.num_queues > 2 * config->n_cpus)
			return failure_set(f, STATUS_USAGE,
					   "--net num_queues=%u: more than 2 for each of the %u "
					   "vCPUs of --cpus boot",
					   d->net.num_queues, config->n_cpus);
		if (d->iommu && queue_size_of(d) > CONFIG_IOMMU_QUEUE_SIZE_MAX)
			return failure_set(f, STATUS_USAGE,
					   "%s queue_size=%u: at most %u with iommu=on", option,
					   queue_size_of(d), CONFIG_IOMMU_QUEUE_SIZE_MAX);
		for (uint32_t j = 0; j < i; j++) {
			if (strcmp(d->id, config->devices[j].id) == 0)
				return failure_set(f, STATUS_USAGE, "%s id=%s: given to two devices",
						   option, d->id);
		}
	}
	return 0;
}
