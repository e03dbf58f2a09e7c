/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/boot/boot.h"

#include <elf.h>
#include <string.h>

#include "vmm-core/boot/acpi.h"
#include "vmm-core/boot/boot_input.h"
#include "vmm-core/boot/boot_params.h"
#include "vmm-core/boot/bzimage.h"
#include "vmm-core/boot/cpu_tables.h"
#include "vmm-core/boot/e820.h"
#include "vmm-core/boot/elf.h"
#include "vmm-core/boot/kernel_image.h"
#include "vmm-core/machine/layout.h"

static int boot_map_memory(const struct guest_memory *gm, struct boot_error *error,
			   struct e820_map *ret)
{
	char needed[BOOT_SIZE_TEXT_LEN];
	uint32_t n = 0;
	const struct guest_region *regions = guest_memory_regions(gm, &n);

	if (e820_build(regions, n, ret) < 0)
		return boot_refuse(error, "--memory: a guest needs at least %s",
				   boot_size_text(E820_RAM_MIN, needed));
	return 0;
}

/* The first bytes decide which loader is asked. */
static int boot_load_kernel(const struct guest_memory *gm, int fd, const struct e820_map *map,
			    struct boot_error *error, struct kernel_image *ret)
{
	char magic[SELFMAG];
	struct boot_input in;
	int r = boot_input_open(fd, "--kernel", error, &in);

	if (r < 0)
		return r;
	if (in.size >= sizeof(magic)) {
		r = boot_input_read(&in, 0, magic, sizeof(magic), "the magic number", error);
		if (r < 0)
			return r;
		if (memcmp(magic, ELFMAG, SELFMAG) == 0)
			return elf_load(&in, gm, map, error, ret);
	}
	r = bzimage_probe(&in, error);
	if (r < 0)
		return r;
	if (r == 1)
		return bzimage_load(&in, gm, map, error, ret);
	return boot_refuse(error, "--kernel: neither a bzImage nor an ELF vmlinux");
}

/* As high as low RAM and the kernel allow: the kernel unpacks itself upwards from below. */
static int boot_load_initramfs(const struct guest_memory *gm, int fd, const struct e820_map *map,
			       const struct kernel_image *image, struct boot_error *error,
			       struct boot_params_source *params)
{
	char size[BOOT_SIZE_TEXT_LEN], room[BOOT_SIZE_TEXT_LEN];
	uint64_t limit = e820_low_end(map);
	struct boot_input in;
	uint64_t start;
	int r;

	if (fd < 0)
		return 0;
	r = boot_input_open(fd, "--initramfs", error, &in);
	if (r < 0)
		return r;
	if (limit > image->initramfs_limit)
		limit = image->initramfs_limit;
	start = limit < in.size ? 0 : (limit - in.size) & ~(GUEST_PAGE_SIZE - 1ull);
	if (start < image->low_end)
		return boot_refuse(error,
				   "--initramfs: %s do not fit in guest memory beside the kernel, "
				   "which leaves %s",
				   boot_size_text(in.size, size),
				   boot_size_text(limit > image->low_end ? limit - image->low_end : 0,
						  room));
	params->initramfs = start;
	params->initramfs_size = in.size;
	return boot_input_load(&in, 0, in.size, "the file", gm, gpa(start), error);
}

static int boot_check_cmdline(const char *cmdline, const struct kernel_image *image,
			      struct boot_error *error)
{
	size_t len = strlen(cmdline);

	if (len > image->cmdline_max)
		return boot_refuse(error, "--cmdline: %zu bytes, this kernel takes %u", len,
				   image->cmdline_max);
	return 0;
}

/* Everything that is no file. It all lies in low memory, which e820_build() made sure of. */
static int boot_write_tables(const struct guest_memory *gm, const struct boot_source *source,
			     const struct kernel_image *image, struct boot_params_source *params)
{
	struct acpi_source acpi = {
		.n_cpus = source->n_cpus,
		.virtio_mmio_slots = source->virtio_mmio_slots,
		.has_pci = source->has_pci,
		.iommu = source->iommu,
		.behind_iommu = source->behind_iommu,
		.pci_window = source->pci_window,
		.pci_window_size = source->pci_window_size,
	};
	int r = acpi_write(gm, &acpi, &params->rsdp);

	if (r == 0)
		r = guest_memory_write(gm, gpa(params->cmdline), source->cmdline,
				       strlen(source->cmdline) + 1);
	if (r == 0)
		r = cpu_tables_write(gm, image->protocol);
	if (r != 0)
		return r;
	if (image->protocol == BOOT_PVH)
		return boot_params_write_pvh(gm, params);
	return boot_params_write_linux(gm, params, &image->header);
}

int boot_load(const struct guest_memory *gm, const struct boot_source *source,
	      struct boot_entry *ret, char *error_text, size_t error_len)
{
	struct boot_error error = { .text = error_text, .len = error_len };
	struct boot_params_source params = { .cmdline = LAYOUT_CMDLINE };
	struct kernel_image image;
	struct e820_map map;
	int r = boot_map_memory(gm, &error, &map);

	if (r < 0)
		return r;
	params.map = &map;
	r = boot_load_kernel(gm, source->kernel_fd, &map, &error, &image);
	if (r == 0)
		r = boot_load_initramfs(gm, source->initramfs_fd, &map, &image, &error, &params);
	if (r == 0)
		r = boot_check_cmdline(source->cmdline, &image, &error);
	if (r < 0)
		return r;
	r = boot_write_tables(gm, source, &image, &params);
	if (r != 0)
		return boot_refuse(&error, "boot tables cannot be written for %u CPUs",
				   source->n_cpus);
	*ret = (struct boot_entry){
		.protocol = image.protocol,
		.rip = image.entry,
		.params = image.protocol == BOOT_PVH ? LAYOUT_PVH_START_INFO : LAYOUT_ZERO_PAGE,
		.soon = image.soon,
		.soon_size = image.soon_size,
	};
	return 0;
}
