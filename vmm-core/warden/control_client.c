/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of the control socket: its connection, its one request, and what it waits for.
 */
#include "vmm-core/warden/control_internal.h"

#include <stdio.h>
#include <string.h>

static struct event *client_free_event(struct event *event)
{
	if (event != NULL)
		event_free(event);
	return NULL;
}

void control_client_close(struct control_client *c)
{
	c->readable = client_free_event(c->readable);
	c->writable = client_free_event(c->writable);
	c->deadline = client_free_event(c->deadline);
	c->channel = channel_free(c->channel);
}

bool control_client_send(struct control_client *c, const struct message_control_reply *reply)
{
	const struct message m = { .type = MESSAGE_CONTROL_REPLY, .control_reply = *reply };

	if (channel_send(c->channel, &m, NULL) == 0)
		return true;
	control_client_close(c);
	return false;
}

void control_client_finish(struct control_client *c, int result, const char *text)
{
	struct message_control_reply reply = { .result = result };

	(void)snprintf(reply.text, sizeof(reply.text), "%s", text);
	if (control_client_send(c, &reply))
		control_client_close(c);
}

int control_client_find_device(struct control_client *c, const char *id)
{
	const struct vm *vm = c->vm;
	char text[MESSAGE_TEXT_MAX];

	for (uint32_t i = 0; i < vm->config->n_devices; i++) {
		if (strcmp(vm->devices[i].process.name, id) == 0)
			return (int)i;
	}
	(void)snprintf(text, sizeof(text), "%.*s: no such device", VM_ID_MAX, id);
	control_client_finish(c, ENODEV, text);
	return -1;
}

bool control_client_wait(struct control_client *c, uint32_t ms)
{
	const struct timeval wait = { .tv_sec = ms / 1000 };

	if (event_add(c->deadline, &wait) == 0)
		return true;
	control_client_finish(c, ENOMEM, strerror(ENOMEM));
	return false;
}

void control_client_ask_core(struct control_client *c, enum message_type type)
{
	if (control_client_wait(c, VM_REQUEST_DEADLINE_MS))
		c->seq = vm_core_request(c->vm, type, c->slot);
}

void control_client_on_answer(struct control_client *c, const struct message *m)
{
	(void)event_del(c->deadline);
	c->seq = 0;
	if (m->type == MESSAGE_COUNTERS && m->counters.slot == c->slot)
		control_show_counters_of(c, &m->counters);
	else if (m->type == MESSAGE_REPLY)
		control_client_finish(c, m->reply.result,
				      m->reply.result != 0 ? strerror(m->reply.result) : "");
	else
		control_client_finish(c, EPROTO, "the core's answer does not fit");
}

static void on_client_readable(evutil_socket_t fd, short what, void *ctx)
{
	cleanup_fdset struct fdset fds = FDSET_EMPTY;
	struct control_client *c = ctx;
	struct message m;
	int r = channel_receive(c->channel, &m, &fds);

	(void)fd;
	(void)what;
	if (r == CHANNEL_EMPTY)
		return;
	/* One request per connection: a second one is as bad as garbage. */
	if (r != 0 || m.type != MESSAGE_CONTROL_REQUEST || c->has_request) {
		control_client_close(c);
		return;
	}
	c->has_request = true;
	(void)event_del(c->deadline);
	control_command_run(c, &m.control_request, &fds);
}

static void on_client_writable(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	control_show_log_on(ctx);
}

static void on_client_deadline(evutil_socket_t fd, short what, void *ctx)
{
	struct control_client *c = ctx;

	(void)fd;
	(void)what;
	control_client_finish(c, ETIMEDOUT,
			      c->restarts != NULL ? "the restart takes long; see ps" :
			      c->has_request	  ? "the core did not answer in time" :
						    "no request in time");
}

void control_client_open(struct control_client *c, struct vm *vm, int fd)
{
	const struct timeval wait = { .tv_sec = VM_REQUEST_DEADLINE_MS / 1000 };

	*c = (struct control_client){ .vm = vm };
	if (channel_new(fd, &c->channel) < 0) /* which has closed it */
		return;
	c->readable = event_new(vm->base, fd, EV_READ | EV_PERSIST, on_client_readable, c);
	c->writable = event_new(vm->base, fd, EV_WRITE, on_client_writable, c);
	c->deadline = evtimer_new(vm->base, on_client_deadline, c);
	if (c->readable == NULL || c->writable == NULL || c->deadline == NULL ||
	    event_add(c->readable, NULL) < 0 || event_add(c->deadline, &wait) < 0)
		control_client_close(c);
}
