# SPDX-License-Identifier: Apache-2.0
"""The vsock of an unmodified Debian guest: socat, many connections, floods, and a device process
that dies while they last. One guest for all of it; the host's side is tests/vsock/peer.py."""

import contextlib
import hashlib
import os
import random
import signal
import socket
import subprocess
import time

from harness import LONG, expect, wait_until
from test_linux import linux, tools_disk
from test_vsock import folder_with_peer

LINUX = True
MIB = 1024 if LONG else 64
KILLS = 50 if LONG else 10
DEADLINE = 900 if LONG else 180
PROGRAM = "in_tools /usr/bin/vsock-guest"


def step(vm, command):
    """One command in the guest; what it printed."""
    start = len(vm.output)
    vm.send(command + "\n")
    end = vm.wait_for("guest: status ", DEADLINE, start)
    return vm.output[start:end].decode(errors="replace")


def says(vm, command, line):
    out = step(vm, command)
    expect(f"guest: {line}" in out, f"{command}: {out[-400:]!r}")


def digest_in(text):
    return next((w for w in text.split() if len(w) == 64), "none")


def socat_to_host(vm, folder):
    path, out = f"{folder}/v.sock_2000", f"{folder}/out"
    host = subprocess.Popen(["socat", "-u", f"UNIX-LISTEN:{path},mode=777", f"CREATE:{out}"])
    try:
        wait_until(lambda: os.path.exists(path), "socat listens")
        said = step(vm, "dd if=/dev/urandom of=/tmp/f bs=65536 count=64 2>/dev/null;"
                        "sha256sum </tmp/f; in_tools socat -u STDIN VSOCK-CONNECT:2:2000 </tmp/f")
        expect(host.wait(DEADLINE) == 0, "socat of the host")
    finally:
        host.kill()
        host.wait()
    with open(out, "rb") as content:
        expect(hashlib.sha256(content.read()).hexdigest() == digest_in(said), f"{said[-400:]!r}")


def socat_to_guest(vm, folder):
    content = os.urandom(4 << 20)
    step(vm, "(in_tools socat -u VSOCK-LISTEN:3000 STDOUT >/tmp/g) & receiver=$!; sleep 1")
    done = subprocess.run(["socat", "-t", "60", "-", f"UNIX-CONNECT:{folder}/v.sock"],
                          input=b"CONNECT 3000\n" + content, capture_output=True, timeout=DEADLINE)
    expect(done.stdout.startswith(b"OK "), f"{done.stdout[:100]} {done.stderr[:200]}")
    said = step(vm, "wait $receiver; sha256sum </tmp/g")
    expect(hashlib.sha256(content).hexdigest() == digest_in(said), f"{said[-400:]!r}")


def client(folder, port):
    """A host client and the answer to its CONNECT line."""
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(DEADLINE)
    s.connect(f"{folder}/v.sock")
    s.sendall(f"CONNECT {port}\n".encode())
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        while not answer.endswith(b"\n"):
            more = s.recv(1)
            if not more:
                break
            answer += more
    return s, answer


def full_backlog(vm, folder):
    step(vm, "(in_tools socat VSOCK-LISTEN:3001,fork PIPE </dev/null) & echoer=$!; sleep 1")
    start = len(vm.output)
    vm.send(f"{PROGRAM} backlog 4000\n")
    vm.wait_for("guest: listening", DEADLINE, start)
    clients = [client(folder, 4000) for _ in range(12)]
    waiting = [s for s, answer in clients if answer.startswith(b"OK ")]
    expect(0 < len(waiting) < 12, f"{len(waiting)} of 12 are in a backlog of 4")
    expect(all(not a for _, a in clients if not a.startswith(b"OK ")), f"{clients}")
    other, answer = client(folder, 3001)
    expect(answer.startswith(b"OK "), f"another listener: {answer}")
    other.sendall(b"hello")
    expect(other.recv(5) == b"hello", "another listener gets nothing through")
    vm.send("go\n")
    vm.wait_for(f"guest: served {len(waiting)}", DEADLINE, start)
    expect(all(s.recv(100) == b"served\n" for s in waiting), "not all were served")
    vm.wait_for("guest: status ", DEADLINE, start)
    for s in [other] + [s for s, _ in clients]:
        s.close()
    step(vm, "kill $echoer")


def one_gap(vm, replace):
    """Another process serves, and data goes on."""
    pid = vm.row("vsock")["pid"]
    replace(pid)
    wait_until(lambda: vm.row("vsock")["pid"] not in (0, pid) and
               vm.row("vsock")["state"] == "active", "another process serves", DEADLINE)
    vm.wait_for("guest: round ", DEADLINE, len(vm.output))


def survive(vm):
    start = len(vm.output)
    vm.send(f"{PROGRAM} survive\n")
    vm.wait_for("guest: round ", DEADLINE, start)
    time.sleep(1)  # what is older than a second and idle must never be reset
    for _ in range(2):
        one_gap(vm, lambda _pid: vm.ctl("restart", "vsock"))
    for _ in range(KILLS):
        time.sleep(random.random() * 0.2)
        one_gap(vm, lambda pid: os.kill(pid, signal.SIGKILL))
    vm.send("end\n")
    at = vm.wait_for("guest: survived ", DEADLINE, start)
    vm.wait_for("guest: status ", DEADLINE, at)
    words = dict(w.split("=") for w in vm.output[at:].split(b"\n")[0].decode().split())
    print(f"vsock: {KILLS} kills, 2 restarts: {words}", flush=True)
    expect(words["wrong"] == "0", f"wrong data: {words}")
    expect(words["idle-resets"] == "0", f"idle connections were reset: {words}")
    expect(int(words["busy-resets"]) <= KILLS, f"more than one per kill: {words}")


def test_vsock():
    with folder_with_peer() as folder, \
            linux("vsock tools=/dev/vda", "--disk", tools_disk(),
                  "--vsock", f"cid=42,socket={folder}/v.sock",
                  "--restart", "max=1000,window=60s,backoff=1ms", stdin=True) as vm:
        vm.wait_for("guest: waiting", DEADLINE)
        socat_to_host(vm, folder)
        socat_to_guest(vm, folder)
        says(vm, f"{PROGRAM} many 1000", "many 1000")
        size = MIB << 20
        says(vm, f"{PROGRAM} send {MIB}", f"sent {size} of {size}")
        says(vm, f"{PROGRAM} receive {MIB}", f"received {size}")
        says(vm, f"{PROGRAM} half", "half closed")
        full_backlog(vm, folder)
        says(vm, f"{PROGRAM} stuck 10", "stuck right 1 ")
        survive(vm)


test_vsock.timeout = 3 * DEADLINE
