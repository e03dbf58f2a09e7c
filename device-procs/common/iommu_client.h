/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device's side of the IOMMU: from I/O addresses to spans, and what is in use. Device processes;
 * one thread. iommu_table.h has the protocol. Hostile: the addresses (guest) and the table.
 *
 *	iommu_client_enter() -> iommu_client_translate(), iommu_client_hold()... -> _leave()
 *	... I/O ... -> iommu_client_release()
 */
#pragma once

#include "device-procs/common/iommu_table.h"
#include "ipc/guest_memory.h"

#define IOMMU_CACHE 64u /* power of two */

struct iommu_client {
	const struct guest_memory *gm; /* borrowed, as are table and page */
	const struct iommu_table *table;
	struct iommu_page *page; /* this process is its only writer */
	uint32_t slot;
	int fault_fd; /* owned; -1: nobody is told */
	uint64_t epoch;
	uint64_t attached; /* endpoint.attached, as seen in this section or the last */
	struct iommu_mapping cache[IOMMU_CACHE]; /* by I/O page; node 0: empty */
};

enum iommu_client_result {
	IOMMU_FAULT = 1, /* not mapped, not permitted or not guest RAM; a fault was raised */
};

/* The first part of a range: what lies in one mapping. */
struct iommu_piece {
	uint32_t node; /* for hold and release; 0: reached without translation */
	uint32_t seq; /* of that node */
	uint64_t gpa;
	uint32_t len;
};

/** iommu_client_init() - idle; continues the faults of a predecessor; takes @fault_fd */
void iommu_client_init(struct iommu_client *c, const struct guest_memory *gm,
		       const struct iommu_table *table, struct iommu_page *page, uint32_t slot,
		       int fault_fd);

/** iommu_client_enter() - begin a section: short, without system calls but for faults */
void iommu_client_enter(struct iommu_client *c);

/** iommu_client_leave() - end it; only what is held stays valid */
void iommu_client_leave(struct iommu_client *c);

/**
 * iommu_client_translate() - the first part of [@iova, @iova + @len), @len > 0, in a section
 *
 * Return: 0, with 0 < ret->len <= @len; IOMMU_FAULT. That the part is guest RAM is not checked here.
 */
int must_check iommu_client_translate(struct iommu_client *c, uint64_t iova, uint32_t len,
				      enum span_direction direction, struct iommu_piece *ret);

/**
 * iommu_client_span() - the same, as a span
 * Return: 0; IOMMU_FAULT, also for what is mapped to something else than guest RAM.
 */
int must_check iommu_client_span(struct iommu_client *c, uint64_t iova, uint32_t len,
				 enum span_direction direction, struct iommu_piece *ret_piece,
				 struct span *ret);

/** iommu_client_read() - copy out all of a range, once, in a section; Return: 0; IOMMU_FAULT */
int must_check iommu_client_read(struct iommu_client *c, uint64_t iova, void *dst, uint32_t len);

/** iommu_client_is_current() - in a section: is @piece, seen in another one, still what it was? */
bool iommu_client_is_current(const struct iommu_client *c, const struct iommu_piece *piece);

/** iommu_client_hold() - in a section: the memory of @node is in use until it is released */
void iommu_client_hold(struct iommu_client *c, uint32_t node);

/** iommu_client_release() - once for every hold, at any time */
void iommu_client_release(struct iommu_client *c, uint32_t node);
