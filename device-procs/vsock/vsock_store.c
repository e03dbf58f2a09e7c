/* SPDX-License-Identifier: Apache-2.0 */
/* See vsock_store.h. Pure. */
#include "device-procs/vsock/vsock_store.h"

#include <string.h>

void vsock_store_begin(struct vsock_store *s, uint16_t slot)
{
	__atomic_store_n(&s->journal->active, slot + 1u, __ATOMIC_RELAXED);
	/* Only a crash of this process reads it: the order of the program is enough. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

void vsock_store_end(struct vsock_store *s, uint16_t slot, const struct vsock_record *r)
{
	s->journal->records[slot] = *r;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(&s->journal->active, 0, __ATOMIC_RELAXED);
}

uint32_t vsock_store_resets(const struct vsock_store *s)
{
	return s->journal->resets_in - s->journal->resets_out;
}

bool vsock_store_reset(struct vsock_store *s, uint32_t guest_port, uint32_t host_port)
{
	struct vsock_journal *j = s->journal;

	if (vsock_store_resets(s) >= VSOCK_RESETS_MAX)
		return false;
	j->resets[j->resets_in % VSOCK_RESETS_MAX] = (struct vsock_reset){ guest_port, host_port };
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(&j->resets_in, j->resets_in + 1, __ATOMIC_RELAXED);
	return true;
}

struct vsock_reset vsock_store_next_reset(const struct vsock_store *s)
{
	return s->journal->resets[s->journal->resets_out % VSOCK_RESETS_MAX];
}

void vsock_store_reset_done(struct vsock_store *s)
{
	__atomic_store_n(&s->journal->resets_out, s->journal->resets_out + 1, __ATOMIC_RELAXED);
}

static uint8_t *ring_of(const struct vsock_store *s, uint16_t slot)
{
	return s->rings + (uint64_t)slot * VSOCK_BUFFER_BYTES;
}

void vsock_store_put(struct vsock_store *s, uint16_t slot, uint32_t at, const struct span *from,
		     uint32_t offset, uint32_t len)
{
	uint8_t *ring = ring_of(s, slot);

	while (len > 0) {
		uint32_t place = at % VSOCK_BUFFER_BYTES, part = VSOCK_BUFFER_BYTES - place;

		if (part > len)
			part = len;
		if (span_copy_in(from, offset, ring + place, part) != 0)
			return;
		at += part;
		offset += part;
		len -= part;
	}
}

uint32_t vsock_store_iovec(const struct vsock_store *s, uint16_t slot, uint32_t at, uint32_t len,
			   struct iovec ret[2])
{
	uint8_t *ring = ring_of(s, slot);
	uint32_t place = at % VSOCK_BUFFER_BYTES, part = VSOCK_BUFFER_BYTES - place;

	if (part >= len) {
		ret[0] = (struct iovec){ ring + place, len };
		return 1;
	}
	ret[0] = (struct iovec){ ring + place, part };
	ret[1] = (struct iovec){ ring, len - part };
	return 2;
}
