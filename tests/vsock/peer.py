#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The host's side of the vsock tests: services at PATH_<port>, and clients of PATH on request.

usage: peer.py PATH

A guest connects to a port and gets the service of that number; port 99 takes lines that ask for a
client of PATH. Prints "ready" once everything listens, and ends when its standard input closes.
"""

import contextlib
import os
import resource
import socket
import struct
import sys
import threading

# The byte at i is (i ^ i >> 8 ^ i >> 16) & 0xff; within 256 of them only the first term changes.
BLOCKS = [bytes(i ^ high for i in range(256)) for high in range(256)]
PATTERN = b"".join(BLOCKS[(i ^ i >> 8) & 0xff] for i in range(1 << 16))


def pattern(at, n):
    at %= len(PATTERN)
    return (PATTERN + PATTERN[:n])[at:at + n] if at + n > len(PATTERN) else PATTERN[at:at + n]


def read_exactly(s, n):
    data = b""
    while len(data) < n:
        more = s.recv(n - len(data))
        if not more:
            break
        data += more
    return data


def echo(s):
    """1: sends everything back; at the end of input, ends its output, too."""
    while data := s.recv(65536):
        s.sendall(data)


def sink(s):
    """2: checks what comes against the pattern; at the end says how much was right: 8 bytes."""
    at = 0
    while data := s.recv(65536):
        if data != pattern(at, len(data)):
            at = 1 << 60
        at += len(data)
    s.sendall(struct.pack("<Q", at))


def source(s):
    """3: reads 4 bytes N, sends N bytes of the pattern, closes."""
    n, at = struct.unpack("<I", read_exactly(s, 4))[0], 0
    while at < n:
        part = min(n - at, 65536)
        s.sendall(pattern(at, part))
        at += part


def close_at_once(_s):
    """4"""


def never_read(s):
    """5: reads nothing; the connection ends when the test does."""
    held.append(s.dup())


def talk_first(s):
    """6: sends 256 bytes at once, then is an echo."""
    s.sendall(pattern(0, 256))
    while data := s.recv(65536):
        s.sendall(data)


def half_close(s):
    """7: sends 100 bytes and ends its output; reads on; then closes."""
    s.sendall(pattern(0, 100))
    s.shutdown(socket.SHUT_WR)
    while s.recv(65536):
        pass


def reads_no_more(s):
    """8: ends its input, sends 100 bytes and waits for the guest's end."""
    s.shutdown(socket.SHUT_RD)
    s.sendall(pattern(0, 100))
    never_read(s)


def late_reader(s):
    """10: reads 4 bytes, waits until another connection to port 11 comes, then is a sink."""
    read_exactly(s, 4)
    never_read(s)
    go_on.wait(60)
    go_on.clear()
    data, at = b"", 4
    s.settimeout(2)
    try:
        while data := s.recv(65536):
            at = at + len(data) if data == pattern(at, len(data)) else 1 << 60
    except TimeoutError:
        pass
    s.settimeout(None)
    s.sendall(struct.pack("<Q", at))


def let_go_on(_s):
    """11"""
    go_on.set()


def small_pieces(s):
    """12: reads 4 bytes N, sends N bytes of the pattern one by one."""
    n = struct.unpack("<I", read_exactly(s, 4))[0]
    for at in range(n):
        s.sendall(pattern(at, 1))


def send_fds(s):
    """13: sends 50 bytes with a file descriptor beside them, then 50 more."""
    socket.send_fds(s, [pattern(0, 50)], [0])
    s.sendall(pattern(50, 50))


def client_of(path, command):
    """A socket connected to PATH that has sent @command."""
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(30)
    s.connect(path)
    if command:
        s.sendall(command)
    return s


def line_of(s):
    """Up to the end of the line or of the connection; a reset is an end, too."""
    line = b""
    with contextlib.suppress(ConnectionResetError):
        while not line.endswith(b"\n"):
            c = s.recv(1)
            if not c:
                break
            line += c
    return line


def control(s):
    """99: lines of the guest. `connect PORT`: a client that is an echo once it is connected, and
    the answer to it on this connection; `send HEX`: a client that sends these bytes and says what
    came of it; `hold N`: N clients that send nothing; `drop`: close them."""
    mine = []
    while line := line_of(s).decode():
        word, _, argument = line.strip().partition(" ")
        if word == "connect":
            c = client_of(sys.argv[1], f"CONNECT {argument}\n".encode())
            mine.append(c)
            threading.Thread(target=client_echo, args=(c, s), daemon=True).start()
        elif word == "send":
            c = client_of(sys.argv[1], bytes.fromhex(argument))
            mine.append(c)
            answer = line_of(c)
            s.sendall(b"answer " + (answer.strip() or b"closed") + b"\n")
        elif word == "hold":
            mine += [client_of(sys.argv[1], b"CONN") for _ in range(int(argument))]
            s.sendall(b"held\n")
        elif word == "await":  # until the first of the held ones is closed by the other side
            for c in mine:
                line_of(c)
            s.sendall(b"all closed\n")
        elif word == "drop":
            for c in mine:
                c.close()
            mine = []
            s.sendall(b"dropped\n")
    for c in mine:
        c.close()


def client_echo(c, report):
    try:
        answer = line_of(c)
        report.sendall(b"answer " + (answer.strip() or b"closed") + b"\n")
        c.settimeout(None)
        while data := c.recv(65536):
            c.sendall(data)
        c.close()
    except OSError:
        pass


SERVICES = {1: echo, 2: sink, 3: source, 4: close_at_once, 5: never_read, 6: talk_first,
            7: half_close, 8: reads_no_more, 10: late_reader, 11: let_go_on, 12: small_pieces,
            13: send_fds, 99: control}
BUSY_PORT = 9  # its backlog is full
held, go_on = [], threading.Event()


def serve(service, s):
    try:
        service(s)
    except OSError:
        pass
    if not any(h.fileno() >= 0 and os.fstat(h.fileno()).st_ino == os.fstat(s.fileno()).st_ino
               for h in held):
        s.close()


def accept(listener, service):
    while True:
        s, _ = listener.accept()
        threading.Thread(target=serve, args=(service, s), daemon=True).start()


def main():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    threading.stack_size(256 << 10)
    os.umask(0)  # whoever may search the folder may connect
    for port, service in SERVICES.items():
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{sys.argv[1]}_{port}")
        listener.listen(1024)
        threading.Thread(target=accept, args=(listener, service), daemon=True).start()
    busy = socket.socket(socket.AF_UNIX)
    busy.bind(f"{sys.argv[1]}_{BUSY_PORT}")
    busy.listen(0)
    blocked = []
    while True:
        s = socket.socket(socket.AF_UNIX)
        s.setblocking(False)
        blocked.append(s)
        try:
            s.connect(f"{sys.argv[1]}_{BUSY_PORT}")
        except BlockingIOError:
            break
    print("ready", flush=True)
    sys.stdin.read()


main()
