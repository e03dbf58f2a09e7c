/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the journal costs, within one process: it is written and left out by turns of some
 * milliseconds each, which tests/bench/journal-cost reads out of the memory of the process. No
 * successor could continue from that journal.
 */
#include "device-procs/common/virtqueue.h"

#define TURN_CYCLES 10000000u
#define LOOK 64u /* requests between two looks at the clock */
#define TURNS_MAX 65536u

/* Of four turns the second and the third are without. journal-cost knows the layout. */
struct {
	uint64_t n_turns;
	struct {
		uint64_t requests, cycles;
	} turns[TURNS_MAX];
} journal_turns;

static bool is_bare;

/* journal_bare.c */
int bare_pop(struct virtqueue *vq, struct virtqueue_chain *chain);
void bare_push(struct virtqueue *vq, uint16_t head, uint32_t len);
void bare_show(struct virtqueue *vq);
bool bare_flush(struct virtqueue *vq);

int __real_virtqueue_pop(struct virtqueue *vq, struct virtqueue_chain *chain);
void __real_virtqueue_push(struct virtqueue *vq, uint16_t head, uint32_t len);
void __real_virtqueue_show(struct virtqueue *vq);
bool __real_virtqueue_flush(struct virtqueue *vq);
int __wrap_virtqueue_pop(struct virtqueue *vq, struct virtqueue_chain *chain);
void __wrap_virtqueue_push(struct virtqueue *vq, uint16_t head, uint32_t len);
void __wrap_virtqueue_show(struct virtqueue *vq);
bool __wrap_virtqueue_flush(struct virtqueue *vq);

static void count(void)
{
	static uint64_t began, n_requests;
	uint64_t now, n = journal_turns.n_turns;

	if (++n_requests % LOOK != 0)
		return;
	now = __builtin_ia32_rdtsc();
	if (now - began < TURN_CYCLES || n == TURNS_MAX)
		return;
	if (began != 0) {
		journal_turns.turns[n].requests = n_requests;
		journal_turns.turns[n++].cycles = now - began;
		__atomic_store_n(&journal_turns.n_turns, n, __ATOMIC_RELEASE);
	}
	is_bare = n % 4 == 1 || n % 4 == 2;
	began = now;
	n_requests = 0;
}

int __wrap_virtqueue_pop(struct virtqueue *vq, struct virtqueue_chain *chain)
{
	int r = (is_bare ? bare_pop : __real_virtqueue_pop)(vq, chain);

	if (r == 0)
		count();
	return r;
}

void __wrap_virtqueue_push(struct virtqueue *vq, uint16_t head, uint32_t len)
{
	(is_bare ? bare_push : __real_virtqueue_push)(vq, head, len);
}

void __wrap_virtqueue_show(struct virtqueue *vq)
{
	(is_bare ? bare_show : __real_virtqueue_show)(vq);
}

bool __wrap_virtqueue_flush(struct virtqueue *vq)
{
	return (is_bare ? bare_flush : __real_virtqueue_flush)(vq);
}
