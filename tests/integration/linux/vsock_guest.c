/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a Debian guest does with its vsock, in test_vsock_linux.py. The host's side are the services
 * of tests/vsock/peer.py. Each command prints one line `guest: COMMAND ...`; every byte is compared.
 *
 *	send MIB        to port 2, half-close, and hear how much was right
 *	receive MIB     from port 3
 *	half            port 7 ends its output; ours goes on
 *	many N          N connections at a time to port 1, in two rounds
 *	stuck SECONDS   one to a host that does not read, and 20 others that go on meanwhile
 *	backlog PORT    listen and accept nothing until a line comes; then serve what waits
 *	survive         100 connections, 10 of them busy, until a line comes
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HOST_CID 2u
#define BLOCK 65536u
#define CONNS_MAX 1000u
#define BUSY 10u
#define SURVIVORS 100u
#define ROUND_BYTES 20000u
#define TRIES 50

enum { PORT_ECHO = 1, PORT_SINK, PORT_SOURCE, PORT_HALF_CLOSE = 7, PORT_LATE = 10, PORT_GO_ON };

struct conn {
	int fd;
	uint64_t at; /* of the next byte, in and out alike */
};

static uint8_t block[BLOCK];

static uint8_t pattern(uint64_t at)
{
	return (uint8_t)(at ^ at >> 8 ^ at >> 16);
}

static void fill(uint64_t at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		block[i] = pattern(at + i);
}

static bool matches(uint64_t at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (block[i] != pattern(at + i))
			return false;
	return true;
}

static int fail(const char *what)
{
	printf("guest: failed: %s: %s\n", what, strerror(errno));
	return 1;
}

static int connect_to(unsigned port)
{
	const struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_cid = HOST_CID,
				       .svm_port = port };
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (const struct sockaddr *)&a, sizeof(a)) == 0)
		return fd;
	if (fd >= 0)
		(void)close(fd);
	return -1;
}

/* The process behind it may just be dying. */
static int connect_in_the_end(unsigned port)
{
	int fd = -1;

	for (int i = 0; i < TRIES && fd < 0; i++) {
		if (i > 0)
			(void)usleep(100000);
		fd = connect_to(port);
	}
	return fd;
}

static bool write_pattern(struct conn *c, uint64_t at, uint64_t n)
{
	while (n > 0) {
		size_t part = n < BLOCK ? n : BLOCK, done = 0;

		fill(at, part);
		while (done < part) {
			ssize_t r = send(c->fd, block + done, part - done, MSG_NOSIGNAL);

			if (r <= 0)
				return false;
			done += (size_t)r;
		}
		at += part;
		n -= part;
	}
	return true;
}

/* Return: 0; 1: it ended or was reset; -1: wrong data */
static int read_pattern(struct conn *c, uint64_t at, uint64_t n)
{
	while (n > 0) {
		ssize_t r = recv(c->fd, block, n < BLOCK ? n : BLOCK, 0);

		if (r <= 0)
			return 1;
		if (!matches(at, (size_t)r))
			return -1;
		at += (uint64_t)r;
		n -= (uint64_t)r;
	}
	return 0;
}

/* Return: as read_pattern() */
static int echo(struct conn *c, uint64_t n)
{
	int r = write_pattern(c, c->at, n) ? read_pattern(c, c->at, n) : 1;

	c->at += n;
	return r;
}

static int run_send(uint64_t n)
{
	struct conn c = { .fd = connect_to(PORT_SINK) };
	uint64_t right = 0;

	if (c.fd < 0 || !write_pattern(&c, 0, n) || shutdown(c.fd, SHUT_WR) < 0 ||
	    recv(c.fd, &right, sizeof(right), MSG_WAITALL) != sizeof(right))
		return fail("send");
	printf("guest: sent %llu of %llu\n", (unsigned long long)right, (unsigned long long)n);
	return 0;
}

static int run_receive(uint64_t n)
{
	struct conn c = { .fd = connect_to(PORT_SOURCE) };
	uint32_t want = (uint32_t)n;

	if (c.fd < 0 || send(c.fd, &want, sizeof(want), 0) != sizeof(want) ||
	    read_pattern(&c, 0, n) != 0 || recv(c.fd, block, 1, 0) != 0)
		return fail("receive");
	printf("guest: received %llu\n", (unsigned long long)n);
	return 0;
}

static int run_half(void)
{
	struct conn c = { .fd = connect_to(PORT_HALF_CLOSE) };

	if (c.fd < 0 || read_pattern(&c, 0, 100) != 0 || recv(c.fd, block, 1, 0) != 0)
		return fail("half: no end of the host's output");
	if (!write_pattern(&c, 0, 1 << 20) || shutdown(c.fd, SHUT_WR) < 0)
		return fail("half: our output ended, too");
	printf("guest: half closed\n");
	return 0;
}

static int run_many(unsigned n)
{
	static struct conn conns[CONNS_MAX];
	unsigned i, round;

	if (n > CONNS_MAX)
		return 2;
	for (i = 0; i < n; i++) {
		conns[i].fd = connect_to(PORT_ECHO);
		if (conns[i].fd < 0)
			return fail("many: connect");
	}
	for (round = 0; round < 2; round++) {
		for (i = 0; i < n; i++)
			if (!write_pattern(&conns[i], 1000 * round, 1000))
				return fail("many: write");
		for (i = 0; i < n; i++)
			if (read_pattern(&conns[i], 1000 * round, 1000) != 0)
				return fail("many: read");
	}
	printf("guest: many %u\n", n);
	return 0;
}

/* Until nothing more has been taken for a second. Return: bytes */
static uint64_t write_until_full(struct conn *c)
{
	struct pollfd p = { .fd = c->fd, .events = POLLOUT };
	uint64_t at = 0;

	while (poll(&p, 1, 1000) > 0) {
		ssize_t r;

		fill(at, BLOCK);
		r = send(c->fd, block, BLOCK, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (r < 0 && errno != EAGAIN)
			break;
		if (r < 0)
			(void)usleep(10000);
		at += r < 0 ? 0 : (uint64_t)r;
	}
	return at;
}

static int run_stuck(unsigned seconds)
{
	struct conn stuck = { .fd = connect_to(PORT_LATE) }, others[20] = { 0 };
	uint64_t taken = write_until_full(&stuck), right = 0;
	time_t end = time(NULL) + (time_t)seconds;
	unsigned i, rounds = 0;

	for (i = 0; i < 20; i++)
		others[i].fd = connect_to(PORT_ECHO);
	for (; time(NULL) < end; rounds++)
		for (i = 0; i < 20; i++)
			if (echo(&others[i], 5000) != 0)
				return fail("stuck: another one");
	if (connect_to(PORT_GO_ON) < 0 ||
	    recv(stuck.fd, &right, sizeof(right), MSG_WAITALL) != sizeof(right))
		return fail("stuck: it does not go on");
	printf("guest: stuck right %d rounds %u bytes %llu\n", right == taken, rounds,
	       (unsigned long long)taken);
	return 0;
}

static int run_backlog(unsigned port)
{
	const struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY,
				       .svm_port = port };
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0), n = 0, client;
	char line[16];

	if (fd < 0 || bind(fd, (const struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 4) < 0)
		return fail("backlog");
	printf("guest: listening\n");
	if (!fgets(line, sizeof(line), stdin) || fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		return fail("backlog");
	while ((client = accept(fd, NULL, NULL)) >= 0) {
		n += send(client, "served\n", 7, MSG_NOSIGNAL) == 7;
		(void)close(client);
	}
	printf("guest: served %d\n", n);
	return 0;
}

static bool line_came(void)
{
	struct pollfd p = { .fd = 0, .events = POLLIN };

	return poll(&p, 1, 0) > 0;
}

static int run_survive(void)
{
	static struct conn conns[SURVIVORS];
	unsigned i, rounds = 0, busy_resets = 0, idle_resets = 0, wrong = 0;
	int r;

	for (i = 0; i < SURVIVORS; i++) {
		conns[i].fd = connect_to(PORT_ECHO);
		if (conns[i].fd < 0)
			return fail("survive: connect");
	}
	while (!line_came()) {
		for (i = 0; i < BUSY; i++) {
			r = echo(&conns[i], ROUND_BYTES);
			if (r == 0)
				continue;
			*(r < 0 ? &wrong : &busy_resets) += 1;
			(void)close(conns[i].fd);
			conns[i] = (struct conn){ .fd = connect_in_the_end(PORT_ECHO) };
		}
		printf("guest: round %u\n", ++rounds);
	}
	for (i = BUSY; i < SURVIVORS; i++) {
		r = echo(&conns[i], 1000);
		*(r < 0 ? &wrong : &idle_resets) += r != 0;
	}
	printf("guest: survived busy-resets=%u idle-resets=%u wrong=%u\n", busy_resets, idle_resets,
	       wrong);
	return 0;
}

int main(int argc, char **argv)
{
	const char *command = argc > 1 ? argv[1] : "";
	unsigned long n = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
	struct rlimit files = { 4096, 4096 };

	(void)setrlimit(RLIMIT_NOFILE, &files);
	(void)signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (strcmp(command, "send") == 0)
		return run_send((uint64_t)n << 20);
	if (strcmp(command, "receive") == 0)
		return run_receive((uint64_t)n << 20);
	if (strcmp(command, "half") == 0)
		return run_half();
	if (strcmp(command, "many") == 0)
		return run_many((unsigned)n);
	if (strcmp(command, "stuck") == 0)
		return run_stuck((unsigned)n);
	if (strcmp(command, "backlog") == 0)
		return run_backlog((unsigned)n);
	if (strcmp(command, "survive") == 0)
		return run_survive();
	return 2;
}
