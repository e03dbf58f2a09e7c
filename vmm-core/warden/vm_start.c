/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting the processes of a VM. Runs in the warden, once.
 *
 * Everything side by side: the core, which has most to do, is started first of all and loads while
 * files are opened; it is told at once what it needs to make the VM; then the devices are started,
 * which load meanwhile; then the namespaces that a thread has been making are handed out.
 */
#include "vmm-core/warden/vm.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define TITLE_MAX (VM_NAME_MAX + VM_ID_MAX)

/* Its sockets are the host's: see net_user.c. */
static bool vm_keeps_network(const struct device_config *device)
{
	return device->type == DEVICE_TYPE_NET && device->net.mode == NET_MODE_USER;
}

/* Does another process serve meanwhile? */
static bool vm_is_ahead(const struct vm *vm, const struct child *child)
{
	return child != &vm->core && child == &vm->devices[child->slot].next;
}

int vm_spawn(struct vm *vm, struct child *child, int program_fd, int *ret_end)
{
	cleanup_fd int child_end = -1, our_end = -1;
	struct spawned spawned;
	struct spawn_what what;
	char title[TITLE_MAX];
	int r;

	r = channel_pair(&our_end, &child_end);
	if (r < 0)
		return r;
	(void)snprintf(title, sizeof(title), "%s/%s", vm->config->name, child->name);
	if (child != &vm->core)
		r = fence_open(&vm->config->devices[child->slot], &child->fence);
	if (r < 0)
		return r;
	what = (struct spawn_what){
		.role = child->role, .title = title, .channel_fd = fd_steal(&child_end),
		.ring_fd = child->fence.ring_fd, .program_fd = program_fd,
	};
	r = spawn(&vm->spawner, &what, &spawned);
	if (r < 0)
		return r;
	child->pid = spawned.pid;
	child->pidfd = spawned.pidfd;
	child->generation++;
	r = vm_child_watch(vm, child);
	if (r < 0)
		return r;
	*ret_end = fd_steal(&our_end);
	return 0;
}

static int vm_add_fd(struct fdset *fds, int fd)
{
	return fd < 0 ? 0 : fdset_add_dup(fds, fd);
}

/* CORE_START: the order of the fds is the protocol's. */
static int vm_send_core_start(struct vm *vm)
{
	cleanup_fdset struct fdset fds = FDSET_EMPTY;
	struct message m = {
		.type = MESSAGE_CORE_START,
		.core_start = {
			.protocol = PROTOCOL_VERSION,
			.uid = uid_block_core(&vm->uids),
			.gid = uid_block_core(&vm->uids),
			.has_initramfs = vm->resources.initramfs_fd >= 0,
			.has_serial_in = vm->serial.in_fd >= 0,
			.has_serial_out = vm->serial.out_fd >= 0,
			.exec_time_ns = vm->params->exec_time_ns,
			.config = *vm->config,
		},
	};
	const int order[] = {
		vm->resources.kvm_fd,	 vm->resources.kernel_fd,    vm->uids.fd,
		vm->spawner.warden_fd,	 vm->resources.initramfs_fd, vm->serial.in_fd,
		vm->serial.out_fd,
	};

	/* Host paths stay here. */
	m.core_start.config.run_dir = NULL;
	m.core_start.config.kernel = NULL;
	m.core_start.config.initramfs = NULL;
	m.core_start.config.serial_path = NULL;
	m.core_start.config.log_file = NULL;
	for (uint32_t i = 0; i < vm->config->n_devices; i++)
		device_config_forget_host(&m.core_start.config.devices[i]);
	for (size_t i = 0; i < ARRAY_LEN(order); i++) {
		int r = vm_add_fd(&fds, order[i]);

		if (r < 0)
			return r;
	}
	vm_core_send(vm, &m, &fds);
	return 0;
}

/* What a process has to know that the configuration does not say. */
static void vm_describe_device(const struct vm *vm, struct message_device_start *start)
{
	const struct device_config *config = &vm->config->devices[start->slot];
	const struct net_resources *res = &vm->resources.nets[start->slot];
	const struct message_adjust *adjust = &vm->adjusts[start->slot];

	/* Changed by bulkheadctl, perhaps, since the predecessor was started. */
	if (config->type == DEVICE_TYPE_BLK)
		start->config.blk.limits = adjust->limits;
	if (config->type != DEVICE_TYPE_NET)
		return;
	start->config.net.limits = adjust->limits;
	start->config.net.link_down = adjust->link_down;
	start->config.net.mac = res->mac;
	start->config.net.mtu = res->mtu;
	start->config.net.dns = res->dns;
	start->config.net.tap_offloads = res->tap_offloads;
	start->n_forwards = config->net.host->n_forwards;
	memcpy(start->forwards, config->net.host->forwards, sizeof(start->forwards));
}

/* The ends of the console that there are, in the order of its message. */
static int vm_describe_console(const struct vm *vm, struct console_config *c, struct fdset *fds)
{
	const struct chardev *from = &vm->console;
	int r = vm_add_fd(fds, from->in_fd);

	c->has_in = from->in_fd >= 0;
	c->has_out = from->out_fd >= 0;
	c->has_size = from->has_size;
	if (r == 0)
		r = vm_add_fd(fds, from->out_fd);
	return r == 0 ? vm_add_fd(fds, from->listen_fd) : r;
}

static int vm_send_namespaces(struct vm *vm)
{
	static const struct message m = { .type = MESSAGE_NAMESPACES };
	cleanup_fdset struct fdset fds = FDSET_EMPTY;
	int r = fdset_add_dup(&fds, vm->namespaces.net_fd);

	if (r == 0)
		r = fdset_add_dup(&fds, vm->namespaces.root_fd);
	if (r == 0)
		vm_core_send(vm, &m, &fds);
	return r;
}

int vm_send_device_start(struct vm *vm, const struct child *child, int core_end)
{
	cleanup_fdset struct fdset fds = FDSET_EMPTY;
	struct message m = {
		.type = MESSAGE_DEVICE_START,
		.generation = child->generation,
		.device_start = {
			.protocol = PROTOCOL_VERSION,
			.uid = uid_block_device(&vm->uids, child->slot, child->generation),
			.gid = uid_block_device(&vm->uids, child->slot, child->generation),
			.slot = child->slot,
			.n_cpus = vm->config->n_cpus,
			.seccomp_log = vm->config->seccomp_log,
			.verbosity = vm->config->verbosity,
			.is_ahead = vm_is_ahead(vm, child),
			.has_root = true,
			.has_network = !vm_keeps_network(&vm->config->devices[child->slot]),
			.config = vm->config->devices[child->slot],
		},
	};
	const struct fdset *own = &vm->resources.device_fds[child->slot];
	struct channel *channel;
	int fd, r = 0;

	device_config_forget_host(&m.device_start.config);
	vm_describe_device(vm, &m.device_start);
	fence_describe(&child->fence, &m.device_start);
	for (uint32_t i = 0; i < own->n && r == 0; i++)
		r = fdset_add_dup(&fds, own->fds[i]);
	if (r == 0 && m.device_start.config.type == DEVICE_TYPE_CONSOLE)
		r = vm_describe_console(vm, &m.device_start.config.console, &fds);
	if (r == 0)
		r = vsock_keeper_link(vm, child, &fds);
	m.device_start.n_fds = fds.n;
	if (r == 0)
		r = fdset_add_dup(&fds, vm->spawner.warden_fd);
	if (r == 0)
		r = fdset_add_dup(&fds, vm->namespaces.root_fd);
	if (r == 0 && m.device_start.has_network)
		r = fdset_add_dup(&fds, vm->namespaces.net_fd);
	if (r < 0)
		return r;
	fd = fcntl(core_end, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return -errno;
	r = channel_new(fd, &channel);
	if (r < 0)
		return r;
	r = channel_send(channel, &m, &fds);
	(void)channel_free(channel);
	/* The socket is new and empty: closed means that the child is dead, its pidfd will tell. */
	return r == CHANNEL_CLOSED ? 0 : r;
}

void vm_send_child(struct vm *vm, enum message_type type, const struct child *child, int core_end,
		   struct message_child flags)
{
	const struct fdset borrowed = { .fds = { core_end }, .n = core_end >= 0 };
	struct message m = { .type = type, .generation = child->generation, .child = flags };

	m.child.slot = child->slot;
	m.child.generation = child->generation;
	m.child.type = vm->config->devices[child->slot].type;
	vm_core_send(vm, &m, &borrowed);
}

static int vm_hand_over(struct vm *vm, struct vm_device *d, int core_end)
{
	int r = vm_send_device_start(vm, &d->process, core_end);

	d->last_generation = d->process.generation;
	vsock_keeper_serve(vm, &d->process);
	if (r == 0)
		vm_send_child(vm, MESSAGE_CHILD_ADDED, &d->process, core_end,
			      (struct message_child){ 0 });
	return r;
}

/* Are all programs there? Asked before the first is started, so that the answer is one line. */
static int vm_check_programs(struct vm *vm, struct failure *f)
{
	int r = spawner_check(&vm->spawner, "core", f);

	for (uint32_t i = 0; i < vm->config->n_devices && r == 0; i++)
		r = spawner_check(&vm->spawner, vm->devices[i].process.role, f);
	return r;
}

int vm_start_core(struct vm *vm, struct failure *f)
{
	int end = -1;
	int r = vm_check_programs(vm, f);

	if (r == 0)
		r = vm_spawn(vm, &vm->core, -1, &end);
	if (r == FAILED)
		return r;
	if (r == -EPERM)
		return failure_set(f, STATUS_FAILED,
				   "core: new namespaces are not permitted (CAP_SYS_ADMIN)");
	if (r < 0)
		return failure_set(f, STATUS_FAILED, "core: cannot be started: %s", strerror(-r));
	return vm_core_attach(vm, end);
}

static int vm_spawn_devices(struct vm *vm, int *ret_ends, struct failure *f)
{
	for (uint32_t i = 0; i < vm->config->n_devices; i++) {
		int r = vm_spawn(vm, &vm->devices[i].process, -1, &ret_ends[i]);

		if (r < 0)
			return failure_set(f, STATUS_FAILED, "%s: cannot be started: %s",
					   vm->devices[i].process.name, strerror(-r));
	}
	return 0;
}

/* The guest may run as soon as the core is ready; to be asked first would cost two wake-ups. */
static void vm_allow_running(struct vm *vm)
{
	static const struct message resume = { .type = MESSAGE_RESUME };

	chardev_start(&vm->serial);
	chardev_start(&vm->console);
	vm_core_send(vm, &resume, NULL);
}

int vm_start(struct vm *vm, struct failure *f)
{
	int ends[VM_DEVICES_MAX];
	int r = vm_send_core_start(vm);

	for (size_t i = 0; i < ARRAY_LEN(ends); i++)
		ends[i] = -1;
	if (r == 0)
		r = vm_spawn_devices(vm, ends, f);
	if (r == 0)
		r = namespaces_wait(&vm->namespaces, f);
	if (r == 0)
		r = vm_send_namespaces(vm);
	for (uint32_t i = 0; i < vm->config->n_devices && r == 0; i++)
		r = vm_hand_over(vm, &vm->devices[i], ends[i]);
	if (r == 0)
		vm_allow_running(vm);
	for (size_t i = 0; i < ARRAY_LEN(ends); i++)
		(void)fd_close(ends[i]);
	return r;
}
