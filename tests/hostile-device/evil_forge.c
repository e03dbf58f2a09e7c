/* SPDX-License-Identifier: Apache-2.0 */
/* Messages by which core and warden replace, end and debug processes: not for a device to send. */
#include "evil.h"

static enum evil_next forge(struct evil *e, const struct message *m, size_t n_fds)
{
	const int fds[] = { EVIL_CHANNEL_FD, EVIL_CHANNEL_FD };

	evil_send(e, m, fds, n_fds);
	return NEXT_GO_ON;
}

/* About the other disk, whose process is of generation 1. */
#define FORGE_CHILD(name, kind, n_fds)                                                             \
	static enum evil_next act_##name(struct evil *e)                                           \
	{                                                                                          \
		const struct message m = { .type = (kind),                                         \
					   .child = { .slot = 1,                                   \
						      .generation = 1,                             \
						      .type = DEVICE_TYPE_BLK,                     \
						      .has_successor = true } };                   \
                                                                                                   \
		return forge(e, &m, n_fds);                                                        \
	}

FORGE_CHILD(child_offered, MESSAGE_CHILD_OFFERED, 1)
FORGE_CHILD(child_released, MESSAGE_CHILD_RELEASED, 0)
FORGE_CHILD(child_traced, MESSAGE_CHILD_TRACED, 0)
FORGE_CHILD(drain, MESSAGE_DRAIN, 0)

#define FORGE_EVENT(name, kind)                                                                    \
	static enum evil_next act_##name(struct evil *e)                                           \
	{                                                                                          \
		const struct message m = { .type = (kind),                                         \
					   .device_event = { .slot = 1,                            \
							     .generation = 1,                      \
							     .state = DEVICE_STATE_FAILED,         \
							     .text = "forged" } };                 \
                                                                                                   \
		return forge(e, &m, 0);                                                            \
	}

FORGE_EVENT(stalled, MESSAGE_STALLED)
FORGE_EVENT(refused, MESSAGE_REFUSED)
FORGE_EVENT(revive, MESSAGE_REVIVE)
FORGE_EVENT(device_state, MESSAGE_DEVICE_STATE)

#define FORGE_PLAIN(name, kind, n_fds)                                                             \
	static enum evil_next act_##name(struct evil *e)                                           \
	{                                                                                          \
		const struct message m = { .type = (kind) };                                       \
                                                                                                   \
		return forge(e, &m, n_fds);                                                        \
	}

FORGE_PLAIN(namespaces, MESSAGE_NAMESPACES, 2)
FORGE_PLAIN(adjust, MESSAGE_ADJUST, 0)
FORGE_PLAIN(endpoint, MESSAGE_ENDPOINT, 1)
FORGE_PLAIN(endpoint_stalled, MESSAGE_ENDPOINT_STALLED, 0)
FORGE_PLAIN(vsock_connect, MESSAGE_VSOCK_CONNECT, 0)
FORGE_PLAIN(control_reply, MESSAGE_CONTROL_REPLY, 0)

const struct evil_action evil_forge_actions[] = {
	{ "child-offered", act_child_offered, true },
	{ "child-released", act_child_released, true },
	{ "child-traced", act_child_traced, true },
	{ "drain", act_drain, true },
	{ "stalled", act_stalled, true },
	{ "refused", act_refused, true },
	{ "revive", act_revive, true },
	{ "device-state", act_device_state, true },
	{ "namespaces", act_namespaces, true },
	{ "adjust", act_adjust, true },
	{ "endpoint", act_endpoint, true },
	{ "endpoint-stalled", act_endpoint_stalled, true },
	{ "vsock-connect", act_vsock_connect, true },
	{ "control-reply", act_control_reply, true },
	{ 0 },
};
