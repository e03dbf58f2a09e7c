/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What outlives a bulkhead-vsock: the host sockets of its connections. Runs in the warden.
 *
 * Each process of the device has a link: a channel between it and the warden alone, whose other
 * end it gets with DEVICE_START. The process hands copies of its sockets over once connections
 * are not brand-new, and says when one has ended; its successor gets them all before the core
 * hears of it. The warden reads and writes none of them.
 *
 * The process also asks here for connections that its own uid may not make: folders and sockets
 * on a host commonly admit their owner only. Only PATH_<port> of the socket that the user named
 * can be asked for, which is what the device is for.
 *
 * A takeover needs no descriptor besides those. Should the warden have none for what is handed
 * over, it closes the link and keeps nothing for this process any more, which serves on.
 *
 * Hostile: the process. What it may send is a table, what it may store is bounded, and only
 * connected AF_UNIX stream sockets are kept.
 */
#pragma once

#include "ipc/fdset.h"
#include "vmm-core/warden/child.h"
#include "vmm-core/warden/failure.h"

struct vm;
struct vsock_keeper;

/** vsock_keeper_new() - if the VM has a vsock; Return: 0; FAILED; -ENOMEM */
int must_check vsock_keeper_new(struct vm *vm, struct failure *f);

/** vsock_keeper_free() - closes all that is kept; takes NULL; Return: NULL */
struct vsock_keeper *vsock_keeper_free(struct vsock_keeper *k);

/** vsock_keeper_link() - a link for @child, if it is a vsock; its end is added to @fds */
int must_check vsock_keeper_link(struct vm *vm, const struct child *child, struct fdset *fds);

/**
 * vsock_keeper_serve() - from now on @child serves the guest, if it is a vsock
 *
 * Called when its predecessor is dead, before the core is told. What the predecessor still said
 * is taken, and its sockets are sent on.
 */
void vsock_keeper_serve(struct vm *vm, const struct child *child);

/** vsock_keeper_drop() - nobody will serve @child's guest: its connections end, if it is a vsock */
void vsock_keeper_drop(struct vm *vm, const struct child *child);
