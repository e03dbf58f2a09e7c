/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a connection. bulkhead-vsock.
 *
 *	host asks:   CLIENT -CONNECT line-> REQUESTED -RESPONSE-> OPEN
 *	guest asks:  CONNECTING -listener takes it-> OPEN
 *
 * An OPEN connection ends when the guest has shut both ways and its last bytes are with the host,
 * by a RST of either side, or VSOCK_ANSWER_MS after its host socket was closed. Everything else
 * that goes wrong with it is a RST for it alone.
 */
#include <sys/socket.h>

#include "device-procs/vsock/vsock_internal.h"
#include "ipc/clock.h"

void vsock_conn_begin(struct vsock_device *v, const struct vsock_conn *c)
{
	vsock_store_begin(&v->store, vsock_table_slot(&v->table, c));
}

void vsock_conn_end(struct vsock_device *v, const struct vsock_conn *c)
{
	v->store.journal->last_id = v->table.last_id;
	v->store.journal->last_port = v->table.last_port;
	vsock_store_end(&v->store, vsock_table_slot(&v->table, c), &c->r);
}

void vsock_conn_due(struct vsock_device *v, struct vsock_conn *c, enum vsock_due due)
{
	c->r.due |= (uint8_t)due;
	vsock_table_ready(&v->table, c);
}

void vsock_conn_forget(struct vsock_device *v, struct vsock_conn *c)
{
	bool was_full = v->table.n_clients == VSOCK_CLIENTS_MAX;

	vsock_host_close(&v->host, c->fd, c->r.is_kept != 0);
	if (c->r.is_kept)
		vsock_keep_forget(v, c->r.id);
	else if (c->r.state == VSOCK_OPEN)
		v->n_young--;
	vsock_table_remove(&v->table, c);
	if (was_full)
		vsock_listen(v, true);
}

void vsock_conn_kill(struct vsock_device *v, struct vsock_conn *c)
{
	/* Of what the guest was not asked yet, it need not hear the end. */
	if (c->r.state != VSOCK_CLIENT && !(c->r.due & VSOCK_DUE_REQUEST))
		(void)vsock_store_reset(&v->store, c->r.guest_port, c->r.host_port);
	vsock_conn_forget(v, c);
}

void vsock_conn_set_deadline(struct vsock_device *v, struct vsock_conn *c, uint32_t ms)
{
	c->deadline_ms = clock_now_ms() + ms;
	vsock_tick_need(v);
}

void vsock_conn_attach(struct vsock_device *v, struct vsock_conn *c, int fd)
{
	c->fd = fd;
	c->r.state = VSOCK_OPEN;
	c->deadline_ms = 0;
	c->born_ms = clock_now_ms();
	v->n_young++;
	vsock_tick_need(v);
}

static void ask_warden(struct vsock_device *v, struct vsock_conn *c)
{
	c->needs_warden = true;
	c->is_asked = vsock_keep_connect(v, c) == 0;
	if (v->is_alone)
		vsock_conn_kill(v, c);
	else
		vsock_tick_need(v); /* to ask again, or to give up */
}

void vsock_conn_connect(struct vsock_device *v, struct vsock_conn *c)
{
	if (c->deadline_ms == 0)
		c->deadline_ms = clock_now_ms() + VSOCK_ANSWER_MS;
	if (c->is_asked)
		return;
	if (c->needs_warden || !v->has_folder)
		ask_warden(v, c);
	else
		vsock_conn_connected(v, c, vsock_host_connect(&v->host, c->r.host_port));
}

void vsock_conn_connected(struct vsock_device *v, struct vsock_conn *c, int fd)
{
	if (fd == -EACCES && !c->needs_warden) {
		ask_warden(v, c);
		return;
	}
	if (fd == -EAGAIN) { /* the listener or the warden is busy: on_tick() tries again */
		vsock_tick_need(v);
		return;
	}
	if (fd < 0 || vsock_host_watch(&v->host, fd, vsock_table_slot(&v->table, c)) < 0) {
		(void)fd_close(fd);
		vsock_conn_kill(v, c);
		return;
	}
	/* A server may have spoken before we watched: that is reported, too. */
	vsock_conn_attach(v, c, fd);
	vsock_conn_due(v, c, VSOCK_DUE_RESPONSE);
}

bool vsock_conn_has_data(const struct vsock_conn *c)
{
	return c->is_readable && c->r.state == VSOCK_OPEN &&
	       !(c->r.host_shut & VSOCK_SHUTDOWN_SEND) &&
	       !(c->r.guest_shut & VSOCK_SHUTDOWN_RECEIVE);
}

/* Its bytes are all with the host: what the guest wanted after them. */
static void after_last_byte(struct vsock_device *v, struct vsock_conn *c)
{
	if (!(c->r.guest_shut & VSOCK_SHUTDOWN_SEND))
		return;
	if (c->r.guest_shut == VSOCK_SHUTDOWN_BOTH)
		vsock_conn_kill(v, c); /* §5.10.6.5: RST says that the ports are free again */
	else
		(void)shutdown(c->fd, SHUT_WR);
}

void vsock_conn_sent(struct vsock_device *v, struct vsock_conn *c, uint32_t n)
{
	c->r.fwd_cnt += n;
	if (vsock_credit_is_due(c))
		vsock_conn_due(v, c, VSOCK_DUE_CREDIT_UPDATE);
}

static void tell_shutdown(struct vsock_device *v, struct vsock_conn *c, uint32_t flags)
{
	if ((c->r.host_shut & flags) == flags)
		return;
	c->r.host_shut |= (uint8_t)flags;
	if (c->r.host_shut == VSOCK_SHUTDOWN_BOTH)
		vsock_conn_set_deadline(v, c, VSOCK_ANSWER_MS);
	vsock_conn_due(v, c, VSOCK_DUE_SHUTDOWN);
}

void vsock_conn_host_takes_no_more(struct vsock_device *v, struct vsock_conn *c)
{
	vsock_conn_sent(v, c, vsock_unsent(c));
	c->is_blocked = false;
	if (c->r.guest_shut == VSOCK_SHUTDOWN_BOTH)
		vsock_conn_kill(v, c);
	else
		tell_shutdown(v, c, VSOCK_SHUTDOWN_RECEIVE);
}

void vsock_conn_host_sends_no_more(struct vsock_device *v, struct vsock_conn *c)
{
	c->is_readable = false;
	tell_shutdown(v, c, c->is_closed_by_host ? VSOCK_SHUTDOWN_BOTH : VSOCK_SHUTDOWN_SEND);
}

void vsock_conn_flush(struct vsock_device *v, struct vsock_conn *c)
{
	uint16_t slot = vsock_table_slot(&v->table, c);

	while (vsock_unsent(c) > 0) {
		struct iovec iov[2];
		uint32_t n = vsock_store_iovec(&v->store, slot, c->r.fwd_cnt, vsock_unsent(c), iov);
		int r = vsock_host_send(c->fd, iov, n);

		if (r < 0) {
			vsock_conn_host_takes_no_more(v, c);
			return;
		}
		if (r == 0) {
			c->is_blocked = true;
			return;
		}
		vsock_conn_sent(v, c, (uint32_t)r);
	}
	if (c->is_blocked) {
		c->is_blocked = false;
		if (vsock_host_watch_output(&v->host, c->fd, slot, false) < 0) {
			vsock_conn_kill(v, c);
			return;
		}
	}
	after_last_byte(v, c);
}

void vsock_conn_guest_shuts(struct vsock_device *v, struct vsock_conn *c, uint32_t flags)
{
	uint32_t more = flags & VSOCK_SHUTDOWN_BOTH & ~c->r.guest_shut;

	c->r.guest_shut |= (uint8_t)more;
	if ((more & VSOCK_SHUTDOWN_RECEIVE) && c->r.guest_shut != VSOCK_SHUTDOWN_BOTH)
		(void)shutdown(c->fd, SHUT_RD);
	if (more && vsock_unsent(c) == 0)
		after_last_byte(v, c);
}
