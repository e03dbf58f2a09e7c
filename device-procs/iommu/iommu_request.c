/* SPDX-License-Identifier: Apache-2.0 */
/* See iommu_request.h. */
#include "device-procs/iommu/iommu_request.h"

#include <endian.h>
#include <linux/virtio_iommu.h>
#include <stddef.h>
#include <string.h>

#include "device-procs/common/spans.h"
#include "device-procs/iommu/iommu_map.h"

/* The readable part of each type ends where its tail or its properties begin. */
union readable {
	struct virtio_iommu_req_head head;
	struct virtio_iommu_req_attach attach;
	struct virtio_iommu_req_detach detach;
	struct virtio_iommu_req_map map;
	struct virtio_iommu_req_unmap unmap;
	struct virtio_iommu_req_probe probe;
};

_Static_assert(sizeof(struct virtio_iommu_req_tail) == IOMMU_TAIL_BYTES, "tail");

/* Return: 0: no such type */
static uint32_t readable_bytes(uint8_t type)
{
	switch (type) {
	case VIRTIO_IOMMU_T_ATTACH:
		return offsetof(struct virtio_iommu_req_attach, tail);
	case VIRTIO_IOMMU_T_DETACH:
		return offsetof(struct virtio_iommu_req_detach, tail);
	case VIRTIO_IOMMU_T_MAP:
		return offsetof(struct virtio_iommu_req_map, tail);
	case VIRTIO_IOMMU_T_UNMAP:
		return offsetof(struct virtio_iommu_req_unmap, tail);
	case VIRTIO_IOMMU_T_PROBE:
		return offsetof(struct virtio_iommu_req_probe, properties);
	default:
		return 0;
	}
}

static int reject(uint8_t *ret_status, uint8_t status)
{
	*ret_status = status;
	return IOMMU_REQUEST_REJECTED;
}

static int parse_attach(const struct virtio_iommu_req_attach *a, bool has_bypass,
			struct iommu_operation *op, uint8_t *ret_status)
{
	static const uint8_t zero[sizeof(a->reserved)];

	op->domain = le32toh(a->domain);
	op->endpoint = le32toh(a->endpoint);
	op->flags = le32toh(a->flags);
	if (memcmp(a->reserved, zero, sizeof(zero)) != 0 ||
	    op->flags & ~(has_bypass ? VIRTIO_IOMMU_ATTACH_F_BYPASS : 0u))
		return reject(ret_status, VIRTIO_IOMMU_S_INVAL);
	return 0;
}

static int parse_map(const struct virtio_iommu_req_map *q, struct iommu_operation *op,
		     uint8_t *ret_status)
{
	op->domain = le32toh(q->domain);
	op->start = le64toh(q->virt_start);
	op->last = le64toh(q->virt_end);
	op->phys = le64toh(q->phys_start);
	op->flags = le32toh(q->flags);
	/* VIRTIO_IOMMU_F_MMIO is not offered: the devices reach RAM only. */
	if (op->flags & ~(VIRTIO_IOMMU_MAP_F_READ | VIRTIO_IOMMU_MAP_F_WRITE))
		return reject(ret_status, VIRTIO_IOMMU_S_INVAL);
	return 0;
}

static int parse_unmap(const struct virtio_iommu_req_unmap *u, struct iommu_operation *op,
		       uint8_t *ret_status)
{
	static const uint8_t zero[sizeof(u->reserved)];

	op->domain = le32toh(u->domain);
	op->start = le64toh(u->virt_start);
	op->last = le64toh(u->virt_end);
	if (memcmp(u->reserved, zero, sizeof(zero)) != 0)
		return reject(ret_status, VIRTIO_IOMMU_S_INVAL);
	return 0;
}

/* §5.13.6.7.2: a list that is too short gets no property, only a status. */
static int parse_probe(const struct virtio_iommu_req_probe *p, uint32_t writable,
		       struct iommu_request *ret, uint8_t *ret_status)
{
	ret->op.endpoint = le32toh(p->endpoint);
	if (writable < IOMMU_PROBE_BYTES + IOMMU_TAIL_BYTES) {
		ret->tail = writable - IOMMU_TAIL_BYTES;
		return reject(ret_status, VIRTIO_IOMMU_S_INVAL);
	}
	ret->tail = IOMMU_PROBE_BYTES;
	return 0;
}

/* Where a status belongs in every request that is well-formed: at the end. */
static int reject_unread(uint32_t writable, struct iommu_request *ret, uint8_t *ret_status)
{
	uint32_t room = writable < IOMMU_ANSWER_MAX ? writable : IOMMU_ANSWER_MAX;

	ret->tail = room - IOMMU_TAIL_BYTES;
	return reject(ret_status, VIRTIO_IOMMU_S_DEVERR);
}

int iommu_request_parse(const struct virtqueue_chain *chain, bool has_bypass,
			struct iommu_request *ret, uint8_t *ret_status)
{
	union readable q;
	uint32_t have;

	*ret = (struct iommu_request){ .tail = 0 };
	if (chain->is_bad || chain->is_cut || chain->writable_len < IOMMU_TAIL_BYTES)
		return IOMMU_REQUEST_NO_ANSWER;
	/* Not without an answer: a driver that gets none may take the request for done. */
	if (chain->is_poisoned)
		return reject_unread(chain->writable_len, ret, ret_status);
	memset(&q, 0, sizeof(q));
	have = spans_copy_in(chain->spans, chain->n_readable, 0, &q, sizeof(q));
	if (have < sizeof(q.head) || readable_bytes(q.head.type) == 0 ||
	    have < readable_bytes(q.head.type))
		return IOMMU_REQUEST_NO_ANSWER;
	ret->op.type = q.head.type;
	switch (q.head.type) {
	case VIRTIO_IOMMU_T_ATTACH:
		return parse_attach(&q.attach, has_bypass, &ret->op, ret_status);
	case VIRTIO_IOMMU_T_DETACH:
		ret->op.domain = le32toh(q.detach.domain);
		ret->op.endpoint = le32toh(q.detach.endpoint);
		return 0;
	case VIRTIO_IOMMU_T_MAP:
		return parse_map(&q.map, &ret->op, ret_status);
	case VIRTIO_IOMMU_T_UNMAP:
		return parse_unmap(&q.unmap, &ret->op, ret_status);
	default:
		return parse_probe(&q.probe, chain->writable_len, ret, ret_status);
	}
}

uint32_t iommu_request_answer(const struct iommu_request *q, const struct span *writable,
			      uint32_t n, uint8_t status)
{
	static const struct virtio_iommu_probe_resv_mem msi = {
		.head = { .type = VIRTIO_IOMMU_PROBE_T_RESV_MEM,
			  .length = sizeof(msi) - sizeof(msi.head) },
		.subtype = VIRTIO_IOMMU_RESV_MEM_T_MSI,
		.start = IOMMU_MSI_START,
		.end = IOMMU_MSI_LAST,
	};
	const struct virtio_iommu_req_tail tail = { .status = status };
	/* used.len counts from the start, so what lies before the tail is written too: no property. */
	uint8_t bytes[IOMMU_ANSWER_MAX] = { 0 };
	uint32_t len = q->tail + IOMMU_TAIL_BYTES;

	if (q->op.type == VIRTIO_IOMMU_T_PROBE && status == VIRTIO_IOMMU_S_OK)
		memcpy(bytes, &msi, sizeof(msi));
	memcpy(bytes + q->tail, &tail, sizeof(tail));
	return spans_copy_out(writable, n, 0, bytes, len) == len ? len : 0;
}
