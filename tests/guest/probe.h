/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Services of the probe guest that do not concern devices: text on COM1, memory, time, the command
 * line, other CPUs, and ways to end. Everything runs at CPL3, on one address space in which
 * virtual equals physical except for windows made by memory_map_io().
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu.h"
#include "layout.h"

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIB (1024ull * 1024)
#define GIB (1024 * MIB)

/* ---- console.c: COM1 ---- */

void console_init(void);
void console_flush(void);
/* One byte, or -1 when nobody typed. */
int console_get(void);
/* %s %c %d %u %x with optional l and a width with leading zeros, as in %016lx. */
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));
void print_bytes(const void *data, size_t len);
/* The same into a buffer, always terminated; Return: length written */
size_t format(char *buffer, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
size_t format_list(char *buffer, size_t size, const char *format, va_list args)
	__attribute__((format(printf, 3, 0)));

/* ---- string.c ---- */

void *memset(void *to, int byte, size_t n);
void *memcpy(void *to, const void *from, size_t n);
void *memmove(void *to, const void *from, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
bool string_equal(const char *a, const char *b);
bool string_starts(const char *s, const char *prefix);
bool string_contains(const char *s, const char *part);
/* Decimal or 0x-hexadecimal with K, M, G; *end (may be NULL) is set behind it. */
uint64_t string_number(const char *s, const char **end);
uint64_t random_next(uint64_t *state);

/* ---- boot.c: what the loader told us ---- */

struct ram_region {
	uint64_t start;
	uint64_t size;
};

extern struct ram_region ram_regions[16];
extern unsigned n_ram_regions;
extern char command_line[4096];

void boot_parse(void);
/* True when the word KEY or KEY=VALUE is there; value (may be NULL) gets up to size bytes. */
bool boot_option(const char *key, char *value, size_t size);
/* The next value of a key given several times; *cursor starts as 0. */
bool boot_option_next(const char *key, size_t *cursor, char *value, size_t size);
uint64_t boot_option_number(const char *key, uint64_t otherwise);

/* ---- memory.c: page tables on demand, and a bump allocator for what devices see ---- */

void memory_init(void);
/* Zeroed RAM below 4 GiB. Never fails for the amounts the probe uses; ends the probe otherwise. */
void *memory_alloc(size_t size, size_t align);
size_t memory_mark(void);
void memory_release(size_t mark);
/* RAM that memory_alloc() never gives out, for patterns. */
uint64_t memory_arena_end(void);
bool memory_is_ram(uint64_t at, uint64_t len);
/* An address through which [at, at + len) of device space or RAM can be reached. */
uint64_t memory_map(uint64_t at, uint64_t len);

/* ---- time.c ---- */

#define TIMEOUT_REQUEST 10000 /* ms: longer than any device needs on a loaded machine */

/* Milliseconds are rough (they never run short): for limits, not for measuring. */
uint64_t time_deadline(uint64_t ms);
bool time_passed(uint64_t deadline);
void time_sleep(uint64_t ms);

/* ---- smp.c ---- */

/* Starts all APs; Return: CPUs that run, this one included */
unsigned smp_start(void);
/* Runs function(argument) on the AP, at CPL3; Return: false when there is no such idle AP. */
bool smp_run(unsigned cpu, void (*function)(void *), void *argument);
bool smp_is_idle(unsigned cpu);
/* Number of the n-th started AP. */
unsigned smp_cpu(unsigned n);
void smp_ap_main(unsigned cpu) __attribute__((noreturn));

/* ---- end.c ---- */

void end_power_off(void) __attribute__((noreturn));
void end_reset(void) __attribute__((noreturn));
void end_triple_fault(void) __attribute__((noreturn));
void trap_report(uint64_t vector, uint64_t error, uint64_t rip, uint64_t address, uint64_t cs)
	__attribute__((noreturn));

/* ---- main.c, modes.c ---- */

void cpu_main(unsigned cpu) __attribute__((noreturn));

extern volatile uint32_t interrupt_counts[256];
