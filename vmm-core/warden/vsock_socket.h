/* SPDX-License-Identifier: Apache-2.0 */
/* The host's end of --vsock: the socket that clients connect to, and its folder. Warden. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "ipc/fdset.h"
#include "vmm-core/warden/failure.h"

#define VSOCK_PORT_SUFFIX_MAX 11u /* "_4294967295" */

struct vsock_socket {
	const char *path; /* borrowed; NULL: there is none */
	dev_t dev; /* of the socket that we made */
	ino_t ino;
};

/** vsock_socket_path_fault() - why no socket, or no PATH_<port>, can have this path; NULL: fine */
const char *vsock_socket_path_fault(const char *path);

/**
 * vsock_socket_open() - make the listening socket; the path must not exist
 * @ret_fds: gets the listener, the folder as O_PATH, and a memfd of VM_VSOCK_RINGS_BYTES for
 *	     what is under way to the host
 * Return: 0; FAILED; -errno.
 */
int must_check vsock_socket_open(const char *path, struct vsock_socket *s, struct fdset *ret_fds,
				 struct failure *f);

/** vsock_socket_remove() - unlink the path, if it still is our socket */
void vsock_socket_remove(struct vsock_socket *s);
