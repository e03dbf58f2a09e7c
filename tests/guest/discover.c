/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the devices are. virtio-mmio devices are announced by virtio_mmio.device= words, as QEMU
 * and Firecracker do; without such words the places where known VMMs put them are looked at. Then
 * comes PCI. Reading a place without a device is harmless on all of them.
 */
#include "virtio.h"

struct fixed_place {
	uint64_t at;
	uint32_t step;
	unsigned n;
	uint32_t gsi; /* of slot 0; 0: unknown */
};

static const struct fixed_place fixed_places[] = {
	{ 0xd0000000, 0x1000, 16, 5 }, /* Bulkhead */
	{ 0xfeb00000, 0x200, 24, 0 }, /* QEMU microvm */
	{ 0xc0000000, 0x1000, 8, 0 }, /* Firecracker */
};

struct vdev vdevs[VDEVS_MAX];
unsigned n_vdevs;

struct vdev *discover_add(void)
{
	return n_vdevs < VDEVS_MAX ? &vdevs[n_vdevs++] : NULL;
}

static void discover_mmio(uint64_t at, uint32_t gsi)
{
	struct vdev *dev;
	uint32_t id;

	memory_map(at, 0x1000);
	if (mmio_read32(at + MMIO_MAGIC) != MMIO_MAGIC_VALUE ||
	    mmio_read32(at + MMIO_VERSION) != 2)
		return;
	id = mmio_read32(at + MMIO_DEVICE_ID);
	if (id == 0)
		return;
	dev = discover_add();
	if (dev)
		*dev = (struct vdev){
			.device_id = id, .mmio = at, .config = at + MMIO_CONFIG, .gsi = gsi
		};
}

/* SIZE@ADDRESS:IRQ, as the parameter of Linux's virtio_mmio module */
static unsigned discover_words(void)
{
	char value[64];
	size_t cursor = 0;
	unsigned n = 0;

	for (; boot_option_next("virtio_mmio.device", &cursor, value, sizeof(value)); n++) {
		const char *s;
		uint64_t at, gsi = 0;

		string_number(value, &s);
		if (*s != '@')
			continue;
		at = string_number(s + 1, &s);
		if (*s == ':')
			gsi = string_number(s + 1, NULL);
		discover_mmio(at, (uint32_t)gsi);
	}
	return n;
}

/* Slots of Bulkhead skip GSI 8 (clock) and 9 (ACPI). */
static uint32_t discover_slot_gsi(const struct fixed_place *place, unsigned slot)
{
	uint32_t gsi = place->gsi + slot;

	if (!place->gsi)
		return 0;
	return gsi >= 8 ? gsi + 2 : gsi;
}

static void discover_sort(void)
{
	for (unsigned i = 1; i < n_vdevs; i++) {
		for (unsigned k = i; k && !vdevs[k].is_pci && vdevs[k].mmio < vdevs[k - 1].mmio; k--) {
			struct vdev other = vdevs[k];

			vdevs[k] = vdevs[k - 1];
			vdevs[k - 1] = other;
		}
	}
}

void discover(void)
{
	n_vdevs = 0;
	if (discover_words() == 0) {
		for (const struct fixed_place *p = fixed_places;
		     p < fixed_places + ARRAY_LEN(fixed_places); p++) {
			for (unsigned i = 0; i < p->n; i++)
				discover_mmio(p->at + i * p->step, discover_slot_gsi(p, i));
		}
	}
	discover_sort();
	if (n_vdevs == 0)
		pci_discover();
}

struct vdev *discover_nth(uint32_t device_id, unsigned n)
{
	for (unsigned i = 0; i < n_vdevs; i++) {
		if (vdevs[i].device_id == device_id && n-- == 0)
			return &vdevs[i];
	}
	return NULL;
}
