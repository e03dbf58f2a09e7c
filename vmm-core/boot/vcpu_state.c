/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Process: bulkhead-core, event-loop thread, while the vCPU is stopped. What is read back from a
 * vCPU here was read before the guest ran, so nothing in this file is hostile.
 */
#include "vmm-core/boot/vcpu_state.h"

#include <string.h>

#include "vmm-core/machine/layout.h"

#define MSR_TSC 0x10u
#define MSR_MISC_ENABLE 0x1a0u
#define MSR_MISC_ENABLE_FAST_STRING 0x1u
#define MSR_MTRR_DEF_TYPE 0x2ffu
#define MSR_MTRR_ENABLED_WRITE_BACK 0x806u

#define LAPIC_LVT_LINT0 0x350u
#define LAPIC_LVT_LINT1 0x360u
#define LAPIC_DELIVERY_MASK 0x700u
#define LAPIC_DELIVERY_NMI 0x400u
#define LAPIC_DELIVERY_EXTINT 0x700u

#define CR0_PE 0x1u
#define CR0_ET 0x10u
#define CR0_PG 0x80000000u
#define CR4_PAE 0x20u
#define EFER_LME 0x100u
#define EFER_LMA 0x400u
#define RFLAGS_FIXED 0x2u

#define SEGMENT_CODE 0xbu /* execute, read, accessed */
#define SEGMENT_DATA 0x3u /* read, write, accessed */
#define SEGMENT_TSS_BUSY 0xbu

/**
 * vcpu_state_set_msrs() - set what can be set
 *
 * KVM stops at the first MSR that it refuses: read-only ones, or on a software KVM ones that it
 * only pretends to have. The rest is tried on its own.
 */
static int vcpu_state_set_msrs(int vcpu_fd, const struct vcpu_msrs *msrs)
{
	struct vcpu_msrs rest = { .nmsrs = msrs->nmsrs };
	uint32_t done = 0;

	while (done < msrs->nmsrs) {
		int r;

		rest.nmsrs = msrs->nmsrs - done;
		memcpy(rest.entries, msrs->entries + done, rest.nmsrs * sizeof(rest.entries[0]));
		r = kvm_set_msrs(vcpu_fd, (const struct kvm_msrs *)&rest);
		if (r < 0)
			return r;
		done += (uint32_t)r + 1; /* past the refused one */
	}
	return 0;
}

static uint32_t vcpu_state_get_lapic_register(const struct kvm_lapic_state *lapic, uint32_t at)
{
	uint32_t value;

	memcpy(&value, lapic->regs + at, sizeof(value));
	return value;
}

static void vcpu_state_set_delivery(struct kvm_lapic_state *lapic, uint32_t at, uint32_t mode)
{
	uint32_t value = (vcpu_state_get_lapic_register(lapic, at) & ~LAPIC_DELIVERY_MASK) | mode;

	memcpy(lapic->regs + at, &value, sizeof(value));
}

int vcpu_state_init(int vcpu_fd, bool is_first)
{
	struct kvm_mp_state mp_state = {
		.mp_state = is_first ? KVM_MP_STATE_RUNNABLE : KVM_MP_STATE_UNINITIALIZED,
	};
	struct vcpu_msrs msrs = {
		.nmsrs = 2,
		.entries = {
			{ .index = MSR_MISC_ENABLE, .data = MSR_MISC_ENABLE_FAST_STRING },
			{ .index = MSR_MTRR_DEF_TYPE, .data = MSR_MTRR_ENABLED_WRITE_BACK },
		},
	};
	struct kvm_lapic_state lapic;
	int r = kvm_get_lapic(vcpu_fd, &lapic);

	if (r < 0)
		return r;
	vcpu_state_set_delivery(&lapic, LAPIC_LVT_LINT0, LAPIC_DELIVERY_EXTINT);
	vcpu_state_set_delivery(&lapic, LAPIC_LVT_LINT1, LAPIC_DELIVERY_NMI);
	r = kvm_set_lapic(vcpu_fd, &lapic);
	if (r >= 0)
		r = kvm_set_mp_state(vcpu_fd, &mp_state);
	return r < 0 ? r : vcpu_state_set_msrs(vcpu_fd, &msrs);
}

int vcpu_state_save(int vcpu_fd, struct vcpu_state *ret)
{
	int r = kvm_get_regs(vcpu_fd, &ret->regs);

	if (r >= 0)
		r = kvm_get_sregs(vcpu_fd, &ret->sregs);
	if (r >= 0)
		r = kvm_get_lapic(vcpu_fd, &ret->lapic);
	if (r >= 0)
		r = kvm_get_mp_state(vcpu_fd, &ret->mp_state);
	if (r < 0)
		return r;
	ret->has_xsave = kvm_get_xsave(vcpu_fd, &ret->xsave) >= 0;
	ret->has_xcrs = kvm_get_xcrs(vcpu_fd, &ret->xcrs) >= 0;
	ret->has_debugregs = kvm_get_debugregs(vcpu_fd, &ret->debugregs) >= 0;
	ret->has_events = kvm_get_vcpu_events(vcpu_fd, &ret->events) >= 0;
	return ret->has_xsave ? 0 : kvm_get_fpu(vcpu_fd, &ret->fpu);
}

int vcpu_state_restore(int vcpu_fd, const struct vcpu_state *state, const struct vcpu_msrs *msrs)
{
	struct kvm_mp_state ignored;
	/*
	 * Reading the state makes KVM act on an INIT or SIPI that another vCPU sent last thing
	 * before it was stopped; restored first, it would start this vCPU in the next boot.
	 */
	int r = kvm_get_mp_state(vcpu_fd, &ignored);

	/* The mode comes first: sregs decide how the other parts, the APIC above all, are taken. */
	if (r >= 0)
		r = kvm_set_sregs(vcpu_fd, &state->sregs);
	if (r >= 0)
		r = kvm_set_regs(vcpu_fd, &state->regs);
	if (r >= 0 && state->has_xcrs)
		r = kvm_set_xcrs(vcpu_fd, &state->xcrs);
	if (r >= 0)
		r = state->has_xsave ? kvm_set_xsave(vcpu_fd, &state->xsave) :
				       kvm_set_fpu(vcpu_fd, &state->fpu);
	if (r >= 0 && state->has_debugregs)
		r = kvm_set_debugregs(vcpu_fd, &state->debugregs);
	if (r >= 0)
		r = kvm_set_lapic(vcpu_fd, &state->lapic);
	if (r >= 0)
		r = vcpu_state_set_msrs(vcpu_fd, msrs);
	if (r >= 0 && state->has_events)
		r = kvm_set_vcpu_events(vcpu_fd, &state->events);
	if (r >= 0)
		r = kvm_set_mp_state(vcpu_fd, &state->mp_state);
	return r < 0 ? r : 0;
}

/** vcpu_state_list_msrs() - fill in indices; Return: 0; -E2BIG; -errno */
static int vcpu_state_list_msrs(int kvm_fd, struct vcpu_msrs *ret)
{
	struct {
		uint32_t nmsrs;
		uint32_t indices[VCPU_MSRS_MAX];
	} list = { .nmsrs = VCPU_MSRS_MAX };
	int r = kvm_get_msr_index_list(kvm_fd, (struct kvm_msr_list *)&list);

	if (r < 0)
		return r;
	ret->nmsrs = list.nmsrs;
	for (uint32_t i = 0; i < list.nmsrs; i++)
		ret->entries[i] = (struct kvm_msr_entry){ .index = list.indices[i] };
	return 0;
}

int vcpu_state_save_msrs(int kvm_fd, int vcpu_fd, struct vcpu_msrs *ret)
{
	struct vcpu_msrs part;
	uint32_t kept = 0, at = 0;
	int r = vcpu_state_list_msrs(kvm_fd, ret);

	if (r < 0)
		return r;
	while (at < ret->nmsrs) { /* KVM stops at each one that it lists but cannot read */
		part.nmsrs = ret->nmsrs - at;
		memcpy(part.entries, ret->entries + at, part.nmsrs * sizeof(part.entries[0]));
		r = kvm_get_msrs(vcpu_fd, (struct kvm_msrs *)&part);
		if (r < 0)
			return r;
		memmove(ret->entries + kept, part.entries, (size_t)r * sizeof(part.entries[0]));
		kept += (uint32_t)r;
		at += (uint32_t)r + 1;
	}
	ret->nmsrs = kept;
	for (uint32_t i = 0; i < kept; i++) {
		if (ret->entries[i].index == MSR_TSC)
			ret->entries[i].data = 0;
	}
	return 0;
}

static struct kvm_segment vcpu_state_segment(uint16_t selector, uint8_t type, bool is_long)
{
	return (struct kvm_segment){
		.limit = UINT32_MAX, .selector = selector, .type = type, .present = 1, .s = 1,
		.g = 1, .db = !is_long, .l = is_long,
	};
}

static void vcpu_state_set_segments(struct kvm_sregs *sregs, bool is_long)
{
	struct kvm_segment data = vcpu_state_segment(BOOT_SELECTOR_DATA, SEGMENT_DATA, false);

	sregs->cs = vcpu_state_segment(BOOT_SELECTOR_CODE, SEGMENT_CODE, is_long);
	sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
	sregs->tr = (struct kvm_segment){
		.limit = 0x67, .selector = BOOT_SELECTOR_TSS, .type = SEGMENT_TSS_BUSY,
		.present = 1,
	};
	sregs->gdt = (struct kvm_dtable){ .base = LAYOUT_GDT, .limit = BOOT_GDT_SIZE - 1 };
	sregs->idt = (struct kvm_dtable){ .base = 0, .limit = 0 };
}

int vcpu_state_boot(int vcpu_fd, const struct boot_entry *entry)
{
	bool is_long = entry->protocol == BOOT_LINUX_64;
	struct kvm_regs regs = {
		.rip = entry->rip, .rflags = RFLAGS_FIXED, .rsp = LAYOUT_BOOT_STACK,
		.rbp = LAYOUT_BOOT_STACK,
	};
	struct kvm_sregs sregs;
	int r = kvm_get_sregs(vcpu_fd, &sregs);

	if (r < 0)
		return r;
	vcpu_state_set_segments(&sregs, is_long);
	sregs.cr0 = CR0_PE | CR0_ET | (is_long ? CR0_PG : 0);
	sregs.cr3 = is_long ? LAYOUT_BOOT_PAGE_TABLES : 0;
	sregs.cr4 = is_long ? CR4_PAE : 0;
	sregs.efer = is_long ? EFER_LME | EFER_LMA : 0;
	r = kvm_set_sregs(vcpu_fd, &sregs);
	if (r < 0)
		return r;
	if (entry->protocol == BOOT_PVH)
		regs.rbx = entry->params;
	else
		regs.rsi = entry->params;
	r = kvm_set_regs(vcpu_fd, &regs);
	return r < 0 ? r : 0;
}
