# SPDX-License-Identifier: Apache-2.0
"""The rows of the table. A row measures one side once (`sample`), the driver interleaves.

A new row is a class with a sample() here, and an entry in all_rows(). Interleaving, ratios and
intervals are the driver's and the same for all.
"""

import contextlib
import json
import os
import shutil
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
    """better: for each figure of sample(), whether more or less of it is better.

    A row that needs another guest, another host side or other peers says so in sides().
    """

    name = title = ""
    better = {}

    def __init__(self, options):
        self.options = options

    def sides(self, vmms):
        """Who takes part, ours first."""
        return vmms

    def count(self, side):
        """Figures that are taken once, beside the samples; {}: none."""
        return {}

    def seconds(self, n_sides):
        """About how long one block takes."""
        return 2 * n_sides * (self.options.seconds + 1.1)


class Start(Row):
    name, title = "start", "exec to the guest's first serial byte, one disk, 128 MiB"
    better = {"p50_ms": "less", "p90_ms": "less"}

    def sides(self, vmms):
        return [v for v in vmms if not v.needs_helper]

    def seconds(self, n_sides):
        return 2 * n_sides * self.options.starts * 0.02

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

    sides, seconds = Start.sides, Start.seconds

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
            time.sleep(1)  # start-up pages go, processes that stand by have come
            pss, uss = run.memory(guest.memory_mib)
        return {"pss_mib": pss / 2**20, "uss_mib": uss / 2**20}


class Blk(Row):
    better = {"iops": "more", "cpu_us": "less", "p50_us": "less", "p99_us": "less",
              "kicks_per_io": "less"}
    counted = {"syscalls_per_io": "raw_syscalls:sys_enter",
               "interrupts_per_io": "kvm:kvm_apic_accept_irq"}

    def __init__(self, options, name, op, depth, block=4096, direct=False, packed=False,
                 iommu=False):
        super().__init__(options)
        self.name, self.op, self.depth, self.block = name, op, depth, block
        self.direct, self.packed, self.iommu = direct, packed, iommu
        source = "null target" if op == "null" else "O_DIRECT" if direct else "page cache"
        where = "everything on one CPU" if packed else "vCPU and device on two CPUs"
        what = "serial number" if op == "null" else f"{op} {block // 1024} KiB"
        self.title = f"blk {what}, depth {depth}, {source}, {where}"

    def sides(self, vmms):
        """With fio on the host as a ceiling, as it comes and batched with fixed buffers."""
        vmms = [v for v in vmms
                if not (self.direct and v.name.startswith("firecracker"))]  # it has no O_DIRECT
        if self.op == "null" or self.packed or not shutil.which("fio"):
            return vmms
        return vmms + [Fio(False)] + ([Fio(True)] if self.depth > 1 else [])

    def sample(self, side):
        if side.is_host:
            return side.measure(self)
        with self._start(side) as run:
            ns, cpu, figures = run.measure()
        self._check(figures)
        # The host saw both lines arrive: that clock is right whatever /proc/cpuinfo says.
        cycles_per_us = figures["cycles"] / (ns / 1000)
        return {"iops": figures["ios"] * 1e9 / ns,
                "cpu_us": cpu / 1000 / figures["ios"] if cpu else None,
                "p50_us": figures["p50"] / cycles_per_us,
                "p99_us": figures["p99"] / cycles_per_us,
                "kicks_per_io": figures["kicks"] / figures["ios"]}

    def count(self, side):
        """Kernel events per request, in a run of its own because counting costs time."""
        if side.is_host or not shutil.which("perf"):
            return {}
        with self._start(side) as run:
            begin = run.wait_for("bench: begin")
            counts = {key: run.count_events(event, 0.5) for key, event in self.counted.items()}
            end = run.wait_for("bench: end")
            figures = run.figures()
        self._check(figures)
        per_second = figures["ios"] * 1e9 / (end - begin)
        return {key: n / per_second for key, n in counts.items() if n is not None}

    @contextlib.contextmanager
    def _start(self, vmm):
        cmdline = (f"probe=bench op={self.op} depth={self.depth} block={self.block} "
                   f"seconds={self.options.seconds} span={self.options.disk_mib} "
                   f"tsc_khz={tsc_khz()}" + (" mapped" if self.iommu else "")
                   + (vmm.null_words if self.op == "null" else ""))
        guest = Guest(self.options.probe, cmdline, self.options.disk, self.direct,
                      iommu=self.iommu)
        with Run(vmm, guest) as run:
            run.wait_for("bench: ready")
            run.pin(VCPU_CPU, VCPU_CPU if self.packed else DEVICE_CPU)
            yield run

    @staticmethod
    def _check(figures):
        if figures["errors"]:
            raise RuntimeError(f"{figures['errors']} requests failed")
        if not figures["ios"]:
            raise RuntimeError("not one request was completed")


class Fio:
    """A ceiling: the same work by fio on the host, on the CPU of the device."""

    is_host = True

    def __init__(self, batched):
        self.batched = batched
        self.name = "fio-batched" if batched else "fio"

    def measure(self, row):
        options = row.options
        rw = {"randread": "randread", "randwrite": "randwrite", "seqread": "read"}[row.op]
        argv = ["fio", "--name=ceiling", f"--filename={options.disk}", f"--rw={rw}",
                f"--bs={row.block}", f"--iodepth={row.depth}", "--ioengine=io_uring",
                "--registerfiles=1", "--invalidate=0", f"--direct={int(row.direct)}",
                f"--size={options.disk_mib}M", "--time_based", "--ramp_time=500ms",
                f"--runtime={options.seconds}", f"--cpus_allowed={DEVICE_CPU}",
                "--output-format=json", "--thread", "--lat_percentiles=1"]
        if self.batched:
            argv += ["--fixedbufs=1", f"--iodepth_batch_submit={row.depth}",
                     f"--iodepth_batch_complete_min={row.depth}"]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        job = json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]
        side = job["write" if "write" in rw else "read"]
        # lat, not clat: a cached read completes while it is submitted.
        percentiles = side["lat_ns"]["percentile"]
        return {"iops": side["iops"], "p50_us": percentiles["50.000000"] / 1000,
                "p99_us": percentiles["99.000000"] / 1000}


def all_rows(options):
    """Every row, declared here and nowhere else; the order is the order of the table."""
    import restart  # which needs Row

    def blk(name, *args, **how):
        return Blk(options, f"blk-{name}", *args, **how)

    return [
        Start(options),
        *(Rate(options, n) for n in (1, 2, 8)),
        Memory(options),
        *(blk(f"null-{n}", "null", n) for n in (1, 32, 128)),
        *(blk(f"{op}-{n}", op, n) for op in ("randread", "randwrite") for n in (1, 32, 128)),
        blk("randread-1-packed", "randread", 1, packed=True),
        blk("seqread-8", "seqread", 8, 131072),
        *(blk(f"direct-randread-{n}", "randread", n, direct=True) for n in (1, 32, 128)),
        *(blk(f"direct-randwrite-{n}", "randwrite", n, direct=True) for n in (1, 32)),
        blk("direct-seqread-8", "seqread", 8, 131072, direct=True),
        restart.Kill(options), restart.Planned(options),
        IommuMap(options, tsc_khz),
        *(BlkMapped(blk(f"{op}-{n}", op, n), blk(f"{op}-{n}", op, n, iommu=True))
          for op, n in (("randread", 1), ("randread", 32), ("randwrite", 32))),
    ]


# What a change is most likely to move, and what the project compares itself by.
SHORT = ("start", "rate-8", "memory", "blk-null-32", "blk-randread-1", "blk-randread-1-packed",
         "blk-randread-32", "blk-randwrite-32", "blk-direct-randread-32")
