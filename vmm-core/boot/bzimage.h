/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bzImage kernels by the 64-bit or 32-bit entry of the Linux/x86 boot protocol.
 *
 * Runs in the core. Every field of the file is hostile.
 * Spec: Linux Documentation/arch/x86/boot.rst.
 */
#pragma once

#include <stdbool.h>

#include "vmm-core/boot/boot_input.h"
#include "vmm-core/boot/e820.h"
#include "vmm-core/boot/kernel_image.h"

/** bzimage_probe() - has the file the magic of a setup header? Return: 1, 0, -errno of reading */
int must_check bzimage_probe(const struct boot_input *in, struct boot_error *error);

/**
 * bzimage_load() - check the setup header, load the protected-mode part at LAYOUT_KERNEL
 * @map: the guest's RAM, for range checks
 *
 * Return: 0; -EINVAL for an unusable file, -errno of reading it; @error is set.
 */
int must_check bzimage_load(const struct boot_input *in, const struct guest_memory *gm,
			    const struct e820_map *map, struct boot_error *error,
			    struct kernel_image *ret);
