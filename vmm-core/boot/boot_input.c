/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-core/boot/boot_input.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define KIB 1024ull
#define MIB (1024 * KIB)

int boot_refuse(struct boot_error *error, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(error->text, error->len, fmt, args); /* a cut line is still a line */
	va_end(args);
	return -EINVAL;
}

int boot_fail(struct boot_error *error, int r, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(error->text, error->len, fmt, args);
	va_end(args);
	return r;
}

const char *boot_size_text(uint64_t bytes, char text[static BOOT_SIZE_TEXT_LEN])
{
	uint64_t unit = bytes < MIB ? KIB : MIB;

	if (bytes < KIB)
		(void)snprintf(text, BOOT_SIZE_TEXT_LEN, "%" PRIu64 " bytes", bytes);
	else
		(void)snprintf(text, BOOT_SIZE_TEXT_LEN, "%" PRIu64 " %s",
			       bytes / unit + (bytes % unit != 0), unit == KIB ? "KiB" : "MiB");
	return text;
}

int boot_input_open(int fd, const char *flag, struct boot_error *error, struct boot_input *ret)
{
	struct stat st;

	if (fstat(fd, &st) < 0) {
		int r = -errno;

		return boot_fail(error, r, "%s: %s", flag, strerror(-r));
	}
	if (S_ISDIR(st.st_mode))
		return boot_refuse(error, "%s: is a directory", flag);
	if (!S_ISREG(st.st_mode))
		return boot_refuse(error, "%s: not a regular file", flag);
	if (st.st_size <= 0)
		return boot_refuse(error, "%s: empty file", flag);
	*ret = (struct boot_input){ .fd = fd, .size = (uint64_t)st.st_size, .flag = flag };
	return 0;
}

static int input_truncated(const struct boot_input *in, const char *what, struct boot_error *error)
{
	return boot_refuse(error, "%s: truncated: %s ends past the end of the file", in->flag, what);
}

int boot_input_check(const struct boot_input *in, uint64_t offset, uint64_t n, const char *what,
		     struct boot_error *error)
{
	if (n > in->size || offset > in->size - n)
		return input_truncated(in, what, error);
	return 0;
}

int boot_input_read(const struct boot_input *in, uint64_t offset, void *dst, size_t n,
		    const char *what, struct boot_error *error)
{
	uint8_t *p = dst;
	int r = boot_input_check(in, offset, n, what, error);

	if (r < 0)
		return r;
	while (n > 0) {
		/* The check above keeps the offset below a file size, which fits off_t. */
		ssize_t got = pread(in->fd, p, n, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			r = -errno;
			return boot_fail(error, r, "%s: cannot read %s: %s", in->flag, what,
					 strerror(-r));
		}
		if (got == 0)
			return input_truncated(in, what, error);
		p += got;
		n -= (size_t)got;
		offset += (uint64_t)got;
	}
	return 0;
}

int boot_input_load(const struct boot_input *in, uint64_t offset, uint64_t n, const char *what,
		    const struct guest_memory *gm, gpa_t at, struct boot_error *error)
{
	int r = boot_input_check(in, offset, n, what, error);

	if (r < 0 || n == 0)
		return r;
	r = guest_memory_read_file(gm, at, in->fd, offset, n);
	if (r == GUEST_MEMORY_BAD_RANGE)
		return boot_refuse(error, "%s: %s lies outside guest memory", in->flag, what);
	if (r == -ENODATA) /* it shrank after fstat */
		return input_truncated(in, what, error);
	if (r < 0)
		return boot_fail(error, r, "%s: cannot read %s: %s", in->flag, what, strerror(-r));
	return 0;
}
