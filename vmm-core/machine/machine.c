/* SPDX-License-Identifier: Apache-2.0 */
/* Process: bulkhead-core, event-loop thread, while no vCPU runs. No input here is the guest's. */
#include "vmm-core/machine/machine.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "vmm-core/machine/layout.h"

/** machine_fail() - note why; Return: @r, or -EIO when that says nothing */
static int printf_like(3, 4) machine_fail(struct machine *m, int r, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(m->error, sizeof(m->error), fmt, args);
	va_end(args);
	return r < 0 ? r : -EIO;
}

static int machine_kvm_fail(struct machine *m, int r, const char *what)
{
	return machine_fail(m, r, "/dev/kvm: %s: %s", what, strerror(-r));
}

uint32_t machine_regions(uint64_t size, struct guest_region *ret)
{
	uint64_t low = size < LAYOUT_LOW_RAM_END ? size : LAYOUT_LOW_RAM_END;

	ret[0] = (struct guest_region){ .gpa = 0, .size = low };
	if (size == low)
		return 1;
	ret[1] = (struct guest_region){ .gpa = LAYOUT_HIGH_RAM_START, .size = size - low };
	return 2;
}

static int machine_check_capabilities(struct machine *m)
{
	static const struct {
		int capability;
		const char *name;
	} needed[] = {
		{ KVM_CAP_IRQCHIP, "an interrupt controller" },
		{ KVM_CAP_USER_MEMORY, "user memory" },
		{ KVM_CAP_EXT_CPUID, "CPUID" },
		{ KVM_CAP_MP_STATE, "several processors" },
		{ KVM_CAP_IRQFD, "irqfd" },
		{ KVM_CAP_IOEVENTFD, "ioeventfd" },
		{ KVM_CAP_IOEVENTFD_ANY_LENGTH, "ioeventfd of any length" },
		{ KVM_CAP_IRQ_ROUTING, "interrupt routing" },
		{ KVM_CAP_IMMEDIATE_EXIT, "immediate exit" },
	};
	int r = kvm_get_api_version(m->kvm_fd);

	if (r != KVM_API_VERSION)
		return machine_fail(m, -ENOTSUP, "/dev/kvm: not KVM, or not its API version 12");
	for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
		if (kvm_check_extension(m->kvm_fd, needed[i].capability) <= 0)
			return machine_fail(m, -ENOTSUP, "/dev/kvm: this KVM lacks %s",
					    needed[i].name);
	}
	return 0;
}

static int machine_check_memory(struct machine *m, uint64_t size)
{
	uint32_t bits = cpuid_physical_bits(&m->cpuid);
	struct guest_region regions[2];
	uint32_t n;

	if (size == 0 || size % GUEST_PAGE_SIZE != 0)
		return machine_fail(m, -EINVAL, "--memory: size is not a multiple of 4 KiB");
	n = machine_regions(size, regions);
	if (bits < 64 && (regions[n - 1].size > 1ull << bits ||
			  regions[n - 1].gpa > (1ull << bits) - regions[n - 1].size))
		return machine_fail(m, -EINVAL,
				    "--memory: size does not fit in the %u address bits of this "
				    "host", bits);
	return 0;
}

int machine_open(struct machine *m, int kvm_fd, uint32_t n_cpus, uint64_t memory_size)
{
	int r;

	m->kvm_fd = kvm_fd;
	m->vm_fd = -1;
	r = machine_check_capabilities(m);
	if (r < 0)
		return r;
	r = kvm_check_extension(kvm_fd, KVM_CAP_MAX_VCPUS);
	if (r <= 0)
		r = kvm_check_extension(kvm_fd, KVM_CAP_NR_VCPUS);
	if (n_cpus == 0 || n_cpus > VM_CPUS_MAX || (r > 0 && n_cpus > (uint32_t)r))
		return machine_fail(m, -EINVAL, "--cpus: boot=%u is more than this KVM's %d",
				    n_cpus, r);
	m->cpuid.nent = CPUID_ENTRIES_MAX;
	r = kvm_get_supported_cpuid(kvm_fd, (struct kvm_cpuid2 *)&m->cpuid);
	if (r < 0)
		return machine_kvm_fail(m, r, "KVM_GET_SUPPORTED_CPUID");
	r = machine_check_memory(m, memory_size);
	if (r < 0)
		return r;
	r = cpuid_prepare(&m->cpuid, n_cpus,
			  kvm_check_extension(kvm_fd, KVM_CAP_TSC_DEADLINE_TIMER) > 0);
	return r < 0 ? machine_kvm_fail(m, r, "CPUID") : 0;
}

int machine_create_memory(struct machine *m, uint64_t size, bool hugepages, bool prefault)
{
	struct guest_region regions[2];
	uint32_t n = machine_regions(size, regions);
	int r = guest_memory_create(regions, n, hugepages, prefault, &m->gm);

	if (r < 0)
		return machine_fail(m, r, "--memory: %s%s", strerror(-r),
				    hugepages ? " (hugepages=on takes free pages of 2M: "
						"sysctl vm.nr_hugepages)" : "");
	return 0;
}

uint64_t machine_pci_window(const struct machine *m, uint64_t *ret_size)
{
	uint32_t n = 0, bits = cpuid_physical_bits(&m->cpuid);
	const struct guest_region *last = guest_memory_regions(m->gm, &n) + n - 1;
	uint64_t top = bits < 64 ? 1ull << bits : UINT64_MAX;
	uint64_t end = last->gpa + last->size, base;

	base = end < LAYOUT_HIGH_RAM_START ? LAYOUT_HIGH_RAM_START : (end | 0x3fffffffull) + 1;
	*ret_size = base < top ? top - base : 0;
	return base;
}

static int machine_add_slots(struct machine *m)
{
	uint32_t n;
	const struct guest_region *regions = guest_memory_regions(m->gm, &n);

	for (uint32_t i = 0; i < n; i++) {
		struct kvm_userspace_memory_region slot = {
			.slot = i,
			.guest_phys_addr = regions[i].gpa,
			.memory_size = regions[i].size,
			.userspace_addr = guest_memory_host_base(m->gm, i),
		};
		int r = kvm_set_user_memory_region(m->vm_fd, &slot);

		if (r < 0)
			return machine_fail(m, r, "--memory: KVM refuses %llu MiB: %s",
					    (unsigned long long)(regions[i].size >> 20),
					    strerror(-r));
	}
	return 0;
}

static int machine_create_irqchips(struct machine *m)
{
	int r;

	/* Needed by older Intel CPUs only; KVM on others may know nothing of them. */
	(void)!kvm_set_identity_map_addr(m->vm_fd, LAYOUT_IDENTITY_MAP);
	(void)!kvm_set_tss_addr(m->vm_fd, LAYOUT_TSS);
	r = kvm_create_irqchip(m->vm_fd);
	if (r < 0)
		return machine_kvm_fail(m, r, "KVM_CREATE_IRQCHIP");
	for (uint32_t i = 0; i < MACHINE_IRQCHIPS; i++) {
		m->irqchips[i].chip_id = i;
		r = kvm_get_irqchip(m->vm_fd, &m->irqchips[i]);
		if (r < 0)
			return machine_kvm_fail(m, r, "KVM_GET_IRQCHIP");
	}
	return 0;
}

int machine_create_vm(struct machine *m, int parked_fd)
{
	int run_size = kvm_get_vcpu_mmap_size(m->kvm_fd);
	int r;

	if (run_size < (int)sizeof(struct kvm_run))
		return machine_kvm_fail(m, run_size < 0 ? run_size : -EINVAL,
					"KVM_GET_VCPU_MMAP_SIZE");
	vcpus_init(&m->vcpus, &m->ports, &m->memory, parked_fd, (size_t)run_size);
	m->vm_fd = kvm_create_vm(m->kvm_fd);
	if (m->vm_fd < 0)
		return machine_kvm_fail(m, m->vm_fd, "KVM_CREATE_VM");
	/* The first slot costs 7 ms once there is an irqchip, and next to nothing before. */
	r = machine_add_slots(m);
	if (r < 0)
		return r;
	return machine_create_irqchips(m);
}

int machine_add_vcpu(struct machine *m)
{
	uint32_t id = m->vcpus.n;
	struct vcpu *v = &m->vcpus.cpus[id];
	int fd = kvm_create_vcpu(m->vm_fd, id);
	int r;

	if (fd < 0)
		return machine_kvm_fail(m, fd, "KVM_CREATE_VCPU");
	r = vcpus_add(&m->vcpus, fd);
	if (r < 0)
		return machine_kvm_fail(m, r, "the run page of a vCPU");
	cpuid_set_apic_id(&m->cpuid, id);
	r = kvm_set_cpuid2(v->fd, (const struct kvm_cpuid2 *)&m->cpuid);
	if (r < 0)
		return machine_kvm_fail(m, r, "KVM_SET_CPUID2");
	r = vcpu_state_init(v->fd, id == 0);
	if (r >= 0)
		r = vcpu_state_save(v->fd, &v->created);
	if (r >= 0 && id == 0)
		r = vcpu_state_save_msrs(m->kvm_fd, v->fd, &m->msrs);
	return r < 0 ? machine_kvm_fail(m, r, "the state of a vCPU") : 0;
}

int machine_connect_irq(struct machine *m, int event_fd, uint32_t gsi)
{
	const struct kvm_irqfd irqfd = { .fd = (uint32_t)event_fd, .gsi = gsi };
	int r = kvm_irqfd(m->vm_fd, &irqfd);

	return r < 0 ? machine_kvm_fail(m, r, "KVM_IRQFD") : 0;
}

int machine_connect_notify(struct machine *m, int event_fd, uint64_t addr, uint32_t value)
{
	const struct kvm_ioeventfd ioeventfd = {
		.datamatch = value, .addr = addr, .len = sizeof(value), .fd = event_fd,
		.flags = KVM_IOEVENTFD_FLAG_DATAMATCH,
	};
	int r = kvm_ioeventfd(m->vm_fd, &ioeventfd);

	if (r == -ENOSPC)
		return machine_fail(m, r, "KVM has no room for so many queues");
	return r < 0 ? machine_kvm_fail(m, r, "KVM_IOEVENTFD") : 0;
}

/**
 * machine_write_reset_vector() - all that there is of a BIOS
 *
 * On a hardware-reduced ACPI machine Linux tries EFI to reboot, and without EFI jumps to where a
 * BIOS would start; it does not ask the ACPI reset register. This code pulses the reset line.
 */
static int machine_write_reset_vector(struct machine *m)
{
	static const uint8_t code[] = {
		0xb0, 0xfe, /* mov $0xfe, %al */
		0xe6, 0x64, /* out %al, $0x64 */
		0xf4,	    /* hlt */
		0xeb, 0xfd, /* jmp to the hlt */
	};

	return guest_memory_write(m->gm, gpa(LAYOUT_RESET_VECTOR), code, sizeof(code));
}

int machine_load(struct machine *m, const struct boot_source *source)
{
	struct boot_entry entry;
	int r = boot_load(m->gm, source, &entry, m->error, sizeof(m->error));

	if (r != 0)
		return r < 0 ? r : -EINVAL;
	if (machine_write_reset_vector(m) != 0) /* boot_load() has checked that there is memory */
		return machine_fail(m, -EINVAL, "--memory: too small");
	m->soon = gpa(entry.soon);
	m->soon_size = entry.soon_size;
	r = vcpu_state_boot(m->vcpus.cpus[0].fd, &entry);
	return r < 0 ? machine_kvm_fail(m, r, "the first registers") : 0;
}

void machine_populate(struct machine *m)
{
	guest_memory_populate(m->gm, m->soon, m->soon_size);
	m->soon_size = 0;
}

int machine_reset(struct machine *m)
{
	int r = guest_memory_punch(m->gm);

	if (r < 0)
		return machine_fail(m, r, "--memory: emptying it: %s", strerror(-r));
	for (uint32_t i = 0; i < MACHINE_IRQCHIPS; i++) {
		r = kvm_set_irqchip(m->vm_fd, &m->irqchips[i]);
		if (r < 0)
			return machine_kvm_fail(m, r, "KVM_SET_IRQCHIP");
	}
	for (uint32_t i = 0; i < m->vcpus.n; i++) {
		struct vcpu *v = &m->vcpus.cpus[i];

		r = vcpu_state_restore(v->fd, &v->created, &m->msrs);
		if (r < 0)
			return machine_kvm_fail(m, r, "resetting a vCPU");
	}
	return 0;
}
