# SPDX-License-Identifier: Apache-2.0
"""Processes on either side of the IOMMU die while the probe guest maps and unmaps, or reads."""

import os
import signal
import sys

from harness import VM, expect, make_disk, scratch, wait_until
from test_vsock import folder_with_peer

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../guest"))
import suite  # noqa: E402


class Echo(suite.Echo):
    """At the other end of a console whose process dies now and then."""

    def run(self):
        while not self.is_over:
            super().run()


def kill(vm, name):
    """Ends a process and waits for its successor."""
    before = vm.row(name)
    os.kill(before["pid"], signal.SIGKILL)

    def is_back():
        now = vm.row(name)
        return now["state"] == "active" and now["pid"] not in (0, before["pid"])

    wait_until(is_back, f"{name} is back", 60)


def test_the_iommu_dies_while_it_maps():
    # every request has to end well, once: one that was lost hangs, one done twice is refused
    with scratch() as folder:
        disk = make_disk(folder, "a.img", 1 << 20)
        with VM("--disk", f"path={disk},iommu=on", cmdline="probe=bench-iommu endless",
                stdin=True) as vm:
            vm.wait_for("bench: ready", 60)
            for _ in range(4):
                kill(vm, "iommu")
            vm.send("q")
            vm.wait_for("bench: done", 60)
            expect(b"failed" not in vm.output, f"{vm.output[-400:]!r}")


def test_a_disk_behind_the_iommu_dies_and_the_iommu_too():
    with scratch() as folder:
        disk = make_disk(folder, "a.img", 4 << 20)
        with VM("--disk", f"path={disk},iommu=on",
                cmdline="probe=bench op=randread depth=16 mapped warm=1 seconds=20 span=4") as vm:
            vm.wait_for("bench: begin", 60)
            kill(vm, "iommu")
            kill(vm, "blk0")
            kill(vm, "iommu")
            vm.wait_for("bench: done", 120)
            expect(b"errors=0" in vm.output, f"{vm.output[-400:]!r}")


def test_every_device_behind_the_iommu_dies_and_the_iommu_too():
    # a successor that read the table wrongly would fault, or find its rings unmapped
    with folder_with_peer() as folder:
        echo = Echo(f"{folder}/console")
        with VM("--net", "mode=user,iommu=on", "--rng", "iommu=on",
                "--console", f"socket={folder}/console,iommu=on",
                "--vsock", f"cid=42,socket={folder}/v.sock,iommu=on",
                "--restart", "max=1000,backoff=0", cmdline="probe=iommu-drive", stdin=True) as vm:
            echo.start()
            vm.wait_for("drive: round 0", 60)
            for name in ("net0", "console", "vsock", "rng", "iommu") * 2:
                kill(vm, name)
                vm.wait_for("drive: round", 60, len(vm.output))
            vm.send("q")
            vm.wait_for("drive: done", 60)
        echo.is_over = True
