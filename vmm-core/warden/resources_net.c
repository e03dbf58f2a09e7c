/* SPDX-License-Identifier: Apache-2.0 */
/* Taps, forwarded ports and the DNS server of NICs. Runs in the warden before anything is spawned. */
#include "vmm-core/warden/resources_net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define MTU_USUAL 1500u

void net_resources_init(struct net_resources *res)
{
	*res = (struct net_resources){ .mac = 0 };
	for (size_t i = 0; i < ARRAY_LEN(res->port_fds); i++)
		res->port_fds[i] = -1;
}

void net_resources_close(struct net_resources *res)
{
	for (size_t i = 0; i < ARRAY_LEN(res->port_fds); i++)
		res->port_fds[i] = fd_close(res->port_fds[i]);
}

static int tap_fail(const char *name, const char *reason, struct failure *f)
{
	return failure_set(f, STATUS_FAILED, "--net tap=%s: %s", name, reason);
}

/* One of the interface requests that need any socket. Return: 0; -errno */
static int interface_request(const char *name, unsigned long request, struct ifreq *ifr)
{
	cleanup_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	memset(ifr->ifr_name, 0, sizeof(ifr->ifr_name));
	memcpy(ifr->ifr_name, name, strnlen(name, sizeof(ifr->ifr_name) - 1));
	return ioctl(fd, request, ifr) < 0 ? -errno : 0;
}

static bool interface_exists(const char *name)
{
	struct ifreq ifr = { 0 };

	return interface_request(name, SIOCGIFFLAGS, &ifr) == 0;
}

/* One more queue of the tap. Return: 0; -errno */
static int tap_attach(const char *name, short more_flags, int *ret_fd)
{
	cleanup_fd int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	struct ifreq ifr = { 0 };

	if (fd < 0)
		return -errno;
	ifr.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | more_flags);
	memcpy(ifr.ifr_name, name, strlen(name));
	if (ioctl(fd, TUNSETIFF, &ifr) < 0)
		return -errno;
	*ret_fd = fd_steal(&fd);
	return 0;
}

/* Why attaching has failed, in words. */
static const char *tap_fault(const struct device_config *device, int r, bool existed,
			     uint32_t n_have)
{
	cleanup_fd int fd = -1;

	if (r == -ENOENT || r == -ENODEV)
		return "this host has no /dev/net/tun";
	if (r == -EPERM && !existed)
		return "does not exist, and may not be created (CAP_NET_ADMIN)";
	if (r == -EPERM)
		return "belongs to another user";
	if (r == -EBUSY)
		return "is in use";
	if (r == -E2BIG)
		return "has no room for so many queues";
	if (r != -EINVAL || n_have > 0)
		return strerror(-r);
	if (device->net.num_queues > 2 && tap_attach(device->path, 0, &fd) == 0)
		return "was made without multi_queue: num_queues=2 is all it has";
	return "is not a tap";
}

/* A tap that we made is of no use to anybody while it is down. */
static int tap_set_up(const char *name, struct failure *f)
{
	struct ifreq ifr = { 0 };
	int r = interface_request(name, SIOCGIFFLAGS, &ifr);

	ifr.ifr_flags |= IFF_UP;
	if (r == 0)
		r = interface_request(name, SIOCSIFFLAGS, &ifr);
	return r < 0 ? tap_fail(name, strerror(-r), f) : 0;
}

static int tap_open(const struct device_config *device, struct fdset *ret, struct failure *f)
{
	const char *name = device->path;
	bool existed = interface_exists(name);
	short flags = device->net.num_queues > 2 ? IFF_MULTI_QUEUE : 0;
	int r = 0, fd = -1;

	while (r == 0 && ret->n < device->net.num_queues / 2) {
		r = tap_attach(name, flags, &fd);
		/* One queue of a tap that could have several is fine too. */
		if (r == -EINVAL && flags == 0) {
			flags = IFF_MULTI_QUEUE;
			r = tap_attach(name, flags, &fd);
		}
		if (r < 0)
			return tap_fail(name, tap_fault(device, r, existed, ret->n), f);
		r = fdset_add(ret, fd);
	}
	return r == 0 && !existed ? tap_set_up(name, f) : r;
}

/* An fd that somebody else opened must be what we would have opened. */
static const char *given_fault(int fd, struct ifreq *ret)
{
	if (fcntl(fd, F_GETFD) < 0)
		return "is not open";
	if (ioctl(fd, TUNGETIFF, ret) < 0)
		return "is not a tap";
	if (!(ret->ifr_flags & IFF_TAP))
		return "is a tun, not a tap";
	if (!(ret->ifr_flags & IFF_NO_PI))
		return "was opened without IFF_NO_PI";
	if (!(ret->ifr_flags & IFF_VNET_HDR))
		return "was opened without IFF_VNET_HDR";
	return NULL;
}

static int given_take(const struct net_host *host, struct fdset *ret, char *ret_name,
		      struct failure *f)
{
	for (uint32_t i = 0; i < host->n_fds; i++) {
		int fd = host->fds[i], flags, r;
		struct ifreq ifr = { 0 };
		const char *fault = given_fault(fd, &ifr);

		for (uint32_t j = 0; j < i && fault == NULL; j++)
			fault = host->fds[j] == fd ? "is given twice" : NULL;
		if (fault == NULL && i > 0 && strncmp(ret_name, ifr.ifr_name, IFNAMSIZ) != 0)
			fault = "is of another tap than the first";
		if (fault != NULL)
			return failure_set(f, STATUS_FAILED, "--net fd=%d: %s", fd, fault);
		memcpy(ret_name, ifr.ifr_name, IFNAMSIZ);
		flags = fcntl(fd, F_GETFL);
		if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
		    fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
			return failure_set(f, STATUS_FAILED, "--net fd=%d: %s", fd,
					   strerror(errno));
		r = fdset_add(ret, fd);
		if (r < 0)
			return r;
	}
	ret_name[IFNAMSIZ - 1] = '\0';
	return 0;
}

/* The tap gets the MTU that was asked for; one that is not the usual is announced. */
static int tap_set_mtu(const struct net_config *net, const char *name, struct net_resources *res,
		       struct failure *f)
{
	struct ifreq ifr = { 0 };
	uint32_t now;
	int r = interface_request(name, SIOCGIFMTU, &ifr);

	now = r == 0 ? (uint32_t)ifr.ifr_mtu : 0; /* a given fd may lead to another namespace */
	res->mtu = net->mtu;
	if (net->mtu == 0) {
		if (now != MTU_USUAL && now >= 1280 && now <= UINT16_MAX)
			res->mtu = now;
		return 0;
	}
	if (now == 0 || now == net->mtu)
		return 0;
	ifr.ifr_mtu = (int)net->mtu;
	r = interface_request(name, SIOCSIFMTU, &ifr);
	if (r < 0)
		return failure_set(f, STATUS_FAILED,
				   "--net mtu=%u: the MTU of %s is %u and cannot be changed: %s",
				   net->mtu, name, now, strerror(-r));
	return 0;
}

/* The device counts on the header of VIRTIO 1.2 §5.1.6, which is 12 bytes long. */
static int tap_set_header(const struct fdset *fds, struct failure *f)
{
	int len = (int)sizeof(struct virtio_net_hdr_v1);

	for (uint32_t i = 0; i < fds->n; i++)
		if (ioctl(fds->fds[i], TUNSETVNETHDRSZ, &len) < 0)
			return failure_set(f, STATUS_FAILED, "--net: TUNSETVNETHDRSZ: %s",
					   strerror(errno));
	return 0;
}

/*
 * Which offloads this kernel's tun knows; it can only be tried out. That is done here and once: on
 * a tap that is in use, which a successor's would be, it would change what frames look like.
 */
static int tap_find_offloads(const struct fdset *fds, struct net_resources *res, struct failure *f)
{
	static const unsigned usual = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN |
				      TUN_F_UFO;
	static const unsigned uso = 0x20u | 0x40u; /* TUN_F_USO4, _USO6: Linux 6.2 */
	int fd = fds->fds[0];

	res->tap_offloads = usual | uso;
	if (ioctl(fd, TUNSETOFFLOAD, (unsigned long)res->tap_offloads) < 0)
		res->tap_offloads = usual;
	if (ioctl(fd, TUNSETOFFLOAD, (unsigned long)res->tap_offloads) < 0 ||
	    ioctl(fd, TUNSETOFFLOAD, 0ul) < 0)
		return failure_set(f, STATUS_FAILED, "--net: TUNSETOFFLOAD: %s", strerror(errno));
	return 0;
}

/*
 * A port that is forwarded. Bound and never listened on, the socket keeps it for the device
 * process and each successor, which all listen with SO_REUSEADDR as we do.
 */
static int port_open(const struct net_forward *forward, int *ret_fd, struct failure *f)
{
	cleanup_fd int fd =
		socket(AF_INET, (forward->is_udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
	const struct sockaddr_in at = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)forward->host_port),
		.sin_addr.s_addr = htonl(forward->host_addr),
	};
	char address[INET_ADDRSTRLEN];
	int on = 1;

	if (fd >= 0 && !forward->is_udp &&
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		fd = fd_close(fd);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0)
		return failure_set(f, STATUS_FAILED, "--net hostfwd=%s:%s:%u-%u: %s",
				   forward->is_udp ? "udp" : "tcp",
				   inet_ntop(AF_INET, &at.sin_addr, address, sizeof(address)),
				   forward->host_port, forward->guest_port, strerror(errno));
	/* Two sockets cannot share a port of UDP without sharing its datagrams. */
	if (!forward->is_udp)
		*ret_fd = fd_steal(&fd);
	return 0;
}

uint32_t resolv_conf_find(FILE *in)
{
	char line[256];

	while (fgets(line, sizeof(line), in) != NULL) {
		struct in_addr address;
		char text[64];

		if (sscanf(line, " nameserver %63s", text) == 1 &&
		    inet_pton(AF_INET, text, &address) == 1 && address.s_addr != 0)
			return ntohl(address.s_addr);
	}
	return 0;
}

static uint32_t dns_find(void)
{
	/* systemd-resolved's own list first: its stub on loopback is for programs of this host. */
	static const char *const paths[] = { "/run/systemd/resolve/resolv.conf",
					     "/etc/resolv.conf" };
	uint32_t dns = 0;

	for (size_t i = 0; i < ARRAY_LEN(paths) && dns == 0; i++) {
		FILE *in = fopen(paths[i], "re");

		if (in == NULL)
			continue;
		dns = resolv_conf_find(in);
		(void)fclose(in);
	}
	return dns;
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
	/* FNV-1a, the terminator included */
	do
		hash = (hash ^ (uint8_t)*text) * 0x100000001b3u;
	while (*text++ != '\0');
	return hash;
}

uint64_t net_stable_mac(const char *machine, const char *vm, const char *device)
{
	uint64_t hash = 0xcbf29ce484222325u;

	hash = hash_text(hash_text(hash_text(hash, machine), vm), device);
	hash ^= hash >> 48;
	/* locally administered, one station */
	return (hash & 0xfcffffffffffu) | 0x020000000000u;
}

static uint64_t mac_find(const char *vm_name, const struct device_config *device)
{
	FILE *in = fopen("/etc/machine-id", "re");
	char machine[64] = "";

	if (in != NULL) {
		if (fgets(machine, sizeof(machine), in) == NULL)
			machine[0] = '\0';
		(void)fclose(in);
	}
	return net_stable_mac(machine, vm_name, device->id);
}

static int user_open(const struct net_config *net, struct net_resources *res, struct failure *f)
{
	int r = 0;

	res->mtu = net->mtu;
	res->dns = dns_find();
	for (uint32_t i = 0; i < net->host->n_forwards && r == 0; i++)
		r = port_open(&net->host->forwards[i], &res->port_fds[i], f);
	return r;
}

int net_resources_open(const char *vm_name, const struct device_config *device,
		       struct fdset *ret_fds, struct net_resources *res, struct failure *f)
{
	const struct net_config *net = &device->net;
	char name[IFNAMSIZ] = "";
	int r;

	res->mac = net->mac != 0 ? net->mac : mac_find(vm_name, device);
	if (net->mode == NET_MODE_USER)
		return user_open(net, res, f);
	if (device->path != NULL) {
		memcpy(name, device->path, strnlen(device->path, sizeof(name) - 1));
		r = tap_open(device, ret_fds, f);
	} else {
		r = given_take(net->host, ret_fds, name, f);
	}
	if (r == 0)
		r = tap_set_header(ret_fds, f);
	if (r == 0)
		r = tap_find_offloads(ret_fds, res, f);
	if (r == 0)
		r = tap_set_mtu(net, name, res, f);
	return r;
}
