/* SPDX-License-Identifier: Apache-2.0 */
/* A real, sealed bulkhead-blk, driven over its channel and through its virtqueues. Needs root. */
#include "fake_core.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define DISK_BYTES (8u << 20)
#define EVENT_IDX (UINT64_C(1) << 29)
#define INDIRECT (UINT64_C(1) << 28)
#define OK VIRTIO_BLK_S_OK

static char disk[] = "/var/tmp/bulkhead-test-XXXXXX";
static struct fake_core core;

static void make_disk(void)
{
	uint8_t block[4096];
	uint32_t i;
	int fd;

	if (geteuid() != 0)
		cr_skip_test("needs root to give the process its uid");
	fd = mkstemp(disk);
	cr_assert_geq(fd, 0);
	for (i = 0; i < DISK_BYTES / sizeof(block); i++) {
		memset(block, (int)(i % 251), sizeof(block));
		cr_assert_eq(write(fd, block, sizeof(block)), (ssize_t)sizeof(block));
	}
	close(fd);
}

static void remove_disk(void)
{
	unlink(disk);
}

TestSuite(blk_process, .init = make_disk, .fini = remove_disk, .timeout = 100);

static struct fake_core_config config(void)
{
	return (struct fake_core_config){
		.program = BULKHEAD_BLK, .disk = disk, .n_queues = 1, .queue_size = 128,
	};
}

static void start_default(void)
{
	struct fake_core_config c = config();

	fake_core_start(&core, &c);
	fake_core_activate(&core, 0);
}

static void stop_clean(void)
{
	int status = fake_core_stop(&core);

	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", status);
}

static void fill(uint64_t at, uint8_t value, uint32_t len)
{
	static uint8_t block[65536];

	memset(block, value, sizeof(block));
	while (len > 0) {
		uint32_t n = len < sizeof(block) ? len : (uint32_t)sizeof(block);

		cr_assert_eq(guest_memory_write(core.gm, gpa(at), block, n), 0);
		at += n;
		len -= n;
	}
}

static bool all_are(uint64_t at, uint8_t value, uint32_t len)
{
	uint32_t i;

	for (i = 0; i < len; i++)
		if (fake_read8(&core, at + i) != value)
			return false;
	return true;
}

static uint8_t disk_byte(off_t at)
{
	int fd = open(disk, O_RDONLY | O_CLOEXEC);
	uint8_t v;

	cr_assert_eq(pread(fd, &v, 1, at), 1);
	close(fd);
	return v;
}

Test(blk_process, hello_says_what_the_disk_is)
{
	struct virtio_blk_config c = { 0 };
	struct fake_core_config k = config();

	k.n_queues = 4;
	fake_core_start(&core, &k);
	memcpy(&c, core.hello.config, core.hello.config_len);
	cr_expect_eq(core.hello.n_queues, 4);
	cr_expect_eq(core.hello.queue_size_max, 128);
	cr_expect_eq(c.capacity, DISK_BYTES / 512);
	cr_expect_eq(c.seg_max, 126);
	cr_expect_eq(c.blk_size, 512);
	cr_expect_eq(c.num_queues, 4);
	cr_expect(core.hello.features & (1ull << VIRTIO_BLK_F_FLUSH));
	cr_expect(core.hello.features & (1ull << VIRTIO_BLK_F_MQ));
	cr_expect_not(core.hello.features & (1ull << VIRTIO_BLK_F_RO));
	stop_clean();
}

Test(blk_process, reads_writes_flushes)
{
	uint32_t len;

	start_default();
	cr_expect_eq(fake_blk(&core, 0, VIRTIO_BLK_T_IN, 8 * 5, FAKE_DATA, 8192, &len), OK);
	cr_expect_eq(len, 8193);
	cr_expect(all_are(FAKE_DATA, 5, 4096));
	cr_expect(all_are(FAKE_DATA + 4096, 6, 4096));
	fill(FAKE_DATA, 0xee, 1024);
	cr_expect_eq(fake_blk(&core, 0, VIRTIO_BLK_T_OUT, 3, FAKE_DATA, 1024, &len), OK);
	cr_expect_eq(len, 1);
	cr_expect_eq(fake_blk(&core, 0, VIRTIO_BLK_T_FLUSH, 0, 0, 0, &len), OK);
	cr_expect_eq(len, 1);
	cr_expect_eq(disk_byte(3 * 512 - 1), 0);
	cr_expect_eq(disk_byte(3 * 512), 0xee);
	cr_expect_eq(disk_byte(5 * 512 - 1), 0xee);
	cr_expect_eq(disk_byte(5 * 512), 0);
	cr_expect_eq(core.page->header.counters[DEVICE_COUNTER_READS], 1);
	cr_expect_eq(core.page->header.counters[DEVICE_COUNTER_READ_BYTES], 8192);
	cr_expect_eq(core.page->header.counters[DEVICE_COUNTER_FLUSHES], 1);
	cr_expect_gt(core.page->header.heartbeat, 0);
	stop_clean();
}

Test(blk_process, id_and_unknown_requests)
{
	char id[21] = "";
	uint32_t len;

	start_default();
	cr_expect_eq(fake_blk(&core, 0, VIRTIO_BLK_T_GET_ID, 0, FAKE_DATA, 20, &len), OK);
	cr_expect_eq(len, 21);
	cr_assert_eq(guest_memory_read(core.gm, gpa(FAKE_DATA), id, 20), 0);
	cr_expect_str_eq(id, "serial-of-twenty-byt");
	cr_expect_eq(fake_blk(&core, 0, 99, 0, FAKE_DATA, 512, &len), VIRTIO_BLK_S_UNSUPP);
	stop_clean();
}

Test(blk_process, errors_stay_errors)
{
	uint32_t len, last = DISK_BYTES / 512 - 1;

	start_default();
	cr_expect_eq(fake_blk(&core, 0, VIRTIO_BLK_T_IN, last, FAKE_DATA, 1024, &len),
		     VIRTIO_BLK_S_IOERR);
	cr_expect_eq(len, 1);
	cr_expect_eq(fake_blk(&core, 0, VIRTIO_BLK_T_OUT, UINT64_MAX, FAKE_DATA, 512, &len),
		     VIRTIO_BLK_S_IOERR);
	cr_expect_eq(fake_blk(&core, 0, VIRTIO_BLK_T_IN, 0, FAKE_RAM_BYTES - 256, 512, &len),
		     VIRTIO_BLK_S_IOERR, "a buffer that leaves guest RAM");
	/* The image is cut short behind the process's back. */
	cr_assert_eq(truncate(disk, 1 << 20), 0);
	cr_expect_eq(fake_blk(&core, 0, VIRTIO_BLK_T_IN, (2 << 20) / 512, FAKE_DATA, 512, &len),
		     VIRTIO_BLK_S_IOERR);
	cr_expect_eq(fake_blk(&core, 0, VIRTIO_BLK_T_IN, 0, FAKE_DATA, 512, &len), OK);
	stop_clean();
}

Test(blk_process, a_read_only_disk_is_not_written)
{
	struct fake_core_config k = config();
	uint32_t len;

	k.read_only = true;
	fake_core_start(&core, &k);
	cr_expect(core.hello.features & (1ull << VIRTIO_BLK_F_RO));
	cr_expect_not(core.hello.features & (1ull << VIRTIO_BLK_F_WRITE_ZEROES));
	/* A driver that declines RO gains nothing. */
	fake_core_activate(&core, 1ull << VIRTIO_BLK_F_RO);
	cr_expect_eq(fake_blk(&core, 0, VIRTIO_BLK_T_OUT, 0, FAKE_DATA, 512, &len),
		     VIRTIO_BLK_S_IOERR);
	cr_expect_eq(fake_blk(&core, 0, VIRTIO_BLK_T_IN, 0, FAKE_DATA, 512, &len), OK);
	cr_expect_eq(fake_blk(&core, 0, VIRTIO_BLK_T_FLUSH, 0, 0, 0, &len), OK);
	stop_clean();
}

static uint8_t segments(uint32_t type, uint64_t sector, uint32_t n_sectors, uint32_t flags)
{
	struct virtio_blk_discard_write_zeroes s[2] = {
		{ .sector = sector, .num_sectors = n_sectors, .flags = flags },
		{ .sector = sector + 64, .num_sectors = n_sectors, .flags = flags },
	};
	uint32_t len;

	cr_assert_eq(guest_memory_write(core.gm, gpa(FAKE_DATA), s, sizeof(s)), 0);
	return fake_blk(&core, 0, type, 0, FAKE_DATA, sizeof(s), &len);
}

Test(blk_process, discard_and_write_zeroes)
{
	uint32_t len;

	start_default();
	cr_expect_eq(segments(VIRTIO_BLK_T_DISCARD, 8, 8, 0), OK);
	cr_expect_eq(disk_byte(4096), 0);
	cr_expect_eq(disk_byte(8 * 512 + 64 * 512), 0);
	cr_expect_eq(disk_byte(2 * 4096), 2);
	cr_expect_eq(segments(VIRTIO_BLK_T_WRITE_ZEROES, 1601, 2, 0), OK);
	cr_expect_eq(disk_byte(1601 * 512 - 1), 1600 / 8);
	cr_expect_eq(disk_byte(1601 * 512), 0);
	cr_expect_eq(disk_byte(1603 * 512 - 1), 0);
	cr_expect_eq(disk_byte(1603 * 512), 1600 / 8);
	cr_expect_eq(segments(VIRTIO_BLK_T_WRITE_ZEROES, 1700, 9, 1), OK);
	cr_expect_eq(disk_byte(1700 * 512), 0);
	cr_expect_eq(segments(VIRTIO_BLK_T_DISCARD, 8, 8, 1), VIRTIO_BLK_S_UNSUPP);
	cr_expect_eq(segments(VIRTIO_BLK_T_WRITE_ZEROES, DISK_BYTES / 512 - 64, 8, 0),
		     VIRTIO_BLK_S_IOERR, "the second segment is outside: nothing is done");
	cr_expect_neq(disk_byte(DISK_BYTES - 64 * 512), 0);
	cr_expect_eq(fake_blk(&core, 0, VIRTIO_BLK_T_FLUSH, 0, 0, 0, &len), OK);
	stop_clean();
}

Test(blk_process, direct_io_with_any_buffer)
{
	struct fake_core_config k = config();
	uint64_t status[24];
	uint32_t len, i;

	k.direct = true;
	fake_core_start(&core, &k);
	fake_core_activate(&core, 0);
	cr_expect_eq(fake_blk(&core, 0, VIRTIO_BLK_T_IN, 8 * 9, FAKE_DATA, 4096, &len), OK);
	cr_expect(all_are(FAKE_DATA, 9, 4096));
	/* One byte off: bounced, in several chunks. */
	cr_expect_eq(fake_blk(&core, 0, VIRTIO_BLK_T_IN, 8 * 9, FAKE_DATA + 1, 40 * 4096, &len), OK);
	cr_expect_eq(len, 40 * 4096 + 1);
	for (i = 0; i < 40; i++)
		cr_expect(all_are(FAKE_DATA + 1 + i * 4096, (uint8_t)(9 + i), 4096));
	fill(FAKE_DATA + 3, 0xcc, 128 * 1024);
	cr_expect_eq(fake_blk(&core, 0, VIRTIO_BLK_T_OUT, 0, FAKE_DATA + 3, 128 * 1024, &len), OK);
	cr_expect_eq(disk_byte(0), 0xcc);
	cr_expect_eq(disk_byte(128 * 1024 - 1), 0xcc);
	cr_expect_eq(disk_byte(128 * 1024), 32);
	/* More at a time than there are bounce buffers. */
	for (i = 0; i < 24; i++)
		fake_blk_add(&core, 0, VIRTIO_BLK_T_IN, 8 * (100 + i), FAKE_DATA + i * 8192 + 5,
			     4096, &status[i]);
	fake_kick(&core, 0);
	for (i = 0; i < 24; i++)
		fake_wait_used(&core, 0, NULL);
	for (i = 0; i < 24; i++) {
		cr_expect_eq(fake_read8(&core, status[i]), OK);
		cr_expect(all_are(FAKE_DATA + i * 8192 + 5, (uint8_t)(100 + i), 4096));
	}
	stop_clean();
}

Test(blk_process, four_queues_at_once)
{
	struct fake_core_config k = config();
	uint64_t status[4][30];
	uint32_t q, i;

	k.n_queues = 4;
	fake_core_start(&core, &k);
	fake_core_activate(&core, INDIRECT);
	for (q = 0; q < 4; q++)
		for (i = 0; i < 30; i++)
			fake_blk_add(&core, q, VIRTIO_BLK_T_IN, 8 * (q * 30 + i),
				     FAKE_DATA + (q * 30 + i) * 4096, 4096, &status[q][i]);
	for (q = 0; q < 4; q++)
		fake_kick(&core, q);
	for (q = 0; q < 4; q++)
		for (i = 0; i < 30; i++)
			fake_wait_used(&core, q, NULL);
	for (q = 0; q < 4; q++)
		for (i = 0; i < 30; i++) {
			cr_expect_eq(fake_read8(&core, status[q][i]), OK);
			cr_expect(all_are(FAKE_DATA + (q * 30 + i) * 4096,
					  (uint8_t)(q * 30 + i), 4096));
		}
	stop_clean();
}

static void batch_has_few_interrupts(uint64_t not_features)
{
	struct fake_core_config k = config();
	uint64_t status[32], before;
	uint32_t i;

	fake_core_start(&core, &k);
	fake_core_activate(&core, not_features);
	before = core.page->header.counters[DEVICE_COUNTER_INTERRUPTS];
	for (i = 0; i < 32; i++)
		fake_blk_add(&core, 0, VIRTIO_BLK_T_OUT, 8 * i, FAKE_DATA, 512, &status[i]);
	fake_kick(&core, 0);
	for (i = 0; i < 32; i++)
		fake_wait_used(&core, 0, NULL);
	/* The writes are synchronous: one round, one interrupt. */
	cr_expect_eq(core.page->header.counters[DEVICE_COUNTER_INTERRUPTS] - before, 1);
	stop_clean();
}

Test(blk_process, one_interrupt_per_batch_with_event_idx)
{
	batch_has_few_interrupts(0);
}

Test(blk_process, one_interrupt_per_batch_without_event_idx)
{
	batch_has_few_interrupts(EVENT_IDX);
}

Test(blk_process, many_rounds_wrap_the_indexes)
{
	uint32_t i, len;

	start_default();
	/* 16-bit indexes wrap after 65536 requests. */
	for (i = 0; i < 70000 / 32; i++) {
		uint64_t status[32];
		uint32_t j;

		for (j = 0; j < 32; j++)
			fake_blk_add(&core, 0, VIRTIO_BLK_T_OUT, j, FAKE_DATA, 512, &status[j]);
		fake_kick(&core, 0);
		for (j = 0; j < 32; j++)
			fake_wait_used(&core, 0, NULL);
	}
	cr_expect_eq(fake_blk(&core, 0, VIRTIO_BLK_T_IN, 8, FAKE_DATA, 512, &len), OK);
	stop_clean();
}

Test(blk_process, a_broken_ring_asks_for_a_reset_and_recovers)
{
	struct message m;
	uint32_t len;

	start_default();
	fake_add_head(&core, 0, 5000);
	fake_kick(&core, 0);
	fake_core_receive(&core, &m);
	cr_expect_eq(m.type, MESSAGE_NEEDS_RESET);
	cr_expect_eq(fake_core_simple(&core, MESSAGE_PING), 0);
	cr_expect_eq(fake_core_simple(&core, MESSAGE_RESET), 0);
	fake_core_activate(&core, 0);
	cr_expect_eq(fake_blk(&core, 0, VIRTIO_BLK_T_IN, 8, FAKE_DATA, 512, &len), OK);
	stop_clean();
}

Test(blk_process, pause_holds_requests_back)
{
	struct message disable = { .type = MESSAGE_DISABLE_QUEUE };
	uint64_t status, index;
	uint32_t len;

	start_default();
	cr_expect_eq(fake_blk(&core, 0, VIRTIO_BLK_T_IN, 8, FAKE_DATA, 512, &len), OK);
	cr_expect_eq(fake_core_simple(&core, MESSAGE_PAUSE), 0);
	fake_blk_add(&core, 0, VIRTIO_BLK_T_IN, 8, FAKE_DATA, 512, &status);
	fake_kick(&core, 0);
	cr_expect_eq(fake_core_simple(&core, MESSAGE_PING), 0);
	cr_expect_eq(fake_read8(&core, status), 0xff);
	cr_expect_eq(fake_core_simple(&core, MESSAGE_RESUME), 0);
	fake_wait_used(&core, 0, NULL);
	cr_expect_eq(fake_read8(&core, status), OK);
	cr_expect_eq(fake_core_request(&core, &disable, NULL, &index), 0);
	cr_expect_eq(index, 2);
	cr_expect_eq(fake_core_request(&core, &disable, NULL, &index), EINVAL);
	stop_clean();
}

/* The page says that a predecessor had fetched the first request, and more that is not possible. */
Test(blk_process, continues_from_a_page_that_adds_up_and_from_no_other)
{
	struct fake_core_config k = config();
	struct device_page_queue *page;
	uint64_t status_at, one;

	fake_core_start(&core, &k);
	page = &core.page->queues[0];
	cr_assert_eq(fake_core_set_features(&core, 0), 0);
	cr_assert_eq(fake_core_enable(&core, 0, 64), 0);
	cr_assert_eq(fake_core_simple(&core, MESSAGE_RESET), 0);
	cr_assert_eq(fake_core_set_features(&core, 0), 0);
	(void)fake_blk_add(&core, 0, VIRTIO_BLK_T_IN, 3, FAKE_DATA, 512, &status_at);
	page->size = 64;
	page->journal[0] = (uint64_t)JOURNAL_FETCHED << 62;
	page->next_avail = 2;
	core.page->header.generation = FAKE_GENERATION;
	cr_expect_eq(fake_core_resume(&core, 0), ESTALE, "a fetch is missing");
	page->next_avail = 1;
	core.page->header.generation = FAKE_GENERATION - 1;
	cr_expect_eq(fake_core_resume(&core, 0), ESTALE, "another process has the page");
	core.page->header.generation = FAKE_GENERATION;
	cr_expect_eq(fake_core_resume(&core, 0), 0);
	cr_expect_eq(read(core.queues[0].call_fd, &one, sizeof(one)), 8, "interrupted at once");
	cr_expect_eq(fake_wait_used(&core, 0, NULL), 0);
	cr_expect_eq(fake_read8(&core, status_at), VIRTIO_BLK_S_OK);
	stop_clean();
}

Test(blk_process, refuses_bad_requests_of_the_core)
{
	struct message m = { .type = MESSAGE_SET_FEATURES };
	struct fake_core_config k = config();

	/* Two, so that there is room for the fds of a queue that is enabled twice. */
	k.n_queues = 2;
	fake_core_start(&core, &k);
	m.set_features.features = core.hello.features | 1ull << 60;
	cr_expect_eq(fake_core_request(&core, &m, NULL, NULL), EINVAL);
	cr_expect_eq(fake_core_set_features(&core, 0), 0);
	cr_expect_eq(fake_core_enable(&core, 0, 256), EINVAL, "larger than the maximum");
	cr_expect_eq(fake_core_enable(&core, 0, 64), 0);
	cr_expect_eq(fake_core_enable(&core, 0, 64), EBUSY);
	cr_expect_eq(fake_core_simple(&core, MESSAGE_RESET), 0);
	cr_expect_eq(fake_core_set_features(&core, 0), 0);
	stop_clean();
}

Test(blk_process, ends_when_the_core_breaks_the_protocol)
{
	struct message m = { .type = MESSAGE_READY };
	struct fake_core_config k = config();
	int status;

	fake_core_start(&core, &k);
	m.generation = 7;
	cr_assert_eq(channel_send(core.channel, &m, NULL), 0);
	status = fake_core_wait_exit(&core);
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 1, "status %#x", status);
}

/* A loop device with sectors of 4096 bytes, over the image; false: none to be had here. */
static bool attach_loop(char *ret, size_t size)
{
	char command[128];
	FILE *f;
	size_t n;

	(void)snprintf(command, sizeof(command), "losetup -f --show -b 4096 %s 2>/dev/null", disk);
	f = popen(command, "re");
	cr_assert_not_null(f);
	n = fread(ret, 1, size - 1, f);
	pclose(f);
	ret[n > 0 ? n - 1 : 0] = '\0';
	return n > 0;
}

static void work_on_block_device(const char *path, bool direct)
{
	struct virtio_blk_config c = { 0 };
	struct fake_core_config k = config();
	uint32_t len;

	k.disk = path;
	k.direct = direct;
	fake_core_start(&core, &k);
	fake_core_activate(&core, 0);
	memcpy(&c, core.hello.config, core.hello.config_len);
	cr_expect_eq(c.capacity, DISK_BYTES / 512);
	cr_expect_eq(c.blk_size, 4096);
	cr_expect_eq(fake_blk(&core, 0, VIRTIO_BLK_T_IN, 8 * 40, FAKE_DATA, 8192, &len), OK);
	cr_expect(all_are(FAKE_DATA, 40, 4096));
	fill(FAKE_DATA, 0x5a, 4096);
	cr_expect_eq(fake_blk(&core, 0, VIRTIO_BLK_T_OUT, 8 * 40, FAKE_DATA, 4096, &len), OK);
	cr_expect_eq(fake_blk(&core, 0, VIRTIO_BLK_T_FLUSH, 0, 0, 0, &len), OK);
	cr_expect_eq(disk_byte(40 * 4096), 0x5a);
	cr_expect_eq(segments(VIRTIO_BLK_T_DISCARD, 8 * 50, 8, 0), OK);
	cr_expect_eq(disk_byte(50 * 4096), 0);
	cr_expect_eq(segments(VIRTIO_BLK_T_WRITE_ZEROES, 8 * 60, 8, 0), OK);
	cr_expect_eq(segments(VIRTIO_BLK_T_WRITE_ZEROES, 8 * 62, 8, 1), OK);
	cr_expect_eq(fake_blk(&core, 0, VIRTIO_BLK_T_FLUSH, 0, 0, 0, &len), OK);
	cr_expect_eq(disk_byte(60 * 4096), 0);
	cr_expect_eq(disk_byte(62 * 4096), 0);
	cr_expect_eq(disk_byte(61 * 4096), 61);
	if (direct)
		cr_expect_eq(fake_blk(&core, 0, VIRTIO_BLK_T_IN, 1, FAKE_DATA, 512, &len),
			     VIRTIO_BLK_S_IOERR, "half a block");
	stop_clean();
}

/* When the core fails, the user reads why in one line, not once more from every device. */
Test(blk_process, ends_quietly_when_the_core_goes_during_the_start)
{
	int out = memfd_create("stderr", 0), saved = dup(STDERR_FILENO), status;
	struct fake_core_config k = config();
	struct stat st;

	cr_assert_eq(dup2(out, STDERR_FILENO), STDERR_FILENO);
	fake_core_greet(&core, &k);
	status = fake_core_stop(&core);
	cr_assert_eq(dup2(saved, STDERR_FILENO), STDERR_FILENO);
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 1, "status %#x", status);
	cr_assert_eq(fstat(out, &st), 0);
	cr_expect_eq(st.st_size, 0, "%lld bytes on stderr", (long long)st.st_size);
	close(out);
	close(saved);
}

Test(blk_process, block_device_with_large_sectors)
{
	char loop[64], command[128];

	if (!attach_loop(loop, sizeof(loop)))
		cr_skip_test("no loop device");
	work_on_block_device(loop, true);
	(void)snprintf(command, sizeof(command), "losetup -d %s", loop);
	cr_expect_eq(system(command), 0);
}

Test(blk_process, buffered_block_device)
{
	char loop[64], command[128];

	if (!attach_loop(loop, sizeof(loop)))
		cr_skip_test("no loop device");
	work_on_block_device(loop, false);
	(void)snprintf(command, sizeof(command), "losetup -d %s", loop);
	cr_expect_eq(system(command), 0);
}

Test(blk_process, a_driver_that_cannot_flush_gets_write_through)
{
	uint32_t len;
	struct fake_core_config k = config();

	fake_core_start(&core, &k);
	fake_core_activate(&core, 1ull << VIRTIO_BLK_F_FLUSH);
	fill(FAKE_DATA, 0x77, 512);
	cr_expect_eq(fake_blk(&core, 0, VIRTIO_BLK_T_OUT, 4, FAKE_DATA, 512, &len), OK);
	cr_expect_eq(disk_byte(4 * 512), 0x77);
	cr_expect_eq(segments(VIRTIO_BLK_T_WRITE_ZEROES, 16, 8, 0), OK);
	cr_expect_eq(disk_byte(16 * 512), 0);
	stop_clean();
}

/* Nothing may touch guest memory once RESET is answered, whatever was on its way. */
Test(blk_process, reset_waits_for_what_is_in_flight)
{
	struct fake_core_config k = config();
	uint64_t status[60];
	uint32_t i, round;

	k.direct = true;
	fake_core_start(&core, &k);
	for (round = 0; round < 20; round++) {
		fake_core_activate(&core, 0);
		for (i = 0; i < 40; i++)
			fake_blk_add(&core, 0, VIRTIO_BLK_T_IN, 8 * i,
				     FAKE_DATA + i * 131072 + (i & 1), 131072, &status[i]);
		fake_kick(&core, 0);
		cr_expect_eq(fake_core_simple(&core, MESSAGE_RESET), 0);
		fill(FAKE_DATA, 0xd7, 40 * 131072 + 1);
		cr_expect_eq(fake_core_simple(&core, MESSAGE_PING), 0);
		cr_expect(all_are(FAKE_DATA, 0xd7, 40 * 131072 + 1));
	}
	stop_clean();
}

static bool status_has(const char *line)
{
	char path[64], text[4096];
	FILE *f;
	size_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", core.pid);
	f = fopen(path, "re");
	cr_assert_not_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	fclose(f);
	return strstr(text, line) != NULL;
}

Test(blk_process, is_sealed_as_seen_from_outside)
{
	struct fake_core_config k = config();
	char uid[64];

	k.uid = 0x6fff1234;
	(void)snprintf(uid, sizeof(uid), "\nUid:\t%u\t%u\t%u\t%u\n", k.uid, k.uid, k.uid, k.uid);
	fake_core_start(&core, &k);
	fake_core_activate(&core, 0);
	cr_expect(status_has(uid));
	cr_expect(status_has("\nCapBnd:\t0000000000000000\n"));
	cr_expect(status_has("\nCapEff:\t0000000000000000\n"));
	cr_expect(status_has("\nSeccomp:\t2\n"));
	cr_expect(status_has("\nNoNewPrivs:\t1\n"));
	cr_expect(status_has("\nThreads:\t1\n"));
	stop_clean();
}
