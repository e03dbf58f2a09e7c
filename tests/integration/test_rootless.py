# SPDX-License-Identifier: Apache-2.0
"""Bulkhead started by a plain user with subordinate ids, and by one without."""

import contextlib
import json
import os
import pwd
import shutil
import subprocess
import tempfile

from harness import BUILD, PROBE, Skip, expect, make_disk, status, wait_until


@contextlib.contextmanager
def user(subordinate):
    """A throw-away user with a home, a runtime folder, and a copy of the programs."""
    if os.getuid() != 0:
        raise Skip("needs root to make a user")
    name = f"bhtest{os.getpid()}"
    subprocess.run(["useradd", "--no-create-home", "--shell", "/bin/sh", name], check=True,
                   capture_output=True)
    folder = tempfile.mkdtemp(prefix="bulkhead-user-")
    try:
        for table in ("/etc/subuid", "/etc/subgid"):
            with open(table) as old:
                lines = [ln for ln in old if not ln.startswith(name + ":")]
            if subordinate:
                lines.append(f"{name}:700000:65536\n")
            with open(table, "w") as new:
                new.writelines(lines)
        entry = pwd.getpwnam(name)
        programs = os.path.join(folder, "bin")
        os.mkdir(programs)
        for program in os.listdir(BUILD):
            if program.startswith("bulkhead") and os.path.isfile(os.path.join(BUILD, program)):
                shutil.copy(os.path.join(BUILD, program), programs)
        shutil.copy(PROBE, programs)
        os.mkdir(os.path.join(folder, "run"))
        make_disk(folder)
        for path, _, files in os.walk(folder):
            for item in [path] + [os.path.join(path, f) for f in files]:
                os.chown(item, entry.pw_uid, entry.pw_gid)
        yield name, folder
    finally:
        subprocess.run(["userdel", name], check=False, capture_output=True)
        for table in ("/etc/subuid", "/etc/subgid"):
            with open(table) as old:
                lines = [ln for ln in old if not ln.startswith(name + ":")]
            with open(table, "w") as new:
                new.writelines(lines)
        shutil.rmtree(folder, ignore_errors=True)


def as_user(name, folder, *command, **kwargs):
    # The kvm group's job is done by an inherited descriptor-free way: give the user the device.
    return subprocess.Popen(
        ["setpriv", f"--reuid={name}", f"--regid={name}", "--clear-groups", "--",
         "env", "-i", f"XDG_RUNTIME_DIR={folder}/run", f"HOME={folder}", "PATH=/usr/bin:/bin",
         *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        **kwargs)


@contextlib.contextmanager
def kvm_for(name):
    """Let @name open /dev/kvm for the time of the test (ACL)."""
    subprocess.run(["setfacl", "-m", f"u:{name}:rw", "/dev/kvm"], check=True)
    try:
        yield
    finally:
        subprocess.run(["setfacl", "-x", f"u:{name}", "/dev/kvm"], check=False)


def command(folder, *extra):
    return [f"{folder}/bin/bulkhead", "--kernel", f"{folder}/bin/probe.elf", "--cpus", "boot=1",
            "--memory", "size=64M", "--disk", f"path={folder}/disk.img", "--serial", "tty",
            "--cmdline", "probe=idle", "--name", "plain", *extra]


def rows_of(name, folder):
    done = as_user(name, folder, f"{folder}/bin/bulkheadctl", "--name", "plain", "--json", "ps")
    out, _ = done.communicate(timeout=30)
    rows = json.loads(out) if done.returncode == 0 else []
    return rows if rows and all(r["state"] != "starting" for r in rows) else None


def test_with_subordinate_ids():
    with user(subordinate=True) as (name, folder), kvm_for(name):
        vm = as_user(name, folder, *command(folder))
        try:
            rows = wait_until(lambda: rows_of(name, folder) if vm.poll() is None else [None],
                              "ps answers")
            expect(vm.poll() is None, f"ended: {vm.poll() is not None and vm.stderr.read()}")
            children = [r for r in rows if r["role"] != "warden"]
            expect(len(children) == 2, str(rows))
            uids = [int(status(r["pid"])["Uid"].split()[0]) for r in children]
            expect(len(set(uids)) == 2 and all(700000 <= u < 765536 for u in uids), str(uids))
            for row in children:
                s = status(row["pid"])
                expect(s["Seccomp"] == "2" and int(s["CapEff"], 16) == 0
                       and int(s["CapBnd"], 16) == 0 and s["NoNewPrivs"] == "1", str(s))
                expect(os.listdir(f"/proc/{row['pid']}/root/") == [], "root is not empty")
        finally:
            vm.terminate()
            try:
                vm.wait(1)
            except subprocess.TimeoutExpired:
                vm.kill()
            vm.wait()


def test_without_subordinate_ids_is_refused():
    with user(subordinate=False) as (name, folder), kvm_for(name):
        vm = as_user(name, folder, *command(folder))
        _, err = vm.communicate(timeout=60)
        expect(vm.returncode == 1 and b"--allow-weak-sandbox" in err and err.count(b"\n") == 1,
               f"{vm.returncode} {err!r}")


def test_weak_sandbox_shows_in_ps():
    with user(subordinate=False) as (name, folder), kvm_for(name):
        vm = as_user(name, folder, *command(folder, "--allow-weak-sandbox"))
        try:
            rows = wait_until(lambda: rows_of(name, folder) if vm.poll() is None else [None],
                              "ps answers")
            expect(vm.poll() is None, f"ended: {vm.poll() is not None and vm.stderr.read()}")
            own = pwd.getpwnam(name).pw_uid
            for row in rows:
                expect(row["uid"] == own, f"ps hides the shared UID: {row}")
                if row["role"] != "warden":
                    expect(status(row["pid"])["Seccomp"] == "2", str(row))
        finally:
            vm.kill()
            vm.wait()


