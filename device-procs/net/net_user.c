/* SPDX-License-Identifier: Apache-2.0 */
/*
 * User mode networking: libslirp is the network, the host's sockets are its wire.
 * bulkhead-net-user.
 *
 * libslirp lives in this sandboxed process, so what it needs is allowed here and in no other
 * program: the host's network namespace, sockets of AF_INET, and fds for them. It makes the
 * listening sockets of hostfwd before the sandbox, since ports below 1024 need rights that are
 * given up there; a successor makes them again. It reads no file: the root is empty, and DNS goes
 * where the warden said (net_user_frame.h). IPv6 is off: nothing here would have to be the same.
 *
 * Frames for the guest wait in a ring of fixed size. Sockets are looked at only while it is empty,
 * so a guest that does not receive stops its senders by TCP and costs no memory.
 */
#include "device-procs/net/net_backend.h"

#include <arpa/inet.h>
#include <errno.h>
#include <slirp/libslirp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "device-procs/net/net_header.h"
#include "device-procs/net/net_user_frame.h"
#include "ipc/clock.h"
#include "ipc/log.h"
#include "sandbox/filters.h"

#define SOCKETS_MAX 512u /* at a time */
#define FDS_MAX (SOCKETS_MAX + 64u + 2 * DEVICE_QUEUES_MAX)
#define RING_BYTES (2u << 20)
#define EVENTS_MAX 64
#define HOLD_MS 100u

/* One socket of libslirp, by its number. */
struct user_socket {
	uint32_t watched; /* EPOLL* that the kernel was told; 0: not watched */
	uint32_t wanted; /* in this round */
	uint32_t ready; /* SLIRP_POLL_* */
	bool is_listener;
};

struct net_backend {
	Slirp *slirp;
	struct net_user_addresses addresses;
	int epoll_fd; /* of the sockets; readable in the event loop's own */
	struct event *sockets, *turn, *timer;
	net_backend_ready_fn *ready;
	void *ctx;
	bool is_watched;
	uint32_t highest; /* number in use below */
	uint64_t n_made; /* sockets, since the start */
	uint64_t held_until_ms; /* listeners are not looked at before; 0: they are */
	struct user_socket table[FDS_MAX];
	uint32_t head, tail, used; /* of the ring: frames as 32-bit length and bytes */
	uint64_t n_lost;
	uint8_t *ring;
	uint8_t *frame; /* the one that goes to libslirp */
};

const char net_backend_name[] = "net-user";

const struct sandbox_profile net_backend_profile = {
	.name = "net-user",
	.filter = &net_user_filter,
	.max_fds = FDS_MAX,
	.max_threads = 1,
	.has_network = true,
};

static void ring_copy_in(struct net_backend *b, const void *data, uint32_t len)
{
	uint32_t first = RING_BYTES - b->tail < len ? RING_BYTES - b->tail : len;

	memcpy(b->ring + b->tail, data, first);
	memcpy(b->ring, (const uint8_t *)data + first, len - first);
	b->tail = (b->tail + len) % RING_BYTES;
	b->used += len;
}

static void ring_copy_out(struct net_backend *b, void *data, uint32_t len)
{
	uint32_t first = RING_BYTES - b->head < len ? RING_BYTES - b->head : len;

	memcpy(data, b->ring + b->head, first);
	memcpy((uint8_t *)data + first, b->ring, len - first);
	b->head = (b->head + len) % RING_BYTES;
	b->used -= len;
}

static ssize_t on_packet(const void *data, size_t len, void *ctx)
{
	struct net_backend *b = ctx;
	uint32_t n = (uint32_t)len;

	if (len > NET_FRAME_MAX || sizeof(n) + len > RING_BYTES - b->used) {
		b->n_lost++;
		log_limited(LOG_LEVEL_INFO, "user: %llu frames for the guest were dropped",
			    (unsigned long long)b->n_lost);
		return (ssize_t)len;
	}
	ring_copy_in(b, &n, sizeof(n));
	ring_copy_in(b, data, n);
	return (ssize_t)len;
}

static void on_guest_error(const char *text, void *ctx)
{
	(void)ctx;
	log_limited(LOG_LEVEL_INFO, "user: %s", text);
}

static int64_t on_clock(void *ctx)
{
	(void)ctx;
	return (int64_t)clock_now_ns();
}

/* Timers are for IPv6 alone. */
static void *on_timer_new(SlirpTimerCb fn, void *fn_ctx, void *ctx)
{
	(void)fn;
	(void)fn_ctx;
	return ctx;
}

static void on_timer_free(void *timer, void *ctx)
{
	(void)timer;
	(void)ctx;
}

static void on_timer_mod(void *timer, int64_t at_ms, void *ctx)
{
	(void)timer;
	(void)at_ms;
	(void)ctx;
}

static void on_register(int fd, void *ctx)
{
	struct net_backend *b = ctx;

	(void)fd;
	b->n_made++;
}

/* It is about to be closed, by which the kernel forgets it. */
static void on_unregister(int fd, void *ctx)
{
	struct net_backend *b = ctx;

	if (fd >= 0 && (uint32_t)fd < FDS_MAX)
		b->table[fd] = (struct user_socket){ .watched = 0 };
}

static void on_notify(void *ctx)
{
	struct net_backend *b = ctx;

	if (b->turn)
		event_active(b->turn, EV_TIMEOUT, 1);
}

static const SlirpCb callbacks = {
	.send_packet = on_packet,
	.guest_error = on_guest_error,
	.clock_get_ns = on_clock,
	.timer_new = on_timer_new,
	.timer_free = on_timer_free,
	.timer_mod = on_timer_mod,
	.register_poll_fd = on_register,
	.unregister_poll_fd = on_unregister,
	.notify = on_notify,
};

static uint32_t to_epoll(int events)
{
	return (events & SLIRP_POLL_IN ? (uint32_t)EPOLLIN : 0) |
	       (events & SLIRP_POLL_OUT ? (uint32_t)EPOLLOUT : 0) |
	       (events & SLIRP_POLL_PRI ? (uint32_t)EPOLLPRI : 0);
}

static uint32_t from_epoll(uint32_t events)
{
	return (events & EPOLLIN ? SLIRP_POLL_IN : 0u) | (events & EPOLLOUT ? SLIRP_POLL_OUT : 0u) |
	       (events & EPOLLPRI ? SLIRP_POLL_PRI : 0u) |
	       (events & EPOLLERR ? SLIRP_POLL_ERR : 0u) |
	       (events & EPOLLHUP ? SLIRP_POLL_HUP : 0u);
}

static int on_add_poll(int fd, int events, void *ctx)
{
	struct net_backend *b = ctx;

	if (fd < 0 || (uint32_t)fd >= FDS_MAX)
		return -1;
	/* HUP and ERR come unasked, so a socket that waits for nothing must not be watched. */
	b->table[fd].wanted = b->table[fd].is_listener && b->held_until_ms != 0 ?
				      0 :
				      to_epoll(events);
	if ((uint32_t)fd >= b->highest)
		b->highest = (uint32_t)fd + 1;
	return fd;
}

static int on_get_revents(int fd, void *ctx)
{
	const struct net_backend *b = ctx;

	return fd < 0 || (uint32_t)fd >= FDS_MAX ? 0 : (int)b->table[fd].ready;
}

static void tell_kernel(struct net_backend *b, int fd)
{
	struct user_socket *s = &b->table[fd];
	struct epoll_event e = { .events = s->wanted, .data.fd = fd };
	int r;

	if (s->wanted == s->watched)
		return;
	if (s->wanted == 0)
		r = epoll_ctl(b->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	else if (s->watched == 0)
		r = epoll_ctl(b->epoll_fd, EPOLL_CTL_ADD, fd, &e);
	else
		r = epoll_ctl(b->epoll_fd, EPOLL_CTL_MOD, fd, &e);
	if (r < 0 && s->wanted != 0)
		log_limited(LOG_LEVEL_WARNING, "user: socket %d cannot be watched: %s", fd,
			    strerror(errno));
	s->watched = s->wanted;
}

/* What libslirp waits for now. */
static void refill(struct net_backend *b)
{
	uint32_t timeout_ms = UINT32_MAX, held_ms, i, n = b->highest;
	struct timeval after;

	held_ms = b->held_until_ms != 0 ? (uint32_t)clock_left_ms(b->held_until_ms) : 0;
	if (held_ms == 0)
		b->held_until_ms = 0;
	for (i = 0; i < n; i++)
		b->table[i].wanted = 0;
	slirp_pollfds_fill(b->slirp, &timeout_ms, on_add_poll, b);
	for (i = 0; i < b->highest; i++)
		tell_kernel(b, (int)i);
	while (b->highest > 0 && b->table[b->highest - 1].watched == 0)
		b->highest--;
	if (held_ms != 0 && held_ms < timeout_ms)
		timeout_ms = held_ms;
	if (timeout_ms == UINT32_MAX) {
		(void)evtimer_del(b->timer);
		return;
	}
	after = (struct timeval){ .tv_sec = timeout_ms / 1000,
				  .tv_usec = (suseconds_t)(timeout_ms % 1000) * 1000 };
	if (event_add(b->timer, &after) < 0)
		log_limited(LOG_LEVEL_ERROR, "user: no timer");
}

/*
 * Let libslirp do what its sockets and timers permit. A listener that stays ready because there is
 * no descriptor for its connection would never let us sleep, and libslirp does not say that it
 * failed: so one that was ready and brought no socket is left alone for a moment.
 */
static void take_turn(struct net_backend *b)
{
	struct epoll_event events[EVENTS_MAX];
	int i, n = epoll_wait(b->epoll_fd, events, EVENTS_MAX, 0);
	uint64_t n_due = b->n_made;

	for (i = 0; i < n; i++) {
		struct user_socket *s = &b->table[events[i].data.fd];

		s->ready = from_epoll(events[i].events);
		n_due += s->is_listener;
	}
	slirp_pollfds_poll(b->slirp, n < 0, on_get_revents, b);
	if (b->n_made < n_due) {
		b->held_until_ms = clock_now_ms() + HOLD_MS;
		log_limited(LOG_LEVEL_WARNING, "user: a connection to a port of hostfwd has to "
			    "wait: too many sockets are in use");
	}
	for (i = 0; i < n; i++)
		b->table[events[i].data.fd].ready = 0;
	refill(b);
}

static void on_something(evutil_socket_t fd, short what, void *ctx)
{
	struct net_backend *b = ctx;

	(void)fd;
	(void)what;
	b->ready(b->ctx, 0);
}

static int add_forwards(struct net_backend *b, const struct message_device_start *start,
			char *text)
{
	struct in_addr guest = { .s_addr = htonl(b->addresses.dhcp_start) };
	uint32_t i;

	for (i = 0; i < start->n_forwards; i++) {
		const struct net_forward *f = &start->forwards[i];
		struct in_addr host = { .s_addr = htonl(f->host_addr) };

		if (slirp_add_hostfwd(b->slirp, f->is_udp, host, (int)f->host_port, guest,
				      (int)f->guest_port) < 0) {
			int r = errno != 0 ? -errno : -EADDRINUSE;

			(void)snprintf(text, MESSAGE_TEXT_MAX, "hostfwd: port %u: %s",
				       f->host_port, strerror(-r));
			return r;
		}
	}
	return 0;
}

/* The sockets of hostfwd live on: libslirp tells their numbers when it asks for them. */
static void keep_sockets(struct net_backend *b, struct device_offer *offer)
{
	uint32_t timeout_ms = UINT32_MAX, i;

	slirp_pollfds_fill(b->slirp, &timeout_ms, on_add_poll, b);
	for (i = 0; i < b->highest && offer->n_keep_fds < FDSET_MAX; i++) {
		int listens = 0;
		socklen_t len = sizeof(listens);

		if (b->table[i].wanted == 0)
			continue;
		offer->keep_fds[offer->n_keep_fds++] = (int)i;
		/* Those of UDP do not. */
		(void)getsockopt((int)i, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len);
		b->table[i].is_listener = listens != 0;
	}
}

static Slirp *new_slirp(struct net_backend *b, const struct net_config *config)
{
	const struct net_user_addresses *a = &b->addresses;
	const SlirpConfig c = {
		.version = 3,
		.in_enabled = true,
		.vnetwork.s_addr = htonl(a->network),
		.vnetmask.s_addr = htonl(a->mask),
		.vhost.s_addr = htonl(a->gateway),
		.vdhcp_start.s_addr = htonl(a->dhcp_start),
		.vnameserver.s_addr = htonl(a->nameserver),
		.if_mtu = config->mtu,
		.if_mru = config->mtu,
		.disable_host_loopback = !config->loopback,
	};

	return slirp_new(&c, &callbacks, b);
}

int net_backend_open(const struct message_device_start *start, struct fdset *fds,
		     struct net_backend **ret, uint64_t *ret_features,
		     struct device_offer *offer, char *text)
{
	cleanup_free struct net_backend *b = calloc(1, sizeof(*b));
	const struct net_config *config = &start->config.net;
	int r;

	(void)fds;
	if (!b)
		return -ENOMEM;
	if (config->mode != NET_MODE_USER || start->n_fds != 0)
		return -EBADF;
	b->ring = malloc(RING_BYTES);
	b->frame = malloc(NET_FRAME_MAX);
	if (!b->ring || !b->frame)
		return -ENOMEM;
	b->addresses = net_user_addresses(config->dns);
	b->slirp = new_slirp(b, config);
	if (!b->slirp)
		return -EINVAL;
	r = add_forwards(b, start, text);
	if (r < 0)
		return r;
	keep_sockets(b, offer);
	offer->n_late_fds = SOCKETS_MAX;
	/* Frames are as large as the MTU allows; there is nothing to offload. */
	*ret_features = 0;
	*ret = ptr_steal(b);
	return 0;
}

int net_backend_start(struct net_backend *b, struct event_base *base,
		      net_backend_ready_fn *ready, void *ctx)
{
	b->ready = ready;
	b->ctx = ctx;
	b->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (b->epoll_fd < 0)
		return -errno;
	b->sockets = event_new(base, b->epoll_fd, EV_READ | EV_PERSIST, on_something, b);
	b->turn = evtimer_new(base, on_something, b);
	b->timer = evtimer_new(base, on_something, b);
	if (!b->sockets || !b->turn || !b->timer)
		return -ENOMEM;
	refill(b);
	return 0;
}

int net_backend_send(struct net_backend *b, uint32_t pair,
		     const struct virtio_net_hdr_v1 *header, const struct span *spans, uint32_t n)
{
	uint32_t len = 0, i;

	(void)pair;
	(void)header; /* nothing was offered that it could ask for */
	for (i = 0; i < n; i++) {
		uint32_t part = span_len(&spans[i]);

		if (part > NET_FRAME_MAX - len ||
		    span_copy_in(&spans[i], 0, b->frame + len, part) != 0)
			return -EMSGSIZE;
		len += part;
	}
	if (!net_user_from_guest(&b->addresses, b->frame, len))
		return -EPERM;
	slirp_input(b->slirp, b->frame, (int)len);
	event_active(b->turn, EV_TIMEOUT, 1);
	return 0;
}

ssize_t net_backend_receive(struct net_backend *b, uint32_t pair, const struct iovec *iov,
			    uint32_t n)
{
	uint8_t *at = iov->iov_base;
	uint32_t len;

	(void)pair;
	if (n != 1 || iov->iov_len < NET_HEADER_BYTES + NET_FRAME_MAX)
		return -EINVAL;
	if (b->used == 0)
		take_turn(b);
	if (b->used == 0)
		return -EAGAIN;
	ring_copy_out(b, &len, sizeof(len));
	memset(at, 0, NET_HEADER_BYTES);
	ring_copy_out(b, at + NET_HEADER_BYTES, len);
	net_user_to_guest(&b->addresses, at + NET_HEADER_BYTES, len);
	return (ssize_t)(NET_HEADER_BYTES + len);
}

void net_backend_watch(struct net_backend *b, uint32_t pair, bool on)
{
	(void)pair;
	if (on && b->used > 0)
		event_active(b->turn, EV_TIMEOUT, 1);
	if (on == b->is_watched)
		return;
	b->is_watched = on;
	if (on ? event_add(b->sockets, NULL) < 0 : event_del(b->sockets) < 0)
		log_limited(LOG_LEVEL_ERROR, "user: sockets cannot be watched");
}

int net_backend_set_offloads(struct net_backend *b, uint64_t features)
{
	(void)b;
	(void)features;
	return 0;
}

int net_backend_set_pairs(struct net_backend *b, uint32_t n)
{
	(void)b;
	return n == 1 ? 0 : -EINVAL;
}

void net_backend_set_link(struct net_backend *b, bool is_up)
{
	(void)b;
	(void)is_up;
}
