/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_core.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "ipc/clock.h"
#include "ipc/shared_memory.h"

#define DEFAULT_UID 0x6fff0001u

/* Rings inside a queue's block. */
#define DESC_OFFSET 0x0u
#define AVAIL_OFFSET 0x4000u
#define USED_OFFSET 0x8000u

static pid_t spawn(const char *program, int channel, int ring)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	char *const argv[] = { (char *)(uintptr_t)program, NULL }, *const env[] = { NULL };
	long pid;

	cr_assert_geq(null, 0);
	pid = syscall(SYS_clone, CLONE_NEWPID | CLONE_NEWNET | SIGCHLD, 0, 0, 0, 0);
	cr_assert_geq(pid, 0, "clone: %s", strerror(errno));
	if (pid == 0) {
		int high = fcntl(channel, F_DUPFD, 10), high_ring = fcntl(ring, F_DUPFD, 10);

		if (dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(high, DEVICE_CHANNEL_FD) < 0 ||
		    dup2(high_ring, DEVICE_RING_FD) < 0 || syscall(SYS_close_range, 5, ~0u, 0) < 0)
			_exit(99);
		execve(program, argv, env);
		_exit(99);
	}
	close(null);
	return (pid_t)pid;
}

static __attribute__((noinline)) void send_start(struct fake_core *c, const struct fake_core_config *config)
{
	cleanup_fdset struct fdset fds = FDSET_EMPTY;
	struct message m = { .type = MESSAGE_DEVICE_START, .generation = FAKE_GENERATION };
	struct message_device_start *s = &m.device_start;
	int flags = (config->read_only ? O_RDONLY : O_RDWR) | (config->direct ? O_DIRECT : 0);

	s->protocol = PROTOCOL_VERSION;
	s->uid = s->gid = config->uid ? config->uid : DEFAULT_UID;
	s->n_cpus = 4;
	s->verbosity = 2;
	if (config->is_iommu || config->is_rng) {
		s->config.type = config->is_rng ? DEVICE_TYPE_RNG : DEVICE_TYPE_IOMMU;
		strcpy(s->config.id, config->is_rng ? "rng" : "iommu");
		cr_assert_eq(fdset_add(&fds, (int)syscall(SYS_pidfd_open, getpid(), 0)), 0);
		cr_assert_eq(channel_send(c->channel, &m, &fds), 0);
		return;
	}
	if (config->vsock) {
		s->config.type = DEVICE_TYPE_VSOCK;
		strcpy(s->config.id, "vsock");
		s->config.vsock.cid = FAKE_CID;
		s->n_fds = (uint32_t)config->vsock->n;
		for (uint32_t i = 0; i < s->n_fds; i++)
			cr_assert_eq(fdset_add_dup(&fds, config->vsock->fds[i]), 0);
		cr_assert_eq(fdset_add(&fds, (int)syscall(SYS_pidfd_open, getpid(), 0)), 0);
		cr_assert_eq(channel_send(c->channel, &m, &fds), 0);
		return;
	}
	s->n_fds = 1;
	s->config.type = DEVICE_TYPE_BLK;
	strcpy(s->config.id, "blk0");
	s->config.blk.read_only = config->read_only;
	s->config.blk.direct = config->direct;
	s->config.blk.num_queues = config->n_queues;
	s->config.blk.queue_size = config->queue_size;
	strcpy(s->config.blk.serial, "serial-of-twenty-byt");
	cr_assert_eq(fence_open(&s->config, &c->fence), 0);
	fence_describe(&c->fence, s);
	cr_assert_eq(fdset_add(&fds, open(config->disk, flags | O_CLOEXEC)), 0, "%s: %s",
		     config->disk, strerror(errno));
	cr_assert_eq(fdset_add(&fds, (int)syscall(SYS_pidfd_open, getpid(), 0)), 0);
	cr_assert_eq(channel_send(c->channel, &m, &fds), 0);
}

static int shared(const char *name, uint64_t size, void **ret)
{
	int fd = shared_memory_create(name, size, 0);

	cr_assert_geq(fd, 0);
	cr_assert_eq(shared_memory_map(fd, size, ret), 0);
	return fd;
}

static __attribute__((noinline)) void send_setup(struct fake_core *c)
{
	static const struct guest_region region = { .gpa = 0, .size = FAKE_RAM_BYTES };
	cleanup_fdset struct fdset fds = FDSET_EMPTY;
	struct message m = { .type = MESSAGE_SETUP, .generation = FAKE_GENERATION };
	int page_fd;

	cr_assert_eq(device_page_create((struct device_page_shape){ c->n_queues, c->hello.state_size }, &c->page,
					&page_fd), 0);
	cr_assert_eq(guest_memory_create(&region, 1, false, false, &c->gm), 0);
	cr_assert_eq(fdset_add(&fds, page_fd), 0);
	cr_assert_eq(fdset_add_dup(&fds, guest_memory_fd(c->gm, 0)), 0);
	m.setup.n_queues = c->n_queues;
	m.setup.n_regions = 1;
	m.setup.regions[0] = region;
	if (c->hello.type == DEVICE_TYPE_IOMMU) {
		m.setup.n_endpoints = 1;
		cr_assert_eq(fdset_add(&fds, shared("table", IOMMU_TABLE_BYTES, (void **)&c->table)), 0);
		cr_assert_eq(fdset_add(&fds, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), 0);
	}
	cr_assert_eq(channel_send(c->channel, &m, &fds), 0);
}

static void send_endpoint(struct fake_core *c)
{
	cleanup_fdset struct fdset fds = FDSET_EMPTY;
	struct message m = { .type = MESSAGE_ENDPOINT, .generation = FAKE_GENERATION,
			     .endpoint = { .slot = 2, .id = 0x10 } };

	cr_assert_eq(fdset_add(&fds, shared("page", IOMMU_PAGE_BYTES, (void **)&c->endpoint)), 0);
	cr_assert_eq(channel_send(c->channel, &m, &fds), 0);
}

void fake_core_receive(struct fake_core *c, struct message *ret)
{
	cleanup_fdset struct fdset fds = FDSET_EMPTY;
	int r = channel_receive_wait(c->channel, clock_now_ms() + FAKE_WAIT_MS, ret, &fds);

	cr_assert_eq(r, 0, "receive: %d %s", r, channel_fault(c->channel));
	cr_assert_eq(ret->generation, FAKE_GENERATION);
}

void fake_core_greet(struct fake_core *c, const struct fake_core_config *config)
{
	struct message m;
	int ours, theirs;

	memset(c, 0, sizeof(*c));
	cr_assert_eq(channel_pair(&ours, &theirs), 0);
	cr_assert_eq(channel_new(ours, &c->channel), 0);
	send_start(c, config);
	c->pid = spawn(config->program, theirs, c->fence.ring_fd);
	close(theirs);
	fake_core_receive(c, &m);
	cr_assert_eq(m.type, MESSAGE_HELLO, "%s: %s", message_type_name(m.type), m.failed.text);
	c->hello = m.hello;
	c->n_queues = m.hello.n_queues;
}

void fake_core_start(struct fake_core *c, const struct fake_core_config *config)
{
	struct message m;

	fake_core_greet(c, config);
	send_setup(c);
	if (config->is_iommu)
		send_endpoint(c);
	fake_core_receive(c, &m);
	cr_assert_eq(m.type, MESSAGE_READY, "%s: %s", message_type_name(m.type), m.failed.text);
}

int fake_core_wait_exit(struct fake_core *c)
{
	int pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0), status;
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	cr_assert_eq(poll(&p, 1, FAKE_WAIT_MS), 1, "the device process does not end");
	cr_assert_eq(waitpid(c->pid, &status, 0), c->pid);
	close(pidfd);
	return status;
}

int fake_core_stop(struct fake_core *c)
{
	c->channel = channel_free(c->channel);
	return fake_core_wait_exit(c);
}

int fake_core_request(struct fake_core *c, struct message *m, const struct fdset *fds,
		      uint64_t *ret_value)
{
	struct message answer;

	m->generation = FAKE_GENERATION;
	m->seq = ++c->seq;
	cr_assert_eq(channel_send(c->channel, m, fds), 0);
	fake_core_receive(c, &answer);
	cr_assert_eq(answer.type, MESSAGE_REPLY, "%s", message_type_name(answer.type));
	cr_assert_eq(answer.seq, c->seq);
	if (ret_value)
		*ret_value = answer.reply.value;
	return answer.reply.result;
}

int fake_core_simple(struct fake_core *c, enum message_type type)
{
	struct message m = { .type = type };

	return fake_core_request(c, &m, NULL, NULL);
}

int fake_core_set_features(struct fake_core *c, uint64_t not)
{
	struct message m = { .type = MESSAGE_SET_FEATURES };

	m.set_features.features = c->hello.features & ~not;
	return fake_core_request(c, &m, NULL, NULL);
}

static int enable(struct fake_core *c, uint32_t q, bool resume)
{
	cleanup_fdset struct fdset fds = FDSET_EMPTY;
	struct message m = { .type = MESSAGE_ENABLE_QUEUE };

	cr_assert_eq(fdset_add_dup(&fds, c->queues[q].kick_fd), 0);
	cr_assert_eq(fdset_add_dup(&fds, c->queues[q].call_fd), 0);
	m.enable_queue = (struct message_enable_queue){
		.index = q, .size = c->queues[q].size, .desc = FAKE_RINGS(q) + DESC_OFFSET,
		.avail = FAKE_RINGS(q) + AVAIL_OFFSET, .used = FAKE_RINGS(q) + USED_OFFSET,
		.resume = resume,
	};
	return fake_core_request(c, &m, &fds, NULL);
}

int fake_core_resume(struct fake_core *c, uint32_t q)
{
	return enable(c, q, true);
}

int fake_core_enable(struct fake_core *c, uint32_t q, uint32_t size)
{
	static const uint8_t zeroes[0x10000];
	struct fake_queue *queue = &c->queues[q];

	cr_assert_eq(guest_memory_write(c->gm, gpa(FAKE_RINGS(q)), zeroes, sizeof(zeroes)), 0);
	if (queue->size) {
		close(queue->kick_fd);
		close(queue->call_fd);
	}
	*queue = (struct fake_queue){
		.size = size,
		.kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
	};
	return enable(c, q, false);
}

void fake_core_activate(struct fake_core *c, uint64_t not_features)
{
	uint32_t q;

	cr_assert_eq(fake_core_set_features(c, not_features), 0);
	for (q = 0; q < c->n_queues; q++)
		cr_assert_eq(fake_core_enable(c, q, c->hello.queue_size_max), 0);
}

static void write_guest(struct fake_core *c, uint64_t at, const void *src, size_t n)
{
	cr_assert_eq(guest_memory_write(c->gm, gpa(at), src, n), 0);
}

static uint16_t read16(struct fake_core *c, uint64_t at)
{
	struct guest_window w;

	cr_assert_eq(guest_memory_window(c->gm, gpa(at), 2, 2, &w), 0);
	return guest_window_load16_acquire(&w, 0);
}

uint8_t fake_read8(struct fake_core *c, uint64_t at)
{
	uint8_t v;

	cr_assert_eq(guest_memory_read(c->gm, gpa(at), &v, 1), 0);
	return v;
}

void fake_desc(struct fake_core *c, uint32_t q, uint16_t i, uint64_t addr, uint32_t len,
	       uint16_t flags, uint16_t next)
{
	struct {
		uint64_t addr;
		uint32_t len;
		uint16_t flags, next;
	} d = { addr, len, flags, next };

	write_guest(c, FAKE_RINGS(q) + DESC_OFFSET + i * 16u, &d, sizeof(d));
}

void fake_add_head(struct fake_core *c, uint32_t q, uint16_t head)
{
	struct fake_queue *queue = &c->queues[q];
	uint64_t avail = FAKE_RINGS(q) + AVAIL_OFFSET;
	struct guest_window w;

	write_guest(c, avail + 4 + 2u * (queue->avail_idx % queue->size), &head, 2);
	cr_assert_eq(guest_memory_window(c->gm, gpa(avail), 4, 2, &w), 0);
	guest_window_store16_release(&w, 2, ++queue->avail_idx);
}

uint16_t fake_add(struct fake_core *c, uint32_t q, const struct fake_buffer *b, uint32_t n)
{
	struct fake_queue *queue = &c->queues[q];
	uint16_t head = queue->next_desc;
	uint32_t i;

	for (i = 0; i < n; i++) {
		uint16_t at = (uint16_t)((head + i) % queue->size);

		fake_desc(c, q, at, b[i].at, b[i].len,
			  (uint16_t)((b[i].write ? FAKE_DESC_WRITE : 0) |
				     (i + 1 < n ? FAKE_DESC_NEXT : 0)),
			  (uint16_t)((at + 1) % queue->size));
	}
	queue->next_desc = (uint16_t)((head + n) % queue->size);
	fake_add_head(c, q, head);
	return head;
}

void fake_kick(struct fake_core *c, uint32_t q)
{
	cr_assert_eq(eventfd_write(c->queues[q].kick_fd, 1), 0);
}

uint16_t fake_wait_used(struct fake_core *c, uint32_t q, uint32_t *ret_len)
{
	struct fake_queue *queue = &c->queues[q];
	uint64_t used = FAKE_RINGS(q) + USED_OFFSET, deadline = clock_now_ms() + FAKE_WAIT_MS;
	uint32_t element[2];
	eventfd_t n;

	while (read16(c, used + 2) == queue->used_idx) {
		struct pollfd p = { .fd = queue->call_fd, .events = POLLIN };

		cr_assert_gt(poll(&p, 1, clock_left_ms(deadline)), 0, "no interrupt");
		(void)eventfd_read(queue->call_fd, &n);
	}
	cr_assert_eq(guest_memory_read(c->gm,
				       gpa(used + 4 + 8u * (queue->used_idx % queue->size)),
				       element, sizeof(element)),
		     0);
	queue->used_idx++;
	/* EVENT_IDX: interrupt at the very next one; harmless when it was not negotiated. */
	write_guest(c, FAKE_RINGS(q) + AVAIL_OFFSET + 4 + 2u * queue->size, &queue->used_idx, 2);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (ret_len)
		*ret_len = element[1];
	return (uint16_t)element[0];
}

uint16_t fake_blk_add(struct fake_core *c, uint32_t q, uint32_t type, uint64_t sector,
		      uint64_t data, uint32_t len, uint64_t *ret_status_at)
{
	uint64_t header_at = FAKE_HEADERS(q) + c->queues[q].next_desc * 64u;
	bool is_in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	struct virtio_blk_outhdr header = { .type = type, .sector = sector };
	struct fake_buffer b[3] = {
		{ header_at, 16, false }, { data, len, is_in }, { header_at + 32, 1, true },
	};
	uint8_t unset = 0xff;

	write_guest(c, header_at, &header, sizeof(header));
	write_guest(c, header_at + 32, &unset, 1);
	*ret_status_at = header_at + 32;
	if (len > 0)
		return fake_add(c, q, b, 3);
	b[1] = b[2];
	return fake_add(c, q, b, 2);
}

uint8_t fake_blk(struct fake_core *c, uint32_t q, uint32_t type, uint64_t sector, uint64_t data,
		 uint32_t len, uint32_t *ret_used_len)
{
	uint64_t status_at;
	uint16_t head = fake_blk_add(c, q, type, sector, data, len, &status_at);

	fake_kick(c, q);
	cr_assert_eq(fake_wait_used(c, q, ret_used_len), head);
	return fake_read8(c, status_at);
}
