/* SPDX-License-Identifier: Apache-2.0 */
/* Channels on real socket pairs; the hostile peer is a raw socket. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "ipc/channel.h"
#include "ipc/clock.h"
#include "open_fds.h"
#include "random_message.h"

#define LONG_MS 30000 /* a limit for what happens at once */
#define KERNEL_FDS_MAX 253 /* SCM_MAX_FD */

static struct channel *mine;
static int peer; /* the other end, raw */
static struct message in, out;
static struct fdset fds;
static const struct message ping = { .type = MESSAGE_PING, .seq = 1 };

static void make_channel(void)
{
	int fd;

	cr_assert_eq(channel_pair(&fd, &peer), 0);
	cr_assert_eq(channel_new(fd, &mine), 0);
}

static void add_fds(struct fdset *set, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		cr_assert_eq(fdset_add_dup(set, STDIN_FILENO), 0);
}

/* sendmsg() with @n_fds copies of stdin; Return: 0, -errno */
static int send_raw(const void *bytes, size_t len, uint32_t n_fds)
{
	static union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE((KERNEL_FDS_MAX + 1) * sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = len };
	struct msghdr hdr = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (n_fds > 0) {
		hdr.msg_control = control.bytes;
		hdr.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		c = CMSG_FIRSTHDR(&hdr);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memset(CMSG_DATA(c), 0, n_fds * sizeof(int)); /* fd 0, again and again */
	}
	return sendmsg(peer, &hdr, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int send_ping_with(uint32_t n_fds)
{
	static uint8_t frame[MESSAGE_FRAME_MAX];
	size_t len = 0;

	cr_assert_eq(message_encode(&ping, frame, &len), 0);
	return send_raw(frame, len, n_fds);
}

/* The peer is bad, stays bad, and left nothing behind. */
static void expect_condemned(unsigned fds_before)
{
	cr_expect_eq(channel_receive(mine, &out, &fds), CHANNEL_PEER_BAD);
	cr_expect_eq(fds.n, 0);
	cr_expect_eq(open_fds(), fds_before);
	cr_expect_neq(channel_fault(mine)[0], '\0');
	cr_assert_eq(send_ping_with(0), 0);
	cr_expect_eq(channel_receive(mine, &out, &fds), CHANNEL_PEER_BAD);
	cr_expect_eq(channel_receive_wait(mine, 0, &out, &fds), CHANNEL_PEER_BAD);
	cr_expect_eq(channel_send(mine, &ping, NULL), CHANNEL_PEER_BAD);
}

TestSuite(channel, .init = make_channel);

Test(channel, pair_is_cloexec_and_does_not_block)
{
	int a, b;

	cr_assert_eq(channel_pair(&a, &b), 0);
	cr_assert_eq(fcntl(a, F_GETFD), FD_CLOEXEC);
	cr_assert_eq(fcntl(b, F_GETFD), FD_CLOEXEC);
	cr_assert(fcntl(a, F_GETFL) & O_NONBLOCK);
	cr_assert(fcntl(b, F_GETFL) & O_NONBLOCK);
}

Test(channel, only_seqpacket_sockets_are_taken)
{
	unsigned before = open_fds();
	struct channel *ch = NULL;
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	cr_expect_eq(channel_new(pair[0], &ch), -EINVAL);
	cr_expect_eq(channel_new(pair[1], &ch), -EINVAL);
	cr_expect_eq(channel_new(open("/dev/null", O_RDONLY | O_CLOEXEC), &ch), -EINVAL);
	cr_expect_eq(channel_new(-1, &ch), -EINVAL);
	cr_expect_null(ch);
	cr_expect_eq(open_fds(), before);
}

extern void __asan_init(void) __attribute__((weak)); /* NULL: not in this build */

Test(channel, without_memory_the_fd_is_closed)
{
	struct channel *some[64] = { NULL }; /* what still fits into memory that malloc() has */
	unsigned before = open_fds();
	struct rlimit limit, none;
	uint32_t n = 0;
	int r;

	if (__asan_init != NULL)
		cr_skip_test("AddressSanitizer needs memory of its own");
	cr_assert_eq(getrlimit(RLIMIT_AS, &limit), 0);
	none = (struct rlimit){ 0, limit.rlim_max };
	cr_assert_eq(setrlimit(RLIMIT_AS, &none), 0);
	do
		r = channel_new(dup(peer), &some[n]);
	while (r == 0 && ++n < ARRAY_LEN(some));
	cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
	cr_expect_eq(r, -ENOMEM);
	cr_expect_eq(open_fds(), before + n);
	while (n > 0)
		channel_free(some[--n]);
	cr_expect_eq(open_fds(), before);
}

Test(channel, free_closes)
{
	unsigned before = open_fds();

	cr_assert_geq(channel_fd(mine), 0);
	cr_assert_null(channel_free(mine));
	cr_assert_null(channel_free(NULL));
	cr_assert_eq(open_fds(), before - 1);
}

Test(channel, every_message_type_arrives_whole)
{
	struct channel *other = NULL;
	unsigned before = open_fds();

	cr_assert_eq(channel_new(peer, &other), 0);
	for (enum message_type t = MESSAGE_NONE + 1; t < MESSAGE_N_; t++) {
		for (uint64_t seed = 1; seed <= 10; seed++) {
			cleanup_fdset struct fdset sent = FDSET_EMPTY;
			uint64_t state = seed << 8 | t;

			random_message(&state, t, &in);
			memset(&out, 0, sizeof(out));
			add_fds(&sent, message_n_fds(&in));
			cr_assert_eq(channel_send(mine, &in, &sent), 0, "%s",
				     message_type_name(t));
			cr_assert_eq(channel_receive(other, &out, &fds), 0, "%s: %s",
				     message_type_name(t), channel_fault(other));
			cr_assert_eq(memcmp(&in, &out, sizeof(in)), 0);
			cr_assert_eq(fds.n, sent.n);
			for (uint32_t i = 0; i < fds.n; i++)
				cr_assert_eq(fcntl(fds.fds[i], F_GETFD), FD_CLOEXEC);
		}
	}
	fdset_clear(&fds);
	cr_assert_eq(open_fds(), before);
}

Test(channel, fds_keep_their_order)
{
	cleanup_fdset struct fdset sent = FDSET_EMPTY;
	struct channel *other = NULL;
	uint64_t state = 1;
	int pipefd[2];

	cr_assert_eq(channel_new(peer, &other), 0);
	cr_assert_eq(pipe2(pipefd, O_CLOEXEC), 0);
	random_message(&state, MESSAGE_ENABLE_QUEUE, &in);
	cr_assert_eq(fdset_add(&sent, pipefd[1]), 0);
	cr_assert_eq(fdset_add(&sent, pipefd[0]), 0);
	cr_assert_eq(channel_send(mine, &in, &sent), 0);
	cr_assert_eq(channel_receive(other, &out, &fds), 0);
	cr_assert_eq(fcntl(fds.fds[0], F_GETFL) & O_ACCMODE, O_WRONLY);
	cr_assert_eq(fcntl(fds.fds[1], F_GETFL) & O_ACCMODE, O_RDONLY);
	channel_free(other);
}

Test(channel, previous_fds_are_closed_by_the_next_receive)
{
	unsigned before = open_fds();

	add_fds(&fds, 3);
	cr_assert_eq(channel_receive(mine, &out, &fds), CHANNEL_EMPTY);
	cr_assert_eq(open_fds(), before);
}

Test(channel, sender_checks_its_own_message)
{
	cleanup_fdset struct fdset two = FDSET_EMPTY;
	uint64_t state = 1;

	add_fds(&two, 2);
	cr_expect_eq(channel_send(mine, &ping, &two), -EINVAL);
	random_message(&state, MESSAGE_ENABLE_QUEUE, &in);
	cr_expect_eq(channel_send(mine, &in, NULL), -EINVAL);
	fd_close(fdset_steal(&two, 1));
	cr_expect_eq(channel_send(mine, &in, &two), -EBADF);
	in.enable_queue.size = 3;
	cr_expect_eq(channel_send(mine, &in, &two), -EINVAL);
	cr_expect_str_empty(channel_fault(mine));
}

Test(channel, malformed_bytes_condemn)
{
	unsigned before = open_fds();

	cr_assert_eq(send_raw("\xff\xff\xff\xff", 4, 0), 0);
	expect_condemned(before);
}

Test(channel, truncated_message_condemns)
{
	static uint8_t frame[MESSAGE_FRAME_MAX];
	unsigned before = open_fds();
	uint64_t state = 2;
	size_t len = 0;

	random_message(&state, MESSAGE_HELLO, &in);
	cr_assert_eq(message_encode(&in, frame, &len), 0);
	cr_assert_eq(send_raw(frame, len - 1, 0), 0);
	expect_condemned(before);
}

Test(channel, frame_one_byte_too_long_condemns)
{
	static const uint8_t frame[MESSAGE_FRAME_MAX + 1];
	unsigned before = open_fds();

	cr_assert_eq(send_raw(frame, sizeof(frame), 1), 0);
	expect_condemned(before);
	cr_expect_str_eq(channel_fault(mine), "frame is too long");
}

Test(channel, much_longer_frame_condemns)
{
	static const uint8_t frame[2 * MESSAGE_FRAME_MAX];
	unsigned before = open_fds();

	cr_assert_eq(send_raw(frame, sizeof(frame), 16), 0);
	expect_condemned(before);
	cr_expect_str_eq(channel_fault(mine), "frame is too long");
}

Test(channel, one_surplus_fd_condemns)
{
	unsigned before = open_fds();

	cr_assert_eq(send_ping_with(1), 0);
	expect_condemned(before);
}

Test(channel, missing_fds_condemn)
{
	static uint8_t frame[MESSAGE_FRAME_MAX];
	unsigned before = open_fds();
	uint64_t state = 2;
	size_t len = 0;

	random_message(&state, MESSAGE_ENABLE_QUEUE, &in);
	cr_assert_eq(message_encode(&in, frame, &len), 0);
	cr_assert_eq(send_raw(frame, len, 1), 0);
	expect_condemned(before);
}

Test(channel, seventeen_fds_are_closed)
{
	unsigned before = open_fds();

	cr_assert_eq(send_ping_with(FDSET_MAX + 1), 0);
	expect_condemned(before);
	cr_expect_str_eq(channel_fault(mine), "too many descriptors");
}

Test(channel, as_many_fds_as_the_kernel_carries_are_closed)
{
	unsigned before = open_fds();

	cr_assert_eq(send_ping_with(KERNEL_FDS_MAX), 0);
	expect_condemned(before);
	cr_expect_str_eq(channel_fault(mine), "too many descriptors");
}

/* The buffer for fds is sized by this limit: a kernel that raised it would fail here. */
Test(channel, kernel_carries_no_more)
{
	cr_assert_eq(send_ping_with(KERNEL_FDS_MAX + 1), -EINVAL);
	cr_assert_eq(channel_receive(mine, &out, &fds), CHANNEL_EMPTY);
}

/* Room for exactly the two that the message should carry: the third is lost in the kernel. */
Test(channel, fd_lost_to_the_limit_condemns)
{
	static uint8_t frame[MESSAGE_FRAME_MAX];
	unsigned before = open_fds();
	struct rlimit limit;
	uint64_t state = 2;
	size_t len = 0;
	int first = dup(STDIN_FILENO), second = dup(STDIN_FILENO);

	random_message(&state, MESSAGE_ENABLE_QUEUE, &in);
	cr_assert_eq(message_encode(&in, frame, &len), 0);
	cr_assert_eq(send_raw(frame, len, 3), 0);
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = (rlim_t)second + 1;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	fd_close(first);
	fd_close(second);
	expect_condemned(before);
	cr_expect_str_eq(channel_fault(mine), "descriptors were lost");
}

Test(channel, empty_frame_is_a_hang_up)
{
	unsigned before = open_fds();

	cr_assert_eq(send_raw("", 0, 0), 0);
	cr_assert_eq(channel_receive(mine, &out, &fds), CHANNEL_CLOSED);
	cr_assert_eq(send_raw("", 0, 1), 0);
	expect_condemned(before);
}

Test(channel, closed_peer)
{
	fd_close(peer);
	cr_assert_eq(channel_receive(mine, &out, &fds), CHANNEL_CLOSED);
	cr_assert_eq(channel_receive_wait(mine, clock_now_ms() + LONG_MS, &out, &fds),
		     CHANNEL_CLOSED);
	cr_assert_eq(channel_send(mine, &ping, NULL), CHANNEL_CLOSED); /* and no SIGPIPE */
}

Test(channel, last_words_are_heard)
{
	cr_assert_eq(channel_send(mine, &ping, NULL), 0); /* never read: close resets */
	cr_assert_eq(send_ping_with(0), 0);
	fd_close(peer);
	cr_assert_eq(channel_send(mine, &ping, NULL), CHANNEL_CLOSED);
	cr_assert_eq(channel_receive(mine, &out, &fds), 0);
	cr_assert_eq(out.type, MESSAGE_PING);
	cr_assert_eq(channel_receive(mine, &out, &fds), CHANNEL_CLOSED);
}

Test(channel, last_words_are_heard_after_a_reset)
{
	cr_assert_eq(channel_send(mine, &ping, NULL), 0);
	cr_assert_eq(send_ping_with(0), 0);
	fd_close(peer);
	cr_assert_eq(channel_receive(mine, &out, &fds), 0);
	cr_assert_eq(channel_receive(mine, &out, &fds), CHANNEL_CLOSED);
}

Test(channel, nothing_to_receive)
{
	cr_assert_eq(channel_receive(mine, &out, &fds), CHANNEL_EMPTY);
}

Test(channel, wait_ends_at_the_deadline)
{
	uint64_t start = clock_now_ms();

	cr_assert_eq(channel_receive_wait(mine, start + 50, &out, &fds), CHANNEL_TIMEOUT);
	cr_assert_geq(clock_now_ms(), start + 50);
	cr_assert_eq(channel_receive_wait(mine, 0, &out, &fds), CHANNEL_TIMEOUT);
	cr_assert_eq(send_ping_with(0), 0);
	cr_assert_eq(channel_receive_wait(mine, 0, &out, &fds), 0); /* late, but there */
}

static void *answer(void *arg)
{
	(void)poll(NULL, 0, 20);
	cr_assert_eq(send_ping_with(0), 0);
	return arg;
}

Test(channel, wait_wakes_for_a_message)
{
	pthread_t thread;

	cr_assert_eq(pthread_create(&thread, NULL, answer, NULL), 0);
	cr_assert_eq(channel_receive_wait(mine, clock_now_ms() + LONG_MS, &out, &fds), 0);
	cr_assert_eq(out.seq, 1);
	cr_assert_eq(pthread_join(thread, NULL), 0);
}

Test(channel, peer_that_does_not_read_stops_the_sender)
{
	unsigned n = 0;
	int r;

	do
		r = channel_send(mine, &ping, NULL);
	while (r == 0 && ++n < 100000);
	cr_assert_eq(r, -EAGAIN);
	cr_assert_gt(n, 100);
	cr_assert_lt(n, 100000);
	cr_assert_str_empty(channel_fault(mine));
}

Test(channel, four_full_frames_can_queue)
{
	static uint8_t frame[MESSAGE_FRAME_MAX];

	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(send_raw(frame, sizeof(frame), 0), 0);
}

static int handled;

static int handle(void *ctx, const struct message *m, struct fdset *with)
{
	cr_assert_eq(ctx, (void *)&handled);
	cr_assert_eq(with, &fds);
	handled = (int)m->seq;
	return 7;
}

Test(channel, dispatch_follows_the_table)
{
	static const struct message_rule rules[] = {
		{ MESSAGE_PING, 1u << 1, handle },
		{ MESSAGE_REPLY, 1u << 1 | 1u << 2, handle },
		{ MESSAGE_NONE, UINT32_MAX, NULL },
	};
	static const struct message reset = { .type = MESSAGE_RESET };
	static const struct message none = { .type = MESSAGE_NONE };

	cr_expect_eq(message_dispatch(rules, 1, &handled, &ping, &fds), 7);
	cr_expect_eq(handled, 1);
	cr_expect_eq(message_dispatch(rules, 2, &handled, &ping, &fds), CHANNEL_PEER_BAD);
	cr_expect_eq(message_dispatch(rules, 33, &handled, &ping, &fds), CHANNEL_PEER_BAD);
	cr_expect_eq(message_dispatch(rules, 1, &handled, &reset, &fds), CHANNEL_PEER_BAD);
	cr_expect_eq(message_dispatch(rules, 1, &handled, &none, &fds), CHANNEL_PEER_BAD);
}
