# SPDX-License-Identifier: Apache-2.0
"""A Debian guest whose disks die all the time: it must not notice, and lose nothing.

On each of two disks are a file system, fio that writes, syncs and verifies, and a file of records:
the number of a record is on the console only once fsync has returned. One disk is buffered, the
other direct, so each is served by another half of the engine.
"""

import contextlib
import ctypes
import os
import random
import re
import signal
import subprocess
import time

import harness
import test_linux as debian
from harness import alive, expect, make_disk, scratch, wait_until
from restart_tests import KILLS, LONG_KILLS, serving, sh

HEARTBEAT = "2s"  # an emulated processor, shared by guest and devices, may be slow to answer
SIZE = 64 << 20
SLOW = 300  # seconds for a guest to boot or to end its round, on a busy machine
UNPLUGGED_KILLS = 6
DISKS = {"blk0": "a", "blk1": "b"}  # guest.sh names them so

PTRACE_POKEUSER, PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 6, 17, 0x4206, 0x4207
WALL = 0x40000000
RIP = 16 * 8  # in struct user


def jump_to_null(pid):
    """
    A fault of its own, wherever it is: a SIGSEGV from outside is not one, and the kernel keeps
    it from the first process of a pid namespace.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
    libc.ptrace.restype = ctypes.c_long

    def ptrace(request, address=0, data=0):
        if libc.ptrace(request, pid, address, data) < 0:
            raise OSError(ctypes.get_errno(), f"ptrace({request:#x}, {pid})")
    ptrace(PTRACE_SEIZE)
    ptrace(PTRACE_INTERRUPT)
    os.waitpid(pid, WALL)
    ptrace(PTRACE_POKEUSER, RIP, 0)
    ptrace(PTRACE_DETACH)


DEATHS = {  # by what bulkheadctl says of them; one that hung was killed, too
    "no sign of life": lambda pid: os.kill(pid, signal.SIGSTOP),
    "SIGSEGV": jump_to_null,
    "SIGKILL": lambda pid: os.kill(pid, signal.SIGKILL),
}


def records(vm, disk):
    """How many records the guest knows to be on @disk."""
    while vm.read_available(0):
        pass
    expect(b"guest: failed" not in vm.output, f"{vm.output[-600:]!r} {vm.stderr()[-400:]}")
    whole = vm.output[:vm.output.rfind(b"\n") + 1]
    numbers = re.findall(rb"guest: record %s (\d+)\r?\n" % disk.encode(), whole)
    return int(numbers[-1]) if numbers else 0


class Victim:
    """A disk, and the process that serves it at the moment."""

    def __init__(self, vm, name):
        self.vm, self.name, self.disk = vm, name, DISKS[name]
        self.pid, self.death, self.n = None, None, 0
        self.met = dict.fromkeys(DEATHS, 0)

    def revived(self):
        """Wait for a process that serves, and see what became of the one before."""
        self.pid = serving(self.vm, self.pid, self.name)
        if self.death:
            last = self.vm.row(self.name)["last_exit"]
            met = next((death for death in DEATHS if death in last), None)
            expect(met, f"{self.name} died otherwise: {last}")
            self.met[met] += 1
            self.death = None

    def die(self, death):
        """
        Every other death is as early in the life of a process as can be, while it replays. The
        next waits for two records: what was in hand before the first of them is done by then. A
        request that three processes in a row die of would rightly fail.
        """
        self.revived()
        if self.n % 2 == 0:
            wanted = records(self.vm, self.disk) + 2
            wait_until(lambda: records(self.vm, self.disk) >= wanted, f"{self.name} works", SLOW)
        time.sleep(random.uniform(0, 0.1))
        with contextlib.suppress(ProcessLookupError):  # found dead by its heartbeat just now
            DEATHS[death](self.pid)
            self.n += 1
            self.death = death


def die_at_random(vm, kills):
    """The disks die independently: one may while the other is down."""
    victims = {name: Victim(vm, name) for name in DISKS}
    left = [(name, list(DEATHS)[i % len(DEATHS)]) for name in DISKS for i in range(kills)]
    random.shuffle(left)
    while left:
        name, death = left.pop()
        n = victims[name].n
        victims[name].die(death)
        if victims[name].n == n:
            left.append((name, death))
        elif left and len(left) % 50 == 0:
            print(f"# {len(left)} deaths to come", flush=True)
    for victim in victims.values():
        victim.revived()
        restarts = vm.row(victim.name)["restarts"]
        print(f"# {victim.name}: {victim.n} deaths, {restarts} restarts: {victim.met}", flush=True)
        expect(restarts >= kills and all(victim.met.values()), f"{victim.name}: {victim.met}")


@contextlib.contextmanager
def guest():
    """A guest at work, and the images of its disks."""
    with scratch() as folder:
        images = {disk: make_disk(folder, f"{disk}.img", SIZE) for disk in DISKS.values()}
        for image in images.values():
            sh("mke2fs", "-q", "-t", "ext4", image)
        with debian.linux(
                "chaos tools=/dev/vdc", "--disk", f"path={images['a']}",
                "--disk", f"path={images['b']},direct=on", "--disk", debian.tools_disk(),
                "--restart", f"max=1000,window=600s,backoff=0ms,heartbeat={HEARTBEAT}",
                stdin=True) as vm:
            for disk in images:
                wait_until(lambda d=disk: records(vm, d), f"disk {disk} is written", SLOW)
            yield vm, images


def expect_no_errors(vm):
    at = len(vm.output)
    vm.send("errors\n")
    at = vm.wait_for("guest: errors ", SLOW, at)
    vm.wait_for("\n", start=at)
    expect(vm.output[at:].split()[0] == b"0", f"{vm.output[at - 600:]!r} {vm.stderr()[-400:]}")


def expect_all_on_disk(vm, images):
    """Every record that the guest has acknowledged, and a file system without a flaw."""
    for disk, image in images.items():
        n = records(vm, disk)
        sh("e2fsck", "-fn", image)
        kept = sh("debugfs", "-R", "cat /records", image).splitlines()
        kept = [line for line in kept if not line.startswith("debugfs ")]
        rounds = vm.output.count(b"guest: verified %s " % disk.encode())
        print(f"# disk {disk}: {n} records acknowledged, {len(kept)} on the image; "
              f"{rounds} rounds of fio", flush=True)
        expect(n > 0 and kept[:n] == [f"{i:08d}" for i in range(1, n + 1)],
               f"disk {disk}: {n} acknowledged, {len(kept)} kept: {kept[-3:]}")


def settle(image):
    """A killed process's direct I/O lands when it likes; a file system shrinks no file before."""
    os.truncate(image, SIZE + 4096)
    os.truncate(image, SIZE)


def lab_chaos():
    """The guest ends its work and powers off."""
    with guest() as (vm, images):
        die_at_random(vm, LONG_KILLS if harness.LONG else KILLS)
        expect_no_errors(vm)
        vm.send("end\n")
        for disk in images:
            vm.wait_for(f"guest: verified {disk} ", SLOW)
            vm.wait_for(f"guest: unmounted {disk}", SLOW)
        expect(vm.wait_exit(SLOW) == 0, f"{vm.output[-600:]!r} {vm.stderr()[-400:]}")
        expect_all_on_disk(vm, images)


lab_chaos.timeout = 500
lab_chaos.long_timeout = 7200


def lab_chaos_ends_with_the_plug_pulled():
    """The whole VM is killed in the middle of it all."""
    with guest() as (vm, images):
        die_at_random(vm, UNPLUGGED_KILLS)
        expect_no_errors(vm)
        pids = [row["pid"] for row in vm.ps() if row["pid"]]
        vm.process.kill()
        vm.wait_exit()
        wait_until(lambda: not any(alive(pid) for pid in pids), "all of the VM is gone")
        for image in images.values():
            settle(image)
            done = subprocess.run(["e2fsck", "-p", "-E", "journal_only", image],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            expect(done.returncode in (0, 1), f"the journal: {done.stdout}")
        expect_all_on_disk(vm, images)


lab_chaos_ends_with_the_plug_pulled.timeout = 300
