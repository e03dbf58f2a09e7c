/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other end of the tap, played by tests/net/run: frames of EtherType 0x88b5 ask it for
 * something, and it answers in order. All other frames of ours it counts.
 */
#pragma once

#include "net.h"
#include "tap.h"

enum peer_op {
	PEER_ECHO = 1, /* the same frame back */
	PEER_COUNT = 2, /* how many other frames came, their bytes, FNV-1a of the last; then 0 */
	PEER_SEND = 3, /* a frames of b bytes each to mac, pattern salt i for the i-th */
	PEER_VLAN = 4, /* the same with a tag of VLAN a */
	PEER_GSO = 5, /* one TCP/IPv4 segment of b bytes of data, to be cut into a bytes each */
	PEER_CARRIER = 6, /* is the tap's carrier on? */
};

struct peer_count {
	uint32_t n, bytes, hash;
};

#define PEER_ETHERTYPE_OTHER 0x88b6

/* Waits until the peer is there; false after a minute */
bool peer_wait(struct vdev *nic);
/* Asks for something; NULL or a detail. a, b, mac (may be NULL): see enum peer_op */
const char *peer_ask(struct net *net, enum peer_op op, uint16_t a, uint16_t b, const uint8_t *mac);
/* The next frame with EtherType 0x88b5 or 0x88b6; Return: as net_receive() */
int peer_receive(struct net *net, uint8_t *to, uint64_t timeout_ms);
/* Sends and gets back a frame of len bytes (at least 64), compared whole. */
const char *peer_echo(struct net *net, uint32_t len);
const char *peer_count(struct net *net, struct peer_count *ret);
/* A frame of len bytes that the peer counts, at net->out; the header is zeroed */
void peer_fill(struct net *net, uint32_t len);
uint32_t peer_hash(const uint8_t *data, uint32_t len);
