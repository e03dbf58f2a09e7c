# SPDX-License-Identifier: Apache-2.0
"""kill -9 of each process in turn, and who is left afterwards."""

import os
import signal

from harness import VM, Failure, alive, children_of, expect, make_disk, scratch, wait_until


def two_disks(folder):
    return [arg for name in ("a.img", "b.img")
            for arg in ("--disk", "path=" + make_disk(folder, name))]


def test_dead_blk_leaves_vm_and_other_disk():
    with scratch() as folder, VM(*two_disks(folder), "--restart", "max=0", cmdline="probe=echo",
                                 stdin=True) as vm:
        vm.wait_for("probe: echo")
        before = vm.pids()
        os.kill(before["blk0"], signal.SIGKILL)
        wait_until(lambda: vm.row("blk0")["state"] == "failed", "blk0 shows as failed")
        expect("SIGKILL" in vm.row("blk0")["last_exit"], str(vm.row("blk0")))
        after = vm.pids()
        expect(after["core"] == before["core"] and after["blk1"] == before["blk1"],
               f"{before} became {after}")
        vm.send("x")
        vm.wait_for("x")


def restart_at_once(vm, folder):
    """The same command line must start again: no lock, no run dir, no process in its way."""
    again = VM(*vm.command[vm.command.index("--disk"):], cmdline="probe=hello", name=vm.name)
    with again:
        expect(again.wait_exit() == 0, again.stderr())


def test_dead_core_ends_vm():
    with scratch() as folder, VM(*two_disks(folder)) as vm:
        vm.wait_for("probe: idle")
        pids = vm.pids()
        os.kill(pids["core"], signal.SIGKILL)
        expect(vm.wait_exit(10) == 1, f"exit status {vm.process.returncode}")
        expect(not any(alive(p) for p in pids.values()), "a process is left")
        expect(not os.path.exists(f"/run/bulkhead/{vm.name}"), "the run dir is left")
        restart_at_once(vm, folder)


def test_dead_warden_ends_vm():
    with scratch() as folder, VM(*two_disks(folder)) as vm:
        vm.wait_for("probe: idle")
        pids = vm.pids()
        vm.process.kill()
        vm.process.wait()
        wait_until(lambda: not any(alive(p) for p in pids.values()), "every process is gone", 5)
        restart_at_once(vm, folder)


def test_dead_device_during_start():
    """Killed at any moment of the start, a device ends the start and leaves nothing; killed a
    moment later, it is a dead device of a running VM."""
    with scratch() as folder:
        disks = two_disks(folder)
        for _ in range(10):
            with VM(*disks, "--restart", "max=0") as vm:
                pid = wait_until(lambda v=vm: device_pid(v), "a device process appears", 10)
                os.kill(pid, signal.SIGKILL)
                wait_until(lambda v=vm: v.process.poll() is not None or shows_failed(v),
                           "the start fails or the device shows as failed", 20)
                if vm.process.poll() is not None:
                    expect(vm.process.returncode == 1 and vm.stderr().count("\n") == 1,
                           f"{vm.process.returncode} {vm.stderr()!r}")
                    expect(not os.path.exists(f"/run/bulkhead/{vm.name}"), "the run dir is left")


def device_pid(vm):
    found = sorted(children_of(vm.process.pid))
    return found[-1] if len(found) == 3 else None


def shows_failed(vm):
    try:
        return any(row["state"] == "failed" for row in vm.ps())
    except Failure:
        return False  # not listening yet, or just ended
