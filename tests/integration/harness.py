# SPDX-License-Identifier: Apache-2.0
"""What every integration test needs: start Bulkhead, watch its serial port, look at its processes.

Only processes that a test started are ended, by pid. Nothing here waits for a fixed time: waits
end at an event or fail at a generous deadline.
"""

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time

BUILD = os.environ.get("BULKHEAD_BUILD", os.path.abspath("build"))
BULKHEAD = os.environ.get("BULKHEAD_PROGRAM", os.path.join(BUILD, "bulkhead"))
BULKHEADCTL = os.environ.get("BULKHEADCTL_PROGRAM", os.path.join(BUILD, "bulkheadctl"))
PROBE = os.path.join(BUILD, "tests/guest/probe.elf")
LONG = "--long" in sys.argv  # of the suite's program
DEADLINE = float(os.environ.get("BULKHEAD_TEST_DEADLINE", "60"))


class Failure(Exception):
    """A test's expectation did not hold."""


class Skip(Exception):
    """This machine cannot run the test; the message says why."""


def expect(condition, text):
    if not condition:
        raise Failure(text)


def wait_until(condition, text, deadline=None):
    """Poll @condition until it is true; returns its value."""
    end = time.monotonic() + (deadline or DEADLINE)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure("timed out: " + text)
        time.sleep(0.01)


@contextlib.contextmanager
def scratch():
    """A folder that is gone afterwards."""
    path = tempfile.mkdtemp(prefix="bulkhead-test-", dir=os.environ.get("BULKHEAD_SCRATCH"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def make_disk(folder, name="disk.img", size=1 << 20, content=b""):
    path = os.path.join(folder, name)
    with open(path, "wb") as image:
        image.truncate(size)
        image.write(content)
    return path


def alive(pid):
    """Is there a process @pid that is not a zombie?"""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except OSError:
        return False


def status(pid):
    """/proc/PID/status as a dict."""
    with open(f"/proc/{pid}/status") as lines:
        return {k: v.strip() for k, _, v in (line.partition(":") for line in lines)}


class VM:
    """A running bulkhead; a context manager that leaves no process behind."""

    count = 0

    def __init__(self, *args, kernel=PROBE, cmdline="probe=idle", name=None, stdin=False,
                 memory="64M", cpus="boot=1", serial="tty", program=None, run_dir=None, tty=None,
                 **popen):
        VM.count += 1
        self.name = name or f"test-{os.getpid()}-{VM.count}"
        self.command = [program or BULKHEAD, "--kernel", kernel, "--cmdline", cmdline,
                        "--cpus", cpus, "--memory", f"size={memory}",
                        "--serial", serial, "--name", self.name]
        if run_dir:
            self.command += ["--run-dir", run_dir]
        self.command += args
        self.output = b""
        self.errors = tempfile.TemporaryFile()
        if tty is not None:  # stdin, stdout and controlling terminal
            popen["preexec_fn"] = lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        self.process = subprocess.Popen(
            self.command, stdin=tty or (subprocess.PIPE if stdin else subprocess.DEVNULL),
            stdout=tty or subprocess.PIPE, stderr=self.errors, start_new_session=True, **popen)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        """End the VM whatever state it is in, and remove what a killed warden cannot."""
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                self.process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(0.05 if number == signal.SIGTERM else None)
        self.process.wait()
        shutil.rmtree(f"/run/bulkhead/{self.name}", ignore_errors=True)
        for pipe in (self.process.stdout, self.process.stdin):
            if pipe:
                pipe.close()

    def stderr(self):
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")

    def read_available(self, timeout):
        if self.process.stdout is None:
            time.sleep(timeout)
            return None
        ready, _, _ = select.select([self.process.stdout], [], [], timeout)
        if not ready:
            return None
        chunk = os.read(self.process.stdout.fileno(), 65536)
        self.output += chunk
        return chunk

    def wait_for(self, text, deadline=None, start=0):
        """Read the serial port until @text appears; returns the offset behind it."""
        needle = text.encode()
        end = time.monotonic() + (deadline or DEADLINE)
        while True:
            found = self.output.find(needle, start)
            if found >= 0:
                return found + len(needle)
            if time.monotonic() > end:
                raise Failure(f"no {text!r} on the serial port; last output: "
                              f"{self.output[-400:]!r}; stderr: {self.stderr()[-400:]!r}")
            if self.read_available(0.2) == b"":
                code = self.process.wait()
                raise Failure(f"ended with {code} before {text!r}; last output: "
                              f"{self.output[-400:]!r}; stderr: {self.stderr()[-400:]!r}")

    def wait_exit(self, deadline=None):
        """Wait for the end; returns the exit status (negative: a signal)."""
        end = time.monotonic() + (deadline or DEADLINE)
        while self.process.poll() is None:
            if time.monotonic() > end:
                raise Failure(f"still running; output {self.output[-400:]!r}; "
                              f"stderr {self.stderr()[-400:]!r}")
            self.read_available(0.05)
        while self.read_available(0):
            pass
        return self.process.returncode

    def send(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def ctl(self, *args, check=True):
        """bulkheadctl on this VM; returns its standard output."""
        done = subprocess.run([BULKHEADCTL, "--name", self.name, *args], capture_output=True,
                              text=True, timeout=DEADLINE)
        if check and done.returncode != 0:
            raise Failure(f"bulkheadctl {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout

    def ps(self):
        return json.loads(self.ctl("--json", "ps"))

    def row(self, name):
        return next(row for row in self.ps() if row["name"] == name)

    def pids(self):
        """pids of the children that run, by name."""
        return {row["name"]: row["pid"] for row in self.ps()
                if row["role"] != "warden" and row["pid"]}

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)


def run(*args, env=None, **kwargs):
    """Run bulkhead to its end; returns (status, stderr)."""
    done = subprocess.run([BULKHEAD, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=DEADLINE, env=env, **kwargs)
    return done.returncode, done.stderr


def children_of(pid):
    """pids whose parent is @pid, zombies left out."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as stat:
                    fields = stat.read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == pid and fields[0] not in ("Z", "X"):
                found.append(int(entry))
    return found
