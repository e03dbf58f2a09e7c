/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACPI tables as they lie in memory. Fields that stay 0 on a hardware-reduced machine are
 * grouped into padding. All fields little-endian.
 * Spec: ACPI 6.4 §5.2.
 */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define ACPI_RSDP_REVISION 2u
#define ACPI_RSDP_V1_SIZE 20u /* what the first checksum covers */
#define ACPI_XSDT_REVISION 1u
#define ACPI_FADT_REVISION 6u
#define ACPI_FADT_MINOR_REVISION 4u
#define ACPI_MADT_REVISION 5u
#define ACPI_MCFG_REVISION 1u
#define ACPI_VIOT_REVISION 0u
#define ACPI_VIOT_PCI_RANGE 1u
#define ACPI_VIOT_IOMMU_PCI 3u
#define ACPI_XSDT_TABLES 4 /* FADT, MADT, MCFG; the last one only with PCI */

/* §5.2.9, IA-PC boot architecture flags */
#define ACPI_FADT_NO_VGA 0x4u
#define ACPI_FADT_NO_RTC 0x20u

/* §5.2.9, fixed feature flags; the buttons are control-method devices or do not exist */
#define ACPI_FADT_WBINVD 0x1u
#define ACPI_FADT_NO_PWR_BUTTON 0x10u
#define ACPI_FADT_NO_SLP_BUTTON 0x20u
#define ACPI_FADT_RESET_REG 0x400u
#define ACPI_FADT_HW_REDUCED 0x100000u

#define ACPI_GAS_IO 1u
#define ACPI_GAS_BYTE 1u

#define ACPI_MADT_LOCAL_APIC 0u
#define ACPI_MADT_IO_APIC 1u
#define ACPI_MADT_ENABLED 1u

#define packed __attribute__((packed))

struct acpi_config_block { /* ours, see acpi_constants.h */
	uint32_t slots; /* bitmap of virtio-mmio */
	uint32_t n_cpus;
	uint32_t has_pci;
	uint64_t pci_window; /* above RAM: first address and size; 0: none */
	uint64_t pci_window_size;
} packed;

struct acpi_rsdp {
	char signature[8];
	uint8_t checksum; /* of the first ACPI_RSDP_V1_SIZE bytes */
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t extended_checksum;
	uint8_t reserved[3];
} packed;

struct acpi_header {
	char signature[4];
	uint32_t length;
	uint8_t revision;
	uint8_t checksum; /* makes the sum of all bytes of the table 0 */
	char oem_id[6];
	char oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} packed;

struct acpi_gas { /* §5.2.3.2, generic address structure */
	uint8_t space;
	uint8_t bit_width;
	uint8_t bit_offset;
	uint8_t access_size;
	uint64_t address;
} packed;

struct acpi_xsdt {
	struct acpi_header header;
	uint64_t tables[ACPI_XSDT_TABLES];
} packed;

struct acpi_fadt {
	struct acpi_header header;
	uint32_t facs;
	uint32_t dsdt;
	uint8_t fixed_hardware[65]; /* PM registers and C-state data: none */
	uint16_t boot_arch;
	uint8_t reserved;
	uint32_t flags;
	struct acpi_gas reset;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor_revision;
	uint64_t x_facs;
	uint64_t x_dsdt;
	struct acpi_gas x_fixed_hardware[8];
	struct acpi_gas sleep_control;
	struct acpi_gas sleep_status;
	char hypervisor_id[8];
} packed;

struct acpi_madt {
	struct acpi_header header;
	uint32_t local_apic;
	uint32_t flags; /* PCAT_COMPAT clear: no 8259s */
} packed;

struct acpi_madt_local_apic {
	uint8_t type;
	uint8_t length;
	uint8_t uid;
	uint8_t apic_id;
	uint32_t flags;
} packed;

struct acpi_madt_io_apic {
	uint8_t type;
	uint8_t length;
	uint8_t id;
	uint8_t reserved;
	uint32_t address;
	uint32_t gsi_base;
} packed;

struct acpi_mcfg { /* PCI Firmware Specification 3.2 §4.1.2, with one segment */
	struct acpi_header header;
	uint64_t reserved;
	uint64_t ecam;
	uint16_t segment;
	uint8_t first_bus;
	uint8_t last_bus;
	uint32_t reserved2;
} packed;

struct acpi_viot { /* ACPI 6.4 §5.2.34 */
	struct acpi_header header;
	uint16_t n_nodes;
	uint16_t first_node; /* offset from the start of the table */
	uint64_t reserved;
} packed;

struct acpi_viot_iommu { /* virtio-iommu that is a PCI function */
	uint8_t type;
	uint8_t reserved;
	uint16_t length;
	uint16_t segment;
	uint16_t function;
	uint64_t reserved2;
} packed;

struct acpi_viot_range { /* endpoints behind it */
	uint8_t type;
	uint8_t reserved;
	uint16_t length;
	uint32_t first_endpoint; /* number of the first function; the others count on */
	uint16_t first_segment, last_segment;
	uint16_t first_function, last_function;
	uint16_t iommu; /* offset of its node */
	uint8_t reserved2[6];
} packed;

#undef packed

static_assert(sizeof(struct acpi_rsdp) == 36, "§5.2.5.3");
static_assert(sizeof(struct acpi_header) == 36, "§5.2.6");
static_assert(sizeof(struct acpi_gas) == 12, "§5.2.3.2");
static_assert(sizeof(struct acpi_fadt) == 276, "§5.2.9");
static_assert(offsetof(struct acpi_fadt, boot_arch) == 109, "§5.2.9");
static_assert(offsetof(struct acpi_fadt, flags) == 112, "§5.2.9");
static_assert(offsetof(struct acpi_fadt, reset) == 116, "§5.2.9");
static_assert(offsetof(struct acpi_fadt, x_dsdt) == 140, "§5.2.9");
static_assert(offsetof(struct acpi_fadt, sleep_control) == 244, "§5.2.9");
static_assert(offsetof(struct acpi_fadt, hypervisor_id) == 268, "§5.2.9");
static_assert(sizeof(struct acpi_madt) == 44, "§5.2.12");
static_assert(sizeof(struct acpi_mcfg) == 60, "PCI firmware §4.1.2");
static_assert(sizeof(struct acpi_viot) == 48, "§5.2.34");
static_assert(sizeof(struct acpi_viot_iommu) == 16, "§5.2.34.3");
static_assert(sizeof(struct acpi_viot_range) == 24, "§5.2.34.1");
static_assert(sizeof(struct acpi_madt_local_apic) == 8, "§5.2.12.2");
static_assert(sizeof(struct acpi_madt_io_apic) == 12, "§5.2.12.3");
