/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of bulkhead: one table of options, parsed into struct vm_config.
 */
#pragma once

#include <stdio.h>

#include "ipc/vm_config.h"
#include "vmm-core/warden/failure.h"

enum config_cli_result {
	/* FAILED = 1 */
	CONFIG_CLI_HELP = 2, /* --help: print it and exit 0 */
	CONFIG_CLI_VERSION = 3,
};

/**
 * config_cli_parse() - parse @argv and check everything that needs no look at the host
 * @stdin_is_terminal: decides the default of --serial
 * @ret: zeroed by the caller; cleared by vm_config_clear() whatever is returned. Devices have
 *	 their default ids, run_dir stays NULL when it was not given.
 *
 * Return: 0; FAILED (usage, described in @f); CONFIG_CLI_*; -ENOMEM.
 */
int must_check config_cli_parse(int argc, char *const argv[], bool stdin_is_terminal,
				struct vm_config *ret, struct failure *f);

/**
 * config_check_host() - does this host's CPU reach the memory asked for?
 * Return: 0; FAILED with STATUS_USAGE.
 */
int must_check config_check_host(const struct vm_config *config, uint32_t physical_bits,
				 struct failure *f);

/** config_help_print() - the text of --help */
void config_help_print(FILE *out);
