/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side of a connection: AF_UNIX stream sockets. Every call that can wait is made so
 * that it does not. Runs in bulkhead-vsock, sealed.
 *
 * The folder of the socket PATH is the root of this process's file system: PATH_<port> is
 * "/NAME_<port>". Host programs are not trusted with more than their own connection.
 */
#pragma once

#include <stdint.h>
#include <sys/un.h>

#include "device-procs/vsock/vsock_packet.h"

struct vsock_host {
	int listener; /* owned; PATH itself */
	int epoll_fd; /* owned; all other sockets, edge-triggered, by slot */
	struct sockaddr_un address; /* "/NAME_" and room for a port */
	uint32_t prefix_len;
};

/** vsock_host_init() - take the listener; before the sandbox; Return: 0; -errno */
int must_check vsock_host_init(struct vsock_host *h, int listener);

/** vsock_host_accept() - the next client; Return: owned fd; -EAGAIN: none; -errno */
int vsock_host_accept(struct vsock_host *h);

/**
 * vsock_host_connect() - connect to PATH_<port>
 * Return: owned fd, connected; -EAGAIN: the listener's backlog is full; -errno.
 */
int vsock_host_connect(struct vsock_host *h, uint32_t port);

/** vsock_host_watch() - report input and the peer's end for @slot; Return: 0; -errno */
int must_check vsock_host_watch(struct vsock_host *h, int fd, uint16_t slot);

/** vsock_host_watch_output() - also report, or not any more, that output is possible */
int must_check vsock_host_watch_output(struct vsock_host *h, int fd, uint16_t slot, bool on);

/**
 * vsock_host_close() - close a connection, also for holders of copies of the fd
 * @is_kept: there are such
 */
void vsock_host_close(struct vsock_host *h, int fd, bool is_kept);

/** vsock_host_send() - Return: bytes taken, 0 when the socket is full; -errno: it is broken */
int vsock_host_send(int fd, struct iovec *iov, uint32_t n);

/**
 * vsock_host_receive()
 * @ret_is_drained: set when the socket is known to be empty now
 * Return: bytes; 0: the peer sends no more; -EAGAIN: nothing there; -errno.
 */
int vsock_host_receive(int fd, struct iovec *iov, uint32_t n, bool *ret_is_drained);

/**
 * vsock_host_command() - read a client's "CONNECT <port>\n" and not a byte more
 * Return: 0; -EAGAIN: not whole yet; -EPROTO: it is something else; -errno.
 */
int vsock_host_command(int fd, uint32_t *ret_port);

/** vsock_host_confirm() - tell a client "OK <port>\n"; Return: 0; -errno */
int must_check vsock_host_confirm(int fd, uint32_t port);
