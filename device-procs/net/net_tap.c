/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tap: one fd per queue pair, attached by the warden. bulkhead-net.
 *
 * Frames go between the tap and guest memory by readv() and writev(), one call a frame: a tap takes
 * no more than one at a time.
 *
 * The three ioctls change nothing but this tap: which offloads its frames may use, which of its
 * queues take part, and its carrier.
 */
#include "device-procs/net/net_backend.h"

#include <errno.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "device-procs/net/net_header.h"
#include "ipc/log.h"
#include "sandbox/filters.h"

/* Linux 6.2; later than the kernel headers of Debian 12 */
#define TAP_USO4 0x20u
#define TAP_USO6 0x40u

struct tap_queue {
	struct net_backend *b;
	uint32_t index;
	int fd; /* owned */
	struct event *readable;
	bool is_watched;
};

struct net_backend {
	uint32_t n;
	uint32_t n_attached; /* the first so many; 0: unknown */
	struct tap_queue queues[NET_PAIRS_MAX];
	net_backend_ready_fn *ready;
	void *ctx;
	struct iovec iov[NET_SPANS_MAX + 1];
};

const char net_backend_name[] = "net";

const struct sandbox_profile net_backend_profile = {
	.name = "net",
	.filter = &net_filter,
	/* 0 to 3, tap, epoll and its pipe, spare ones while starting, kick and call */
	.max_fds = 24 + NET_PAIRS_MAX + 2 * DEVICE_QUEUES_MAX,
	.max_threads = 1,
};

static const struct {
	unsigned feature; /* bit number */
	unsigned tun;
} offloads[] = {
	{ VIRTIO_NET_F_GUEST_CSUM, TUN_F_CSUM },
	{ VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4 },
	{ VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6 },
	{ VIRTIO_NET_F_GUEST_ECN, TUN_F_TSO_ECN },
	{ VIRTIO_NET_F_GUEST_UFO, TUN_F_UFO },
	{ NET_F_GUEST_USO4, TAP_USO4 },
	{ NET_F_GUEST_USO6, TAP_USO6 },
};

static int set_offloads(int fd, uint64_t features)
{
	unsigned flags = 0;
	size_t i;

	for (i = 0; i < ARRAY_LEN(offloads); i++)
		if (features & NET_FEATURE(offloads[i].feature))
			flags |= offloads[i].tun;
	/* The kernel takes ECN with TSO only, and everything with checksums only. */
	if (!(flags & (TUN_F_TSO4 | TUN_F_TSO6)))
		flags &= ~(unsigned)TUN_F_TSO_ECN;
	if (!(flags & TUN_F_CSUM))
		flags = 0;
	return ioctl(fd, TUNSETOFFLOAD, (unsigned long)flags) < 0 ? -errno : 0;
}

/* What the driver may be offered; the warden has asked the kernel. */
static uint64_t features_of(uint32_t tap_offloads)
{
	uint64_t f = NET_FEATURE(VIRTIO_NET_F_CSUM) | NET_FEATURE(VIRTIO_NET_F_HOST_TSO4) |
		     NET_FEATURE(VIRTIO_NET_F_HOST_TSO6) | NET_FEATURE(VIRTIO_NET_F_HOST_ECN) |
		     NET_FEATURE(VIRTIO_NET_F_HOST_UFO);
	size_t i;

	for (i = 0; i < ARRAY_LEN(offloads); i++)
		if (tap_offloads & offloads[i].tun)
			f |= NET_FEATURE(offloads[i].feature);
	return f & NET_FEATURE(NET_F_GUEST_USO4) ? f | NET_FEATURE(NET_F_HOST_USO) : f;
}

int net_backend_open(const struct message_device_start *start, struct fdset *fds,
		     struct net_backend **ret, uint64_t *ret_features,
		     struct device_offer *offer, char *text)
{
	cleanup_free struct net_backend *b = calloc(1, sizeof(*b));
	uint32_t i;

	(void)text;
	if (!b)
		return -ENOMEM;
	if (start->config.net.mode != NET_MODE_TAP || start->n_fds > NET_PAIRS_MAX ||
	    2 * start->n_fds != start->config.net.num_queues)
		return -EBADF;
	for (i = 0; i < start->n_fds; i++) {
		b->queues[i] = (struct tap_queue){ .b = b, .index = i,
						   .fd = fdset_steal(fds, i) };
		offer->keep_fds[offer->n_keep_fds++] = b->queues[i].fd;
	}
	b->n = start->n_fds;
	/* The tap may be in use by a predecessor: it is left as it is until takeover. */
	*ret_features = features_of(start->config.net.tap_offloads);
	*ret = ptr_steal(b);
	return 0;
}

static void on_readable(evutil_socket_t fd, short what, void *ctx)
{
	struct tap_queue *q = ctx;

	(void)fd;
	(void)what;
	q->b->ready(q->b->ctx, q->index);
}

int net_backend_start(struct net_backend *b, struct event_base *base,
		      net_backend_ready_fn *ready, void *ctx)
{
	uint32_t i;

	b->ready = ready;
	b->ctx = ctx;
	for (i = 0; i < b->n; i++) {
		struct tap_queue *q = &b->queues[i];

		q->readable = event_new(base, q->fd, EV_READ | EV_PERSIST, on_readable, q);
		if (!q->readable)
			return -ENOMEM;
	}
	return 0;
}

int net_backend_send(struct net_backend *b, uint32_t pair,
		     const struct virtio_net_hdr_v1 *header, const struct span *spans, uint32_t n)
{
	uint32_t i;
	ssize_t r;

	b->iov[0] = (struct iovec){ .iov_base = (void *)(uintptr_t)header, /* only read */
				    .iov_len = NET_HEADER_BYTES };
	for (i = 0; i < n; i++)
		if (span_iovec(&spans[i], SPAN_DEVICE_READS, &b->iov[i + 1]) != 0)
			return -EFAULT;
	do
		r = writev(b->queues[pair].fd, b->iov, (int)(n + 1));
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

ssize_t net_backend_receive(struct net_backend *b, uint32_t pair, const struct iovec *iov,
			    uint32_t n)
{
	ssize_t r;

	do
		r = readv(b->queues[pair].fd, iov, (int)n);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

void net_backend_watch(struct net_backend *b, uint32_t pair, bool on)
{
	struct tap_queue *q = &b->queues[pair];

	if (on == q->is_watched)
		return;
	q->is_watched = on;
	if (on ? event_add(q->readable, NULL) < 0 : event_del(q->readable) < 0)
		log_limited(LOG_LEVEL_ERROR, "tap: queue %u cannot be watched", pair);
}

int net_backend_set_offloads(struct net_backend *b, uint64_t features)
{
	return set_offloads(b->queues[0].fd, features);
}

int net_backend_set_pairs(struct net_backend *b, uint32_t n)
{
	uint32_t i;

	if (b->n_attached == n || b->n == 1)
		return 0; /* a tap with one queue may not even know the request */
	for (i = 0; i < b->n; i++) {
		struct ifreq ifr = { .ifr_flags = i < n ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };

		/* EINVAL: it is so already. A predecessor may have left it in any state. */
		if (ioctl(b->queues[i].fd, TUNSETQUEUE, &ifr) < 0 && errno != EINVAL)
			return -errno;
	}
	b->n_attached = n;
	return 0;
}

void net_backend_set_link(struct net_backend *b, bool is_up)
{
	int carrier = is_up;

	/*
	 * For those who look at the tap; frames are not let through in any case. EBADFD: it was
	 * deleted. EINVAL: a macvtap, whose carrier is that of its parent.
	 */
	if (ioctl(b->queues[0].fd, TUNSETCARRIER, &carrier) < 0 && errno != EBADFD &&
	    errno != EINVAL)
		log_limited(LOG_LEVEL_WARNING, "tap: TUNSETCARRIER: %s", strerror(errno));
}
