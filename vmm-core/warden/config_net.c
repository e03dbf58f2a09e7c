/* SPDX-License-Identifier: Apache-2.0 */
/* The values of --net. Runs in the warden (and in unit tests); input is the user's. */
#include "vmm-core/warden/config_net.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <linux/if.h>
#include <stddef.h>
#include <string.h>

#define NET_QUEUE_SIZE_DEFAULT 256u
/*
 * libslirp ends every connection itself, so segments are as large as it can cope with: a window that
 * was too small for one is opened again only if it grows by two, and no window is above 64 KiB. With
 * more than a third of that a guest that sends would have to wait for its own probes.
 */
#define NET_USER_MTU 21880u
#define NET_MTU_MIN 1280u /* VIRTIO 1.2 §5.1.4.1: what a device may announce */

/* What needs a second look once all keys are there. */
struct net_options {
	struct device_config device;
	char *mode, *fd, *hostfwd;
	bool tso, ufo, csum;
};

int config_limits_check(const char *flag, const struct rate_limit_config *limits,
			struct failure *f)
{
	if (limits->bw_size != 0 && limits->bw_refill_time == 0)
		return failure_set(f, STATUS_USAGE, "%s bw_size: needs bw_refill_time", flag);
	if (limits->ops_size != 0 && limits->ops_refill_time == 0)
		return failure_set(f, STATUS_USAGE, "%s ops_size: needs ops_refill_time", flag);
	return 0;
}

int config_limits_parse(const char *flag, const char *text, struct rate_limit_config *limits,
			struct failure *f)
{
	static const struct config_key keys[] = {
		CONFIG_LIMIT_KEYS(struct blk_config, limits),
		{ 0 },
	};
	struct blk_config target = { .limits = *limits };
	int r = config_keys_parse(flag, text, keys, &target, f);

	if (r == 0)
		r = config_limits_check(flag, &target.limits, f);
	if (r == 0)
		*limits = target.limits;
	return r;
}

/* "3" or "[3,4]": the items one after the other, cut in place; NULL at the end. */
static char *net_list_next(char **at)
{
	char *item = *at, *end;

	if (item == NULL)
		return NULL;
	if (*item == '[')
		item++;
	end = strpbrk(item, ",]");
	*at = end != NULL && *end == ',' ? end + 1 : NULL;
	if (end != NULL)
		*end = '\0';
	return item;
}

static int net_parse_fds(const char *flag, char *list, struct net_host *host, struct failure *f)
{
	char *item;

	while ((item = net_list_next(&list)) != NULL) {
		uint64_t fd;

		if (config_value_number(item, &fd) != 0 || fd > INT32_MAX)
			return failure_set(f, STATUS_USAGE, "%s fd=%s: not a file descriptor",
					   flag, item);
		if (fd <= 2)
			return failure_set(f, STATUS_USAGE, "%s fd=%s: 0 to 2 have another use",
					   flag, item);
		if (host->n_fds == NET_PAIRS_MAX)
			return failure_set(f, STATUS_USAGE, "%s fd: at most %u", flag,
					   NET_PAIRS_MAX);
		host->fds[host->n_fds++] = (int)fd;
	}
	return 0;
}

static bool net_parse_port(const char *text, uint32_t *ret)
{
	uint64_t port;

	if (config_value_number(text, &port) != 0 || port == 0 || port > UINT16_MAX)
		return false;
	*ret = (uint32_t)port;
	return true;
}

/* "tcp:[ADDRESS:]PORT-PORT", cut in place; without an address only this host reaches it. */
static bool net_parse_forward(char *text, struct net_forward *ret)
{
	char *host = text + 4, *guest = strchr(text, '-'), *colon;
	struct in_addr address;

	ret->is_udp = strncmp(text, "udp:", 4) == 0;
	if ((!ret->is_udp && strncmp(text, "tcp:", 4) != 0) || guest == NULL)
		return false;
	*guest++ = '\0';
	ret->host_addr = INADDR_LOOPBACK;
	colon = strchr(host, ':');
	if (colon != NULL) {
		*colon = '\0';
		if (inet_pton(AF_INET, host, &address) != 1)
			return false;
		ret->host_addr = ntohl(address.s_addr);
		host = colon + 1;
	}
	return net_parse_port(host, &ret->host_port) && net_parse_port(guest, &ret->guest_port);
}

static int net_parse_forwards(const char *flag, char *list, struct net_host *host,
			      struct failure *f)
{
	char *item;

	while ((item = net_list_next(&list)) != NULL) {
		cleanup_free char *copy = strdup(item);

		if (copy == NULL)
			return -ENOMEM;
		if (host->n_forwards == NET_FORWARDS_MAX)
			return failure_set(f, STATUS_USAGE, "%s hostfwd: at most %u", flag,
					   NET_FORWARDS_MAX);
		if (!net_parse_forward(item, &host->forwards[host->n_forwards]))
			return failure_set(f, STATUS_USAGE,
					   "%s hostfwd=%s: must be tcp:[ADDRESS:]PORT-PORT or "
					   "udp:[ADDRESS:]PORT-PORT",
					   flag, copy);
		host->n_forwards++;
	}
	return 0;
}

/* What the kernel takes as a name, and no pattern that it would fill in. */
static bool net_is_interface_name(const char *name)
{
	for (const char *c = name; *c != '\0'; c++)
		if (!isgraph((unsigned char)*c) || strchr("%/:", *c) != NULL)
			return false;
	return name[0] != '\0' && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* What only one of the two modes has. */
static int net_check_mode(const char *flag, const struct device_config *device, struct failure *f)
{
	const struct net_config *net = &device->net;
	const struct net_host *host = net->host;
	const char *tap = device->path;

	if (net->mode == NET_MODE_TAP) {
		if ((tap != NULL) == (host->n_fds != 0))
			return failure_set(f, STATUS_USAGE,
					   "%s: one of tap=NAME, fd=N and mode=user is required",
					   flag);
		if (host->n_forwards != 0 || net->loopback)
			return failure_set(f, STATUS_USAGE, "%s %s: only with mode=user", flag,
					   net->loopback ? "loopback" : "hostfwd");
	} else if (tap != NULL || host->n_fds != 0) {
		return failure_set(f, STATUS_USAGE, "%s %s: not with mode=user", flag,
				   tap != NULL ? "tap" : "fd");
	} else if (net->mtu > NET_USER_MTU) {
		return failure_set(f, STATUS_USAGE, "%s mtu=%u: with mode=user at most %u", flag,
				   net->mtu, NET_USER_MTU);
	} else if (net->num_queues != 2) {
		return failure_set(f, STATUS_USAGE, "%s num_queues=%u: with mode=user only 2", flag,
				   net->num_queues);
	}
	if (tap != NULL && strlen(tap) >= IFNAMSIZ)
		return failure_set(f, STATUS_USAGE, "%s tap=%s: at most %d characters", flag,
				   tap, IFNAMSIZ - 1);
	if (tap != NULL && !net_is_interface_name(tap))
		return failure_set(f, STATUS_USAGE, "%s tap=%s: not a name of an interface", flag,
				   tap);
	if (net->num_queues % 2 != 0)
		return failure_set(f, STATUS_USAGE,
				   "%s num_queues=%u: must be even, receive and transmit", flag,
				   net->num_queues);
	if (host->n_fds != 0 && host->n_fds * 2 != net->num_queues)
		return failure_set(f, STATUS_USAGE, "%s num_queues=%u: needs %u values of fd, not %u",
				   flag, net->num_queues, net->num_queues / 2, host->n_fds);
	return 0;
}

static int net_finish(const char *flag, struct net_options *o, struct failure *f)
{
	struct net_config *net = &o->device.net;
	struct net_host *host = net->host;
	int r = 0;

	if (o->mode != NULL && strcmp(o->mode, "user") == 0)
		net->mode = NET_MODE_USER;
	else if (o->mode != NULL && strcmp(o->mode, "tap") != 0)
		return failure_set(f, STATUS_USAGE, "%s mode=%s: must be tap or user", flag,
				   o->mode);
	if (o->fd != NULL)
		r = net_parse_fds(flag, o->fd, host, f);
	if (r == 0 && o->hostfwd != NULL)
		r = net_parse_forwards(flag, o->hostfwd, host, f);
	if (r != 0)
		return r;
	/* One fd per pair is what the fds say themselves. */
	if (net->num_queues == 0)
		net->num_queues = host->n_fds > 1 ? 2 * host->n_fds : 2;
	if (net->mode == NET_MODE_USER && net->mtu == 0)
		net->mtu = NET_USER_MTU;
	net->no_tso = !o->tso;
	net->no_ufo = !o->ufo;
	net->no_csum = !o->csum;
	r = net_check_mode(flag, &o->device, f);
	return r == 0 ? config_limits_check(flag, &net->limits, f) : r;
}

#define NET(field) offsetof(struct net_options, device.net.field)

int config_net_parse(const char *flag, const char *text, struct device_config *net,
		     struct failure *f)
{
	static const struct config_key keys[] = {
		{ "tap", CONFIG_KEY_STRING, offsetof(struct net_options, device.path), 0, 0, false },
		{ "fd", CONFIG_KEY_STRING, offsetof(struct net_options, fd), 0, 0, false },
		{ "mode", CONFIG_KEY_STRING, offsetof(struct net_options, mode), 0, 0, false },
		{ "mac", CONFIG_KEY_MAC, NET(mac), 0, 0, false },
		{ "num_queues", CONFIG_KEY_NUMBER, NET(num_queues), 2, 2 * NET_PAIRS_MAX, false },
		{ "queue_size", CONFIG_KEY_POWER, NET(queue_size), 2, 1024, false },
		{ "mtu", CONFIG_KEY_NUMBER, NET(mtu), NET_MTU_MIN, UINT16_MAX, false },
		{ "hostfwd", CONFIG_KEY_STRING, offsetof(struct net_options, hostfwd), 0, 0, false },
		{ "loopback", CONFIG_KEY_BOOL, NET(loopback), 0, 0, false },
		{ "offload_tso", CONFIG_KEY_BOOL, offsetof(struct net_options, tso), 0, 0, false },
		{ "offload_ufo", CONFIG_KEY_BOOL, offsetof(struct net_options, ufo), 0, 0, false },
		{ "offload_csum", CONFIG_KEY_BOOL, offsetof(struct net_options, csum), 0, 0, false },
		CONFIG_LIMIT_KEYS(struct net_options, device.net.limits),
		{ "id", CONFIG_KEY_NAME, offsetof(struct net_options, device.id), 0, VM_ID_MAX,
		  false },
		{ "iommu", CONFIG_KEY_BOOL, offsetof(struct net_options, device.iommu), 0, 0,
		  false },
		{ "vhost_user", CONFIG_KEY_UNSUPPORTED, 0, 0, 0, false },
		{ "ip", CONFIG_KEY_UNSUPPORTED, 0, 0, 0, false },
		{ "mask", CONFIG_KEY_UNSUPPORTED, 0, 0, 0, false },
		{ "host_mac", CONFIG_KEY_UNSUPPORTED, 0, 0, 0, false },
		{ 0 },
	};
	struct net_options o = { .tso = true, .ufo = true, .csum = true };
	int r;

	o.device.net.queue_size = NET_QUEUE_SIZE_DEFAULT;
	o.device.net.host = calloc(1, sizeof(*o.device.net.host));
	if (o.device.net.host == NULL)
		return -ENOMEM;
	r = config_keys_parse(flag, text, keys, &o, f);
	if (r == 0)
		r = net_finish(flag, &o, f);
	free(o.mode);
	free(o.fd);
	free(o.hostfwd);
	o.device.type = net->type;
	*net = o.device; /* also on failure: vm_config_clear() frees what is in there */
	return r;
}
