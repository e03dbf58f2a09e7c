/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One client of the control socket, for the files of the control socket alone:
 *
 *	control.c		the socket, who gets a place, whose outcome has come
 *	control_client.c	a connection: its request, frames to it, what it waits for, its end
 *	control_command.c	which command does what; those that act on the VM or a device
 *	control_show.c		those that only look: ps, info, counters, log
 *
 * A command ends with control_client_finish(), or waits: for the core (control_client_ask_core())
 * or for the end of a restart. Every wait has a deadline.
 */
#pragma once

#include "vmm-core/warden/control.h"

struct control_client {
	struct vm *vm;
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

/* --- control_client.c --- */

/** control_client_open() - for the free place @c; takes @fd, and closes it when it fails */
void control_client_open(struct control_client *c, struct vm *vm, int fd);

/** control_client_close() - end the connection, if there is one: the place is free */
void control_client_close(struct control_client *c);

/** control_client_send() - one frame; Return: false when the client is gone, or was dropped */
bool control_client_send(struct control_client *c, const struct message_control_reply *reply);

/** control_client_finish() - the last frame of an answer: 0 or a positive errno value, and words */
void control_client_finish(struct control_client *c, int result, const char *text);

/**
 * control_client_find_device() - which one is meant
 * Return: its slot; -1: there is none of that name, and the client has been told.
 */
int must_check control_client_find_device(struct control_client *c, const char *id);

/** control_client_wait() - from now at most @ms; Return: false when it cannot: the client knows */
bool must_check control_client_wait(struct control_client *c, uint32_t ms);

/** control_client_ask_core() - a request without a body, or about c->slot; the client waits */
void control_client_ask_core(struct control_client *c, enum message_type type);

/** control_client_on_answer() - the core's, to what @c waits for */
void control_client_on_answer(struct control_client *c, const struct message *m);

/* --- control_command.c --- */

/** control_command_run() - do what was asked for; an fd that is needed is taken from @fds */
void control_command_run(struct control_client *c, const struct message_control_request *request,
			 struct fdset *fds);

/* --- control_show.c --- */

/** control_show_vm() - PS, INFO: names, roles, pids, states */
void control_show_vm(struct control_client *c);

/** control_show_counters() - COUNTERS of @device, or of all if it is empty: ask the core */
void control_show_counters(struct control_client *c, const char *device);

/** control_show_counters_of() - pass on what the core said about c->slot, and ask for the next */
void control_show_counters_of(struct control_client *c, const struct message_counters *counters);

/** control_show_log() - LOG of @device, or of all: begin */
void control_show_log(struct control_client *c, const char *device);

/** control_show_log_on() - send the records that @c has not seen, until there is none or no room */
void control_show_log_on(struct control_client *c);
