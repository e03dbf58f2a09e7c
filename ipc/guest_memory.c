/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest RAM; see guest_memory.h. Runs in the core and in every device process, before and after
 * the sandbox is sealed (create and map only before).
 *
 * This is the one file that knows host addresses of guest RAM. Addresses and lengths come from
 * the guest and are hostile; regions and fds of guest_memory_map() come from the core and are
 * checked as if they were. What is copied may change under the copy at any time: a copy is taken
 * once and the barrier after it keeps the compiler from going back to the source.
 */
#include "ipc/guest_memory.h"

#include <assert.h>
#include <fcntl.h>
#include <string.h>

#include "ipc/shared_memory.h"

/* Since Linux 5.14; the headers of Debian 12's libc have it, its kernel too. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* Pages that were zeroed should still be in the cache when they are read into. */
#define READ_CHUNK (1u << 20)

static_assert(sizeof(gpa_t) == 8, "an address is a number and no more");
static_assert(sizeof(size_t) == 8, "regions are larger than 4 GiB");

struct guest_memory {
	struct guest_region regions[GUEST_MEMORY_REGIONS_MAX];
	uint8_t *host[GUEST_MEMORY_REGIONS_MAX];
	int fds[GUEST_MEMORY_REGIONS_MAX];
	uint32_t n;
	bool stays_populated; /* pages were promised in advance: hugepages or prefault */
};

/* The memory clobber makes @dst count as changed, so later reads of it are not redirected. */
static void copy_once(void *dst, const void *src, size_t n)
{
	memcpy(dst, src, n);
	__asm__ volatile("" : : "r"(dst) : "memory");
}

static bool regions_ok(const struct guest_region *regions, uint32_t n)
{
	uint64_t end = 0; /* first address after the regions so far */

	if (n == 0 || n > GUEST_MEMORY_REGIONS_MAX)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		const struct guest_region *r = &regions[i];

		if (r->size == 0 || r->size > INT64_MAX || r->gpa < end ||
		    r->gpa % GUEST_PAGE_SIZE != 0 || r->size % GUEST_PAGE_SIZE != 0)
			return false;
		if (r->size > UINT64_MAX - r->gpa)
			return false;
		end = r->gpa + r->size;
	}
	return true;
}

static struct guest_memory *guest_memory_new(const struct guest_region *regions, uint32_t n)
{
	struct guest_memory *gm = calloc(1, sizeof(*gm));

	if (gm == NULL)
		return NULL;
	memcpy(gm->regions, regions, n * sizeof(*regions));
	gm->n = n;
	for (uint32_t i = 0; i < GUEST_MEMORY_REGIONS_MAX; i++)
		gm->fds[i] = -1;
	return gm;
}

static void guest_memory_freep(struct guest_memory **gm)
{
	*gm = guest_memory_free(*gm);
}

/*
 * Huge pages are reserved when they are mapped first, in the core: without the reservation a
 * guest access could end in SIGBUS. Everything else is allocated on first use.
 */
static int map_region(struct guest_memory *gm, uint32_t i, int fd, bool reserve)
{
	int flags = MAP_SHARED | (reserve ? 0 : MAP_NORESERVE);
	void *at = mmap(NULL, gm->regions[i].size, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (at == MAP_FAILED)
		return -errno;
	gm->host[i] = at;
	/* A core dump must neither hold the guest's secrets nor its size. Best effort. */
	(void)madvise(at, gm->regions[i].size, MADV_DONTDUMP);
	return 0;
}

int guest_memory_create(const struct guest_region *regions, uint32_t n, bool hugepages,
			bool prefault, struct guest_memory **ret)
{
	cleanup(guest_memory_freep) struct guest_memory *gm = NULL;
	int r;

	if (!regions_ok(regions, n))
		return -EINVAL;
	gm = guest_memory_new(regions, n);
	if (gm == NULL)
		return -ENOMEM;
	gm->stays_populated = hugepages || prefault;
	for (uint32_t i = 0; i < n; i++) {
		gm->fds[i] = shared_memory_create("bulkhead-guest-ram", regions[i].size,
						  hugepages ? MFD_HUGETLB : 0);
		if (gm->fds[i] < 0)
			return gm->fds[i];
		r = map_region(gm, i, gm->fds[i], hugepages);
		if (r != 0)
			return r;
		if (prefault && madvise(gm->host[i], regions[i].size, MADV_POPULATE_WRITE) != 0)
			return errno == EFAULT ? -ENOMEM : -errno; /* EFAULT: no page to be had */
	}
	*ret = ptr_steal(gm);
	return 0;
}

int guest_memory_map(const struct guest_region *regions, uint32_t n, struct fdset *fds,
		     struct guest_memory **ret)
{
	cleanup(guest_memory_freep) struct guest_memory *gm = NULL;
	int r;

	if (!regions_ok(regions, n) || fds->n != n)
		return -EINVAL;
	gm = guest_memory_new(regions, n);
	if (gm == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		cleanup_fd int fd = fdset_steal(fds, i);

		if (shared_memory_check(fd, regions[i].size) != 0)
			return -EINVAL;
		r = map_region(gm, i, fd, false);
		if (r != 0)
			return r;
	}
	*ret = ptr_steal(gm);
	return 0;
}

struct guest_memory *guest_memory_free(struct guest_memory *gm)
{
	if (gm == NULL)
		return NULL;
	for (uint32_t i = 0; i < gm->n; i++) {
		if (gm->host[i] != NULL)
			(void)munmap(gm->host[i], gm->regions[i].size);
		fd_close(gm->fds[i]);
	}
	free(gm);
	return NULL;
}

const struct guest_region *guest_memory_regions(const struct guest_memory *gm, uint32_t *ret_n)
{
	*ret_n = gm->n;
	return gm->regions;
}

int guest_memory_fd(const struct guest_memory *gm, uint32_t i)
{
	return i < gm->n ? gm->fds[i] : -1;
}

uint64_t guest_memory_host_base(const struct guest_memory *gm, uint32_t i)
{
	return i < gm->n ? (uint64_t)(uintptr_t)gm->host[i] : 0;
}

int guest_memory_punch(const struct guest_memory *gm)
{
	for (uint32_t i = 0; i < gm->n; i++) {
		off_t size = (off_t)gm->regions[i].size;

		if (gm->fds[i] < 0)
			return -EBADF;
		if (fallocate(gm->fds[i], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, size) != 0)
			return -errno;
		/* The hole also gave the reservation back; take it again while that can fail. */
		if (gm->stays_populated &&
		    fallocate(gm->fds[i], FALLOC_FL_KEEP_SIZE, 0, size) != 0)
			return -errno;
	}
	return 0;
}

/* The only translation: subtracts from checked values and never adds, so nothing can wrap. */
static uint8_t *resolve(const struct guest_memory *gm, gpa_t at, uint64_t len)
{
	if (len == 0)
		return NULL;
	for (uint32_t i = 0; i < gm->n; i++) {
		const struct guest_region *r = &gm->regions[i];
		uint64_t offset;

		if (at.v < r->gpa)
			return NULL; /* regions ascend: below this one is a hole */
		offset = at.v - r->gpa;
		if (offset >= r->size)
			continue;
		return len <= r->size - offset ? gm->host[i] + offset : NULL;
	}
	return NULL;
}

int guest_memory_span(const struct guest_memory *gm, gpa_t at, uint32_t len,
		      enum span_direction direction, struct span *ret)
{
	uint8_t *host = resolve(gm, at, len);

	if (host == NULL)
		return GUEST_MEMORY_BAD_RANGE;
	*ret = (struct span){ .host_ = host, .len_ = len, .direction_ = (uint8_t)direction };
	return 0;
}

int guest_memory_read(const struct guest_memory *gm, gpa_t at, void *dst, size_t n)
{
	const uint8_t *host = resolve(gm, at, n);

	if (host == NULL)
		return GUEST_MEMORY_BAD_RANGE;
	copy_once(dst, host, n);
	return 0;
}

int guest_memory_write(const struct guest_memory *gm, gpa_t at, const void *src, size_t n)
{
	uint8_t *host = resolve(gm, at, n);

	if (host == NULL)
		return GUEST_MEMORY_BAD_RANGE;
	copy_once(host, src, n);
	return 0;
}

/* From @host on, which resolve() returned for @n bytes: pages of regions and mappings are whole. */
static void populate(uint8_t *host, uint64_t n)
{
	uint64_t into_page = (uintptr_t)host % GUEST_PAGE_SIZE;

	(void)madvise(host - into_page, n + into_page, MADV_POPULATE_WRITE);
}

void guest_memory_populate(const struct guest_memory *gm, gpa_t at, uint64_t n)
{
	uint8_t *host = resolve(gm, at, n);

	if (host != NULL)
		populate(host, n);
}

int guest_memory_read_file(const struct guest_memory *gm, gpa_t at, int fd, uint64_t file_offset,
			   uint64_t n)
{
	uint8_t *host = resolve(gm, at, n);

	if (host == NULL)
		return GUEST_MEMORY_BAD_RANGE;
	if (n > INT64_MAX || file_offset > INT64_MAX - n)
		return -EINVAL; /* what pread says to such an offset */
	while (n > 0) {
		size_t chunk = n < READ_CHUNK ? (size_t)n : READ_CHUNK;
		ssize_t got;

		populate(host, chunk);
		got = pread(fd, host, chunk, (off_t)file_offset);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			return -ENODATA;
		host += got;
		file_offset += (uint64_t)got;
		n -= (uint64_t)got;
	}
	return 0;
}

static bool span_holds(const struct span *s, uint32_t offset, uint64_t n)
{
	return n > 0 && offset < s->len_ && n <= s->len_ - offset;
}

int span_cut(const struct span *s, uint32_t offset, uint32_t len, struct span *ret)
{
	if (!span_holds(s, offset, len))
		return GUEST_MEMORY_BAD_RANGE;
	*ret = (struct span){
		.host_ = s->host_ + offset,
		.len_ = len,
		.direction_ = s->direction_,
	};
	return 0;
}

int span_copy_in(const struct span *s, uint32_t offset, void *dst, size_t n)
{
	if (s->direction_ != SPAN_DEVICE_READS)
		return GUEST_MEMORY_BAD_DIRECTION;
	if (!span_holds(s, offset, n))
		return GUEST_MEMORY_BAD_RANGE;
	copy_once(dst, s->host_ + offset, n);
	return 0;
}

int span_copy_out(const struct span *s, uint32_t offset, const void *src, size_t n)
{
	if (s->direction_ != SPAN_DEVICE_WRITES)
		return GUEST_MEMORY_BAD_DIRECTION;
	if (!span_holds(s, offset, n))
		return GUEST_MEMORY_BAD_RANGE;
	copy_once(s->host_ + offset, src, n);
	return 0;
}

int span_iovec(const struct span *s, enum span_direction direction, struct iovec *ret)
{
	if (s->direction_ != (uint8_t)direction)
		return GUEST_MEMORY_BAD_DIRECTION;
	*ret = (struct iovec){ .iov_base = s->host_, .iov_len = s->len_ };
	return 0;
}

int guest_memory_window(const struct guest_memory *gm, gpa_t at, uint32_t len, uint32_t align,
			struct guest_window *ret)
{
	uint8_t *host;

	/* Host and guest addresses agree in their low 12 bits, so this aligns the access too. */
	if (align == 0 || align > GUEST_PAGE_SIZE || (align & (align - 1)) != 0 ||
	    (at.v & (align - 1)) != 0)
		return GUEST_MEMORY_BAD_RANGE;
	host = resolve(gm, at, len);
	if (host == NULL)
		return GUEST_MEMORY_BAD_RANGE;
	*ret = (struct guest_window){ .host_ = host, .len_ = len };
	return 0;
}
