# SPDX-License-Identifier: Apache-2.0
"""How each VMM is started with the same guest, disk and sandboxing, and what it costs.

Every VMM runs the same probe ELF, with its own sandbox on, its serial port on standard output,
and no other device than the disk. Polling policies are each program's default and are printed
with the results.
"""

import contextlib
import fcntl
import json
import os
import re
import select
import shutil
import signal
import struct
import subprocess
import tempfile
import time

CGROUP = "/sys/fs/cgroup/cpuacct"
F_OFD_SETLK = 37
TAP_MAC = "02:00:00:00:00:0a"
GUEST_CID = 3


class Guest:
    """What to run: probe, its command line, its disk."""

    def __init__(self, probe, cmdline, disk=None, direct=False, cpus=1, memory_mib=128, tap=None,
                 iommu=False, user_net=False, many=False, vsock=None):
        self.probe, self.cmdline, self.disk, self.tap = probe, cmdline, disk, tap
        self.direct, self.cpus, self.memory_mib = direct, cpus, memory_mib
        self.iommu = iommu  # Bulkhead only
        self.user_net = user_net  # a NIC in user mode; the host's loopback may be reached
        self.many = many  # a console and a source of entropy, too
        self.vsock = vsock  # path of its socket


class Vmm:
    """A program under test. command() returns argv; version() a line for the report.

    helper() returns the argv of a process that must run before and the socket that shows that it
    does, for those who keep the disk outside.
    """

    name = ""
    is_host = False  # a ceiling: no VM
    needs_helper = False
    null_words = ""  # what the guest is told besides in the null rows
    has_user_mode = False  # networking without a tap
    has_vsock = False  # guest.vsock is understood

    def __init__(self, program):
        self.program = program

    def version(self):
        done = subprocess.run([self.program, "--version"], capture_output=True, text=True)
        return (done.stdout or done.stderr).splitlines()[0]

    def is_vcpu(self, thread):
        return thread.startswith("vcpu")

    def helper(self, guest, folder):
        return None


class Bulkhead(Vmm):
    name = "bulkhead"
    has_user_mode = True
    has_vsock = True

    def __init__(self, program, transport, is_peer=False):
        super().__init__(program)
        self.transport = transport
        if is_peer:
            self.name = f"bulkhead-{transport}"

    def command(self, guest, folder):
        argv = [self.program, "--kernel", guest.probe, "--cmdline", guest.cmdline,
                "--cpus", f"boot={guest.cpus}", "--memory", f"size={guest.memory_mib}M",
                "--transport", self.transport,
                "--serial", "tty", "--run-dir", os.path.join(folder, "run")]
        if guest.disk:
            argv += ["--disk", f"path={guest.disk}" + (",direct=on" if guest.direct else "")
                     + (",iommu=on" if guest.iommu else "")]
        if guest.tap:
            argv += ["--net", f"tap={guest.tap},mac={TAP_MAC}"]
        if guest.user_net:
            argv += ["--net", f"mode=user,loopback=on,mac={TAP_MAC}"]
        if guest.many:
            argv += ["--console", "null", "--rng"]
        if guest.vsock:
            argv += ["--vsock", f"cid={GUEST_CID},socket={guest.vsock}"]
        return argv


class CloudHypervisor(Vmm):
    name = "cloud-hypervisor"
    null_words = " no_event_idx"  # with it, kicks are lost for requests that it answers at once
    has_vsock = True

    def command(self, guest, folder):
        argv = [self.program, "--kernel", guest.probe, "--cmdline", guest.cmdline,
                "--cpus", f"boot={guest.cpus}", "--memory", f"size={guest.memory_mib}M",
                "--serial", "tty", "--console", "null" if guest.many else "off",
                "--seccomp", "true"]  # entropy is there in any case
        if guest.disk:
            argv += ["--disk", f"path={guest.disk},image_type=raw"
                     + (",direct=on" if guest.direct else "")]
        if guest.tap:
            argv += ["--net", f"tap={guest.tap},mac={TAP_MAC}"]
        if guest.vsock:
            argv += ["--vsock", f"cid={GUEST_CID},socket={guest.vsock}"]
        return argv


class Firecracker(Vmm):
    engine = "Sync"

    def __init__(self, program, engine="Sync"):
        super().__init__(program)
        self.engine = engine
        self.name = f"firecracker-{engine.lower()}"
        self.has_vsock = engine == "Sync"  # the engine is the disk's: once is enough

    def is_vcpu(self, thread):
        return thread.startswith("fc_vcpu")

    def command(self, guest, folder):
        config = {
            "boot-source": {"kernel_image_path": guest.probe, "boot_args": guest.cmdline},
            "machine-config": {"vcpu_count": guest.cpus, "mem_size_mib": guest.memory_mib},
            "drives": [],
        }
        if guest.disk:
            config["drives"].append({"drive_id": "d0", "path_on_host": guest.disk,
                                     "is_root_device": False, "is_read_only": False,
                                     "io_engine": self.engine})
        if guest.tap:
            config["network-interfaces"] = [{"iface_id": "n0", "host_dev_name": guest.tap,
                                             "guest_mac": TAP_MAC}]
        if guest.many:
            config["entropy"] = {}  # it has no virtio console
        if guest.vsock:
            config["vsock"] = {"guest_cid": GUEST_CID, "uds_path": guest.vsock}
        path = os.path.join(folder, "firecracker.json")
        with open(path, "w") as out:
            json.dump(config, out)
        return [self.program, "--no-api", "--config-file", path]


class Qemu(Vmm):
    has_user_mode = True
    machine = "microvm,x-option-roms=off,rtc=off,pit=off,pic=off"

    def __init__(self, program, name="qemu-microvm"):
        super().__init__(program)
        self.name = name

    def is_vcpu(self, thread):
        return thread.startswith("CPU ")

    def basics(self, guest):
        return [self.program, "-M", self.machine,
                "-enable-kvm", "-cpu", "host,-arch-capabilities", "-nodefaults", "-no-user-config",
                "-display", "none", "-no-reboot", "-sandbox", "on", "-serial", "stdio",
                "-global", "virtio-mmio.force-legacy=false",
                "-m", str(guest.memory_mib), "-smp", str(guest.cpus),
                "-kernel", guest.probe, "-append", guest.cmdline,
                "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]

    def blockdev(self, guest):
        return ["driver=file,node-name=d0,aio=io_uring,"
                f"filename={guest.disk},cache.direct={'on' if guest.direct else 'off'}"]

    def command(self, guest, folder):
        argv = self.basics(guest)
        if guest.disk:
            argv += ["-object", "iothread,id=io0", "-blockdev", *self.blockdev(guest),
                     "-device", "virtio-blk-device,drive=d0,iothread=io0"]
        if guest.tap:
            argv += ["-netdev", f"tap,id=n0,ifname={guest.tap},script=no,downscript=no,vhost=off",
                     "-device", f"virtio-net-device,netdev=n0,mac={TAP_MAC}"]
        if guest.user_net:
            argv += ["-netdev", "user,id=n0", "-device", f"virtio-net-device,netdev=n0,mac={TAP_MAC}"]
        if guest.many:
            argv += ["-device", "virtio-serial-device", "-chardev", "null,id=c1",
                     "-device", "virtconsole,chardev=c1", "-device", "virtio-rng-device"]
        return argv


class QemuStorageDaemon(Qemu):
    """The disk in a process of its own, by vhost-user: QEMU's microvm in front of it."""

    has_user_mode = False  # nothing but the disk differs
    machine = Qemu.machine + ",memory-backend=ram"
    needs_helper = True

    def __init__(self, program, daemon, name="qemu-storage-daemon"):
        super().__init__(program, name)
        self.daemon = daemon

    def helper(self, guest, folder):
        socket = os.path.join(folder, "disk.sock")
        return [self.daemon, "--object", "iothread,id=io0", "--blockdev", *self.blockdev(guest),
                "--export", "type=vhost-user-blk,id=e0,node-name=d0,iothread=io0,writable=on,"
                f"addr.type=unix,addr.path={socket}"], socket

    def command(self, guest, folder):
        return self.basics(guest) + [
            "-object", f"memory-backend-memfd,id=ram,size={guest.memory_mib}M,share=on",
            "-chardev", f"socket,id=c0,path={os.path.join(folder, 'disk.sock')}",
            "-device", "vhost-user-blk,chardev=c0"]


def wait_unlocked(path, deadline=10):
    """Until no VM locks the image any more: the kernel lets go some time after a process's end."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        with open(path, "r+b") as image, contextlib.suppress(OSError):
            fcntl.fcntl(image, F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
            return
        time.sleep(0.002)


class Run:
    """One VM under measurement, in a CPU accounting group of its own.

    Joining a group waits for the kernel, 10 ms or so, which would be most of a start: rows that
    measure starts pass account=False, and then subprocess can use vfork() too.
    """

    def __init__(self, vmm, guest, account=True, stdin=subprocess.DEVNULL):
        self.vmm = vmm
        self.folder = tempfile.mkdtemp(prefix="bulkhead-bench-")
        self.group = os.path.join(CGROUP, os.path.basename(self.folder))
        self.accounted = account and os.access(CGROUP, os.W_OK)
        if self.accounted:
            os.mkdir(self.group)
        self.output = b""
        self.disk = guest.disk
        command = vmm.command(guest, self.folder)
        self.helper_how = vmm.helper(guest, self.folder)
        self.helper = self._start_helper(self.helper_how)
        self.started = time.monotonic_ns()
        self.process = subprocess.Popen(
            command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=self.accounted, close_fds=self.accounted,
            preexec_fn=self._join if self.accounted else None)

    def _start_helper(self, how, deadline=10):
        if not how:
            return None
        argv, socket = how
        helper = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL,
                                  preexec_fn=self._join if self.accounted else None)
        end = time.monotonic() + deadline
        while not os.path.exists(socket):
            if helper.poll() is not None or time.monotonic() > end:
                helper.kill()
                helper.wait()
                raise RuntimeError(f"{argv[0]} does not start")
            time.sleep(0.005)
        return helper

    def restart_helper(self, cpu):
        """Kill it and start another at once; it is not accounted for, because joining waits."""
        argv, socket = self.helper_how
        self.helper.kill()
        self.helper.wait()
        os.unlink(socket)
        self.helper = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
        os.sched_setaffinity(self.helper.pid, {cpu})

    def _join(self):
        with open(os.path.join(self.group, "cgroup.procs"), "w") as procs:
            procs.write("0")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in filter(None, (self.process, self.helper)):
            if process.poll() is None:
                process.kill()
            process.wait()
        for pipe in filter(None, (self.process.stdin, self.process.stdout)):
            pipe.close()
        self.process.stderr.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        for _ in range(2500):
            try:
                if self.accounted:
                    os.rmdir(self.group)
                break
            except OSError:
                time.sleep(0.002)
        if self.disk:
            wait_unlocked(self.disk)

    def measure(self):
        """Of a guest that is ready: (ns from its begin to its end, CPU ns meanwhile, figures())."""
        begin = self.wait_for("bench: begin")
        cpu = self.cpu_ns() if self.accounted else 0
        end = self.wait_for("bench: end")
        cpu = self.cpu_ns() - cpu if self.accounted else 0
        return end - begin, cpu, self.figures()

    def figures(self):
        """What the guest says at its end: {word: number}."""
        self.wait_for("bench: done")
        line = self.output.decode(errors="replace").split("bench: end", 1)[1].splitlines()[0]
        return {k: int(v) for k, v in (word.split("=") for word in line.split())}

    def pids(self):
        """Every process of this VM."""
        if self.accounted:
            with open(os.path.join(self.group, "cgroup.procs")) as procs:
                return [int(line) for line in procs]
        return [p.pid for p in (self.process, self.helper) if p]

    def threads(self):
        """(pid, tid, name) of every thread."""
        for pid in self.pids():
            with contextlib.suppress(OSError):
                for tid in os.listdir(f"/proc/{pid}/task"):
                    with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{tid}/comm") as comm:
                        yield pid, int(tid), comm.read().strip()

    def pin(self, vcpu_cpu, other_cpu):
        """vCPU threads to one CPU, every other thread to another (or the same)."""
        for _, tid, name in self.threads():
            with contextlib.suppress(OSError):
                os.sched_setaffinity(tid, {vcpu_cpu if self.vmm.is_vcpu(name) else other_cpu})

    def cpu_ns(self):
        """CPU time so far of everything but the vCPU threads, kernel workers included."""
        with open(os.path.join(self.group, "cpuacct.usage")) as usage:
            total = int(usage.read())
        for pid, tid, name in self.threads():
            if self.vmm.is_vcpu(name):
                with contextlib.suppress(OSError), \
                        open(f"/proc/{pid}/task/{tid}/schedstat") as stat:
                    total -= int(stat.read().split()[0])
        return total

    def foreign_ns(self):
        """CPU time so far of everything that is not this VM, ourselves included."""
        total = []
        for folder in (CGROUP, self.group):
            with open(os.path.join(folder, "cpuacct.usage")) as usage:
                total.append(int(usage.read()))
        return total[0] - total[1]

    def count_events(self, event, seconds):
        """How often a tracepoint was passed per second, by all threads; None: it cannot be told.

        Interrupts are injected on behalf of any thread, the kernel's included: system-wide.
        """
        argv = ["perf", "stat", "-x,", "-e", event]
        if event.startswith("kvm:"):
            argv.append("-a")
        else:
            argv += ["-t", ",".join(str(tid) for _, tid, _ in self.threads())]
        done = subprocess.run(argv + ["--", "sleep", str(seconds)], capture_output=True, text=True)
        fields = [line.split(",") for line in done.stderr.splitlines() if event in line]
        if not fields or not fields[0][0].isdigit():
            return None
        return int(fields[0][0]) / seconds

    def wait_for(self, text, deadline=60):
        """Read until a line begins with @text; returns CLOCK_MONOTONIC ns of its arrival.

        A line, because Firecracker's own log goes to the same place.
        """
        end = time.monotonic() + deadline
        needle = re.compile(rb"^" + re.escape(text.encode()), re.MULTILINE)
        while not needle.search(self.output):
            left = end - time.monotonic()
            ready, _, _ = select.select([self.process.stdout], [], [], max(left, 0))
            chunk = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not chunk:
                raise RuntimeError(f"{self.vmm.name}: no {text!r}; output {self.output[-300:]!r}; "
                                   f"{self.stderr()}")
            self.output += chunk
        return time.monotonic_ns()

    def stderr(self):
        ready, _, _ = select.select([self.process.stderr], [], [], 0)
        return os.read(self.process.stderr.fileno(), 4096).decode(errors="replace") if ready else ""

    def wait_exit(self, deadline=30):
        """Until it has ended. Nothing here wakes up in vain: that would be measured, too."""
        end = time.monotonic() + deadline
        pidfd = os.pidfd_open(self.process.pid)
        try:
            waited_for = [pidfd, self.process.stdout]
            while pidfd in waited_for and (left := end - time.monotonic()) > 0:
                for ready in select.select(waited_for, [], [], left)[0]:
                    if ready == pidfd or not os.read(ready.fileno(), 65536):
                        waited_for.remove(ready)
        finally:
            os.close(pidfd)
        return self.process.poll()

    def memory(self, guest_mib):
        """(PSS, USS) bytes of all processes without the mappings of guest RAM."""
        pss = uss = 0
        for pid in self.pids():
            size = 0
            with open(f"/proc/{pid}/smaps") as smaps:
                for line in smaps:
                    key, _, rest = line.partition(":")
                    if key == "Size":
                        size = int(rest.split()[0])
                    elif size >= guest_mib * 1024:
                        continue
                    elif key == "Pss":
                        pss += int(rest.split()[0]) * 1024
                    elif key in ("Private_Clean", "Private_Dirty"):
                        uss += int(rest.split()[0]) * 1024
        return pss, uss
