# SPDX-License-Identifier: Apache-2.0
"""NICs: what is refused, link, limits, restarts, and user mode, with the probe as the guest.

Every test is in a network namespace of its own.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time

from harness import (BUILD, BULKHEAD, BULKHEADCTL, LONG, PROBE, VM, Failure, Skip, children_of,
                     expect, make_disk, scratch, status, wait_until)

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../net"))
import peer  # noqa: E402

MAC = "02:00:00:00:00:0a"
TUNSETIFF, TUNSETPERSIST = 0x400454ca, 0x400454cb
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE = 2, 0x1000, 0x4000, 0x0100
CLONE_NEWNS = 0x20000
SIOCGIFFLAGS, IFF_RUNNING = 0x8913, 0x40


def own_network():
    if os.geteuid() != 0:
        raise Skip("a tap needs root")
    peer.own_network()


def open_tap(name, flags=IFF_TAP | IFF_NO_PI | IFF_VNET_HDR):
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    return tun


def interface_flags(name):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        answer = fcntl.ioctl(any_socket, SIOCGIFFLAGS, struct.pack("16sH22x", name.encode(), 0))
        return struct.unpack_from("H", answer, 16)[0]


def refused(net, word, cpus=1, **popen):
    done = subprocess.run([BULKHEAD, "--kernel", PROBE, "--cpus", f"boot={cpus}", "--memory",
                           "size=64M", "--serial", "null", "--net", net],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                          **popen)
    line = done.stderr.strip()
    expect(done.returncode == 1, f"{net}: exit {done.returncode}: {line}")
    expect(line.startswith("bulkhead: --net") and "\n" not in line, f"{net}: {line!r}")
    expect(word in line, f"{net}: no {word!r} in {line!r}")


def test_refused_taps():
    own_network()
    busy = open_tap("busy0")
    single = open_tap("single0")
    fcntl.ioctl(single, TUNSETPERSIST, 1)
    os.close(single)
    refused("tap=busy0", "is in use")
    refused("tap=single0,num_queues=4", "without multi_queue", cpus=2)
    refused("tap=lo", "is not a tap")
    os.close(busy)


def test_tap_that_does_not_exist():
    own_network()
    done = subprocess.run(["setpriv", "--bounding-set=-net_admin", BULKHEAD, "--kernel", PROBE,
                           "--serial", "null", "--net", "tap=no0"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60)
    expect(done.returncode == 1, f"exit {done.returncode}: {done.stderr}")
    expect(done.stderr == "bulkhead: --net tap=no0: does not exist, and may not be created "
           "(CAP_NET_ADMIN)\n", done.stderr)


def test_refused_fds():
    own_network()
    null = os.open("/dev/null", os.O_RDWR)
    tun = open_tap("tun0", 1 | IFF_NO_PI | IFF_VNET_HDR)
    bare = open_tap("bare0", IFF_TAP | IFF_NO_PI)
    good = open_tap("good0")
    for fd, word in ((null, "is not a tap"), (tun, "is a tun"), (bare, "IFF_VNET_HDR"),
                     (200, "is not open")):
        refused(f"fd={fd}", word, pass_fds=[f for f in (fd,) if f != 200])
    refused(f"fd=[{good},{good}]", "given twice", cpus=2, pass_fds=[good])


def test_refused_port():
    own_network()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        refused(f"mode=user,hostfwd=tcp:{port}-22", "Address already in use")


def test_fd_of_a_tap():
    own_network()
    fd = open_tap("given0")
    with VM("--net", f"fd={fd},mac={MAC}", pass_fds=[fd]) as vm:
        vm.wait_for("probe: idle")
        expect(vm.row("net0")["role"] == "net", str(vm.row("net0")))


class Echo:
    """Frames to the probe's net-echo and back."""

    def __init__(self, tap):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88b5))
        self.socket.bind((tap, 0))
        self.socket.settimeout(0.3)
        self.n = 0

    def once(self):
        """Is one frame answered?"""
        self.n += 1
        body = struct.pack(">Q", self.n).ljust(400, b"e")
        mac = bytes.fromhex(MAC.replace(":", ""))
        try:
            self.socket.send(mac + peer.PEER_MAC + b"\x88\xb5" + body)
            while True:
                frame = self.socket.recv(2000)
                if frame[6:12] == mac and frame[14:] == body:
                    return True
        except (TimeoutError, OSError):
            return False

    def wait(self, text):
        wait_until(self.once, text)


def echo_vm(*args):
    vm = VM("--net", f"tap=tap0,mac={MAC}", *args, cmdline="probe=net-echo")
    try:
        vm.wait_for("probe: echo")
        peer.tap_wait("tap0")
    except BaseException:
        vm.kill()
        raise
    return vm


def test_link():
    own_network()
    with echo_vm() as vm:
        echo = Echo("tap0")
        echo.wait("an echo")
        vm.ctl("link", "net0", "down")
        wait_until(lambda: not interface_flags("tap0") & IFF_RUNNING, "no carrier")
        expect(not echo.once(), "an echo over a link that is down")
        vm.ctl("link", "net0", "up")
        wait_until(lambda: interface_flags("tap0") & IFF_RUNNING, "a carrier")
        echo.wait("an echo after the link came up")
        for args in (["net0", "sideways"], ["core", "up"], ["net1", "up"]):
            done = subprocess.run([BULKHEADCTL, "--name", vm.name, "link", *args],
                                  capture_output=True, text=True)
            expect(done.returncode == 1 and done.stderr.count("\n") == 1, f"{args}: {done}")


def has_carrier():
    return interface_flags("tap0") & IFF_RUNNING


def kill_nic(vm):
    """Kill the process of net0; wait for one that serves and knows what it has to know."""
    pid = vm.row("net0")["pid"]
    os.kill(pid, 9)
    wait_until(lambda: vm.row("net0")["pid"] not in (pid, 0), "a successor")
    wait_until(lambda: vm.row("net0")["state"] == "active", "it serves")


def standby(vm, but=None):
    """Wait for one, other than @but; its pid."""
    return wait_until(lambda: next((row["pid"] for row in vm.ps() if row["state"] == "standby" and
                                    row["pid"] != but), None), f"a standby other than {but}")


def test_takeover_leaves_the_carrier_alone():
    """Also by a process that was started ahead when the link was not as it is now."""
    own_network()

    def changes():
        shown = subprocess.run(["ip", "-j", "-s", "-s", "link", "show", "tap0"], check=True,
                               capture_output=True, text=True)
        return json.loads(shown.stdout)[0]["stats64"]["tx"]["carrier_changes"]

    def stays(word, is_up):
        before = changes()
        kill_nic(vm)
        expect(changes() == before and bool(has_carrier()) == is_up,
               f"{word}: {changes() - before} changes of the carrier at a takeover")

    with echo_vm("--restart", "max=100,backoff=0") as vm:
        echo = Echo("tap0")
        echo.wait("an echo")
        old = standby(vm)
        vm.ctl("link", "net0", "down")
        wait_until(lambda: not has_carrier(), "no carrier")
        standby(vm, but=old)  # the config space in its HELLO would show the driver another link
        stays("down", False)
        old = standby(vm)
        vm.ctl("link", "net0", "up")
        wait_until(has_carrier, "a carrier")
        standby(vm, but=old)
        stays("up again", True)
        echo.wait("an echo after all of that")


def test_link_that_changes_while_nobody_serves():
    own_network()
    with echo_vm("--restart", "max=100,backoff=500ms,standby=off") as vm:
        echo = Echo("tap0")
        echo.wait("an echo")
        kill_nic(vm)  # there is no back-off after the first death
        for is_up in (False, True):
            os.kill(vm.row("net0")["pid"], 9)
            wait_until(lambda: vm.row("net0")["state"] == "restarting", "a back-off")
            vm.ctl("link", "net0", "up" if is_up else "down", check=False)
            wait_until(lambda: vm.row("net0")["state"] == "active", "a successor that serves")
            wait_until(lambda: bool(has_carrier()) == is_up, f"a carrier that is up: {is_up}")
        echo.wait("an echo over the link that came up meanwhile")


def test_deleted_tap():
    """Its NIC has no link any more, and its process sleeps."""
    own_network()
    with VM("--net", f"tap=tap0,mac={MAC}", cmdline="probe=net-echo wait=600000") as vm:
        vm.wait_for("probe: echo")
        peer.tap_wait("tap0")
        Echo("tap0").wait("an echo")
        subprocess.run(["ip", "link", "del", "tap0"], check=True)
        wait_until(lambda: "the tap is gone" in vm.ctl("log", "net0"), "a line in the log")
        for text in ("it sleeps", "its successor sleeps"):
            pid = vm.row("net0")["pid"]
            for _ in range(20):
                wait_until(lambda: status(pid)["State"].startswith("S"), text)
                time.sleep(0.01)
            os.kill(pid, 9)
            wait_until(lambda: vm.row("net0")["pid"] not in (pid, 0), "a successor")
            wait_until(lambda: vm.row("net0")["state"] == "active", "it serves")


def test_limits_change_at_run_time():
    own_network()
    with scratch() as folder, echo_vm("--disk", f"path={make_disk(folder)}") as vm:
        echo = Echo("tap0")
        echo.wait("an echo")
        # One frame, and the next when the day is over.
        vm.ctl("limit", "net0", "ops_size=1", "ops_refill_time=86400000")
        wait_until(lambda: not echo.once(), "the limit to bite")
        vm.ctl("limit", "net0", "ops_size=0")
        echo.wait("an echo without a limit")
        vm.ctl("limit", "blk0", "bw_size=1M", "bw_refill_time=100")
        for args in (["net0", "ops_size=1,colour=red"], ["net0", "bw_size=1"], ["rng", "bw_size=1"]):
            done = subprocess.run([BULKHEADCTL, "--name", vm.name, "limit", *args],
                                  capture_output=True, text=True)
            expect(done.returncode == 1 and done.stderr.count("\n") == 1, f"{args}: {done}")


def test_bandwidth_limit_outlives_the_process():
    own_network()
    with echo_vm("--restart", "max=100,backoff=0") as vm:
        echo = Echo("tap0")
        echo.wait("an echo")
        # Less than a frame for the whole day: one passes, the next waits for what it owes.
        vm.ctl("limit", "net0", "bw_size=100", "bw_refill_time=86400000")
        wait_until(lambda: not echo.once(), "the limit to bite")
        pid = vm.row("net0")["pid"]
        os.kill(pid, 9)
        wait_until(lambda: vm.row("net0")["pid"] not in (pid, 0), "a successor")
        wait_until(lambda: not echo.once(), "the limit to bite again")
        vm.ctl("limit", "net0", "bw_size=0")
        echo.wait("an echo without a limit")


def test_disk_limits_change_at_run_time():
    """At most what the bucket lets through while a limit holds, and much more before and after."""
    size, refill_ms, depth = 10, 200, 8

    def requests(vm):
        start = len(vm.output)
        vm.send("g")
        end = vm.wait_for("errors=0", start=vm.wait_for("bench: gap ", start=start))
        return int(vm.output[start:end].split(b"ios=")[1].split()[0]), time.monotonic()

    def grow(vm, text):
        first, _ = requests(vm)
        wait_until(lambda: requests(vm)[0] > first + 100 * size, text)

    def is_below(vm, text):
        first, begin = requests(vm)
        wait_until(lambda: requests(vm)[0] > first + 3 * size, text + ": it goes on")
        last, end = requests(vm)
        return last - first <= size * (end - begin) * 1000 / refill_ms + size + depth

    def stays_below(vm, text):
        # A successor may have done a little before it was told.
        wait_until(lambda: is_below(vm, text), text + ": the limit")

    with scratch() as folder:
        with VM("--disk", f"path={make_disk(folder, size=4 << 20)}", "--restart",
                "max=100,backoff=0", stdin=True,
                cmdline=f"probe=bench op=randread depth={depth} span=4 gaps tsc_khz=2000000") as vm:
            vm.wait_for("bench: begin")
            grow(vm, "no limit")
            vm.ctl("limit", "blk0", f"ops_size={size}", f"ops_refill_time={refill_ms}")
            stays_below(vm, "operations")
            pid = vm.row("blk0")["pid"]
            os.kill(pid, 9)
            wait_until(lambda: vm.row("blk0")["pid"] not in (pid, 0), "a successor")
            stays_below(vm, "operations, with a successor")
            vm.ctl("limit", "blk0", "ops_size=0", f"bw_size={size * 4096}",
                   f"bw_refill_time={refill_ms}")
            stays_below(vm, "bytes")
            vm.ctl("limit", "blk0", "bw_size=0")
            grow(vm, "no limit again")


def test_killed_process_goes_on():
    own_network()
    with echo_vm("--restart", "max=100,backoff=0") as vm:
        echo = Echo("tap0")
        for i in range(5):
            echo.wait(f"an echo after {i} deaths")
            pid = vm.row("net0")["pid"]
            os.kill(pid, 9)
            wait_until(lambda: vm.row("net0")["pid"] not in (pid, 0), "a successor")
        echo.wait("an echo in the end")
        expect(int(vm.row("net0")["restarts"]) == 5, str(vm.row("net0")))


def test_two_nics_one_of_which_dies():
    own_network()
    with echo_vm("--net", "tap=tap1", "--restart", "max=100,backoff=0") as vm:
        echo = Echo("tap0")
        echo.wait("an echo")
        over = threading.Event()

        def kill():
            while not over.wait(0.3):
                pid = vm.row("net1")["pid"]
                if pid:
                    os.kill(pid, 9)

        killer = threading.Thread(target=kill)
        killer.start()
        lost = sum(not echo.once() for _ in range(200))
        over.set()
        killer.join()
        expect(lost == 0, f"{lost} of 200 echoes lost while the other NIC died")
        expect(int(vm.row("net0")["restarts"]) == 0, str(vm.row("net0")))


def test_a_standby_leaves_the_tap_alone():
    """The offloads of a tap are the driver's, also while a successor is started ahead."""
    own_network()

    def offloads(tap):
        told = subprocess.run(["ethtool", "-k", tap], capture_output=True, text=True, check=True)
        return [line for line in told.stdout.splitlines() if line.endswith(": on")]

    def processes(vm):
        """Those that are in their sandbox, which comes after all that is done at the start."""
        n = 0
        for pid in children_of(vm.process.pid):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/comm") as comm:
                n += comm.read().startswith("bulkhead-net") and os.stat(f"/proc/{pid}").st_uid != 0
        return n

    with VM("--net", "tap=tap0", "--restart", "max=100,backoff=0",
            cmdline="probe=bench-net op=rx gso=1 seconds=1000") as vm:
        vm.wait_for("bench: ready")
        wait_until(lambda: "tcp-segmentation-offload: on" in offloads("tap0"), "segmentation")
        before = offloads("tap0")
        for text in ("with a standby", "after its takeover, with the next one"):
            wait_until(lambda: processes(vm) == 2, "a standby")
            wait_until(lambda: "tcp-segmentation-offload: on" in offloads("tap0"), text)
            pid = vm.row("net0")["pid"]
            expect(offloads("tap0") == before, f"{text}: {offloads('tap0')}, before {before}")
            os.kill(pid, 9)
            wait_until(lambda: vm.row("net0")["pid"] not in (pid, 0), "a successor")
            wait_until(lambda: offloads("tap0") == before, "the successor's offloads")


def test_queues_of_a_tap_stay_attached():
    """A successor takes no queue of the tap away, by which frames would be lost."""
    own_network()
    with scratch() as sysfs, \
            VM("--net", f"tap=tap0,num_queues=4,mac={MAC}", "--restart", "max=100,backoff=0",
               cmdline="probe=net-echo pairs=2 wait=600000", cpus="boot=2") as vm:
        # that of the host shows the host's network
        expect(ctypes.CDLL(None).unshare(CLONE_NEWNS) == 0, "unshare")
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        subprocess.run(["mount", "-t", "sysfs", "sysfs", sysfs], check=True)
        seen, over = set(), threading.Event()

        def queues():
            return len([q for q in os.listdir(f"{sysfs}/class/net/tap0/queues")
                        if q.startswith("tx-")])

        def watch():
            while not over.is_set():
                seen.add(queues())

        vm.wait_for("probe: echo")
        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            wait_until(lambda: 2 in seen, "two queues")
            for i in range(6):
                pid = vm.row("net0")["pid"]
                if i % 2 == 0:
                    vm.ctl("restart", "net0")
                else:
                    os.kill(pid, 9)
                wait_until(lambda: vm.row("net0")["pid"] not in (pid, 0), "a successor")
                wait_until(lambda: vm.row("net0")["state"] == "active", "it serves")
        finally:
            over.set()
            watcher.join()
            subprocess.run(["umount", sysfs], check=True)
        expect(seen == {2}, f"numbers of queues that were seen: {seen}")


def test_no_byte_is_wrong():
    """Frames of all sizes there and back, each byte compared: 1 GiB, 10 with --long."""
    own_network()
    mib = 10240 if LONG else 1024
    with VM("--net", f"tap=tap0,mtu=65000,mac={MAC}", cmdline=f"probe=net-verify mib={mib}") as vm:
        peer.tap_wait("tap0")
        mirror = subprocess.Popen([os.path.join(BUILD, "tests/bench/net_load"), "echo", "tap0"])
        try:
            begin = time.monotonic()
            vm.wait_for("probe: net-verify done", 1200 if LONG else 240)
            vm.wait_for(" wrong\n", 60)
            print(f"# in {time.monotonic() - begin:.1f} s: "
                  f"{vm.output[vm.output.rindex(b'done') + 5:].decode().strip()}", flush=True)
            expect(b" 0 wrong" in vm.output, f"{vm.output[-200:]!r}")
        finally:
            mirror.kill()
            mirror.wait()


test_no_byte_is_wrong.timeout = 1300 if LONG else 300


def test_hostfwd_without_sockets():
    """More connections than bulkhead-net-user may have sockets: it sleeps all the same."""
    own_network()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with contextlib.ExitStack() as clients, \
            VM("--net", "mode=user,hostfwd=tcp:2222-22", "--restart", "max=0",
               cmdline="probe=net-echo wait=600000") as vm:
        vm.wait_for("probe: echo")
        pid = vm.row("net0")["pid"]

        def n_fds():
            return len(os.listdir(f"/proc/{pid}/fd"))

        def connect():
            client = clients.enter_context(socket.socket())
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.connect(("127.0.0.1", 2222))

        def limit():
            with open(f"/proc/{pid}/limits") as limits:
                return next(int(line.split()[3]) for line in limits if "open files" in line)

        def is_full():
            connect()
            return n_fds() >= limit()

        wait_until(is_full, "more connections than sockets")

        def has_to_wait():
            connect()
            return "hostfwd has to wait" in vm.ctl("log", "net0")

        for _ in range(20):
            connect()
            wait_until(lambda: status(pid)["State"].startswith("S"), "it sleeps")
        wait_until(has_to_wait, "a connection that has to wait")


def test_user_mode():
    own_network()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with VM("--net", f"mode=user,hostfwd=tcp:{port}-22", cmdline="probe=net-echo") as vm:
        vm.wait_for("probe: echo")
        row = vm.row("net0")
        expect(row["role"] == "net-user", str(row))
        expect("net" not in row["namespaces"], f"it needs the host's network: {row}")
        check = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                             "../../tools/sandbox-check")

        def is_sandboxed():
            # A successor that is just being started ahead is in no list yet.
            done = subprocess.run([check, "--name", vm.name], capture_output=True, text=True,
                                  env={**os.environ, "BULKHEADCTL_PROGRAM": BULKHEADCTL})
            if done.returncode != 0 and "not in the list" not in done.stdout:
                raise Failure(done.stdout + done.stderr)
            return done.returncode == 0

        wait_until(is_sandboxed, "the sandbox check")

        def connects():
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return True
            except OSError:
                return False

        expect(connects(), "the forwarded port does not listen")
        # libslirp looks for the guest behind it
        wait_until(lambda: "rx_frames      0" not in vm.ctl("counters", "net0"), "a frame for it")
        pid = row["pid"]
        os.kill(pid, 9)
        wait_until(lambda: vm.row("net0")["pid"] not in (pid, 0), "a successor")
        wait_until(connects, "the port listens again")
