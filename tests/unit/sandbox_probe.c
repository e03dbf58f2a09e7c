/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program that goes through the same lock-down as a device's program, bulkhead-blk if no other is
 * named, with its very filter, and then does one forbidden thing. Run as root, or as root of a user
 * namespace that has ids to give:
 *
 *	sandbox_probe ACT [--program NAME [--folder PATH]] [--uid N] [--log]
 *
 * With --folder it is locked down in that folder, as bulkhead-vsock is.
 *
 * The first process plays the warden: it spawns itself into a new pid and net namespace and
 * prints how the child ended:  "signal N", "exit N", or "started: step: error".
 * The child's exit status is 0 when the act was refused with the expected errno, 10 when it
 * succeeded, 11 when it failed in an unexpected way. Every act that the filter covers must end by
 * SIGSYS instead. ACT "none" shows that the sealed process still works; "list" names all acts.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/filters.h"
#include "sandbox/sanitizer_options.h"

#define REPORT_FD 3 /* where the channel would be: the child says how far it came */
#define WARDEN_FD 4
#define MAX_FDS 8 /* 0..3 and four more */

enum { REFUSED = 0, ALLOWED = 10, ODD = 11, NOT_SANDBOXED = 12 };

static int refused_with(long r, int expected)
{
	if (r >= 0)
		return ALLOWED;
	return errno == expected ? REFUSED : ODD;
}

static int act_none(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return ODD;
	*(volatile char *)p = 1;
	return munmap(p, 4096) < 0 ? ODD : 0;
}

static int act_open(void)
{
	return refused_with(syscall(SYS_openat, AT_FDCWD, "/", O_RDONLY), -1);
}

static int act_open_old(void)
{
	return refused_with(syscall(SYS_open, "/dev/null", O_RDONLY), -1);
}

static int act_socket(void)
{
	return refused_with(syscall(SYS_socket, AF_INET, SOCK_STREAM, 0), -1);
}

static int act_ptrace(void)
{
	return refused_with(syscall(SYS_ptrace, PTRACE_TRACEME, 0, 0, 0), -1);
}

static int act_execve(void)
{
	char *const none[] = { NULL };

	return refused_with(syscall(SYS_execve, "/bin/true", none, none), -1);
}

static int act_fork(void)
{
	return refused_with(syscall(SYS_fork), -1);
}

static int act_clone(void)
{
	return refused_with(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0), -1);
}

static int act_clone3(void)
{
	return refused_with(syscall(SYS_clone3, NULL, 0), -1);
}

static int act_mmap_exec(void)
{
	return refused_with(syscall(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
			    -1);
}

static int act_mprotect_exec(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return refused_with(syscall(SYS_mprotect, p, 4096, PROT_READ | PROT_EXEC), -1);
}

static int act_io_uring_setup(void)
{
	struct io_uring_params p = { 0 };

	return refused_with(syscall(SYS_io_uring_setup, 4, &p), -1);
}

static int act_io_uring_register(void)
{
	return refused_with(syscall(SYS_io_uring_register, 0, 0, 0, 0), -1);
}

static int act_kill(void)
{
	return refused_with(syscall(SYS_kill, 1, 0), -1);
}

static int act_unshare(void)
{
	return refused_with(syscall(SYS_unshare, CLONE_NEWUSER), -1);
}

static int act_mount(void)
{
	return refused_with(syscall(SYS_mount, "none", "/", "tmpfs", 0, NULL), -1);
}

static int act_setuid(void)
{
	return refused_with(syscall(SYS_setuid, 0), -1);
}

static int act_ioctl(void)
{
	int n;

	return refused_with(syscall(SYS_ioctl, 0, FIONREAD, &n), -1);
}

/* Acts that one program needs and the others may not do. The kernel refuses them: no such fd. */
static int act_ioctl_tun_offload(void)
{
	return syscall(SYS_ioctl, -1, TUNSETOFFLOAD, 0) < 0 && errno == EBADF ? 0 : ODD;
}

static int act_ioctl_tun_attach(void)
{
	return refused_with(syscall(SYS_ioctl, -1, TUNSETIFF, NULL), -1);
}

static int act_ioctl_window_size(void)
{
	return syscall(SYS_ioctl, -1, TIOCGWINSZ, 0) < 0 && errno == EBADF ? 0 : ODD;
}

static int act_ioctl_type_for_user(void)
{
	return refused_with(syscall(SYS_ioctl, -1, TIOCSTI, "x"), -1);
}

static int act_getrandom(void)
{
	char byte;

	return syscall(SYS_getrandom, &byte, 1, 0) == 1 ? 0 : ODD;
}

static int act_accept(void)
{
	return syscall(SYS_accept4, -1, NULL, NULL, SOCK_CLOEXEC) < 0 && errno == EBADF ? 0 : ODD;
}

static int act_writev(void)
{
	return syscall(SYS_writev, -1, NULL, 0) < 0 && errno == EBADF ? 0 : ODD;
}

static int act_connect(void)
{
	return syscall(SYS_connect, -1, NULL, 0) < 0 && errno == EBADF ? 0 : ODD;
}

static int act_socket_unix(void)
{
	return refused_with(syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0), -1);
}

static int act_socket_packet(void)
{
	return refused_with(syscall(SYS_socket, AF_PACKET, SOCK_RAW, 0), -1);
}

static int act_socket_inet6(void)
{
	return refused_with(syscall(SYS_socket, AF_INET6, SOCK_STREAM, 0), -1);
}

static int act_dup(void)
{
	return refused_with(syscall(SYS_dup, 0), -1);
}

static int act_process_vm_readv(void)
{
	return refused_with(syscall(SYS_process_vm_readv, 1, NULL, 0, NULL, 0, 0), -1);
}

static int act_bpf(void)
{
	return refused_with(syscall(SYS_bpf, 0, NULL, 0), -1);
}

/* The x32 ABI: the same numbers with bit 30 set. getpid would be harmless, if it were reached. */
static int act_x32(void)
{
	return refused_with(syscall(0x40000000 + SYS_getpid), -1);
}

/* The i386 ABI: number 20 is getpid there and writev here. */
static int act_i386(void)
{
	long r;

	__asm__ volatile("int $0x80" : "=a"(r) : "a"(20) : "memory", "r8", "r9", "r10", "r11");
	return refused_with(r, -1);
}

/*
 * An fd too many can only come over the channel: RLIMIT_NOFILE makes the kernel drop it. Two
 * sockets were made before the lock-down: one end sends, the other receives without bound.
 */
static int pair[2] = { -1, -1 };

static int act_fd_too_many(void)
{
	int i;

	for (i = 0; i < MAX_FDS + 4; i++) {
		char byte = 0, control[CMSG_SPACE(sizeof(int))] = { 0 };
		struct iovec iov = { &byte, 1 };
		struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
				    .msg_controllen = sizeof(control) };
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		int zero = 0;

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &zero, sizeof(int));
		if (sendmsg(pair[0], &m, 0) != 1)
			return ODD;
		m.msg_control = control;
		m.msg_controllen = sizeof(control);
		if (recvmsg(pair[1], &m, MSG_CMSG_CLOEXEC) != 1)
			return ODD;
		if (m.msg_flags & MSG_CTRUNC)
			return i < MAX_FDS ? REFUSED : ODD;
	}
	return ALLOWED;
}

/* A file may not grow at all when params.file_size_max is 0: EFBIG and SIGXFSZ. */
static int file = -1;

static int act_grow_file(void)
{
	struct iovec iov = { (char[]){ "x" }, 1 };

	return refused_with(syscall(SYS_pwritev2, file, &iov, 1, 0, 0, 0), EFBIG);
}

/* What the other walls refuse, seen without the filter: the acts below are not sealed. */
static int act_unsealed_open(void)
{
	if (open("/", O_RDONLY) >= 0 || errno != EACCES)
		return ODD; /* Landlock: no READ_DIR */
	return refused_with(open("/etc", O_RDONLY), ENOENT);
}

static int act_unsealed_write_root(void)
{
	/* The read-only mount answers before Landlock does. */
	return refused_with(open("/x", O_CREAT | O_WRONLY, 0600), EROFS);
}

static int act_unsealed_mount(void)
{
	return refused_with(syscall(SYS_mount, "none", "/", "tmpfs", 0, NULL), EPERM);
}

static int act_unsealed_setuid(void)
{
	return refused_with(setresuid(0x60000000, 0x60000000, 0x60000000), EINVAL);
}

static int act_unsealed_fork(void)
{
	return refused_with(fork(), EAGAIN);
}

static int act_unsealed_mprotect(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return refused_with(mprotect(p, 4096, PROT_READ | PROT_EXEC), EACCES);
}

static int act_unsealed_dup(void)
{
	int i;

	for (i = 0; i < MAX_FDS; i++)
		if (dup(0) < 0)
			return errno == EMFILE ? REFUSED : ODD;
	return ALLOWED;
}

static int act_unsealed_connect(void)
{
	struct sockaddr_storage a = { .ss_family = AF_INET };
	int s = socket(AF_INET, SOCK_STREAM, 0);

	/* 0.0.0.0:0. Landlock ABI 4 says EACCES; an older one leaves it to the empty net. */
	if (s < 0)
		return ODD;
	if (connect(s, (struct sockaddr *)&a, sizeof(struct sockaddr_storage)) >= 0)
		return ALLOWED;
	return errno == EACCES || errno == ENETUNREACH || errno == ECONNREFUSED ? REFUSED : ODD;
}

/* Sockets of other kinds, as bulkhead-vsock, which may make streams of AF_UNIX. */
static int act_socket_datagram(void)
{
	return refused_with(syscall(SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
			    -1);
}

static int act_socket_blocking(void)
{
	return refused_with(syscall(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), -1);
}

static int act_socket_vsock(void)
{
	return refused_with(syscall(SYS_socket, AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
				    0), -1);
}

static int act_bind(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "/mine" };

	return refused_with(syscall(SYS_bind, pair[0], &a, sizeof(a)), -1);
}

static int act_listen(void)
{
	return refused_with(syscall(SYS_listen, pair[0], 1), -1);
}

static int act_setsockopt(void)
{
	int one = 1;

	return refused_with(syscall(SYS_setsockopt, pair[0], SOL_SOCKET, SO_PASSCRED, &one,
				    sizeof(one)), -1);
}

/* Where the call is allowed: nothing but the folder can be reached, as its name says. */
static int connect_fails(const char *path, size_t len, int expected)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (s < 0)
		return ODD;
	memcpy(a.sun_path, path, len);
	return refused_with(connect(s, (struct sockaddr *)&a,
				    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
			    expected);
}

static int act_connect_outside(void)
{
	return connect_fails("/run/systemd/notify", 20, ENOENT);
}

static int act_connect_parent(void)
{
	return connect_fails("/../../etc/passwd", 18, ENOENT);
}

/* Abstract names belong to the network namespace, and this one's is empty. */
static int act_connect_abstract(void)
{
	return connect_fails("\0/tmp/.X11-unix/X0", 19, ECONNREFUSED);
}

static int act_unsealed_open_in_folder(void)
{
	return refused_with(open("/file", O_RDONLY), EACCES); /* Landlock */
}

static int act_unsealed_make_in_folder(void)
{
	return refused_with(open("/x", O_CREAT | O_WRONLY, 0600), EROFS);
}

/* Read from outside by the tests: stays until its stdin channel is closed. */
static int act_wait(void)
{
	char byte;

	return read(REPORT_FD, &byte, 1) == 0 ? 0 : ODD;
}

#define SEALED 1
#define UNSEALED 0

static const struct act {
	const char *name;
	int (*run)(void);
	int sealed;
} acts[] = {
	{ "none", act_none, SEALED },
	{ "wait", act_wait, SEALED },
	{ "open", act_open, SEALED },
	{ "open-old", act_open_old, SEALED },
	{ "socket", act_socket, SEALED },
	{ "ptrace", act_ptrace, SEALED },
	{ "execve", act_execve, SEALED },
	{ "fork", act_fork, SEALED },
	{ "clone", act_clone, SEALED },
	{ "clone3", act_clone3, SEALED },
	{ "mmap-exec", act_mmap_exec, SEALED },
	{ "mprotect-exec", act_mprotect_exec, SEALED },
	{ "io_uring_setup", act_io_uring_setup, SEALED },
	{ "io_uring_register", act_io_uring_register, SEALED },
	{ "kill", act_kill, SEALED },
	{ "unshare", act_unshare, SEALED },
	{ "mount", act_mount, SEALED },
	{ "setuid", act_setuid, SEALED },
	{ "ioctl", act_ioctl, SEALED },
	{ "ioctl-tun-offload", act_ioctl_tun_offload, SEALED },
	{ "ioctl-tun-attach", act_ioctl_tun_attach, SEALED },
	{ "ioctl-window-size", act_ioctl_window_size, SEALED },
	{ "ioctl-type-for-user", act_ioctl_type_for_user, SEALED },
	{ "getrandom", act_getrandom, SEALED },
	{ "accept", act_accept, SEALED },
	{ "writev", act_writev, SEALED },
	{ "connect", act_connect, SEALED },
	{ "socket-unix", act_socket_unix, SEALED },
	{ "socket-packet", act_socket_packet, SEALED },
	{ "socket-inet6", act_socket_inet6, SEALED },
	{ "dup", act_dup, SEALED },
	{ "process_vm_readv", act_process_vm_readv, SEALED },
	{ "bpf", act_bpf, SEALED },
	{ "x32", act_x32, SEALED },
	{ "i386", act_i386, SEALED },
	{ "fd-too-many", act_fd_too_many, SEALED },
	{ "grow-file", act_grow_file, SEALED },
	{ "socket-datagram", act_socket_datagram, SEALED },
	{ "socket-blocking", act_socket_blocking, SEALED },
	{ "socket-vsock", act_socket_vsock, SEALED },
	{ "bind", act_bind, SEALED },
	{ "listen", act_listen, SEALED },
	{ "setsockopt", act_setsockopt, SEALED },
	{ "connect-outside", act_connect_outside, SEALED },
	{ "connect-parent", act_connect_parent, SEALED },
	{ "connect-abstract", act_connect_abstract, SEALED },
	{ "unsealed-open-in-folder", act_unsealed_open_in_folder, UNSEALED },
	{ "unsealed-make-in-folder", act_unsealed_make_in_folder, UNSEALED },
	{ "unsealed-open", act_unsealed_open, UNSEALED },
	{ "unsealed-write-root", act_unsealed_write_root, UNSEALED },
	{ "unsealed-mount", act_unsealed_mount, UNSEALED },
	{ "unsealed-setuid", act_unsealed_setuid, UNSEALED },
	{ "unsealed-fork", act_unsealed_fork, UNSEALED },
	{ "unsealed-mprotect", act_unsealed_mprotect, UNSEALED },
	{ "unsealed-dup", act_unsealed_dup, UNSEALED },
	{ "unsealed-connect", act_unsealed_connect, UNSEALED },
};

static const struct {
	const char *name;
	const struct sandbox_filter *filter;
} programs[] = {
	{ "blk", &blk_filter },	    { "net", &net_filter }, { "net-user", &net_user_filter },
	{ "console", &console_filter }, { "rng", &rng_filter }, { "vsock", &vsock_filter },
};

static const struct sandbox_filter *find_filter(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(programs); i++)
		if (strcmp(programs[i].name, name) == 0)
			return programs[i].filter;
	return NULL;
}

static const struct act *find_act(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(acts); i++)
		if (strcmp(acts[i].name, name) == 0)
			return &acts[i];
	return NULL;
}

static void report(const char *text)
{
	(void)!write(REPORT_FD, text, strlen(text));
}

static int child_main(const struct act *act, const struct sandbox_filter *filter, uid_t uid,
		      bool log, const char *folder)
{
	static const int keep[] = { REPORT_FD, WARDEN_FD };
	const struct sandbox_profile profile = {
		.name = "probe", .filter = filter, .max_fds = MAX_FDS, .max_threads = 1,
		.fsize_from_params = true, .takes_folder = folder != NULL,
	};
	struct sandbox_params params = {
		.uid = uid, .gid = uid, .parent_pidfd = WARDEN_FD, .seccomp_log = log,
	};
	const char *step = "";
	int r;

	if (sandbox_close_fds(keep, ARRAY_LEN(keep)) < 0)
		return NOT_SANDBOXED;
	file = memfd_create("file", MFD_CLOEXEC);
	if (file < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return NOT_SANDBOXED;
	(void)signal(SIGXFSZ, SIG_IGN);
	if (folder)
		params.folder_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (params.folder_fd < 0)
		return NOT_SANDBOXED;
	r = sandbox_enter(&profile, &params, &step);
	if (r == 0)
		close(WARDEN_FD);
	if (r == 0 && folder)
		close(params.folder_fd);
	if (r == 0 && act->sealed) {
		step = "seal";
		r = sandbox_seal(&profile, &params);
	} else if (r == 0) {
		struct rlimit none = { 0, 0 };

		r = setrlimit(RLIMIT_NPROC, &none);
	}
	if (r < 0) {
		report(step);
		report(strerror(-r));
		return NOT_SANDBOXED;
	}
	report("sealed");
	return act->run();
}

/* The warden's part: pid and net namespace, fds 0 and 1 on /dev/null, one channel, no others. */
static int spawn(char **argv, int *ret_report)
{
	int report_pair[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);
	char *const no_env[] = { NULL };
	int warden = (int)syscall(SYS_pidfd_open, getpid(), 0);
	long pid;

	if (null < 0 || warden < 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, report_pair) < 0)
		return -errno;
	pid = syscall(SYS_clone, CLONE_NEWPID | CLONE_NEWNET | SIGCHLD, 0, 0, 0, 0);
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		int a = fcntl(report_pair[1], F_DUPFD, 10), b = fcntl(warden, F_DUPFD, 10);

		if (dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(a, REPORT_FD) < 0 ||
		    dup2(b, WARDEN_FD) < 0)
			_exit(NOT_SANDBOXED);
		execve("/proc/self/exe", argv, no_env);
		_exit(NOT_SANDBOXED);
	}
	close(report_pair[1]);
	*ret_report = report_pair[0];
	return (int)pid;
}

static int warden_main(const struct act *act, char **argv)
{
	char text[256];
	int status, fd, pid;
	ssize_t n;

	argv[0] = (char[]){ "sandbox_probe_child" };
	pid = spawn(argv, &fd);
	if (pid < 0) {
		printf("spawn: %s\n", strerror(-pid));
		return 1;
	}
	while ((n = read(fd, text, sizeof(text) - 1)) > 0) {
		text[n] = '\0';
		if (strcmp(text, "sealed") == 0 && act->run == act_wait) {
			/* Let the tests look at it until they close our stdin. */
			printf("pid %d\n", pid);
			fflush(stdout);
			while (read(STDIN_FILENO, text, sizeof(text)) > 0)
				;
			close(fd);
			break;
		}
		printf("%s\n", text);
	}
	if (waitpid(pid, &status, 0) != pid)
		return 1;
	if (WIFSIGNALED(status))
		printf("signal %d\n", WTERMSIG(status));
	else
		printf("exit %d\n", WEXITSTATUS(status));
	return 0;
}

int main(int argc, char **argv)
{
	const struct act *act;
	const struct sandbox_filter *filter = &blk_filter;
	uid_t uid = 0x6fff0000; /* outside every block that the warden hands out */
	const char *folder = NULL;
	bool log = false;
	int i;

	if (argc < 2)
		return 2;
	for (i = 2; i < argc; i++) {
		if (strcmp(argv[i], "--log") == 0)
			log = true;
		else if (strcmp(argv[i], "--uid") == 0 && i + 1 < argc)
			uid = (uid_t)strtoul(argv[++i], NULL, 0);
		else if (strcmp(argv[i], "--program") == 0 && i + 1 < argc)
			filter = find_filter(argv[++i]);
		else if (strcmp(argv[i], "--folder") == 0 && i + 1 < argc)
			folder = argv[++i];
		else
			return 2;
	}
	if (strcmp(argv[1], "list") == 0) {
		for (i = 0; i < (int)ARRAY_LEN(acts); i++)
			printf("%s\n", acts[i].name);
		return 0;
	}
	act = find_act(argv[1]);
	if (!act || !filter)
		return 2;
	if (strcmp(argv[0], "sandbox_probe_child") == 0)
		return child_main(act, filter, uid, log, folder);
	return warden_main(act, argv);
}
