/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fence between a dead device process and its successor: proof that no I/O of the dead one can
 * still reach guest memory or the disk. Runs in the warden, on its event loop.
 *
 * DOC: Why it is sufficient
 *
 * A sealed device process has two ways to do I/O.
 *
 * System calls. Its pidfd becomes readable only after its last thread, and every kernel worker of
 * its ring, has left the kernel; no system call of it is under way then.
 *
 * One io_uring, whose requests live on in the block layer. It cannot have another: the seccomp
 * filter lets it make none. This one is made here, before the fork, and inherited by exec, so
 * that the warden holds a descriptor of it from before the process' first instruction, and the
 * ring outlives the process. The kernel counts every submission it takes and every completion it
 * posts in memory of its own, and shows both numbers in fdinfo; the ring's shared memory, which
 * the device process can write, is not looked at. A request takes exactly one submission and
 * posts exactly one completion, after its last byte has landed: multishot operations, requests
 * that skip their completion and linked ones are ruled out by the ring's restrictions
 * (blk_engine.c). So once
 *
 *	submissions taken == completions posted + completions that overflowed
 *
 * nothing is under way, and as nobody is left who could submit, nothing ever will be.
 *
 * A process that was taken over can make that equation fail for ever (submission entries that the
 * kernel drops), never hold too early. That ends with FENCE_DEADLINE_MS and a device without a
 * successor: time alone never opens the fence.
 */
#pragma once

#include <stdint.h>

#include "ipc/cleanup.h"
#include "ipc/message.h"

struct event;
struct event_base;

#define FENCE_DEADLINE_MS 60000u /* a disk that takes longer has lost the device */
#define FENCE_RECHECK_MS 1u /* should the ring's own event not come */

enum fence_result {
	FENCE_PENDING = 1,
};

/** fence_done_fn - @r: 0 nothing can land any more; -ETIMEDOUT or -errno: start no successor */
typedef void fence_done_fn(void *ctx, int r);

struct fence {
	int ring_fd; /* owned; -1: this process has no ring */
	uint64_t ring[RING_PARAMS_N]; /* how it is mapped */
	/* while waiting */
	struct event *completion, *recheck;
	uint64_t deadline_ms;
	fence_done_fn *done;
	void *ctx;
};

#define FENCE_INIT ((struct fence){ .ring_fd = -1 })

/**
 * fence_open() - before a device process is started: make its ring, if its type has one
 * @config: of the device
 *
 * One fence per process, standby processes included. The process inherits @ret->ring_fd as
 * DEVICE_RING_FD (spawn()) and learns from DEVICE_START how to map it (fence_describe()).
 * Return: 0, also when there is no ring; -errno of io_uring_setup.
 */
int must_check fence_open(const struct device_config *config, struct fence *ret);

/** fence_describe() - fill in DEVICE_START.ring */
void fence_describe(const struct fence *fence, struct message_device_start *start);

/**
 * fence_look() - is all I/O of the process over? Only once it is dead (its pidfd was readable)
 * Return: 0; FENCE_PENDING; -errno: the kernel does not tell.
 */
int must_check fence_look(const struct fence *fence);

/**
 * fence_wait() - have @done called once the I/O of the dead process is over, or cannot be waited for
 *
 * Return: 0: it is over already, @done will not be called; FENCE_PENDING: @done will be called from
 * the event loop, once; -errno: start no successor.
 */
int must_check fence_wait(struct fence *fence, struct event_base *base, fence_done_fn *done,
			  void *ctx);

/** fence_close() - stop waiting, give up the ring; takes what fence_open() made, or FENCE_INIT */
void fence_close(struct fence *fence);
