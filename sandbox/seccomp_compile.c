/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Build-time tool: turns one program's seccomp rules into BPF arrays, so that no program carries
 * libseccomp or spends its start on compiling. Linked once per program with its rules file.
 *
 *	seccomp_compile_NAME NAME > NAME_filter.c
 *
 * What is not listed kills the process (or, in the second array, is logged and let through, for
 * diagnosis). Other ABIs of the CPU, i386 and x32, are always killed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sandbox/seccomp_rule.h"

/*
 * What the run-time library of a sanitizer asks for besides, in the builds that have one and in no
 * others (sandbox/meson.build). sandbox/sanitizer_options.h avoids the rest.
 */
static const struct seccomp_rule sanitizer_rules[] = {
#ifdef SECCOMP_FOR_SANITIZERS
	{ .nr = SCMP_SYS(sigaltstack), .why = "looked at before every call that does not return" },
	{ .nr = SCMP_SYS(sched_yield), .why = "locks of the allocator" },
	{ .nr = SCMP_SYS(futex), .why = "locks of the allocator" },
	{ .nr = SCMP_SYS(madvise), .why = "large blocks that were freed" },
	{ .nr = SCMP_SYS(getpid), .why = "a report" },
	{ .nr = SCMP_SYS(gettid), .why = "a report" },
	{ .nr = SCMP_SYS(write), .why = "a report" },
#endif
	{ .nr = SECCOMP_RULES_END },
};

static void die(const char *what, int r)
{
	fprintf(stderr, "seccomp_compile: %s: %s\n", what, strerror(-r));
	exit(1);
}

static void add_rule(scmp_filter_ctx ctx, const struct seccomp_rule *rule)
{
	struct scmp_arg_cmp cmp[SECCOMP_VALUES_MAX] = { { .arg = rule->arg } };
	unsigned n = 1, i;
	int r;

	if (!rule->why || !rule->why[0])
		die("a rule does not say why", -EINVAL);
	switch (rule->test) {
	case SECCOMP_ANY:
		n = 0;
		break;
	case SECCOMP_ARG_EQ:
		cmp[0].op = SCMP_CMP_EQ;
		cmp[0].datum_a = rule->value;
		break;
	case SECCOMP_ARG_MASKED_ZERO:
		cmp[0].op = SCMP_CMP_MASKED_EQ;
		cmp[0].datum_a = rule->value;
		cmp[0].datum_b = 0;
		break;
	case SECCOMP_FIRST_ARGS_EQ:
		n = rule->arg;
		if (n > SECCOMP_VALUES_MAX)
			die(rule->why, -EINVAL);
		for (i = 0; i < n; i++)
			cmp[i] = (struct scmp_arg_cmp){ .arg = i, .op = SCMP_CMP_EQ,
							.datum_a = rule->values[i] };
		break;
	}
	r = seccomp_rule_add_exact_array(ctx, SCMP_ACT_ALLOW, rule->nr, n, cmp);
	if (r < 0)
		die(rule->why, r);
}

static void add_rules(scmp_filter_ctx ctx, const struct seccomp_rule *rules)
{
	for (const struct seccomp_rule *rule = rules; rule->nr != SECCOMP_RULES_END; rule++)
		add_rule(ctx, rule);
}

static void compile(uint32_t default_action, const char *name, const char *variant)
{
	struct sock_filter insn;
	scmp_filter_ctx ctx = seccomp_init(default_action);
	FILE *bpf = tmpfile();
	unsigned n = 0;
	int r;

	if (!ctx || !bpf)
		die("cannot start", -ENOMEM);
	r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (r < 0)
		die("bad-architecture action", r);
	r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* binary tree by number */
	if (r < 0)
		die("optimisation level", r);
	add_rules(ctx, seccomp_rules);
	add_rules(ctx, sanitizer_rules);
	r = seccomp_export_bpf(ctx, fileno(bpf));
	if (r < 0)
		die("export", r);
	seccomp_release(ctx);
	rewind(bpf);
	printf("static const struct sock_filter %s_%s[] = {\n", name, variant);
	while (fread(&insn, sizeof(insn), 1, bpf) == 1) {
		printf("\t{ 0x%04x, %u, %u, 0x%08x },\n", insn.code, insn.jt, insn.jf, insn.k);
		n++;
	}
	printf("};\n\n");
	fclose(bpf);
	if (n == 0 || n > BPF_MAXINSNS)
		die("number of instructions", -E2BIG);
}

int main(int argc, char **argv)
{
	const char *name;

	if (argc != 2) {
		fprintf(stderr, "usage: seccomp_compile NAME\n");
		return 2;
	}
	name = argv[1];
	printf("/* Made by sandbox/seccomp_compile.c. */\n"
	       "#include <linux/filter.h>\n\n"
	       "#include \"sandbox/filters.h\"\n\n");
	compile(SCMP_ACT_KILL_PROCESS, name, "kill");
	compile(SCMP_ACT_LOG, name, "log");
	printf("const struct sandbox_filter %s_filter = {\n"
	       "\t.kill = %s_kill,\n\t.log = %s_log,\n"
	       "\t.n_kill = sizeof(%s_kill) / sizeof(%s_kill[0]),\n"
	       "\t.n_log = sizeof(%s_log) / sizeof(%s_log[0]),\n};\n",
	       name, name, name, name, name, name, name);
	return fflush(stdout) == 0 ? 0 : 1;
}
