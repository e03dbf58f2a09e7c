/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The differentiated system description table. It is the same for every VM: what exists is told
 * by the configuration block (acpi_constants.h), which the _STA methods read.
 *
 * Goes through the C preprocessor, then iasl. Devices come from macros, because ASL has no loop
 * that makes devices. A resource macro takes no arithmetic: iasl 20200925 turns a sum into 0
 * without a word; so addresses are pasted together from digits.
 */
#include "acpi_constants.h"

/* A virtio-mmio slot; n is one hexadecimal digit. */
#define VIRTIO_MMIO(n, gsi)                                                                       \
	Device (VIO##n)                                                                           \
	{                                                                                         \
		Name (_HID, "LNRO0005")                                                           \
		Name (_UID, 0x##n)                                                                \
		Name (_CRS, ResourceTemplate ()                                                   \
		{                                                                                 \
			Memory32Fixed (ReadWrite, 0xd000##n##000, ACPI_VIRTIO_MMIO_SIZE)          \
			Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { gsi }         \
		})                                                                                \
		Method (_STA) { Return (SSTA (0x##n)) }                                           \
	}

/* A processor; its _UID is the ACPI processor UID of the MADT, in two hexadecimal digits. */
#define CPU(hi, lo)                                                                               \
	Device (CP##hi##lo)                                                                       \
	{                                                                                         \
		Name (_HID, "ACPI0007")                                                           \
		Name (_UID, 0x##hi##lo)                                                           \
		Method (_STA) { Return (CSTA (0x##hi##lo)) }                                      \
	}
#define CPUS_16(hi)                                                                               \
	CPU(hi, 0) CPU(hi, 1) CPU(hi, 2) CPU(hi, 3) CPU(hi, 4) CPU(hi, 5) CPU(hi, 6) CPU(hi, 7)   \
	CPU(hi, 8) CPU(hi, 9) CPU(hi, A) CPU(hi, B) CPU(hi, C) CPU(hi, D) CPU(hi, E) CPU(hi, F)

DefinitionBlock ("", "DSDT", 2, ACPI_OEM_ID, ACPI_OEM_TABLE_ID, 1)
{
	/* ACPI 6.4 §7.4.2.6; a package shorter than four is not accepted everywhere. */
	Name (\_S5, Package (4) { ACPI_SLEEP_TYPE_S5, 0, 0, 0 })

	Scope (\_SB)
	{
		OperationRegion (CONF, SystemMemory, ACPI_CONFIG_BLOCK, ACPI_CONFIG_BLOCK_SIZE)
		Field (CONF, DWordAcc, NoLock, Preserve)
		{
			SLOT, 32,
			NCPU, 32,
			HPCI, 32,
			W64B, 64,
			W64S, 64
		}

		/* _STA values: 0x0f present, enabled, shown and working; 0 not there */
		Method (SSTA, 1)
		{
			If ((SLOT >> Arg0) & 1)
			{
				Return (0x0F)
			}
			Return (Zero)
		}
		Method (CSTA, 1)
		{
			If (Arg0 < NCPU)
			{
				Return (0x0F)
			}
			Return (Zero)
		}

		Method (PSTA)
		{
			If (HPCI)
			{
				Return (0x0F)
			}
			Return (Zero)
		}

		CPUS_16(0)
		CPUS_16(1)
		CPUS_16(2)
		CPUS_16(3)

		Device (COM1)
		{
			Name (_HID, EISAID ("PNP0501"))
			Name (_UID, 1)
			Name (_DDN, "COM1")
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, ACPI_COM1_PORT, ACPI_COM1_PORT, 1, 8)
				Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive)
				{
					ACPI_COM1_GSI
				}
			})
		}

		Device (PWRB)
		{
			Name (_HID, EISAID ("PNP0C0C"))
			Name (_UID, Zero)
		}

		/* Generic event device, ACPI 6.4 §5.6.9: reading the port clears it. */
		Device (GED)
		{
			Name (_HID, "ACPI0013")
			Name (_UID, Zero)
			Name (_CRS, ResourceTemplate ()
			{
				Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive)
				{
					ACPI_EVENT_GSI
				}
			})
			OperationRegion (EVRG, SystemIO, ACPI_EVENT_PORT, 1)
			Field (EVRG, ByteAcc, NoLock, WriteAsZeros)
			{
				EVTS, 8
			}
			Method (_EVT, 1, Serialized)
			{
				Local0 = EVTS
				If (Local0 & ACPI_EVENT_POWER_BUTTON)
				{
					Notify (PWRB, 0x80)
				}
			}
		}

		/* One bus; its devices send messages, so there are no interrupt lines to route. */
		Device (PCI0)
		{
			Name (_HID, EISAID ("PNP0A08"))
			Name (_CID, EISAID ("PNP0A03"))
			Name (_UID, Zero)
			Name (_SEG, Zero)
			Name (_BBN, Zero)
			Method (_STA) { Return (PSTA ()) }
			Name (CRSB, ResourceTemplate ()
			{
				WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
					       0, 0, 0, 0, 1)
				IO (Decode16, ACPI_PCI_CONFIG, ACPI_PCI_CONFIG, 1, ACPI_PCI_PORTS)
				DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed,
					     NonCacheable, ReadWrite, 0, ACPI_PCI_WINDOW,
					     ACPI_PCI_WINDOW_LAST, 0, ACPI_PCI_WINDOW_SIZE)
				/* from 4 GiB on, for 4 GiB, until _CRS writes what it is */
				QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed,
					     NonCacheable, ReadWrite, 0, 0x100000000,
					     0x1FFFFFFFF, 0, 0x100000000, , , W64D)
			})
			Method (_CRS, 0, Serialized)
			{
				CreateQWordField (CRSB, ^W64D._MIN, MINI)
				CreateQWordField (CRSB, ^W64D._MAX, MAXI)
				CreateQWordField (CRSB, ^W64D._LEN, LENG)
				MINI = W64B
				LENG = W64S
				MAXI = W64B + W64S - 1
				Return (CRSB)
			}
		}

		/* The configuration space in memory is no window: nobody may put anything there. */
		Device (ECAM)
		{
			Name (_HID, EISAID ("PNP0C02"))
			Name (_UID, Zero)
			Method (_STA) { Return (PSTA ()) }
			Name (_CRS, ResourceTemplate ()
			{
				Memory32Fixed (ReadWrite, ACPI_PCI_ECAM, ACPI_PCI_ECAM_SIZE)
			})
		}

		/* Slot n at GSI 5 + n, skipping 8 and 9 */
		VIRTIO_MMIO(0, 5)
		VIRTIO_MMIO(1, 6)
		VIRTIO_MMIO(2, 7)
		VIRTIO_MMIO(3, 10)
		VIRTIO_MMIO(4, 11)
		VIRTIO_MMIO(5, 12)
		VIRTIO_MMIO(6, 13)
		VIRTIO_MMIO(7, 14)
		VIRTIO_MMIO(8, 15)
		VIRTIO_MMIO(9, 16)
		VIRTIO_MMIO(A, 17)
		VIRTIO_MMIO(B, 18)
		VIRTIO_MMIO(C, 19)
		VIRTIO_MMIO(D, 20)
		VIRTIO_MMIO(E, 21)
		VIRTIO_MMIO(F, 22)
	}
}
