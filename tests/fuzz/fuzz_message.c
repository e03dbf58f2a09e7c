/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One frame through the decoder. What is accepted has every value in its range, can be encoded,
 * and is the same message when it is decoded again.
 *
 * Input: how many descriptors came along (1 byte), then the frame.
 */
#include "ipc/message.h"
#include "tests/fuzz/fuzz.h"

static void check_texts(const struct message *m)
{
	switch ((unsigned)m->type) {
	case MESSAGE_CORE_FAILED:
	case MESSAGE_DEVICE_FAILED:
		fuzz_check(fuzz_is_text(m->failed.text, sizeof(m->failed.text)));
		break;
	case MESSAGE_CONDEMN:
	case MESSAGE_DEVICE_STATE:
	case MESSAGE_LOG:
		fuzz_check(fuzz_is_text(m->device_event.text, sizeof(m->device_event.text)));
		fuzz_check(m->device_event.slot < VM_DEVICES_MAX || m->type == MESSAGE_LOG);
		fuzz_check((unsigned)m->device_event.state < DEVICE_STATE_N_);
		break;
	case MESSAGE_VM_STATE:
		fuzz_check(fuzz_is_text(m->vm_state.text, sizeof(m->vm_state.text)));
		fuzz_check((unsigned)m->vm_state.state < VM_STATE_N_);
		break;
	case MESSAGE_CONTROL_REPLY:
		fuzz_check(fuzz_is_text(m->control_reply.text, sizeof(m->control_reply.text)));
		fuzz_check(m->control_reply.n_processes <= CONTROL_PROCESSES_MAX);
		fuzz_check(m->control_reply.n_counters <= CONTROL_COUNTERS_MAX);
		break;
	default:
		break;
	}
}

/* What the handlers rely on without looking again. */
static void check_device_values(const struct message *m)
{
	switch ((unsigned)m->type) {
	case MESSAGE_HELLO:
		fuzz_check(m->hello.n_queues >= 1 && m->hello.n_queues <= DEVICE_QUEUES_MAX);
		fuzz_check(m->hello.queue_size_max >= 1 &&
			   m->hello.queue_size_max <= DEVICE_QUEUE_SIZE_MAX);
		fuzz_check(m->hello.config_len <= DEVICE_CONFIG_SPACE_MAX);
		fuzz_check(m->hello.config_writable_len <= DEVICE_CONFIG_SPACE_MAX);
		fuzz_check(device_type_name(m->hello.type) != NULL);
		break;
	case MESSAGE_CONFIG_CHANGED:
	case MESSAGE_CONFIG_WRITTEN:
		fuzz_check(m->config.len <= DEVICE_CONFIG_SPACE_MAX);
		fuzz_check(m->config.offset <= DEVICE_CONFIG_SPACE_MAX - m->config.len);
		break;
	case MESSAGE_SETUP:
		fuzz_check(m->setup.n_queues >= 1 && m->setup.n_queues <= DEVICE_QUEUES_MAX);
		fuzz_check(m->setup.n_regions >= 1 &&
			   m->setup.n_regions <= GUEST_MEMORY_REGIONS_MAX);
		break;
	case MESSAGE_ENDPOINT:
	case MESSAGE_ENDPOINT_STALLED:
		fuzz_check(m->endpoint.slot < VM_DEVICES_MAX);
		break;
	case MESSAGE_ENABLE_QUEUE:
		fuzz_check(m->enable_queue.index < DEVICE_QUEUES_MAX);
		fuzz_check(m->enable_queue.size >= 1 &&
			   m->enable_queue.size <= DEVICE_QUEUE_SIZE_MAX);
		break;
	case MESSAGE_REPLY:
		fuzz_check(m->reply.result >= 0 && m->reply.result <= 4095);
		break;
	case MESSAGE_COUNTERS:
		fuzz_check(m->counters.n <= DEVICE_COUNTERS_MAX);
		fuzz_check(m->counters.slot < VM_DEVICES_MAX);
		break;
	case MESSAGE_DEVICE_START:
		fuzz_check(m->device_start.slot < VM_DEVICES_MAX);
		fuzz_check(m->device_start.n_fds <= FDSET_MAX - 3);
		fuzz_check(m->device_start.n_cpus >= 1 && m->device_start.n_cpus <= VM_CPUS_MAX);
		break;
	case MESSAGE_CORE_START:
		fuzz_check(m->core_start.config.n_devices <= VM_DEVICES_MAX);
		fuzz_check(m->core_start.config.n_cpus >= 1 &&
			   m->core_start.config.n_cpus <= VM_CPUS_MAX);
		break;
	default:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct message first, again;
	static uint8_t frame[MESSAGE_FRAME_MAX];
	struct fuzz_reader in = { data, size };
	uint32_t n_fds = fuzz_u8(&in);
	size_t len;

	/* What decoding leaves alone must compare equal. */
	memset(&first, 0, sizeof(first));
	memset(&again, 0, sizeof(again));
	if (message_decode(in.at, in.left, n_fds, &first) != 0) {
		fuzz_check(first.type == MESSAGE_NONE);
		return 0;
	}
	fuzz_check(in.left <= MESSAGE_FRAME_MAX);
	fuzz_check(first.type > MESSAGE_NONE && first.type < MESSAGE_N_);
	fuzz_check(n_fds == message_n_fds(&first) && n_fds <= FDSET_MAX);
	check_texts(&first);
	check_device_values(&first);
	fuzz_check(message_encode(&first, frame, &len) == 0);
	fuzz_check(len == in.left); /* one encoding, but for the order of fields */
	fuzz_check(message_decode(frame, len, n_fds, &again) == 0);
	fuzz_check(memcmp(&first, &again, sizeof(first)) == 0);
	return 0;
}
