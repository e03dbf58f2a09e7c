/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "vmm-core/warden/config_cli.h"

#define ARGS_MAX 64

/* Parse a line whose words are separated by single blanks. */
static int parse(const char *line, bool terminal, struct vm_config *config, struct failure *f)
{
	char copy[1024], *rest = copy;
	char *argv[ARGS_MAX] = { "bulkhead" };
	int argc = 1;

	(void)snprintf(copy, sizeof(copy), "%s", line);
	while (rest != NULL && argc < ARGS_MAX - 1 && *rest != '\0')
		argv[argc++] = strsep(&rest, " ");
	return config_cli_parse(argc, argv, terminal, config, f);
}

Test(config_cli, defaults)
{
	struct vm_config c = { 0 };
	struct failure f;

	cr_assert_eq(parse("--kernel k", false, &c, &f), 0);
	cr_assert_str_eq(c.kernel, "k");
	cr_assert_eq(strncmp(c.name, "vm-", 3), 0);
	cr_assert_eq(c.n_cpus, 1);
	cr_assert_eq(c.memory_size, 512ull << 20);
	cr_assert_eq(c.serial, SERIAL_NULL);
	cr_assert_eq(c.n_devices, 0);
	cr_assert_eq(c.restart.max, 5);
	cr_assert_eq(c.restart.window_ms, 60000);
	cr_assert_eq(c.restart.backoff_ms, 100);
	cr_assert_eq(c.restart.heartbeat_ms, 3000);
	cr_assert(c.restart.standby);
	cr_assert_null(c.run_dir);
	vm_config_clear(&c);
	cr_assert_eq(parse("--kernel k", true, &c, &f), 0);
	cr_assert_eq(c.serial, SERIAL_TTY);
	vm_config_clear(&c);
}

Test(config_cli, everything)
{
	struct vm_config c = { 0 };
	struct failure f;
	int r = parse("--kernel k --initramfs=i --cmdline console=ttyS0 --cpus boot=4 "
		      "--memory size=2G,hugepages=on,prefault=on "
		      "--disk path=a,readonly=on,direct=on,num_queues=4,queue_size=1024,serial=S1 "
		      "path=b --disk path=c,id=data --console off --serial file=log "
		      "--transport mmio --name web-1 --run-dir /r "
		      "--restart max=7,window=2m,backoff=50ms,heartbeat=0,standby=off "
		      "--allow-weak-sandbox --seccomp log --log-file l -v -v",
		      true, &c, &f);

	cr_assert_eq(r, 0, "%s", f.text);
	cr_assert_str_eq(c.initramfs, "i");
	cr_assert_str_eq(c.cmdline, "console=ttyS0");
	cr_assert_eq(c.n_cpus, 4);
	cr_assert_eq(c.memory_size, 2ull << 30);
	cr_assert(c.memory_hugepages && c.memory_prefault);
	cr_assert_eq(c.n_devices, 3);
	cr_assert_str_eq(c.devices[0].id, "blk0");
	cr_assert_str_eq(c.devices[0].path, "a");
	cr_assert(c.devices[0].blk.read_only && c.devices[0].blk.direct);
	cr_assert_eq(c.devices[0].blk.num_queues, 4);
	cr_assert_eq(c.devices[0].blk.queue_size, 1024);
	cr_assert_str_eq(c.devices[0].blk.serial, "S1");
	cr_assert_str_eq(c.devices[1].id, "blk1");
	cr_assert_eq(c.devices[1].blk.num_queues, 1);
	cr_assert_eq(c.devices[1].blk.queue_size, 128);
	cr_assert_str_eq(c.devices[2].id, "data");
	cr_assert_eq(c.serial, SERIAL_FILE);
	cr_assert_str_eq(c.serial_path, "log");
	cr_assert_str_eq(c.name, "web-1");
	cr_assert_str_eq(c.run_dir, "/r");
	cr_assert_eq(c.restart.max, 7);
	cr_assert_eq(c.restart.window_ms, 120000);
	cr_assert_eq(c.restart.backoff_ms, 50);
	cr_assert_eq(c.restart.heartbeat_ms, 0);
	cr_assert_not(c.restart.standby);
	cr_assert(c.allow_weak_sandbox && c.seccomp_log);
	cr_assert_str_eq(c.log_file, "l");
	cr_assert_eq(c.verbosity, 2);
	vm_config_clear(&c);
}

Test(config_cli, help_and_version)
{
	struct vm_config c = { 0 };
	struct failure f;

	cr_assert_eq(parse("--help", false, &c, &f), CONFIG_CLI_HELP);
	cr_assert_eq(parse("--version", false, &c, &f), CONFIG_CLI_VERSION);
}

Test(config_cli, refuses)
{
	static const struct {
		const char *args;
		const char *line;
	} rows[] = {
		{ "--cpus boot=1", "--kernel: required, see --help" },
		{ "--kernel", "--kernel: missing value" },
		{ "--kernel=", "--kernel: missing value" },
		{ "--kernel --cpus boot=1", "--kernel: missing value" },
		{ "--kernel k --kernel k", "--kernel: given twice" },
		{ "--frobnicate", "--frobnicate: unknown option" },
		{ "stray", "stray: unknown argument" },
		{ "-v=1", "-v: takes no value" },
		{ "--cpus boot=0", "--cpus boot=0: must be 1 to 64" },
		{ "--cpus boot=65", "--cpus boot=65: must be 1 to 64" },
		{ "--cpus boot=x", "--cpus boot=x: not a number" },
		{ "--cpus max=1", "--cpus max: unknown key" },
		{ "--cpus 2", "--cpus 2: not KEY=VALUE; did you mean boot=2?" },
		{ "--memory 1G", "--memory 1G: not KEY=VALUE; did you mean size=1G?" },
		{ "--cpus boot=1,boot=2", "--cpus boot: given twice" },
		{ "--memory size=0", "--memory size: must not be 0" },
		{ "--memory size=4097",
		  "--memory size: 4097 bytes is not a multiple of 4096" },
		{ "--memory size=4K,hugepages=on",
		  "--memory size: with hugepages=on it must be a multiple of 2M" },
		{ "--memory prefault=on", "--memory size: required" },
		{ "--disk readonly=on", "--disk path: required" },
		{ "--disk path=a,colour=red", "--disk colour: unknown key" },
		{ "--disk path=a,path=b", "--disk path: given twice" },
		{ "--disk path=a,queue_size=100", "--disk queue_size=100: not a power of two" },
		{ "--disk path=a,queue_size=2048",
		  "--disk queue_size=2048: must be 2 to 1024" },
		{ "--kernel k --transport mmio --disk path=a,iommu=on",
		  "--disk iommu=on: needs --transport pci: with mmio nothing tells the guest which "
		  "devices are behind the IOMMU" },
		{ "--kernel k --rng iommu=on --transport mmio",
		  "--rng iommu=on: needs --transport pci: with mmio nothing tells the guest which "
		  "devices are behind the IOMMU" },
		{ "--kernel k --transport mmio --net mode=user,iommu=on",
		  "--net iommu=on: needs --transport pci: with mmio nothing tells the guest which "
		  "devices are behind the IOMMU" },
		{ "--kernel k --transport mmio --console null,iommu=on",
		  "--console iommu=on: needs --transport pci: with mmio nothing tells the guest "
		  "which devices are behind the IOMMU" },
		{ "--kernel k --transport mmio --vsock cid=3,socket=a,iommu=on",
		  "--vsock iommu=on: needs --transport pci: with mmio nothing tells the guest which "
		  "devices are behind the IOMMU" },
		{ "--console pty,iommu=perhaps", "--console iommu=perhaps: must be on or off" },
		{ "--console pty,iommu=on,iommu=on", "--console iommu: given twice" },
		{ "--console off,iommu=on", "--console off: takes no keys" },
		{ "--kernel k --serial tty --console tty,iommu=on",
		  "--console tty: --serial tty has the terminal already" },
		{ "--console pty,iommu=on,id=c", "--console id: unknown key" },
		{ "--kernel k --disk path=a,num_queues=2",
		  "--disk num_queues=2: more than the 1 vCPUs of --cpus boot" },
		{ "--kernel k --disk path=a,id=x --disk path=b,id=x",
		  "--disk id=x: given to two devices" },
		{ "--kernel k --disk path=a,id=blk1 --disk path=b",
		  "--disk id=blk1: given to two devices" },
		{ "--kernel k --disk path=a,id=core", "--disk id=core: this id is reserved" },
		{ "--serial teletype",
		  "--serial teletype: must be off, null, tty, pty or file=FILE" },
		{ "--serial file=", "--serial file: missing value" },
		{ "--serial socket=x",
		  "--serial socket=x: must be off, null, tty, pty or file=FILE" },
		{ "--serial nullx", "--serial nullx: must be off, null, tty, pty or file=FILE" },
		{ "--console disk",
		  "--console disk: must be off, null, tty, pty, file=FILE or socket=PATH" },
		{ "--console file=", "--console file: missing value" },
		{ "--console socket=", "--console socket: missing value" },
		{ "--console pty --console pty", "--console: given twice" },
		{ "--kernel k --serial tty --console tty",
		  "--console tty: --serial tty has the terminal already" },
		{ "--transport isa", "--transport isa: must be mmio or pci" },
		{ "--seccomp off", "--seccomp off: must be true or log" },
		{ "--name uids", "--name uids: this name is reserved" },
		{ "--restart window=0",
		  "--restart window=0: with max above 0 a window is needed" },
		{ "--restart max=1001", "--restart max=1001: must be 0 to 1000" },
		{ "--restart window=60", "--restart window=60: not a duration (a number, then one "
					 "of ms, s, m)" },
		{ "--net mac=02:00:00:00:00:01",
		  "--net: one of tap=NAME, fd=N and mode=user is required" },
		{ "--net tap=t,mac=02:00:00:00:00", "--net mac=02:00:00:00:00: not a MAC address of "
						    "one station (aa:bb:cc:dd:ee:ff)" },
		{ "--net tap=t,mac=03:00:00:00:00:01",
		  "--net mac=03:00:00:00:00:01: not a MAC address of one station "
		  "(aa:bb:cc:dd:ee:ff)" },
		{ "--net tap=t,num_queues=3",
		  "--net num_queues=3: must be even, receive and transmit" },
		{ "--net tap=t,num_queues=32", "--net num_queues=32: must be 2 to 26" },
		{ "--kernel k --net tap=t,num_queues=4",
		  "--net num_queues=4: more than 2 for each of the 1 vCPUs of --cpus boot" },
		{ "--net tap=a-name-of-16-chr", "--net tap=a-name-of-16-chr: at most 15 characters" },
		{ "--net tap=t:0", "--net tap=t:0: not a name of an interface" },
		{ "--net tap=t%d", "--net tap=t%d: not a name of an interface" },
		{ "--net tap=t\x13", "--net tap=t?: not a name of an interface" },
		{ "--net tap=..", "--net tap=..: not a name of an interface" },
		{ "--net tap=t,mtu=1000", "--net mtu=1000: must be 1280 to 65535" },
		{ "--net tap=t,fd=3", "--net: one of tap=NAME, fd=N and mode=user is required" },
		{ "--net fd=1", "--net fd=1: 0 to 2 have another use" },
		{ "--net fd=[3,x]", "--net fd=x: not a file descriptor" },
		{ "--net fd=[3,4],num_queues=2",
		  "--net num_queues=2: needs 1 values of fd, not 2" },
		{ "--net mode=bridge", "--net mode=bridge: must be tap or user" },
		{ "--net mode=user,tap=t", "--net tap: not with mode=user" },
		{ "--net mode=user,num_queues=4", "--net num_queues=4: with mode=user only 2" },
		{ "--net tap=t,hostfwd=tcp:80-80", "--net hostfwd: only with mode=user" },
		{ "--net mode=user,hostfwd=tcp:80",
		  "--net hostfwd=tcp:80: must be tcp:[ADDRESS:]PORT-PORT or "
		  "udp:[ADDRESS:]PORT-PORT" },
		{ "--net mode=user,hostfwd=[tcp:1-1,sctp:2-2]",
		  "--net hostfwd=sctp:2-2: must be tcp:[ADDRESS:]PORT-PORT or "
		  "udp:[ADDRESS:]PORT-PORT" },
		{ "--net tap=t,bw_size=1M", "--net bw_size: needs bw_refill_time" },
		{ "--disk path=a,ops_size=10", "--disk ops_size: needs ops_refill_time" },
		{ "--net tap=t,vhost_user=on", "--net vhost_user=on: not supported yet" },
		{ "--vsock cid=3", "--vsock socket: required" },
		{ "--vsock socket=/a", "--vsock cid: required" },
		{ "--kernel k --vsock cid=3,socket=a --vsock cid=4,socket=b", "--vsock: given twice" },
		{ "--vsock cid=3,socket=a/", "--vsock socket=a/: names a folder, not a socket" },
		{ "--kernel k --rng --rng", "--rng: given twice" },
		{ "--rng src=", "--rng src: missing value" },
		{ "--rng source=a", "--rng source: unknown key" },
		{ "--disk path=a,iommu=maybe", "--disk iommu=maybe: must be on or off" },
		{ "--kernel k --disk path=a,iommu=on,queue_size=512",
		  "--disk queue_size=512: at most 256 with iommu=on" },
		{ "--kernel k --net mode=user,iommu=on,queue_size=512",
		  "--net queue_size=512: at most 256 with iommu=on" },
		{ "--kernel k --disk path=a,id=rng --rng",
		  "--rng id=rng: given to two devices" },
		{ "--config x", "--config: not supported yet" },
		{ "--api-socket x", "--api-socket: not supported yet" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct vm_config c = { 0 };
		struct failure f = { 0 };

		cr_assert_eq(parse(rows[i].args, false, &c, &f), FAILED, "%s", rows[i].args);
		cr_assert_eq(f.status, STATUS_USAGE, "%s", rows[i].args);
		cr_assert_str_eq(f.text, rows[i].line);
		vm_config_clear(&c);
	}
}

Test(config_cli, nets)
{
	struct vm_config c = { 0 };
	struct failure f = { 0 };
	const struct device_config *d = c.devices;

	cr_assert_eq(parse("--kernel k --cpus boot=2 "
			   "--net fd=[5,6],mac=02:00:00:00:00:fe,mtu=9000,offload_tso=off "
			   "mode=user,hostfwd=[tcp:2222-22,udp:0.0.0.0:53-5353],loopback=on,id=u "
			   "--disk path=a,bw_size=1M,bw_refill_time=100",
			   false, &c, &f),
		     0, "%s", f.text);
	/* disks first, then NICs as they were given */
	cr_assert_eq(c.n_devices, 3);
	cr_expect_eq(d[0].type, DEVICE_TYPE_BLK);
	cr_expect_eq(d[0].blk.limits.bw_size, 1 << 20);
	cr_expect_eq(d[0].blk.limits.bw_refill_time, 100);
	cr_expect_str_eq(d[1].id, "net0");
	cr_expect_eq(d[1].net.mode, NET_MODE_TAP);
	cr_expect_eq(d[1].net.num_queues, 4);
	cr_expect_eq(d[1].net.host->n_fds, 2);
	cr_expect_eq(d[1].net.host->fds[1], 6);
	cr_expect_eq(d[1].net.mac, 0x0200000000feu);
	cr_expect_eq(d[1].net.mtu, 9000);
	cr_expect(d[1].net.no_tso && !d[1].net.no_csum);
	cr_expect_str_eq(device_program_name(&d[1]), "net");
	cr_expect_str_eq(d[2].id, "u");
	cr_expect_str_eq(device_program_name(&d[2]), "net-user");
	cr_expect(d[2].net.loopback);
	cr_assert_eq(d[2].net.host->n_forwards, 2);
	cr_expect_eq(d[2].net.host->forwards[0].host_addr, 0x7f000001u, "this host only");
	cr_expect_eq(d[2].net.host->forwards[0].host_port, 2222);
	cr_expect_eq(d[2].net.host->forwards[1].guest_port, 5353);
	cr_expect(d[2].net.host->forwards[1].is_udp);
	cr_expect_eq(d[2].net.host->forwards[1].host_addr, 0);
	vm_config_clear(&c);
}

Test(config_cli, cmdline_length)
{
	static char line[VM_CMDLINE_MAX + 1];
	char *argv[] = { "bulkhead", "--kernel", "k", "--cmdline", line };
	struct vm_config c = { 0 };
	struct failure f;

	memset(line, 'x', VM_CMDLINE_MAX - 1);
	cr_assert_eq(config_cli_parse(5, argv, false, &c, &f), 0);
	vm_config_clear(&c);
	line[VM_CMDLINE_MAX - 1] = 'x';
	cr_assert_eq(config_cli_parse(5, argv, false, &c, &f), FAILED);
	cr_assert_str_eq(f.text, "--cmdline: 4096 characters, at most 4095 fit");
	vm_config_clear(&c);
}

Test(config_cli, devices_come_into_slot_order)
{
	struct vm_config c = { 0 };
	struct failure f;

	cr_assert_eq(parse("--rng --disk path=a --kernel k --console pty --disk path=b", false, &c, &f), 0);
	cr_assert_eq(c.n_devices, 4);
	cr_assert_str_eq(c.devices[0].path, "a");
	cr_assert_str_eq(c.devices[1].id, "blk1");
	cr_assert_eq(c.devices[2].type, DEVICE_TYPE_CONSOLE);
	cr_assert_eq(c.devices[3].type, DEVICE_TYPE_RNG);
	cr_assert_str_eq(c.devices[3].id, "rng");
	cr_assert_str_eq(c.devices[3].path, "/dev/urandom");
	vm_config_clear(&c);
	cr_assert_eq(parse("--kernel k --rng src=/dev/hwrng,id=r1", false, &c, &f), 0);
	cr_assert_str_eq(c.devices[0].path, "/dev/hwrng");
	cr_assert_str_eq(c.devices[0].id, "r1");
	vm_config_clear(&c);
}

Test(config_cli, the_first_device_that_wants_it_brings_the_iommu)
{
	struct vm_config c = { 0 };
	struct failure f;

	cr_assert_eq(parse("--kernel k --rng --disk path=a path=b,iommu=on", false, &c, &f), 0);
	cr_assert_eq(c.n_devices, 4);
	cr_assert(!c.devices[0].iommu && c.devices[1].iommu && !c.devices[2].iommu);
	cr_assert_eq(c.devices[3].type, DEVICE_TYPE_IOMMU);
	cr_assert_str_eq(c.devices[3].id, "iommu");
	cr_assert_not(c.devices[3].iommu);
	vm_config_clear(&c);
	cr_assert_eq(parse("--kernel k --disk path=b,iommu=off", false, &c, &f), 0);
	cr_assert_eq(c.n_devices, 1);
	vm_config_clear(&c);
}

Test(config_cli, every_device_can_be_behind_the_iommu)
{
	struct vm_config c = { 0 };
	struct failure f;

	cr_assert_eq(parse("--kernel k --rng iommu=on --disk path=a,iommu=on --net "
			   "mode=user,iommu=on tap=t,iommu=on --console file=a,b,iommu=on --vsock "
			   "cid=3,socket=s,iommu=on", false, &c, &f), 0);
	cr_assert_eq(c.n_devices, 7);
	for (uint32_t i = 0; i < 6; i++)
		cr_assert(c.devices[i].iommu, "%s", c.devices[i].id);
	cr_assert_str_eq(c.devices[3].path, "a,b");
	vm_config_clear(&c);
	cr_assert_eq(parse("--kernel k --console null,iommu=off", false, &c, &f), 0);
	cr_assert(c.n_devices == 1 && !c.devices[0].iommu);
	vm_config_clear(&c);
}

Test(config_cli, console)
{
	static const struct {
		const char *args;
		enum serial_mode console, serial;
		const char *path;
	} rows[] = {
		{ "--kernel k --console null", SERIAL_NULL, SERIAL_TTY, NULL },
		{ "--kernel k --console tty", SERIAL_TTY, SERIAL_NULL, NULL },
		{ "--kernel k --console pty --serial off", SERIAL_PTY, SERIAL_OFF, NULL },
		{ "--kernel k --console file=/f", SERIAL_FILE, SERIAL_TTY, "/f" },
		{ "--kernel k --console socket=/s", SERIAL_SOCKET, SERIAL_TTY, "/s" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct vm_config c = { 0 };
		struct failure f = { 0 };

		cr_assert_eq(parse(rows[i].args, true, &c, &f), 0, "%s", f.text);
		cr_assert_eq(c.n_devices, 1);
		cr_expect_eq(c.devices[0].type, DEVICE_TYPE_CONSOLE);
		cr_expect_str_eq(c.devices[0].id, "console");
		cr_expect_eq(c.devices[0].console.mode, rows[i].console);
		cr_expect_eq(c.serial, rows[i].serial);
		if (rows[i].path)
			cr_expect_str_eq(c.devices[0].path, rows[i].path);
		else
			cr_expect_null(c.devices[0].path);
		vm_config_clear(&c);
	}
}

/* Do @n disks fit? */
static bool fit(int n, char *transport)
{
	char *argv[64] = { "bulkhead", "--kernel", "k", "--transport", transport, "--disk" };
	struct vm_config c = { 0 };
	struct failure f;
	char last[VM_ID_MAX];
	int r;

	for (int i = 0; i < n; i++)
		argv[6 + i] = "path=a";
	r = config_cli_parse(6 + n, argv, false, &c, &f);
	(void)snprintf(last, sizeof(last), "blk%d", n - 1);
	if (r == 0)
		cr_assert_str_eq(c.devices[n - 1].id, last);
	vm_config_clear(&c);
	return r == 0;
}

Test(config_cli, as_many_disks_as_the_transport_has_places)
{
	cr_assert(fit(31, "pci"));
	cr_assert_not(fit(32, "pci"));
	cr_assert(fit(16, "mmio"));
	cr_assert_not(fit(17, "mmio"));
}

Test(config_check_host, counts_the_hole)
{
	struct vm_config c = { .memory_size = 3ull << 30 };
	struct failure f;

	cr_assert_eq(config_check_host(&c, 36, &f), 0);
	c.memory_size = 63ull << 30; /* ends at 64 GiB */
	cr_assert_eq(config_check_host(&c, 36, &f), 0);
	c.memory_size += 4096;
	cr_assert_eq(config_check_host(&c, 36, &f), FAILED);
	c.memory_size = UINT64_MAX - 4095;
	cr_assert_eq(config_check_host(&c, 52, &f), FAILED);
}
