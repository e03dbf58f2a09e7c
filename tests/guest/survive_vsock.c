/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections whose device process dies again and again: probe=vsock-survive. The first N_BUSY of
 * them echo data in rounds until `q` is typed, the others lie idle; then all are tried. Prints
 *
 *	survive: ready
 *	survive: round N		after each
 *	survive: end busy-resets=N idle-resets=N wrong=N rounds=N
 */
#include "modes.h"
#include "vsock.h"

#define N_CONNECTIONS 100u
#define N_BUSY 10u
#define ROUND_BYTES 20000u
#define PEER_ECHO 1
#define N_RX 128

static struct vsock vsock;
static struct vconn conns[N_CONNECTIONS];
static unsigned busy_resets, idle_resets, wrong;

static bool connect(struct vconn *c)
{
	/* The REQUEST itself may be what the process dies over. */
	for (unsigned i = 0; i < 20; i++)
		if (vconn_connect(c, &vsock, PEER_ECHO) == VSOCK_RESPONSE)
			return true;
	return false;
}

/* It was reset, or nothing comes any more, which is as bad. */
static void lost(struct vconn *c, unsigned *count)
{
	if (c->is_wrong)
		wrong++;
	else
		(*count)++;
	if (!connect(c))
		wrong++;
}

static void busy_round(void)
{
	uint32_t ends[N_BUSY];
	bool is_lost[N_BUSY];

	for (unsigned i = 0; i < N_BUSY; i++) {
		ends[i] = conns[i].rx_cnt + ROUND_BYTES;
		is_lost[i] = !vconn_write(&conns[i], ROUND_BYTES);
	}
	for (unsigned i = 0; i < N_BUSY; i++) {
		if (is_lost[i] || !vconn_read_to(&conns[i], ends[i]))
			lost(&conns[i], &busy_resets);
	}
}

void vsock_survive_run(void)
{
	unsigned n = 0;

	discover();
	if (!vsock_start(&vsock, discover_nth(VIRTIO_ID_VSOCK, 0),
			 FEATURE_EVENT_IDX | FEATURE_INDIRECT, N_RX, 4096)) {
		print("survive: no vsock\n");
		return;
	}
	for (unsigned i = 0; i < N_CONNECTIONS; i++)
		if (!connect(&conns[i]))
			print("survive: connection %u cannot be made\n", i);
	print("survive: ready\n");
	while (console_get() != 'q') {
		busy_round();
		print("survive: round %u\n", ++n);
	}
	for (unsigned i = N_BUSY; i < N_CONNECTIONS; i++) {
		uint32_t end = conns[i].rx_cnt + 100;

		if (!vconn_write(&conns[i], 100) || !vconn_read_to(&conns[i], end))
			lost(&conns[i], &idle_resets);
	}
	print("survive: end busy-resets=%u idle-resets=%u wrong=%u rounds=%u\n", busy_resets,
	      idle_resets, wrong, n);
}
