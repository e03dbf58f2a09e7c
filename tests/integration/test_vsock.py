# SPDX-License-Identifier: Apache-2.0
"""bulkhead-vsock from outside: bad input, its sandbox, and connections that outlive it."""

import contextlib
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import time

from harness import BULKHEADCTL, VM, expect, scratch, status, wait_until
from test_bad_input import arguments, refused

PEER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../vsock/peer.py")
KILLS = 50 if "--long" in sys.argv else 10


@contextlib.contextmanager
def folder_with_peer(mode=0o755):
    """A folder and the host programs of tests/vsock/peer.py in it."""
    with scratch() as folder:
        os.chmod(folder, mode)
        peer = subprocess.Popen([PEER, f"{folder}/v.sock"], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE)
        try:
            expect(peer.stdout.readline() == b"ready\n", "the host programs do not start")
            yield folder
        finally:
            peer.stdin.close()
            peer.wait()
            peer.stdout.close()


def vsock_vm(folder, *args, cmdline="probe=idle", **kwargs):
    return VM("--vsock", f"cid=42,socket={folder}/v.sock", *args, cmdline=cmdline,
              memory="128M", **kwargs)


def test_usage():
    good = "socket=/tmp/bulkhead-no-such.sock"
    rows = [("cid=0," + good, "cid"), ("cid=1," + good, "cid"), ("cid=2," + good, "cid"),
            ("cid=4294967295," + good, "cid"), ("cid=4294967296," + good, "cid"),
            ("cid=x," + good, "cid"), (good, "cid"), ("cid=3", "socket"),
            ("cid=3,socket=", "socket"), ("cid=3,socket=/tmp/", "folder"),
            ("cid=3,colour=red," + good, "colour"),
            ("cid=3,socket=/tmp/" + "x" * 92, "too long")]
    for value, word in rows:
        refused(arguments(vsock=value), 2, "--vsock", word)


def test_socket_path():
    with scratch() as folder:
        path = f"{folder}/v.sock"
        open(path, "w").close()
        refused(arguments(vsock=f"cid=3,socket={path}"), 1, "--vsock", "exists")
        expect(os.path.exists(path), "a file of somebody else was removed")
        os.unlink(path)
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(path)
            refused(arguments(vsock=f"cid=3,socket={path}"), 1, "--vsock", "exists")
            expect(os.path.exists(path), "a socket of somebody else was removed")
        refused(arguments(vsock=f"cid=3,socket={folder}/none/v.sock"), 1, "--vsock", "No such")
        refused(arguments(vsock=f"cid=3,socket={path}/v.sock"), 1, "--vsock", "Not a directory")


def test_longest_path():
    with scratch() as folder:
        path = folder + "/" + "x" * (107 - len("_4294967295") - len(folder) - 1)
        with VM("--vsock", f"cid=4294967294,socket={path}") as vm:
            vm.wait_for("probe: idle")
            expect(os.path.exists(path), "no socket")
        wait_until(lambda: not os.path.exists(path), "the socket is gone")


def test_sandbox():
    with folder_with_peer() as folder, vsock_vm(folder) as vm:
        vm.wait_for("probe: idle")
        pid = vm.row("vsock")["pid"]
        expect(sorted(os.listdir(f"/proc/{pid}/root/")) == sorted(os.listdir(folder)),
               f"its root holds {os.listdir(f'/proc/{pid}/root/')}")
        mounts = open(f"/proc/{pid}/mountinfo").read().splitlines()
        expect(len(mounts) == 1, f"mounts {mounts}")
        options = set(mounts[0].split()[5].split(","))
        expect({"ro", "nosuid", "nodev", "noexec"} <= options, f"mount options {options}")
        s = status(pid)
        expect(s["Seccomp"] == "2" and int(s["CapEff"], 16) == 0, f"{s['Seccomp']} {s['CapEff']}")
        limits = {ln[:25].strip(): ln[26:].split()[1]
                  for ln in open(f"/proc/{pid}/limits").read().split("\n")[1:-1]}
        for what, most in (("Max processes", 0), ("Max file size", 0), ("Max locked memory", 0),
                           ("Max open files", 1087 + 40)):  # connections and clients
            expect(int(limits[what]) <= most, f"{what} {limits[what]}")
        expect(os.readlink(f"/proc/{pid}/ns/net") != os.readlink(f"/proc/{vm.process.pid}/ns/net"),
               "it is in the host's network namespace")
        targets = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        expect(not [t for t in targets if t.startswith("/") and t != "/dev/null"], str(targets))
        # the channel of the core, the warden's, the listener
        expect(sum(t.startswith("socket:") for t in targets) == 3, str(targets))


def surviving_vm(folder):
    return vsock_vm(folder, "--restart", "max=1000,window=60s,backoff=1ms",
                    cmdline="probe=vsock-survive", stdin=True)


def wait_for_rounds(vm, n=1):
    for _ in range(n):
        vm.wait_for("survive: round", 120, start=len(vm.output))


def verdict(vm):
    """End the probe; what it counted."""
    vm.send("q")
    at = vm.wait_for("survive: end ", 120)
    vm.wait_for("\n", start=at)
    return dict(w.split("=") for w in vm.output[at:].split(b"\n")[0].decode().split())


def survives(folder, kills):
    with surviving_vm(folder) as vm:
        vm.wait_for("survive: ready", 120)
        wait_for_rounds(vm)
        time.sleep(1)  # what is older than a second and idle must never be reset
        for i in range(kills + 2):
            pid = vm.row("vsock")["pid"]
            time.sleep(random.random() * 0.2)
            if i < kills:
                os.kill(pid, signal.SIGKILL)
            else:  # two planned ones
                vm.ctl("restart", "vsock")
            wait_until(lambda: vm.row("vsock")["pid"] not in (0, pid) and
                       vm.row("vsock")["state"] == "active", "another process serves")
            wait_for_rounds(vm)
        words = verdict(vm)
        expect(words["wrong"] == "0", f"wrong data: {words}")
        expect(words["idle-resets"] == "0", f"idle connections were reset: {words}")
        expect(int(words["busy-resets"]) <= kills, f"more than one per kill: {words}")


def test_connections_survive_kills():
    with folder_with_peer() as folder:
        survives(folder, KILLS)


def test_folder_of_its_owner_only():
    """bulkhead-vsock may not even search the folder: the warden connects for it."""
    with folder_with_peer(0o700) as folder:
        survives(folder, 2)


def test_warden_without_descriptors():
    """The standby takes over with all connections; who asks meanwhile waits, and keeps nobody busy."""
    with folder_with_peer() as folder, surviving_vm(folder) as vm:
        vm.wait_for("survive: ready", 120)
        wait_for_rounds(vm)
        time.sleep(1)  # all of them are kept
        wait_until(lambda: any(row["state"] == "standby" for row in vm.ps()), "a standby")
        pid = vm.row("vsock")["pid"]
        limits = resource.prlimit(vm.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(vm.process.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "it is gone")
        wait_for_rounds(vm, 3)
        with subprocess.Popen([BULKHEADCTL, "--name", vm.name, "ps"],
                              stdout=subprocess.PIPE) as client:
            for _ in range(20):
                wait_until(lambda: status(vm.process.pid)["State"].startswith("S"), "it sleeps")
                time.sleep(0.01)
            expect(client.poll() is None, "it was served without a descriptor")
            resource.prlimit(vm.process.pid, resource.RLIMIT_NOFILE, limits)
            expect(client.wait(60) == 0 and b"vsock" in client.stdout.read(), "it is not served")
        expect(int(vm.row("vsock")["restarts"]) == 1, str(vm.row("vsock")))
        words = verdict(vm)
        expect(words["wrong"] == words["idle-resets"] == "0", f"connections were lost: {words}")


test_connections_survive_kills.timeout = 1200
