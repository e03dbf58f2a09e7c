/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables in guest memory that the first vCPU's registers refer to. Runs in the core at boot.
 *
 * The descriptors are the ones of Linux's 32-bit and 64-bit boot protocol (boot.rst): __BOOT_CS
 * 0x10 and __BOOT_DS 0x18, flat. PVH asks for the same segments and leaves the table open. The
 * hidden parts of the segment registers, which machine/vcpu.c sets, must agree with them.
 */
#pragma once

#include "vmm-core/boot/boot.h"

/** cpu_tables_write() - GDT, and for BOOT_LINUX_64 an identity map of the first 4 GiB
 *
 * Return: 0; GUEST_MEMORY_BAD_RANGE when low memory is missing.
 */
int must_check cpu_tables_write(const struct guest_memory *gm, enum boot_protocol protocol);
