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
#include <string.h>
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

static struct pci_route route_of(const struct pci_function *f, uint16_t vector)
{
	const uint32_t *entry = f->msix.entries[vector];

	return (struct pci_route){ .address = entry[MSIX_ADDRESS], .data = entry[MSIX_DATA] };
}

/* Does KVM have the message of @vector as it is now? */
static bool is_routed(const struct pci_function *f, uint16_t vector)
{
	const struct pci_route *known = &f->root->routes[f->first_vector + vector];
	struct pci_route now = route_of(f, vector);

	return known->address == now.address && known->data == now.data;
}

/*
 * Have KVM know the messages of all that @wanted names. When it refuses, it has those from before,
 * and so have root->routes: it is asked again at the next change.
 */
static void set_routes(struct pci_function *f, const uint16_t *wanted)
{
	struct pci_root *root = f->root;
	struct pci_route *routes = &root->routes[f->first_vector], before[MSIX_VECTORS_MAX];
	bool is_changed = false;

	memcpy(before, routes, f->msix.n * sizeof(before[0]));
	for (uint32_t i = 0; i <= f->n_queues; i++) {
		if (wanted[i] == VIRTIO_PCI_NO_VECTOR || is_routed(f, wanted[i]))
			continue;
		routes[wanted[i]] = route_of(f, wanted[i]);
		is_changed = true;
	}
	if (!is_changed || root->host->set_routes(root->ctx, root->routes, root->n_vectors) == 0)
		return;
	memcpy(routes, before, f->msix.n * sizeof(before[0]));
	log_limited(LOG_LEVEL_ERROR, "pci %u: KVM refuses the messages", f->slot);
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

	if (f->device == NULL)
		return;
	for (uint32_t i = 0; i <= f->n_queues; i++) {
		wanted[i] = wanted_vector(f, i);
		if (f->armed[i] != wanted[i])
			arm(f, i, VIRTIO_PCI_NO_VECTOR);
	}
	set_routes(f, wanted);
	for (uint32_t i = 0; i <= f->n_queues; i++) {
		/* Better no interrupt than another one's: what is signalled stays pending. */
		if (wanted[i] != VIRTIO_PCI_NO_VECTOR && !is_routed(f, wanted[i]))
			wanted[i] = VIRTIO_PCI_NO_VECTOR;
		arm(f, i, wanted[i]);
	}
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
