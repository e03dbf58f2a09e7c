/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's end of the net rows, on an interface in this network namespace:
 *
 *	net_load flood IF MAC LEN	sends frames of LEN bytes as fast as they are taken
 *	net_load flood-gso IF MAC LEN	the same, TCP segments to be cut by whoever gets them
 *	net_load echo IF		sends back whatever comes
 *	net_load source PORT		sends to who connects to this port of the loopback
 *	net_load sink PORT		reads from who connects
 */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define BATCH 64u
#define FRAME_MAX 65536u
#define STREAM_BYTES (256u << 10)
#define HEADERS 54u /* Ethernet, IPv4, TCP */
#define SEGMENT 1448u
#define BUFFER_BYTES (16 << 20)

static uint8_t frame[sizeof(struct virtio_net_hdr) + FRAME_MAX];

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

/* Sends the frame for ever; @at: where it begins, or its header for the kernel. */
static void flood(int fd, uint8_t *at, size_t len)
{
	struct mmsghdr messages[BATCH];
	struct iovec iov = { .iov_base = at, .iov_len = len };

	memset(messages, 0, sizeof(messages));
	for (unsigned i = 0; i < BATCH; i++)
		messages[i].msg_hdr = (struct msghdr){ .msg_iov = &iov, .msg_iovlen = 1 };
	for (;;)
		(void)sendmmsg(fd, messages, BATCH, 0); /* a full tap drops; that is the point */
}

static void echo(int fd)
{
	int size = BUFFER_BYTES;

	/* What is sent at once must not be lost; only root may have so much. */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
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

/* What the guest has to know to cut it, in front of a TCP packet whose checksum is left open. */
static void flood_gso(int fd, uint8_t *packet, size_t len)
{
	struct virtio_net_hdr header = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = HEADERS, .gso_size = SEGMENT, .csum_start = 34, .csum_offset = 16,
	};
	int on = 1;

	if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) < 0) {
		perror("PACKET_VNET_HDR");
		exit(1);
	}
	packet[12] = 0x08;
	packet[13] = 0x00;
	packet[14] = 0x45;
	packet[16] = (uint8_t)((len - ETH_HLEN) >> 8);
	packet[17] = (uint8_t)(len - ETH_HLEN);
	packet[22] = 64;
	packet[23] = IPPROTO_TCP;
	packet[46] = 0x50;
	memcpy(frame, &header, sizeof(header));
	flood(fd, frame, sizeof(header) + len);
}

/* One connection after the other. */
static void stream(uint16_t port, bool is_source)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1, client;
	uint8_t *bytes = calloc(1, STREAM_BYTES);

	if (!bytes || fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 4) < 0) {
		perror("stream");
		exit(1);
	}
	while ((client = accept(fd, NULL, NULL)) >= 0) {
		if (is_source)
			while (send(client, bytes, STREAM_BYTES, MSG_NOSIGNAL) > 0)
				;
		else
			while (recv(client, bytes, STREAM_BYTES, 0) > 0)
				;
		close(client);
	}
}

int main(int argc, char *argv[])
{
	uint8_t *packet = frame + sizeof(struct virtio_net_hdr);

	if (argc == 5 && (strcmp(argv[1], "flood") == 0 || strcmp(argv[1], "flood-gso") == 0)) {
		unsigned mac[ETH_ALEN];
		unsigned long len = strtoul(argv[4], NULL, 10);

		if (len < HEADERS || len > FRAME_MAX ||
		    sscanf(argv[3], "%x:%x:%x:%x:%x:%x", &mac[0], &mac[1], &mac[2], &mac[3],
			   &mac[4], &mac[5]) != ETH_ALEN)
			return 2;
		for (unsigned i = 0; i < ETH_ALEN; i++)
			packet[i] = (uint8_t)mac[i];
		packet[6] = 0x02;
		packet[12] = 0x88; /* local experimental EtherType */
		packet[13] = 0xb5;
		if (strcmp(argv[1], "flood-gso") == 0)
			flood_gso(open_packet(argv[2], 0), packet, len);
		flood(open_packet(argv[2], 0), packet, len);
	}
	if (argc == 3 && strcmp(argv[1], "echo") == 0)
		echo(open_packet(argv[2], 0x88b5));
	if (argc == 3 && (strcmp(argv[1], "source") == 0 || strcmp(argv[1], "sink") == 0))
		stream((uint16_t)strtoul(argv[2], NULL, 10), strcmp(argv[1], "source") == 0);
	fprintf(stderr, "usage: net_load flood[-gso] IF MAC LEN | echo IF | source|sink PORT\n");
	return 2;
}
