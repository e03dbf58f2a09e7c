/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Linux KVM interface, one function per ioctl, nothing else.
 *
 * Every function returns 0 or a positive value as the ioctl does, or -errno. fds are borrowed;
 * returned fds are owned by the caller and CLOEXEC (KVM makes them so).
 */
#pragma once

#include <linux/kvm.h>
#include <stdint.h>

#include "ipc/cleanup.h"

/* on /dev/kvm */
int must_check kvm_get_api_version(int kvm_fd);
int must_check kvm_check_extension(int kvm_or_vm_fd, int capability);
int must_check kvm_get_vcpu_mmap_size(int kvm_fd);
int must_check kvm_get_supported_cpuid(int kvm_fd, struct kvm_cpuid2 *table);
int must_check kvm_get_msr_index_list(int kvm_fd, struct kvm_msr_list *list);
int must_check kvm_create_vm(int kvm_fd);

/* on a VM */
int must_check kvm_set_user_memory_region(int vm_fd, const struct kvm_userspace_memory_region *r);
int must_check kvm_set_tss_addr(int vm_fd, uint64_t addr);
int must_check kvm_set_identity_map_addr(int vm_fd, uint64_t addr);
int must_check kvm_create_irqchip(int vm_fd);
int must_check kvm_get_irqchip(int vm_fd, struct kvm_irqchip *chip); /* chip_id says which */
int must_check kvm_set_irqchip(int vm_fd, const struct kvm_irqchip *chip);
int must_check kvm_create_vcpu(int vm_fd, uint32_t id);
int must_check kvm_set_gsi_routing(int vm_fd, const struct kvm_irq_routing *routing);
int must_check kvm_irqfd(int vm_fd, const struct kvm_irqfd *irqfd);
int must_check kvm_ioeventfd(int vm_fd, const struct kvm_ioeventfd *ioeventfd);

/* on a vCPU */
int must_check kvm_run(int vcpu_fd);
int must_check kvm_set_cpuid2(int vcpu_fd, const struct kvm_cpuid2 *table);
int must_check kvm_get_regs(int vcpu_fd, struct kvm_regs *regs);
int must_check kvm_set_regs(int vcpu_fd, const struct kvm_regs *regs);
int must_check kvm_get_sregs(int vcpu_fd, struct kvm_sregs *sregs);
int must_check kvm_set_sregs(int vcpu_fd, const struct kvm_sregs *sregs);
int must_check kvm_get_fpu(int vcpu_fd, struct kvm_fpu *fpu);
int must_check kvm_set_fpu(int vcpu_fd, const struct kvm_fpu *fpu);
int must_check kvm_get_xsave(int vcpu_fd, struct kvm_xsave *xsave);
int must_check kvm_set_xsave(int vcpu_fd, const struct kvm_xsave *xsave);
int must_check kvm_get_xcrs(int vcpu_fd, struct kvm_xcrs *xcrs);
int must_check kvm_set_xcrs(int vcpu_fd, const struct kvm_xcrs *xcrs);
int must_check kvm_get_debugregs(int vcpu_fd, struct kvm_debugregs *regs);
int must_check kvm_set_debugregs(int vcpu_fd, const struct kvm_debugregs *regs);
int must_check kvm_get_lapic(int vcpu_fd, struct kvm_lapic_state *lapic);
int must_check kvm_set_lapic(int vcpu_fd, const struct kvm_lapic_state *lapic);
int must_check kvm_get_mp_state(int vcpu_fd, struct kvm_mp_state *state);
int must_check kvm_set_mp_state(int vcpu_fd, const struct kvm_mp_state *state);
int must_check kvm_get_vcpu_events(int vcpu_fd, struct kvm_vcpu_events *events);
int must_check kvm_set_vcpu_events(int vcpu_fd, const struct kvm_vcpu_events *events);
/* both return how many MSRs were done before the first that failed */
int must_check kvm_get_msrs(int vcpu_fd, struct kvm_msrs *msrs);
int must_check kvm_set_msrs(int vcpu_fd, const struct kvm_msrs *msrs);
