/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ways to end. A neutral guest tries them in a row: the sleep control port of Bulkhead and Cloud
 * Hypervisor, isa-debug-exit of QEMU, the i8042 reset that ends Firecracker, a triple fault.
 */
#include "probe.h"

void end_power_off(void)
{
	console_flush();
	port_out8(0x600, 0x34);
	port_out8(0xf4, 0);
	port_out8(0x64, 0xfe);
	time_sleep(200); /* a reset may take a moment to arrive */
	end_triple_fault();
}

void end_reset(void)
{
	console_flush();
	port_out8(0x64, 0xfe);
	time_sleep(1000);
	print("probe: port 0x64 does not reset\n");
	end_triple_fault();
}

/*
 * CPL3 cannot load an IDT, but it owns all memory: without its present bits no gate works, and the
 * next fault has nowhere to go.
 */
void end_triple_fault(void)
{
	extern uint64_t idt[512];

	console_flush();
	memset(idt, 0, 256 * 16);
	for (;;)
		cpu_halt();
}

void trap_report(uint64_t vector, uint64_t error, uint64_t rip, uint64_t address, uint64_t cs)
{
	print("\nprobe: exception %lu error 0x%lx at 0x%lx address 0x%lx cpl %lu\n", vector, error,
	      rip, address, cs & 3);
	end_power_off();
}
