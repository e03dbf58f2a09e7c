/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MSI-X: from the registers of a function to KVM. Runs in the core on vCPU threads. The table and
 * the vectors are the guest's and hostile: they decide which messages KVM sends to the guest's own
 * local APICs, and nothing else.
 *
 * DOC: Masking
 *
 * Every source of interrupts (a queue, the configuration) has an eventfd, which its device process
 * signals without asking anybody. While a message may be sent, KVM has the fd set as an irqfd: the
 * source is armed. While it may not (no vector, vector or function masked, MSI-X off, no bus
 * mastering) the fd is taken from KVM, and its counter collects: that counter is the pending bit,
 * looked at when the guest reads it. Arming looks at the counter, so what was pending is sent;
 * disarming takes what KVM has not yet seen of it. So nothing is lost between the two, no process
 * waits, and a driver may move a vector to another CPU under load.
 *
 * Messages are set in KVM when a source is armed whose vector has another one than before, all of
 * the function at once.
 */
#include <poll.h>
#include <sys/eventfd.h>

#include "ipc/log.h"
#include "vmm-core/transport/pci_internal.h"

static int source_fd(const struct pci_function *f, uint32_t source)
{
	return source < f->n_queues ? f->fds->call[source] : f->fds->config;
}

static uint32_t msix_control(const struct pci_function *f)
{
	return pci_config_word(&f->config, VIRTIO_PCI_MSIX_CONTROL) &
	       (VIRTIO_PCI_MSIX_ENABLE | VIRTIO_PCI_MSIX_FUNCTION_MASK);
}

/* The vector that a source is to be armed with. */
static uint16_t wanted_vector(const struct pci_function *f, uint32_t source)
{
	uint16_t vector = f->vectors[source];

	if (msix_control(f) != VIRTIO_PCI_MSIX_ENABLE ||
	    !(pci_config_word(&f->config, PCI_COMMAND) & PCI_COMMAND_MASTER) ||
	    !msix_is_deliverable(&f->msix, vector))
		return VIRTIO_PCI_NO_VECTOR;
	return vector;
}

static bool is_route_new(struct pci_function *f, uint16_t vector)
{
	struct pci_route *route = &f->root->routes[f->first_vector + vector];
	const uint32_t *entry = f->msix.entries[vector];

	if (route->address == entry[MSIX_ADDRESS] && route->data == entry[MSIX_DATA])
		return false;
	*route = (struct pci_route){ .address = entry[MSIX_ADDRESS], .data = entry[MSIX_DATA] };
	return true;
}

static void arm(struct pci_function *f, uint32_t source, uint16_t vector)
{
	uint16_t *armed = &f->armed[source];
	bool on = vector != VIRTIO_PCI_NO_VECTOR;
	int r;

	if (*armed == vector)
		return;
	r = f->root->host->set_irq(f->root->ctx, source_fd(f, source),
				   f->first_vector + (on ? vector : *armed), on);
	if (r < 0)
		log_limited(LOG_LEVEL_ERROR, "pci %u: vector %u: %d", f->slot, vector, r);
	*armed = r < 0 && on ? VIRTIO_PCI_NO_VECTOR : vector;
}

void pci_interrupts_update(struct pci_function *f)
{
	uint16_t wanted[PCI_SOURCES_MAX];
	bool is_changed = false;

	if (f->device == NULL)
		return;
	for (uint32_t i = 0; i <= f->n_queues; i++) {
		wanted[i] = wanted_vector(f, i);
		if (f->armed[i] != wanted[i])
			arm(f, i, VIRTIO_PCI_NO_VECTOR);
		if (wanted[i] != VIRTIO_PCI_NO_VECTOR && is_route_new(f, wanted[i]))
			is_changed = true;
	}
	if (is_changed && f->root->host->set_routes(f->root->ctx, f->root->routes,
						    f->root->n_vectors) < 0)
		log_limited(LOG_LEVEL_ERROR, "pci %u: KVM refuses the messages", f->slot);
	for (uint32_t i = 0; i <= f->n_queues; i++)
		arm(f, i, wanted[i]);
}

void pci_interrupts_forget(struct pci_function *f)
{
	eventfd_t n;

	for (uint32_t i = 0; i <= f->n_queues; i++)
		f->vectors[i] = VIRTIO_PCI_NO_VECTOR;
	pci_interrupts_update(f);
	for (uint32_t i = 0; i <= f->n_queues; i++)
		(void)eventfd_read(source_fd(f, i), &n);
}

uint32_t pci_interrupts_pending(const struct pci_function *f, uint32_t offset)
{
	struct pollfd fds[PCI_SOURCES_MAX];
	uint32_t first = offset * 8, bits = 0;

	for (uint32_t i = 0; i <= f->n_queues; i++)
		fds[i] = (struct pollfd){ .fd = source_fd(f, i), .events = POLLIN };
	(void)poll(fds, f->n_queues + 1, 0);
	for (uint32_t i = 0; i <= f->n_queues; i++) {
		uint32_t vector = f->vectors[i];

		if ((fds[i].revents & POLLIN) && f->armed[i] == VIRTIO_PCI_NO_VECTOR &&
		    (msix_control(f) & VIRTIO_PCI_MSIX_ENABLE) && vector >= first &&
		    vector - first < 32 && vector != VIRTIO_PCI_NO_VECTOR)
			bits |= 1u << (vector - first);
	}
	return bits;
}
