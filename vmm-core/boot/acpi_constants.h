/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers that the ASL source and acpi.c share. Only #define: dsdt.asl goes through the C
 * preprocessor, and ASL knows neither suffixes nor C. acpi.c asserts that they agree with
 * machine/layout.h.
 */
#pragma once

#define ACPI_OEM_ID "BULKHD" /* six characters */
#define ACPI_OEM_TABLE_ID "BULKHEAD" /* eight characters */

#define ACPI_CPUS_MAX 64
#define ACPI_SLOTS_MAX 16

/* Written by acpi.c, read by the DSDT's methods: what exists. See struct acpi_config_block. */
#define ACPI_CONFIG_BLOCK 0xe0040
#define ACPI_CONFIG_BLOCK_SIZE 28

#define ACPI_COM1_PORT 0x3f8
#define ACPI_COM1_GSI 4
#define ACPI_EVENT_PORT 0x603
#define ACPI_EVENT_GSI 9
#define ACPI_EVENT_POWER_BUTTON 1
#define ACPI_SLEEP_TYPE_S5 5 /* written as SLP_TYP, with SLP_EN: 0x34 */
#define ACPI_VIRTIO_MMIO_SIZE 0x1000
#define ACPI_PCI_ECAM 0xe8000000
#define ACPI_PCI_ECAM_SIZE 0x100000
#define ACPI_PCI_WINDOW 0xe0000000
#define ACPI_PCI_WINDOW_LAST 0xe7ffffff
#define ACPI_PCI_WINDOW_SIZE 0x8000000
#define ACPI_PCI_CONFIG 0xcf8
#define ACPI_PCI_PORTS 8
