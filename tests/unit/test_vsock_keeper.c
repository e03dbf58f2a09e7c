/* SPDX-License-Identifier: Apache-2.0 */
/* vsock_keeper: a scripted bulkhead-vsock, and a warden that runs out of file descriptors. */
#include <criterion/criterion.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "open_fds.h"
#include "vmm-core/warden/vm.h"

static struct vm_config config = {
	.n_devices = 1,
	.devices[0] = { .type = DEVICE_TYPE_VSOCK, .path = (char[]){ "/nonexistent/v" } },
};
static struct vm vm = { .config = &config };
static struct child child = { .generation = 1 };
static struct channel *process; /* the end of the present one */
static unsigned n_condemned, n_notes;

/* What the rest of the warden does. */

struct child *vm_find_child(struct vm *v, uint32_t slot, uint32_t generation)
{
	(void)v;
	return slot == child.slot && generation == child.generation ? &child : NULL;
}

void vm_device_condemn(struct child *c, const char *reason)
{
	(void)c;
	(void)reason;
	n_condemned++;
}

void vm_note(struct vm *v, enum log_level level, const char *source, const char *fmt, ...)
{
	(void)v;
	(void)level;
	(void)source;
	(void)fmt;
	n_notes++;
}

/* A process is started, and gets its link. */
static struct channel *link_process(uint32_t generation)
{
	struct child c = { .generation = generation };
	cleanup_fdset struct fdset fds = FDSET_EMPTY;
	struct channel *ret = NULL;

	cr_assert_eq(vsock_keeper_link(&vm, &c, &fds), 0);
	cr_assert_eq(channel_new(fdset_steal(&fds, 0), &ret), 0);
	return ret;
}

static void serve(uint32_t generation)
{
	child.generation = generation;
	vsock_keeper_serve(&vm, &child);
}

static void start(void)
{
	struct failure f;

	vm.base = event_base_new();
	cr_assert_not_null(vm.base);
	cr_assert_eq(vsock_keeper_new(&vm, &f), 0);
	process = link_process(1);
	serve(1);
}

static void stop(void)
{
	vm.vsock_keeper = vsock_keeper_free(vm.vsock_keeper);
	process = channel_free(process);
	event_base_free(vm.base);
}

TestSuite(vsock_keeper, .init = start, .fini = stop);

static void allow_descriptors(bool allowed)
{
	struct rlimit l;

	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &l), 0);
	l.rlim_cur = allowed ? l.rlim_max : 0;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &l), 0);
}

static void turn(void)
{
	cr_assert_geq(event_base_loop(vm.base, EVLOOP_NONBLOCK), 0);
}

/* The process hands over @n sockets whose ids begin at @first. The hosts' ends are closed. */
static void hand_over(uint64_t first, uint32_t n)
{
	cleanup_fdset struct fdset fds = FDSET_EMPTY;
	struct message m = { .type = MESSAGE_VSOCK_KEEP, .vsock_sockets.n = n };

	for (uint32_t i = 0; i < n; i++) {
		int pair[2];

		cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		cr_assert_eq(fdset_add(&fds, pair[0]), 0);
		close(pair[1]);
		m.vsock_sockets.ids[i] = first + i;
	}
	cr_assert_eq(channel_send(process, &m, &fds), 0);
}

/* What the process finds in its channel must be the sockets with ids 1 to @n, in some order. */
static void expect_kept(uint64_t n)
{
	uint64_t seen = 0;

	for (;;) {
		cleanup_fdset struct fdset fds = FDSET_EMPTY;
		struct message m;

		if (channel_receive(process, &m, &fds) != 0)
			break;
		cr_assert_eq(m.type, MESSAGE_VSOCK_KEPT);
		for (uint32_t i = 0; i < m.vsock_sockets.n; i++) {
			cr_assert_geq(m.vsock_sockets.ids[i], 1);
			cr_assert_leq(m.vsock_sockets.ids[i], n);
			cr_assert_eq(seen >> m.vsock_sockets.ids[i] & 1, 0, "twice");
			seen |= 1ull << m.vsock_sockets.ids[i];
		}
	}
	cr_expect_eq(seen, ((1ull << n) - 1) << 1, "%#llx of %llu sockets came",
		     (unsigned long long)seen, (unsigned long long)n);
}

static void replace(uint32_t generation)
{
	struct channel *next = link_process(generation);

	process = channel_free(process);
	process = next;
	serve(generation);
}

Test(vsock_keeper, a_successor_gets_what_was_kept)
{
	hand_over(1, 16);
	hand_over(17, 4);
	turn();
	replace(2);
	expect_kept(20);
	cr_expect_eq(n_condemned, 0);
}

Test(vsock_keeper, a_takeover_needs_no_descriptor)
{
	struct channel *standby = link_process(2);

	hand_over(1, 16);
	hand_over(17, 4);
	turn();
	allow_descriptors(false);
	serve(2);
	allow_descriptors(true);
	process = channel_free(process);
	process = standby;
	expect_kept(20);
	cr_expect_eq(n_notes, 0);
}

/* The process is not to blame, and learns that nothing more is kept; its successor has help again. */
Test(vsock_keeper, without_a_descriptor_nothing_is_kept)
{
	cleanup_fdset struct fdset fds = FDSET_EMPTY;
	unsigned before = open_fds();
	struct message m;

	hand_over(1, 3);
	turn();
	cr_assert_eq(open_fds(), before + 3);
	hand_over(4, 2);
	allow_descriptors(false);
	turn();
	allow_descriptors(true);
	cr_expect_eq(n_condemned, 0);
	cr_expect_eq(n_notes, 1);
	cr_expect_eq(channel_receive(process, &m, &fds), CHANNEL_CLOSED);
	cr_expect_eq(open_fds(), before - 1, "something is still kept");
	replace(2);
	expect_kept(0);
	hand_over(1, 2);
	turn();
	replace(3);
	expect_kept(2);
	cr_expect_eq(n_condemned, 0);
}

Test(vsock_keeper, without_a_descriptor_a_request_is_refused)
{
	cleanup_fdset struct fdset fds = FDSET_EMPTY;
	struct message m = { .type = MESSAGE_VSOCK_CONNECT,
			     .vsock_connect = { .id = 1, .port = 2 } };

	allow_descriptors(false);
	cr_assert_eq(channel_send(process, &m, NULL), 0);
	turn();
	allow_descriptors(true);
	cr_assert_eq(channel_receive(process, &m, &fds), 0);
	cr_expect_eq(m.type, MESSAGE_VSOCK_CONNECTED);
	cr_expect_eq(m.vsock_connect.result, EMFILE);
	cr_expect_eq(n_condemned, 0);
}

Test(vsock_keeper, misuse_is_condemned)
{
	cleanup_fdset struct fdset fds = FDSET_EMPTY;
	struct message m = { .type = MESSAGE_VSOCK_KEEP, .vsock_sockets = { .n = 1, .ids = { 1 } } };

	cr_assert_eq(fdset_add_dup(&fds, STDIN_FILENO), 0);
	cr_assert_eq(channel_send(process, &m, &fds), 0);
	turn();
	cr_expect_eq(n_condemned, 1);
}
