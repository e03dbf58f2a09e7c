# SPDX-License-Identifier: Apache-2.0
"""Rows about a disk process that is killed or replaced under load: how long the guest waits.

The guest polls, at depth 32, and measures itself: the longest times between two completions since
it was asked last (probe=bench gaps). It can answer only when its disk works, so asking waits for
the new process too. When each began and ended tells which of them is the one in question.
"""

import collections
import json
import math
import os
import select
import signal
import socket
import subprocess
import time

from rows import DEVICE_CPU, VCPU_CPU, Row, tsc_khz
from stats import percentile
from vmm import Bulkhead, Guest, QemuStorageDaemon, Run

QEMU_KILLS = 20  # QEMU looks for the daemon once a second
BEFORE_S = 0.012  # of rest between what the bench has to do itself and what is measured
AFTER_S = 0.005  # it has been noticed, and what was complete before it is seen
ANSWER_S = 0.025  # a line on the serial port; reading it earlier costs the guest more
QUIET_LOOK_S = 0.02
QUIET_S = 2  # so long it is waited for a moment in which nothing else runs
FOREIGN_MS = 1  # of CPU: more, and something else ran
DAEMON_MS = 60  # of a new daemon's start, which is not of its VM's group
KEEP_ANSWERS = 16  # for the difference of the clocks, which drift
CONTROL_RESTART, PROTOCOL = 10, 3  # proto/control.proto, ipc/message.h


class SupervisedBulkhead(Bulkhead):
    def command(self, guest, folder):
        return super().command(guest, folder) + ["--restart",
                                                 "max=1000,window=600s,backoff=0ms"]


class ReconnectingQemu(QemuStorageDaemon):
    """Started again at once by us, as a supervisor would."""

    def command(self, guest, folder):
        return [a + ",reconnect=1" if a.startswith("socket,id=c0,") else a
                for a in super().command(guest, folder)]


class Clock:
    """Times of the guest's TSC in ns of ours, from what each answer leaves possible."""

    def __init__(self):
        self.bounds = collections.deque(maxlen=KEEP_ANSWERS)
        self.ns_per_cycle = 1e6 / tsc_khz()

    def heard(self, asked_ns, answered_ns, cycles):
        ns = cycles * self.ns_per_cycle
        self.bounds.append((asked_ns - ns, answered_ns - ns))

    def difference(self):
        """(what is added to the guest's ns, how far that may be off)"""
        low, high = max(b[0] for b in self.bounds), min(b[1] for b in self.bounds)
        return (low + high) / 2, abs(high - low) / 2


class Gaps:
    """What one answer of the guest says: [(cycles when it began, and when it ended)]."""

    def __init__(self, run, clock):
        while select.select([run.process.stdout], [], [], 0)[0]:
            os.read(run.process.stdout.fileno(), 4096)
        asked = time.monotonic_ns()
        run.process.stdin.write(b"g")
        run.process.stdin.flush()
        if not select.select([run.process.stdout], [], [], 60)[0]:
            raise RuntimeError("the guest does not answer")
        answered, line = time.monotonic_ns(), b""
        time.sleep(ANSWER_S)
        while not line.endswith(b"\n"):
            chunk = os.read(run.process.stdout.fileno(), 4096)
            if not chunk:
                raise RuntimeError(f"the guest ended: {line[-300:]!r}")
            line += chunk
        words = line.decode().split()
        if words[:2] != ["bench:", "gap"] or words[4] != "errors=0":
            raise RuntimeError(f"requests failed: {line!r}")
        now = int(words[2].removeprefix("now="))
        clock.heard(asked, answered, now)
        self.cycles = [[now - int(ago) for ago in word.split("-")] for word in words[5:]]
        self.clock = clock

    def longest(self, begin_ns, end_ns):
        """Milliseconds of the longest that was there at some time between, from @begin_ns on."""
        offset, error = self.clock.difference()
        longest_ns = 0
        for cycles in self.cycles:
            begun, ended = (c * self.clock.ns_per_cycle + offset for c in cycles)
            if ended + error > begin_ns and begun - error < end_ns:
                longest_ns = max(longest_ns, ended + error - max(begun + error, begin_ns))
        return longest_ns / 1e6

    def shortest(self):
        """Milliseconds of the shortest that the guest remembers: others were shorter still."""
        return min(ended - begun for begun, ended in self.cycles) * self.clock.ns_per_cycle / 1e6


class Restart(Row):
    better = {"p50_ms": "less", "p99_ms": "less", "max_ms": "less"}
    n_max = 1000 * 1000

    def __init__(self, options):
        super().__init__(options)
        self.stalls = {}  # of all samples of a side: (ms, ms of others meanwhile, ms before it)
        self.ctl = os.path.join(options.build, "bulkheadctl")

    def n_kills(self, side):
        most = self.n_max if isinstance(side, Bulkhead) else QEMU_KILLS
        return math.ceil(min(self.options.kills, most) / (2 * self.options.blocks))

    def sample(self, side):
        self._warm()
        guest = Guest(self.options.probe, "probe=bench gaps op=randread depth=32 block=4096 "
                      f"span={self.options.disk_mib} tsc_khz={tsc_khz()}", self.options.disk)
        with Run(side, guest, stdin=subprocess.PIPE) as run:
            run.wait_for("bench: begin")
            run.pin(VCPU_CPU, DEVICE_CPU)
            clock = Clock()
            taken = [self._stall(side, run, clock) for _ in range(self.n_kills(side))]
        self.stalls.setdefault(side.name, []).extend(taken)
        stalls = [stall for stall, _, _ in taken]
        return {"p50_ms": percentile(stalls, 50), "p99_ms": percentile(stalls, 99),
                "max_ms": max(stalls)}

    def _warm(self):
        """Read the disk: the kernel may have dropped what nobody used for a while."""
        with open(self.options.disk, "rb") as disk:
            while disk.read(1 << 20):
                pass

    def count(self, side):
        """Of every kill of the run at once, because a p99 of few is a maximum.

        all_*: every sample. quiet_*: those during which nothing else ran. idle_*: the longest gap
        of the 12 ms before, in which nothing happened to the guest: the machine's own, 0 when it is
        not among the eight longest of the sample.
        """
        figures = {}
        taken = self.stalls.get(side.name, [])
        for name, values in (("all", [stall for stall, _, _ in taken]),
                             ("quiet", [stall for stall, foreign, _ in taken
                                        if foreign <= FOREIGN_MS + (DAEMON_MS if side.needs_helper
                                                                    else 0)]),
                             ("idle", [idle for _, _, idle in taken])):
            if values:
                figures |= {f"{name}_n": len(values), f"{name}_max_ms": max(values)}
                figures |= {f"{name}_p{p}_ms": percentile(values, p) for p in (50, 90, 99)}
        return figures

    def _wait_for_quiet(self, run):
        end = time.monotonic() + QUIET_S
        while time.monotonic() < end:
            before = run.foreign_ns()
            time.sleep(QUIET_LOOK_S)
            if run.foreign_ns() - before < 2e6:
                return

    def _stall(self, side, run, clock):
        """Milliseconds that the guest waited for one new process, that others ran meanwhile, and
        that it waited at most for nothing before."""
        act = self._prepare(side, run)
        self._wait_for_quiet(run)
        Gaps(run, clock)  # what was before does not count
        rested = time.monotonic_ns()
        time.sleep(BEFORE_S)
        before, begun = run.foreign_ns(), time.monotonic_ns()
        act()
        done = time.monotonic_ns()
        time.sleep(AFTER_S)
        foreign_ms = (run.foreign_ns() - before) / 1e6
        gaps = Gaps(run, clock)
        stall = gaps.longest(begun, done) or gaps.shortest()
        return stall, foreign_ms, gaps.longest(rested, begun - 1e6)

    def _ps(self, run):
        done = subprocess.run([self.ctl, "--run-dir", os.path.join(run.folder, "run"), "--json",
                               "ps"], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    def _wait_for_standby(self, run):
        """Until the disk is served and could be again; the pid of its process."""
        time.sleep(0.17)  # a new standby is not started before that
        for _ in range(1000):
            rows = {row["name"]: row for row in self._ps(run)}
            if rows["blk0"]["state"] == "active" and "blk0.next" in rows:
                time.sleep(0.01)  # exec to HELLO
                return rows["blk0"]["pid"]
            time.sleep(0.02)
        raise RuntimeError("no standby came")


class Kill(Restart):
    name = "restart-kill"
    title = "kill -9 of the disk process, to the first completion that the guest sees"

    def sides(self, vmms):
        peers = [ReconnectingQemu(v.program, v.daemon, v.name) for v in vmms[1:]
                 if isinstance(v, QemuStorageDaemon)]
        return [SupervisedBulkhead(vmms[0].program, vmms[0].transport)] + peers

    def seconds(self, n_sides):
        return self.options.kills * 0.32 / self.options.blocks + (
            2 * 2.5 * (n_sides - 1) * math.ceil(QEMU_KILLS / (2 * self.options.blocks)))

    def _prepare(self, side, run):
        if not isinstance(side, Bulkhead):
            time.sleep(0.2)
            return lambda: run.restart_helper(DEVICE_CPU)
        pid = self._wait_for_standby(run)
        return lambda: os.kill(pid, signal.SIGKILL)


class Planned(Restart):
    name = "restart-planned"
    title = "bulkheadctl restart, as the guest sees it"
    n_max = 300

    def sides(self, vmms):
        return [SupervisedBulkhead(vmms[0].program, vmms[0].transport)]

    def seconds(self, n_sides):
        return min(self.options.kills, self.n_max) * 0.32 / self.options.blocks

    def _prepare(self, side, run):
        """Its request, sent by us: to start bulkheadctl takes a CPU away for longer than all."""
        self._wait_for_standby(run)
        warden = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        warden.settimeout(60)
        warden.connect(os.path.join(run.folder, "run/control.sock"))
        return lambda: self._restart(warden, b"blk0")

    @staticmethod
    def _restart(warden, device):
        """An Envelope with seq 1 and a ControlRequest, field 128: proto/envelope.proto."""
        request = bytes([1 << 3, PROTOCOL, 2 << 3, CONTROL_RESTART, 3 << 3 | 2, len(device)]) + device
        with warden:
            warden.send(bytes([2 << 3, 1, 0x82, 0x08, len(request)]) + request)
            reply = warden.recv(65536)
        # ControlReply, field 129; a restart that failed begins with its result, field 1.
        if reply[:2] != b"\x8a\x08" or reply[3] == 1 << 3:
            raise RuntimeError(f"restart failed: {reply!r}")
