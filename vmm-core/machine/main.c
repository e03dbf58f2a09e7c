/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bulkhead-core: owns KVM and guest memory. Started by the warden with nothing but /dev/null on
 * fds 0 and 1, stderr on 2 and its channel on 3. This file only puts the steps of the start in
 * their order.
 *
 * The order matters: guest memory before the sandbox, because the sandbox limits file sizes; the
 * VM too, because nothing of it is the guest's yet, and the warden is still making the namespaces;
 * device processes start meanwhile, so the loop is served in between; threads before the seal,
 * because afterwards there are no more of either. No vCPU runs before core_run().
 */
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "sandbox/filters.h"
#include "sandbox/sanitizer_options.h"
#include "vmm-core/machine/core.h"

#define WARDEN_FD 3

/*
 * vCPUs; per device an epoll, an alarm, a channel, a page, a call fd, and two for every queue; the
 * rest: memory, KVM, our own few, and descriptors on their way.
 */
#define FDS(n_cpus, n_devices)                                                                    \
	((n_cpus) + (n_devices) * (5u + 2u * DEVICE_QUEUES_MAX) + CORE_IOMMU_FDS + 64u)
#define MAX_FDS FDS(VM_CPUS_MAX, VM_DEVICES_MAX)
/* bytes: fresh from the kernel it is zero, and what is not used of it costs nothing */
#define LARGE_BLOCK (16 << 10)
#define SPARE_FDS 32u /* after the seal: channels of successors, duplicates being sent */
#define DEVICE_PAGES_MAX (1u << 20) /* bytes of one device page at most, with room */

static const struct sandbox_profile core_profile = {
	.name = "core",
	.filter = &core_filter,
	.max_fds = MAX_FDS,
	.max_threads = VM_CPUS_MAX + 2, /* vCPUs, event loop, one of KVM's own: see vcpu.c */
	.fsize_from_params = true,
};

static void main_create_memory(struct core *core)
{
	const struct vm_config *config = &core->config;
	struct machine *m = &core->machine;

	if (machine_open(m, m->kvm_fd, config->n_cpus, config->memory_size) < 0 ||
	    machine_create_memory(m, config->memory_size, config->memory_hugepages,
				  config->memory_prefault) < 0)
		core_fail(core, "%s", m->error);
}

static int compare_fds(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/** main_close_fds() - keep exactly what the warden sent and what was made of it */
static void main_close_fds(struct core *core)
{
	int keep[16 + CORE_IOMMU_FDS] = {
		channel_fd(core->warden), core->machine.kvm_fd, core->source.kernel_fd,
		core->source.initramfs_fd, core->uid_lock_fd, core->sandbox.parent_pidfd,
		core->serial_in_fd, core->serial_out_fd,
		guest_memory_fd(core->machine.gm, 0), guest_memory_fd(core->machine.gm, 1),
	};
	size_t n = 10, absent = 0;
	int r;

	n += core_iommu_fds(core, keep + n);

	qsort(keep, n, sizeof(keep[0]), compare_fds);
	while (absent < n && keep[absent] < 0)
		absent++;
	r = sandbox_close_fds(keep + absent, n - absent);
	if (r < 0)
		core_fail(core, "core: closing descriptors: %s", strerror(-r));
}

/** main_file_size_max() - only a serial port that writes to a file may make one grow */
static uint64_t main_file_size_max(const struct core *core)
{
	struct stat st;

	if (core->serial_out_fd >= 0 && fstat(core->serial_out_fd, &st) == 0 && S_ISREG(st.st_mode))
		return RLIM_INFINITY;
	return DEVICE_PAGES_MAX;
}

static void main_enter_sandbox(struct core *core)
{
	const char *step;
	int r;

	core->sandbox.file_size_max = main_file_size_max(core);
	r = sandbox_enter(&core_profile, &core->sandbox, &step);
	if (r < 0)
		core_fail(core, "core: sandbox: %s: %s", step, strerror(-r));
	sandbox_close_params(&core->sandbox);
	core_log_time(core, "the core is in its sandbox");
}

/** main_start_vcpus() - they make themselves ready while the kernel is loaded */
static void main_start_vcpus(struct core *core)
{
	int r = vcpus_start(&core->machine.vcpus);

	if (r < 0)
		core_fail(core, "--cpus: the vCPU threads: %s", strerror(-r));
}

static void main_seal(struct core *core)
{
	int r = vcpus_wait_parked(&core->machine.vcpus);
	uint64_t end;

	if (r < 0)
		core_fail(core, "--cpus: the vCPU threads: %s", strerror(-r));
	/* The VM has all it will ever get: nothing of /dev/kvm itself is needed any more. */
	core->machine.kvm_fd = fd_close(core->machine.kvm_fd);
	(void)sandbox_count_fds(FDS(core->config.n_cpus, core->config.n_devices), &end);
	core->sandbox.max_fds = end + SPARE_FDS;
	r = sandbox_seal(&core_profile, &core->sandbox);
	if (r < 0)
		core_fail(core, "core: sandbox: seccomp: %s", strerror(-r));
}

int main(void)
{
	static struct core core; /* zero, so that half a megabyte need not be in the file */

	(void)signal(SIGPIPE, SIG_IGN); /* COM1's reader may go away; write() tells */
	(void)mallopt(M_ARENA_MAX, 1); /* vCPU threads allocate next to nothing */
	(void)mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK);
	(void)mallopt(M_TOP_PAD, LARGE_BLOCK); /* or the heap has room for such a block, unclean */

	core_open_warden(&core, WARDEN_FD);
	core_wait_warden(&core);
	log_set_level(core.config.verbosity == 0 ? LOG_LEVEL_WARNING :
		      core.config.verbosity == 1 ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG);
	main_create_memory(&core);
	core_iommu_open(&core);
	main_close_fds(&core);
	core_create_vm(&core);
	core_wait_warden(&core);
	main_enter_sandbox(&core);

	core_open_loop(&core);
	core_devices_open(&core);
	main_start_vcpus(&core);
	core_build(&core);
	core_devices_wait(&core);
	core_devices_wire(&core);
	core_log_time(&core, "all devices are ready");

	main_seal(&core);
	core_log_time(&core, "the core is sealed");
	core_run(&core);
}
