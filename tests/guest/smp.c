/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other CPUs: started by INIT and SIPI through the local APIC, each goes to CPL3 at once and
 * polls a mailbox there. A CPU's number is its APIC id.
 */
#include "probe.h"

#define ICR_LOW (LAPIC_BASE + 0x300)
#define ICR_HIGH (LAPIC_BASE + 0x310)
#define SPURIOUS (LAPIC_BASE + 0xf0)
#define SPURIOUS_ENABLE_VECTOR_FF 0x1ff
#define ICR_PENDING 0x1000
#define ICR_ALL_BUT_SELF 0xc0000
#define ICR_INIT 0x4500
#define ICR_STARTUP 0x4600

struct mailbox {
	void (*volatile function)(void *);
	void *argument;
} __attribute__((aligned(64)));

extern const char ap_trampoline[], ap_trampoline_end[];
extern char tss_table[], kernel_stacks[];
extern uint64_t gdt[];

static struct mailbox mailboxes[CPUS_MAX];
static unsigned started[CPUS_MAX]; /* numbers, in the order of arrival */
static unsigned n_started;

/* One TSS per CPU: the task register of two CPUs must not share one, nor may their stacks. */
static void smp_make_tss(unsigned cpu)
{
	uint64_t at = (uint64_t)tss_table + cpu * TSS_SIZE;
	uint64_t stack = (uint64_t)kernel_stacks + (cpu + 1) * KERNEL_STACK_SIZE;
	uint64_t *descriptor = &gdt[SELECTOR_TSS / 8 + cpu * 2];

	memcpy((void *)(at + 4), &stack, sizeof(stack));
	descriptor[0] = (TSS_SIZE - 1) | (at & 0xffffff) << 16 | 0x89ull << 40 |
			(at >> 24 & 0xff) << 56;
	descriptor[1] = at >> 32;
}

static void smp_send(uint32_t command)
{
	mmio_write32(ICR_HIGH, 0);
	mmio_write32(ICR_LOW, command);
	for (unsigned i = 0; i < 100000 && mmio_read32(ICR_LOW) & ICR_PENDING; i++)
		cpu_pause();
}

unsigned smp_start(void)
{
	unsigned seen = 0;

	for (unsigned cpu = 1; cpu < CPUS_MAX; cpu++)
		smp_make_tss(cpu);
	memcpy((void *)AP_TRAMPOLINE, ap_trampoline, (size_t)(ap_trampoline_end - ap_trampoline));
	mmio_write32(SPURIOUS, SPURIOUS_ENABLE_VECTOR_FF);
	smp_send(ICR_ALL_BUT_SELF | ICR_INIT);
	time_sleep(10);
	smp_send(ICR_ALL_BUT_SELF | ICR_STARTUP | AP_TRAMPOLINE >> 12);
	time_sleep(5);
	smp_send(ICR_ALL_BUT_SELF | ICR_STARTUP | AP_TRAMPOLINE >> 12);
	/* How many there are is not known: wait until none has arrived for a while. */
	for (unsigned quiet = 0; quiet < 25; quiet++) {
		unsigned now = __atomic_load_n(&n_started, __ATOMIC_ACQUIRE);

		if (now != seen)
			quiet = 0;
		seen = now;
		time_sleep(10);
	}
	return seen + 1;
}

void smp_ap_main(unsigned cpu)
{
	struct mailbox *box = &mailboxes[cpu];

	started[__atomic_fetch_add(&n_started, 1, __ATOMIC_ACQ_REL)] = cpu;
	for (;;) {
		void (*function)(void *) = __atomic_load_n(&box->function, __ATOMIC_ACQUIRE);

		if (!function) {
			cpu_pause();
			continue;
		}
		function(box->argument);
		__atomic_store_n(&box->function, NULL, __ATOMIC_RELEASE);
	}
}

unsigned smp_cpu(unsigned n)
{
	return n < n_started ? started[n] : 0;
}

bool smp_is_idle(unsigned cpu)
{
	return !__atomic_load_n(&mailboxes[cpu].function, __ATOMIC_ACQUIRE);
}

bool smp_run(unsigned cpu, void (*function)(void *), void *argument)
{
	if (cpu == 0 || cpu >= CPUS_MAX || !smp_is_idle(cpu))
		return false;
	mailboxes[cpu].argument = argument;
	__atomic_store_n(&mailboxes[cpu].function, function, __ATOMIC_RELEASE);
	return true;
}
