/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A channel: one SOCK_SEQPACKET socket on which whole messages and fds travel.
 *
 * The peer is not trusted. A frame that is truncated (MSG_TRUNC), lost fds (MSG_CTRUNC), is
 * malformed, has the wrong number of fds or is not permitted by the receiver's table condemns the
 * peer; the channel then refuses all further use. Surplus fds are closed before anything else.
 * Sending never blocks: a peer that does not read fills its socket buffer, the sender gets
 * -EAGAIN and treats the peer as stuck.
 *
 * System calls, for the seccomp lists: channel_new() getsockopt and, by malloc, mmap or brk;
 * channel_free() close and munmap; sending sendmsg; receiving recvmsg and close; waiting poll.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/cleanup.h"
#include "ipc/fdset.h"
#include "ipc/message.h"

enum channel_result {
	CHANNEL_EMPTY = 1, /* nothing to receive now */
	CHANNEL_CLOSED = 2, /* the peer is gone */
	CHANNEL_PEER_BAD = 3, /* the peer broke the protocol: condemn it */
	CHANNEL_TIMEOUT = 4, /* the deadline passed */
};

struct channel; /* owns its fd and a receive buffer */

/** channel_pair() - a connected pair of CLOEXEC, non-blocking SEQPACKET sockets; 0, -errno */
int must_check channel_pair(int *ret_a, int *ret_b);

/**
 * channel_new() - takes @fd, also when it fails; checks that it is a SEQPACKET socket
 * Return: 0, -EINVAL, -ENOMEM
 */
int must_check channel_new(int fd, struct channel **ret);

/** channel_free() - closes the fd; takes NULL; Return: NULL */
struct channel *channel_free(struct channel *ch);

/** channel_fd() - borrow the fd, for poll and event loops */
int channel_fd(const struct channel *ch);

/** channel_fault() - one line about why the peer is bad, for the log; "" when it is not */
const char *channel_fault(const struct channel *ch);

/**
 * channel_has_lost_fds() - is it bad because this process had no room for the fds of a frame?
 *
 * Then the peer may be innocent; what it sent is lost all the same.
 */
bool channel_has_lost_fds(const struct channel *ch);

/**
 * channel_send() - send one message; @fds may be NULL when the type carries none; borrows the fds
 * Return: 0; CHANNEL_CLOSED, while frames that the peer sent before may still be received;
 * -EAGAIN when the peer does not read; CHANNEL_PEER_BAD when it was found bad earlier; -EINVAL for
 * a message outside its ranges or with the wrong number of fds; -errno.
 * Context: any thread; one send at a time per channel (the caller locks). One thread may send
 * while another receives.
 */
int must_check channel_send(struct channel *ch, const struct message *m,
			    const struct fdset *fds);

/**
 * channel_receive() - take one message without waiting
 * @ret_fds: initialised by the caller, cleared first; owns the fds that came along; empty unless
 *	     0 is returned
 * Return: 0; CHANNEL_EMPTY; CHANNEL_CLOSED; CHANNEL_PEER_BAD; -errno.
 */
int must_check channel_receive(struct channel *ch, struct message *ret, struct fdset *ret_fds);

/** channel_receive_wait() - the same, waiting until @deadline_ms (clock_now_ms()); CHANNEL_TIMEOUT */
int must_check channel_receive_wait(struct channel *ch, uint64_t deadline_ms, struct message *ret,
				    struct fdset *ret_fds);

/*
 * Which messages a peer may send is data: a const table per receiver, ended by MESSAGE_NONE.
 * `states` is a bit mask over the receiver's own state enum.
 */
struct message_rule {
	enum message_type type;
	uint32_t states;
	int (*handle)(void *ctx, const struct message *m, struct fdset *fds);
};

/**
 * message_dispatch() - find @m in @rules for @state and call its handler
 * Return: what the handler returned; CHANNEL_PEER_BAD when the table does not permit @m.
 */
int must_check message_dispatch(const struct message_rule *rules, unsigned state, void *ctx,
				const struct message *m, struct fdset *fds);
