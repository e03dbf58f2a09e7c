/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket. Runs in the warden, on its event loop.
 *
 * Clients are the user's own, but may be stuck: nothing here waits for one. An answer that does
 * not fit into a client's socket drops the client, except for `log`, which goes on when there is
 * room and tells how many records were lost.
 */
#include "vmm-core/warden/control.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "vmm-core/machine/layout.h"
#include "vmm-core/warden/config_net.h"

struct control_client {
	struct control *control;
	struct channel *channel; /* NULL: free place */
	struct event *readable;
	struct event *writable; /* log only: there is room again */
	struct event *deadline; /* of a request, or of the core's answer */
	bool has_request;
	uint32_t seq; /* of the core's answer that is waited for; 0: none */
	uint32_t slot, last_slot; /* COUNTERS: device asked about, last one to ask about */
	struct vm_device *restarts; /* RESTART: its end is waited for */
	bool is_log;
	char log_source[VM_ID_MAX];
	uint64_t log_at;
	bool log_caught_up; /* the frame that ends the old records was sent */
};

struct control {
	struct vm *vm;
	int fd;
	struct event *accept;
	struct control_client clients[CONTROL_CLIENTS_MAX];
};

static void client_free_event(struct event **event)
{
	if (*event != NULL)
		event_free(*event);
	*event = NULL;
}

static void client_close(struct control_client *c)
{
	client_free_event(&c->readable);
	client_free_event(&c->writable);
	client_free_event(&c->deadline);
	c->channel = channel_free(c->channel);
}

/* Send one frame; Return: false when the client is gone, or dropped. */
static bool client_send(struct control_client *c, const struct message_control_reply *reply)
{
	const struct message m = { .type = MESSAGE_CONTROL_REPLY, .control_reply = *reply };

	if (channel_send(c->channel, &m, NULL) == 0)
		return true;
	client_close(c);
	return false;
}

/* The last frame of an answer. */
static void client_finish(struct control_client *c, int result, const char *text)
{
	struct message_control_reply reply = { .result = result };

	(void)snprintf(reply.text, sizeof(reply.text), "%s", text);
	if (client_send(c, &reply))
		client_close(c);
}

static void control_fill_process(struct control_process *p, const char *name, const char *role,
				 pid_t pid, const char *state)
{
	(void)snprintf(p->name, sizeof(p->name), "%s", name);
	(void)snprintf(p->role, sizeof(p->role), "%s", role);
	(void)snprintf(p->state, sizeof(p->state), "%s", state);
	p->pid = pid;
}

static void control_fill_child(struct control_process *p, const struct child *child,
			       const char *state)
{
	control_fill_process(p, child->name, child->role, child->pid, state);
	p->restarts = child->restarts;
	p->last_stall_us = child->last_stall_us;
	p->last_stall_at = child->last_stall_at;
	(void)snprintf(p->last_exit, sizeof(p->last_exit), "%s", child->last_exit);
}

static const char *control_device_state(const struct vm_device *d)
{
	if (d->state == VM_DEVICE_DOWN)
		return "restarting";
	switch (d->process.state) {
	case DEVICE_STATE_STARTING:
		return "starting";
	case DEVICE_STATE_READY:
		return "ready";
	case DEVICE_STATE_ACTIVE:
		return "active";
	case DEVICE_STATE_HELD:
		return "stopped";
	case DEVICE_STATE_FAILED:
	case DEVICE_STATE_N_:
		break;
	}
	return "failed";
}

/* The process that was started ahead, if there is one; Return: was it added? */
static bool control_add_next(struct message_control_reply *reply, const struct vm_device *d)
{
	struct control_process *p = &reply->processes[reply->n_processes];
	char name[VM_ID_MAX];

	if (d->next_state == VM_NEXT_NONE)
		return false;
	/* Names are unique, and this one is of no device. */
	(void)snprintf(name, sizeof(name), "%.*s.next", VM_ID_MAX - 6, d->next.name);
	control_fill_process(p, name, d->next.role, d->next.pid,
			     d->next_state == VM_NEXT_STANDBY ? "standby" : "successor");
	reply->n_processes++;
	return true;
}

/* PS and INFO: names, roles, pids, states. What ps shows beyond that it reads from /proc. */
static void client_answer_info(struct control_client *c)
{
	const struct vm *vm = c->control->vm;
	struct message_control_reply reply = {
		.n_cpus = vm->config->n_cpus,
		.memory_size = vm->config->memory_size,
		.n_processes = vm->config->n_devices + 2,
		.more = true,
	};

	(void)snprintf(reply.vm_name, sizeof(reply.vm_name), "%s", vm->config->name);
	(void)snprintf(reply.vm_state, sizeof(reply.vm_state), "%s", vm_state_name(vm));
	control_fill_process(&reply.processes[0], "warden", "warden", getpid(), "running");
	control_fill_child(&reply.processes[1], &vm->core, vm_state_name(vm));
	for (uint32_t i = 0; i < vm->config->n_devices; i++) {
		struct control_process *p = &reply.processes[i + 2];

		control_fill_child(p, &vm->devices[i].process, control_device_state(&vm->devices[i]));
		if (vm->config->transport == VM_TRANSPORT_PCI)
			(void)snprintf(p->address, sizeof(p->address), "00:%02x.0", i + 1);
		else
			(void)snprintf(p->address, sizeof(p->address), "0x%llx",
				       (unsigned long long)layout_virtio_mmio_base(i));
	}
	if (!client_send(c, &reply))
		return;
	reply.n_processes = 0;
	reply.more = false;
	for (uint32_t i = 0; i < vm->config->n_devices; i++)
		(void)control_add_next(&reply, &vm->devices[i]);
	if (client_send(c, &reply))
		client_close(c);
}

/* Which device is meant; Return: its slot; -1: there is none of that name, and the client knows. */
static int client_find_device(struct control_client *c, const char *id)
{
	const struct vm *vm = c->control->vm;
	char text[MESSAGE_TEXT_MAX];

	for (uint32_t i = 0; i < vm->config->n_devices; i++) {
		if (strcmp(vm->devices[i].process.name, id) == 0)
			return (int)i;
	}
	(void)snprintf(text, sizeof(text), "%.*s: no such device", VM_ID_MAX, id);
	client_finish(c, ENODEV, text);
	return -1;
}

static void client_ask_core(struct control_client *c, enum message_type type)
{
	const struct timeval wait = { .tv_sec = VM_REQUEST_DEADLINE_MS / 1000 };

	if (event_add(c->deadline, &wait) < 0) {
		client_finish(c, ENOMEM, strerror(ENOMEM));
		return;
	}
	c->seq = vm_core_request(c->control->vm, type, c->slot);
}

static void client_ask_counters(struct control_client *c, const char *device)
{
	const struct vm *vm = c->control->vm;

	if (vm->config->n_devices == 0) {
		client_finish(c, 0, "");
		return;
	}
	c->slot = 0;
	c->last_slot = vm->config->n_devices - 1;
	if (device[0] != '\0') {
		int slot = client_find_device(c, device);

		if (slot < 0)
			return;
		c->slot = (uint32_t)slot;
		c->last_slot = c->slot;
	}
	client_ask_core(c, MESSAGE_GET_COUNTERS);
}

/* One record as a frame; Return: 0; CHANNEL_CLOSED; -EAGAIN; -errno. */
static int client_send_record(struct control_client *c, const char *source, const char *line)
{
	struct message m = { .type = MESSAGE_CONTROL_REPLY, .control_reply = { .more = true } };

	if (line != NULL)
		(void)snprintf(m.control_reply.text, sizeof(m.control_reply.text), "%s: %s",
			       source, line);
	return channel_send(c->channel, &m, NULL);
}

/* Send the records that @c has not seen, until there is none or no room. */
static void client_log(struct control_client *c)
{
	const struct log_ring *ring = &c->control->vm->log;
	int r = 0;

	for (;;) {
		uint64_t at = c->log_at, lost;
		const struct log_ring_record *record =
			log_ring_next(ring, c->log_source, &at, &lost);
		char words[64];

		if (lost > 0 && c->log_at > 0) {
			(void)snprintf(words, sizeof(words), "%llu records lost",
				       (unsigned long long)lost);
			r = client_send_record(c, "warden", words);
			if (r != 0)
				break;
			c->log_at = ring->next - LOG_RING_RECORDS;
			continue;
		}
		if (record == NULL && c->log_caught_up)
			return;
		r = client_send_record(c, record != NULL ? record->source : "",
				       record != NULL ? record->line : NULL);
		if (r != 0)
			break;
		if (record == NULL)
			c->log_caught_up = true;
		c->log_at = at;
	}
	if (r != -EAGAIN || event_add(c->writable, NULL) < 0)
		client_close(c);
}

static void client_start_log(struct control_client *c, const char *device)
{
	if (device[0] != '\0' && strcmp(device, "core") != 0 && strcmp(device, "warden") != 0 &&
	    client_find_device(c, device) < 0)
		return;
	(void)snprintf(c->log_source, sizeof(c->log_source), "%s", device);
	c->is_log = true;
	client_log(c);
}

static void client_restart(struct control_client *c, const struct message_control_request *request,
			   int program_fd)
{
	const struct timeval wait = { .tv_sec = CONTROL_RESTART_DEADLINE_MS / 1000 };
	int slot = client_find_device(c, request->device);
	cleanup_fd int owned_fd = program_fd;
	char text[MESSAGE_TEXT_MAX];
	const char *why;
	int r;

	if (slot < 0)
		return;
	if (event_add(c->deadline, &wait) < 0) {
		client_finish(c, ENOMEM, strerror(ENOMEM));
		return;
	}
	c->restarts = &c->control->vm->devices[slot];
	r = vm_device_replace(c->restarts, fd_steal(&owned_fd), request->is_stopped, &why);
	if (r < 0) { /* only ours: another client may be waiting for the same device */
		c->restarts = NULL;
		(void)snprintf(text, sizeof(text), "%.*s: %s", VM_ID_MAX, request->device,
			       why != NULL ? why : strerror(-r));
		client_finish(c, -r, text);
	}
}

static void client_resume_device(struct control_client *c, const char *device)
{
	int slot = client_find_device(c, device);

	if (slot < 0)
		return;
	if (vm_device_let_go(&c->control->vm->devices[slot]) < 0)
		client_finish(c, EINVAL, "it was not stopped by restart --stopped");
	else
		client_finish(c, 0, "");
}

/* Ask the core, which tells the device; a successor is told by us. */
static void client_adjust(struct control_client *c, const struct message_adjust *adjust)
{
	const struct timeval wait = { .tv_sec = VM_REQUEST_DEADLINE_MS / 1000 };
	struct vm *vm = c->control->vm;

	if (event_add(c->deadline, &wait) < 0) {
		client_finish(c, ENOMEM, strerror(ENOMEM));
		return;
	}
	vm->adjusts[adjust->slot] = *adjust;
	c->seq = vm_core_adjust(vm, adjust);
}

static void client_limit(struct control_client *c, const struct message_control_request *request)
{
	struct vm *vm = c->control->vm;
	int slot = client_find_device(c, request->device);
	struct message_adjust adjust;
	struct failure f;
	int r;

	if (slot < 0)
		return;
	if (vm->config->devices[slot].type != DEVICE_TYPE_BLK &&
	    vm->config->devices[slot].type != DEVICE_TYPE_NET) {
		client_finish(c, EINVAL, "only disks and NICs have limits");
		return;
	}
	adjust = vm->adjusts[slot];
	r = config_limits_parse("limit", request->text, &adjust.limits, &f);
	if (r == 0)
		client_adjust(c, &adjust);
	else
		client_finish(c, r == FAILED ? EINVAL : -r, r == FAILED ? f.text : strerror(-r));
}

static void client_link(struct control_client *c, const struct message_control_request *request)
{
	struct vm *vm = c->control->vm;
	int slot = client_find_device(c, request->device);
	bool is_up = strcmp(request->text, "up") == 0;
	struct message_adjust adjust;

	if (slot < 0)
		return;
	if (vm->config->devices[slot].type != DEVICE_TYPE_NET) {
		client_finish(c, EINVAL, "only NICs have a link");
	} else if (!is_up && strcmp(request->text, "down") != 0) {
		client_finish(c, EINVAL, "link: must be up or down");
	} else {
		adjust = vm->adjusts[slot];
		adjust.link_down = !is_up;
		client_adjust(c, &adjust);
	}
}

static void client_handle(struct control_client *c, const struct message_control_request *request,
			  struct fdset *fds)
{
	static const struct {
		enum control_command command;
		enum message_type type;
	} forwarded[] = {
		{ CONTROL_PAUSE, MESSAGE_PAUSE },
		{ CONTROL_RESUME, MESSAGE_RESUME },
		{ CONTROL_POWER_BUTTON, MESSAGE_POWER_BUTTON },
		{ CONTROL_REBOOT, MESSAGE_REBOOT },
	};

	if (request->protocol != PROTOCOL_VERSION) {
		client_finish(c, EPROTO, "bulkheadctl and bulkhead are of different versions");
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(forwarded); i++) {
		if (forwarded[i].command == request->command) {
			client_ask_core(c, forwarded[i].type);
			return;
		}
	}
	if (request->command == CONTROL_PS || request->command == CONTROL_INFO) {
		client_answer_info(c);
	} else if (request->command == CONTROL_COUNTERS) {
		client_ask_counters(c, request->device);
	} else if (request->command == CONTROL_LOG) {
		client_start_log(c, request->device);
	} else if (request->command == CONTROL_RESTART) {
		client_restart(c, request, request->has_program ? fdset_steal(fds, 0) : -1);
	} else if (request->command == CONTROL_LIMIT) {
		client_limit(c, request);
	} else if (request->command == CONTROL_LINK) {
		client_link(c, request);
	} else if (request->command == CONTROL_RESUME_DEVICE) {
		client_resume_device(c, request->device);
	} else if (request->command == CONTROL_SHUTDOWN) {
		struct vm *vm = c->control->vm;

		client_finish(c, 0, "");
		vm_end(vm, STATUS_POWERED_OFF, NULL);
	} else {
		client_finish(c, EOPNOTSUPP, "not supported");
	}
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
		client_close(c);
		return;
	}
	c->has_request = true;
	(void)event_del(c->deadline);
	client_handle(c, &m.control_request, &fds);
}

static void on_client_writable(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	client_log(ctx);
}

static void on_client_deadline(evutil_socket_t fd, short what, void *ctx)
{
	struct control_client *c = ctx;

	(void)fd;
	(void)what;
	client_finish(c, ETIMEDOUT, c->restarts != NULL ? "the restart takes long; see ps" :
				    c->has_request	? "the core did not answer in time" :
							  "no request in time");
}

static int client_open(struct control *control, struct control_client *c, int fd)
{
	const struct timeval wait = { .tv_sec = VM_REQUEST_DEADLINE_MS / 1000 };
	struct event_base *base = control->vm->base;

	*c = (struct control_client){ .control = control };
	if (channel_new(fd, &c->channel) < 0) /* which has closed it */
		return -ENOMEM;
	c->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_client_readable, c);
	c->writable = event_new(base, fd, EV_WRITE, on_client_writable, c);
	c->deadline = evtimer_new(base, on_client_deadline, c);
	if (c->readable == NULL || c->writable == NULL || c->deadline == NULL ||
	    event_add(c->readable, NULL) < 0 || event_add(c->deadline, &wait) < 0) {
		client_close(c);
		return -ENOMEM;
	}
	return 0;
}

/* The file's mode keeps others out already; this also holds when somebody passes the socket on. */
static bool control_peer_allowed(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return false;
	return peer.uid == 0 || peer.uid == geteuid();
}

static void on_accept(evutil_socket_t fd, short what, void *ctx)
{
	struct control *control = ctx;
	cleanup_fd int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)what;
	if (peer < 0 || !control_peer_allowed(peer))
		return;
	for (size_t i = 0; i < ARRAY_LEN(control->clients); i++) {
		if (control->clients[i].channel == NULL) {
			(void)client_open(control, &control->clients[i], fd_steal(&peer));
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
		if (control->accept == NULL)
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
		client_close(&control->clients[i]);
	client_free_event(&control->accept);
	(void)fd_close(control->fd);
	free(control);
	return NULL;
}

/* Frames are for NICs, reads and writes for the others. */
static bool control_counter_fits(enum device_type type, enum device_counter counter)
{
	if (counter >= DEVICE_COUNTER_RX_FRAMES && counter <= DEVICE_COUNTER_TX_DROPPED)
		return type == DEVICE_TYPE_NET;
	return counter > DEVICE_COUNTER_FLUSHES || type != DEVICE_TYPE_NET;
}

static void client_send_counters(struct control_client *c, const struct message_counters *counters)
{
	struct message_control_reply reply = { .more = c->slot < c->last_slot };

	for (uint32_t i = 0; i < counters->n && i < DEVICE_COUNTER_N_; i++) {
		struct control_counter *to = &reply.counters[reply.n_counters];

		if (!control_counter_fits(c->control->vm->config->devices[c->slot].type, i))
			continue;
		reply.n_counters++;

		(void)snprintf(to->device, sizeof(to->device), "%s",
			       c->control->vm->devices[c->slot].process.name);
		(void)snprintf(to->name, sizeof(to->name), "%s",
			       device_page_counter_name((enum device_counter)i));
		to->value = counters->values[i];
	}
	if (!client_send(c, &reply))
		return;
	if (!reply.more) {
		client_close(c);
		return;
	}
	c->slot++;
	client_ask_core(c, MESSAGE_GET_COUNTERS);
}

void control_on_core_answer(struct control *control, const struct message *m)
{
	for (size_t i = 0; i < ARRAY_LEN(control->clients); i++) {
		struct control_client *c = &control->clients[i];

		if (c->channel == NULL || c->seq != m->seq)
			continue;
		(void)event_del(c->deadline);
		c->seq = 0;
		if (m->type == MESSAGE_COUNTERS && m->counters.slot == c->slot)
			client_send_counters(c, &m->counters);
		else if (m->type == MESSAGE_REPLY)
			client_finish(c, m->reply.result,
				      m->reply.result != 0 ? strerror(m->reply.result) : "");
		else
			client_finish(c, EPROTO, "the core's answer does not fit");
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
		if (client_send(c, &reply))
			client_close(c);
	}
}

void control_on_log(struct control *control)
{
	for (size_t i = 0; i < ARRAY_LEN(control->clients); i++) {
		struct control_client *c = &control->clients[i];

		if (c->channel != NULL && c->is_log && !event_pending(c->writable, EV_WRITE, NULL))
			client_log(c);
	}
}
