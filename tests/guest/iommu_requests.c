/* SPDX-License-Identifier: Apache-2.0 */
/* The IOMMU's requests and configuration, without a device that uses them. */
#include "iommu.h"

#define PAGE 4096ull
#define MSI 0xfee00000ull
#define INPUT_LAST 0xffffffffffffull
#define DOMAIN_LAST 0xffffu

/* Every case begins with it: nothing is attached, the disk is in domain 1. */
static const char *begin(void)
{
	EXPECT_OK(iommu_start(IOMMU_FEATURES, 0));
	EXPECT(iommu_attach(1, disk->function, 0) == IOMMU_OK, "no attach");
	return NULL;
}

static uint64_t config64(uint32_t at)
{
	return mmio_read32(mmu.dev->config + at) |
	       (uint64_t)mmio_read32(mmu.dev->config + at + 4) << 32;
}

static const char *identity(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(iommu_start(IOMMU_FEATURES, 0));
	EXPECT((vdev_offered(mmu.dev) & 0xffffff) == IOMMU_FEATURES, "features 0x%lx",
	       vdev_offered(mmu.dev));
	EXPECT(!(vdev_offered(mmu.dev) & FEATURE_ACCESS_PLATFORM), "it is behind itself");
	EXPECT(vdev_offered(disk) & FEATURE_ACCESS_PLATFORM, "the disk is not behind it");
	return NULL;
}

static const char *limits(uint64_t unused)
{
	(void)unused;
	EXPECT(config64(IOMMU_CONFIG_PAGE_SIZE_MASK) == PAGE, "page_size_mask 0x%lx",
	       config64(IOMMU_CONFIG_PAGE_SIZE_MASK));
	EXPECT(config64(IOMMU_CONFIG_INPUT_RANGE) == 0, "input_range.start");
	EXPECT(config64(IOMMU_CONFIG_INPUT_RANGE + 8) == INPUT_LAST, "input_range.end 0x%lx",
	       config64(IOMMU_CONFIG_INPUT_RANGE + 8));
	EXPECT(mmio_read32(mmu.dev->config + IOMMU_CONFIG_DOMAIN_RANGE) == 0, "domain_range.start");
	EXPECT(mmio_read32(mmu.dev->config + IOMMU_CONFIG_DOMAIN_RANGE + 4) == DOMAIN_LAST,
	       "domain_range.end");
	EXPECT(mmio_read32(mmu.dev->config + IOMMU_CONFIG_PROBE_SIZE) == 64, "probe_size");
	return NULL;
}

static const char *bypass_config(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(iommu_start(IOMMU_FEATURES, 0));
	EXPECT(iommu_bypass() == 1, "bypass is %u at first", iommu_bypass());
	iommu_set_bypass(0);
	EXPECT(iommu_bypass() == 0, "bypass cannot be written");
	iommu_set_bypass(0xff);
	EXPECT(iommu_bypass() == 1, "bypass reads 0x%x", iommu_bypass());
	return NULL;
}

static const char *other_config(uint64_t at)
{
	uint32_t before = mmio_read32(mmu.dev->config + at);

	EXPECT_OK(iommu_start(IOMMU_FEATURES, 0));
	mmio_write32(mmu.dev->config + at, ~before);
	EXPECT(mmio_read32(mmu.dev->config + at) == before, "it was written");
	return NULL;
}

static const char *needs_access_platform(uint64_t unused)
{
	(void)unused;
	EXPECT(vdev_reset(disk), "no reset");
	vdev_set_status(disk, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
	vdev_accept(disk, FEATURE_VERSION_1);
	vdev_set_status(disk, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
	EXPECT(!(vdev_status(disk) & STATUS_FEATURES_OK), "FEATURES_OK without ACCESS_PLATFORM");
	return NULL;
}

struct range_case {
	const char *name;
	uint64_t start, last, phys;
	uint32_t flags;
	int status;
};

static const struct range_case range_cases[] = {
	{ "one page", 0x1000, 0x1fff, 0, MAP_RW, IOMMU_OK },
	{ "read-only", 0x1000, 0x1fff, 0, MAP_R, IOMMU_OK },
	{ "write-only", 0x1000, 0x1fff, 0, MAP_W, IOMMU_OK },
	{ "address 0", 0, 0xfff, 0x1000, MAP_RW, IOMMU_OK },
	{ "last page of input_range", INPUT_LAST - PAGE + 1, INPUT_LAST, 0, MAP_RW, IOMMU_OK },
	{ "just below the MSI window", MSI - PAGE, MSI - 1, 0, MAP_RW, IOMMU_OK },
	{ "just above it", MSI + 0x100000, MSI + 0x100fff, 0, MAP_RW, IOMMU_OK },
	{ "inverted", 0x2000, 0x0fff, 0, MAP_RW, IOMMU_RANGE },
	{ "inverted by one", 0x1000, 0x0fff, 0, MAP_RW, IOMMU_RANGE },
	{ "inverted at the top", UINT64_MAX, 0, 0, MAP_RW, IOMMU_RANGE },
	{ "unaligned start", 0x1001, 0x1fff, 0, MAP_RW, IOMMU_RANGE },
	{ "unaligned end", 0x1000, 0x1ffe, 0, MAP_RW, IOMMU_RANGE },
	{ "end one byte too far", 0x1000, 0x2000, 0, MAP_RW, IOMMU_RANGE },
	{ "one byte", 0x1000, 0x1000, 0, MAP_RW, IOMMU_RANGE },
	{ "unaligned phys", 0x1000, 0x1fff, 0x800, MAP_RW, IOMMU_RANGE },
	{ "behind input_range", INPUT_LAST + 1, INPUT_LAST + PAGE, 0, MAP_RW, IOMMU_RANGE },
	{ "across its end", INPUT_LAST - PAGE + 1, INPUT_LAST + PAGE, 0, MAP_RW, IOMMU_RANGE },
	{ "everything", 0, UINT64_MAX, 0, MAP_RW, IOMMU_RANGE },
	{ "top page of 64 bits", UINT64_MAX - PAGE + 1, UINT64_MAX, 0, MAP_RW, IOMMU_RANGE },
	{ "all but the first page", PAGE, UINT64_MAX, 0, MAP_RW, IOMMU_RANGE },
	{ "MSI window", MSI, MSI + 0xfffff, 0, MAP_RW, IOMMU_INVAL },
	{ "page in the MSI window", MSI + 0x1000, MSI + 0x1fff, 0, MAP_RW, IOMMU_INVAL },
	{ "across its start", MSI - PAGE, MSI + PAGE - 1, 0, MAP_RW, IOMMU_INVAL },
	{ "across its end too", MSI + 0xff000, MSI + 0x100fff, 0, MAP_RW, IOMMU_INVAL },
	{ "phys in the hole below 4 GiB", 0x1000, 0x1fff, 0xd0000000, MAP_RW, IOMMU_FAULT },
	{ "phys of the interrupt window", 0x1000, 0x1fff, MSI, MAP_RW, IOMMU_FAULT },
	{ "phys across the end of RAM", 0x100000000, 0x1ffffffff, 0, MAP_RW, IOMMU_FAULT },
	{ "phys that wraps", 0x1000, 0x2fff, UINT64_MAX - PAGE + 1, MAP_RW, IOMMU_FAULT },
	{ "phys at the top", 0x1000, 0x1fff, UINT64_MAX - PAGE + 1, MAP_RW, IOMMU_FAULT },
	{ "flag 4, MMIO", 0x1000, 0x1fff, 0, MAP_RW | 4, IOMMU_INVAL },
	{ "flag 8", 0x1000, 0x1fff, 0, MAP_RW | 8, IOMMU_INVAL },
	{ "flag 1 << 31", 0x1000, 0x1fff, 0, MAP_RW | 0x80000000u, IOMMU_INVAL },
};

static const char *map_range(uint64_t i)
{
	const struct range_case *c = &range_cases[i];
	int status;

	EXPECT_OK(begin());
	status = iommu_map(1, c->start, c->last, c->phys, c->flags);
	EXPECT(status == c->status, "status %d, not %d", status, c->status);
	EXPECT(mmu.used_len == 4, "used length %u", mmu.used_len);
	/* What was refused has left nothing: it can be mapped well. */
	status = iommu_map(1, 0x1000, 0x1fff, 0, MAP_R);
	EXPECT(status == (c->status == IOMMU_OK && c->start == 0x1000 ? IOMMU_INVAL : IOMMU_OK),
	       "status %d afterwards", status);
	return NULL;
}

/* A second request for the pages from start up to end, not included. */
struct overlap_case {
	const char *name;
	bool is_unmap;
	uint32_t start, end;
	int status;
};

/* Pages 4 to 7 are one mapping, 8 and 9 another, 12 a third. */
static const struct overlap_case overlap_cases[] = {
	{ "the same", false, 4, 8, IOMMU_INVAL },
	{ "first page", false, 4, 5, IOMMU_INVAL },
	{ "last page", false, 7, 8, IOMMU_INVAL },
	{ "inside", false, 5, 6, IOMMU_INVAL },
	{ "across the start", false, 3, 5, IOMMU_INVAL },
	{ "around all", false, 0, 20, IOMMU_INVAL },
	{ "across two", false, 7, 9, IOMMU_INVAL },
	{ "gap and more", false, 10, 13, IOMMU_INVAL },
	{ "just before", false, 3, 4, IOMMU_OK },
	{ "the gap", false, 10, 12, IOMMU_OK },
	{ "behind", false, 13, 14, IOMMU_OK },
	{ "nothing there", true, 20, 30, IOMMU_OK },
	{ "exactly one", true, 4, 8, IOMMU_OK },
	{ "exactly two", true, 4, 10, IOMMU_OK },
	{ "one and the gap", true, 8, 12, IOMMU_OK },
	{ "all and more", true, 0, 100, IOMMU_OK },
	{ "first half", true, 4, 6, IOMMU_RANGE },
	{ "second half", true, 6, 8, IOMMU_RANGE },
	{ "middle", true, 5, 7, IOMMU_RANGE },
	{ "up to the middle of the second", true, 4, 9, IOMMU_RANGE },
	{ "from the middle of the first", true, 5, 10, IOMMU_RANGE },
};

static const char *three_mappings(void)
{
	EXPECT_OK(begin());
	EXPECT(iommu_map(1, 4 * PAGE, 8 * PAGE - 1, 0, MAP_R) == IOMMU_OK, "first");
	EXPECT(iommu_map(1, 8 * PAGE, 10 * PAGE - 1, 0, MAP_R) == IOMMU_OK, "second");
	EXPECT(iommu_map(1, 12 * PAGE, 13 * PAGE - 1, 0, MAP_R) == IOMMU_OK, "third");
	return NULL;
}

static bool is_taken(uint32_t page)
{
	bool taken = iommu_map(1, page * PAGE, page * PAGE + PAGE - 1, 0, MAP_R) != IOMMU_OK;

	if (!taken)
		(void)iommu_unmap(1, page * PAGE, page * PAGE + PAGE - 1);
	return taken;
}

static const char *overlap(uint64_t i)
{
	static const uint8_t pages[] = { 4, 5, 6, 7, 8, 9, 12 };
	const struct overlap_case *c = &overlap_cases[i];
	uint64_t start = c->start * PAGE, last = c->end * PAGE - 1;
	int status;

	EXPECT_OK(three_mappings());
	status = c->is_unmap ? iommu_unmap(1, start, last) : iommu_map(1, start, last, 0, MAP_R);
	EXPECT(status == c->status, "status %d, not %d", status, c->status);
	for (unsigned k = 0; k < ARRAY_LEN(pages); k++) {
		bool removed = c->is_unmap && status == IOMMU_OK && pages[k] >= c->start &&
			       pages[k] < c->end;

		EXPECT(is_taken(pages[k]) == !removed, "page %u", pages[k]);
	}
	return NULL;
}

static const char *unmap_ranges(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(three_mappings());
	EXPECT(iommu_unmap(1, 0x8000, 0x7fff) == IOMMU_RANGE, "inverted");
	EXPECT(iommu_unmap(1, UINT64_MAX, 0) == IOMMU_RANGE, "inverted at the top");
	EXPECT(is_taken(4), "it is gone");
	EXPECT(iommu_unmap(1, 0, UINT64_MAX) == IOMMU_OK, "everything");
	EXPECT(!is_taken(4) && !is_taken(8) && !is_taken(12), "something is left");
	return NULL;
}

static const char *unmap_unaligned(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(three_mappings());
	EXPECT(iommu_unmap(1, 4 * PAGE - 7, 8 * PAGE - 1) == IOMMU_OK, "spills over free space");
	EXPECT(!is_taken(4), "it is not gone");
	EXPECT(iommu_unmap(1, 8 * PAGE + 1, 10 * PAGE - 1) == IOMMU_RANGE, "one byte short");
	EXPECT(is_taken(8), "it is gone");
	return NULL;
}

/* What: 'a'ttach, 'd'etach, 'm'ap, 'u'nmap; endpoint 0: the disk's, 1: the second disk's */
struct domain_case {
	const char *name;
	char what;
	uint32_t domain, endpoint, flags;
	int status;
};

#define NOBODY 0xf8u /* a place on the bus without a device */
#define HOST_BRIDGE 0xf00u

static const struct domain_case domain_cases[] = {
	{ "attach nobody", 'a', 1, NOBODY, 0, IOMMU_NOENT },
	{ "attach endpoint 2^32 - 1", 'a', 1, UINT32_MAX, 0, IOMMU_NOENT },
	{ "attach on another bus", 'a', 1, 0x10008, 0, IOMMU_NOENT },
	{ "attach the IOMMU itself", 'a', 1, 2, 0, IOMMU_NOENT },
	{ "attach to the highest domain", 'a', DOMAIN_LAST, 0, 0, IOMMU_OK },
	{ "attach above domain_range", 'a', DOMAIN_LAST + 1, 0, 0, IOMMU_RANGE },
	{ "attach to domain 2^32 - 1", 'a', UINT32_MAX, 0, 0, IOMMU_RANGE },
	{ "attach again", 'a', 1, 0, 0, IOMMU_OK },
	{ "attach another to the same", 'a', 1, 1, 0, IOMMU_OK },
	{ "attach with an unknown flag", 'a', 2, 0, 2, IOMMU_INVAL },
	{ "attach with all flags", 'a', 2, 0, UINT32_MAX, IOMMU_INVAL },
	{ "bypass into a domain that is none", 'a', 1, 1, ATTACH_BYPASS, IOMMU_INVAL },
	{ "bypass into a new domain", 'a', 2, 1, ATTACH_BYPASS, IOMMU_OK },
	{ "detach nobody", 'd', 1, NOBODY, 0, IOMMU_NOENT },
	{ "detach from another domain", 'd', 2, 0, 0, IOMMU_INVAL },
	{ "detach who is not attached", 'd', 1, 1, 0, IOMMU_INVAL },
	{ "detach above domain_range", 'd', DOMAIN_LAST + 1, 0, 0, IOMMU_INVAL },
	{ "map in no domain", 'm', 2, 0, 0, IOMMU_NOENT },
	{ "map above domain_range", 'm', DOMAIN_LAST + 1, 0, 0, IOMMU_RANGE },
	{ "unmap in no domain", 'u', 2, 0, 0, IOMMU_NOENT },
	{ "unmap in domain 2^32 - 1", 'u', UINT32_MAX, 0, 0, IOMMU_RANGE },
};

static uint32_t endpoint_of(uint32_t n)
{
	return n == 0 ? disk->function :
	       n == 1 ? second_disk->function :
	       n == 2 ? mmu.dev->function :
			n;
}

static const char *domains(uint64_t i)
{
	const struct domain_case *c = &domain_cases[i];
	uint32_t endpoint = endpoint_of(c->endpoint);
	int status;

	EXPECT_OK(begin());
	status = c->what == 'a' ? iommu_attach(c->domain, endpoint, c->flags) :
		 c->what == 'd' ? iommu_detach(c->domain, endpoint) :
		 c->what == 'm' ? iommu_map(c->domain, 0, PAGE - 1, 0, MAP_R) :
				  iommu_unmap(c->domain, 0, PAGE - 1);
	EXPECT(status == c->status, "status %d, not %d", status, c->status);
	return NULL;
}

static const char *domain_ends(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(begin());
	EXPECT(iommu_map(1, 0, PAGE - 1, 0, MAP_R) == IOMMU_OK, "map");
	EXPECT(iommu_detach(1, disk->function) == IOMMU_OK, "detach");
	EXPECT(iommu_map(1, PAGE, 2 * PAGE - 1, 0, MAP_R) == IOMMU_NOENT, "it still exists");
	EXPECT(iommu_attach(1, disk->function, 0) == IOMMU_OK, "attach");
	EXPECT(iommu_map(1, 0, PAGE - 1, 0, MAP_R) == IOMMU_OK, "the new one is not empty");
	return NULL;
}

static const char *domain_moves(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(begin());
	EXPECT(iommu_attach(2, disk->function, 0) == IOMMU_OK, "move");
	EXPECT(iommu_map(1, 0, PAGE - 1, 0, MAP_R) == IOMMU_NOENT, "the old one exists");
	EXPECT(iommu_map(2, 0, PAGE - 1, 0, MAP_R) == IOMMU_OK, "the new one does not");
	return NULL;
}

static const char *bypass_domain(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(begin());
	EXPECT(iommu_attach(5, second_disk->function, ATTACH_BYPASS) == IOMMU_OK, "attach");
	EXPECT(iommu_map(5, 0, PAGE - 1, 0, MAP_R) == IOMMU_INVAL, "map");
	EXPECT(iommu_unmap(5, 0, PAGE - 1) == IOMMU_INVAL, "unmap");
	EXPECT(iommu_attach(5, disk->function, 0) == IOMMU_INVAL, "attach without the flag");
	EXPECT(iommu_attach(5, disk->function, ATTACH_BYPASS) == IOMMU_OK, "attach with it");
	return NULL;
}

static const char *bypass_not_negotiated(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(iommu_start(IOMMU_FEATURES & ~IOMMU_F_BYPASS_CONFIG, 0));
	EXPECT(iommu_attach(5, disk->function, ATTACH_BYPASS) == IOMMU_INVAL, "attach");
	EXPECT(iommu_attach(5, disk->function, 0) == IOMMU_OK, "attach without the flag");
	return NULL;
}

static const char *reset_forgets(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(begin());
	EXPECT(iommu_map(1, 0, PAGE - 1, 0, MAP_R) == IOMMU_OK, "map");
	iommu_set_bypass(0);
	EXPECT_OK(iommu_start(IOMMU_FEATURES, 0));
	EXPECT(iommu_unmap(1, 0, PAGE - 1) == IOMMU_NOENT, "the domain is there");
	return NULL;
}

static const char *reserved_attach(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(begin());
	*mmu.out = (struct iommu_request){
		.type = IOMMU_ATTACH,
		.attach = { .domain = 2, .endpoint = disk->function, .zero = 0x1000000 },
	};
	EXPECT(iommu_send(20, 4) == IOMMU_INVAL, "ATTACH");
	mmu.out->type = IOMMU_DETACH;
	mmu.out->attach.domain = 1;
	mmu.out->attach.flags = UINT32_MAX;
	EXPECT(iommu_send(20, 4) == IOMMU_OK, "DETACH has to ignore it");
	return NULL;
}

static const char *reserved_unmap(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(three_mappings());
	*mmu.out = (struct iommu_request){ .type = IOMMU_UNMAP };
	mmu.out->map.domain = 1;
	mmu.out->map.last = UINT64_MAX;
	mmu.out->map.phys = 1;
	EXPECT(iommu_send(28, 4) == IOMMU_INVAL, "UNMAP");
	EXPECT(is_taken(4), "it is gone");
	return NULL;
}

static const char *reserved_head(uint64_t unused)
{
	(void)unused;
	EXPECT_OK(begin());
	(void)iommu_map(1, 0, PAGE - 1, 0, MAP_R);
	memset(mmu.out->reserved, 0xff, 3);
	mmu.out->map.start = PAGE;
	mmu.out->map.last = 2 * PAGE - 1;
	EXPECT(iommu_send(36, 4) == IOMMU_OK, "it has to be ignored");
	return NULL;
}

/* --- chains --- */

static void fill(uint8_t type)
{
	*mmu.out = (struct iommu_request){ .type = type };
	if (type == IOMMU_MAP || type == IOMMU_UNMAP) {
		mmu.out->map.domain = 1;
		mmu.out->map.last = PAGE - 1;
		mmu.out->map.flags = type == IOMMU_MAP ? MAP_R : 0;
		if (type == IOMMU_UNMAP)
			mmu.out->map.phys = 0;
	} else if (type == IOMMU_PROBE) {
		mmu.out->probe.endpoint = disk->function;
	} else {
		mmu.out->attach.domain = 1;
		mmu.out->attach.endpoint = disk->function;
	}
}

static const char *too_short(uint64_t type)
{
	uint32_t len = iommu_readable((uint8_t)type);

	for (uint32_t n = 1; n < len; n += n < 4 || n + 2 > len ? 1 : len / 5) {
		EXPECT_OK(begin());
		fill((uint8_t)type);
		EXPECT(iommu_send(n, 128) == IOMMU_NO_ANSWER, "%u bytes were answered", n);
		EXPECT(mmu.in[0] == 0xee, "%u bytes: the answer was written", n);
	}
	fill((uint8_t)type);
	EXPECT(iommu_send(len, 128) == IOMMU_OK, "the whole request is not");
	return NULL;
}

static const char *too_long(uint64_t type)
{
	EXPECT_OK(begin());
	fill((uint8_t)type);
	EXPECT(iommu_send(4096, 128) == IOMMU_OK, "more bytes than needed");
	return NULL;
}

static const char *no_room(uint64_t n)
{
	EXPECT_OK(begin());
	fill(IOMMU_MAP);
	EXPECT(iommu_send(36, (uint32_t)n) == IOMMU_NO_ANSWER, "it was answered");
	EXPECT(!is_taken(0), "and done");
	return NULL;
}

static const char *unknown_type(uint64_t type)
{
	EXPECT_OK(begin());
	fill(IOMMU_MAP);
	mmu.out->type = (uint8_t)type;
	EXPECT(iommu_send(72, 128) == IOMMU_NO_ANSWER, "it was answered");
	EXPECT(mmu.in[0] == 0xee, "the answer was written");
	return NULL;
}

static const char *in_pieces(uint64_t piece)
{
	struct part parts[64];
	struct vring_used_elem elem;
	unsigned n = 0;

	EXPECT_OK(begin());
	fill(IOMMU_MAP);
	memset((void *)mmu.in, 0xee, 4);
	for (uint32_t at = 0; at < 36; at += (uint32_t)piece)
		parts[n++] = (struct part){ (uint8_t *)mmu.out + at,
					    36 - at < piece ? 36 - at : (uint32_t)piece, false };
	for (uint32_t at = 0; at < 4; at++)
		parts[n++] = (struct part){ mmu.in + at, 1, true };
	vq_chain(&mmu.requests, 0, parts, n);
	vq_push(&mmu.requests, 0);
	vq_kick(&mmu.requests);
	EXPECT(vq_wait(&mmu.requests, TIMEOUT_REQUEST, &elem), "no answer");
	EXPECT(elem.len == 4 && mmu.in[0] == IOMMU_OK, "used %u, status 0x%x", elem.len, mmu.in[0]);
	EXPECT(is_taken(0), "it is not mapped");
	return NULL;
}

static const char *outside_ram(uint64_t is_out)
{
	struct vring_used_elem elem;

	EXPECT_OK(begin());
	fill(IOMMU_MAP);
	vq_desc(&mmu.requests, 0, is_out ? (void *)0xd0000000 : (void *)mmu.out, 36, DESC_NEXT, 1);
	vq_desc(&mmu.requests, 1, is_out ? (void *)mmu.in : (void *)0xd0000000, 4, DESC_WRITE, 0);
	vq_push(&mmu.requests, 0);
	vq_kick(&mmu.requests);
	EXPECT(vq_wait(&mmu.requests, TIMEOUT_REQUEST, &elem), "no answer");
	EXPECT(elem.len == 0, "used length %u", elem.len);
	EXPECT(!is_taken(0), "it was done");
	return NULL;
}

/* One kick, many requests: each in its place, in order. */
static const char *many_in_one_kick(uint64_t unused)
{
	struct iommu_request *q = memory_alloc(64 * sizeof(*q), 64);
	uint8_t *in = memory_alloc(64 * 4, 64);
	struct vring_used_elem elem;

	(void)unused;
	EXPECT_OK(begin());
	for (uint16_t i = 0; i < 60; i++) {
		fill(i % 2 ? IOMMU_UNMAP : IOMMU_MAP);
		q[i] = *mmu.out;
		in[i * 4] = 0xee;
		vq_desc(&mmu.requests, (uint16_t)(2 * i), &q[i], i % 2 ? 28 : 36, DESC_NEXT,
			(uint16_t)(2 * i + 1));
		vq_desc(&mmu.requests, (uint16_t)(2 * i + 1), in + i * 4, 4, DESC_WRITE, 0);
		vq_stage(&mmu.requests, (uint16_t)(2 * i));
	}
	vq_publish(&mmu.requests);
	vq_kick(&mmu.requests);
	for (uint16_t i = 0; i < 60; i++) {
		EXPECT(vq_wait(&mmu.requests, TIMEOUT_REQUEST, &elem), "no answer %u", i);
		EXPECT(elem.id == 2u * i, "answer %u is for %u", i, elem.id);
		EXPECT(in[i * 4] == IOMMU_OK, "status %u of request %u", in[i * 4], i);
	}
	return NULL;
}

/* --- PROBE --- */

static const char *probe(uint64_t n)
{
	EXPECT_OK(begin());
	*mmu.out = (struct iommu_request){ .type = IOMMU_PROBE };
	memset(mmu.out->probe.reserved, 0xff, 64);
	mmu.out->probe.endpoint = endpoint_of((uint32_t)n);
	EXPECT(iommu_send(72, 68) == IOMMU_OK, "status 0x%x", mmu.in[64]);
	EXPECT(mmu.used_len == 68, "used length %u", mmu.used_len);
	EXPECT(mmu.in[0] == 1 && mmu.in[1] == 0 && mmu.in[2] == 20 && mmu.in[3] == 0, "head");
	EXPECT(mmu.in[4] == 1 && mmu.in[5] + mmu.in[6] + mmu.in[7] == 0, "subtype");
	EXPECT(*(volatile uint64_t *)(mmu.in + 8) == MSI, "start");
	EXPECT(*(volatile uint64_t *)(mmu.in + 16) == MSI + 0xfffff, "end");
	for (unsigned i = 24; i < 64; i++)
		EXPECT(mmu.in[i] == 0, "byte %u is 0x%x", i, mmu.in[i]);
	return NULL;
}

static const char *probe_nobody(uint64_t endpoint)
{
	EXPECT_OK(begin());
	*mmu.out = (struct iommu_request){ .type = IOMMU_PROBE };
	mmu.out->probe.endpoint = endpoint_of((uint32_t)endpoint);
	EXPECT(iommu_send(72, 68) == IOMMU_NOENT, "status 0x%x", mmu.in[64]);
	EXPECT(mmu.in[0] == 0, "a property");
	return NULL;
}

static const char *probe_small(uint64_t room)
{
	EXPECT_OK(begin());
	fill(IOMMU_PROBE);
	EXPECT(iommu_send(72, (uint32_t)room) == IOMMU_INVAL, "status 0x%x", mmu.in[room - 4]);
	EXPECT(mmu.in[0] == (room == 4 ? IOMMU_INVAL : 0), "a property");
	return NULL;
}

/* --- capacity --- */

#define AT_ONCE 60u

/* Maps or unmaps single pages from *at on, AT_ONCE in one kick; Return: how many went well */
static unsigned fill_table(uint64_t *at, struct iommu_request *q, uint8_t *in)
{
	struct vring_used_elem elem;
	unsigned n_ok = 0;

	for (uint16_t i = 0; i < AT_ONCE; i++, *at += 2 * PAGE) {
		fill(IOMMU_MAP);
		mmu.out->map.start = *at;
		mmu.out->map.last = *at + PAGE - 1;
		q[i] = *mmu.out;
		vq_desc(&mmu.requests, (uint16_t)(2 * i), &q[i], 36, DESC_NEXT,
			(uint16_t)(2 * i + 1));
		vq_desc(&mmu.requests, (uint16_t)(2 * i + 1), in + i * 4, 4, DESC_WRITE, 0);
		vq_stage(&mmu.requests, (uint16_t)(2 * i));
	}
	vq_publish(&mmu.requests);
	vq_kick(&mmu.requests);
	for (uint16_t i = 0; i < AT_ONCE; i++)
		if (vq_wait(&mmu.requests, TIMEOUT_REQUEST, &elem) && in[i * 4] == IOMMU_OK)
			n_ok++;
	return n_ok;
}

static const char *full(uint64_t unused)
{
	struct iommu_request *q = memory_alloc(AT_ONCE * sizeof(*q), 64);
	uint8_t *in = memory_alloc(AT_ONCE * 4, 64);
	uint64_t at = 0x100000000;
	unsigned n = 0, more;

	(void)unused;
	EXPECT_OK(begin());
	do {
		more = fill_table(&at, q, in);
		n += more;
	} while (more == AT_ONCE && n < 100000);
	EXPECT(n == 65535, "%u mappings fit", n);
	EXPECT(iommu_map(1, 0, PAGE - 1, 0, MAP_R) == IOMMU_NOMEM, "one more");
	EXPECT(iommu_unmap(1, 0x100000000, 0x100000fff) == IOMMU_OK, "unmap one");
	EXPECT(iommu_map(1, 0, PAGE - 1, 0, MAP_R) == IOMMU_OK, "its place is not free");
	EXPECT(iommu_unmap(1, 0, UINT64_MAX) == IOMMU_OK, "unmap all");
	EXPECT(fill_table(&at, q, in) == AT_ONCE, "their places are not free");
	return NULL;
}

void iommu_requests_cases(void)
{
	static const uint8_t bad_types[] = { 0, 6, 0x80, 0xff };
	static const uint8_t rooms[] = { 4, 8, 24, 28, 64, 67 };
	static const uint8_t pieces[] = { 1, 3, 4, 7, 35 };
	static const uint32_t nobodies[] = { NOBODY, 2, UINT32_MAX };

	tap_case(identity, 0, "identity and features");
	tap_case(limits, 0, "configuration says the limits");
	tap_case(bypass_config, 0, "configuration: bypass is one bit");
	for (uint32_t at = 0; at < 36; at += 8)
		tap_case(other_config, at, "configuration: byte %u cannot be written", at);
	tap_case(needs_access_platform, 0, "a device behind it needs ACCESS_PLATFORM");
	for (unsigned i = 0; i < ARRAY_LEN(range_cases); i++)
		tap_case(map_range, i, "map: %s", range_cases[i].name);
	for (unsigned i = 0; i < ARRAY_LEN(overlap_cases); i++)
		tap_case(overlap, i, "%s among three: %s",
			 overlap_cases[i].is_unmap ? "unmap" : "map", overlap_cases[i].name);
	tap_case(unmap_ranges, 0, "unmap: inverted, and everything");
	tap_case(unmap_unaligned, 0, "unmap: unaligned");
	for (unsigned i = 0; i < ARRAY_LEN(domain_cases); i++)
		tap_case(domains, i, "domains: %s", domain_cases[i].name);
	tap_case(domain_ends, 0, "domains: one ends with its last endpoint");
	tap_case(domain_moves, 0, "domains: attach moves an endpoint");
	tap_case(bypass_domain, 0, "domains: a bypass domain has no mappings");
	tap_case(bypass_not_negotiated, 0, "domains: bypass was not negotiated");
	tap_case(reset_forgets, 0, "reset detaches everybody");
	tap_case(reserved_attach, 0, "reserved field of attach and detach");
	tap_case(reserved_unmap, 0, "reserved field of unmap");
	tap_case(reserved_head, 0, "reserved field of the head");
	for (uint64_t type = 1; type <= 5; type++) {
		tap_case(too_short, type, "type %lu cut short gets no answer", type);
		tap_case(too_long, type, "type %lu with more behind it", type);
	}
	for (uint64_t n = 0; n < 4; n++)
		tap_case(no_room, n, "room of %lu for the status", n);
	for (unsigned i = 0; i < ARRAY_LEN(bad_types); i++)
		tap_case(unknown_type, bad_types[i], "type 0x%x is unknown", bad_types[i]);
	for (unsigned i = 0; i < ARRAY_LEN(pieces); i++)
		tap_case(in_pieces, pieces[i], "request in pieces of %u", pieces[i]);
	tap_case(outside_ram, 1, "request outside RAM");
	tap_case(outside_ram, 0, "status outside RAM");
	tap_case(many_in_one_kick, 0, "60 requests in one kick");
	tap_case(probe, 0, "probe of the first disk");
	tap_case(probe, 1, "probe of the second disk");
	for (unsigned i = 0; i < ARRAY_LEN(nobodies); i++)
		tap_case(probe_nobody, nobodies[i], "probe of 0x%x", nobodies[i]);
	for (unsigned i = 0; i < ARRAY_LEN(rooms); i++)
		tap_case(probe_small, rooms[i], "probe with %u bytes of room", rooms[i]);
	tap_case(full, 0, "65535 mappings, and not one more");
}
