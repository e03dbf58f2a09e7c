# SPDX-License-Identifier: Apache-2.0
"""The tests of this suite: test_* run anywhere, lab_* need device-mapper."""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import time

import harness
from harness import VM, expect, make_disk, scratch, wait_until

KILLS = 20
LONG_KILLS = 200
CRASHES = 200  # of crash_point.c
POISON_SECTOR = 4096  # of poison.c
DEATHS_MAX = 3  # VIRTQUEUE_DEATHS_MAX
BLOCK = 4096
DISK = 4 << 20
CLEAN = {"errors": 0, "twice": 0, "wrong": 0, "badlen": 0, "lost": 0, "status": 0xf}


def programs(folder, blk):
    """A copy of the programs with another disk; the path of bulkhead."""
    for name, source in (("bulkhead", "bulkhead"), ("bulkhead-core", "bulkhead-core"),
                         ("bulkhead-blk", blk)):
        shutil.copy2(os.path.join(harness.BUILD, source), os.path.join(folder, name))
    os.chmod(folder, 0o755)
    return os.path.join(folder, "bulkhead")


@contextlib.contextmanager
def verifying(options="depth=32", disk="", path=None, blk=None, restart="max=1000,backoff=0ms",
              more_disks=0):
    """A VM under load on its first disk."""
    with scratch() as folder:
        path = path or make_disk(folder, size=DISK)
        program = programs(folder, f"tests/restart/bulkhead-blk-{blk}") if blk else None
        disks = [a for i in range(more_disks)
                 for a in ("--disk", "path=" + make_disk(folder, f"more-{i}.img"))]
        with VM("--disk", f"path={path}{disk}", *disks, "--restart", restart + ",window=600s",
                cmdline="probe=verify " + options, stdin=True, program=program) as vm:
            vm.wait_for("verify: begin")
            yield vm


def verdict(vm):
    """End the load; what the guest counted."""
    vm.send("q")
    end = vm.wait_for("verify: end ")
    vm.wait_for("\n", start=end)
    line = vm.output[end:].split(b"\n")[0].decode()
    expect(vm.wait_exit() == 0, f"bulkhead ended with {vm.process.returncode}")
    return {k: int(v, 0) for k, v in re.findall(r"(\w+)=(\w+)", line)}


def expect_clean(vm):
    counted = verdict(vm)
    bad = {k: v for k, v in counted.items() if CLEAN.get(k, v) != v}
    expect(not bad and counted["requests"] > 0, f"the guest counted {counted}")


def serving(vm, but=None, name="blk0"):
    """Wait for a process of @name that serves, other than @but; its pid."""
    def look():
        row = vm.row(name)
        return row["pid"] if row["state"] == "active" and row["pid"] not in (but, 0) else None
    return wait_until(look, f"{name} is served by another than {but}")


def completions(vm):
    counters = json.loads(vm.ctl("--json", "counters", "blk0"))["blk0"]
    return counters["reads"] + counters["writes"] + counters["flushes"]


def hangs(vm):
    before = completions(vm)
    time.sleep(0.3)
    return completions(vm) == before


def kill_under_load(options, disk=""):
    """Kills anywhere in the life of a process, every other one at once."""
    pid = None
    with verifying(options, disk) as vm:
        for i in range(LONG_KILLS if harness.LONG else KILLS):
            pid = serving(vm, pid)
            if i % 2 == 0:
                before = completions(vm)
                wait_until(lambda: completions(vm) > before + 100, "the guest gets on")
            time.sleep(random.uniform(0, 0.05))  # anywhere in its life
            os.kill(pid, signal.SIGKILL)
        serving(vm, pid)
        expect_clean(vm)


def test_kills_under_load():
    kill_under_load("depth=32")


def test_kills_under_load_direct():
    kill_under_load("depth=32", ",direct=on")


def test_kills_under_load_by_interrupts():
    kill_under_load("depth=8 interrupts")


def test_kills_under_load_without_event_idx():
    kill_under_load("depth=16 event_idx=0")


def die_at_every_store(options, disk=""):
    with verifying(options, disk, blk="crash") as vm:
        wait_until(lambda: vm.row("blk0")["restarts"] >= CRASHES, "every crash point was met", 150)
        serving(vm)
        expect(vm.row("blk0")["restarts"] == CRASHES, f"{vm.row('blk0')}")
        expect_clean(vm)


def test_crash_points():
    die_at_every_store("depth=8")


def test_crash_points_by_interrupts():
    die_at_every_store("depth=3 interrupts", ",direct=on")


def test_poison_request():
    """One request kills whoever touches it: it fails, alone, and the device lives."""
    with verifying(f"depth=16 poison={POISON_SECTOR}", blk="poison") as vm:
        end = vm.wait_for("verify: poison status 0x")
        vm.wait_for("\n", start=end)
        expect(vm.output[end:].startswith(b"1\n"), "not an I/O error")
        serving(vm)
        row = vm.row("blk0")
        expect(row["restarts"] == 3 and "SIGILL" in row["last_exit"], f"{row}")
        expect_clean(vm)


def test_poison_request_that_hangs():
    """The same by the heartbeat: the processes are killed, but because of what they work on."""
    with verifying(f"depth=16 poison={POISON_SECTOR}", blk="hang",
                   restart="max=1000,backoff=0ms,heartbeat=500ms") as vm:
        end = vm.wait_for("verify: poison status 0x")
        vm.wait_for("\n", start=end)
        expect(vm.output[end:].startswith(b"1\n"), "not an I/O error")
        expect("no sign of life" in vm.row("blk0")["last_exit"], f"{vm.row('blk0')}")
        expect_clean(vm)


def test_kills_from_outside_are_no_requests_fault():
    """One request is in hand at many a kill -9, and is done in the end."""
    kills = 2 * DEATHS_MAX
    with verifying(f"depth=16 poison={POISON_SECTOR}", blk="hang",
                   restart="max=1000,backoff=0ms,heartbeat=0") as vm:
        pid = serving(vm)
        program = os.readlink(f"/proc/{pid}/exe")
        wait_until(lambda: hangs(vm), "it hangs")
        for i in range(kills):
            if i == kills - 2:  # two are started already
                shutil.copy2(os.path.join(harness.BUILD, "bulkhead-blk"), program + ".new")
                os.rename(program + ".new", program)
            os.kill(pid, signal.SIGKILL)
            pid = serving(vm, pid)
            wait_until(lambda: any(r["state"] == "standby" for r in vm.ps()), "a standby")
        end = vm.wait_for("verify: poison status 0x")
        vm.wait_for("\n", start=end)
        expect(vm.output[end:].startswith(b"0\n"), "it failed")
        expect_clean(vm)


def test_forged_page():
    """
    The first successor refuses it, and none is asked again: the device fails, the VM lives, a reset
    by the driver revives it.
    """
    with verifying("depth=16 revive", blk="forge", restart="max=3,backoff=10ms") as vm:
        core = vm.pids()["core"]
        vm.wait_for("verify: needs reset")
        vm.wait_for("verify: revived")
        serving(vm)
        expect(vm.pids()["core"] == core, "another core")
        log = vm.stderr()
        expect(log.count("refused to take over") == 1, f"the log says {log[-500:]!r}")
        expect("deaths" not in log, f"the log says {log[-500:]!r}")
        expect(vm.row("blk0")["restarts"] == 2, f"{vm.row('blk0')}")
        expect_clean(vm)


# --- the fence ---

DELAY_MS = 15000  # far more than a busy machine needs from a look at a disk to the next


def sh(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env={**os.environ, "DM_DISABLE_UDEV": "1"})  # a lab has none
    expect(done.returncode == 0, f"{' '.join(command)}: {done.stdout.strip()}")
    return done.stdout.strip()


class SlowDisk:
    """A disk on @base whose writes take longer than its reads."""

    def __init__(self, base, write_ms):
        self.base = base
        self.name = f"bulkhead-test-{os.getpid()}"
        self.path = f"/dev/mapper/{self.name}"
        sh("dmsetup", "create", self.name, "--table", self.table(write_ms))

    def table(self, write_ms):
        sectors = int(sh("blockdev", "--getsz", self.base))
        return f"0 {sectors} delay {self.base} 0 0 {self.base} 0 {write_ms}"

    def speed_up(self):
        sh("dmsetup", "reload", self.name, "--table", self.table(0))
        sh("dmsetup", "resume", self.name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.speed_up()  # after a failure writes may still be held back
        sh("dmsetup", "remove", "--retry", self.name)


@contextlib.contextmanager
def loop_disk():
    with scratch() as folder:
        path = make_disk(folder, size=DISK)
        loop = sh("losetup", "--find", "--show", path)
        try:
            yield loop
        finally:
            sh("losetup", "--detach", loop)


def first_words(base, n):
    """The first word of each of the first @n blocks, past every cache."""
    sh("blockdev", "--flushbufs", base)
    with open(base, "rb") as disk:
        return [struct.unpack_from("<Q", disk.read(BLOCK))[0] for _ in range(n)]


def version_1(slot):
    return (1 << 32 | slot << 24) ^ BLOCK  # word_of() of verify_blk.c


def lab_fence_holds_back_the_successor():
    """
    Killed with its first writes under way, none of which has landed; the delay is longer than
    anything the fence waits for by time. Whoever serves next finds all of them landed. Then the
    same sectors are written again and again: what is there at the end is what was written last.
    """
    n = 8
    with loop_disk() as base, SlowDisk(base, DELAY_MS) as disk, \
            verifying(f"depth={n}", ",direct=on", disk.path) as vm:
        pid = serving(vm)
        time.sleep(0.5)  # far less than the delay: they are submitted, none has landed
        expect(first_words(base, n) == [0] * n, "the delay does not delay")
        os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        wait_until(lambda: vm.row("blk0")["pid"] != pid, "the death is seen")
        expect(first_words(base, n) == [0] * n, "the writes had landed before the process died")
        serving(vm, pid)
        expect(first_words(base, n) == [version_1(i) for i in range(n)],
               f"a successor after {time.monotonic() - killed:.1f} s, before the last write landed")
        disk.speed_up()
        expect_clean(vm)
