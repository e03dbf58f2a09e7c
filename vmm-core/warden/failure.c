/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/warden/failure.h"

#include <stdarg.h>
#include <stdio.h>

int failure_set(struct failure *f, enum exit_status status, const char *fmt, ...)
{
	va_list ap;

	f->status = status;
	va_start(ap, fmt);
	(void)vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);

	/* File names and texts of other processes end here: they must stay one line and must not
	 * reach a terminal as escape sequences. */
	for (char *p = f->text; *p != '\0'; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	}
	return FAILED;
}
