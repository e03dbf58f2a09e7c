/* SPDX-License-Identifier: Apache-2.0 */
/* Every host file of a VM. Runs in the warden before anything is spawned. */
#include "vmm-core/warden/resources.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>

#include "ipc/clock.h"

#define RESOURCES_LOCK_STEP_MS 20
#define SECTOR_SIZE 512u

void resources_init(struct resources *res)
{
	res->kvm_fd = -1;
	res->kernel_fd = -1;
	res->initramfs_fd = -1;
	for (size_t i = 0; i < ARRAY_LEN(res->device_fds); i++)
		res->device_fds[i] = FDSET_EMPTY;
	for (size_t i = 0; i < ARRAY_LEN(res->nets); i++)
		net_resources_init(&res->nets[i]);
}

/* "--kernel /path: reason" */
static int resources_fail(struct failure *f, const char *flag, const char *path,
			  const char *reason)
{
	return failure_set(f, STATUS_FAILED, "%s%s: %s", flag, path, reason);
}

enum resources_use {
	RESOURCES_BOOT_FILE,
	RESOURCES_DISK,
	RESOURCES_SOURCE, /* of bytes that are read once */
};

static const char *resources_type_fault(mode_t mode, enum resources_use use)
{
	static const char *const faults[] = {
		[RESOURCES_BOOT_FILE] = "not a regular file",
		[RESOURCES_DISK] = "not a regular file or block device",
		[RESOURCES_SOURCE] = "not a character device, FIFO or regular file",
	};

	if (S_ISREG(mode) || (use == RESOURCES_DISK && S_ISBLK(mode)) ||
	    (use == RESOURCES_SOURCE && (S_ISCHR(mode) || S_ISFIFO(mode))))
		return NULL;
	return S_ISDIR(mode) ? "is a directory" : faults[use];
}

/*
 * Open @path with @flags once its type is known to be right. The second open goes through /proc
 * to the very file that was looked at.
 */
static int resources_open_file(const char *flag, const char *path, int flags,
			       enum resources_use use, struct stat *ret_st, int *ret_fd, struct failure *f)
{
	cleanup_fd int path_fd = open(path, O_PATH | O_CLOEXEC);
	char link[64];
	const char *fault;
	int fd;

	if (path_fd < 0 || fstat(path_fd, ret_st) < 0)
		return resources_fail(f, flag, path, strerror(errno));
	fault = resources_type_fault(ret_st->st_mode, use);
	if (fault != NULL)
		return resources_fail(f, flag, path, fault);
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", path_fd);
	fd = open(link, flags | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 && errno == EINVAL && (flags & O_DIRECT))
		return resources_fail(f, flag, path, "the file system has no direct=on (O_DIRECT)");
	if (fd < 0)
		return resources_fail(f, flag, path, strerror(errno));
	*ret_fd = fd;
	return 0;
}

static int resources_open_boot_file(const char *flag, const char *path, int *ret_fd,
				    struct failure *f)
{
	struct stat st;
	int r = resources_open_file(flag, path, O_RDONLY, RESOURCES_BOOT_FILE, &st, ret_fd,
				    f);

	if (r != 0)
		return r;
	if (st.st_size == 0)
		return resources_fail(f, flag, path, "is empty");
	return 0;
}

/* What somebody can do who cannot open it. */
static const char *resources_kvm_advice(int error)
{
	if (error == ENOENT || error == ENODEV || error == ENXIO)
		return ": load kvm_intel or kvm_amd; virtualization must be on in the firmware, or "
		       "in the hypervisor that this machine runs in";
	return error == EACCES || error == EPERM ? ": join its group (ls -l /dev/kvm)" : "";
}

static int resources_open_kvm(const struct vm_config *config, int *ret_fd, struct failure *f)
{
	cleanup_fd int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int v;

	if (fd < 0)
		return failure_set(f, STATUS_FAILED, "/dev/kvm: %s%s", strerror(errno),
				   resources_kvm_advice(errno));
	v = ioctl(fd, KVM_GET_API_VERSION, 0);
	if (v != KVM_API_VERSION)
		return failure_set(f, STATUS_FAILED, "/dev/kvm: not KVM with API version %d",
				   KVM_API_VERSION);
	v = ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
	if (v > 0 && config->n_cpus > (uint32_t)v)
		return failure_set(f, STATUS_FAILED,
				   "--cpus boot=%u: KVM on this host allows at most %d",
				   config->n_cpus, v);
	*ret_fd = fd_steal(&fd);
	return 0;
}

/* One try; *ret_busy when another open file description holds a conflicting lock. */
static int resources_try_lock(int fd, bool exclusive, bool *ret_busy)
{
	struct flock lock = {
		.l_type = exclusive ? F_WRLCK : F_RDLCK,
		.l_whence = SEEK_SET,
	};

	*ret_busy = false;
	if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
		return 0;
	if (errno != EAGAIN && errno != EACCES)
		return -errno;
	*ret_busy = true;
	return 0;
}

static int resources_lock(const char *path, int fd, bool exclusive, struct failure *f)
{
	const struct timespec step = { .tv_nsec = RESOURCES_LOCK_STEP_MS * 1000000l };
	uint64_t deadline = clock_now_ms() + RESOURCES_LOCK_WAIT_MS;

	for (;;) {
		bool busy;
		int r = resources_try_lock(fd, exclusive, &busy);

		if (r < 0)
			return resources_fail(f, "--disk path=", path, strerror(-r));
		if (!busy)
			return 0;
		if (clock_left_ms(deadline) == 0)
			return resources_fail(f, "--disk path=", path,
					      "locked by another process, perhaps a VM; only those "
					      "with readonly=on share an image");
		(void)nanosleep(&step, NULL);
	}
}

static int resources_open_disk(const struct device_config *config, struct fdset *ret,
			       struct failure *f)
{
	const struct blk_config *blk = &config->blk;
	cleanup_fd int fd = -1;
	int flags = (blk->read_only ? O_RDONLY : O_RDWR) | (blk->direct ? O_DIRECT : 0);
	uint64_t size;
	struct stat st;
	int r = resources_open_file("--disk path=", config->path, flags, RESOURCES_DISK, &st, &fd,
				    f);

	if (r != 0)
		return r;
	size = (uint64_t)st.st_size;
	if (S_ISBLK(st.st_mode) && ioctl(fd, BLKGETSIZE64, &size) < 0)
		return resources_fail(f, "--disk path=", config->path, strerror(errno));
	if (size == 0)
		return resources_fail(f, "--disk path=", config->path, "is empty");
	if (size % SECTOR_SIZE != 0)
		return resources_fail(f, "--disk path=", config->path,
				      "size is not a multiple of 512 bytes");
	r = resources_lock(config->path, fd, !blk->read_only, f);
	return r == 0 ? fdset_add(ret, fd_steal(&fd)) : r;
}

/* O_NONBLOCK: a FIFO without a writer, or a device that is dry, must not hold us up. */
static int resources_open_source(const struct device_config *config, struct fdset *ret,
				 struct failure *f)
{
	struct stat st;
	int fd, r;

	if (strcmp(config->path, VM_RNG_SOURCE_DEFAULT) == 0)
		return 0;
	r = resources_open_file("--rng src=", config->path, O_RDONLY | O_NONBLOCK,
				RESOURCES_SOURCE, &st, &fd, f);
	return r == 0 ? fdset_add(ret, fd) : r;
}

static int resources_open_device(const struct device_config *config, struct resources *res,
				 struct fdset *ret, struct failure *f)
{
	if (config->type == DEVICE_TYPE_BLK)
		return resources_open_disk(config, ret, f);
	if (config->type == DEVICE_TYPE_RNG)
		return resources_open_source(config, ret, f);
	if (config->type == DEVICE_TYPE_VSOCK)
		return vsock_socket_open(config->path, &res->vsock, ret, f);
	return 0; /* a console's are opened later: chardev.h; an IOMMU has all from the core */
}

int resources_open(const struct vm_config *config, struct resources *res, struct failure *f)
{
	int r = resources_open_boot_file("--kernel ", config->kernel, &res->kernel_fd, f);

	if (r == 0 && config->initramfs != NULL)
		r = resources_open_boot_file("--initramfs ", config->initramfs,
					     &res->initramfs_fd, f);
	if (r == 0)
		r = resources_open_kvm(config, &res->kvm_fd, f);
	for (uint32_t i = 0; i < config->n_devices && r == 0; i++) {
		const struct device_config *d = &config->devices[i];

		if (d->type == DEVICE_TYPE_NET)
			r = net_resources_open(config->name, d, &res->device_fds[i], &res->nets[i],
					       f);
		else
			r = resources_open_device(d, res, &res->device_fds[i], f);
	}
	return r;
}

void resources_unlock(struct resources *res)
{
	struct flock lock = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

	for (size_t i = 0; i < ARRAY_LEN(res->device_fds); i++) {
		/* Fds that are no image have no lock, or none that this could free. */
		for (uint32_t k = 0; k < res->device_fds[i].n; k++)
			(void)fcntl(res->device_fds[i].fds[k], F_OFD_SETLK, &lock);
	}
}

void resources_close(struct resources *res)
{
	res->kvm_fd = fd_close(res->kvm_fd);
	res->kernel_fd = fd_close(res->kernel_fd);
	res->initramfs_fd = fd_close(res->initramfs_fd);
	vsock_socket_remove(&res->vsock);
	for (size_t i = 0; i < ARRAY_LEN(res->device_fds); i++)
		fdset_clear(&res->device_fds[i]);
	for (size_t i = 0; i < ARRAY_LEN(res->nets); i++)
		net_resources_close(&res->nets[i]);
}

int resources_open_log(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC,
		      0640);

	return fd < 0 ? -errno : fd;
}
