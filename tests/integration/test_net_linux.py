# SPDX-License-Identifier: Apache-2.0
"""NICs of unmodified Debian guests: user mode with DHCP, DNS and HTTP; a tap with offloads."""

import contextlib
import ctypes
import hashlib
import http.server
import itertools
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

from harness import LONG, expect, scratch, wait_until
from test_linux import line_of, linux, only_long, tools_disk

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../net"))
import peer  # noqa: E402

LINUX = True
CLONE_NEWNS = 0x20000
MIB = 1 << 20
EXCHANGE_LIMIT = 400  # seconds


def own_network():
    """A network of our own, in which this process is everything that a guest can reach."""
    peer.own_network()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def own_resolv_conf(folder, text):
    """/etc/resolv.conf for us and what we start, and for nobody else."""
    path = os.path.join(folder, "resolv.conf")
    with open(path, "w") as out:
        out.write(text)
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "--bind", path, "/etc/resolv.conf"], check=True)


class Dns(threading.Thread):
    """Says 192.0.2.7 to every question."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 53))

    def run(self):
        while True:
            query, who = self.socket.recvfrom(2000)
            end = query.index(b"\0", 12) + 5
            kind = query[end - 4:end - 2]
            n = 1 if kind == b"\0\1" else 0
            answer = query[:2] + struct.pack(">HHHHH", 0x8180, 1, n, 0, 0) + query[12:end]
            if n:
                answer += b"\xc0\x0c\0\1\0\1" + struct.pack(">IH", 60, 4) + bytes([192, 0, 2, 7])
            self.socket.sendto(answer, who)


@contextlib.contextmanager
def web_server(address, content):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer((address, 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


def user_mode(transport):
    content = os.urandom(4 * MIB)
    with scratch() as folder:
        own_network()
        own_resolv_conf(folder, "nameserver 127.0.0.1\n")
        Dns().start()
        with web_server("127.0.0.1", content) as port:
            for loopback in ("on", "off"):
                with linux(f"net host=10.0.2.2 port={port} size={len(content)}", "--net",
                           f"mode=user,loopback={loopback}", "--transport", transport) as vm:
                    expect(vm.wait_exit(240) == 0, f"{vm.output[-800:]!r} {vm.stderr()}")
                expect(line_of(vm, "lease") == "lease 10.0.2.15 10.0.2.2 10.0.2.3",
                       f"{vm.output[-800:]!r}")
                expect(line_of(vm, "name") == "name 192.0.2.7", f"{vm.output[-800:]!r}")
                expect(line_of(vm, "mtu") == "mtu 21880", f"{vm.output[-800:]!r}")
                want = hashlib.sha256(content).hexdigest() if loopback == "on" else "none"
                expect(line_of(vm, "fetched") == "fetched " + want, f"{vm.output[-800:]!r}")


def test_user_mode():
    user_mode("pci")


@only_long
def test_user_mode_mmio():
    user_mode("mmio")


class Shell:
    """A guest that does what the test says, line by line (test=shell in linux/guest.sh)."""

    def __init__(self, vm):
        self.vm, self.n = vm, 0
        vm.wait_for("guest: shell", 240)

    def run(self, command, deadline=180):
        """(exit status, what it printed)"""
        start = len(self.vm.output)
        self.vm.send(command + "\n")
        self.n += 1
        mark = f"guest: done {self.n} "
        end = self.vm.wait_for("\n", deadline, self.vm.wait_for(mark, deadline, start))
        text, _, status = self.vm.output[start:end].decode(errors="replace").replace(
            "\r", "").rpartition(mark)
        return int(status), text.partition("\n")[2]  # the first line is the echo of the command

    def do(self, command, deadline=180):
        """What a command that must succeed printed."""
        status, text = self.run(command, deadline)
        expect(status == 0, f"{command}: exit {status}: {text[-600:]}")
        return text.strip()

    def end(self):
        self.vm.send("poweroff -f\n")
        expect(self.vm.wait_exit(120) == 0, f"{self.vm.output[-800:]!r} {self.vm.stderr()}")


class Mirror(threading.Thread):
    """To who connects: sends the content, and looks whether what comes meanwhile is the same."""

    def __init__(self, address, content):
        super().__init__(daemon=True)
        self.content, self.same, self.other = content, 0, 0
        self.listener = socket.create_server((address, 0))
        self.port = self.listener.getsockname()[1]

    def serve(self, client):
        sender = threading.Thread(target=client.sendall, args=(self.content,), daemon=True)
        sender.start()
        got = bytearray()
        while chunk := client.recv(1 << 20):
            got += chunk
        sender.join(EXCHANGE_LIMIT)
        if bytes(got) == self.content:
            self.same += 1
        elif got:
            self.other += 1

    def run(self):
        while True:
            client, _ = self.listener.accept()
            client.settimeout(EXCHANGE_LIMIT)  # of all that sendall() does, too
            with client, contextlib.suppress(OSError):
                self.serve(client)


def checksum_errors():
    """Segments and datagrams that came with a wrong checksum, in this namespace."""
    with open("/proc/self/net/snmp") as lines:
        return count_checksum_errors(lines.read())


def count_checksum_errors(snmp):
    names, errors = {}, 0
    for line in snmp.splitlines():
        kind, _, rest = line.partition(": ")
        if kind in names and "InCsumErrors" in names[kind]:
            errors += int(rest.split()[names[kind].index("InCsumErrors")])
        names.setdefault(kind, rest.split())
    return errors


class TapLab:
    """Two guests and this process on one bridge; the first guest has one more NIC to ourselves.

    big: 4 vCPUs, 4 queue pairs, every offload. small: one of each, none: whatever comes to it must
    have been cut and summed by then, and is looked at by its stack.
    """

    HOST, BIG, SMALL = "10.9.0.1", "10.9.0.2", "10.9.0.3"
    HOST_2, BIG_2 = "10.9.1.1", "10.9.1.2"
    CONTENT = 2 * MIB  # of one exchange; the emulated machine does 1 MiB/s at best

    def __init__(self, transport):
        self.transport, self.begin = transport, time.monotonic()
        own_network()
        subprocess.run(
            "modprobe bridge; ip link add br0 type bridge && ip link set br0 mtu 9000 up &&"
            f"ip addr add {self.HOST}/24 dev br0 &&"
            "ip tuntap add big0 mode tap multi_queue vnet_hdr &&"
            "ip tuntap add big1 mode tap vnet_hdr && ip tuntap add small0 mode tap vnet_hdr &&"
            "for i in big0 small0; do ip link set $i mtu 9000 master br0 up || exit; done;"
            f"ip addr add {self.HOST_2}/24 dev big1 && ip link set big1 up", shell=True, check=True)
        self.content = os.urandom(self.CONTENT)
        self.mirror = Mirror(self.HOST, self.content)
        self.mirror.start()

    def tell(self, text):
        print(f"# {text}: {time.monotonic() - self.begin:.0f} s", flush=True)

    @contextlib.contextmanager
    def guests(self):
        common = ("--transport", self.transport, "--disk", tools_disk())
        with linux("shell tools=/dev/vda", "--net", "tap=big0,num_queues=8,mtu=9000",
                   "--net", "tap=big1", "--restart", "max=1000,backoff=0", *common,
                   cpus="boot=4", stdin=True) as big, \
                linux("shell tools=/dev/vda", "--net", "tap=small0,offload_csum=off,mtu=9000", *common,
                      stdin=True) as small, \
                iperf_server(self.HOST):
            self.small = Shell(small)
            self.small.do(f"ip link set eth0 up; ip addr add {self.SMALL}/24 dev eth0")
            self.big = Shell(big)
            self.big.do(f"ip link set eth0 up; ip addr add {self.BIG}/24 dev eth0;"
                        f"ip link set eth1 up; ip addr add {self.BIG_2}/24 dev eth1")
            yield
            self.small.end()
            self.big.end()

    def fetch(self, shell):
        """The content for the first time, its checksum compared."""
        digest = shell.do(f"nc -w 60 {self.HOST} {self.mirror.port} >/tmp/data;"
                          "sha256sum </tmp/data").split()[0]
        expect(digest == hashlib.sha256(self.content).hexdigest(), f"fetched {digest}")

    def exchange(self, shell, text):
        """The content both ways at once, compared at both ends."""
        before = self.mirror.same
        shell.do(f"nc -w 60 {self.HOST} {self.mirror.port} </tmp/data >/tmp/got;"
                 "cmp /tmp/data /tmp/got", EXCHANGE_LIMIT)
        wait_until(lambda: self.mirror.same > before or self.mirror.other, f"{text}: the mirror")
        expect(self.mirror.other == 0, f"{text}: the host got something else")

    def expect_no_checksum_errors(self, text):
        for who, n in (("host", checksum_errors()),
                       ("big", count_checksum_errors(self.big.do("cat /proc/net/snmp"))),
                       ("small", count_checksum_errors(self.small.do("cat /proc/net/snmp")))):
            expect(n == 0, f"{text}: {n} wrong checksums at {who}")


@contextlib.contextmanager
def iperf_server(address):
    server = subprocess.Popen(["iperf3", "-s", "-B", address], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        server.kill()
        server.wait()


def iperf(shell, host, what, n_bytes):
    """One run of iperf3; the bytes that its receiver got."""
    shell.do(f"in_tools iperf3 -c {host} -i 0 -n {n_bytes} -J {what} >/tmp/iperf ||"
             "{ tail -n 5 /tmp/iperf; false; }", 600)
    text = shell.do("sed -n '/\"sum_received\"/,/}/p; /\"sum\"/,/}/p' /tmp/iperf | tr -d '\\n\\t' ||"
                    "true")
    found = [int(word) for word in re.findall(r'"bytes":\s*(\d+)', text)]
    expect(found and max(found) > 0, f"iperf3 {what}: {text}")
    return max(found)


def offloads_of(lab):
    """Every combination carries the same bytes."""
    switches = ["tx", "tso", "rx-gro-hw", "gso", "sg"]
    combinations = [c for n in range(len(switches) + 1)
                    for c in itertools.combinations(switches, n)] if LONG else \
        [("tso",), ("rx-gro-hw",), ("tx",), ("tx", "rx-gro-hw", "sg")]
    for n, off in enumerate(combinations, 1):
        lab.big.do("in_tools ethtool -K eth0 "
                   + " ".join(f"{s} {'off' if s in off else 'on'}" for s in switches))
        lab.exchange(lab.big, f"{' '.join(off) or 'nothing'} off")
        if n % 8 == 0:
            lab.tell(f"{n} of {len(combinations)} combinations of offloads")
    lab.big.do("in_tools ethtool -K eth0 " + " ".join(f"{s} on" for s in switches))
    lab.expect_no_checksum_errors("offloads")


def iperf_of(lab):
    n_bytes = (50 if LONG else 2) * MIB  # four times by TCP
    for shell in (lab.big, lab.small):
        for what in ("-P 4", "-P 4 -R"):
            iperf(shell, lab.HOST, what, n_bytes)
        # what does not fit into a socket is lost, which is no error
        for what in ("-u -b 100M -l 1400", "-u -b 100M -l 8000 -R"):
            iperf(shell, lab.HOST, what, n_bytes // 4)
    lab.expect_no_checksum_errors("iperf3")


def neighbours_of(lab):
    """The two guests, one of which does no checksums, talk to each other."""
    for one, other, address in ((lab.big, lab.small, lab.SMALL), (lab.small, lab.big, lab.BIG)):
        # a standard input that does not end, or nc would end with it
        other.do("rm -f /tmp/got; [ -p /tmp/open ] || mkfifo /tmp/open; exec 7<>/tmp/open;"
                 "nc -l -p 7000 <&7 >/tmp/got & true")
        one.do(f"for i in 1 2 3 4 5; do nc -w 60 {address} 7000 </tmp/data && break; sleep 1; done")
        other.do("wait; cmp /tmp/data /tmp/got")
    lab.big.do(f"ping -c 3 -w 60 -s 8900 {lab.SMALL} >/dev/null")


def link_of(lab):
    vm, shell = lab.big.vm, lab.big

    def carrier():
        return shell.do("cat /sys/class/net/eth0/carrier")

    vm.ctl("link", "net0", "down")
    wait_until(lambda: carrier() == "0", "the guest sees no carrier")
    expect(shell.run(f"ping -c 1 -w 2 {lab.HOST} >/dev/null")[0] != 0, "a ping without a link")
    vm.ctl("link", "net0", "up")
    wait_until(lambda: carrier() == "1", "the guest sees a carrier")
    shell.do(f"ping -c 1 -w 60 {lab.HOST} >/dev/null")


def deaths_of(lab):
    """The process of one NIC is killed every second while the other carries traffic."""
    vm, over, kills = lab.big.vm, threading.Event(), []

    def kill():
        while not over.wait(1):
            pid = vm.row("net1")["pid"]
            if pid:
                os.kill(pid, signal.SIGKILL)
                kills.append(pid)

    lab.big.do(f"ping {lab.HOST_2} >/dev/null & true")
    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    while len(kills) < (60 if LONG else 6):
        lab.exchange(lab.big, f"after {len(kills)} kills")
    over.set()
    killer.join()
    lab.big.do("kill $!")
    lab.big.do(f"ping -c 1 -w 60 {lab.HOST_2} >/dev/null")
    expect(int(vm.row("net0")["restarts"]) == 0, str(vm.row("net0")))
    expect(int(vm.row("net1")["restarts"]) == len(kills), f"{len(kills)} kills: {vm.row('net1')}")


def tap(transport):
    lab = TapLab(transport)
    with lab.guests():
        lab.tell("guests run")
        expect(lab.big.do("cat /sys/class/net/eth0/mtu") == "9000", "the MTU")
        expect(lab.big.do("ls -d /sys/class/net/eth0/queues/rx-* | wc -l") == "4", "the queues")
        for shell in (lab.big, lab.small):
            lab.fetch(shell)
            lab.exchange(shell, "all offloads")
        lab.tell("fetched")
        for part in (offloads_of, iperf_of, neighbours_of, link_of, deaths_of):
            part(lab)
            lab.tell(part.__name__)
        # the queues were not just there
        used = lab.big.do("grep -c 'virtio.*-input' /proc/interrupts") if transport == "pci" else ""
        expect(used != "0", f"no queue had interrupts: {used}")


def test_tap():
    tap("pci")


@only_long
def test_tap_mmio():
    tap("mmio")


test_tap.timeout = test_tap_mmio.timeout = 5400 if LONG else 900
