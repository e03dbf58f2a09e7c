/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What encoder and decoder share: message names, fd counts and the checks of single values.
 * Runs in every process; the values may come from a hostile peer.
 */
#include "ipc/message.h"

#include <string.h>

#include "ipc/message_codec.h"

/* /dev/kvm, the kernel, the UID lock, the warden's pidfd: always. */
#define CORE_START_FDS 4u

const char *message_type_name(enum message_type type)
{
	const struct codec_type *t = codec_type_get(type);

	return t != NULL ? t->name : "unknown";
}

uint32_t message_n_fds(const struct message *m)
{
	if (m->type == MESSAGE_DEVICE_START)
		return m->device_start.n_fds + 1u + m->device_start.has_root +
		       m->device_start.has_network;
	if (m->type == MESSAGE_CORE_START)
		return CORE_START_FDS + m->core_start.has_initramfs +
		       m->core_start.has_serial_in + m->core_start.has_serial_out;
	if (m->type == MESSAGE_SETUP)
		return m->setup.n_regions + 1u + (m->setup.is_behind_iommu ? 3u : 0) +
		       (m->setup.n_endpoints > 0 ? 2u : 0);
	if (m->type == MESSAGE_ENDPOINT)
		return 1;
	if (m->type == MESSAGE_ENABLE_QUEUE || m->type == MESSAGE_NAMESPACES)
		return 2;
	if (m->type == MESSAGE_VSOCK_KEEP || m->type == MESSAGE_VSOCK_KEPT)
		return m->vsock_sockets.n;
	if (m->type == MESSAGE_VSOCK_CONNECTED)
		return m->vsock_connect.result == 0;
	if (m->type == MESSAGE_CHILD_ADDED || m->type == MESSAGE_CHILD_OFFERED)
		return 1;
	if (m->type == MESSAGE_CONTROL_REQUEST)
		return m->control_request.has_program;
	return 0;
}

bool codec_number_ok(const struct codec_field *f, uint64_t v)
{
	if (f->kind == CODEC_KIND_ENUM)
		return v < 64 && (f->max >> v & 1) != 0;
	return v >= f->min && v <= f->max;
}

static bool is_alphanumeric(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool codec_name_ok(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		bool punctuation = s[i] == '.' || s[i] == '_' || s[i] == '-';

		if (!is_alphanumeric(s[i]) && !(i > 0 && punctuation))
			return false;
	}
	return true;
}

bool codec_string_ok(const struct codec_field *f, const char *s, size_t len)
{
	if (len < f->min || len >= f->cap)
		return false;
	return f->kind != CODEC_KIND_NAME || codec_name_ok(s, len);
}

bool codec_wanted(const struct codec_field *f, const void *plain)
{
	uint32_t selector;

	if (f->plain_n == CODEC_ALWAYS)
		return true;
	memcpy(&selector, codec_at(plain, f->plain_n), sizeof(selector));
	return selector == f->max;
}
