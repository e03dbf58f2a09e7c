/* SPDX-License-Identifier: Apache-2.0 */
#include "boot_images.h"
#include "vmm-core/boot/acpi.h"
#include "vmm-core/boot/acpi_constants.h"
#include "vmm-core/boot/acpi_tables.h"

static struct guest_memory *gm;
static uint8_t area[LAYOUT_ACPI_END - LAYOUT_ACPI];

static void set_up(void)
{
	gm = test_memory(MIB(2));
}

static void tear_down(void)
{
	gm = guest_memory_free(gm);
}

TestSuite(acpi, .init = set_up, .fini = tear_down);

static uint8_t sum(const void *data, size_t n)
{
	const uint8_t *p = data;
	uint8_t v = 0;

	for (size_t i = 0; i < n; i++)
		v = (uint8_t)(v + p[i]);
	return v;
}

/* A private copy of a whole table, found by its guest address. */
static const void *table_at(uint64_t at, const char *signature)
{
	const struct acpi_header *h;

	cr_assert(at >= LAYOUT_ACPI && at <= LAYOUT_ACPI_END - sizeof(*h));
	h = (const void *)(area + (at - LAYOUT_ACPI));
	cr_assert_eq(memcmp(h->signature, signature, 4), 0, "%s", signature);
	cr_assert_leq(h->length, LAYOUT_ACPI_END - at);
	cr_expect_eq(sum(h, h->length), 0, "checksum of %s", signature);
	cr_expect_eq(memcmp(h->oem_id, "BULKHD", 6), 0);
	cr_expect_eq(memcmp(h->oem_table_id, "BULKHEAD", 8), 0);
	return h;
}

static const struct acpi_xsdt *write_tables(uint32_t n_cpus, uint32_t slots)
{
	struct acpi_source source = { .n_cpus = n_cpus, .virtio_mmio_slots = slots };
	const struct acpi_rsdp *rsdp = (const void *)area;
	uint64_t at = 0;

	cr_assert_eq(acpi_write(gm, &source, &at), 0);
	cr_assert_eq(at, LAYOUT_ACPI);
	test_read(gm, LAYOUT_ACPI, area, sizeof(area));
	cr_expect_eq(memcmp(rsdp->signature, "RSD PTR ", 8), 0);
	cr_expect_eq(rsdp->revision, 2);
	cr_expect_eq(rsdp->length, 36);
	cr_expect_eq(sum(rsdp, 20), 0);
	cr_expect_eq(sum(rsdp, 36), 0);
	return table_at(rsdp->xsdt, "XSDT");
}

static const struct acpi_fadt *write_fadt(void)
{
	return table_at(write_tables(1, 0)->tables[0], "FACP");
}

Test(acpi, xsdt_lists_fadt_and_madt)
{
	const struct acpi_xsdt *xsdt = write_tables(1, 0);

	cr_expect_eq(xsdt->header.length, 36 + 2 * 8);
	table_at(xsdt->tables[0], "FACP");
	table_at(xsdt->tables[1], "APIC");
}

Test(acpi, fadt_is_hardware_reduced_with_its_registers)
{
	const struct acpi_fadt *fadt = write_fadt();

	cr_expect_eq(fadt->header.length, 276);
	cr_expect_eq(fadt->header.revision, 6);
	cr_expect_eq(fadt->flags & (1u << 20), 1u << 20, "HW_REDUCED_ACPI");
	cr_expect_eq(fadt->flags & (1u << 10), 1u << 10, "RESET_REG_SUP");
	cr_expect_eq(fadt->boot_arch & 0x2, 0, "no 8042");
	cr_expect_eq(fadt->reset.space, 1);
	cr_expect_eq(fadt->reset.bit_width, 8);
	cr_expect_eq(fadt->reset.address, LAYOUT_ACPI_RESET);
	cr_expect_eq(fadt->reset_value, 1);
	cr_expect_eq(fadt->sleep_control.space, 1);
	cr_expect_eq(fadt->sleep_control.address, LAYOUT_ACPI_SLEEP_CONTROL);
	cr_expect_eq(fadt->sleep_status.address, LAYOUT_ACPI_SLEEP_STATUS);
	cr_expect_eq(fadt->x_dsdt, fadt->dsdt);
}

static void expect_madt(uint32_t n_cpus)
{
	const struct acpi_madt *madt = table_at(write_tables(n_cpus, 0)->tables[1], "APIC");
	const struct acpi_madt_io_apic *io_apic = (const void *)(madt + 1);
	const struct acpi_madt_local_apic *cpus = (const void *)(io_apic + 1);

	cr_assert_eq(madt->header.length, 44 + 12 + n_cpus * 8);
	cr_expect_eq(madt->local_apic, 0xfee00000);
	cr_expect_eq(madt->flags, 0, "no 8259s");
	cr_expect_eq(io_apic->type, 1);
	cr_expect_eq(io_apic->length, 12);
	cr_expect_eq(io_apic->address, 0xfec00000);
	cr_expect_eq(io_apic->gsi_base, 0);
	for (uint32_t i = 0; i < n_cpus; i++) {
		cr_expect_eq(cpus[i].type, 0);
		cr_expect_eq(cpus[i].length, 8);
		cr_expect_eq(cpus[i].uid, i);
		cr_expect_eq(cpus[i].apic_id, i);
		cr_expect_eq(cpus[i].flags, 1);
	}
}

Test(acpi, madt_has_one_entry_per_cpu)
{
	expect_madt(1);
	expect_madt(2);
	expect_madt(64);
}

Test(acpi, configuration_block_tells_slots_and_cpus)
{
	struct acpi_config_block block;

	write_tables(3, 0x8005);
	test_read(gm, ACPI_CONFIG_BLOCK, &block, sizeof(block));
	cr_expect_eq(block.slots, 0x8005);
	cr_expect_eq(block.n_cpus, 3);
}

Test(acpi, refuses_a_cpu_count_that_the_dsdt_cannot_describe)
{
	struct acpi_source none = { .n_cpus = 0 }, many = { .n_cpus = 65 };
	uint64_t at = 7;

	cr_expect_eq(acpi_write(gm, &none, &at), -EINVAL);
	cr_expect_eq(acpi_write(gm, &many, &at), -EINVAL);
	cr_expect_eq(at, 7);
}

/* Finds the only place in the DSDT with these bytes after @from. */
static const uint8_t *dsdt_find(const struct acpi_header *dsdt, const void *bytes, size_t n)
{
	const uint8_t *at = memmem(dsdt, dsdt->length, bytes, n);

	cr_assert_not_null(at);
	return at;
}

/* ACPI 6.4 §20.2.3 and §6.4: the byte codes that iasl makes of the resource macros. */
Test(acpi, dsdt_announces_every_slot_where_the_layout_has_it)
{
	const struct acpi_header *dsdt = table_at(write_fadt()->x_dsdt, "DSDT");

	for (uint32_t slot = 0; slot < LAYOUT_VIRTIO_MMIO_SLOTS; slot++) {
		struct {
			uint8_t memory_tag, memory_len[2], read_write;
			uint32_t base, size;
			uint8_t irq_tag, irq_len[2], irq_flags, n_irqs;
			uint32_t gsi;
		} __attribute__((packed)) want = {
			0x86, { 9, 0 }, 1, (uint32_t)layout_virtio_mmio_base(slot), 0x1000,
			0x89, { 6, 0 }, 0x03, 1, layout_virtio_mmio_gsi(slot),
		};
		char name[5] = { 'V', 'I', 'O', "0123456789ABCDEF"[slot], '\0' };
		const uint8_t *device = dsdt_find(dsdt, name, 4);

		cr_expect_eq(memcmp(dsdt_find(dsdt, &want, sizeof(want)), &want, sizeof(want)), 0);
		cr_expect(dsdt_find(dsdt, &want, sizeof(want)) > device);
		cr_expect(dsdt_find(dsdt, &want, sizeof(want)) < device + 64, "slot %u", slot);
	}
}

Test(acpi, dsdt_has_64_processors)
{
	const struct acpi_header *dsdt = table_at(write_fadt()->x_dsdt, "DSDT");
	const uint8_t *end = (const uint8_t *)dsdt + dsdt->length;
	const uint8_t *at = (const uint8_t *)dsdt;
	uint32_t n = 0;

	while ((at = memmem(at, (size_t)(end - at), "ACPI0007", 8)) != NULL) {
		at += 8;
		n++;
	}
	cr_expect_eq(n, ACPI_CPUS_MAX);
}

Test(acpi, dsdt_s5_package_makes_a_guest_write_the_fixed_value)
{
	const struct acpi_header *dsdt = table_at(write_fadt()->x_dsdt, "DSDT");
	/* NameOp "_S5_" PackageOp, length 7, four elements: 5, 0, 0, 0 */
	static const uint8_t s5[] = { 0x08, '_', 'S', '5', '_', 0x12, 0x07,
				      0x04, 0x0a, 0x05, 0x00, 0x00, 0x00 };

	dsdt_find(dsdt, s5, sizeof(s5));
	cr_expect_eq(ACPI_SLEEP_TYPE_S5 << 2 | 1 << 5, 0x34);
}
