/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Start of a device process as the core sees it: HELLO is checked, answered by SETUP, and READY
 * ends it. Runs in the core on the event loop. HELLO is hostile input.
 *
 * The first HELLO fixes what the guest sees for the whole life of the VM. A successor has to say
 * the same: the driver negotiated with its predecessor.
 */
#include <string.h>

#include "vmm-core/transport/device_link_internal.h"

/*
 * VIRTIO 1.2 §2.2: bits 0 to 23 and from 50 belong to the device type. Of the transport's and the
 * ring's bits (24 to 49) the driver sees those that this VMM implements, whatever else a process
 * offers: INDIRECT_DESC (28), EVENT_IDX (29) and VERSION_1 (32), and ACCESS_PLATFORM (33) where it
 * is true.
 */
#define FEATURES_OF_TYPE (((UINT64_C(1) << 24) - 1) | ~((UINT64_C(1) << 50) - 1))
#define FEATURES_OF_RING ((UINT64_C(1) << 28) | (UINT64_C(1) << 29))
#define FEATURE_VERSION_1 (UINT64_C(1) << 32)
#define FEATURE_ACCESS_PLATFORM (UINT64_C(1) << 33)

uint64_t device_hello_features(uint64_t offered, bool behind_iommu)
{
	return offered & (FEATURES_OF_TYPE | FEATURES_OF_RING | FEATURE_VERSION_1 |
			  (behind_iommu ? FEATURE_ACCESS_PLATFORM : 0));
}

static bool is_power_of_two(uint32_t v)
{
	return v != 0 && (v & (v - 1)) == 0;
}

const char *device_hello_check(const struct message_hello *hello, enum device_type type,
			       bool behind_iommu)
{
	if (hello->protocol != PROTOCOL_VERSION)
		return "HELLO: speaks another protocol version";
	if (hello->type != type)
		return "HELLO: is another type of device";
	if (!(hello->features & FEATURE_VERSION_1))
		return "HELLO: does not offer VIRTIO_F_VERSION_1";
	if (behind_iommu && !(hello->features & FEATURE_ACCESS_PLATFORM))
		return "HELLO: does not offer VIRTIO_F_ACCESS_PLATFORM";
	if (hello->n_queues == 0 || hello->n_queues > DEVICE_QUEUES_MAX)
		return "HELLO: number of queues out of range";
	if (!is_power_of_two(hello->queue_size_max) ||
	    hello->queue_size_max > DEVICE_QUEUE_SIZE_MAX)
		return "HELLO: queue size out of range or not a power of two";
	if (hello->config_len > DEVICE_CONFIG_SPACE_MAX ||
	    hello->config_writable_len > hello->config_len)
		return "HELLO: config space out of range";
	if (hello->state_size > DEVICE_STATE_MAX)
		return "HELLO: state out of range";
	return NULL;
}

static bool is_same_device(const struct device_link *link, const struct message_hello *hello)
{
	uint8_t writable[DEVICE_CONFIG_SPACE_MAX] = { 0 };

	memcpy(writable, hello->config_writable, hello->config_writable_len);
	return device_hello_features(hello->features, link_is_behind_iommu(link)) ==
		       link->features &&
	       hello->n_queues == link->n_queues &&
	       hello->queue_size_max == link->queue_size_max &&
	       hello->state_size == link->state_size &&
	       hello->config_len == link->config.len &&
	       memcmp(writable, link->config.writable, sizeof(writable)) == 0;
}

/* Takes what the first HELLO says; the device page is sized by it, after the check. */
static int identify(struct device_link *link, const struct message_hello *hello)
{
	struct device_page_shape shape = { hello->n_queues, hello->state_size };
	int r = device_page_create(shape, &link->page, &link->page_fd);

	if (r != 0)
		return r;
	link->features = device_hello_features(hello->features, link_is_behind_iommu(link));
	link->n_queues = hello->n_queues;
	link->state_size = hello->state_size;
	link->queue_size_max = hello->queue_size_max;
	link->identified = true;
	return 0;
}

static int add_iommu(const struct device_link_iommu *iommu, struct message_setup *setup,
		     struct fdset *fds)
{
	int r = fdset_add_dup(fds, iommu->table_fd);

	setup->n_endpoints = iommu->n_endpoints;
	setup->is_behind_iommu = iommu->n_endpoints == 0;
	if (r == 0 && setup->is_behind_iommu)
		r = fdset_add_dup(fds, iommu->page_fd);
	return r == 0 ? fdset_add_dup(fds, iommu->fault_fd) : r;
}

static void send_endpoints(struct device_link *link)
{
	for (uint32_t i = 0; link->iommu && i < link->iommu->n_endpoints; i++) {
		cleanup_fdset struct fdset fds = FDSET_EMPTY;
		struct message m = link_message(link, MESSAGE_ENDPOINT);

		m.endpoint = link->iommu->endpoints[i].endpoint;
		if (fdset_add_dup(&fds, link->iommu->endpoints[i].page_fd) != 0)
			link_fail(link, "ENDPOINT: no descriptors left");
		else if (link_send(link, &m, &fds) == 0)
			continue;
		return;
	}
}

void link_send_setup(struct device_link *link)
{
	cleanup_fdset struct fdset fds = FDSET_EMPTY;
	struct message m = link_message(link, MESSAGE_SETUP);
	const struct guest_region *regions =
		guest_memory_regions(link->gm, &m.setup.n_regions);
	int r;

	m.setup.n_queues = link->n_queues;
	r = fdset_add_dup(&fds, link->page_fd);
	for (uint32_t i = 0; i < m.setup.n_regions && r == 0; i++) {
		m.setup.regions[i] = regions[i];
		r = fdset_add_dup(&fds, guest_memory_fd(link->gm, i));
	}
	if (r == 0 && link->iommu)
		r = add_iommu(link->iommu, &m.setup, &fds);
	if (r != 0) {
		link_fail(link, "SETUP: %s", strerror(-r));
		return;
	}
	if (link_send(link, &m, &fds) != 0)
		return;
	link->phase = LINK_WAIT_READY;
	send_endpoints(link);
}

int link_on_hello(void *ctx, const struct message *m, struct fdset *fds)
{
	struct device_link *link = ctx;
	const char *fault = device_hello_check(&m->hello, link->type, link_is_behind_iommu(link));
	int r = 0;

	(void)fds;
	if (fault == NULL && link->identified && !is_same_device(link, &m->hello))
		fault = "HELLO: differs from what its predecessor said";
	if (fault != NULL) {
		link_fail(link, "%s", fault);
		return 0;
	}
	if (!link->identified)
		r = identify(link, &m->hello);
	if (r != 0) {
		link_fail(link, "device page: %s", strerror(-r));
		return 0;
	}
	link_config_adopt(link, &m->hello);
	if (!link->is_candidate)
		__atomic_store_n(&link->page->header.generation, link->generation,
				 __ATOMIC_RELEASE);
	if (!link->is_held) {
		link_send_setup(link);
		return 0;
	}
	link->phase = LINK_HELD;
	link_set_deadline(link, 0);
	link_raise(link, LINK_PENDING_READY);
	return 0;
}

int link_on_ready(void *ctx, const struct message *m, struct fdset *fds)
{
	struct device_link *link = ctx;

	(void)m;
	(void)fds;
	link_set_deadline(link, 0);
	if (link->is_candidate) {
		link->phase = LINK_READY;
		link_raise(link, LINK_PENDING_READY);
	} else {
		link_resume_begin(link);
	}
	return 0;
}

uint64_t device_link_features(struct device_link *link)
{
	uint64_t features;

	(void)pthread_mutex_lock(&link->lock);
	features = link->features;
	(void)pthread_mutex_unlock(&link->lock);
	return features;
}

uint32_t device_link_n_queues(struct device_link *link)
{
	uint32_t n;

	(void)pthread_mutex_lock(&link->lock);
	n = link->n_queues;
	(void)pthread_mutex_unlock(&link->lock);
	return n;
}

uint32_t device_link_queue_size_max(struct device_link *link)
{
	uint32_t size;

	(void)pthread_mutex_lock(&link->lock);
	size = link->queue_size_max;
	(void)pthread_mutex_unlock(&link->lock);
	return size;
}

struct device_page *device_link_page(struct device_link *link)
{
	struct device_page *page;

	(void)pthread_mutex_lock(&link->lock);
	page = link->page;
	(void)pthread_mutex_unlock(&link->lock);
	return page;
}
