/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is left of the keyboard controller: the command that pulses the CPU's reset line.
 *
 * There is no keyboard. Status reads 0 (nothing to read, ready for a command), so that a guest
 * which waits for room before it sends 0xfe does not wait.
 */
#pragma once

#include "vmm-core/machine/io_bus.h"
#include "vmm-core/machine/machine_request.h"

#define I8042_RESET 0xfeu

/** i8042_command_io - port 0x64; ctx is a struct machine_requester */
extern const struct io_handler i8042_command_io;

/** i8042_data_io - port 0x60; ctx unused */
extern const struct io_handler i8042_data_io;
