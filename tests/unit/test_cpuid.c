/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "vmm-core/boot/cpuid.h"

static void add(struct cpuid_table *t, struct kvm_cpuid_entry2 e)
{
	t->entries[t->nent++] = e;
}

static const struct kvm_cpuid_entry2 *find(const struct cpuid_table *t, uint32_t leaf,
					   uint32_t index)
{
	for (uint32_t i = 0; i < t->nent; i++) {
		if (t->entries[i].function == leaf && t->entries[i].index == index)
			return &t->entries[i];
	}
	return NULL;
}

static void fill(struct cpuid_table *t)
{
	*t = (struct cpuid_table){ .nent = 0 };
	add(t, (struct kvm_cpuid_entry2){ .function = 0, .eax = 0x1f });
	add(t, (struct kvm_cpuid_entry2){
			.function = 1, .ebx = 0xaa550800, .ecx = 1u << 5, .edx = 1u << 28 });
	add(t, (struct kvm_cpuid_entry2){ /* level 1 data */
			.function = 4, .index = 0, .eax = 0x21 | 7u << 14 | 31u << 26 });
	add(t, (struct kvm_cpuid_entry2){ /* level 3 */
			.function = 4, .index = 3, .eax = 0x63 | 63u << 14 | 31u << 26 });
	add(t, (struct kvm_cpuid_entry2){ .function = 4, .index = 4 }); /* no more */
	add(t, (struct kvm_cpuid_entry2){ .function = 0xb, .index = 0, .ebx = 77 });
	add(t, (struct kvm_cpuid_entry2){ .function = 0x1f, .index = 0, .ebx = 77 });
	add(t, (struct kvm_cpuid_entry2){ .function = 0x80000001, .ecx = 1u << 2 | 1u << 1 });
	add(t, (struct kvm_cpuid_entry2){
			.function = 0x80000008, .eax = 0x3028, .ecx = 0x601f });
	add(t, (struct kvm_cpuid_entry2){ .function = 0x8000000a, .eax = 1 });
	add(t, (struct kvm_cpuid_entry2){ .function = 0x8000001d, .index = 0, .eax = 0x121 });
	add(t, (struct kvm_cpuid_entry2){
			.function = 0x8000001e, .eax = 9, .ebx = 0x109, .ecx = 0x307 });
	add(t, (struct kvm_cpuid_entry2){ .function = 0x80000026, .ebx = 77 });
}

Test(cpuid, leaf_1_shows_this_vm)
{
	struct cpuid_table t;
	const struct kvm_cpuid_entry2 *e;

	fill(&t);
	cr_assert_eq(cpuid_prepare(&t, 4, true), 0);
	cpuid_set_apic_id(&t, 3);
	e = find(&t, 1, 0);
	cr_assert_eq(e->ebx, 0x03040800, "APIC id, CPUs, cache line");
	cr_assert(e->ecx & 1u << 31, "hypervisor");
	cr_assert(e->ecx & 1u << 24, "TSC deadline");
	cr_assert_not(e->ecx & 1u << 5, "no VMX");
	cr_assert(e->edx & 1u << 28, "more than one CPU");
}

Test(cpuid, one_cpu_and_no_deadline_timer)
{
	struct cpuid_table t;
	const struct kvm_cpuid_entry2 *e;

	fill(&t);
	cr_assert_eq(cpuid_prepare(&t, 1, false), 0);
	e = find(&t, 1, 0);
	cr_assert_not(e->ecx & 1u << 24);
	cr_assert_not(e->edx & 1u << 28);
	cr_assert_eq(find(&t, 0x80000001, 0)->ecx, 0, "neither SVM nor CMP_LEGACY");
}

Test(cpuid, topology_leaves_are_replaced)
{
	struct cpuid_table t;

	fill(&t);
	cr_assert_eq(cpuid_prepare(&t, 5, true), 0);
	cpuid_set_apic_id(&t, 2);
	for (uint32_t leaf = 0xb; leaf <= 0x1f; leaf += 0x1f - 0xb) {
		const struct kvm_cpuid_entry2 *smt = find(&t, leaf, 0), *core = find(&t, leaf, 1);

		cr_assert_eq(smt->eax, 0);
		cr_assert_eq(smt->ebx, 1);
		cr_assert_eq(smt->ecx, 0x100);
		cr_assert_eq(core->eax, 3, "5 CPUs need 3 bits");
		cr_assert_eq(core->ebx, 5);
		cr_assert_eq(core->ecx, 0x201);
		cr_assert_eq(find(&t, leaf, 2)->ebx, 0);
		for (uint32_t i = 0; i < 3; i++)
			cr_assert_eq(find(&t, leaf, i)->edx, 2, "APIC id in every sub-leaf");
	}
}

Test(cpuid, the_host_topology_and_nesting_are_gone)
{
	struct cpuid_table t;

	fill(&t);
	cr_assert_eq(cpuid_prepare(&t, 2, true), 0);
	cr_assert_null(find(&t, 0x80000026, 0));
	cr_assert_null(find(&t, 0x8000000a, 0));
	cr_assert_not_null(find(&t, 0x8000001e, 0), "the others stay");
}

Test(cpuid, amd_leaves_count_this_vm)
{
	struct cpuid_table t;
	const struct kvm_cpuid_entry2 *e;

	fill(&t);
	cr_assert_eq(cpuid_prepare(&t, 4, true), 0);
	cpuid_set_apic_id(&t, 1);
	cr_assert_eq(find(&t, 0x80000008, 0)->ecx, 0x2003);
	e = find(&t, 0x8000001e, 0);
	cr_assert_eq(e->eax, 1);
	cr_assert_eq(e->ebx, 1);
	cr_assert_eq(e->ecx, 0);
}

Test(cpuid, only_the_last_cache_level_is_shared)
{
	struct cpuid_table t;

	fill(&t);
	cr_assert_eq(cpuid_prepare(&t, 4, true), 0);
	cr_assert_eq(find(&t, 4, 0)->eax, 0x21 | 3u << 26);
	cr_assert_eq(find(&t, 4, 3)->eax, 0x63 | 3u << 14 | 3u << 26);
	cr_assert_eq(find(&t, 4, 4)->eax, 0);
}

Test(cpuid, apic_id_can_be_set_again)
{
	struct cpuid_table t;

	fill(&t);
	cr_assert_eq(cpuid_prepare(&t, 64, true), 0);
	cpuid_set_apic_id(&t, 63);
	cpuid_set_apic_id(&t, 5);
	cr_assert_eq(find(&t, 1, 0)->ebx >> 24, 5);
	cr_assert_eq(find(&t, 0xb, 1)->edx, 5);
}

Test(cpuid, physical_bits)
{
	struct cpuid_table t;

	fill(&t);
	cr_assert_eq(cpuid_physical_bits(&t), 0x28);
	t.nent = 1;
	cr_assert_eq(cpuid_physical_bits(&t), 36);
}

Test(cpuid, a_full_table_says_so)
{
	static struct cpuid_table t;

	fill(&t);
	while (t.nent < CPUID_ENTRIES_MAX)
		add(&t, (struct kvm_cpuid_entry2){ .function = 0x40000000 + t.nent });
	cr_assert_eq(cpuid_prepare(&t, 1, true), -ENOSPC);
}
