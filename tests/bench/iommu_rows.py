# SPDX-License-Identifier: Apache-2.0
"""Rows of the IOMMU. Each measures what is compared in one guest, or in two right after each other,
and reports the ratio; other VMMs have no device behind such an IOMMU in this table."""

from vmm import Guest, Run


class IommuRow:
    """What the driver of the table wants of a row: see rows.Row."""

    def sides(self, vmms):
        return [vmm for vmm in vmms if vmm.name == "bulkhead"]

    def count(self, _side):
        return {}


class IommuMap(IommuRow):
    name = "iommu-map"
    title = "map and unmap against a bare round trip of the same queue, no I/O in flight"
    better = {"in_one_kick": "less", "one_after_other": "less", "in_one_kick_us": "less",
              "one_after_other_us": "less", "bare_us": "less", "unanswered_us": "less"}

    def __init__(self, options, tsc_khz):
        self.options, self.tsc_khz = options, tsc_khz

    def seconds(self, n_sides):
        return 4 * n_sides

    def sample(self, vmm):
        guest = Guest(self.options.probe, "probe=bench-iommu", self.options.small_disk, iommu=True)
        with Run(vmm, guest, account=True) as run:
            run.wait_for("bench: ready")
            run.pin(0, 1)
            cycles = run.figures()
        return {"in_one_kick": cycles["one_kick"] / cycles["bare"],
                "one_after_other": cycles["one_by_one"] / cycles["bare"],
                **{f"{name}_us": cycles[key] * 1000 / self.tsc_khz() for name, key in
                   (("in_one_kick", "one_kick"), ("one_after_other", "one_by_one"),
                    ("bare", "bare"), ("unanswered", "unanswered"))}}


class BlkMapped(IommuRow):
    better = {"iops_ratio": "more", "iops": "more"}

    def __init__(self, plain, mapped):
        self.plain, self.mapped = plain, mapped
        self.name = plain.name.replace("blk-", "iommu-blk-", 1)
        self.title = plain.title + ", through one mapping, against without IOMMU"

    def seconds(self, n_sides):
        return 2 * self.plain.seconds(n_sides)

    def sample(self, vmm):
        plain, mapped = self.plain.sample(vmm), self.mapped.sample(vmm)
        return {"iops_ratio": mapped["iops"] / plain["iops"], "iops": mapped["iops"]}
