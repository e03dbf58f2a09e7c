/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-iommu of the probe guest (VIRTIO 1.2 §5.13), and a disk that is driven through it. */
#pragma once

#include "blk.h"
#include "tap.h"

#define IOMMU_F_INPUT_RANGE (1ull << 0)
#define IOMMU_F_DOMAIN_RANGE (1ull << 1)
#define IOMMU_F_MAP_UNMAP (1ull << 2)
#define IOMMU_F_PROBE (1ull << 4)
#define IOMMU_F_BYPASS_CONFIG (1ull << 6)
#define IOMMU_FEATURES                                                                            \
	(IOMMU_F_INPUT_RANGE | IOMMU_F_DOMAIN_RANGE | IOMMU_F_MAP_UNMAP | IOMMU_F_PROBE |         \
	 IOMMU_F_BYPASS_CONFIG)

enum iommu_type {
	IOMMU_ATTACH = 1,
	IOMMU_DETACH = 2,
	IOMMU_MAP = 3,
	IOMMU_UNMAP = 4,
	IOMMU_PROBE = 5,
};

enum iommu_status {
	IOMMU_OK = 0,
	IOMMU_DEVERR = 3,
	IOMMU_INVAL = 4,
	IOMMU_RANGE = 5,
	IOMMU_NOENT = 6,
	IOMMU_FAULT = 7,
	IOMMU_NOMEM = 8,
};

#define IOMMU_NO_ANSWER (-1) /* used length 0 */
#define IOMMU_TIMED_OUT (-2)

#define MAP_R 1u
#define MAP_W 2u
#define MAP_RW 3u
#define ATTACH_BYPASS 1u

enum iommu_config {
	IOMMU_CONFIG_PAGE_SIZE_MASK = 0,
	IOMMU_CONFIG_INPUT_RANGE = 8,
	IOMMU_CONFIG_DOMAIN_RANGE = 24,
	IOMMU_CONFIG_PROBE_SIZE = 32,
	IOMMU_CONFIG_BYPASS = 36,
};

/* The readable part of any request; each type is a prefix of one of these. */
struct iommu_request {
	uint8_t type;
	uint8_t reserved[3];
	union {
		struct {
			uint32_t domain, endpoint, flags, zero;
		} attach; /* and DETACH, with other names */
		struct {
			uint32_t domain;
			uint64_t start, last, phys;
			uint32_t flags;
		} __attribute__((packed)) map; /* UNMAP: up to last, then four bytes of 0 */
		struct {
			uint32_t endpoint;
			uint8_t reserved[64];
		} probe;
	};
} __attribute__((packed));

struct iommu_fault {
	uint8_t reason;
	uint8_t reserved[3];
	uint32_t flags, endpoint, reserved1;
	uint64_t address;
};

#define FAULT_DOMAIN 1u
#define FAULT_MAPPING 2u
#define FAULT_READ 0x101u /* with an address */
#define FAULT_WRITE 0x102u

struct iommu {
	struct vdev *dev;
	struct vq requests, events;
	struct iommu_request *out;
	volatile uint8_t *in; /* 256 bytes */
	uint32_t used_len;
	struct iommu_fault *faults; /* one per event buffer */
};

/* The one that the cases use. */
extern struct iommu mmu;
extern struct vdev *disk, *second_disk;

/* What every request type needs of its readable part. */
uint32_t iommu_readable(uint8_t type);

/* Reset and start, with @n_events event buffers; NULL or a detail */
const char *iommu_start(uint64_t features, unsigned n_events);
/* mmu.out as it is: @out_len bytes readable, @in_len writable. Return: status or IOMMU_* below 0 */
int iommu_send(uint32_t out_len, uint32_t in_len);
int iommu_attach(uint32_t domain, uint32_t endpoint, uint32_t flags);
int iommu_detach(uint32_t domain, uint32_t endpoint);
int iommu_map(uint32_t domain, uint64_t start, uint64_t last, uint64_t phys, uint32_t flags);
int iommu_unmap(uint32_t domain, uint64_t start, uint64_t last);
void iommu_set_bypass(uint8_t value);
uint8_t iommu_bypass(void);
void iommu_add_event(uint16_t i, uint32_t len);
/* The next fault, or NULL after @timeout_ms */
const struct iommu_fault *iommu_wait_fault(uint64_t timeout_ms);

/* Start, with @dev in a domain in which all that memory_alloc() gives out is mapped to itself */
bool iommu_map_arena(const struct vdev *dev);
bool iommu_map_arena_in(const struct vdev *dev, uint32_t domain);

void iommu_requests_cases(void);
void iommu_access_cases(void);
void iommu_devices_cases(void);
