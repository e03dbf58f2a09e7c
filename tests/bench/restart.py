# SPDX-License-Identifier: Apache-2.0
"""Rows about a disk process that is killed or replaced under load: how long the guest waits.

The guest polls, at depth 32, and measures itself: the longest time between two completions since
it was asked last (probe=bench gaps). It can answer only when its disk works, so asking waits for
the new process too.
"""

import json
import math
import os
import re
import signal
import subprocess
import time

from rows import DEVICE_CPU, VCPU_CPU, Row, tsc_khz
from stats import percentile
from vmm import Bulkhead, Guest, QemuStorageDaemon, Run

QEMU_KILLS = 20  # QEMU looks for the daemon once a second
SETTLE_S = 0.003  # the kill has been noticed, and what was complete before it is seen
QUIET_LOOK_S = 0.02
DAEMON_MS = 60  # of a new daemon's start, which is not of its VM's group
TRIES = 5  # for a sample during which nothing else runs
QUIET_S = 2  # so long it is waited for a moment in which nothing else runs


class SupervisedBulkhead(Bulkhead):
    def command(self, guest, folder):
        return super().command(guest, folder) + ["--restart",
                                                 "max=1000,window=600s,backoff=0ms"]


class ReconnectingQemu(QemuStorageDaemon):
    """Started again at once by us, as a supervisor would."""

    def command(self, guest, folder):
        return [a + ",reconnect=1" if a.startswith("socket,id=c0,") else a
                for a in super().command(guest, folder)]


class Restart(Row):
    better = {"p50_ms": "less", "p99_ms": "less", "max_ms": "less"}
    foreign_ms = 0  # CPU time of all but the VM during a sample, this program's included
    n_max = 1000 * 1000

    def __init__(self, options):
        super().__init__(options)
        self.stalls = {}  # of all samples of a side, for the percentiles of the whole run
        self.idle = {}  # the longest gap in the time before each, in which nothing was killed
        self.disturbed = {}  # samples during which something else ran
        self.ctl = os.path.join(options.build, "bulkheadctl")

    def n_kills(self, side):
        most = self.n_max if isinstance(side, Bulkhead) else QEMU_KILLS
        return math.ceil(min(self.options.kills, most) / (2 * self.options.blocks))

    def sample(self, side):
        guest = Guest(self.options.probe, "probe=bench gaps op=randread depth=32 block=4096 "
                      f"span={self.options.disk_mib} tsc_khz={tsc_khz()}", self.options.disk)
        with Run(side, guest, stdin=subprocess.PIPE) as run:
            run.wait_for("bench: begin")
            run.pin(VCPU_CPU, DEVICE_CPU)
            stalls = [self._undisturbed(side, run) for _ in range(self.n_kills(side))]
        stalls = [stall for stall in stalls if stall is not None]
        if not stalls:
            raise RuntimeError("something else ran all the time")
        self.stalls.setdefault(side.name, []).extend(stalls)
        return {"p50_ms": percentile(stalls, 50), "p99_ms": percentile(stalls, 99),
                "max_ms": max(stalls)}

    def count(self, side):
        """Of every kill of the run at once, because a p99 of few is a maximum.

        all_*: every sample. quiet_*: without those during which others ran, which were taken again.
        idle_*: what this machine does to a guest that nothing happens to, in a longer time: where
        that is not small against the rest, the machine was not quiet.
        """
        figures = {}
        quiet = self.stalls.get(side.name, [])
        for name, values in (("all", quiet + self.disturbed.get(side.name, [])),
                             ("quiet", quiet), ("idle", self.idle.get(side.name))):
            if values:
                figures |= {f"{name}_n": len(values), f"{name}_max_ms": max(values)}
                figures |= {f"{name}_p{p}_ms": percentile(values, p) for p in (50, 90, 99)}
        return figures

    def _undisturbed(self, side, run):
        """A sample during which nothing else took a CPU: the scheduler gives it away for 4 ms."""
        for _ in range(TRIES):
            stall, foreign_ms = self._stall(side, run)
            if foreign_ms <= self.foreign_ms + (DAEMON_MS if side.needs_helper else 0):
                return stall
            self.disturbed.setdefault(side.name, []).append(stall)
        return None

    def _wait_for_quiet(self, run):
        end = time.monotonic() + QUIET_S
        while time.monotonic() < end:
            before = run.foreign_ns()
            time.sleep(QUIET_LOOK_S)
            if run.foreign_ns() - before < 2e6:
                return

    def _stall(self, side, run):
        """Milliseconds that the guest waited for one new process, and that others ran meanwhile."""
        wait = self._prepare(side, run)
        self._wait_for_quiet(run)
        self.idle.setdefault(side.name, []).append(self._ask(run))  # and does not count
        before = run.foreign_ns()
        wait()
        time.sleep(SETTLE_S)
        foreign_ms = (run.foreign_ns() - before) / 1e6
        return self._ask(run), foreign_ms

    def _ask(self, run):
        run.output = b""
        run.process.stdin.write(b"g")
        run.process.stdin.flush()
        run.wait_for("bench: gap ")
        while b"\n" not in run.output.split(b"bench: gap ", 1)[1]:
            run.output += os.read(run.process.stdout.fileno(), 4096)
        cycles, errors = (int(re.search(rb"%s=(\d+)" % key, run.output).group(1))
                          for key in (b"cycles", b"errors"))
        if errors:
            raise RuntimeError(f"{errors} requests failed")
        return cycles / tsc_khz()

    def _ps(self, run):
        done = subprocess.run([self.ctl, "--run-dir", os.path.join(run.folder, "run"), "--json",
                               "ps"], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)


class Kill(Restart):
    name = "restart-kill"
    title = "kill -9 of the disk process, to the first completion that the guest sees"
    foreign_ms = 1

    def sides(self, vmms):
        peers = [ReconnectingQemu(v.program, v.daemon, v.name) for v in vmms[1:]
                 if isinstance(v, QemuStorageDaemon)]
        return [SupervisedBulkhead(vmms[0].program, vmms[0].transport)] + peers

    def seconds(self, n_sides):
        return self.options.kills * 0.27 / self.options.blocks + (
            2 * 2.5 * (n_sides - 1) * math.ceil(QEMU_KILLS / (2 * self.options.blocks)))

    def _prepare(self, side, run):
        if not isinstance(side, Bulkhead):
            time.sleep(0.2)
            return lambda: run.restart_helper(DEVICE_CPU)
        pid = self._wait_for_standby(run)
        return lambda: os.kill(pid, signal.SIGKILL)

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


class Planned(Restart):
    name = "restart-planned"
    title = "bulkheadctl restart, as the guest sees it"
    foreign_ms = 5  # bulkheadctl, too
    n_max = 300

    def sides(self, vmms):
        return [SupervisedBulkhead(vmms[0].program, vmms[0].transport)]

    def seconds(self, n_sides):
        return min(self.options.kills, self.n_max) * 0.15 / self.options.blocks

    def _prepare(self, side, run):
        return lambda: subprocess.run(
            [self.ctl, "--run-dir", os.path.join(run.folder, "run"), "restart", "blk0"],
            stdout=subprocess.DEVNULL, check=True)

