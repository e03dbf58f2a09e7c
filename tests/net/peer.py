# SPDX-License-Identifier: Apache-2.0
"""The other end of the tap for the probe guest; the protocol is in tests/guest/net_peer.h."""

import ctypes
import fcntl
import socket
import struct
import threading

CLONE_NEWNET = 0x40000000
ETH_P_ALL = 3
SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 15, 23
PEER_MAC = bytes.fromhex("020000000001")
OP, REPLY = 0x88b5, 0x80


def own_network():
    """Moves this process into a network namespace of its own; what it starts is born there."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    # The kernel's own multicasts would only disturb.
    with open("/proc/sys/net/ipv6/conf/default/disable_ipv6", "w") as out:
        out.write("1")


def fnv1a(data):
    value = 2166136261
    for byte in data:
        value = (value ^ byte) * 16777619 & 0xffffffff
    return value


def pattern(length, salt):
    return bytes((i * 7 + salt) & 0xff for i in range(length))


class Peer(threading.Thread):
    """Serves one tap until stop()."""

    def __init__(self, tap):
        super().__init__(daemon=True)
        self.tap, self.guest = tap, None
        self.n = self.bytes = self.hash = 0
        self.over = False
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self.socket.bind((tap, 0))
        self.socket.settimeout(0.5)
        # One for sending: with headers, a socket cannot receive UDP fragments to be.
        self.out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.out.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        self.out.bind((tap, 0))

    def stop(self):
        self.over = True
        self.join()
        self.socket.close()
        self.out.close()

    def send(self, frame, header=bytes(10)):
        self.out.send(header + frame)

    def reply(self, op, payload):
        frame = self.guest + PEER_MAC + struct.pack(">HB", OP, REPLY | op) + payload
        self.send(frame.ljust(64, b"\0"))

    def send_frames(self, n, length, mac, vlan=None):
        tag = b"" if vlan is None else struct.pack(">HH", 0x8100, vlan)
        for i in range(n):
            body = mac + PEER_MAC + tag + struct.pack(">H", 0x88b6)
            self.send(body + pattern(length, i)[len(body):])

    def send_segments(self, size, length):
        """One TCP packet; tun cuts it, or leaves that to the guest."""
        total = 40 + length
        ip = bytearray(struct.pack(">BBHHHBBH4s4s", 0x45, 0, total, 1, 0, 64, 6, 0,
                                   bytes([10, 0, 0, 2]), bytes([10, 0, 0, 1])))
        value = sum(struct.unpack(">10H", ip))
        value = (value & 0xffff) + (value >> 16)
        ip[10:12] = struct.pack(">H", ~(value + (value >> 16)) & 0xffff)
        pseudo = 10 * 256 + 2 + 10 * 256 + 1 + 6 + total - 20
        pseudo = (pseudo & 0xffff) + (pseudo >> 16)
        tcp = struct.pack(">HHIIBBHHH", 1000, 2000, 1, 1, 0x50, 0x10, 1000, pseudo, 0)
        header = struct.pack("<BBHHHH", 1, 1, 54, size, 34, 16)
        self.send(self.guest + PEER_MAC + b"\x08\x00" + bytes(ip) + tcp + pattern(length, 0),
                  header)

    def serve(self, frame):
        kind, op, a, b = struct.unpack_from(">HBHH", frame, 12)
        mac = frame[19:25]
        if kind != OP:
            self.n += 1
            self.bytes += len(frame)
            self.hash = fnv1a(frame[:64])
            return
        self.guest = frame[6:12]
        if op == 1:
            self.send(self.guest + PEER_MAC + struct.pack(">HB", OP, REPLY | 1) + frame[15:])
        elif op == 2:
            self.reply(2, struct.pack(">III", self.n, self.bytes, self.hash))
            self.n = self.bytes = self.hash = 0
        elif op == 3:
            self.send_frames(a, b, mac)
        elif op == 4:
            self.send_frames(1, b, mac, a)
        elif op == 5:
            self.send_segments(a, b)
        elif op == 6:
            self.reply(6, bytes([carrier(self.tap)]))

    def run(self):
        while not self.over:
            try:
                frame = self.socket.recv(70000)
            except TimeoutError:
                continue
            except OSError:
                return
            if len(frame) < 25:
                frame = frame.ljust(25, b"\0")
            self.serve(frame)


def carrier(tap):
    with open(f"/sys/class/net/{tap}/carrier") as state:
        return int(state.read())


def tap_wait(tap, seconds=30):
    """Until the interface is there and up."""
    import time
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            flags = fcntl.ioctl(probe, 0x8913, struct.pack("16sH14s", tap.encode(), 0, b""))
            if struct.unpack_from("H", flags, 16)[0] & 1:
                return True
        except OSError:
            pass
        finally:
            probe.close()
        time.sleep(0.01)
    return False
