/* SPDX-License-Identifier: Apache-2.0 */
/* Commands of the control queue, the receive filter, and what a successor is left. */
#include <criterion/criterion.h>
#include <linux/virtio_net.h>
#include <string.h>

#include "device-procs/net/net_control.h"
#include "device-procs/net/net_header.h"

static const struct net_control_limits all = { .features = ~UINT64_C(0), .n_pairs_max = 4 };
static struct net_state state;
static uint32_t changed;

static void setup(void)
{
	memset(&state, 0, sizeof(state));
	memcpy(state.mac, "\x02\0\0\0\0\x01", 6);
	net_state_reset(&state, all.features);
	state.filters_vlans = 0;
}

TestSuite(net_control, .init = setup);

static uint8_t run(uint8_t class, uint8_t command, const void *data, uint32_t len)
{
	static uint8_t bytes[NET_CONTROL_BYTES_MAX];

	bytes[0] = class;
	bytes[1] = command;
	memcpy(bytes + 2, data, len);
	return net_control_run(&state, &all, bytes, len + 2, &changed);
}

static bool wants(const char *mac)
{
	uint8_t frame[60] = { 0 };

	memcpy(frame, mac, 6);
	return net_state_wants(&state, frame, sizeof(frame));
}

Test(net_control, too_short)
{
	uint8_t one = 0;

	cr_expect_eq(net_control_run(&state, &all, &one, 0, &changed), VIRTIO_NET_ERR);
	cr_expect_eq(net_control_run(&state, &all, &one, 1, &changed), VIRTIO_NET_ERR);
}

/* Every class, command and small length of zeroes and ones: an answer, and a state that is sane. */
Test(net_control, every_command_and_length)
{
	uint8_t data[64];

	for (unsigned fill = 0; fill < 256; fill += 51) {
		memset(data, (int)fill, sizeof(data));
		for (unsigned class = 0; class < 256; class++) {
			for (unsigned command = 0; command < 8; command++) {
				for (uint32_t len = 0; len <= sizeof(data); len++) {
					uint8_t r = run((uint8_t)class, (uint8_t)command, data, len);

					cr_assert(r == VIRTIO_NET_OK || r == VIRTIO_NET_ERR);
					cr_assert(state.n_pairs >= 1 && state.n_pairs <= 4);
					cr_assert_leq(state.unicast.n, NET_MACS_MAX);
					cr_assert_leq(state.multicast.n, NET_MACS_MAX);
				}
			}
		}
	}
}

Test(net_control, nothing_without_its_feature)
{
	static const struct net_control_limits none = { .n_pairs_max = 4 };
	uint8_t bytes[16] = { 0 };

	for (uint8_t class = 0; class < 8; class++) {
		for (uint32_t len = 2; len < sizeof(bytes); len++) {
			bytes[0] = class;
			cr_expect_eq(net_control_run(&state, &none, bytes, len, &changed),
				     VIRTIO_NET_ERR, "class %u, %u bytes", class, len);
		}
	}
}

Test(net_control, pairs)
{
	cr_expect_eq(run(VIRTIO_NET_CTRL_MQ, 0, "\4\0", 2), VIRTIO_NET_OK);
	cr_expect_eq(state.n_pairs, 4);
	cr_expect_eq(changed, NET_CHANGED_PAIRS);
	cr_expect_eq(run(VIRTIO_NET_CTRL_MQ, 0, "\5\0", 2), VIRTIO_NET_ERR);
	cr_expect_eq(run(VIRTIO_NET_CTRL_MQ, 0, "\0\0", 2), VIRTIO_NET_ERR);
	cr_expect_eq(run(VIRTIO_NET_CTRL_MQ, 0, "\1\1", 2), VIRTIO_NET_ERR);
	cr_expect_eq(changed, 0);
	cr_expect_eq(state.n_pairs, 4);
}

Test(net_control, filter)
{
	cr_expect(wants("\x02\0\0\0\0\x99"), "promiscuous at first");
	cr_expect_eq(run(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "\0", 1), VIRTIO_NET_OK);
	cr_expect(wants("\x02\0\0\0\0\x01"));
	cr_expect(!wants("\x02\0\0\0\0\x99"));
	cr_expect(!wants("\x33\x33\0\0\0\x01"));
	cr_expect(wants("\xff\xff\xff\xff\xff\xff"));
	cr_expect_eq(run(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET,
			 "\1\0\0\0\x02\0\0\0\0\x99\1\0\0\0\x33\x33\0\0\0\x01", 20),
		     VIRTIO_NET_OK);
	cr_expect(wants("\x02\0\0\0\0\x99"));
	cr_expect(wants("\x33\x33\0\0\0\x01"));
	cr_expect(!wants("\x33\x33\0\0\0\x02"));
}

/* A list that we do not keep whole must not hide frames. */
Test(net_control, a_long_list_means_all)
{
	uint8_t data[8 + 100 * 6] = { 0 };

	data[4] = 100;
	(void)run(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "\0", 1);
	cr_expect_eq(run(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, data, sizeof(data)),
		     VIRTIO_NET_OK);
	cr_expect(wants("\x33\x33\0\0\0\x77"));
	cr_expect(!wants("\x02\0\0\0\0\x77"));
}

Test(net_control, a_successor_finds_what_was_set)
{
	struct net_saved saved;
	struct net_state other;

	memset(&saved, 0, sizeof(saved));
	memset(&other, 0, sizeof(other));
	cr_assert(!net_state_load(&saved, &all, &other));
	(void)run(VIRTIO_NET_CTRL_MQ, 0, "\3\0", 2);
	net_state_save(&state, &saved);
	cr_assert(net_state_load(&saved, &all, &other));
	cr_expect_eq(memcmp(&other, &state, sizeof(state)), 0);
	(void)run(VIRTIO_NET_CTRL_MQ, 0, "\2\0", 2);
	net_state_save(&state, &saved);
	cr_assert(net_state_load(&saved, &all, &other));
	cr_expect_eq(other.n_pairs, 2);
}

/* The predecessor may have been taken over. */
Test(net_control, what_was_saved_is_hostile)
{
	struct net_saved saved;
	struct net_state other = state;

	memset(&saved, 0xff, sizeof(saved));
	cr_assert(net_state_load(&saved, &all, &other));
	cr_expect_eq(other.n_pairs, 1);
	cr_expect_eq(other.unicast.n, 0);
	cr_expect_eq(other.multicast.n, 0);
	cr_expect_eq(other.promisc, 1);
	cr_expect_eq(other.mac[0], 0x02);
	cr_expect_eq(other.guest_offloads, net_guest_offloads(all.features));
}

/* The queue of a second pair would be the control queue. */
Test(net_control, without_mq_there_is_one_pair_whatever_was_saved)
{
	const struct net_control_limits no_mq = {
		.features = all.features & ~NET_FEATURE(VIRTIO_NET_F_MQ), .n_pairs_max = 4 };
	struct net_saved saved;
	struct net_state other = state;

	memset(&saved, 0, sizeof(saved));
	other.n_pairs = 4;
	net_state_save(&other, &saved);
	cr_assert(net_state_load(&saved, &all, &other));
	cr_expect_eq(other.n_pairs, 4);
	cr_assert(net_state_load(&saved, &no_mq, &other));
	cr_expect_eq(other.n_pairs, 1);
}
