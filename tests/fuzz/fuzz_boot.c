/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel files of any content into guest memory of any of a few sizes.
 *
 * Checked: the file is refused with one line that names a flag, or the guest starts inside its RAM
 * with the tables in place, the command line as given and, of an ELF file, every segment's bytes
 * where it wants them.
 *
 * Input: struct start, then the kernel file.
 */
#include "vmm-core/boot/boot.h"

#include <elf.h>
#include <errno.h>
#include <sys/mman.h>

#include "tests/fuzz/fuzz.h"
#include "vmm-core/machine/layout.h"

#define MIB(n) ((uint64_t)(n) << 20)
#define ERROR_LEN 256u
#define SIZES 4u

struct start {
	uint8_t memory; /* which of the sizes */
	uint8_t how; /* 1: with an initramfs; 2: the kernel file goes on in zeroes */
	uint8_t tail; /* of those: in units of 4096 */
	uint8_t n_cpus;
	uint16_t cmdline_len;
	uint16_t initramfs; /* in units of 512 */
} __attribute__((packed));

static struct guest_memory *memories[SIZES];
static int kernel_fd, initramfs_fd;

static void open_files(void)
{
	static const uint64_t sizes[SIZES] = { MIB(2), MIB(32), MIB(256), MIB(4096) };

	for (uint32_t i = 0; i < SIZES; i++) {
		struct guest_region regions[2] = { { 0, sizes[i] }, { LAYOUT_HIGH_RAM_START, 0 } };
		uint32_t n = 1;

		if (sizes[i] > LAYOUT_LOW_RAM_END) {
			regions[0].size = LAYOUT_LOW_RAM_END;
			regions[1].size = sizes[i] - LAYOUT_LOW_RAM_END;
			n = 2;
		}
		fuzz_check(guest_memory_create(regions, n, false, false, &memories[i]) == 0);
	}
	kernel_fd = memfd_create("kernel", MFD_CLOEXEC);
	initramfs_fd = memfd_create("initramfs", MFD_CLOEXEC);
	fuzz_check(kernel_fd >= 0 && initramfs_fd >= 0);
}

static void put_file(int fd, const uint8_t *bytes, size_t len, uint64_t tail)
{
	fuzz_check(ftruncate(fd, 0) == 0);
	fuzz_check(len == 0 || pwrite(fd, bytes, len, 0) == (ssize_t)len);
	fuzz_check(ftruncate(fd, (off_t)(len + tail)) == 0);
}

static bool is_in_ram(const struct guest_memory *gm, uint64_t at, uint64_t len)
{
	uint32_t n;
	const struct guest_region *regions = guest_memory_regions(gm, &n);

	for (uint32_t i = 0; i < n; i++)
		if (at >= regions[i].gpa && at - regions[i].gpa < regions[i].size &&
		    len <= regions[i].size - (at - regions[i].gpa))
			return true;
	return false;
}

static bool names_a_flag(const char *error)
{
	static const char *const flags[] = { "--kernel: ", "--initramfs: ", "--cmdline: ",
					     "--memory: ", "boot tables " };

	for (size_t i = 0; i < ARRAY_LEN(flags); i++)
		if (strncmp(error, flags[i], strlen(flags[i])) == 0)
			return true;
	return false;
}

/* @size bytes of file, the rest is zeroes, are in memory at @at. */
static void check_loaded(const struct guest_memory *gm, uint64_t at, const uint8_t *file,
			 size_t size, uint64_t offset, uint64_t len)
{
	static uint8_t loaded[4096];
	size_t n = offset < size ? size - offset : 0;

	if (n > len)
		n = len;
	if (n > sizeof(loaded))
		n = sizeof(loaded);
	if (n == 0)
		return;
	fuzz_check(guest_memory_read(gm, gpa(at), loaded, n) == 0);
	fuzz_check(memcmp(loaded, file + offset, n) == 0);
}

static void check_segments(const struct guest_memory *gm, const uint8_t *file, size_t size)
{
	Elf64_Ehdr eh;
	Elf64_Phdr ph;

	fuzz_check(size >= sizeof(eh));
	memcpy(&eh, file, sizeof(eh));
	for (uint32_t i = 0; i < eh.e_phnum; i++) {
		uint64_t at = eh.e_phoff + i * sizeof(ph);

		if (at > size || sizeof(ph) > size - at)
			return; /* in the zeroes behind */
		memcpy(&ph, file + at, sizeof(ph));
		if (ph.p_type != PT_LOAD || ph.p_memsz == 0)
			continue;
		fuzz_check(ph.p_paddr >= LAYOUT_KERNEL && is_in_ram(gm, ph.p_paddr, ph.p_memsz));
		fuzz_check(ph.p_filesz <= ph.p_memsz);
		check_loaded(gm, ph.p_paddr, file, size, ph.p_offset, ph.p_filesz);
	}
}

static void check_started(const struct guest_memory *gm, const struct boot_source *source,
			  const struct boot_entry *entry, const uint8_t *file, size_t size)
{
	static char cmdline[UINT16_MAX + 1];
	size_t len = strlen(source->cmdline) + 1;
	uint8_t rsdp[8];

	fuzz_check(is_in_ram(gm, entry->rip, 1) && entry->rip >= LAYOUT_KERNEL);
	fuzz_check(is_in_ram(gm, entry->params, 4096) && entry->params < LAYOUT_LOW_END);
	fuzz_check(guest_memory_read(gm, gpa(LAYOUT_CMDLINE), cmdline, len) == 0);
	fuzz_check(memcmp(cmdline, source->cmdline, len) == 0);
	fuzz_check(guest_memory_read(gm, gpa(LAYOUT_ACPI), rsdp, sizeof(rsdp)) == 0);
	fuzz_check(memcmp(rsdp, "RSD PTR ", sizeof(rsdp)) == 0);
	if (entry->protocol == BOOT_PVH)
		check_segments(gm, file, size);
	else
		fuzz_check(entry->rip == LAYOUT_KERNEL || entry->rip == LAYOUT_KERNEL + 0x200);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char cmdline[UINT16_MAX + 1], error[ERROR_LEN];
	struct fuzz_reader in = { data, size };
	const struct guest_memory *gm;
	struct boot_source source;
	struct boot_entry entry;
	struct start s;
	int r;

	if (memories[0] == NULL)
		open_files();
	fuzz_bytes(&in, &s, sizeof(s));
	gm = memories[s.memory % SIZES];
	fuzz_check(guest_memory_punch(gm) == 0);
	memset(cmdline, 'x', s.cmdline_len);
	cmdline[s.cmdline_len] = '\0';
	put_file(kernel_fd, in.at, in.left, s.how & 2 ? s.tail * 4096u : 0);
	put_file(initramfs_fd, (const uint8_t *)"", 0, s.initramfs * 512u);
	source = (struct boot_source){
		.kernel_fd = kernel_fd,
		.initramfs_fd = s.how & 1 ? initramfs_fd : -1,
		.cmdline = cmdline,
		.n_cpus = 1 + s.n_cpus % 64,
		.virtio_mmio_slots = s.n_cpus * 0x101u & 0xffffu,
	};
	memset(error, 0xa5, sizeof(error));
	r = boot_load(gm, &source, &entry, error, sizeof(error));
	fuzz_check(r <= 0);
	if (r == 0) {
		check_started(gm, &source, &entry, in.at, in.left);
	} else {
		fuzz_check(fuzz_is_text(error, sizeof(error)));
		fuzz_check(names_a_flag(error));
	}
	return 0;
}
