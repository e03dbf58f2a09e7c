# SPDX-License-Identifier: Apache-2.0
"""Unmodified Debian kernels as guests. Needs a KVM that runs Linux: `run` takes these tests into
tools/lab where the host has none."""

import os
import signal
import time

from harness import LONG, VM, Skip, expect, make_disk, scratch, wait_until
from test_console import End, open_pty

LINUX = True  # for run: needs hardware-like KVM
SERIES = ("6.1", "6.12+")


def artefact(series, what):
    """Kernels and initramfs that `run` prepared: BULKHEAD_GUEST_6_1_VMLINUX and so on."""
    name = "BULKHEAD_GUEST_" + series.strip("+").replace(".", "_") + "_" + what
    if name not in os.environ:
        raise Skip(f"the apt sources of this machine have no kernel {series}")
    return os.environ[name]


def linux(test, *args, series="6.12+", kernel="BZIMAGE", **kwargs):
    kwargs.setdefault("memory", "256M")
    return VM("--initramfs", artefact(series, "INITRAMFS"), *args,
              kernel=artefact(series, kernel),
              cmdline=f"console=ttyS0 panic=-1 quiet test={test}", **kwargs)


def tools_disk():
    """fio, blkdiscard, iperf3, ethtool and socat, see linux/tools-disk."""
    return "path=" + os.environ["BULKHEAD_GUEST_TOOLS"] + ",readonly=on"


def line_of(vm, start):
    for line in vm.output.decode(errors="replace").splitlines():
        if line.startswith("guest: " + start):
            return line[len("guest: "):].strip()
    return ""


def boot(series, kernel, cpus, transport="pci"):
    with scratch() as folder:
        root = make_disk(folder, "a.img", 4 << 20, b"BULKHEAD")
        data = make_disk(folder, "b.img", 16 << 20)
        fixed = make_disk(folder, "c.img", 1 << 20, b"\x55" * 4096)
        with linux("boot tools=/dev/vdd", "--disk", f"path={root}",
                   "--disk", f"path={data},num_queues={cpus}",
                   "--disk", f"path={fixed},readonly=on,serial=fixed-0",
                   "--disk", tools_disk(),
                   "--transport", transport,
                   series=series, kernel=kernel, cpus=f"boot={cpus}") as vm:
            status = vm.wait_exit(240)
            expect(status == 0, f"exit {status}: {vm.output[-800:]!r} {vm.stderr()}")
        expect(line_of(vm, "kernel").endswith(f"cpus {cpus}"), f"{vm.output[-800:]!r}")
        expect(line_of(vm, "kernel").split()[1].startswith(series.strip("+") + "."),
               line_of(vm, "kernel"))
        expect(line_of(vm, "vda") == "vda 0 8192 BULKHEAD", line_of(vm, "vda"))
        expect(line_of(vm, "vdb") == "vdb 0 32768", line_of(vm, "vdb"))
        expect(line_of(vm, "vdc") == "vdc 1 fixed-0", line_of(vm, "vdc"))
        expect(line_of(vm, "queues") == f"queues {cpus}", line_of(vm, "queues"))
        expect(line_of(vm, "bus") == f"bus {transport}", line_of(vm, "bus"))
        # with PCI a message for configuration changes and one for each queue
        expect(line_of(vm, "messages") == f"messages {cpus + 1 if transport == 'pci' else 0}",
               line_of(vm, "messages"))
        expect(line_of(vm, "verified"), f"fio: {vm.output[-1500:]!r}")
        with open(fixed, "rb") as image:
            expect(image.read(4096) == b"\x55" * 4096, "the read-only disk changed")


def only_long(test):
    """What differs little from its neighbours, and takes a minute in the lab."""
    def run():
        if not LONG:
            raise Skip("only with --long")
        test()
    return run


@only_long
def test_boot_6_1_bzimage_1_vcpu():
    boot("6.1", "BZIMAGE", 1)


@only_long
def test_boot_6_1_pvh_2_vcpus():
    boot("6.1", "VMLINUX", 2)


def test_boot_6_1_bzimage_2_vcpus():
    boot("6.1", "BZIMAGE", 2)


def test_boot_6_1_pvh_1_vcpu():
    boot("6.1", "VMLINUX", 1)


def test_boot_6_12_bzimage_1_vcpu():
    boot("6.12+", "BZIMAGE", 1)


@only_long
def test_boot_6_12_bzimage_2_vcpus():
    boot("6.12+", "BZIMAGE", 2)


@only_long
def test_boot_6_12_pvh_1_vcpu():
    boot("6.12+", "VMLINUX", 1)


def test_boot_6_12_pvh_2_vcpus():
    boot("6.12+", "VMLINUX", 2)


@only_long
def test_boot_6_1_mmio():
    boot("6.1", "BZIMAGE", 2, "mmio")


def test_boot_6_12_mmio():
    boot("6.12+", "VMLINUX", 2, "mmio")


def test_discard_and_write_zeroes_reach_the_image():
    mib = 1 << 20
    with scratch() as folder:
        data = make_disk(folder, "b.img", 8 * mib, b"\xaa" * (8 * mib))
        before = os.stat(data).st_blocks
        with linux("discard tools=/dev/vda", "--disk", tools_disk(),
                   "--disk", f"path={data}") as vm:
            expect(vm.wait_exit(120) == 0, f"{vm.output[-800:]!r} {vm.stderr()}")
            expect(line_of(vm, "discarded") and line_of(vm, "zeroed"), f"{vm.output[-800:]!r}")
        with open(data, "rb") as image:
            content = image.read()
        for start, byte in [(0, 0xaa), (1, 0), (2, 0xaa), (3, 0), (4, 0xaa), (7, 0xaa)]:
            part = content[start * mib:(start + 1) * mib]
            expect(part == bytes([byte]) * mib, f"MiB {start} is not all {byte:#x}")
        expect(os.stat(data).st_blocks <= before - mib // 512, "discard freed nothing")


def reboot(transport):
    with scratch() as folder:
        disks = [f"path={make_disk(folder, name)}" for name in "abcd"]
        with linux("reboot", "--transport", transport, "--disk", *disks) as vm:
            expect(vm.wait_exit(280) == 0, f"{vm.output[-800:]!r} {vm.stderr()}")
            for n in (1, 2, 3):
                expect(f"guest: boot {n}".encode() in vm.output, f"{vm.output[-800:]!r}")


def test_reboot_twice():
    reboot("pci")


@only_long
def test_reboot_twice_mmio():
    reboot("mmio")


def test_power_button():
    with linux("button") as vm:
        vm.wait_for("guest: waiting for the button", 120)
        vm.ctl("power-button")
        expect(vm.wait_exit(60) == 0, f"{vm.output[-800:]!r} {vm.stderr()}")
        expect(b"guest: pressed" in vm.output, f"{vm.output[-400:]!r}")


def test_sigterm_powers_down():
    with linux("button") as vm:
        vm.wait_for("guest: waiting for the button", 120)
        vm.signal(signal.SIGTERM)
        expect(vm.wait_exit(60) == 0, f"{vm.output[-800:]!r} {vm.stderr()}")


@only_long
def test_hundred_gibibytes():
    with linux("memory", memory="100G") as vm:
        expect(vm.wait_exit(700) == 0, f"{vm.output[-800:]!r} {vm.stderr()}")
        kib = int(line_of(vm, "memory").split()[1])
        expect(kib > 96 << 20, f"the guest sees {kib} KiB")


test_hundred_gibibytes.timeout = 720


def log_in(end):
    end.wait_for(b"login:", deadline=180)
    end.send("root\n")
    end.wait_for(b"# ", len(end.seen), 60)


def says(end, command, answer, deadline=120):
    start = len(end.seen)
    end.send(command + "\n")
    return end.wait_for(answer, start, deadline)


def dump(end, lines):
    """The guest prints numbers; every byte of them must come, in order. Returns how many."""
    wanted = b"".join(b"%d\n" % i for i in range(1, lines + 1))
    says(end, "stty -opost; echo be''gin", b"begin\n")
    start = says(end, f"seq 1 {lines}; echo e''nd", b"end\n", 1800 if LONG else 240) - len(b"end\n")
    got = end.seen[start - len(wanted):start]
    expect(got == wanted, f"the dump differs: {len(wanted)} bytes wanted")
    says(end, "stty opost; echo ba''ck", b"back\r\n")
    return len(wanted)


def test_console_login_by_pty():
    with linux("console", "--console", "pty", "--rng") as vm:
        vm.wait_for("guest: getty on hvc0", 120)
        expect(line_of(vm, "hwrng") == "hwrng 256 virtio_rng.0", line_of(vm, "hwrng"))
        end = open_pty(vm)
        end.resize(132, 43)
        log_in(end)
        wait_until(lambda: says(end, "stty size", b"\r\n") and b"43 132" in end.seen, "the size")
        seconds = time.monotonic()
        n = dump(end, 13000000 if LONG else 10000)
        print(f"# {n} bytes in {time.monotonic() - seconds:.1f} s", flush=True)
        end.send("exit\n")
        vm.wait_for("guest: logged out", 60)
        expect(vm.wait_exit(60) == 0, f"{vm.output[-800:]!r} {vm.stderr()}")


test_console_login_by_pty.timeout = 2400 if LONG else 600


def test_console_login_by_tty():
    ours, theirs = os.openpty()
    end = End(ours)
    end.resize(80, 25)
    with linux("console", "--console", "tty", serial="null", tty=theirs) as vm:
        log_in(end)
        says(end, "stty size", b"25 80")
        end.resize(120, 40)
        wait_until(lambda: says(end, "stty size", b"\r\n") and b"40 120" in end.seen, "the size")
        says(end, "echo asl''eep; sleep 1000", b"asleep")
        time.sleep(1)
        end.send("\x03")  # the guest's
        says(end, "echo al''ive", b"alive")
        end.send("exit\n")
        expect(vm.wait_exit(60) == 0, f"{end.seen[-800:]!r} {vm.stderr()}")
    os.close(theirs)
    os.close(ours)


def test_dead_disk_does_not_stop_the_other():
    with scratch() as folder:
        a, b = make_disk(folder, "a.img"), make_disk(folder, "b.img")
        with linux("wait", "--disk", f"path={a}", "--disk", f"path={b}", "--restart", "max=0",
                   stdin=True) as vm:
            vm.wait_for("guest: waiting", 120)
            os.kill(vm.pids()["blk0"], signal.SIGKILL)
            wait_until(lambda: vm.row("blk0")["state"] == "failed", "blk0 shows as failed")
            vm.send("/dev/vdb\n")
            vm.wait_for("guest: read /dev/vdb: 16+0 records out", 60)
