/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest RAM as the core and the device processes see it.
 *
 * RAM is one sealed memfd per region. A guest address is only a number (gpa_t) until it was
 * turned into a span: address + length + direction, checked once by subtraction to lie inside
 * one region. No function returns a pointer into guest memory; data moves by copies or, in bulk,
 * by span -> iovec -> system call, or, for rings, by a window with single atomic accesses.
 *
 * Everything read through this file is written by a hostile guest, concurrently. Copy once,
 * check the copy.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "ipc/cleanup.h"
#include "ipc/fdset.h"

#define GUEST_MEMORY_REGIONS_MAX 4
#define GUEST_PAGE_SIZE 4096u

typedef struct {
	uint64_t v;
} gpa_t; /* guest-physical byte address */

static inline gpa_t gpa(uint64_t v)
{
	return (gpa_t){ v };
}

/* A region as messages describe it; @size is a multiple of GUEST_PAGE_SIZE, never 0. */
struct guest_region {
	uint64_t gpa;
	uint64_t size;
};

enum guest_memory_result {
	GUEST_MEMORY_BAD_RANGE = 1, /* empty, wrapping, or not inside one region */
	GUEST_MEMORY_BAD_DIRECTION = 2,
};

enum span_direction {
	SPAN_DEVICE_READS, /* the guest offers data to the device */
	SPAN_DEVICE_WRITES, /* the guest offers room to the device */
};

struct guest_memory; /* opaque: host addresses are known to guest_memory.c only */

/* A checked range of guest RAM. Fields end in _ because only guest_memory.c may use them. */
struct span {
	uint8_t *host_;
	uint32_t len_;
	uint8_t direction_;
};

/**
 * guest_memory_create() - make and map the memfds of a new VM
 * @regions: @n regions, ascending, not overlapping
 * @hugepages: back by hugetlb pages; @prefault: populate now
 *
 * Return: 0; -EINVAL for a bad list; -errno of memfd_create, ftruncate, fcntl, mmap (-ENOMEM when
 * the host cannot back it).
 * Context: core, before its sandbox is sealed.
 */
int must_check guest_memory_create(const struct guest_region *regions, uint32_t n, bool hugepages,
				   bool prefault, struct guest_memory **ret);

/**
 * guest_memory_map() - map the memfds that the core sent
 * @fds: exactly @n fds, stolen; each must be a memfd sealed against shrinking and growing whose
 *	 size equals its region's
 *
 * Return: 0; -EINVAL when a region or an fd is not as promised; -errno of mmap.
 * Context: device process, before its sandbox is sealed.
 */
int must_check guest_memory_map(const struct guest_region *regions, uint32_t n, struct fdset *fds,
				struct guest_memory **ret);

/** guest_memory_free() - unmap and close; takes NULL; Return: NULL */
struct guest_memory *guest_memory_free(struct guest_memory *gm);

/** guest_memory_regions() - borrow the region list; *ret_n: how many */
const struct guest_region *guest_memory_regions(const struct guest_memory *gm, uint32_t *ret_n);

/** guest_memory_fd() - borrow the memfd of region @i (core only: it keeps them); -1 if closed */
int guest_memory_fd(const struct guest_memory *gm, uint32_t i);

/** guest_memory_host_base() - host address of region @i, for KVM_SET_USER_MEMORY_REGION only */
uint64_t guest_memory_host_base(const struct guest_memory *gm, uint32_t i);

/**
 * guest_memory_punch() - drop every page, so that all of RAM reads as zero
 *
 * Huge and prefaulted pages are allocated again. System call: fallocate. Context: core, while no
 * vCPU and no device runs. Return: 0, -errno (-ENOSPC: the host has no page left for them).
 */
int must_check guest_memory_punch(const struct guest_memory *gm);

/**
 * guest_memory_span() - turn a guest range into a span
 *
 * Return: 0; GUEST_MEMORY_BAD_RANGE when empty, wrapping, or not inside one region.
 */
int must_check guest_memory_span(const struct guest_memory *gm, gpa_t at, uint32_t len,
				 enum span_direction direction, struct span *ret);

/*
 * A copy of nothing is GUEST_MEMORY_BAD_RANGE too, here and below: an empty range lies nowhere.
 */

/** guest_memory_read() - copy guest bytes out once; Return: 0, GUEST_MEMORY_BAD_RANGE */
int must_check guest_memory_read(const struct guest_memory *gm, gpa_t at, void *dst, size_t n);

/** guest_memory_write() - copy bytes into guest RAM; Return: 0, GUEST_MEMORY_BAD_RANGE */
int must_check guest_memory_write(const struct guest_memory *gm, gpa_t at, const void *src,
				  size_t n);

/**
 * guest_memory_read_file() - load @n bytes of @fd at @file_offset to @at, without a bounce buffer
 *
 * Return: 0; GUEST_MEMORY_BAD_RANGE; -ENODATA when the file is shorter; -errno of pread.
 */
int must_check guest_memory_read_file(const struct guest_memory *gm, gpa_t at, int fd,
				      uint64_t file_offset, uint64_t n);

/**
 * guest_memory_populate() - have pages for [@at, @at + @n), which is about to be used whole
 *
 * A hint: one call costs a fraction of a fault for every page. Nothing happens for a range that
 * does not lie in one region, and pages that are not to be had now are left to their first use.
 */
void guest_memory_populate(const struct guest_memory *gm, gpa_t at, uint64_t n);

/** span_len() - bytes in the span */
static inline uint32_t span_len(const struct span *s)
{
	return s->len_;
}

/** span_write_soon() - have the first cache line of @s on its way from the CPU that has it; a hint */
static inline void span_write_soon(const struct span *s)
{
	/* The builtin fetches a line that others may keep, unless told of a newer CPU. */
	__asm__ volatile("prefetchw %0" : : "m"(*s->host_));
}

/** span_cut() - the part [offset, offset + len) of @s; Return: 0, GUEST_MEMORY_BAD_RANGE */
int must_check span_cut(const struct span *s, uint32_t offset, uint32_t len, struct span *ret);

/** span_copy_in() - copy out of a SPAN_DEVICE_READS span; Return: 0, BAD_RANGE, BAD_DIRECTION */
int must_check span_copy_in(const struct span *s, uint32_t offset, void *dst, size_t n);

/** span_copy_out() - copy into a SPAN_DEVICE_WRITES span; Return: 0, BAD_RANGE, BAD_DIRECTION */
int must_check span_copy_out(const struct span *s, uint32_t offset, const void *src, size_t n);

/**
 * span_iovec() - the span as an iovec, to be handed to a system call or SQE and nothing else
 *
 * The direction was given when the span was made: readv-like calls take SPAN_DEVICE_WRITES spans,
 * writev-like calls SPAN_DEVICE_READS ones; the caller states which and a mismatch is refused.
 * Return: 0; GUEST_MEMORY_BAD_DIRECTION.
 */
int must_check span_iovec(const struct span *s, enum span_direction direction,
			  struct iovec *ret);

/*
 * A window is a checked, aligned range that stays valid as long as the guest_memory does: one
 * part of a virtqueue. Accesses are single loads and stores of their width; offsets are the
 * caller's duty and come from masked private indexes, never from guest memory.
 */
struct guest_window {
	uint8_t *host_;
	uint32_t len_;
};

/**
 * guest_memory_window() - resolve a ring area
 * @align: power of two that @at must be a multiple of
 *
 * Return: 0; GUEST_MEMORY_BAD_RANGE when misaligned or not inside one region.
 */
int must_check guest_memory_window(const struct guest_memory *gm, gpa_t at, uint32_t len,
				   uint32_t align, struct guest_window *ret);

/* The little-endian 16-bit ring index protocol of VIRTIO 1.2 §2.7: acquire and release. */
static inline uint16_t guest_window_load16_acquire(const struct guest_window *w, uint32_t offset)
{
	return __atomic_load_n((const uint16_t *)(const void *)(w->host_ + offset),
			       __ATOMIC_ACQUIRE);
}

static inline uint16_t guest_window_load16(const struct guest_window *w, uint32_t offset)
{
	return __atomic_load_n((const uint16_t *)(const void *)(w->host_ + offset),
			       __ATOMIC_RELAXED);
}

static inline void guest_window_store16_release(const struct guest_window *w, uint32_t offset,
						uint16_t v)
{
	__atomic_store_n((uint16_t *)(void *)(w->host_ + offset), v, __ATOMIC_RELEASE);
}

static inline void guest_window_store32(const struct guest_window *w, uint32_t offset, uint32_t v)
{
	__atomic_store_n((uint32_t *)(void *)(w->host_ + offset), v, __ATOMIC_RELAXED);
}

static inline uint64_t guest_window_load64(const struct guest_window *w, uint32_t offset)
{
	return __atomic_load_n((const uint64_t *)(const void *)(w->host_ + offset),
			       __ATOMIC_RELAXED);
}
