# SPDX-License-Identifier: Apache-2.0
"""Bad input: one line naming the flag and the reason, exit 1 or 2, nothing left behind."""

import os
import socket
import struct
import subprocess

from harness import BULKHEAD, PROBE, VM, Failure, Skip, expect, make_disk, run, scratch

GOOD = ["--kernel", PROBE, "--cpus", "boot=1", "--memory", "size=64M", "--serial", "null"]


def arguments(**changes):
    """GOOD with single flags replaced, or dropped (None)."""
    out = []
    for flag, value in zip(GOOD[::2], GOOD[1::2]):
        value = changes.pop(flag[2:], value)
        if value is not None:
            out += [flag, value]
    for flag, value in changes.items():
        out += ["--" + flag.replace("_", "-"), value]
    return out


def snapshot():
    """What must not change: run dirs (the uid file stays, it is shared) and processes."""
    names = os.listdir("/run/bulkhead") if os.path.isdir("/run/bulkhead") else []
    return sorted(n for n in names if n.startswith("vm-"))


def refused(args, code, *words):
    before = snapshot()
    status, err = run(*args)
    line = err.strip()
    expect(status == code, f"exit {status}, not {code}: {err!r} for {args}")
    expect(line.startswith("bulkhead: ") and "\n" not in line, f"not one line: {err!r}")
    for word in words:
        expect(word in line, f"no {word!r} in {line!r}")
    expect(snapshot() == before, f"left behind: {snapshot()} after {line!r}")


def test_usage():
    rows = [
        (["--frobnicate"], "--frobnicate"),
        (["stray"], "stray"),
        (arguments(kernel=None), "--kernel"),
        (arguments(cpus="boot=0"), "--cpus"),
        (arguments(cpus="boot=65"), "--cpus"),
        (arguments(cpus="boot=x"), "--cpus"),
        (arguments(cpus="bot=1"), "bot"),
        (arguments(cpus="boot=1,boot=2"), "boot"),
        (arguments(memory="size=0"), "--memory"),
        (arguments(memory="size=4097"), "--memory"),
        (arguments(memory="size=12Q"), "--memory"),
        (arguments(memory="size=99999999999999999999"), "--memory"),
        (arguments(memory="size=8192T"), "--memory"),
        (arguments(memory="size=64M,huge=on"), "huge"),
        (arguments(memory="size=64M,prefault=maybe"), "prefault"),
        (arguments(disk="readonly=on"), "path"),
        (arguments(disk="path=/x,colour=red"), "colour"),
        (arguments(disk="path=/x,path=/y"), "path"),
        (arguments(disk="path=/x,queue_size=100"), "queue_size"),
        (arguments(disk="path=/x,queue_size=2048"), "queue_size"),
        (arguments(disk="path=/x,num_queues=2"), "num_queues"),
        (arguments(disk="path=/x,serial=123456789012345678901"), "serial"),
        (arguments(disk="path=/x,id=a/b"), "id"),
        (arguments(console="screen"), "--console"),
        (arguments(console="file="), "--console file"),
        (arguments(console="socket="), "--console socket"),
        (arguments(serial="tty", console="tty"), "--console tty"),
        (arguments(rng="src="), "--rng src"),
        *[(arguments(transport="mmio", **device), "mmio") for device in (
            {"disk": "path=/x,iommu=on"}, {"net": "mode=user,iommu=on"}, {"rng": "iommu=on"},
            {"console": "null,iommu=on"}, {"vsock": "cid=3,socket=/tmp/x,iommu=on"})],
        (arguments(rng="source=/x"), "--rng source"),
        (arguments(serial="teletype"), "--serial"),
        (arguments(serial="file="), "--serial"),
        (arguments(name="../x"), "--name"),
        (arguments(net="mac=02:00:00:00:00:01"), "--net"),
        (arguments(net="tap=t0,mac=01:00:00:00:00:01"), "--net mac"),
        (arguments(net="tap=t0,mac=02:00"), "--net mac"),
        (arguments(net="tap=t0,num_queues=4"), "--net num_queues"),
        (arguments(net="mode=user,hostfwd=tcp:0-1"), "--net hostfwd"),
        (arguments(transport="isa"), "--transport"),
        (arguments(seccomp="off"), "--seccomp"),
        (arguments(restart="max=x"), "--restart"),
    ]
    for args, *words in rows:
        refused(args, 2, *words)


def test_consoles():
    with scratch() as folder:
        file = make_disk(folder, "file")
        rows = [(f"file={folder}/none/x", "No such file"), (f"file={folder}", "Is a directory"),
                (f"socket={folder}/none/x", "No such file"), (f"socket={file}", "in use"),
                ("socket=/" + "x" * 108, "longer than 107 characters")]
        for value, word in rows:
            refused(arguments(console=value), 1, "--console", word)
        expect(os.path.exists(file), "a file in the place of the socket was removed")
        with VM("--console", f"socket={folder}/used") as vm:
            vm.wait_for("probe: idle")
            refused(arguments(console=f"socket={folder}/used"), 1, "--console", "in use")


def test_rng_sources():
    with scratch() as folder:
        rows = [(folder, "is a directory"), (folder + "/none", "No such file"),
                (folder + "/socket", "not a character device, FIFO or regular file")]
        server = socket.socket(socket.AF_UNIX)
        server.bind(folder + "/socket")
        for path, word in rows:
            refused(arguments(rng=f"src={path}"), 1, "--rng src=", word)
        server.close()


def test_duplicate_disk_ids():
    with scratch() as folder:
        a, b = make_disk(folder, "a"), make_disk(folder, "b")
        refused(GOOD + ["--disk", f"path={a},id=x", "--disk", f"path={b},id=x"], 2, "id")


def test_kernel_files():
    with scratch() as folder:
        rows = [(folder, "irectory"), (folder + "/none", "No such file"),
                (make_disk(folder, "empty", 0), "empty"),
                (make_disk(folder, "noise", 65536, os.urandom(65536)), "kernel"),
                (make_disk(folder, "elf", 4096, b"\x7fELF"), "kernel")]
        for path, word in rows:
            refused(arguments(kernel=path), 1, "--kernel", word)
        unreadable = make_disk(folder, "unreadable", 4096)
        os.chmod(unreadable, 0)
        if os.getuid() != 0:
            refused(arguments(kernel=unreadable), 1, "--kernel", "Permission denied")


def patched(folder, offset, layout, value):
    """The probe with one header field changed."""
    with open(PROBE, "rb") as source:
        data = bytearray(source.read())
    struct.pack_into(layout, data, offset, value)
    path = os.path.join(folder, f"patched-{offset}-{value}")
    with open(path, "wb") as out:
        out.write(data)
    return path


def test_corrupt_elf_headers():
    """ELF64: e_phoff at 32, e_phentsize 54, e_phnum 56; program header: p_offset 8, p_filesz 32."""
    with open(PROBE, "rb") as source:
        head = source.read(64)
    phoff = struct.unpack_from("<Q", head, 32)[0]
    with scratch() as folder:
        for offset, layout, value in [
                (32, "<Q", 1 << 60), (32, "<Q", 0xffffffffffffffff), (54, "<H", 1),
                (56, "<H", 0xffff), (56, "<H", 0), (phoff + 8, "<Q", 1 << 40),
                (phoff + 8, "<Q", 0xffffffffffffff00), (phoff + 32, "<Q", 1 << 50),
                (phoff + 40, "<Q", 0xfffffffffffff000), (phoff + 24, "<Q", 0xfffffffffffff000),
                (phoff + 24, "<Q", 0xd0000000)]:
            refused(arguments(kernel=patched(folder, offset, layout, value)), 1, "--kernel")


def test_truncated_kernel():
    with open(PROBE, "rb") as source:
        data = source.read()
    phoff = struct.unpack_from("<Q", data, 32)[0]
    end = 0
    for i in range(struct.unpack_from("<H", data, 56)[0]):
        at = phoff + i * 56
        if struct.unpack_from("<I", data, at)[0] == 1:
            end = max(end, sum(struct.unpack_from("<Q", data, at + o)[0] for o in (8, 32)))
    with scratch() as folder:
        refused(arguments(kernel=make_disk(folder, "cut", 0, data[:end - 1])), 1, "--kernel")


def test_initramfs():
    with scratch() as folder:
        big = make_disk(folder, "big", 80 << 20)
        refused(arguments(initramfs=big), 1, "--initramfs")
        refused(arguments(initramfs=folder), 1, "--initramfs", "irectory")
        refused(arguments(initramfs=folder + "/none"), 1, "--initramfs", "No such file")


def test_long_cmdline():
    refused(arguments(cmdline="x" * 5000), 2, "--cmdline")
    refused(arguments(cmdline="x" * 3000), 1, "--cmdline")


def test_disks():
    with scratch() as folder:
        for path, word in [(folder, "irectory"), (folder + "/none", "No such file"),
                           (make_disk(folder, "odd", 1000), "512"),
                           (make_disk(folder, "empty", 0), "empty"), ("/dev/null", "")]:
            refused(arguments(disk=f"path={path}"), 1, "--disk", word)


def test_locked_disk():
    with scratch() as folder:
        disk = make_disk(folder)
        with VM("--disk", f"path={disk}") as vm:
            vm.wait_for("probe: idle")
            refused(arguments(disk=f"path={disk}"), 1, "--disk", "locked")
            refused(arguments(disk=f"path={disk},readonly=on"), 1, "--disk", "locked")


def test_read_only_disk_is_shared():
    with scratch() as folder:
        disk = "path=" + make_disk(folder) + ",readonly=on"
        with VM("--disk", disk) as one, VM("--disk", disk) as two:
            one.wait_for("probe: idle")
            two.wait_for("probe: idle")


def test_start_waits_for_a_lock_that_goes_away():
    with scratch() as folder:
        disk = make_disk(folder)
        with VM("--disk", f"path={disk}") as first:
            first.wait_for("probe: idle")
            with VM("--disk", f"path={disk}", cmdline="probe=hello") as second:
                first.kill()
                expect(second.wait_exit() == 0, second.stderr())


def unshared(script, *args):
    """Run bulkhead in a mount namespace of its own after @script."""
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c",
               script + ' && exec "$@"', "sh", BULKHEAD, *args]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=60)
    return done.returncode, done.stderr


def test_no_kvm():
    code, err = unshared("mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3", *GOOD)
    expect(code == 1 and "/dev/kvm" in err and err.count("\n") == 1, f"{code} {err!r}")


def test_kvm_is_something_else():
    code, err = unshared("mount --bind /dev/null /dev/kvm", *GOOD)
    expect(code == 1 and "/dev/kvm" in err and err.count("\n") == 1, f"{code} {err!r}")


def test_kvm_without_permission():
    if os.getuid() != 0:
        raise Skip("needs root to change users")
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", BULKHEAD,
         *GOOD, "--run-dir", "/tmp/none/none"], stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=60)
    if os.stat("/dev/kvm").st_mode & 0o006:
        raise Skip("everybody may open /dev/kvm here")
    expect(done.returncode == 1 and done.stderr.count("\n") == 1,
           f"{done.returncode} {done.stderr!r}")


def test_too_many_disks():
    with scratch() as folder:
        disks = [a for i in range(32) for a in ("--disk", f"path={make_disk(folder, str(i))}")]
        refused(GOOD + disks, 2, "--disk")


def test_sixteen_disks_start():
    with scratch() as folder:
        disks = [a for i in range(16) for a in ("--disk", f"path={make_disk(folder, str(i))}")]
        with VM(*disks, cmdline="probe=hello") as vm:
            if vm.wait_exit() != 0:
                raise Failure(vm.stderr())
