/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a sealed core may still ask of the kernel.
 *
 * No open, no socket, no thread or process, no executable mapping, and of KVM only what runs and
 * resets the vCPUs that exist and connects event fds that it has: no VM, no vCPU, no memory slot.
 * Read at build time (sandbox/meson.build).
 */
#define _GNU_SOURCE /* AT_EMPTY_PATH; a build-time tool, without the project's flags */
#include <fcntl.h>
#include <linux/kvm.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "sandbox/seccomp_rule.h"

#define IOCTL(request, reason)                                                                    \
	{                                                                                         \
		.nr = SCMP_SYS(ioctl), .why = reason, .test = SECCOMP_ARG_EQ, .arg = 1,           \
		.value = request                                                                  \
	}

const struct seccomp_rule seccomp_rules[] = {
	IOCTL(KVM_RUN, "vcpu.c: what it is all for"),
	IOCTL(KVM_GET_REGS, "vcpu.c: rip of a crash"),
	IOCTL(KVM_SET_REGS, "vcpu_state.c: reset, first registers"),
	IOCTL(KVM_GET_SREGS, "vcpu_state.c: first registers after a reset"),
	IOCTL(KVM_SET_SREGS, "vcpu_state.c: reset, first registers"),
	IOCTL(KVM_SET_FPU, "vcpu_state.c: reset"),
	IOCTL(KVM_SET_XSAVE, "vcpu_state.c: reset"),
	IOCTL(KVM_SET_XCRS, "vcpu_state.c: reset"),
	IOCTL(KVM_SET_DEBUGREGS, "vcpu_state.c: reset"),
	IOCTL(KVM_SET_LAPIC, "vcpu_state.c: reset"),
	IOCTL(KVM_SET_MSRS, "vcpu_state.c: reset"),
	IOCTL(KVM_SET_VCPU_EVENTS, "vcpu_state.c: reset"),
	IOCTL(KVM_GET_MP_STATE, "vcpu_state.c: reset, takes a pending INIT"),
	IOCTL(KVM_SET_MP_STATE, "vcpu_state.c: reset"),
	IOCTL(KVM_SET_IRQCHIP, "machine.c: reset"),
	IOCTL(KVM_SET_GSI_ROUTING, "core_pci.c: the guest writes MSI-X messages"),
	IOCTL(KVM_IRQFD, "core_pci.c: it masks and unmasks vectors"),
	IOCTL(KVM_IOEVENTFD, "core_pci.c: it moves BARs, and notifications with them"),

	{ .nr = SCMP_SYS(tgkill), .why = "vcpu.c: take a vCPU out of KVM_RUN",
	  .test = SECCOMP_ARG_EQ, .arg = 2, .value = SIGUSR1 },
	{ .nr = SCMP_SYS(rt_sigreturn), .why = "vcpu.c: return from that signal" },
	{ .nr = SCMP_SYS(futex), .why = "locks and conditions between vCPUs and the event loop" },

	{ .nr = SCMP_SYS(epoll_wait), .why = "event loop" },
	{ .nr = SCMP_SYS(epoll_ctl), .why = "event loop; device_link.c: channels come and go" },
	{ .nr = SCMP_SYS(poll), .why = "serial.c: room for output; waiting for a channel" },
	{ .nr = SCMP_SYS(timerfd_settime), .why = "device_link.c: alarm of a link" },
	{ .nr = SCMP_SYS(clock_gettime), .why = "clocks whose source has no vDSO" },
	{ .nr = SCMP_SYS(gettimeofday), .why = "event loop; clocks whose source has no vDSO" },

	{ .nr = SCMP_SYS(recvmsg), .why = "channel.c: receive" },
	{ .nr = SCMP_SYS(sendmsg), .why = "channel.c: send" },
	{ .nr = SCMP_SYS(getsockopt), .why = "channel.c: the type of a successor's channel",
	  .test = SECCOMP_ARG_EQ, .arg = 2, .value = SO_TYPE },
	{ .nr = SCMP_SYS(shutdown), .why = "device_link.c: cut a condemned device off" },
	{ .nr = SCMP_SYS(fcntl), .why = "fdset.c: duplicates that travel with a message",
	  .test = SECCOMP_ARG_EQ, .arg = 1, .value = F_DUPFD_CLOEXEC },
	{ .nr = SCMP_SYS(close), .why = "sent duplicates, channels of dead devices" },

	{ .nr = SCMP_SYS(read), .why = "eventfds, timerfds, COM1 input" },
	{ .nr = SCMP_SYS(write), .why = "eventfds (interrupts, wake-ups), COM1 output" },
	{ .nr = SCMP_SYS(pread64), .why = "boot: load kernel and initramfs again at a reset" },
	{ .nr = SCMP_SYS(fstat), .why = "boot_input.c: size of those files" },
	{ .nr = SCMP_SYS(newfstatat), .why = "boot_input.c: fstat() in some C libraries",
	  .test = SECCOMP_ARG_EQ, .arg = 3, .value = AT_EMPTY_PATH },
	{ .nr = SCMP_SYS(fallocate), .why = "guest_memory.c: empty guest RAM at a reset" },
	{ .nr = SCMP_SYS(madvise), .why = "guest_memory.c: pages for what is loaded then",
	  .test = SECCOMP_ARG_EQ, .arg = 2, .value = MADV_POPULATE_WRITE },
	{ .nr = SCMP_SYS(madvise), .why = "resident.c: what only the start used is given back",
	  .test = SECCOMP_ARG_EQ, .arg = 2, .value = MADV_DONTNEED },

	{ .nr = SCMP_SYS(brk), .why = "malloc" },
	{ .nr = SCMP_SYS(mmap), .why = "malloc", .test = SECCOMP_ARG_MASKED_ZERO, .arg = 2,
	  .value = PROT_EXEC },
	{ .nr = SCMP_SYS(munmap), .why = "malloc" },

	{ .nr = SCMP_SYS(restart_syscall), .why = "a wait that a debugger's stop interrupted" },
	{ .nr = SCMP_SYS(exit_group), .why = "the end" },
	{ .nr = SECCOMP_RULES_END },
};
