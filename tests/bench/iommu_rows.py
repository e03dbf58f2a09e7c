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


# Our names of what the guest prints.
GUEST_WORDS = {"bare": "bare", "unanswered": "unanswered", "in_one_kick": "one_kick",
               "one_after_other": "one_by_one"}
RATIOS = "in_one_kick", "one_after_other"  # to bare
PREFIXES = "", "kicked_"


class IommuMap(IommuRow):
    """Two readings of the same trips.

    in_one_kick, one_after_other: the device process is awake and finds a request by looking, so
    that work alone is left to be compared. This is the harshest there is, and what a driver sees
    that maps all the time.
    kicked_*: it sleeps when a sample begins, so that each holds an exit, a wake-up and the work.
    This is what a driver sees that maps now and then. Of kicked_one_after_other the first request
    wakes it, and the second finds it as it may.
    """

    name = "iommu-map"
    title = ("map and unmap against a bare round trip of the same queue, no I/O in flight; "
             "kicked_*: the device slept")
    better = {prefix + key: "less" for prefix in PREFIXES
              for key in (*RATIOS, *(f"{word}_us" for word in GUEST_WORDS))}

    def __init__(self, options, tsc_khz):
        self.options, self.tsc_khz = options, tsc_khz

    def seconds(self, n_sides):
        return 6 * n_sides

    def sample(self, vmm):
        guest = Guest(self.options.probe, "probe=bench-iommu", self.options.small_disk, iommu=True)
        with Run(vmm, guest, account=True) as run:
            run.wait_for("bench: ready")
            run.pin(0, 1)
            cycles = run.figures()
        figures = {}
        for prefix in PREFIXES:
            for key in RATIOS:
                figures[prefix + key] = cycles[prefix + GUEST_WORDS[key]] / cycles[prefix + "bare"]
            for key, word in GUEST_WORDS.items():
                figures[f"{prefix}{key}_us"] = cycles[prefix + word] * 1000 / self.tsc_khz()
        return figures


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
