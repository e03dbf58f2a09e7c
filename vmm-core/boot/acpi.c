/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/boot/acpi.h"

#include <stddef.h>
#include <string.h>

#include "vmm-core/boot/acpi_constants.h"
#include "vmm-core/boot/acpi_tables.h"
#include "vmm-core/machine/layout.h"

/* iasl writes the array without qualifiers; these two precede it. */
static const
#include "vmm-core/boot/dsdt.hex"

static_assert(ACPI_COM1_PORT == LAYOUT_COM1, "layout");
static_assert(ACPI_COM1_GSI == LAYOUT_GSI_COM1, "layout");
static_assert(ACPI_EVENT_PORT == LAYOUT_ACPI_EVENTS, "layout");
static_assert(ACPI_EVENT_GSI == LAYOUT_GSI_ACPI_EVENT, "layout");
static_assert(ACPI_EVENT_POWER_BUTTON == LAYOUT_ACPI_EVENT_POWER_BUTTON, "layout");
static_assert(ACPI_VIRTIO_MMIO_SIZE == LAYOUT_VIRTIO_MMIO_SIZE, "layout");
static_assert(ACPI_SLOTS_MAX == LAYOUT_VIRTIO_MMIO_SLOTS, "layout");
static_assert(ACPI_PCI_ECAM == LAYOUT_PCI_ECAM, "layout");
static_assert(ACPI_PCI_ECAM_SIZE == LAYOUT_PCI_ECAM_SIZE, "layout");
static_assert(ACPI_PCI_WINDOW == LAYOUT_PCI_WINDOW, "layout");
static_assert(ACPI_PCI_WINDOW_SIZE == LAYOUT_PCI_WINDOW_SIZE, "layout");
static_assert(ACPI_PCI_WINDOW_LAST == LAYOUT_PCI_WINDOW + LAYOUT_PCI_WINDOW_SIZE - 1, "layout");
static_assert(ACPI_PCI_CONFIG == LAYOUT_PCI_CONFIG, "layout");
static_assert(LAYOUT_VIRTIO_MMIO == 0xd0000000, "dsdt.asl pastes this address together");
static_assert(ACPI_CONFIG_BLOCK >= LAYOUT_ACPI + sizeof(struct acpi_rsdp), "layout");
static_assert(sizeof(struct acpi_config_block) == ACPI_CONFIG_BLOCK_SIZE, "dsdt.asl");

#define ACPI_TABLE_ALIGN 16u
#define ACPI_TABLES ((uint64_t)ACPI_CONFIG_BLOCK + ACPI_CONFIG_BLOCK_SIZE)

/* Tables are laid one after the other. */
struct acpi_area {
	const struct guest_memory *gm;
	uint64_t next;
};

static uint8_t acpi_checksum(const void *data, size_t n)
{
	const uint8_t *p = data;
	uint8_t sum = 0;

	while (n-- > 0)
		sum = (uint8_t)(sum + *p++);
	return (uint8_t)-sum;
}

static int acpi_area_add(struct acpi_area *area, const void *table, size_t n, uint64_t *ret_at)
{
	uint64_t at = (area->next + ACPI_TABLE_ALIGN - 1) & ~(uint64_t)(ACPI_TABLE_ALIGN - 1);
	int r;

	if (at >= LAYOUT_ACPI_END || n > LAYOUT_ACPI_END - at)
		return -ENOSPC;
	r = guest_memory_write(area->gm, gpa(at), table, n);
	if (r != 0)
		return r;
	area->next = at + n;
	*ret_at = at;
	return 0;
}

static struct acpi_header acpi_header_init(const char signature[static 4], size_t len,
					   uint8_t revision)
{
	struct acpi_header h = { .length = (uint32_t)len, .revision = revision };

	memcpy(h.signature, signature, sizeof(h.signature));
	memcpy(h.oem_id, ACPI_OEM_ID, sizeof(h.oem_id));
	memcpy(h.oem_table_id, ACPI_OEM_TABLE_ID, sizeof(h.oem_table_id));
	memcpy(h.creator_id, "BULK", sizeof(h.creator_id));
	h.oem_revision = 1;
	h.creator_revision = 1;
	return h;
}

static struct acpi_gas acpi_gas_port(uint16_t port)
{
	return (struct acpi_gas){
		.space = ACPI_GAS_IO,
		.bit_width = 8,
		.access_size = ACPI_GAS_BYTE,
		.address = port,
	};
}

static int acpi_add_fadt(struct acpi_area *area, uint64_t dsdt, uint64_t *ret_at)
{
	struct acpi_fadt fadt = {
		.header = acpi_header_init("FACP", sizeof(fadt), ACPI_FADT_REVISION),
		.dsdt = (uint32_t)dsdt,
		.boot_arch = ACPI_FADT_NO_VGA | ACPI_FADT_NO_RTC,
		.flags = ACPI_FADT_WBINVD | ACPI_FADT_NO_PWR_BUTTON | ACPI_FADT_NO_SLP_BUTTON |
			 ACPI_FADT_RESET_REG | ACPI_FADT_HW_REDUCED,
		.reset = acpi_gas_port(LAYOUT_ACPI_RESET),
		.reset_value = 1,
		.minor_revision = ACPI_FADT_MINOR_REVISION,
		.x_dsdt = dsdt,
		.sleep_control = acpi_gas_port(LAYOUT_ACPI_SLEEP_CONTROL),
		.sleep_status = acpi_gas_port(LAYOUT_ACPI_SLEEP_STATUS),
	};

	memcpy(fadt.hypervisor_id, ACPI_OEM_TABLE_ID, sizeof(fadt.hypervisor_id));
	fadt.header.checksum = acpi_checksum(&fadt, sizeof(fadt));
	return acpi_area_add(area, &fadt, sizeof(fadt), ret_at);
}

/*
 * No PC-compatible interrupt controllers, hence no source overrides: ISA interrupts do not exist
 * and every device names its GSI and trigger mode itself.
 */
static int acpi_add_madt(struct acpi_area *area, uint32_t n_cpus, uint64_t *ret_at)
{
	struct {
		struct acpi_madt madt;
		struct acpi_madt_io_apic io_apic;
		struct acpi_madt_local_apic cpus[ACPI_CPUS_MAX];
	} __attribute__((packed)) t = {
		.madt.local_apic = LAYOUT_LOCAL_APIC,
		.io_apic = {
			.type = ACPI_MADT_IO_APIC,
			.length = sizeof(t.io_apic),
			.address = LAYOUT_IOAPIC,
		},
	};
	size_t len = offsetof(__typeof__(t), cpus) + n_cpus * sizeof(t.cpus[0]);

	for (uint32_t i = 0; i < n_cpus; i++)
		t.cpus[i] = (struct acpi_madt_local_apic){
			.type = ACPI_MADT_LOCAL_APIC,
			.length = sizeof(t.cpus[i]),
			.uid = (uint8_t)i,
			.apic_id = (uint8_t)i,
			.flags = ACPI_MADT_ENABLED,
		};
	t.madt.header = acpi_header_init("APIC", len, ACPI_MADT_REVISION);
	t.madt.header.checksum = acpi_checksum(&t, len);
	return acpi_area_add(area, &t, len, ret_at);
}

static int acpi_add_mcfg(struct acpi_area *area, uint64_t *ret_at)
{
	struct acpi_mcfg mcfg = {
		.header = acpi_header_init("MCFG", sizeof(mcfg), ACPI_MCFG_REVISION),
		.ecam = LAYOUT_PCI_ECAM, /* bus 0 alone */
	};

	mcfg.header.checksum = acpi_checksum(&mcfg, sizeof(mcfg));
	return acpi_area_add(area, &mcfg, sizeof(mcfg), ret_at);
}

/* One range per function: they need not be neighbours. An endpoint has its function's number. */
static int acpi_add_viot(struct acpi_area *area, const struct acpi_source *source,
			 uint64_t *ret_at)
{
	struct {
		struct acpi_viot viot;
		struct acpi_viot_iommu iommu;
		struct acpi_viot_range ranges[32];
	} __attribute__((packed)) t = {
		.viot.first_node = offsetof(__typeof__(t), iommu),
		.iommu = {
			.type = ACPI_VIOT_IOMMU_PCI,
			.length = sizeof(t.iommu),
			.function = (uint16_t)source->iommu,
		},
	};
	uint32_t n = 0;
	size_t len;

	for (uint32_t device = 0; device < 32; device++) {
		uint16_t function = (uint16_t)(device << 3);

		if (!(source->behind_iommu >> device & 1))
			continue;
		t.ranges[n++] = (struct acpi_viot_range){
			.type = ACPI_VIOT_PCI_RANGE,
			.length = sizeof(t.ranges[0]),
			.first_endpoint = function,
			.first_function = function,
			.last_function = function,
			.iommu = offsetof(__typeof__(t), iommu),
		};
	}
	len = offsetof(__typeof__(t), ranges) + n * sizeof(t.ranges[0]);
	t.viot.n_nodes = (uint16_t)(1 + n);
	t.viot.header = acpi_header_init("VIOT", len, ACPI_VIOT_REVISION);
	t.viot.header.checksum = acpi_checksum(&t, len);
	return acpi_area_add(area, &t, len, ret_at);
}

static int acpi_add_xsdt(struct acpi_area *area, const uint64_t *tables, uint32_t n,
			 uint64_t *ret_at)
{
	size_t len = offsetof(struct acpi_xsdt, tables) + n * sizeof(tables[0]);
	struct acpi_xsdt xsdt = { .header = acpi_header_init("XSDT", len, ACPI_XSDT_REVISION) };

	memcpy(xsdt.tables, tables, n * sizeof(tables[0]));
	xsdt.header.checksum = acpi_checksum(&xsdt, len);
	return acpi_area_add(area, &xsdt, len, ret_at);
}

static int acpi_write_rsdp(const struct guest_memory *gm, uint64_t xsdt)
{
	struct acpi_rsdp rsdp = {
		.revision = ACPI_RSDP_REVISION,
		.length = sizeof(rsdp),
		.xsdt = xsdt,
	};

	memcpy(rsdp.signature, "RSD PTR ", sizeof(rsdp.signature));
	memcpy(rsdp.oem_id, ACPI_OEM_ID, sizeof(rsdp.oem_id));
	rsdp.checksum = acpi_checksum(&rsdp, ACPI_RSDP_V1_SIZE);
	rsdp.extended_checksum = acpi_checksum(&rsdp, sizeof(rsdp));
	return guest_memory_write(gm, gpa(LAYOUT_ACPI), &rsdp, sizeof(rsdp));
}

int acpi_write(const struct guest_memory *gm, const struct acpi_source *source, uint64_t *ret_rsdp)
{
	struct acpi_config_block block = {
		.slots = source->virtio_mmio_slots,
		.n_cpus = source->n_cpus,
		.has_pci = source->has_pci,
		.pci_window = source->pci_window,
		.pci_window_size = source->pci_window_size,
	};
	struct acpi_area area = { .gm = gm, .next = ACPI_TABLES };
	uint64_t dsdt, xsdt, tables[ACPI_XSDT_TABLES];
	uint32_t n = 0;
	int r;

	if (source->n_cpus == 0 || source->n_cpus > ACPI_CPUS_MAX)
		return -EINVAL;
	r = guest_memory_write(gm, gpa(ACPI_CONFIG_BLOCK), &block, sizeof(block));
	if (r == 0)
		r = acpi_area_add(&area, dsdt_aml_code, sizeof(dsdt_aml_code), &dsdt);
	if (r == 0)
		r = acpi_add_fadt(&area, dsdt, &tables[n++]);
	if (r == 0)
		r = acpi_add_madt(&area, source->n_cpus, &tables[n++]);
	if (r == 0 && source->has_pci)
		r = acpi_add_mcfg(&area, &tables[n++]);
	if (r == 0 && source->iommu != 0)
		r = acpi_add_viot(&area, source, &tables[n++]);
	if (r == 0)
		r = acpi_add_xsdt(&area, tables, n, &xsdt);
	if (r == 0)
		r = acpi_write_rsdp(gm, xsdt);
	if (r != 0)
		return r;
	*ret_rsdp = LAYOUT_ACPI;
	return 0;
}
