# SPDX-License-Identifier: Apache-2.0
"""Runs test functions, each in a process of its own with a time limit: here, or inside a tools/lab.

A suite is a program that prints `ok SUITE/NAME`, `not ok SUITE/NAME: reason` or `skip SUITE/NAME:
reason` per test. In a lab the same program runs again, for the tests that need one.
"""

import collections
import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import traceback

import harness

TOOLS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools")
LAST_WORDS = 3  # lines of a lab that ended too early


def in_lab():
    return bool(os.environ.get("BULKHEAD_LAB"))


def one_line(text):
    return " | ".join(line.strip() for line in text.strip().splitlines())


def verdict_line(result, suite, name, reason):
    print(f"{result} {suite}/{name}" + (f": {one_line(reason)}" if reason else ""), flush=True)
    return result != "not ok"


def child(function, pipe):
    os.setsid()
    try:
        function()
        pipe.send(("ok", ""))
    except harness.Skip as skip:
        pipe.send(("skip", str(skip)))
    except harness.Failure as failure:
        pipe.send(("not ok", str(failure)))
    except Exception:  # a test that breaks has failed, whatever broke
        pipe.send(("not ok", traceback.format_exc(limit=-3)))


def run_one(suite, name, function, limit):
    """Run a test for at most @limit seconds; prints its line. Return: whether it has not failed."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.Process(target=child, args=(function, theirs))
    process.start()
    theirs.close()
    verdict = ("not ok", "died")
    try:
        if ours.poll(limit):
            verdict = ours.recv()
        else:
            verdict = ("not ok", "timed out")
            for pid in harness.children_of(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.kill()
    except EOFError:
        pass
    process.join()
    return verdict_line(verdict[0], suite, name, verdict[1])


def pass_on(stream, last):
    """Copy what a lab says to our stderr, and keep the end of it in @last."""
    for line in stream:
        sys.stderr.write(line)
        sys.stderr.flush()
        if line.strip():
            last.append(line.strip())


def run_lab(suite, names, options, environment):
    """Run the tests @names of the calling program inside a lab that is started with @options.

    A test without a verdict has failed. Return: whether none has.
    """
    program = [sys.executable, os.path.abspath(sys.argv[0])]
    lab = subprocess.Popen(
        [f"{TOOLS}/lab", *options, "--", "env", "BULKHEAD_SCRATCH=/scratch", *environment, *program,
         *(["--long"] if harness.LONG else []), *names],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        errors="replace")
    last = collections.deque(maxlen=LAST_WORDS)
    says = threading.Thread(target=pass_on, args=(lab.stderr, last))
    says.start()
    missing = dict.fromkeys(names)
    good = True
    for line in lab.stdout:
        sys.stdout.write(line)
        sys.stdout.flush()
        for name in names:
            if line.split(": ")[0].strip().endswith(f" {suite}/{name}"):
                missing.pop(name, None)
                good = good and not line.startswith("not ok")
    lab.wait()
    says.join()
    for name in missing:
        verdict_line("not ok", suite, name,
                     f"the lab ended with {lab.returncode} before it: " + "\n".join(last))
    return good and not missing
