/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of command line options: sizes, durations, names, and the key=value lists of
 * `--disk path=a.img,readonly=on`. Pure; the input is the user's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/cleanup.h"
#include "vmm-core/warden/failure.h"

enum config_value_result {
	CONFIG_VALUE_BAD = 1, /* not of this form, or too large */
};

/** config_value_number() - decimal digits only; Return: 0, CONFIG_VALUE_BAD */
int must_check config_value_number(const char *text, uint64_t *ret);

/** config_value_size() - digits and at most one of K, M, G, T (powers of 1024); in bytes */
int must_check config_value_size(const char *text, uint64_t *ret_bytes);

/** config_value_duration() - digits and one of ms, s, m; a bare 0 is fine; in milliseconds */
int must_check config_value_duration(const char *text, uint32_t *ret_ms);

/** config_value_bool() - on|off, also true|false */
int must_check config_value_bool(const char *text, bool *ret);

/** config_value_mac() - aa:bb:cc:dd:ee:ff, not multicast, not all 0; first byte in bits 40..47 */
int must_check config_value_mac(const char *text, uint64_t *ret);

/** config_value_is_name() - [A-Za-z0-9][A-Za-z0-9._-]*, shorter than @size */
bool config_value_is_name(const char *text, size_t size);

enum config_key_type {
	CONFIG_KEY_STRING, /* char *, owned by the target; replaced */
	CONFIG_KEY_TEXT, /* char[max], printable */
	CONFIG_KEY_NAME, /* char[max], config_value_is_name() */
	CONFIG_KEY_BOOL, /* bool */
	CONFIG_KEY_NUMBER, /* uint32_t, min..max */
	CONFIG_KEY_POWER, /* uint32_t, min..max, a power of two */
	CONFIG_KEY_SIZE, /* uint64_t, bytes */
	CONFIG_KEY_DURATION, /* uint32_t, milliseconds */
	CONFIG_KEY_MAC, /* uint64_t, config_value_mac() */
	CONFIG_KEY_UNSUPPORTED, /* a known key that is not built yet; "off" is accepted */
};

/* One key that an option takes. A table ends with name == NULL. */
struct config_key {
	const char *name;
	enum config_key_type type;
	size_t offset; /* of the field in the target */
	uint32_t min, max; /* numbers: range; texts: max is the field's size */
	bool required;
};

/**
 * config_keys_parse() - set the fields of @target from "key=value,key=value"
 * @flag: "--disk", for messages
 *
 * A value may be put in double quotes or square brackets to hold commas; quotes are removed.
 * Unknown keys, keys given twice, missing
 * values and required keys that are absent are refused.
 *
 * Return: 0; FAILED with STATUS_USAGE; -ENOMEM.
 */
int must_check config_keys_parse(const char *flag, const char *text,
				 const struct config_key *keys, void *target, struct failure *f);
