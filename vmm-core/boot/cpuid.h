/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What CPUID tells the guest: everything that KVM supports, with the topology of this VM (one
 * package, one thread per core, APIC id = vCPU number) and without nested virtualisation, which
 * would open a large part of KVM to the guest for a use that nobody asked for.
 *
 * Pure functions on a table.
 */
#pragma once

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "ipc/cleanup.h"

#define CPUID_ENTRIES_MAX 256u

/* struct kvm_cpuid2 with room behind it */
struct cpuid_table {
	uint32_t nent;
	uint32_t padding;
	struct kvm_cpuid_entry2 entries[CPUID_ENTRIES_MAX];
};

/**
 * cpuid_prepare() - turn what KVM supports into what every vCPU of this VM gets
 * @n_cpus: 1..VM_CPUS_MAX
 * @tsc_deadline: the in-kernel local APIC has the TSC-deadline timer
 * Return: 0; -ENOSPC when the table is full.
 */
int must_check cpuid_prepare(struct cpuid_table *table, uint32_t n_cpus, bool tsc_deadline);

/** cpuid_set_apic_id() - make a prepared table that of vCPU @id; may be called again */
void cpuid_set_apic_id(struct cpuid_table *table, uint32_t id);

/** cpuid_physical_bits() - width of guest-physical addresses; 36 when the table does not say */
uint32_t cpuid_physical_bits(const struct cpuid_table *table);
