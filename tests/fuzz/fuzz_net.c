/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the driver of a NIC controls: headers of frames, commands of the control queue, and packets
 * on their way into the user-mode network. What is let through is looked at a second time.
 *
 * Input: struct start, then the bytes of a command or frame.
 */
#include <endian.h>
#include <string.h>

#include "device-procs/net/net_control.h"
#include "device-procs/net/net_header.h"
#include "device-procs/net/net_user_frame.h"
#include "tests/fuzz/fuzz.h"

struct start {
	uint8_t kind; /* 0: header, 1: command, 2: saved state, else packet */
	uint8_t n_pairs;
	uint16_t mtu;
	uint32_t frame_len;
	uint64_t features;
	uint32_t dns;
} __attribute__((packed));

static void fuzz_header(const struct start *s, const uint8_t *data, size_t len)
{
	struct net_limits limits = { .features = s->features, .mtu = s->mtu };
	struct virtio_net_hdr_v1 raw, h;

	if (len < sizeof(raw))
		return;
	memcpy(&raw, data, sizeof(raw));
	if (net_header_check(&raw, s->frame_len, &limits, &h) != 0)
		return;
	fuzz_check(s->frame_len >= NET_ETHERNET_BYTES && s->frame_len <= NET_FRAME_MAX);
	fuzz_check((h.flags & ~VIRTIO_NET_HDR_F_NEEDS_CSUM) == 0 && h.num_buffers == 0);
	if (h.flags)
		fuzz_check((uint64_t)h.csum_start + h.csum_offset + 2 <= s->frame_len);
	else
		fuzz_check(h.csum_start == 0 && h.csum_offset == 0);
	if (h.gso_type != VIRTIO_NET_HDR_GSO_NONE)
		fuzz_check(h.gso_size != 0 && h.flags && h.hdr_len <= s->frame_len);
	else
		fuzz_check(h.gso_size == 0 && h.hdr_len == 0);
}

static void check_state(const struct net_state *state, const struct net_control_limits *limits)
{
	fuzz_check(state->n_pairs >= 1 && state->n_pairs <= limits->n_pairs_max);
	fuzz_check(state->unicast.n <= NET_MACS_MAX && state->multicast.n <= NET_MACS_MAX);
	fuzz_check((state->guest_offloads & ~net_guest_offloads(limits->features)) == 0);
	fuzz_check((state->mac[0] & 1) == 0);
	fuzz_check(state->promisc <= 1 && state->allmulti <= 1 && state->nobcast <= 1);
}

static void fuzz_control(const struct start *s, const uint8_t *data, size_t len)
{
	struct net_control_limits limits = { s->features, s->n_pairs % 16 + 1u };
	struct net_state state, before;
	uint32_t changed;
	uint8_t r;

	memset(&state, 0, sizeof(state));
	net_state_reset(&state, s->features);
	before = state;
	r = net_control_run(&state, &limits, data, (uint32_t)len, &changed);
	fuzz_check(r == VIRTIO_NET_OK || r == VIRTIO_NET_ERR);
	if (r == VIRTIO_NET_ERR)
		fuzz_check(changed == 0 && memcmp(&before, &state, sizeof(state)) == 0);
	check_state(&state, &limits);
	(void)net_state_wants(&state, data, (uint32_t)len);
}

static void fuzz_saved(const struct start *s, const uint8_t *data, size_t len)
{
	struct net_control_limits limits = { s->features, s->n_pairs % 16 + 1u };
	struct net_state state;
	struct net_saved saved;

	memset(&state, 0, sizeof(state));
	memset(&saved, (int)s->dns, sizeof(saved));
	memcpy(&saved, data, len < sizeof(saved) ? len : sizeof(saved));
	if (net_state_load(&saved, &limits, &state))
		check_state(&state, &limits);
}

static void fuzz_packet(const struct start *s, const uint8_t *data, size_t len)
{
	struct net_user_addresses a = net_user_addresses(s->dns);
	uint8_t *frame = malloc(len); /* of the exact size, so that a byte beyond is noticed */
	uint32_t to;

	if (!frame)
		return;
	memcpy(frame, data, len);
	if (net_user_from_guest(&a, frame, (uint32_t)len) && len >= 34 && data[12] == 8 &&
	    data[13] == 0) {
		memcpy(&to, frame + 30, 4);
		to = be32toh(to);
		/* Only the DNS server that was configured, and only its port. */
		if (to >> 24 == 127)
			fuzz_check(to == a.dns);
		fuzz_check(to >> 24 != 0);
	}
	net_user_to_guest(&a, frame, (uint32_t)len);
	free(frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct start s;

	if (size < sizeof(s) || size > 8192)
		return 0;
	memcpy(&s, data, sizeof(s));
	data += sizeof(s);
	size -= sizeof(s);
	if (s.kind == 0)
		fuzz_header(&s, data, size);
	else if (s.kind == 1)
		fuzz_control(&s, data, size);
	else if (s.kind == 2)
		fuzz_saved(&s, data, size);
	else
		fuzz_packet(&s, data, size);
	return 0;
}
