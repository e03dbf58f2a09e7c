/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe=vcon: drives the virtio console for tests of its host side. Commands are the lines that
 * come in by it, or the words of the option do=…,… before that:
 *
 *	dumpN	sends N numbered lines of 16 bytes
 *	echo	sends back what comes until a line "end"
 *	quit	power off
 *
 * On COM1 it says "vcon: started", "vcon: size COLUMNSxROWS" at the start and whenever the device
 * announces a change, and "vcon: COMMAND done" behind each command.
 */
#include "modes.h"
#include "virtio_console.h"

#define LINE 64u
#define BATCH_LINES 256u
#define LINE_BYTES 16u

static struct vcon con;

static void say_size(void)
{
	print("vcon: size %ux%u\n", mmio_read16(con.dev->config + VCON_CONFIG_COLS),
	      mmio_read16(con.dev->config + VCON_CONFIG_ROWS));
	console_flush();
}

/* One byte of input. Tells of changes of size while it waits. */
static char get(void)
{
	static uint8_t *at, n, used;
	struct vring_used_elem elem;

	if (used < n)
		return (char)at[used++];
	if (!at)
		at = memory_alloc(LINE, 16);
	vq_desc(&con.rx, 0, at, LINE, DESC_WRITE, 0);
	vq_push(&con.rx, 0);
	vq_kick(&con.rx);
	while (!vq_wait(&con.rx, 100, &elem)) {
		if (vdev_interrupt(con.dev) & 2) {
			vdev_interrupt_ack(con.dev, 2);
			say_size();
		}
		if (vdev_status(con.dev) & STATUS_NEEDS_RESET) {
			print("vcon: needs a reset\n");
			end_power_off();
		}
	}
	n = (uint8_t)elem.len;
	used = 1;
	return n > 0 ? (char)at[0] : '\n';
}

static void get_line(char *line)
{
	unsigned n = 0;
	char c;

	while ((c = get()) != '\n' && c != '\r') {
		if (n < LINE - 1)
			line[n++] = c;
	}
	line[n] = '\0';
}

/* Waits as long as it takes: the reader may be slow on purpose. */
static bool send(const void *data, uint32_t len)
{
	struct vring_used_elem elem;

	vq_desc(&con.tx, 0, data, len, 0, 0);
	vq_push(&con.tx, 0);
	vq_kick(&con.tx);
	while (!vq_wait(&con.tx, 1000, &elem)) {
		if (vdev_status(con.dev) & STATUS_NEEDS_RESET)
			return false;
	}
	return true;
}

static void dump(uint64_t n_lines)
{
	char *lines = memory_alloc(BATCH_LINES * LINE_BYTES + 1, 16);

	for (uint64_t i = 0; i < n_lines;) {
		unsigned n = 0;

		for (; n < BATCH_LINES && i < n_lines; n++, i++)
			format(lines + n * LINE_BYTES, LINE_BYTES + 1, "%015lx\n", i);
		if (!send(lines, n * LINE_BYTES))
			return;
	}
}

static void echo(void)
{
	char line[LINE];

	do {
		size_t n;

		get_line(line);
		n = strlen(line);
		line[n] = '\n';
		if (!send(line, (uint32_t)n + 1))
			return;
		line[n] = '\0';
	} while (!string_equal(line, "end"));
}

static void execute(const char *command)
{
	size_t mark = memory_mark();

	if (string_starts(command, "dump"))
		dump(string_number(command + 4, NULL));
	else if (string_equal(command, "echo"))
		echo();
	else if (string_equal(command, "quit"))
		end_power_off();
	print("vcon: %s done\n", command);
	console_flush();
	memory_release(mark);
}

/* The first word of the list, cut off */
static char *next_word(char **list)
{
	char *word = *list, *at = word;

	while (*at && *at != ',')
		at++;
	*list = *at ? at + 1 : at;
	*at = '\0';
	return *word ? word : NULL;
}

void mode_vcon(void)
{
	char list[256] = "", line[LINE], *rest = list, *word;

	discover();
	con.dev = discover_nth(VIRTIO_ID_CONSOLE, 0);
	if (!con.dev || !vcon_start(&con, con.dev, VCON_F_SIZE, 16)) {
		print("vcon: no console device that starts\n");
		return;
	}
	print("vcon: started\n");
	say_size();
	vdev_interrupt_ack(con.dev, vdev_interrupt(con.dev));
	boot_option("do", list, sizeof(list));
	while ((word = next_word(&rest)) != NULL)
		execute(word);
	for (;;) {
		get_line(line);
		execute(line);
	}
}
