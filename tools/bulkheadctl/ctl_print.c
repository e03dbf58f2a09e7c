/* SPDX-License-Identifier: Apache-2.0 */
/* ps and info as a table or as JSON. */
#include "tools/bulkheadctl/ctl.h"

#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define PS_COLUMNS 13
#define PS_CELL_MAX 80

typedef char ps_row[PS_COLUMNS][PS_CELL_MAX];

static const char *const ps_titles[PS_COLUMNS] = {
	"NAME", "ROLE", "PID",	   "UID",  "GID",	 "STATE", "RESTARTS",
	"RSS",	"PSS",	"SECCOMP", "CAPS", "NAMESPACES", "FDS",
};

static const char *ps_seccomp_name(int mode)
{
	return mode == 2 ? "filter" : mode == 1 ? "strict" : "off";
}

/* "user,mnt,pid" into @ret. */
static void ps_namespaces(uint32_t set, char *ret, size_t size)
{
	size_t at = 0;

	ret[0] = '\0';
	for (size_t i = 0; i < CTL_NAMESPACES; i++) {
		if ((set & (1u << i)) == 0 || at >= size)
			continue;
		at += (size_t)snprintf(ret + at, size - at, "%s%s", at > 0 ? "," : "",
				       ctl_namespace_names[i]);
	}
}

static void ps_fill_row(const struct ctl_process *p, ps_row row)
{
	const struct control_process *t = p->told;
	char namespaces[PS_CELL_MAX];

	for (size_t i = 0; i < PS_COLUMNS; i++)
		(void)snprintf(row[i], PS_CELL_MAX, "-");
	(void)snprintf(row[0], PS_CELL_MAX, "%s", t->name);
	(void)snprintf(row[1], PS_CELL_MAX, "%s", t->role);
	if (t->pid > 0)
		(void)snprintf(row[2], PS_CELL_MAX, "%d", t->pid);
	(void)snprintf(row[5], PS_CELL_MAX, "%s", t->state);
	(void)snprintf(row[6], PS_CELL_MAX, "%u", t->restarts);
	if (p->has_status) {
		(void)snprintf(row[3], PS_CELL_MAX, "%u%s", p->uid, p->ids_differ ? "!" : "");
		(void)snprintf(row[4], PS_CELL_MAX, "%u", p->gid);
		(void)snprintf(row[9], PS_CELL_MAX, "%s", ps_seccomp_name(p->seccomp));
		(void)snprintf(row[10], PS_CELL_MAX, "%llx", (unsigned long long)p->caps);
	}
	if (p->has_memory) {
		(void)snprintf(row[7], PS_CELL_MAX, "%lluK", (unsigned long long)p->rss >> 10);
		(void)snprintf(row[8], PS_CELL_MAX, "%lluK", (unsigned long long)p->pss >> 10);
	}
	ps_namespaces(p->namespaces, namespaces, sizeof(namespaces));
	if (p->has_namespaces && namespaces[0] != '\0')
		(void)snprintf(row[11], PS_CELL_MAX, "%s", namespaces);
	if (p->has_fds)
		(void)snprintf(row[12], PS_CELL_MAX, "%u", p->n_fds);
}

static void ctl_format_time(uint64_t seconds, char *ret, size_t size)
{
	time_t t = (time_t)seconds;
	struct tm tm;

	if (gmtime_r(&t, &tm) == NULL || strftime(ret, size, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		(void)snprintf(ret, size, "unknown");
}

static void ps_print_last_exit(const struct control_process *t)
{
	char when[32];

	if (t->last_exit[0] == '\0')
		return;
	(void)printf("  last exit: %s", t->last_exit);
	if (t->last_stall_us > 0) {
		ctl_format_time(t->last_stall_at, when, sizeof(when));
		(void)printf("; the guest waited %.1f ms at %s", (double)t->last_stall_us / 1e3,
			     when);
	}
	(void)putchar('\n');
}

static void ps_print_table(const struct ctl_process *processes, uint32_t n)
{
	static ps_row rows[CTL_PROCESSES_MAX];
	size_t widths[PS_COLUMNS];

	for (size_t c = 0; c < PS_COLUMNS; c++)
		widths[c] = strlen(ps_titles[c]);
	for (uint32_t i = 0; i < n; i++) {
		ps_fill_row(&processes[i], rows[i]);
		for (size_t c = 0; c < PS_COLUMNS; c++) {
			size_t len = strlen(rows[i][c]);

			widths[c] = len > widths[c] ? len : widths[c];
		}
	}
	for (size_t c = 0; c < PS_COLUMNS; c++)
		(void)printf("%-*s%s", c + 1 < PS_COLUMNS ? (int)widths[c] : 0, ps_titles[c],
			     c + 1 < PS_COLUMNS ? "  " : "\n");
	for (uint32_t i = 0; i < n; i++) {
		for (size_t c = 0; c < PS_COLUMNS; c++)
			(void)printf("%-*s%s", c + 1 < PS_COLUMNS ? (int)widths[c] : 0, rows[i][c],
				     c + 1 < PS_COLUMNS ? "  " : "\n");
		ps_print_last_exit(processes[i].told);
	}
}

static void json_add(struct json_object *o, const char *key, struct json_object *value)
{
	(void)json_object_object_add(o, key, value);
}

static struct json_object *json_number_if(bool has, uint64_t v)
{
	return has ? json_object_new_uint64(v) : NULL;
}

/* Keys that the table has too, so far as only the warden knows them. */
static struct json_object *json_told(const struct control_process *t)
{
	struct json_object *o = json_object_new_object();
	char when[32];

	json_add(o, "name", json_object_new_string(t->name));
	json_add(o, "role", json_object_new_string(t->role));
	json_add(o, "pid", json_number_if(t->pid > 0, (uint64_t)t->pid));
	json_add(o, "state", json_object_new_string(t->state));
	json_add(o, "restarts", json_object_new_uint64(t->restarts));
	json_add(o, "last_exit", json_object_new_string(t->last_exit));
	if (t->last_stall_us > 0)
		ctl_format_time(t->last_stall_at, when, sizeof(when));
	json_add(o, "last_stall_us", json_number_if(t->last_stall_us > 0, t->last_stall_us));
	json_add(o, "last_stall_at",
		 t->last_stall_us > 0 ? json_object_new_string(when) : NULL);
	return o;
}

static struct json_object *json_namespaces(const struct ctl_process *p)
{
	struct json_object *list;

	if (!p->has_namespaces)
		return NULL;
	list = json_object_new_array();
	for (size_t i = 0; i < CTL_NAMESPACES; i++) {
		if (p->namespaces & (1u << i))
			(void)json_object_array_add(
				list, json_object_new_string(ctl_namespace_names[i]));
	}
	return list;
}

static struct json_object *json_fd_list(const struct ctl_process *p)
{
	struct json_object *list;

	if (!p->has_fds)
		return NULL;
	list = json_object_new_array();
	for (uint32_t i = 0; i < p->n_fds; i++)
		(void)json_object_array_add(
			list, json_object_new_string(p->fds[i] != NULL ? p->fds[i] : ""));
	return list;
}

static struct json_object *json_process(const struct ctl_process *p)
{
	struct json_object *o = json_told(p->told);
	char caps[32];

	(void)snprintf(caps, sizeof(caps), "%llx", (unsigned long long)p->caps);
	json_add(o, "uid", json_number_if(p->has_status, p->uid));
	json_add(o, "gid", json_number_if(p->has_status, p->gid));
	json_add(o, "rss", json_number_if(p->has_memory, p->rss));
	json_add(o, "pss", json_number_if(p->has_memory, p->pss));
	json_add(o, "seccomp",
		 p->has_status ? json_object_new_string(ps_seccomp_name(p->seccomp)) : NULL);
	json_add(o, "caps", p->has_status ? json_object_new_string(caps) : NULL);
	json_add(o, "namespaces", json_namespaces(p));
	json_add(o, "fds", json_number_if(p->has_fds, p->n_fds));
	json_add(o, "fd_list", json_fd_list(p));
	json_add(o, "no_new_privs",
		 p->has_status ? json_object_new_boolean(p->no_new_privs) : NULL);
	json_add(o, "ids_differ", p->has_status ? json_object_new_boolean(p->ids_differ) : NULL);
	json_add(o, "threads", json_number_if(p->has_status, p->n_threads));
	return o;
}

static void json_print(struct json_object *o)
{
	(void)puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY |
							     JSON_C_TO_STRING_NOSLASHESCAPE));
	(void)json_object_put(o);
}

void ctl_print_ps(const struct ctl_process *processes, uint32_t n, bool json)
{
	struct json_object *list;

	if (!json) {
		ps_print_table(processes, n);
		return;
	}
	list = json_object_new_array();
	for (uint32_t i = 0; i < n; i++)
		(void)json_object_array_add(list, json_process(&processes[i]));
	json_print(list);
}

void ctl_print_info(const struct ctl_processes *info, bool json)
{
	const struct message_control_reply *vm = &info->vm;
	struct json_object *o, *list;

	if (!json) {
		(void)printf("name    %s\nstate   %s\ncpus    %u\nmemory  %llu\n", vm->vm_name,
			     vm->vm_state, vm->n_cpus, (unsigned long long)vm->memory_size);
		for (uint32_t i = 0; i < info->n; i++) {
			const struct control_process *t = &info->told[i];

			(void)printf("process %s %s %s, restarts %u\n", t->name, t->role, t->state,
				     t->restarts);
			ps_print_last_exit(t);
		}
		return;
	}
	o = json_object_new_object();
	list = json_object_new_array();
	json_add(o, "name", json_object_new_string(vm->vm_name));
	json_add(o, "state", json_object_new_string(vm->vm_state));
	json_add(o, "cpus", json_object_new_uint64(vm->n_cpus));
	json_add(o, "memory", json_object_new_uint64(vm->memory_size));
	for (uint32_t i = 0; i < info->n; i++)
		(void)json_object_array_add(list, json_told(&info->told[i]));
	json_add(o, "processes", list);
	json_print(o);
}
