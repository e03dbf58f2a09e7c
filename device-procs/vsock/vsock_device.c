/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-vsock: events, queues and time limits. bulkhead-vsock.
 *
 * The guest's side are three queues, the host's side are AF_UNIX sockets in an epoll set of their
 * own, edge-triggered: a socket is reported once, and what it is known to have lies in the
 * connection. Nothing here waits for anybody, and all memory is there from the start.
 */
#include "device-procs/vsock/vsock_device.h"

#include <endian.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include "device-procs/vsock/vsock_internal.h"
#include "ipc/clock.h"
#include "ipc/log.h"
#include "ipc/shared_memory.h"
#include "sandbox/filters.h"

#define EVENTS_MAX 64 /* sockets, at a time */
#define ACCEPTS_MAX 16u /* clients, at a time */
#define CONNECTS_MAX 32u /* tries to reach busy listeners, at a time */
#define TRANSPORT_RESET 0u /* §5.10.6.7 */

/* The resources in DEVICE_START. */
enum vsock_fd {
	VSOCK_FD_LISTENER,
	VSOCK_FD_FOLDER,
	VSOCK_FD_RINGS,
	VSOCK_FD_KEEPER, /* a channel to the warden */
	VSOCK_FDS,
};

static const struct sandbox_profile profile = {
	.name = "vsock",
	.filter = &vsock_filter,
	/* 0 to 3, listener, folder, keeper, two epolls and a pipe, spare ones, kicks and calls, and all slots */
	.max_fds = 32 + VSOCK_SLOTS,
	.max_threads = 1,
	.takes_folder = true,
};

static int map_rings(struct vsock_device *v, int fd)
{
	void *at;
	int r = shared_memory_check(fd, VM_VSOCK_RINGS_BYTES);

	if (r == 0)
		r = shared_memory_map(fd, VM_VSOCK_RINGS_BYTES, &at);
	if (r == 0)
		v->store.rings = at;
	return r;
}

static int vsock_open(const struct message_device_start *start, struct fdset *fds,
		      void **ret_state, struct device_offer *offer, char *text)
{
	cleanup_free struct vsock_device *v = calloc(1, sizeof(*v));
	cleanup_fd int rings = -1;
	struct stat st;
	uint64_t cid;
	int r;

	(void)text;
	if (!v)
		return -ENOMEM;
	if (start->n_fds != VSOCK_FDS)
		return -EBADF;
	v->cid = start->config.vsock.cid;
	vsock_table_init(&v->table);
	rings = fdset_steal(fds, VSOCK_FD_RINGS);
	r = map_rings(v, rings);
	if (r == 0)
		r = vsock_host_init(&v->host, fdset_steal(fds, VSOCK_FD_LISTENER));
	if (r < 0)
		return r;
	r = channel_new(fdset_steal(fds, VSOCK_FD_KEEPER), &v->keeper);
	if (r < 0)
		return r;
	cid = htole64(v->cid);
	offer->n_queues = VSOCK_QUEUES;
	offer->queue_size_max = VSOCK_QUEUE_SIZE;
	offer->config_len = sizeof(cid);
	memcpy(offer->config, &cid, sizeof(cid));
	offer->folder_fd = fdset_steal(fds, VSOCK_FD_FOLDER);
	if (fstat(offer->folder_fd, &st) < 0)
		return -errno;
	v->folder_dev = st.st_dev;
	v->folder_ino = st.st_ino;
	offer->keep_fds[0] = v->host.listener;
	offer->keep_fds[1] = v->host.epoll_fd;
	offer->keep_fds[2] = channel_fd(v->keeper);
	offer->n_keep_fds = 3;
	offer->state_size = sizeof(struct vsock_journal);
	offer->n_late_fds = VSOCK_SLOTS;
	*ret_state = ptr_steal(v);
	return 0;
}

static bool is_running(const struct vsock_device *v, enum vsock_queue q)
{
	return device_queue_is_running(v->dev, q) &&
	       !virtqueue_fault(device_virtqueue(v->dev, q));
}

static void serve_guest(struct vsock_device *v)
{
	if (is_running(v, VSOCK_QUEUE_RX) && vsock_to_guest(v) != 0)
		device_queue_broke(v->dev, VSOCK_QUEUE_RX);
	device_publish(v->dev, VSOCK_QUEUE_RX);
	device_publish(v->dev, VSOCK_QUEUE_TX);
}

/* Connections died with a predecessor that left nothing to continue from. */
static int tell_transport_reset(struct vsock_device *v)
{
	const uint32_t event = htole32(TRANSPORT_RESET);
	struct virtqueue *vq = device_virtqueue(v->dev, VSOCK_QUEUE_EVENT);
	struct virtqueue_chain chain = { .spans = v->spans, .n_spans_max = VSOCK_QUEUE_SIZE };
	uint32_t i;

	for (i = 0; i < vq->size && v->store.journal->transport_reset; i++) {
		int r = virtqueue_pop(vq, &chain);
		bool fits;

		if (r == VIRTQUEUE_EMPTY && virtqueue_enable_notify(vq))
			continue;
		if (r != 0)
			return r;
		fits = chain.n_spans > chain.n_readable && !chain.is_bad &&
		       span_copy_out(&chain.spans[chain.n_readable], 0, &event, sizeof(event)) == 0;
		virtqueue_push(vq, chain.head, fits ? sizeof(event) : 0);
		if (fits)
			v->store.journal->transport_reset = 0;
	}
	return 0;
}

static int vsock_kick(void *state, uint32_t queue)
{
	struct vsock_device *v = state;

	if (!is_running(v, queue))
		return 0;
	if (queue == VSOCK_QUEUE_EVENT) {
		if (tell_transport_reset(v) == VIRTQUEUE_BROKEN)
			device_queue_broke(v->dev, queue);
		device_publish(v->dev, queue);
		return 0;
	}
	if (queue == VSOCK_QUEUE_TX && vsock_from_guest(v) != 0)
		device_queue_broke(v->dev, queue);
	if (queue == VSOCK_QUEUE_RX)
		virtqueue_disable_notify(device_virtqueue(v->dev, queue));
	serve_guest(v);
	return 0;
}

/* --- host sockets --- */

static void on_client_input(struct vsock_device *v, struct vsock_conn *c)
{
	uint32_t port;
	int r = vsock_host_command(c->fd, &port);

	if (r == -EAGAIN)
		return;
	if (r < 0 || !vsock_table_name(&v->table, c, port)) {
		vsock_conn_forget(v, c);
		return;
	}
	vsock_listen(v, true); /* there is a place for another */
	c->deadline_ms = clock_now_ms() + VSOCK_ANSWER_MS;
	vsock_conn_due(v, c, VSOCK_DUE_REQUEST);
}

static void on_socket(struct vsock_device *v, struct vsock_conn *c, uint32_t events)
{
	if (c->r.state == VSOCK_CLIENT) {
		on_client_input(v, c);
		return;
	}
	if (events & (EPOLLHUP | EPOLLERR))
		c->is_closed_by_host = true;
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		c->has_end = true;
	if (c->r.state != VSOCK_OPEN) {
		if (c->is_closed_by_host)
			vsock_conn_kill(v, c);
		return;
	}
	c->is_readable = true;
	if (vsock_conn_has_data(c))
		vsock_table_ready(&v->table, c);
	else if (c->is_closed_by_host)
		vsock_conn_host_sends_no_more(v, c);
	if (c->is_blocked && (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)))
		vsock_conn_flush(v, c);
}

static void on_sockets(evutil_socket_t fd, short what, void *ctx)
{
	struct vsock_device *v = ctx;
	struct epoll_event events[EVENTS_MAX];
	int i, n = epoll_wait(fd, events, EVENTS_MAX, 0);

	(void)what;
	for (i = 0; i < n; i++) {
		struct vsock_conn *c = &v->table.conns[events[i].data.u32];

		if (c->fd < 0)
			continue; /* it went while we came through the list */
		vsock_conn_begin(v, c);
		on_socket(v, c, events[i].events);
		vsock_conn_end(v, c);
	}
	serve_guest(v);
}

/* The host is short of something, and would report the same client at once. */
static void wait_to_listen(struct vsock_device *v)
{
	vsock_listen(v, false);
	vsock_tick_need(v); /* which listens again */
}

static void on_listener(evutil_socket_t fd, short what, void *ctx)
{
	struct vsock_device *v = ctx;
	uint32_t i;

	(void)fd;
	(void)what;
	for (i = 0; i < ACCEPTS_MAX && v->table.n_clients < VSOCK_CLIENTS_MAX; i++) {
		int client = vsock_host_accept(&v->host);
		struct vsock_conn *c = client < 0 ? NULL : vsock_table_add_client(&v->table);

		if (!c) {
			(void)fd_close(client);
			if (client != -EAGAIN)
				wait_to_listen(v);
			return;
		}
		c->fd = client;
		c->deadline_ms = clock_now_ms() + VSOCK_COMMAND_MS;
		vsock_tick_need(v);
		/* What it has sent already is reported, too. */
		if (vsock_host_watch(&v->host, client, vsock_table_slot(&v->table, c)) < 0)
			vsock_conn_forget(v, c);
	}
	if (v->table.n_clients == VSOCK_CLIENTS_MAX)
		vsock_listen(v, false);
}

void vsock_listen(struct vsock_device *v, bool on)
{
	on = on && v->is_active && v->table.n_clients < VSOCK_CLIENTS_MAX;
	if (on == v->is_listening)
		return;
	v->is_listening = on;
	if (!on)
		(void)event_del(v->listener_event);
	else if (event_add(v->listener_event, NULL) < 0)
		device_fail(v->dev, "the socket cannot be watched");
}

/* --- time --- */

void vsock_tick_need(struct vsock_device *v)
{
	const struct timeval step = { .tv_usec = VSOCK_TICK_MS * 1000 };

	if (v->is_ticking)
		return;
	v->is_ticking = true;
	if (event_add(v->tick, &step) < 0)
		device_fail(v->dev, "no time limit can be set");
}

/* Return: does it need another look later? */
static bool check_time(struct vsock_device *v, struct vsock_conn *c, uint64_t now,
		       uint32_t *n_connects)
{
	if (c->r.state == VSOCK_FREE || c->deadline_ms == 0)
		return false;
	if (now >= c->deadline_ms) {
		if (vsock_store_resets(&v->store) >= VSOCK_RESETS_WAIT)
			return true; /* the guest gives no buffers; later */
		vsock_conn_begin(v, c);
		vsock_conn_kill(v, c);
		vsock_conn_end(v, c);
		return false;
	}
	if (c->r.state == VSOCK_CONNECTING && ++*n_connects <= CONNECTS_MAX) {
		vsock_conn_begin(v, c);
		vsock_conn_connect(v, c);
		vsock_conn_end(v, c);
	}
	return true;
}

static void on_tick(evutil_socket_t fd, short what, void *ctx)
{
	struct vsock_device *v = ctx;
	uint64_t now = clock_now_ms();
	uint32_t i, n_connects = 0;
	bool is_needed = false;

	(void)fd;
	(void)what;
	v->is_ticking = false;
	for (i = 0; i < VSOCK_SLOTS; i++) {
		/* Not always the same ones first: tries to connect are limited. */
		uint32_t slot = (v->tick_from + i) % VSOCK_SLOTS;

		is_needed |= check_time(v, &v->table.conns[slot], now, &n_connects);
	}
	v->tick_from = (v->tick_from + VSOCK_SLOTS / 7) % VSOCK_SLOTS;
	is_needed |= vsock_keep_tick(v, now);
	if (is_needed)
		vsock_tick_need(v);
	vsock_listen(v, true);
	serve_guest(v);
}

/* --- life --- */

static void on_keeper(evutil_socket_t fd, short what, void *ctx)
{
	struct vsock_device *v = ctx;

	(void)fd;
	(void)what;
	if (!vsock_keep_receive(v))
		(void)event_del(v->keeper_event);
	serve_guest(v);
}

static int vsock_start(void *state, struct device *dev, struct event_base *base)
{
	struct vsock_device *v = state;
	struct stat st;

	v->dev = dev;
	/* The sandbox leaves the root empty where our uid may not search the folder. */
	v->has_folder = stat("/", &st) == 0 && st.st_dev == v->folder_dev &&
			st.st_ino == v->folder_ino;
	v->listener_event = event_new(base, v->host.listener, EV_READ | EV_PERSIST, on_listener, v);
	v->sockets_event = event_new(base, v->host.epoll_fd, EV_READ | EV_PERSIST, on_sockets, v);
	v->keeper_event = event_new(base, channel_fd(v->keeper), EV_READ | EV_PERSIST, on_keeper,
				    v);
	v->tick = evtimer_new(base, on_tick, v);
	if (!v->listener_event || !v->sockets_event || !v->keeper_event || !v->tick ||
	    event_add(v->sockets_event, NULL) < 0)
		return -ENOMEM;
	return 0;
}

static void vsock_set_features(void *state, uint64_t features)
{
	struct vsock_device *v = state;

	(void)features;
	v->store.journal = device_state_area(v->dev);
	if (!v->is_restored) { /* later sessions are our own */
		vsock_keep_restore(v);
		if (event_add(v->keeper_event, NULL) < 0)
			device_fail(v->dev, "the warden's channel cannot be watched");
	}
	v->is_restored = true;
	v->store.journal->version = VSOCK_JOURNAL_VERSION;
	v->is_active = true;
	vsock_listen(v, true);
}

/* The driver forgot its connections, so the host's programs hear that they are gone. */
static void vsock_reset(void *state)
{
	struct vsock_device *v = state;
	uint32_t i;

	v->is_active = false;
	vsock_listen(v, false);
	for (i = 0; i < VSOCK_SLOTS; i++)
		if (v->table.conns[i].r.state != VSOCK_FREE)
			vsock_conn_forget(v, &v->table.conns[i]);
	v->tx_waits = false;
}

const struct device_ops vsock_device_ops = {
	.name = "vsock",
	.type = DEVICE_TYPE_VSOCK,
	.profile = &profile,
	.open = vsock_open,
	.start = vsock_start,
	.set_features = vsock_set_features,
	.reset = vsock_reset,
	.kick = vsock_kick,
};
