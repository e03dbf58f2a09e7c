/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the IOMMU costs a driver, to be read by the host: probe=bench-iommu rounds=N
 *
 * A bare round trip of its request queue: a request as long as the others whose answer is a status
 * (a MAP with a flag that nobody knows), so that the buffers that travel between the CPUs are those
 * of any request; the same without even an answer (an unknown type, which is handed back); a MAP
 * and the UNMAP of it in one kick, and the two one after the other. The median of turns that
 * alternate, so that whatever else the machine does hits all of them, and few.
 *
 * Twice: first with the device awake all the time, since each trip comes within the time in which
 * it looks for another; then, as kicked_*, with the device asleep when a sample begins, so that
 * each begins with a kick that wakes it. What comes second in a sample finds it as it may.
 *
 * With the word "endless" the first goes on until `q` on COM1, and is all.
 */
#include "iommu.h"
#include "modes.h"

#define PAGE 4096ull
#define AT 0x4000000000ull
#define TURN 100u /* trips */
#define TURNS_MAX 1000u
#define KICKED_SAMPLES 300u
#define ASLEEP_TSC 800000u /* since it asked for a kick: 200 us at 4 GHz, then it sleeps */

enum kind {
	BARE,
	UNANSWERED,
	ONE_KICK,
	ONE_BY_ONE,
	N_KINDS,
};

#define UNKNOWN 0xff /* type, and flags */

/* Heads 0, 2, 4 and 6: MAP, UNMAP, what has nothing but an answer, and what has not even that */
static struct iommu_request *requests;
static volatile uint8_t *statuses;

static void prepare(void)
{
	static const uint8_t types[] = { IOMMU_MAP, IOMMU_UNMAP, IOMMU_MAP, UNKNOWN };
	static const uint32_t flags[] = { MAP_RW, 0, UNKNOWN, 0 };

	requests = memory_alloc(ARRAY_LEN(types) * sizeof(*requests), 64);
	statuses = memory_alloc(ARRAY_LEN(types) * 64, 64);
	for (uint16_t i = 0; i < ARRAY_LEN(types); i++) {
		struct iommu_request *q = &requests[i];

		*q = (struct iommu_request){ .type = types[i] };
		q->map.domain = 1;
		q->map.start = AT;
		q->map.last = AT + PAGE - 1;
		q->map.flags = flags[i];
		vq_desc(&mmu.requests, (uint16_t)(2 * i), q, i == 1 ? 28 : 36, DESC_NEXT,
			(uint16_t)(2 * i + 1));
		vq_desc(&mmu.requests, (uint16_t)(2 * i + 1), statuses + i * 64, 4, DESC_WRITE, 0);
	}
}

static uint64_t kicks;

static bool trip(const uint16_t *heads, uint16_t n)
{
	struct vq *vq = &mmu.requests;
	uint16_t old = vq->avail_idx, want = (uint16_t)(vq->used_idx + n);
	uint64_t looks = 0;

	for (uint16_t i = 0; i < n; i++)
		vq_stage(vq, heads[i]);
	vq_publish(vq);
	kicks += vq_kick_event(vq, old);
	while (vq->used->idx != want) {
		if (++looks > 10000000000ull)
			return false;
		cpu_pause();
	}
	vq->used_idx = want;
	return true;
}

static bool once(enum kind kind)
{
	static const uint16_t map[] = { 0 }, unmap[] = { 2 }, both[] = { 0, 2 }, bare[] = { 4 },
			      unanswered[] = { 6 };

	if (kind == UNANSWERED)
		return trip(unanswered, 1);
	if (kind == BARE) {
		statuses[128] = 0xee;
		return trip(bare, 1) && statuses[128] == IOMMU_INVAL;
	}
	statuses[0] = statuses[64] = 0xee;
	if (!(kind == ONE_KICK ? trip(both, 2) : trip(map, 1) && trip(unmap, 1)))
		return false;
	return statuses[0] == IOMMU_OK && statuses[64] == IOMMU_OK;
}

/* Nothing is under way: the device has asked for a kick, and has had time to go to sleep. */
static bool wait_asleep(void)
{
	const struct vq *vq = &mmu.requests;
	uint64_t limit = time_deadline(1000), since = cpu_tsc();

	while (cpu_tsc() - since < ASLEEP_TSC) {
		if (*vq_avail_event(vq) != vq->avail_idx)
			since = cpu_tsc();
		if (time_passed(limit))
			return false;
		cpu_pause();
	}
	return true;
}

static uint64_t median(uint64_t *v, unsigned n)
{
	for (unsigned i = 1; i < n; i++)
		for (unsigned k = i; k > 0 && v[k] < v[k - 1]; k--) {
			uint64_t t = v[k];

			v[k] = v[k - 1];
			v[k - 1] = t;
		}
	return n ? v[n / 2] : 0;
}

static uint64_t cycles[N_KINDS][TURNS_MAX];

/* Return: false: a request failed */
static bool run_awake(uint64_t rounds, bool is_endless, unsigned *ret_n)
{
	unsigned turn = 0;

	for (; is_endless ? console_get() != 'q' : turn * TURN < rounds; turn++) {
		for (enum kind kind = 0; kind < N_KINDS; kind++) {
			uint64_t begin = cpu_tsc();

			for (unsigned i = 0; i < TURN; i++)
				if (!once(kind))
					return false;
			cycles[kind][turn % TURNS_MAX] = (cpu_tsc() - begin) / TURN;
		}
	}
	*ret_n = turn < TURNS_MAX ? turn : TURNS_MAX;
	return true;
}

/* Return: false: a request failed, or the device was not asleep */
static bool run_kicked(void)
{
	for (unsigned i = 0; i < KICKED_SAMPLES; i++) {
		for (enum kind kind = 0; kind < N_KINDS; kind++) {
			uint64_t begin, before = kicks;

			if (!wait_asleep())
				return false;
			begin = cpu_tsc();
			if (!once(kind) || kicks == before)
				return false;
			cycles[kind][i] = cpu_tsc() - begin;
		}
	}
	return true;
}

static void print_medians(const char *prefix, unsigned n)
{
	static const char *const names[] = { "bare", "unanswered", "one_kick", "one_by_one" };

	for (enum kind kind = 0; kind < N_KINDS; kind++)
		print(" %s%s=%lu", prefix, names[kind], median(cycles[kind], n));
}

void bench_iommu_run(void)
{
	bool is_endless = boot_option("endless", NULL, 0);
	uint64_t rounds = boot_option_number("rounds", 20000);
	unsigned n;

	discover();
	mmu.dev = discover_nth(VIRTIO_ID_IOMMU, 0);
	disk = discover_nth(VIRTIO_ID_BLK, 0);
	if (!mmu.dev || !disk || iommu_start(IOMMU_FEATURES | FEATURE_EVENT_IDX, 0) ||
	    iommu_attach(1, disk->function, 0) != IOMMU_OK) {
		print("bench: no IOMMU with a disk\n");
		return;
	}
	prepare();
	print("bench: ready\n");
	if (!run_awake(rounds, is_endless, &n)) {
		print("bench: a request failed\n");
		return;
	}
	print("bench: end");
	print_medians("", n);
	if (!is_endless) {
		if (!run_kicked()) {
			print("\nbench: a request failed, or the device did not sleep\n");
			return;
		}
		print_medians("kicked_", KICKED_SAMPLES);
	}
	print("\nbench: done\n");
}
