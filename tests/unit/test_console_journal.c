/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "device-procs/console/console_journal.h"

static struct console_state state;

static void expect_input(uint16_t taken, uint16_t len, uint16_t given)
{
	struct console_input in = console_input_load(&state);

	cr_expect_eq(in.taken, taken);
	cr_expect_eq(in.len, len);
	cr_expect_eq(in.given, given);
}

Test(console_journal, is_empty_when_the_page_is_zero)
{
	state = (struct console_state){ 0 };
	expect_input(0, 0, 0);
	cr_expect_eq(console_output_load(&state), 0);
}

Test(console_journal, comes_back_as_it_was_stored)
{
	struct console_input full = { 0, CONSOLE_INPUT_BYTES, CONSOLE_INPUT_BYTES };

	console_input_store(&state, (struct console_input){ 3, 100, 50 });
	expect_input(3, 100, 50);
	cr_expect_eq(console_input_left(console_input_load(&state)), 47);
	console_input_store(&state, full);
	expect_input(0, CONSOLE_INPUT_BYTES, CONSOLE_INPUT_BYTES);
	cr_expect_eq(console_input_left(console_input_load(&state)), 0);
	console_output_store(&state, UINT32_MAX);
	cr_expect_eq(console_output_load(&state), UINT32_MAX);
}

/* A predecessor may have been taken over: a word that makes no sense is nothing. */
Test(console_journal, believes_nothing_that_is_out_of_range)
{
	static const uint64_t words[] = {
		CONSOLE_INPUT_BYTES + 1ull, /* taken, len 0 */
		5 | 4ull << 16, /* taken > len */
		(CONSOLE_INPUT_BYTES + 1ull) << 16,
		0 | 4ull << 16 | 5ull << 32, /* given > len */
		2 | 4ull << 16 | 3ull << 32, /* taken + given > len */
		0xffff | 0xffffull << 16 | 1ull << 32,
		0 | 4ull << 16 | 0xffffull << 32, /* the sum wraps 16 bits */
		1ull << 48,
		UINT64_MAX,
	};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		state.input = words[i];
		expect_input(0, 0, 0);
	}
	state.output_done = 1ull << 32;
	cr_expect_eq(console_output_load(&state), 0);
}

Test(console_journal, any_word_is_in_range)
{
	uint64_t random = 0x9e3779b97f4a7c15ull;

	for (unsigned i = 0; i < 1000000; i++) {
		struct console_input in;

		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		state.input = i % 2 ? random : random & 0x1fff1fff1fffull;
		in = console_input_load(&state);
		cr_assert_leq(in.len, CONSOLE_INPUT_BYTES);
		cr_assert_leq((uint32_t)in.taken + in.given, in.len);
	}
}

enum death { NEVER, BEFORE_PUSH, AFTER_PUSH };

/* Gives 100 bytes by sevens; dies once in every chain at @death. Return: bytes that arrived */
static uint32_t give_all(enum death death)
{
	struct console_input in = { .len = 100 };
	uint32_t arrived = 0;

	while (console_input_left(in) > 0) {
		uint32_t left = console_input_left(in);

		in.given = (uint16_t)(left < 7 ? left : 7);
		console_input_store(&state, in);
		if (death == BEFORE_PUSH) { /* the successor finds the chain in flight */
			in = console_input_settle(console_input_load(&state), false);
			in.given = (uint16_t)(left < 7 ? left : 7);
			console_input_store(&state, in);
		}
		arrived += in.given; /* the push */
		if (death == AFTER_PUSH) /* the successor does not */
			in = console_input_load(&state);
		in = console_input_settle(in, true);
		console_input_store(&state, in);
	}
	return arrived;
}

Test(console_journal, every_byte_arrives_once_wherever_it_dies)
{
	cr_expect_eq(give_all(NEVER), 100);
	cr_expect_eq(give_all(BEFORE_PUSH), 100);
	cr_expect_eq(give_all(AFTER_PUSH), 100);
}
