/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The core's side of a device page that its device writes as it likes, also while it is read.
 *
 * Input: the bytes of the page's log from its head on, their number first (2 bytes), then steps: a
 * read of the log, an acknowledgement, or a store anywhere into header and log.
 */
#include "ipc/device_page.h"

#include "tests/fuzz/fuzz.h"

#define FRONT DEVICE_PAGE_QUEUES_OFFSET /* header and log */
#define STEPS_MAX 512u
#define INTERRUPTS (DEVICE_INTERRUPT_QUEUE | DEVICE_INTERRUPT_CONFIG)

static struct device_page *page;

static void read_log(uint32_t *cursor)
{
	enum log_level level = LOG_LEVEL_DEBUG;
	uint32_t old = *cursor, newest = page->log.next_seq - 1;
	char *line = malloc(LOG_LINE_MAX); /* of the exact length, so that a sanitizer sees more */

	fuzz_check(line != NULL);
	if (device_page_log_read(page, cursor, &level, line)) {
		fuzz_check(fuzz_is_text(line, LOG_LINE_MAX));
		fuzz_check(level >= LOG_LEVEL_ERROR && level <= LOG_LEVEL_DEBUG);
		fuzz_check(*cursor != old || newest - old > DEVICE_LOG_RECORDS);
	} else {
		fuzz_check(*cursor == newest); /* nothing is left behind */
	}
	free(line);
}

static void acknowledge(uint32_t bits)
{
	uint32_t had = device_page_interrupts(page);

	fuzz_check((had & ~INTERRUPTS) == 0);
	device_page_acknowledge(page, bits);
	fuzz_check(device_page_interrupts(page) == (had & ~bits));
}

static void store(uint16_t at, uint64_t v)
{
	memcpy((uint8_t *)page + at % (FRONT - sizeof(v)), &v, sizeof(v));
}

/* A well-behaved device, whatever the page says by now. */
static void write_log(uint8_t what)
{
	char line[LOG_LINE_MAX + 64];

	memset(line, what, sizeof(line));
	line[what % sizeof(line)] = '\0';
	line[sizeof(line) - 1] = '\0';
	device_page_log_write(page, what & 3, line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_reader in = { data, size };
	uint32_t cursor = 0;
	size_t len;
	int fd;

	if (page == NULL)
		fuzz_check(device_page_create((struct device_page_shape){ .n_queues = 1 }, &page, &fd) == 0);
	memset(page, 0, FRONT);
	len = fuzz_u16(&in) % (sizeof(page->log) + 1);
	fuzz_bytes(&in, &page->log, len);
	for (uint32_t i = 0; i < STEPS_MAX && in.left > 0; i++) {
		uint8_t what = fuzz_u8(&in);

		if (what % 4 == 0)
			read_log(&cursor);
		else if (what % 4 == 1)
			acknowledge(fuzz_u32(&in));
		else if (what % 4 == 2)
			store(fuzz_u16(&in), fuzz_u64(&in));
		else
			write_log(fuzz_u8(&in));
	}
	for (uint32_t i = 0; i <= DEVICE_LOG_RECORDS; i++)
		read_log(&cursor);
	return 0;
}
