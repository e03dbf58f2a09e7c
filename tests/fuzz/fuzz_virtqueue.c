/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device's side of a split ring over arbitrary guest memory: any ring addresses, any content,
 * a driver that writes between any two steps, and a device page that a predecessor scribbled on.
 *
 * Checked: a chain is accepted or refused as a second reading of the rules says; every span lies in
 * RAM and has the direction that it says; no head is in flight twice; what the driver sees of
 * used->idx is what was pushed; a broken queue stays broken and is not written any more; nothing
 * outside the used ring ever changes; the journal says what is in flight.
 *
 * Input: struct start, N_STEPS of steps, then the content of RAM from 0 on.
 */
#include "device-procs/common/virtqueue.h"
#include "tests/fuzz/fuzz.h"

#define REGION (32u << 10)
#define REGION_2_GPA (64u << 10) /* a hole between the two */
#define SPANS_MAX 16u
#define STEPS_MAX 64u
#define USED_RING(size) (6u + 8u * (size))

struct start {
	uint8_t size_shift; /* low 4 bits; 0x80: size is not a power of two */
	uint8_t features;
	uint8_t n_spans_max;
	uint8_t n_steps;
	uint16_t desc, avail, used; /* units of 2; the top bit: in the second region */
} __attribute__((packed));

static struct guest_memory *gm;
static uint8_t *ram[2]; /* as the core's other side sees it */
static uint8_t before[2][REGION];
static struct device_page_queue page;
static struct virtqueue queues[2], *vq;
static struct virtqueue_setup setup;
static struct span spans[SPANS_MAX];
static struct virtqueue_chain chain;

/* The model: heads that were popped and not pushed, pushed and not flushed, and to be replayed. */
struct heads {
	uint32_t n;
	uint16_t list[DEVICE_QUEUE_SIZE_MAX];
};

static struct heads in_flight, done, replay;
static uint32_t n_replaying; /* of in_flight */
static bool is_replaying[DEVICE_QUEUE_SIZE_MAX], is_careful;
static int last_popped; /* -1: something happened since */
static bool is_refused; /* what the page says is not the queue's any more */

static bool has_head(const struct heads *heads, uint16_t head)
{
	for (uint32_t i = 0; i < heads->n; i++)
		if (heads->list[i] == head)
			return true;
	return false;
}

static void add_head(struct heads *heads, uint16_t head)
{
	fuzz_check(heads->n < DEVICE_QUEUE_SIZE_MAX);
	heads->list[heads->n++] = head;
}

static void open_memory(void)
{
	static const struct guest_region regions[2] = { { 0, REGION }, { REGION_2_GPA, REGION } };

	fuzz_check(guest_memory_create(regions, 2, false, false, &gm) == 0);
	for (uint32_t i = 0; i < 2; i++)
		ram[i] = (uint8_t *)(uintptr_t)guest_memory_host_base(gm, i);
}

static void check_span(const struct span *s, bool is_writable)
{
	struct iovec iov;
	bool is_inside = false;

	fuzz_check(span_len(s) > 0);
	fuzz_check(span_iovec(s, is_writable ? SPAN_DEVICE_WRITES : SPAN_DEVICE_READS, &iov) == 0);
	for (uint32_t i = 0; i < 2; i++) {
		uintptr_t at = (uintptr_t)iov.iov_base, base = (uintptr_t)ram[i];

		if (at >= base && at - base < REGION && iov.iov_len <= REGION - (at - base))
			is_inside = true;
	}
	fuzz_check(is_inside);
}

static void check_chain(void)
{
	uint64_t readable = 0, writable = 0;

	fuzz_check(chain.n_spans <= chain.n_spans_max);
	fuzz_check(chain.n_readable <= chain.n_spans);
	for (uint32_t i = 0; i < chain.n_spans; i++) {
		check_span(&chain.spans[i], i >= chain.n_readable);
		*(i < chain.n_readable ? &readable : &writable) += span_len(&chain.spans[i]);
	}
	fuzz_check((uint64_t)chain.readable_len + chain.writable_len <= UINT32_MAX);
	fuzz_check(readable <= chain.readable_len && writable <= chain.writable_len);
	if (!chain.is_bad && !chain.is_cut) {
		fuzz_check(readable == chain.readable_len && writable == chain.writable_len);
		fuzz_check((chain.last != NULL) == (writable > 0));
	}
	if (chain.last)
		check_span(chain.last, true);
}

static uint16_t load16(uint64_t at)
{
	uint16_t v = 0;

	fuzz_check(guest_memory_read(gm, gpa(at), &v, sizeof(v)) == 0);
	return v;
}

/* VIRTIO 1.2 §2.7.5 once more, as simple as it can be said. */
struct expected {
	bool is_broken;
	bool is_bad;
	bool is_writing;
	uint64_t readable, writable;
};

static bool expect_buffer(struct expected *e, const struct virtqueue_descriptor *d)
{
	bool is_writable = d->flags & 2;
	struct span s;

	if (e->is_writing && !is_writable)
		return false;
	e->is_writing = is_writable;
	*(is_writable ? &e->writable : &e->readable) += d->len;
	if (d->len > 0 && guest_memory_span(gm, gpa(d->addr), d->len, SPAN_DEVICE_READS, &s) != 0)
		e->is_bad = true;
	return e->readable + e->writable <= UINT32_MAX;
}

/* @n descriptors at @table, of which the one at @i is the first. Return: are they a chain? */
static bool expect_table(struct expected *e, uint64_t table, uint32_t n, uint32_t i, bool is_outer)
{
	struct virtqueue_descriptor d;
	struct span whole;

	if (guest_memory_span(gm, gpa(table), n * 16u, SPAN_DEVICE_READS, &whole) != 0)
		return false;
	for (uint32_t links = 0; links < n && i < n; links++, i = d.next) {
		if (guest_memory_read(gm, gpa(table + i * 16ull), &d, sizeof(d)) != 0)
			return false;
		if (d.flags & 4)
			return is_outer && !(d.flags & 1) && d.len >= 16 && d.len % 16 == 0 &&
			       d.len / 16 <= setup.size &&
			       (setup.features & VIRTIO_F_INDIRECT_DESC_BIT) &&
			       expect_table(e, d.addr, d.len / 16, 0, false);
		if (!expect_buffer(e, &d))
			return false;
		if (!(d.flags & 1))
			return true;
	}
	return false;
}

/* Must new chains, or the next one to be replayed, wait for those that are being replayed? */
static bool is_held_back(void)
{
	return setup.is_concurrent && n_replaying > 0 && (replay.n == 0 || is_careful);
}

/* The oldest one to be replayed. */
static uint32_t oldest(void)
{
	uint32_t best = 0;

	for (uint32_t i = 1; i < replay.n; i++)
		if (page.journal[replay.list[i]] < page.journal[replay.list[best]])
			best = i;
	return best;
}

/* What the next pop has to say; @next: position, @idx: the available index that it goes by. */
static struct expected expect_pop(uint16_t next, uint16_t idx)
{
	struct expected e = { 0 };
	uint16_t head;

	if (is_held_back())
		return e;
	if (replay.n > 0) {
		head = replay.list[oldest()];
		e.is_broken = !expect_table(&e, setup.desc, setup.size, head, true);
		return e;
	}
	if (idx == next)
		return e;
	if ((uint16_t)(idx - next) > setup.size) {
		e.is_broken = true;
		return e;
	}
	head = load16(setup.avail + 4 + 2ull * (next % setup.size));
	e.is_broken = head >= setup.size || has_head(&in_flight, head) || has_head(&done, head) ||
		      !expect_table(&e, setup.desc, setup.size, head, true);
	return e;
}

static void check_expected(const struct expected *e, int r)
{
	fuzz_check(e->is_broken == (r == VIRTQUEUE_BROKEN));
	if (r != 0)
		return;
	fuzz_check(chain.readable_len == e->readable && chain.writable_len == e->writable);
	fuzz_check(chain.is_bad == e->is_bad);
}

static uint64_t journal_state(uint32_t head)
{
	uint64_t state = page.journal[head] >> 62, number = page.journal[head] << 2 >> 2;

	return state == JOURNAL_DONE && number < page.used_commit ? JOURNAL_FREE : state;
}

static void step_pop(void)
{
	bool was_broken = virtqueue_fault(vq) != NULL;
	uint64_t position = vq->next_avail;
	uint16_t next = (uint16_t)vq->next_avail, idx = vq->avail_seen;
	struct expected expected;
	int r;

	if (idx == next)
		idx = load16(setup.avail + 2);
	expected = expect_pop(next, idx);
	memset(spans, 0x5a, sizeof(spans));
	r = virtqueue_pop(vq, &chain);
	fuzz_check(r == 0 || r == VIRTQUEUE_EMPTY || r == VIRTQUEUE_BROKEN);
	fuzz_check((r == VIRTQUEUE_BROKEN) == (virtqueue_fault(vq) != NULL));
	fuzz_check(!was_broken || r == VIRTQUEUE_BROKEN);
	if (!was_broken)
		check_expected(&expected, r);
	last_popped = -1;
	if (r != 0) {
		fuzz_check(vq->next_avail == position);
		return;
	}
	fuzz_check(chain.head < setup.size);
	fuzz_check(!has_head(&in_flight, chain.head) && !has_head(&done, chain.head));
	fuzz_check(chain.is_replayed == (replay.n > 0));
	is_replaying[chain.head] = chain.is_replayed;
	n_replaying += chain.is_replayed;
	last_popped = chain.head;
	if (chain.is_replayed) {
		uint32_t i = oldest();

		fuzz_check(replay.list[i] == chain.head);
		fuzz_check(chain.is_poisoned == (page.deaths[chain.head] >= VIRTQUEUE_DEATHS_MAX));
		replay.list[i] = replay.list[--replay.n];
	}
	add_head(&in_flight, chain.head);
	fuzz_check(vq->next_avail == position + !chain.is_replayed);
	fuzz_check(journal_state(chain.head) == JOURNAL_FETCHED);
	check_chain();
}

static void step_unpop(void)
{
	uint16_t head = (uint16_t)last_popped;

	if (last_popped < 0)
		return;
	last_popped = -1;
	fuzz_check(in_flight.list[--in_flight.n] == head);
	virtqueue_unpop(vq, head);
	if (is_replaying[head]) {
		n_replaying--;
		add_head(&replay, head);
	}
	fuzz_check(journal_state(head) == (is_replaying[head] ? JOURNAL_FETCHED : JOURNAL_FREE));
}

/* @which: one of those in flight; with 0x80 any number at all, which would be our own bug. */
static void step_push(uint8_t which, uint32_t len)
{
	uint32_t i = in_flight.n > 0 ? which % in_flight.n : 0;
	uint16_t head;

	if (which & 0x80) {
		if (!has_head(&in_flight, (uint16_t)(which * 5u)))
			virtqueue_push(vq, (uint16_t)(which * 5u), len);
		return;
	}
	if (in_flight.n == 0)
		return;
	head = in_flight.list[i];
	virtqueue_push(vq, head, len);
	last_popped = -1;
	n_replaying -= is_replaying[head];
	in_flight.list[i] = in_flight.list[--in_flight.n];
	add_head(&done, head);
	if (virtqueue_fault(vq) == NULL)
		fuzz_check(page.journal[head] ==
			   ((uint64_t)JOURNAL_DONE << 62 | (vq->used_next - 1)));
}

static void step_flush(void)
{
	bool is_broken = virtqueue_fault(vq) != NULL;
	bool wants = virtqueue_flush(vq);

	fuzz_check(!wants || (done.n > 0 && !is_broken));
	if (done.n > 0 && !is_broken) {
		fuzz_check(load16(setup.used + 2) == (uint16_t)vq->used_next);
		fuzz_check(page.used_commit == vq->used_next);
		fuzz_check(page.next_avail == vq->next_avail);
		if (!(setup.features & VIRTIO_F_EVENT_IDX_BIT) && !setup.resume)
			fuzz_check(wants == !(load16(setup.avail) & 1));
	}
	last_popped = -1;
	for (uint32_t i = 0; i < done.n && !is_broken && !is_refused; i++)
		fuzz_check(journal_state(done.list[i]) == JOURNAL_FREE);
	for (uint32_t i = 0; i < in_flight.n; i++)
		fuzz_check(journal_state(in_flight.list[i]) == JOURNAL_FETCHED);
	done.n = 0;
}

/* The driver writes somewhere; the copy that the end is compared with knows of it. */
static void step_guest_write(uint16_t at, uint16_t v)
{
	uint32_t region = at >> 15, offset = at & (REGION - 2);

	memcpy(ram[region] + offset, &v, sizeof(v));
	memcpy(before[region] + offset, &v, sizeof(v));
}

/* A kick: @n more entries, whatever they are. */
static void step_available(uint8_t n)
{
	uint64_t at = setup.avail + 2;

	if (setup.avail < REGION - 2)
		step_guest_write((uint16_t)at, (uint16_t)(load16(at) + n));
	else if (setup.avail >= REGION_2_GPA && setup.avail < REGION_2_GPA + REGION - 2)
		step_guest_write((uint16_t)((at - REGION_2_GPA) | REGION),
				 (uint16_t)(load16(at) + n));
}

/* The model of a successor: what the journal says is in flight is to be replayed. */
static void expect_replay(void)
{
	in_flight.n = done.n = replay.n = n_replaying = 0;
	is_careful = false;
	last_popped = -1;
	for (uint32_t i = 0; i < setup.size; i++) {
		if (journal_state(i) != JOURNAL_FETCHED)
			continue;
		add_head(&replay, (uint16_t)i);
		is_careful |= page.deaths[i] > 0;
	}
}

/*
 * Another process takes over, from this page. @is_honest: its predecessor kept the page's rules, so
 * it must. Return: false when it does not take over.
 */
static bool step_successor(bool is_honest)
{
	struct virtqueue *next = vq == &queues[0] ? &queues[1] : &queues[0];
	uint32_t n_unfinished = in_flight.n + replay.n;
	uint64_t n_done = vq->used_next;
	bool had_journal = page.size != 0;
	int r;

	setup.resume = true;
	virtqueue_init(next, gm, &page);
	r = virtqueue_enable(next, &setup);
	fuzz_check(r == 0 || r == VIRTQUEUE_BAD_JOURNAL);
	fuzz_check((r == 0) == virtqueue_is_enabled(next));
	fuzz_check(!is_honest || r == 0);
	is_refused = r != 0;
	if (is_refused)
		return false;
	is_honest &= virtqueue_fault(vq) == NULL;
	vq = next;
	expect_replay();
	fuzz_check(!is_honest || (replay.n == n_unfinished && vq->used_next == n_done));
	/* Without a size it is a queue that was never enabled: it starts, and the index is the driver's. */
	fuzz_check(had_journal ? load16(setup.used + 2) == (uint16_t)vq->used_next
			       : vq->used_next == 0);
	fuzz_check(page.next_avail == page.used_commit + replay.n);
	for (uint32_t i = 0; i < setup.size; i++)
		fuzz_check(journal_state(i) == JOURNAL_FETCHED || journal_state(i) == JOURNAL_FREE);
	return true;
}

/* What a compromised process may have left in its page. Only a successor reads it. */
static bool step_scribble(struct fuzz_reader *in)
{
	uint16_t at = fuzz_u16(in);
	uint64_t v = fuzz_u64(in);

	switch (at & 3) {
	case 0:
		if (at & 4)
			page.next_avail += (int8_t)v;
		else
			page.deaths[(at >> 3) % DEVICE_QUEUE_SIZE_MAX] = (uint8_t)v;
		break;
	case 1:
		page.used_commit += at & 4 ? v : (uint64_t)(int8_t)v;
		break;
	case 2:
		page.size = (uint32_t)v;
		break;
	default:
		/* Few heads and small numbers hit more often. */
		if (at & 4)
			v &= UINT64_C(3) << 62 | 15;
		page.journal[(at >> 3) % (at & 0x8000 ? DEVICE_QUEUE_SIZE_MAX : 8)] = v;
		break;
	}
	return step_successor(false);
}

static void copy_used_ring(uint8_t *ret)
{
	fuzz_check(guest_memory_read(gm, gpa(setup.used), ret, USED_RING(setup.size)) == 0);
}

/* What a device does with a queue, after which a broken one is as it was. */
static void step_broken(uint8_t what, uint8_t arg)
{
	static uint8_t old[USED_RING(DEVICE_QUEUE_SIZE_MAX)], now[sizeof(old)];

	copy_used_ring(old);
	if (what % 4 == 0)
		step_pop();
	else if (what % 4 == 1)
		step_push(arg, arg);
	else if (what % 4 == 2)
		step_flush();
	else
		virtqueue_disable_notify(vq);
	fuzz_check(!virtqueue_enable_notify(vq));
	fuzz_check(!virtqueue_has_more(vq));
	fuzz_check(virtqueue_fault(vq) != NULL);
	copy_used_ring(now);
	fuzz_check(memcmp(old, now, USED_RING(setup.size)) == 0);
}

/* Return: false when the queue is not usable any more. */
static bool step(struct fuzz_reader *in)
{
	uint8_t what = fuzz_u8(in);
	uint8_t arg = fuzz_u8(in);

	if (virtqueue_fault(vq) != NULL && what % 10 < 8) {
		step_broken(what, arg);
		return true;
	}
	switch (what % 10) {
	case 0:
	case 1:
		step_pop();
		return true;
	case 2:
		step_push(arg, fuzz_u32(in));
		return true;
	case 3:
		step_flush();
		return true;
	case 4:
		step_guest_write(fuzz_u16(in), fuzz_u16(in));
		return true;
	case 5:
		step_available(arg);
		return true;
	case 6:
		fuzz_check(virtqueue_enable_notify(vq) == virtqueue_has_more(vq));
		return true;
	case 7:
		if (arg & 1)
			step_unpop();
		else
			virtqueue_disable_notify(vq);
		return true;
	case 8:
		return step_successor(true);
	default:
		return step_scribble(in);
	}
}

/* Every chain is handed back, as a device does at a reset. */
static void finish(void)
{
	while (in_flight.n > 0)
		step_push(0, 0);
	step_flush();
	virtqueue_disable(vq);
	fuzz_check(!virtqueue_is_enabled(vq) && page.size == 0);
}

static bool is_in_used_ring(uint64_t at)
{
	return at >= setup.used && at - setup.used < USED_RING(setup.size);
}

static void check_memory(bool was_enabled)
{
	static const uint64_t bases[2] = { 0, REGION_2_GPA };

	for (uint32_t i = 0; i < 2; i++) {
		if (memcmp(ram[i], before[i], REGION) == 0)
			continue;
		for (uint32_t k = 0; k < REGION; k++)
			fuzz_check(ram[i][k] == before[i][k] ||
				   (was_enabled && is_in_used_ring(bases[i] + k)));
	}
}

static uint64_t address(uint16_t v)
{
	uint64_t at = (uint64_t)(v & 0x7fff) * 2;

	return v & 0x8000 ? at + REGION_2_GPA : at;
}

static void prepare(const struct start *s)
{
	static const uint64_t bits[3] = { VIRTIO_F_INDIRECT_DESC_BIT, VIRTIO_F_EVENT_IDX_BIT,
					  VIRTIO_F_VERSION_1_BIT };

	setup = (struct virtqueue_setup){
		.size = (1u << (s->size_shift & 15)) + (s->size_shift >> 7),
		.desc = address(s->desc),
		.avail = address(s->avail),
		.used = address(s->used),
	};
	for (uint32_t i = 0; i < 3; i++)
		setup.features |= s->features >> i & 1 ? bits[i] : 0;
	chain = (struct virtqueue_chain){ .spans = spans,
					  .n_spans_max = s->n_spans_max % SPANS_MAX };
	setup.is_concurrent = s->features >> 3 & 1;
	memset(&page, 0, sizeof(page));
	in_flight.n = done.n = replay.n = n_replaying = 0;
	last_popped = -1;
	is_careful = is_refused = false;
	vq = &queues[0];
	virtqueue_init(vq, gm, &page);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_reader in = { data, size }, steps;
	struct start s;
	int r;

	if (gm == NULL)
		open_memory();
	fuzz_bytes(&in, &s, sizeof(s));
	steps = in;
	if (steps.left > s.n_steps)
		steps.left = s.n_steps;
	in.at += steps.left;
	in.left -= steps.left;
	fuzz_bytes(&in, ram[0], REGION);
	fuzz_bytes(&in, ram[1], REGION);
	memcpy(before[0], ram[0], REGION);
	memcpy(before[1], ram[1], REGION);
	prepare(&s);
	r = virtqueue_enable(vq, &setup);
	fuzz_check(r == 0 || r == VIRTQUEUE_BAD_SETUP);
	fuzz_check((r == 0) == virtqueue_is_enabled(vq));
	if (r == 0) {
		for (uint32_t i = 0; i < STEPS_MAX && steps.left > 0; i++)
			if (!step(&steps))
				break;
		finish();
	}
	check_memory(r == 0);
	return 0;
}
