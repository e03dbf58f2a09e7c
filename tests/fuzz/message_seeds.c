/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seeds that only the encoder can write: valid frames of every message type, as they are for
 * fuzz_message, and in sequences with their number of descriptors for fuzz_channel.
 *
 *	message_seeds FOLDER		writes FOLDER/message/TYPE-N and FOLDER/channel/TYPE-N
 */
#include <stdio.h>

#include "tests/unit/random_message.h"

#define PER_TYPE 3u
#define TRIES 200u
#define SMALL 600u /* bytes: large frames slow a fuzzer down and teach it nothing */

static bool put(const char *folder, const char *target, const char *type, unsigned i,
		const uint8_t *head, size_t head_len, const uint8_t *frame, size_t len)
{
	char path[4096];
	FILE *file;
	bool good;

	(void)snprintf(path, sizeof(path), "%s/%s/%s-%u", folder, target, type, i);
	file = fopen(path, "wb");
	if (file == NULL)
		return false;
	good = fwrite(head, 1, head_len, file) == head_len && fwrite(frame, 1, len, file) == len;
	return fclose(file) == 0 && good;
}

/* The smallest of many, so that the seeds say much in few bytes; the first ones are any. */
static size_t make(enum message_type type, unsigned i, uint8_t *ret_frame, struct message *ret)
{
	static uint8_t frame[MESSAGE_FRAME_MAX];
	uint64_t state = 0x9e3779b97f4a7c15u + type * 1000u + i * 7u;
	size_t best = SIZE_MAX;

	for (unsigned k = 0; k < TRIES && best > SMALL; k++) {
		static struct message m;
		size_t len;

		random_message(&state, type, &m);
		if (message_encode(&m, frame, &len) != 0)
			return 0;
		if (len >= best)
			continue;
		best = len;
		*ret = m;
		memcpy(ret_frame, frame, len);
	}
	return best;
}

int main(int argc, char **argv)
{
	static uint8_t frame[MESSAGE_FRAME_MAX];
	static struct message m;

	if (argc != 2) {
		fprintf(stderr, "usage: message_seeds FOLDER\n");
		return 2;
	}
	for (enum message_type type = MESSAGE_NONE + 1; type < MESSAGE_N_; type++) {
		for (unsigned i = 0; i < PER_TYPE; i++) {
			size_t len = make(type, i, frame, &m);
			uint8_t n_fds = (uint8_t)message_n_fds(&m);
			uint8_t head[3] = { 0x40 | n_fds, (uint8_t)len, (uint8_t)(len >> 8) };

			if (len == 0 ||
			    !put(argv[1], "message", message_type_name(type), i, &n_fds, 1, frame,
				 len) ||
			    !put(argv[1], "channel", message_type_name(type), i, head, sizeof(head),
				 frame, len)) {
				fprintf(stderr, "message_seeds: %s\n", message_type_name(type));
				return 1;
			}
		}
	}
	return 0;
}
