/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The architectural state of a vCPU: as KVM makes it, kept to come back to at a machine reset,
 * and as the boot protocol wants it at the kernel's first instruction.
 *
 * Every function takes the fd of a vCPU that is not running.
 */
#pragma once

#include <linux/kvm.h>

#include "vmm-core/boot/boot.h"
#include "vmm-core/machine/kvm.h"

#define VCPU_MSRS_MAX 512u

/* struct kvm_msrs with room behind it */
struct vcpu_msrs {
	uint32_t nmsrs;
	uint32_t pad;
	struct kvm_msr_entry entries[VCPU_MSRS_MAX];
};

struct vcpu_state {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_fpu fpu; /* when KVM has no XSAVE */
	struct kvm_xsave xsave;
	struct kvm_xcrs xcrs;
	struct kvm_debugregs debugregs;
	struct kvm_lapic_state lapic;
	struct kvm_mp_state mp_state;
	struct kvm_vcpu_events events;
	bool has_xsave, has_xcrs, has_debugregs, has_events;
};

/**
 * vcpu_state_init() - what KVM leaves to the VMM after creation: LINT pins, a few MSRs
 * @is_first: it runs from the start; the others wait for INIT and SIPI
 */
int must_check vcpu_state_init(int vcpu_fd, bool is_first);

/** vcpu_state_save() - Return: 0; -errno when a part that every KVM has cannot be read */
int must_check vcpu_state_save(int vcpu_fd, struct vcpu_state *ret);

/**
 * vcpu_state_restore() - undo everything the guest did to this vCPU
 * @msrs: from vcpu_state_save_msrs(); MSRs that this KVM refuses to write are left alone
 */
int must_check vcpu_state_restore(int vcpu_fd, const struct vcpu_state *state,
				  const struct vcpu_msrs *msrs);

/**
 * vcpu_state_save_msrs() - the values of all MSRs that KVM saves, on a new vCPU
 *
 * They are the same on every vCPU of a VM, so one is asked for all. The time-stamp counter is
 * noted as 0, not as what has passed since.
 */
int must_check vcpu_state_save_msrs(int kvm_fd, int vcpu_fd, struct vcpu_msrs *ret);

/** vcpu_state_boot() - give the first vCPU the registers that @entry's protocol prescribes */
int must_check vcpu_state_boot(int vcpu_fd, const struct boot_entry *entry);
