/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of bulkhead. Runs in the warden (and in unit tests); input is the user's.
 *
 * Names and syntax are Cloud Hypervisor's. An option that is not built yet is refused by name,
 * never ignored.
 */
#include "vmm-core/warden/config_cli.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/types.h>

#include "vmm-core/machine/layout.h"
#include "vmm-core/warden/config_device.h"
#include "vmm-core/warden/config_value.h"
#include "vmm-core/warden/restart_policy.h"

#define CONFIG_MEMORY_DEFAULT (512ull << 20)
#define CONFIG_HUGE_PAGE_SIZE (2ull << 20)

struct cli {
	struct vm_config *config;
	bool seen_serial, has_console_tty;
	struct failure *f;
};

enum cli_kind {
	CLI_FLAG, /* takes no value; may be repeated */
	CLI_ONE, /* takes one value, given once */
	CLI_MAYBE, /* takes one value or none, given once */
	CLI_LIST, /* takes one or more values, may be repeated */
	CLI_UNSUPPORTED,
};

struct cli_option {
	const char *name;
	enum cli_kind kind;
	int (*set)(struct cli *cli, const struct cli_option *option, const char *value);
	size_t offset; /* cli_set_string: of the char * in struct vm_config */
};

static int cli_set_string(struct cli *cli, const struct cli_option *option, const char *value)
{
	char **field = (void *)((char *)cli->config + option->offset);

	*field = strdup(value);
	return *field == NULL ? -ENOMEM : 0;
}

static int cli_set_cmdline(struct cli *cli, const struct cli_option *option, const char *value)
{
	size_t len = strlen(value);

	if (len >= sizeof(cli->config->cmdline))
		return failure_set(cli->f, STATUS_USAGE, "%s: %zu characters, at most %zu fit",
				   option->name, len, sizeof(cli->config->cmdline) - 1);
	memcpy(cli->config->cmdline, value, len + 1);
	return 0;
}

static int cli_set_cpus(struct cli *cli, const struct cli_option *option, const char *value)
{
	static const struct config_key keys[] = {
		{ "boot", CONFIG_KEY_NUMBER, offsetof(struct vm_config, n_cpus), 1, VM_CPUS_MAX,
		  true },
		{ 0 },
	};

	return config_keys_parse(option->name, value, keys, cli->config, cli->f);
}

static int cli_set_memory(struct cli *cli, const struct cli_option *option, const char *value)
{
	static const struct config_key keys[] = {
		{ "size", CONFIG_KEY_SIZE, offsetof(struct vm_config, memory_size), 0, 0, true },
		{ "hugepages", CONFIG_KEY_BOOL, offsetof(struct vm_config, memory_hugepages), 0, 0,
		  false },
		{ "prefault", CONFIG_KEY_BOOL, offsetof(struct vm_config, memory_prefault), 0, 0,
		  false },
		{ 0 },
	};
	int r = config_keys_parse(option->name, value, keys, cli->config, cli->f);

	if (r != 0)
		return r;
	if (cli->config->memory_size == 0)
		return failure_set(cli->f, STATUS_USAGE, "--memory size: must not be 0");
	if (cli->config->memory_size % 4096 != 0)
		return failure_set(cli->f, STATUS_USAGE,
				   "--memory size: %llu bytes is not a multiple of 4096",
				   (unsigned long long)cli->config->memory_size);
	if (cli->config->memory_hugepages &&
	    cli->config->memory_size % CONFIG_HUGE_PAGE_SIZE != 0)
		return failure_set(cli->f, STATUS_USAGE,
				   "--memory size: with hugepages=on it must be a multiple of 2M");
	return 0;
}

static int cli_add_device(struct cli *cli, const struct cli_option *option, const char *value)
{
	return config_device_add(cli->config, option->name, value, cli->f);
}

static int cli_set_console(struct cli *cli, const struct cli_option *option, const char *value)
{
	if (strcmp(value, "off") == 0)
		return 0;
	cli->has_console_tty = strcmp(value, "tty") == 0 || strncmp(value, "tty,", 4) == 0;
	return cli_add_device(cli, option, value);
}

static int cli_set_serial(struct cli *cli, const struct cli_option *option, const char *value)
{
	cli->seen_serial = true;
	return config_serial_parse(option->name, value, false, &cli->config->serial,
				   &cli->config->serial_path, cli->f);
}

static int cli_set_transport(struct cli *cli, const struct cli_option *option, const char *value)
{
	if (strcmp(value, "pci") == 0)
		cli->config->transport = VM_TRANSPORT_PCI;
	else if (strcmp(value, "mmio") == 0)
		cli->config->transport = VM_TRANSPORT_MMIO;
	else
		return failure_set(cli->f, STATUS_USAGE, "%s %s: must be mmio or pci",
				   option->name, value);
	return 0;
}

static int cli_set_name(struct cli *cli, const struct cli_option *option, const char *value)
{
	if (!config_value_is_name(value, VM_NAME_MAX))
		return failure_set(cli->f, STATUS_USAGE,
				   "%s %s: must be 1 to %u letters, digits, '.', '_', '-', "
				   "starting with a letter or digit",
				   option->name, value, VM_NAME_MAX - 1);
	if (strcmp(value, "uids") == 0)
		return failure_set(cli->f, STATUS_USAGE, "%s uids: this name is reserved",
				   option->name);
	memcpy(cli->config->name, value, strlen(value) + 1);
	return 0;
}

static const struct restart_policy config_restart_default = {
	.max = 5, .window_ms = 60000, .backoff_ms = 100, .heartbeat_ms = 3000,
	.standby = true,
};

static int cli_set_restart(struct cli *cli, const struct cli_option *option, const char *value)
{
	static const struct config_key keys[] = {
		{ "max", CONFIG_KEY_NUMBER, offsetof(struct restart_policy, max), 0, RESTART_MAX,
		  false },
		{ "window", CONFIG_KEY_DURATION, offsetof(struct restart_policy, window_ms), 0, 0,
		  false },
		{ "backoff", CONFIG_KEY_DURATION, offsetof(struct restart_policy, backoff_ms), 0,
		  0, false },
		{ "heartbeat", CONFIG_KEY_DURATION, offsetof(struct restart_policy, heartbeat_ms),
		  0, 0, false },
		{ "standby", CONFIG_KEY_BOOL, offsetof(struct restart_policy, standby), 0, 0,
		  false },
		{ 0 },
	};
	struct restart_policy *policy = &cli->config->restart;
	int r = config_keys_parse(option->name, value, keys, policy, cli->f);

	if (r == 0 && policy->max > 0 && policy->window_ms == 0)
		return failure_set(cli->f, STATUS_USAGE,
				   "%s window=0: with max above 0 a window is needed",
				   option->name);
	return r;
}

static int cli_set_weak(struct cli *cli, const struct cli_option *option, const char *value)
{
	(void)option;
	(void)value;
	cli->config->allow_weak_sandbox = true;
	return 0;
}

static int cli_set_seccomp(struct cli *cli, const struct cli_option *option, const char *value)
{
	if (strcmp(value, "true") == 0)
		return 0;
	if (strcmp(value, "log") != 0)
		return failure_set(cli->f, STATUS_USAGE, "%s %s: must be true or log",
				   option->name, value);
	cli->config->seccomp_log = true;
	return 0;
}

static int cli_set_verbose(struct cli *cli, const struct cli_option *option, const char *value)
{
	(void)option;
	(void)value;
	if (cli->config->verbosity < 3)
		cli->config->verbosity++;
	return 0;
}

static const struct cli_option cli_options[] = {
	{ "--kernel", CLI_ONE, cli_set_string, offsetof(struct vm_config, kernel) },
	{ "--initramfs", CLI_ONE, cli_set_string, offsetof(struct vm_config, initramfs) },
	{ "--cmdline", CLI_ONE, cli_set_cmdline, 0 },
	{ "--cpus", CLI_ONE, cli_set_cpus, 0 },
	{ "--memory", CLI_ONE, cli_set_memory, 0 },
	{ "--disk", CLI_LIST, cli_add_device, 0 },
	{ "--net", CLI_LIST, cli_add_device, 0 },
	{ "--rng", CLI_MAYBE, cli_add_device, 0 },
	{ "--vsock", CLI_ONE, cli_add_device, 0 },
	{ "--console", CLI_ONE, cli_set_console, 0 },
	{ "--serial", CLI_ONE, cli_set_serial, 0 },
	{ "--transport", CLI_ONE, cli_set_transport, 0 },
	{ "--name", CLI_ONE, cli_set_name, 0 },
	{ "--run-dir", CLI_ONE, cli_set_string, offsetof(struct vm_config, run_dir) },
	{ "--restart", CLI_ONE, cli_set_restart, 0 },
	{ "--allow-weak-sandbox", CLI_FLAG, cli_set_weak, 0 },
	{ "--seccomp", CLI_ONE, cli_set_seccomp, 0 },
	{ "--log-file", CLI_ONE, cli_set_string, offsetof(struct vm_config, log_file) },
	{ "-v", CLI_FLAG, cli_set_verbose, 0 },
	{ "--config", CLI_UNSUPPORTED, NULL, 0 },
	{ "--api-socket", CLI_UNSUPPORTED, NULL, 0 },
};

/* "--name" or "--name=value"; *ret_value is NULL when there is no "=". */
static const struct cli_option *cli_find(const char *arg, const char **ret_value)
{
	const char *equals = strchr(arg, '=');
	size_t len = equals != NULL ? (size_t)(equals - arg) : strlen(arg);

	*ret_value = equals != NULL ? equals + 1 : NULL;
	for (size_t i = 0; i < ARRAY_LEN(cli_options); i++) {
		if (strlen(cli_options[i].name) == len &&
		    strncmp(cli_options[i].name, arg, len) == 0)
			return &cli_options[i];
	}
	return NULL;
}

/* Apply the option at argv[*at]; leaves *at behind its last value. */
static int cli_apply(struct cli *cli, int argc, char *const argv[], int *at, uint64_t *seen)
{
	const char *value;
	const struct cli_option *o = cli_find(argv[*at], &value);
	int r;

	if (o == NULL)
		return failure_set(cli->f, STATUS_USAGE, "%s: unknown %s", argv[*at],
				   argv[*at][0] == '-' ? "option" : "argument");
	(*at)++;
	if (o->kind == CLI_UNSUPPORTED)
		return failure_set(cli->f, STATUS_USAGE, "%s: not supported yet", o->name);
	if (o->kind == CLI_FLAG) {
		if (value != NULL)
			return failure_set(cli->f, STATUS_USAGE, "%s: takes no value", o->name);
		return o->set(cli, o, NULL);
	}
	if ((o->kind == CLI_ONE || o->kind == CLI_MAYBE) && (*seen & (1ull << (o - cli_options))))
		return failure_set(cli->f, STATUS_USAGE, "%s: given twice", o->name);
	*seen |= 1ull << (o - cli_options);
	if (value == NULL && *at < argc && strncmp(argv[*at], "--", 2) != 0)
		value = argv[(*at)++];
	if (value == NULL && o->kind == CLI_MAYBE)
		return o->set(cli, o, "");
	if (value == NULL || (*value == '\0' && o->set != cli_set_cmdline))
		return failure_set(cli->f, STATUS_USAGE, "%s: missing value", o->name);
	r = o->set(cli, o, value);
	while (r == 0 && o->kind == CLI_LIST && *at < argc && argv[*at][0] != '-')
		r = o->set(cli, o, argv[(*at)++]);
	return r;
}

/* What involves more than one option. */
static int cli_check(struct cli *cli)
{
	struct vm_config *config = cli->config;

	if (config->kernel == NULL)
		return failure_set(cli->f, STATUS_USAGE, "--kernel: required, see --help");
	if (config->serial == SERIAL_TTY && cli->has_console_tty)
		return failure_set(cli->f, STATUS_USAGE,
				   "--console tty: --serial tty has the terminal already");
	if (config->transport == VM_TRANSPORT_MMIO && config->n_devices > LAYOUT_VIRTIO_MMIO_SLOTS)
		return failure_set(cli->f, STATUS_USAGE,
				   "--transport mmio: at most %u devices fit, not %u",
				   LAYOUT_VIRTIO_MMIO_SLOTS, config->n_devices);
	return config_devices_finish(config, cli->f);
}

int config_cli_parse(int argc, char *const argv[], bool stdin_is_terminal, struct vm_config *ret,
		     struct failure *f)
{
	struct cli cli = { .config = ret, .f = f };
	uint64_t seen = 0;
	int at = 1;
	int r = 0;

	(void)snprintf(ret->name, sizeof(ret->name), "vm-%d", (int)getpid());
	ret->n_cpus = 1;
	ret->memory_size = CONFIG_MEMORY_DEFAULT;
	ret->restart = config_restart_default;
	while (r == 0 && at < argc) {
		if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0)
			return CONFIG_CLI_HELP;
		if (strcmp(argv[at], "--version") == 0 || strcmp(argv[at], "-V") == 0)
			return CONFIG_CLI_VERSION;
		r = cli_apply(&cli, argc, argv, &at, &seen);
	}
	if (r != 0)
		return r;
	if (!cli.seen_serial)
		ret->serial = stdin_is_terminal && !cli.has_console_tty ? SERIAL_TTY : SERIAL_NULL;
	return cli_check(&cli);
}

int config_check_host(const struct vm_config *config, uint32_t physical_bits, struct failure *f)
{
	uint64_t top = config->memory_size;

	/* RAM that does not fit below the hole continues above it. */
	if (top > LAYOUT_LOW_RAM_END &&
	    __builtin_add_overflow(top, LAYOUT_HIGH_RAM_START - LAYOUT_LOW_RAM_END, &top))
		top = UINT64_MAX;
	if (physical_bits < 64 && top > 1ull << physical_bits)
		return failure_set(f, STATUS_USAGE,
				   "--memory size: %llu bytes is beyond the host's physical "
				   "address width of %u bits",
				   (unsigned long long)config->memory_size, physical_bits);
	return 0;
}
