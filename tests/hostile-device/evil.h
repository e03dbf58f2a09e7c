/* SPDX-License-Identifier: Apache-2.0 */
/*
 * evil-blk: a disk process that misbehaves on purpose. It takes the place of bulkhead-blk in a
 * copy of the programs, starts the normal way, and plays a simple honest disk except for one
 * action at one step. The first sector of its image names them: "mode=STEP:ACTION".
 *
 * It enters the real sandbox but never seals itself: neither the core nor the warden may depend
 * on the seccomp list of a process that is evil.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "device-procs/common/virtqueue.h"
#include "ipc/fdset.h"
#include "ipc/message.h"

#define EVIL_CHANNEL_FD 3
#define EVIL_PAGE_SHAPE ((struct device_page_shape){ .n_queues = 1 })
#define EVIL_CONFIG_LEN 60u
#define EVIL_SPANS 8u

/* Where an action strikes, in the order of a normal life. */
enum evil_step {
	STEP_HELLO, /* instead of HELLO */
	STEP_SETUP, /* HELLO was sent */
	STEP_MAPPED, /* SETUP has arrived */
	STEP_READY, /* READY was sent */
	STEP_FEATURES, /* SET_FEATURES has arrived; and so on: before its normal answer */
	STEP_ENABLE,
	STEP_RESET,
	STEP_PAUSE,
	STEP_CONFIG,
	STEP_REQUEST, /* a request was taken from the queue */
	STEP_SERVED, /* it was answered */
	STEP_N_,
};

enum evil_next {
	NEXT_GO_ON, /* with what an honest device does at this step */
	NEXT_SKIP, /* the action took its place */
};

struct evil {
	enum evil_step step;
	enum evil_next (*action)(struct evil *e);
	bool is_once; /* the action strikes only once */

	uint32_t generation;
	uint32_t seq; /* of the request that is being handled */
	uint32_t n_seen; /* messages of the core */
	struct message message; /* the last one received */
	struct fdset fds; /* that came along */
	int parent_pidfd, root_fd, network_fd; /* what the sandbox is entered with */
	uint32_t uid, gid;

	struct device_page *page;
	struct guest_memory *gm;
	int page_fd, ram_fd; /* as the core gave them */
	struct virtqueue vq;
	uint64_t features;
	int kick_fd, call_fd; /* -1: no queue */
};

/* evil_wire.c: frames, right and wrong. They wait while the core's queue is full. */

struct wire {
	uint8_t bytes[2 * MESSAGE_FRAME_MAX];
	size_t len;
};

void wire_number(struct wire *w, uint32_t field, uint64_t value);
void wire_bytes(struct wire *w, uint32_t field, const void *data, size_t len);
void wire_wrap(struct wire *w, uint32_t field, const struct wire *body);
void wire_envelope(const struct evil *e, struct wire *w, uint32_t seq);

/* Return: false when the kernel or the core refuses it for good */
bool evil_send_bytes(const void *data, size_t len, const int *fds, size_t n_fds);
void evil_send_wire(const struct wire *w);
void evil_send(const struct evil *e, const struct message *m, const int *fds, size_t n_fds);
void evil_send_empty(const struct evil *e, enum message_type type);
void evil_reply(const struct evil *e, uint32_t seq, int32_t result);
void evil_hello(const struct evil *e);
/* The honest HELLO; the actions change it before it goes out. */
struct message evil_hello_message(void);

/* evil_serve.c */

void evil_die(const char *what) __attribute__((noreturn));
/* Do nothing until somebody kills this process. */
void evil_stay(void) __attribute__((noreturn));
/* Do the action if this is its step. */
enum evil_next evil_at(struct evil *e, enum evil_step step);
/* Receives into e->message; waits as long as it takes. The core's end is ours. */
void evil_receive(struct evil *e);
void evil_serve(struct evil *e) __attribute__((noreturn));
void evil_sandbox(struct evil *e);

/* evil_modes.c, evil_hello.c, evil_page.c, evil_forge.c */

struct evil_action {
	const char *name;
	enum evil_next (*act)(struct evil *e);
	bool is_once;
};

extern const struct evil_action evil_actions[]; /* end with a NULL name */
extern const struct evil_action evil_hello_actions[];
extern const struct evil_action evil_page_actions[];
extern const struct evil_action evil_forge_actions[];

bool evil_mode(const char *text, struct evil *e);
