/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands of the control socket: which one does what, and those that act on the VM or on one
 * of its devices.
 */
#include <stdio.h>
#include <string.h>

#include "vmm-core/warden/config_net.h"
#include "vmm-core/warden/control_internal.h"

static void command_restart(struct control_client *c, const struct message_control_request *request,
			    int program_fd)
{
	int slot = control_client_find_device(c, request->device);
	cleanup_fd int owned_fd = program_fd;
	char text[MESSAGE_TEXT_MAX];
	const char *why;
	int r;

	if (slot < 0 || !control_client_wait(c, CONTROL_RESTART_DEADLINE_MS))
		return;
	c->restarts = &c->vm->devices[slot];
	r = vm_device_replace(c->restarts, fd_steal(&owned_fd), request->is_stopped, &why);
	if (r < 0) { /* only ours: another client may be waiting for the same device */
		c->restarts = NULL;
		(void)snprintf(text, sizeof(text), "%.*s: %s", VM_ID_MAX, request->device,
			       why != NULL ? why : strerror(-r));
		control_client_finish(c, -r, text);
	}
}

static void command_resume_device(struct control_client *c, const char *device)
{
	int slot = control_client_find_device(c, device);

	if (slot < 0)
		return;
	if (vm_device_let_go(&c->vm->devices[slot]) < 0)
		control_client_finish(c, EINVAL, "it was not stopped by restart --stopped");
	else
		control_client_finish(c, 0, "");
}

/* Ask the core, which tells the device; a successor is told by us. */
static void command_adjust(struct control_client *c, const struct message_adjust *adjust)
{
	if (!control_client_wait(c, VM_REQUEST_DEADLINE_MS))
		return;
	c->vm->adjusts[adjust->slot] = *adjust;
	c->seq = vm_core_adjust(c->vm, adjust);
}

static void command_limit(struct control_client *c, const struct message_control_request *request)
{
	struct vm *vm = c->vm;
	int slot = control_client_find_device(c, request->device);
	struct message_adjust adjust;
	struct failure f;
	int r;

	if (slot < 0)
		return;
	if (vm->config->devices[slot].type != DEVICE_TYPE_BLK &&
	    vm->config->devices[slot].type != DEVICE_TYPE_NET) {
		control_client_finish(c, EINVAL, "only disks and NICs have limits");
		return;
	}
	adjust = vm->adjusts[slot];
	r = config_limits_parse("limit", request->text, &adjust.limits, &f);
	if (r == 0)
		command_adjust(c, &adjust);
	else
		control_client_finish(c, r == FAILED ? EINVAL : -r,
				      r == FAILED ? f.text : strerror(-r));
}

/* One that was started ahead has told the link as it was: the driver would see it change twice. */
static void command_renew_standby(struct vm_device *d)
{
	if (d->next_state != VM_NEXT_STANDBY)
		return;
	vm_next_drop(d);
	vm_device_want_standby(d);
}

static void command_link(struct control_client *c, const struct message_control_request *request)
{
	struct vm *vm = c->vm;
	int slot = control_client_find_device(c, request->device);
	bool is_up = strcmp(request->text, "up") == 0;
	struct message_adjust adjust;

	if (slot < 0)
		return;
	if (vm->config->devices[slot].type != DEVICE_TYPE_NET) {
		control_client_finish(c, EINVAL, "only NICs have a link");
	} else if (!is_up && strcmp(request->text, "down") != 0) {
		control_client_finish(c, EINVAL, "link: must be up or down");
	} else {
		adjust = vm->adjusts[slot];
		if (adjust.link_down == is_up)
			command_renew_standby(&vm->devices[slot]);
		adjust.link_down = !is_up;
		command_adjust(c, &adjust);
	}
}

static void command_shut_down(struct control_client *c)
{
	control_client_finish(c, 0, "");
	vm_end(c->vm, STATUS_POWERED_OFF, NULL);
}

void control_command_run(struct control_client *c, const struct message_control_request *request,
			 struct fdset *fds)
{
	if (request->protocol != PROTOCOL_VERSION) {
		control_client_finish(c, EPROTO,
				      "bulkheadctl and bulkhead are of different versions");
		return;
	}
	switch (request->command) {
	case CONTROL_PS:
	case CONTROL_INFO:
		control_show_vm(c);
		return;
	case CONTROL_COUNTERS:
		control_show_counters(c, request->device);
		return;
	case CONTROL_LOG:
		control_show_log(c, request->device);
		return;
	case CONTROL_PAUSE:
		control_client_ask_core(c, MESSAGE_PAUSE);
		return;
	case CONTROL_RESUME:
		control_client_ask_core(c, MESSAGE_RESUME);
		return;
	case CONTROL_POWER_BUTTON:
		control_client_ask_core(c, MESSAGE_POWER_BUTTON);
		return;
	case CONTROL_REBOOT:
		control_client_ask_core(c, MESSAGE_REBOOT);
		return;
	case CONTROL_SHUTDOWN:
		command_shut_down(c);
		return;
	case CONTROL_RESTART:
		command_restart(c, request, request->has_program ? fdset_steal(fds, 0) : -1);
		return;
	case CONTROL_RESUME_DEVICE:
		command_resume_device(c, request->device);
		return;
	case CONTROL_LIMIT:
		command_limit(c, request);
		return;
	case CONTROL_LINK:
		command_link(c, request);
		return;
	case CONTROL_N_:
		break;
	}
	control_client_finish(c, EOPNOTSUPP, "not supported");
}
