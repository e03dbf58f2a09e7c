# SPDX-License-Identifier: Apache-2.0
"""How a VM starts and ends: exit status, signals, timings, what is left behind."""

import os
import re
import signal
import stat

from harness import (VM, Failure, alive, children_of, expect, make_disk, run, scratch,
                     wait_until)


def run_dir(vm):
    return f"/run/bulkhead/{vm.name}"


def expect_gone(vm, pids):
    wait_until(lambda: not any(alive(p) for p in pids), f"processes {pids} are gone", 5)
    expect(not os.path.exists(run_dir(vm)), f"{run_dir(vm)} is left behind")


def test_power_off_is_0():
    with VM(cmdline="probe=hello") as vm:
        expect(vm.wait_exit() == 0, f"exit status {vm.process.returncode}: {vm.stderr()}")
        expect(b"probe: hello" in vm.output, f"serial output {vm.output!r}")
        expect_gone(vm, [])


def test_triple_fault_is_3():
    with VM(cmdline="probe=triple") as vm:
        expect(vm.wait_exit() == 3, f"exit status {vm.process.returncode}: {vm.stderr()}")
        expect(vm.stderr().count("\n") == 1, f"not one line: {vm.stderr()!r}")


def test_reset_boots_again():
    with VM(cmdline="probe=reset") as vm:
        at = 0
        for _ in range(5):
            at = vm.wait_for("probe: boot", start=at)


def test_reset_leaves_nothing_in_ram():
    with scratch() as folder:
        disk = make_disk(folder)
        with VM("--disk", f"path={disk}", cmdline="probe=stamp", memory="256M") as vm:
            expect(vm.wait_exit() == 0, f"{vm.output!r} {vm.stderr()}")
            expect(re.search(rb"stamped [1-9]", vm.output), f"serial output {vm.output!r}")
            expect(b"boot 2 found 0 stamps" in vm.output, f"serial output {vm.output!r}")


def test_sigterm_then_sigterm():
    with VM() as vm:
        vm.wait_for("probe: idle")
        pids = list(vm.pids().values())
        vm.signal(signal.SIGTERM)
        expect(vm.process.poll() is None, "the first SIGTERM killed the guest")
        vm.ctl("info")
        vm.signal(signal.SIGTERM)
        vm.wait_exit()
        expect_gone(vm, pids)


def test_shutdown_command():
    with VM() as vm:
        vm.wait_for("probe: idle")
        pids = list(vm.pids().values())
        vm.ctl("shutdown")
        vm.wait_exit()
        expect_gone(vm, pids)


def test_pause_and_resume():
    with VM(cmdline="probe=echo", stdin=True) as vm:
        vm.wait_for("probe: echo\n")
        vm.ctl("pause")
        expect("paused" in vm.ctl("info"), "info does not say paused")
        vm.send("x")
        if vm.read_available(0.5):
            raise Failure("a paused guest answered")
        vm.ctl("resume")
        vm.wait_for("x")


def test_verbose_timings():
    with VM("-v", cmdline="probe=hello") as vm:
        vm.wait_exit()
        log = vm.stderr()
        for what in ("KVM_RUN", "serial byte"):
            expect(re.search(r"\d+\.\d+ ms.*" + what + "|" + what + r".*\d+\.\d+ ms", log),
                   f"no time of {what}: {log!r}")


def test_sixty_four_vcpus():
    with VM(cmdline="probe=hello", cpus="boot=64") as vm:
        expect(vm.wait_exit() == 0, vm.stderr())


def test_vcpu_threads_are_named():
    with VM(cpus="boot=3") as vm:
        vm.wait_for("probe: idle")
        core = vm.pids()["core"]
        names = [open(f"/proc/{core}/task/{t}/comm").read().strip()
                 for t in os.listdir(f"/proc/{core}/task")]
        expect({"vcpu0", "vcpu1", "vcpu2"} <= set(names), f"threads {names}")


def test_control_socket_is_private():
    with VM() as vm:
        vm.wait_for("probe: idle")
        for path in (run_dir(vm), run_dir(vm) + "/control.sock"):
            mode = os.stat(path).st_mode
            expect(stat.S_IMODE(mode) & 0o077 == 0, f"{path} has mode {mode:o}")


def test_run_dir_in_use():
    with VM() as vm:
        vm.wait_for("probe: idle")
        code, err = run("--kernel", vm.command[2], "--cpus", "boot=1", "--memory", "size=64M",
                        "--name", vm.name)
        expect(code == 1 and "in use" in err and err.count("\n") == 1, f"{code} {err!r}")
        vm.ctl("info")


def test_fifty_at_once_share_no_uid():
    with scratch() as folder:
        vms = []
        try:
            for i in range(50):
                disk = make_disk(folder, f"{i}.img", 512)
                vms.append(VM("--disk", f"path={disk}", memory="16M"))
            for vm in vms:
                vm.wait_for("probe: idle", deadline=120)
            rows = [row for vm in vms for row in vm.ps() if row["role"] != "warden"]
            serving = [row for row in rows if row["state"] != "standby"]
            uids = [row["uid"] for row in rows]
            expect(len(serving) == 100, f"{len(serving)} processes serve")
            expect(len(set(uids)) == len(uids), "a UID appears twice")
            expect(0 not in uids, "a child runs as root")
        finally:
            for vm in vms:
                vm.kill()


def test_no_child_left_after_failed_start():
    with scratch() as folder:
        kernel = make_disk(folder, "kernel", 4096, b"\x7fELF")
        with VM(kernel=kernel) as vm:
            expect(vm.wait_exit() == 1, f"{vm.process.returncode} {vm.stderr()!r}")
            expect("--kernel" in vm.stderr() and vm.stderr().count("\n") == 1, vm.stderr())
            expect_gone(vm, children_of(vm.process.pid))


def test_pages_above_64_gib():
    """A guest of 100 GiB may touch all of it; the host gives only what is touched."""
    places = [0x1000000000, 0x1234567000, 0x1900000000]  # 64, 72.8 and 100 GiB
    with VM(cmdline="probe=memtouch touch=" + ",".join(hex(p) for p in places),
            memory="100G") as vm:
        expect(vm.wait_exit() == 0, vm.stderr())
        expect(b"probe: touched" in vm.output, f"serial output {vm.output!r}")
