# SPDX-License-Identifier: Apache-2.0
"""The rows of the table. A row measures one side once (`sample`), the driver interleaves.

sample() returns a dict of figures; `better` says for each whether more or less is better.
"""

import json
import os
import subprocess
import threading
import time

from iommu_rows import BlkMapped, IommuMap
from stats import percentile
from vmm import Guest, Run

VCPU_CPU, DEVICE_CPU = 0, 1


def tsc_khz():
    """What the guest's clock counts: these VMMs do not scale the TSC."""
    with open("/proc/cpuinfo") as info:
        for line in info:
            if line.startswith("cpu MHz"):
                return round(float(line.split(":")[1]) * 1000)
    return 2000000


class Row:
    name = title = ""
    better = {}

    def __init__(self, options):
        self.options = options


class Start(Row):
    name, title = "start", "exec to the guest's first serial byte, one disk, 128 MiB"
    better = {"p50_ms": "less", "p90_ms": "less"}

    def sample(self, vmm):
        times = []
        for _ in range(self.options.starts):
            guest = Guest(self.options.probe, "probe=hello", self.options.small_disk)
            with Run(vmm, guest, account=False) as run:
                arrived = run.wait_for("p")
                times.append((arrived - run.started) / 1e6)
        return {"p50_ms": percentile(times, 50), "p90_ms": percentile(times, 90)}


class Rate(Row):
    better = {"per_second": "more", "cpu_ms": "less"}

    def __init__(self, options, parallel):
        super().__init__(options)
        self.parallel = parallel
        self.name = f"rate-{parallel}"
        self.title = f"VMs started per second, start to exit, {parallel} at a time"

    def sample(self, vmm):
        left = [self.options.starts]
        lock = threading.Lock()
        before, begin = os.times(), time.monotonic()

        def worker(index):
            disk = f"{self.options.small_disk}.{index}"
            while True:
                with lock:
                    if left[0] == 0:
                        return
                    left[0] -= 1
                guest = Guest(self.options.probe, "probe=hello", disk)
                with Run(vmm, guest, account=False) as run:
                    run.wait_exit()

        for index in range(self.parallel):
            with open(f"{self.options.small_disk}.{index}", "wb") as image:
                image.truncate(1 << 20)
        threads = [threading.Thread(target=worker, args=(i,)) for i in range(self.parallel)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds, after = time.monotonic() - begin, os.times()
        cpu = (after.children_user + after.children_system
               - before.children_user - before.children_system)
        return {"per_second": self.options.starts / seconds,
                "cpu_ms": cpu * 1000 / self.options.starts}


class Memory(Row):
    name, title = "memory", "memory of all processes besides guest RAM, one disk"
    better = {"pss_mib": "less", "uss_mib": "less"}

    def sample(self, vmm):
        guest = Guest(self.options.probe, "probe=idle", self.options.small_disk)
        with Run(vmm, guest) as run:
            run.wait_for("probe: idle")
            time.sleep(0.3)  # start-up pages of slower peers settle; nothing is asserted
            pss, uss = run.memory(guest.memory_mib)
        return {"pss_mib": pss / 2**20, "uss_mib": uss / 2**20}


class Blk(Row):
    better = {"iops": "more", "cpu_us": "less", "p50_us": "less", "p99_us": "less",
              "kicks_per_io": "less"}

    def __init__(self, options, name, op, depth, block, direct=False, packed=False):
        super().__init__(options)
        self.name, self.op, self.depth, self.block = name, op, depth, block
        self.direct, self.packed = direct, packed
        source = "O_DIRECT" if direct else "page cache"
        where = "everything on one CPU" if packed else "vCPU and device on two CPUs"
        self.title = f"blk {op} {block // 1024} KiB, depth {depth}, {source}, {where}"

    def sample(self, vmm, iommu=False):
        if self.direct and vmm.name.startswith("firecracker"):
            return None  # it has no O_DIRECT
        cmdline = (f"probe=bench op={self.op} depth={self.depth} block={self.block} warm=1 "
                   f"seconds={self.options.seconds} span={self.options.disk_mib} "
                   f"tsc_khz={tsc_khz()}" + (" mapped" if iommu else ""))
        guest = Guest(self.options.probe, cmdline, self.options.disk, self.direct, iommu=iommu)
        with Run(vmm, guest) as run:
            run.wait_for("bench: ready")
            run.pin(VCPU_CPU, VCPU_CPU if self.packed else DEVICE_CPU)
            begin = run.wait_for("bench: begin")
            cpu = run.cpu_ns() if run.accounted else 0
            end = run.wait_for("bench: end")
            cpu = run.cpu_ns() - cpu if run.accounted else 0
            run.wait_for("bench: done")
            line = run.output.decode(errors="replace").split("bench: end", 1)[1].splitlines()[0]
        figures = {k: int(v) for k, v in (word.split("=") for word in line.split())}
        if figures["errors"]:
            raise RuntimeError(f"{figures['errors']} requests failed")
        # The host saw both lines arrive: that clock is right whatever /proc/cpuinfo says.
        cycles_per_us = figures["cycles"] / ((end - begin) / 1000)
        return {"iops": figures["ios"] * 1e9 / (end - begin),
                "cpu_us": cpu / 1000 / figures["ios"] if cpu else None,
                "p50_us": figures["p50"] / cycles_per_us,
                "p99_us": figures["p99"] / cycles_per_us,
                "kicks_per_io": figures["kicks"] / figures["ios"]}


class Fio(Row):
    """The ceiling: the same work by fio on the host."""

    def __init__(self, options, row, batched):
        super().__init__(options)
        self.row, self.batched = row, batched

    def measure(self):
        rw = {"randread": "randread", "randwrite": "randwrite", "seqread": "read"}[self.row.op]
        argv = ["fio", "--name=ceiling", f"--filename={self.options.disk}", f"--rw={rw}",
                f"--bs={self.row.block}", f"--iodepth={self.row.depth}", "--ioengine=io_uring",
                "--registerfiles=1", "--invalidate=0", f"--direct={int(self.row.direct)}",
                f"--size={self.options.disk_mib}M", "--time_based", "--ramp_time=1",
                f"--runtime={self.options.seconds}", f"--cpus_allowed={DEVICE_CPU}",
                "--output-format=json", "--thread", "--lat_percentiles=1"]
        if self.batched:
            argv += ["--fixedbufs=1", f"--iodepth_batch_submit={self.row.depth}",
                     f"--iodepth_batch_complete_min={self.row.depth}"]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        job = json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]
        side = job["write" if "write" in rw else "read"]
        # lat, not clat: a cached read completes while it is submitted.
        return {"iops": side["iops"], "p50_us": side["lat_ns"]["percentile"]["50.000000"] / 1000}


def all_rows(options):
    k = 1024
    rows = [Start(options)] + [Rate(options, n) for n in (1, 2, 8)] + [Memory(options)]
    for op in ("randread", "randwrite"):
        for depth in (1, 32, 128):
            rows.append(Blk(options, f"blk-{op}-{depth}", op, depth, 4 * k))
    rows.append(Blk(options, "blk-randread-1-packed", "randread", 1, 4 * k, packed=True))
    rows.append(Blk(options, "blk-seqread-8", "seqread", 8, 128 * k))
    for depth in (1, 32):
        rows.append(Blk(options, f"blk-direct-randread-{depth}", "randread", depth, 4 * k,
                        direct=True))
    rows.append(IommuMap(options, tsc_khz))
    rows += [BlkMapped(row) for row in rows
             if row.name in ("blk-randread-1", "blk-randread-32", "blk-randwrite-32")]
    return rows
