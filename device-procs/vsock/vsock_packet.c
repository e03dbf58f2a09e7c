/* SPDX-License-Identifier: Apache-2.0 */
/* See vsock_packet.h. Pure; hostile: chains of the guest, bytes of host clients. */
#include "device-procs/vsock/vsock_packet.h"

#include <endian.h>
#include <string.h>
#include <strings.h>

#include "device-procs/common/spans.h"

/* §5.10.6, little-endian, unaligned */
struct wire_header {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port;
	uint32_t len;
	uint16_t type, op;
	uint32_t flags;
	uint32_t buf_alloc, fwd_cnt;
} __attribute__((packed));

_Static_assert(sizeof(struct wire_header) == VSOCK_HEADER_BYTES, "VIRTIO 1.2 §5.10.6");

static void from_wire(const struct wire_header *w, struct vsock_packet *p)
{
	*p = (struct vsock_packet){
		.src_cid = le64toh(w->src_cid),
		.dst_cid = le64toh(w->dst_cid),
		.src_port = le32toh(w->src_port),
		.dst_port = le32toh(w->dst_port),
		.len = le32toh(w->len),
		.type = le16toh(w->type),
		.op = le16toh(w->op),
		.flags = le32toh(w->flags),
		.buf_alloc = le32toh(w->buf_alloc),
		.fwd_cnt = le32toh(w->fwd_cnt),
	};
}

int vsock_packet_read(const struct virtqueue_chain *chain, uint64_t guest_cid,
		      struct vsock_packet *ret)
{
	struct wire_header w;

	/* With a buffer left out nobody knows where the header was. */
	if (chain->is_bad || chain->is_cut ||
	    spans_copy_in(chain->spans, chain->n_readable, 0, &w, sizeof(w)) != sizeof(w))
		return VSOCK_PACKET_DROPPED;
	from_wire(&w, ret);
	/* §5.10.6.4.1: a source that is not the guest's own cid is a forgery. */
	if (ret->src_cid != guest_cid || ret->dst_cid != VSOCK_HOST_CID)
		return VSOCK_PACKET_DROPPED;
	if (ret->type != VSOCK_TYPE_STREAM || ret->op < VSOCK_OP_REQUEST ||
	    ret->op > VSOCK_OP_CREDIT_REQUEST)
		return VSOCK_PACKET_REFUSED;
	if (ret->op == VSOCK_OP_RW ? ret->len > chain->readable_len - VSOCK_HEADER_BYTES :
				     ret->len != 0)
		return VSOCK_PACKET_REFUSED;
	return 0;
}

uint32_t vsock_packet_payload(const struct virtqueue_chain *chain, bool writable, uint32_t len,
			      struct span *ret)
{
	uint32_t i = writable ? chain->n_readable : 0;
	uint32_t end = writable ? chain->n_spans : chain->n_readable;
	uint32_t skip = VSOCK_HEADER_BYTES, n = 0;

	for (; i < end && len > 0; i++) {
		uint32_t part = span_len(&chain->spans[i]);

		if (part <= skip) {
			skip -= part;
			continue;
		}
		part -= skip;
		if (part > len)
			part = len;
		if (span_cut(&chain->spans[i], skip, part, &ret[n]) != 0)
			break;
		skip = 0;
		len -= part;
		n++;
	}
	return n;
}

bool vsock_packet_can_hold(const struct virtqueue_chain *chain)
{
	return !chain->is_bad && !chain->is_cut && !chain->is_poisoned &&
	       chain->writable_len >= VSOCK_HEADER_BYTES;
}

uint32_t vsock_packet_room(const struct virtqueue_chain *chain)
{
	return vsock_packet_can_hold(chain) ? chain->writable_len - VSOCK_HEADER_BYTES : 0;
}

void vsock_packet_write(const struct virtqueue_chain *chain, const struct vsock_packet *p)
{
	const struct wire_header w = {
		.src_cid = htole64(p->src_cid),
		.dst_cid = htole64(p->dst_cid),
		.src_port = htole32(p->src_port),
		.dst_port = htole32(p->dst_port),
		.len = htole32(p->len),
		.type = htole16(p->type),
		.op = htole16(p->op),
		.flags = htole32(p->flags),
		.buf_alloc = htole32(p->buf_alloc),
		.fwd_cnt = htole32(p->fwd_cnt),
	};

	(void)spans_copy_out(chain->spans + chain->n_readable, chain->n_spans - chain->n_readable,
			     0, &w, sizeof(w)); /* there is room: vsock_packet_can_hold() */
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* Decimal, at least one digit, at most UINT32_MAX, and nothing else. */
static int parse_port(const char *s, const char *end, uint32_t *ret)
{
	uint64_t v = 0;

	if (s == end)
		return VSOCK_COMMAND_BAD;
	for (; s < end; s++) {
		if (*s < '0' || *s > '9')
			return VSOCK_COMMAND_BAD;
		v = v * 10 + (uint64_t)(*s - '0');
		if (v > UINT32_MAX)
			return VSOCK_COMMAND_BAD;
	}
	*ret = (uint32_t)v;
	return 0;
}

int vsock_command_parse(const char *text, uint32_t len, uint32_t *ret_port, uint32_t *ret_len)
{
	static const char word[] = "connect";
	const size_t word_len = sizeof(word) - 1;
	const char *newline = memchr(text, '\n', len), *s = text, *end = newline;
	int r;

	if (!newline)
		return len < VSOCK_COMMAND_MAX ? VSOCK_COMMAND_PARTIAL : VSOCK_COMMAND_BAD;
	while (s < end && is_blank(*s))
		s++;
	while (end > s && is_blank(end[-1]))
		end--;
	if ((size_t)(end - s) <= word_len || strncasecmp(s, word, word_len) != 0 ||
	    !is_blank(s[word_len]))
		return VSOCK_COMMAND_BAD;
	for (s += word_len; s < end && is_blank(*s); s++)
		;
	r = parse_port(s, end, ret_port);
	if (r == 0)
		*ret_len = (uint32_t)(newline - text) + 1;
	return r;
}
