/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Build-time tool: the names of this CPU's system calls, so that the warden can name the one that a
 * process was killed for without carrying libseccomp.
 *
 *	syscall_names > syscall_names.h
 */
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>

#define SYSCALLS_END 1024 /* far beyond what the kernel has */

int main(void)
{
	printf("static const char *const syscall_names[] = {\n");
	for (int nr = 0; nr < SYSCALLS_END; nr++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, nr);

		if (name)
			printf("\t[%d] = \"%s\",\n", nr, name);
		free(name);
	}
	printf("};\n");
	return 0;
}
