/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket. Runs in the warden, on its event loop.
 *
 * Clients are the user's own, but may be stuck: nothing here waits for one. An answer that does
 * not fit into a client's socket drops the client, except for `log`, which goes on when there is
 * room and tells how many records were lost.
 */
#include "vmm-core/warden/control.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "vmm-core/warden/control_internal.h"

#define CONTROL_REST_MS 200u

struct control {
	struct vm *vm;
	int fd;
	struct event *accept;
	struct event *accept_again; /* when there was no file descriptor for a client */
	struct control_client clients[CONTROL_CLIENTS_MAX];
};

/* The file's mode keeps others out already; this also holds when somebody passes the socket on. */
static bool control_peer_allowed(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return false;
	return peer.uid == 0 || peer.uid == geteuid();
}

/* Whoever cannot be accepted stays in the backlog, and would be reported again and again. */
static void control_rest(struct control *control)
{
	static const struct timeval rest = { .tv_usec = CONTROL_REST_MS * 1000 };

	if (event_add(control->accept_again, &rest) == 0)
		(void)event_del(control->accept);
}

static void on_accept_again(evutil_socket_t fd, short what, void *ctx)
{
	struct control *control = ctx;

	(void)fd;
	(void)what;
	if (control_open(control) < 0)
		control_rest(control);
}

static void on_accept(evutil_socket_t fd, short what, void *ctx)
{
	struct control *control = ctx;
	cleanup_fd int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)what;
	if (peer < 0 && errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
		control_rest(control);
	if (peer < 0 || !control_peer_allowed(peer))
		return;
	for (size_t i = 0; i < ARRAY_LEN(control->clients); i++) {
		if (control->clients[i].channel == NULL) {
			control_client_open(&control->clients[i], control->vm, fd_steal(&peer));
			return;
		}
	}
	/* No place: the client sees its connection closed. */
}

static int control_listen(struct control *control, struct failure *f)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	cleanup_fd int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t mask;
	int r;

	/* Through the directory's fd: the run dir's path may be longer than a socket address. */
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s",
		       control->vm->run_dir.dir_fd, RUN_DIR_CONTROL);
	if (fd < 0)
		return -errno;
	mask = umask(0177);
	r = bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
	(void)umask(mask);
	if (r == 0 && listen(fd, CONTROL_CLIENTS_MAX) < 0)
		r = -errno;
	if (r < 0)
		return failure_set(f, STATUS_FAILED, "--run-dir %s/%s: %s",
				   control->vm->run_dir.path, RUN_DIR_CONTROL, strerror(-r));
	control->fd = fd_steal(&fd);
	return 0;
}

int control_new(struct vm *vm, struct control **ret, struct failure *f)
{
	struct control *control = calloc(1, sizeof(*control));
	int r;

	if (control == NULL)
		return -ENOMEM;
	control->vm = vm;
	control->fd = -1;
	r = control_listen(control, f);
	if (r == 0) {
		control->accept = event_new(vm->base, control->fd, EV_READ | EV_PERSIST,
					    on_accept, control);
		control->accept_again = evtimer_new(vm->base, on_accept_again, control);
		if (control->accept == NULL || control->accept_again == NULL)
			r = -ENOMEM;
	}
	if (r != 0) {
		(void)control_free(control);
		return r;
	}
	*ret = control;
	return 0;
}

int control_open(struct control *control)
{
	return event_add(control->accept, NULL) < 0 ? -ENOMEM : 0;
}

struct control *control_free(struct control *control)
{
	if (control == NULL)
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(control->clients); i++)
		control_client_close(&control->clients[i]);
	if (control->accept != NULL)
		event_free(control->accept);
	if (control->accept_again != NULL)
		event_free(control->accept_again);
	(void)fd_close(control->fd);
	free(control);
	return NULL;
}

void control_on_core_answer(struct control *control, const struct message *m)
{
	for (size_t i = 0; i < ARRAY_LEN(control->clients); i++) {
		struct control_client *c = &control->clients[i];

		if (c->channel == NULL || c->seq != m->seq)
			continue;
		control_client_on_answer(c, m);
		return;
	}
}

void control_on_restart(struct control *control, struct vm_device *d, int result,
			const char *text)
{
	for (size_t i = 0; control != NULL && i < ARRAY_LEN(control->clients); i++) {
		struct control_client *c = &control->clients[i];
		struct message_control_reply reply = { .result = result, .pid = d->process.pid };

		if (c->channel == NULL || c->restarts != d)
			continue;
		(void)snprintf(reply.text, sizeof(reply.text), "%s%s%s", d->process.name,
			       text[0] != '\0' ? ": " : "", text);
		if (control_client_send(c, &reply))
			control_client_close(c);
	}
}

void control_on_log(struct control *control)
{
	for (size_t i = 0; i < ARRAY_LEN(control->clients); i++) {
		struct control_client *c = &control->clients[i];

		if (c->channel != NULL && c->is_log && !event_pending(c->writable, EV_WRITE, NULL))
			control_show_log_on(c);
	}
}
