/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The probe guest: a test instrument that drives virtio devices without an operating system.
 * It runs one mode, chosen by probe=MODE on the command line, and ends the VM.
 */
#include "modes.h"
#include "probe.h"

extern char bss_start[], bss_end[];

static void probe_main(void) __attribute__((noreturn));

static void probe_main(void)
{
	char mode[32] = "hello";

	memset(bss_start, 0, (size_t)(bss_end - bss_start));
	console_init();
	boot_parse();
	memory_init();
	boot_option("probe", mode, sizeof(mode));
	for (const struct mode *m = modes; m->name; m++) {
		if (string_equal(m->name, mode)) {
			m->run();
			if (boot_option("linger", NULL, 0))
				mode_idle();
			end_power_off();
		}
	}
	print("probe: no mode %s\n", mode);
	end_power_off();
}

void cpu_main(unsigned cpu)
{
	if (cpu == 0)
		probe_main();
	smp_ap_main(cpu);
}
