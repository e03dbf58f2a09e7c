/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options of the command line that add a device, one row of a table each. Pure; the input is
 * the user's.
 */
#pragma once

#include "ipc/cleanup.h"
#include "ipc/vm_config.h"
#include "vmm-core/warden/failure.h"

/**
 * config_serial_parse() - the value of --serial and --console
 * @has_socket: socket=PATH is one of the modes
 * @ret_path: owned; NULL unless the mode has one
 *
 * Return: 0; FAILED with STATUS_USAGE; -ENOMEM.
 */
int must_check config_serial_parse(const char *option, const char *value, bool has_socket,
				   enum serial_mode *ret_mode, char **ret_path, struct failure *f);

/**
 * config_device_add() - append the device that @option with @value asks for
 * @option: "--disk", …: of an option that adds devices
 * @value: "" when the option was given without one
 *
 * Return: 0; FAILED with STATUS_USAGE; -ENOMEM.
 */
int must_check config_device_add(struct vm_config *config, const char *option, const char *value,
				 struct failure *f);

/**
 * config_devices_finish() - what can be said once all options are known
 *
 * Devices come into slot order (vm_config.h) and get their default ids; ids are unique, numbers
 * of queues fit the vCPUs.
 * Return: 0; FAILED with STATUS_USAGE.
 */
int must_check config_devices_finish(struct vm_config *config, struct failure *f);
