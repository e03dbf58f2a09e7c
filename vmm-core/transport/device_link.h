/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The core's end of one device: the channel to its process, the cached config space, the device
 * page, and the promise that no vCPU waits for that process beyond a deadline.
 *
 * States:  EMPTY -> STARTING (channel given) -> READY (sealed) -> FAILED (condemned or dead),
 * and from FAILED, after a detach, to STARTING again with a successor process. While a device is
 * not READY but has not been given up, its driver can do everything it could do otherwise, and
 * the successor is told.
 *
 * Whatever the device process does wrong ends like device_link_condemn(): waiting vCPUs are
 * released with an error, the channel is cut, and the event loop makes the failed() upcall, whose
 * owner tells the warden and shows DEVICE_NEEDS_RESET to the driver. device_link.c explains why
 * no thread can wait for ever.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/channel.h"
#include "ipc/device_page.h"
#include "ipc/guest_memory.h"
#include "ipc/message.h"

#define DEVICE_REQUEST_DEADLINE_MS 2000u /* any request of a vCPU; then see events->overdue() */
#define DEVICE_START_DEADLINE_MS 10000u /* from CHILD_ADDED to READY */

enum device_link_state {
	DEVICE_LINK_EMPTY,
	DEVICE_LINK_STARTING, /* also while a successor takes over an active device */
	DEVICE_LINK_HELD, /* said HELLO and waits for device_link_release() */
	DEVICE_LINK_READY,
	DEVICE_LINK_FAILED,
};

enum device_link_result {
	DEVICE_LINK_GONE = 1, /* failed, condemned or timed out: the device is not usable */
	DEVICE_LINK_REFUSED = 2, /* the device lives and said no: the driver has to reset it */
};

struct device_link;

/*
 * What a process gets of the IOMMU's memory (ipc/iommu_memory.h). All fds are borrowed and live as
 * long as the link; n_endpoints > 0: this is the IOMMU itself.
 */
struct device_link_iommu {
	int table_fd; /* writable for the IOMMU, read-only for the others */
	int fault_fd;
	int page_fd; /* of a device behind it; -1 for the IOMMU */
	uint32_t n_endpoints;
	struct {
		struct message_endpoint endpoint;
		int page_fd; /* read-only */
	} endpoints[VM_DEVICES_MAX];
};

/*
 * Upcalls, made by device_link_on_readable() and device_link_detach(), so on the event-loop
 * thread, without the link's lock. They may call anything here but device_link_free().
 */
struct device_link_events {
	void (*ready)(void *ctx, struct device_link *link); /* or HELD */
	void (*failed)(void *ctx, struct device_link *link, const char *reason);
	void (*config_changed)(void *ctx, struct device_link *link);
	/*
	 * The guest broke a queue. Unlike the others: called by whichever thread received the
	 * message, under the link's lock, so that it comes before the end of a reset that was
	 * already on its way. Must not call the link.
	 */
	void (*needs_reset)(void *ctx);
	/*
	 * The IOMMU's process says that the device in @slot, whose number is only checked to be
	 * one, keeps what was unmapped. As needs_reset().
	 */
	void (*endpoint_stalled)(void *ctx, uint32_t slot);
	/*
	 * The driver reset a device that was given up. Likewise on any thread and under the lock.
	 * Return: will another process come, so that the driver may go on?
	 */
	bool (*revive)(void *ctx);
	/*
	 * A successor refused to continue, and will hear of our verdict only after this. Likewise.
	 */
	void (*refused)(void *ctx, const char *reason);
	/*
	 * A request is overdue: is a debugger to blame? device_link_wait_on() says so, within half
	 * of DEVICE_REQUEST_DEADLINE_MS, or the link fails. Likewise.
	 */
	void (*overdue)(void *ctx);
};

/**
 * device_link_new() - one per configured device, before any process exists
 * @gm: guest memory, borrowed, outlives the link
 * @events: borrowed, outlives the link; every member is set
 *
 * Return: 0; -errno of epoll_create1, timerfd_create, pthread initialisation; -ENOMEM.
 */
int must_check device_link_new(uint32_t slot, enum device_type type,
			       const struct guest_memory *gm,
			       const struct device_link_events *events, void *ctx,
			       struct device_link **ret);

/** device_link_set_iommu() - before the first process; @iommu is borrowed for the link's life */
void device_link_set_iommu(struct device_link *link, const struct device_link_iommu *iommu);

/** device_link_free() - when no other thread uses it any more; takes NULL; Return: NULL */
struct device_link *device_link_free(struct device_link *link);

/**
 * device_link_attach() - takes the channel @fd of a new process, also on failure
 * @generation: the incarnation that every message of this process must carry
 *
 * The first process, or a successor after device_link_detach(). A successor's HELLO must repeat
 * its predecessor's; if the device was active it is activated again (ENABLE_QUEUE with resume)
 * before it counts as READY. The caller has made sure that all I/O of the predecessor is over.
 * Return: 0; -EBUSY while a process is attached; -errno. Context: event loop.
 */
int must_check device_link_attach(struct device_link *link, int fd, uint32_t generation);

/**
 * device_link_give_time() - a device that is still starting has its whole deadline from now on
 *
 * For a caller that itself kept the event loop waiting: that time is not the device's fault.
 */
void device_link_give_time(struct device_link *link);

/**
 * device_link_detach() - that process is gone: release waiters, close the channel, become FAILED
 *
 * Nothing of it can touch guest memory or the disk any more. Makes the failed() upcall if that has
 * not happened yet. Nothing happens on an EMPTY link. Context: event loop.
 */
void device_link_detach(struct device_link *link, const char *reason);

/** device_link_absolve() - after detach: was it killed from outside, whatever it was working on? */
void device_link_absolve(struct device_link *link, bool is_blameless);

/**
 * device_link_wait_on() - a debugger has the process: requests may take another
 * DEVICE_REQUEST_DEADLINE_MS from now on, before events->overdue() asks again
 */
void device_link_wait_on(struct device_link *link);

/** device_link_give_up() - after detach: nobody comes, until events->revive() says otherwise */
void device_link_give_up(struct device_link *link);

/**
 * device_link_is_usable() - may a driver go on with this device?
 *
 * False when it was given up, and when a reset could not make sure that the last process touches
 * no guest memory any more.
 */
bool device_link_is_usable(struct device_link *link);

/** device_link_is_dying() - FAILED, and the process may still touch guest memory */
bool device_link_is_dying(struct device_link *link);

/** device_link_hung_up() - FAILED because the process closed its channel: it has ended, or will */
bool device_link_hung_up(struct device_link *link);

/**
 * device_link_hold() - right after attach: say nothing to the process before device_link_release()
 *
 * It is being debugged: its start has no deadline, not even when it was released.
 */
void device_link_hold(struct device_link *link);
void device_link_release(struct device_link *link);

/**
 * device_link_offer() - start the successor of a process that still serves
 * @next: a second link, for nothing but this; attached and started as far as READY (or HELD)
 * @fd, @generation: as for device_link_attach()
 *
 * The successor must say the same HELLO. device_link_detach(@next) calls it off.
 */
int must_check device_link_offer(struct device_link *link, struct device_link *next, int fd,
				 uint32_t generation);

/**
 * device_link_adopt() - after detach: continue with the process of @next, READY or HELD
 * Return: 0; -EBUSY: @next is not that far. Context: event loop.
 */
int must_check device_link_adopt(struct device_link *link, struct device_link *next);

/**
 * device_link_drain() - stop the process' I/O, whatever device_link_pause() says; or undo that
 * Return: 0; DEVICE_LINK_GONE. Context: as device_link_pause().
 */
int must_check device_link_drain(struct device_link *link, bool on);

/**
 * device_link_heartbeat() - look for a sign of life; call it at equal intervals
 * @n: so many calls without one are too many; 2 at least
 * @is_late: the interval before this call was longer than meant: whatever held us up may have held
 *	the process up too, so it does not count
 *
 * A process whose heartbeat word does not move is sent a PING once half of them have passed. Only
 * a READY one counts, and one that is being asked something has the deadline of that.
 * Return: true: no sign of life in @n calls, nor an answer to the PING; again at each call until
 *	there is one.
 */
bool device_link_heartbeat(struct device_link *link, uint32_t n, bool is_late);

/**
 * device_link_fd() - borrow the fd to watch for input; the same one for the link's whole life
 *
 * An epoll fd, level-triggered: readable when the device sent something, when a deadline passed,
 * or when another thread left work for the event loop.
 */
int device_link_fd(const struct device_link *link);

/** device_link_on_readable() - event loop: receive and act on at most 16 messages, then return */
void device_link_on_readable(struct device_link *link);

/** device_link_condemn() - the device broke a rule; any thread; the upcall follows later */
void device_link_condemn(struct device_link *link, const char *reason);

enum device_link_state device_link_get_state(struct device_link *link);
uint32_t device_link_slot(const struct device_link *link);
enum device_type device_link_type(const struct device_link *link);
const struct guest_memory *device_link_memory(const struct device_link *link);

/* What the first HELLO said; constant from then on, a successor must say the same. 0 before. */
uint64_t device_link_features(struct device_link *link);
uint32_t device_link_n_queues(struct device_link *link);
uint32_t device_link_queue_size_max(struct device_link *link);

/** device_link_page() - the device page, mapped until device_link_free(); NULL before HELLO */
struct device_page *device_link_page(struct device_link *link);

/** device_link_config_read() - from the cached copy; bytes past its end read as 0 */
uint64_t device_link_config_read(struct device_link *link, uint32_t offset, unsigned size);

/** device_link_config_write() - writable bytes change the copy and are forwarded, no waiting */
void device_link_config_write(struct device_link *link, uint32_t offset, unsigned size,
			      uint64_t value);

/** device_link_config_generation() - changes whenever the cached copy changed */
uint32_t device_link_config_generation(struct device_link *link);

struct device_link_queue {
	bool ready;
	uint32_t size;
	uint64_t desc, avail, used;
	int kick_fd, call_fd; /* borrowed until the next reset, for a successor */
};

/**
 * device_link_activate() - DRIVER_OK: send features and all ready queues, wait for the replies
 * @queues: @n of them, the place is the queue's index; those not ready are left out
 *
 * While a process is on its way, it is told later and this returns 0.
 * Return: 0; DEVICE_LINK_GONE; DEVICE_LINK_REFUSED.
 * Context: any thread; at most DEVICE_REQUEST_DEADLINE_MS, after that of a request before it.
 */
int must_check device_link_activate(struct device_link *link, uint64_t features,
				    const struct device_link_queue *queues, uint32_t n);

/**
 * device_link_reset() - stop all queues; when it returns 0 the device touches no guest memory
 *
 * Costs no message when the device is not active. Waits for the end of a process that has failed.
 * Whatever it returns, a successor is not activated by itself.
 * Return: 0; DEVICE_LINK_GONE. Context: as device_link_activate(); not on the event loop while
 * device_link_is_dying(), for its end is heard of there.
 */
int must_check device_link_reset(struct device_link *link);

/**
 * device_link_pause(), device_link_resume() - stop and continue all I/O; same rules as reset
 *
 * Cost no message when the device is paused, or not, already; so one thread at a time calls them.
 */
int must_check device_link_pause(struct device_link *link);
int must_check device_link_resume(struct device_link *link);

/** device_link_adjust() - pass on what the user changed, unanswered; Return: 0; DEVICE_LINK_GONE */
int must_check device_link_adjust(struct device_link *link, const struct message_adjust *adjust);
