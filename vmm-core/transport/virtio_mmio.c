/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-mmio, the part with effects: connects the pure registers (virtio_mmio_regs.c) to the
 * device link, the device page and the interrupt eventfd. Runs in the core, mostly on vCPU
 * threads. Hostile: every access (the guest), the device page (the device process).
 *
 * Locks: mmio->lock, then the link's. A vCPU may hold mmio->lock while it waits for the device,
 * up to the link's deadline; other vCPUs that touch the same registers wait with it. The event
 * loop must not, so what it has to say (failed, config changed) goes through `news`, atomic bits
 * that take effect under the lock at the next access; config space is the link's and needs no
 * mmio->lock either.
 *
 * Interrupt status: the device process sets QUEUE in its page, whose bits count only while the
 * device is active, so nothing of an old session shows in a new one. CONFIG is the core's alone,
 * because only the core knows when the driver would read the new bytes.
 */
#include "vmm-core/transport/virtio_mmio.h"

#include <pthread.h>
#include <sys/eventfd.h>

#include "vmm-core/transport/virtio_mmio_regs.h"

#define NEWS_CONFIG DEVICE_INTERRUPT_CONFIG /* is also what InterruptStatus shows */
#define NEWS_FAILED 0x100u

struct virtio_mmio {
	struct device_link *link;
	int kick_fds[DEVICE_QUEUES_MAX]; /* borrowed */
	int call_fd; /* borrowed */

	uint32_t news; /* atomic, NEWS_* */
	bool is_active; /* atomic: DRIVER_OK is set; written under the lock */

	pthread_mutex_t lock;
	struct device_page *page; /* borrowed from the link, which keeps it */
	struct virtio_mmio_regs regs;
};

/* A full counter only means that the interrupt is pending already. */
static void interrupt(const struct virtio_mmio *mmio)
{
	(void)eventfd_write(mmio->call_fd, 1);
}

bool virtio_mmio_is_active(const struct virtio_mmio *mmio)
{
	return __atomic_load_n(&mmio->is_active, __ATOMIC_SEQ_CST);
}

/*
 * Bits first, then the look at is_active; set_active() does it the other way round, so that one
 * of the two sees the other's and interrupts (both sequentially consistent).
 */
static void post_news(struct virtio_mmio *mmio, uint32_t bits)
{
	(void)__atomic_fetch_or(&mmio->news, bits, __ATOMIC_SEQ_CST);
	if (virtio_mmio_is_active(mmio))
		interrupt(mmio);
}

static void set_active(struct virtio_mmio *mmio)
{
	__atomic_store_n(&mmio->is_active, true, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&mmio->news, __ATOMIC_SEQ_CST) != 0)
		interrupt(mmio);
}

void virtio_mmio_needs_reset(struct virtio_mmio *mmio)
{
	/* §2.1.2: a driver that set DRIVER_OK gets a configuration change notification for it */
	post_news(mmio, NEWS_FAILED | NEWS_CONFIG);
}

void virtio_mmio_config_changed(struct virtio_mmio *mmio)
{
	post_news(mmio, NEWS_CONFIG);
}

/* What the device is, is known from its HELLO on; that comes before the first vCPU runs. */
static void identify(struct virtio_mmio *mmio)
{
	struct virtio_mmio_regs *regs = &mmio->regs;

	if (regs->n_queues != 0)
		return;
	regs->device_id = (uint32_t)device_link_type(mmio->link);
	regs->ram = guest_memory_regions(device_link_memory(mmio->link), &regs->n_ram);
	regs->features = device_link_features(mmio->link);
	regs->queue_size_max = device_link_queue_size_max(mmio->link);
	regs->n_queues = device_link_n_queues(mmio->link);
	mmio->page = device_link_page(mmio->link);
}

static void enter(struct virtio_mmio *mmio)
{
	(void)pthread_mutex_lock(&mmio->lock);
	identify(mmio);
	if (__atomic_fetch_and(&mmio->news, ~NEWS_FAILED, __ATOMIC_SEQ_CST) & NEWS_FAILED)
		(void)virtio_mmio_regs_fail(&mmio->regs); /* post_news() has interrupted */
}

static void leave(struct virtio_mmio *mmio)
{
	(void)pthread_mutex_unlock(&mmio->lock);
}

static uint32_t interrupt_status(struct virtio_mmio *mmio)
{
	uint32_t bits = __atomic_load_n(&mmio->news, __ATOMIC_SEQ_CST) & NEWS_CONFIG;

	if (!virtio_mmio_is_active(mmio))
		return 0;
	return bits | (device_page_interrupts(mmio->page) & DEVICE_INTERRUPT_QUEUE);
}

static void acknowledge(struct virtio_mmio *mmio, uint32_t bits)
{
	if (!virtio_mmio_is_active(mmio))
		return; /* nothing was shown */
	(void)__atomic_fetch_and(&mmio->news, ~(bits & NEWS_CONFIG), __ATOMIC_SEQ_CST);
	device_page_acknowledge(mmio->page, bits & DEVICE_INTERRUPT_QUEUE);
}

static void activate(struct virtio_mmio *mmio)
{
	struct device_link_queue queues[DEVICE_QUEUES_MAX];
	const struct virtio_mmio_regs *regs = &mmio->regs;

	for (uint32_t i = 0; i < regs->n_queues; i++) {
		queues[i] = (struct device_link_queue){
			.ready = regs->queues[i].ready, .size = regs->queues[i].size,
			.desc = regs->queues[i].desc, .avail = regs->queues[i].avail,
			.used = regs->queues[i].used, .kick_fd = mmio->kick_fds[i],
			.call_fd = mmio->call_fd,
		};
	}
	device_page_acknowledge(mmio->page, UINT32_MAX); /* whatever an earlier session left there */
	if (device_link_activate(mmio->link, regs->driver_features, queues, regs->n_queues) != 0) {
		(void)virtio_mmio_regs_fail(&mmio->regs);
		(void)__atomic_fetch_or(&mmio->news, NEWS_CONFIG, __ATOMIC_SEQ_CST);
	}
	set_active(mmio);
}

/*
 * Back to the initial state, whether the device answers or not; Status reads 0 as a driver expects.
 * When no process can be had, FEATURES_OK will not stick: that is the step at which every driver
 * checks and gives up in an orderly way.
 */
static int reset(struct virtio_mmio *mmio)
{
	int r;

	__atomic_store_n(&mmio->is_active, false, __ATOMIC_SEQ_CST);
	r = device_link_reset(mmio->link);
	__atomic_store_n(&mmio->news, 0, __ATOMIC_SEQ_CST);
	virtio_mmio_regs_reset(&mmio->regs);
	return r;
}

int virtio_mmio_reset(struct virtio_mmio *mmio)
{
	int r;

	enter(mmio);
	r = reset(mmio);
	leave(mmio);
	return r;
}

static uint64_t mmio_read(void *ctx, uint64_t offset, unsigned size)
{
	struct virtio_mmio *mmio = ctx;
	uint64_t value;

	if (offset >= VIRTIO_MMIO_CONFIG)
		return device_link_config_read(mmio->link, (uint32_t)(offset - VIRTIO_MMIO_CONFIG),
					       size);
	if (offset == VIRTIO_MMIO_CONFIG_GENERATION && size == 4)
		return device_link_config_generation(mmio->link);
	enter(mmio);
	if (offset == VIRTIO_MMIO_INTERRUPT_STATUS && size == 4)
		value = interrupt_status(mmio);
	else
		value = virtio_mmio_regs_read(&mmio->regs, offset, size);
	leave(mmio);
	return value;
}

static void mmio_write(void *ctx, uint64_t offset, unsigned size, uint64_t value)
{
	struct virtio_mmio *mmio = ctx;

	if (offset >= VIRTIO_MMIO_CONFIG) {
		device_link_config_write(mmio->link, (uint32_t)(offset - VIRTIO_MMIO_CONFIG), size,
					 value);
		return;
	}
	enter(mmio);
	if (offset == VIRTIO_MMIO_STATUS)
		mmio->regs.is_usable = device_link_is_usable(mmio->link);
	switch (virtio_mmio_regs_write(&mmio->regs, offset, size, value)) {
	case VIRTIO_MMIO_ACTIVATE:
		activate(mmio);
		break;
	case VIRTIO_MMIO_RESET:
		(void)reset(mmio); /* the link reports its own failure */
		break;
	case VIRTIO_MMIO_ACKNOWLEDGE:
		acknowledge(mmio, (uint32_t)value);
		break;
	case VIRTIO_MMIO_NOTHING:
		break;
	}
	leave(mmio);
}

const struct io_handler virtio_mmio_io = { .read = mmio_read, .write = mmio_write };

int virtio_mmio_new(struct device_link *link, const int *kick_fds, int call_fd,
		    struct virtio_mmio **ret)
{
	struct virtio_mmio *mmio = calloc(1, sizeof(*mmio));
	int r;

	if (mmio == NULL)
		return -ENOMEM;
	mmio->link = link;
	mmio->call_fd = call_fd;
	for (uint32_t i = 0; i < DEVICE_QUEUES_MAX; i++)
		mmio->kick_fds[i] = kick_fds[i];
	r = pthread_mutex_init(&mmio->lock, NULL);
	if (r != 0) {
		free(mmio);
		return -r;
	}
	*ret = mmio;
	return 0;
}

struct virtio_mmio *virtio_mmio_free(struct virtio_mmio *mmio)
{
	if (mmio == NULL)
		return NULL;
	(void)pthread_mutex_destroy(&mmio->lock);
	free(mmio);
	return NULL;
}
