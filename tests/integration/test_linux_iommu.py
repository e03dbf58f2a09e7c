# SPDX-License-Identifier: Apache-2.0
"""A Debian guest with every device behind the IOMMU, unmapping whatever it does not use."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time

from harness import expect, make_disk, scratch, wait_until
from test_linux import linux, only_long, tools_disk
from test_net_linux import Shell, iperf, iperf_server, own_network

LINUX = True
MIB = 1 << 20
HOST, GUEST = "10.9.0.1", "10.9.0.2"
# In the order of their slots: those are devices 1 to 8 of bus 0, the IOMMU comes last.
BEHIND = ("blk0", "blk1", "blk2", "net0", "net1", "console", "rng", "vsock")
ADDRESSES = [f"0000:00:{n:02x}.0" for n in range(1, len(BEHIND) + 1)]


def echo(listener):
    """Sends back what comes, one connection after the other."""
    while True:
        with contextlib.suppress(OSError), listener.accept()[0] as client:
            client.settimeout(120)
            while data := client.recv(65536):
                client.sendall(data)


class Everything:
    """A guest with a device of every kind, a card of each sort, and who is at their other ends."""

    def __init__(self, strict):
        self.strict = strict

    @contextlib.contextmanager
    def running(self):
        own_network()
        subprocess.run(f"ip tuntap add tap0 mode tap vnet_hdr && ip addr add {HOST}/24 dev tap0 &&"
                       "ip link set tap0 up", shell=True, check=True)
        with scratch() as folder:
            os.chmod(folder, 0o755)  # bulkhead-vsock has a uid of its own
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(f"{folder}/v.sock_1")
            os.chmod(f"{folder}/v.sock_1", 0o666)
            listener.listen()
            threading.Thread(target=echo, args=(listener,), daemon=True).start()
            disks = [make_disk(folder, "a.img", 4 * MIB), make_disk(folder, "b.img", 16 * MIB)]
            with linux(f"shell tools=/dev/vdc iommu.strict={self.strict}",
                       *[f"--disk=path={path},iommu=on" for path in disks],
                       "--disk", tools_disk() + ",iommu=on", "--rng", "iommu=on",
                       "--net", "tap=tap0,iommu=on", "mode=user,iommu=on",
                       "--console", f"socket={folder}/console,iommu=on",
                       "--vsock", f"cid=3,socket={folder}/v.sock,iommu=on",
                       "--restart", "max=1000,backoff=0", stdin=True) as vm, iperf_server(HOST):
                self.vm, self.shell, self.folder = vm, Shell(vm), folder
                self.shell.do(f"modprobe vmw_vsock_virtio_transport; for i in eth0 eth1; do ip link "
                              f"set $i up; done; ip addr add {GUEST}/24 dev eth0;"
                              "ip addr add 10.0.2.15/24 dev eth1")
                yield
                self.shell.end()

    def groups(self):
        do = self.shell.do
        expect(do("ls /sys/class/iommu | wc -l") == "1", "not one IOMMU")
        endpoints = do("ls /sys/class/iommu/*/devices | sort").split()
        expect(endpoints == ADDRESSES, f"{endpoints}")
        groups = do("cd /sys/bus/pci/devices; for i in *; do [ ! -e $i/iommu_group ] || echo $i "
                    "$(ls $i/iommu_group/devices) $(cat $i/iommu_group/type); done")
        want = [f"{a} {a} {'DMA' if self.strict else 'DMA-FQ'}" for a in ADDRESSES]
        expect(groups.replace("\r", "").splitlines() == want, groups)

    def disks(self):
        self.shell.do('verify 1m "$cpus"', 400)

    def random(self):
        got = self.shell.do("dd if=/dev/hwrng bs=64 count=4 2>/dev/null | wc -c")
        expect(got == "256", f"{got} random bytes")

    def nets(self, n_bytes=0):
        self.shell.do(f"ping -c 1 -w 60 {HOST} >/dev/null && ping -c 1 -w 60 10.0.2.2 >/dev/null")
        if n_bytes:
            iperf(self.shell, HOST, "--bidir", n_bytes)

    def vsock(self, kib=16):
        """There and back."""
        self.shell.do(
            f"head -c {kib}k /dev/urandom >/tools/tmp/out; in_tools socat -t 60"
            " VSOCK-CONNECT:2:1 OPEN:/tmp/out,rdonly!!OPEN:/tmp/in,wronly,creat,trunc;"
            "cmp /tools/tmp/out /tools/tmp/in", 240)

    def console(self):
        """A line each way; the host's end is made anew, as a death of the process cuts it."""
        with socket.socket(socket.AF_UNIX) as end:
            end.connect(f"{self.folder}/console")
            end.settimeout(120)
            end.sendall(b"to the guest\n")
            # opened once: what has come in is lost when a terminal is closed
            got = self.shell.do("{ stty raw -echo; head -n 1; } </dev/hvc0;"
                                "echo to the host >/dev/hvc0")
            expect("to the guest" in got, got)
            said = b""
            while b"to the host" not in said:
                said += end.recv(4096)

    def deaths(self):
        for name in (*BEHIND, "iommu"):
            before = self.vm.row(name)["pid"]
            os.kill(before, signal.SIGKILL)
            wait_until(lambda n=name, pid=before: self.vm.row(n)["state"] == "active" and
                       self.vm.row(n)["pid"] not in (0, pid), f"{name} is back", 120)

    def faults(self):
        lines = self.shell.do("dmesg | grep -c -i 'fault from EP' || true")
        expect(lines == "0", f"{lines} faults")


def behind(strict):
    lab = Everything(strict)
    begin = time.monotonic()
    with lab.running():
        for part in (lab.groups, lab.disks, lab.random, lambda: lab.nets(MIB), lambda: lab.vsock(256),
                     lab.console, lab.faults, lab.deaths, lab.disks, lab.random, lab.nets,
                     lab.vsock, lab.console, lab.faults):
            part()
            print(f"# {getattr(part, '__name__', '')}: {time.monotonic() - begin:.0f} s", flush=True)


def test_every_device_behind_the_iommu_strict():
    behind(1)


@only_long
def test_every_device_behind_the_iommu_lazy():
    behind(0)


test_every_device_behind_the_iommu_strict.timeout = 900
test_every_device_behind_the_iommu_lazy.timeout = 900
