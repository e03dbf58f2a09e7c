/* SPDX-License-Identifier: Apache-2.0 */
/* Values of command line options. Runs in the warden (and in unit tests); input is the user's. */
#include "vmm-core/warden/config_value.h"

#include <errno.h>
#include <string.h>

/* The leading decimal number of @text; *ret_rest is what follows it. */
static int config_value_digits(const char *text, uint64_t *ret, const char **ret_rest)
{
	uint64_t v = 0;
	const char *p = text;

	for (; *p >= '0' && *p <= '9'; p++) {
		if (__builtin_mul_overflow(v, 10u, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return CONFIG_VALUE_BAD;
	}
	if (p == text)
		return CONFIG_VALUE_BAD;
	*ret = v;
	*ret_rest = p;
	return 0;
}

int config_value_number(const char *text, uint64_t *ret)
{
	const char *rest;
	uint64_t v;

	if (config_value_digits(text, &v, &rest) != 0 || *rest != '\0')
		return CONFIG_VALUE_BAD;
	*ret = v;
	return 0;
}

int config_value_size(const char *text, uint64_t *ret_bytes)
{
	static const struct {
		char suffix;
		unsigned shift;
	} units[] = { { 'K', 10 }, { 'M', 20 }, { 'G', 30 }, { 'T', 40 } };
	const char *rest;
	uint64_t v;

	if (config_value_digits(text, &v, &rest) != 0)
		return CONFIG_VALUE_BAD;
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (*rest != units[i].suffix)
			continue;
		if (v > UINT64_MAX >> units[i].shift)
			return CONFIG_VALUE_BAD;
		v <<= units[i].shift;
		rest++;
		break;
	}
	if (*rest != '\0')
		return CONFIG_VALUE_BAD;
	*ret_bytes = v;
	return 0;
}

int config_value_duration(const char *text, uint32_t *ret_ms)
{
	const char *rest;
	uint64_t v, factor;

	if (config_value_digits(text, &v, &rest) != 0)
		return CONFIG_VALUE_BAD;
	if (strcmp(rest, "ms") == 0)
		factor = 1;
	else if (strcmp(rest, "s") == 0)
		factor = 1000;
	else if (strcmp(rest, "m") == 0)
		factor = 60000;
	else if (*rest == '\0' && v == 0)
		factor = 0;
	else
		return CONFIG_VALUE_BAD;
	if (__builtin_mul_overflow(v, factor, &v) || v > UINT32_MAX)
		return CONFIG_VALUE_BAD;
	*ret_ms = (uint32_t)v;
	return 0;
}

int config_value_bool(const char *text, bool *ret)
{
	if (strcmp(text, "on") == 0 || strcmp(text, "true") == 0) {
		*ret = true;
		return 0;
	}
	if (strcmp(text, "off") == 0 || strcmp(text, "false") == 0) {
		*ret = false;
		return 0;
	}
	return CONFIG_VALUE_BAD;
}

static int config_value_hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int config_value_mac(const char *text, uint64_t *ret)
{
	uint64_t v = 0;

	if (strlen(text) != 17)
		return CONFIG_VALUE_BAD;
	for (unsigned i = 0; i < 17; i++) {
		int digit = config_value_hex(text[i]);

		if (i % 3 == 2 ? text[i] != ':' : digit < 0)
			return CONFIG_VALUE_BAD;
		if (i % 3 != 2)
			v = v << 4 | (unsigned)digit;
	}
	if (v == 0 || (v >> 40 & 1) != 0)
		return CONFIG_VALUE_BAD;
	*ret = v;
	return 0;
}

static bool config_value_is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool config_value_is_name(const char *text, size_t size)
{
	size_t len = strlen(text);

	if (len == 0 || len >= size || !config_value_is_alnum(text[0]))
		return false;
	for (size_t i = 1; i < len; i++) {
		if (!config_value_is_alnum(text[i]) && strchr("._-", text[i]) == NULL)
			return false;
	}
	return true;
}

static bool config_value_is_text(const char *text, size_t size)
{
	size_t len = strlen(text);

	if (len == 0 || len >= size)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < 0x20 || text[i] > 0x7e)
			return false;
	}
	return true;
}

static int config_key_set_string(void *field, const char *value)
{
	char *copy = strdup(value);

	if (copy == NULL)
		return -ENOMEM;
	free(*(char **)field);
	*(char **)field = copy;
	return 0;
}

/* Numbers: range and power of two, each with its own words. */
static int config_key_set_number(const char *flag, const struct config_key *key, uint32_t *field,
				 const char *value, struct failure *f)
{
	uint64_t v;

	if (config_value_number(value, &v) != 0)
		return failure_set(f, STATUS_USAGE, "%s %s=%s: not a number", flag, key->name,
				   value);
	if (v < key->min || v > key->max)
		return failure_set(f, STATUS_USAGE, "%s %s=%s: must be %u to %u", flag, key->name,
				   value, key->min, key->max);
	if (key->type == CONFIG_KEY_POWER && (v & (v - 1)) != 0)
		return failure_set(f, STATUS_USAGE, "%s %s=%s: not a power of two", flag,
				   key->name, value);
	*field = (uint32_t)v;
	return 0;
}

static int config_key_set(const char *flag, const struct config_key *key, void *target,
			  const char *value, struct failure *f)
{
	void *field = (char *)target + key->offset;
	const char *expected = NULL;
	bool on;

	switch (key->type) {
	case CONFIG_KEY_STRING:
		return config_key_set_string(field, value);
	case CONFIG_KEY_TEXT:
		if (!config_value_is_text(value, key->max))
			return failure_set(f, STATUS_USAGE,
					   "%s %s=%s: must be 1 to %u printable characters", flag,
					   key->name, value, key->max - 1);
		memcpy(field, value, strlen(value) + 1);
		return 0;
	case CONFIG_KEY_NAME:
		if (!config_value_is_name(value, key->max))
			return failure_set(f, STATUS_USAGE,
					   "%s %s=%s: must be 1 to %u letters, digits, '.', '_', "
					   "'-', starting with a letter or digit",
					   flag, key->name, value, key->max - 1);
		memcpy(field, value, strlen(value) + 1);
		return 0;
	case CONFIG_KEY_BOOL:
		if (config_value_bool(value, field) != 0)
			expected = "must be on or off";
		break;
	case CONFIG_KEY_NUMBER:
	case CONFIG_KEY_POWER:
		return config_key_set_number(flag, key, field, value, f);
	case CONFIG_KEY_SIZE:
		if (config_value_size(value, field) != 0)
			expected = "not a size (a number, then at most one of K, M, G, T)";
		break;
	case CONFIG_KEY_DURATION:
		if (config_value_duration(value, field) != 0)
			expected = "not a duration (a number, then one of ms, s, m)";
		break;
	case CONFIG_KEY_MAC:
		if (config_value_mac(value, field) != 0)
			expected = "not a MAC address of one station (aa:bb:cc:dd:ee:ff)";
		break;
	case CONFIG_KEY_UNSUPPORTED:
		if (config_value_bool(value, &on) != 0 || on)
			expected = "not supported yet";
		break;
	}
	if (expected != NULL)
		return failure_set(f, STATUS_USAGE, "%s %s=%s: %s", flag, key->name, value,
				   expected);
	return 0;
}

/*
 * Cut the next item off *at, in place: commas inside double quotes or brackets do not separate, the
 * quotes are removed. NULL when a quote is not closed.
 */
static char *config_item_next(char **at)
{
	char *start = *at, *from = start, *to = start;
	bool quoted = false, listed = false;

	for (; *from != '\0' && (quoted || listed || *from != ','); from++) {
		if (!quoted && (*from == '[' || *from == ']'))
			listed = *from == '[';
		if (*from == '"')
			quoted = !quoted;
		else
			*to++ = *from;
	}
	*at = *from == ',' ? from + 1 : NULL;
	*to = '\0';
	return quoted ? NULL : start;
}

static const struct config_key *config_key_find(const struct config_key *keys, const char *name)
{
	for (; keys->name != NULL; keys++) {
		if (strcmp(keys->name, name) == 0)
			return keys;
	}
	return NULL;
}

/* One "key=value"; @seen: one bit per row of @keys. */
static int config_item_apply(const char *flag, char *item, const struct config_key *keys,
			     void *target, uint64_t *seen, struct failure *f)
{
	char *value = strchr(item, '=');
	const struct config_key *key;

	if (value != NULL)
		*value++ = '\0';
	if (*item == '\0')
		return failure_set(f, STATUS_USAGE, "%s: a key is missing, key=value expected",
				   flag);
	key = config_key_find(keys, item);
	if (key == NULL && value == NULL) /* the first row is what one forgets to name */
		return failure_set(f, STATUS_USAGE, "%s %s: not KEY=VALUE; did you mean %s=%s?",
				   flag, item, keys->name, item);
	if (key == NULL)
		return failure_set(f, STATUS_USAGE, "%s %s: unknown key", flag, item);
	if (*seen & (1ull << (key - keys)))
		return failure_set(f, STATUS_USAGE, "%s %s: given twice", flag, item);
	if (value == NULL || *value == '\0')
		return failure_set(f, STATUS_USAGE, "%s %s: missing value", flag, item);
	*seen |= 1ull << (key - keys);
	return config_key_set(flag, key, target, value, f);
}

int config_keys_parse(const char *flag, const char *text, const struct config_key *keys,
		      void *target, struct failure *f)
{
	cleanup_free char *copy = strdup(text);
	uint64_t seen = 0;
	char *at = copy;
	int r;

	if (copy == NULL)
		return -ENOMEM;
	if (*text == '\0')
		return failure_set(f, STATUS_USAGE, "%s: missing value", flag);
	while (at != NULL) {
		char *item = config_item_next(&at);

		if (item == NULL)
			return failure_set(f, STATUS_USAGE, "%s: a quote is not closed", flag);
		r = config_item_apply(flag, item, keys, target, &seen, f);
		if (r != 0)
			return r;
	}
	for (const struct config_key *key = keys; key->name != NULL; key++) {
		if (key->required && (seen & (1ull << (key - keys))) == 0)
			return failure_set(f, STATUS_USAGE, "%s %s: required", flag, key->name);
	}
	return 0;
}
