/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One virtio-iommu request (VIRTIO 1.2 §5.13.6): from a checked chain to numbers, and the answer
 * back into it. No state. bulkhead-iommu; the content is the guest's, hostile.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "device-procs/common/iommu_table.h"
#include "device-procs/common/virtqueue.h"

#define IOMMU_SPANS_MAX 64u /* buffers of one request */
#define IOMMU_PROBE_BYTES 64u /* config space: probe_size */
#define IOMMU_TAIL_BYTES 4u
#define IOMMU_ANSWER_MAX (IOMMU_PROBE_BYTES + IOMMU_TAIL_BYTES)

struct iommu_request {
	struct iommu_operation op; /* type: VIRTIO_IOMMU_T_*; what the type has no field for is 0 */
	uint32_t tail; /* offset of the status in the writable part */
};

enum iommu_request_result {
	IOMMU_REQUEST_REJECTED = 1, /* answer *ret_status; ret->tail is valid */
	IOMMU_REQUEST_NO_ANSWER = 2, /* unknown type, or no room for a status: used.len 0 */
};

/**
 * iommu_request_parse() - copy and check one request
 * @has_bypass: VIRTIO_IOMMU_F_BYPASS_CONFIG was negotiated
 *
 * What depends on domains and endpoints is not checked here.
 * Return: 0; IOMMU_REQUEST_REJECTED; IOMMU_REQUEST_NO_ANSWER.
 */
int must_check iommu_request_parse(const struct virtqueue_chain *chain, bool has_bypass,
				   struct iommu_request *ret, uint8_t *ret_status);

/**
 * iommu_request_answer() - properties (only to a PROBE that went well) and status
 * Return: used.len; 0: the writable part could not be written
 */
uint32_t iommu_request_answer(const struct iommu_request *q, const struct span *writable,
			      uint32_t n, uint8_t status);
