# SPDX-License-Identifier: Apache-2.0
"""The virtio console's host side: every mode, throttling, dropping, sizes, what is left behind.
The guest is the probe in its mode vcon (tests/guest/modes_console.c)."""

import fcntl
import hashlib
import os
import pty
import select
import signal
import socket
import stat
import struct
import termios
import time

from harness import LONG, VM, Failure, expect, scratch, wait_until

LINE_BYTES = 16


def dump_of(lines):
    return b"".join(b"%015x\n" % i for i in range(lines))


class End:
    """The user's end of a console: a pty or a socket."""

    def __init__(self, fd):
        self.fd, self.seen = fd, b""

    def wait_for(self, data, start=0, deadline=200):
        """Reads until @data has come; returns the offset behind it."""
        end = time.monotonic() + deadline
        while (found := self.seen.find(data, start)) < 0:
            if time.monotonic() > end:
                raise Failure(f"no {data[:60]!r}; {len(self.seen)} bytes, at last "
                              f"{self.seen[-200:]!r}")
            if select.select([self.fd], [], [], 0.2)[0]:
                chunk = os.read(self.fd, 65536)
                if not chunk:
                    raise Failure(f"end of file before {data[:60]!r}: {self.seen[-200:]!r}")
                self.seen += chunk
        return found + len(data)

    def send(self, text):
        os.write(self.fd, text.encode())

    def resize(self, columns, rows):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def vcon(*args, do="", **kwargs):
    return VM("--console", *args, cmdline="probe=vcon" + (f" do={do}" if do else ""), **kwargs)


def open_pty(vm):
    path = f"/run/bulkhead/{vm.name}/console.pty"
    wait_until(lambda: os.path.islink(path), "the link to the pty")
    return End(os.open(path, os.O_RDWR | os.O_NOCTTY))


def connect(path):
    client = socket.socket(socket.AF_UNIX)
    wait_until(lambda: os.path.exists(path), "the socket")
    client.connect(path)
    return client


def counter(vm, name):
    for line in vm.ctl("counters", "console").splitlines():
        if name in line.split():
            return int(line.split()[-1])
    raise Failure(f"no counter {name}")


def echoes(end, text):
    start = len(end.seen)
    end.send(text + "\n")
    end.wait_for((text + "\n").encode(), start)


def test_pty():
    with vcon("pty") as vm:
        vm.wait_for("vcon: started")
        end = open_pty(vm)
        end.send("echo\n")
        for i in range(20):
            echoes(end, f"line {i}")
        end.send("end\nquit\n")
        expect(vm.wait_exit() == 0, vm.stderr())
        expect(not os.path.exists(f"/run/bulkhead/{vm.name}"), "the run dir is left")


def test_pty_tells_its_size():
    with vcon("pty") as vm:
        vm.wait_for("vcon: started")
        end = open_pty(vm)
        end.resize(132, 43)
        end.send("echo\n")  # a pty is looked at when something is typed
        vm.wait_for("vcon: size 132x43")


def test_pty_without_reader_does_not_stop_the_guest():
    with vcon("pty", do="dump8192") as vm:
        vm.wait_for("vcon: dump8192 done")
        expect(counter(vm, "dropped_bytes") > 0, "nothing was dropped")
        dropped, out = counter(vm, "dropped_bytes"), counter(vm, "write_bytes")
        expect(dropped + out == 8192 * LINE_BYTES, f"{dropped} dropped, {out} written")


def test_pty_with_slow_reader_loses_nothing():
    lines = 4096
    with vcon("pty") as vm:
        vm.wait_for("vcon: started")
        end = open_pty(vm)
        end.send(f"dump{lines}\n")
        while len(end.seen) < lines * LINE_BYTES:
            time.sleep(0.002)
            end.seen += os.read(end.fd, 1024)
        expect(end.seen == dump_of(lines), "the dump differs")


def dump_by_pty(mib):
    """A dump as fast as both ends can, too large to be kept: its checksum."""
    lines, want, got, n = (mib << 20) // LINE_BYTES, hashlib.sha256(), hashlib.sha256(), 0
    for start in range(0, lines, 4096):
        want.update(b"".join(b"%015x\n" % i for i in range(start, min(start + 4096, lines))))
    with vcon("pty") as vm:
        vm.wait_for("vcon: started")
        end = open_pty(vm)
        end.send(f"dump{lines}\n")
        begin = last = time.monotonic()
        while n < mib << 20:
            if select.select([end.fd], [], [], 0.2)[0]:
                chunk = os.read(end.fd, 65536)
                got.update(chunk)
                n += len(chunk)
                last = time.monotonic()
            expect(time.monotonic() - last < 60, f"{n} bytes came")
        print(f"# {mib} MiB in {time.monotonic() - begin:.1f} s", flush=True)
        vm.wait_for(f"vcon: dump{lines} done")
        expect(counter(vm, "dropped_bytes") == 0, "bytes were dropped")
    expect(got.digest() == want.digest(), f"the dump of {mib} MiB differs")


def test_large_dump_by_pty():
    dump_by_pty(100 if LONG else 16)


def test_tty():
    ours, theirs = pty.openpty()
    end = End(ours)
    end.resize(80, 25)
    with scratch() as folder:
        serial = os.path.join(folder, "serial")
        before = termios.tcgetattr(theirs)

        def said(text):
            if not os.path.exists(serial):
                return False
            with open(serial, errors="replace") as lines:
                return text in lines.read()

        with vcon("tty", serial=f"file={serial}", tty=theirs) as vm:
            wait_until(lambda: said("vcon: size 80x25"), "the first size")
            end.send("echo\ntyped\n")
            end.wait_for(b"typed\r\n")  # output processing stays on, for the warden's own lines
            end.resize(100, 30)
            wait_until(lambda: said("vcon: size 100x30"), "the second size")
            end.send("\x03still there\n")  # Ctrl-C is the guest's
            end.wait_for(b"still there")
            end.send("end\nquit\n")
            expect(vm.wait_exit() == 0, vm.stderr())
        expect(termios.tcgetattr(theirs) == before, "the terminal's mode is not restored")
    os.close(theirs)
    os.close(ours)


def test_tty_by_pipes():
    with vcon("tty", stdin=True, serial="null") as vm:
        vm.send("echo\nhello\nend\ndump10\nquit\n")
        expect(vm.wait_exit() == 0, vm.stderr())
        expect(vm.output == b"hello\nend\n" + dump_of(10), f"{vm.output!r}")


def test_file():
    with scratch() as folder:
        path = os.path.join(folder, "out")
        with open(path, "w") as old:
            old.write("old content")
        with vcon(f"file={path}", do="dump65536,quit") as vm:
            expect(vm.wait_exit() == 0, vm.stderr())
        with open(path, "rb") as out:
            expect(out.read() == dump_of(65536), "the dump differs")


def test_file_on_a_full_device():
    with vcon("file=/dev/full", do="dump100,quit") as vm:
        expect(vm.wait_exit() == 0, vm.stderr())


def test_null():
    with vcon("null", do="dump4096") as vm:
        vm.wait_for("vcon: dump4096 done")
        expect(counter(vm, "dropped_bytes") == 4096 * LINE_BYTES, "not all was dropped")


def test_socket():
    with scratch() as folder:
        path = os.path.join(folder, "console")
        with vcon(f"socket={path}") as vm:
            vm.wait_for("vcon: started")
            expect(stat.S_IMODE(os.stat(path).st_mode) == 0o600, "others may connect")
            client = connect(path)
            end = End(client.fileno())
            end.send("echo\n")
            echoes(end, "one")
            second = connect(path)  # waits until the first one has left
            second.sendall(b"two\n")
            expect(not select.select([second], [], [], 0.3)[0], "two at the same time")
            echoes(end, "three")
            client.close()
            end = End(second.fileno())
            end.wait_for(b"two\n")
            end.send("end\nquit\n")
            expect(vm.wait_exit() == 0, vm.stderr())
            second.close()
        expect(not os.path.exists(path), "the socket is left")


def test_socket_nothing_is_lost_while_the_reader_stalls():
    lines = 256 * 1024
    with scratch() as folder:
        path = os.path.join(folder, "console")
        with vcon(f"socket={path}") as vm:
            vm.wait_for("vcon: started")
            client = connect(path)
            end = End(client.fileno())
            end.send(f"dump{lines}\n")
            end.wait_for(b"%015x\n" % 1000)
            before = 0
            while (out := counter(vm, "write_bytes")) != before:  # until the guest is throttled
                before = out
                time.sleep(0.3)
            expect(out < lines * LINE_BYTES, "the guest was not throttled")
            end.wait_for(b"%015x\n" % (lines - 1), len(end.seen) - LINE_BYTES)
            expect(end.seen == dump_of(lines), "the dump differs")
            expect(counter(vm, "dropped_bytes") == 0, "bytes were dropped")
            client.close()


def test_socket_client_that_leaves_a_stalled_guest():
    with scratch() as folder:
        path = os.path.join(folder, "console")
        with vcon(f"socket={path}") as vm:
            vm.wait_for("vcon: started")
            client = connect(path)
            client.sendall(b"dump1048576\n")
            wait_until(lambda: counter(vm, "write_bytes") > 0, "the dump")
            client.close()
            vm.wait_for("vcon: dump1048576 done", 200)
            client = connect(path)
            client.sendall(b"quit\n")
            expect(vm.wait_exit() == 0, vm.stderr())
            client.close()


def test_socket_of_a_killed_warden_is_replaced():
    with scratch() as folder:
        path = os.path.join(folder, "console")
        with vcon(f"socket={path}") as vm:
            vm.wait_for("vcon: started")
            vm.process.send_signal(signal.SIGKILL)
            vm.process.wait()
        expect(os.path.exists(path), "it was removed after all")
        with vcon(f"socket={path}", do="quit") as vm:
            expect(vm.wait_exit() == 0, vm.stderr())


def test_pause_keeps_the_bytes():
    lines = 64 * 1024
    with scratch() as folder:
        path = os.path.join(folder, "console")
        with vcon(f"socket={path}") as vm:
            vm.wait_for("vcon: started")
            client = connect(path)
            end = End(client.fileno())
            end.send(f"dump{lines}\n")
            end.wait_for(b"%015x\n" % 100)
            vm.ctl("pause")
            end.send("echo\n")
            vm.ctl("resume")
            end.wait_for(b"%015x\n" % (lines - 1))
            expect(end.seen == dump_of(lines), "the dump differs")
            echoes(end, "typed")
            client.close()


def kill_console(vm):
    """kill -9, and wait until a successor serves. The policy allows as many as a test needs."""
    pid = vm.row("console")["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: vm.row("console")["pid"] not in (0, None, pid)
               and vm.row("console")["state"] == "active", "a successor")


RESTARTS = ["--restart", "max=100,window=600s,backoff=1ms"]


def test_killed_while_it_writes():
    """Nothing is lost; what no driver was told to be out may come twice: one chain a kill."""
    lines, kills, chain = 1 << 19, 0, 256
    with scratch() as folder:
        path = os.path.join(folder, "out")
        with vcon(f"file={path}", *RESTARTS, do=f"dump{lines}") as vm:
            vm.wait_for("vcon: started")
            while b"done" not in vm.output and kills < 12:
                kill_console(vm)
                kills += 1
                vm.read_available(0)
            vm.wait_for(f"vcon: dump{lines} done", 200)
            expect(kills > 0, f"{kills} kills")
        with open(path, "rb") as out:
            numbers = [int(line, 16) for line in out.read().splitlines()]
        expect(numbers[0] == 0 and numbers[-1] == lines - 1, f"{numbers[0]} to {numbers[-1]}")
        steps = [b - a for a, b in zip(numbers, numbers[1:]) if b != a + 1]
        expect(all(1 - chain <= step <= 0 for step in steps), f"steps {steps}")
        expect(len(steps) <= kills, f"steps {steps}")


def test_killed_while_somebody_types():
    with vcon("pty", *RESTARTS) as vm:
        vm.wait_for("vcon: started")
        end = open_pty(vm)
        end.send("echo\n")
        for i in range(10):
            end.send(f"before {i}\n")
            kill_console(vm)
            end.send(f"after {i}\n")
            end.wait_for(f"after {i}\n".encode())
        wanted = b"".join(b"before %d\nafter %d\n" % (i, i) for i in range(10))
        expect(end.seen == wanted, f"{end.seen!r}")
        end.send("end\nquit\n")
        expect(vm.wait_exit() == 0, vm.stderr())


def test_killed_with_a_client():
    """The client's connection ends with the process; the socket stays and takes the next one."""
    with scratch() as folder:
        path = os.path.join(folder, "console")
        with vcon(f"socket={path}", *RESTARTS) as vm:
            vm.wait_for("vcon: started")
            for i in range(3):
                client = connect(path)
                end = End(client.fileno())
                if i == 0:
                    end.send("echo\n")
                echoes(end, f"client {i}")
                kill_console(vm)
                expect(client.recv(100) == b"", "the connection lives on")
                client.close()


def test_killed_and_resized():
    with vcon("pty", *RESTARTS) as vm:
        vm.wait_for("vcon: started")
        end = open_pty(vm)
        end.resize(90, 20)
        kill_console(vm)  # the successor's first look says so
        vm.wait_for("vcon: size 90x20")
