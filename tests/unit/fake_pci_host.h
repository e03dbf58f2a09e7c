/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What KVM holds for a PCI root, for the unit tests and the fuzzer: notification addresses,
 * interrupt fds and messages. fake_check(condition), which the includer defines, judges every call
 * by KVM's own rules.
 */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "vmm-core/transport/pci_root.h"

#define FAKE_HOST_MAX 512u

struct fake_host {
	struct {
		int fd;
		uint64_t address;
	} notify[FAKE_HOST_MAX];
	struct {
		int fd;
		uint32_t vector;
	} irqs[FAKE_HOST_MAX];
	uint32_t n_notify, n_irqs;
	struct pci_route routes[FAKE_HOST_MAX];
	uint32_t n_routes, n_set_routes;
	bool refuses_routes;
};

static int fake_set_notify(void *ctx, int fd, uint64_t address, bool on)
{
	struct fake_host *host = ctx;

	for (uint32_t i = 0; i < host->n_notify; i++) {
		if (host->notify[i].address != address)
			continue;
		fake_check(!on && host->notify[i].fd == fd); /* else -EEXIST */
		host->notify[i] = host->notify[--host->n_notify];
		return 0;
	}
	fake_check(on && host->n_notify < FAKE_HOST_MAX); /* else -ENOENT */
	host->notify[host->n_notify].fd = fd;
	host->notify[host->n_notify++].address = address;
	return 0;
}

static int fake_set_irq(void *ctx, int fd, uint32_t vector, bool on)
{
	struct fake_host *host = ctx;

	for (uint32_t i = 0; i < host->n_irqs; i++) {
		if (host->irqs[i].fd != fd)
			continue;
		fake_check(!on && host->irqs[i].vector == vector); /* else -EBUSY */
		host->irqs[i] = host->irqs[--host->n_irqs];
		return 0;
	}
	fake_check(on && host->n_irqs < FAKE_HOST_MAX && vector < host->n_routes &&
		   host->routes[vector].address != 0); /* a message before the fd */
	host->irqs[host->n_irqs].fd = fd;
	host->irqs[host->n_irqs++].vector = vector;
	return 0;
}

static int fake_set_routes(void *ctx, const struct pci_route *routes, uint32_t n)
{
	struct fake_host *host = ctx;

	fake_check(n <= FAKE_HOST_MAX);
	if (host->refuses_routes)
		return -EINVAL;
	memcpy(host->routes, routes, n * sizeof(*routes));
	host->n_routes = n;
	host->n_set_routes++;
	return 0;
}

static const struct pci_host fake_pci_host = { fake_set_notify, fake_set_irq, fake_set_routes };

/* Where @fd is notified; 0: nowhere */
static inline uint64_t fake_notify_of(const struct fake_host *host, int fd)
{
	for (uint32_t i = 0; i < host->n_notify; i++) {
		if (host->notify[i].fd == fd)
			return host->notify[i].address;
	}
	return 0;
}

/* The message that a signal of @fd sends; NULL: none */
static inline const struct pci_route *fake_message_of(const struct fake_host *host, int fd)
{
	for (uint32_t i = 0; i < host->n_irqs; i++) {
		if (host->irqs[i].fd == fd)
			return &host->routes[host->irqs[i].vector];
	}
	return NULL;
}
