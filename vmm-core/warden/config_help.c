/* SPDX-License-Identifier: Apache-2.0 */
/* The text of bulkhead --help; man/bulkhead.1 says the same at more length. */
#include "vmm-core/warden/config_cli.h"

static const char config_help_text[] =
	"usage: bulkhead --kernel FILE [OPTION]...\n"
	"\n"
	"Runs one virtual machine in the foreground. Every device is a process of its own, in its\n"
	"own sandbox; look at them with bulkheadctl.\n"
	"\n"
	"  --kernel FILE        ELF vmlinux with a PVH note, or bzImage\n"
	"  --initramfs FILE     initial RAM disk\n"
	"  --cmdline STRING     kernel command line, at most 4095 characters\n"
	"  --cpus boot=N        virtual CPUs, 1 to 64 (default 1)\n"
	"  --memory size=SIZE[,hugepages=on|off][,prefault=on|off]\n"
	"                       RAM, a multiple of 4096 bytes (default 512M); SIZE takes K, M, G, T\n"
	"  --disk path=FILE[,KEY=VALUE]...\n"
	"                       a raw image or block device. May be repeated, or take several\n"
	"                       values; put a value in double quotes to hold a comma. Keys:\n"
	"      readonly=on|off  the guest cannot write; several VMs may share it (default off)\n"
	"      direct=on|off    bypass the host's page cache, O_DIRECT (default off)\n"
	"      num_queues=N     1 to the number of vCPUs (default 1)\n"
	"      queue_size=N     a power of two, 2 to 1024 (default 128)\n"
	"      serial=S         1 to 20 characters that the guest can read back\n"
	"      id=ID            name in bulkheadctl (default blk0, blk1, ...)\n"
	"  --serial MODE        COM1: off, null, tty, pty or file=FILE (default tty when stdin is a\n"
	"                       terminal, else null). tty: the terminal is raw, Ctrl-C goes to the\n"
	"                       guest; `bulkheadctl shutdown` ends the VM from another terminal\n"
	"  --console off        virtio console; only off is built\n"
	"  --transport pci|mmio virtio transport: PCI with MSI-X, or memory-mapped registers for\n"
	"                       small guests, at most 16 devices (default pci)\n"
	"  --name NAME          name of the VM (default vm-PID)\n"
	"  --run-dir DIR        lock and control socket (default /run/bulkhead/NAME as root,\n"
	"                       $XDG_RUNTIME_DIR/bulkhead/NAME otherwise)\n"
	"  --restart max=0[,window=TIME][,backoff=TIME][,heartbeat=0]\n"
	"                       what happens when a device process dies; only max=0 is built: the\n"
	"                       device is marked failed, the VM goes on. TIME takes ms, s, m\n"
	"  --allow-weak-sandbox without root and without subordinate ids (/etc/subuid): start\n"
	"                       although all processes will share one user id\n"
	"  --seccomp true|log   log: report forbidden system calls instead of killing, for\n"
	"                       diagnosis only\n"
	"  --log-file FILE      append messages to FILE instead of stderr\n"
	"  -v                   more messages, e.g. start times; -vv is given as -v -v\n"
	"  --version, --help\n"
	"\n"
	"SIGTERM or SIGINT presses the guest's power button, a second one kills the VM.\n"
	"\n"
	"Exit status: 0 the guest powered off, or `bulkheadctl shutdown`; 1 the VM could not start,\n"
	"its core failed, or it was killed by a second signal; 2 wrong usage; 3 the guest crashed.\n";

void config_help_print(FILE *out)
{
	(void)fputs(config_help_text, out);
}
