/* SPDX-License-Identifier: Apache-2.0 */
/*
 * evil-iommu: takes the place of bulkhead-iommu in a copy of the programs. It is that program, in
 * its sandbox, until a driver has a mapping in a domain from EVIL_DOMAIN on: then it writes
 * nonsense into the table that devices read. The domain's number says which.
 */
#include <event2/event.h>
#include <string.h>

#include "device-procs/common/device.h"
#include "device-procs/common/iommu_table.h"
#include "device-procs/iommu/iommu_device.h"
#include "ipc/clock.h"
#include "sandbox/sanitizer_options.h"

#define EVIL_DOMAIN 0x100u
#define NOISE_NS 1000000u /* of every turn of the loop */
#define NOISE_NODES 4u

static struct device_ops ops;
static struct device *device;
static struct event *noise;
static bool is_done;

/* What the driver mapped, of which there is one */
struct target {
	struct iommu_table *table;
	struct iommu_domain *domain;
	struct iommu_node *node;
	uint32_t n; /* number of the node */
};

static void link_all(uint32_t *links, uint32_t n)
{
	for (uint32_t i = 0; i < IOMMU_LEVELS; i++)
		__atomic_store_n(&links[i], n, __ATOMIC_RELEASE);
}

/* As an honest writer tells that a node has changed, so that no device goes on with its copy. */
static void touch(struct iommu_node *node)
{
	__atomic_store_n(&node->seq, node->seq + 2, __ATOMIC_RELEASE);
}

static void act_loop(const struct target *t)
{
	t->node->last = t->node->start; /* nothing is found, so it is searched on */
	link_all(t->node->next, t->n);
	touch(t->node);
}

static void act_beyond(const struct target *t)
{
	link_all(t->domain->head, UINT32_MAX);
	touch(t->node);
}

static void act_outside_ram(const struct target *t)
{
	t->node->phys = UINT64_C(1) << 40;
	touch(t->node);
}

static void act_wrap(const struct target *t)
{
	t->node->last = UINT64_MAX;
	t->node->phys = UINT64_MAX - 0xfff;
	touch(t->node);
}

static void act_inverted(const struct target *t)
{
	t->node->start = UINT64_MAX;
	t->node->last = 0;
	touch(t->node);
}

/* Two that say different things of the same addresses: one of guest RAM, one not. */
static void act_overlap(const struct target *t)
{
	uint32_t other = t->n + 1;

	t->table->nodes[other] = *t->node;
	t->table->nodes[other].phys = UINT64_MAX & ~UINT64_C(0xfff);
	link_all(t->node->next, other);
	touch(t->node);
}

static void act_not_permitted(const struct target *t)
{
	t->node->flags = ~3u;
	touch(t->node);
}

static void set_attached(const struct target *t, uint64_t counter, uint64_t domain)
{
	const struct device_iommu_host *host = device_iommu_host(device);

	for (uint32_t i = 0; i < host->n; i++)
		__atomic_store_n(&t->table->endpoints[host->endpoints[i].slot].attached,
				 counter << 8 | domain, __ATOMIC_RELEASE);
}

/* The count of changes goes back, and what is attached to does not exist. */
static void act_backwards(const struct target *t)
{
	__atomic_store_n(&t->node->seq, 1, __ATOMIC_RELEASE);
	set_attached(t, 0, IOMMU_DOMAINS_MAX + 1);
}

static void act_ones(const struct target *t)
{
	memset(t->table, 0xff, sizeof(*t->table));
}

static void act_zero(const struct target *t)
{
	memset(t->table, 0, sizeof(*t->table));
	t->table->is_strict = 1; /* else all of it reads as bypass, and that is the driver's to allow */
}

static uint64_t random_word(void)
{
	static uint64_t state = 1;

	state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return state >> 33 | state << 31;
}

/* Everything at every moment, true values among them, so that each read may be torn. */
static void on_noise(evutil_socket_t fd, short what, void *ctx)
{
	static struct target at;
	const struct timeval again = { .tv_usec = 1 };
	uint64_t end = clock_now_ns() + NOISE_NS;

	(void)fd;
	(void)what;
	if (ctx)
		at = *(const struct target *)ctx;
	do {
		struct iommu_node *node = &at.table->nodes[random_word() % NOISE_NODES];
		uint64_t w = random_word();

		node->start = w & 1 ? 0 : random_word();
		node->last = w & 2 ? UINT64_MAX : random_word();
		node->phys = w & 4 ? random_word() & 0x7fff000 : random_word();
		node->flags = w & 8 ? 3 : (uint32_t)random_word();
		node->seq = w & 16 ? 2 : (uint32_t)random_word();
		link_all(node->next, w & 32 ? (uint32_t)(random_word() % NOISE_NODES) :
					      (uint32_t)random_word());
		link_all(at.domain->head, w & 64 ? 1 : (uint32_t)random_word());
		set_attached(&at, random_word(), w & 128 ? 1 : random_word() & 0xff);
	} while (clock_now_ns() < end);
	(void)event_add(noise, &again);
}

static void act_torn(const struct target *t)
{
	on_noise(-1, 0, (void *)t);
}

/* tests/hostile-device/cases.py has the same order. */
static void (*const acts[])(const struct target *t) = {
	act_loop, act_beyond, act_outside_ram, act_wrap, act_inverted, act_overlap,
	act_not_permitted, act_backwards, act_ones, act_zero, act_torn,
};

static void misbehave(struct iommu_table *table)
{
	for (uint32_t i = 0; i < IOMMU_DOMAINS_MAX && !is_done; i++) {
		struct iommu_domain *d = &table->domains[i];
		struct target t = { .table = table, .domain = d, .n = d->head[0] };

		if (d->state != IOMMU_DOMAIN_MAPPED || t.n == 0 || d->id < EVIL_DOMAIN ||
		    d->id - EVIL_DOMAIN >= ARRAY_LEN(acts))
			continue;
		t.node = &table->nodes[t.n];
		is_done = true;
		acts[d->id - EVIL_DOMAIN](&t);
	}
}

static int start(void *state, struct device *dev, struct event_base *base)
{
	device = dev;
	noise = evtimer_new(base, on_noise, NULL);
	return noise ? iommu_device_ops.start(state, dev, base) : -ENOMEM;
}

static int kick(void *state, uint32_t queue)
{
	int r = iommu_device_ops.kick(state, queue);

	misbehave(device_iommu_host(device)->table);
	return r;
}

int main(void)
{
	ops = iommu_device_ops;
	ops.start = start;
	ops.kick = kick;
	return device_main(&ops);
}
