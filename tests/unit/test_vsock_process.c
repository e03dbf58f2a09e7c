/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A real, sealed bulkhead-vsock that finds what a predecessor is said to have left: a journal in
 * the device page, and sockets that the warden kept. Needs root.
 */
#include "fake_core.h"

#include <criterion/criterion.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "device-procs/vsock/vsock_store.h"
#include "ipc/shared_memory.h"

enum { RX, TX, EVENT };

#define BUFFER_BYTES 4096u
#define GUEST_PORT 1000u
#define HOST_PORT 2000u

/* §5.10.6 */
struct header {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
} __attribute__((packed));

static char folder[] = "/tmp/bulkhead-test-XXXXXX";
static struct fake_core core;
static struct channel *keeper; /* the warden's end */
static uint8_t *rings;
static struct vsock_journal *journal;

static int open_listener(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s/v", folder);
	cr_assert_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	cr_assert_eq(listen(fd, 8), 0);
	return fd;
}

static void start(void)
{
	cleanup_fdset struct fdset fds = FDSET_EMPTY;
	struct fake_core_config c = { .program = BULKHEAD_VSOCK, .vsock = &fds };
	int ours, theirs, memory;
	void *at;

	if (geteuid() != 0)
		cr_skip_test("needs root to give the process its uid");
	cr_assert_not_null(mkdtemp(folder));
	cr_assert_eq(chmod(folder, 0755), 0);
	memory = shared_memory_create("vsock", VM_VSOCK_RINGS_BYTES, 0);
	cr_assert_geq(memory, 0);
	cr_assert_eq(shared_memory_map(memory, VM_VSOCK_RINGS_BYTES, &at), 0);
	rings = at;
	cr_assert_eq(channel_pair(&ours, &theirs), 0);
	cr_assert_eq(channel_new(ours, &keeper), 0);
	cr_assert_eq(fdset_add(&fds, open_listener()), 0);
	cr_assert_eq(fdset_add(&fds, open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC)), 0);
	cr_assert_eq(fdset_add(&fds, memory), 0);
	cr_assert_eq(fdset_add(&fds, theirs), 0);
	fake_core_start(&core, &c);
	journal = device_page_state(core.page, (struct device_page_shape){ core.n_queues,
									   core.hello.state_size });
}

static void stop(void)
{
	char path[64];
	int status = fake_core_stop(&core);

	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", status);
	keeper = channel_free(keeper);
	(void)snprintf(path, sizeof(path), "%s/v", folder);
	unlink(path);
	rmdir(folder);
}

TestSuite(vsock_process, .init = start, .fini = stop, .timeout = 100);

/* A socket that the warden kept as @id. Return: the host program's end */
static int keep(uint64_t id)
{
	cleanup_fdset struct fdset fds = FDSET_EMPTY;
	struct message m = { .type = MESSAGE_VSOCK_KEPT,
			     .vsock_sockets = { .n = 1, .ids = { id } } };
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	cr_assert_eq(fdset_add(&fds, pair[1]), 0);
	cr_assert_eq(channel_send(keeper, &m, &fds), 0);
	return pair[0];
}

static struct vsock_record *record(uint16_t slot, uint64_t id, uint32_t guest_port)
{
	journal->version = VSOCK_JOURNAL_VERSION;
	journal->records[slot] = (struct vsock_record){
		.id = id, .guest_port = guest_port, .host_port = HOST_PORT, .state = VSOCK_OPEN,
		.peer_buf_alloc = 1u << 20, .is_kept = 1,
	};
	return &journal->records[slot];
}

/* The next packet for the guest, and its payload. */
static struct header next_packet(void *payload, size_t size)
{
	const struct fake_buffer b = { FAKE_DATA, BUFFER_BYTES, true };
	uint32_t len;
	struct header h;

	(void)fake_add(&core, RX, &b, 1);
	fake_kick(&core, RX);
	(void)fake_wait_used(&core, RX, &len);
	cr_assert_geq(len, sizeof(h));
	cr_assert_eq(guest_memory_read(core.gm, gpa(FAKE_DATA), &h, sizeof(h)), 0);
	cr_assert_eq(h.dst_cid, FAKE_CID);
	cr_assert_eq(h.len, len - sizeof(h));
	if (h.len > 0 && h.len <= size)
		cr_assert_eq(guest_memory_read(core.gm, gpa(FAKE_DATA + sizeof(h)), payload, h.len),
			     0);
	return h;
}

static void request(uint32_t guest_port)
{
	const struct header h = {
		.src_cid = FAKE_CID, .dst_cid = VSOCK_HOST_CID, .src_port = guest_port,
		.dst_port = 3, .type = VSOCK_TYPE_STREAM, .op = VSOCK_OP_REQUEST,
	};
	const struct fake_buffer b = { FAKE_HEADERS(TX), sizeof(h), false };

	cr_assert_eq(guest_memory_write(core.gm, gpa(FAKE_HEADERS(TX)), &h, sizeof(h)), 0);
	(void)fake_add(&core, TX, &b, 1);
	fake_kick(&core, TX);
}

/* Does it still answer? Nobody listens, so the answer is RST, after whatever else it has to say. */
static void expect_it_serves(void)
{
	struct header h;
	uint32_t n = 0;

	request(77777);
	do {
		h = next_packet(NULL, 0);
		cr_assert_lt(++n, VSOCK_RESETS_MAX + 2 * VSOCK_SLOTS, "it never comes to our packet");
	} while (h.dst_port != 77777 || h.src_port != 3);
	cr_expect_eq(h.op, VSOCK_OP_RST);
}

static void expect_end_of_file(int fd)
{
	const struct timeval limit = { .tv_sec = FAKE_WAIT_MS / 1000 };
	char byte;

	cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
	cr_expect_eq(read(fd, &byte, 1), 0, "the host's program does not hear of the end");
	close(fd);
}

Test(vsock_process, connections_go_on_where_they_were)
{
	struct vsock_record *r = record(3, 5, GUEST_PORT);
	int fd = keep(5);
	char text[16] = "";
	struct header h;

	r->tx_cnt = 10; /* six of ten bytes of the guest are still to be sent */
	r->fwd_cnt = r->fwd_told = 4;
	memcpy(rings + 3 * VSOCK_BUFFER_BYTES + 4, "abcdef", 6);
	r->rx_cnt = r->peer_fwd_cnt = UINT32_MAX; /* the other way it wraps */
	fake_core_activate(&core, 0);
	cr_assert_eq(recv(fd, text, 6, MSG_WAITALL), 6);
	cr_expect_str_eq(text, "abcdef");
	cr_assert_eq(write(fd, "hello", 5), 5);
	do
		h = next_packet(text, sizeof(text));
	while (h.op == VSOCK_OP_CREDIT_UPDATE);
	cr_expect_eq(h.op, VSOCK_OP_RW);
	cr_expect_eq(h.src_port, HOST_PORT);
	cr_expect_eq(h.dst_port, GUEST_PORT);
	cr_expect_eq(h.fwd_cnt, 10);
	cr_expect_arr_eq(text, "hello", 5);
	cr_expect_eq(journal->records[3].rx_cnt, 4, "%u", journal->records[3].rx_cnt);
	close(fd);
}

Test(vsock_process, only_the_one_that_was_changing_is_reset)
{
	int good, cut;
	struct header h;

	(void)record(3, 5, GUEST_PORT);
	(void)record(4, 6, GUEST_PORT + 1);
	journal->active = 4 + 1;
	good = keep(5);
	cut = keep(6);
	fake_core_activate(&core, 0);
	h = next_packet(NULL, 0);
	cr_expect_eq(h.op, VSOCK_OP_RST);
	cr_expect_eq(h.dst_port, GUEST_PORT + 1);
	expect_end_of_file(cut);
	cr_assert_eq(write(good, "x", 1), 1);
	h = next_packet(NULL, 0);
	cr_expect_eq(h.op, VSOCK_OP_RW);
	cr_expect_eq(h.dst_port, GUEST_PORT);
	close(good);
}

Test(vsock_process, a_record_without_its_socket_and_a_socket_without_its_record_end)
{
	int fd = keep(99);
	struct header h;

	(void)record(3, 5, GUEST_PORT);
	fake_core_activate(&core, 0);
	h = next_packet(NULL, 0);
	cr_expect_eq(h.op, VSOCK_OP_RST);
	cr_expect_eq(h.dst_port, GUEST_PORT);
	expect_end_of_file(fd);
	expect_it_serves();
}

/* The last resort: all connections of the guest are gone, and it is told so once. */
Test(vsock_process, another_programs_journal_resets_the_transport)
{
	const struct fake_buffer b = { FAKE_DATA, 8, true };
	uint32_t event = UINT32_MAX, len;
	int fd = keep(5);

	(void)record(3, 5, GUEST_PORT);
	journal->version = VSOCK_JOURNAL_VERSION + 1;
	fake_core_activate(&core, 0);
	(void)fake_add(&core, EVENT, &b, 1);
	fake_kick(&core, EVENT);
	(void)fake_wait_used(&core, EVENT, &len);
	cr_expect_eq(len, sizeof(event));
	cr_assert_eq(guest_memory_read(core.gm, gpa(FAKE_DATA), &event, sizeof(event)), 0);
	cr_expect_eq(event, 0, "VIRTIO_VSOCK_EVENT_TRANSPORT_RESET");
	cr_expect_eq(journal->transport_reset, 0);
	expect_end_of_file(fd);
	expect_it_serves();
}

/* The guest gives no buffers, so it is not asked; nothing of them may pile up. */
Test(vsock_process, clients_that_come_and_go_hold_up_nobody)
{
	const char line[] = "CONNECT 5000\n";
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int i;

	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s/v", folder);
	fake_core_activate(&core, 0);
	for (i = 0; i < 600; i++) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		cr_assert_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
		cr_assert_eq(write(fd, line, sizeof(line) - 1), (ssize_t)sizeof(line) - 1);
		close(fd);
	}
	request(GUEST_PORT);
	(void)fake_wait_used(&core, TX, NULL);
	expect_it_serves();
}

/* A listener of a host program that anybody may connect to, at PATH_3 */
static int open_server(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s/v_3", folder);
	cr_assert_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	cr_assert_eq(chmod(a.sun_path, 0777), 0);
	cr_assert_eq(listen(fd, 8), 0);
	return fd;
}

static unsigned status_number(const char *key)
{
	char path[64], line[256];
	unsigned n = 0;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", core.pid);
	f = fopen(path, "re");
	cr_assert_not_null(f);
	while (fgets(line, sizeof(line), f))
		if (strncmp(line, key, strlen(key)) == 0)
			n = (unsigned)strtoul(line + strlen(key), NULL, 10);
	(void)fclose(f);
	return n;
}

/*
 * May the process have more descriptors than it has? Whoever has its uid may say so; root without
 * CAP_SYS_RESOURCE may not.
 */
static void allow_descriptors(bool are_allowed)
{
	gid_t gid = status_number("Gid:");
	uid_t uid = status_number("Uid:");
	struct rlimit l;
	int status;
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (pid == 0) {
		if (setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0 ||
		    prlimit(core.pid, RLIMIT_NOFILE, NULL, &l) < 0)
			_exit(1);
		l.rlim_cur = are_allowed ? l.rlim_max : 0;
		_exit(prlimit(core.pid, RLIMIT_NOFILE, &l, NULL) < 0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0, "the limit cannot be set");
}

/* Turns of the process's loop in a third of a second */
static uint64_t count_turns(void)
{
	uint64_t *heartbeat = &core.page->header.heartbeat;
	uint64_t before = __atomic_load_n(heartbeat, __ATOMIC_ACQUIRE);

	(void)usleep(333333);
	return __atomic_load_n(heartbeat, __ATOMIC_ACQUIRE) - before;
}

static void expect_answer(uint32_t guest_port, uint16_t op)
{
	struct header h;

	request(guest_port);
	do
		h = next_packet(NULL, 0);
	while (h.dst_port != guest_port);
	cr_expect_eq(h.op, op, "port %u is answered with op %u", guest_port, h.op);
}

Test(vsock_process, a_request_without_a_descriptor_is_refused)
{
	int server = open_server();

	fake_core_activate(&core, 0);
	allow_descriptors(false);
	expect_answer(GUEST_PORT, VSOCK_OP_RST);
	expect_answer(GUEST_PORT, VSOCK_OP_RST);
	allow_descriptors(true);
	expect_answer(GUEST_PORT, VSOCK_OP_RESPONSE);
	close(server);
}

/* The warden connects where our uid may not; it is out of descriptors, or of memory. */
Test(vsock_process, a_warden_without_a_descriptor_is_a_refusal)
{
	static const int errors[] = { EMFILE, ENFILE, ENOMEM, ENOBUFS };
	int server = open_server(), i;
	char path[64];

	(void)snprintf(path, sizeof(path), "%s/v_3", folder);
	cr_assert_eq(chmod(path, 0), 0);
	fake_core_activate(&core, 0);
	for (i = 0; i < (int)ARRAY_LEN(errors); i++) {
		cleanup_fdset struct fdset fds = FDSET_EMPTY;
		struct pollfd p = { .fd = channel_fd(keeper), .events = POLLIN };
		struct message m;
		struct header h;

		request(GUEST_PORT + (uint32_t)i);
		do
			cr_assert_eq(poll(&p, 1, FAKE_WAIT_MS), 1, "the warden is not asked");
		while (channel_receive(keeper, &m, &fds) == CHANNEL_EMPTY);
		cr_assert_eq(m.type, MESSAGE_VSOCK_CONNECT, "%s", message_type_name(m.type));
		m.type = MESSAGE_VSOCK_CONNECTED;
		m.vsock_connect.result = errors[i];
		cr_assert_eq(channel_send(keeper, &m, &fds), 0);
		h = next_packet(NULL, 0);
		cr_expect_eq(h.op, VSOCK_OP_RST);
		cr_expect_eq(h.dst_port, GUEST_PORT + (uint32_t)i);
	}
	expect_answer(77777, VSOCK_OP_RST);
	close(server);
}

/* It is out of descriptors, too, and keeps nothing any more. */
Test(vsock_process, a_warden_that_hangs_up_is_done_without)
{
	int server = open_server();
	char path[64];
	uint64_t turns;

	fake_core_activate(&core, 0);
	expect_answer(GUEST_PORT, VSOCK_OP_RESPONSE);
	cr_assert_eq(shutdown(channel_fd(keeper), SHUT_RDWR), 0);
	expect_answer(GUEST_PORT + 1, VSOCK_OP_RESPONSE);
	(void)usleep(100000); /* both are no longer young */
	turns = count_turns();
	cr_expect_lt(turns, 10, "%lu turns: it goes on trying", turns);
	(void)snprintf(path, sizeof(path), "%s/v_3", folder);
	cr_assert_eq(chmod(path, 0), 0); /* nobody can be asked for it */
	expect_answer(GUEST_PORT + 2, VSOCK_OP_RST);
	expect_it_serves();
	close(server);
}

/* Clients that cannot be accepted stay in the backlog, and keep nobody busy. */
Test(vsock_process, clients_wait_while_there_is_no_descriptor)
{
	const char line[] = "CONNECT 5000\n";
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct header h;
	uint64_t turns;

	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s/v", folder);
	fake_core_activate(&core, 0);
	allow_descriptors(false);
	cr_assert_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	cr_assert_eq(write(fd, line, sizeof(line) - 1), (ssize_t)sizeof(line) - 1);
	turns = count_turns();
	cr_expect_lt(turns, 1000, "%lu turns: it is busy with a client that it cannot have",
		     turns);
	expect_it_serves();
	allow_descriptors(true);
	h = next_packet(NULL, 0);
	cr_expect_eq(h.op, VSOCK_OP_REQUEST);
	cr_expect_eq(h.dst_port, 5000);
	close(fd);
}

static void forge(unsigned seed)
{
	uint8_t *bytes = (uint8_t *)journal;
	uint32_t i;

	for (i = 0; i < sizeof(*journal); i++)
		bytes[i] = (uint8_t)(rand_r(&seed) >> 7);
	journal->version = VSOCK_JOURNAL_VERSION;
	if (seed % 2)
		journal->resets_out = journal->resets_in - VSOCK_RESETS_MAX; /* full */
	for (i = 0; i < VSOCK_SLOTS; i++) /* many that look whole, of few numbers and ports */
		if (rand_r(&seed) % 2) {
			struct vsock_record *r = record((uint16_t)i, rand_r(&seed) % 8,
							rand_r(&seed) % 16);

			r->due = (uint8_t)(rand_r(&seed) % 64);
			r->tx_cnt = (uint32_t)rand_r(&seed);
			r->fwd_cnt = r->tx_cnt - (uint32_t)rand_r(&seed) % (VSOCK_BUFFER_BYTES + 2);
			r->fwd_told = r->fwd_cnt;
			r->guest_shut = (uint8_t)(rand_r(&seed) % 4);
			r->host_shut = (uint8_t)(rand_r(&seed) % 4);
		}
}

static void expect_it_lives_with(unsigned seed)
{
	int fds[8], i;

	forge(seed);
	for (i = 0; i < 8; i++)
		fds[i] = keep((uint64_t)i);
	fake_core_activate(&core, 0);
	expect_it_serves();
	for (i = 0; i < 8; i++)
		close(fds[i]);
}

Test(vsock_process, lives_with_a_forged_journal_1)
{
	expect_it_lives_with(1);
}

Test(vsock_process, lives_with_a_forged_journal_2)
{
	expect_it_lives_with(2);
}

Test(vsock_process, lives_with_a_forged_journal_3)
{
	expect_it_lives_with(3);
}
