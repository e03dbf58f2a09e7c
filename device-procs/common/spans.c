/* SPDX-License-Identifier: Apache-2.0 */
#include "device-procs/common/spans.h"

/* One direction has @dst, the other @src. */
static uint32_t copy(const struct span *spans, uint32_t n_spans, uint32_t skip, uint8_t *dst,
		     const uint8_t *src, uint32_t n)
{
	uint32_t i, done = 0;

	for (i = 0; i < n_spans && done < n; i++) {
		uint32_t len = span_len(&spans[i]), part;

		if (skip >= len) {
			skip -= len;
			continue;
		}
		part = len - skip < n - done ? len - skip : n - done;
		if ((dst ? span_copy_in(&spans[i], skip, dst + done, part) :
			   span_copy_out(&spans[i], skip, src + done, part)) != 0)
			break;
		done += part;
		skip = 0;
	}
	return done;
}

uint32_t spans_copy_in(const struct span *spans, uint32_t n_spans, uint32_t skip, void *dst,
		       uint32_t n)
{
	return copy(spans, n_spans, skip, dst, NULL, n);
}

uint32_t spans_copy_out(const struct span *spans, uint32_t n_spans, uint32_t skip, const void *src,
			uint32_t n)
{
	return copy(spans, n_spans, skip, NULL, src, n);
}
