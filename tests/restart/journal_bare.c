/* SPDX-License-Identifier: Apache-2.0 */
/* virtqueue.c once more, under other names and without a journal; journal_turns.c chooses. */
#ifndef JOURNAL_TURNS_CONTROL /* else both write one: what there is no difference between */
#define BULKHEAD_NO_JOURNAL
#endif
#define virtqueue_commit bare_commit
#define virtqueue_disable bare_disable
#define virtqueue_disable_notify bare_disable_notify
#define virtqueue_enable bare_enable
#define virtqueue_enable_notify bare_enable_notify
#define virtqueue_fault bare_fault
#define virtqueue_flush bare_flush
#define virtqueue_has_more bare_has_more
#define virtqueue_init bare_init
#define virtqueue_pop bare_pop
#define virtqueue_push bare_push
#define virtqueue_show bare_show
#define virtqueue_unpop bare_unpop
#include "device-procs/common/virtqueue.c"
