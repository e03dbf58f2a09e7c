/* SPDX-License-Identifier: Apache-2.0 */
/* The compiled allow-lists; each program links its own one only (sandbox/meson.build). */
#pragma once

#include "sandbox/sandbox.h"

extern const struct sandbox_filter core_filter;
extern const struct sandbox_filter blk_filter;
extern const struct sandbox_filter net_filter;
extern const struct sandbox_filter net_user_filter;
extern const struct sandbox_filter console_filter;
extern const struct sandbox_filter iommu_filter;
extern const struct sandbox_filter rng_filter;
extern const struct sandbox_filter vsock_filter;
