/* SPDX-License-Identifier: Apache-2.0 */
/* iommu_request.c: every kind of request, well-formed and not, in one piece and in many. */
#include "device-procs/iommu/iommu_request.h"

#include <criterion/criterion.h>
#include <linux/virtio_iommu.h>
#include <string.h>

#define RAM (1u << 20)
#define OUT 0x1000u
#define IN 0x2000u

static struct guest_memory *gm;
static struct span spans[IOMMU_SPANS_MAX];
static struct virtqueue_chain chain;
static struct iommu_request q;
static uint8_t status;

static void start(void)
{
	static const struct guest_region region = { 0, RAM };

	gm = guest_memory_free(gm);
	cr_assert_eq(guest_memory_create(&region, 1, false, false, &gm), 0);
	chain = (struct virtqueue_chain){ .spans = spans, .n_spans_max = IOMMU_SPANS_MAX };
}

static void stop(void)
{
	gm = guest_memory_free(gm);
}

TestSuite(iommu_request, .init = start, .fini = stop, .timeout = 60);

static void add(uint64_t at, uint32_t len, bool write)
{
	cr_assert_eq(guest_memory_span(gm, gpa(at), len,
				       write ? SPAN_DEVICE_WRITES : SPAN_DEVICE_READS,
				       &spans[chain.n_spans]),
		     0);
	chain.n_spans++;
	chain.n_readable += !write;
	*(write ? &chain.writable_len : &chain.readable_len) += len;
}

/* @piece: bytes per descriptor */
static int parse(const void *readable, uint32_t n, uint32_t n_writable, uint32_t piece)
{
	uint32_t at;

	start();
	cr_assert_eq(guest_memory_write(gm, gpa(OUT), readable, n), 0);
	for (at = 0; at < n; at += piece)
		add(OUT + at, n - at < piece ? n - at : piece, false);
	for (at = 0; at < n_writable; at += piece)
		add(IN + at, n_writable - at < piece ? n_writable - at : piece, true);
	status = 0xee;
	return iommu_request_parse(&chain, true, &q, &status);
}

static uint8_t in_byte(uint32_t at)
{
	uint8_t v;

	cr_assert_eq(guest_memory_read(gm, gpa(IN + at), &v, 1), 0);
	return v;
}

static const struct virtio_iommu_req_map a_map = {
	.head.type = VIRTIO_IOMMU_T_MAP, .domain = 0x11223344, .virt_start = 0x1122334455667000,
	.virt_end = UINT64_MAX, .phys_start = 0x8877665544332211, .flags = 3,
};

Test(iommu_request, map_is_read_field_by_field_however_it_is_cut)
{
	for (uint32_t piece = 1; piece <= 36; piece++) {
		cr_assert_eq(parse(&a_map, 36, 4, piece), 0, "%u", piece);
		cr_expect_eq(q.op.type, VIRTIO_IOMMU_T_MAP);
		cr_expect_eq(q.op.domain, 0x11223344);
		cr_expect_eq(q.op.start, 0x1122334455667000);
		cr_expect_eq(q.op.last, UINT64_MAX);
		cr_expect_eq(q.op.phys, 0x8877665544332211);
		cr_expect_eq(q.op.flags, 3);
		cr_expect_eq(q.op.endpoint, 0);
		cr_expect_eq(q.tail, 0);
	}
}

Test(iommu_request, a_request_that_is_too_short_gets_no_answer)
{
	static const uint8_t sizes[] = { 0, 20, 20, 36, 28, 72 };
	uint8_t bytes[80] = { 0 };

	for (uint8_t type = 1; type <= 5; type++) {
		bytes[0] = type;
		for (uint32_t n = 1; n < sizes[type]; n++)
			cr_expect_eq(parse(bytes, n, 128, 128), IOMMU_REQUEST_NO_ANSWER, "%u %u",
				     type, n);
		cr_expect_eq(parse(bytes, sizes[type], 128, 128), 0, "type %u", type);
		cr_expect_eq(parse(bytes, 80, 128, 128), 0, "more than needed, type %u", type);
		for (uint32_t n = 0; n < 4; n++)
			cr_expect_eq(parse(bytes, sizes[type], n, 128), IOMMU_REQUEST_NO_ANSWER);
	}
}

Test(iommu_request, types_that_do_not_exist_get_no_answer)
{
	uint8_t bytes[80] = { 0 };

	for (uint32_t type = 0; type < 256; type++) {
		bytes[0] = (uint8_t)type;
		cr_expect_eq(parse(bytes, 80, 128, 128),
			     type >= 1 && type <= 5 ? 0 : IOMMU_REQUEST_NO_ANSWER);
	}
}

Test(iommu_request, flags_and_reserved_fields)
{
	struct virtio_iommu_req_attach a = { .head.type = VIRTIO_IOMMU_T_ATTACH, .flags = 1 };
	struct virtio_iommu_req_detach d = { .head.type = VIRTIO_IOMMU_T_DETACH };
	struct virtio_iommu_req_unmap u = { .head.type = VIRTIO_IOMMU_T_UNMAP };
	struct virtio_iommu_req_map m = a_map;

	cr_expect_eq(parse(&a, 20, 4, 64), 0);
	cr_expect_eq(iommu_request_parse(&chain, false, &q, &status), IOMMU_REQUEST_REJECTED,
		     "bypass was not negotiated");
	cr_expect_eq(status, VIRTIO_IOMMU_S_INVAL);
	a.flags = 2;
	cr_expect_eq(parse(&a, 20, 4, 64), IOMMU_REQUEST_REJECTED);
	a.flags = 0;
	a.reserved[3] = 1;
	cr_expect_eq(parse(&a, 20, 4, 64), IOMMU_REQUEST_REJECTED);
	cr_expect_eq(status, VIRTIO_IOMMU_S_INVAL);
	memset(d.reserved, 0xff, sizeof(d.reserved));
	d.head.reserved[0] = 0xff;
	cr_expect_eq(parse(&d, 20, 4, 64), 0, "DETACH ignores it, and so does every head");
	u.reserved[0] = 1;
	cr_expect_eq(parse(&u, 28, 4, 64), IOMMU_REQUEST_REJECTED);
	m.flags = VIRTIO_IOMMU_MAP_F_MMIO | VIRTIO_IOMMU_MAP_F_READ;
	cr_expect_eq(parse(&m, 36, 4, 64), IOMMU_REQUEST_REJECTED);
	m.flags = 0x80000000;
	cr_expect_eq(parse(&m, 36, 4, 64), IOMMU_REQUEST_REJECTED);
	cr_expect_eq(status, VIRTIO_IOMMU_S_INVAL);
}

Test(iommu_request, probe_tells_of_the_msi_window)
{
	uint8_t bytes[72] = { VIRTIO_IOMMU_T_PROBE, 0, 0, 0, 0x18 };
	struct virtio_iommu_probe_resv_mem resv;

	for (uint32_t piece = 3; piece <= 72; piece += 23) {
		cr_assert_eq(parse(bytes, 72, 68, piece), 0);
		cr_expect_eq(q.op.endpoint, 0x18);
		cr_assert_eq(iommu_request_answer(&q, spans + chain.n_readable,
						  chain.n_spans - chain.n_readable,
						  VIRTIO_IOMMU_S_OK),
			     68);
		cr_assert_eq(guest_memory_read(gm, gpa(IN), &resv, sizeof(resv)), 0);
		cr_expect_eq(resv.head.type, VIRTIO_IOMMU_PROBE_T_RESV_MEM);
		cr_expect_eq(resv.head.length, 20);
		cr_expect_eq(resv.subtype, VIRTIO_IOMMU_RESV_MEM_T_MSI);
		cr_expect_eq(resv.start, 0xfee00000);
		cr_expect_eq(resv.end, 0xfeefffff);
		for (uint32_t i = sizeof(resv); i < 68; i++)
			cr_expect_eq(in_byte(i), 0);
	}
}

Test(iommu_request, a_probe_with_too_little_room_gets_a_status_and_no_property)
{
	uint8_t bytes[72] = { VIRTIO_IOMMU_T_PROBE };

	for (uint32_t room = 4; room < 68; room++) {
		cr_assert_eq(parse(bytes, 72, room, 68), IOMMU_REQUEST_REJECTED);
		cr_expect_eq(status, VIRTIO_IOMMU_S_INVAL);
		cr_expect_eq(iommu_request_answer(&q, spans + chain.n_readable, 1, status), room);
		cr_expect_eq(in_byte(room - 4), VIRTIO_IOMMU_S_INVAL);
		cr_expect_eq(in_byte(0), room == 4 ? VIRTIO_IOMMU_S_INVAL : 0);
	}
}

Test(iommu_request, the_status_goes_where_the_tail_is)
{
	cr_assert_eq(parse(&a_map, 36, 4, 1), 0);
	cr_expect_eq(iommu_request_answer(&q, spans + 36, 4, VIRTIO_IOMMU_S_RANGE), 4);
	cr_expect_eq(in_byte(0), VIRTIO_IOMMU_S_RANGE);
	cr_expect_eq(in_byte(1) | in_byte(2) | in_byte(3), 0);
	cr_expect_eq(iommu_request_answer(&q, spans + 36, 3, VIRTIO_IOMMU_S_RANGE), 0, "no room");
	cr_expect_eq(iommu_request_answer(&q, spans, 1, VIRTIO_IOMMU_S_RANGE), 0, "read-only");
}

Test(iommu_request, a_chain_with_a_bad_buffer_gets_no_answer)
{
	cr_assert_eq(parse(&a_map, 36, 4, 64), 0);
	chain.is_bad = true;
	cr_expect_eq(iommu_request_parse(&chain, true, &q, &status), IOMMU_REQUEST_NO_ANSWER);
	chain.is_bad = false;
	chain.is_cut = true;
	cr_expect_eq(iommu_request_parse(&chain, true, &q, &status), IOMMU_REQUEST_NO_ANSWER);
}
