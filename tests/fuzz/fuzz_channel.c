/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames with descriptors over a real socket pair, from a peer that sends what it likes. The
 * receiver accepts only whole frames with as many descriptors as their type has, refuses
 * everything after the first bad one, and keeps no descriptor that it was not asked to keep.
 *
 * Input, per frame: number of descriptors (low 5 bits; 0x20: 64 bytes longer than said, 0x40: cut
 * to what the input has), length (16 bits), then the bytes.
 */
#include "ipc/channel.h"

#include <fcntl.h>
#include <sys/socket.h>

#include "ipc/clock.h"
#include "tests/fuzz/fuzz.h"

#define FRAMES_MAX 8
#define FDS_MAX 31 /* more than a message may carry */
#define FDS_SEEN 64 /* more than are ever open at once here */
#define FRAME_ROOM (MESSAGE_FRAME_MAX + 64u)

static int null_fd = -1;

/* Which of the first descriptors are open; the fuzzer itself has some, at any number. */
static void look_at_fds(bool ret[FDS_SEEN])
{
	for (int fd = 0; fd < FDS_SEEN; fd++)
		ret[fd] = fcntl(fd, F_GETFD) != -1;
}

static bool send_raw(int fd, const void *bytes, size_t len, uint32_t n_fds)
{
	union {
		char room[CMSG_SPACE(FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n_fds > 0) {
		struct cmsghdr *c;

		msg.msg_control = control.room;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		for (uint32_t i = 0; i < n_fds; i++)
			memcpy(CMSG_DATA(c) + i * sizeof(int), &null_fd, sizeof(int));
	}
	return sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len;
}

static void receive_all(struct channel *ch)
{
	static struct message m;
	bool is_bad = false;

	for (int i = 0; i < FRAMES_MAX + 2; i++) {
		cleanup_fdset struct fdset fds = FDSET_EMPTY;
		int r = channel_receive(ch, &m, &fds);

		fuzz_check(!is_bad || r == CHANNEL_PEER_BAD);
		fuzz_check(r >= 0 && r != CHANNEL_TIMEOUT);
		if (r != 0)
			fuzz_check(fds.n == 0);
		else
			fuzz_check(fds.n == message_n_fds(&m));
		for (uint32_t k = 0; k < fds.n; k++)
			fuzz_check(fcntl(fds.fds[k], F_GETFD) == FD_CLOEXEC);
		is_bad = r == CHANNEL_PEER_BAD;
		fuzz_check(fuzz_is_text(channel_fault(ch), MESSAGE_TEXT_MAX));
		fuzz_check(is_bad == (channel_fault(ch)[0] != '\0'));
		if (r == CHANNEL_CLOSED)
			return;
	}
	fuzz_check(is_bad); /* only a bad peer can be asked so often without an end */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t bytes[FRAME_ROOM];
	struct fuzz_reader in = { data, size };
	struct channel *ch;
	bool before[FDS_SEEN], after[FDS_SEEN];
	int a, b;

	if (null_fd < 0)
		null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	look_at_fds(before);
	fuzz_check(null_fd >= 0 && channel_pair(&a, &b) == 0);
	fuzz_check(channel_new(a, &ch) == 0);
	for (int i = 0; i < FRAMES_MAX && in.left > 0; i++) {
		uint8_t how = fuzz_u8(&in);
		size_t len = fuzz_u16(&in);

		if (how & 0x20)
			len += 64;
		if ((how & 0x40) && len > in.left)
			len = in.left;
		fuzz_bytes(&in, bytes, len);
		if (!send_raw(b, bytes, len, how & FDS_MAX))
			break;
	}
	b = fd_close(b);
	receive_all(ch);
	ch = channel_free(ch);
	look_at_fds(after);
	fuzz_check(memcmp(before, after, sizeof(before)) == 0);
	return 0;
}
