/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that lie in several spans one behind the other, as the buffers of a chain do. Device
 * processes; pure. The driver cuts a request as it likes (VIRTIO 1.2 §2.7.4.3), so whatever has a
 * structure is gathered by these before it is looked at. The content is the guest's.
 */
#pragma once

#include <stdint.h>

#include "ipc/guest_memory.h"

/**
 * spans_copy_in() - gather @n bytes from byte @skip on; each is read once
 * Return: bytes copied: fewer where the spans end, or one may not be read
 */
uint32_t spans_copy_in(const struct span *spans, uint32_t n_spans, uint32_t skip, void *dst,
		       uint32_t n);

/**
 * spans_copy_out() - scatter @n bytes from byte @skip on
 * Return: bytes copied: fewer where the spans end, or one may not be written
 */
uint32_t spans_copy_out(const struct span *spans, uint32_t n_spans, uint32_t skip, const void *src,
			uint32_t n);
