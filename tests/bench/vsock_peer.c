/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side of the vsock rows: `vsock-peer PATH` serves PATH_52 (reads), PATH_53 (writes),
 * PATH_54 (echoes) and PATH_55 (accepts, closes when the guest does), one connection at a time
 * each, in one thread. Prints "ready"; ends by a signal.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define N_PORTS 4
#define BLOCK (256 << 10)

static char block[BLOCK];

static int listen_at(const char *path, int port)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s_%d", path, port);
	(void)unlink(a.sun_path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 128) < 0) {
		perror(a.sun_path);
		exit(1);
	}
	return fd;
}

/* Return: false when the connection is over */
static int serve(int port, int fd)
{
	ssize_t n;

	if (port == 53)
		return send(fd, block, sizeof(block), MSG_NOSIGNAL) > 0;
	n = read(fd, block, sizeof(block));
	if (n <= 0)
		return 0;
	return port != 54 || send(fd, block, (size_t)n, MSG_NOSIGNAL) == n;
}

int main(int argc, char **argv)
{
	struct pollfd polls[2 * N_PORTS];
	int i;

	if (argc != 2) {
		fprintf(stderr, "usage: vsock-peer PATH\n");
		return 2;
	}
	(void)umask(0);
	for (i = 0; i < N_PORTS; i++) {
		polls[i] = (struct pollfd){ listen_at(argv[1], 52 + i), POLLIN, 0 };
		polls[N_PORTS + i] = (struct pollfd){ -1, i == 1 ? POLLOUT : POLLIN, 0 };
	}
	printf("ready\n");
	(void)fflush(stdout);
	while (poll(polls, 2 * N_PORTS, -1) > 0) {
		for (i = 0; i < N_PORTS; i++) {
			struct pollfd *c = &polls[N_PORTS + i];

			if (c->revents && !serve(52 + i, c->fd)) {
				(void)close(c->fd);
				c->fd = -1;
			}
			if (c->fd < 0 && polls[i].revents)
				c->fd = accept4(polls[i].fd, NULL, NULL, SOCK_CLOEXEC);
		}
	}
	return 0;
}
