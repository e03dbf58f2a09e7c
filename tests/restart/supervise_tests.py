# SPDX-License-Identifier: Apache-2.0
"""The warden's part: back-off, giving up and reviving, stalls, planned replacement, debugging."""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import time

import harness
from harness import VM, alive, expect, make_disk, scratch, wait_until
from restart_tests import expect_clean, programs, verifying

UPGRADES = 100
PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207  # linux/ptrace.h
WALL = 0x40000000  # waitpid(2)


def ctl(vm, *args):
    """(status, stdout, stderr) of bulkheadctl on this VM."""
    done = subprocess.run([harness.BULKHEADCTL, "--name", vm.name, *args], capture_output=True,
                          text=True, timeout=harness.DEADLINE)
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def expect_refused(vm, reason, *args):
    status, _, errors = ctl(vm, *args)
    expect(status == 1 and reason in errors, f"{args}: {status} {errors!r}")


def serving(vm, but=0):
    """Wait for a process of blk0 that serves the guest; its row."""
    def look():
        row = vm.row("blk0")
        return row if row["pid"] not in (0, None, but) and row["state"] == "active" else None
    return wait_until(look, "blk0 serves")


def kill(vm):
    """Kill the process of blk0; the row of the next one."""
    pid = serving(vm)["pid"]
    os.kill(pid, signal.SIGKILL)
    return serving(vm, pid)


def two_disks(folder):
    return [arg for name in ("a.img", "b.img")
            for arg in ("--disk", "path=" + make_disk(folder, name))]


@contextlib.contextmanager
def driven(restart):
    with scratch() as folder, VM(*two_disks(folder), "--restart", restart, cmdline="probe=drive",
                                 stdin=True) as vm:
        vm.wait_for("drive: ready")
        vm.send("s")
        vm.wait_for("drive: s 0\n")
        yield vm


def test_counters_and_history_outlive_the_process():
    with verifying() as vm:
        before = wait_until(lambda: ctl(vm, "counters", "blk0")[1], "counters")
        row = kill(vm)
        expect(row["restarts"] == 1 and row["last_exit"] == "SIGKILL", str(row))
        expect(row["last_stall_us"] > 0 and row["last_stall_at"].endswith("Z"), str(row))
        after = ctl(vm, "counters", "blk0")[1]

        def reads(text):
            return next(int(line.split()[2]) for line in text.splitlines() if " reads " in line)
        expect(reads(after) >= reads(before), f"{before} then {after}")
        expect_clean(vm)


def test_gives_up_and_is_revived_by_the_driver():
    with driven("max=2,window=10m,backoff=1ms,heartbeat=0") as vm:
        kill(vm)
        kill(vm)
        os.kill(serving(vm)["pid"], signal.SIGKILL)
        row = wait_until(lambda: next((r for r in vm.ps() if r["name"] == "blk0" and
                                       r["state"] == "failed"), None), "blk0 is failed")
        expect(row["pid"] is None and row["restarts"] == 2, str(row))
        at = len(vm.output)
        vm.send("i")
        vm.wait_for("drive: i -", start=at)  # the driver was told
        vm.send("x")
        vm.wait_for("[x]", start=at)
        began = time.monotonic()
        at = len(vm.output)
        vm.send("s")
        vm.wait_for("drive: s 0\n", start=at)
        expect(vm.row("blk0")["restarts"] == 3, str(vm.row("blk0")))
        # The guest must not be able to have processes started at its own pace.
        expect(time.monotonic() - began > 0.5, "it was revived at once")


def test_never_restarts_when_told_so():
    with driven("max=0") as vm:
        os.kill(serving(vm)["pid"], signal.SIGKILL)
        wait_until(lambda: vm.row("blk0")["state"] == "failed", "blk0 is failed")
        at = len(vm.output)
        vm.send("s")
        vm.wait_for("drive: s -", start=at)
        expect(vm.row("blk0")["pid"] is None, str(vm.row("blk0")))


def test_without_standby():
    with verifying(restart="max=1000,backoff=0ms,standby=off") as vm:
        expect(len(vm.ps()) == 3, str(vm.ps()))
        for _ in range(5):
            kill(vm)
        expect_clean(vm)


def held_by(pid, what):
    """Is @what open in process @pid?"""
    folder = f"/proc/{pid}/fd"
    for fd in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            if os.readlink(f"{folder}/{fd}") == what:
                return True
    return False


def test_nobody_waits_for_the_mounts_of_the_dead():
    """The kernel would let the last process of a namespace wait for a grace period."""
    with driven("max=1000,backoff=0ms") as vm:
        pid = serving(vm)["pid"]
        for _ in range(2):
            mounts = os.readlink(f"/proc/{pid}/ns/mnt")
            wait_until(lambda m=mounts: held_by(vm.process.pid, m), "they are held")
            pid = kill(vm)["pid"]
            wait_until(lambda m=mounts: not held_by(vm.process.pid, m), "they are given up")


def test_standby_is_replaced_when_it_dies():
    with verifying() as vm:
        row = wait_until(lambda: next((r for r in vm.ps() if r["state"] == "standby"), None),
                         "a standby")
        expect(row["uid"] != serving(vm)["uid"], "it shares the id of the one that serves")
        os.kill(row["pid"], signal.SIGKILL)
        wait_until(lambda: any(r["state"] == "standby" and r["pid"] != row["pid"]
                               for r in vm.ps()), "another standby")
        kill(vm)
        expect_clean(vm)


def test_stopped_process_is_found_by_its_heartbeat():
    with verifying(restart="max=1000,backoff=0ms,heartbeat=1s") as vm:
        pid = serving(vm)["pid"]
        os.kill(pid, signal.SIGSTOP)
        row = serving(vm, pid)
        expect("no sign of life" in row["last_exit"], str(row))
        expect(not alive(pid), "the stopped process lives")
        expect_clean(vm)


def test_idle_process_is_not_taken_for_dead():
    with driven("max=5,heartbeat=1s") as vm:
        pid = serving(vm)["pid"]
        end = time.monotonic() + 4
        while time.monotonic() < end:
            row = vm.row("blk0")
            expect(row["pid"] == pid and row["restarts"] == 0, str(row))
            time.sleep(0.2)


def test_planned_replacement():
    with verifying() as vm:
        for i in range(20):
            pid = serving(vm)["pid"]
            status, _, errors = ctl(vm, "restart", "blk0")
            expect(status == 0, errors)
            row = vm.row("blk0")
            expect(row["pid"] != pid and row["restarts"] == i + 1, str(row))
            expect(row["last_exit"] == "replaced", str(row))
        expect_refused(vm, "no such device", "restart", "blk1")
        expect_refused(vm, "no such device", "restart", "core")
        expect_clean(vm)


def test_planned_replacement_by_the_standby():
    """It waits in the sandbox already; but not when another program was installed meanwhile."""
    with scratch() as folder:
        program = programs(folder, "bulkhead-blk")
        with VM(*two_disks(folder), cmdline="probe=drive", stdin=True,
                program=program) as vm:
            vm.wait_for("drive: ready")
            vm.send("s")
            vm.wait_for("drive: s 0\n")
            for is_upgraded in (False, True):
                standby = wait_until(lambda: next((r for r in vm.ps() if r["state"] == "standby"),
                                                  None), "a standby")
                if is_upgraded:
                    shutil.copy2(os.path.join(harness.BUILD, "tests/restart/bulkhead-blk-debug"),
                                 folder + "/upgrade")
                    os.rename(folder + "/upgrade", folder + "/bulkhead-blk")
                status, _, errors = ctl(vm, "restart", "blk0")
                expect(status == 0, errors)
                row = vm.row("blk0")
                expect((row["pid"] == standby["pid"]) != is_upgraded, f"{standby} {row}")
                expect(os.stat(f"/proc/{row['pid']}/exe").st_ino ==
                       os.stat(folder + "/bulkhead-blk").st_ino, "another program runs")


def hanging_program(folder):
    path = os.path.join(folder, "hang")
    subprocess.run(["cc", "-static", "-o", path, "-x", "c", "-"], text=True, check=True,
                   input="#include <unistd.h>\nint main(void) { for (;;) pause(); }\n")
    return path


def test_replacement_that_fails_leaves_the_old_one():
    with verifying() as vm, scratch() as folder:
        os.chmod(folder, 0o755)
        hang = hanging_program(folder)
        text = os.path.join(folder, "text")
        with open(text, "w") as file:
            file.write("not a program\n")
        os.chmod(text, 0o755)
        pid = serving(vm)["pid"]
        for program, reason in (("/bin/true", "exit 0"), ("/bin/false", "exit 1"),
                                (text, "exit 127"), (hang, "in time"),
                                (os.path.join(harness.BUILD, "bulkhead-rng"), "blk0: "),
                                ("/etc/passwd", "Permission denied"), ("/etc", "regular file"),
                                (folder + "/none", "No such file")):
            expect_refused(vm, reason, "restart", "blk0", "--binary", program)
            row = vm.row("blk0")
            expect(row["pid"] == pid and row["restarts"] == 0, f"{program}: {row}")
        wait_until(lambda: any(r["state"] == "standby" for r in vm.ps()), "a standby again")
        expect_clean(vm)


def test_upgrade_to_a_debug_build_and_back():
    builds = [os.path.join(harness.BUILD, name)
              for name in ("tests/restart/bulkhead-blk-debug", "bulkhead-blk")]
    with verifying() as vm:
        for i in range(UPGRADES):
            status, _, errors = ctl(vm, "restart", "blk0", "--binary", builds[i % 2])
            expect(status == 0, errors)
            expect(os.stat(f"/proc/{vm.row('blk0')['pid']}/exe").st_ino ==
                   os.stat(builds[i % 2]).st_ino, "another program runs")
        row = kill(vm)
        expect(os.stat(f"/proc/{row['pid']}/exe").st_ino == os.stat(builds[1]).st_ino,
               "the successor is of another build")
        expect_clean(vm)


def test_stopped_for_a_debugger():
    with verifying(restart="max=1000,heartbeat=1s") as vm:
        status, pid, errors = ctl(vm, "restart", "blk0", "--stopped")
        expect(status == 0, errors)
        expect(vm.row("blk0")["pid"] == int(pid), f"{pid} {vm.row('blk0')}")
        counted = ctl(vm, "counters", "blk0")[1]
        time.sleep(2.5)  # longer than the heartbeat
        row = vm.row("blk0")
        expect(row["state"] == "stopped" and row["pid"] == int(pid), str(row))
        expect(ctl(vm, "counters", "blk0")[1] == counted, "somebody serves the guest")
        expect_refused(vm, "resume-device", "restart", "blk0")
        expect(ctl(vm, "resume-device", "blk0")[0] == 0, "resume-device")
        expect(serving(vm)["pid"] == int(pid), "another process serves")
        expect_refused(vm, "not stopped", "resume-device", "blk0")
        expect_clean(vm)


def test_breakpoint_in_a_sandboxed_process():
    """What README shows: the guest waits at the breakpoint, longer than the heartbeat."""
    if not shutil.which("gdb"):
        raise harness.Skip("there is no gdb")
    program = os.path.join(harness.BUILD, "bulkhead-blk")
    with verifying(restart="max=1000,heartbeat=1s") as vm:
        status, pid, errors = ctl(vm, "restart", "blk0", "--stopped")
        expect(status == 0, errors)
        resume = f"{harness.BULKHEADCTL} --name {vm.name} resume-device blk0"
        gdb = ["gdb", "-nx", "-batch", program, "-p", pid]
        for command in ("break blk_kick", f"shell {resume}", "continue", "backtrace",
                        "shell sleep 3", "detach"):
            gdb += ["-ex", command]
        # A breakpoint that is not met would let gdb wait for ever.
        done = subprocess.run(["timeout", "-k", "1", "60", *gdb], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        words = " | ".join(done.stdout.splitlines()[-12:])
        expect("Breakpoint 1, blk_kick" in done.stdout, words)
        expect("device_main" in done.stdout, words)
        row = serving(vm)
        expect(row["pid"] == int(pid) and row["restarts"] == 1, str(row))
        expect_clean(vm)


@contextlib.contextmanager
def traced(pid):
    """Stopped by a debugger, us."""
    def ptrace(request):
        expect(libc.ptrace(request, pid, 0, 0) == 0, f"ptrace: {os.strerror(ctypes.get_errno())}")

    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long] * 4
    libc.ptrace.restype = ctypes.c_long
    ptrace(PTRACE_SEIZE)
    ptrace(PTRACE_INTERRUPT)
    os.waitpid(pid, WALL)
    yield
    ptrace(PTRACE_DETACH)


def test_reset_waits_for_a_debugger():
    """The driver resets a device whose process is stopped: longer than any other request may take."""
    with driven("max=5,heartbeat=1s") as vm:
        pid = serving(vm)["pid"]
        with traced(pid):
            at = len(vm.output)
            vm.send("r")
            time.sleep(5)
            row = vm.row("blk0")
            expect(row["pid"] == pid and row["restarts"] == 0, str(row))
        vm.wait_for("drive: r 0\n", start=at)
        at = len(vm.output)
        vm.send("s")
        vm.wait_for("drive: s 0\n", start=at)
        expect(vm.row("blk0")["pid"] == pid, "another process serves")


def test_two_devices_are_not_replaced_at_a_time():
    with verifying(more_disks=1) as vm, scratch() as folder:
        os.chmod(folder, 0o755)
        hang = hanging_program(folder)
        first = subprocess.Popen([harness.BULKHEADCTL, "--name", vm.name, "restart", "blk0",
                                  "--binary", hang], stderr=subprocess.PIPE, text=True)
        try:
            wait_until(lambda: any(r["state"] == "successor" for r in vm.ps()), "a successor")
            expect_refused(vm, "blk1: another device is being replaced", "restart", "blk1")
            expect_refused(vm, "being restarted already", "restart", "blk0")
            expect("in time" in first.communicate(timeout=harness.DEADLINE)[1], "another reason")
        finally:
            first.kill()
            first.wait()
        status, _, errors = ctl(vm, "restart", "blk1")
        expect(status == 0, errors)
        expect_clean(vm)


def test_stopped_process_that_dies():
    with verifying() as vm:
        pid = int(ctl(vm, "restart", "blk0", "--stopped")[1])
        os.kill(pid, signal.SIGKILL)
        serving(vm, pid)
        expect_clean(vm)


def test_reboot_while_a_device_is_down():
    with scratch() as folder, VM(*two_disks(folder), "--restart", "max=1000,backoff=300ms",
                                 cmdline="probe=drive", stdin=True) as vm:
        vm.wait_for("drive: ready")
        first = vm.row("blk0")["pid"]
        os.kill(first, signal.SIGKILL)
        second = wait_until(lambda: {vm.row("blk0")["pid"]} - {None, first}, "its successor").pop()
        os.kill(second, signal.SIGKILL)
        at = len(vm.output)
        vm.ctl("reboot")
        at = vm.wait_for("drive: ready", start=at)
        vm.send("s")
        vm.wait_for("drive: s 0\n", start=at)
