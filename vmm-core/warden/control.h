/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: bulkheadctl's requests.
 *
 * SEQPACKET, in the run dir, mode 0600; the peer must be root or the warden's own user. One
 * request per connection; the warden closes it after the last frame of the answer. `log` does not
 * end: the records that there are, a frame without text, then each new record until the client
 * goes away.
 */
#pragma once

#include <stdint.h>

#include "vmm-core/warden/vm.h"

#define CONTROL_CLIENTS_MAX 8u
#define CONTROL_RESTART_DEADLINE_MS 14000u /* every step of it has an earlier one of its own */

/**
 * control_new() - make the socket; clients can connect, but wait until control_open()
 * Return: 0; FAILED; -errno
 */
int must_check control_new(struct vm *vm, struct control **ret, struct failure *f);

/**
 * control_open() - answer clients from now on
 *
 * Called once the VM is complete: a script that asks right after the start waits for some
 * milliseconds and sees every process in its sandbox, never half of it. Return: 0; -ENOMEM.
 */
int must_check control_open(struct control *control);

/** control_free() - close everything; takes NULL; Return: NULL */
struct control *control_free(struct control *control);

/** control_on_core_answer() - REPLY or COUNTERS of the core with seq != 0 */
void control_on_core_answer(struct control *control, const struct message *m);

/** control_on_restart() - what came of a client's `restart` of @d; nothing if there is none */
void control_on_restart(struct control *control, struct vm_device *d, int result,
			const char *text);

/** control_on_log() - the log ring has a new record */
void control_on_log(struct control *control);
