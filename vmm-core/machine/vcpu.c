/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Process: bulkhead-core. Hostile: everything about an exit that the guest decides (address, size,
 * direction, value, how often).
 *
 * DOC: Stopping a vCPU
 *
 * vcpus_stop() sets the run page's immediate_exit and sends the thread a signal with an empty
 * handler. Whichever comes first, the thread's next or present KVM_RUN returns -EINTR, and only
 * then it looks whether it should park. An exit that it is just handling is thereby completed
 * first: KVM finishes the I/O instruction when it is entered again and only afterwards honours
 * immediate_exit. The flag is cleared when the set is resumed, while every thread is parked.
 */
#include "vmm-core/machine/vcpu.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "ipc/clock.h"

#define VCPU_SIGNAL SIGUSR1 /* core_seccomp.c allows tgkill() with this one only */
#define VCPU_STACK_SIZE (256u * 1024u)

void vcpus_init(struct vcpus *set, const struct io_bus *ports, const struct io_bus *memory,
		int parked_fd, size_t run_size)
{
	/* Field by field: @set is zero, and an assignment would touch room for every vCPU. */
	set->ports = ports;
	set->memory = memory;
	set->parked_fd = parked_fd;
	set->run_size = run_size;
	set->pid = getpid();
	set->is_stopped = true;
	(void)pthread_mutex_init(&set->lock, NULL); /* default attributes cannot fail on Linux */
	(void)pthread_cond_init(&set->changed, NULL);
}

int vcpus_add(struct vcpus *set, int vcpu_fd)
{
	struct vcpu *v = &set->cpus[set->n];
	void *run;

	if (set->n == VM_CPUS_MAX) {
		(void)fd_close(vcpu_fd);
		return -ENOSPC;
	}
	run = mmap(NULL, set->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_fd, 0);
	if (run == MAP_FAILED) {
		(void)fd_close(vcpu_fd);
		return -errno;
	}
	*v = (struct vcpu){ .id = set->n, .fd = vcpu_fd, .run = run, .set = set };
	set->n++;
	return 0;
}

static void on_vcpu_signal(int number)
{
	(void)number; /* its only purpose is to interrupt KVM_RUN */
}

/** vcpu_park() - wait until the set runs; returns at once when it does */
static void vcpu_park(struct vcpu *v)
{
	struct vcpus *set = v->set;

	(void)pthread_mutex_lock(&set->lock);
	if (set->is_stopped) {
		set->n_parked++;
		if (set->n_parked == set->n) {
			(void)eventfd_write(set->parked_fd, 1);
			(void)pthread_cond_broadcast(&set->changed);
		}
		while (set->is_stopped)
			(void)pthread_cond_wait(&set->changed, &set->lock);
		set->n_parked--;
	}
	if (set->first_run_ns == 0)
		set->first_run_ns = clock_now_ns();
	(void)pthread_mutex_unlock(&set->lock);
}

static void vcpus_stop_locked(struct vcpus *set)
{
	set->is_stopped = true;
	for (uint32_t i = 0; i < set->n; i++) {
		__atomic_store_n(&set->cpus[i].run->immediate_exit, 1, __ATOMIC_SEQ_CST);
		/* A thread that is not in KVM_RUN, the caller itself for one, only loses a moment. */
		(void)syscall(SYS_tgkill, set->pid, set->cpus[i].tid, VCPU_SIGNAL);
	}
	if (set->n_parked == set->n)
		(void)eventfd_write(set->parked_fd, 1);
}

void vcpus_stop(struct vcpus *set)
{
	(void)pthread_mutex_lock(&set->lock);
	vcpus_stop_locked(set);
	(void)pthread_mutex_unlock(&set->lock);
}

bool vcpus_are_parked(struct vcpus *set)
{
	bool parked;

	(void)pthread_mutex_lock(&set->lock);
	parked = set->is_stopped && set->n_parked == set->n;
	(void)pthread_mutex_unlock(&set->lock);
	return parked;
}

void vcpus_resume(struct vcpus *set)
{
	(void)pthread_mutex_lock(&set->lock);
	for (uint32_t i = 0; i < set->n; i++)
		__atomic_store_n(&set->cpus[i].run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	set->request = MACHINE_REQUEST_NONE;
	set->is_stopped = false;
	(void)pthread_cond_broadcast(&set->changed);
	(void)pthread_mutex_unlock(&set->lock);
}

static void vcpus_note(struct vcpus *set, enum machine_request request, const char *crash)
{
	(void)pthread_mutex_lock(&set->lock);
	if (request > set->request) {
		set->request = request;
		(void)snprintf(set->crash, sizeof(set->crash), "%s", crash);
	}
	vcpus_stop_locked(set);
	(void)pthread_mutex_unlock(&set->lock);
}

void vcpus_request(struct vcpus *set, enum machine_request request)
{
	vcpus_note(set, request, "");
}

enum machine_request vcpus_get_request(struct vcpus *set, char *ret_crash)
{
	enum machine_request request;

	(void)pthread_mutex_lock(&set->lock);
	request = set->request;
	memcpy(ret_crash, set->crash, VCPU_CRASH_TEXT_MAX);
	(void)pthread_mutex_unlock(&set->lock);
	return request;
}

uint64_t vcpus_first_run_ns(struct vcpus *set)
{
	uint64_t at;

	(void)pthread_mutex_lock(&set->lock);
	at = set->first_run_ns;
	(void)pthread_mutex_unlock(&set->lock);
	return at;
}

static void printf_like(2, 3) vcpu_crash(struct vcpu *v, const char *fmt, ...)
{
	char text[VCPU_CRASH_TEXT_MAX];
	struct kvm_regs regs = { .rip = 0 };
	int at = snprintf(text, sizeof(text), "vcpu%u: ", v->id);
	va_list args;

	va_start(args, fmt);
	at += vsnprintf(text + at, sizeof(text) - (size_t)at, fmt, args);
	va_end(args);
	if (kvm_get_regs(v->fd, &regs) == 0 && (size_t)at < sizeof(text))
		(void)snprintf(text + at, sizeof(text) - (size_t)at, " at rip 0x%llx", regs.rip);
	vcpus_note(v->set, MACHINE_REQUEST_CRASH, text);
}

/** vcpu_do_port() - IN and OUT, INS and OUTS: the data lies in the run page */
static void vcpu_do_port(struct vcpu *v)
{
	const struct io_bus *bus = v->set->ports;
	uint32_t size = v->run->io.size; /* 1, 2 or 4 */
	uint8_t *data = (uint8_t *)v->run + v->run->io.data_offset;

	for (uint32_t i = 0; i < v->run->io.count; i++, data += size) {
		uint64_t value = 0;

		if (v->run->io.direction == KVM_EXIT_IO_IN) {
			value = io_bus_read(bus, v->run->io.port, size);
			memcpy(data, &value, size);
		} else {
			memcpy(&value, data, size);
			io_bus_write(bus, v->run->io.port, size, value);
		}
	}
}

static void vcpu_do_memory(struct vcpu *v)
{
	const struct io_bus *bus = v->set->memory;
	uint64_t value = 0;

	if (!v->run->mmio.is_write) {
		value = io_bus_read(bus, v->run->mmio.phys_addr, v->run->mmio.len);
		memcpy(v->run->mmio.data, &value, sizeof(value));
		return;
	}
	memcpy(&value, v->run->mmio.data, v->run->mmio.len);
	io_bus_write(bus, v->run->mmio.phys_addr, v->run->mmio.len, value);
}

static void vcpu_do_exit(struct vcpu *v)
{
	switch (v->run->exit_reason) {
	case KVM_EXIT_IO:
		vcpu_do_port(v);
		break;
	case KVM_EXIT_MMIO:
		vcpu_do_memory(v);
		break;
	case KVM_EXIT_SHUTDOWN:
		vcpu_crash(v, "triple fault");
		break;
	case KVM_EXIT_FAIL_ENTRY:
		vcpu_crash(v, "the CPU refused its state, reason 0x%llx",
			   v->run->fail_entry.hardware_entry_failure_reason);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		vcpu_crash(v, "KVM could not emulate it, error %u", v->run->internal.suberror);
		break;
	default:
		vcpu_crash(v, "unexpected exit %u from KVM", v->run->exit_reason);
		break;
	}
}

/**
 * vcpu_prepare() - enter KVM_RUN once without running the guest
 *
 * At a VM's first KVM_RUN recent kernels (from 6.14 on) start a worker of their own in this
 * process, "kvm-nx-lpage-recovery". It must happen now: once the sandbox is sealed RLIMIT_NPROC
 * forbids it.
 */
static void vcpu_prepare(struct vcpu *v)
{
	int r;

	v->run->immediate_exit = 1;
	r = kvm_run(v->fd);
	v->run->immediate_exit = 0;
	if (r == -EINTR)
		return;
	(void)pthread_mutex_lock(&v->set->lock);
	v->set->start_error = r < 0 ? r : -EIO;
	(void)pthread_mutex_unlock(&v->set->lock);
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *v = arg;
	char name[16];

	(void)snprintf(name, sizeof(name), "vcpu%u", v->id);
	(void)prctl(PR_SET_NAME, name);
	v->tid = (pid_t)syscall(SYS_gettid);
	vcpu_prepare(v);
	vcpu_park(v);
	for (;;) {
		int r = kvm_run(v->fd);

		if (r == 0) {
			vcpu_do_exit(v);
			continue;
		}
		if (r == -EAGAIN) /* a waiting vCPU was started by SIPI */
			continue;
		if (r != -EINTR) /* it may never return EINTR again: park at once */
			vcpu_crash(v, "KVM_RUN: %s", strerror(-r));
		vcpu_park(v);
	}
	return NULL;
}

static int vcpus_start_threads(struct vcpus *set)
{
	pthread_attr_t attr;
	int r = pthread_attr_init(&attr);

	if (r != 0)
		return -r;
	r = pthread_attr_setstacksize(&attr, VCPU_STACK_SIZE);
	for (uint32_t i = 0; i < set->n && r == 0; i++) {
		pthread_t thread; /* never joined: they live as long as the process */

		r = pthread_create(&thread, &attr, vcpu_thread, &set->cpus[i]);
	}
	(void)pthread_attr_destroy(&attr);
	return -r;
}

int vcpus_start(struct vcpus *set)
{
	struct sigaction action = { .sa_handler = on_vcpu_signal }; /* no SA_RESTART */

	if (sigaction(VCPU_SIGNAL, &action, NULL) < 0)
		return -errno;
	return vcpus_start_threads(set);
}

int vcpus_wait_parked(struct vcpus *set)
{
	int r;

	(void)pthread_mutex_lock(&set->lock);
	while (set->n_parked < set->n)
		(void)pthread_cond_wait(&set->changed, &set->lock);
	r = set->start_error;
	(void)pthread_mutex_unlock(&set->lock);
	return r;
}
