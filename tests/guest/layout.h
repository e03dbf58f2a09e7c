/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers shared by the assembly head and the C part of the probe guest. */
#pragma once

#define BOOT_PVH 1
#define BOOT_ZERO_PAGE 2

#define CPUS_MAX 64

/* Selectors. Every CPU has its own TSS: they follow each other from SELECTOR_TSS on. */
#define SELECTOR_CODE64 0x08
#define SELECTOR_DATA 0x10
#define SELECTOR_CODE32 0x18
#define SELECTOR_USER_DATA 0x23
#define SELECTOR_USER_CODE 0x2b
#define SELECTOR_TSS 0x30

#define KERNEL_STACK_SIZE 1024
#define USER_STACK_SIZE 32768
#define TSS_SIZE 104

/* Where the APs start, in real mode: a page below 1 MiB. */
#define AP_TRAMPOLINE 0x8000

#define LAPIC_BASE 0xfee00000
#define LAPIC_EOI (LAPIC_BASE + 0xb0)
