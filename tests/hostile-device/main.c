/* SPDX-License-Identifier: Apache-2.0 */
/* evil-blk: its start; see evil.h. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "evil.h"
#include "sandbox/sandbox.h"
#include "sandbox/sanitizer_options.h"

#define HONEST "bulkhead-blk-honest"
#define MODE_MAX 64

/* The first sector of the disk that DEVICE_START will bring, without taking the message. */
static void peek_disk(char *ret, size_t size)
{
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(FDSET_MAX * sizeof(int))];
	} control;
	uint8_t byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr hdr = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.bytes,
			      .msg_controllen = sizeof(control.bytes) };
	cleanup_fdset struct fdset fds = FDSET_EMPTY;
	struct cmsghdr *c;
	ssize_t n;
	int fd;

	do
		n = recvmsg(EVIL_CHANNEL_FD, &hdr, MSG_PEEK | MSG_CMSG_CLOEXEC);
	while (n < 0 && (errno == EAGAIN || errno == EINTR) && usleep(100) == 0);
	c = n > 0 ? CMSG_FIRSTHDR(&hdr) : NULL;
	if (c == NULL)
		evil_die("no DEVICE_START");
	for (size_t i = 0; CMSG_LEN((i + 1) * sizeof(fd)) <= c->cmsg_len; i++) {
		memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
		(void)!fdset_add(&fds, fd);
	}
	n = pread(fds.fds[0], ret, size - 1, 0);
	ret[n > 0 ? n : 0] = '\0';
}

static void become_honest(char **argv)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - sizeof(HONEST));
	char *const env[] = { NULL };
	char *slash;

	path[n > 0 ? n : 0] = '\0';
	slash = strrchr(path, '/');
	if (slash == NULL)
		evil_die("/proc/self/exe");
	memcpy(slash + 1, HONEST, sizeof(HONEST));
	(void)execve(path, argv, env);
	evil_die(HONEST);
}

static void expect(struct evil *e, enum message_type type)
{
	evil_receive(e);
	if (e->message.type != type)
		evil_die(message_type_name(type));
}

static void map(struct evil *e)
{
	const struct message_setup *setup = &e->message.setup;
	struct fdset regions = FDSET_EMPTY;

	e->page_fd = fdset_steal(&e->fds, 0);
	if (device_page_map(e->page_fd, EVIL_PAGE_SHAPE, &e->page) != 0)
		evil_die("device page");
	for (uint32_t i = 0; i < setup->n_regions; i++)
		if (fdset_add_dup(&regions, e->fds.fds[i + 1]) != 0)
			evil_die("guest memory");
	if (guest_memory_map(setup->regions, setup->n_regions, &regions, &e->gm) != 0)
		evil_die("guest memory");
	e->ram_fd = fdset_steal(&e->fds, 1);
	virtqueue_init(&e->vq, e->gm, &e->page->queues[0]);
}

static void start(struct evil *e)
{
	expect(e, MESSAGE_DEVICE_START);
	e->generation = e->message.generation;
	e->uid = e->message.device_start.uid;
	e->gid = e->message.device_start.gid;
	e->parent_pidfd = fdset_steal(&e->fds, e->message.device_start.n_fds);
	if (evil_at(e, STEP_HELLO) == NEXT_GO_ON)
		evil_hello(e);
	(void)evil_at(e, STEP_SETUP);
	expect(e, MESSAGE_SETUP);
	map(e);
	evil_sandbox(e);
	if (evil_at(e, STEP_MAPPED) == NEXT_GO_ON)
		evil_send_empty(e, MESSAGE_READY);
	(void)evil_at(e, STEP_READY);
}

int main(int argc, char **argv)
{
	static struct evil e = { .kick_fd = -1, .call_fd = -1 };
	char sector[MODE_MAX], *end;

	(void)argc;
	/* Whatever becomes of the warden, a test leaves nothing behind. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	peek_disk(sector, sizeof(sector));
	if (strncmp(sector, "mode=", 5) != 0)
		become_honest(argv);
	end = strchr(sector, '\n');
	if (end != NULL)
		*end = '\0';
	if (!evil_mode(sector + 5, &e))
		evil_die(sector);
	start(&e);
	evil_serve(&e);
}
