/* SPDX-License-Identifier: Apache-2.0 */
/* The values of --net, and of the rate limits that disks and NICs share. Pure; the user's input. */
#pragma once

#include "ipc/vm_config.h"
#include "vmm-core/warden/config_value.h"

/* Rows of a struct config_key table; @field: the struct rate_limit_config in @type. */
#define CONFIG_LIMIT_KEYS(type, field)                                                            \
	{ "bw_size", CONFIG_KEY_SIZE, offsetof(type, field.bw_size), 0, 0, false },               \
		{ "bw_one_time_burst", CONFIG_KEY_SIZE,                                           \
		  offsetof(type, field.bw_one_time_burst), 0, 0, false },                         \
		{ "bw_refill_time", CONFIG_KEY_NUMBER, offsetof(type, field.bw_refill_time), 1,   \
		  UINT32_MAX, false },                                                            \
		{ "ops_size", CONFIG_KEY_SIZE, offsetof(type, field.ops_size), 0, 0, false },     \
		{ "ops_one_time_burst", CONFIG_KEY_SIZE,                                          \
		  offsetof(type, field.ops_one_time_burst), 0, 0, false },                        \
	{                                                                                         \
		"ops_refill_time", CONFIG_KEY_NUMBER, offsetof(type, field.ops_refill_time), 1,   \
			UINT32_MAX, false                                                         \
	}

/** config_limits_check() - does every bucket have a refill time? Return: 0; FAILED */
int must_check config_limits_check(const char *flag, const struct rate_limit_config *limits,
				   struct failure *f);

/** config_limits_parse() - change @limits by "KEY=VALUE,..."; Return: 0; FAILED; -ENOMEM */
int must_check config_limits_parse(const char *flag, const char *text,
				   struct rate_limit_config *limits, struct failure *f);

/** config_net_parse() - one value of --net into @net, which has its type; Return: 0; FAILED; -ENOMEM */
int must_check config_net_parse(const char *flag, const char *text, struct device_config *net,
				struct failure *f);
