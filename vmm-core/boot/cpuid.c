/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leaf numbers and fields: Intel SDM volume 2 (CPUID), AMD APM volume 3 appendix E.
 *
 * Process: bulkhead-core, before any vCPU runs.
 */
#include "vmm-core/boot/cpuid.h"

#include <string.h>

#define LEAF1_ECX_VMX (1u << 5)
#define LEAF1_ECX_X2APIC (1u << 21)
#define LEAF1_ECX_TSC_DEADLINE (1u << 24)
#define LEAF1_ECX_HYPERVISOR (1u << 31)
#define LEAF1_EDX_HTT (1u << 28)
#define LEAF80000001_ECX_CMP_LEGACY (1u << 1)
#define LEAF80000001_ECX_SVM (1u << 2)

#define TOPOLOGY_SMT 1u
#define TOPOLOGY_CORE 2u

/** cpuid_id_bits() - bits of an APIC id that number the cores of the package */
static uint32_t cpuid_id_bits(uint32_t n_cpus)
{
	uint32_t bits = 0;

	while ((1u << bits) < n_cpus)
		bits++;
	return bits;
}

static bool cpuid_is_topology(uint32_t leaf)
{
	return leaf == 0xb || leaf == 0x1f;
}

/** cpuid_is_dropped() - leaves that describe the host's topology or nested virtualisation */
static bool cpuid_is_dropped(const struct kvm_cpuid_entry2 *e)
{
	return cpuid_is_topology(e->function) || e->function == 0x80000026 ||
	       e->function == 0x8000000a;
}

/** cpuid_find() - the first entry of @leaf; NULL when there is none */
static const struct kvm_cpuid_entry2 *cpuid_find(const struct cpuid_table *table, uint32_t leaf)
{
	for (uint32_t i = 0; i < table->nent; i++) {
		if (table->entries[i].function == leaf)
			return &table->entries[i];
	}
	return NULL;
}

/** cpuid_add_topology() - three sub-leaves: threads of a core, cores of the package, the end */
static int cpuid_add_topology(struct cpuid_table *table, uint32_t leaf, uint32_t n_cpus)
{
	struct kvm_cpuid_entry2 levels[3] = {
		{ .index = 0, .eax = 0, .ebx = 1, .ecx = TOPOLOGY_SMT << 8 | 0 },
		{ .index = 1, .eax = cpuid_id_bits(n_cpus), .ebx = n_cpus,
		  .ecx = TOPOLOGY_CORE << 8 | 1 },
		{ .index = 2, .ecx = 2 },
	};

	if (table->nent > CPUID_ENTRIES_MAX - ARRAY_LEN(levels))
		return -ENOSPC;
	for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
		levels[i].function = leaf;
		levels[i].flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
		table->entries[table->nent++] = levels[i];
	}
	return 0;
}

/** cpuid_set_cache() - how many vCPUs share a cache: the last level by all, others by none */
static void cpuid_set_cache(struct kvm_cpuid_entry2 *e, uint32_t n_cpus)
{
	uint32_t level = (e->eax >> 5) & 7;

	if ((e->eax & 0x1f) == 0)
		return; /* no more caches */
	e->eax &= ~(0xfffu << 14);
	if (level >= 3)
		e->eax |= (n_cpus - 1) << 14;
}

static void cpuid_prepare_entry(struct kvm_cpuid_entry2 *e, uint32_t n_cpus, bool tsc_deadline)
{
	switch (e->function) {
	case 0x1:
		e->ecx &= ~(LEAF1_ECX_VMX | LEAF1_ECX_TSC_DEADLINE);
		e->ecx |= LEAF1_ECX_HYPERVISOR | (tsc_deadline ? LEAF1_ECX_TSC_DEADLINE : 0);
		e->ebx = (e->ebx & 0xff00ffff) | n_cpus << 16;
		e->edx &= ~LEAF1_EDX_HTT;
		e->edx |= n_cpus > 1 ? LEAF1_EDX_HTT : 0;
		break;
	case 0x4:
		cpuid_set_cache(e, n_cpus);
		e->eax &= ~(0x3fu << 26);
		if (e->eax & 0x1f)
			e->eax |= ((1u << cpuid_id_bits(n_cpus)) - 1) << 26;
		break;
	case 0x80000001:
		e->ecx &= ~(LEAF80000001_ECX_SVM | LEAF80000001_ECX_CMP_LEGACY);
		e->ecx |= n_cpus > 1 ? LEAF80000001_ECX_CMP_LEGACY : 0;
		break;
	case 0x80000008: /* AMD's number of cores; reserved on Intel, which never reads it */
		e->ecx = (e->ecx & ~0xf0ffu) | cpuid_id_bits(n_cpus) << 12 | (n_cpus - 1);
		break;
	case 0x8000001d:
		cpuid_set_cache(e, n_cpus);
		break;
	default:
		break;
	}
}

int cpuid_prepare(struct cpuid_table *table, uint32_t n_cpus, bool tsc_deadline)
{
	const struct kvm_cpuid_entry2 *first = cpuid_find(table, 0);
	uint32_t max_basic = first ? first->eax : 0;
	uint32_t kept = 0;
	int r = 0;

	for (uint32_t i = 0; i < table->nent; i++) {
		if (cpuid_is_dropped(&table->entries[i]))
			continue;
		cpuid_prepare_entry(&table->entries[i], n_cpus, tsc_deadline);
		table->entries[kept++] = table->entries[i];
	}
	table->nent = kept;
	if (max_basic >= 0xb)
		r = cpuid_add_topology(table, 0xb, n_cpus);
	if (r == 0 && max_basic >= 0x1f)
		r = cpuid_add_topology(table, 0x1f, n_cpus);
	return r;
}

void cpuid_set_apic_id(struct cpuid_table *table, uint32_t id)
{
	for (uint32_t i = 0; i < table->nent; i++) {
		struct kvm_cpuid_entry2 *e = &table->entries[i];

		if (e->function == 0x1)
			e->ebx = (e->ebx & 0x00ffffff) | id << 24;
		else if (cpuid_is_topology(e->function))
			e->edx = id;
		else if (e->function == 0x8000001e) {
			e->eax = id;
			e->ebx = id; /* core id; one thread per core */
			e->ecx = 0; /* node 0 of one */
		}
	}
}

uint32_t cpuid_physical_bits(const struct cpuid_table *table)
{
	const struct kvm_cpuid_entry2 *sizes = cpuid_find(table, 0x80000008);

	return sizes ? sizes->eax & 0xff : 36;
}
