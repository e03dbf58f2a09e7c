/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of struct device_link, shared by device_link.c (life, receiving), device_hello.c
 * (start of a process), device_successor.c (one process after the other), device_request.c
 * (requests and waiting) and device_config.c (config space).
 * Unit tests use it to shorten the deadlines; nobody else includes it.
 *
 * Functions named link_*() want link->lock held.
 */
#pragma once

#include <pthread.h>

#include "vmm-core/transport/device_link.h"

#define LINK_RECEIVE_BUDGET 16u /* messages per device_link_on_readable() */

/*
 * Messages that nobody asked for, per second. A device sends one per change of its config space,
 * so a handful per minute is normal; more than this only costs the core time.
 */
#define LINK_UNSOLICITED_MAX 64u
#define LINK_UNSOLICITED_WINDOW_MS 1000u

/* States of the message table; device_link_get_state() shows the coarser public ones. */
enum link_phase {
	LINK_EMPTY, /* never had a process */
	LINK_WAIT_HELLO,
	LINK_HELD, /* SETUP will be sent at device_link_release() */
	LINK_WAIT_READY, /* SETUP was sent */
	LINK_RESUMING, /* a successor is being activated as its predecessor was */
	LINK_READY,
	LINK_FAILED,
};

/* Upcalls that device_link_on_readable() still has to make. */
#define LINK_PENDING_READY 0x1u
#define LINK_PENDING_CONFIG 0x2u
#define LINK_PENDING_FAILED 0x4u

/* What a successor has to be told to continue where its predecessor stopped. */
struct link_activation {
	bool active; /* between a successful activation and the next reset */
	uint64_t features;
	uint32_t n;
	struct device_link_queue queues[DEVICE_QUEUES_MAX]; /* fds borrowed */
};

/* Requests on their way: answered in the order they were sent, under one deadline. */
struct link_batch {
	bool busy; /* somebody owns the batch; others wait for their turn */
	uint32_t expect_seq; /* of the next reply */
	uint32_t n_left; /* replies outstanding */
	int32_t error; /* the first refusal, a positive errno value */
};

struct link_config {
	uint32_t len;
	uint32_t generation;
	bool written; /* by the driver, since the last reset */
	uint8_t now[DEVICE_CONFIG_SPACE_MAX]; /* what the driver reads */
	uint8_t device[DEVICE_CONFIG_SPACE_MAX]; /* what the device said; written bytes return to it */
	uint8_t writable[DEVICE_CONFIG_SPACE_MAX]; /* the bits that the driver may write */
};

struct device_link {
	/* Constant after device_link_new(). */
	uint32_t slot;
	enum device_type type;
	const struct guest_memory *gm;
	const struct device_link_iommu *iommu; /* NULL: has nothing to do with it */
	const struct device_link_events *events;
	void *ctx;
	uint32_t request_deadline_ms;
	uint32_t start_deadline_ms;
	int epoll_fd; /* device_link_fd(): becomes readable for the channel and the alarm */
	int alarm_fd; /* timerfd: the deadline below, or "at once" when another thread has news */

	pthread_mutex_t lock; /* protects all below; never held over anything that can block */
	pthread_cond_t cond; /* the batch or the pump was given up, or the link failed */

	enum link_phase phase;
	uint32_t epoch; /* counts failures: a waiter that sees another value is released */
	uint32_t generation;
	struct channel *channel; /* from attach to detach */
	bool is_alarm_late; /* until the event loop, which holds the lock, is done */
	bool pumping; /* a requester polls the channel; nobody else receives meanwhile */
	uint64_t deadline_ms; /* for READY, or for the replies of LINK_RESUMING; 0: none */
	bool is_held; /* wait after HELLO */
	bool is_patient; /* a debugger may hold the process up: its start has no deadline */
	bool is_candidate; /* of device_link_offer(): identity and page are another link's */
	bool has_hung_up; /* FAILED by a closed channel */
	bool is_gone; /* no process, and nothing of the last one can land any more */
	bool is_given_up;
	bool is_unfenced; /* a reset did not see the last process' end */
	bool is_blameless; /* the last process was not ended by what it worked on */
	uint64_t traced_until_ms; /* a debugger has it, the warden says: requests may take so long */
	uint64_t last_heartbeat;
	uint32_t n_silent; /* calls of device_link_heartbeat() since it moved */
	uint32_t ping_seq; /* 0: none is on its way */
	uint32_t pending; /* LINK_PENDING_* */
	char reason[MESSAGE_TEXT_MAX]; /* why it FAILED */
	uint64_t unsolicited_since_ms;
	uint32_t n_unsolicited;
	uint32_t n_needs_reset; /* since the last activation, not counted as unsolicited */

	uint32_t next_seq;
	struct link_batch batch;
	struct link_activation activation;
	bool touched; /* this process was told something that a reset has to undo */
	bool paused;

	/* What the first HELLO said, which every successor must repeat. */
	bool identified;
	uint64_t features;
	uint32_t n_queues;
	uint32_t queue_size_max;
	uint32_t state_size;
	struct device_page *page; /* outlives the processes */
	int page_fd;
	struct link_config config;
};

static inline struct device_page_shape link_page_shape(const struct device_link *link)
{
	return (struct device_page_shape){ link->n_queues, link->state_size };
}

/* device_link.c */

/** link_fail() - become FAILED once: release waiters, cut the channel, leave the upcall pending */
void link_fail(struct device_link *link, const char *fmt, ...) printf_like(2, 3);

/** link_raise() - leave an upcall for the event loop and wake it; any thread */
void link_raise(struct device_link *link, uint32_t pending);

/** link_set_deadline() - the event loop fails the link at @deadline_ms; 0: no deadline */
void link_set_deadline(struct device_link *link, uint64_t deadline_ms);

/** link_message() - an empty message of @type with the current generation and no seq */
struct message link_message(const struct device_link *link, enum message_type type);

/** link_send() - send or fail the link; Return: 0; DEVICE_LINK_GONE */
int must_check link_send(struct device_link *link, const struct message *m,
			 const struct fdset *fds);

/** link_receive() - act on at most LINK_RECEIVE_BUDGET messages, without waiting */
void link_receive(struct device_link *link);

/** link_is_behind_iommu() - are the addresses that the driver gives this device I/O addresses? */
static inline bool link_is_behind_iommu(const struct device_link *link)
{
	return link->iommu != NULL && link->iommu->n_endpoints == 0;
}

/** link_is_up() - may requests and config writes be sent? */
static inline bool link_is_up(const struct device_link *link)
{
	return link->phase == LINK_READY || link->phase == LINK_RESUMING;
}

/** link_is_coming() - nobody serves, but a process starts, or will be started */
static inline bool link_is_coming(const struct device_link *link)
{
	return link->phase != LINK_EMPTY && !link_is_up(link) && !link->is_given_up &&
	       !link->is_unfenced;
}

/* device_hello.c: handlers of the message table */
int link_on_hello(void *ctx, const struct message *m, struct fdset *fds);
int link_on_ready(void *ctx, const struct message *m, struct fdset *fds);

/** device_hello_check() - pure; Return: NULL when acceptable, else what is wrong with it */
const char *device_hello_check(const struct message_hello *hello, enum device_type type,
			       bool behind_iommu);

/**
 * device_hello_features() - pure: the part of the offered bits that the driver gets to see
 * @behind_iommu: VIRTIO_F_ACCESS_PLATFORM is one of them
 */
uint64_t device_hello_features(uint64_t offered, bool behind_iommu);

/** link_send_setup() - after HELLO; fails the link */
void link_send_setup(struct device_link *link);

/* device_request.c */
int link_on_reply(void *ctx, const struct message *m, struct fdset *fds);

/** link_resume_begin() - activate a successor as its predecessor was; replies arrive later */
void link_resume_begin(struct device_link *link);

/** link_request() - a request that no honest device refuses; Return: 0; DEVICE_LINK_GONE */
int must_check link_request(struct device_link *link, enum message_type type);

/** link_ping() - ask for a sign of life, without waiting */
void link_ping(struct device_link *link);

/* device_successor.c */

/** link_await_end() - FAILED: wait until the process is gone; Return: 0; DEVICE_LINK_GONE */
int must_check link_await_end(struct device_link *link);

/* device_config.c */
int link_on_config_changed(void *ctx, const struct message *m, struct fdset *fds);

/** link_config_adopt() - take the config space of a checked HELLO */
void link_config_adopt(struct device_link *link, const struct message_hello *hello);

/** link_config_succeed() - take the config space of a successor, but what the driver wrote */
void link_config_succeed(struct device_link *link, const uint8_t *bytes);

/** link_config_replay() - tell a successor what the driver wrote; Return: 0; DEVICE_LINK_GONE */
int must_check link_config_replay(struct device_link *link);

/** link_config_reset() - forget what the driver wrote */
void link_config_reset(struct device_link *link);
