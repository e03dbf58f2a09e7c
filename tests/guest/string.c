/* SPDX-License-Identifier: Apache-2.0 */
/* The few functions of a C library that the probe guest needs. */
#include "probe.h"

void *memset(void *to, int byte, size_t n)
{
	void *at = to;

	__asm__ volatile("rep stosb" : "+D"(at), "+c"(n) : "a"(byte) : "memory");
	return to;
}

void *memcpy(void *to, const void *from, size_t n)
{
	void *at = to;

	__asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(n) : : "memory");
	return to;
}

void *memmove(void *to, const void *from, size_t n)
{
	unsigned char *t = to;
	const unsigned char *f = from;

	if ((uintptr_t)t - (uintptr_t)f >= n)
		return memcpy(to, from, n);
	while (n--) {
		t[n] = f[n];
		compiler_barrier(); /* or the compiler makes this a call of memmove */
	}
	return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const unsigned char *x = a, *y = b;

	for (size_t i = 0; i < n; i++) {
		if (x[i] != y[i])
			return x[i] < y[i] ? -1 : 1;
	}
	return 0;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n]) {
		n++;
		compiler_barrier();
	}
	return n;
}

bool string_equal(const char *a, const char *b)
{
	return string_starts(a, b) && strlen(a) == strlen(b);
}

bool string_starts(const char *s, const char *prefix)
{
	while (*prefix) {
		if (*s++ != *prefix++)
			return false;
	}
	return true;
}

bool string_contains(const char *s, const char *part)
{
	for (; *s; s++) {
		if (string_starts(s, part))
			return true;
	}
	return *part == '\0';
}

static int string_digit(char c, unsigned base)
{
	int digit = -1;

	if (c >= '0' && c <= '9')
		digit = c - '0';
	else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
		digit = (c | 0x20) - 'a' + 10;
	return digit < (int)base ? digit : -1;
}

uint64_t string_number(const char *s, const char **end)
{
	unsigned base = 10;
	uint64_t v = 0;

	if (s[0] == '0' && (s[1] | 0x20) == 'x') {
		base = 16;
		s += 2;
	}
	for (; string_digit(*s, base) >= 0; s++)
		v = v * base + (unsigned)string_digit(*s, base);
	switch (*s | 0x20) {
	case 'g':
		v *= 1024;
		__attribute__((fallthrough));
	case 'm':
		v *= 1024;
		__attribute__((fallthrough));
	case 'k':
		v *= 1024;
		s++;
		break;
	default:
		break;
	}
	if (end)
		*end = s;
	return v;
}

/* xorshift64*: a run is replayed by its seed. */
uint64_t random_next(uint64_t *state)
{
	uint64_t x = *state ? *state : 0x9e3779b97f4a7c15u;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * 0x2545f4914f6cdd1du;
}
