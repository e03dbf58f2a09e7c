/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The core's copy of a device's config space: vCPUs read it without asking the device, the device
 * changes it by message, and what the driver writes is forwarded. Runs in the core on any thread.
 *
 * Offsets and values of vCPUs are the guest's, messages are the device's: both hostile.
 */
#include <string.h>

#include "vmm-core/transport/device_link_internal.h"

/* How many of @size bytes at @offset lie inside config space. */
static uint32_t bytes_inside(const struct link_config *config, uint32_t offset, unsigned size)
{
	if (offset >= config->len)
		return 0;
	return size < config->len - offset ? size : config->len - offset;
}

void link_config_succeed(struct device_link *link, const uint8_t *bytes)
{
	struct link_config *config = &link->config;

	for (uint32_t i = 0; i < config->len; i++) {
		config->device[i] = bytes[i];
		if (config->written && config->writable[i])
			continue; /* the driver's word; link_config_replay() passes it on */
		if (config->now[i] != bytes[i])
			link_raise(link, LINK_PENDING_CONFIG);
		config->now[i] = bytes[i];
	}
	config->generation++;
}

void link_config_adopt(struct device_link *link, const struct message_hello *hello)
{
	struct link_config *config = &link->config;

	if (config->len == 0) { /* the first process: nobody has read it yet */
		config->len = hello->config_len;
		memcpy(config->now, hello->config, config->len);
		memcpy(config->writable, hello->config_writable, hello->config_writable_len);
	}
	link_config_succeed(link, hello->config);
}

static int send_written(struct device_link *link, uint32_t offset, uint32_t len)
{
	struct message m = link_message(link, MESSAGE_CONFIG_WRITTEN);

	link->touched = true;
	m.config.offset = offset;
	m.config.len = len;
	memcpy(m.config.data, link->config.now + offset, len);
	return link_send(link, &m, NULL);
}

int link_config_replay(struct device_link *link)
{
	struct link_config *config = &link->config;
	uint32_t start = 0;

	if (!config->written)
		return 0;
	for (uint32_t i = 0; i <= config->len; i++) {
		if (i < config->len && config->writable[i])
			continue;
		if (i > start && send_written(link, start, i - start) != 0)
			return DEVICE_LINK_GONE;
		start = i + 1;
	}
	return 0;
}

void link_config_reset(struct device_link *link)
{
	struct link_config *config = &link->config;

	if (!config->written)
		return;
	memcpy(config->now, config->device, config->len);
	config->written = false;
	config->generation++;
}

int link_on_config_changed(void *ctx, const struct message *m, struct fdset *fds)
{
	struct device_link *link = ctx;
	struct link_config *config = &link->config;
	uint32_t offset = m->config.offset;
	uint32_t len = m->config.len;

	(void)fds;
	if (offset > config->len || len > config->len - offset) {
		link_fail(link, "CONFIG_CHANGED leaves config space");
		return 0;
	}
	memcpy(config->now + offset, m->config.data, len);
	memcpy(config->device + offset, m->config.data, len);
	config->generation++;
	link_raise(link, LINK_PENDING_CONFIG);
	return 0;
}

uint64_t device_link_config_read(struct device_link *link, uint32_t offset, unsigned size)
{
	uint8_t bytes[sizeof(uint64_t)] = { 0 };
	uint64_t value;

	if (size > sizeof(bytes))
		return 0;
	(void)pthread_mutex_lock(&link->lock);
	memcpy(bytes, link->config.now + (offset < link->config.len ? offset : 0),
	       bytes_inside(&link->config, offset, size));
	(void)pthread_mutex_unlock(&link->lock);
	memcpy(&value, bytes, sizeof(value)); /* little-endian guest and host */
	return value;
}

void device_link_config_write(struct device_link *link, uint32_t offset, unsigned size,
			      uint64_t value)
{
	struct link_config *config = &link->config;
	uint32_t first = UINT32_MAX, end = 0;

	(void)pthread_mutex_lock(&link->lock);
	if (size > sizeof(value) || link->phase == LINK_EMPTY || link->phase == LINK_FAILED)
		size = 0;
	size = bytes_inside(config, offset, size);
	for (uint32_t i = offset; i < offset + size; i++, value >>= 8) {
		if (!config->writable[i])
			continue;
		config->now[i] = (uint8_t)((config->now[i] & ~config->writable[i]) |
					   (value & config->writable[i]));
		first = i < first ? i : first;
		end = i + 1;
	}
	if (end != 0) {
		config->written = true;
		config->generation++;
		/*
		 * While a successor starts, link_config_replay() will send it. A guest that
		 * writes faster than the device reads gets its own device condemned.
		 */
		if (link_is_up(link))
			(void)send_written(link, first, end - first);
	}
	(void)pthread_mutex_unlock(&link->lock);
}

uint32_t device_link_config_generation(struct device_link *link)
{
	uint32_t generation;

	(void)pthread_mutex_lock(&link->lock);
	generation = link->config.generation;
	(void)pthread_mutex_unlock(&link->lock);
	return generation;
}
