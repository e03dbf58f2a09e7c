/* SPDX-License-Identifier: Apache-2.0 */
/* Finding the VM and talking to its warden. */
#include "tools/bulkheadctl/ctl.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "ipc/clock.h"

int ctl_fail(const char *fmt, ...)
{
	va_list ap;

	(void)fputs("bulkheadctl: ", stderr);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
	return 1;
}

/* The directory that holds the run dirs, as the warden chooses it. */
static int ctl_runtime_path(char *ret, size_t size)
{
	const char *xdg = getenv("XDG_RUNTIME_DIR");
	int n;

	if (geteuid() == 0)
		n = snprintf(ret, size, "/run/bulkhead");
	else if (xdg != NULL && xdg[0] == '/')
		n = snprintf(ret, size, "%s/bulkhead", xdg);
	else
		n = snprintf(ret, size, "/run/user/%u/bulkhead", (unsigned)geteuid());
	return n < (int)size ? 0 : -ENAMETOOLONG;
}

/* Connect to the socket in @dir; Return: fd; -errno. */
static int ctl_connect_dir(int at, const char *dir)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	cleanup_fd int dir_fd = openat(at, dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	cleanup_fd int fd = -1;

	if (dir_fd < 0)
		return -errno;
	/* Through the directory's fd: its path may be longer than a socket address. */
	(void)snprintf(address.sun_path, sizeof(address.sun_path),
		       "/proc/self/fd/%d/control.sock", dir_fd);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return fd_steal(&fd);
}

/* The one VM that runs; Return: fd; -errno; -ENOENT: none; -ENOTUNIQ: several. */
static int ctl_connect_only(const char *runtime)
{
	cleanup_fd int found = -1;
	DIR *dir = opendir(runtime);
	struct dirent *entry;
	int last = -ENOENT;

	if (dir == NULL)
		return -errno;
	while ((entry = readdir(dir)) != NULL) {
		int fd;

		if (entry->d_name[0] == '.' || strcmp(entry->d_name, "uids") == 0)
			continue;
		fd = ctl_connect_dir(dirfd(dir), entry->d_name);
		if (fd == -EACCES)
			last = fd;
		if (fd < 0)
			continue;
		if (found >= 0) {
			(void)fd_close(fd);
			(void)closedir(dir);
			return -ENOTUNIQ;
		}
		found = fd;
	}
	(void)closedir(dir);
	return found >= 0 ? fd_steal(&found) : last;
}

static int ctl_connect_fault(const char *what, int error)
{
	if (error == -ENOENT || error == -ECONNREFUSED || error == -ENOTDIR)
		return ctl_fail("%s: no such VM is running", what);
	return ctl_fail("%s: %s", what, strerror(-error));
}

int ctl_connect(const struct ctl_target *target, struct channel **ret)
{
	char runtime[2048], path[4096];
	int fd, r;

	if (ctl_runtime_path(runtime, sizeof(runtime)) < 0)
		return ctl_fail("XDG_RUNTIME_DIR: too long");
	if (target->run_dir != NULL) {
		fd = ctl_connect_dir(AT_FDCWD, target->run_dir);
		if (fd < 0)
			return ctl_connect_fault(target->run_dir, fd);
	} else if (target->name != NULL) {
		(void)snprintf(path, sizeof(path), "%s/%s", runtime, target->name);
		fd = ctl_connect_dir(AT_FDCWD, path);
		if (fd < 0)
			return ctl_connect_fault(target->name, fd);
	} else {
		fd = ctl_connect_only(runtime);
		if (fd == -ENOENT)
			return ctl_fail("no VM of this user is running; see --run-dir");
		if (fd == -ENOTUNIQ)
			return ctl_fail("several VMs are running: choose one by --name");
		if (fd < 0)
			return ctl_connect_fault(runtime, fd);
	}
	r = channel_new(fd, ret);
	return r < 0 ? ctl_fail("%s", strerror(-r)) : 0;
}

static int ctl_send(struct channel *ch, const struct message_control_request *request,
		    const char *device, const struct fdset *fds)
{
	struct message m = {
		.type = MESSAGE_CONTROL_REQUEST, .seq = 1, .control_request = *request
	};
	int r;

	m.control_request.protocol = PROTOCOL_VERSION;
	if (strlen(device) >= sizeof(m.control_request.device))
		return ctl_fail("%s: no such device", device);
	(void)snprintf(m.control_request.device, sizeof(m.control_request.device), "%s", device);
	r = channel_send(ch, &m, fds);
	if (r == -EINVAL)
		return ctl_fail("%s: no such device", device);
	if (r != 0)
		return ctl_fail("the warden does not listen: %s",
				r < 0 ? strerror(-r) : "connection closed");
	return 0;
}

int ctl_request(struct channel *ch, enum control_command command, const char *device)
{
	const struct message_control_request request = { .command = command };

	return ctl_send(ch, &request, device, NULL);
}

int ctl_request_text(struct channel *ch, enum control_command command, const char *device,
		     const char *text)
{
	struct message_control_request request = { .command = command };

	(void)snprintf(request.text, sizeof(request.text), "%s", text);
	return ctl_send(ch, &request, device, NULL);
}

int ctl_request_restart(struct channel *ch, const char *device, const char *program,
			bool is_stopped)
{
	cleanup_fdset struct fdset fds = FDSET_EMPTY;
	struct message_control_request request = {
		.command = CONTROL_RESTART,
		.has_program = program != NULL,
		.is_stopped = is_stopped,
	};
	struct stat st;
	int fd;

	if (program != NULL) {
		fd = open(program, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		if (fd < 0)
			return ctl_fail("--binary %s: %s", program, strerror(errno));
		if (fdset_add(&fds, fd) < 0 || fstat(fd, &st) < 0)
			return ctl_fail("--binary %s: %s", program, strerror(errno));
		if (!S_ISREG(st.st_mode))
			return ctl_fail("--binary %s: not a regular file", program);
		if (faccessat(fd, "", X_OK, AT_EMPTY_PATH | AT_EACCESS) < 0)
			return ctl_fail("--binary %s: %s", program, strerror(errno));
	}
	return ctl_send(ch, &request, device, &fds);
}

int ctl_answer_processes(struct channel *ch, struct ctl_processes *ret)
{
	struct message_control_reply reply;
	int r;

	ret->n = 0;
	do {
		r = ctl_answer(ch, clock_now_ms() + CTL_ANSWER_DEADLINE_MS, &reply);
		if (r != 0)
			return r;
		if (ret->n == 0)
			ret->vm = reply;
		for (uint32_t i = 0; i < reply.n_processes && ret->n < CTL_PROCESSES_MAX; i++)
			ret->told[ret->n++] = reply.processes[i];
	} while (reply.more);
	return 0;
}

int ctl_answer(struct channel *ch, uint64_t deadline_ms, struct message_control_reply *ret)
{
	cleanup_fdset struct fdset fds = FDSET_EMPTY;
	struct message m;
	int r;

	do {
		uint64_t step = deadline_ms != UINT64_MAX ? deadline_ms : clock_now_ms() + 60000;

		r = channel_receive_wait(ch, step, &m, &fds);
	} while (r == CHANNEL_TIMEOUT && deadline_ms == UINT64_MAX);
	if (r == CHANNEL_CLOSED)
		return ctl_fail("the warden closed the connection");
	if (r == CHANNEL_TIMEOUT)
		return ctl_fail("the warden does not answer");
	if (r == CHANNEL_PEER_BAD || (r == 0 && m.type != MESSAGE_CONTROL_REPLY))
		return ctl_fail("the warden's answer does not make sense");
	if (r != 0)
		return ctl_fail("%s", strerror(-r));
	if (m.control_reply.result != 0)
		return ctl_fail("%s", m.control_reply.text[0] != '\0' ?
					      m.control_reply.text :
					      strerror(m.control_reply.result));
	*ret = m.control_reply;
	return 0;
}

void ctl_wait_close(struct channel *ch)
{
	struct pollfd p = { .fd = channel_fd(ch), .events = POLLIN };

	(void)poll(&p, 1, 1000);
}
