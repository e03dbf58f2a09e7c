/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bulkhead: run one VM in the foreground and be its warden.
 *
 * The warden has the user's privileges. It opens files, starts the other processes, watches them
 * and passes on what they say; it maps no guest memory and reads nothing that a guest wrote.
 */
#include <cpuid.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ipc/clock.h"
#include "ipc/log.h"
#include "vmm-core/warden/config_cli.h"
#include "vmm-core/warden/rootless.h"
#include "vmm-core/warden/run_dir.h"
#include "vmm-core/warden/vm.h"

/* Bits of a host physical address, CPUID leaf 0x80000008. */
static uint32_t main_physical_bits(void)
{
	unsigned a, b, c, d;

	if (!__get_cpuid(0x80000008, &a, &b, &c, &d) || (a & 0xff) == 0)
		return 36; /* the least that any x86_64 has */
	return a & 0xff;
}

static void main_log_sink(void *ctx, enum log_level level, const char *line)
{
	const int *fd = ctx;

	(void)level;
	(void)dprintf(*fd, "bulkhead: %s\n", line);
}

/* Where the run dir and the id lock file are. */
static int main_find_paths(struct vm_config *config, uid_t uid, char **ret_lock_path,
			   struct failure *f)
{
	cleanup_free char *runtime = NULL;
	int r = run_dir_runtime_path(uid, &runtime, f);

	if (r != 0)
		return r;
	if (config->run_dir == NULL &&
	    asprintf(&config->run_dir, "%s/%s", runtime, config->name) < 0) {
		config->run_dir = NULL;
		return -ENOMEM;
	}
	if (asprintf(ret_lock_path, "%s/uids", runtime) < 0) {
		*ret_lock_path = NULL;
		return -ENOMEM;
	}
	return 0;
}

static int main_open_log(const struct vm_config *config, int *log_fd, struct failure *f)
{
	static const enum log_level levels[] = { LOG_LEVEL_WARNING, LOG_LEVEL_INFO };
	int fd;

	if (config->log_file != NULL) {
		fd = resources_open_log(config->log_file);
		if (fd < 0)
			return failure_set(f, STATUS_FAILED, "--log-file %s: %s",
					   config->log_file, strerror(-fd));
		*log_fd = fd;
	}
	log_set_sink(main_log_sink, log_fd);
	log_set_level(config->verbosity < ARRAY_LEN(levels) ? levels[config->verbosity] :
							      LOG_LEVEL_DEBUG);
	return 0;
}

/* Everything between the parsed command line and the end of the VM; describes the end in @f. */
static int main_run(struct vm_config *config, uint64_t exec_time_ns, struct failure *f)
{
	cleanup_free char *uid_lock_path = NULL;
	int log_fd = STDERR_FILENO;
	struct vm_params params = { .config = config, .exec_time_ns = exec_time_ns };
	uid_t uid = geteuid();
	bool weak;
	int r;

	r = config_check_host(config, main_physical_bits(), f);
	if (r == 0)
		r = main_open_log(config, &log_fd, f);
	if (r == 0)
		r = rootless_enter(config->allow_weak_sandbox, &params.uid_range, &weak, f);
	if (r == 0)
		r = main_find_paths(config, uid, &uid_lock_path, f);
	if (r == 0) {
		if (weak)
			log_warning("--allow-weak-sandbox: all processes share one user id");
		params.uid_lock_path = uid_lock_path;
		params.stderr_fd = log_fd;
		vm_run(&params, f);
	}
	if (log_fd != STDERR_FILENO) {
		if (r != FAILED && f->text[0] != '\0')
			(void)dprintf(log_fd, "bulkhead: %s\n", f->text);
		log_set_sink(NULL, NULL);
		(void)fd_close(log_fd);
	}
	return r;
}

/* fds 0 to 2 must be taken, or a file that we open becomes somebody's stdout. */
static void main_fill_stdio(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	(void)fd_close(fd);
}

int main(int argc, char *argv[])
{
	uint64_t exec_time_ns = clock_now_ns();
	struct vm_config config = { 0 };
	struct failure f = { .status = STATUS_POWERED_OFF };
	int r;

	main_fill_stdio();
	(void)signal(SIGPIPE, SIG_IGN);
	r = config_cli_parse(argc, argv, isatty(STDIN_FILENO), &config, &f);
	if (r == CONFIG_CLI_HELP) {
		config_help_print(stdout);
	} else if (r == CONFIG_CLI_VERSION) {
		(void)printf("bulkhead %s\n", BULKHEAD_VERSION);
	} else {
		if (r == 0)
			r = main_run(&config, exec_time_ns, &f);
		if (r < 0)
			(void)failure_set(&f, STATUS_FAILED, "%s", strerror(-r));
		if (f.text[0] != '\0')
			(void)fprintf(stderr, "bulkhead: %s\n", f.text);
	}
	vm_config_clear(&config);
	return (int)f.status;
}
