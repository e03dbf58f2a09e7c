/* SPDX-License-Identifier: Apache-2.0 */
/* See vsock_keeper.h. Runs in the warden, on its event loop. Hostile: bulkhead-vsock. */
#include "vmm-core/warden/vsock_keeper.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "vmm-core/warden/vm.h"

#define KEPT_MAX VM_VSOCK_CONNECTIONS
#define LINKS_MAX 3u /* a process, its successor, and one that just died */
#define LINK_BUDGET 64 /* messages per turn of the loop */
#define LINK_REST 4096 /* of a dead process: more than its socket buffer can hold */
#define FDS_BESIDES 128u /* that the warden needs for everything else, without devices */
#define FDS_PER_DEVICE 32u /* its resources, two processes and what is left of a third */

struct kept {
	uint64_t id;
	int fd;
};

struct link {
	struct vsock_keeper *keeper;
	uint32_t generation; /* 0: unused */
	struct channel *channel;
	struct event *event;
};

struct vsock_keeper {
	struct vm *vm;
	uint32_t slot;
	uint32_t serving; /* generation; 0: none yet */
	struct link links[LINKS_MAX];
	uint32_t n_kept;
	struct kept kept[KEPT_MAX];
};

static struct vsock_keeper *keeper_of(struct vm *vm, const struct child *child)
{
	bool is_vsock = vm->vsock_keeper && child->slot == vm->vsock_keeper->slot;

	return is_vsock ? vm->vsock_keeper : NULL;
}

/* --- what is kept --- */

static struct kept *find(struct vsock_keeper *k, uint64_t id)
{
	for (uint32_t i = 0; i < k->n_kept; i++)
		if (k->kept[i].id == id)
			return &k->kept[i];
	return NULL;
}

static void forget(struct vsock_keeper *k, struct kept *kept)
{
	(void)fd_close(kept->fd);
	*kept = k->kept[--k->n_kept];
}

static void forget_all(struct vsock_keeper *k)
{
	while (k->n_kept > 0)
		forget(k, &k->kept[0]);
}

static bool is_stream(int fd)
{
	int domain = 0, type = 0;
	socklen_t len = sizeof(int);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX &&
	       getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
}

static int on_keep(void *ctx, const struct message *m, struct fdset *fds)
{
	struct vsock_keeper *k = ((struct link *)ctx)->keeper;

	for (uint32_t i = 0; i < m->vsock_sockets.n; i++) {
		uint64_t id = m->vsock_sockets.ids[i];

		if (k->n_kept == KEPT_MAX || find(k, id) || !is_stream(fds->fds[i]))
			return CHANNEL_PEER_BAD;
		k->kept[k->n_kept++] = (struct kept){ .id = id, .fd = fdset_steal(fds, i) };
	}
	return 0;
}

static int on_forget(void *ctx, const struct message *m, struct fdset *fds)
{
	struct vsock_keeper *k = ((struct link *)ctx)->keeper;

	(void)fds;
	for (uint32_t i = 0; i < m->vsock_sockets.n; i++) {
		struct kept *kept = find(k, m->vsock_sockets.ids[i]);

		if (kept == NULL)
			return CHANNEL_PEER_BAD;
		forget(k, kept);
	}
	return 0;
}

/* --- connections on request --- */

static int connect_to(const char *path, uint32_t port)
{
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (fd < 0)
		return -errno;
	/* Fits: vsock_socket_path_fault(). */
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s_%u", path, port);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return fd_steal(&fd);
}

static int on_connect(void *ctx, const struct message *m, struct fdset *fds)
{
	struct link *link = ctx;
	struct vsock_keeper *k = link->keeper;
	cleanup_fdset struct fdset out = FDSET_EMPTY;
	struct message reply = { .type = MESSAGE_VSOCK_CONNECTED,
				 .vsock_connect = { .id = m->vsock_connect.id,
						    .port = m->vsock_connect.port } };
	int fd = connect_to(k->vm->config->devices[k->slot].path, m->vsock_connect.port), r;

	(void)fds;
	if (fd < 0)
		reply.vsock_connect.result = -fd;
	else if (fdset_add(&out, fd) < 0)
		return -ENOMEM;
	r = channel_send(link->channel, &reply, &out);
	return r == -EAGAIN || r == CHANNEL_CLOSED ? 0 : r; /* it asks again, or is dead */
}

/* --- links --- */

static const struct message_rule rules[] = {
	{ MESSAGE_VSOCK_KEEP, 1u << true, on_keep },
	{ MESSAGE_VSOCK_FORGET, 1u << true, on_forget },
	{ MESSAGE_VSOCK_CONNECT, 1u << true, on_connect },
	{ MESSAGE_NONE, 0, NULL },
};

/* Return: 0 when there may be more, else why it stopped */
static int receive(struct link *link, int budget)
{
	bool is_serving = link->generation == link->keeper->serving;

	while (budget-- > 0) {
		cleanup_fdset struct fdset fds = FDSET_EMPTY;
		struct message m;
		int r = channel_receive(link->channel, &m, &fds);

		if (r == 0)
			r = message_dispatch(rules, is_serving, link, &m, &fds);
		if (r != 0)
			return r;
	}
	return 0;
}

static void unlink_process(struct link *link)
{
	if (link->generation == 0)
		return;
	/* What it said before it died still counts. */
	if (link->generation == link->keeper->serving)
		(void)receive(link, LINK_REST);
	if (link->event != NULL)
		event_free(link->event);
	(void)channel_free(link->channel);
	*link = (struct link){ .keeper = link->keeper };
}

static void unlink_serving(struct vsock_keeper *k)
{
	for (uint32_t i = 0; i < LINKS_MAX; i++)
		if (k->links[i].generation == k->serving)
			unlink_process(&k->links[i]);
}

/*
 * We are out of descriptors, and those that came are lost. The process is not to blame and serves
 * on, but nobody knows any more which sockets are kept: so none is, until it has a successor.
 */
static void give_up(struct link *link)
{
	struct vsock_keeper *k = link->keeper;

	unlink_process(link);
	forget_all(k);
	vm_note(k->vm, LOG_LEVEL_WARNING, "warden",
		"vsock: out of file descriptors: connections will not outlive the present process");
}

static void on_readable(evutil_socket_t fd, short what, void *ctx)
{
	struct link *link = ctx;
	struct vsock_keeper *k = link->keeper;
	struct child *child;
	int r = receive(link, LINK_BUDGET);

	(void)fd;
	(void)what;
	if (r == 0 || r == CHANNEL_EMPTY)
		return;
	if (channel_has_lost_fds(link->channel) && link->generation == k->serving) {
		give_up(link);
		return;
	}
	(void)event_del(link->event); /* closed: its pidfd tells the rest */
	child = vm_find_child(k->vm, k->slot, link->generation);
	if (r != CHANNEL_CLOSED && child != NULL)
		vm_device_condemn(child, "misused the channel that keeps its sockets");
}

static struct link *free_link(struct vsock_keeper *k)
{
	for (uint32_t i = 0; i < LINKS_MAX; i++) {
		struct link *l = &k->links[i];

		if (l->generation != 0 && vm_find_child(k->vm, k->slot, l->generation) == NULL)
			unlink_process(l);
	}
	for (uint32_t i = 0; i < LINKS_MAX; i++)
		if (k->links[i].generation == 0)
			return &k->links[i];
	return NULL;
}

int vsock_keeper_link(struct vm *vm, const struct child *child, struct fdset *fds)
{
	struct vsock_keeper *k = keeper_of(vm, child);
	cleanup_fd int ours = -1, theirs = -1;
	struct link *link;
	int r;

	if (k == NULL)
		return 0;
	link = free_link(k);
	r = link ? channel_pair(&ours, &theirs) : -EBUSY;
	if (r == 0)
		r = channel_new(fd_steal(&ours), &link->channel);
	if (r < 0)
		return r;
	link->generation = child->generation;
	link->event = event_new(vm->base, channel_fd(link->channel), EV_READ | EV_PERSIST,
				on_readable, link);
	if (link->event == NULL || event_add(link->event, NULL) < 0)
		return -ENOMEM;
	return fdset_add(fds, fd_steal(&theirs));
}

/* The next 16 of what is kept, from @from on. */
static int send_some(struct vsock_keeper *k, struct link *link, uint32_t from)
{
	struct message m = { .type = MESSAGE_VSOCK_KEPT };
	struct fdset fds = FDSET_EMPTY; /* borrowed: there may be no descriptor left */

	for (uint32_t i = from; i < k->n_kept && fds.n < VSOCK_SOCKETS_MAX; i++) {
		m.vsock_sockets.ids[fds.n] = k->kept[i].id;
		fds.fds[fds.n++] = k->kept[i].fd;
	}
	m.vsock_sockets.n = fds.n;
	return channel_send(link->channel, &m, &fds);
}

/* A connection that does not get there is reset by the successor, which knows it from its page. */
static void send_all(struct vsock_keeper *k, struct link *link)
{
	uint32_t sent = 0;
	int r = 0;

	while (sent < k->n_kept && r == 0) {
		r = send_some(k, link, sent);
		if (r == 0)
			sent += VSOCK_SOCKETS_MAX;
	}
	if (r != 0 && r != CHANNEL_CLOSED)
		vm_note(k->vm, LOG_LEVEL_WARNING, "warden",
			"vsock: %u connections are lost: sockets cannot be handed over: %s",
			k->n_kept - sent, r < 0 ? strerror(-r) : "the channel is bad");
	while (k->n_kept > sent)
		forget(k, &k->kept[sent]);
}

void vsock_keeper_serve(struct vm *vm, const struct child *child)
{
	struct vsock_keeper *k = keeper_of(vm, child);

	if (k == NULL)
		return;
	unlink_serving(k);
	k->serving = child->generation;
	for (uint32_t i = 0; i < LINKS_MAX; i++)
		if (k->links[i].generation == k->serving)
			send_all(k, &k->links[i]);
}

void vsock_keeper_drop(struct vm *vm, const struct child *child)
{
	struct vsock_keeper *k = keeper_of(vm, child);

	if (k == NULL)
		return;
	unlink_serving(k);
	forget_all(k);
}

/* --- life --- */

/* A common limit is 1024, for programs that use select(). */
static int raise_fd_limit(uint32_t n_devices, struct failure *f)
{
	const rlim_t need = KEPT_MAX + FDS_BESIDES + n_devices * FDS_PER_DEVICE;
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < need) {
		l.rlim_cur = l.rlim_max < need ? l.rlim_max : need;
		if (l.rlim_cur < need || setrlimit(RLIMIT_NOFILE, &l) < 0)
			return failure_set(f, STATUS_FAILED,
					   "--vsock: needs %llu open files, the limit (ulimit -Hn) "
					   "is %llu",
					   (unsigned long long)need, (unsigned long long)l.rlim_max);
	}
	return 0;
}

int vsock_keeper_new(struct vm *vm, struct failure *f)
{
	struct vsock_keeper *k;

	for (uint32_t i = 0; i < vm->config->n_devices; i++) {
		if (vm->config->devices[i].type != DEVICE_TYPE_VSOCK)
			continue;
		k = calloc(1, sizeof(*k));
		if (k == NULL)
			return -ENOMEM;
		k->vm = vm;
		k->slot = i;
		for (uint32_t n = 0; n < LINKS_MAX; n++)
			k->links[n].keeper = k;
		vm->vsock_keeper = k;
		return raise_fd_limit(vm->config->n_devices, f);
	}
	return 0;
}

struct vsock_keeper *vsock_keeper_free(struct vsock_keeper *k)
{
	if (k == NULL)
		return NULL;
	k->serving = 0; /* nothing more is listened to */
	for (uint32_t i = 0; i < LINKS_MAX; i++)
		unlink_process(&k->links[i]);
	forget_all(k);
	free(k);
	return NULL;
}
