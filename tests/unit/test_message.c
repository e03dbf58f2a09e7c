/* SPDX-License-Identifier: Apache-2.0 */
/* The codec on messages of our own: what goes in comes out, what is out of range does not go. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "ipc/message.h"
#include "random_message.h"

#define ROUNDS 60

static uint8_t frame[MESSAGE_FRAME_MAX];
static struct message in, out, again;

static int decode_copy(size_t len, uint32_t n_fds, struct message *ret)
{
	uint8_t *exact = malloc(len); /* of the exact length, so that a sanitizer sees an overrun */
	int r;

	cr_assert_not_null(exact);
	memcpy(exact, frame, len);
	r = message_decode(exact, len, n_fds, ret);
	free(exact);
	return r;
}

Test(message, every_type_survives_a_round_trip)
{
	for (enum message_type t = MESSAGE_NONE + 1; t < MESSAGE_N_; t++) {
		for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
			uint64_t state = seed * 1000 + t;
			size_t len = 0;

			random_message(&state, t, &in);
			cr_assert_eq(message_encode(&in, frame, &len), 0, "%s seed %lu",
				     message_type_name(t), seed);
			memset(&out, 0, sizeof(out));
			cr_assert_eq(decode_copy(len, message_n_fds(&in), &out), 0, "%s seed %lu",
				     message_type_name(t), seed);
			cr_assert_eq(memcmp(&in, &out, sizeof(in)), 0, "%s seed %lu",
				     message_type_name(t), seed);
		}
	}
}

Test(message, largest_reply_fits_a_frame)
{
	size_t len = 0;

	in = (struct message){ .type = MESSAGE_CONTROL_REPLY };
	in.control_reply.n_processes = CONTROL_PROCESSES_MAX;
	for (unsigned i = 0; i < CONTROL_PROCESSES_MAX; i++) {
		struct control_process *p = &in.control_reply.processes[i];

		memset(p->name, 'n', sizeof(p->name) - 1);
		memset(p->role, 'r', sizeof(p->role) - 1);
		memset(p->state, 's', sizeof(p->state) - 1);
		memset(p->last_exit, 'e', sizeof(p->last_exit) - 1);
		memset(p->address, 'a', sizeof(p->address) - 1);
		p->pid = INT32_MAX;
		p->restarts = UINT32_MAX;
		p->last_stall_us = p->last_stall_at = UINT64_MAX;
	}
	in.control_reply.n_counters = CONTROL_COUNTERS_MAX;
	for (unsigned i = 0; i < CONTROL_COUNTERS_MAX; i++) {
		memset(in.control_reply.counters[i].device, 'd', VM_ID_MAX - 1);
		memset(in.control_reply.counters[i].name, 'c', 31);
		in.control_reply.counters[i].value = UINT64_MAX;
	}
	cr_assert_eq(message_encode(&in, frame, &len), 0);
	cr_assert_eq(decode_copy(len, 0, &out), 0);
	cr_assert_eq(memcmp(&in, &out, sizeof(in)), 0);
}

Test(message, every_truncation_is_malformed_or_a_shorter_message)
{
	for (enum message_type t = MESSAGE_NONE + 1; t < MESSAGE_N_; t++) {
		uint64_t state = t;
		size_t len = 0;

		random_message(&state, t, &in);
		cr_assert_eq(message_encode(&in, frame, &len), 0);
		for (size_t cut = 0; cut < len; cut++) {
			int r = decode_copy(cut, message_n_fds(&in), &out);

			cr_assert_eq(r, MESSAGE_MALFORMED, "%s cut at %zu of %zu",
				     message_type_name(t), cut, len);
			cr_assert_eq(out.type, MESSAGE_NONE);
		}
	}
}

/* Whatever a flipped frame decodes to is within all ranges: our own encoder accepts it. */
Test(message, mutated_frames_never_decode_to_something_out_of_range)
{
	unsigned accepted = 0;

	for (uint64_t seed = 1; seed <= 400; seed++) {
		for (enum message_type t = MESSAGE_NONE + 1; t < MESSAGE_N_; t++) {
			uint64_t state = seed << 8 | t;
			size_t len = 0, len2 = 0;

			random_message(&state, t, &in);
			cr_assert_eq(message_encode(&in, frame, &len), 0);
			for (uint32_t n = random_in(&state, 1, 3); n > 0; n--)
				frame[random_in(&state, 0, (uint32_t)len - 1)] =
					(uint8_t)random_in(&state, 0, 255);
			if (decode_copy(len, message_n_fds(&in), &out) != 0)
				continue;
			accepted++;
			cr_assert_eq(message_encode(&out, frame, &len2), 0, "%s seed %lu",
				     message_type_name(out.type), seed);
			cr_assert_eq(decode_copy(len2, message_n_fds(&out), &again), 0);
		}
	}
	cr_assert_gt(accepted, 0); /* else this test shows nothing */
}

Test(message, random_bytes_are_malformed)
{
	uint64_t state = 42;

	for (unsigned i = 0; i < 3000; i++) {
		uint32_t len = random_in(&state, 1, 300);

		random_bytes(&state, frame, len);
		cr_assert_eq(decode_copy(len, 0, &out), MESSAGE_MALFORMED);
	}
}

Test(message, wrong_number_of_fds_is_malformed)
{
	for (enum message_type t = MESSAGE_NONE + 1; t < MESSAGE_N_; t++) {
		uint64_t state = t;
		size_t len = 0;
		uint32_t n;

		random_message(&state, t, &in);
		n = message_n_fds(&in);
		cr_assert_eq(message_encode(&in, frame, &len), 0);
		cr_assert_eq(message_decode(frame, len, n + 1, &out), MESSAGE_MALFORMED);
		cr_assert_eq(out.type, MESSAGE_NONE);
		cr_assert_eq(message_decode(frame, len, n - 1, &out), MESSAGE_MALFORMED);
		cr_assert_eq(message_decode(frame, len, n, &out), 0);
	}
}

Test(message, fd_counts_follow_the_content)
{
	in = (struct message){ .type = MESSAGE_CORE_START };
	cr_expect_eq(message_n_fds(&in), 4);
	in.core_start.has_initramfs = true;
	in.core_start.has_serial_out = true;
	cr_expect_eq(message_n_fds(&in), 6);
	in = (struct message){ .type = MESSAGE_NAMESPACES };
	cr_expect_eq(message_n_fds(&in), 2);
	in = (struct message){ .type = MESSAGE_DEVICE_START, .device_start.n_fds = 2 };
	cr_expect_eq(message_n_fds(&in), 3);
	in.device_start.has_root = true;
	in.device_start.has_network = true;
	cr_expect_eq(message_n_fds(&in), 5);
	in = (struct message){ .type = MESSAGE_SETUP, .setup.n_regions = 2 };
	cr_expect_eq(message_n_fds(&in), 3);
	in = (struct message){ .type = MESSAGE_ENABLE_QUEUE };
	cr_expect_eq(message_n_fds(&in), 2);
	in = (struct message){ .type = MESSAGE_CHILD_ADDED };
	cr_expect_eq(message_n_fds(&in), 1);
	in = (struct message){ .type = MESSAGE_CHILD_OFFERED };
	cr_expect_eq(message_n_fds(&in), 1);
	in = (struct message){ .type = MESSAGE_CHILD_GONE };
	cr_expect_eq(message_n_fds(&in), 0);
	in = (struct message){ .type = MESSAGE_CONTROL_REQUEST };
	cr_expect_eq(message_n_fds(&in), 0);
	in.control_request.has_program = true;
	cr_expect_eq(message_n_fds(&in), 1);
}

Test(message, paths_do_not_travel)
{
	static char path[] = "/secret/place";
	uint64_t state = 3;
	size_t len = 0;

	random_message(&state, MESSAGE_CORE_START, &in);
	in.core_start.config.n_devices = 1;
	in.core_start.config.devices[0] = (struct device_config){ .type = DEVICE_TYPE_BLK,
								  .id = "blk0" };
	in.core_start.config.devices[0].blk = (struct blk_config){ .num_queues = 1,
								   .queue_size = 2 };
	in.core_start.config.devices[0].path = path;
	in.core_start.config.kernel = path;
	in.core_start.config.initramfs = path;
	in.core_start.config.run_dir = path;
	in.core_start.config.serial_path = path;
	in.core_start.config.log_file = path;
	cr_assert_eq(message_encode(&in, frame, &len), 0);
	cr_assert_null(memmem(frame, len, "secret", 6));
	memset(&out, 0xff, sizeof(out));
	cr_assert_eq(message_decode(frame, len, message_n_fds(&in), &out), 0);
	cr_assert_null(out.core_start.config.kernel);
	cr_assert_null(out.core_start.config.log_file);
	cr_assert_null(out.core_start.config.devices[0].path);
}

Test(message, text_arrives_printable_and_cmdline_as_it_is)
{
	uint64_t state = 3;
	size_t len = 0;

	in = (struct message){ .type = MESSAGE_DEVICE_FAILED };
	strcpy(in.failed.text, "a\x1b[2J\n\x7f\xc3\xa4z");
	cr_assert_eq(message_encode(&in, frame, &len), 0);
	cr_assert_eq(message_decode(frame, len, 0, &out), 0);
	cr_assert_str_eq(out.failed.text, "a?[2J????z");
	random_message(&state, MESSAGE_CORE_START, &in);
	strcpy(in.core_start.config.cmdline, "x=\xc3\xa4\t");
	cr_assert_eq(message_encode(&in, frame, &len), 0);
	cr_assert_eq(message_decode(frame, len, message_n_fds(&in), &out), 0);
	cr_assert_str_eq(out.core_start.config.cmdline, "x=\xc3\xa4\t");
}

static void refuse(const char *what)
{
	size_t len = 0;

	cr_expect_eq(message_encode(&in, frame, &len), -EINVAL, "%s was encoded", what);
}

/* Makes a valid message, breaks one field, expects a refusal. */
#define REFUSE(t, field, value)                                                                   \
	do {                                                                                      \
		uint64_t state_ = 5;                                                              \
		random_message(&state_, (t), &in);                                                \
		in.field = (value);                                                               \
		refuse(#field " = " #value);                                                      \
	} while (0)

Test(message, encoder_refuses_numbers_out_of_range)
{
	REFUSE(MESSAGE_REPLY, type, MESSAGE_NONE);
	REFUSE(MESSAGE_REPLY, type, MESSAGE_N_);
	REFUSE(MESSAGE_REPLY, reply.result, -EIO);
	REFUSE(MESSAGE_REPLY, reply.result, 4096);
	REFUSE(MESSAGE_DEVICE_START, device_start.uid, UINT32_MAX);
	REFUSE(MESSAGE_DEVICE_START, device_start.gid, UINT32_MAX);
	REFUSE(MESSAGE_DEVICE_START, device_start.slot, VM_DEVICES_MAX);
	REFUSE(MESSAGE_DEVICE_START, device_start.n_cpus, 0);
	REFUSE(MESSAGE_DEVICE_START, device_start.n_cpus, VM_CPUS_MAX + 1);
	REFUSE(MESSAGE_DEVICE_START, device_start.n_fds, FDSET_MAX);
	REFUSE(MESSAGE_DEVICE_START, device_start.n_ring, RING_PARAMS_N - 1);
	REFUSE(MESSAGE_DEVICE_START, device_start.config.type, 5);
	REFUSE(MESSAGE_HELLO, hello.type, 0);
	REFUSE(MESSAGE_HELLO, hello.type, 64 + DEVICE_TYPE_BLK);
	REFUSE(MESSAGE_HELLO, hello.n_queues, 0);
	REFUSE(MESSAGE_HELLO, hello.n_queues, DEVICE_QUEUES_MAX + 1);
	REFUSE(MESSAGE_HELLO, hello.state_size, DEVICE_STATE_MAX + 1);
	REFUSE(MESSAGE_HELLO, hello.queue_size_max, 0);
	REFUSE(MESSAGE_HELLO, hello.queue_size_max, 3);
	REFUSE(MESSAGE_HELLO, hello.queue_size_max, 2 * DEVICE_QUEUE_SIZE_MAX);
	REFUSE(MESSAGE_HELLO, hello.config_len, DEVICE_CONFIG_SPACE_MAX + 1);
	REFUSE(MESSAGE_HELLO, hello.config_writable_len, DEVICE_CONFIG_SPACE_MAX + 1);
	REFUSE(MESSAGE_SETUP, setup.n_queues, 0);
	REFUSE(MESSAGE_SETUP, setup.n_regions, 0);
	REFUSE(MESSAGE_SETUP, setup.n_regions, GUEST_MEMORY_REGIONS_MAX + 1);
	REFUSE(MESSAGE_SETUP, setup.regions[0].size, 0);
	REFUSE(MESSAGE_SETUP, setup.regions[0].size, GUEST_PAGE_SIZE + 1);
	REFUSE(MESSAGE_SETUP, setup.regions[0].gpa, 1);
	REFUSE(MESSAGE_SETUP, setup.n_endpoints, VM_DEVICES_MAX + 1);
	REFUSE(MESSAGE_ENDPOINT, endpoint.slot, VM_DEVICES_MAX);
	REFUSE(MESSAGE_ENDPOINT_STALLED, endpoint.slot, VM_DEVICES_MAX);
	REFUSE(MESSAGE_ENABLE_QUEUE, enable_queue.index, DEVICE_QUEUES_MAX);
	REFUSE(MESSAGE_ENABLE_QUEUE, enable_queue.size, 0);
	REFUSE(MESSAGE_ENABLE_QUEUE, enable_queue.size, 6);
	REFUSE(MESSAGE_DISABLE_QUEUE, disable_queue.index, DEVICE_QUEUES_MAX);
	REFUSE(MESSAGE_CONFIG_WRITTEN, config.offset, DEVICE_CONFIG_SPACE_MAX + 1);
	REFUSE(MESSAGE_CONFIG_WRITTEN, config.len, DEVICE_CONFIG_SPACE_MAX + 1);
	REFUSE(MESSAGE_CORE_START, core_start.config.n_cpus, 0);
	REFUSE(MESSAGE_CORE_START, core_start.config.memory_size, 0);
	REFUSE(MESSAGE_CORE_START, core_start.config.memory_size, 4097);
	REFUSE(MESSAGE_CORE_START, core_start.config.serial, SERIAL_FILE + 1);
	REFUSE(MESSAGE_CORE_START, core_start.config.n_devices, VM_DEVICES_MAX + 1);
	REFUSE(MESSAGE_CHILD_ADDED, child.slot, VM_DEVICES_MAX);
	REFUSE(MESSAGE_GET_COUNTERS, counters.slot, VM_DEVICES_MAX);
	REFUSE(MESSAGE_COUNTERS, counters.n, DEVICE_COUNTERS_MAX + 1);
	REFUSE(MESSAGE_VM_STATE, vm_state.state, VM_STATE_N_);
	REFUSE(MESSAGE_CONDEMN, device_event.slot, MESSAGE_SLOT_CORE);
	REFUSE(MESSAGE_LOG, device_event.slot, VM_DEVICES_MAX);
	REFUSE(MESSAGE_LOG, device_event.level, LOG_LEVEL_DEBUG + 1);
	REFUSE(MESSAGE_DEVICE_STATE, device_event.state, DEVICE_STATE_N_);
	REFUSE(MESSAGE_CONTROL_REQUEST, control_request.command, 0);
	REFUSE(MESSAGE_CONTROL_REQUEST, control_request.command, CONTROL_N_);
	REFUSE(MESSAGE_CONTROL_REPLY, control_reply.n_processes, CONTROL_PROCESSES_MAX + 1);
	REFUSE(MESSAGE_CONTROL_REPLY, control_reply.n_counters, CONTROL_COUNTERS_MAX + 1);
}

/* Fills the whole array, so that no NUL is left, or stores one string. */
#define REFUSE_TEXT(t, field)                                                                     \
	do {                                                                                      \
		uint64_t state_ = 5;                                                              \
		random_message(&state_, (t), &in);                                                \
		memset(in.field, 'x', sizeof(in.field));                                          \
		refuse(#field " without NUL");                                                    \
	} while (0)
#define REFUSE_NAME(t, field, name)                                                               \
	do {                                                                                      \
		uint64_t state_ = 5;                                                              \
		random_message(&state_, (t), &in);                                                \
		(void)snprintf(in.field, sizeof(in.field), "%s", (name));                         \
		refuse(#field " = " #name);                                                       \
	} while (0)

Test(message, encoder_refuses_strings_out_of_bounds_or_alphabet)
{
	REFUSE_TEXT(MESSAGE_CORE_START, core_start.config.cmdline);
	REFUSE_TEXT(MESSAGE_CORE_START, core_start.config.name);
	REFUSE_TEXT(MESSAGE_VM_STATE, vm_state.text);
	REFUSE_TEXT(MESSAGE_CONDEMN, device_event.text);
	REFUSE_TEXT(MESSAGE_CORE_FAILED, failed.text);
	REFUSE_TEXT(MESSAGE_CONTROL_REQUEST, control_request.device);
	REFUSE_TEXT(MESSAGE_CONTROL_REPLY, control_reply.vm_state);
	REFUSE_NAME(MESSAGE_CORE_START, core_start.config.name, "");
	REFUSE_NAME(MESSAGE_CORE_START, core_start.config.name, "../etc");
	REFUSE_NAME(MESSAGE_CORE_START, core_start.config.name, "-x");
	REFUSE_NAME(MESSAGE_CORE_START, core_start.config.name, "a/b");
	REFUSE_NAME(MESSAGE_DEVICE_START, device_start.config.id, "");
	REFUSE_NAME(MESSAGE_DEVICE_START, device_start.config.id, "a b");
	REFUSE_NAME(MESSAGE_CONTROL_REQUEST, control_request.device, "_a");
	REFUSE_NAME(MESSAGE_CONTROL_REQUEST, control_request.device, "bl\xc3\xa4");
}

Test(message, names_of_types)
{
	cr_expect_str_eq(message_type_name(MESSAGE_HELLO), "HELLO");
	cr_expect_str_eq(message_type_name(MESSAGE_NONE), "unknown");
	cr_expect_str_eq(message_type_name((enum message_type)1000), "unknown");
}
