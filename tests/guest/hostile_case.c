/* SPDX-License-Identifier: Apache-2.0 */
#include "hostile_case.h"
#include "virtio.h"

#define RESET_MS 5000 /* for DEVICE_NEEDS_RESET to appear */

void hostile_case_of(const struct hostile_target *target, tap_run run, uint64_t argument,
		     const char *rule, const char *f, ...)
{
	char name[140], detail[200];
	size_t mark = memory_mark(), n;
	const char *result, *after;
	va_list args;

	n = format(name, sizeof(name), "%s", target->prefix);
	va_start(args, f);
	n += format_list(name + n, sizeof(name) - n, f, args);
	va_end(args);
	format(name + n, sizeof(name) - n, " (%s)", rule);
	if (!tap_is_selected(name))
		return;
	result = target->start ? target->start() : NULL;
	if (!result)
		result = run(argument);
	if (result) { /* kept from what recovers() says */
		format(detail, sizeof(detail), "%s", result);
		result = detail;
	}
	after = target->recovers();
	if (after && (!result || tap_is_skip(result)))
		result = after;
	tap_report(name, result);
	if (!target->is_lasting)
		memory_release(mark);
}

void hostile_rows(const struct hostile_target *target, const struct hostile_row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		hostile_case_of(target, rows[i].run, rows[i].argument, rows[i].rule, "%s",
				rows[i].name);
}

const char *device_needs_reset(const struct vdev *dev)
{
	uint64_t deadline = time_deadline(RESET_MS);

	while (!(vdev_status(dev) & STATUS_NEEDS_RESET))
		EXPECT(!time_passed(deadline), "no DEVICE_NEEDS_RESET, status 0x%x",
		       vdev_status(dev));
	return NULL;
}

const char *queue_needs_reset(struct vq *vq)
{
	uint64_t deadline = time_deadline(RESET_MS);
	uint16_t used = vq->used->idx;

	while (!(vdev_status(vq->dev) & STATUS_NEEDS_RESET)) {
		EXPECT(vq->used->idx == used,
		       "it answered (used length %u) instead of asking for a reset",
		       vq->used->ring[used & (vq->size - 1)].len);
		EXPECT(!time_passed(deadline), "no DEVICE_NEEDS_RESET, status 0x%x",
		       vdev_status(vq->dev));
	}
	/* §2.1.2: a driver that is running hears of it by a configuration change. */
	if (!vq->dev->is_pci)
		EXPECT(vdev_interrupt(vq->dev) & 2, "no configuration change interrupt");
	vq_kick(vq);
	time_sleep(1);
	EXPECT(vq->used->idx == used, "the used index moved after DEVICE_NEEDS_RESET");
	return NULL;
}
