# SPDX-License-Identifier: Apache-2.0
"""Rows of vsock: the probe and one thread of the host, vsock-peer, on the device's CPU.

Every VMM here has the same host side: the guest connects to CID 2, the host listens at PATH_<port>.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile

from rows import DEVICE_CPU, VCPU_CPU, Row, tsc_khz
from vmm import Guest, Run


@contextlib.contextmanager
def peer_at(build):
    """The path of a socket whose folder has the host's listeners in it."""
    folder = tempfile.mkdtemp(prefix="bulkhead-bench-vsock-")
    os.chmod(folder, 0o755)  # a device process has a uid of its own
    path = os.path.join(folder, "v.sock")
    peer = subprocess.Popen([os.path.join(build, "tests/bench/vsock-peer"), path],
                            stdout=subprocess.PIPE,
                            preexec_fn=lambda: os.sched_setaffinity(0, {DEVICE_CPU}))
    try:
        if peer.stdout.readline() != b"ready\n":
            raise RuntimeError("vsock-peer does not start")
        yield path
    finally:
        peer.kill()
        peer.wait()
        peer.stdout.close()
        shutil.rmtree(folder, ignore_errors=True)


class Vsock(Row):
    def __init__(self, options, name, title, op, block=4096, rx=4096):
        super().__init__(options)
        self.name, self.title = f"vsock-{name}", "vsock, " + title
        self.op, self.block, self.rx = op, block, rx
        rate = {"out": "packets", "in": "gbit", "echo": "rtt_us", "connect": "per_second"}[op]
        self.better = {rate: "less" if op == "echo" else "more"}
        if op == "out":
            self.better["gbit"] = "more"
        self.better["cpu_us"] = "less"

    def sides(self, vmms):
        """The hybrid design's; one engine of a disk is as good as the other."""
        return [v for v in vmms if v.has_vsock]

    def sample(self, vmm):
        cmdline = (f"probe=bench-vsock op={self.op} block={self.block} rx={self.rx} warm=1 "
                   f"seconds={self.options.seconds} tsc_khz={tsc_khz()}")
        with peer_at(self.options.build) as path:
            # A disk for those who insist on one.
            guest = Guest(self.options.probe, cmdline, self.options.small_disk, vsock=path)
            with Run(vmm, guest) as run:
                run.wait_for("bench: ready")
                run.pin(VCPU_CPU, DEVICE_CPU)
                ns, cpu, counted = run.measure()
        return self._figures(counted, ns, cpu)

    def _figures(self, counted, ns, cpu):
        if counted["ops"] == 0:
            raise RuntimeError("nothing went through")
        rate = counted["ops"] * 1e9 / ns
        n = counted["bytes"] / 65536 if self.op == "in" else counted["ops"]  # of cpu_us
        return {"packets": rate, "per_second": rate, "rtt_us": 1e6 / rate,
                "gbit": counted["bytes"] * 8 / ns, "cpu_us": cpu / 1000 / n if cpu else None}


def vsock_rows(options):
    def row(*args, **how):
        return Vsock(options, *args, **how)

    return [
        *(row(f"out-{name}", f"{size} byte packets of the guest, per second", "out", size)
          for name, size in (("64k", 65536), ("4k", 4096), ("64", 64))),
        *(row(f"in-{name}", f"to the guest, into buffers of {size} bytes; CPU for 64 KiB", "in",
              rx=size) for name, size in (("64k", 65536 + 44), ("4k", 4096))),
        row("echo", "1 byte there and back", "echo"),
        row("connect", "connections made and closed, one after the other", "connect"),
    ]
