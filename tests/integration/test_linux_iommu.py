# SPDX-License-Identifier: Apache-2.0
"""A Debian guest with every device behind the IOMMU, unmapping whatever it does not use."""

from harness import expect, make_disk, scratch
from test_linux import line_of, linux, only_long, tools_disk

LINUX = True


def behind(strict, *more):
    with scratch() as folder:
        root = make_disk(folder, "a.img", 4 << 20)
        data = make_disk(folder, "b.img", 16 << 20)
        with linux(f"iommu tools=/dev/vdc iommu.strict={strict}",
                   "--disk", f"path={root},iommu=on", "--disk", f"path={data},iommu=on",
                   "--disk", tools_disk() + ",iommu=on", "--rng", "iommu=on", *more) as vm:
            vm.wait_for("guest: endpoints", 240)
            rows = {row["name"]: row for row in vm.ps()}
            expect("iommu" in rows, f"{list(rows)}")
            status = vm.wait_exit(240)
            expect(status == 0, f"exit {status}: {vm.output[-800:]!r} {vm.stderr()}")
        expect(line_of(vm, "iommus") == "iommus 1", line_of(vm, "iommus"))
        # slots 0 to 3 are devices 1 to 4 of bus 0, the IOMMU is the fifth
        expect(line_of(vm, "endpoints").split()[1:] ==
               [f"0000:00:0{n}.0" for n in (1, 2, 3, 4)], line_of(vm, "endpoints"))
        for n in (1, 2, 3, 4):
            expect(line_of(vm, f"group of 0000:00:0{n}.0").endswith(
                "1 DMA" if strict else "1 DMA-FQ"), line_of(vm, f"group of 0000:00:0{n}.0"))
        expect(not line_of(vm, "group of 0000:00:05.0"), "the IOMMU is behind itself")
        expect(line_of(vm, "verified"), f"fio: {vm.output[-1500:]!r}")
        expect(line_of(vm, "random") == "random 256", line_of(vm, "random"))
        expect(line_of(vm, "faults") == "faults 0", f"{vm.output[-1500:]!r}")


def test_every_device_behind_the_iommu_strict():
    behind(1)


@only_long
def test_every_device_behind_the_iommu_lazy():
    behind(0)
