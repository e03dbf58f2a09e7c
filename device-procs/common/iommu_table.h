/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a device behind the IOMMU may reach: a table that bulkhead-iommu writes and devices read
 * without a lock, a message or a wait; and the page in which a device says what it is using.
 *
 * Hostile input both ways. Whoever owns the iommu process decides what its guest's devices reach
 * inside guest RAM and nothing else: a translation is a number until guest_memory_span() has
 * checked it, an index is compared with its array before it is used, and a search ends after
 * IOMMU_STEPS_MAX nodes. Whoever owns a device process can keep an UNMAP waiting until that device
 * is condemned, or answer too early and so reach memory that it maps anyway.
 *
 * Mappings. A domain is a skip list, ascending by `start`, without overlaps, linked by node
 * numbers; 0 ends a list. There is one writer. It fills a node and then links it, bottom level
 * first, with a release store; it unlinks top level first and leaves the node's own links alone.
 * A reader follows links with acquire loads. So at any moment, also if the writer dies between two
 * stores, level 0 is the truth and each level above is a part of it, and a reader that stands on an
 * unlinked node still finds everything that was mapped when it began.
 *
 * Giving a node up. UNMAP unlinks a node, and both it and the memory behind it may be used again
 * only when no device reads the node or uses that memory. Three words say so:
 *
 *	node.seq	odd: given up. Even: alive; a copy of a node that was taken under the same
 *			even seq is still good. A device may so keep copies for as long as it likes.
 *	page.epoch	odd: the device is in a section, in which it reads the table. Even: it is
 *			not, and has nothing from the table but what `uses` says.
 *	page.uses[n]	requests (and rings) that use the memory of node n now. Node 0 stands for
 *			memory that is reached without translation.
 *
 *	device						iommu process
 *	D1 epoch = odd					I1 unlink n
 *	D2 fence (seq_cst)				I2 n.seq = odd
 *	D3 find n, or check n.seq of a copy		I3 fence (seq_cst)
 *	D4 uses[n]++					I4 e = epoch; when odd, wait until it is
 *	D5 epoch = even (release)			   another (acquire)
 *	... I/O ...					I5 wait until uses[n] is 0 (acquire)
 *	D6 uses[n]-- (release)				I6 complete the request, reuse n
 *
 * The fences are in one order. If D2 comes first, I4 sees the odd epoch or a later one: in the end
 * it reads a value stored at or after D5, and acquires D4 with it, so I5 sees the use and waits for
 * D6. If I3 comes first, D3 sees the unlinked list and the odd seq, and does not find n: I4 may go
 * either way. A later section begins with another D2, behind I3. An idle device has an even epoch
 * and needs no wake-up; a busy one is waited for only for a section, which is as long as the
 * reading of one descriptor chain, or for I/O on this very node.
 *
 * ATTACH and DETACH change endpoint.attached in the place of I1 and I2, which makes devices drop
 * all copies, and wait in I5 for page.n_held, the sum of all uses.
 *
 * A device process that dies leaves its page as it was; the core zeroes epoch and uses once its I/O
 * is over, which releases whoever waits in I4 or I5. An iommu process that dies leaves the table;
 * its successor trusts only what it can verify (iommu_map_adopt()).
 *
 * Faults. A device appends to the ring in its page and signals the eventfd of faults when the ring
 * was empty; the iommu process counts what it took in endpoint.faults_taken. When the ring is full
 * a fault is counted and dropped.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/iommu_memory.h"

#define IOMMU_DOMAINS_MAX IOMMU_ENDPOINTS_MAX /* one without endpoints does not exist */
#define IOMMU_LEVELS 8u
#define IOMMU_STEPS_MAX 4096u /* an honest search takes some dozens */
#define IOMMU_PAGE_SHIFT 12u
#define IOMMU_FAULTS 64u /* power of two */

/* A permission; the values of virtio_iommu_req_map.flags and of virtio_iommu_fault.flags */
#define IOMMU_READ 1u
#define IOMMU_WRITE 2u

struct iommu_node {
	uint64_t start, last; /* I/O addresses, both inclusive */
	uint64_t phys; /* of start */
	uint32_t seq;
	uint32_t flags; /* IOMMU_READ, IOMMU_WRITE */
	uint32_t next[IOMMU_LEVELS];
};

enum iommu_domain_state {
	IOMMU_DOMAIN_FREE,
	IOMMU_DOMAIN_MAPPED,
	IOMMU_DOMAIN_BYPASS, /* reaches all of guest RAM, VIRTIO_IOMMU_ATTACH_F_BYPASS */
};

struct iommu_domain {
	uint32_t id; /* the driver's */
	uint32_t state;
	uint32_t pad[6];
	uint32_t head[IOMMU_LEVELS];
};

struct iommu_endpoint {
	uint64_t attached; /* low 8 bits: index of its domain + 1, 0: none; the rest counts changes */
	uint32_t faults_taken;
	uint32_t pad[13];
};

/*
 * The request that is being worked on, so that a successor recognises it when it comes again.
 * Devices have no use for it.
 */
struct iommu_operation {
	uint32_t type; /* VIRTIO_IOMMU_T_*; 0: none. Stored last, cleared when the request is answered */
	uint32_t domain, endpoint, flags;
	uint64_t start, last, phys;
	uint64_t pad[3];
};

struct iommu_table {
	uint32_t is_strict; /* 0: who is not attached reaches all of guest RAM */
	uint32_t n_nodes; /* nodes from this number on were never used, and 0 never is */
	uint32_t pad0[14];
	struct iommu_operation operation;
	struct iommu_endpoint endpoints[IOMMU_ENDPOINTS_MAX];
	struct iommu_domain domains[IOMMU_DOMAINS_MAX];
	uint8_t pad1[IOMMU_TABLE_NODES_OFFSET - 128 - 64 * IOMMU_ENDPOINTS_MAX -
		     64 * IOMMU_DOMAINS_MAX];
	struct iommu_node nodes[IOMMU_NODES];
};

struct iommu_page_fault {
	uint64_t address;
	uint32_t flags; /* IOMMU_READ or IOMMU_WRITE: what was tried */
	uint32_t reason; /* VIRTIO_IOMMU_FAULT_R_* */
};

struct iommu_page {
	uint32_t fault_head; /* faults so far; number i lies in slot i % IOMMU_FAULTS */
	uint32_t n_dropped;
	uint64_t pad0[7];
	struct iommu_page_fault faults[IOMMU_FAULTS];
	uint8_t pad1[IOMMU_PAGE_USES_OFFSET - 64 - 16 * IOMMU_FAULTS];
	uint64_t epoch;
	uint32_t n_held; /* sum of uses */
	uint8_t pad2[4096 - 12];
	uint32_t uses[IOMMU_NODES];
};

/* A private copy of one node. */
struct iommu_mapping {
	uint32_t node, seq;
	uint64_t start, last, phys;
	uint32_t flags;
};

/**
 * iommu_table_find() - the mapping of @iova in a domain (index below IOMMU_DOMAINS_MAX)
 *
 * One search over the levels; no wait, no retry. Call it in a section, or as the writer. Process:
 * devices behind the IOMMU, bulkhead-iommu. Return: true and a copy in which start <= @iova <= last.
 */
bool iommu_table_find(const struct iommu_table *table, uint32_t domain, uint64_t iova,
		      struct iommu_mapping *ret);

/** iommu_table_is_alive() - is the node that @m was copied from still mapped, unchanged? */
static inline bool iommu_table_is_alive(const struct iommu_table *table,
					const struct iommu_mapping *m)
{
	return __atomic_load_n(&table->nodes[m->node].seq, __ATOMIC_ACQUIRE) == m->seq;
}
