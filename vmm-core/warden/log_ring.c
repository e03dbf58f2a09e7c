/* SPDX-License-Identifier: Apache-2.0 */
/* The last log records of a VM. Runs in the warden. Lines may come from hostile processes. */
#include "vmm-core/warden/log_ring.h"

#include <stdio.h>
#include <string.h>

void log_ring_add(struct log_ring *ring, const char *source, const char *line)
{
	struct log_ring_record *r = &ring->records[ring->next % LOG_RING_RECORDS];

	(void)snprintf(r->source, sizeof(r->source), "%s", source);
	(void)snprintf(r->line, sizeof(r->line), "%s", line);
	for (char *p = r->line; *p != '\0'; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	}
	ring->next++;
}

const struct log_ring_record *log_ring_next(const struct log_ring *ring, const char *source,
					    uint64_t *at, uint64_t *ret_lost)
{
	uint64_t oldest = ring->next > LOG_RING_RECORDS ? ring->next - LOG_RING_RECORDS : 0;

	*ret_lost = 0;
	if (*at < oldest) {
		*ret_lost = oldest - *at;
		*at = oldest;
	}
	while (*at < ring->next) {
		const struct log_ring_record *r = &ring->records[(*at)++ % LOG_RING_RECORDS];

		if (source[0] == '\0' || strcmp(r->source, source) == 0)
			return r;
	}
	return NULL;
}
