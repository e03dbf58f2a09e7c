/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's end of the net rows, on an interface in this network namespace:
 *
 *	net_load flood IF MAC LEN	sends frames of LEN bytes as fast as they are taken
 *	net_load echo IF		sends back whatever comes
 */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define BATCH 64u
#define FRAME_MAX 65536u

static uint8_t frame[FRAME_MAX];

static int open_packet(const char *name, int protocol)
{
	struct sockaddr_ll at = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons((uint16_t)protocol),
		.sll_ifindex = (int)if_nametoindex(name),
	};
	int fd = socket(AF_PACKET, SOCK_RAW, htons((uint16_t)protocol)), on = 1;

	if (fd < 0 || bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0) {
		perror(name);
		exit(1);
	}
	/* Straight to the driver, and never back to ourselves. */
	(void)setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on));
	(void)setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on));
	return fd;
}

static void flood(int fd, size_t len)
{
	struct mmsghdr messages[BATCH];
	struct iovec iov = { .iov_base = frame, .iov_len = len };

	memset(messages, 0, sizeof(messages));
	for (unsigned i = 0; i < BATCH; i++)
		messages[i].msg_hdr = (struct msghdr){ .msg_iov = &iov, .msg_iovlen = 1 };
	for (;;)
		(void)sendmmsg(fd, messages, BATCH, 0); /* a full tap drops; that is the point */
}

static void echo(int fd)
{
	for (;;) {
		ssize_t n = recv(fd, frame, sizeof(frame), 0);
		uint8_t mac[ETH_ALEN];

		if (n < ETH_HLEN)
			continue;
		memcpy(mac, frame, ETH_ALEN);
		memcpy(frame, frame + ETH_ALEN, ETH_ALEN);
		memcpy(frame + ETH_ALEN, mac, ETH_ALEN);
		(void)send(fd, frame, (size_t)n, 0);
	}
}

int main(int argc, char *argv[])
{
	if (argc == 5 && strcmp(argv[1], "flood") == 0) {
		unsigned mac[ETH_ALEN];
		unsigned long len = strtoul(argv[4], NULL, 10);

		if (len < ETH_HLEN || len > FRAME_MAX ||
		    sscanf(argv[3], "%x:%x:%x:%x:%x:%x", &mac[0], &mac[1], &mac[2], &mac[3],
			   &mac[4], &mac[5]) != ETH_ALEN)
			return 2;
		for (unsigned i = 0; i < ETH_ALEN; i++)
			frame[i] = (uint8_t)mac[i];
		frame[6] = 0x02;
		frame[12] = 0x88; /* local experimental EtherType */
		frame[13] = 0xb5;
		flood(open_packet(argv[2], 0), len);
	}
	if (argc == 3 && strcmp(argv[1], "echo") == 0)
		echo(open_packet(argv[2], 0x88b5));
	fprintf(stderr, "usage: net_load flood IF MAC LEN | echo IF\n");
	return 2;
}
