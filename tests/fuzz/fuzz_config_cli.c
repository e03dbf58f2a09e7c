/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any command line. It is refused with one line for the user, or it gives a configuration that is
 * in its ranges and can be sent to the core and the device processes.
 *
 * Input: what stdin and the host are (1 byte), then the arguments, one a line.
 */
#include "vmm-core/warden/config_cli.h"

#include "ipc/message.h"
#include "tests/fuzz/fuzz.h"
#include "vmm-core/warden/config_value.h"

#define ARGS_MAX 64
#define TEXT_MAX 8192u

static void check_encodes(const struct message *m)
{
	static uint8_t frame[MESSAGE_FRAME_MAX];
	static struct message again;
	size_t len;

	fuzz_check(message_encode(m, frame, &len) == 0);
	fuzz_check(message_decode(frame, len, message_n_fds(m), &again) == 0);
}

/* Which devices have a host path, or a name in its place. */
static void check_path(const struct device_config *d)
{
	bool has_path = d->path != NULL;

	fuzz_check(!has_path || d->path[0] != '\0');
	if (d->type == DEVICE_TYPE_CONSOLE)
		fuzz_check(has_path ==
			   (d->console.mode == SERIAL_FILE || d->console.mode == SERIAL_SOCKET));
	else if (d->type == DEVICE_TYPE_NET)
		fuzz_check(has_path ==
			   (d->net.mode == NET_MODE_TAP && d->net.host->n_fds == 0));
	else
		fuzz_check(has_path == (d->type != DEVICE_TYPE_IOMMU));
}

static void check_net(const struct net_config *net)
{
	const struct net_host *host = net->host;

	fuzz_check(host != NULL && host->n_fds <= NET_PAIRS_MAX &&
		   host->n_forwards <= NET_FORWARDS_MAX);
	for (uint32_t i = 0; i < host->n_fds; i++)
		fuzz_check(host->fds[i] > 2);
	for (uint32_t i = 0; i < host->n_forwards; i++)
		fuzz_check(host->forwards[i].host_port - 1u < UINT16_MAX &&
			   host->forwards[i].guest_port - 1u < UINT16_MAX);
	fuzz_check(net->num_queues >= 2 && net->num_queues <= 2 * NET_PAIRS_MAX &&
		   net->num_queues % 2 == 0);
	fuzz_check(net->queue_size >= 2 && net->queue_size <= DEVICE_QUEUE_SIZE_MAX &&
		   __builtin_popcount(net->queue_size) == 1);
	if (net->mode == NET_MODE_USER)
		fuzz_check(host->n_fds == 0 && net->num_queues == 2);
	else
		fuzz_check(host->n_forwards == 0 && !net->loopback &&
			   (host->n_fds == 0 || host->n_fds * 2 == net->num_queues));
}

static void check_device(const struct vm_config *config, uint32_t i)
{
	static struct message m;
	const struct device_config *d = &config->devices[i];

	fuzz_check(config_value_is_name(d->id, sizeof(d->id)));
	for (uint32_t j = 0; j < i; j++)
		fuzz_check(strcmp(d->id, config->devices[j].id) != 0);
	fuzz_check(device_type_name(d->type) != NULL);
	check_path(d);
	if (d->type == DEVICE_TYPE_NET)
		check_net(&d->net);
	if (d->type == DEVICE_TYPE_VSOCK)
		fuzz_check(d->vsock.cid >= VM_CID_MIN && d->vsock.cid <= VM_CID_MAX);
	if (d->type == DEVICE_TYPE_BLK) {
		fuzz_check(d->blk.num_queues >= 1 && d->blk.num_queues <= config->n_cpus);
		fuzz_check(d->blk.queue_size >= 2 && d->blk.queue_size <= DEVICE_QUEUE_SIZE_MAX &&
			   __builtin_popcount(d->blk.queue_size) == 1);
	}
	memset(&m, 0, sizeof(m));
	m.type = MESSAGE_DEVICE_START;
	m.device_start.protocol = PROTOCOL_VERSION;
	m.device_start.slot = i;
	m.device_start.n_cpus = config->n_cpus;
	m.device_start.config = *d;
	check_encodes(&m);
}

static void check_accepted(const struct vm_config *config)
{
	static struct message m;

	fuzz_check(config->kernel != NULL && config->kernel[0] != '\0');
	fuzz_check(config_value_is_name(config->name, sizeof(config->name)));
	fuzz_check(strnlen(config->cmdline, sizeof(config->cmdline)) < sizeof(config->cmdline));
	fuzz_check(config->n_cpus >= 1 && config->n_cpus <= VM_CPUS_MAX);
	fuzz_check(config->memory_size > 0 && config->memory_size % 4096 == 0);
	fuzz_check((config->serial == SERIAL_FILE) == (config->serial_path != NULL));
	fuzz_check(config->n_devices <= VM_DEVICES_MAX);
	for (uint32_t i = 0; i < config->n_devices; i++)
		check_device(config, i);
	memset(&m, 0, sizeof(m));
	m.type = MESSAGE_CORE_START;
	m.core_start.protocol = PROTOCOL_VERSION;
	m.core_start.config = *config;
	check_encodes(&m);
}

static void check_refused(const struct failure *f)
{
	fuzz_check(f->status == STATUS_USAGE);
	fuzz_check(f->text[0] != '\0');
	for (const char *c = f->text; *c != '\0'; c++)
		fuzz_check((unsigned char)*c >= ' ' && *c != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct vm_config config;
	static char text[TEXT_MAX + 1];
	char *argv[ARGS_MAX + 2], *at = text;
	struct fuzz_reader in = { data, size };
	uint8_t how = fuzz_u8(&in);
	struct failure f = { 0 };
	int argc = 0, r;

	if (in.left > TEXT_MAX)
		return -1;
	memcpy(text, in.at, in.left);
	text[in.left] = '\0';
	argv[argc++] = (char[]){ "bulkhead" };
	while (at != NULL && *at != '\0' && argc <= ARGS_MAX)
		argv[argc++] = strsep(&at, "\n");
	argv[argc] = NULL;
	r = config_cli_parse(argc, argv, how & 1, &config, &f);
	fuzz_check(r == 0 || r == FAILED || r == CONFIG_CLI_HELP || r == CONFIG_CLI_VERSION);
	if (r == 0)
		check_accepted(&config);
	if (r == 0)
		r = config_check_host(&config, 32 + (how >> 1) % 33, &f);
	if (r == FAILED)
		check_refused(&f);
	vm_config_clear(&config);
	return 0;
}
