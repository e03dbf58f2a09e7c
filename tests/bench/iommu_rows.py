# SPDX-License-Identifier: Apache-2.0
"""Rows of the IOMMU. Each measures what is compared in one guest, or in two right after each other,
and reports the ratio; other VMMs have no device behind such an IOMMU in this table."""

from vmm import Guest, Run


class IommuMap:
    name = "iommu-map"
    title = "map and unmap against a bare round trip of the same queue, no I/O in flight"
    better = {"in_one_kick": "less", "one_after_other": "less", "bare_us": "less"}

    def __init__(self, options, tsc_khz):
        self.options, self.tsc_khz = options, tsc_khz

    def sample(self, vmm):
        if vmm.name != "bulkhead":
            return None
        guest = Guest(self.options.probe, "probe=bench-iommu", self.options.small_disk, iommu=True)
        with Run(vmm, guest, account=False) as run:
            run.wait_for("bench: ready")
            run.pin(0, 1)
            run.wait_for("bench: done")
            line = run.output.decode(errors="replace").split("bench: end", 1)[1].splitlines()[0]
        cycles = {k: int(v) for k, v in (word.split("=") for word in line.split())}
        return {"in_one_kick": cycles["one_kick"] / cycles["bare"],
                "one_after_other": cycles["one_by_one"] / cycles["bare"],
                "bare_us": cycles["bare"] * 1000 / self.tsc_khz()}


class BlkMapped:
    """@row: the same without the IOMMU."""

    better = {"iops_ratio": "more", "iops": "more"}

    def __init__(self, row):
        self.row = row
        self.name = row.name.replace("blk-", "iommu-blk-", 1)
        self.title = row.title + ", through one mapping, against without IOMMU"

    def sample(self, vmm):
        if vmm.name != "bulkhead":
            return None
        plain, mapped = self.row.sample(vmm), self.row.sample(vmm, iommu=True)
        return {"iops_ratio": mapped["iops"] / plain["iops"], "iops": mapped["iops"]}
