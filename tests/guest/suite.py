# SPDX-License-Identifier: Apache-2.0
"""Boots the probe guest in a VMM, turns what it reports into result lines, looks at the host side.

For tests/conformance/run and tests/hostile/run. Results are `ok SUITE/VMM/CASE`, `not ok …: reason`
or `skip …: reason`. Under Bulkhead the guest lingers after its last case, so that the processes
can be compared with those of the start: a device process that died has failed, restarted or not.
"""

import argparse
import contextlib
import fnmatch
import hashlib
import json
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BULKHEAD_BUILD", os.path.join(ROOT, "build"))
PROBE = os.path.join(BUILD, "tests/guest/probe.elf")
IN_LAB = os.environ.get("BULKHEAD_LAB") == "1"
# Seconds until a guest has reported all its cases. The lab interprets every instruction.
LIMIT = 1200 if IN_LAB else 400
MIB = 1 << 20
SERIAL = "probe-disk"
CONSOLE = "console.sock"  # in the folder of a run


def first_of_each(processes):
    """By name; a standby comes behind the process that serves."""
    return {p["name"]: p for p in reversed(processes)}


class Vmm:
    """A program that can run the probe. Disks are [(path, is_read_only)]; the first has SERIAL."""

    lingers = False

    def __init__(self, name, program):
        self.name, self.program = name, program

    def is_there(self):
        return shutil.which(self.program) is not None

    def start_check(self, _folder):
        """State of the host side when the guest runs; compared by end_check()."""
        return None

    def end_check(self, _folder, _before):
        """[(case, reason or None)] when the guest is done."""
        return []

    def shut_down(self, _folder):
        """Ends a guest that lingers."""


class Bulkhead(Vmm):
    lingers = True

    def command(self, guest, folder):
        argv = [self.program, "--kernel", PROBE, "--cmdline", guest.cmdline,
                "--transport", "mmio" if self.name.endswith("mmio") else "pci",
                "--cpus", f"boot={guest.cpus}", "--memory", f"size={guest.memory_mib}M",
                "--serial", "tty", "--name", f"probe-{os.getpid()}",
                "--run-dir", os.path.join(folder, "run")]
        for i, (path, is_read_only) in enumerate(guest.disks):
            disk = f"path={path},num_queues={guest.cpus}"
            argv += ["--disk", disk + (",readonly=on" if is_read_only else "")
                     + (f",serial={SERIAL}" if i == 0 else "")]
        return argv + ["--rng", "--console", "socket=" + os.path.join(folder, CONSOLE)]

    def control(self, folder, *command):
        return subprocess.run([os.path.join(BUILD, "bulkheadctl"), "--run-dir",
                               os.path.join(folder, "run"), *command],
                              capture_output=True, text=True, timeout=60)

    def ps(self, folder):
        done = self.control(folder, "--json", "ps")
        rows = json.loads(done.stdout) if done.returncode == 0 else []
        # Successors that were started ahead serve nobody yet, and have the names of the others.
        return [row for row in rows if row["state"] != "standby"]

    def shut_down(self, folder):
        self.control(folder, "shutdown")

    def start_check(self, folder):
        return self.ps(folder)

    def end_check(self, folder, before):
        after = first_of_each(self.ps(folder))
        results = []
        for process in first_of_each(before).values():
            now = after.get(process["name"])
            reason = None
            if now is None:
                reason = "it is gone"
            elif now["pid"] != process["pid"]:
                reason = f"pid {process['pid']} became {now['pid']}"
            elif int(now["restarts"] or 0) != 0 or now["state"] in ("failed", "gone"):
                reason = f"state {now['state']}, {now['restarts']} restarts"
            results.append((f"process {process['name']} has lived through it", reason))
        if len(before) < 4:
            results.append(("all processes can be seen", f"ps shows {len(before)}"))
        return results


class Qemu(Vmm):
    def command(self, guest, folder):
        is_microvm = self.name == "qemu-microvm"
        argv = [self.program, "-machine", "microvm,acpi=off" if is_microvm else "q35",
                "-enable-kvm", "-cpu", "host,-arch-capabilities", "-nodefaults",
                "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
                "-global", "virtio-mmio.force-legacy=false", "-m", str(guest.memory_mib),
                "-smp", str(guest.cpus), "-kernel", PROBE, "-append", guest.cmdline,
                "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
        for i, (path, is_read_only) in enumerate(guest.disks):
            argv += ["-drive", f"if=none,id=d{i},file={path},format=raw,discard=unmap"
                     + (",readonly=on" if is_read_only else "")]
            place = (f"virtio-blk-device,bus=virtio-mmio-bus.{i}" if is_microvm
                     else f"virtio-blk-pci,disable-legacy=on,addr={i + 2}")
            argv += ["-device", f"{place},drive=d{i},num-queues={guest.cpus}"
                     + (f",serial={SERIAL}" if i == 0 else "")]
        n = len(guest.disks)
        argv += ["-device", f"virtio-rng-device,bus=virtio-mmio-bus.{n}" if is_microvm
                 else f"virtio-rng-pci,disable-legacy=on,addr={n + 2}"]
        path = os.path.join(folder, CONSOLE)
        argv += ["-chardev", f"socket,id=console,path={path},server=on,wait=off",
                 "-device", (f"virtio-serial-device,bus=virtio-mmio-bus.{n + 1}" if is_microvm
                             else f"virtio-serial-pci,disable-legacy=on,addr={n + 3}")
                 + ",max_ports=1", "-device", "virtconsole,chardev=console"]
        return argv


class CloudHypervisor(Vmm):
    def command(self, guest, _folder):
        argv = [self.program, "--kernel", PROBE, "--cmdline", guest.cmdline,
                "--cpus", f"boot={guest.cpus}", "--memory", f"size={guest.memory_mib}M",
                "--serial", "tty", "--console", "off", "--disk"]
        for i, (path, is_read_only) in enumerate(guest.disks):
            argv.append(f"path={path},image_type=raw,num_queues={guest.cpus}"
                        + (",readonly=on" if is_read_only else "")
                        + (f",serial={SERIAL}" if i == 0 else ""))
        return argv


class Firecracker(Vmm):
    def command(self, guest, folder):
        config = {
            "boot-source": {"kernel_image_path": PROBE, "boot_args": guest.cmdline},
            "machine-config": {"vcpu_count": guest.cpus, "mem_size_mib": guest.memory_mib},
            "drives": [{"drive_id": f"d{i}", "path_on_host": path, "is_root_device": False,
                        "is_read_only": is_read_only}
                       for i, (path, is_read_only) in enumerate(guest.disks)],
        }
        path = os.path.join(folder, "firecracker.json")
        with open(path, "w") as out:
            json.dump(config, out)
        return [self.program, "--no-api", "--config-file", path]


KINDS = {
    "bulkhead": (Bulkhead, os.path.join(BUILD, "bulkhead")),
    "bulkhead-mmio": (Bulkhead, os.path.join(BUILD, "bulkhead")),
    "qemu-microvm": (Qemu, "qemu-system-x86_64"),
    "qemu-q35": (Qemu, "qemu-system-x86_64"),
    "cloud-hypervisor": (CloudHypervisor, "cloud-hypervisor"),
    "firecracker": (Firecracker, "firecracker"),
}


def vmm_of(text):
    """NAME or NAME=PATH"""
    name, _, path = text.partition("=")
    if name not in KINDS:
        raise SystemExit(f"run: no VMM {name}; there are {', '.join(KINDS)}")
    kind, program = KINDS[name]
    return kind(name, path or program)


class Guest:
    def __init__(self, cmdline, disks, cpus, memory_mib):
        self.cmdline, self.disks = cmdline, disks
        self.cpus, self.memory_mib = cpus, memory_mib


class Report:
    """Prints results as they come. deviations: [(VMM pattern, case pattern, reason)]."""

    def __init__(self, suite, deviations, is_list):
        self.suite, self.deviations, self.is_list = suite, deviations, is_list
        self.n_failed = 0

    def line(self, verdict, vmm, case, reason=None):
        if self.is_list:
            print(case, flush=True)
            return
        if verdict == "not ok":
            for vmm_pattern, case_pattern, why in self.deviations:
                if fnmatch.fnmatch(vmm, vmm_pattern) and fnmatch.fnmatch(case, case_pattern):
                    verdict, reason = "skip", why
                    break
        self.n_failed += verdict == "not ok"
        print(f"{verdict} {self.suite}/{vmm}/{case}" + (f": {reason}" if reason else ""),
              flush=True)

    def tap(self, vmm, text):
        """A line of the guest; Return: cases in it"""
        match = re.fullmatch(r"(ok|not ok) \d+ (.*)", text)
        if not match:
            return 0
        verdict, rest = match.groups()
        reason = None
        if verdict == "ok" and " # SKIP " in rest:
            verdict, (rest, reason) = "skip", rest.split(" # SKIP ", 1)
        elif verdict == "not ok":
            rest, _, reason = rest.partition(": ")
        if reason in ("virtio-mmio only", "virtio-pci only") and vmm.startswith("bulkhead"):
            return 1  # the run with the other transport has it
        self.line(verdict, vmm, rest, reason)
        return 1


def lines_of(process, deadline):
    """Lines of the guest's serial port until the process ends or the deadline passes."""
    left = b""
    while True:
        wait = deadline - time.monotonic()
        if wait <= 0 or not select.select([process.stdout], [], [], wait)[0]:
            yield None
            return
        chunk = os.read(process.stdout.fileno(), 65536)
        if not chunk:
            return
        *whole, left = (left + chunk).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace").rstrip("\r")


class Echo(threading.Thread):
    """The other end of the guest's console: sends back what it gets, until the VMM closes it."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.is_over = path, False

    def connect(self):
        while not self.is_over:
            client = socket.socket(socket.AF_UNIX)
            try:
                client.connect(self.path)
                return client
            except OSError:
                client.close()
                time.sleep(0.05)
        return None

    def run(self):
        client = self.connect()
        with contextlib.suppress(OSError):
            while client and (data := client.recv(65536)):
                client.sendall(data)
        if client:
            client.close()


def file_state(path):
    with open(path, "rb") as data:
        return os.stat(path).st_size, hashlib.sha256(data.read()).hexdigest()


def stop(process):
    """Ends the VMM: it and its processes go when the first one is told to, or is killed."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
    process.stdout.close()


def watch(report, vmm, process, folder):
    """Reads the guest's report; Return: why it is incomplete, or None"""
    n, before = 0, None
    for line in lines_of(process, time.monotonic() + LIMIT):
        if line is None:
            return f"no end after {n} cases and {LIMIT} seconds"
        if before is None:
            before = vmm.start_check(folder) or []
        if line.startswith("Bail out!"):
            return line
        n += report.tap(vmm.name, line)
        if re.fullmatch(r"1\.\.\d+", line):
            for case, reason in vmm.end_check(folder, before):
                report.line("not ok" if reason else "ok", vmm.name, case, reason)
            vmm.shut_down(folder)
            planned = int(line[3:])
            return None if planned == n else f"{n} of {planned} cases were reported"
    return f"the VM ended after {n} cases"


def run_one(report, vmm, make_guest):
    with tempfile.TemporaryDirectory(prefix="bulkhead-probe-",
                                     dir=os.environ.get("BULKHEAD_SCRATCH")) as folder:
        neighbour = os.path.join(folder, "disk0.img.neighbour")
        with open(neighbour, "wb") as out:
            out.write(os.urandom(MIB))
        guest = make_guest(folder, vmm)
        if vmm.lingers:
            guest.cmdline += " linger"
        kept = [neighbour] + [path for path, is_read_only in guest.disks if is_read_only]
        before = {path: file_state(path) for path in kept}
        size = os.stat(guest.disks[0][0]).st_size
        with open(os.path.join(folder, "stderr"), "w+b") as errors:
            process = subprocess.Popen(vmm.command(guest, folder), stdin=subprocess.DEVNULL,
                                       stdout=subprocess.PIPE, stderr=errors)
            echo = Echo(os.path.join(folder, CONSOLE))
            echo.start()
            try:
                reason = watch(report, vmm, process, folder)
            finally:
                stop(process)
                echo.is_over = True
            errors.seek(0)
            last = errors.read().decode(errors="replace").strip().splitlines()[-1:]
        if reason and last:
            reason += f"; it said: {last[0]}"
        report.line("not ok" if reason else "ok", vmm.name, "the guest reports to the end", reason)
        changed = [os.path.basename(p) for p in kept if file_state(p) != before[p]]
        report.line("not ok" if changed else "ok", vmm.name, "no other file has changed",
                    ", ".join(changed))
        if os.stat(guest.disks[0][0]).st_size != size:
            report.line("not ok", vmm.name, "the disk image keeps its size", "it has changed")


def make_disks(folder, sizes_mib):
    """The last one is read-only and filled; the others are empty."""
    disks = []
    for i, mib in enumerate(sizes_mib):
        path = os.path.join(folder, f"disk{i}.img")
        with open(path, "wb") as out:
            out.truncate(mib * MIB)
            if i + 1 == len(sizes_mib):
                out.write(os.urandom(MIB))
        disks.append((path, i + 1 == len(sizes_mib)))
    return disks


def to_lab(script):
    """Runs this suite again in the lab; does not return."""
    lab = os.path.join(ROOT, "tools/lab")
    os.environ["BULKHEAD_BUILD"] = BUILD
    os.execv(lab, [lab, "--memory", "3G", "--", script] + sys.argv[1:])


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--long", action="store_true", help="more of what is random")
    parser.add_argument("--list", action="store_true",
                        help="print the names of the cases (they are run for it)")
    parser.add_argument("--only", metavar="TEXT", help="cases whose names contain TEXT (no blanks)")
    parser.add_argument("--seed", type=int, default=1, help="of the random part (default 1)")
    parser.add_argument("--vmm", action="append", metavar="NAME[=PATH]",
                        help=f"one of {', '.join(KINDS)}")
    return parser.parse_args()


def run(report, script, options, default_vmms, make_guest):
    """Runs the suite; Return: exit status"""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK) and not IN_LAB:
        to_lab(script)
    for text in options.vmm or default_vmms:
        vmm = vmm_of(text)
        if vmm.is_there():
            run_one(report, vmm, make_guest)
        else:
            report.line("not ok" if options.vmm else "skip", vmm.name, "runs the probe",
                        f"no {vmm.program}")
    return 1 if report.n_failed else 0
