/* SPDX-License-Identifier: Apache-2.0 */
/* See console_journal.h. bulkhead-console; the page is hostile to a successor. */
#include "device-procs/console/console_journal.h"

struct console_input console_input_load(const struct console_state *state)
{
	uint64_t word = __atomic_load_n(&state->input, __ATOMIC_ACQUIRE);
	struct console_input in = {
		.taken = (uint16_t)word,
		.len = (uint16_t)(word >> 16),
		.given = (uint16_t)(word >> 32),
	};

	if (word >> 48 != 0 || in.len > CONSOLE_INPUT_BYTES || in.taken > in.len ||
	    in.given > in.len - in.taken)
		return (struct console_input){ 0 };
	return in;
}

void console_input_store(struct console_state *state, struct console_input in)
{
	__atomic_store_n(&state->input,
			 in.taken | (uint64_t)in.len << 16 | (uint64_t)in.given << 32,
			 __ATOMIC_RELEASE);
}

struct console_input console_input_settle(struct console_input in, bool is_given)
{
	if (is_given)
		in.taken = (uint16_t)(in.taken + in.given);
	in.given = 0;
	return in;
}

uint32_t console_output_load(const struct console_state *state)
{
	uint64_t done = __atomic_load_n(&state->output_done, __ATOMIC_ACQUIRE);

	return done <= UINT32_MAX ? (uint32_t)done : 0;
}

void console_output_store(struct console_state *state, uint32_t done)
{
	__atomic_store_n(&state->output_done, done, __ATOMIC_RELEASE);
}
