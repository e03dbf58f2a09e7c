# SPDX-License-Identifier: Apache-2.0
"""Rows of network cards, on a tap and in user mode, in a network namespace of the benchmark's own.

The probe sends or receives as fast as it can; the other end is net_load on the device's CPU, as a
host's network stack would be.
"""

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import time

from rows import DEVICE_CPU, VCPU_CPU, Row, tsc_khz
from vmm import TAP_MAC, Guest, Run

TAP = "bench0"
CLONE_NEWNET = 0x40000000
TUNSETIFF, TUNSETPERSIST = 0x400454ca, 0x400454cb
SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8913, 0x8914
IFF_UP, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 1, 2, 0x1000, 0x4000


def ready_tap():
    """Once: a namespace for this process and all it starts, with one tap that stays."""
    if ready_tap.done:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    with open("/proc/sys/net/ipv6/conf/default/disable_ipv6", "w") as out:
        out.write("1")
    with open("/dev/net/tun", "r+b", buffering=0) as tun:
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", TAP.encode(),
                                                IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
        fcntl.ioctl(tun, TUNSETPERSIST, 1)
    for name in (TAP, "lo"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            request = bytearray(struct.pack("16sH22x", name.encode(), 0))
            fcntl.ioctl(any_socket, SIOCGIFFLAGS, request)
            struct.pack_into("H", request, 16, struct.unpack_from("H", request, 16)[0] | IFF_UP)
            fcntl.ioctl(any_socket, SIOCSIFFLAGS, request)
    ready_tap.done = True


ready_tap.done = False


class Net(Row):
    better = {"frames": "more", "cpu_us": "less", "gbit": "more"}

    def __init__(self, options, name, op, length, is_gso=False):
        super().__init__(options)
        self.name, self.op, self.length, self.is_gso = name, op, length, is_gso
        what = {"tx": "sent by the guest", "rx": "received by the guest",
                "rtt": "there and back, one at a time"}[op]
        self.title = (f"tap, {length} byte {'TCP segments to be cut' if is_gso else 'frames'} "
                      f"{what}, per second")

    def sides(self, vmms):
        """Those who differ in their disks only once."""
        return [v for v in vmms if v.name not in ("firecracker-async", "qemu-storage-daemon")]

    def load(self):
        program = os.path.join(self.options.build, "tests/bench/net_load")
        argv = {"rx": ["flood-gso" if self.is_gso else "flood", TAP, TAP_MAC, str(self.length)],
                "rtt": ["echo", TAP]}.get(self.op)
        if not argv:
            return None
        return subprocess.Popen([program] + argv,
                                preexec_fn=lambda: os.sched_setaffinity(0, {DEVICE_CPU}))

    def sample(self, vmm):
        ready_tap()
        cmdline = (f"probe=bench-net op={self.op} len={self.length} gso={int(self.is_gso)} warm=1 "
                   f"seconds={self.options.seconds} tsc_khz={tsc_khz()}")
        # A disk for those who insist on one.
        guest = Guest(self.options.probe, cmdline, self.options.small_disk, tap=TAP)
        load = None
        try:
            with Run(vmm, guest) as run:
                run.wait_for("bench: ready")
                run.pin(VCPU_CPU, DEVICE_CPU)
                load = self.load()
                ns, cpu, figures = run.measure()
        finally:
            if load:
                load.kill()
                load.wait()
        if figures["ios"] == 0:
            raise RuntimeError("no frame went through")
        rate = figures["ios"] * 1e9 / ns
        return {"frames": rate, "cpu_us": cpu / 1000 / figures["ios"] if cpu else None,
                "gbit": rate * self.length * 8 / 1e9}


class UserTcp(Row):
    """One TCP stream between the guest and the host's loopback, through a user-mode network."""

    better = {"gbit": "more", "cpu_us_per_mib": "less"}
    PORT = 5001

    def __init__(self, options, op):
        super().__init__(options)
        self.op, self.name = op, f"user-tcp-{op}"
        self.title = (f"user mode, one TCP stream {'from' if op == 'out' else 'to'} the guest, "
                      "each side's own MTU")

    def sides(self, vmms):
        return [v for v in vmms if v.has_user_mode]

    def sample(self, vmm):
        ready_tap()
        cmdline = (f"probe=bench-tcp op={self.op} port={self.PORT} warm=1 "
                   f"seconds={self.options.seconds} tsc_khz={tsc_khz()}")
        guest = Guest(self.options.probe, cmdline, self.options.small_disk, user_net=True)
        load = subprocess.Popen(
            [os.path.join(self.options.build, "tests/bench/net_load"),
             "sink" if self.op == "out" else "source", str(self.PORT)],
            preexec_fn=lambda: os.sched_setaffinity(0, {DEVICE_CPU}))
        try:
            with Run(vmm, guest) as run:
                run.wait_for("bench: ready")
                run.pin(VCPU_CPU, DEVICE_CPU)
                ns, cpu, figures = run.measure()
        finally:
            load.kill()
            load.wait()
        n_bytes = figures["ios"]
        if n_bytes == 0:
            raise RuntimeError("no byte went through")
        return {"gbit": n_bytes * 8 / ns,
                "cpu_us_per_mib": cpu / 1000 / (n_bytes / 2**20) if cpu else None}


class MemoryOfMany(Row):
    better = {"pss_mib": "less", "uss_mib": "less"}

    def __init__(self, options, user_net):
        super().__init__(options)
        self.user_net = user_net
        self.name = "memory-many" + ("-user" if user_net else "")
        self.title = ("memory of all processes besides guest RAM; one disk, one NIC "
                      f"{'in user mode' if user_net else 'on a tap'}, console, entropy")

    def sides(self, vmms):
        return [v for v in vmms if not v.needs_helper and v.name != "firecracker-async"
                and (v.has_user_mode or not self.user_net)]

    def sample(self, vmm):
        ready_tap()
        guest = Guest(self.options.probe, "probe=idle", self.options.small_disk,
                      tap=None if self.user_net else TAP, user_net=self.user_net, many=True)
        with Run(vmm, guest) as run:
            run.wait_for("probe: idle")
            time.sleep(4)  # start-up pages go, processes that stand by have come and trimmed
            pss, uss = run.memory(guest.memory_mib)
        return {"pss_mib": pss / 2**20, "uss_mib": uss / 2**20}


def net_rows(options):
    return [Net(options, "net-tx-64", "tx", 64), Net(options, "net-tx-1514", "tx", 1514),
            Net(options, "net-tx-gso", "tx", 64000, is_gso=True),
            Net(options, "net-rx-64", "rx", 64), Net(options, "net-rx-1514", "rx", 1514),
            Net(options, "net-rx-gso", "rx", 64000, is_gso=True),
            Net(options, "net-rtt", "rtt", 64),
            UserTcp(options, "out"), UserTcp(options, "in"),
            MemoryOfMany(options, False), MemoryOfMany(options, True)]
