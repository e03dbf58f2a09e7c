/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one NIC has on the host: a tap, one fd per queue pair, or, in user mode, the forwarded ports
 * and a DNS server. Opened by the warden, which keeps it for as long as the VM lives: the tap stays
 * up whatever happens to a device process.
 */
#pragma once

#include <stdio.h>

#include "ipc/fdset.h"
#include "ipc/vm_config.h"
#include "vmm-core/warden/failure.h"

struct net_resources {
	int port_fds[NET_FORWARDS_MAX]; /* bound, not listening: -1 where there is none */
	uint64_t mac; /* as configured, or the one found for it */
	uint32_t mtu; /* to be announced; 0: none */
	uint32_t dns; /* IPv4, host byte order; 0: none */
	uint32_t tap_offloads; /* TUN_F_* that this kernel knows */
};

/** net_resources_init() - nothing is open */
void net_resources_init(struct net_resources *res);

/**
 * net_resources_open() - attach to the tap, or take the fds that were given, or bind the ports
 *
 * @ret_fds: of the tap, non-blocking, one per queue pair; empty in user mode
 *
 * A tap that does not exist is created, and set up, if we may. Return: 0; FAILED.
 */
int must_check net_resources_open(const char *vm_name, const struct device_config *device,
				  struct fdset *ret_fds, struct net_resources *res,
				  struct failure *f);

/** net_resources_close() - give up the ports; a tap that was created goes with its last fd */
void net_resources_close(struct net_resources *res);

/** resolv_conf_find() - the first IPv4 nameserver of a file like /etc/resolv.conf; 0: none */
uint32_t resolv_conf_find(FILE *in);

/** net_stable_mac() - a local unicast address that is the same for the same three names */
uint64_t net_stable_mac(const char *machine, const char *vm, const char *device);
