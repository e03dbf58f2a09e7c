/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Surviving this process: sockets go to the warden and come back from it. bulkhead-vsock.
 *
 * A connection is handed over once it is VSOCK_KEEP_MS old: handing each over at once would cost
 * as much as making it. What a predecessor left is hostile input, its record in the device page as
 * well as the numbers of sockets; what does not fit together is reset, alone.
 */
#include <string.h>

#include "device-procs/vsock/vsock_internal.h"
#include "ipc/clock.h"
#include "ipc/log.h"

#define KEEPER_BUDGET 64 /* messages at a time */
#define RESTORE_MAX (VSOCK_CONNECTIONS_MAX / VSOCK_SOCKETS_MAX + 2u) /* messages from the warden */

static int send_to_warden(struct vsock_device *v, struct message *m, const struct fdset *fds)
{
	int r = channel_send(v->keeper, m, fds);

	v->is_alone |= r == CHANNEL_CLOSED;
	if (r != 0 && r != -EAGAIN && r != CHANNEL_CLOSED)
		device_fail(v->dev, "the warden's channel: %s",
			    r < 0 ? strerror(-r) : channel_fault(v->keeper));
	return r;
}

/* --- handing over --- */

static void set_kept(struct vsock_device *v, struct vsock_conn *c, bool is_kept)
{
	vsock_conn_begin(v, c);
	c->r.is_kept = is_kept;
	vsock_conn_end(v, c);
	v->n_young = is_kept ? v->n_young - 1 : v->n_young + 1;
}

static bool is_due(const struct vsock_conn *c, uint64_t now)
{
	return c->r.state == VSOCK_OPEN && !c->r.is_kept && now - c->born_ms >= VSOCK_KEEP_MS;
}

/* Up to one message full, from *slot on. Return: 0; else the warden is busy or gone */
static int keep_some(struct vsock_device *v, uint64_t now, uint32_t *slot)
{
	cleanup_fdset struct fdset fds = FDSET_EMPTY;
	struct message m = { .type = MESSAGE_VSOCK_KEEP };
	uint16_t slots[VSOCK_SOCKETS_MAX];
	uint32_t i, n = 0;
	int r = 0;

	for (; *slot < VSOCK_SLOTS && n < VSOCK_SOCKETS_MAX; (*slot)++) {
		struct vsock_conn *c = &v->table.conns[*slot];

		if (!is_due(c, now))
			continue;
		set_kept(v, c, true);
		fds.fds[n] = c->fd; /* borrowed */
		m.vsock_sockets.ids[n] = c->r.id;
		slots[n++] = (uint16_t)*slot;
	}
	fds.n = m.vsock_sockets.n = n;
	if (n > 0)
		r = send_to_warden(v, &m, &fds);
	for (i = 0; i < n && r != 0; i++)
		set_kept(v, &v->table.conns[slots[i]], false);
	fds.n = 0; /* not ours to close */
	return r;
}

/* In the order in which it happened, so before anything new is handed over. */
static int send_forgets(struct vsock_device *v)
{
	while (v->n_forgets > 0) {
		struct message m = { .type = MESSAGE_VSOCK_FORGET };
		uint32_t n = v->n_forgets < VSOCK_SOCKETS_MAX ? v->n_forgets : VSOCK_SOCKETS_MAX;
		int r;

		m.vsock_sockets.n = n;
		memcpy(m.vsock_sockets.ids, v->forgets + v->n_forgets - n, n * sizeof(uint64_t));
		r = send_to_warden(v, &m, NULL);
		if (r != 0)
			return r;
		v->n_forgets -= n;
	}
	return 0;
}

bool vsock_keep_tick(struct vsock_device *v, uint64_t now)
{
	uint32_t slot = 0;

	if (v->is_alone)
		return false;
	if (send_forgets(v) == 0 && v->n_young > 0)
		while (slot < VSOCK_SLOTS && keep_some(v, now, &slot) == 0)
			;
	return v->n_forgets > 0 || v->n_young > 0;
}

void vsock_keep_forget(struct vsock_device *v, uint64_t id)
{
	/* Each was kept, and so many at most are. */
	v->forgets[v->n_forgets++] = id;
	vsock_tick_need(v);
}

/* --- connections that our uid may not make --- */

int vsock_keep_connect(struct vsock_device *v, const struct vsock_conn *c)
{
	struct message m = { .type = MESSAGE_VSOCK_CONNECT,
			     .vsock_connect = { .id = c->r.id, .port = c->r.host_port } };

	return send_to_warden(v, &m, NULL);
}

static void on_connected(struct vsock_device *v, const struct message_vsock_connect *m, int fd)
{
	cleanup_fd int socket = fd;
	uint32_t i;

	for (i = 0; i < VSOCK_SLOTS; i++) {
		struct vsock_conn *c = &v->table.conns[i];

		if (c->r.id != m->id || c->r.state != VSOCK_CONNECTING || !c->is_asked)
			continue;
		vsock_conn_begin(v, c);
		c->is_asked = false;
		vsock_conn_connected(v, c, m->result == 0 ? fd_steal(&socket) : -m->result);
		vsock_conn_end(v, c);
		return;
	}
	/* It gave up meanwhile; the socket is closed. */
}

bool vsock_keep_receive(struct vsock_device *v)
{
	int i;

	for (i = 0; i < KEEPER_BUDGET; i++) {
		cleanup_fdset struct fdset fds = FDSET_EMPTY;
		struct message m;
		int r = channel_receive(v->keeper, &m, &fds);

		if (r == CHANNEL_EMPTY)
			return true;
		if (r == CHANNEL_CLOSED) {
			v->is_alone = true; /* if it is dead, the core's channel tells the same */
			return false;
		}
		if (r != 0 || m.type != MESSAGE_VSOCK_CONNECTED) {
			device_fail(v->dev, "the warden sent what it should not");
			return false;
		}
		on_connected(v, &m.vsock_connect,
			     m.vsock_connect.result == 0 ? fdset_steal(&fds, 0) : -1);
	}
	return true;
}

/* --- a predecessor's connections --- */

struct kept {
	uint64_t id;
	int fd;
};

/* What the warden has for us lies in the channel already. Return: how many */
static uint32_t receive_kept(struct vsock_device *v, struct kept *kept)
{
	uint32_t i, k, n = 0;

	for (i = 0; i < RESTORE_MAX; i++) {
		cleanup_fdset struct fdset fds = FDSET_EMPTY;
		struct message m;
		int r = channel_receive(v->keeper, &m, &fds);

		if (r != 0 || m.type != MESSAGE_VSOCK_KEPT)
			break;
		for (k = 0; k < m.vsock_sockets.n && n < VSOCK_CONNECTIONS_MAX; k++)
			kept[n++] = (struct kept){ m.vsock_sockets.ids[k], fdset_steal(&fds, k) };
	}
	return n;
}

static int steal_kept(struct kept *kept, uint32_t n, uint64_t id)
{
	uint32_t i;

	for (i = 0; i < n; i++)
		if (kept[i].id == id && kept[i].fd >= 0)
			return fd_steal(&kept[i].fd);
	return -1;
}

/* The epoll set reports at once what the socket has, and its end. */
static void go_on(struct vsock_device *v, struct vsock_conn *c, int fd)
{
	uint16_t slot = vsock_table_slot(&v->table, c);

	c->fd = fd;
	c->r.is_kept = 1;
	c->born_ms = clock_now_ms();
	if (vsock_host_watch(&v->host, fd, slot) < 0) {
		vsock_conn_kill(v, c);
		return;
	}
	if (vsock_unsent(c) > 0) {
		c->is_blocked = true;
		if (vsock_host_watch_output(&v->host, fd, slot, true) < 0) {
			vsock_conn_kill(v, c);
			return;
		}
	}
	if (c->r.host_shut == VSOCK_SHUTDOWN_BOTH)
		vsock_conn_set_deadline(v, c, VSOCK_ANSWER_MS);
	c->is_readable = true;
	vsock_table_ready(&v->table, c);
}

/* Return: did it survive? */
static bool restore(struct vsock_device *v, uint16_t slot, bool was_active, struct kept *kept,
		    uint32_t n_kept)
{
	const struct vsock_record r = v->store.journal->records[slot]; /* copied once */
	struct vsock_conn *c = NULL;
	int fd;

	if (r.state == VSOCK_FREE || r.state == VSOCK_CLIENT)
		return true;
	fd = was_active ? -1 : steal_kept(kept, n_kept, r.id);
	if (fd >= 0)
		c = vsock_table_restore(&v->table, slot, &r);
	vsock_store_begin(&v->store, slot);
	if (c) {
		go_on(v, c, fd);
		vsock_store_end(&v->store, slot, &c->r);
		return true;
	}
	if (fd >= 0) {
		vsock_host_close(&v->host, fd, true);
		vsock_keep_forget(v, r.id);
	}
	(void)vsock_store_reset(&v->store, r.guest_port, r.host_port);
	vsock_store_end(&v->store, slot, &(struct vsock_record){ 0 });
	return false;
}

static void restore_all(struct vsock_device *v, struct kept *kept, uint32_t n_kept)
{
	struct vsock_journal *j = v->store.journal;
	uint32_t active = __atomic_load_n(&j->active, __ATOMIC_RELAXED), slot, n_lost = 0;

	v->table.last_id = j->last_id;
	v->table.last_port = j->last_port;
	if (vsock_store_resets(&v->store) > VSOCK_RESETS_MAX)
		j->resets_out = j->resets_in; /* not ours */
	for (slot = 0; slot < VSOCK_SLOTS; slot++)
		n_lost += !restore(v, (uint16_t)slot, active == slot + 1, kept, n_kept);
	if (n_lost > 0)
		log_warning("%u connections were reset: under way, or younger than %u ms", n_lost,
			    VSOCK_KEEP_MS);
}

void vsock_keep_restore(struct vsock_device *v)
{
	static struct kept kept[VSOCK_CONNECTIONS_MAX];
	struct vsock_journal *j = v->store.journal;
	uint32_t n_kept = receive_kept(v, kept), i;

	if (j->version == VSOCK_JOURNAL_VERSION) {
		restore_all(v, kept, n_kept);
	} else if (j->version != 0) {
		/* Another program's: nothing of it can be trusted. */
		memset(j, 0, sizeof(*j));
		j->transport_reset = 1;
	}
	j->version = VSOCK_JOURNAL_VERSION;
	for (i = 0; i < n_kept; i++) {
		if (kept[i].fd < 0)
			continue;
		vsock_host_close(&v->host, fd_steal(&kept[i].fd), true);
		vsock_keep_forget(v, kept[i].id);
	}
}
