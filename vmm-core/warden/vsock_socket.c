/* SPDX-License-Identifier: Apache-2.0 */
/* See vsock_socket.h. Runs in the warden before anything is spawned, and once at the end. */
#include "vmm-core/warden/vsock_socket.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "ipc/shared_memory.h"
#include "ipc/vm_config.h"

static int socket_fail(struct failure *f, const char *path, const char *reason)
{
	return failure_set(f, STATUS_FAILED, "--vsock socket=%s: %s", path, reason);
}

const char *vsock_socket_path_fault(const char *path)
{
	size_t len = strlen(path);

	if (len + VSOCK_PORT_SUFFIX_MAX >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return "too long: with _PORT behind it, 107 bytes must do";
	if (len == 0 || path[len - 1] == '/')
		return "names a folder, not a socket";
	return NULL;
}

static int open_folder(const char *path, struct fdset *ret_fds, struct failure *f)
{
	const char *slash = strrchr(path, '/');
	cleanup_free char *folder = NULL;
	int fd;

	folder = slash == NULL ? strdup(".") :
		 slash == path ? strdup("/") :
				 strndup(path, (size_t)(slash - path));
	if (folder == NULL)
		return -ENOMEM;
	fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return failure_set(f, STATUS_FAILED, "--vsock socket=%s: folder %s: %s", path,
				   folder, strerror(errno));
	return fdset_add(ret_fds, fd);
}

static int open_listener(const char *path, struct vsock_socket *s, struct fdset *ret_fds,
			 struct failure *f)
{
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct stat st;

	if (fd < 0)
		return socket_fail(f, path, strerror(errno));
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return socket_fail(f, path, errno == EADDRINUSE ?
						    "exists already; remove it if no VM uses it" :
						    strerror(errno));
	if (lstat(path, &st) < 0)
		return socket_fail(f, path, strerror(errno));
	*s = (struct vsock_socket){ .path = path, .dev = st.st_dev, .ino = st.st_ino };
	if (listen(fd, SOMAXCONN) < 0)
		return socket_fail(f, path, strerror(errno));
	return fdset_add(ret_fds, fd_steal(&fd));
}

int vsock_socket_open(const char *path, struct vsock_socket *s, struct fdset *ret_fds,
		      struct failure *f)
{
	cleanup_fdset struct fdset folder = FDSET_EMPTY;
	int r = open_folder(path, &folder, f); /* first: its absence is the clearer message */
	int fd;

	if (r == 0)
		r = open_listener(path, s, ret_fds, f);
	if (r == 0)
		r = fdset_add(ret_fds, fdset_steal(&folder, 0));
	if (r != 0)
		return r;
	fd = shared_memory_create("vsock", VM_VSOCK_RINGS_BYTES, 0);
	return fd < 0 ? fd : fdset_add(ret_fds, fd);
}

void vsock_socket_remove(struct vsock_socket *s)
{
	struct stat st;

	if (s->path != NULL && lstat(s->path, &st) == 0 && st.st_dev == s->dev &&
	    st.st_ino == s->ino)
		(void)unlink(s->path);
	s->path = NULL;
}
