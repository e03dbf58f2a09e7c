/* SPDX-License-Identifier: Apache-2.0 */
/* What /proc says about the processes of a VM. */
#include "tools/bulkheadctl/ctl.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

const char *const ctl_namespace_names[CTL_NAMESPACES] = { "user", "mnt", "pid",	  "net",
							  "ipc",  "uts", "cgroup" };

static FILE *ctl_proc_open(int pid, const char *name)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	return fopen(path, "re");
}

static void ctl_status_line(struct ctl_process *p, const char *line)
{
	static const char *const sets[] = { "CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:" };
	unsigned ids[4];
	uint64_t set;

	if (strncmp(line, "Uid:", 4) == 0 || strncmp(line, "Gid:", 4) == 0) {
		if (sscanf(line + 4, "%u %u %u %u", &ids[0], &ids[1], &ids[2], &ids[3]) != 4)
			return;
		*(line[0] == 'U' ? &p->uid : &p->gid) = ids[0];
		for (size_t i = 1; i < ARRAY_LEN(ids); i++)
			p->ids_differ |= ids[i] != ids[0];
		p->has_status = true;
	}
	for (size_t i = 0; i < ARRAY_LEN(sets); i++) {
		if (strncmp(line, sets[i], strlen(sets[i])) == 0) {
			set = strtoull(line + strlen(sets[i]), NULL, 16);
			p->caps |= set;
		}
	}
	if (strncmp(line, "Seccomp:", 8) == 0)
		p->seccomp = (int)strtol(line + 8, NULL, 10);
	if (strncmp(line, "NoNewPrivs:", 11) == 0)
		p->no_new_privs = strtol(line + 11, NULL, 10) == 1;
	if (strncmp(line, "Threads:", 8) == 0)
		p->n_threads = (uint32_t)strtoul(line + 8, NULL, 10);
}

static void ctl_read_status(struct ctl_process *p)
{
	FILE *in = ctl_proc_open(p->told->pid, "status");
	char line[512];

	if (in == NULL)
		return;
	while (fgets(line, sizeof(line), in) != NULL)
		ctl_status_line(p, line);
	(void)fclose(in);
}

static void ctl_read_memory(struct ctl_process *p)
{
	FILE *in = ctl_proc_open(p->told->pid, "smaps_rollup");
	char line[256];
	int seen = 0;

	if (in == NULL)
		return;
	while (fgets(line, sizeof(line), in) != NULL) {
		if (strncmp(line, "Rss:", 4) == 0) {
			p->rss = strtoull(line + 4, NULL, 10) << 10;
			seen++;
		} else if (strncmp(line, "Pss:", 4) == 0) {
			p->pss = strtoull(line + 4, NULL, 10) << 10;
			seen++;
		}
	}
	p->has_memory = seen == 2;
	(void)fclose(in);
}

/* "user:[4026531837]"; Return: false when it may not be read. */
static bool ctl_namespace_link(int pid, size_t i, char *ret, size_t size)
{
	char path[64];
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, ctl_namespace_names[i]);
	n = readlink(path, ret, size - 1);
	if (n < 0)
		return false;
	ret[n] = '\0';
	return true;
}

static void ctl_read_namespaces(struct ctl_process *p, int warden)
{
	char own[64], theirs[64];

	p->has_namespaces = true;
	for (size_t i = 0; i < CTL_NAMESPACES; i++) {
		if (!ctl_namespace_link(p->told->pid, i, own, sizeof(own)) ||
		    !ctl_namespace_link(warden, i, theirs, sizeof(theirs)))
			p->has_namespaces = false;
		else if (strcmp(own, theirs) != 0)
			p->namespaces |= 1u << i;
	}
}

static void ctl_read_fds(struct ctl_process *p)
{
	char path[64], target[4096];
	struct dirent *entry;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", p->told->pid);
	dir = opendir(path);
	p->fds = calloc(CTL_FDS_MAX, sizeof(*p->fds));
	if (dir == NULL || p->fds == NULL) {
		if (dir != NULL)
			(void)closedir(dir);
		return;
	}
	while ((entry = readdir(dir)) != NULL && p->n_fds < CTL_FDS_MAX) {
		ssize_t n;

		if (entry->d_name[0] == '.')
			continue;
		n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);
		target[n < 0 ? 0 : n] = '\0';
		p->fds[p->n_fds++] = strdup(target);
	}
	(void)closedir(dir);
	p->has_fds = true;
}

/* Join the warden's user namespace when it is another one and we may. */
static void ctl_enter_userns(int warden)
{
	struct stat own, theirs;
	cleanup_fd int fd = -1;
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/ns/user", warden);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &theirs) < 0 || stat("/proc/self/ns/user", &own) < 0)
		return;
	if (own.st_ino != theirs.st_ino || own.st_dev != theirs.st_dev)
		(void)setns(fd, CLONE_NEWUSER);
}

void ctl_proc_read(const struct ctl_processes *ps, struct ctl_process *ret)
{
	int warden = ps->n > 0 ? ps->told[0].pid : 0;

	/* Ids first: in the other namespace they would be shown as that namespace sees them. */
	for (uint32_t i = 0; i < ps->n; i++) {
		ret[i].told = &ps->told[i];
		if (ps->told[i].pid > 0)
			ctl_read_status(&ret[i]);
	}
	if (geteuid() != 0)
		ctl_enter_userns(warden);
	for (uint32_t i = 0; i < ps->n; i++) {
		if (!ret[i].has_status)
			continue; /* not running, or gone since the warden answered */
		ctl_read_memory(&ret[i]);
		ctl_read_namespaces(&ret[i], warden);
		ctl_read_fds(&ret[i]);
	}
}

void ctl_process_clear(struct ctl_process *p)
{
	for (uint32_t i = 0; i < p->n_fds; i++)
		free(p->fds[i]);
	free(p->fds);
	*p = (struct ctl_process){ 0 };
}
