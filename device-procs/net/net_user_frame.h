/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of the guest's frames libslirp gets to see, and the DNS server behind its own address.
 * Pure. bulkhead-net-user; frames of the guest are hostile.
 *
 * ARP and IPv4 only: what is not let through cannot be parsed wrongly.
 *
 * libslirp would open connections to whatever address a packet names. To 127/8 and 0/8 that is
 * this host's loopback, which no guest has business with: what may be reached of it goes by the
 * gateway's address, which libslirp checks itself.
 *
 * A DNS server of the host's network is told to the guest by DHCP as it is. One on the host's
 * loopback is shown at net->nameserver and translated here, port 53 and nothing else.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/cleanup.h"

/* IPv4 addresses, host byte order */
struct net_user_addresses {
	uint32_t network, mask, gateway, dhcp_start;
	uint32_t nameserver; /* what the guest is told */
	uint32_t dns; /* where queries to nameserver go; 0: as they are */
};

/** net_user_addresses() - choose addresses for a host whose DNS server is @dns (0: none) */
struct net_user_addresses net_user_addresses(uint32_t dns);

/**
 * net_user_from_guest() - look at a frame, and change its destination where needed
 * Return: may libslirp have it?
 */
bool net_user_from_guest(const struct net_user_addresses *a, uint8_t *frame, uint32_t len);

/** net_user_to_guest() - change the source of an answer back */
void net_user_to_guest(const struct net_user_addresses *a, uint8_t *frame, uint32_t len);
