/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtual machine itself: KVM's VM, guest memory, interrupt controllers, vCPUs and the I/O
 * tables. Knows nothing of devices, channels or the event loop.
 *
 * Functions that can fail for a reason of the user's (or the host's) write one line about it into
 * machine.error, in the form "--cpus: ..." or "/dev/kvm: ...", and return -errno.
 */
#pragma once

#include "ipc/guest_memory.h"
#include "ipc/message.h"
#include "vmm-core/boot/boot.h"
#include "vmm-core/boot/cpuid.h"
#include "vmm-core/machine/io_bus.h"
#include "vmm-core/machine/vcpu.h"

#define MACHINE_IRQCHIPS 3u /* two PICs and the I/O APIC */

struct machine {
	int kvm_fd; /* owned */
	int vm_fd; /* owned */
	struct guest_memory *gm; /* owned */
	struct io_bus ports, memory;
	struct vcpus vcpus;
	struct cpuid_table cpuid;
	struct kvm_irqchip irqchips[MACHINE_IRQCHIPS]; /* as created */
	struct vcpu_msrs msrs; /* as created */
	gpa_t soon; /* see struct boot_entry */
	uint64_t soon_size;
	char error[MESSAGE_TEXT_MAX];
};

/**
 * machine_regions() - where RAM of @size bytes lies
 * @size: multiple of GUEST_PAGE_SIZE, not 0
 * @ret: room for 2
 * Return: how many regions.
 */
uint32_t machine_regions(uint64_t size, struct guest_region *ret);

/**
 * machine_open() - check what this KVM can do for the VM asked for, read its CPUID
 * @kvm_fd: /dev/kvm, taken
 */
int must_check machine_open(struct machine *m, int kvm_fd, uint32_t n_cpus, uint64_t memory_size);

/** machine_create_memory() - guest RAM; Context: before the sandbox, which limits memfds */
int must_check machine_create_memory(struct machine *m, uint64_t size, bool hugepages,
				     bool prefault);

/** machine_create_vm() - VM, memory slots, interrupt controllers, in the order that is fast */
int must_check machine_create_vm(struct machine *m, int parked_fd);

/** machine_add_vcpu() - the next vCPU, its CPUID and first state; its thread comes later */
int must_check machine_add_vcpu(struct machine *m);

/** machine_connect_irq() - a write to @event_fd (borrowed) is an edge on pin @gsi */
int must_check machine_connect_irq(struct machine *m, int event_fd, uint32_t gsi);

/**
 * machine_connect_notify() - a 32-bit guest write of @value at @addr signals @event_fd (borrowed)
 * and costs no exit
 */
int must_check machine_connect_notify(struct machine *m, int event_fd, uint64_t addr,
				      uint32_t value);

/** machine_pci_window() - what is free above RAM, for BARs; *ret_size 0: nothing */
uint64_t machine_pci_window(const struct machine *m, uint64_t *ret_size);

/** machine_load() - fill memory and set the first vCPU up; memory is all zero before */
int must_check machine_load(struct machine *m, const struct boot_source *source);

/**
 * machine_reset() - back to what it was before machine_load(), memory emptied
 *
 * Context: all vCPUs parked, all devices reset. A failure leaves a VM that cannot go on.
 */
int must_check machine_reset(struct machine *m);

/**
 * machine_populate() - have the pages that the guest begins with, once after each machine_load()
 *
 * While the guest runs already: it writes the first of them while the others are being made.
 */
void machine_populate(struct machine *m);
