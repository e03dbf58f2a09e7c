/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "device-procs/vsock/vsock_store.h"
#include "device-procs/vsock/vsock_table.h"

static struct vsock_table table;
static struct vsock_journal journal;

static void setup(void)
{
	vsock_table_init(&table);
	memset(&journal, 0, sizeof(journal));
}

TestSuite(vsock_table, .init = setup);

Test(vsock_table, holds_so_many_and_no_more)
{
	for (uint32_t i = 0; i < VSOCK_CONNECTIONS_MAX; i++)
		cr_assert_not_null(vsock_table_add(&table, i, 52), "connection %u", i);
	cr_expect_null(vsock_table_add(&table, 5000, 52));
	for (uint32_t i = 0; i < VSOCK_CLIENTS_MAX; i++)
		cr_assert_not_null(vsock_table_add_client(&table), "client %u", i);
	cr_expect_null(vsock_table_add_client(&table));
	for (uint32_t i = 0; i < VSOCK_CONNECTIONS_MAX; i++) {
		struct vsock_conn *c = vsock_table_find(&table, i, 52);

		cr_assert_not_null(c);
		cr_expect_eq(c->r.guest_port, i);
		vsock_table_remove(&table, c);
		cr_expect_null(vsock_table_find(&table, i, 52));
	}
	cr_expect_eq(table.n_connections, 0);
	cr_expect_not_null(vsock_table_add(&table, 5000, 52));
}

Test(vsock_table, a_full_table_names_no_client)
{
	struct vsock_conn *client = vsock_table_add_client(&table), *c;

	for (uint32_t i = 0; i < VSOCK_CONNECTIONS_MAX; i++)
		c = vsock_table_add(&table, i, 52);
	cr_expect_not(vsock_table_name(&table, client, 1));
	vsock_table_remove(&table, c);
	cr_expect(vsock_table_name(&table, client, 1));
	cr_expect_eq(client->r.state, VSOCK_REQUESTED);
	cr_expect_eq(table.n_clients, 0);
}

Test(vsock_table, host_ports_begin_at_2_to_the_30_and_wrap)
{
	struct vsock_conn *c;

	table.last_port = 0x7ffffffe;
	c = vsock_table_add_client(&table);
	cr_assert(vsock_table_name(&table, c, 9));
	cr_expect_eq(c->r.host_port, 0x7fffffff);
	c = vsock_table_add_client(&table);
	cr_assert(vsock_table_name(&table, c, 9));
	cr_expect_eq(c->r.host_port, 1u << 30);
	table.last_port = 0x7ffffffe; /* both are taken */
	c = vsock_table_add_client(&table);
	cr_assert(vsock_table_name(&table, c, 9));
	cr_expect_eq(c->r.host_port, (1u << 30) + 1);
}

Test(vsock_table, ready_ones_come_in_turn)
{
	struct vsock_conn *a = vsock_table_add(&table, 1, 1), *b = vsock_table_add(&table, 2, 1),
			  *c = vsock_table_add(&table, 3, 1);

	vsock_table_ready(&table, a);
	vsock_table_ready(&table, b);
	vsock_table_ready(&table, c);
	vsock_table_ready(&table, a); /* twice is once */
	cr_expect_eq(table.first_ready, vsock_table_slot(&table, a));
	vsock_table_unready(&table, b);
	vsock_table_remove(&table, a);
	cr_expect_eq(table.first_ready, vsock_table_slot(&table, c));
	cr_expect_eq(table.last_ready, vsock_table_slot(&table, c));
	vsock_table_remove(&table, c);
	cr_expect_eq(table.first_ready, VSOCK_NO_SLOT);
}

Test(vsock_table, credit_never_underflows)
{
	struct vsock_conn *c = vsock_table_add(&table, 1, 1);
	struct vsock_packet p = { .buf_alloc = 1000 };

	cr_assert(vsock_credit_learn(c, &p));
	cr_expect_eq(vsock_credit_to_guest(c), 1000);
	c->r.rx_cnt = 1000;
	cr_expect_eq(vsock_credit_to_guest(c), 0);
	p.buf_alloc = 10; /* shrinks below what is under way */
	cr_assert(vsock_credit_learn(c, &p));
	cr_expect_eq(vsock_credit_to_guest(c), 0);
	p.fwd_cnt = 995;
	cr_assert(vsock_credit_learn(c, &p));
	cr_expect_eq(vsock_credit_to_guest(c), 5);
	p.fwd_cnt = 1001; /* more than it got */
	cr_expect_not(vsock_credit_learn(c, &p));
	p.fwd_cnt = 990; /* older than what is known */
	cr_expect(vsock_credit_learn(c, &p));
	cr_expect_eq(vsock_credit_to_guest(c), 5);
}

Test(vsock_table, no_credit_is_an_answer_to_the_question_for_it)
{
	struct vsock_conn *c = vsock_table_add(&table, 1, 1);
	struct vsock_packet p = { .buf_alloc = 0 };

	c->asked_credit = true;
	cr_assert(vsock_credit_learn(c, &p));
	cr_expect(c->asked_credit, "it would be asked again at once");
	p.buf_alloc = 1;
	cr_assert(vsock_credit_learn(c, &p));
	cr_expect_not(c->asked_credit);
}

Test(vsock_table, credit_goes_on_over_2_to_the_32)
{
	struct vsock_conn *c = vsock_table_add(&table, 1, 1);
	struct vsock_packet p = { .buf_alloc = 1000, .fwd_cnt = UINT32_MAX - 10 };

	c->r.rx_cnt = c->r.peer_fwd_cnt = UINT32_MAX - 10;
	c->r.rx_cnt += 100;
	cr_assert(vsock_credit_learn(c, &p));
	cr_expect_eq(vsock_credit_to_guest(c), 900);
	p.fwd_cnt = c->r.rx_cnt;
	cr_assert(vsock_credit_learn(c, &p));
	cr_expect_eq(vsock_credit_to_guest(c), 1000);
	c->r.tx_cnt = c->r.fwd_cnt = c->r.fwd_told = UINT32_MAX - 10;
	cr_expect_eq(vsock_credit_of_guest(c), VSOCK_BUFFER_BYTES);
	c->r.tx_cnt += VSOCK_BUFFER_BYTES;
	cr_expect_eq(vsock_credit_of_guest(c), 0);
	c->r.fwd_cnt += 100; /* not told yet: no use to the guest */
	cr_expect_eq(vsock_credit_of_guest(c), 0);
	cr_expect(vsock_credit_is_due(c));
}

static struct vsock_record good_record(void)
{
	return (struct vsock_record){ .id = 5, .guest_port = 7, .host_port = 8,
				      .state = VSOCK_OPEN, .tx_cnt = 100, .fwd_cnt = 60,
				      .fwd_told = 50 };
}

Test(vsock_table, records_that_make_no_sense_are_refused)
{
	struct vsock_record r = good_record();

	r.state = VSOCK_CONNECTING;
	cr_expect_null(vsock_table_restore(&table, 3, &r));
	r = good_record();
	r.state = 200;
	cr_expect_null(vsock_table_restore(&table, 3, &r));
	r = good_record();
	r.due = 0x80;
	cr_expect_null(vsock_table_restore(&table, 3, &r));
	r = good_record();
	r.guest_shut = 4;
	cr_expect_null(vsock_table_restore(&table, 3, &r));
	r = good_record();
	r.fwd_cnt = 101; /* more than came */
	cr_expect_null(vsock_table_restore(&table, 3, &r));
	r = good_record();
	r.tx_cnt = r.fwd_told + VSOCK_BUFFER_BYTES + 1;
	cr_expect_null(vsock_table_restore(&table, 3, &r));
	r = good_record();
	cr_expect_null(vsock_table_restore(&table, VSOCK_SLOTS, &r));
	cr_assert_not_null(vsock_table_restore(&table, 3, &r));
	cr_expect_null(vsock_table_restore(&table, 3, &r), "the slot is taken");
	cr_expect_null(vsock_table_restore(&table, 4, &r), "the ports are taken");
	cr_expect_eq(vsock_table_find(&table, 7, 8), &table.conns[3]);
	cr_expect_eq(table.last_id, 5);
}

Test(vsock_table, resets_are_kept_in_order)
{
	struct vsock_store s = { .journal = &journal };

	journal.resets_in = journal.resets_out = UINT32_MAX - 2; /* counts wrap */
	for (uint32_t i = 0; i < VSOCK_RESETS_MAX; i++)
		cr_assert(vsock_store_reset(&s, i, 2 * i));
	cr_expect_not(vsock_store_reset(&s, 1, 1));
	for (uint32_t i = 0; i < VSOCK_RESETS_MAX; i++) {
		struct vsock_reset r = vsock_store_next_reset(&s);

		cr_assert_eq(r.guest_port, i);
		cr_assert_eq(r.host_port, 2 * i);
		vsock_store_reset_done(&s);
	}
	cr_expect_eq(vsock_store_resets(&s), 0);
}

Test(vsock_table, active_names_what_a_crash_would_cut)
{
	struct vsock_store s = { .journal = &journal };
	struct vsock_record r = good_record();

	vsock_store_begin(&s, 17);
	cr_expect_eq(journal.active, 18);
	vsock_store_end(&s, 17, &r);
	cr_expect_eq(journal.active, 0);
	cr_expect_arr_eq(&journal.records[17], &r, sizeof(r));
}

Test(vsock_table, the_ring_wraps)
{
	static uint8_t rings[2 * VSOCK_BUFFER_BYTES];
	struct vsock_store s = { .journal = &journal, .rings = rings };
	struct iovec iov[2];

	cr_expect_eq(vsock_store_iovec(&s, 1, VSOCK_BUFFER_BYTES - 10, 10, iov), 1);
	cr_expect_eq(iov[0].iov_base, rings + 2 * VSOCK_BUFFER_BYTES - 10);
	cr_expect_eq(vsock_store_iovec(&s, 1, UINT32_MAX - 9, 30, iov), 2);
	cr_expect_eq(iov[0].iov_len, 10);
	cr_expect_eq(iov[1].iov_len, 20);
	cr_expect_eq(iov[1].iov_base, rings + VSOCK_BUFFER_BYTES);
}
