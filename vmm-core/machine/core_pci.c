/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PCI root in this machine: where it is, and what KVM does for it. Runs in the core, the
 * callbacks on vCPU threads under the root's lock. Nothing here is looked at that the guest wrote,
 * but for the messages, which KVM takes as they are.
 */
#include <string.h>

#include "vmm-core/machine/core.h"
#include "vmm-core/machine/layout.h"

#define CORE_MSI_MAX (PCI_SLOTS * (DEVICE_QUEUES_MAX + 1u))

/* struct kvm_irq_routing with room behind it */
struct core_routing {
	struct kvm_irq_routing head;
	struct kvm_irq_routing_entry entries[LAYOUT_GSI_PINS + CORE_MSI_MAX];
};

static int core_set_notify(void *ctx, int fd, uint64_t address, bool on)
{
	struct core *core = ctx;
	const struct kvm_ioeventfd ioeventfd = {
		.addr = address, .len = 0 /* any */, .fd = fd,
		.flags = on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN,
	};

	return kvm_ioeventfd(core->machine.vm_fd, &ioeventfd);
}

static int core_set_irq(void *ctx, int fd, uint32_t vector, bool on)
{
	struct core *core = ctx;
	const struct kvm_irqfd irqfd = {
		.fd = (uint32_t)fd, .gsi = LAYOUT_GSI_MSI + vector,
		.flags = on ? 0 : KVM_IRQFD_FLAG_DEASSIGN,
	};

	return kvm_irqfd(core->machine.vm_fd, &irqfd);
}

/* KVM replaces all that it has, so the I/O APIC's pins are said again. */
static int core_set_routes(void *ctx, const struct pci_route *routes, uint32_t n)
{
	static struct core_routing routing; /* under the root's lock */
	struct kvm_irq_routing_entry *e = routing.entries;
	struct core *core = ctx;

	for (uint32_t i = 0; i < LAYOUT_GSI_PINS; i++)
		*e++ = (struct kvm_irq_routing_entry){
			.gsi = i, .type = KVM_IRQ_ROUTING_IRQCHIP,
			.u.irqchip = { .irqchip = KVM_IRQCHIP_IOAPIC, .pin = i },
		};
	for (uint32_t i = 0; i < n; i++) {
		if (routes[i].address != 0)
			*e++ = (struct kvm_irq_routing_entry){
				.gsi = LAYOUT_GSI_MSI + i, .type = KVM_IRQ_ROUTING_MSI,
				.u.msi = { .address_lo = routes[i].address, .data = routes[i].data },
			};
	}
	routing.head.nr = (uint32_t)(e - routing.entries);
	return kvm_set_gsi_routing(core->machine.vm_fd, &routing.head);
}

static const struct pci_host core_pci_host = {
	.set_notify = core_set_notify,
	.set_irq = core_set_irq,
	.set_routes = core_set_routes,
};

void core_pci_open(struct core *core)
{
	struct machine *m = &core->machine;
	const struct pci_window windows[PCI_WINDOWS] = {
		{ LAYOUT_PCI_WINDOW, LAYOUT_PCI_WINDOW_SIZE },
		{ core->source.pci_window, core->source.pci_window_size },
	};
	int r = pci_root_new(windows, &core_pci_host, core, &core->pci);

	if (r == 0)
		r = io_bus_add(&m->ports, LAYOUT_PCI_CONFIG, PCI_PORTS, &pci_ports_io, core->pci);
	if (r == 0)
		r = io_bus_add(&m->memory, LAYOUT_PCI_ECAM, PCI_ECAM_SIZE, &pci_ecam_io, core->pci);
	for (uint32_t i = 0; i < PCI_WINDOWS && r == 0; i++) {
		if (windows[i].size != 0)
			r = io_bus_add(&m->memory, windows[i].base, windows[i].size,
				       &pci_window_io, pci_root_window(core->pci, i));
	}
	if (r < 0)
		core_fail(core, "core: PCI: %s", strerror(-r));
}
