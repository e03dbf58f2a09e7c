/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a console must not forget when its process dies: bytes that were read on the host and not
 * yet given to the guest, and how much of the guest's next output is already written. Lies in the
 * device's part of the device page, which outlives the process and is zero after a reset. A
 * successor takes it for hostile input. Pure; no system calls.
 *
 * Input. Everything about it but the bytes is one word, so that there is no half of an update:
 *
 *	read from the host	bytes, then { 0, len, 0 }
 *	chain popped		{ taken, len, given }: given bytes go into this chain
 *	chain pushed
 *	settled			{ taken + given, len, 0 }
 *
 * A successor that finds given != 0 asks the queue: is the chain still to be answered (replayed),
 * then its bytes are still ours; else the driver has them.
 *
 * Output. done is stored after each write and cleared before its chain is pushed. Bytes that were
 * written and not stored yet are written again: no driver was told that they were out.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define CONSOLE_INPUT_BYTES 4096u

struct console_state {
	uint64_t input; /* packed struct console_input; atomic */
	uint64_t output_done; /* atomic */
	uint8_t bytes[CONSOLE_INPUT_BYTES];
};

/* taken + given <= len <= CONSOLE_INPUT_BYTES */
struct console_input {
	uint16_t taken; /* the driver has so many of them */
	uint16_t len; /* bytes that are parked */
	uint16_t given; /* being given to the one chain in flight */
};

/** console_input_load() - what is there; nothing when the word makes no sense */
struct console_input console_input_load(const struct console_state *state);

/** console_input_store() - @input is in range */
void console_input_store(struct console_state *state, struct console_input input);

/** console_input_settle() - end of a given != 0; @is_given: the driver has the bytes */
struct console_input console_input_settle(struct console_input input, bool is_given);

static inline uint32_t console_input_left(struct console_input input)
{
	return (uint32_t)input.len - input.taken - input.given;
}

/** console_output_load(), console_output_store() - bytes of the next chain that are written */
uint32_t console_output_load(const struct console_state *state);
void console_output_store(struct console_state *state, uint32_t done);
