/* SPDX-License-Identifier: Apache-2.0 */
/* bulkheadctl: command line, and one function per command. */
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "ipc/clock.h"
#include "tools/bulkheadctl/ctl.h"

#define EXIT_USAGE 2

struct ctl_options {
	struct ctl_target target;
	bool json;
	bool follow; /* log -f */
	bool is_stopped; /* restart --stopped */
	const char *program; /* restart --binary */
	const char *device; /* "" unless given */
	char text[MESSAGE_TEXT_MAX]; /* the words after it, with commas between */
};

struct ctl_command {
	const char *name;
	int (*run)(const struct ctl_command *command, struct channel *ch,
		   const struct ctl_options *options);
	enum control_command request;
	enum ctl_device {
		NO_DEVICE,
		MAY_NAME_DEVICE,
		MUST_NAME_DEVICE,
		MUST_SAY_MORE, /* a device, and what about it */
	} device;
};

static uint64_t ctl_deadline(void)
{
	return clock_now_ms() + CTL_ANSWER_DEADLINE_MS;
}

static int run_ps(const struct ctl_command *command, struct channel *ch,
		  const struct ctl_options *options)
{
	struct ctl_process processes[CTL_PROCESSES_MAX] = { 0 };
	struct ctl_processes told;
	int r = ctl_request(ch, command->request, "");

	if (r == 0)
		r = ctl_answer_processes(ch, &told);
	if (r != 0)
		return r;
	/* Our own connection must not be counted among the warden's fds. */
	ctl_wait_close(ch);
	ctl_proc_read(&told, processes);
	ctl_print_ps(processes, told.n, options->json);
	for (uint32_t i = 0; i < told.n; i++)
		ctl_process_clear(&processes[i]);
	return 0;
}

static int run_info(const struct ctl_command *command, struct channel *ch,
		    const struct ctl_options *options)
{
	struct ctl_processes told;
	int r = ctl_request(ch, command->request, "");

	if (r == 0)
		r = ctl_answer_processes(ch, &told);
	if (r == 0)
		ctl_print_info(&told, options->json);
	return r;
}

static void add_counters(struct json_object *all, const struct message_control_reply *reply)
{
	for (uint32_t i = 0; i < reply->n_counters; i++) {
		const struct control_counter *c = &reply->counters[i];
		struct json_object *device;

		if (!json_object_object_get_ex(all, c->device, &device)) {
			device = json_object_new_object();
			(void)json_object_object_add(all, c->device, device);
		}
		(void)json_object_object_add(device, c->name, json_object_new_uint64(c->value));
	}
}

static int run_counters(const struct ctl_command *command, struct channel *ch,
			const struct ctl_options *options)
{
	struct json_object *all = json_object_new_object();
	struct message_control_reply reply = { .more = true };
	int r = ctl_request(ch, command->request, options->device);

	while (r == 0 && reply.more) {
		r = ctl_answer(ch, ctl_deadline(), &reply);
		if (r != 0)
			break;
		add_counters(all, &reply);
		for (uint32_t i = 0; !options->json && i < reply.n_counters; i++)
			(void)printf("%-8s %-14s %llu\n", reply.counters[i].device,
				     reply.counters[i].name,
				     (unsigned long long)reply.counters[i].value);
	}
	if (r == 0 && options->json)
		(void)puts(json_object_to_json_string_ext(all, JSON_C_TO_STRING_PRETTY));
	(void)json_object_put(all);
	return r;
}

/* "blk0: text" as an object. */
static struct json_object *log_record_json(const char *text)
{
	struct json_object *o = json_object_new_object();
	const char *colon = strstr(text, ": ");
	int len = colon != NULL ? (int)(colon - text) : 0;

	(void)json_object_object_add(o, "device", json_object_new_string_len(text, len));
	(void)json_object_object_add(o, "text",
				     json_object_new_string(colon != NULL ? colon + 2 : text));
	return o;
}

/* The records that there are; with -f also those to come, one JSON document each. */
static int run_log(const struct ctl_command *command, struct channel *ch,
		   const struct ctl_options *options)
{
	struct json_object *list = json_object_new_array();
	struct message_control_reply reply;
	int r = ctl_request(ch, command->request, options->device);

	while (r == 0) {
		r = ctl_answer(ch, options->follow ? UINT64_MAX : ctl_deadline(), &reply);
		if (r != 0)
			break;
		if (reply.text[0] == '\0') {
			if (!options->follow)
				break;
			continue;
		}
		if (!options->json) {
			(void)puts(reply.text);
		} else if (options->follow) {
			struct json_object *o = log_record_json(reply.text);

			(void)puts(json_object_to_json_string(o));
			(void)json_object_put(o);
		} else {
			(void)json_object_array_add(list, log_record_json(reply.text));
		}
		(void)fflush(stdout);
	}
	if (r == 0 && options->json && !options->follow)
		(void)puts(json_object_to_json_string_ext(list, JSON_C_TO_STRING_PRETTY));
	(void)json_object_put(list);
	return r;
}

static int run_action(const struct ctl_command *command, struct channel *ch,
		      const struct ctl_options *options)
{
	struct message_control_reply reply;
	int r = ctl_request_text(ch, command->request, options->device, options->text);

	if (r == 0)
		r = ctl_answer(ch, ctl_deadline(), &reply);
	if (r == 0 && options->json)
		(void)printf("{ \"%s\": true }\n", command->name);
	return r;
}

static int run_restart(const struct ctl_command *command, struct channel *ch,
		       const struct ctl_options *options)
{
	struct message_control_reply reply;
	int r = ctl_request_restart(ch, options->device, options->program, options->is_stopped);

	(void)command;
	if (r == 0)
		r = ctl_answer(ch, ctl_deadline(), &reply);
	if (r == 0 && options->json)
		(void)printf("{ \"pid\": %d, \"stopped\": %s }\n", reply.pid,
			     options->is_stopped ? "true" : "false");
	else if (r == 0 && options->is_stopped)
		(void)printf("%d\n", reply.pid);
	return r;
}

static const struct ctl_command commands[] = {
	{ "ps", run_ps, CONTROL_PS, NO_DEVICE },
	{ "info", run_info, CONTROL_INFO, NO_DEVICE },
	{ "counters", run_counters, CONTROL_COUNTERS, MAY_NAME_DEVICE },
	{ "pause", run_action, CONTROL_PAUSE, NO_DEVICE },
	{ "resume", run_action, CONTROL_RESUME, NO_DEVICE },
	{ "power-button", run_action, CONTROL_POWER_BUTTON, NO_DEVICE },
	{ "reboot", run_action, CONTROL_REBOOT, NO_DEVICE },
	{ "shutdown", run_action, CONTROL_SHUTDOWN, NO_DEVICE },
	{ "log", run_log, CONTROL_LOG, MAY_NAME_DEVICE },
	{ "restart", run_restart, CONTROL_RESTART, MUST_NAME_DEVICE },
	{ "resume-device", run_action, CONTROL_RESUME_DEVICE, MUST_NAME_DEVICE },
	{ "limit", run_action, CONTROL_LIMIT, MUST_SAY_MORE },
	{ "link", run_action, CONTROL_LINK, MUST_SAY_MORE },
};

static const char help[] =
	"usage: bulkheadctl [--name NAME | --run-dir DIR] [--json] COMMAND\n"
	"\n"
	"  ps                 one row per process; everything but name, role, state and restarts\n"
	"                     is read from /proc\n"
	"  info               configuration and state\n"
	"  counters [DEV]     counters of all devices, or of one\n"
	"  pause, resume      stop the vCPUs, let them go on\n"
	"  power-button       ask the guest to power off\n"
	"  reboot             reset the guest\n"
	"  shutdown           end the VM now, without asking the guest\n"
	"  log [-f] [DEV]     records of the processes; -f: wait for more\n"
	"  restart DEV [--binary FILE] [--stopped]\n"
	"                     replace the process of a device; its guest waits for some\n"
	"                     milliseconds. A new process that does not get ready leaves the old\n"
	"                     one in place. --binary: run FILE instead of the installed program,\n"
	"                     until the next restart by this command. --stopped: print the pid of\n"
	"                     the new process and let it wait, e.g. for gdb PROGRAM -p PID\n"
	"  resume-device DEV  let a process of restart --stopped go\n"
	"  limit DEV KEY=VALUE...\n"
	"                     change rate limits of a disk or NIC; keys as in --disk and --net:\n"
	"                     bw_size, bw_refill_time, bw_one_time_burst, ops_size, ...; size 0\n"
	"                     takes a limit away\n"
	"  link DEV up|down   plug the cable of a NIC in, or pull it out\n"
	"\n"
	"  --name NAME        the VM's name; not needed while exactly one VM runs\n"
	"  --run-dir DIR      the VM's run dir\n"
	"  --json             print one JSON document\n"
	"  --version, --help\n"
	"\n"
	"Exit status: 0 done, 1 the VM is not there or refused, 2 wrong usage.\n";

static int usage(const char *arg, const char *reason)
{
	(void)ctl_fail("%s: %s", arg, reason);
	return EXIT_USAGE;
}

static const struct ctl_command *find_command(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

/* "--name X" and "--name=X"; Return: 0 taken; -1 not this option; EXIT_USAGE. */
static int parse_value(const char *name, char *argv[], int *at, const char **ret)
{
	size_t len = strlen(name);
	const char *arg = argv[*at];

	if (strncmp(arg, name, len) != 0 || (arg[len] != '\0' && arg[len] != '='))
		return -1;
	if (*ret != NULL)
		return usage(name, "given twice");
	*ret = arg[len] == '=' ? arg + len + 1 : argv[++*at];
	if (*ret == NULL || **ret == '\0')
		return usage(name, "missing value");
	return 0;
}

static bool add_text(struct ctl_options *o, const char *word)
{
	size_t used = strlen(o->text), room = sizeof(o->text) - used;
	int n = snprintf(o->text + used, room, "%s%s", used > 0 ? "," : "", word);

	return n >= 0 && (size_t)n < room;
}

static bool is_for(const struct ctl_command *command,
		   int (*run)(const struct ctl_command *, struct channel *,
			      const struct ctl_options *))
{
	return command != NULL && command->run == run;
}

/* An option without a value; Return: is it one? Some belong to one command, and come behind it. */
static bool parse_flag(const char *arg, const struct ctl_command *command, struct ctl_options *o)
{
	if (strcmp(arg, "--json") == 0)
		o->json = true;
	else if (strcmp(arg, "--stopped") == 0 && is_for(command, run_restart))
		o->is_stopped = true;
	else if (strcmp(arg, "-f") == 0 && is_for(command, run_log))
		o->follow = true;
	else
		return false;
	return true;
}

/* The command, its device, or what about it; Return: 0; EXIT_USAGE. */
static int parse_word(const char *arg, const struct ctl_command **command, struct ctl_options *o)
{
	if (*command == NULL) {
		*command = find_command(arg);
		return *command != NULL ? 0 : usage(arg, "unknown command, see --help");
	}
	if ((*command)->device != NO_DEVICE && o->device[0] == '\0') {
		o->device = arg;
		return 0;
	}
	if ((*command)->device != MUST_SAY_MORE)
		return usage(arg, "unexpected argument");
	return add_text(o, arg) ? 0 : usage(arg, "too long");
}

/* What involves more than one word; Return: 0; EXIT_USAGE. */
static int check(const struct ctl_options *o, const struct ctl_command *command)
{
	if (command == NULL)
		return usage("COMMAND", "missing, see --help");
	if (command->device >= MUST_NAME_DEVICE && o->device[0] == '\0')
		return usage(command->name, "which device?");
	if (command->device == MUST_SAY_MORE && o->text[0] == '\0')
		return usage(command->name, "what is to change? See --help");
	if (o->target.name != NULL && o->target.run_dir != NULL)
		return usage("--run-dir", "not together with --name");
	if (o->target.name != NULL && strchr(o->target.name, '/') != NULL)
		return usage("--name", "must not contain a slash, see --run-dir");
	return 0;
}

/* Return: 0; EXIT_USAGE; -1: help or version was printed. */
static int parse(char *argv[], struct ctl_options *o, const struct ctl_command **ret_command)
{
	const struct ctl_command *command = NULL;

	for (int at = 1; argv[at] != NULL; at++) {
		const char *arg = argv[at];
		int r = parse_value("--name", argv, &at, &o->target.name);

		if (r < 0)
			r = parse_value("--run-dir", argv, &at, &o->target.run_dir);
		if (r < 0 && is_for(command, run_restart))
			r = parse_value("--binary", argv, &at, &o->program);
		if (r > 0)
			return r;
		if (r == 0)
			continue;
		if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
			(void)fputs(help, stdout);
			return -1;
		}
		if (strcmp(arg, "--version") == 0 || strcmp(arg, "-V") == 0) {
			(void)printf("bulkheadctl %s\n", BULKHEAD_VERSION);
			return -1;
		}
		if (parse_flag(arg, command, o))
			continue;
		r = arg[0] == '-' ? usage(arg, "unknown option, see --help") :
				    parse_word(arg, &command, o);
		if (r != 0)
			return r;
	}
	*ret_command = command;
	return check(o, command);
}

int main(int argc, char *argv[])
{
	struct ctl_options options = { .device = "" };
	const struct ctl_command *command;
	struct channel *channel;
	int r;

	(void)argc;
	r = parse(argv, &options, &command);
	if (r != 0)
		return r < 0 ? 0 : r;
	r = ctl_connect(&options.target, &channel);
	if (r != 0)
		return r;
	r = command->run(command, channel, &options);
	(void)channel_free(channel);
	return r;
}
