/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-console: bytes between two queues and the host. bulkhead-console. Hostile: the guest
 * behind the queues; its bytes are not looked at.
 *
 * Nothing is ever in flight between two turns: a chain is popped, its bytes are moved, and it is
 * pushed, or given back when the host's side has no room or no bytes. So a reset never waits for
 * somebody who does not read, and what the host's side cannot take yet stays with the guest, which
 * is how a guest that floods is throttled. Output is used up only when it is written; input is
 * read only while the guest has room. console_journal.h says what survives this process.
 *
 * Bytes are dropped, and counted, only where nobody is there to read: no output at all (null), an
 * end that was closed, a socket without a client, a pty whose other end nobody reads. Nothing tells
 * us whether somebody holds that end, so it is given PTY_UNSEEN_S to take something, and once
 * anybody has read or typed there PTY_SEEN_S, in which a slow machine gets any reader to run.
 *
 * F_EMERG_WRITE is not offered: a driver that has lost its queues would send a message a byte, and
 * a device that cannot keep up would be taken for hung.
 */
#include "device-procs/console/console_device.h"

#include <endian.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <linux/virtio_console.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include "device-procs/console/console_host.h"
#include "device-procs/console/console_journal.h"
#include "ipc/log.h"
#include "sandbox/filters.h"

#define QUEUE_SIZE 128u
/* A chain has no more descriptors than the queue, but those may lie in more mappings. */
#define SPANS_MAX (2 * QUEUE_SIZE)
#define BATCH 32u /* chains before other events get their turn */
#define TURN_BYTES (256u << 10) /* and bytes of output */
#define PTY_UNSEEN_S 1
#define PTY_SEEN_S 10

enum { RECEIVEQ, TRANSMITQ, QUEUES };

enum output_state {
	OUTPUT_READY,
	OUTPUT_WAITING, /* for the host's side to take more */
	OUTPUT_UNREAD, /* dropped until it takes more */
};

/* transmit(): not done. The chain goes back to the queue. */
enum { TRANSMIT_WAIT = 1, TRANSMIT_TURN_OVER };

struct console_device {
	struct device *dev;
	struct event_base *base;
	struct console_host host;
	struct console_state *state; /* in the device page */
	struct console_input input; /* what state->input says */
	uint32_t output_done; /* what state->output_done says */
	enum output_state output;
	bool is_seen; /* pty: somebody is, or was, at its other end */
	uint16_t columns, rows; /* as the driver sees them */
	struct event readable, writable, resized, client;
	struct span spans[SPANS_MAX];
	struct iovec iov[SPANS_MAX];
};

static const struct sandbox_profile profile = {
	.name = "console",
	.filter = &console_filter,
	/* 0 to 3, host's ends, signalfd, epoll and its pipe, spare ones while starting, kick, call */
	.max_fds = 40,
	.max_threads = 1,
	.fsize_from_params = true,
};

static void fill_config(const struct console_device *c, struct device_offer *offer)
{
	struct virtio_console_config config = {
		.cols = htole16(c->columns), .rows = htole16(c->rows),
		.max_nr_ports = htole32(1),
	};

	offer->config_len = sizeof(config);
	memcpy(offer->config, &config, sizeof(config));
}

static int console_open(const struct message_device_start *start, struct fdset *fds,
			void **ret_state, struct device_offer *offer, char *text)
{
	const struct console_config *config = &start->config.console;
	cleanup_free struct console_device *c = calloc(1, sizeof(*c));
	int r;

	(void)text;
	if (!c)
		return -ENOMEM;
	r = console_host_open(config, fds, &c->host);
	if (r < 0)
		return r;
	(void)console_host_size(&c->host, &c->columns, &c->rows);
	if (c->host.has_size)
		offer->features = UINT64_C(1) << VIRTIO_CONSOLE_F_SIZE;
	offer->n_queues = QUEUES;
	offer->queue_size_max = QUEUE_SIZE;
	offer->state_size = sizeof(struct console_state);
	fill_config(c, offer);
	/* Only a console that writes to a file may make one grow. */
	offer->file_size_max = c->host.out.is_file ? RLIM_INFINITY : 0;
	if (c->host.in.fd >= 0)
		offer->keep_fds[offer->n_keep_fds++] = c->host.in.fd;
	if (c->host.out.fd >= 0)
		offer->keep_fds[offer->n_keep_fds++] = c->host.out.fd;
	if (c->host.listen_fd >= 0)
		offer->keep_fds[offer->n_keep_fds++] = c->host.listen_fd;
	offer->n_late_fds = c->host.listen_fd >= 0; /* the client */
	*ret_state = ptr_steal(c);
	return 0;
}

/* --- the host's side --- */

static void watch(struct console_device *c, struct event *e, const struct timeval *patience)
{
	if (event_add(e, patience) < 0)
		device_fail(c->dev, "the host's side cannot be watched");
}

/* The driver hears of it by a configuration change, §5.3.6. */
static void check_size(struct console_device *c)
{
	uint16_t columns, rows, fields[2];

	if (!console_host_size(&c->host, &columns, &rows) ||
	    (columns == c->columns && rows == c->rows))
		return;
	c->columns = columns;
	c->rows = rows;
	fields[0] = htole16(columns);
	fields[1] = htole16(rows);
	device_config_changed(c->dev, 0, fields, sizeof(fields));
}

/* The warden passes on the signal: this process is in no terminal's session. */
static void on_resized(evutil_socket_t fd, short what, void *ctx)
{
	struct signalfd_siginfo info;

	(void)what;
	if (read(fd, &info, sizeof(info)) == sizeof(info))
		check_size(ctx);
}

/* A queue that is paused or disabled is looked at again when it comes back. */
static void on_readable(evutil_socket_t fd, short what, void *ctx)
{
	struct console_device *c = ctx;

	(void)fd;
	(void)what;
	device_kick_again(c->dev, RECEIVEQ);
}

static void on_writable(evutil_socket_t fd, short what, void *ctx)
{
	struct console_device *c = ctx;

	(void)fd;
	if (what & EV_TIMEOUT) {
		log_limited(LOG_LEVEL_WARNING, "nobody reads the pty; output is dropped");
		c->output = OUTPUT_UNREAD;
		watch(c, &c->writable, NULL);
	} else {
		c->output = OUTPUT_READY;
		c->is_seen = true;
	}
	device_kick_again(c->dev, TRANSMITQ);
}

static int assign_ends(struct console_device *c)
{
	const struct console_host *h = &c->host;

	if (h->in.fd >= 0 &&
	    event_assign(&c->readable, c->base, h->in.fd, EV_READ, on_readable, c) < 0)
		return -EINVAL;
	if (h->out.fd >= 0 &&
	    event_assign(&c->writable, c->base, h->out.fd, EV_WRITE, on_writable, c) < 0)
		return -EINVAL;
	return 0;
}

/* One client at a time; the next one waits in the socket's queue until this one has left. */
static void on_client(evutil_socket_t fd, short what, void *ctx)
{
	struct console_device *c = ctx;
	int r = console_host_accept(&c->host);

	(void)fd;
	(void)what;
	if (r == CONSOLE_HOST_WAIT)
		watch(c, &c->client, NULL);
	else if (r < 0 || assign_ends(c) < 0)
		device_fail(c->dev, "socket: %s", strerror(r < 0 ? -r : ENOMEM));
	device_kick_again(c->dev, RECEIVEQ);
	device_kick_again(c->dev, TRANSMITQ);
}

/* Input is over, or the client has left. */
static void hang_up(struct console_device *c)
{
	if (c->host.in.fd >= 0)
		(void)event_del(&c->readable);
	if (c->host.listen_fd >= 0 && c->host.out.fd >= 0) {
		(void)event_del(&c->writable);
		c->output = OUTPUT_READY;
		device_kick_again(c->dev, TRANSMITQ);
		watch(c, &c->client, NULL);
	}
	console_host_hang_up(&c->host);
}

static int make_signalfd(void)
{
	sigset_t set;

	if (sigemptyset(&set) < 0 || sigaddset(&set, SIGWINCH) < 0 ||
	    sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static int console_start(void *state, struct device *dev, struct event_base *base)
{
	struct console_device *c = state;
	int r, fd;

	c->dev = dev;
	c->base = base;
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR) /* a reader that leaves is no reason to die */
		return -errno;
	r = assign_ends(c);
	if (r == 0 && c->host.listen_fd >= 0 &&
	    event_assign(&c->client, base, c->host.listen_fd, EV_READ, on_client, c) < 0)
		r = -EINVAL;
	if (r < 0 || !c->host.has_size)
		return r;
	fd = make_signalfd();
	if (fd < 0)
		return -errno;
	if (event_assign(&c->resized, base, fd, EV_READ | EV_PERSIST, on_resized, c) < 0 ||
	    event_add(&c->resized, NULL) < 0)
		return -ENOMEM;
	return 0;
}

/* --- output: transmitq --- */

/* At most TURN_BYTES of the chain from @offset on; Return: entries of c->iov */
static uint32_t gather(struct console_device *c, const struct virtqueue_chain *chain,
		       uint32_t offset)
{
	uint32_t i, n = 0, room = TURN_BYTES;

	for (i = 0; i < chain->n_readable && room > 0; i++) {
		uint32_t len = span_len(&chain->spans[i]);
		struct span rest;

		if (offset >= len) {
			offset -= len;
			continue;
		}
		len = len - offset < room ? len - offset : room;
		if (span_cut(&chain->spans[i], offset, len, &rest) != 0 ||
		    span_iovec(&rest, SPAN_DEVICE_READS, &c->iov[n]) != 0)
			break;
		room -= len;
		offset = 0;
		n++;
	}
	return n;
}

static void drop(struct console_device *c, uint32_t n)
{
	device_count(c->dev, DEVICE_COUNTER_DROPPED_BYTES, n);
}

/* Return: 0: every byte is out or dropped; TRANSMIT_* */
static int transmit(struct console_device *c, const struct virtqueue_chain *chain,
		    uint32_t *budget)
{
	uint32_t len = chain->readable_len, n = 0;

	while (c->output_done < len) {
		uint32_t n_iov = gather(c, chain, c->output_done);
		int r = c->output == OUTPUT_UNREAD || n_iov == 0 ?
				CONSOLE_HOST_NOBODY :
				console_host_write(&c->host, c->iov, n_iov, &n);

		if (r == CONSOLE_HOST_WAIT)
			return TRANSMIT_WAIT;
		if (r == CONSOLE_HOST_NOBODY) {
			drop(c, len - c->output_done);
			if (c->host.listen_fd >= 0 && c->host.out.fd >= 0)
				hang_up(c);
			return 0;
		}
		device_count(c->dev, DEVICE_COUNTER_WRITE_BYTES, n);
		c->output_done += n;
		console_output_store(c->state, c->output_done);
		if (c->output_done < len && n >= *budget)
			return TRANSMIT_TURN_OVER;
		*budget -= n < *budget ? n : *budget;
	}
	return 0;
}

/* §5.3.6.1: nothing in there is for the device to write. */
static int take_output(struct console_device *c, struct virtqueue *vq,
		       const struct virtqueue_chain *chain, uint32_t *budget)
{
	bool is_bad = chain->is_bad || chain->is_cut || chain->writable_len > 0 ||
		      chain->is_poisoned;
	int r = 0;

	if (is_bad)
		device_count(c->dev, DEVICE_COUNTER_BAD_REQUESTS, 1);
	else
		r = transmit(c, chain, budget);
	if (r != 0) {
		virtqueue_unpop(vq, chain->head);
		return r;
	}
	/* Before the push: a chain that is popped again must not skip what it did not write. */
	c->output_done = 0;
	console_output_store(c->state, 0);
	device_count(c->dev, DEVICE_COUNTER_WRITES, !is_bad);
	virtqueue_push(vq, chain->head, 0);
	return 0;
}

/* Return: 0: more may be there; VIRTQUEUE_EMPTY: nothing, or nothing that can be done now */
static int take_outputs(struct console_device *c, struct virtqueue *vq)
{
	const struct timeval patience = { .tv_sec = c->is_seen ? PTY_SEEN_S : PTY_UNSEEN_S };
	struct virtqueue_chain chain = { .spans = c->spans, .n_spans_max = SPANS_MAX };
	uint32_t i, budget = TURN_BYTES;

	for (i = 0; i < BATCH; i++) {
		int r = virtqueue_pop(vq, &chain);

		if (r == VIRTQUEUE_EMPTY && virtqueue_enable_notify(vq))
			continue;
		if (r != 0)
			return r;
		r = take_output(c, vq, &chain, &budget);
		if (r == TRANSMIT_TURN_OVER)
			return 0;
		if (r == TRANSMIT_WAIT) {
			c->output = OUTPUT_WAITING;
			watch(c, &c->writable, c->host.is_pty ? &patience : NULL);
			return VIRTQUEUE_EMPTY;
		}
	}
	return 0;
}

/* --- input: receiveq --- */

static void store_input(struct console_device *c, struct console_input input)
{
	c->input = input;
	console_input_store(c->state, input);
}

static void give(struct console_device *c, struct virtqueue *vq,
		 const struct virtqueue_chain *chain)
{
	const uint8_t *from = c->state->bytes + c->input.taken;
	uint32_t i, len = console_input_left(c->input), done = 0;

	if (len > chain->writable_len)
		len = chain->writable_len;
	c->input.given = (uint16_t)len;
	store_input(c, c->input);
	for (i = chain->n_readable; i < chain->n_spans && done < len; i++) {
		uint32_t n = span_len(&chain->spans[i]);

		if (n > len - done)
			n = len - done;
		if (span_copy_out(&chain->spans[i], 0, from + done, n) != 0)
			break;
		done += n;
	}
	virtqueue_push(vq, chain->head, done);
	store_input(c, console_input_settle(c->input, true));
	device_count(c->dev, DEVICE_COUNTER_READS, 1);
	device_count(c->dev, DEVICE_COUNTER_READ_BYTES, done);
}

/* Return: 0: the parked bytes are gone, or one chain was used; VIRTQUEUE_EMPTY, _BROKEN */
static int give_some(struct console_device *c, struct virtqueue *vq)
{
	struct virtqueue_chain chain = { .spans = c->spans, .n_spans_max = SPANS_MAX };
	int r;

	if (console_input_left(c->input) == 0 && c->input.given == 0)
		return 0;
	r = virtqueue_pop(vq, &chain);
	if (c->input.given != 0) /* a predecessor's: see console_journal.h */
		store_input(c, console_input_settle(c->input, !(r == 0 && chain.is_replayed)));
	if (r != 0)
		return r;
	if (console_input_left(c->input) == 0) {
		virtqueue_unpop(vq, chain.head);
	} else if (chain.is_bad || chain.is_cut || chain.n_readable > 0 ||
		   chain.writable_len == 0 || chain.is_poisoned) {
		device_count(c->dev, DEVICE_COUNTER_BAD_REQUESTS, 1);
		virtqueue_push(vq, chain.head, 0);
	} else {
		give(c, vq, &chain);
	}
	return 0;
}

/* Return: 0: bytes are parked; CONSOLE_HOST_WAIT, CONSOLE_HOST_NOBODY */
static int fetch(struct console_device *c)
{
	uint32_t n = 0;
	int r = console_host_read(&c->host, c->state->bytes, CONSOLE_INPUT_BYTES, &n);

	if (r == 0)
		store_input(c, (struct console_input){ .len = (uint16_t)n });
	else if (r == CONSOLE_HOST_WAIT)
		watch(c, &c->readable, NULL);
	else if (c->host.in.fd >= 0)
		hang_up(c);
	/* A pty does not say that it was resized; whoever resizes it types soon. */
	if (r == 0 && c->host.is_pty) {
		c->is_seen = true;
		check_size(c);
	}
	return r;
}

/* As take_outputs(). Nothing is read from the host that the guest has no room for. */
static int take_inputs(struct console_device *c, struct virtqueue *vq)
{
	uint32_t i;

	for (i = 0; i < BATCH; i++) {
		int r = give_some(c, vq);

		if (r == VIRTQUEUE_EMPTY && virtqueue_enable_notify(vq))
			continue;
		if (r != 0)
			return r;
		if (console_input_left(c->input) > 0)
			continue;
		if (!virtqueue_has_more(vq) && !virtqueue_enable_notify(vq))
			return VIRTQUEUE_EMPTY;
		if (fetch(c) != 0)
			return VIRTQUEUE_EMPTY;
	}
	return 0;
}

/* --- both --- */

static int console_kick(void *state, uint32_t queue)
{
	struct console_device *c = state;
	struct virtqueue *vq = device_virtqueue(c->dev, queue);
	int r;

	if (virtqueue_fault(vq) || (queue == TRANSMITQ && c->output == OUTPUT_WAITING))
		return 0;
	virtqueue_disable_notify(vq);
	r = queue == TRANSMITQ ? take_outputs(c, vq) : take_inputs(c, vq);
	if (r == VIRTQUEUE_BROKEN)
		device_queue_broke(c->dev, queue);
	else if (r == 0)
		device_kick_again(c->dev, queue);
	device_publish(c->dev, queue);
	return 0;
}

static void console_set_features(void *state, uint64_t features)
{
	struct console_device *c = state;

	(void)features; /* the fields of config space are there in any case */
	c->state = device_state_area(c->dev);
	c->input = console_input_load(c->state);
	c->output_done = console_output_load(c->state);
	check_size(c); /* it may have changed before anybody could tell */
	/* Not sooner: a process that stands by must not take its predecessor's clients. */
	if (c->host.listen_fd >= 0 && c->host.out.fd < 0)
		watch(c, &c->client, NULL);
}

const struct device_ops console_device_ops = {
	.name = "console",
	.type = DEVICE_TYPE_CONSOLE,
	.profile = &profile,
	.is_sealed_early = true,
	.open = console_open,
	.start = console_start,
	.set_features = console_set_features,
	.kick = console_kick,
};
