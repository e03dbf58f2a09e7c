# SPDX-License-Identifier: Apache-2.0
"""NICs of unmodified Debian guests: user mode with DHCP, DNS and HTTP; a tap with offloads."""

import contextlib
import ctypes
import hashlib
import http.server
import os
import socket
import struct
import subprocess
import sys
import threading

from harness import expect, scratch
from test_linux import line_of, linux, only_long

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../net"))
import peer  # noqa: E402

LINUX = True
CLONE_NEWNS = 0x20000
MIB = 1 << 20


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
                expect(line_of(vm, "mtu") == "mtu 65520", f"{vm.output[-800:]!r}")
                want = hashlib.sha256(content).hexdigest() if loopback == "on" else "none"
                expect(line_of(vm, "fetched") == "fetched " + want, f"{vm.output[-800:]!r}")


def test_user_mode():
    user_mode("pci")


@only_long
def test_user_mode_mmio():
    user_mode("mmio")


@only_long
def test_tap():
    """4 queue pairs, 4 vCPUs, an MTU of 9000; 8 MiB by TCP, their checksum compared."""
    content = os.urandom(8 * MIB)
    own_network()
    subprocess.run("ip tuntap add tap0 mode tap multi_queue vnet_hdr; ip addr add 10.9.0.1/24 dev tap0;"
                   "ip link set tap0 up", shell=True, check=True)
    with web_server("10.9.0.1", content) as port:
        with linux(f"net address=10.9.0.2/24 host=10.9.0.1 port={port} size={len(content)}",
                   "--net", "tap=tap0,num_queues=8,mtu=9000", cpus="boot=4") as vm:
            expect(vm.wait_exit(280) == 0, f"{vm.output[-800:]!r} {vm.stderr()}")
    want = hashlib.sha256(content).hexdigest()
    expect(line_of(vm, "mtu") == "mtu 9000", f"{vm.output[-800:]!r}")
    expect(line_of(vm, "pairs") == "pairs 4", f"{vm.output[-800:]!r}")
    expect(line_of(vm, "fetched") == "fetched " + want, f"{vm.output[-800:]!r}")
