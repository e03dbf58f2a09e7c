/* SPDX-License-Identifier: Apache-2.0 */
/* Process: bulkhead-core. The kernel is trusted; nothing here sees a value of the guest's. */
#include "vmm-core/machine/kvm.h"

#include <sys/ioctl.h>

/** kvm_ioctl() - with -errno; only KVM_RUN may be interrupted, everything else is done again */
static int kvm_ioctl(int fd, unsigned long request, unsigned long arg)
{
	int r;

	do {
		r = ioctl(fd, request, arg);
	} while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

#define PTR(p) ((unsigned long)(p))

int kvm_get_api_version(int kvm_fd)
{
	return kvm_ioctl(kvm_fd, KVM_GET_API_VERSION, 0);
}

int kvm_check_extension(int kvm_or_vm_fd, int capability)
{
	return kvm_ioctl(kvm_or_vm_fd, KVM_CHECK_EXTENSION, (unsigned long)capability);
}

int kvm_get_vcpu_mmap_size(int kvm_fd)
{
	return kvm_ioctl(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
}

int kvm_get_supported_cpuid(int kvm_fd, struct kvm_cpuid2 *table)
{
	return kvm_ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, PTR(table));
}

int kvm_get_msr_index_list(int kvm_fd, struct kvm_msr_list *list)
{
	return kvm_ioctl(kvm_fd, KVM_GET_MSR_INDEX_LIST, PTR(list));
}

int kvm_create_vm(int kvm_fd)
{
	return kvm_ioctl(kvm_fd, KVM_CREATE_VM, 0);
}

int kvm_set_user_memory_region(int vm_fd, const struct kvm_userspace_memory_region *r)
{
	return kvm_ioctl(vm_fd, KVM_SET_USER_MEMORY_REGION, PTR(r));
}

int kvm_set_tss_addr(int vm_fd, uint64_t addr)
{
	return kvm_ioctl(vm_fd, KVM_SET_TSS_ADDR, addr);
}

int kvm_set_identity_map_addr(int vm_fd, uint64_t addr)
{
	return kvm_ioctl(vm_fd, KVM_SET_IDENTITY_MAP_ADDR, PTR(&addr));
}

int kvm_create_irqchip(int vm_fd)
{
	return kvm_ioctl(vm_fd, KVM_CREATE_IRQCHIP, 0);
}

int kvm_create_vcpu(int vm_fd, uint32_t id)
{
	return kvm_ioctl(vm_fd, KVM_CREATE_VCPU, id);
}

int kvm_set_gsi_routing(int vm_fd, const struct kvm_irq_routing *routing)
{
	return kvm_ioctl(vm_fd, KVM_SET_GSI_ROUTING, PTR(routing));
}

int kvm_irqfd(int vm_fd, const struct kvm_irqfd *irqfd)
{
	return kvm_ioctl(vm_fd, KVM_IRQFD, PTR(irqfd));
}

int kvm_ioeventfd(int vm_fd, const struct kvm_ioeventfd *ioeventfd)
{
	return kvm_ioctl(vm_fd, KVM_IOEVENTFD, PTR(ioeventfd));
}

int kvm_run(int vcpu_fd)
{
	return ioctl(vcpu_fd, KVM_RUN, 0) < 0 ? -errno : 0;
}

int kvm_set_cpuid2(int vcpu_fd, const struct kvm_cpuid2 *table)
{
	return kvm_ioctl(vcpu_fd, KVM_SET_CPUID2, PTR(table));
}

/* The rest is pairs of one shape: read a structure, write it back. */
#define KVM_GET_AND_SET(name, type, get, set)                                                     \
	int kvm_get_##name(int fd, struct type *state)                                            \
	{                                                                                         \
		return kvm_ioctl(fd, get, PTR(state));                                            \
	}                                                                                         \
	int kvm_set_##name(int fd, const struct type *state)                                      \
	{                                                                                         \
		return kvm_ioctl(fd, set, PTR(state));                                            \
	}

KVM_GET_AND_SET(irqchip, kvm_irqchip, KVM_GET_IRQCHIP, KVM_SET_IRQCHIP)
KVM_GET_AND_SET(regs, kvm_regs, KVM_GET_REGS, KVM_SET_REGS)
KVM_GET_AND_SET(sregs, kvm_sregs, KVM_GET_SREGS, KVM_SET_SREGS)
KVM_GET_AND_SET(fpu, kvm_fpu, KVM_GET_FPU, KVM_SET_FPU)
KVM_GET_AND_SET(xsave, kvm_xsave, KVM_GET_XSAVE, KVM_SET_XSAVE)
KVM_GET_AND_SET(xcrs, kvm_xcrs, KVM_GET_XCRS, KVM_SET_XCRS)
KVM_GET_AND_SET(debugregs, kvm_debugregs, KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS)
KVM_GET_AND_SET(lapic, kvm_lapic_state, KVM_GET_LAPIC, KVM_SET_LAPIC)
KVM_GET_AND_SET(mp_state, kvm_mp_state, KVM_GET_MP_STATE, KVM_SET_MP_STATE)
KVM_GET_AND_SET(vcpu_events, kvm_vcpu_events, KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS)
KVM_GET_AND_SET(msrs, kvm_msrs, KVM_GET_MSRS, KVM_SET_MSRS)
