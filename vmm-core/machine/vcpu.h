/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vCPU threads: run, hand exits to the I/O tables, stop when told.
 *
 * All vCPUs run or all are parked; there is no state between. Whoever wants them stopped asks and
 * goes on; when the last one has parked, parked_fd is written. A parked vCPU has finished the
 * instruction it was at, so its registers may be read and written. It executes nothing until
 * vcpus_resume().
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "ipc/vm_config.h"
#include "vmm-core/machine/io_bus.h"
#include "vmm-core/machine/machine_request.h"
#include "vmm-core/boot/vcpu_state.h"

#define VCPU_CRASH_TEXT_MAX 128u

struct vcpus;

struct vcpu {
	uint32_t id;
	int fd; /* owned */
	struct kvm_run *run; /* owned mapping, shared with the kernel */
	pid_t tid;
	struct vcpus *set;
	struct vcpu_state created; /* state to come back to */
};

struct vcpus {
	struct vcpu cpus[VM_CPUS_MAX];
	uint32_t n;
	size_t run_size;
	pid_t pid; /* ours: the sandbox has no getpid() to spare */
	const struct io_bus *ports;
	const struct io_bus *memory;
	int parked_fd; /* borrowed eventfd */

	pthread_mutex_t lock; /* innermost: held for a few stores, never while calling out */
	pthread_cond_t changed;
	bool is_stopped; /* true at first */
	uint32_t n_parked;
	int start_error; /* -errno of a thread that could not start */
	enum machine_request request; /* the guest's most urgent wish since vcpus_resume() */
	char crash[VCPU_CRASH_TEXT_MAX]; /* why, with MACHINE_REQUEST_CRASH */
	uint64_t first_run_ns; /* clock_now_ns() just before the first KVM_RUN */
};

/** vcpus_init() - of a zeroed @set: no vCPUs yet; borrows the tables and the eventfd */
void vcpus_init(struct vcpus *set, const struct io_bus *ports, const struct io_bus *memory,
		int parked_fd, size_t run_size);

/** vcpus_add() - take @vcpu_fd as the next vCPU and map its run page; Return: 0, -errno */
int must_check vcpus_add(struct vcpus *set, int vcpu_fd);

/**
 * vcpus_start() - one thread per vCPU, named vcpuN, which parks
 * Return: 0; -errno. Context: in the sandbox, before it is sealed.
 */
int must_check vcpus_start(struct vcpus *set);

/** vcpus_wait_parked() - until all threads have got there; Return: 0; -errno of the first KVM_RUN */
int must_check vcpus_wait_parked(struct vcpus *set);

/** vcpus_stop() - ask all to park; any thread, vCPUs included; parked_fd follows */
void vcpus_stop(struct vcpus *set);

/** vcpus_are_parked() - stopped, and nobody is still on the way */
bool vcpus_are_parked(struct vcpus *set);

/** vcpus_resume() - let all of them run; what the guest asked for before is forgotten */
void vcpus_resume(struct vcpus *set);

/** vcpus_request() - note the guest's wish and stop all; any vCPU thread */
void vcpus_request(struct vcpus *set, enum machine_request request);

/** vcpus_get_request() - the wish; @ret_crash: VCPU_CRASH_TEXT_MAX bytes */
enum machine_request vcpus_get_request(struct vcpus *set, char *ret_crash);

/** vcpus_first_run_ns() - 0: never ran */
uint64_t vcpus_first_run_ns(struct vcpus *set);
