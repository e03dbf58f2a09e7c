/* SPDX-License-Identifier: Apache-2.0 */
/* MSI-X between the registers of a function and a KVM that the test plays. */
#include <criterion/criterion.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define fake_check(condition) cr_assert(condition)
#include "fake_pci_host.h"
#include "vmm-core/transport/pci_internal.h"
#include "vmm-core/transport/virtio_device.h"

#define APIC 0xfee00000u
#define FIRST_VECTOR 3u /* those before are another function's */

static struct fake_host host;
static struct pci_root root = { .host = &fake_pci_host, .ctx = &host };
static struct virtio_device_fds fds;
static struct pci_function function;

/* A device of one queue, its vectors enabled, none in use */
static void start(void)
{
	root.n_vectors = FIRST_VECTOR + 2;
	fds.call[0] = eventfd(0, EFD_NONBLOCK);
	fds.config = eventfd(0, EFD_NONBLOCK);
	function = (struct pci_function){
		.root = &root,
		.device = (struct virtio_device *)&fds, /* nobody looks inside */
		.fds = &fds,
		.n_queues = 1,
		.first_vector = FIRST_VECTOR,
		.vectors = { VIRTIO_PCI_NO_VECTOR, VIRTIO_PCI_NO_VECTOR },
		.armed = { VIRTIO_PCI_NO_VECTOR, VIRTIO_PCI_NO_VECTOR },
	};
	msix_reset(&function.msix, 2);
	function.config.words[VIRTIO_PCI_MSIX_CONTROL / 4] = VIRTIO_PCI_MSIX_ENABLE;
	function.config.words[PCI_COMMAND / 4] = PCI_COMMAND_MASTER;
}

static void stop(void)
{
	close(fds.call[0]);
	close(fds.config);
}

TestSuite(pci_interrupts, .init = start, .fini = stop, .timeout = 20);

static void set_message(uint32_t vector, uint32_t data)
{
	uint32_t at = vector * MSIX_WORDS * 4;

	(void)msix_write(&function.msix, at + MSIX_ADDRESS * 4, 4, APIC);
	(void)msix_write(&function.msix, at + MSIX_DATA * 4, 4, data);
	(void)msix_write(&function.msix, at + MSIX_CONTROL * 4, 4, 0);
	pci_interrupts_update(&function);
}

static void use(uint32_t source, uint16_t vector)
{
	function.vectors[source] = vector;
	pci_interrupts_update(&function);
}

Test(pci_interrupts, a_source_is_armed_with_the_message_of_its_vector)
{
	use(0, 1);
	cr_expect_null(fake_message_of(&host, fds.call[0]), "the vector is masked");
	set_message(1, 0x41);
	cr_assert_not_null(fake_message_of(&host, fds.call[0]));
	cr_expect_eq(fake_message_of(&host, fds.call[0])->data, 0x41);
	cr_expect_null(fake_message_of(&host, fds.config));
	use(1, 1);
	cr_expect_eq(host.n_set_routes, 1, "one vector, one message");
}

/* It used to be taken for known: armed with what KVM had, and not said again. */
Test(pci_interrupts, a_message_that_kvm_refuses_is_not_armed_and_is_said_again)
{
	eventfd_t n;

	host.refuses_routes = true;
	use(0, 1);
	set_message(1, 0x41);
	cr_expect_null(fake_message_of(&host, fds.call[0]));
	cr_assert_eq(eventfd_write(fds.call[0], 1), 0);
	cr_expect_eq(pci_interrupts_pending(&function, 0), 1u << 1);
	host.refuses_routes = false;
	pci_interrupts_update(&function);
	cr_assert_not_null(fake_message_of(&host, fds.call[0]));
	cr_expect_eq(fake_message_of(&host, fds.call[0])->data, 0x41);
	cr_expect_eq(host.n_set_routes, 1);
	cr_expect_eq(eventfd_read(fds.call[0], &n), 0, "what was pending is KVM's to see");
}

Test(pci_interrupts, a_refused_change_stops_that_vector_alone)
{
	use(0, 0);
	use(1, 1);
	set_message(0, 0x40);
	set_message(1, 0x41);
	host.refuses_routes = true;
	set_message(0, 0x50);
	cr_expect_null(fake_message_of(&host, fds.call[0]), "it would send the old one");
	cr_assert_not_null(fake_message_of(&host, fds.config));
	cr_expect_eq(fake_message_of(&host, fds.config)->data, 0x41);
	set_message(0, 0x40);
	cr_assert_not_null(fake_message_of(&host, fds.call[0]), "KVM still knows this one");
	cr_expect_eq(fake_message_of(&host, fds.call[0])->data, 0x40);
}
