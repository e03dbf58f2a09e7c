/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plays warden, core and driver for one real device process: spawns it as the warden would, sets
 * it up as the core would, and works its virtqueues as a guest would, well or badly.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "device-procs/common/iommu_table.h"
#include "ipc/channel.h"
#include "ipc/device_page.h"
#include "ipc/guest_memory.h"
#include "ipc/message.h"
#include "vmm-core/warden/fence.h"

#define FAKE_QUEUES_MAX 4u
#define FAKE_QUEUE_SIZE_MAX 256u
#define FAKE_WAIT_MS 20000u /* far beyond what any step takes */

/* Guest addresses: RAM from 0; one block of rings per queue; then headers; then data. */
#define FAKE_RAM_BYTES (64u << 20)
#define FAKE_RINGS(q) (0x10000u + (q)*0x10000u)
#define FAKE_HEADERS(q) (0x100000u + (q)*0x10000u)
#define FAKE_DATA 0x200000u
#define FAKE_CID 42u
#define FAKE_GENERATION 7u /* of the process */

#define FAKE_DESC_NEXT 1u
#define FAKE_DESC_WRITE 2u
#define FAKE_DESC_INDIRECT 4u

struct fake_queue {
	uint32_t size;
	int kick_fd, call_fd;
	uint16_t avail_idx, used_idx;
	uint16_t next_desc; /* descriptors are handed out round robin */
};

struct fake_core {
	struct channel *channel;
	struct guest_memory *gm;
	struct device_page *page;
	struct message_hello hello;
	uint32_t n_queues;
	uint32_t seq;
	pid_t pid;
	struct fence fence;
	struct iommu_table *table; /* of an IOMMU, as is the page of its endpoint */
	struct iommu_page *endpoint;
	struct fake_queue queues[FAKE_QUEUES_MAX];
};

struct fake_core_config {
	const char *program;
	const char *disk; /* path */
	bool read_only, direct;
	uint32_t n_queues, queue_size;
	uint32_t uid; /* 0: a default one */
	bool is_rng; /* instead of a disk: the source of entropy, with the kernel's own bytes */
	bool is_iommu; /* instead of a disk: the IOMMU with one endpoint, 0x10 in slot 2 */
	const struct fdset *vsock; /* instead of a disk: a vsock of cid FAKE_CID with these fds */
};

/** fake_core_greet() - until HELLO, whose sender then waits for SETUP */
void fake_core_greet(struct fake_core *c, const struct fake_core_config *config);

/** fake_core_start() - until READY; fails the test otherwise */
void fake_core_start(struct fake_core *c, const struct fake_core_config *config);

/** fake_core_stop() - close the channel, wait for the end; Return: wait status */
int fake_core_stop(struct fake_core *c);

/** fake_core_wait_exit() - wait for the end without closing anything; Return: wait status */
int fake_core_wait_exit(struct fake_core *c);

/** fake_core_request() - send and wait for the reply; Return: its result */
int fake_core_request(struct fake_core *c, struct message *m, const struct fdset *fds,
		      uint64_t *ret_value);

/** fake_core_simple() - a request without content */
int fake_core_simple(struct fake_core *c, enum message_type type);

/** fake_core_receive() - wait for the next message of the device */
void fake_core_receive(struct fake_core *c, struct message *ret);

/** fake_core_set_features() - all that was offered, without those in @not */
int fake_core_set_features(struct fake_core *c, uint64_t not);

/** fake_core_enable() - clean rings, new eventfds, ENABLE_QUEUE; Return: result of the reply */
int fake_core_enable(struct fake_core *c, uint32_t q, uint32_t size);

/** fake_core_resume() - the same rings and fds again, as for a successor; Return: result */
int fake_core_resume(struct fake_core *c, uint32_t q);

/** fake_core_activate() - features and all queues */
void fake_core_activate(struct fake_core *c, uint64_t not_features);

/* The driver's side. */
struct fake_buffer {
	uint64_t at;
	uint32_t len;
	bool write; /* device writes */
};

/** fake_desc() - write descriptor @i of queue @q */
void fake_desc(struct fake_core *c, uint32_t q, uint16_t i, uint64_t addr, uint32_t len,
	       uint16_t flags, uint16_t next);

/** fake_add() - make a chain of @n buffers available, without a kick; Return: its head */
uint16_t fake_add(struct fake_core *c, uint32_t q, const struct fake_buffer *b, uint32_t n);

/** fake_add_head() - make an already written chain available */
void fake_add_head(struct fake_core *c, uint32_t q, uint16_t head);

void fake_kick(struct fake_core *c, uint32_t q);

/** fake_wait_used() - wait for the next used element; *ret_len may be NULL; Return: head */
uint16_t fake_wait_used(struct fake_core *c, uint32_t q, uint32_t *ret_len);

/** fake_blk() - one blk request, waited for; Return: status byte */
uint8_t fake_blk(struct fake_core *c, uint32_t q, uint32_t type, uint64_t sector, uint64_t data,
		 uint32_t len, uint32_t *ret_used_len);

/** fake_blk_add() - one blk request made available; *ret_status_at: where its status will be */
uint16_t fake_blk_add(struct fake_core *c, uint32_t q, uint32_t type, uint64_t sector,
		      uint64_t data, uint32_t len, uint64_t *ret_status_at);

uint8_t fake_read8(struct fake_core *c, uint64_t at);
